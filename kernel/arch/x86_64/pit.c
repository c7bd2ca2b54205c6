/* Channel 2 of the 8254 timer (Intel 8254 data sheet): the one without an interrupt. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/clock.h"

#define PORT_CHANNEL2 0x42
#define PORT_COMMAND  0x43
#define PORT_GATE     0x61 /* bit 0: channel 2 counts; bit 1: speaker */
#define CH2_RATE      0xb4 /* channel 2, low then high byte, mode 2, binary */
#define CH2_LATCH     0x80

void pit_start(void)
{
    outb(PORT_GATE, (inb(PORT_GATE) & ~3u) | 1);
    outb(PORT_COMMAND, CH2_RATE);
    outb(PORT_CHANNEL2, 0); /* 65536 */
    outb(PORT_CHANNEL2, 0);
}

u16 pit_read(void)
{
    outb(PORT_COMMAND, CH2_LATCH);
    u8 low = inb(PORT_CHANNEL2);
    return low | inb(PORT_CHANNEL2) << 8;
}
