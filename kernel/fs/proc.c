/*
 * /proc: the machine-wide files (proc(5)). What belongs to the process (/proc/self and below) is registered
 * by kernel/linux.
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/base/cmdline.h"
#include "kernel/base/random.h"
#include "kernel/fs/internal.h"
#include "sched/thread.h"

#define USER_HZ_NS (NSEC_PER_SEC / 100)

/* ---- CPUs ---- */

static u32 cpu_signature(void)
{
    u32 a, b, c, d;
    cpuid(1, 0, &a, &b, &c, &d);
    return a;
}

/* Display family and model: Intel SDM 2A, CPUID leaf 1. */
static void cpu_family(u32 *family, u32 *model, u32 *stepping)
{
    u32 sig = cpu_signature(), base = sig >> 8 & 15;
    *family = base == 15 ? base + (sig >> 20 & 255) : base;
    *model = (sig >> 4 & 15) | (base == 6 || base == 15 ? (sig >> 16 & 15) << 4 : 0);
    *stepping = sig & 15;
}

static int show_cpuinfo(struct seq *s, void *arg)
{
    u32 family, model, stepping;
    u64 khz = clock_tsc_hz() / 1000;
    char *flags = kmalloc(4096);
    if (!flags)
        return -ENOMEM;
    cpu_family(&family, &model, &stepping);
    arch_cpu_flags(flags, 4096);
    for (u32 i = 0; i < cpu_count; i++) {
        seq_printf(s, "processor\t: %u\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\n",
                   i, arch_cpu_vendor(), family, model, arch_cpu_model());
        seq_printf(s, "stepping\t: %u\nmicrocode\t: 0x1\ncpu MHz\t\t: %lu.%03lu\ncache size\t: 16384 KB\n",
                   stepping, khz / 1000, khz % 1000);
        seq_printf(s, "physical id\t: 0\nsiblings\t: %u\ncore id\t\t: %u\ncpu cores\t: %u\n", cpu_count, i,
                   cpu_count);
        seq_printf(
            s,
            "apicid\t\t: %u\ninitial apicid\t: %u\nfpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: 13\n",
            cpus[i]->apic_id, cpus[i]->apic_id);
        seq_printf(s, "wp\t\t: yes\nflags\t\t: ");
        seq_write(s, flags, strlen(flags));
        seq_printf(s, "\nbugs\t\t:\nbogomips\t: %lu.%02lu\nclflush size\t: 64\ncache_alignment\t: 64\n",
                   khz / 500, khz / 5 % 100);
        seq_printf(s, "address sizes\t: 46 bits physical, 48 bits virtual\npower management:\n\n");
    }
    kfree(flags);
    return 0;
}

/* "cpu  user nice system idle iowait irq softirq steal guest guest_nice", in hundredths of a second. All time
 * that is not idle counts as user: there is no boundary to measure at. */
static void show_cpu_times(struct seq *s, const char *name, u64 busy_ns, u64 idle_ns)
{
    seq_printf(s, "%s %lu 0 0 %lu 0 0 0 0 0 0\n", name, busy_ns / USER_HZ_NS, idle_ns / USER_HZ_NS);
}

static int show_stat(struct seq *s, void *arg)
{
    u64 now = clock_monotonic_ns(), idle = 0;
    for (u32 i = 0; i < cpu_count; i++)
        idle += MIN(sched_idle_ns(i), now);
    show_cpu_times(s, "cpu ", now * cpu_count - idle, idle);
    for (u32 i = 0; i < cpu_count; i++) {
        char name[16];
        u64 cpu_idle = MIN(sched_idle_ns(i), now);
        snprintf(name, sizeof(name), "cpu%u", i);
        show_cpu_times(s, name, now - cpu_idle, cpu_idle);
    }
    u64 interrupts = 0;
    for (u32 i = 0; i < cpu_count; i++)
        interrupts += sched_timer_interrupts(i);
    seq_printf(s, "intr %lu\nctxt %lu\nbtime %lu\nprocesses 1\nprocs_running %u\nprocs_blocked 0\n",
               interrupts, sched_switch_count(), (clock_realtime_ns() - now) / NSEC_PER_SEC,
               MAX(sched_runnable(), 1u));
    return 0;
}

