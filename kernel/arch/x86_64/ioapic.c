/* I/O APICs (Intel 82093AA data sheet, section 3). */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/platform.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/errno.h"

#define WINDOW_INDEX 0x00
#define WINDOW_DATA  0x10
#define REG_VERSION  1
#define REG_ENTRY    0x10 /* two registers an input */
#define ENTRY_LEVEL  0x8000u
#define ENTRY_MASKED 0x10000u

static struct {
    volatile u8 *regs;
    u32 inputs;
} ioapics[IOAPIC_MAX];

static u32 reg_read(u32 i, u32 reg)
{
    *(volatile u32 *)(ioapics[i].regs + WINDOW_INDEX) = reg;
    return *(volatile u32 *)(ioapics[i].regs + WINDOW_DATA);
}

static void reg_write(u32 i, u32 reg, u32 value)
{
    *(volatile u32 *)(ioapics[i].regs + WINDOW_INDEX) = reg;
    *(volatile u32 *)(ioapics[i].regs + WINDOW_DATA) = value;
}

void ioapic_init(void)
{
    for (u32 i = 0; i < platform.ioapic_count; i++) {
        ioapics[i].regs = mmio_map(platform.ioapics[i].paddr, PAGE_SIZE);
        if (ioapics[i].regs)
            ioapics[i].inputs = (reg_read(i, REG_VERSION) >> 16 & 0xff) + 1;
    }
}

int ioapic_route(u32 gsi, u32 vector, u32 cpu, bool level)
{
    for (u32 i = 0; i < platform.ioapic_count; i++) {
        u32 input = gsi - platform.ioapics[i].gsi_base;
        if (input >= ioapics[i].inputs)
            continue;
        reg_write(i, REG_ENTRY + 2 * input, ENTRY_MASKED);
        reg_write(i, REG_ENTRY + 2 * input + 1, cpus[cpu]->apic_id << 24);
        reg_write(i, REG_ENTRY + 2 * input, vector | (level ? ENTRY_LEVEL : 0));
        return 0;
    }
    return -ENODEV;
}
