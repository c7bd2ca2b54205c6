/* Time values of programs, checked and converted. */
#ifndef MOKA_LINUX_TIME_H
#define MOKA_LINUX_TIME_H

#include "kernel/arch/x86_64/arch.h"
#include "kernel/linux/uabi.h"

static inline bool timespec_valid(const struct uabi_timespec *ts)
{
    return ts->sec >= 0 && (u64)ts->nsec < NSEC_PER_SEC;
}
/* Nanoseconds of a valid time; what does not fit becomes "for ever" (292 years). */
static inline u64 timespec_ns(const struct uabi_timespec *ts)
{
    return (u64)ts->sec >= 9223372036UL ? (u64)INT64_MAX : ts->sec * NSEC_PER_SEC + ts->nsec;
}
static inline struct uabi_timespec timespec_of(u64 ns)
{
    return (struct uabi_timespec){ns / NSEC_PER_SEC, ns % NSEC_PER_SEC};
}
static inline struct uabi_timeval timeval_of(u64 ns)
{
    return (struct uabi_timeval){ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 1000};
}
/* The monotonic time ns from now; never overflows into the past. */
static inline u64 deadline_after(u64 ns)
{
    u64 now = clock_monotonic_ns();
    return ns >= (u64)INT64_MAX - now ? ~0UL : now + ns;
}
/* A realtime instant as monotonic deadline, by the present offset. */
static inline u64 deadline_of_realtime(u64 ns)
{
    u64 mono = clock_monotonic_ns();
    u64 real = clock_realtime_ns();
    return ns <= real ? 0 : deadline_after(ns - real) < mono ? ~0UL : deadline_after(ns - real);
}

/* CPU time used by all threads of the process, ns. */
u64 process_run_ns(void);
/* The same of one thread; 0 if there is none of this number. */
u64 thread_run_ns(s32 tid);
/* Whose time a CPU clock counts: *tid is a thread's number, or 0 for the process. Such clocks are negative
 * numbers, ~id << 3 | 4 for a thread | kind, where id 0 means the caller (clock_getcpuclockid(3)). -EINVAL:
 * nobody's. */
int cpu_clock_owner(s32 clock, s32 *tid);

#endif
