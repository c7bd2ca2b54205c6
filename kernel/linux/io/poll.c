/*
 * poll(2), ppoll(2), select(2), pselect6(2): look at all files; when none is ready, queue on each one's wait
 * queue, look again, sleep. poll() holds no files while it looks the first time.
 */
#include "kernel/arch/x86_64/access.h"
#include "kernel/base/string.h"
#include "kernel/linux/io/io.h"
#include "net/socket.h"

/* One file asked for. */
struct ask {
    struct file *file; /* a reference; NULL: not open, or to be ignored */
    u32 wanted, got;
    struct waitq *queue;
    struct waiter waiter;
};

struct asks {
    struct ask *list; /* the first FAST of them live on the stack */
    u32 count;
};
#define FAST 16

static u32 look(struct asks *a)
{
    u32 ready = 0;
    for (u32 n = 0; n < a->count; n++) {
        struct ask *k = &a->list[n];
        if (k->file)
            k->got = file_poll(k->file) & (k->wanted | POLL_ERR | POLL_HUP);
        ready += k->got != 0;
    }
    return ready;
}

static void enter_all(struct asks *a)
{
    for (u32 n = 0; n < a->count; n++) {
        struct ask *k = &a->list[n];
        k->queue = k->file && k->file->ops->pollq ? k->file->ops->pollq(k->file) : NULL;
        if (k->queue)
            waitq_enter_looks(k->queue, &k->waiter);
    }
}

static void leave_all(struct asks *a)
{
    for (u32 n = 0; n < a->count; n++)
        if (a->list[n].queue)
            waitq_leave(a->list[n].queue, &a->list[n].waiter);
}

/* Waits until one is ready: how many are, 0 at the deadline, -EINTR. */
static s64 sleep_until_ready(struct asks *a, u64 deadline_ns)
{
    u32 ready;
    int err = 0;
    socket_settle();
    enter_all(a);
    while (!(ready = look(a)) && !err)
        err = sched_sleep(deadline_ns, SLEEP_INTERRUPTIBLE);
    leave_all(a);
    return ready ? (s64)ready : err == -EINTR ? -EINTR : 0;
}

/* deadline_ns 0: do not wait. */
static s64 wait_ready(struct asks *a, u64 deadline_ns)
{
    u32 ready = look(a);
    return ready || !deadline_ns ? ready : sleep_until_ready(a, deadline_ns);
}

static void put_all(struct asks *a)
{
    for (u32 n = 0; n < a->count; n++)
        if (a->list[n].file)
            file_put(a->list[n].file);
}

/* ---- poll ---- */

/* Looks at all once; the answers go to revents. How many there are. */
static u32 look_once(struct uabi_pollfd *fds, u32 count)
{
    u32 ready = 0;
    for (u32 n = 0; n < count; n++) {
        struct uabi_pollfd *p = &fds[n];
        p->revents = 0;
        if (p->fd < 0)
            continue;
        struct file *f = fd_get_inline(p->fd);
        if (unlikely(!f || f->flags & O_PATH))
            p->revents = POLL_NVAL;
        else
            p->revents = file_poll(f) & ((u16)p->events | POLL_ERR | POLL_HUP);
        if (f)
            file_put(f);
        ready += p->revents != 0;
    }
    return ready;
}

static void ask_pollfd(struct ask *k, const struct uabi_pollfd *p)
{
    memset(k, 0, offsetof(struct ask, waiter));
    if (p->fd < 0)
        return;
    k->file = fd_get_io(p->fd);
    k->wanted = (u16)p->events;
    if (!k->file)
        k->got = POLL_NVAL;
}

static s64 wait_with(struct uabi_pollfd *fds, struct asks *a, u64 deadline_ns)
{
    for (u32 n = 0; n < a->count; n++)
        ask_pollfd(&a->list[n], &fds[n]);
    s64 result = sleep_until_ready(a, deadline_ns);
    put_all(a);
    for (u32 n = 0; n < a->count; n++)
        fds[n].revents = a->list[n].got;
    return result;
}

static __attribute__((noinline)) s64 wait_for(struct uabi_pollfd *fds, u32 count, u64 deadline_ns)
{
    struct ask few[FAST];
    struct asks a = {few, count};
    if (count > FAST && !(a.list = kmalloc(count * sizeof(*a.list))))
        return -ENOMEM;
    s64 result = wait_with(fds, &a, deadline_ns);
    if (count > FAST)
        kfree(a.list);
    return result;
}