/* "LOC:" as on Linux: local timer interrupts by CPU. */
static int show_interrupts(struct seq *s, void *arg)
{
    seq_printf(s, "    ");
    for (u32 i = 0; i < cpu_count; i++)
        seq_printf(s, "       CPU%-2u", i);
    seq_printf(s, "\nLOC:");
    for (u32 i = 0; i < cpu_count; i++)
        seq_printf(s, " %10lu ", sched_timer_interrupts(i));
    seq_printf(s, "  Local timer interrupts\n");
    return 0;
}

static int show_uptime(struct seq *s, void *arg)
{
    u64 now = clock_monotonic_ns(), idle = 0;
    for (u32 i = 0; i < cpu_count; i++)
        idle += sched_idle_ns(i);
    seq_printf(s, "%lu.%02lu %lu.%02lu\n", now / NSEC_PER_SEC, now / USER_HZ_NS % 100, idle / NSEC_PER_SEC,
               idle / USER_HZ_NS % 100);
    return 0;
}

/* The averages are brought up to date when somebody asks, as if the present number of runnable threads had
 * held since the last time: a tickless kernel does not wake to sample. */
#define LOAD_SHIFT 11
#define LOAD_STEP  (5 * NSEC_PER_SEC)

static struct mutex load_lock;
static u64 load_at_ns;
static u32 loads[3];

void vfs_loadavg(u32 out[3])
{
    static const u32 decay[3] = {1884, 2014, 2037}; /* 2048 * exp(-5 s / 1, 5, 15 min) */
    u64 now = clock_monotonic_ns();
    u32 runnable = sched_runnable();
    mutex_lock(&load_lock);
    u64 steps = MIN((now - load_at_ns) / LOAD_STEP, 1000);
    load_at_ns = steps == 1000 ? now : load_at_ns + steps * LOAD_STEP;
    for (; steps; steps--)
        for (u32 i = 0; i < 3; i++)
            loads[i] = (loads[i] * decay[i] + (runnable << LOAD_SHIFT) * (2048 - decay[i])) >> LOAD_SHIFT;
    memcpy(out, loads, sizeof(loads));
    mutex_unlock(&load_lock);
}

static int show_loadavg(struct seq *s, void *arg)
{
    u32 load[3];
    vfs_loadavg(load);
    for (u32 i = 0; i < 3; i++)
        seq_printf(s, "%u.%02u ", load[i] >> LOAD_SHIFT, (load[i] & 2047) * 100 >> LOAD_SHIFT);
    seq_printf(s, "%u/%u 1\n", MAX(sched_runnable(), 1u), MAX(sched_runnable(), 1u));
    return 0;
}

/* ---- memory ---- */

static void show_kb(struct seq *s, const char *name, u64 pages)
{
    seq_printf(s, "%-16s%8lu kB\n", name, pages * (PAGE_SIZE / 1024));
}

#define PER_HUGE (HUGE_SIZE / PAGE_SIZE)

static int show_meminfo(struct seq *s, void *arg)
{
    static const char *const zeros[] = {
        "SwapCached:", "Unevictable:", "Mlocked:", "SwapTotal:", "SwapFree:", "Dirty:", "Writeback:"};
    struct phys_stats m;
    struct vm_stats v;
    phys_stats(&m);
    vm_stats(&v);
    show_kb(s, "MemTotal:", m.total_pages);
    show_kb(s, "MemFree:", m.free_pages);
    show_kb(s, "MemAvailable:", m.free_pages + MIN(vm_reclaimable_pages(), m.cache_pages));
    show_kb(s, "Buffers:", 0);
    show_kb(s, "Cached:", m.cache_pages);
    show_kb(s, "Active:", m.anon_pages);
    show_kb(s, "Inactive:", m.cache_pages);
    for (u32 i = 0; i < ARRAY_LEN(zeros); i++)
        show_kb(s, zeros[i], 0);
    show_kb(s, "AnonPages:", m.anon_pages);
    show_kb(s, "Mapped:", m.cache_pages);
    show_kb(s, "Shmem:", m.cache_pages - MIN(vm_reclaimable_pages(), m.cache_pages));
    show_kb(s, "Slab:", m.kernel_pages);
    show_kb(s, "CommitLimit:", m.total_pages);
    show_kb(s, "Committed_AS:", m.anon_pages);
    show_kb(s, "VmallocTotal:", 34359738367UL >> 2);
    show_kb(s, "VmallocUsed:", m.kernel_pages);
    show_kb(s, "AnonHugePages:", v.huge_pages * 512);
    /* The pool is all memory: kernel/linux, mmap. */
    seq_printf(s,
               "HugePages_Total:   %5lu\nHugePages_Free:    %5lu\nHugePages_Rsvd:        0\n"
               "HugePages_Surp:        0\nHugepagesize:       2048 kB\nHugetlb:        %8lu kB\n",
               m.total_pages / PER_HUGE, m.free_pages / PER_HUGE, m.total_pages / PER_HUGE * 2048);
    return 0;
}

