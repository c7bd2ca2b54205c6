/* Powering off. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/cpu.h"

/* An empty IDT turns any exception into a triple fault, which resets; QEMU runs with -no-reboot. */
static _Noreturn void triple_fault(void)
{
    struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) idtr = {0, 0};
    __asm__ volatile("lidt %0; ud2" ::"m"(idtr));
    __builtin_unreachable();
}

_Noreturn void arch_poweroff(void)
{
    irq_off();
    triple_fault();
}
