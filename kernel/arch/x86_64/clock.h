/* Clocks: what boot and SMP start-up call; the public part is in arch.h. */
#ifndef MOKA_ARCH_CLOCK_H
#define MOKA_ARCH_CLOCK_H

#include "kernel/base/types.h"

/*
 * Finds the rate of the TSC (and of the APIC timer), and the time of day to about a second. Boot CPU, APIC
 * on. Monotonic time starts at the kernel's entry.
 */
void clock_init(void);
/* The one-shot timer of the calling CPU. */
void clock_init_cpu(void);
/* ---- sources ---- */

/* Hypervisor signature at CPUID 0x40000000; none on a machine without one. */
#define HYPERVISOR_TCG    "TCGTCGTCGTCG"
#define HYPERVISOR_KVM    "KVMKVMKVM\0\0\0"
#define HYPERVISOR_VMWARE "VMwareVMware"
bool hypervisor_is(const char *signature);

/*
 * KVM's paravirtual clock (Linux Documentation/virt/kvm/x86/msr.rst). Rate: ns = ticks * mult >> shift, of
 * the TSC, which is all that is taken from it later. stable: the host vouches for one TSC on all CPUs. False:
 * there is no such clock.
 */
bool kvmclock_rate(u64 *mult, u64 *shift, bool *stable);
/* Nanoseconds since 1970 at the moment of the call; 0 when there is none. */
u64 kvmclock_realtime_ns(void);

/* The real-time clock chip (MC146818): seconds since 1970; 0 when there is none. */
u64 rtc_seconds(void);

/* Channel 2 of the 8254 timer as a free-running down counter of 65536 ticks, PIT_HZ. */
#define PIT_HZ 1193182UL
void pit_start(void);
u16 pit_read(void);

static inline u64 read_tsc(void)
{
    u32 lo, hi;
    __asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi)::"memory");
    return (u64)hi << 32 | lo;
}

#endif