/* fds: room for count. timeout_ns is relative; 0: do not wait. */
static inline s64 poll_copied(struct uabi_pollfd *ufds, struct uabi_pollfd *fds, u32 count, u64 timeout_ns)
{
    if (copy_from_user(fds, ufds, count * sizeof(*fds)))
        return -EFAULT;
    s64 result = look_once(fds, count);
    if (!result && timeout_ns)
        result =
            wait_for(fds, count, timeout_ns == SLEEP_FOREVER ? SLEEP_FOREVER : deadline_after(timeout_ns));
    for (u32 n = 0; n < count && result >= 0; n++)
        if (unlikely(!store16_safe(&ufds[n].revents, fds[n].revents)))
            result = -EFAULT;
    return result == -EINTR ? -ERESTART_NOHAND : result;
}

static __attribute__((noinline)) s64 poll_many(struct uabi_pollfd *ufds, u64 count, u64 timeout_ns)
{
    if (count > process_rlimit(RLIMIT_NOFILE))
        return -EINVAL;
    struct uabi_pollfd *fds = kmalloc(count * sizeof(*fds));
    if (!fds)
        return -ENOMEM;
    s64 result = poll_copied(ufds, fds, count, timeout_ns);
    kfree(fds);
    return result;
}

static s64 poll_for(struct uabi_pollfd *ufds, u64 count, u64 timeout_ns)
{
    struct uabi_pollfd few[FAST];
    if (unlikely(count > FAST || count > process_rlimit(RLIMIT_NOFILE)))
        return poll_many(ufds, count, timeout_ns);
    return poll_copied(ufds, few, count, timeout_ns);
}

s64 sys_poll(struct uabi_pollfd *fds, u64 count, s32 timeout_ms)
{
    return poll_for(fds, count, timeout_ms < 0 ? SLEEP_FOREVER : timeout_ms * NSEC_PER_MSEC);
}

/* The deadline of an optional timeout; 0: do not wait. */
static int read_timeout(const struct uabi_timespec *utimeout, u64 *deadline_ns)
{
    struct uabi_timespec ts;
    *deadline_ns = SLEEP_FOREVER;
    if (!utimeout)
        return 0;
    if (copy_from_user(&ts, utimeout, sizeof(ts)))
        return -EFAULT;
    if (!timespec_valid(&ts))
        return -EINVAL;
    *deadline_ns = ts.sec || ts.nsec ? deadline_after(timespec_ns(&ts)) : 0;
    return 0;
}

/* Linux tells what is left of the timeout; failing to is no error. */
static void write_timeout(struct uabi_timespec *utimeout, u64 deadline_ns)
{
    u64 now = clock_monotonic_ns();
    struct uabi_timespec left = timespec_of(deadline_ns > now ? deadline_ns - now : 0);
    if (utimeout && deadline_ns != SLEEP_FOREVER)
        (void)!copy_to_user(utimeout, &left, sizeof(left));
}

s64 sys_ppoll(struct uabi_pollfd *fds, u64 count, struct uabi_timespec *utimeout, const u64 *set, u64 size)
{
    u64 deadline;
    s64 result = read_timeout(utimeout, &deadline);
    if (!result)
        result = signal_temp_mask(set, size);
    if (result)
        return result;
    u64 now = utimeout ? clock_monotonic_ns() : 0;
    result = poll_for(fds, count,
                      deadline == SLEEP_FOREVER ? SLEEP_FOREVER
                      : deadline > now          ? deadline - now
                                                : 0);
    signal_restore_mask(result);
    write_timeout(utimeout, deadline);
    return result;
}

/* ---- select ---- */

#define FD_SETSIZE 1024 /* what fits on the stack; larger sets are allocated */

/* What each of the three sets asks for, and what counts as an answer (select(2)). */
static const struct {
    u32 wanted, answer;
} set_kinds[3] = {
    {POLL_IN, POLL_IN | POLL_HUP | POLL_ERR},
    {POLL_OUT, POLL_OUT | POLL_ERR},
    {POLL_PRI, POLL_PRI},
};

struct sets {
    u64 *bits[3]; /* in, then out; words each */
    u64 *user[3];
    u32 words, fds;
};

static bool has_bit(const u64 *bits, u32 n)
{
    return bits[n / 64] >> (n % 64) & 1;
}

static u32 wanted_of(const struct sets *s, u32 fd)
{
    u32 wanted = 0;
    for (int k = 0; k < 3; k++)
        if (s->user[k] && has_bit(s->bits[k], fd))
            wanted |= set_kinds[k].wanted | 0x10000u << k;
    return wanted;
}

/* Takes references of all files asked for. -EBADF when one is not open. */
static s64 ask_sets(const struct sets *s, struct asks *a)
{
    a->count = 0;
    for (u32 fd = 0; fd < s->fds; fd++) {
        u32 wanted = wanted_of(s, fd);
        if (!wanted)
            continue;
        struct ask *k = &a->list[a->count];
        memset(k, 0, offsetof(struct ask, waiter));
        k->file = fd_get_io(fd);
        k->wanted = wanted;
        if (!k->file)
            return -EBADF;
        a->count++;
    }
    return 0;
}

