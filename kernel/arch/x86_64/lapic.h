/* The local APIC (Intel SDM 3A, chapter 10), in xAPIC or x2APIC mode. */
#ifndef MOKA_ARCH_LAPIC_H
#define MOKA_ARCH_LAPIC_H

#include "kernel/base/types.h"

#define VECTOR_SPURIOUS 0xff

/* Turns the calling CPU's APIC on. The first call, on the boot CPU, maps it. */
void lapic_init_cpu(void);
void lapic_eoi(void);
u32 lapic_id(void);
/* Interrupt command register: flags as in the SDM (delivery mode, level ...). */
void lapic_send(u32 apic_id, u32 command);
void lapic_send_others(u32 command);
#define ICR_FIXED   0x04000u
#define ICR_NMI     0x04400u
#define ICR_INIT    0x04500u
#define ICR_STARTUP 0x04600u

/* The one-shot timer: count ticks (at least 1) from now, divided by 1 << divide_shift; 0 disarms. */
void lapic_timer_set(u32 count, u32 divide_shift);
u32 lapic_timer_read(void);
void lapic_timer_deadline_mode(void);

#endif
