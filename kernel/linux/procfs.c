/*
 * The process's files in /proc: /proc/self, which is a link to /proc/1. Formats: proc(5).
 */
#include "kernel/linux/procfs.h"
#include "kernel/base/cmdline.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/procmaps.h"
#include "kernel/linux/sigaction.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/time.h"
#include "kernel/linux/user.h"

/* ---- /proc/self/task/TID/{stat,status,comm} and their namesakes above: arg is the tid ---- */

#define TICK_NS (NSEC_PER_SEC / CLK_TCK)

/* What a thread's files show; copied while it cannot go away. */
struct snapshot {
    char name[THREAD_NAME_LEN];
    u64 run_ns, start_ns, blocked, pending;
    s32 nice;
    u32 cpu, state;
    cpu_mask affinity;
    u64 voluntary, forced;
};

static int take_snapshot(s32 tid, struct snapshot *s)
{
    struct task *t = task_find(tid);
    if (!t)
        return -ESRCH;
    struct thread *th = task_thread(t);
    memset(s, 0, sizeof(*s));
    if (th) {
        memcpy(s->name, th->name, sizeof(s->name) - 1);
        s->run_ns = sched_run_ns(th);
        s->nice = th->nice;
        s->cpu = th->cpu;
        s->state = th->state;
        s->affinity = th->affinity;
        s->voluntary = th->switches_voluntary;
        s->forced = th->switches_forced;
    }
    s->start_ns = t->start_ns;
    s->blocked = t->blocked;
    s->pending = t->pending.set;
    task_put(t);
    return th ? 0 : -ESRCH;
}

static char state_letter(u32 state)
{
    return state == THREAD_SLEEPING ? 'S' : 'R';
}

static void signal_sets(u64 *ignored, u64 *caught)
{
    *ignored = *caught = 0;
    for (int sig = 1; sig <= NSIG; sig++) {
        u64 handler = sigaction_get(sig).handler;
        if (handler == SIG_IGN)
            *ignored |= SIGBIT(sig);
        else if (handler != SIG_DFL)
            *caught |= SIGBIT(sig);
    }
}

static int show_stat(struct seq *s, s32 tid, bool whole)
{
    struct snapshot t;
    struct vm_stats vm;
    u64 ignored, caught;
    if (take_snapshot(tid, &t))
        return -ESRCH;
    vm_stats(&vm);
    signal_sets(&ignored, &caught);
    u64 ticks = (whole ? process_run_ns() : t.run_ns) / TICK_NS;
    seq_printf(s, "%d (%s) %c 0 1 1 0 -1 4194304 %lu 0 %lu 0 %lu 0 0 0 %d %d %u 0 %lu %lu %lu %lu ", tid,
               t.name, state_letter(t.state), vm.faults_minor, vm.faults_major, ticks, 20 + t.nice, t.nice,
               process.task_count, t.start_ns / TICK_NS, vm.mapped_bytes, vm.resident_pages,
               process_rlimit(RLIMIT_RSS));
    seq_printf(s, "%lu %lu %lu 0 0 %lu %lu %lu %lu 0 0 0 17 %u 0 0 0 0 0 %lu %lu %lu %lu %lu %lu %lu 0\n",
               process.code_start, process.code_end, process.stack_start, t.pending & 0x7fffffff,
               t.blocked & 0x7fffffff, ignored & 0x7fffffff, caught & 0x7fffffff, t.cpu, process.data_start,
               process.data_end, vm_brk_start(), process.arg_start, process.arg_end, process.env_start,
               process.env_end);
    return 0;
}

static u32 open_descriptors(void)
{
    u32 highest = 64;
    for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1))
        highest = MAX(highest, ALIGN_UP((u32)fd + 1, 64));
    return highest;
}

