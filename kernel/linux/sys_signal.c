/* System calls about signals. */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/sigaction.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/time.h"
#include "kernel/linux/user.h"

#define UNBLOCKABLE (SIGBIT(SIGKILL) | SIGBIT(SIGSTOP))
#define SA_KNOWN                                                                                             \
    (SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_RESTORER | SA_ONSTACK | SA_RESTART | SA_NODEFER |         \
     SA_RESETHAND)

static bool valid(int sig)
{
    return sig >= 1 && sig <= NSIG;
}

static void install(int sig, struct uabi_sigaction *new)
{
    new->mask &= ~UNBLOCKABLE;
    new->flags &= SA_KNOWN;
    sigaction_set(sig, new);
    bool default_ignored = sig == SIGCHLD || sig == SIGURG || sig == SIGWINCH || sig == SIGCONT;
    if (new->handler == SIG_IGN || (new->handler == SIG_DFL &&default_ignored))
        signal_forget(sig);
}

s64 sys_rt_sigaction(s32 sig, const struct uabi_sigaction *unew, struct uabi_sigaction *uold, u64 size)
{
    struct uabi_sigaction new, old;
    if (size != sizeof(u64))
        return -EINVAL;
    if (unew && copy_from_user(&new, unew, sizeof(new)))
        return -EFAULT;
    if (!valid(sig) || (unew && (sig == SIGKILL || sig == SIGSTOP)))
        return -EINVAL;
    mutex_lock(&process.lock);
    old = sigaction_get(sig);
    if (unew)
        install(sig, &new);
    mutex_unlock(&process.lock);
    return uold ? copy_to_user(uold, &old, sizeof(old)) : 0;
}

s64 sys_rt_sigprocmask(s32 how, const u64 *uset, u64 *uold, u64 size)
{
    struct task *t = current_task();
    u64 old = t->blocked, set;
    if (size != sizeof(u64))
        return -EINVAL;
    if (uset) {
        if (get_user64(&set, uset))
            return -EFAULT;
        if (how == SIG_BLOCK)
            set |= old;
        else if (how == SIG_UNBLOCK)
            set = old & ~set;
        else if (how != SIG_SETMASK)
            return -EINVAL;
        signal_set_blocked(set);
    }
    return uold ? put_user64(uold, old) : 0;
}

s64 sys_rt_sigpending(u64 *uset, u64 size)
{
    struct task *t = current_task();
    if (size > sizeof(u64))
        return -EINVAL;
    u64 set = (t->pending.set | process.pending.set) & t->blocked;
    return copy_to_user(uset, &set, size);
}

/* Sleeps until a signal is to be delivered. */
static s64 wait_for_signal(void)
{
    while (!signal_pending())
        sched_sleep(SLEEP_FOREVER, SLEEP_INTERRUPTIBLE);
    return -ERESTART_NOHAND;
}

s64 sys_pause(void)
{
    return wait_for_signal();
}

s64 sys_rt_sigsuspend(const u64 *uset, u64 size)
{
    if (size != sizeof(u64))
        return -EINVAL;
    if (!uset)
        return -EFAULT;
    int err = signal_temp_mask(uset, size);
    if (err)
        return err;
    s64 result = wait_for_signal();
    signal_restore_mask(result);
    return result;
}

/* Waits for one of set. 0 and *info, -EAGAIN after the deadline, -EINTR. */
static s64 wait_in(u64 set, u64 deadline, struct uabi_siginfo *info)
{
    struct task *t = current_task();
    s64 err = 0;
    __atomic_store_n(&t->waiting, set, __ATOMIC_SEQ_CST);
    while (!signal_dequeue(t, set, info)) {
        if (signal_pending()) {
            /* Woken for one of set that another thread took, or for another signal. */
            u64 others = ~t->blocked & ~set;
            if ((t->pending.set | process.pending.set) & others || process.exiting) {
                err = -EINTR;
                break;
            }
            __atomic_store_n(&t->thread->interrupt, 0, __ATOMIC_SEQ_CST);
            if (__atomic_load_n(&process.exiting, __ATOMIC_SEQ_CST)) {
                err = -EINTR;
                break;
            }
            if ((t->pending.set | process.pending.set) & (set | others))
                continue;
        }
        if (sched_sleep(deadline, SLEEP_INTERRUPTIBLE) == -ETIMEDOUT) {
            err = signal_dequeue(t, set, info) ? 0 : -EAGAIN;
            break;
        }
    }
    __atomic_store_n(&t->waiting, 0, __ATOMIC_SEQ_CST);
    return err;
}

