/* System calls that tell about the machine, the process and its user; limits; prctl. */
#include "kernel/base/cmdline.h"
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/random.h"
#include "kernel/base/string.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/task.h"
#include "kernel/linux/time.h"
#include "kernel/linux/user.h"

s64 sys_uname(struct uabi_utsname *u)
{
    struct uabi_utsname *n = kmalloc(sizeof(*n));
    if (!n)
        return -ENOMEM;
    strlcpy(n->sysname, "Linux", sizeof(n->sysname));
    strlcpy(n->nodename, cmdline.hostname ? cmdline.hostname : "moka", sizeof(n->nodename));
    strlcpy(n->release, "6.1.0-moka", sizeof(n->release));
    strlcpy(n->version, "#1 SMP PREEMPT Moka", sizeof(n->version));
    strlcpy(n->machine, "x86_64", sizeof(n->machine));
    strlcpy(n->domainname, "(none)", sizeof(n->domainname));
    s64 err = copy_to_user(u, n, sizeof(*n));
    kfree(n);
    return err;
}

s64 sys_sysinfo(struct uabi_sysinfo *u)
{
    struct phys_stats p;
    phys_stats(&p);
    u32 load[3];
    vfs_loadavg(load);
    struct uabi_sysinfo s = {
        .uptime = clock_monotonic_ns() / NSEC_PER_SEC,
        .loads = {(u64)load[0] << 5, (u64)load[1] << 5, (u64)load[2] << 5},
        .totalram = p.total_pages,
        .freeram = p.free_pages,
        .bufferram = 0,
        .procs = process.task_count,
        .mem_unit = PAGE_SIZE,
    };
    return copy_to_user(u, &s, sizeof(s));
}

s64 sys_getrusage(s32 who, struct uabi_rusage *u)
{
    struct uabi_rusage r = {0};
    struct vm_stats vm;
    if (who != RUSAGE_SELF && who != RUSAGE_CHILDREN && who != RUSAGE_THREAD)
        return -EINVAL;
    vm_stats(&vm);
    if (who != RUSAGE_CHILDREN) {
        struct thread *self = current_thread();
        r.utime = timeval_of(who == RUSAGE_SELF ? process_run_ns() : sched_run_ns(self));
        r.maxrss = vm.resident_peak * (PAGE_SIZE / 1024);
        r.minflt = vm.faults_minor;
        r.majflt = vm.faults_major;
        r.nvcsw = who == RUSAGE_SELF ? sched_switch_count() : self->switches_voluntary;
        r.nivcsw = self->switches_forced;
    }
    return copy_to_user(u, &r, sizeof(r));
}

/* ---- limits ---- */

static s64 set_limit(u32 which, const struct uabi_rlimit *new)
{
    if (new->cur > new->max)
        return -EINVAL;
    if (which == RLIMIT_NOFILE && new->max > FD_LIMIT_HARD)
        return -EPERM;
    mutex_lock(&process.lock);
    process.rlimits[which].max = new->max;
    __atomic_store_n(&process.rlimits[which].cur, new->cur, __ATOMIC_RELAXED);
    mutex_unlock(&process.lock);
    return 0;
}

s64 sys_prlimit64(s32 pid, u32 which, const struct uabi_rlimit *unew, struct uabi_rlimit *uold)
{
    struct uabi_rlimit new, old;
    if (which >= RLIM_NLIMITS)
        return -EINVAL;
    if (unew && copy_from_user(&new, unew, sizeof(new)))
        return -EFAULT;
    struct task *t = pid ? task_find(pid) : NULL;
    if (pid && !t)
        return -ESRCH;
    if (t)
        task_put(t);
    old = process.rlimits[which];
    s64 err = unew ? set_limit(which, &new) : 0;
    return err || !uold ? err : copy_to_user(uold, &old, sizeof(old));
}

s64 sys_getrlimit(u32 which, struct uabi_rlimit *uold)
{
    return uold ? sys_prlimit64(0, which, NULL, uold) : -EFAULT;
}
s64 sys_setrlimit(u32 which, const struct uabi_rlimit *unew)
{
    return unew ? sys_prlimit64(0, which, unew, NULL) : -EFAULT;
}

/* ---- who: the superuser, and nobody else exists ---- */

s64 sys_getuid(void)
{
    return 0;
}
s64 sys_geteuid(void)
{
    return 0;
}
s64 sys_getgid(void)
{
    return 0;
}
s64 sys_getegid(void)
{
    return 0;
}
static s64 set_one(s32 id)
{
    return id == 0 || id == -1 ? 0 : -EPERM;
}
s64 sys_setuid(s32 id)
{
    return id ? -EPERM : 0;
}
s64 sys_setgid(s32 id)
{
    return id ? -EPERM : 0;
}
s64 sys_setreuid(s32 r, s32 e)
{
    return set_one(r) ?: set_one(e);
}
s64 sys_setregid(s32 r, s32 e)
{
    return set_one(r) ?: set_one(e);
}
s64 sys_setresuid(s32 r, s32 e, s32 s)
{
    return set_one(r) ?: set_one(e) ?: set_one(s);
}
s64 sys_setresgid(s32 r, s32 e, s32 s)
{
    return set_one(r) ?: set_one(e) ?: set_one(s);
}
s64 sys_setfsuid(void)
{
    return 0;
}
s64 sys_setfsgid(void)
{
    return 0;
}
s64 sys_getresuid(u32 *r, u32 *e, u32 *s)
{
    return put_user32(r, 0) ?: put_user32(e, 0) ?: put_user32(s, 0);
}
s64 sys_getresgid(u32 *r, u32 *e, u32 *s)
{
    return sys_getresuid(r, e, s);
}
s64 sys_getgroups(s32 count, u32 *list)
{
    return count < 0 ? -EINVAL : 0;
}
s64 sys_setgroups(s32 count, const u32 *list)
{
    return count ? -EPERM : 0;
}
s64 sys_getpgrp(void)
{
    return PID;
}
s64 sys_getpgid(s32 pid)
{
    return pid == 0 || pid == PID ? PID : -ESRCH;
}
s64 sys_getsid(s32 pid)
{
    return sys_getpgid(pid);
}
s64 sys_setsid(void)
{
    return -EPERM; /* process 1 leads its group already */
}
s64 sys_setpgid(s32 pid, s32 pgid)
{
    if (pgid < 0)
        return -EINVAL;
    return pid == 0 || pid == PID ? -EPERM : -ESRCH;
}

