/* futex(2): decoding of operations; the waiting itself is sched/futex.h. Robust lists: get_robust_list(2). */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/futex.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/table.h"
#include "kernel/linux/time.h"
#include "kernel/linux/user.h"
#include "mm/vm/vm.h"
#include "sched/futex.h"

/* The object and offset behind a shared mapping, so that all addresses of it mean one futex. */
struct find {
    u64 addr;
    struct futex_key key;
};
static int find_area(const struct vm_area *a, void *arg)
{
    struct find *f = arg;
    if (f->addr >= a->end)
        return 0;
    if (f->addr >= a->start && a->object && a->flags & VM_SHARED) {
        f->key.a = (u64)a->object;
        f->key.b = (a->offset + f->addr - a->start) | 1; /* never 0, which marks private keys */
    }
    return 1;
}

static struct futex_key key_of(const u32 *word, bool private)
{
    struct find f = {.addr = (u64)word, .key = {(u64)word, 0}};
    if (!private)
        vm_for_each_from(f.addr, find_area, &f);
    return f.key;
}

static bool bad_word(const u32 *word, s64 *err)
{
    if ((u64)word % 4)
        *err = -EINVAL;
    else if (!user_range((u64)word, 4))
        *err = -EFAULT;
    else
        return false;
    return true;
}

/* args: word, private, value, bits, deadline. */
static s64 wait_again(void *arg)
{
    u64 *a = arg;
    u32 *word = (u32 *)a[0];
    int err = futex_wait(word, key_of(word, a[1]), a[2], a[3], a[4]);
    if (err != -EINTR)
        return err;
    current_task()->restart = wait_again;
    return -ERESTART_BLOCK;
}

static s64 wait(u32 *word, bool private, u32 value, u32 bits, u64 deadline)
{
    if (!bits)
        return -EINVAL;
    if (deadline == SLEEP_FOREVER) {
        int err = futex_wait(word, key_of(word, private), value, bits, deadline);
        return err == -EINTR ? -ERESTART : err;
    }
    u64 *a = current_task()->restart_args;
    a[0] = (u64)word;
    a[1] = private;
    a[2] = value;
    a[3] = bits;
    a[4] = deadline;
    return wait_again(a);
}

/* The deadline of a wait: FUTEX_WAIT's is relative, the others' absolute. 0 or -errno. */
static s64 read_deadline(const struct uabi_timespec *uts, u32 command, bool realtime, u64 *deadline)
{
    struct uabi_timespec ts;
    *deadline = SLEEP_FOREVER;
    if (!uts)
        return 0;
    if (copy_from_user(&ts, uts, sizeof(ts)))
        return -EFAULT;
    if (!timespec_valid(&ts))
        return -EINVAL;
    u64 ns = timespec_ns(&ts);
    if (command == FUTEX_WAIT)
        *deadline = deadline_after(ns);
    else
        *deadline = realtime ? deadline_of_realtime(ns) : ns;
    if (*deadline == SLEEP_FOREVER)
        *deadline = SLEEP_FOREVER - 1;
    return 0;
}

static s64 do_wait(u32 *word, u32 op, u32 value, const void *uts, u32 bits)
{
    u64 deadline;
    s64 err = read_deadline(uts, op & 127, op & FUTEX_CLOCK_REALTIME, &deadline);
    if (err || bad_word(word, &err))
        return err;
    return wait(word, op & FUTEX_PRIVATE_FLAG, value, bits, deadline);
}

static s64 do_wake(u32 *word, u32 op, s32 count, u32 bits)
{
    s64 err;
    if (bad_word(word, &err))
        return err;
    if (!bits)
        return -EINVAL;
    /* Linux wakes one for counts below 1. */
    return futex_wake(key_of(word, op & FUTEX_PRIVATE_FLAG), MAX(count, 1), bits);
}

static s64 do_requeue(u32 *word, u32 op, s32 wake, s32 move, u32 *word2, u32 expected)
{
    s64 err;
    bool private = op & FUTEX_PRIVATE_FLAG, cmp = (op & 127) == FUTEX_CMP_REQUEUE;
    if (wake < 0 || move < 0)
        return -EINVAL;
    if (bad_word(word, &err) || bad_word(word2, &err))
        return err;
    return futex_requeue(word, key_of(word, private), key_of(word2, private), wake, move, cmp, expected);
}

