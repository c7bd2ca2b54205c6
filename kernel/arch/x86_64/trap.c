/* Exceptions, system calls, and the way back to the program. The entry code is trap.S. */
#include "kernel/arch/x86_64/trap.h"
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/irq.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/string.h"

#define RFLAGS_IF    0x200UL
#define RFLAGS_TF    0x100UL
#define RFLAGS_FIXED 0x2UL
#define CALL_SIZE    7 /* bytes of call *slot */
/* What a program may have in RFLAGS: CF PF AF ZF SF TF DF OF RF AC ID. Not IOPL, NT, VM, VIF, VIP. */
#define RFLAGS_PROGRAM 0x250dd5UL

struct trap_hooks trap_hooks;

/* By number, for all that find no work on the way back; see trap.S. */
syscall_handler syscall_handlers[SYSCALL_SLOTS];

/* Places in trap.S. */
extern const u8 syscall_stubs[], syscall_stubs_end[], syscall_call_look[], syscall_call_left[];
s64 syscall_whole(u64, u64, u64, u64, u64, u64);

struct fixup {
    u64 insn, target;
};
extern const struct fixup extable_start[], extable_end[];

/* Called by trap.S. */
void trap_dispatch(struct trap_frame *f);
void trap_syscall(struct trap_frame *f);
void trap_syscall_leave(struct trap_frame *f);
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
    /* Not by this_cpu(): the thread may leave that CPU before it is looked at. */
    return (struct trap_frame *)thread_head(current_thread())->arch.kstack_top - 1;
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

/* ---- the program in the entry code ---- */

static bool in_stubs(u64 rip)
{
    return rip >= (u64)syscall_stubs && rip < (u64)syscall_stubs_end;
}

/* Behind a call that has ended, on the way to the program: pushq %rcx (one byte), then ret. */
static bool in_return(u64 rip)
{
    return rip == (u64)syscall_call_left || rip == (u64)syscall_call_left + 1;
}

/* The call instruction that RET, a return address, belongs to is the one of rewritten programs. */
static bool is_rewritten_call(u64 ret)
{
    static const u8 opcode[] = {0xff, 0x14, 0x25};
    u8 code[sizeof(opcode)];
    return ret >= CALL_SIZE && ret < PROGRAM_END &&
           !copy_safe(code, (void *)(ret - CALL_SIZE), sizeof(code)) && !memcmp(code, opcode, sizeof(code));
}

/*
 * Moves a program out of the entry code, where it was interrupted on its own stack, for a signal: back to the
 * call when that has not begun, behind it when it has ended. Handlers and unwinders see code of the program,
 * and rt_sigreturn can go back there. Interrupts on, may sleep.
 */
static void settle(struct trap_frame *f)
{
    u64 ret;
    if (in_return(f->rip)) {
        f->rsp += f->rip == (u64)syscall_call_left ? 0 : 8;
        f->rip = f->rcx;
    } else if (in_stubs(f->rip) && f->rsp < PROGRAM_END && !copy_safe(&ret, (void *)f->rsp, sizeof(ret)) &&
               is_rewritten_call(ret)) {
        f->rip = ret - CALL_SIZE;
        f->rsp += 8;
    }
}

/* True when an exception in the entry code needs no signal. */
static bool resolved_in_entry(struct trap_frame *f)
{
    if (f->vector == TRAP_DEBUG && in_stubs(f->rip)) { /* as in the kernel */
        f->rflags &= ~RFLAGS_TF;
        return true;
    }
    bool ended = in_return(f->rip); /* RET's stack is gone, by munmap say: SYSCALL would not have needed it */
    settle(f);
    return ended;
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
        if (!resolved_in_entry(f))
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
            settle(f);
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
    /* It may have brought work that a call on its way out has looked for already. */
    if (f->rip > (u64)syscall_call_look && f->rip < (u64)syscall_call_left)
        f->rip = (u64)syscall_call_look;
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

void trap_syscall_leave(struct trap_frame *f)
{
    irq_off();
    trap_exit_to_program(f);
}

void trap_syscall(struct trap_frame *f)
{
    trap_hooks.syscall(f);
    trap_syscall_leave(f);
}

void syscall_handlers_init(void)
{
    for (u32 i = 0; i < SYSCALL_SLOTS; i++)
        syscall_handlers[i] = syscall_whole;
}

void syscall_set_handler(u32 number, syscall_handler handler)
{
    ASSERT(number < SYSCALL_SLOTS);
    syscall_handlers[number] = handler;
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