/* capget(2): the set that plain file and signal work needs, as in a container. */
struct cap_header {
    u32 version;
    s32 pid;
};
struct cap_data {
    u32 effective, permitted, inheritable;
};
#define CAP_VERSION_1 0x19980330u
#define CAP_VERSION_2 0x20071026u
#define CAP_VERSION_3 0x20080522u
#define CAPABILITIES  0xa80425fbu /* what Docker gives: chown, dac_override, fowner, kill ... */

static s64 cap_check(struct cap_header *uheader, u32 *words)
{
    struct cap_header h;
    if (copy_from_user(&h, uheader, sizeof(h)))
        return -EFAULT;
    *words = h.version == CAP_VERSION_1 ? 1 : 2;
    if (h.version != CAP_VERSION_1 && h.version != CAP_VERSION_2 && h.version != CAP_VERSION_3)
        return put_user32(&uheader->version, CAP_VERSION_3) ?: -EINVAL;
    if (h.pid < 0)
        return -EINVAL;
    struct task *t = task_find(h.pid ? h.pid : PID);
    if (!t)
        return h.pid ? -ESRCH : 0;
    task_put(t);
    return 0;
}

s64 sys_capget(struct cap_header *uheader, struct cap_data *udata)
{
    u32 words;
    struct cap_data data[2] = {{CAPABILITIES, CAPABILITIES, 0}, {0, 0, 0}};
    s64 err = cap_check(uheader, &words);
    if (!udata)
        return err == -EINVAL ? 0 : err; /* asking for the version */
    return err ? err : copy_to_user(udata, data, words * sizeof(data[0]));
}

s64 sys_capset(struct cap_header *uheader, const struct cap_data *udata)
{
    u32 words;
    struct cap_data data[2] = {0};
    s64 err = cap_check(uheader, &words);
    if (err)
        return err;
    if (copy_from_user(data, udata, words * sizeof(data[0])))
        return -EFAULT;
    return data[0].permitted & ~CAPABILITIES || data[1].permitted ? -EPERM : 0;
}

/* ---- the rest ---- */

s64 sys_umask(u32 mask)
{
    return __atomic_exchange_n(&process.umask, mask & 0777, __ATOMIC_RELAXED);
}

s64 sys_personality(u32 persona)
{
    static u32 current;
    return persona == 0xffffffff ? current : __atomic_exchange_n(&current, persona, __ATOMIC_RELAXED);
}

s64 sys_getrandom(u8 *ubuf, u64 len, u32 flags)
{
    u8 piece[256];
    if (flags & ~7u || (flags & 6) == 6)
        return -EINVAL;
    len = MIN(len, 33554431UL); /* getrandom(2) */
    if (!user_range((u64)ubuf, len))
        return -EFAULT;
    for (u64 done = 0; done < len; done += sizeof(piece)) {
        u64 n = MIN(len - done, sizeof(piece));
        random_bytes(piece, n);
        if (copy_to_user(ubuf + done, piece, n))
            return -EFAULT;
    }
    return len;
}

s64 sys_syslog(s32 type)
{
    return type < 0 || type > 10 ? -EINVAL : -EPERM;
}
s64 sys_sethostname(void)
{
    return -EPERM;
}
s64 sys_setdomainname(void)
{
    return -EPERM;
}
s64 sys_reboot(void)
{
    return -EPERM;
}
s64 sys_iopl(void)
{
    return -EPERM;
}
s64 sys_ioperm(void)
{
    return -EPERM;
}
s64 sys_unshare(u64 flags)
{
    return flags ? -EPERM : 0;
}
s64 sys_setns(void)
{
    return -EPERM;
}
s64 sys_seccomp(void)
{
    return -EINVAL; /* as a kernel without CONFIG_SECCOMP answers SECCOMP_GET_ACTION_AVAIL */
}
s64 sys_perf_event_open(void)
{
    return -EPERM;
}
s64 sys_bpf(void)
{
    return -EPERM;
}
s64 sys_vhangup(void)
{
    return -EPERM;
}
/* Calls that a system may do without; programs look for other ways when they hear ENOSYS. */
s64 sys_rseq(void)
{
    return -ENOSYS;
}
s64 sys_io_uring_setup(void)
{
    return -ENOSYS;
}
s64 sys_userfaultfd(void)
{
    return -ENOSYS;
}
s64 sys_pidfd_open(s32 pid, u32 flags)
{
    return -ENOSYS;
}
s64 sys_process_vm_readv(void)
{
    return -ENOSYS;
}
s64 sys_process_vm_writev(void)
{
    return -ENOSYS;
}
