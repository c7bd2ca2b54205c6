/* Context switch, the program's FS base. */
#include "sched/thread.h"
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/msr.h"
#include "kernel/base/panic.h"

extern bool have_fsgsbase;
struct thread *switch_stack(u64 *save_rsp, u64 next_rsp, struct thread *prev);
extern u8 thread_begin[];
_Noreturn void arch_thread_begin(struct thread *prev, void (*entry)(void *), void *arg);

u64 arch_get_fs(void)
{
    u64 base;
    if (!have_fsgsbase)
        return rdmsr(MSR_FS_BASE);
    __asm__ volatile("rdfsbase %0" : "=r"(base));
    return base;
}

void arch_set_fs(u64 base)
{
    if (!have_fsgsbase)
        wrmsr(MSR_FS_BASE, base);
    else
        __asm__ volatile("wrfsbase %0" ::"r"(base));
}

void arch_thread_prepare(struct thread *t, void (*entry)(void *), void *arg)
{
    /* What switch_stack pops: r15 r14 r13 r12 rbp rbx rip; then rsp must be a multiple of 16. */
    u64 *sp = (u64 *)t->arch.kstack_top;
    *--sp = 0;
    *--sp = 0;
    *--sp = (u64)thread_begin;
    *--sp = 0;
    *--sp = 0;
    *--sp = (u64)entry;
    *--sp = (u64)arg;
    *--sp = 0;
    *--sp = 0;
    t->arch.rsp = (u64)sp;
}

/* Called by thread_begin, interrupts off, on the new thread's stack. */
_Noreturn void arch_thread_begin(struct thread *prev, void (*entry)(void *), void *arg)
{
    sched_switch_finish(prev);
    irq_on();
    entry(arg);
    thread_exit();
}

struct thread *arch_switch(struct thread *prev, struct thread *next)
{
    struct cpu *c = this_cpu();
    if (prev->arch.fpu) {
        prev->arch.fs_base = arch_get_fs();
        fpu_save_current(prev->arch.fpu);
    }
    if (next->arch.fpu) {
        fpu_restore_current(next->arch.fpu);
        arch_set_fs(next->arch.fs_base);
    }
    c->current = next;
    c->kstack_bottom = next->arch.kstack_bottom;
    c->kstack_top = next->arch.kstack_top;
    return switch_stack(&prev->arch.rsp, next->arch.rsp, prev);
}
