/*
 * Signals: queues, sending, and delivery on the way back to the program.
 *
 * A thread's mask is written by that thread without a lock. Sender and owner then meet like this: the sender
 * makes the signal pending, then reads masks to choose a thread; the owner writes its mask, then reads what
 * is pending. Both orders are sequentially consistent, so at least one of them sees the other.
 */
#include "kernel/linux/signal.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/linux/sigaction.h"
#include "kernel/linux/table.h"
#include "kernel/linux/user.h"
#include "mm/phys/phys.h"

struct sigentry {
    struct list link;
    struct uabi_siginfo info;
};
static struct kpool entry_pool = KPOOL_INIT(struct sigentry);
#define QUEUED_MAX 30000
static u32 queued; /* entries in use; guarded by process.lock */

#define UNBLOCKABLE (SIGBIT(SIGKILL) | SIGBIT(SIGSTOP))
#define DEFAULT_IGN (SIGBIT(SIGCHLD) | SIGBIT(SIGURG) | SIGBIT(SIGWINCH) | SIGBIT(SIGCONT) | DEFAULT_STOP)
/* Nobody could continue a stopped process: it goes on. */
#define DEFAULT_STOP (SIGBIT(SIGSTOP) | SIGBIT(SIGTSTP) | SIGBIT(SIGTTIN) | SIGBIT(SIGTTOU))
#define DEFAULT_CORE                                                                                         \
    (SIGBIT(SIGQUIT) | SIGBIT(SIGILL) | SIGBIT(SIGTRAP) | SIGBIT(SIGABRT) | SIGBIT(SIGBUS) |                 \
     SIGBIT(SIGFPE) | SIGBIT(SIGSEGV) | SIGBIT(SIGXCPU) | SIGBIT(SIGXFSZ) | SIGBIT(SIGSYS))
/* Raised by the faulting thread itself; taken first, as Linux does. */
#define SYNCHRONOUS                                                                                          \
    (SIGBIT(SIGSEGV) | SIGBIT(SIGBUS) | SIGBIT(SIGILL) | SIGBIT(SIGTRAP) | SIGBIT(SIGFPE) | SIGBIT(SIGSYS))

/* ---- actions: written under process.lock, read without it ---- */

static struct {
    u32 sequence; /* atomic; odd while it is being written */
    struct uabi_sigaction action;
} actions[NSIG];

