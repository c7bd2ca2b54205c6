/*
 * Sleeping locks: the lock-free mutex (Gidenstam and Papatriantafilou, "LFthreads: A lock-free thread
 * library", OPODIS 2007, as OSv uses it) and a reader-writer lock built from it. Threads only, preemption on;
 * never from interrupt handlers. Not recursive. A zeroed mutex is an unlocked one.
 */
#ifndef MOKA_SCHED_MUTEX_H
#define MOKA_SCHED_MUTEX_H

#include "kernel/base/types.h"

struct thread;
struct mutex_waiter;

struct mutex {
    u32 count; /* atomic: owner + waiters */
    u32 sequence;
    u32 handoff;               /* atomic */
    struct thread *owner;      /* for assertions */
    struct mutex_waiter *push; /* atomic: waiters, newest first */
    struct mutex_waiter *pop;  /* owned by the lock holder: waiters, oldest first */
};
#define MUTEX_INIT                                                                                           \
    {                                                                                                        \
        0                                                                                                    \
    }

void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);
bool mutex_held(const struct mutex *m); /* by the calling thread; for ASSERT */

/* Readers share, a writer is alone; writers are preferred; a zeroed lock is free. */
struct rwlock {
    struct mutex lock;
    s64 readers; /* atomic; biased when a writer waits or writes */
    struct thread *writer;
    void *waiting_readers; /* see rwlock.c */
    u64 spare[2];
};
void read_lock(struct rwlock *l);
bool read_trylock(struct rwlock *l);
void read_unlock(struct rwlock *l);
void write_lock(struct rwlock *l);
void write_unlock(struct rwlock *l);

#endif
