/* The lock-free mutex; algorithm and proof are in mutex.h. */
#include "sched/mutex_inline.h"

#include "kernel/base/panic.h"
#include "sched/thread.h"

#define SPINS    500 /* looks before sleeping */
#define PATIENCE 4   /* times that a waiter lets others go before */

/* Lives on the waiting thread's stack until that has the lock. */
struct mutex_waiter {
    struct mutex_waiter *next;
    struct thread *thread;
    u32 granted; /* atomic; the last thing the granter touches */
    u32 insists; /* atomic: others went before it often enough */
};

static void push_waiter(struct mutex *m, struct mutex_waiter *w)
{
    w->next = __atomic_load_n(&m->push, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&m->push, &w->next, w, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
}

/* The waiters that were pushed, oldest first. Holder only. */
static struct mutex_waiter *take_pushed(struct mutex *m)
{
    struct mutex_waiter *newest = __atomic_exchange_n(&m->push, NULL, __ATOMIC_SEQ_CST), *list = NULL;
    while (newest) {
        struct mutex_waiter *older = newest->next;
        newest->next = list;
        list = newest;
        newest = older;
    }
    return list;
}

/* The oldest waiter, or NULL. Holder only. */
static struct mutex_waiter *oldest_waiter(struct mutex *m)
{
    if (!m->pop)
        m->pop = take_pushed(m);
    return m->pop;
}

/* Takes w out of the queue, in which it is. Holder only. */
static void remove_waiter(struct mutex *m, const struct mutex_waiter *w)
{
    struct mutex_waiter **at = &m->pop;
    for (; *at != w; at = &(*at)->next)
        if (!*at) {
            *at = take_pushed(m);
            ASSERT(*at);
            if (*at == w)
                break;
        }
    *at = w->next;
}

static void grant(struct mutex_waiter *w)
{
    struct thread *t = w->thread;
    __atomic_store_n(&w->granted, 1, __ATOMIC_RELEASE);
    sched_wake(t);
}

static void set_owner(struct mutex *m, struct thread *t)
{
    __atomic_store_n(&m->owner, t, __ATOMIC_RELAXED);
}

/* Makes the caller the holder if the lock has none although some want it. */
static bool take_token(struct mutex *m)
{
    u32 token = __atomic_load_n(&m->handoff, __ATOMIC_SEQ_CST);
    return token &&
           __atomic_compare_exchange_n(&m->handoff, &token, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* One look of w's thread at whether it has the lock now. */
static bool try_again(struct mutex *m, struct mutex_waiter *w)
{
    if (__atomic_load_n(&w->granted, __ATOMIC_ACQUIRE))
        return true;
    if (!take_token(m))
        return false;
    remove_waiter(m, w);
    return true;
}

/* Looks for a while, as long as the holder runs: to sleep and be woken takes longer than most hold a lock. */
static bool spin(struct mutex *m, struct mutex_waiter *w)
{
    for (u32 i = 1; i < SPINS; i++) {
        const struct thread *owner = __atomic_load_n(&m->owner, __ATOMIC_RELAXED);
        if (try_again(m, w))
            return true;
        if (owner && !__atomic_load_n(&owner->on_cpu, __ATOMIC_RELAXED))
            return false;
        cpu_relax_now_and_then(i);
    }
    return false;
}

void mutex_lock_contended(struct mutex *m)
{
    struct mutex_waiter w = {.thread = current_thread()};
    bool slept = false;
    ASSERT(w.thread && preempt_count() == 0);
    push_waiter(m, &w);
    for (u32 tries = 1; !spin(m, &w) && !try_again(m, &w); tries++) {
        if (tries == PATIENCE)
            __atomic_store_n(&w.insists, 1, __ATOMIC_RELAXED);
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
        if (!take_token(m))
            return false;
        __atomic_fetch_add(&m->count, 1, __ATOMIC_RELAXED);
    }
    set_owner(m, current_thread());
    return true;
}

void mutex_unlock_contended(struct mutex *m)
{
    for (;;) {
        struct mutex_waiter *w = oldest_waiter(m);
        struct thread *t = w ? w->thread : NULL;
        if (w && __atomic_load_n(&w->insists, __ATOMIC_RELAXED)) {
            m->pop = w->next;
            grant(w);
            return;
        }
        u32 token = m->sequence + 1;
        if (!token)
            token = 1;
        m->sequence = token;
        __atomic_store_n(&m->handoff, token, __ATOMIC_SEQ_CST);
        /* From here on we are the holder only if we take the token back. */
        if (t)
            sched_wake(t);
        if (t || !__atomic_load_n(&m->push, __ATOMIC_SEQ_CST))
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
