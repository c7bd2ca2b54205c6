/* The scheduler's own structures; private to sched/. */
#ifndef MOKA_SCHED_RUNQUEUE_H
#define MOKA_SCHED_RUNQUEUE_H

#include "sched/thread.h"

#define SCHED_GRANULARITY                                                                                    \
    (2 * NSEC_PER_MSEC)                         /* virtual: the running thread's lead before it is preempted \
                                                 */
#define SCHED_TURN_MIN     (NSEC_PER_MSEC / 2)  /* real: shortest turn that the timer is armed for */
#define SCHED_CREDIT       (4 * NSEC_PER_MSEC)  /* virtual: a woken thread's largest lead over its CPU */
#define SCHED_BALANCE      (4 * NSEC_PER_MSEC)  /* real: between two looks at other CPUs */
#define SCHED_BALANCE_LEAD (8 * NSEC_PER_MSEC)  /* virtual: lag behind another CPU that moves a thread */
#define SCHED_ROTATE       (20 * NSEC_PER_MSEC) /* real: between two exchanges with equally busy CPUs */
#define SCHED_LEAD_MAX     (40 * NSEC_PER_MSEC) /* virtual: more than this between CPUs is meaningless */
#define SCHED_BRIEF        (200 * NSEC_PER_USEC) /* real: who runs for less is about to sleep again */
#define SCHED_SCAN_MAX     32                    /* waiting threads looked at for one that may move */
#define DEAD_CACHE_MAX     16                    /* ended threads kept per CPU with their stacks */

/* thread->placement: what vruntime means while the thread is in a wake queue. */
enum placement {
    PLACE_SAME,     /* this CPU's virtual time: it slept here */
    PLACE_RELATIVE, /* lag behind its former CPU's virtual time, signed */
    PLACE_NEW,      /* nothing: a new thread */
    PLACE_MOVED,    /* global: it was moved while runnable */
};

/* When an idle CPU looks for work before it halts: see idle.c. */
struct idle_poll {
    u32 skip;    /* short waits that must come before it looks again */
    u32 backoff; /* what skip becomes when it has looked in vain */
};

struct runqueue {
    /* Owned by its CPU: touched with preemption off there, not from interrupt handlers. */
    struct thread *first; /* the waiting thread whose turn is next */
    struct tree ready;    /* those that wait behind it, by vruntime */
    struct tree timers;   /* sleepers by deadline */
    u64 first_deadline;   /* of timers; ~0 none */
    u32 ready_count;      /* threads waiting: first and those in ready */
    u32 cpu;
    struct thread *idle;
    u64 now;      /* time of the last schedule() */
    u64 armed_ns; /* what the timer is set to; ~0 none. The timer's handler writes it too */
    u64 next_balance_ns, next_rotate_ns;
    struct thread *dead;
    u32 dead_count;
    u64 idle_end_ns; /* when the idle thread last left the CPU */
    struct idle_poll poll;
    struct idle_source *sources[IDLE_SOURCES_MAX]; /* atomic; the first NULL ends them */

    /* Written by its CPU, read by others, relaxed. */
    u64 vtime;       /* virtual time: never goes back; least of the running and the first waiting thread */
    u64 load;        /* sum of weights of running and waiting threads */
    u32 nr_runnable; /* running (not idle) + waiting */
    u64 current_vruntime, current_since_ns, current_inverse; /* of the running thread; inverse 0: idle */
    u64 switches, timer_interrupts;
    u32 online;
    bool polling; /* the CPU is idle and looks at wake_queue: pushing is enough, it needs no interrupt */

    /* Written by anyone, atomically. */
    struct thread *wake_queue __attribute__((aligned(64))); /* newest first */
    u64 lift_to; /* virtual time that this CPU should be at least at */
} __attribute__((aligned(64)));

extern struct runqueue runqueues[CPU_MAX];

/* CPUs that have nothing to run; a bit is cleared by whoever sends a thread there. */
extern cpu_mask sched_idle_cpus;
extern cpu_mask sched_online_cpus;

static inline struct runqueue *this_runqueue(void)
{
    return this_cpu()->sched;
}

#define PUBLISH(field, value) __atomic_store_n(&(field), value, __ATOMIC_RELAXED)
#define PEEK(field)           __atomic_load_n(&(field), __ATOMIC_RELAXED)

