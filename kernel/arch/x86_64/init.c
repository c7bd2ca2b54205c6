/* The architecture's share of boot once memory works. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/lapic.h"

void arch_init(void)
{
    pic_disable();
    lapic_init_cpu();
    irq_on();
}
void smp_start(void)
{
}
