/*
 * The sleeping lock: a lock-free mutex. Threads only, preemption on; never from interrupt handlers. Not
 * recursive. A zeroed one is free. Uncontended it never sleeps, so it works before sched_init() and costs two
 * atomic instructions.
 *
 * The mutex
 * ---------
 * Source: Gidenstam and Papatriantafilou, "LFthreads: A lock-free thread library", OPODIS 2007; OSv uses the
 * same algorithm. "Lock-free" is about the lock's own bookkeeping: no step of lock or unlock ever waits for a
 * thread that was preempted in the middle of another step; a spinlock inside would.
 *
 *   count     holder + those who want it. 0: free. lock() adds 1, unlock() subtracts 1.
 *   push      stack of waiters, newest first; anyone pushes (compare-and-exchange).
 *   pop       waiters, oldest first; only the holder touches it. When it is empty the holder takes the whole
 *             push stack (one exchange) and reverses it: first come, first served.
 *   handoff   0, or a token: "the lock has no holder although count > 0; who takes me, is the holder".
 *
 * lock: count was 0: ours. Else push a waiter, then look again and again, for a while awake, later each time
 * that we are woken: a token is there: taking it (compare-and-exchange to 0) makes us the holder, who takes
 * its waiter out of the queue. Or our waiter was granted the lock. A waiter that looked in vain a few times
 * insists. unlock: count was 1: done. Else the oldest waiter, if it insists, is taken out of the queue and
 * granted the lock. If it does not: we leave a token (a fresh value of sequence) and wake it: whoever comes
 * first gets the lock. (To hand it to a thread that sleeps means that nobody has it until that runs: then all
 * who come meanwhile sleep, too, and so on for ever.) No waiter there: somebody in lock() has counted itself
 * but not pushed yet. We must not wait for it, so we leave a token, and look at push once more. Still empty:
 * done, the one on its way will find the token. Not empty: try to take our token back; when that fails
 * somebody else is the holder; when it works we go on as the holder.
 *
 * Invariants
 *   I1  At most one thread is "the holder": count's 0 -> 1, a grant by the holder, or taking the token from
 *       non-zero to 0 makes one, and each of these needs that there is none. (count is 0 only when nobody
 *       holds or waits; a token exists only after a holder resigned by storing it.)
 *   I2  count > 0 and no holder  =>  a token is there.
 *   I3  No token stays while somebody waits: one who waits will look (no lost hand-over). And nobody waits
 * for ever: the oldest is woken at each unlock, and is granted the lock once it insists.
 *
 * Why the orders suffice
 *   - A's critical section happens before B's: count is changed with acquire/release (A's release in unlock,
 *     B's acquire in lock); or the grant is a release store that B loads with acquire; or the token is stored
 *     with seq_cst (includes release) and taken with seq_cst (includes acquire).
 *   - I3 is Dekker's pattern: the locker does push := waiter; read handoff. The unlocker does handoff :=
 *     token; read push. All four are seq_cst, so at least one of them sees the other's write. If the locker
 * sees the token it takes it, or fails because another took it, who is the holder then and will unlock. If
 * the unlocker sees the waiter it takes the token back, or fails likewise. With a waiter that the unlocker
 * knew of there is no doubt: it is woken after the token was stored, and its permit keeps it from sleeping
 * before it has looked again.
 *   - A token can only be taken by the value that was read; `sequence` makes tokens of one mutex differ (it
 *     wraps after 2^32 - 1 hand-offs, within which the taker would have to sit between two instructions), so
 *     between reading the token and taking it nobody was the holder. Hence the taker's own waiter was not
 * granted the lock (only holders do that), and is in the queue still.
 *   - sequence, pop and owner are touched by the holder alone; grants and tokens order successive holders.
 *   - A waiter's memory (a stack frame) may vanish once it is granted or the token is stored: the unlocker
 * reads everything it needs before. Its late sched_wake() is harmless because struct thread is type-stable.
 *
 * Deviations from the paper: the waiters queue is the push/pop pair (the paper has a general lock-free queue
 * of which only the holder dequeues; the pair is one such); unlock looks at push only, not at pop (after the
 * token is stored pop belongs to whoever takes it; and it is empty, as we just found); who takes a token
 * keeps the lock instead of granting it to the oldest; and the oldest is granted it only when it insists
 * (eventual fairness, as in WebKit's WTF::Lock, Pizlo 2016).
 *
 * Sleeping inside consumes the thread's wake permit, which may have been meant for somebody further out;
 * mutex_lock() puts it back whenever it slept, so that a wait loop which locks inside loses no wake-up.
 *
 * tests/model/mutex.pml checks I1-I3 for three threads; tests/unit/sched runs this code under
 * ThreadSanitizer.
 */
#ifndef MOKA_SCHED_MUTEX_H
#define MOKA_SCHED_MUTEX_H

#include "kernel/base/types.h"

struct thread;
struct mutex_waiter;

struct mutex {
    u32 count;                 /* atomic: holder + waiters */
    u32 handoff;               /* atomic: token or 0 */
    struct mutex_waiter *push; /* atomic: waiters, newest first */

    /* Guarded by the mutex itself. */
    struct mutex_waiter *pop; /* waiters, oldest first */
    u32 sequence;             /* last token used */
    struct thread *owner;     /* for assertions; stored and loaded atomically, relaxed */
};
#define MUTEX_INIT                                                                                           \
    {                                                                                                        \
        0                                                                                                    \
    }

void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);
bool mutex_held(const struct mutex *m); /* by the calling thread; for ASSERT */

#endif
