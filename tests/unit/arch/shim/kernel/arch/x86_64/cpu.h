/* Host tests: what CPUID and the model-specific registers say is up to the test. */
#ifndef MOKA_TEST_CPU_H
#define MOKA_TEST_CPU_H

#define this_cpu    unused_this_cpu
#define cpuid       unused_cpuid
#define rdmsr       unused_rdmsr
#define wrmsr       unused_wrmsr
#define irq_save    unused_irq_save
#define irq_restore unused_irq_restore
#include "../../../../../../../kernel/arch/x86_64/cpu.h"
#undef this_cpu
#undef cpuid
#undef rdmsr
#undef wrmsr
#undef irq_save
#undef irq_restore

struct cpu *this_cpu(void);
void cpuid(u32 leaf, u32 sub, u32 *a, u32 *b, u32 *c, u32 *d);
u64 rdmsr(u32 msr);
void wrmsr(u32 msr, u64 value);
static inline u64 irq_save(void)
{
    return 0;
}
static inline void irq_restore(u64 flags)
{
}

#endif
