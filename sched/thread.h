/*
 * Threads, run queues and wake-up.
 *
 *            thread_start                     switch
 *   NEW --------------------> QUEUED <---------------------> RUNNING ---> DEAD (thread_exit)
 *                               ^                               | sched_sleep, no permit
 *              its CPU drains   |            sched_wake         v
 *              its wake queue   +------- (wake queue) <----- SLEEPING
 *
 * Each thread has one wake permit, as java.util.concurrent.locks.LockSupport has: sched_wake() on a thread
 * that is not asleep leaves the permit, and the next sched_sleep() takes it and returns at once. So waking is
 * never lost, sleeping may end spuriously, and every wait is a loop around its condition. Locks that sleep
 * inside a condition give the permit back (mutex_lock does).
 *
 * Sleep and wake-up: one word, thread->wait, decides.
 *   sleeper: compare-and-exchange NONE -> ASLEEP, then switch away; fails when a permit is there: take it.
 *   waker:   exchange with PERMIT; the one waker that got ASLEEP back owns the right to queue the thread.
 * Both are read-modify-writes of one variable, hence totally ordered: whoever comes second sees the first, so
 * a wake-up cannot fall between the sleeper's last look and its sleep, and no thread is queued twice. The
 * exchange has acquire-release order: what the waker wrote before is seen by the sleeper. The thread is
 * queued on the lock-free wake queue of one CPU (a stack pushed by compare-and-exchange and taken as a whole
 * by its CPU, so there is no ABA). A thread that has not finished switching away (on_cpu) is always queued on
 * that very CPU, which looks at the queue only after the switch or before it on behalf of the same thread. So
 * is one whose deadline is armed: the CPU that finds it due ends the sleep, or sees that a waker was faster,
 * then disarms it, and does not touch the thread of a waker afterwards. tests/model/wake.pml checks this.
 *
 * struct thread is type-stable (kpool): a late sched_wake() on a thread that has ended is harmless.
 *
 * Scheduling
 * ----------
 * Fair by weighted virtual run time (stride scheduling, Waldspurger 1995; Linux's CFS): a thread that runs
 * for d ns gains d * 1024 / weight(nice) ns of virtual time, and the CPU runs the thread with the least.
 * Hysteresis: the running thread goes on until it is SCHED_GRANULARITY ahead of the first one waiting. A
 * thread that slept keeps its virtual time, raised to at most SCHED_CREDIT below its CPU's: sleeping does not
 * hoard credit, but a thread that sleeps a lot gets the CPU at once when it wakes.
 *
 * Each run queue belongs to its CPU, which alone touches it, with preemption off; other CPUs only read a few
 * published figures and push to its wake queue. A woken thread goes to its last CPU when that is idle, else
 * to an idle CPU, else to its last CPU, or its waker's: to that one when the waker runs but briefly, as it
 * did the last time (SCHED_BRIEF), and its CPU has then no more to do than the other. So threads that hand on
 * to each other gather on a CPU, and none of them has to take one away from a thread that computes; where a
 * host squeezes the vCPUs it is not even there before the host's next turn. A CPU that goes idle while
 * another has threads waiting asks for one by an IPI. Among busy CPUs, the one that has threads waiting
 * balances, every SCHED_BALANCE ns at most: it gives its first waiting thread to (a) a CPU whose load (sum of
 * weights) stays below its own even then, or (b) a CPU whose running thread is SCHED_BALANCE_LEAD ahead of it
 * in virtual time. (b) is what makes three busy threads share two CPUs fairly: the thread that waits falls
 * behind those on other CPUs and then moves to them in turn. For (b) to make sense virtual time is comparable
 * between CPUs: when two CPUs are further apart than SCHED_LEAD_MAX (they were not both contended, or
 * affinity keeps threads apart) the one behind is lifted.
 *
 * What a CPU is worth differs: a host takes vCPUs away, hardware threads share a core; nobody tells the guest
 * how much. So that it hits CPUs and not threads, (c) busy CPUs with equal loads exchange the threads that
 * were on each for longest, every SCHED_ROTATE ns: one gives, and (a) lets the other give back.
 *
 * When a host squeezes the vCPUs onto fewer CPUs, threads are not drawn together on fewer vCPUs, so that it
 * be us who preempt a lock's holder and not the host. It was tried at its best, all threads on one vCPU of
 * four: no gain (benchmarks/locks). Nothing spins for long, here or in the JVM, so a preempted holder costs a
 * few switches either way; and to a host that shares by vCPU, one that halts gives up a share.
 *
 * No periodic tick: the one-shot timer is armed for the first deadline of a sleeper, and for the end of the
 * running thread's turn when another waits. One runnable thread, or none: no interrupt.
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

/* Values of thread->wait. */
enum thread_wait { WAIT_NONE, WAIT_PERMIT, WAIT_ASLEEP };

