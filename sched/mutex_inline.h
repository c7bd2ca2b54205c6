/* The mutex's uncontended path without a call, for the paths taken most. What it means is in mutex.h. */
#ifndef MOKA_SCHED_MUTEX_INLINE_H
#define MOKA_SCHED_MUTEX_INLINE_H

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/base/panic.h"
#include "sched/mutex.h"

void mutex_lock_contended(struct mutex *m);   /* count was not 0 */
void mutex_unlock_contended(struct mutex *m); /* count is not 0 */

static inline void mutex_lock_inline(struct mutex *m)
{
    if (unlikely(__atomic_fetch_add(&m->count, 1, __ATOMIC_ACQUIRE)))
        mutex_lock_contended(m);
    __atomic_store_n(&m->owner, current_thread(), __ATOMIC_RELAXED);
}

static inline void mutex_unlock_inline(struct mutex *m)
{
    ASSERT(__atomic_load_n(&m->owner, __ATOMIC_RELAXED) == current_thread());
    __atomic_store_n(&m->owner, NULL, __ATOMIC_RELAXED);
    if (unlikely(__atomic_sub_fetch(&m->count, 1, __ATOMIC_RELEASE)))
        mutex_unlock_contended(m);
}

#endif
