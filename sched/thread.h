/*
 * Threads, run queues and wake-up.
 *
 *            thread_start                     switch
 *   NEW --------------------> QUEUED <---------------------> RUNNING ---> DEAD (thread_exit)
 *                               ^                               | sched_sleep, no permit
 *              its CPU drains   |            sched_wake         v
 *              its wake queue   +----- WAKING <-------------- SLEEPING
 *
 * Each thread has one wake permit, as java.util.concurrent.locks.LockSupport has: sched_wake() on a thread
 * that is not asleep leaves the permit, and the next sched_sleep() takes it and returns at once. So waking is
 * never lost, sleeping may end spuriously, and every wait is a loop around its condition. Locks that sleep
 * inside a condition give the permit back (mutex_lock does).
 *
 * struct thread is type-stable (kpool): a late sched_wake() on a thread that has ended is harmless.
 */
#ifndef MOKA_SCHED_THREAD_H
#define MOKA_SCHED_THREAD_H

#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/base/list.h"
#include "kernel/base/tree.h"
#include "kernel/base/types.h"
#include "sched/mutex.h"

#define THREAD_NAME_LEN 16

enum thread_state { THREAD_NEW, THREAD_QUEUED, THREAD_RUNNING, THREAD_SLEEPING, THREAD_WAKING, THREAD_DEAD };

/* CPUs as a bit mask: CPU_MAX is 32. */
typedef u64 cpu_mask;

struct thread {
    struct arch_thread arch;
    u32 return_work; /* atomic; non-zero: trap_hooks.return_work runs before the program continues */
    u32 state;       /* atomic; enum thread_state */
    u32 permit;      /* atomic */
    u32 interrupt;   /* atomic; non-zero: interruptible sleeps end with -EINTR (a signal is pending) */
    char name[THREAD_NAME_LEN];
    void *task; /* kernel/linux's part; NULL for kernel threads */

    /* Owned by the CPU it is queued or running on. */
    u32 cpu; /* last or present CPU */
    struct tree_node run_node;
    struct thread *wake_next; /* link in a CPU's wake queue */
    u64 vruntime;
    u64 run_ns; /* CPU time used, up to last_in */
    u64 last_in_ns;
    u64 slice_end_ns;
    struct tree_node timer_node;
    u64 timer_ns; /* deadline while sleeping; ~0 none */

    /* Set by anyone under no lock, read by the scheduler. */
    cpu_mask affinity;
    s32 nice;
    u64 switches_voluntary, switches_forced;

    struct list all_link; /* guarded by the thread list's mutex */
    u64 sched_private[8];
};

/* Boot CPU: makes the calling context the first thread. */
void sched_init(void);
/* The idle loop of a CPU: never returns. On that CPU, from smp_start(). */
_Noreturn void sched_cpu_main(void);

/*
 * A thread that will run entry(arg) on its own kernel stack; not started. NULL: out of memory.
 * with_fpu: it runs a program (gets an XSAVE area). May sleep.
 */
struct thread *thread_create(const char *name, void (*entry)(void *), void *arg, bool with_fpu);
/* Makes it runnable. */
void thread_start(struct thread *t);
/* Frees one that was never started. */
void thread_discard(struct thread *t);
/* Ends the calling thread; its struct and stack are recycled by whoever runs next on the CPU. No locks held.
 */
_Noreturn void thread_exit(void);

/* Makes t run, or leaves it the permit. Any context, also interrupt handlers; any CPU; lock-free. */
void sched_wake(struct thread *t);

#define SLEEP_FOREVER       (~0UL)
#define SLEEP_INTERRUPTIBLE 1u
/*
 * Sleeps until woken, the absolute monotonic deadline, or (SLEEP_INTERRUPTIBLE) thread->interrupt is set.
 * Returns 0 (woken, perhaps spuriously), -ETIMEDOUT, -EINTR. Preemption on, interrupts on.
 */
int sched_sleep(u64 deadline_ns, u32 flags);
/* Sets t->interrupt and wakes it. Any context. */
void sched_interrupt(struct thread *t);
/* Lets others run. */
void sched_yield(void);
/* Sends an IPI when t runs on another CPU, so that it looks at return_work soon. Any context. */
void sched_kick(struct thread *t);

/* nice: -20..19. Effective at the next switch. */
void sched_set_nice(struct thread *t, int nice);
/* Moves t when its present CPU is not in mask; mask must contain an online CPU. For the current thread: done
 * on return. */
void sched_set_affinity(struct thread *t, cpu_mask mask);
/* CPU time used, ns, the running slice included. */
u64 sched_run_ns(const struct thread *t);
/* Idle time of a CPU, ns. */
u64 sched_idle_ns(u32 cpu);
/* Threads runnable or running now, on all CPUs (for /proc/loadavg, sysinfo). */
u32 sched_runnable(void);
u64 sched_switch_count(void);
u64 sched_timer_interrupts(u32 cpu); /* timer interrupts taken since boot */

/* For arch: runs in the new thread right after its first switch-in. prev: what arch_switch returned. */
void sched_switch_finish(struct thread *prev);
/* For arch: on the way out of an interrupt that hit the kernel or the program, interrupts off, when
 * need_resched is set and preempt_count is 0. */
void sched_preempt(void);

#endif
