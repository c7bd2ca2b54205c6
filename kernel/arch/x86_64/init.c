/* The architecture's share of boot once memory works. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/fence.h"
#include "kernel/arch/x86_64/lapic.h"
#include "kernel/arch/x86_64/platform.h"

bool fences_elided;

void arch_init(void)
{
    pic_disable();
    pit_silence();
    platform_init();
    power_init();
    lapic_init_cpu();
    ioapic_init();
    clock_init();
    fences_elided = platform.cpu_count <= 1 && hypervisor_is(HYPERVISOR_TCG);
    tlb_refits = hypervisor_is(HYPERVISOR_TCG);
    irq_on();
}
