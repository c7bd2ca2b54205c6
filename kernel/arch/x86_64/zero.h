/* Zeroing whole frames of 4 KiB as fast as the CPU can. */
#ifndef MOKA_ARCH_ZERO_H
#define MOKA_ARCH_ZERO_H

#include "kernel/base/types.h"

/*
 * Zeroes len bytes at `at`, both multiples of 4 KiB, through the kernel's half. Any thread, also with
 * preemption off; not from interrupt handlers. Leaves the program's registers as they are.
 */
void zero_frames(void *at, u64 len);
/* Chooses the way. Boot CPU, after fpu_init_cpu(); memset() until then. */
void zero_init(void);

#endif
