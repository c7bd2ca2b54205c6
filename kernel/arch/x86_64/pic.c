/* The 8259 interrupt controllers: moved out of the exceptions' way and masked for ever. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/platform.h"

#define PIC1 0x20
#define PIC2 0xa0

void pic_disable(void)
{
    outb(PIC1, 0x11); /* ICW1: edge, cascade, ICW4 follows */
    outb(PIC2, 0x11);
    outb(PIC1 + 1, 0x20); /* ICW2: vectors 0x20, 0x28 */
    outb(PIC2 + 1, 0x28);
    outb(PIC1 + 1, 4); /* ICW3 */
    outb(PIC2 + 1, 2);
    outb(PIC1 + 1, 1); /* ICW4: 8086 mode */
    outb(PIC2 + 1, 1);
    outb(PIC1 + 1, 0xff);
    outb(PIC2 + 1, 0xff);
}