static int show_vmstat(struct seq *s, void *arg)
{
    struct phys_stats m;
    struct vm_stats v;
    struct phys_zeroed z;
    phys_stats(&m);
    vm_stats(&v);
    phys_zeroed_stats(&z);
    seq_printf(s,
               "nr_free_pages %lu\nnr_anon_pages %lu\nnr_file_pages %lu\npgfault %lu\npgmajfault %lu\n"
               "pswpin 0\npswpout 0\noom_kill 0\n",
               m.free_pages, m.anon_pages, m.cache_pages, v.faults_minor + v.faults_major, v.faults_major);
    seq_printf(s, "zeroed_ready %lu\nzeroed_ready_huge %lu\nzeroed_made %lu\nzeroed_used %lu\n",
               z.ready_pages, z.ready_blocks, z.made_pages, z.used_pages);
    return 0;
}

/* ---- texts ---- */

static int show_text(struct seq *s, void *arg)
{
    const char *text = arg;
    seq_write(s, text, strlen(text));
    return 0;
}

static int show_cmdline(struct seq *s, void *arg)
{
    seq_printf(s, "%s\n", boot_info.cmdline ? boot_info.cmdline : "");
    return 0;
}

static int show_hostname(struct seq *s, void *arg)
{
    seq_printf(s, "%s\n", cmdline.hostname ? cmdline.hostname : "moka");
    return 0;
}

