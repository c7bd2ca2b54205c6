/* What the rest of kernel/linux needs of futexes; the core is in sched/futex.h. */
#ifndef MOKA_LINUX_FUTEX_H
#define MOKA_LINUX_FUTEX_H

#include "kernel/linux/task.h"

/* Wakes waiters of a word, however they said it is shared (thread end: CLONE_CHILD_CLEARTID). */
void futex_wake_shared(u32 *word, int count);
/* A thread ends: marks the robust futexes it owns as abandoned (get_robust_list(2)) and wakes a waiter each.
 */
void futex_exit_robust(struct task *t);

#endif