static int show_status(struct seq *s, s32 tid)
{
    struct snapshot t;
    struct vm_stats vm;
    u64 ignored, caught;
    if (take_snapshot(tid, &t))
        return -ESRCH;
    vm_stats(&vm);
    signal_sets(&ignored, &caught);
    u64 size = vm.mapped_bytes / 1024, rss = vm.resident_pages * 4;
    seq_printf(s,
               "Name:\t%s\nUmask:\t%04o\nState:\t%s\nTgid:\t1\nNgid:\t0\nPid:\t%d\nPPid:\t0\nTracerPid:\t0\n",
               t.name, process.umask, state_letter(t.state) == 'S' ? "S (sleeping)" : "R (running)", tid);
    seq_printf(s, "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t%u\nGroups:\t\n", open_descriptors());
    seq_printf(s, "VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t%8u kB\nVmPin:\t%8u kB\n", size, size, 0, 0);
    seq_printf(s,
               "VmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\nRssAnon:\t%8lu kB\nRssFile:\t%8u kB\nRssShmem:\t%8u kB\n",
               vm.resident_peak * 4, rss, rss, 0, 0);
    seq_printf(s,
               "VmData:\t%8lu kB\nVmStk:\t%8u kB\nVmExe:\t%8lu kB\nVmLib:\t%8u kB\nVmPTE:\t%8u "
               "kB\nVmSwap:\t%8u kB\n",
               size, 8192, (process.code_end - process.code_start) / 1024, 0, 0, 0);
    seq_printf(s, "HugetlbPages:\t%8u kB\nCoreDumping:\t0\nTHP_enabled:\t1\nThreads:\t%u\nSigQ:\t0/%lu\n", 0,
               process.task_count, process_rlimit(RLIMIT_SIGPENDING));
    seq_printf(s, "SigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\n",
               t.pending, process.pending.set, t.blocked, ignored, caught);
    seq_printf(s, "CapInh:\t%016x\nCapPrm:\t%016lx\nCapEff:\t%016lx\nCapBnd:\t%016lx\nCapAmb:\t%016x\n", 0,
               0xa80425fbUL, 0xa80425fbUL, 0xa80425fbUL, 0);
    cpu_mask cpus = t.affinity & ((1UL << cpu_count) - 1);
    seq_printf(
        s, "NoNewPrivs:\t0\nSeccomp:\t0\nCpus_allowed:\t%lx\nCpus_allowed_list:\t0-%u\nMems_allowed:\t1\n",
        cpus, cpu_count - 1);
    seq_printf(s, "Mems_allowed_list:\t0\nvoluntary_ctxt_switches:\t%lu\nnonvoluntary_ctxt_switches:\t%lu\n",
               t.voluntary, t.forced);
    return 0;
}

static int show_comm(struct seq *s, s32 tid)
{
    struct snapshot t;
    if (take_snapshot(tid, &t))
        return -ESRCH;
    seq_printf(s, "%s\n", t.name);
    return 0;
}

static int self_stat(struct seq *s, void *arg)
{
    return show_stat(s, task_next_tid(1), true);
}
static int self_status(struct seq *s, void *arg)
{
    return show_status(s, task_next_tid(1));
}
static int self_comm(struct seq *s, void *arg)
{
    return show_comm(s, task_next_tid(1));
}
static ssize_t store_comm(const char *text, size_t len, void *arg)
{
    char *name = current_thread()->name;
    size_t n = MIN(len, (size_t)THREAD_NAME_LEN - 1);
    memset(name, 0, THREAD_NAME_LEN);
    memcpy(name, text, n && text[n - 1] == '\n' ? n - 1 : n);
    return len;
}
static int task_stat(struct seq *s, void *arg)
{
    return show_stat(s, (s64)arg, false);
}
static int whole_stat(struct seq *s, void *arg)
{
    return show_stat(s, (s64)arg, true);
}
static int task_status(struct seq *s, void *arg)
{
    return show_status(s, (s64)arg);
}
static int task_comm(struct seq *s, void *arg)
{
    return show_comm(s, (s64)arg);
}

/* ---- plain files of the process ---- */

static int show_statm(struct seq *s, void *arg)
{
    struct vm_stats vm;
    vm_stats(&vm);
    seq_printf(s, "%lu %lu 0 %lu 0 %lu 0\n", vm.mapped_bytes / PAGE_SIZE, vm.resident_pages,
               (process.code_end - process.code_start) / PAGE_SIZE, vm.mapped_bytes / PAGE_SIZE);
    return 0;
}

/* Bytes of the program's initial stack. */
static int show_range(struct seq *s, u64 start, u64 end)
{
    char buf[256];
    for (u64 at = start; at < end; at += sizeof(buf)) {
        size_t n = MIN(end - at, sizeof(buf));
        if (copy_from_user(buf, (void *)at, n))
            return -EFAULT;
        seq_write(s, buf, n);
    }
    return 0;
}
static int show_cmdline(struct seq *s, void *arg)
{
    return show_range(s, process.arg_start, process.arg_end);
}
static int show_environ(struct seq *s, void *arg)
{
    return show_range(s, process.env_start, process.env_end);
}
static int show_auxv(struct seq *s, void *arg)
{
    seq_write(s, (const char *)process.auxv, process.auxv_len * 8);
    return 0;
}

