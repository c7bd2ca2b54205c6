/*
 * The futex core. A waiter queues itself and looks at the word under its bucket's mutex, so a waker that
 * changed the word first and then takes the mutex either finds it or made it see the new value.
 *
 * bucket->count lets wakers skip an empty bucket without the mutex: the waiter counts itself, then reads the
 * word; the waker wrote the word, then reads count; both by read-modify-write, so one sees the other. (All
 * that change it are read-modify-writes: a plain store between those two would hide one from the other.)
 *
 * Hand-over: the waker unlinks waiters under the mutex and grants after it dropped it: `woken` is the last
 * thing of a waiter that it touches (the waiter lives on its thread's stack), and a granted thread needs no
 * lock on its way out. Bucket mutexes are locked in address order.
 */
#include "sched/futex.h"

#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/errno.h"
#include "kernel/base/list.h"
#include "sched/mutex_inline.h"
#include "sched/thread.h"

#define BUCKETS 1024

struct bucket {
    struct mutex lock; /* guards waiters */
    struct list waiters;
    u32 count; /* atomic: waiters, and those about to become ones */
} __attribute__((aligned(128)));

struct futex_waiter {
    struct list link;
    struct futex_key key;
    u32 bits;
    struct thread *thread;
    struct bucket *bucket; /* atomic; changed by requeue under both buckets' mutexes */
    bool queued;           /* guarded by the bucket's mutex */
    u32 woken;             /* atomic */
};

static struct bucket buckets[BUCKETS];

static inline struct bucket *bucket_of(struct futex_key key)
{
    u64 h = ((key.a >> 2) ^ (key.b << 32 | key.b >> 32)) * 0x9e3779b97f4a7c15UL;
    struct bucket *b = &buckets[(h >> 40) % BUCKETS];
    __asm__("" : "+r"(b)); /* else the compiler makes the address anew for each field */
    return b;
}

static bool same_key(struct futex_key x, struct futex_key y)
{
    return x.a == y.a && x.b == y.b;
}

static void enqueue(struct bucket *b, struct futex_waiter *w)
{
    if (!b->waiters.next)
        list_init(&b->waiters);
    list_push_back(&b->waiters, &w->link);
    w->queued = true;
    __atomic_store_n(&w->bucket, b, __ATOMIC_RELAXED);
}

static void dequeue(struct bucket *b, struct futex_waiter *w)
{
    list_del(&w->link);
    w->queued = false;
    __atomic_fetch_sub(&b->count, 1, __ATOMIC_RELAXED);
}

/* Locks the bucket that w is in now; requeue may move it meanwhile. */
static struct bucket *lock_bucket_of(struct futex_waiter *w)
{
    for (;;) {
        struct bucket *b = __atomic_load_n(&w->bucket, __ATOMIC_RELAXED);
        mutex_lock(&b->lock);
        if (b == __atomic_load_n(&w->bucket, __ATOMIC_RELAXED))
            return b;
        mutex_unlock(&b->lock);
    }
}

/* Takes w off its queue when it is still there. */
static bool withdraw(struct futex_waiter *w)
{
    struct bucket *b = lock_bucket_of(w);
    bool was_queued = w->queued;
    if (was_queued)
        dequeue(b, w);
    mutex_unlock(&b->lock);
    return was_queued;
}

static int wait_until_woken(struct futex_waiter *w, u64 deadline_ns)
{
    u32 flags = SLEEP_INTERRUPTIBLE;
    int err = 0;
    while (!__atomic_load_n(&w->woken, __ATOMIC_ACQUIRE)) {
        if (err) {
            if (withdraw(w))
                return err;
            /* A waker has it in hand: its grant is on the way. */
            deadline_ns = SLEEP_FOREVER;
            flags = 0;
        }
        err = sched_sleep(deadline_ns, flags);
    }
    return 0;
}

int futex_wait(u32 *addr, struct futex_key key, u32 expected, u32 bits, u64 deadline_ns)
{
    if (unlikely(!bits))
        return -EINVAL;
    struct futex_waiter w; /* the rest is set when it is queued */
    w.key = key;
    w.bits = bits;
    w.thread = current_thread();
    w.woken = 0;
    struct bucket *b = bucket_of(key);
    u32 value;
    mutex_lock_inline(&b->lock);
    __atomic_fetch_add(&b->count, 1, __ATOMIC_SEQ_CST);
    int err = load32_safe(addr, &value);
    if (!err && value != expected)
        err = -EAGAIN;
    if (err)
        __atomic_fetch_sub(&b->count, 1, __ATOMIC_RELAXED);
    else
        enqueue(b, &w);
    mutex_unlock_inline(&b->lock);
    return err ? err : wait_until_woken(&w, deadline_ns);
}

static inline void grant(struct futex_waiter *w)
{
    struct thread *t = w->thread;
    __atomic_store_n(&w->woken, 1, __ATOMIC_RELEASE);
    sched_wake(t);
}

/* One that is granted may be gone at once: the next is read before. */
static void grant_all(struct list *taken)
{
    struct futex_waiter *w, *next;
    list_for_each_safe(w, next, taken, link) grant(w);
}

/* The first waiter of w and those after it that matches; NULL: none. Bucket's mutex held. */
static inline struct futex_waiter *first_match(struct bucket *b, struct list *at, struct futex_key key,
                                               u32 bits)
{
    for (; at != &b->waiters; at = at->next) {
        struct futex_waiter *w = container_of(at, struct futex_waiter, link);
        if (likely(same_key(w->key, key) && w->bits & bits))
            return w;
    }
    return NULL;
}

