/* Vectors and their handlers. */
#include "kernel/arch/x86_64/irq.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/lapic.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"

#define VECTOR_FIRST 0x30
#define VECTOR_LAST  0xef

/* A slot is claimed by exchanging handler from NULL to `claimed`, filled, then published: readers are
 * interrupts. */
static struct {
    irq_handler handler;
    void *arg;
} table[256];

static void claimed(void *arg)
{
}

int irq_alloc(irq_handler handler, void *arg)
{
    for (u32 v = VECTOR_FIRST; v <= VECTOR_LAST; v++) {
        irq_handler none = NULL;
        if (v == VECTOR_INT80)
            continue;
        if (!__atomic_compare_exchange_n(&table[v].handler, &none, claimed, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED))
            continue;
        irq_set_fixed(v, handler, arg);
        return v;
    }
    return -ENOSPC;
}

void irq_set_fixed(u32 vector, irq_handler handler, void *arg)
{
    table[vector].arg = arg;
    __atomic_store_n(&table[vector].handler, handler, __ATOMIC_RELEASE);
}

void irq_dispatch(u64 vector)
{
    struct cpu *c = this_cpu();
    irq_handler handler = __atomic_load_n(&table[vector].handler, __ATOMIC_ACQUIRE);
    if (vector == VECTOR_SPURIOUS)
        return; /* not to be acknowledged: Intel SDM 3A, 10.9 */
    c->irq_depth++;
    c->preempt_count++;
    if (handler)
        handler(table[vector].arg);
    lapic_eoi();
    c->preempt_count--;
    c->irq_depth--;
}
