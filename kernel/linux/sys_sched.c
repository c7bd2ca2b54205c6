/* System calls about scheduling: affinity, nice values, policies. Policies other than SCHED_OTHER need a
 * right (CAP_SYS_NICE) that nobody has here. */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/task.h"
#include "kernel/linux/time.h"
#include "kernel/linux/user.h"

#define SCHED_OTHER         0
#define SCHED_FIFO          1
#define SCHED_RR            2
#define SCHED_BATCH         3
#define SCHED_IDLE          5
#define SCHED_RESET_ON_FORK 0x40000000

/* The task of tid (0: the caller) with a reference, or NULL. */
static struct task *find(s32 tid)
{
    return task_find(tid ? tid : current_task()->tid);
}

s64 sys_sched_yield(void)
{
    sched_yield();
    return 0;
}

static cpu_mask online(void)
{
    return cpu_count >= 64 ? ~0UL : (1UL << cpu_count) - 1;
}

s64 sys_sched_setaffinity(s32 tid, u64 size, const void *umask)
{
    cpu_mask mask = 0;
    if (copy_from_user(&mask, umask, MIN(size, sizeof(mask))))
        return -EFAULT;
    struct task *t = find(tid);
    if (!t)
        return -ESRCH;
    mask &= online();
    struct thread *thread = task_thread(t);
    if (mask && thread)
        sched_set_affinity(thread, mask);
    task_put(t);
    return mask ? 0 : -EINVAL;
}

s64 sys_sched_getaffinity(s32 tid, u64 size, void *umask)
{
    if (size * 8 < cpu_count || size % sizeof(u64))
        return -EINVAL;
    struct task *t = find(tid);
    if (!t)
        return -ESRCH;
    struct thread *thread = task_thread(t);
    cpu_mask mask = thread ? thread->affinity & online() : online();
    task_put(t);
    return copy_to_user(umask, &mask, sizeof(mask)) ?: (s64)sizeof(mask);
}

s64 sys_getcpu(u32 *ucpu, u32 *unode)
{
    u32 cpu = cpu_id();
    if ((ucpu && put_user32(ucpu, cpu)) || (unode && put_user32(unode, 0)))
        return -EFAULT;
    return 0;
}

/* ---- nice ---- */

/* who of which: a process (0), a group (1), a user (2). 0 names one's own. */
static bool names_us(s32 which, s32 who)
{
    return which == 2 ? who == 0 : who == 0 || who == PID;
}

s64 sys_getpriority(s32 which, s32 who)
{
    if ((u32)which > 2)
        return -EINVAL;
    struct task *t = which == 0 ? find(who) : names_us(which, who) ? find(0) : NULL;
    if (!t)
        return -ESRCH;
    struct thread *thread = task_thread(t);
    s64 result = 20 - (thread ? thread->nice : 0);
    task_put(t);
    return result;
}

static int set_nice(struct task *t, void *arg)
{
    struct thread *thread = task_thread(t);
    if (thread)
        sched_set_nice(thread, *(s32 *)arg);
    return 0;
}

s64 sys_setpriority(s32 which, s32 who, s32 nice)
{
    if ((u32)which > 2)
        return -EINVAL;
    nice = MAX(-20, MIN(19, nice));
    if (which == 0) {
        struct task *t = find(who);
        if (!t)
            return -ESRCH;
        set_nice(t, &nice);
        task_put(t);
        return 0;
    }
    if (!names_us(which, who))
        return -ESRCH;
    task_for_each(set_nice, &nice);
    return 0;
}

/* ---- policies ---- */

static s64 check_thread(s32 tid)
{
    if (tid < 0)
        return -EINVAL;
    struct task *t = find(tid);
    if (!t)
        return -ESRCH;
    task_put(t);
    return 0;
}

s64 sys_sched_getscheduler(s32 tid)
{
    return check_thread(tid) ?: SCHED_OTHER;
}

static s64 check_policy(s32 policy, s32 priority)
{
    switch (policy & ~SCHED_RESET_ON_FORK) {
    case SCHED_OTHER:
    case SCHED_BATCH:
    case SCHED_IDLE:
        return priority ? -EINVAL : 0;
    case SCHED_FIFO:
    case SCHED_RR:
        return priority < 1 || priority > 99 ? -EINVAL : -EPERM;
    default:
        return -EINVAL;
    }
}

