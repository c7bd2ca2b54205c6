/* Powering off: ACPI's S5 state, else a triple fault. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/platform.h"

#define PM1_SLEEP_ENABLE    0x2000u
#define PM1_SLEEP_TYPE(t)   ((u32)(t) << 10)
#define SLEEP_ENABLE        0x20u
#define SLEEP_TYPE(t)       ((u32)(t) << 2)
#define POWEROFF_WAIT_READS 100000

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

/* Set up in advance: mapping memory takes locks, and power-off may happen in any state. */
static volatile u8 *sleep_control;

void power_init(void)
{
    if (platform.sleep_control)
        sleep_control = mmio_map(platform.sleep_control, 1);
}

_Noreturn void arch_poweroff(void)
{
    u32 type = platform.s5_type;
    irq_off();
    if (sleep_control)
        *sleep_control = SLEEP_TYPE(type) | SLEEP_ENABLE;
    if (platform.sleep_control_port)
        outb(platform.sleep_control_port, SLEEP_TYPE(type) | SLEEP_ENABLE);
    if (platform.pm1a_control)
        outw(platform.pm1a_control, PM1_SLEEP_TYPE(type) | PM1_SLEEP_ENABLE);
    if (platform.pm1b_control)
        outw(platform.pm1b_control, PM1_SLEEP_TYPE(type) | PM1_SLEEP_ENABLE);
    if (sleep_control || platform.sleep_control_port || platform.pm1a_control)
        for (u32 i = 0; i < POWEROFF_WAIT_READS; i++) /* the hypervisor may finish a little later */
            inb(0x80);
    triple_fault();
}
