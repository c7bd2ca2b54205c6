/* Between trap.c and the interrupt code. */
#ifndef MOKA_ARCH_IRQ_H
#define MOKA_ARCH_IRQ_H

#include "kernel/base/types.h"

/* Runs the handler of a vector and acknowledges it. Interrupts off. */
void irq_dispatch(u64 vector);

/* Set before panic() sends NMIs: a CPU that gets one then stops for ever. */
extern bool panic_stopping;

#endif
