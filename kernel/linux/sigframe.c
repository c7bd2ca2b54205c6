/*
 * The handler's stack frame, and rt_sigreturn, which takes it back.
 *
 *   high  interrupted rsp - 128 (red zone), or the top of the alternate stack
 *         XSAVE image, 64-byte aligned, then FP_XSTATE_MAGIC2
 *         struct uabi_sigframe: return address, ucontext, siginfo; rsp % 16 == 8 at the handler's entry
 *
 * Source: sigaction(2), sigreturn(2), sigaltstack(2); System V ABI AMD64 3.2.2; the layout of the area that
 * XSAVE leaves to software is Linux's (struct _fpx_sw_bytes).
 */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/user.h"
#include "mm/phys/phys.h"

#define PROGRAM_CS 0x33 /* what programs expect to see in their context */
#define PROGRAM_SS 0x2b
/* Flags a context may change: AC OF DF TF SF ZF AF PF CF RF. */
#define RFLAGS_CONTEXT   0x50dd5UL
#define RFLAGS_TF        0x100UL
#define RFLAGS_DF        0x400UL
#define RFLAGS_RF        0x10000UL
#define RED_ZONE         128
#define LEGACY_SIZE      512 /* the FXSAVE image at the start of the area */
#define XSTATE_HEADER    512 /* offset of XSTATE_BV */
#define XFEATURES_LEGACY 3u  /* its bits for x87 and SSE */

static void *initial_fpu; /* what handlers start with */

void sigframe_init(void)
{
    initial_fpu = kmalloc(4096);
    fpu_init_area(initial_fpu);
}

u64 sigframe_min_stack(void)
{
    return fpu_area_size + FP_XSTATE_MAGIC2_SIZE + 64 + sizeof(struct uabi_sigframe) + 16 + RED_ZONE;
}

/* ---- the alternate stack ---- */

static bool on_altstack(const struct task *t, u64 sp)
{
    const struct uabi_stack *s = &t->altstack;
    if (s->flags & SS_AUTODISARM)
        return false;
    return sp > s->sp && sp - s->sp <= s->size;
}

static void altstack_reset(struct task *t)
{
    t->altstack = (struct uabi_stack){.flags = SS_DISABLE};
}

static s64 altstack_set(struct task *t, const struct uabi_stack *new, u64 sp)
{
    s32 mode = new->flags & ~SS_AUTODISARM;
    if (on_altstack(t, sp))
        return -EPERM;
    if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
        return -EINVAL;
    if (mode == SS_DISABLE) {
        t->altstack = (struct uabi_stack){.flags = new->flags};
        return 0;
    }
    if (new->size < MINSIGSTKSZ)
        return -ENOMEM;
    t->altstack = (struct uabi_stack){.sp = new->sp, .size = new->size, .flags = new->flags};
    return 0;
}

s64 sys_sigaltstack(const struct uabi_stack *new, struct uabi_stack *old)
{
    struct task *t = current_task();
    u64 sp = trap_program_frame()->rsp;
    struct uabi_stack in, out = t->altstack;
    out.flags = (t->altstack.flags & SS_AUTODISARM) | (!out.size            ? SS_DISABLE
                                                       : on_altstack(t, sp) ? SS_ONSTACK
                                                                            : 0);
    if (new &&copy_from_user(&in, new, sizeof(in)))
        return -EFAULT;
    s64 err = new ? altstack_set(t, &in, sp) : 0;
    if (!err && old)
        err = copy_to_user(old, &out, sizeof(out));
    return err;
}

/* ---- building ---- */

/* Where the handler's stack starts: top of free space. */
static u64 choose_stack(const struct task *t, const struct trap_frame *regs, u64 action_flags, bool *on_alt)
{
    bool on = on_altstack(t, regs->rsp);
    if (action_flags & SA_ONSTACK && !on && t->altstack.size) {
        *on_alt = true;
        return t->altstack.sp + t->altstack.size;
    }
    *on_alt = on;
    return regs->rsp - RED_ZONE;
}

