/* Interval timers: setitimer(2), alarm(2), timer_create(2). */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/time.h"
#include "kernel/linux/user.h"
#include "mm/phys/phys.h"
#include "sched/timer.h"

#define TIMERS_MAX 1024

/* A timer that sends a signal. Guarded by timers_lock, but timer itself. */
struct ptimer {
    struct timer timer;
    u64 interval_ns, next_ns; /* next_ns: monotonic; 0: not armed */
    struct uabi_sigevent event;
    s32 id;
    u32 overrun;
    bool realtime;
};

static struct mutex timers_lock;
static struct ptimer *timers[TIMERS_MAX];
static struct ptimer itimer_real; /* ITIMER_REAL, for setitimer and alarm */

static void send(struct ptimer *p)
{
    struct uabi_siginfo info = {.signo = p->event.signo, .code = SI_TIMER};
    if (p == &itimer_real) {
        info.code = SI_KERNEL;
        signal_send_process(SIGALRM, &info);
        return;
    }
    info.timerid = p->id;
    info.overrun = p->overrun;
    info.timer_value = p->event.value;
    if (p->event.notify == SIGEV_THREAD_ID) {
        struct task *t = task_find(p->event.tid);
        if (t) {
            signal_send_task(t, info.signo, &info);
            task_put(t);
        }
    } else if (p->event.notify != SIGEV_NONE) {
        signal_send_process(info.signo, &info);
    }
}

static void fire(struct timer *timer)
{
    struct ptimer *p = container_of(timer, struct ptimer, timer);
    mutex_lock(&timers_lock);
    u64 now = clock_monotonic_ns();
    bool due = p->next_ns && p->next_ns <= now;
    if (due && p->interval_ns) {
        u64 missed = (now - p->next_ns) / p->interval_ns;
        p->overrun = MIN(missed, 0x7fffffffUL);
        p->next_ns += (missed + 1) * p->interval_ns;
    } else if (due) {
        p->overrun = 0;
        p->next_ns = 0;
    }
    u64 next = p->next_ns;
    mutex_unlock(&timers_lock);
    if (due)
        send(p);
    if (next)
        timer_set(timer, next);
}

/* Arms for `first` ns from now (0: disarms). */
static void arm(struct ptimer *p, u64 deadline, u64 interval)
{
    timer_cancel(&p->timer);
    mutex_lock(&timers_lock);
    p->next_ns = deadline;
    p->interval_ns = interval;
    mutex_unlock(&timers_lock);
    p->timer.fire = fire;
    if (deadline)
        timer_set(&p->timer, deadline);
}

static struct uabi_itimerspec state(struct ptimer *p)
{
    struct uabi_itimerspec s = {{0, 0}, {0, 0}};
    mutex_lock(&timers_lock);
    u64 now = clock_monotonic_ns();
    s.interval = timespec_of(p->interval_ns);
    if (p->next_ns)
        s.value = timespec_of(p->next_ns > now ? p->next_ns - now : 1);
    mutex_unlock(&timers_lock);
    return s;
}

/* ---- setitimer, alarm: only ITIMER_REAL runs; CPU-time timers are refused ---- */

static struct uabi_timeval micro(struct uabi_timespec ts)
{
    return (struct uabi_timeval){ts.sec, (ts.nsec + 999) / 1000};
}

s64 sys_getitimer(s32 which, struct uabi_itimerval *uvalue)
{
    if ((u32)which > 2)
        return -EINVAL;
    struct uabi_itimerspec s = {{0, 0}, {0, 0}};
    if (which == 0)
        s = state(&itimer_real);
    struct uabi_itimerval v = {micro(s.interval), micro(s.value)};
    return copy_to_user(uvalue, &v, sizeof(v));
}

static bool timeval_valid(const struct uabi_timeval *tv)
{
    return tv->sec >= 0 && (u64)tv->usec < 1000000;
}
static u64 timeval_ns(const struct uabi_timeval *tv)
{
    struct uabi_timespec ts = {tv->sec, tv->usec * 1000};
    return timespec_ns(&ts);
}

s64 sys_setitimer(s32 which, const struct uabi_itimerval *unew, struct uabi_itimerval *uold)
{
    struct uabi_itimerval new = {{0, 0}, {0, 0}};
    if (unew && copy_from_user(&new, unew, sizeof(new)))
        return -EFAULT;
    if ((u32)which > 2 || !timeval_valid(&new.interval) || !timeval_valid(&new.value))
        return -EINVAL;
    u64 first = timeval_ns(&new.value);
    if (which != 0)
        return first ? -EOPNOTSUPP : uold ? sys_getitimer(which, uold) : 0;
    s64 err = uold ? sys_getitimer(which, uold) : 0;
    if (err)
        return err;
    arm(&itimer_real, first ? deadline_after(first) : 0, timeval_ns(&new.interval));
    return 0;
}

