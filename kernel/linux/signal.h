/*
 * Signals: sending, waiting for them, delivery on the way back to the program.
 *
 * A thread learns of a signal by thread->interrupt (ends interruptible sleeps with -EINTR) and
 * thread->return_work (runs signal_return_work before the program continues).
 */
#ifndef MOKA_LINUX_SIGNAL_H
#define MOKA_LINUX_SIGNAL_H

#include "kernel/linux/task.h"

/*
 * What a system call returns, beside plain errors, when a signal ended its sleep; as signal(7) tells them
 * apart. The program never sees these. ERESTART         restart when no handler runs or it has SA_RESTART,
 * else EINTR (read, write, accept ...) ERESTART_NOHAND  restart when no handler runs, else EINTR, whatever
 * SA_RESTART (select, sigsuspend, pause) ERESTART_BLOCK   the same, but what restarts is task->restart(task):
 * sleeps with relative timeouts
 */
#define ERESTART_NOHAND 514
#define ERESTART_BLOCK  516

#define SIGBIT(sig) (1UL << ((sig)-1))

/*
 * Queue a signal for the process or one thread. info NULL: SI_KERNEL. 0 (also when ignored), -EAGAIN (too
 * many queued real-time signals). sig is valid (1..64).
 */
int signal_send_process(int sig, const struct uabi_siginfo *info);
int signal_send_task(struct task *t, int sig, const struct uabi_siginfo *info);
/* Fills info as kill(2), tgkill(2) from this process do (code SI_USER, SI_TKILL). */
void signal_info(struct uabi_siginfo *info, int sig, int code);

/* True when the calling thread has a signal to deliver, or must end; then it looks at both on its way back,
 * also when another thread takes the signal meanwhile: a call may restart on the strength of this. */
static inline bool signal_pending(void)
{
    struct thread *self = current_thread();
    if (!__atomic_load_n(&self->interrupt, __ATOMIC_RELAXED))
        return false;
    __atomic_store_n(&self->return_work, 1, __ATOMIC_RELAXED);
    return true;
}

/* Takes one queued signal out of set, the thread's own first. False: none. */
bool signal_dequeue(struct task *t, u64 set, struct uabi_siginfo *info);
/* Replaces the calling thread's mask. SIGKILL and SIGSTOP are taken out. */
void signal_set_blocked(u64 blocked);
/*
 * ppoll, pselect, epoll_pwait: installs the mask at uset (size must be 8, else -EINVAL; NULL: nothing
 * happens) for the duration of the call; signal_restore_mask() afterwards with what the call will return:
 * when that is an interruption the old mask comes back only after the handler's frame was built.
 */
int signal_temp_mask(const u64 *uset, size_t size);
void signal_restore_mask(s64 result);

/* Makes a thread of the program look at its signals, and at process.exiting, soon: wakes it when it sleeps
 * interruptibly, interrupts it when it runs. process.lock held. */
void signal_nudge(struct task *t);
/* Frees everything that is queued. process.lock held. */
void signal_flush(struct sigpending *pending);

/* Hooks (trap.h). */
void signal_return_work(struct trap_frame *frame);

/*
 * Delivers an exception's signal to the calling thread at once, whose frame is f: it cannot be blocked or
 * ignored (that ends the process). Takes no lock. The task's trapno, error and cr2 go into the frame.
 */
void signal_force(struct trap_frame *f, const struct uabi_siginfo *info);

/* sigframe.c: builds the handler's frame and points regs at the handler. 0, -EFAULT. */
int sigframe_push(struct trap_frame *regs, int sig, const struct uabi_siginfo *info,
                  const struct uabi_sigaction *action, u64 mask);
/* Number of sigframe stack that AT_MINSIGSTKSZ reports, bytes. */
u64 sigframe_min_stack(void);
void sigframe_init(void);

const char *signal_name(int sig);

#endif