/* x87 and SSE state counts even when the CPU says that it is the initial one, as on Linux: handlers change it
 * without a word in the header. */
static int mark_legacy(u64 at)
{
    u64 *header = (u64 *)(at + XSTATE_HEADER), components;
    if (fpu_area_size == LEGACY_SIZE)
        return 0;
    return get_user64(&components, header) || put_user64(header, components | XFEATURES_LEGACY) ? -EFAULT : 0;
}

/* The FPU registers as an XSAVE image at `at`, marked as Linux marks it. */
static int push_fpu(u64 at)
{
    struct thread *self = current_thread();
    struct uabi_fpx_sw_bytes sw = {
        .magic1 = FP_XSTATE_MAGIC1,
        .extended_size = fpu_area_size + FP_XSTATE_MAGIC2_SIZE,
        .xfeatures = fpu_features,
        .xstate_size = fpu_area_size,
    };
    /* Being switched away during the copy saves the same registers once more: the area stays right. */
    preempt_disable();
    fpu_save_current(self->arch.fpu);
    preempt_enable();
    if (copy_to_user((void *)at, self->arch.fpu, fpu_area_size) || mark_legacy(at) ||
        copy_to_user((void *)(at + FPX_SW_OFFSET), &sw, sizeof(sw)))
        return -EFAULT;
    return put_user32((void *)(at + fpu_area_size), FP_XSTATE_MAGIC2);
}

static void fill_context(struct uabi_sigcontext *c, const struct trap_frame *r, const struct task *t,
                         u64 mask)
{
    c->r8 = r->r8, c->r9 = r->r9, c->r10 = r->r10, c->r11 = r->r11;
    c->r12 = r->r12, c->r13 = r->r13, c->r14 = r->r14, c->r15 = r->r15;
    c->rdi = r->rdi, c->rsi = r->rsi, c->rbp = r->rbp, c->rbx = r->rbx;
    c->rdx = r->rdx, c->rax = r->rax, c->rcx = r->rcx, c->rsp = r->rsp;
    c->rip = r->rip;
    c->rflags = r->rflags;
    c->cs = PROGRAM_CS, c->gs = 0, c->fs = 0, c->ss = PROGRAM_SS;
    c->err = t->error, c->trapno = t->trapno, c->cr2 = t->cr2;
    c->oldmask = mask;
}

int sigframe_push(struct trap_frame *regs, int sig, const struct uabi_siginfo *info,
                  const struct uabi_sigaction *action, u64 mask)
{
    struct task *t = current_task();
    struct uabi_sigframe frame = {0};
    bool on_alt;
    u64 sp = choose_stack(t, regs, action->flags, &on_alt);
    u64 fpu = ALIGN_DOWN(sp - fpu_area_size - FP_XSTATE_MAGIC2_SIZE, 64);
    u64 at = ALIGN_DOWN(fpu - sizeof(frame), 16) - 8;
    if (!(action->flags & SA_RESTORER) || at >= PROGRAM_END ||
        (on_alt && at - t->altstack.sp > t->altstack.size))
        return -EFAULT;
    if (push_fpu(fpu))
        return -EFAULT;
    frame.restorer = action->restorer;
    frame.uc.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    frame.uc.stack = t->altstack;
    frame.uc.sigmask = mask;
    fill_context(&frame.uc.mcontext, regs, t, mask);
    frame.uc.mcontext.fpstate = fpu;
    if (action->flags & SA_SIGINFO)
        frame.info = *info;
    if (copy_to_user((void *)at, &frame, sizeof(frame)))
        return -EFAULT;
    if (t->altstack.flags & SS_AUTODISARM)
        altstack_reset(t);
    regs->rdi = sig;
    regs->rsi = at + offsetof(struct uabi_sigframe, info);
    regs->rdx = at + offsetof(struct uabi_sigframe, uc);
    regs->rax = 0;
    regs->rip = action->handler;
    regs->rsp = at;
    regs->rflags &= ~(RFLAGS_DF | RFLAGS_RF | RFLAGS_TF);
    preempt_disable();
    fpu_restore_current(initial_fpu);
    preempt_enable();
    return 0;
}

