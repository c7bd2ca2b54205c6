/* System calls that read and set clocks, and sleep. */
#include "kernel/base/errno.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/time.h"
#include "kernel/linux/user.h"

u64 process_run_ns(void)
{
    struct task *t;
    mutex_lock(&process.lock); /* a thread that ends is counted once: here or there */
    u64 ns = process.exited_run_ns;
    list_for_each(t, &process.tasks, link)
    {
        struct thread *thread = task_thread(t);
        ns += thread ? sched_run_ns(thread) : 0;
    }
    mutex_unlock(&process.lock);
    return ns;
}

int cpu_clock_owner(s32 clock, s32 *tid)
{
    s32 id = ~(clock >> 3);
    bool of_thread = clock & 4;
    if ((clock & 3) > 2)
        return -EINVAL;
    *tid = !of_thread ? 0 : id ? id : current_task()->tid;
    if (!of_thread)
        return !id || id == PID ? 0 : -EINVAL;
    struct task *t = task_find(*tid);
    if (!t)
        return -EINVAL;
    task_put(t);
    return 0;
}

u64 thread_run_ns(s32 tid)
{
    struct task *t = task_find(tid);
    struct thread *thread = t ? task_thread(t) : NULL;
    u64 ns = thread ? sched_run_ns(thread) : 0;
    if (t)
        task_put(t);
    return ns;
}

static int cpu_clock(s32 clock, u64 *ns)
{
    s32 tid;
    int err = cpu_clock_owner(clock, &tid);
    if (!err)
        *ns = tid ? thread_run_ns(tid) : process_run_ns();
    return err;
}

static int read_clock(s32 clock, u64 *ns)
{
    if (clock < 0)
        return cpu_clock(clock, ns);
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_TAI:
        *ns = clock_realtime_ns();
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        *ns = clock_monotonic_ns();
        return 0;
    case CLOCK_PROCESS_CPUTIME_ID:
        *ns = process_run_ns();
        return 0;
    case CLOCK_THREAD_CPUTIME_ID:
        *ns = sched_run_ns(current_thread());
        return 0;
    default:
        return -EINVAL;
    }
}

s64 sys_clock_gettime(s32 clock, struct uabi_timespec *uts)
{
    u64 ns;
    int err = read_clock(clock, &ns);
    if (err)
        return err;
    struct uabi_timespec ts = timespec_of(ns);
    return copy_to_user(uts, &ts, sizeof(ts));
}

s64 sys_clock_getres(s32 clock, struct uabi_timespec *uts)
{
    u64 ns;
    struct uabi_timespec ts = {0, 1};
    int err = read_clock(clock, &ns);
    if (err)
        return err;
    return uts ? copy_to_user(uts, &ts, sizeof(ts)) : 0;
}

/* Years of uptime must still fit behind it. */
#define REALTIME_MAX (INT64_MAX / NSEC_PER_SEC - 30UL * 365 * 24 * 3600) /* seconds since 1970 */

static s64 set_realtime(const struct uabi_timespec *ts)
{
    if (!timespec_valid(ts) || (u64)ts->sec >= REALTIME_MAX)
        return -EINVAL;
    clock_set_realtime_ns(timespec_ns(ts));
    return 0;
}

s64 sys_clock_settime(s32 clock, const struct uabi_timespec *uts)
{
    struct uabi_timespec ts;
    if (clock != CLOCK_REALTIME)
        return -EINVAL;
    if (copy_from_user(&ts, uts, sizeof(ts)))
        return -EFAULT;
    return set_realtime(&ts);
}

s64 sys_gettimeofday(struct uabi_timeval *utv, struct uabi_timezone *utz)
{
    struct uabi_timeval tv = timeval_of(clock_realtime_ns());
    struct uabi_timezone tz = {0, 0};
    if (utv && copy_to_user(utv, &tv, sizeof(tv)))
        return -EFAULT;
    return utz ? copy_to_user(utz, &tz, sizeof(tz)) : 0;
}

s64 sys_settimeofday(const struct uabi_timeval *utv, const void *utz)
{
    struct uabi_timeval tv;
    if (!utv)
        return 0;
    if (copy_from_user(&tv, utv, sizeof(tv)))
        return -EFAULT;
    if ((u64)tv.usec >= 1000000)
        return -EINVAL;
    struct uabi_timespec ts = {tv.sec, tv.usec * 1000};
    return set_realtime(&ts);
}

