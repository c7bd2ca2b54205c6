/*
 * One CPU's own data, reached through GS (GS belongs to the kernel, FS to the program), and the few
 * instructions that other layers need by name.
 */
#ifndef MOKA_ARCH_CPU_H
#define MOKA_ARCH_CPU_H

#include "kernel/base/types.h"

#define CPU_MAX 32

struct thread;

/* Owned by its CPU; other CPUs may read `id`, `apic_id`, `online`. Offsets used by assembly are generated. */
struct cpu {
    struct cpu *self;       /* gs:0 */
    struct thread *current; /* the thread that runs here; never NULL once sched_init() ran */
    u32 preempt_count;      /* > 0: this CPU must not switch threads */
    u32 irq_depth;          /* > 0: inside an interrupt handler */
    bool need_resched;      /* set by interrupts, looked at on the way out and by preempt_enable() */
    bool online;
    u32 id; /* 0 .. cpu_count - 1 */
    u32 apic_id;
    u64 kstack_bottom, kstack_top; /* of the running context; kept by arch_switch */
    u64 kstack_frame;              /* where a frame at kstack_top begins */
    u64 scratch;                   /* for the entry code, interrupts off */
    void *arch;                    /* struct arch_cpu: gdt, tss, ist stacks */
    void *sched;                   /* struct runqueue */
    void *mm;                      /* struct mm_cpu: frame and slab caches */
    void
        *fpu_loaded; /* the FPU area whose thread was the last to load its state here; the kernel uses none */
};

extern struct cpu *cpus[CPU_MAX];
extern u32 cpu_count; /* CPUs that are online; fixed after smp_start() */

static inline struct cpu *this_cpu(void)
{
    struct cpu *c;
    __asm__ volatile("movq %%gs:0, %0" : "=r"(c));
    return c;
}

/* Stable only with preemption off. */
static inline u32 cpu_id(void)
{
    return this_cpu()->id;
}

static inline struct thread *current_thread(void)
{
    struct thread *t;
    __asm__ volatile("movq %%gs:8, %0" : "=r"(t));
    return t;
}

/* Preemption off: may nest; interrupts still come in; sleeping is forbidden meanwhile. One instruction each.
 */
static inline void preempt_disable(void)
{
    __asm__ volatile("incl %%gs:16" ::: "memory", "cc");
}
void preempt_resched(void); /* sched: called when the count fell to 0 with need_resched set */
static inline void preempt_enable(void)
{
    bool zero;
    __asm__ volatile("decl %%gs:16" : "=@ccz"(zero)::"memory");
    if (unlikely(zero && this_cpu()->need_resched))
        preempt_resched();
}
/* Without the look at need_resched; for code that switches threads itself. */
static inline void preempt_enable_quiet(void)
{
    __asm__ volatile("decl %%gs:16" ::: "memory", "cc");
}
/* Of the CPU we are on: by one instruction, as this_cpu() may be another one's once it is looked at. */
static inline u32 preempt_count(void)
{
    u32 count;
    __asm__ volatile("movl %%gs:16, %0" : "=r"(count));
    return count;
}

/* Saves RFLAGS and turns interrupts off; irq_restore puts back what irq_save returned. */
static inline u64 irq_save(void)
{
    u64 flags;
    __asm__ volatile("pushfq; popq %0; cli" : "=r"(flags)::"memory");
    return flags;
}
static inline void irq_restore(u64 flags)
{
    __asm__ volatile("pushq %0; popfq" ::"r"(flags) : "memory", "cc");
}
static inline bool irq_enabled(void)
{
    u64 flags;
    __asm__ volatile("pushfq; popq %0" : "=r"(flags));
    return flags & 0x200;
}
static inline void irq_on(void)
{
    __asm__ volatile("sti" ::: "memory");
}
static inline void irq_off(void)
{
    __asm__ volatile("cli" ::: "memory");
}
/* Turns interrupts on and waits for one, without a gap between the two. */
static inline void cpu_wait_for_interrupt(void)
{
    __asm__ volatile("sti; hlt" ::: "memory");
}
static inline void cpu_relax(void)
{
    __asm__ volatile("pause" ::: "memory");
}
/* For loops that look a bounded number of times, look 1 and on: PAUSE costs more under TCG than all the rest.
 */
static inline void cpu_relax_now_and_then(u32 look)
{
    if (look % 64 == 0)
        cpu_relax();
}
static inline void cpuid(u32 leaf, u32 sub, u32 *a, u32 *b, u32 *c, u32 *d)
{
    __asm__ volatile("cpuid" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d) : "a"(leaf), "c"(sub));
}
static inline u64 rdmsr(u32 msr)
{
    u32 lo, hi;
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return ((u64)hi << 32) | lo;
}
static inline void wrmsr(u32 msr, u64 value)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

#endif
