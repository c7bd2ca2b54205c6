/* timerfd_create(2): a timer that is read. */
#include "kernel/linux/io/io.h"
#include "sched/timer.h"

#define TFD_TIMER_ABSTIME       1u
#define TFD_TIMER_CANCEL_ON_SET 2u

struct timerfd {
    struct timer timer; /* armed while lock is held */
    bool realtime;

    struct mutex lock; /* guards the rest. Before the timers' own mutex; never held over timer_cancel() */
    u64 deadline_ns;   /* monotonic, of the next expiry; 0: disarmed */
    u64 interval_ns;   /* 0: once */
    u64 expirations;   /* since the last read */
    struct waitq changed;
};

/* Counts what is due by now. lock held. */
static void count_due(struct timerfd *t)
{
    u64 now = clock_monotonic_ns(), times = 1;
    if (!t->deadline_ns || t->deadline_ns > now)
        return;
    if (t->interval_ns) {
        times += (now - t->deadline_ns) / t->interval_ns;
        t->deadline_ns += times * t->interval_ns;
    } else {
        t->deadline_ns = 0;
    }
    t->expirations += times;
}

/* The timer thread. Arms for what comes next: also what is not due yet by the clock of the CPU that it is on
 * now, which may be a little behind the one where it was. */
static void fire(struct timer *timer)
{
    struct timerfd *t = container_of(timer, struct timerfd, timer);
    mutex_lock(&t->lock);
    count_due(t);
    if (t->deadline_ns)
        timer_set(&t->timer, t->deadline_ns);
    mutex_unlock(&t->lock);
    waitq_wake_all(&t->changed, POLL_IN);
}

static ssize_t timerfd_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct timerfd *t = f->private;
    int err = 0;
    u64 count;
    if (it->left < sizeof(count))
        return -EINVAL;
    mutex_lock(&t->lock);
    count_due(t); /* the timer thread may be late */
    while (!t->expirations && !err)
        err = wait_change(f, &t->changed, &t->lock);
    count_due(t);
    count = t->expirations;
    t->expirations = 0;
    mutex_unlock(&t->lock);
    if (!count)
        return err;
    return iov_to(it, &count, sizeof(count)) == sizeof(count) ? (ssize_t)sizeof(count) : -EFAULT;
}

static u32 timerfd_poll(struct file *f)
{
    struct timerfd *t = f->private;
    return __atomic_load_n(&t->expirations, __ATOMIC_RELAXED) ? POLL_IN : 0;
}

static struct waitq *timerfd_pollq(struct file *f)
{
    return &((struct timerfd *)f->private)->changed;
}

static void timerfd_release(struct file *f)
{
    struct timerfd *t = f->private;
    mutex_lock(&t->lock);
    t->deadline_ns = 0; /* a fire that runs now does not arm again */
    mutex_unlock(&t->lock);
    timer_cancel(&t->timer);
    kfree(t);
}

static const struct file_ops timerfd_ops = {
    .read = timerfd_read,
    .poll = timerfd_poll,
    .pollq = timerfd_pollq,
    .release = timerfd_release,
    .stream = true,
};

s64 sys_timerfd_create(s32 clock, u32 flags)
{
    bool realtime = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM;
    if (flags & ~(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    if (!realtime && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME && clock != CLOCK_BOOTTIME_ALARM)
        return -EINVAL;
    struct timerfd *t = kmalloc(sizeof(*t));
    if (t) {
        t->realtime = realtime;
        t->timer.fire = fire;
    }
    return anon_open(&timerfd_ops, O_RDWR | flags, "anon_inode:[timerfd]", t, kfree);
}

static struct file *timerfd_get(int fd, s64 *err)
{
    struct file *f = fd_get_io(fd);
    *err = !f ? -EBADF : f->ops != &timerfd_ops ? -EINVAL : 0;
    if (f && *err)
        file_put(f);
    return *err ? NULL : f;
}

/* lock held. */
static void current_setting(const struct timerfd *t, struct uabi_itimerspec *out)
{
    u64 now = clock_monotonic_ns();
    out->interval = timespec_of(t->interval_ns);
    /* Armed but due: the smallest time that does not say "disarmed". */
    u64 left = !t->deadline_ns ? 0 : t->deadline_ns > now ? t->deadline_ns - now : 1;
    out->value = timespec_of(left);
}

static u64 deadline_of(const struct timerfd *t, u32 flags, const struct uabi_itimerspec *new)
{
    u64 value = timespec_ns(&new->value), deadline;
    if (!value)
        return 0;
    if (!(flags & TFD_TIMER_ABSTIME))
        deadline = deadline_after(value);
    else
        deadline = t->realtime ? deadline_of_realtime(value) : value;
    return MAX(deadline, 1UL);
}

static void set(struct timerfd *t, u32 flags, const struct uabi_itimerspec *new, struct uabi_itimerspec *old)
{
    timer_cancel(&t->timer);
    mutex_lock(&t->lock);
    current_setting(t, old);
    t->deadline_ns = deadline_of(t, flags, new);
    t->interval_ns = t->deadline_ns ? timespec_ns(&new->interval) : 0;
    t->expirations = 0;
    if (t->deadline_ns)
        timer_set(&t->timer, t->deadline_ns);
    mutex_unlock(&t->lock);
}

s64 sys_timerfd_settime(int fd, u32 flags, const struct uabi_itimerspec *unew, struct uabi_itimerspec *uold)
{
    struct uabi_itimerspec new, old;
    s64 err;
    if (copy_from_user(&new, unew, sizeof(new)))
        return -EFAULT;
    if (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) || !timespec_valid(&new.value) ||
        !timespec_valid(&new.interval))
        return -EINVAL;
    struct file *f = timerfd_get(fd, &err);
    if (!f)
        return err;
    set(f->private, flags, &new, &old);
    file_put(f);
    return uold ? copy_to_user(uold, &old, sizeof(old)) : 0;
}

s64 sys_timerfd_gettime(int fd, struct uabi_itimerspec *uout)
{
    struct uabi_itimerspec out;
    s64 err;
    struct file *f = timerfd_get(fd, &err);
    if (!f)
        return err;
    struct timerfd *t = f->private;
    mutex_lock(&t->lock);
    current_setting(t, &out);
    mutex_unlock(&t->lock);
    file_put(f);
    return copy_to_user(uout, &out, sizeof(out));
}
