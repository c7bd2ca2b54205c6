/* What firmware tables say about the machine: ACPI's MADT and FADT, or the MultiProcessor tables. */
#ifndef MOKA_ARCH_PLATFORM_H
#define MOKA_ARCH_PLATFORM_H

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/base/types.h"

#define IOAPIC_MAX 8
/* I/O APIC inputs and MSI messages name a CPU by 8 bits, all ones of which mean all CPUs. */
#define APIC_ID_END 255

struct platform {
    u32 apic_ids[CPU_MAX]; /* of all usable CPUs, the boot CPU included; below APIC_ID_END */
    u32 cpu_count;
    u32 cpus_beyond; /* there, but more than CPU_MAX or with an identifier that is too large */
    struct {
        u64 paddr;
        u32 gsi_base;
    } ioapics[IOAPIC_MAX];
    u32 ioapic_count;
    /* Power-off, each 0 when there is none. */
    u16 pm1a_control, pm1b_control; /* ports; ACPI 6.4, 4.8.3.2 */
    u64 sleep_control;              /* physical address; ACPI 6.4, 4.8.3.7 */
    u16 sleep_control_port;
    u8 s5_type;
};
/* Read-only once platform_init() returned. */
extern struct platform platform;

/* Fills platform from ACPI, else from the MP tables, else with one CPU and the usual I/O APIC. */
void platform_init(void);
/* True when ACPI has a MADT. */
bool acpi_parse(struct platform *p);
/* True when there are MP tables. */
bool mptable_parse(struct platform *p);

void platform_add_cpu(struct platform *p, u32 apic_id);
void platform_add_ioapic(struct platform *p, u64 paddr, u32 gsi_base);

/* Maps the I/O APICs. */
void ioapic_init(void);
/* Makes power-off ready: from then on it needs no lock. */
void power_init(void);
/* Masks the two 8259 interrupt controllers. */
void pic_disable(void);
/* Ends the periodic tick that channel 0 of the timer starts with: nobody sees it, but it wakes the
 * hypervisor. */
void pit_silence(void);

#endif
