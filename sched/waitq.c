/* Wait queues and events. */
#include "sched/waitq.h"

#include "kernel/base/errno.h"
#include "kernel/base/panic.h"

/* Queue's mutex held. */
static void enqueue(struct waitq *q, struct waiter *w)
{
    if (!q->head.next)
        list_init(&q->head);
    /* These first: waking one thread is for them all. */
    if (w->func || w->looks)
        list_push_front(&q->head, &w->link);
    else
        list_push_back(&q->head, &w->link);
    w->queued = true;
    /* Pairs with the wakers' fence: we count, then look at the condition; they make it true, then look at
     * count. */
    __atomic_fetch_add(&q->count, 1, __ATOMIC_SEQ_CST);
}

static void dequeue(struct waitq *q, struct waiter *w)
{
    list_del(&w->link);
    w->queued = false;
    __atomic_fetch_sub(&q->count, 1, __ATOMIC_RELAXED);
}

void waitq_add(struct waitq *q, struct waiter *w)
{
    mutex_lock(&q->lock);
    enqueue(q, w);
    mutex_unlock(&q->lock);
}

static inline void enter(struct waitq *q, struct waiter *w, bool looks)
{
    w->thread = current_thread();
    w->func = NULL;
    w->looks = looks;
    waitq_add(q, w);
}

void waitq_enter(struct waitq *q, struct waiter *w)
{
    enter(q, w, false);
}

void waitq_enter_looks(struct waitq *q, struct waiter *w)
{
    enter(q, w, true);
}

void waitq_leave(struct waitq *q, struct waiter *w)
{
    mutex_lock(&q->lock);
    if (w->queued)
        dequeue(q, w);
    mutex_unlock(&q->lock);
}

static bool nobody_waits(struct waitq *q)
{
    /* Not a load: a read-modify-write comes before or after the waiter's own in their one order, and in the
     * first case the waiter, acquiring, sees what the caller did before. */
    return !__atomic_fetch_add(&q->count, 0, __ATOMIC_ACQ_REL);
}

int waitq_wait(struct waitq *q, struct mutex *lock, u64 deadline_ns, u32 sleep_flags)
{
    struct waiter w;
    waitq_enter(q, &w);
    mutex_unlock(lock);
    int err = sched_sleep(deadline_ns, sleep_flags);
    mutex_lock(lock);
    waitq_leave(q, &w);
    return err;
}

/*
 * Threads are woken after the queue's mutex was dropped, lest they run at once and find it taken: a thread
 * may be woken late, its waiter (a stack frame) must not be touched late.
 */
#define WAKE_BATCH 16

void waitq_wake_one(struct waitq *q, u32 events)
{
    struct waiter *w, *next;
    struct thread *chosen = NULL;
    if (nobody_waits(q))
        return;
    mutex_lock(&q->lock);
    if (q->head.next) {
        list_for_each_safe(w, next, &q->head, link)
        {
            if (w->func) {
                w->func(w, events);
                continue;
            }
            if (w->looks) {
                sched_wake(w->thread);
                continue;
            }
            /* To the end, so that the next wake-up goes to another. */
            list_del(&w->link);
            list_push_back(&q->head, &w->link);
            chosen = w->thread;
            break;
        }
    }
    mutex_unlock(&q->lock);
    if (chosen)
        sched_wake(chosen);
}

void waitq_wake_all(struct waitq *q, u32 events)
{
    struct waiter *w, *next;
    struct thread *batch[WAKE_BATCH];
    u32 count = 0;
    if (nobody_waits(q))
        return;
    mutex_lock(&q->lock);
    if (q->head.next) {
        list_for_each_safe(w, next, &q->head, link)
        {
            if (w->func)
                w->func(w, events);
            else if (count < WAKE_BATCH)
                batch[count++] = w->thread;
            else
                sched_wake(w->thread);
        }
    }
    mutex_unlock(&q->lock);
    for (u32 i = 0; i < count; i++)
        sched_wake(batch[i]);
}

/* ---- events ---- */

void event_set(struct event *e)
{
    if (__atomic_exchange_n(&e->set, 1, __ATOMIC_SEQ_CST))
        return;
    struct thread *t = __atomic_load_n(&e->waiter, __ATOMIC_SEQ_CST);
    if (t)
        sched_wake(t);
}

int event_wait(struct event *e, u64 deadline_ns, u32 sleep_flags)
{
    int err = 0;
    __atomic_store_n(&e->waiter, current_thread(), __ATOMIC_SEQ_CST);
    for (;;) {
        if (__atomic_exchange_n(&e->set, 0, __ATOMIC_SEQ_CST)) {
            err = 0;
            break;
        }
        if (err)
            break;
        err = sched_sleep(deadline_ns, sleep_flags);
    }
    __atomic_store_n(&e->waiter, NULL, __ATOMIC_RELAXED);
    return err;
}
