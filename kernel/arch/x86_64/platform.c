/* Firmware tables, whichever there are. */
#include "kernel/arch/x86_64/platform.h"
#include "kernel/base/printf.h"

#define IOAPIC_USUAL 0xfec00000UL

struct platform platform;

void platform_add_cpu(struct platform *p, u32 apic_id)
{
    if (p->cpu_count < CPU_MAX && apic_id < APIC_ID_END)
        p->apic_ids[p->cpu_count++] = apic_id;
    else
        p->cpus_beyond++;
}

void platform_add_ioapic(struct platform *p, u64 paddr, u32 gsi_base)
{
    if (p->ioapic_count == IOAPIC_MAX)
        return;
    p->ioapics[p->ioapic_count].paddr = paddr;
    p->ioapics[p->ioapic_count++].gsi_base = gsi_base;
}

void platform_init(void)
{
    if (!acpi_parse(&platform) && !mptable_parse(&platform))
        log_info("no ACPI and no MP tables: one CPU\n");
    if (!platform.ioapic_count)
        platform_add_ioapic(&platform, IOAPIC_USUAL, 0);
}
