/* Local APIC. */
#include "kernel/arch/x86_64/lapic.h"
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/msr.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/panic.h"

#define REG_ID            0x20
#define REG_TPR           0x80
#define REG_EOI           0xb0
#define REG_SVR           0xf0
#define REG_ICR_LOW       0x300
#define REG_ICR_HIGH      0x310
#define REG_LVT_TIMER     0x320
#define REG_LVT_LINT0     0x350
#define REG_LVT_LINT1     0x360
#define REG_LVT_ERROR     0x370
#define REG_TIMER_INITIAL 0x380
#define REG_TIMER_CURRENT 0x390
#define REG_TIMER_DIVIDE  0x3e0

#define SVR_ENABLE        0x100u
#define LVT_MASKED        0x10000u
#define LVT_NMI           0x400u
#define LVT_TSC_DEADLINE  0x40000u
#define ICR_OTHERS        0xc0000u
#define APIC_BASE_X2APIC  0x400u
#define APIC_BASE_ENABLE  0x800u
#define APIC_BASE_ADDRESS 0x000ffffffffff000UL
#define CPUID1C_X2APIC    (1u << 21)

static volatile u8 *regs; /* NULL in x2APIC mode */

static u32 reg_read(u32 reg)
{
    return regs ? *(volatile u32 *)(regs + reg) : (u32)rdmsr(MSR_X2APIC + reg / 16);
}

static void reg_write(u32 reg, u32 value)
{
    if (regs)
        *(volatile u32 *)(regs + reg) = value;
    else
        wrmsr(MSR_X2APIC + reg / 16, value);
}

static bool have_x2apic(void)
{
    u32 a, b, c, d;
    cpuid(1, 0, &a, &b, &c, &d);
    return c & CPUID1C_X2APIC;
}

/* One mode after the other: from off straight to x2APIC mode faults (Intel SDM 3A, 10.12.5). */
static void turn_on(void)
{
    u64 base = rdmsr(MSR_APIC_BASE);
    if (!(base & APIC_BASE_ENABLE))
        wrmsr(MSR_APIC_BASE, base |= APIC_BASE_ENABLE);
    if (have_x2apic())
        wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
    else if (!regs)
        regs = mmio_map(base & APIC_BASE_ADDRESS, PAGE_SIZE);
}

void lapic_init_cpu(void)
{
    turn_on();
    reg_write(REG_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
    reg_write(REG_TPR, 0);
    reg_write(REG_LVT_LINT0, LVT_MASKED);
    reg_write(REG_LVT_LINT1, LVT_NMI);
    reg_write(REG_LVT_ERROR, LVT_MASKED);
    reg_write(REG_LVT_TIMER, VECTOR_TIMER);
    if (regs)
        reg_write(REG_ICR_HIGH, 0); /* arch_cpu.icr_destination */
    this_cpu()->apic_id = lapic_id();
}

void lapic_eoi(void)
{
    reg_write(REG_EOI, 0);
}

u32 lapic_id(void)
{
    return regs ? reg_read(REG_ID) >> 24 : reg_read(REG_ID);
}

/*
 * Each register write of xAPIC mode is an exit to the hypervisor, so the destination is only written when it
 * changes, and nobody waits for the delivery status: a virtual APIC delivers at once. Interrupts go off, so
 * that a handler's own message does not come between the two halves.
 */
static void icr_write(u32 destination, u32 command)
{
    if (!regs) {
        /* What was written before must be seen by whoever gets the message; WRMSR alone does not order it
         * here (Intel SDM 3A, 10.12.3). */
        __asm__ volatile("mfence; lfence" ::: "memory");
        wrmsr(MSR_X2APIC + REG_ICR_LOW / 16, (u64)destination << 32 | command);
        return;
    }
    u64 flags = irq_save();
    struct arch_cpu *a = this_cpu()->arch;
    if (a->icr_destination != destination) {
        a->icr_destination = destination;
        reg_write(REG_ICR_HIGH, destination << 24);
    }
    reg_write(REG_ICR_LOW, command);
    irq_restore(flags);
}

void lapic_send(u32 apic_id, u32 command)
{
    icr_write(apic_id, command);
}

void lapic_send_others(u32 command)
{
    struct arch_cpu *a = this_cpu()->arch;
    icr_write(regs ? a->icr_destination : 0, command | ICR_OTHERS); /* the destination is ignored */
}

void ipi_send(u32 cpu, u32 vector)
{
    lapic_send(cpus[cpu]->apic_id, ICR_FIXED | vector);
}

/* Intel SDM 3A, 10.11: message address 0xfee00000 | destination << 12; data: vector, fixed, edge. */
void msi_message(u32 vector, u32 cpu, u64 *addr, u32 *data)
{
    *addr = 0xfee00000u | cpus[cpu]->apic_id << 12;
    *data = vector;
}

void lapic_timer_set(u32 count, u32 divide_shift)
{
    /* Divide configuration: bits 0, 1, 3 hold log2 - 1; dividing by 1 is 0b1011. */
    u32 code = divide_shift ? divide_shift - 1 : 7, divide = (code & 3) | (code & 4) << 1;
    struct arch_cpu *a = this_cpu()->arch;
    if (a->timer_divide != divide) { /* an exit to the hypervisor, as above */
        a->timer_divide = divide;
        reg_write(REG_TIMER_DIVIDE, divide);
    }
    reg_write(REG_TIMER_INITIAL, count);
}

u32 lapic_timer_read(void)
{
    return reg_read(REG_TIMER_CURRENT);
}

void lapic_timer_deadline_mode(void)
{
    reg_write(REG_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR_TIMER);
    __asm__ volatile("mfence" ::
                         : "memory"); /* before the first write of the deadline: Intel SDM 3A, 10.5.4.1 */
}