static s64 do_wake_op(u32 *word, u32 op, s32 wake, s32 wake2, u32 *word2, u32 encoded)
{
    s64 err;
    bool private = op & FUTEX_PRIVATE_FLAG;
    if (bad_word(word, &err) || bad_word(word2, &err))
        return err;
    return futex_wake_op(word2, key_of(word, private), key_of(word2, private), wake, wake2, encoded);
}

/*
 * ---- locks with priority inheritance (futex(2), "Priority-inheritance futexes") ----
 * All threads share one scheduling class, so there is no priority to lend: the word's protocol is kept, with
 * a plain wait. The owner's tid is in the word; FUTEX_WAITERS makes it unlock through the kernel.
 */

/* One attempt. 0: ours now. 1: held by another, and the word says that we wait. -errno. */
static s64 acquire_pi(u32 *word, bool wait, u32 *seen)
{
    u32 tid = current_task()->tid, value, old;
    for (;;) {
        if (load32_safe(word, &value))
            return -EFAULT;
        u32 owner = value & FUTEX_TID_MASK;
        if (owner == tid)
            return -EDEADLK;
        if (owner && !wait)
            return -EAGAIN;
        u32 new = owner ? value | FUTEX_WAITERS : tid | (value & (FUTEX_OWNER_DIED | FUTEX_WAITERS));
        if (cmpxchg32_safe(word, value, new, &old))
            return -EFAULT;
        *seen = new;
        if (old == value)
            return owner ? 1 : 0;
    }
}

static bool owner_lives(u32 value)
{
    struct task *t = task_find(value & FUTEX_TID_MASK);
    if (t)
        task_put(t);
    return t;
}

static s64 lock_pi(u32 *word, bool private, u64 deadline)
{
    u32 seen;
    for (;;) {
        s64 got = acquire_pi(word, true, &seen);
        if (got <= 0)
            return got;
        if (!owner_lives(seen))
            return -ESRCH;
        int err = futex_wait(word, key_of(word, private), seen, FUTEX_ANY, deadline);
        if (!err || err == -EAGAIN) {
            /* Others may still wait: the next unlock must look. */
            u32 value, old;
            while (!load32_safe(word, &value) && !(value & FUTEX_TID_MASK) && !(value & FUTEX_WAITERS))
                if (cmpxchg32_safe(word, value, value | FUTEX_WAITERS, &old) || old == value)
                    break;
        } else {
            return err == -EINTR ? -ERESTART : err;
        }
    }
}

static s64 do_lock_pi(u32 *word, u32 op, const void *uts)
{
    u64 deadline;
    u32 command = op & 127;
    s64 err = read_deadline(uts, command, command == FUTEX_LOCK_PI || op & FUTEX_CLOCK_REALTIME, &deadline);
    if (err || bad_word(word, &err))
        return err;
    return lock_pi(word, op & FUTEX_PRIVATE_FLAG, deadline);
}

static s64 try_lock_pi(u32 *word)
{
    s64 err;
    u32 seen;
    return bad_word(word, &err) ? err : acquire_pi(word, false, &seen);
}

static s64 unlock_pi(u32 *word, u32 op)
{
    s64 err;
    u32 value, old;
    if (bad_word(word, &err))
        return err;
    do {
        if (load32_safe(word, &value))
            return -EFAULT;
        if ((value & FUTEX_TID_MASK) != (u32)current_task()->tid)
            return -EPERM;
        if (cmpxchg32_safe(word, value, 0, &old))
            return -EFAULT;
    } while (old != value);
    if (value & FUTEX_WAITERS)
        futex_wake(key_of(word, op & FUTEX_PRIVATE_FLAG), 1, FUTEX_ANY);
    return 0;
}