void sigaction_set(int sig, const struct uabi_sigaction *new)
{
    u32 *seq = &actions[sig - 1].sequence;
    __atomic_add_fetch(seq, 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    actions[sig - 1].action = *new;
    __atomic_add_fetch(seq, 1, __ATOMIC_RELEASE);
}

struct uabi_sigaction sigaction_get(int sig)
{
    const u32 *seq = &actions[sig - 1].sequence;
    u32 before = __atomic_load_n(seq, __ATOMIC_ACQUIRE);
    struct uabi_sigaction a = actions[sig - 1].action;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (likely(!(before & 1) && before == __atomic_load_n(seq, __ATOMIC_RELAXED)))
        return a;
    bool held = mutex_held(&process.lock);
    if (!held)
        mutex_lock(&process.lock);
    a = actions[sig - 1].action;
    if (!held)
        mutex_unlock(&process.lock);
    return a;
}

static bool action_ignores(int sig)
{
    u64 handler = sigaction_get(sig).handler;
    return handler == SIG_IGN || (handler == SIG_DFL && DEFAULT_IGN & SIGBIT(sig));
}

/* ---- queues. process.lock held ---- */

static void entry_free(struct sigentry *e)
{
    list_del(&e->link);
    queued--;
    kpool_free(&entry_pool, e);
}

void signal_flush(struct sigpending *p)
{
    while (!list_empty(&p->queue))
        entry_free(list_first(&p->queue, struct sigentry, link));
    p->set = 0;
}

static void clear_if_last(struct sigpending *p, int sig)
{
    struct sigentry *e;
    list_for_each(e, &p->queue, link)
    {
        if (e->info.signo == sig)
            return;
    }
    __atomic_and_fetch(&p->set, ~SIGBIT(sig), __ATOMIC_SEQ_CST);
}

void signal_forget(int sig)
{
    struct task *t;
    struct sigpending *p = &process.pending;
    struct list *next = process.tasks.next;
    for (;;) {
        struct sigentry *e, *tmp;
        list_for_each_safe(e, tmp, &p->queue, link)
        {
            if (e->info.signo == sig)
                entry_free(e);
        }
        __atomic_and_fetch(&p->set, ~SIGBIT(sig), __ATOMIC_SEQ_CST);
        if (next == &process.tasks)
            return;
        t = list_entry(next, struct task, link);
        p = &t->pending;
        next = next->next;
    }
}

/* Adds to a queue. A signal sent by a fault or a timer comes through even when nothing can be queued. */
static int enqueue(struct sigpending *p, int sig, const struct uabi_siginfo *info)
{
    if (sig < SIGRTMIN && p->set & SIGBIT(sig))
        return 0;
    struct sigentry *e = queued < QUEUED_MAX ? kpool_alloc(&entry_pool) : NULL;
    if (!e && sig >= SIGRTMIN && info && info->code != SI_USER)
        return -EAGAIN;
    if (e) {
        queued++;
        memset(&e->info, 0, sizeof(e->info));
        e->info.signo = sig;
        e->info.code = SI_KERNEL;
        if (info)
            e->info = *info;
        list_init(&e->link);
        list_push_back(&p->queue, &e->link);
    }
    __atomic_or_fetch(&p->set, SIGBIT(sig), __ATOMIC_SEQ_CST);
    return 0;
}

static int choose(u64 set)
{
    if (set & SYNCHRONOUS)
        set &= SYNCHRONOUS;
    return __builtin_ctzl(set) + 1;
}

static bool dequeue_from(struct sigpending *p, u64 set, struct uabi_siginfo *info)
{
    set &= p->set;
    if (!set)
        return false;
    int sig = choose(set);
    struct sigentry *e, *found = NULL;
    list_for_each(e, &p->queue, link)
    {
        if (e->info.signo == sig) {
            found = e;
            break;
        }
    }
    memset(info, 0, sizeof(*info));
    info->signo = sig;
    if (found) {
        *info = found->info;
        entry_free(found);
    }
    clear_if_last(p, sig);
    return true;
}

static bool dequeue_locked(struct task *t, u64 set, struct uabi_siginfo *info)
{
    return dequeue_from(&t->pending, set, info) || dequeue_from(&process.pending, set, info);
}

bool signal_dequeue(struct task *t, u64 set, struct uabi_siginfo *info)
{
    if (!((t->pending.set | process.pending.set) & set))
        return false;
    mutex_lock(&process.lock);
    bool found = dequeue_locked(t, set, info);
    mutex_unlock(&process.lock);
    return found;
}

/* ---- sending ---- */

void signal_nudge(struct task *t)
{
    struct thread *thread = t->thread;
    if (!thread)
        return;
    __atomic_store_n(&thread->return_work, 1, __ATOMIC_SEQ_CST);
    sched_interrupt(thread);
    if (thread != current_thread())
        sched_kick(thread);
}

static bool wants(const struct task *t, int sig)
{
    u64 blocked = __atomic_load_n(&t->blocked, __ATOMIC_SEQ_CST);
    return !(blocked & SIGBIT(sig)) || __atomic_load_n(&t->waiting, __ATOMIC_SEQ_CST) & SIGBIT(sig);
}

/* Finds a thread for a signal of the process: the first that takes it, oldest thread first. */
static void nudge_any(int sig)
{
    struct task *t;
    list_for_each(t, &process.tasks, link)
    {
        if (wants(t, sig)) {
            signal_nudge(t);
            return;
        }
    }
}

static bool ignored(const struct task *t, int sig)
{
    if (!t)
        t = list_first(&process.tasks, struct task, link);
    return t && wants(t, sig) && !(t->waiting & SIGBIT(sig)) && sig != SIGKILL && action_ignores(sig);
}

int signal_send_process(int sig, const struct uabi_siginfo *info)
{
    int err = 0;
    mutex_lock(&process.lock);
    if (!ignored(NULL, sig)) {
        err = enqueue(&process.pending, sig, info);
        if (!err)
            nudge_any(sig);
    }
    mutex_unlock(&process.lock);
    waitq_wake_all(&process.signal_waitq, 0);
    return err;
}

int signal_send_task(struct task *t, int sig, const struct uabi_siginfo *info)
{
    int err = 0;
    mutex_lock(&process.lock);
    if (t->thread && !ignored(t, sig)) {
        err = enqueue(&t->pending, sig, info);
        if (!err && wants(t, sig))
            signal_nudge(t);
    }
    mutex_unlock(&process.lock);
    waitq_wake_all(&process.signal_waitq, 0);
    return err;
}

void signal_info(struct uabi_siginfo *info, int sig, int code)
{
    memset(info, 0, sizeof(*info));
    info->signo = sig;
    info->code = code;
    info->pid = PID;
}

/* ---- masks ---- */

static void nudge_self(void)
{
    struct thread *self = current_thread();
    __atomic_store_n(&self->return_work, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&self->interrupt, 1, __ATOMIC_SEQ_CST);
}

/* Signals of the process that this thread was to take but blocks now go to others. */
static void retarget(u64 set)
{
    mutex_lock(&process.lock);
    for (set &= process.pending.set; set; set &= set - 1)
        nudge_any(__builtin_ctzl(set) + 1);
    mutex_unlock(&process.lock);
}

void signal_set_blocked(u64 blocked)
{
    struct task *t = current_task();
    u64 old = t->blocked;
    blocked &= ~UNBLOCKABLE;
    if (blocked == old)
        return;
    __atomic_store_n(&t->blocked, blocked, __ATOMIC_SEQ_CST);
    u64 shared = __atomic_load_n(&process.pending.set, __ATOMIC_SEQ_CST);
    if ((shared | __atomic_load_n(&t->pending.set, __ATOMIC_SEQ_CST)) & ~blocked)
        nudge_self();
    if (shared & blocked & ~old)
        retarget(blocked & ~old);
}

int signal_temp_mask(const u64 *uset, size_t size)
{
    u64 set;
    if (!uset)
        return 0;
    if (size != sizeof(set))
        return -EINVAL;
    if (get_user64(&set, uset))
        return -EFAULT;
    struct task *t = current_task();
    t->saved_blocked = t->blocked;
    t->restore_blocked = true;
    signal_set_blocked(set);
    return 0;
}

void signal_restore_mask(s64 result)
{
    struct task *t = current_task();
    bool interrupted = result == -EINTR || (result <= -ERESTART && result >= -ERESTART_BLOCK);
    if (!t->restore_blocked)
        return;
    if (interrupted) { /* delivery first, under the temporary mask: return work puts the old one back */
        __atomic_store_n(&current_thread()->return_work, 1, __ATOMIC_SEQ_CST);
        return;
    }
    t->restore_blocked = false;
    signal_set_blocked(t->saved_blocked);
}

/* ---- delivery ---- */

static void report_death(const struct trap_frame *frame, const struct uabi_siginfo *info)
{
    int sig = info->signo;
    if (!(DEFAULT_CORE & SIGBIT(sig)))
        return;
    bool has_addr = info->code > 0 && info->code != SI_KERNEL && SYNCHRONOUS & SIGBIT(sig);
    log_error("moka: the program was ended by signal %d (%s) at %#lx%s", sig, signal_name(sig), frame->rip,
              has_addr ? "" : "\n");
    if (has_addr)
        log_error(", address %#lx\n", info->addr);
    backtrace_print(frame);
}

/* Default action of a signal that is not ignored: the end. */
static _Noreturn void die(const struct trap_frame *frame, const struct uabi_siginfo *info)
{
    report_death(frame, info);
    process_exit(128 + info->signo);
}

/* Steps back over the instruction that entered the kernel: `syscall`, or `call *slot` of a rewritten program.
 */
static void rewind(struct trap_frame *f)
{
    u8 code[2];
    f->rax = f->error;
    if (!copy_from_user(code, (void *)(f->rip - 2), 2) && code[0] == 0x0f && code[1] == 0x05)
        f->rip -= 2;
    else
        f->rip -= 7;
}

static inline bool interrupted_call(const struct trap_frame *f)
{
    s64 r = f->rax;
    return f->vector == TRAP_SYSCALL && r <= -ERESTART && r >= -ERESTART_BLOCK;
}

/* A handler is about to run: what becomes of the call that the signal interrupted. */
static void settle_call(struct trap_frame *f, u64 action_flags)
{
    if (interrupted_call(f)) {
        if ((s64)f->rax == -ERESTART && action_flags & SA_RESTART)
            rewind(f);
        else
            f->rax = -EINTR;
    }
    f->vector = 0; /* from here on no call, and every register counts */
}

/* Runs the handler of info's signal. False: no frame could be made. */
static bool run_handler(struct trap_frame *f, const struct uabi_siginfo *info, const struct uabi_sigaction *a)
{
    struct task *t = current_task();
    u64 mask = t->restore_blocked ? t->saved_blocked : t->blocked;
    t->restore_blocked = false;
    settle_call(f, a->flags);
    if (sigframe_push(f, info->signo, info, a, mask))
        return false;
    u64 self = a->flags & SA_NODEFER ? 0 : SIGBIT(info->signo);
    signal_set_blocked(t->blocked | a->mask | self);
    return true;
}

static void reset_action(int sig)
{
    struct uabi_sigaction dfl = {0};
    mutex_lock(&process.lock);
    sigaction_set(sig, &dfl);
    mutex_unlock(&process.lock);
}

/* Acts on one signal that was taken from the queues or raised by a fault. */
static void deliver(struct trap_frame *f, const struct uabi_siginfo *info)
{
    int sig = info->signo;
    struct uabi_sigaction a = sigaction_get(sig);
    if (sig == SIGKILL)
        a.handler = SIG_DFL;
    if (a.handler == SIG_IGN || (a.handler == SIG_DFL && DEFAULT_IGN & SIGBIT(sig)))
        return;
    if (a.handler == SIG_DFL)
        die(f, info);
    if (a.flags & SA_RESETHAND)
        reset_action(sig);
    if (run_handler(f, info, &a))
        return;
    /* No room for the frame: SIGSEGV, and if that cannot be handled either, the end (as Linux). */
    struct uabi_siginfo segv = {.signo = SIGSEGV, .code = SI_KERNEL};
    if (sig == SIGSEGV)
        reset_action(SIGSEGV);
    signal_force(f, &segv);
}

void signal_force(struct trap_frame *f, const struct uabi_siginfo *info)
{
    struct task *t = current_task();
    int sig = info->signo;
    struct uabi_sigaction a = sigaction_get(sig);
    bool blocked = t->blocked & SIGBIT(sig);
    if (blocked || a.handler == SIG_IGN || a.handler == SIG_DFL)
        die(f, info);
    deliver(f, info);
}

/* Continues a call in the kernel when no handler ran. */
static void restart_call(struct trap_frame *f)
{
    struct task *t = current_task();
    if ((s64)f->rax == -ERESTART_BLOCK) {
        s64 result = t->restart(t->restart_args);
        f->rax = result;
        if (interrupted_call(f))
            nudge_self();
        return;
    }
    f->rax = f->error;
    linux_syscall(f);
}

static void restore_mask(struct task *t)
{
    if (!t->restore_blocked)
        return;
    t->restore_blocked = false;
    signal_set_blocked(t->saved_blocked);
}

void signal_return_work(struct trap_frame *f)
{
    struct thread *self = current_thread();
    struct task *t = self->task;
    if (!t)
        return;
    while (__atomic_exchange_n(&self->return_work, 0, __ATOMIC_SEQ_CST)) {
        struct uabi_siginfo info;
        __atomic_store_n(&self->interrupt, 0, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&process.exiting, __ATOMIC_SEQ_CST))
            task_exit(0);
        while (signal_dequeue(t, ~t->blocked, &info))
            deliver(f, &info);
        restore_mask(t);
        if (interrupted_call(f))
            restart_call(f);
    }
}

static const char *const names[] = {
    "?",         "SIGHUP",  "SIGINT",    "SIGQUIT", "SIGILL",   "SIGTRAP", "SIGABRT", "SIGBUS",
    "SIGFPE",    "SIGKILL", "SIGUSR1",   "SIGSEGV", "SIGUSR2",  "SIGPIPE", "SIGALRM", "SIGTERM",
    "SIGSTKFLT", "SIGCHLD", "SIGCONT",   "SIGSTOP", "SIGTSTP",  "SIGTTIN", "SIGTTOU", "SIGURG",
    "SIGXCPU",   "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",   "SIGPWR",  "SIGSYS",
};

const char *signal_name(int sig)
{
    if (sig >= SIGRTMIN && sig <= NSIG)
        return "real-time signal";
    return names[(u32)sig < ARRAY_LEN(names) ? sig : 0];
}
