/*
 * The lock-free half of wake-up: one thread's wait word and one CPU's wake queue. Private to sched/; apart
 * from the rest so that the same code runs under ThreadSanitizer on the host. Proof: thread.h. Model:
 * tests/model/wake.pml.
 */
#ifndef MOKA_SCHED_WAKE_H
#define MOKA_SCHED_WAKE_H

#include "sched/thread.h"

/* NONE -> ASLEEP. False: a permit is there. By the thread itself. */
static inline bool wait_begin(struct thread *t)
{
    u32 none = WAIT_NONE;
    return __atomic_compare_exchange_n(&t->wait, &none, WAIT_ASLEEP, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/* ASLEEP -> NONE, by its CPU when the deadline came. False: a waker was faster and queues it. */
static inline bool wait_expire(struct thread *t)
{
    u32 asleep = WAIT_ASLEEP;
    return __atomic_compare_exchange_n(&t->wait, &asleep, WAIT_NONE, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

/* Any -> NONE, by the thread itself once it runs again. True when there was a permit. */
static inline bool wait_end(struct thread *t)
{
    return __atomic_exchange_n(&t->wait, WAIT_NONE, __ATOMIC_ACQ_REL) == WAIT_PERMIT;
}

/* Any -> PERMIT. True: it was asleep, and the caller must queue it. Any context. */
static inline bool wait_permit(struct thread *t)
{
    return __atomic_exchange_n(&t->wait, WAIT_PERMIT, __ATOMIC_ACQ_REL) == WAIT_ASLEEP;
}

/* True when the queue was empty, so that its CPU may not know yet. Any context. t may run at once. */
static inline bool wakeq_push(struct thread **queue, struct thread *t)
{
    struct thread *head = __atomic_load_n(queue, __ATOMIC_RELAXED);
    do
        t->wake_next = head;
    while (!__atomic_compare_exchange_n(queue, &head, t, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return !head;
}

/* Everything in the queue, linked by wake_next, first pushed first. By the queue's CPU. */
static inline struct thread *wakeq_take(struct thread **queue)
{
    struct thread *newest = __atomic_exchange_n(queue, NULL, __ATOMIC_SEQ_CST), *oldest = NULL;
    while (newest) {
        struct thread *older = newest->wake_next;
        newest->wake_next = oldest;
        oldest = newest;
        newest = older;
    }
    return oldest;
}

#endif