static __attribute__((noinline)) s64 futex_any(u32 *word, u32 op, u32 value, u64 timeout, u32 *word2,
                                               u32 value3)
{
    u32 command = op & ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    if (op & FUTEX_CLOCK_REALTIME && command != FUTEX_WAIT_BITSET && command != FUTEX_WAIT_REQUEUE_PI &&
        command != FUTEX_LOCK_PI2)
        return -ENOSYS;
    switch (command) {
    case FUTEX_WAIT:
        return do_wait(word, op, value, (void *)timeout, FUTEX_ANY);
    case FUTEX_WAIT_BITSET:
        return do_wait(word, op, value, (void *)timeout, value3);
    case FUTEX_WAKE:
        return do_wake(word, op, value, FUTEX_ANY);
    case FUTEX_WAKE_BITSET:
        return do_wake(word, op, value, value3);
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
        return do_requeue(word, op, value, timeout, word2, value3);
    case FUTEX_WAKE_OP:
        return do_wake_op(word, op, value, timeout, word2, value3);
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
        return do_lock_pi(word, op, (void *)timeout);
    case FUTEX_TRYLOCK_PI:
        return try_lock_pi(word);
    case FUTEX_UNLOCK_PI:
        return unlock_pi(word, op);
    default: /* moving waiters to such a lock: futex(2) allows ENOSYS, and C libraries no longer use it */
        return -ENOSYS;
    }
}

/* What locks do all the time goes the short way. */
s64 sys_futex(u32 *word, u32 op, u32 value, u64 timeout, u32 *word2, u32 value3)
{
    struct futex_key key = {(u64)word, 0};
    if (likely(!((u64)word % 4) && user_range((u64)word, 4))) {
        if (op == (FUTEX_WAKE | FUTEX_PRIVATE_FLAG) && likely((s32)value > 0))
            return futex_wake(key, value, FUTEX_ANY);
        if (op == (FUTEX_WAIT | FUTEX_PRIVATE_FLAG) && !timeout) {
            int err = futex_wait(word, key, value, FUTEX_ANY, SLEEP_FOREVER);
            return unlikely(err == -EINTR) ? -ERESTART : err;
        }
    }
    return futex_any(word, op, value, timeout, word2, value3);
}

void futex_wake_shared(u32 *word, int count)
{
    struct futex_key private = key_of(word, true), shared = key_of(word, false);
    futex_wake(private, count, FUTEX_ANY);
    if (shared.b)
        futex_wake(shared, count, FUTEX_ANY);
}

/* ---- robust lists ---- */

#define ROBUST_LIMIT 2048 /* entries looked at, as Linux: the list may be circular garbage */

s64 sys_set_robust_list(u64 head, u64 size)
{
    if (size != sizeof(struct uabi_robust_list_head))
        return -EINVAL;
    current_task()->robust_list = head;
    return 0;
}

s64 sys_get_robust_list(s32 tid, u64 *uhead, u64 *usize)
{
    struct task *t = task_find(tid ? tid : current_task()->tid);
    if (!t)
        return -ESRCH;
    u64 head = t->robust_list;
    task_put(t);
    if (put_user64(usize, sizeof(struct uabi_robust_list_head)))
        return -EFAULT;
    return put_user64(uhead, head);
}

static void abandon(const struct task *t, u32 *word)
{
    u32 value, old;
    s64 err;
    if (bad_word(word, &err) || load32_safe(word, &value))
        return;
    while ((value & FUTEX_TID_MASK) == (u32)t->tid) {
        if (cmpxchg32_safe(word, value, (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED, &old))
            return;
        if (old == value) {
            if (value & FUTEX_WAITERS)
                futex_wake_shared(word, 1);
            return;
        }
        value = old;
    }
}

void futex_exit_robust(struct task *t)
{
    struct uabi_robust_list_head head;
    u64 at = t->robust_list;
    t->robust_list = 0;
    if (!at || copy_from_user(&head, (void *)at, sizeof(head)))
        return;
    u64 entry = head.next & ~1UL; /* bit 0 marks priority inheritance */
    for (u32 n = 0; n < ROBUST_LIMIT && entry != at; n++) {
        u64 next;
        bool bad = get_user64(&next, (void *)entry);
        if (entry != (head.pending & ~1UL))
            abandon(t, (u32 *)(entry + head.futex_offset));
        if (bad)
            break;
        entry = next & ~1UL;
    }
    if (head.pending & ~1UL)
        abandon(t, (u32 *)((head.pending & ~1UL) + head.futex_offset));
}
