/* Ordering memory between this CPU and a device that reads and writes it at the same time. */
#ifndef MOKA_ARCH_FENCE_H
#define MOKA_ARCH_FENCE_H

#include "kernel/base/types.h"

/*
 * QEMU's TCG (7.2: tcg/tcg-op.c, tcg_gen_mb()) translates fences and locked instructions to plain ones when
 * the machine has one CPU, although its devices run in another host thread. A store then stays in the host
 * CPU's store buffer while the load behind the fence is done already; both sides of a virtqueue can miss each
 * other's last word, and wait for ever. What still takes a lock of the host's there is reading the time-stamp
 * counter (softmmu/cpu-timers.c, cpu_get_ticks()). Set by arch_init().
 */
extern bool fences_elided;

/* A full fence that holds towards devices. Any context. */
static inline void device_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (fences_elided) {
        u32 low, high;
        __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    }
}

#endif
