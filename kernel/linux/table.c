/* Dispatch of system calls, generated from the rows of table.def. */
#include "kernel/linux/table.h"
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/linux/signal.h"

/* Handlers take what their manual page says, in registers; those that exist nowhere are NULL. */
#define ROW(nr, name, args) extern s64 sys_##name() __attribute__((weak));
#include "kernel/linux/table.def"
#undef ROW

#define ROW(nr, name, args) [nr] = (void *)sys_##name,
static const syscall_fn handlers[SYSCALL_MAX] = {
#include "kernel/linux/table.def"
};
#undef ROW

#define ROW(nr, name, args) [nr] = {#name, args},
const struct syscall_row syscall_rows[SYSCALL_MAX] = {
#include "kernel/linux/table.def"
};
#undef ROW

bool strace_on;

void syscall_missing(u64 nr, const char *why)
{
    static u64 said[SYSCALL_MAX / 64 + 1];
    if (nr >= SYSCALL_MAX) {
        log_warn("moka: system call %lu does not exist\n", nr);
        return;
    }
    u64 bit = 1UL << (nr % 64);
    if (__atomic_fetch_or(&said[nr / 64], bit, __ATOMIC_RELAXED) & bit)
        return;
    const char *name = syscall_rows[nr].name ? syscall_rows[nr].name : "?";
    log_warn("moka: system call %s (nr %lu) is not implemented%s%s\n", name, nr, why ? ": " : "",
             why ? why : "");
}

static __attribute__((noinline)) s64 missing(u64 nr)
{
    syscall_missing(nr, NULL);
    return -ENOSYS;
}

static s64 call_handler(u64 nr, const struct trap_frame *f)
{
    if (unlikely(nr >= SYSCALL_MAX || !handlers[nr]))
        return missing(nr);
    return handlers[nr](f->rdi, f->rsi, f->rdx, f->r10, f->r8, f->r9);
}

static s64 call_traced(u64 nr, const struct trap_frame *f)
{
    u64 args[6] = {f->rdi, f->rsi, f->rdx, f->r10, f->r8, f->r9};
    strace_enter(nr, args);
    s64 result = call_handler(nr, f);
    strace_call(nr, args, result);
    return result;
}

/* A call that restarts needs no word here: sched_sleep and signal_pending set return_work when they say that
 * it is interrupted. */
void linux_syscall(struct trap_frame *frame)
{
    /* Linux takes the number as 32 bits. */
    u64 nr = (u32)frame->error;
    frame->rax = strace_on ? call_traced(nr, frame) : call_handler(nr, frame);
}

/* Handlers that read or change all of the program's registers. */
static bool needs_frame(u32 nr)
{
    return nr == NR_RT_SIGRETURN || nr == NR_CLONE || nr == NR_CLONE3;
}

void table_init(void)
{
    trap_hooks.syscall = linux_syscall;
    for (u32 nr = 0; nr < SYSCALL_MAX && !strace_on; nr++)
        if (handlers[nr] && !needs_frame(nr))
            syscall_set_handler(nr, handlers[nr]);
}
