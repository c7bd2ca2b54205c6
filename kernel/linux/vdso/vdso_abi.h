/* What the vDSO's code and the program agree on: clock_gettime(2), gettimeofday(2); Linux uapi linux/time.h.
 */
#ifndef MOKA_LINUX_VDSO_ABI_H
#define MOKA_LINUX_VDSO_ABI_H

#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/cpu.h"

struct vdso_timespec {
    long sec, nsec;
};
struct vdso_timeval {
    long sec, usec;
};
struct vdso_timezone {
    int minutes_west, dst_time;
};

#define CLOCK_REALTIME         0
#define CLOCK_MONOTONIC        1
#define CLOCK_MONOTONIC_RAW    4
#define CLOCK_REALTIME_COARSE  5
#define CLOCK_MONOTONIC_COARSE 6
#define CLOCK_BOOTTIME         7

#define SYS_CLOCK_GETTIME 228
#define SYS_CLOCK_GETRES  229

#endif
