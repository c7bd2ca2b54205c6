/* Context switch, the program's FS base. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/msr.h"
#include "kernel/base/panic.h"

struct thread *switch_stack(u64 *save_rsp, u64 next_rsp, struct thread *prev);
extern u8 thread_begin[];
_Noreturn void arch_thread_begin(struct thread *prev, void (*entry)(void *), void *arg);

static inline u64 get_fs(void)
{
    u64 base;
    if (unlikely(!have_fsgsbase))
        return rdmsr(MSR_FS_BASE);
    __asm__ volatile("rdfsbase %0" : "=r"(base));
    return base;
}

static inline void set_fs(u64 base)
{
    if (unlikely(!have_fsgsbase))
        wrmsr(MSR_FS_BASE, base);
    else
        __asm__ volatile("wrfsbase %0" ::"r"(base));
}

u64 arch_get_fs(void)
{
    return get_fs();
}

void arch_set_fs(u64 base)
{
    set_fs(base);
}

void arch_thread_prepare(struct thread *t, void (*entry)(void *), void *arg)
{
    struct arch_thread *head = &thread_head(t)->arch;
    /* What switch_stack pops: r15 r14 r13 r12 rbp rbx rip; then rsp must be a multiple of 16. */
    u64 *sp = (u64 *)head->kstack_top;
    *--sp = 0;
    *--sp = 0;
    *--sp = (u64)thread_begin;
    *--sp = 0;
    *--sp = 0;
    *--sp = (u64)entry;
    *--sp = (u64)arg;
    *--sp = 0;
    *--sp = 0;
    head->rsp = (u64)sp;
}

/* Called by thread_begin, interrupts off, on the new thread's stack. */
_Noreturn void arch_thread_begin(struct thread *prev, void (*entry)(void *), void *arg)
{
    arch_hooks.switch_finish(prev);
    irq_on();
    entry(arg);
    panic("a thread returned from its first function");
}

struct thread *arch_switch(struct thread *prev, struct thread *next)
{
    struct arch_thread *from = &thread_head(prev)->arch, *to = &thread_head(next)->arch;
    struct cpu *c = this_cpu();
    if (from->fpu) {
        from->fs_base = get_fs();
        fpu_save_inline(from->fpu);
    }
    if (to->fpu) {
        if (c->fpu_loaded != to->fpu || to->fpu_cpu != c->id) {
            fpu_restore_inline(to->fpu);
            c->fpu_loaded = to->fpu;
            to->fpu_cpu = c->id;
        }
        set_fs(to->fs_base);
    }
    c->current = next;
    cpu_set_kstack(c, to->kstack_bottom, to->kstack_top);
    return switch_stack(&from->rsp, to->rsp, prev);
}