s64 sys_sched_setscheduler(s32 tid, s32 policy, const s32 *uparam)
{
    s32 priority;
    if (policy < 0 || !uparam || tid < 0)
        return -EINVAL;
    if (copy_from_user(&priority, uparam, sizeof(priority)))
        return -EFAULT;
    return check_thread(tid) ?: check_policy(policy, priority);
}

s64 sys_sched_getparam(s32 tid, s32 *uparam)
{
    if (!uparam)
        return -EINVAL;
    return check_thread(tid) ?: put_user32(uparam, 0);
}

s64 sys_sched_setparam(s32 tid, const s32 *uparam)
{
    return sys_sched_setscheduler(tid, SCHED_OTHER, uparam);
}

s64 sys_sched_get_priority_max(s32 policy)
{
    if (policy == SCHED_FIFO || policy == SCHED_RR)
        return 99;
    return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE || policy == 6 ? 0
                                                                                                 : -EINVAL;
}

s64 sys_sched_get_priority_min(s32 policy)
{
    if (policy == SCHED_FIFO || policy == SCHED_RR)
        return 1;
    return sys_sched_get_priority_max(policy);
}

s64 sys_sched_rr_get_interval(s32 tid, struct uabi_timespec *uts)
{
    struct uabi_timespec ts = timespec_of(4 * NSEC_PER_MSEC);
    return check_thread(tid) ?: copy_to_user(uts, &ts, sizeof(ts));
}

struct uabi_sched_attr {
    u32 size, policy;
    u64 flags;
    s32 nice;
    u32 priority;
    u64 runtime, deadline, period;
    u32 util_min, util_max;
};
UABI_SIZE(struct uabi_sched_attr, 56);

s64 sys_sched_getattr(s32 tid, void *uattr, u32 size, u32 flags)
{
    struct uabi_sched_attr a = {.util_max = 1024};
    if (!uattr || flags || size < 48 || size > PAGE_SIZE || tid < 0)
        return -EINVAL;
    struct task *t = find(tid);
    if (!t)
        return -ESRCH;
    struct thread *thread = task_thread(t);
    a.nice = thread ? thread->nice : 0;
    task_put(t);
    a.size = MIN(size, sizeof(a));
    return copy_to_user(uattr, &a, a.size);
}

s64 sys_sched_setattr(s32 tid, const void *uattr, u32 flags)
{
    struct uabi_sched_attr a;
    u32 size;
    if (!uattr || flags || tid < 0)
        return -EINVAL;
    if (get_user32(&size, uattr))
        return -EFAULT;
    int err = size && size < 48 ? -E2BIG : user_struct(&a, sizeof(a), uattr, size ? size : 48);
    if (err)
        return err;
    s64 result = check_thread(tid) ?: check_policy(a.policy, a.priority);
    if (!result)
        result = sys_setpriority(0, tid, a.nice);
    return result;
}

/* ioprio_set(2): kept and told; no disk queue here looks at it. */
#define IOPRIO_WHO_PROCESS 1 /* a thread; 2: a group, 3: a user */
#define IOPRIO_CLASS_SHIFT 13

static bool ioprio_valid(u32 prio)
{
    u32 class = prio >> IOPRIO_CLASS_SHIFT, level = prio & ((1u << IOPRIO_CLASS_SHIFT) - 1);
    return class == 0 ? level == 0 : class <= 2 ? level < 8 : class == 3;
}

static s64 ioprio_task(s32 which, s32 who, struct task **out)
{
    if (which < IOPRIO_WHO_PROCESS || which > 3)
        return -EINVAL;
    *out = which == IOPRIO_WHO_PROCESS ? find(who) : names_us(which - 1, who) ? find(0) : NULL;
    return *out ? 0 : -ESRCH;
}

s64 sys_ioprio_get(s32 which, s32 who)
{
    struct task *t;
    s64 err = ioprio_task(which, who, &t);
    if (err)
        return err;
    u32 prio = __atomic_load_n(&t->ioprio, __ATOMIC_RELAXED);
    task_put(t);
    return prio;
}

static int set_ioprio(struct task *t, void *arg)
{
    __atomic_store_n(&t->ioprio, *(u32 *)arg, __ATOMIC_RELAXED);
    return 0;
}

s64 sys_ioprio_set(s32 which, s32 who, u32 prio)
{
    struct task *t;
    if (!ioprio_valid(prio))
        return -EINVAL;
    s64 err = ioprio_task(which, who, &t);
    if (err)
        return err;
    if (which == IOPRIO_WHO_PROCESS)
        set_ioprio(t, &prio);
    else
        task_for_each(set_ioprio, &prio);
    task_put(t);
    return 0;
}