static void show_uuid(struct seq *s, const u8 raw[16])
{
    for (u32 i = 0; i < 16; i++)
        seq_printf(s, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", raw[i]);
    seq_printf(s, "\n");
}

/* A random (version 4) UUID, RFC 4122, 4.4. */
static void make_uuid(u8 raw[16])
{
    random_bytes(raw, 16);
    raw[6] = (raw[6] & 0x0f) | 0x40;
    raw[8] = (raw[8] & 0x3f) | 0x80;
}

static int show_new_uuid(struct seq *s, void *arg)
{
    u8 raw[16];
    make_uuid(raw);
    show_uuid(s, raw);
    return 0;
}

static int show_boot_id(struct seq *s, void *arg)
{
    static struct mutex lock;
    static u8 id[16];
    mutex_lock(&lock);
    if (!id[6])
        make_uuid(id);
    mutex_unlock(&lock);
    show_uuid(s, id);
    return 0;
}

/* ---- numbers that can be set, as sysctl does; nothing reads them but programs ---- */

static struct knob {
    const char *path;
    u64 value;
} knobs[] = {
    {"/proc/sys/vm/overcommit_memory", 1},
    {"/proc/sys/vm/overcommit_ratio", 50},
    {"/proc/sys/vm/max_map_count", 1048576},
    {"/proc/sys/vm/swappiness", 0},
    {"/proc/sys/vm/min_free_kbytes", 4096},
    {"/proc/sys/vm/mmap_min_addr", 65536},
    {"/proc/sys/vm/drop_caches", 0},
    {"/proc/sys/vm/panic_on_oom", 1},
    {"/proc/sys/kernel/pid_max", 4194304},
    {"/proc/sys/kernel/threads-max", 65536},
    {"/proc/sys/kernel/cap_last_cap", 40},
    {"/proc/sys/kernel/randomize_va_space", 0},
    {"/proc/sys/kernel/perf_event_paranoid", 4},
    {"/proc/sys/kernel/kptr_restrict", 1},
    {"/proc/sys/kernel/core_uses_pid", 0},
    {"/proc/sys/kernel/numa_balancing", 0},
    {"/proc/sys/kernel/ngroups_max", 65536},
    {"/proc/sys/kernel/sched_child_runs_first", 0},
    {"/proc/sys/kernel/random/entropy_avail", 256},
    {"/proc/sys/kernel/random/poolsize", 256},
    {"/proc/sys/fs/file-max", 1048576},
    {"/proc/sys/fs/nr_open", 1048576},
    {"/proc/sys/fs/pipe-max-size", 1048576},
    {"/proc/sys/fs/aio-max-nr", 65536},
    {"/proc/sys/fs/inotify/max_user_watches", 65536},
    {"/proc/sys/fs/inotify/max_user_instances", 128},
    {"/proc/sys/fs/inotify/max_queued_events", 16384},
    {"/proc/sys/fs/epoll/max_user_watches", 1048576},
};

static int show_knob(struct seq *s, void *arg)
{
    seq_printf(s, "%lu\n", ((struct knob *)arg)->value);
    return 0;
}

static ssize_t store_knob(const char *text, size_t len, void *arg)
{
    u64 value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        value = value * 10 + (*p - '0');
    if (p == text || (*p && *p != '\n'))
        return -EINVAL;
    ((struct knob *)arg)->value = value;
    return len;
}

static const struct {
    const char *path;
    int (*show)(struct seq *s, void *arg);
    const char *text;
} files[] = {
    {"/proc/cpuinfo", show_cpuinfo, NULL},
    {"/proc/stat", show_stat, NULL},
    {"/proc/meminfo", show_meminfo, NULL},
    {"/proc/vmstat", show_vmstat, NULL},
    {"/proc/loadavg", show_loadavg, NULL},
    {"/proc/uptime", show_uptime, NULL},
    {"/proc/interrupts", show_interrupts, NULL},
    {"/proc/cmdline", show_cmdline, NULL},
    {"/proc/version", show_text, "Linux version 6.1.0-moka (moka) (gcc) #1 SMP PREEMPT\n"},
    {"/proc/filesystems", show_text,
     "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\n\terofs\nnodev\t9p\n"},
    {"/proc/swaps", show_text, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"},
    {"/proc/cgroups", show_text, "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"},
    {"/proc/devices", show_text, "Character devices:\n  1 mem\n  5 /dev/tty\n\nBlock devices:\n"},
    {"/proc/modules", show_text, ""},
    {"/proc/partitions", show_text, "major minor  #blocks  name\n"},
    {"/proc/diskstats", show_text, ""},
    {"/proc/sys/kernel/ostype", show_text, "Linux\n"},
    {"/proc/sys/kernel/osrelease", show_text, "6.1.0-moka\n"},
    {"/proc/sys/kernel/version", show_text, "#1 SMP PREEMPT\n"},
    {"/proc/sys/kernel/domainname", show_text, "(none)\n"},
    {"/proc/sys/kernel/core_pattern", show_text, "core\n"},
    {"/proc/sys/kernel/sem", show_text, "32000\t1024000000\t500\t32000\n"},
    {"/proc/sys/kernel/hostname", show_hostname, NULL},
    {"/proc/sys/kernel/random/uuid", show_new_uuid, NULL},
    {"/proc/sys/kernel/random/boot_id", show_boot_id, NULL},
    {"/proc/sys/net/core/somaxconn", show_text, "4096\n"},
    {"/proc/sys/net/ipv4/ip_local_port_range", show_text, "32768\t60999\n"},
    {"/proc/sys/net/ipv6/conf/all/disable_ipv6", show_text, "0\n"},
};

void proc_init(void)
{
    int err = 0;
    for (u32 i = 0; i < ARRAY_LEN(files); i++)
        err |= synth_file(files[i].path, files[i].show, NULL, (void *)files[i].text);
    for (u32 i = 0; i < ARRAY_LEN(knobs); i++)
        err |= synth_file(knobs[i].path, show_knob, store_knob, &knobs[i]);
    if (err)
        panic("no memory for /proc");
}