/* Moves at most max matching waiters from b to *taken. How many. Bucket's mutex held. */
static int take(struct bucket *b, struct futex_key key, u32 bits, struct list *taken, int max)
{
    struct list *at = b->waiters.next;
    struct futex_waiter *w;
    int count = 0;
    while (at && count < max && (w = first_match(b, at, key, bits))) {
        at = w->link.next;
        dequeue(b, w);
        list_push_back(taken, &w->link);
        count++;
    }
    return count;
}

static bool nobody_waits(struct bucket *b)
{
    /* Not a load: a read-modify-write comes before or after the waiter's own in their one order, and in the
     * first case the waiter, acquiring, sees what the caller did before. */
    return !__atomic_fetch_add(&b->count, 0, __ATOMIC_ACQ_REL);
}

/* All at once: those who are woken may come back and wait again before we are done, and are not meant. */
static __attribute__((noinline)) int wake_many(struct bucket *b, struct futex_key key, int count, u32 bits)
{
    struct list taken = LIST_INIT(taken);
    mutex_lock(&b->lock);
    int total = take(b, key, bits, &taken, count);
    mutex_unlock(&b->lock);
    grant_all(&taken);
    return total;
}

int futex_wake(struct futex_key key, int count, u32 bits)
{
    struct bucket *b = bucket_of(key);
    if (unlikely(!bits))
        return -EINVAL;
    if (nobody_waits(b))
        return 0;
    if (unlikely(count != 1))
        return wake_many(b, key, count, bits);
    mutex_lock_inline(&b->lock);
    struct list *at = b->waiters.next;
    struct futex_waiter *w = likely(at) ? first_match(b, at, key, bits) : NULL;
    if (likely(w))
        dequeue(b, w);
    mutex_unlock_inline(&b->lock);
    if (unlikely(!w))
        return 0;
    grant(w);
    return 1;
}

static void lock_both(struct bucket *a, struct bucket *b)
{
    mutex_lock(a < b ? &a->lock : &b->lock);
    if (a != b)
        mutex_lock(a < b ? &b->lock : &a->lock);
}

static void unlock_both(struct bucket *a, struct bucket *b)
{
    mutex_unlock(&a->lock);
    if (a != b)
        mutex_unlock(&b->lock);
}

/* Moves at most max waiters to key2. Both mutexes held. */
static int move(struct bucket *from, struct futex_key key, struct bucket *to, struct futex_key key2, int max)
{
    struct futex_waiter *w, *next;
    int count = 0;
    if (!from->waiters.next || same_key(key, key2))
        return 0;
    list_for_each_safe(w, next, &from->waiters, link)
    {
        if (count >= max)
            break;
        if (!same_key(w->key, key))
            continue;
        dequeue(from, w);
        w->key = key2;
        __atomic_fetch_add(&to->count, 1, __ATOMIC_SEQ_CST); /* to is locked, too */
        enqueue(to, w);
        count++;
    }
    return count;
}

int futex_requeue(u32 *addr, struct futex_key key, struct futex_key key2, int wake, int move_max, bool cmp,
                  u32 expected)
{
    struct bucket *from = bucket_of(key), *to = bucket_of(key2);
    struct list taken = LIST_INIT(taken);
    int count = 0, err = 0;
    u32 value = expected;
    lock_both(from, to);
    if (cmp)
        err = load32_safe(addr, &value);
    if (!err && value != expected)
        err = -EAGAIN;
    if (!err) {
        count = take(from, key, FUTEX_ANY, &taken, wake);
        count += move(from, key, to, key2, move_max);
    }
    unlock_both(from, to);
    grant_all(&taken);
    return err ? err : count;
}

/* ---- FUTEX_WAKE_OP: futex(2) ---- */

static int apply_op(u32 *addr, u32 op, u32 *old)
{
    s32 operand = (s32)(op << 8) >> 20;
    u32 value, arg = op >> 31 ? 1u << (operand & 31) : (u32)operand;
    int err = load32_safe(addr, &value);
    while (!err) {
        u32 desired;
        switch (op >> 28 & 7) {
        case 0:
            desired = arg;
            break;
        case 1:
            desired = value + arg;
            break;
        case 2:
            desired = value | arg;
            break;
        case 3:
            desired = value & ~arg;
            break;
        case 4:
            desired = value ^ arg;
            break;
        default:
            return -ENOSYS;
        }
        err = cmpxchg32_safe(addr, value, desired, old);
        if (!err && *old == value)
            return 0;
        value = *old;
    }
    return err;
}

/* 1 or 0, or -ENOSYS for an unknown comparison. */
static int compare_op(u32 op, s32 old)
{
    s32 arg = (s32)(op << 20) >> 20;
    switch (op >> 24 & 15) {
    case 0:
        return old == arg;
    case 1:
        return old != arg;
    case 2:
        return old < arg;
    case 3:
        return old <= arg;
    case 4:
        return old > arg;
    case 5:
        return old >= arg;
    }
    return -ENOSYS;
}

int futex_wake_op(u32 *addr2, struct futex_key key, struct futex_key key2, int wake, int wake2, u32 op)
{
    struct bucket *b = bucket_of(key), *b2 = bucket_of(key2);
    u32 old = 0;
    int matches = compare_op(op, 0);
    if (matches < 0)
        return matches;
    lock_both(b, b2);
    int err = apply_op(addr2, op, &old);
    unlock_both(b, b2);
    if (err)
        return err;
    int woken = futex_wake(key, wake, FUTEX_ANY);
    if (compare_op(op, old))
        woken += futex_wake(key2, wake2, FUTEX_ANY);
    return woken;
}