s64 sys_rt_sigtimedwait(const u64 *uset, struct uabi_siginfo *uinfo, const struct uabi_timespec *uts,
                        u64 size)
{
    u64 set, deadline = SLEEP_FOREVER;
    struct uabi_siginfo info;
    if (size != sizeof(u64))
        return -EINVAL;
    if (get_user64(&set, uset))
        return -EFAULT;
    if (uts) {
        struct uabi_timespec ts;
        if (copy_from_user(&ts, uts, sizeof(ts)))
            return -EFAULT;
        if (!timespec_valid(&ts))
            return -EINVAL;
        deadline = deadline_after(timespec_ns(&ts));
    }
    s64 err = wait_in(set & ~UNBLOCKABLE, deadline, &info);
    if (err)
        return err;
    if (uinfo && copy_to_user(uinfo, &info, sizeof(info)))
        return -EFAULT;
    return info.signo;
}

/* Sends to a thread; tgid <= 0: any process's. */
static s64 send_thread(s32 tid, int sig, const struct uabi_siginfo *info)
{
    struct task *t = task_find(tid);
    if (!t)
        return -ESRCH;
    s64 err = sig ? signal_send_task(t, sig, info) : 0;
    task_put(t);
    return err;
}

s64 sys_kill(s32 pid, s32 sig)
{
    struct uabi_siginfo info;
    if (sig && !valid(sig))
        return -EINVAL;
    /* The process, its group (0, -1 of group 1), but "everybody" leaves out the caller. */
    if (pid == -1)
        return -ESRCH;
    if (pid != PID && pid != 0 && pid != -PID) {
        struct task *t = pid > 0 ? task_find(pid) : NULL; /* any thread's id names its process */
        if (!t)
            return -ESRCH;
        task_put(t);
    }
    signal_info(&info, sig, SI_USER);
    return sig ? signal_send_process(sig, &info) : 0;
}

s64 sys_tkill(s32 tid, s32 sig)
{
    struct uabi_siginfo info;
    if (tid <= 0 || (sig && !valid(sig)))
        return -EINVAL;
    signal_info(&info, sig, SI_TKILL);
    return send_thread(tid, sig, &info);
}

s64 sys_tgkill(s32 tgid, s32 tid, s32 sig)
{
    if (tgid <= 0 || tid <= 0)
        return -EINVAL;
    if (tgid != PID)
        return sig && !valid(sig) ? -EINVAL : -ESRCH;
    return sys_tkill(tid, sig);
}

static s64 take_info(struct uabi_siginfo *info, const struct uabi_siginfo *uinfo, int sig)
{
    if (copy_from_user(info, uinfo, sizeof(*info)))
        return -EFAULT;
    if (sig && !valid(sig))
        return -EINVAL;
    info->signo = sig;
    return 0;
}

s64 sys_rt_sigqueueinfo(s32 pid, s32 sig, const struct uabi_siginfo *uinfo)
{
    struct uabi_siginfo info;
    s64 err = take_info(&info, uinfo, sig);
    if (err)
        return err;
    if (pid != PID)
        return -ESRCH;
    return sig ? signal_send_process(sig, &info) : 0;
}

s64 sys_rt_tgsigqueueinfo(s32 tgid, s32 tid, s32 sig, const struct uabi_siginfo *uinfo)
{
    struct uabi_siginfo info;
    s64 err = take_info(&info, uinfo, sig);
    if (err)
        return err;
    if (tgid <= 0 || tid <= 0)
        return -EINVAL;
    return tgid == PID ? send_thread(tid, sig, &info) : -ESRCH;
}