static inline u64 virtual_ns(u64 real_ns, u64 inverse)
{
    return (u64)((unsigned __int128)real_ns * inverse >> 32);
}

/* CPUs that t may run on; all when its mask has become empty of online ones. */
static inline cpu_mask allowed_cpus(struct thread *t)
{
    cpu_mask online = PEEK(sched_online_cpus), mask = PEEK(t->affinity) & online;
    return mask ? mask : online;
}
static inline cpu_mask cpu_bit(u32 cpu)
{
    return 1UL << cpu;
}

/* ---- runqueue.c: on the owning CPU, preemption off ---- */
void ready_insert_among(struct runqueue *rq, struct thread *t); /* others wait */
void ready_remove_among(struct runqueue *rq, struct thread *t);
/* The waiting thread after t, NULL at the end. */
struct thread *ready_next(struct runqueue *rq, struct thread *t);

/* t waits from now on; it is counted already. */
static inline void ready_insert(struct runqueue *rq, struct thread *t)
{
    PUBLISH(t->state, THREAD_QUEUED);
    if (likely(!rq->ready_count++))
        rq->first = t;
    else
        ready_insert_among(rq, t);
}

static inline void ready_remove(struct runqueue *rq, struct thread *t)
{
    if (likely(!--rq->ready_count))
        rq->first = NULL;
    else
        ready_remove_among(rq, t);
}

/* t becomes one of nr_runnable and load. */
static inline void rq_count(struct runqueue *rq, struct thread *t)
{
    t->cpu = rq->cpu;
    t->queued_weight = PEEK(t->weight);
    PUBLISH(rq->load, rq->load + t->queued_weight);
    PUBLISH(rq->nr_runnable, rq->nr_runnable + 1);
}

static inline void rq_uncount(struct runqueue *rq, struct thread *t)
{
    PUBLISH(rq->load, rq->load - t->queued_weight);
    PUBLISH(rq->nr_runnable, rq->nr_runnable - 1);
}

/* running: NULL when idle. */
static inline void rq_update_vtime(struct runqueue *rq, struct thread *running)
{
    struct thread *first = rq->first;
    u64 least = running ? running->vruntime : first ? first->vruntime : rq->vtime;
    if (first && (s64)(first->vruntime - least) < 0)
        least = first->vruntime;
    if ((s64)(least - rq->vtime) > 0)
        PUBLISH(rq->vtime, least);
}

void rq_timer_add(struct runqueue *rq, struct thread *t, u64 deadline_ns);
void rq_timer_remove(struct runqueue *rq, struct thread *t);
void rq_rearm(struct runqueue *rq, struct thread *running, u64 now);

/* ---- balance.c ---- */
/* The CPU that a thread which just woke should run on. Preemption off. */
u32 balance_select(struct thread *t);
/* The same for a new one. */
u32 balance_select_new(struct thread *t);
/* Gives waiting threads to idle CPUs, and now and then to other busy ones. Owning CPU, after a switch. */
void balance_push(struct runqueue *rq);
/* A CPU that goes idle asks a crowded one for work. */
void balance_pull(struct runqueue *rq);
/* Applies lift_to. */
void balance_lift(struct runqueue *rq, struct thread *running);

/* False when balance_push() would do nothing. */
static inline bool balance_due(const struct runqueue *rq)
{
    return rq->ready_count && (PEEK(sched_idle_cpus) || rq->now >= rq->next_balance_ns);
}

/* ---- sched.c ---- */
/* Puts t into the wake queue of cpu and makes that CPU look. Any context, preemption off. */
void sched_push(struct thread *t, u32 cpu);
/* Leaves a thread that ends; does not return. */
void sched_exit_switch(struct thread *t);

/* ---- idle.c ---- */
/* The rest of an idle thread's life. preempt_count 0. */
_Noreturn void sched_idle_loop(struct runqueue *rq);

/* ---- thread.c ---- */
/* Keeps an ended thread for reuse. Preemption off, on the CPU it ended on. */
void thread_recycle(struct runqueue *rq, struct thread *dead);
void thread_init(struct thread *t, const char *name, struct thread *parent);

#endif
