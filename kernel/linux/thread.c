/* Making threads: clone(2), clone3(2), set_tid_address(2), exit(2). */
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/table.h"
#include "kernel/linux/user.h"
#include "mm/phys/phys.h"
#include "mm/vm/vm.h"

/* What a thread shares with its maker in one process. */
#define CLONE_NEEDED (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
/* What may come on top. */
#define CLONE_KNOWN                                                                                          \
    (CLONE_NEEDED | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID |              \
     CLONE_DETACHED | CLONE_CHILD_SETTID | CLONE_IO | CLONE_PTRACE | CLONE_UNTRACED)

/* What a new thread starts from; freed by it. */
struct start {
    struct trap_frame frame;
    u64 fs_base;
    u32 *set_child_tid;
};

/* For the boot benchmark; under -icount a nanosecond is an instruction. */
static void report_first_entry(void)
{
    static bool reported;
    if (!__atomic_exchange_n(&reported, true, __ATOMIC_RELAXED))
        log_info("moka: kernel entry to program: %lu ns\n", clock_monotonic_ns());
}

static void thread_entry(void *arg)
{
    struct start *s = arg;
    struct trap_frame frame = s->frame;
    struct task *task = current_task();
    arch_set_fs(s->fs_base);
    if (s->set_child_tid)
        put_user32(s->set_child_tid, task->tid); /* errors are nobody's: clone(2) has returned */
    kfree(s);
    report_first_entry();
    trap_return_to_program(&frame);
}

/*
 * A thread takes about 24 KiB of the kernel's memory (stack, registers) beside its own. The last 32nd of
 * memory is not for them: a program that starts threads without end gets EAGAIN, and can still go on.
 */
static bool memory_short(void)
{
    struct phys_stats s;
    phys_stats(&s);
    return s.free_pages + vm_reclaimable_pages() < s.total_pages / 32;
}

static int start_thread(const char *name, struct start *s, const void *parent_fpu, struct task **out)
{
    struct thread *t = parent_fpu && memory_short() ? NULL : thread_create(name, thread_entry, s, true);
    if (!t)
        return -EAGAIN;
    if (parent_fpu) {
        preempt_disable();
        fpu_save_current(t->arch.fpu);
        preempt_enable();
        t->affinity = current_thread()->affinity;
        t->nice = current_thread()->nice;
    }
    struct task *task = task_create(t);
    if (!task) {
        thread_discard(t);
        return -EAGAIN;
    }
    *out = task;
    return 0;
}

static int check_flags(u64 flags, u64 stack)
{
    if ((flags & CLONE_SIGHAND && !(flags & CLONE_VM)) || (flags & CLONE_THREAD && !(flags & CLONE_SIGHAND)))
        return -EINVAL;
    if ((flags & CLONE_NEEDED) != CLONE_NEEDED) {
        syscall_missing(56, "this machine has one process; programs cannot be started (fork)");
        return -ENOSYS;
    }
    return flags & ~CLONE_KNOWN || stack >= PROGRAM_END ? -EINVAL : 0;
}

static s64 do_clone(const struct uabi_clone_args *a)
{
    u64 stack = a->stack + a->stack_size;
    int err = check_flags(a->flags, stack);
    if (err)
        return err;
    if (a->flags & CLONE_SETTLS && a->tls >= PROGRAM_END)
        return -EPERM;
    struct start *s = kmalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->frame = *trap_program_frame();
    s->frame.rax = 0;
    if (stack)
        s->frame.rsp = stack;
    s->fs_base = a->flags & CLONE_SETTLS ? a->tls : arch_get_fs();
    s->set_child_tid = a->flags & CLONE_CHILD_SETTID ? (u32 *)a->child_tid : NULL;
    struct task *task;
    err = start_thread(current_thread()->name, s, current_thread()->arch.fpu, &task);
    if (err) {
        kfree(s);
        return err;
    }
    s32 tid = task->tid; /* the task may be gone as soon as it runs */
    if (a->flags & CLONE_CHILD_CLEARTID)
        task->clear_child_tid = a->child_tid;
    task->blocked = current_task()->blocked;
    if (a->flags & CLONE_PARENT_SETTID)
        put_user32((u32 *)a->parent_tid, tid);
    struct thread *t = task->thread;
    if (__atomic_load_n(&process.exiting, __ATOMIC_ACQUIRE))
        __atomic_store_n(&t->return_work, 1, __ATOMIC_RELEASE);
    thread_start(t);
    return tid;
}

s64 sys_clone(u64 flags, u64 stack, u64 parent_tid, u64 child_tid, u64 tls)
{
    struct uabi_clone_args a = {.flags = flags & 0xffffff00,
                                .exit_signal = flags & 0xff,
                                .stack = stack,
                                .parent_tid = parent_tid,
                                .child_tid = child_tid,
                                .tls = tls};
    return do_clone(&a);
}

s64 sys_clone3(const void *args, u64 size)
{
    struct uabi_clone_args a;
    if (size < 64)
        return -EINVAL;
    int err = user_struct(&a, sizeof(a), args, size);
    if (err)
        return err;
    if (a.flags & (0xff | CLONE_DETACHED) || a.exit_signal > NSIG || (!a.stack) != (!a.stack_size) ||
        (a.flags & CLONE_THREAD && a.exit_signal) || a.set_tid_size)
        return -EINVAL;
    if (!user_range(a.stack, a.stack_size))
        return -EINVAL;
    return do_clone(&a);
}

static s64 no_process(u64 nr)
{
    syscall_missing(nr, "this machine has one process; programs cannot be started");
    return -ENOSYS;
}
s64 sys_fork(void)
{
    return no_process(57);
}
s64 sys_vfork(void)
{
    return no_process(58);
}
s64 sys_execve(void)
{
    return no_process(59);
}
s64 sys_execveat(void)
{
    return no_process(322);
}
s64 sys_ptrace(void)
{
    return -EPERM;
}
/* There are no children. */
s64 sys_wait4(s32 pid, void *status, u32 options)
{
    return options & ~0xe000000bu ? -EINVAL : -ECHILD;
}
s64 sys_waitid(s32 type, s32 id, void *info, u32 options)
{
    return (u32)type > 3 || options & ~0xe100000fu || !(options & 0xe) ? -EINVAL : -ECHILD;
}

int task_start_first(const char *name, const struct trap_frame *frame)
{
    struct start *s = kmalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->frame = *frame;
    struct task *task;
    int err = start_thread(name, s, NULL, &task);
    if (err) {
        kfree(s);
        return err;
    }
    thread_start(task->thread);
    return 0;
}

s64 sys_set_tid_address(u64 addr)
{
    current_task()->clear_child_tid = addr;
    return current_task()->tid;
}

s64 sys_exit(s32 status)
{
    task_exit(status & 255);
}

s64 sys_exit_group(s32 status)
{
    process_exit(status & 255);
}

s64 sys_gettid(void)
{
    return current_task()->tid;
}
s64 sys_getpid(void)
{
    return PID;
}
s64 sys_getppid(void)
{
    return 0;
}

s64 sys_arch_prctl(s32 code, u64 addr)
{
    switch (code) {
    case ARCH_SET_FS:
        if (addr >= PROGRAM_END)
            return -EPERM;
        arch_set_fs(addr);
        return 0;
    case ARCH_GET_FS:
        return put_user64((void *)addr, arch_get_fs());
    case ARCH_GET_GS:
        return put_user64((void *)addr, 0);
    default: /* ARCH_SET_GS: GS is the kernel's */
        return -EINVAL;
    }
}