static void add_limit(struct seq *s, u64 value)
{
    char text[24];
    if (value == RLIM_INFINITY)
        strlcpy(text, "unlimited", sizeof(text));
    else
        snprintf(text, sizeof(text), "%lu", value);
    seq_printf(s, "%-20s ", text);
}

static int show_limits(struct seq *s, void *arg)
{
    static const char *const names[RLIM_NLIMITS][2] = {
        {"Max cpu time", "seconds"},    {"Max file size", "bytes"},      {"Max data size", "bytes"},
        {"Max stack size", "bytes"},    {"Max core file size", "bytes"}, {"Max resident set", "bytes"},
        {"Max processes", "processes"}, {"Max open files", "files"},     {"Max locked memory", "bytes"},
        {"Max address space", "bytes"}, {"Max file locks", "locks"},     {"Max pending signals", "signals"},
        {"Max msgqueue size", "bytes"}, {"Max nice priority", ""},       {"Max realtime priority", ""},
        {"Max realtime timeout", "us"},
    };
    seq_printf(s, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (u32 i = 0; i < RLIM_NLIMITS; i++) {
        seq_printf(s, "%-25s ", names[i][0]);
        add_limit(s, process.rlimits[i].cur);
        add_limit(s, process.rlimits[i].max);
        seq_printf(s, "%-10s\n", names[i][1]);
    }
    return 0;
}

static int show_cgroup(struct seq *s, void *arg)
{
    seq_printf(s, "0::/\n");
    return 0;
}

static int add_mountinfo(const struct vfs_mount_info *m, void *arg)
{
    const char *mode = m->read_only ? "ro" : "rw";
    u32 major = m->dev >> 8 & 0xfff, minor = m->dev & 0xff;
    seq_printf(arg, "%u %u %u:%u / %s %s,relatime - %s %s %s\n", m->id, m->parent_id, major, minor, m->dir,
               mode, m->type, m->source, mode);
    return 0;
}
static int show_mountinfo(struct seq *s, void *arg)
{
    return vfs_for_each_mount(add_mountinfo, s);
}
static int add_mount(const struct vfs_mount_info *m, void *arg)
{
    seq_printf(arg, "%s %s %s %s,relatime 0 0\n", m->source, m->dir, m->type, m->read_only ? "ro" : "rw");
    return 0;
}
static int show_mounts(struct seq *s, void *arg)
{
    return vfs_for_each_mount(add_mount, s);
}

/* A fixed text. */
static int show_text(struct seq *s, void *arg)
{
    seq_printf(s, "%s", (const char *)arg);
    return 0;
}
static ssize_t store_nothing(const char *text, size_t len, void *arg)
{
    return len;
}

/* ---- links ---- */

static ssize_t link_text(const char *text, char *buf, size_t size)
{
    size_t n = MIN(strlen(text), size);
    memcpy(buf, text, n);
    return n;
}
static ssize_t exe_target(char *buf, size_t size, void *arg)
{
    return process.exe ? link_text(process.exe, buf, size) : -ENOENT;
}
static ssize_t cwd_target(char *buf, size_t size, void *arg)
{
    struct vfs_path cwd = process_cwd();
    char *path = kmalloc(PATH_MAX);
    ssize_t n = path ? vfs_path_name(cwd, path, PATH_MAX) : -ENOMEM;
    vfs_path_put(cwd);
    if (n > 0 || n == -ENOENT)
        n = link_text(path, buf, size);
    kfree(path);
    return n;
}
static ssize_t fixed_target(char *buf, size_t size, void *arg)
{
    return link_text(arg, buf, size);
}
static ssize_t thread_self_target(char *buf, size_t size, void *arg)
{
    char text[32];
    snprintf(text, sizeof(text), "1/task/%d", current_thread()->task ? current_task()->tid : PID);
    return link_text(text, buf, size);
}

/* ---- directories of numbers: fd, fdinfo, task ---- */

/* A decimal name, or -1. */
static s32 parse_number(const char *name, u32 len)
{
    s64 value = 0;
    if (!len || len > 7 || (len > 1 && name[0] == '0'))
        return -1;
    for (u32 i = 0; i < len; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        value = value * 10 + name[i] - '0';
    }
    return value;
}

/* The position of a number is the number. next_number: the lowest there is >= n, or below 0. */
static int list_numbers(u64 pos, vfs_dir_fn fn, void *arg, s32 (*next_number)(s32 n), u32 type)
{
    char name[16];
    for (s32 n = next_number(pos); n >= 0; n = next_number(n + 1)) {
        int len = snprintf(name, sizeof(name), "%d", n);
        if (fn(arg, name, len, n + 100, type, (u64)n + 1))
            return 1;
    }
    return 0;
}

static ssize_t fd_target(char *buf, size_t size, void *arg)
{
    struct file *f = fd_get((s64)arg);
    if (!f)
        return -ENOENT;
    /* What has a name says where it is now, and when it is deleted. */
    char *path = f->dentry ? kmalloc(PATH_MAX) : NULL;
    const char *text = f->path ? f->path : "anon_inode:[unknown]";
    if (path && (vfs_path_name(vfs_file_path(f), path, PATH_MAX) != -ERANGE))
        text = path;
    ssize_t n = link_text(text, buf, size);
    kfree(path);
    file_put(f);
    return n;
}
static struct file *fd_open(void *arg)
{
    return fd_get((s64)arg);
}
static s32 next_fd(s32 n)
{
    return fd_next(n);
}
static int fd_list(u64 pos, vfs_dir_fn fn, void *arg, void *ctx)
{
    return list_numbers(pos, fn, arg, next_fd, S_IFLNK);
}
/* An open descriptor's number, or -1. */
static s32 parse_fd(const char *name, u32 len)
{
    s32 fd = parse_number(name, len);
    return fd >= 0 && fd_next(fd) == fd ? fd : -1;
}
static int fd_lookup(const char *name, u32 len, struct inode **out, void *ctx)
{
    s32 fd = parse_fd(name, len);
    if (fd < 0)
        return -ENOENT;
    *out = synth_inode_jump(fd_target, fd_open, (void *)(s64)fd);
    return *out ? 0 : -ENOMEM;
}

static int show_fdinfo(struct seq *s, void *arg)
{
    struct file *f = fd_get((s64)arg);
    if (!f)
        return -ENOENT;
    u32 cloexec = fd_get_cloexec((s64)arg) == 1 ? O_CLOEXEC : 0;
    seq_printf(s, "pos:\t%lu\nflags:\t0%o\nmnt_id:\t1\nino:\t%lu\n", f->pos, f->flags | cloexec,
               f->inode ? f->inode->ino : 0);
    file_put(f);
    return 0;
}
static int fdinfo_list(u64 pos, vfs_dir_fn fn, void *arg, void *ctx)
{
    return list_numbers(pos, fn, arg, next_fd, S_IFREG);
}
static int fdinfo_lookup(const char *name, u32 len, struct inode **out, void *ctx)
{
    s32 fd = parse_fd(name, len);
    if (fd < 0)
        return -ENOENT;
    *out = synth_inode_file(show_fdinfo, (void *)(s64)fd);
    return *out ? 0 : -ENOMEM;
}

/*
 * A thread's directory: /proc/TID, which nobody lists, and /proc/self/task/TID. Three files are about the
 * thread; the others, and those of /proc/1 itself, are the process's.
 */
static struct inode *process_dir; /* /proc/1 */

struct thread_file {
    const char *name;
    int (*show)(struct seq *s, void *arg);
};
static const struct thread_file own_files[] = {{"comm", task_comm},
                                               {"stat", task_stat},
                                               {"status", task_status}},
                                whole_files[] = {
                                    {"comm", task_comm}, {"stat", whole_stat}, {"status", task_status}};

static bool is_name(const char *name, u32 len, const char *what)
{
    return strlen(what) == len && !memcmp(name, what, len);
}

static int thread_file(const struct thread_file files[ARRAY_LEN(own_files)], const char *name, u32 len,
                       struct inode **out, void *ctx)
{
    for (u32 i = 0; i < ARRAY_LEN(own_files); i++) {
        if (is_name(name, len, files[i].name)) {
            *out = synth_inode_file(files[i].show, ctx);
            return *out ? 0 : -ENOMEM;
        }
    }
    mutex_lock(&process_dir->lock);
    int err = process_dir->ops->lookup(process_dir, name, len, out);
    mutex_unlock(&process_dir->lock);
    return err;
}

static int whole_lookup(const char *name, u32 len, struct inode **out, void *ctx)
{
    return thread_file(whole_files, name, len, out, ctx);
}
static int own_lookup(const char *name, u32 len, struct inode **out, void *ctx)
{
    return is_name(name, len, "task") ? -ENOENT : thread_file(own_files, name, len, out, ctx);
}

/* "." and ".." are the caller's. */
static int whole_list(u64 pos, vfs_dir_fn fn, void *arg, void *ctx)
{
    return process_dir->ops->readdir(process_dir, NULL, MAX(pos, 2UL), fn, arg);
}

struct without_task {
    vfs_dir_fn fn;
    void *arg;
};
static int unless_task(void *arg, const char *name, u32 len, u64 ino, u32 type, u64 next)
{
    struct without_task *w = arg;
    return is_name(name, len, "task") ? 0 : w->fn(w->arg, name, len, ino, type, next);
}
static int own_list(u64 pos, vfs_dir_fn fn, void *arg, void *ctx)
{
    struct without_task w = {fn, arg};
    return whole_list(pos, unless_task, &w, ctx);
}
static const struct synth_dir_ops own_ops = {own_list, own_lookup}, whole_ops = {whole_list, whole_lookup};

static s32 next_tid(s32 n)
{
    s32 tid = task_next_tid(n);
    return tid ? tid : -1;
}
static int task_list(u64 pos, vfs_dir_fn fn, void *arg, void *ctx)
{
    return list_numbers(pos, fn, arg, next_tid, S_IFDIR);
}
static int thread_dir(const struct synth_dir_ops *ops, const char *name, u32 len, struct inode **out)
{
    s32 tid = parse_number(name, len);
    struct task *t = task_find(tid);
    if (!t)
        return -ENOENT;
    task_put(t);
    *out = synth_inode_dir(ops, (void *)(s64)tid);
    return *out ? 0 : -ENOMEM;
}
static int task_lookup(const char *name, u32 len, struct inode **out, void *ctx)
{
    return thread_dir(&own_ops, name, len, out);
}

static int proc_list(u64 pos, vfs_dir_fn fn, void *arg, void *ctx)
{
    return 0;
}
static int proc_lookup(const char *name, u32 len, struct inode **out, void *ctx)
{
    return thread_dir(&whole_ops, name, len, out);
}

static const struct synth_dir_ops fd_ops = {fd_list, fd_lookup}, fdinfo_ops = {fdinfo_list, fdinfo_lookup},
                                  task_ops = {task_list, task_lookup}, proc_ops = {proc_list, proc_lookup};

void procfs_init(void)
{
    synth_dir("/proc/1");
    synth_link("/proc/self", fixed_target, "1");
    synth_link("/proc/mounts", fixed_target, "self/mounts");
    synth_link("/proc/1/net", fixed_target, "../net");
    synth_link("/proc/thread-self", thread_self_target, NULL);
    synth_file("/proc/1/maps", procmaps_show, NULL, NULL);
    synth_file("/proc/1/smaps", procmaps_show_smaps, NULL, NULL);
    synth_file("/proc/1/stat", self_stat, NULL, NULL);
    synth_file("/proc/1/statm", show_statm, NULL, NULL);
    synth_file("/proc/1/status", self_status, NULL, NULL);
    synth_file("/proc/1/comm", self_comm, store_comm, NULL);
    synth_file("/proc/1/cmdline", show_cmdline, NULL, NULL);
    synth_file("/proc/1/environ", show_environ, NULL, NULL);
    synth_file("/proc/1/auxv", show_auxv, NULL, NULL);
    synth_file("/proc/1/limits", show_limits, NULL, NULL);
    synth_file("/proc/1/cgroup", show_cgroup, NULL, NULL);
    synth_file("/proc/1/mountinfo", show_mountinfo, NULL, NULL);
    synth_file("/proc/1/mounts", show_mounts, NULL, NULL);
    synth_file("/proc/1/oom_score", show_text, NULL, "0\n");
    synth_file("/proc/1/oom_score_adj", show_text, store_nothing, "0\n");
    synth_file("/proc/1/coredump_filter", show_text, store_nothing, "00000033\n");
    synth_file("/proc/1/loginuid", show_text, NULL, "4294967295");
    synth_link("/proc/1/exe", exe_target, NULL);
    synth_link("/proc/1/cwd", cwd_target, NULL);
    synth_link("/proc/1/root", fixed_target, "/");
    synth_dynamic_dir("/proc/1/fd", &fd_ops, NULL);
    synth_dynamic_dir("/proc/1/fdinfo", &fdinfo_ops, NULL);
    synth_dynamic_dir("/proc/1/task", &task_ops, NULL);
    synth_dynamic_dir("/proc", &proc_ops, NULL);
    struct vfs_path root = vfs_root(), self;
    if (vfs_lookup(root, "proc/1", VFS_DIRECTORY, &self))
        panic("no /proc/1");
    process_dir = vfs_path_inode(self); /* the reference of `self` stays */
    vfs_path_put(root);
}
