/* Between trap.c and the interrupt code. */
#ifndef MOKA_ARCH_IRQ_H
#define MOKA_ARCH_IRQ_H

#include "kernel/base/types.h"

/* The 32-bit system call of Linux, which we do not have: a program that executes it gets a general protection
 * fault, as from a Linux without it. */
#define VECTOR_INT80 0x80

/* Runs the handler of a vector and acknowledges it. Interrupts off. */
void irq_dispatch(u64 vector);

/* Set before panic() sends NMIs: a CPU that gets one then stops for ever. */
extern bool panic_stopping;

#endif