/* Replaces the sets by the answers; how many bits are set. */
static s64 answer_sets(struct sets *s, const struct asks *a)
{
    s64 total = 0;
    u32 n = 0;
    for (u32 fd = 0; fd < s->fds; fd++) {
        if (!wanted_of(s, fd))
            continue;
        const struct ask *k = &a->list[n++];
        for (int kind = 0; kind < 3; kind++) {
            if (!(k->wanted & 0x10000u << kind))
                continue;
            if (k->got & set_kinds[kind].answer)
                total++;
            else
                s->bits[kind][fd / 64] &= ~(1UL << (fd % 64));
        }
    }
    return total;
}

static s64 write_sets(const struct sets *s)
{
    for (int k = 0; k < 3; k++)
        if (s->user[k] && copy_to_user(s->user[k], s->bits[k], s->words * sizeof(u64)))
            return -EFAULT;
    return 0;
}

static s64 select_asked(struct sets *s, struct asks *a, u64 deadline_ns)
{
    s64 result = ask_sets(s, a);
    if (!result)
        result = wait_ready(a, deadline_ns);
    if (result >= 0)
        result = answer_sets(s, a);
    put_all(a);
    return result < 0 ? result : write_sets(s) ?: result;
}

static u32 count_asked(const struct sets *s)
{
    u32 count = 0;
    for (u32 fd = 0; fd < s->fds; fd++)
        count += wanted_of(s, fd) != 0;
    return count;
}

static s64 select_copied(struct sets *s, u64 deadline_ns)
{
    for (int k = 0; k < 3; k++)
        if (s->user[k] && copy_from_user(s->bits[k], s->user[k], s->words * sizeof(u64)))
            return -EFAULT;
    struct ask few[FAST];
    struct asks a = {few, 0};
    u32 count = count_asked(s);
    if (count > FAST && !(a.list = kmalloc(count * sizeof(*a.list))))
        return -ENOMEM;
    s64 result = select_asked(s, &a, deadline_ns);
    if (a.list != few)
        kfree(a.list);
    return result;
}

static s64 select_until(s32 fds, u64 *in, u64 *out, u64 *except, u64 deadline_ns)
{
    u64 few[3 * FD_SETSIZE / 64];
    if (fds < 0)
        return -EINVAL;
    struct sets s = {.user = {in, out, except}, .fds = MIN((u64)fds, process_rlimit(RLIMIT_NOFILE))};
    s.words = (s.fds + 63) / 64;
    u64 *bits = s.fds > FD_SETSIZE ? kmalloc(3 * s.words * sizeof(u64)) : few;
    if (!bits)
        return -ENOMEM;
    for (int k = 0; k < 3; k++)
        s.bits[k] = bits + k * s.words;
    s64 result = select_copied(&s, deadline_ns);
    if (bits != few)
        kfree(bits);
    return result == -EINTR ? -ERESTART_NOHAND : result;
}

s64 sys_select(s32 fds, u64 *in, u64 *out, u64 *except, struct uabi_timeval *utimeout)
{
    struct uabi_timeval tv;
    u64 deadline = SLEEP_FOREVER;
    if (utimeout) {
        if (copy_from_user(&tv, utimeout, sizeof(tv)))
            return -EFAULT;
        if (tv.sec < 0 || tv.usec < 0)
            return -EINVAL;
        struct uabi_timespec ts = {tv.sec + tv.usec / 1000000, tv.usec % 1000000 * 1000};
        deadline = tv.sec || tv.usec ? deadline_after(timespec_ns(&ts)) : 0;
    }
    s64 result = select_until(fds, in, out, except, deadline);
    if (utimeout) {
        u64 now = clock_monotonic_ns();
        struct uabi_timeval left = timeval_of(deadline > now ? deadline - now : 0);
        (void)!copy_to_user(utimeout, &left, sizeof(left));
    }
    return result;
}

s64 sys_pselect6(s32 fds, u64 *in, u64 *out, u64 *except, struct uabi_timespec *utimeout, const u64 *usig)
{
    u64 sig[2] = {0}, deadline; /* mask's address and size */
    if (usig && copy_from_user(sig, usig, sizeof(sig)))
        return -EFAULT;
    s64 result = read_timeout(utimeout, &deadline);
    if (!result)
        result = signal_temp_mask((const u64 *)sig[0], sig[1]);
    if (result)
        return result;
    result = select_until(fds, in, out, except, deadline);
    signal_restore_mask(result);
    write_timeout(utimeout, deadline);
    return result;
}