/* ---- taking back ---- */

static void load_fpu(const void *area)
{
    preempt_disable();
    fpu_restore_current(area);
    preempt_enable();
}

/* True when the image at `at` is a full XSAVE image of ours, by its marks. */
static bool is_xsave_image(u64 at, const void *legacy)
{
    struct uabi_fpx_sw_bytes sw;
    u32 magic2;
    memcpy(&sw, (const char *)legacy + FPX_SW_OFFSET, sizeof(sw));
    if (sw.magic1 != FP_XSTATE_MAGIC1 || sw.xstate_size != fpu_area_size ||
        sw.extended_size < sw.xstate_size + FP_XSTATE_MAGIC2_SIZE)
        return false;
    return !get_user32(&magic2, (void *)(at + sw.xstate_size)) && magic2 == FP_XSTATE_MAGIC2;
}

static int pop_fpu(u64 at)
{
    if (!at) {
        load_fpu(initial_fpu);
        return 0;
    }
    struct task *t = current_task();
    if (!t->fpu_scratch && !(t->fpu_scratch = kmalloc(ALIGN_UP(MAX(fpu_area_size, 4096u), 4096u))))
        return -ENOMEM;
    char *area = t->fpu_scratch;
    memcpy(area, initial_fpu, fpu_area_size);
    if (copy_from_user(area, (void *)at, LEGACY_SIZE))
        return -EFAULT;
    if (is_xsave_image(at, area)) {
        if (copy_from_user(area, (void *)at, fpu_area_size))
            return -EFAULT;
    } else {
        *(u64 *)(area + XSTATE_HEADER) = XFEATURES_LEGACY; /* x87 and SSE from the image, the rest initial */
    }
    if (!fpu_area_valid(area))
        return -EINVAL;
    load_fpu(area);
    return 0;
}

static void take_context(struct trap_frame *r, const struct uabi_sigcontext *c)
{
    r->r8 = c->r8, r->r9 = c->r9, r->r10 = c->r10, r->r11 = c->r11;
    r->r12 = c->r12, r->r13 = c->r13, r->r14 = c->r14, r->r15 = c->r15;
    r->rdi = c->rdi, r->rsi = c->rsi, r->rbp = c->rbp, r->rbx = c->rbx;
    r->rdx = c->rdx, r->rax = c->rax, r->rcx = c->rcx, r->rsp = c->rsp;
    r->rip = c->rip;
    r->rflags = (r->rflags & ~RFLAGS_CONTEXT) | (c->rflags & RFLAGS_CONTEXT);
    r->vector = 0; /* no system call any more: all registers count, nothing restarts */
    r->error = 0;
}

s64 sys_rt_sigreturn(void)
{
    struct trap_frame *regs = trap_program_frame();
    struct task *t = current_task();
    struct uabi_ucontext uc;
    /* The handler's ret took the restorer's address off the stack: the context starts here. */
    u64 at = regs->rsp;
    if (copy_from_user(&uc, (void *)at, sizeof(uc)) || uc.mcontext.rip >= PROGRAM_END ||
        uc.mcontext.rsp >= PROGRAM_END || pop_fpu(uc.mcontext.fpstate)) {
        struct uabi_siginfo segv = {.signo = SIGSEGV, .code = SI_KERNEL};
        signal_force(regs, &segv);
        return regs->rax;
    }
    signal_set_blocked(uc.sigmask);
    take_context(regs, &uc.mcontext);
    altstack_set(t, &uc.stack, regs->rsp);
    return regs->rax;
}
