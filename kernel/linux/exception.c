/* Faults and exceptions of the program, as signals (sigaction(2), "si_code"). */
#include "kernel/linux/exception.h"
#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/user.h"
#include "mm/vm/vm.h"

#define PF_USER 4u /* set in the error code that programs see, as their accesses would have it in ring 3 */

#define INSTRUCTION_MAX 15 /* bytes (Intel SDM 2A, 2.3.11) */

static bool touches_own_code(const struct trap_frame *frame, u64 addr)
{
    u64 page = addr / PAGE_SIZE;
    return trap_from_program(frame) &&
           (frame->rip / PAGE_SIZE == page || (frame->rip + INSTRUCTION_MAX - 1) / PAGE_SIZE == page);
}

int exception_page_fault(struct trap_frame *frame, u64 addr, u32 error)
{
    if (addr >= PROGRAM_END)
        return -EFAULT;
    if (unlikely(code_takes_turns) && touches_own_code(frame, addr))
        error |= PF_OWN_CODE;
    return vm_fault(addr, error);
}

static _Noreturn void out_of_memory(void)
{
    log_error("moka: out of memory: a page of the program could not be provided\n");
    process_exit(137);
}

static void page_signal(struct uabi_siginfo *info, u64 addr, int result)
{
    if (result == -ENOMEM)
        out_of_memory();
    info->addr = addr;
    info->signo = SIGSEGV;
    info->code = result == -EACCES ? SEGV_ACCERR : SEGV_MAPERR;
    if (result == -EIO) {
        info->signo = SIGBUS;
        info->code = BUS_ADRERR;
    }
}

/* Which IEEE exception: bits 0..5 are invalid, denormal, zero divide, overflow, underflow, precision. */
static s32 fpe_code(u32 raised)
{
    if (raised & 1)
        return FPE_FLTINV;
    if (raised & 4)
        return FPE_FLTDIV;
    if (raised & 8)
        return FPE_FLTOVF;
    if (raised & (2 | 16))
        return FPE_FLTUND;
    return raised & 32 ? FPE_FLTRES : 0;
}

/* The unmasked exceptions in the FPU's or the SSE unit's status. */
static u32 fpu_raised(u64 vector)
{
    struct thread *self = current_thread();
    preempt_disable();
    fpu_save_current(self->arch.fpu);
    preempt_enable();
    const u8 *area = self->arch.fpu;
    if (vector == TRAP_FP) {
        u16 control, status;
        memcpy(&control, area, 2);
        memcpy(&status, area + 2, 2);
        return status & ~control & 0x3f;
    }
    u32 mxcsr;
    memcpy(&mxcsr, area + 24, 4);
    return mxcsr & ~(mxcsr >> 7) & 0x3f;
}

static void other_signal(struct uabi_siginfo *info, const struct trap_frame *f)
{
    switch (f->vector) {
    case TRAP_DIVIDE:
        info->signo = SIGFPE, info->code = FPE_INTDIV, info->addr = f->rip;
        break;
    case TRAP_DEBUG:
        info->signo = SIGTRAP, info->code = TRAP_TRACE, info->addr = f->rip;
        break;
    case TRAP_BREAKPOINT:
        info->signo = SIGTRAP, info->code = SI_KERNEL;
        break;
    case TRAP_INVALID_OP:
        info->signo = SIGILL, info->code = ILL_ILLOPN, info->addr = f->rip;
        break;
    case TRAP_FP:
    case TRAP_SIMD:
        info->signo = SIGFPE, info->code = fpe_code(fpu_raised(f->vector)), info->addr = f->rip;
        break;
    case TRAP_ALIGN:
        info->signo = SIGBUS, info->code = BUS_ADRALN;
        break;
    case 11: /* segment not present */
    case 12: /* stack segment: a non-canonical address through rsp or rbp */
        info->signo = SIGBUS, info->code = SI_KERNEL;
        break;
    default: /* general protection: a non-canonical address, for one */
        info->signo = SIGSEGV, info->code = SI_KERNEL;
        break;
    }
}

void exception_signal(struct trap_frame *frame, u64 addr, int pf_result)
{
    struct task *t = current_task();
    struct uabi_siginfo info = {0};
    t->trapno = frame->vector;
    t->error = frame->vector == TRAP_PAGE ? frame->error | PF_USER : frame->error;
    if (frame->vector == TRAP_PAGE) {
        t->cr2 = addr;
        page_signal(&info, addr, pf_result);
    } else {
        other_signal(&info, frame);
    }
    signal_force(frame, &info);
}