s64 sys_alarm(u32 seconds)
{
    struct uabi_itimerspec old = state(&itimer_real);
    arm(&itimer_real, seconds ? deadline_after(seconds * NSEC_PER_SEC) : 0, 0);
    return old.value.sec + (old.value.nsec >= 500000000 || (!old.value.sec && old.value.nsec));
}

/* ---- timer_create ---- */

static struct ptimer *timer_get(s32 id)
{
    return (u32)id < TIMERS_MAX ? __atomic_load_n(&timers[id], __ATOMIC_ACQUIRE) : NULL;
}

static int check_event(const struct uabi_sigevent *e)
{
    bool to_thread = e->notify == SIGEV_THREAD_ID;
    if (e->notify == SIGEV_NONE)
        return 0;
    if ((e->notify != SIGEV_SIGNAL && !to_thread) || e->signo < 1 || e->signo > NSIG)
        return -EINVAL;
    if (to_thread) {
        struct task *t = task_find(e->tid);
        if (!t)
            return -EINVAL;
        task_put(t);
    }
    return 0;
}

static s32 timer_add(struct ptimer *p)
{
    mutex_lock(&timers_lock);
    s32 id = 0;
    while (id < TIMERS_MAX && timers[id])
        id++;
    if (id < TIMERS_MAX) {
        p->id = id;
        __atomic_store_n(&timers[id], p, __ATOMIC_RELEASE);
    }
    mutex_unlock(&timers_lock);
    return id < TIMERS_MAX ? id : -EAGAIN;
}

s64 sys_timer_create(s32 clock, const struct uabi_sigevent *uevent, s32 *uid)
{
    struct uabi_sigevent event = {.signo = SIGALRM, .notify = SIGEV_SIGNAL};
    if (uevent && copy_from_user(&event, uevent, sizeof(event)))
        return -EFAULT;
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME && clock != CLOCK_TAI)
        return clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID
                   ? -EOPNOTSUPP
                   : -EINVAL;
    int err = check_event(&event);
    struct ptimer *p = err ? NULL : kmalloc(sizeof(*p));
    if (!p)
        return err ? err : -EAGAIN;
    p->event = event;
    p->realtime = clock == CLOCK_REALTIME || clock == CLOCK_TAI;
    s32 id = timer_add(p);
    if (id >= 0 && !uevent)
        p->event.value = id;
    if (id < 0 || put_user32(uid, id)) {
        if (id >= 0)
            timers[id] = NULL;
        kfree(p);
        return id < 0 ? id : -EFAULT;
    }
    return 0;
}

s64 sys_timer_settime(s32 id, s32 flags, const struct uabi_itimerspec *unew, struct uabi_itimerspec *uold)
{
    struct uabi_itimerspec new;
    if (!unew)
        return -EINVAL;
    if (copy_from_user(&new, unew, sizeof(new)))
        return -EFAULT;
    struct ptimer *p = timer_get(id);
    if (!p || !timespec_valid(&new.value) || !timespec_valid(&new.interval))
        return -EINVAL;
    struct uabi_itimerspec old = state(p);
    u64 first = timespec_ns(&new.value);
    u64 deadline = !first ? 0 : deadline_after(first);
    if (first && flags & TIMER_ABSTIME)
        deadline = MAX(1UL, p->realtime ? deadline_of_realtime(first) : first);
    arm(p, deadline, timespec_ns(&new.interval));
    return uold ? copy_to_user(uold, &old, sizeof(old)) : 0;
}

s64 sys_timer_gettime(s32 id, struct uabi_itimerspec *uvalue)
{
    struct ptimer *p = timer_get(id);
    if (!p)
        return -EINVAL;
    struct uabi_itimerspec s = state(p);
    return copy_to_user(uvalue, &s, sizeof(s));
}

s64 sys_timer_getoverrun(s32 id)
{
    struct ptimer *p = timer_get(id);
    return p ? (s64)p->overrun : -EINVAL;
}

s64 sys_timer_delete(s32 id)
{
    mutex_lock(&timers_lock);
    struct ptimer *p = timer_get(id);
    if (p) {
        timers[id] = NULL;
        p->next_ns = 0;
    }
    mutex_unlock(&timers_lock);
    if (!p)
        return -EINVAL;
    timer_cancel(&p->timer);
    kfree(p);
    return 0;
}
