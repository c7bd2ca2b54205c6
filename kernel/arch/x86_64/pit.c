/* The 8254 timer (Intel 8254 data sheet). Channel 2, which has no interrupt, is a clock; channel 0 is
 * silenced. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/platform.h"

#define PORT_CHANNEL0 0x40
#define PORT_CHANNEL2 0x42
#define PORT_COMMAND  0x43
#define PORT_GATE     0x61 /* bit 0: channel 2 counts; bit 1: speaker */
#define CH0_ONCE      0x30 /* channel 0, low then high byte, mode 0, binary */
#define CH2_RATE      0xb4 /* channel 2, low then high byte, mode 2, binary */
#define CH2_LATCH     0x80

void pit_silence(void)
{
    outb(PORT_COMMAND, CH0_ONCE);
    outb(PORT_CHANNEL0, 0);
    outb(PORT_CHANNEL0, 0);
}

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
