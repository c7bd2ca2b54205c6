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

/* Takes what a read takes; 0: nothing there. */
static inline u64 take(struct eventfd *e)
{
    u64 old = __atomic_load_n(&e->count, __ATOMIC_SEQ_CST), value;
    do {
        if (!old)
            return 0;
        value = unlikely(e->semaphore) ? 1 : old;
    } while (!__atomic_compare_exchange_n(&e->count, &old, old - value, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    if (unlikely(waitq_busy(&e->changed)))
        waitq_wake_all(&e->changed, POLL_OUT);
    return value;
}

/* False: it does not fit now. */
static inline bool add(struct eventfd *e, u64 value)
{
    u64 old = __atomic_load_n(&e->count, __ATOMIC_SEQ_CST);
    do
        if (unlikely(value > COUNT_MAX - old))
            return false;
    while (!__atomic_compare_exchange_n(&e->count, &old, old + value, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST));
    if (unlikely(waitq_busy(&e->changed)) && value)
        waitq_wake_all(&e->changed, POLL_IN);
    return true;
}

/* Reads (value: where to) or adds *value, waiting until that is possible: 0, -EAGAIN, -ERESTART. */
static __attribute__((noinline)) int wait_for(struct file *f, u64 *value, bool write)
{
    struct eventfd *e = f->private;
    struct waiter w;
    bool done;
    int err = 0;
    if (f->flags & O_NONBLOCK)
        return -EAGAIN;
    waitq_enter(&e->changed, &w);
    while (!(done = write ? add(e, *value) : (*value = take(e)) != 0) && !err)
        err = sched_sleep(SLEEP_FOREVER, SLEEP_INTERRUPTIBLE);
    waitq_leave(&e->changed, &w);
    return done ? 0 : err == -EINTR ? -ERESTART : err;
}

static ssize_t eventfd_read_buf(struct file *f, void *buf, size_t len)
{
    if (unlikely(len < sizeof(u64)))
        return -EINVAL;
    u64 value = take(f->private);
    if (unlikely(!value)) {
        int err = wait_for(f, &value, false);
        if (err)
            return err;
    }
    return likely(store64_safe(buf, value)) ? (ssize_t)sizeof(value) : -EFAULT;
}

static ssize_t add_value(struct file *f, u64 value)
{
    if (unlikely(value > COUNT_MAX))
        return -EINVAL;
    if (unlikely(!add(f->private, value))) {
        int err = wait_for(f, &value, true);
        if (err)
            return err;
    }
    return sizeof(value);
}

static ssize_t eventfd_write_buf(struct file *f, const void *buf, size_t len)
{
    u64 value;
    if (unlikely(len < sizeof(value)))
        return -EINVAL;
    return likely(load64_safe(&value, buf)) ? add_value(f, value) : -EFAULT;
}

static ssize_t eventfd_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    u64 value;
    if (it->left < sizeof(value))
        return -EINVAL;
    value = take(f->private);
    int err = value ? 0 : wait_for(f, &value, false);
    if (err)
        return err;
    return iov_to(it, &value, sizeof(value)) == sizeof(value) ? (ssize_t)sizeof(value) : -EFAULT;
}

static ssize_t eventfd_write(struct file *f, struct iov_iter *it, u64 *pos)
{
    u64 value;
    if (it->left < sizeof(value))
        return -EINVAL;
    return iov_from(it, &value, sizeof(value)) == sizeof(value) ? add_value(f, value) : -EFAULT;
}

static u32 eventfd_poll(struct file *f)
{
    struct eventfd *e = f->private;
    u64 count = __atomic_load_n(&e->count, __ATOMIC_SEQ_CST);
    return (count ? POLL_IN : 0) | (count < COUNT_MAX ? POLL_OUT : 0);
}

static struct waitq *eventfd_pollq(struct file *f)
{
    return &((struct eventfd *)f->private)->changed;
}

static void eventfd_release(struct file *f)
{
    kfree(f->private);
}

static const struct file_ops eventfd_ops = {
    .read = eventfd_read,
    .write = eventfd_write,
    .read_buf = eventfd_read_buf,
    .write_buf = eventfd_write_buf,
    .poll = eventfd_poll,
    .pollq = eventfd_pollq,
    .release = eventfd_release,
    .stream = true,
};

s64 sys_eventfd2(u32 initial, u32 flags)
{
    if (flags & ~(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    struct eventfd *e = kmalloc(sizeof(*e));
    if (e) {
        e->count = initial;
        e->semaphore = flags & EFD_SEMAPHORE;
    }
    return anon_open(&eventfd_ops, O_RDWR | (flags & ~EFD_SEMAPHORE), "anon_inode:[eventfd]", e, kfree);
}

s64 sys_eventfd(u32 initial)
{
    return sys_eventfd2(initial, 0);
}
