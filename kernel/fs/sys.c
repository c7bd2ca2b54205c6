/*
 * /sys: CPUs, the one memory node, huge pages. HotSpot and the class library look here
 * (sysfs-devices-system-cpu, sysfs-kernel-mm-transparent-hugepage of the Linux ABI documentation).
 * /sys/fs/cgroup stays empty: no limits.
 */
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/fs/internal.h"

static int show_text(struct seq *s, void *arg)
{
    const char *text = arg;
    seq_write(s, text, strlen(text));
    return 0;
}

static int show_cpu_list(struct seq *s, void *arg)
{
    if (cpu_count > 1)
        seq_printf(s, "0-%u\n", cpu_count - 1);
    else
        seq_printf(s, "0\n");
    return 0;
}

static int show_cpu_map(struct seq *s, void *arg)
{
    seq_printf(s, "%08x\n", cpu_count >= 32 ? ~0u : (1u << cpu_count) - 1);
    return 0;
}

static int show_number(struct seq *s, void *arg)
{
    seq_printf(s, "%lu\n", (u64)arg);
    return 0;
}

static int show_node_meminfo(struct seq *s, void *arg)
{
    struct phys_stats m;
    phys_stats(&m);
    seq_printf(
        s, "Node 0 MemTotal:       %lu kB\nNode 0 MemFree:        %lu kB\nNode 0 MemUsed:        %lu kB\n",
        m.total_pages * 4, m.free_pages * 4, (m.total_pages - m.free_pages) * 4);
    return 0;
}

/* The pool of huge pages is all memory (kernel/linux, mmap). arg: not NULL for what of it is free. */
static int show_huge_pages(struct seq *s, void *arg)
{
    u64 pages = arg ? phys_free_pages() : phys_total_pages();
    seq_printf(s, "%lu\n", pages / (HUGE_SIZE / PAGE_SIZE));
    return 0;
}

/* Choices such as "always [madvise] never": what is written in full moves the brackets. */
static struct choice {
    const char *path;
    const char *words[5];
    u32 chosen;
} choices[] = {
    {"/sys/kernel/mm/transparent_hugepage/enabled", {"always", "madvise", "never"}, 0},
    {"/sys/kernel/mm/transparent_hugepage/defrag",
     {"always", "defer", "defer+madvise", "madvise", "never"},
     3},
    {"/sys/kernel/mm/transparent_hugepage/shmem_enabled", {"always", "within_size", "advise", "never"}, 2},
};

static int show_choice(struct seq *s, void *arg)
{
    const struct choice *c = arg;
    for (u32 i = 0; i < ARRAY_LEN(c->words) && c->words[i]; i++)
        seq_printf(s, i == c->chosen ? "%s[%s]" : "%s%s", i ? " " : "", c->words[i]);
    seq_printf(s, "\n");
    return 0;
}

static ssize_t store_choice(const char *text, size_t len, void *arg)
{
    struct choice *c = arg;
    size_t word = strcspn(text, "\n");
    for (u32 i = 0; i < ARRAY_LEN(c->words) && c->words[i]; i++)
        if (strlen(c->words[i]) == word && !memcmp(c->words[i], text, word)) {
            c->chosen = i;
            return len;
        }
    return -EINVAL;
}

static const struct {
    const char *path;
    int (*show)(struct seq *s, void *arg);
    void *arg;
} files[] = {
    {"/sys/devices/system/cpu/online", show_cpu_list, NULL},
    {"/sys/devices/system/cpu/possible", show_cpu_list, NULL},
    {"/sys/devices/system/cpu/present", show_cpu_list, NULL},
    {"/sys/devices/system/cpu/kernel_max", show_number, (void *)(CPU_MAX - 1UL)},
    {"/sys/devices/system/cpu/offline", show_text, "\n"},
    {"/sys/devices/system/cpu/isolated", show_text, "\n"},
    {"/sys/devices/system/node/online", show_text, "0\n"},
    {"/sys/devices/system/node/possible", show_text, "0\n"},
    {"/sys/devices/system/node/has_cpu", show_text, "0\n"},
    {"/sys/devices/system/node/has_memory", show_text, "0\n"},
    {"/sys/devices/system/node/has_normal_memory", show_text, "0\n"},
    {"/sys/devices/system/node/node0/cpulist", show_cpu_list, NULL},
    {"/sys/devices/system/node/node0/cpumap", show_cpu_map, NULL},
    {"/sys/devices/system/node/node0/distance", show_text, "10\n"},
    {"/sys/devices/system/node/node0/meminfo", show_node_meminfo, NULL},
    {"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", show_number, (void *)HUGE_SIZE},
    {"/sys/kernel/mm/transparent_hugepage/use_zero_page", show_number, (void *)0},
    {"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", show_huge_pages, NULL},
    {"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", show_huge_pages, "free"},
    {"/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", show_number, (void *)0},
    {"/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages", show_number, (void *)0},
    {"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages", show_number, (void *)0},
    {"/sys/hypervisor/type", show_text, "moka\n"},
};

/* One line of topology and caches a CPU: what hwloc-like readers and the JVM's CPU code look at. */
static const struct {
    const char *name;
    const char *text;
} cache_files[] = {
    {"level", "1\n"},
    {"type", "Data\n"},
    {"size", "32K\n"},
    {"coherency_line_size", "64\n"},
    {"ways_of_associativity", "8\n"},
    {"number_of_sets", "64\n"},
};

static int add_cpu(u32 cpu)
{
    static const char *const ids[] = {"physical_package_id", "die_id"};
    char path[128];
    int err = 0;
    for (u32 i = 0; i < ARRAY_LEN(ids); i++) {
        snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/%s", cpu, ids[i]);
        err |= synth_file(path, show_number, NULL, (void *)0);
    }
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/core_id", cpu);
    err |= synth_file(path, show_number, NULL, (void *)(u64)cpu);
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/core_siblings_list", cpu);
    err |= synth_file(path, show_cpu_list, NULL, NULL);
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
    err |= synth_file(path, show_number, NULL, (void *)(u64)cpu);
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/microcode/version", cpu);
    err |= synth_file(path, show_text, NULL, "0x1\n");
    for (u32 i = 0; i < ARRAY_LEN(cache_files); i++) {
        snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/cache/index0/%s", cpu,
                 cache_files[i].name);
        err |= synth_file(path, show_text, NULL, (void *)cache_files[i].text);
    }
    return err;
}

void sys_init(void)
{
    int err = 0;
    for (u32 i = 0; i < ARRAY_LEN(files); i++)
        err |= synth_file(files[i].path, files[i].show, NULL, files[i].arg);
    for (u32 i = 0; i < ARRAY_LEN(choices); i++)
        err |= synth_file(choices[i].path, show_choice, store_choice, &choices[i]);
    for (u32 i = 0; i < cpu_count; i++)
        err |= add_cpu(i);
    err |= synth_dir("/sys/fs/cgroup");
    err |= synth_dir("/sys/class/net");
    err |= synth_dir("/sys/block");
    if (err)
        panic("no memory for /sys");
}
