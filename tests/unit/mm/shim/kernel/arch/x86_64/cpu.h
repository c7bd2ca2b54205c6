/* Host tests: a thread of the host is a CPU. */
#ifndef MOKA_TEST_CPU_H
#define MOKA_TEST_CPU_H

#define this_cpu             unused_this_cpu
#define cpu_id               unused_cpu_id
#define current_thread       unused_current_thread
#define preempt_disable      unused_preempt_disable
#define preempt_enable       unused_preempt_enable
#define preempt_enable_quiet unused_preempt_enable_quiet
#define irq_enabled          unused_irq_enabled
#include "../../../../../../../kernel/arch/x86_64/cpu.h"
#undef this_cpu
#undef cpu_id
#undef current_thread
#undef preempt_disable
#undef preempt_enable
#undef preempt_enable_quiet
#undef irq_enabled

extern __thread struct cpu *host_cpu;
static inline struct cpu *this_cpu(void)
{
    return host_cpu;
}
static inline u32 cpu_id(void)
{
    return host_cpu->id;
}
static inline struct thread *current_thread(void)
{
    return host_cpu->current;
}
static inline void preempt_disable(void)
{
    host_cpu->preempt_count++;
}
static inline void preempt_enable(void)
{
    host_cpu->preempt_count--;
}

#endif
