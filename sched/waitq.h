/*
 * Wait queues: many threads (or callbacks, for epoll) wait for something that happens to an object.
 *
 *     struct waiter w;
 *     waitq_enter(&q, &w);
 *     while (!condition && !(err = sched_sleep(deadline, flags)))
 *         ;
 *     waitq_leave(&q, &w);
 *
 * waitq_wake_* after the condition was made true. Threads only, may sleep. Lock order: the object's own lock
 * before the queue's. Callbacks run with the queue's mutex held and must not touch that queue.
 *
 * No wake-up is lost: the waiter counts itself and then looks at the condition; the waker makes it true and
 * then looks at the count; both by read-modify-write of the count, so one sees the other.
 *
 * A waker that knows more asks waitq_busy() first, which costs a load, and wakes only then. Two cases allow
 * it:
 *   - The condition is looked at under a mutex by all waiters, and the waker asks while it still holds that
 *     mutex. Either the waiter's look came before, then its count does too; or it comes after and sees the
 * change.
 *   - The waker changed the condition by a sequentially consistent read-modify-write, and waiters look at it
 * by a sequentially consistent load (Dekker's pattern: count, look | change, ask; all four in one order).
 */
#ifndef MOKA_SCHED_WAITQ_H
#define MOKA_SCHED_WAITQ_H

#include "kernel/base/list.h"
#include "sched/mutex.h"
#include "sched/thread.h"

struct waitq {
    struct mutex lock;
    struct list head; /* struct waiter; zeroed means empty: initialised at first use */
    u32 count;        /* atomic: lets wakers skip an empty queue */
};

struct waiter {
    struct list link;
    struct thread *thread; /* woken when func is NULL */
    void (*func)(struct waiter *w,
                 u32 events); /* instead of waking; events: POLL* bits the waker knows, 0 unknown */
    bool queued;
    bool looks; /* it takes nothing, so waking it is not enough: waitq_wake_one() wakes another, too */
};

void waitq_enter(struct waitq *q, struct waiter *w);       /* for the calling thread */
void waitq_enter_looks(struct waitq *q, struct waiter *w); /* the same, with w->looks: for poll() */
void waitq_add(struct waitq *q, struct waiter *w);         /* with w->func set by the caller */
void waitq_leave(struct waitq *q, struct waiter *w);       /* also removes one added by waitq_add */
/* False: nobody waits. See above for who may rely on it. */
static inline bool waitq_busy(const struct waitq *q)
{
    return __atomic_load_n(&q->count, __ATOMIC_SEQ_CST);
}
/*
 * For conditions guarded by a mutex, which is held on entry and on return and dropped while sleeping: queues,
 * unlocks, sleeps once, locks. Results as sched_sleep(); the caller loops around its condition, which goes
 * before any error. Nothing is lost: whoever changes the condition needs the mutex, and finds us queued.
 */
int waitq_wait(struct waitq *q, struct mutex *lock, u64 deadline_ns, u32 sleep_flags);
/* Wakes the thread that was woken least recently, of those that take something, besides all that only look,
 * and calls the callbacks. A thread so chosen that leaves without taking what it waited for (-EINTR, or
 * because it took something else) must pass the wake-up on, after it has left. */
void waitq_wake_one(struct waitq *q, u32 events);
void waitq_wake_all(struct waitq *q, u32 events);

/*
 * A flag that one thread waits for and anyone, interrupt handlers too, sets: auto-reset.
 */
struct event {
    u32 set;               /* atomic */
    struct thread *waiter; /* atomic */
};
void event_set(struct event *e);                                   /* any context */
int event_wait(struct event *e, u64 deadline_ns, u32 sleep_flags); /* as sched_sleep; resets on 0 */

#endif
