/* The 16550 serial port at 0x3f8 (COM1): output only, polled. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"

#define COM1          0x3f8
#define REG_DATA      0
#define REG_IER       1
#define REG_FCR       2
#define REG_LCR       3
#define REG_MCR       4
#define REG_LSR       5
#define REG_SCRATCH   7
#define LSR_THR_EMPTY 0x20

static bool present;

void serial_init(void)
{
    outb(COM1 + REG_SCRATCH, 0x5a);
    present = inb(COM1 + REG_SCRATCH) == 0x5a;
    if (!present)
        return;
    outb(COM1 + REG_IER, 0);
    outb(COM1 + REG_LCR, 0x80); /* divisor latch */
    outb(COM1 + REG_DATA, 1);   /* 115200 baud */
    outb(COM1 + REG_IER, 0);
    outb(COM1 + REG_LCR, 3); /* 8 bits, no parity */
    outb(COM1 + REG_FCR, 7); /* FIFOs on and empty */
    outb(COM1 + REG_MCR, 3); /* DTR, RTS */
}

static void put(u8 c)
{
    for (u32 tries = 0; tries < 100000 && !(inb(COM1 + REG_LSR) & LSR_THR_EMPTY); tries++)
        ;
    outb(COM1 + REG_DATA, c);
}

void serial_write(const char *text, size_t len)
{
    if (!present)
        return;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n')
            put('\r');
        put(text[i]);
    }
}
