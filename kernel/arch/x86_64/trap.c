/* Exceptions, system calls, and the way back to the program. The entry code is trap.S. */
#include "kernel/arch/x86_64/trap.h"
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/irq.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"

#define RFLAGS_IF    0x200UL
#define RFLAGS_TF    0x100UL
#define RFLAGS_FIXED 0x2UL
/* What a program may have in RFLAGS: CF PF AF ZF SF TF DF OF RF AC ID. Not IOPL, NT, VM, VIF, VIP. */
#define RFLAGS_PROGRAM 0x250dd5UL

struct trap_hooks trap_hooks;

struct fixup {
    u64 insn, target;
};
extern const struct fixup extable_start[], extable_end[];

/* Called by trap.S. */
void trap_dispatch(struct trap_frame *f);
void trap_syscall(struct trap_frame *f);
void trap_exit_to_program(struct trap_frame *f);
void trap_nmi(struct trap_frame *f);
_Noreturn void trap_fatal(struct trap_frame *f, int lost_stack);

static inline u64 read_cr2(void)
{
    u64 v;
    __asm__ volatile("movq %%cr2, %0" : "=r"(v));
    return v;
}

struct trap_frame *trap_program_frame(void)
{
    return (struct trap_frame *)this_cpu()->kstack_top - 1;
}

bool trap_from_program(const struct trap_frame *f)
{
    const struct cpu *c = this_cpu();
    return f->rsp > c->kstack_top || f->rsp < c->kstack_bottom;
}

static u64 fixup_find(u64 rip)
{
    for (const struct fixup *x = extable_start; x < extable_end; x++)
        if (x->insn == rip)
            return x->target;
    return 0;
}

static void kernel_exception(struct trap_frame *f, u64 addr)
{
    u64 target = fixup_find(f->rip);
    if (f->vector == TRAP_DEBUG) { /* single-stepping that a program carried in by a call */
        f->rflags &= ~RFLAGS_TF;
        return;
    }
    if (!target && f->vector == TRAP_PAGE)
        panic_trap(f, "kernel page fault at %#lx, error %#lx", addr, f->error);
    if (!target)
        panic_trap(f, "exception %lu in the kernel, error %#lx", f->vector, f->error);
    if (f->vector == TRAP_PAGE && (f->rflags & RFLAGS_IF) && !preempt_count() && trap_hooks.page_fault) {
        irq_on();
        int err = trap_hooks.page_fault(f, addr, f->error);
        irq_off();
        if (!err)
            return;
    }
    f->rip = target;
}

static void program_exception(struct trap_frame *f, u64 addr)
{
    int result = 0;
    irq_on();
    if (f->vector == TRAP_PAGE && trap_hooks.page_fault)
        result = trap_hooks.page_fault(f, addr, f->error);
    if (f->vector != TRAP_PAGE || result) {
        if (!trap_hooks.exception)
            panic_trap(f, "exception %lu outside the kernel, address %#lx", f->vector, addr);
        trap_hooks.exception(f, addr, result);
    }
    irq_off();
}

static bool canonical(u64 addr)
{
    return (u64)((s64)(addr << 16) >> 16) == addr;
}

/* Interrupts off on entry and on return. Afterwards nothing keeps the frame from being loaded. */
void trap_exit_to_program(struct trap_frame *f)
{
    struct cpu *c = this_cpu();
    for (;;) {
        struct thread *t = c->current;
        if (c->need_resched && !c->preempt_count) {
            arch_hooks.preempt();
            irq_off();
            c = this_cpu();
        } else if (t && __atomic_load_n(&thread_head(t)->return_work, __ATOMIC_RELAXED)) {
            irq_on();
            trap_hooks.return_work(f);
            irq_off();
            c = this_cpu();
        } else if (unlikely(!canonical(f->rip))) {
            f->vector = TRAP_GP;
            f->error = 0;
            program_exception(f, 0);
            c = this_cpu();
        } else {
            break;
        }
    }
    f->cs = KERNEL_CS;
    f->ss = KERNEL_SS;
    f->rflags = (f->rflags & RFLAGS_PROGRAM) | RFLAGS_IF | RFLAGS_FIXED;
}

static void kernel_interrupt_exit(struct trap_frame *f)
{
    struct cpu *c = this_cpu();
    if (c->need_resched && !c->preempt_count && (f->rflags & RFLAGS_IF)) {
        arch_hooks.preempt();
        irq_off();
    }
}

void trap_dispatch(struct trap_frame *f)
{
    u64 addr = f->vector == TRAP_PAGE ? read_cr2() : 0;
    bool program = trap_from_program(f);
    if (unlikely(f->vector == VECTOR_INT80 && program)) {
        f->rip -= 2; /* a fault is reported at the instruction */
        f->vector = TRAP_GP;
        f->error = VECTOR_INT80 * 8 + 2;
    }
    if (f->vector >= 32)
        irq_dispatch(f->vector);
    else if (program)
        program_exception(f, addr);
    else
        kernel_exception(f, addr);
    if (program)
        trap_exit_to_program(f);
    else if (f->vector >= 32)
        kernel_interrupt_exit(f);
}

void trap_syscall(struct trap_frame *f)
{
    irq_on();
    trap_hooks.syscall(f);
    irq_off();
    /* The frame is as SYSCALL made it, but for rax: nothing in it needs a look. */
    const struct cpu *c = this_cpu();
    if (likely(f->vector == TRAP_SYSCALL && !c->need_resched &&
               !__atomic_load_n(&thread_head(c->current)->return_work, __ATOMIC_RELAXED)))
        return;
    trap_exit_to_program(f);
}

void trap_nmi(struct trap_frame *f)
{
    if (panic_stopping)
        for (;;)
            __asm__ volatile("cli; hlt");
}

_Noreturn void trap_fatal(struct trap_frame *f, int lost_stack)
{
    if (lost_stack)
        panic_trap(f, "kernel stack overflow or lost kernel stack, rsp %#lx, vector %lu", f->rsp, f->vector);
    panic_trap(f, f->vector == TRAP_DOUBLE ? "double fault" : "machine check");
}
