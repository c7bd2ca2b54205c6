/*
 * The futex core: wait queues keyed by address, hashed to buckets that a lock-free mutex guards each.
 * One address space: the key is the address (shared mappings of one object at two addresses: keyed by
 * object and offset through futex_key hook when the SHARED flag is given). Error values as futex(2).
 */
#ifndef MOKA_SCHED_FUTEX_H
#define MOKA_SCHED_FUTEX_H

#include "kernel/base/types.h"

#define FUTEX_ANY (~0u)

/* A place that threads wait for. For private futexes a = address, b = 0; for shared ones a = object, b =
 * offset. */
struct futex_key {
    u64 a, b;
};

/*
 * Sleeps if *addr == expected. bits: FUTEX_WAIT_BITSET mask. 0 woken, -EAGAIN value differs, -ETIMEDOUT,
 * -EINTR, -EFAULT, -EINVAL (bits == 0). Interruptible.
 */
int futex_wait(u32 *addr, struct futex_key key, u32 expected, u32 bits, u64 deadline_ns);
/* Wakes at most count waiters whose bits intersect. Returns how many. */
int futex_wake(struct futex_key key, int count, u32 bits);
/* Wakes wake, moves up to move to key2. When cmp: only if *addr == expected, else -EAGAIN. Returns how many
 * were woken or moved, as Linux does for both operations. */
int futex_requeue(u32 *addr, struct futex_key key, struct futex_key key2, int wake, int move, bool cmp,
                  u32 expected);
/* FUTEX_WAKE_OP (futex(2)): op encoded as there. */
int futex_wake_op(u32 *addr2, struct futex_key key, struct futex_key key2, int wake, int wake2, u32 op);

#endif