s64 sys_time(s64 *out)
{
    s64 now = clock_realtime_ns() / NSEC_PER_SEC;
    if (out && put_user64(out, now))
        return -EFAULT;
    return now;
}

s64 sys_times(struct uabi_tms *utms)
{
    struct uabi_tms tms = {.utime = process_run_ns() / (NSEC_PER_SEC / CLK_TCK)};
    if (utms && copy_to_user(utms, &tms, sizeof(tms)))
        return -EFAULT;
    return clock_monotonic_ns() / (NSEC_PER_SEC / CLK_TCK);
}

/* adjtimex(2): nobody disciplines this clock; it can be read, and says that it is not synchronised. */
s64 sys_adjtimex(struct uabi_timex *utimex)
{
    struct uabi_timex x;
    if (copy_from_user(&x, utimex, sizeof(x)))
        return -EFAULT;
    if (x.modes)
        return -EPERM;
    x = (struct uabi_timex){.status = STA_UNSYNC,
                            .tick = 1000000 / CLK_TCK,
                            .precision = 1,
                            .time = timeval_of(clock_realtime_ns())};
    return copy_to_user(utimex, &x, sizeof(x)) ?: TIME_ERROR;
}
s64 sys_clock_adjtime(s32 clock, struct uabi_timex *utimex)
{
    u64 ns;
    if (clock == CLOCK_REALTIME)
        return sys_adjtimex(utimex);
    struct uabi_timex x;
    if (copy_from_user(&x, utimex, sizeof(x)))
        return -EFAULT;
    return read_clock(clock, &ns) ?: -EOPNOTSUPP;
}

/* ---- sleeping ---- */

/* Until the deadline or a signal. 0 or -EINTR. */
static int sleep_until(u64 deadline)
{
    while (clock_monotonic_ns() < deadline) {
        if (signal_pending())
            return -EINTR;
        sched_sleep(deadline, SLEEP_INTERRUPTIBLE);
    }
    return 0;
}

static s64 write_rest(u64 deadline, struct uabi_timespec *urem)
{
    u64 now = clock_monotonic_ns();
    struct uabi_timespec rem = timespec_of(deadline > now ? deadline - now : 0);
    return urem ? copy_to_user(urem, &rem, sizeof(rem)) : 0;
}

/* args: deadline, address for the rest. */
static s64 sleep_relative(void *arg)
{
    u64 *args = arg;
    if (!sleep_until(args[0]))
        return 0;
    struct task *t = current_task();
    if (write_rest(args[0], (void *)args[1]))
        return -EFAULT;
    t->restart = sleep_relative;
    return -ERESTART_BLOCK;
}

static s64 start_sleep(u64 ns, struct uabi_timespec *urem)
{
    u64 *args = current_task()->restart_args;
    args[0] = deadline_after(ns);
    args[1] = (u64)urem;
    return sleep_relative(args);
}

s64 sys_nanosleep(const struct uabi_timespec *uts, struct uabi_timespec *urem)
{
    struct uabi_timespec ts;
    if (copy_from_user(&ts, uts, sizeof(ts)))
        return -EFAULT;
    return timespec_valid(&ts) ? start_sleep(timespec_ns(&ts), urem) : -EINVAL;
}

s64 sys_clock_nanosleep(s32 clock, s32 flags, const struct uabi_timespec *uts, struct uabi_timespec *urem)
{
    struct uabi_timespec ts;
    u64 now;
    if (clock == CLOCK_THREAD_CPUTIME_ID || read_clock(clock, &now))
        return -EINVAL;
    if (clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_MONOTONIC_RAW ||
        clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_REALTIME_COARSE)
        return -EOPNOTSUPP;
    if (copy_from_user(&ts, uts, sizeof(ts)))
        return -EFAULT;
    if (!timespec_valid(&ts))
        return -EINVAL;
    if (!(flags & TIMER_ABSTIME))
        return start_sleep(timespec_ns(&ts), urem);
    bool realtime = clock == CLOCK_REALTIME || clock == CLOCK_TAI || clock == CLOCK_REALTIME_ALARM;
    u64 deadline = realtime ? deadline_of_realtime(timespec_ns(&ts)) : timespec_ns(&ts);
    return sleep_until(deadline) ? -ERESTART_NOHAND : 0;
}

s64 sys_restart_syscall(void)
{
    return -EINTR; /* continued inside the kernel, never by number */
}
