/*
 * A CPU and its hypervisor as far as clocks and interrupts need them, for code that no test machine runs:
 * KVM's clock, the TSC-deadline timer, x2APIC mode. What a real CPU answers with a fault ends the test.
 */
#ifndef MOKA_TEST_MACHINE_H
#define MOKA_TEST_MACHINE_H

#include "kernel/base/types.h"

struct machine {
    /* The machine that the test wants. */
    const char *hypervisor;                /* signature of 12 characters; NULL: none */
    u32 leaf_max;                          /* of the hypervisor's leaves */
    u32 kvm_features;                      /* CPUID 0x40000001 */
    u64 tsc_hz;                            /* as it is */
    u32 cpuid_khz;                         /* CPUID 0x40000010; 0: not told */
    u32 ratio_low, ratio_high, crystal_hz; /* CPUID 0x15 */
    bool deadline, x2apic, pit;
    u32 kvm_mul; /* what KVM's clock says */
    s8 kvm_shift;
    u8 kvm_flags;
    u64 kvm_tsc, kvm_ns;
    u32 wall_sec, wall_nsec;
    u32 apic_id;
    bool clock_by_test; /* the clock is written by machine_update_clock() alone */

    /* Its state. */
    u64 tsc;       /* advances with each reading */
    u64 apic_base; /* MSR 0x1b */
    u64 deadline_tsc;
    u64 icr;
    u32 lvt_timer, lvt_lint0, lvt_lint1, lvt_error, spurious, initial_count, divide;
    u64 initial_tsc; /* when initial_count was written */
    u32 deadline_writes, ipis, eois;
};
extern struct machine machine;

/* The host writes its clock as it is now, by the protocol. */
void machine_update_clock(void);
/* Ends the test with a line. */
_Noreturn void machine_fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