struct thread {
    struct arch_thread arch;
    u32 return_work; /* atomic; right after arch: struct thread_head */
    u32 state;       /* enum thread_state: written by its CPU, read by anyone (relaxed) */
    u32 wait;        /* atomic; enum thread_wait */
    u32 interrupt;   /* atomic; non-zero: interruptible sleeps end with -EINTR (a signal is pending) */
    char name[THREAD_NAME_LEN];
    void *task; /* kernel/linux's part; NULL for kernel threads */

    /* Owned by the CPU it is queued or running on; by the waker that queues it in between. */
    u32 cpu;          /* last or present CPU */
    u32 migrate_to;   /* CPU to be pushed to once switched away; ~0 none */
    u8 placement;     /* how its vruntime is meant when it arrives in a queue: sched.c */
    bool timed_out;   /* the last sleep ended by its deadline */
    bool timer_armed; /* timer_node is in the timer tree of `cpu` */
    bool holds;       /* the thread's own: it put off what sched_holds_hook is for */
    u32 on_cpu;       /* atomic; 1 from before it is switched to until it is switched away from */
    struct tree_node run_node;
    struct thread *wake_next; /* link in a CPU's wake queue */
    u64 vruntime;
    u64 run_ns; /* CPU time used, up to last_in_ns */
    u64 last_in_ns;
    u64 last_ran_ns;   /* how much was added to run_ns the last time */
    u64 arrived_ns;    /* when it came to `cpu` from another, or was made */
    u64 queued_weight; /* as added to the run queue's load */
    struct tree_node timer_node;
    u64 timer_ns; /* deadline while timer_armed */
    u64 switches_voluntary, switches_forced;

    /* Set by anyone, atomically; read by the scheduler. */
    cpu_mask affinity;
    s32 nice;
    u32 weight;  /* 1024 for nice 0 */
    u64 inverse; /* 2^32 * 1024 / weight */

    void (*entry)(void *);
    void *arg;
    struct thread *dead_next;
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
 * Returns 0 (woken, perhaps spuriously), -ETIMEDOUT, -EINTR, and then return_work is set. Preemption on,
 * interrupts on.
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
/* True while no other thread wants this CPU: then a wait known to be short may poll instead of sleeping. A
 * hint. */
bool sched_alone(void);
u64 sched_switch_count(void);
u64 sched_timer_interrupts(u32 cpu); /* timer interrupts taken since boot */

/*
 * Called by a thread that goes to sleep and has thread->holds set, which is cleared: somebody else shall do
 * what it put off. Preemption on; any locks may be held; may do what interrupt handlers may. Set once, at
 * boot.
 */
extern void (*sched_holds_hook)(void);

/*
 * Called on a CPU right before it switches to its idle thread (idle true) and away from it (false): in
 * between it runs nothing but the kernel. Interrupts off; must not sleep. Set once, at boot.
 */
extern void (*sched_idle_hook)(bool idle);

/*
 * What an idle CPU may do: called by its idle thread until it returns false, then again after the next
 * interrupt. Interrupts and preemption on: whatever wants the CPU gets it at once, in the middle of it. Must
 * not sleep. Set once, at boot.
 */
extern bool (*sched_idle_work)(void);

/* How long an idle CPU looks for work before it halts, ns; 0: not at all. See idle.c. Set at boot, before
 * other CPUs run. */
#define SCHED_IDLE_POLL_NS (200 * NSEC_PER_USEC)
extern u64 sched_idle_poll_ns;

/*
 * Something that a device may bring at any time and of which its interrupt would tell. While an idle CPU
 * looks for work it looks here, too, and the device need not interrupt: for the host an interrupt is dear to
 * send and to have acknowledged. All three are called by idle threads, interrupts on, preemption off; must
 * not sleep; several CPUs may be there at the same time.
 */
struct idle_source {
    /* The CPU begins to look. False: it need not, somebody else is at it. */
    bool (*begin)(struct idle_source *s);
    /* Wakes who waits for what has come. */
    void (*look)(struct idle_source *s);
    /* After `begin` said true: interrupts are needed again. Wakes who waits for what has come meanwhile. */
    void (*end)(struct idle_source *s);
};
#define IDLE_SOURCES_MAX 4u
/* s, which stays for ever, is looked at by this CPU. Not beyond IDLE_SOURCES_MAX: those wait for interrupts.
 * Serialised by the caller. */
void sched_idle_watch(u32 cpu, struct idle_source *s);

/*
 * For arch: runs in the new thread right after its first switch-in, interrupts off, preempt_count 1. prev:
 * what arch_switch returned. Leaves both as they are; arch turns interrupts on and calls the entry it was
 * given, which is the scheduler's own and drops the count to 0.
 */
void sched_switch_finish(struct thread *prev);

/* For arch: on the way out of an interrupt that hit the kernel or the program, interrupts off (as on return),
 * when need_resched is set and preempt_count is 0. */
void sched_preempt(void);

#endif
