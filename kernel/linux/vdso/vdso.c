/*
 * The code of the vDSO. It is a program's code, compiled apart from the kernel, but it runs in ring 0 like
 * everything else and so reads the kernel's clock parameters where they are: vdso_clock points to the
 * kernel's pointer to them. Following that pointer once gives one consistent set, since the kernel publishes
 * a new set rather than changing one.
 */
#include "kernel/linux/vdso/vdso_abi.h"

/* Filled in by the kernel before the image is mapped (map.c finds it by name). */
const struct clock_params *const *volatile vdso_clock __attribute__((visibility("hidden"))) = (void *)1;

#define NSEC 1000000000ul

static u64 read_tsc(void)
{
    u64 lo, hi;
    /* Not before earlier loads are done: a time read after seeing another thread's write must not lie before
     * it. */
    __asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi)::"memory");
    return hi << 32 | lo;
}

/* The shift is below 64, and so is what comes out: one instruction, where C would look at the shift's bit 6.
 */
static u64 monotonic_ns(const struct clock_params *p)
{
    unsigned __int128 product = (unsigned __int128)(read_tsc() - p->tsc_base) * p->mult;
    u64 ns = product, high = product >> 64;
    __asm__("shrdq %%cl, %1, %0" : "+r"(ns) : "r"(high), "c"((u8)p->shift) : "cc");
    return ns + p->ns_base;
}

/* ns / NSEC, for ns below 2^63: the reciprocal, rounded up, errs by less than 1 / NSEC there. */
static u64 seconds(u64 ns)
{
    const u64 reciprocal = ((unsigned __int128)1 << 93) / NSEC + 1;
    return (u64)(((unsigned __int128)ns * reciprocal) >> 64) >> 29;
}

static long system_call2(long number, long a, long b)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b) : "rcx", "r11", "memory");
    return result;
}

/* Whether the clock is one of those that are computed here, and then what it adds to CLOCK_MONOTONIC. */
static bool clock_offset(int clock, const struct clock_params *p, u64 *offset)
{
    *offset = 0;
    if (clock == CLOCK_MONOTONIC)
        return true;
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        *offset = p->realtime_offset_ns;
        return true;
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        return true;
    default:
        return false;
    }
}

int __vdso_clock_gettime(int clock, struct vdso_timespec *ts)
{
    const struct clock_params *p = *vdso_clock;
    u64 offset;
    if (__builtin_expect(!clock_offset(clock, p, &offset), 0)) /* CPU-time clocks and errors */
        return system_call2(SYS_CLOCK_GETTIME, clock, (long)ts);
    u64 ns = monotonic_ns(p) + offset;
    u64 sec = seconds(ns);
    ts->sec = sec;
    ts->nsec = ns - sec * NSEC;
    return 0;
}

int __vdso_gettimeofday(struct vdso_timeval *tv, struct vdso_timezone *tz)
{
    if (tv) {
        const struct clock_params *p = *vdso_clock;
        u64 ns = monotonic_ns(p) + p->realtime_offset_ns;
        u64 sec = seconds(ns);
        tv->sec = sec;
        tv->usec = (ns - sec * NSEC) / 1000;
    }
    if (tz)
        *tz = (struct vdso_timezone){0, 0};
    return 0;
}

long __vdso_time(long *out)
{
    const struct clock_params *p = *vdso_clock;
    long now = seconds(monotonic_ns(p) + p->realtime_offset_ns);
    if (out)
        *out = now;
    return now;
}

int __vdso_clock_getres(int clock, struct vdso_timespec *ts)
{
    return system_call2(SYS_CLOCK_GETRES, clock, (long)ts);
}

/* GS is the kernel's: the CPU's number lies in its own data. */
long __vdso_getcpu(u32 *cpu, u32 *node, void *unused)
{
    (void)unused;
    u32 id;
    __asm__ volatile("movl %%gs:%c1, %0" : "=r"(id) : "i"(offsetof(struct cpu, id)));
    if (cpu)
        *cpu = id;
    if (node)
        *node = 0;
    return 0;
}

int clock_gettime(int, struct vdso_timespec *) __attribute__((weak, alias("__vdso_clock_gettime")));
int gettimeofday(struct vdso_timeval *, struct vdso_timezone *)
    __attribute__((weak, alias("__vdso_gettimeofday")));
long time(long *) __attribute__((weak, alias("__vdso_time")));
int clock_getres(int, struct vdso_timespec *) __attribute__((weak, alias("__vdso_clock_getres")));
long getcpu(u32 *, u32 *, void *) __attribute__((weak, alias("__vdso_getcpu")));
