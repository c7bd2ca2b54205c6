/* The reader-writer lock; the scheme is described in mutex.h. */
#include "kernel/base/panic.h"
#include "sched/mutex.h"
#include "sched/thread.h"

/* On a waiting reader's stack until admitted. */
struct rwlock_waiter {
    struct rwlock_waiter *next;
    struct thread *thread;
    u32 admitted; /* atomic; the last thing the admitter touches */
};

static void __attribute__((noinline)) read_lock_contended(struct rwlock *l)
{
    struct rwlock_waiter w = {.thread = current_thread()};
    mutex_lock(&l->waiting_lock);
    if (l->admissions) {
        l->admissions--;
        mutex_unlock(&l->waiting_lock);
        return;
    }
    w.next = l->waiting;
    l->waiting = &w;
    mutex_unlock(&l->waiting_lock);
    while (!__atomic_load_n(&w.admitted, __ATOMIC_ACQUIRE))
        sched_sleep(SLEEP_FOREVER, 0);
    sched_wake(w.thread); /* gives the permit back */
}

void read_lock(struct rwlock *l)
{
    if (unlikely(__atomic_fetch_add(&l->readers, 1, __ATOMIC_ACQUIRE) < 0))
        read_lock_contended(l);
}

bool read_trylock(struct rwlock *l)
{
    s64 readers = __atomic_load_n(&l->readers, __ATOMIC_RELAXED);
    while (readers >= 0)
        if (__atomic_compare_exchange_n(&l->readers, &readers, readers + 1, true, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
    return false;
}

void read_unlock(struct rwlock *l)
{
    if (likely(__atomic_fetch_sub(&l->readers, 1, __ATOMIC_SEQ_CST) > 0))
        return;
    /* A writer waits. It may go on, and free the lock, once draining is 0: read its name before. */
    struct thread *writer = __atomic_load_n(&l->writer, __ATOMIC_ACQUIRE);
    if (__atomic_sub_fetch(&l->draining, 1, __ATOMIC_ACQ_REL) == 0)
        sched_wake(writer);
}

static void wait_for_readers(struct rwlock *l)
{
    while (__atomic_load_n(&l->draining, __ATOMIC_ACQUIRE) != 0)
        sched_sleep(SLEEP_FOREVER, 0);
    sched_wake(current_thread()); /* gives the permit back */
}

void write_lock(struct rwlock *l)
{
    mutex_lock(&l->writers);
    __atomic_store_n(&l->writer, current_thread(), __ATOMIC_RELAXED);
    s64 active = __atomic_fetch_sub(&l->readers, RWLOCK_WRITER, __ATOMIC_SEQ_CST);
    if (active && __atomic_add_fetch(&l->draining, active, __ATOMIC_ACQ_REL) != 0)
        wait_for_readers(l);
}

bool write_trylock(struct rwlock *l)
{
    if (!mutex_trylock(&l->writers))
        return false;
    s64 none = 0;
    if (!__atomic_compare_exchange_n(&l->readers, &none, -RWLOCK_WRITER, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED)) {
        mutex_unlock(&l->writers);
        return false;
    }
    __atomic_store_n(&l->writer, current_thread(), __ATOMIC_RELAXED);
    return true;
}

/* Lets `count` readers in: those that wait, and for the rest an admission each. */
static void admit_readers(struct rwlock *l, u64 count)
{
    mutex_lock(&l->waiting_lock);
    while (count && l->waiting) {
        struct rwlock_waiter *w = l->waiting;
        struct thread *t = w->thread;
        l->waiting = w->next;
        count--;
        __atomic_store_n(&w->admitted, 1, __ATOMIC_RELEASE);
        sched_wake(t);
    }
    l->admissions += count;
    mutex_unlock(&l->waiting_lock);
}

void write_unlock(struct rwlock *l)
{
    ASSERT(write_held(l));
    __atomic_store_n(&l->writer, NULL, __ATOMIC_RELAXED);
    s64 readers = __atomic_add_fetch(&l->readers, RWLOCK_WRITER, __ATOMIC_SEQ_CST);
    if (readers)
        admit_readers(l, readers);
    mutex_unlock(&l->writers);
}

bool write_held(const struct rwlock *l)
{
    return __atomic_load_n(&l->writer, __ATOMIC_RELAXED) == current_thread();
}
