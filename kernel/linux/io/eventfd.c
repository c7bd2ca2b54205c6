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
        if (unlikely(!old))
            return 0;
        value = unlikely(e->semaphore) ? 1 : old;
    } while (unlikely(!__atomic_compare_exchange_n(&e->count, &old, old - value, false, __ATOMIC_SEQ_CST,
                                                   __ATOMIC_SEQ_CST)));
    return value;
}

/* False: it does not fit now. */
static inline bool add(struct eventfd *e, u64 value)
{
    u64 old = __atomic_load_n(&e->count, __ATOMIC_SEQ_CST);
    do
        if (unlikely(value > COUNT_MAX - old))
            return false;
    while (unlikely(!__atomic_compare_exchange_n(&e->count, &old, old + value, false, __ATOMIC_SEQ_CST,
                                                 __ATOMIC_SEQ_CST)));
    return true;
}

/* Takes (value: where to) or adds *value. False: not possible now. */
static bool attempt(struct eventfd *e, u64 *value, bool write)
{
    if (write ? !add(e, *value) : !(*value = take(e)))
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

static __attribute__((noinline)) ssize_t read_slowly(struct file *f, void *buf)
{
    u64 value;
    int err = wait_for(f, &value, false);
    return err ? err : store64_safe(buf, value) ? (ssize_t)sizeof(value) : -EFAULT;
}

static __attribute__((noinline)) ssize_t write_slowly(struct file *f, u64 value)
{
    int err = value > COUNT_MAX ? -EINVAL : wait_for(f, &value, true);
    return err ? err : (ssize_t)sizeof(value);
}

/* Returns result, after waking who waits. */
static __attribute__((noinline)) ssize_t wake(struct eventfd *e, u32 events, ssize_t result)
{
    waitq_wake_all(&e->changed, events);
    return result;
}

static ssize_t eventfd_read_buf(struct file *f, void *buf, size_t len)
{
    struct eventfd *e = f->private;
    if (unlikely(len < sizeof(u64)))
        return -EINVAL;
    u64 value = take(e);
    if (unlikely(!value))
        return read_slowly(f, buf);
    ssize_t result = likely(store64_safe(buf, value)) ? (ssize_t)sizeof(value) : -EFAULT;
    return unlikely(waitq_busy(&e->changed)) ? wake(e, POLL_OUT, result) : result;
}

static ssize_t eventfd_write_buf(struct file *f, const void *buf, size_t len)
{
    struct eventfd *e = f->private;
    u64 value;
    if (unlikely(len < sizeof(value)))
        return -EINVAL;
    if (unlikely(!load64_safe(&value, buf)))
        return -EFAULT;
    if (unlikely(!add(e, value)))
        return write_slowly(f, value);
    return unlikely(waitq_busy(&e->changed)) && value ? wake(e, POLL_IN, sizeof(value))
                                                      : (ssize_t)sizeof(value);
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
    return iov_from(it, &value, sizeof(value)) == sizeof(value) ? write_slowly(f, value) : -EFAULT;
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
