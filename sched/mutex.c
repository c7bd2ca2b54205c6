/* The lock-free mutex; algorithm and proof are in mutex.h. */
#include "sched/mutex_inline.h"

#include "kernel/base/panic.h"
#include "sched/thread.h"

/* Lives on the waiting thread's stack until granted. */
struct mutex_waiter {
    struct mutex_waiter *next;
    struct thread *thread;
    u32 granted; /* atomic; the last thing the granter touches */
};

static void push_waiter(struct mutex *m, struct mutex_waiter *w)
{
    w->next = __atomic_load_n(&m->push, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&m->push, &w->next, w, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
}

/* The oldest waiter, or NULL. Holder only. */
static struct mutex_waiter *pop_waiter(struct mutex *m)
{
    if (!m->pop) {
        struct mutex_waiter *newest = __atomic_exchange_n(&m->push, NULL, __ATOMIC_SEQ_CST);
        while (newest) {
            struct mutex_waiter *older = newest->next;
            newest->next = m->pop;
            m->pop = newest;
            newest = older;
        }
    }
    struct mutex_waiter *oldest = m->pop;
    if (oldest)
        m->pop = oldest->next;
    return oldest;
}

static void grant(struct mutex_waiter *w)
{
    struct thread *t = w->thread;
    __atomic_store_n(&w->granted, 1, __ATOMIC_RELEASE);
    if (t != current_thread())
        sched_wake(t);
}

static void set_owner(struct mutex *m, struct thread *t)
{
    __atomic_store_n(&m->owner, t, __ATOMIC_RELAXED);
}

void mutex_lock_contended(struct mutex *m)
{
    struct mutex_waiter w = {.thread = current_thread()};
    bool slept = false;
    ASSERT(w.thread && preempt_count() == 0);
    push_waiter(m, &w);
    u32 token = __atomic_load_n(&m->handoff, __ATOMIC_SEQ_CST);
    if (token &&
        __atomic_compare_exchange_n(&m->handoff, &token, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        grant(pop_waiter(m));
    while (!__atomic_load_n(&w.granted, __ATOMIC_ACQUIRE)) {
        sched_sleep(SLEEP_FOREVER, 0);
        slept = true;
    }
    if (slept)
        sched_wake(w.thread); /* gives the permit back */
}

void mutex_lock(struct mutex *m)
{
    mutex_lock_inline(m);
}

bool mutex_trylock(struct mutex *m)
{
    u32 expected = 0;
    if (!__atomic_compare_exchange_n(&m->count, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        /* A token means there is no holder: taking it is as good as being granted the lock. */
        u32 token = __atomic_load_n(&m->handoff, __ATOMIC_SEQ_CST);
        if (!token ||
            !__atomic_compare_exchange_n(&m->handoff, &token, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            return false;
        __atomic_fetch_add(&m->count, 1, __ATOMIC_RELAXED);
    }
    set_owner(m, current_thread());
    return true;
}

void mutex_unlock_contended(struct mutex *m)
{
    for (;;) {
        struct mutex_waiter *w = pop_waiter(m);
        if (w) {
            grant(w);
            return;
        }
        u32 token = m->sequence + 1;
        if (!token)
            token = 1;
        m->sequence = token;
        __atomic_store_n(&m->handoff, token, __ATOMIC_SEQ_CST);
        /* From here on we are the holder only if we take the token back. */
        if (!__atomic_load_n(&m->push, __ATOMIC_SEQ_CST))
            return;
        if (!__atomic_compare_exchange_n(&m->handoff, &token, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            return;
    }
}

void mutex_unlock(struct mutex *m)
{
    mutex_unlock_inline(m);
}

bool mutex_held(const struct mutex *m)
{
    return __atomic_load_n(&m->owner, __ATOMIC_RELAXED) == current_thread();
}
