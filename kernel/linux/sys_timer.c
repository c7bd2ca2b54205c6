/* Interval timers: setitimer(2), alarm(2), timer_create(2). */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/time.h"
#include "kernel/linux/user.h"
#include "mm/phys/phys.h"
#include "sched/timer.h"

#define TIMERS_MAX 1024
#define CLOCKFD    3 /* the low bits of a clock that is an open file */

/* What a timer counts. Time of a thread, or of all, is looked at when it could have passed at the earliest.
 */
enum timebase { TIMER_CLOCK, TIMER_PROCESS, TIMER_THREAD };

/* A timer that sends a signal. Guarded by timers_lock, but timer itself. */
struct ptimer {
    struct timer timer;
    enum timebase base;
    s32 tid;                  /* TIMER_THREAD: whose time */
    u64 interval_ns, next_ns; /* next_ns: in the timer's own time; 0: not armed */
    struct uabi_sigevent event;
    s32 id;
    u32 overrun;
    bool realtime;
    bool used; /* between timer_create and timer_delete */
};

static struct mutex timers_lock;
static struct ptimer
    *timers[TIMERS_MAX]; /* made when first needed, then kept: a late look at one is harmless */
/* ITIMER_REAL (alarm too), ITIMER_VIRTUAL, ITIMER_PROF. There is no user time apart from all CPU time. */
static struct ptimer itimers[3] = {
    {.event.signo = SIGALRM},
    {.event.signo = SIGVTALRM, .base = TIMER_PROCESS},
    {.event.signo = SIGPROF, .base = TIMER_PROCESS},
};

static bool is_itimer(const struct ptimer *p)
{
    return p >= itimers && p < itimers + ARRAY_LEN(itimers);
}

/* The present instant in the timer's own time. */
static u64 own_now(const struct ptimer *p)
{
    if (p->base == TIMER_CLOCK)
        return clock_monotonic_ns();
    return p->base == TIMER_PROCESS ? process_run_ns() : thread_run_ns(p->tid);
}

/* When the instant `next` of its own time can come at the earliest, as a monotonic time. */
static u64 earliest(const struct ptimer *p, u64 next)
{
    if (p->base == TIMER_CLOCK)
        return next;
    u64 now = own_now(p), left = next > now ? next - now : 0;
    if (p->base == TIMER_PROCESS)
        left /= cpu_count;
    return deadline_after(MAX(left, NSEC_PER_MSEC));
}

