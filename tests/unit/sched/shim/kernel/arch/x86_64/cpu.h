/*
 * Stands in for the kernel's header of this name when sched/ is compiled for the host: the same struct, with
 * functions (simulator.c or pthread.c) where the kernel has instructions.
 */
#ifndef MOKA_ARCH_CPU_H
#define MOKA_ARCH_CPU_H

#include "kernel/base/types.h"

#define CPU_MAX 32

struct thread;

struct cpu {
    struct thread *current;
    u32 preempt_count;
    u32 irq_depth;
    bool need_resched;
    u32 id;
    u64 kstack_bottom, kstack_top;
    void *sched;
};

struct cpu *this_cpu(void);
struct thread *current_thread(void);
u32 cpu_id(void);
void preempt_disable(void);
void preempt_resched(void);
void preempt_enable(void);
void preempt_enable_quiet(void);
u32 preempt_count(void);
u64 irq_save(void);
void irq_restore(u64 flags);
bool irq_enabled(void);
void irq_on(void);
void irq_off(void);
void cpu_wait_for_interrupt(void);
void cpu_relax_now_and_then(u32 look);

#endif
