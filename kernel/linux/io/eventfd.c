/* eventfd(2): a counter. */
#include "kernel/arch/x86_64/access.h"
#include "kernel/linux/io/io.h"

#define EFD_SEMAPHORE 1u
#define COUNT_MAX     (~0UL - 1)

/*
 * No lock: count changes by compare-and-exchange alone, sequentially consistent, and is looked at by
 * sequentially consistent loads, so that waitq_busy() is enough (waitq.h).
 */
struct eventfd {
    u64 count; /* atomic */
    bool semaphore;
    struct waitq changed;
};

/* Takes what a read takes. False: nothing there. */
static inline bool take(struct eventfd *e, bool semaphore, u64 *value)
{
    u64 old = __atomic_load_n(&e->count, __ATOMIC_SEQ_CST);
    do
        if (unlikely(!old))
            return false;
    while (unlikely(!__atomic_compare_exchange_n(&e->count, &old, semaphore ? old - 1 : 0, false,
                                                 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)));
    *value = semaphore ? 1 : old;
    return true;
}

/* False: it does not fit now. */
static inline bool add(struct eventfd *e, u64 value)
{
    u64 old = __atomic_load_n(&e->count, __ATOMIC_SEQ_CST), sum;
    do {
        sum = old + value;
        if (unlikely(sum < value || sum > COUNT_MAX))
            return false;
    } while (unlikely(
        !__atomic_compare_exchange_n(&e->count, &old, sum, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)));
    return true;
}

/* Takes (value: where to) or adds *value. False: not possible now. */
static bool attempt(struct eventfd *e, u64 *value, bool write)
{
    if (write ? !add(e, *value) : !take(e, e->semaphore, value))
        return false;
    if (*value)
        waitq_wake_all(&e->changed, write ? POLL_IN : POLL_OUT);
    return true;
}

/* The same, waiting until it is possible: 0, -EAGAIN (O_NONBLOCK), -ERESTART. */
static int wait_for(struct file *f, u64 *value, bool write)
{
    struct eventfd *e = f->private;
    struct waiter w;
    int err = 0;
    bool done = attempt(e, value, write);
    if (done || f->flags & O_NONBLOCK)
        return done ? 0 : -EAGAIN;
    waitq_enter(&e->changed, &w);
    while (!(done = attempt(e, value, write)) && !err)
        err = sched_sleep(SLEEP_FOREVER, SLEEP_INTERRUPTIBLE);
    waitq_leave(&e->changed, &w);
    return done ? 0 : -ERESTART;
}

/* Ends a call after waking who waits for events (0: nobody). */
static __attribute__((noinline)) ssize_t wake(struct file *f, u32 events, ssize_t result)
{
    struct eventfd *e = f->private;
    if (events)
        waitq_wake_all(&e->changed, events);
    return file_put_after(f, result);
}

/* What has to wait or fails goes the long way. Nobody watches an eventfd by inotify: no file_done(). */
static inline ssize_t read_one(struct file *f, void *buf, size_t len, bool semaphore)
{
    struct eventfd *e = f->private;
    u64 value;
    if (unlikely(len < sizeof(value) || !take(e, semaphore, &value)))
        return file_read_long(f, buf, len);
    if (unlikely(!store64_safe(buf, value)))
        return wake(f, POLL_OUT, -EFAULT);
    if (unlikely(waitq_busy(&e->changed)))
        return wake(f, POLL_OUT, sizeof(value));
    return file_put_after(f, sizeof(value));
}

static ssize_t eventfd_read_buf(struct file *f, void *buf, size_t len)
{
    return read_one(f, buf, len, false);
}

static ssize_t semaphore_read_buf(struct file *f, void *buf, size_t len)
{
    return read_one(f, buf, len, true);
}

static ssize_t eventfd_write_buf(struct file *f, const void *buf, size_t len)
{
    struct eventfd *e = f->private;
    u64 value;
    if (unlikely(len < sizeof(value) || !load64_safe(&value, buf) || !add(e, value)))
        return file_write_long(f, buf, len);
    if (unlikely(waitq_busy(&e->changed)))
        return wake(f, value ? POLL_IN : 0, sizeof(value));
    return file_put_after(f, sizeof(value));
}

static ssize_t eventfd_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    u64 value;
    int err = it->left < sizeof(value) ? -EINVAL : wait_for(f, &value, false);
    if (err)
        return err;
    return iov_to(it, &value, sizeof(value)) == sizeof(value) ? (ssize_t)sizeof(value) : -EFAULT;
}

static ssize_t eventfd_write(struct file *f, struct iov_iter *it, u64 *pos)
{
    u64 value;
    if (it->left < sizeof(value))
        return -EINVAL;
    if (iov_from(it, &value, sizeof(value)) != sizeof(value))
        return -EFAULT;
    int err = value > COUNT_MAX ? -EINVAL : wait_for(f, &value, true);
    return err ? err : (ssize_t)sizeof(value);
}

static u32 eventfd_poll(struct file *f)
{
    struct eventfd *e = f->private;
    u64 count = __atomic_load_n(&e->count, __ATOMIC_SEQ_CST);
    if (likely(count - 1 < COUNT_MAX - 1))
        return POLL_IN | POLL_OUT;
    return count ? POLL_IN : POLL_OUT;
}

static struct waitq *eventfd_pollq(struct file *f)
{
    return &((struct eventfd *)f->private)->changed;
}

static void eventfd_release(struct file *f)
{
    kfree(f->private);
}

#define COMMON_OPS                                                                                           \
    .read = eventfd_read, .write = eventfd_write, .write_buf = eventfd_write_buf, .poll = eventfd_poll,      \
    .pollq = eventfd_pollq, .release = eventfd_release, .stream = true

static const struct file_ops eventfd_ops = {COMMON_OPS, .read_buf = eventfd_read_buf};
static const struct file_ops semaphore_ops = {COMMON_OPS, .read_buf = semaphore_read_buf};

s64 sys_eventfd2(u32 initial, u32 flags)
{
    if (flags & ~(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    struct eventfd *e = kmalloc(sizeof(*e));
    if (e) {
        e->count = initial;
        e->semaphore = flags & EFD_SEMAPHORE;
    }
    const struct file_ops *ops = flags & EFD_SEMAPHORE ? &semaphore_ops : &eventfd_ops;
    return anon_open(ops, O_RDWR | (flags & ~EFD_SEMAPHORE), "anon_inode:[eventfd]", e, kfree);
}

s64 sys_eventfd(u32 initial)
{
    return sys_eventfd2(initial, 0);
}