static void send(struct ptimer *p)
{
    struct uabi_siginfo info = {.signo = p->event.signo, .code = SI_TIMER};
    if (is_itimer(p)) {
        info.code = SI_KERNEL;
        signal_send_process(info.signo, &info);
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
    u64 now = own_now(p);
    mutex_lock(&timers_lock);
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
        timer_set(timer, earliest(p, next));
}

/* Arms for an instant of the timer's own time (0: disarms). */
static void arm(struct ptimer *p, u64 deadline, u64 interval)
{
    timer_cancel(&p->timer);
    mutex_lock(&timers_lock);
    if (!p->used && !is_itimer(p))
        deadline = 0; /* deleted meanwhile */
    p->next_ns = deadline;
    p->interval_ns = interval;
    mutex_unlock(&timers_lock);
    p->timer.fire = fire;
    if (deadline)
        timer_set(&p->timer, earliest(p, deadline));
}

/* The same for ns from now. */
static void arm_after(struct ptimer *p, u64 ns, u64 interval)
{
    u64 deadline = !ns                      ? 0
                   : p->base == TIMER_CLOCK ? deadline_after(ns)
                                            : own_now(p) + MIN(ns, (u64)INT64_MAX);
    arm(p, deadline, interval);
}

static struct uabi_itimerspec state(struct ptimer *p)
{
    struct uabi_itimerspec s = {{0, 0}, {0, 0}};
    u64 now = own_now(p);
    mutex_lock(&timers_lock);
    s.interval = timespec_of(p->interval_ns);
    if (p->next_ns)
        s.value = timespec_of(p->next_ns > now ? p->next_ns - now : 1);
    mutex_unlock(&timers_lock);
    return s;
}

/* ---- setitimer, alarm ---- */

static struct uabi_timeval micro(struct uabi_timespec ts)
{
    return (struct uabi_timeval){ts.sec, (ts.nsec + 999) / 1000};
}

s64 sys_getitimer(s32 which, struct uabi_itimerval *uvalue)
{
    if ((u32)which > 2)
        return -EINVAL;
    struct uabi_itimerspec s = state(&itimers[which]);
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
    s64 err = uold ? sys_getitimer(which, uold) : 0;
    if (!err)
        arm_after(&itimers[which], timeval_ns(&new.value), timeval_ns(&new.interval));
    return err;
}

s64 sys_alarm(u32 seconds)
{
    struct uabi_itimerspec old = state(&itimers[0]);
    arm_after(&itimers[0], seconds * NSEC_PER_SEC, 0);
    return old.value.sec + (old.value.nsec >= 500000000 || (!old.value.sec && old.value.nsec));
}

/* ---- timer_create ---- */

static struct ptimer *timer_get(s32 id)
{
    struct ptimer *p = (u32)id < TIMERS_MAX ? __atomic_load_n(&timers[id], __ATOMIC_ACQUIRE) : NULL;
    return p && __atomic_load_n(&p->used, __ATOMIC_ACQUIRE) ? p : NULL;
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

/* A timer of those settings, or NULL: too many, or no memory. */
static struct ptimer *timer_add(const struct ptimer *settings)
{
    struct ptimer *p = NULL;
    s32 id = 0;
    mutex_lock(&timers_lock);
    while (id < TIMERS_MAX && timers[id] && timers[id]->used)
        id++;
    if (id < TIMERS_MAX && !timers[id])
        __atomic_store_n(&timers[id], kmalloc(sizeof(*p)), __ATOMIC_RELEASE);
    if (id < TIMERS_MAX && (p = timers[id])) {
        p->base = settings->base;
        p->tid = settings->tid;
        p->event = settings->event;
        p->realtime = settings->realtime;
        p->interval_ns = p->next_ns = p->overrun = 0;
        p->id = id;
        __atomic_store_n(&p->used, true, __ATOMIC_RELEASE);
    }
    mutex_unlock(&timers_lock);
    return p;
}

static void timer_drop(struct ptimer *p)
{
    mutex_lock(&timers_lock);
    p->next_ns = 0;
    __atomic_store_n(&p->used, false, __ATOMIC_RELEASE);
    mutex_unlock(&timers_lock);
    timer_cancel(&p->timer);
}

/* A clock that timers can have: what they count, and of which thread. */
static int timer_clock(s32 clock, struct ptimer *settings)
{
    s32 tid = 0;
    int err = 0;
    settings->base = TIMER_CLOCK;
    settings->realtime = clock == CLOCK_REALTIME || clock == CLOCK_TAI;
    if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
        tid = clock == CLOCK_THREAD_CPUTIME_ID ? current_task()->tid : 0;
    else if (clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_REALTIME_COARSE ||
             clock == CLOCK_MONOTONIC_COARSE)
        return -EOPNOTSUPP; /* these are only read */
    else if (clock < 0)
        err = (clock & 7) == CLOCKFD ? -EOPNOTSUPP : cpu_clock_owner(clock, &tid);
    else
        return settings->realtime || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ? 0 : -EINVAL;
    settings->base = tid ? TIMER_THREAD : TIMER_PROCESS;
    settings->tid = tid;
    return err;
}

s64 sys_timer_create(s32 clock, const struct uabi_sigevent *uevent, s32 *uid)
{
    struct uabi_sigevent event = {.signo = SIGALRM, .notify = SIGEV_SIGNAL};
    if (uevent && copy_from_user(&event, uevent, sizeof(event)))
        return -EFAULT;
    struct ptimer settings = {.event = event};
    int err = timer_clock(clock, &settings) ?: check_event(&event);
    if (err)
        return err;
    struct ptimer *p = timer_add(&settings);
    if (!p)
        return -EAGAIN;
    if (!uevent)
        p->event.value = p->id;
    if (!put_user32(uid, p->id))
        return 0;
    timer_drop(p);
    return -EFAULT;
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
    u64 interval = timespec_ns(&new.interval);
    if (first && flags & TIMER_ABSTIME)
        arm(p, MAX(1UL, p->realtime ? deadline_of_realtime(first) : first), interval);
    else
        arm_after(p, first, interval);
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
    struct ptimer *p = timer_get(id);
    if (!p)
        return -EINVAL;
    timer_drop(p);
    return 0;
}
