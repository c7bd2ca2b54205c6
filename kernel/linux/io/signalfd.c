/* signalfd(2): reading takes queued signals, of the reading thread and of the process. */
#include "kernel/base/string.h"
#include "kernel/linux/io/io.h"

struct signalfd {
    u64 set; /* atomic */
};

struct uabi_signalfd_siginfo {
    u32 signo;
    s32 error, code;
    u32 pid, uid;
    s32 fd;
    u32 tid, band, overrun, trapno;
    s32 status, value_int;
    u64 value_ptr, utime, stime, addr;
    u16 addr_lsb, pad2;
    s32 syscall;
    u64 call_addr;
    u32 arch;
    u8 pad[28];
};
UABI_SIZE(struct uabi_signalfd_siginfo, 128);

static void convert(const struct uabi_siginfo *info, struct uabi_signalfd_siginfo *out)
{
    memset(out, 0, sizeof(*out));
    out->signo = info->signo;
    out->error = info->error;
    out->code = info->code;
    if (info->code == SI_TIMER) {
        out->tid = info->timerid;
        out->overrun = info->overrun;
        out->value_ptr = info->timer_value;
        out->value_int = (s32)info->timer_value;
    } else if (info->code > 0 && info->code != SI_KERNEL) {
        out->addr = info->addr;
        out->addr_lsb = info->addr_lsb;
    } else {
        out->pid = info->pid;
        out->uid = info->uid;
        out->value_ptr = info->value;
        out->value_int = (s32)info->value;
    }
}

/* The next signal of the set, waiting when `wait`. 0, -EAGAIN, -ERESTART. */
static int next_signal(struct signalfd *s, bool wait, struct uabi_siginfo *info)
{
    struct waiter w;
    int err = 0;
    bool got = signal_dequeue(current_task(), __atomic_load_n(&s->set, __ATOMIC_RELAXED), info);
    if (got || !wait)
        return got ? 0 : -EAGAIN;
    waitq_enter(&process.signal_waitq, &w);
    while (!(got = signal_dequeue(current_task(), __atomic_load_n(&s->set, __ATOMIC_RELAXED), info)) && !err)
        err = sched_sleep(SLEEP_FOREVER, SLEEP_INTERRUPTIBLE);
    waitq_leave(&process.signal_waitq, &w);
    return got ? 0 : -ERESTART;
}

static ssize_t signalfd_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct uabi_signalfd_siginfo out;
    struct uabi_siginfo info;
    ssize_t done = 0;
    int err = it->left < sizeof(out) ? -EINVAL : 0;
    while (!err && it->left >= sizeof(out)) {
        err = next_signal(f->private, !done && !(f->flags & O_NONBLOCK), &info);
        if (err)
            break;
        convert(&info, &out);
        if (iov_to(it, &out, sizeof(out)) != sizeof(out))
            err = -EFAULT;
        else
            done += sizeof(out);
    }
    return done ? done : err;
}

static u32 signalfd_poll(struct file *f)
{
    struct signalfd *s = f->private;
    struct task *t = current_thread()->task; /* epoll asks from any thread, kernel threads included */
    u64 set = __atomic_load_n(&process.pending.set, __ATOMIC_RELAXED);
    if (t)
        set |= __atomic_load_n(&t->pending.set, __ATOMIC_RELAXED);
    return set & __atomic_load_n(&s->set, __ATOMIC_RELAXED) ? POLL_IN : 0;
}

static struct waitq *signalfd_pollq(struct file *f)
{
    return &process.signal_waitq;
}

static void signalfd_release(struct file *f)
{
    kfree(f->private);
}

static const struct file_ops signalfd_ops = {
    .read = signalfd_read,
    .poll = signalfd_poll,
    .pollq = signalfd_pollq,
    .release = signalfd_release,
    .stream = true,
};

static s64 change_set(int fd, u64 set)
{
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    s64 result = fd;
    if (f->ops == &signalfd_ops)
        __atomic_store_n(&((struct signalfd *)f->private)->set, set, __ATOMIC_RELAXED);
    else
        result = -EINVAL;
    file_put(f);
    if (result >= 0)
        waitq_wake_all(&process.signal_waitq, 0);
    return result;
}

s64 sys_signalfd4(int fd, const u64 *uset, u64 size, u32 flags)
{
    u64 set;
    if (size != sizeof(set) || flags & ~(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    if (get_user64(&set, uset))
        return -EFAULT;
    set &= ~(SIGBIT(SIGKILL) | SIGBIT(SIGSTOP));
    if (fd != -1)
        return change_set(fd, set);
    struct signalfd *s = kmalloc(sizeof(*s));
    if (s)
        s->set = set;
    return anon_open(&signalfd_ops, O_RDWR | flags, "anon_inode:[signalfd]", s, kfree);
}

s64 sys_signalfd(int fd, const u64 *uset, u64 size)
{
    return sys_signalfd4(fd, uset, size, 0);
}
