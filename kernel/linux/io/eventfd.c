/* eventfd(2): a counter. */
#include "kernel/linux/io/io.h"

#define EFD_SEMAPHORE 1u
#define COUNT_MAX     (~0UL - 1)

struct eventfd {
    struct mutex lock; /* guards count */
    u64 count;
    bool semaphore;
    struct waitq changed;
};

static ssize_t eventfd_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct eventfd *e = f->private;
    u64 value = 0;
    int err = 0;
    if (it->left < sizeof(value))
        return -EINVAL;
    mutex_lock(&e->lock);
    while (!e->count && !err)
        err = wait_change(f, &e->changed, &e->lock);
    if (e->count) {
        value = e->semaphore ? 1 : e->count;
        e->count -= value;
    }
    mutex_unlock(&e->lock);
    if (!value)
        return err;
    waitq_wake_all(&e->changed, POLL_OUT);
    return iov_to(it, &value, sizeof(value)) == sizeof(value) ? (ssize_t)sizeof(value) : -EFAULT;
}

static ssize_t eventfd_write(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct eventfd *e = f->private;
    u64 value;
    int err = 0;
    if (it->left < sizeof(value))
        return -EINVAL;
    if (iov_from(it, &value, sizeof(value)) != sizeof(value))
        return -EFAULT;
    if (value > COUNT_MAX)
        return -EINVAL;
    mutex_lock(&e->lock);
    while (value > COUNT_MAX - e->count && !err)
        err = wait_change(f, &e->changed, &e->lock);
    bool fits = value <= COUNT_MAX - e->count;
    if (fits)
        e->count += value;
    mutex_unlock(&e->lock);
    if (!fits)
        return err;
    if (value)
        waitq_wake_all(&e->changed, POLL_IN);
    return sizeof(value);
}

static u32 eventfd_poll(struct file *f)
{
    struct eventfd *e = f->private;
    u64 count = __atomic_load_n(&e->count, __ATOMIC_RELAXED);
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
