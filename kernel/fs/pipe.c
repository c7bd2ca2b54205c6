/*
 * Pipes and FIFOs (pipe(7), fifo(7)): a ring of bytes that grows up to its capacity, one wait queue for both
 * sides. A writer whose last reader is gone gets -EPIPE; the caller raises the signal.
 */
#include "kernel/fs/pipe.h"

#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "sched/mutex_inline.h"

struct pipe {
    struct mutex lock; /* guards all but fifo_link, inode, refs */
    u8 *ring;
    u32 room; /* bytes at ring: a power of two, at most capacity, or 0 */
    u32 capacity;
    u32 head, length;               /* the oldest byte, bytes stored */
    u32 readers, writers;           /* open files of each kind */
    u32 readers_ever, writers_ever; /* opened since the beginning: a FIFO's open waits for a change */
    struct waitq changed;

    /* FIFOs only; guarded by fifos_lock. */
    struct list fifo_link;
    struct inode *inode;
    u32 refs; /* files, and opens on their way */
};

static struct mutex fifos_lock;
static struct list fifos = LIST_INIT(fifos);

static struct pipe *pipe_new(void)
{
    struct pipe *p = kmalloc(sizeof(*p));
    if (p)
        p->capacity = PIPE_CAPACITY;
    return p;
}

static void pipe_free(struct pipe *p)
{
    kfree(p->ring);
    kfree(p);
}

/* ---- the ring: lock held ---- */

static bool ring_resize(struct pipe *p, u32 room)
{
    u8 *ring = kmalloc(room);
    if (!ring)
        return false;
    u32 first = MIN(p->length, p->room - p->head);
    if (p->length) {
        memcpy(ring, p->ring + p->head, first);
        memcpy(ring + first, p->ring, p->length - first);
    }
    kfree(p->ring);
    p->ring = ring;
    p->room = room;
    p->head = 0;
    return true;
}

/* Makes room for n more bytes where the capacity allows; less when memory is short. */
static void ring_reserve(struct pipe *p, u32 n)
{
    u32 room = MAX(p->room, PIPE_ATOMIC);
    u32 want = MIN(p->length + n, p->capacity);
    while (room < want)
        room *= 2;
    if (room > p->room)
        ring_resize(p, room);
}

static ssize_t ring_put(struct pipe *p, struct iov_iter *it, size_t n)
{
    size_t done = 0;
    while (done < n && p->length < p->room) {
        u32 tail = (p->head + p->length) & (p->room - 1);
        size_t piece = MIN(MIN(n - done, p->room - p->length), p->room - tail);
        ssize_t got = iov_from(it, p->ring + tail, piece);
        if (got <= 0)
            return done ? (ssize_t)done : got;
        p->length += got;
        done += got;
    }
    return done;
}

static ssize_t ring_get(struct pipe *p, struct iov_iter *it)
{
    size_t done = 0;
    while (it->left && p->length) {
        ssize_t got = iov_to(it, p->ring + p->head, MIN(p->length, p->room - p->head));
        if (got <= 0)
            return done ? (ssize_t)done : got;
        p->head = (p->head + got) & (p->room - 1);
        p->length -= got;
        done += got;
    }
    return done;
}

/* ---- reading and writing ---- */

static int pipe_wait(struct pipe *p, struct file *f)
{
    if (f->flags & O_NONBLOCK)
        return -EAGAIN;
    int err = waitq_wait(&p->changed, &p->lock, SLEEP_FOREVER, SLEEP_INTERRUPTIBLE);
    return err == -EINTR ? -ERESTART : err;
}

static ssize_t pipe_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct pipe *p = f->private;
    ssize_t result = 0;
    if (!it->left)
        return 0;
    mutex_lock(&p->lock);
    while (!p->length && p->writers && !result)
        result = pipe_wait(p, f);
    if (p->length)
        result = ring_get(p, it);
    else if (!p->writers)
        result = 0;
    bool wake = result > 0 && waitq_busy(&p->changed);
    mutex_unlock(&p->lock);
    if (wake)
        waitq_wake_all(&p->changed, POLL_OUT);
    return result;
}

/* What is there in one piece goes straight to the program; all else is pipe_read()'s. */
static ssize_t pipe_read_buf(struct file *f, void *buf, size_t len)
{
    struct pipe *p = f->private;
    mutex_lock_inline(&p->lock);
    u32 head = p->head;
    size_t n = MIN(len, p->length);
    if (likely(n && n <= p->room - head && !copy_safe(buf, p->ring + head, n))) {
        p->head = (head + n) & (p->room - 1);
        p->length -= n;
        bool wake = waitq_busy(&p->changed);
        mutex_unlock_inline(&p->lock);
        if (unlikely(wake))
            waitq_wake_all(&p->changed, POLL_OUT);
        return file_done(f, n, false);
    }
    mutex_unlock_inline(&p->lock);
    return file_read_long(f, buf, len);
}

/* Stores what fits now; waits until at least `least` bytes do. Lock held. */
static ssize_t write_some(struct pipe *p, struct file *f, struct iov_iter *it, size_t least)
{
    int err = 0;
    for (;;) {
        if (!p->readers)
            return -EPIPE;
        ring_reserve(p, MIN(it->left, p->capacity));
        if (p->room - p->length >= least)
            return ring_put(p, it, it->left);
        if (p->length < least && p->room < least)
            return -ENOMEM;
        if (err)
            return err;
        err = pipe_wait(p, f);
    }
}

static ssize_t pipe_write(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct pipe *p = f->private;
    ssize_t done = 0, n = 0;
    bool atomic = it->left <= PIPE_ATOMIC && !it->part;
    mutex_lock(&p->lock);
    while (it->left && !(it->part && done)) {
        n = write_some(p, f, it, atomic ? it->left : 1);
        if (n <= 0)
            break;
        done += n;
        if (it->left) { /* readers first, or nobody makes room */
            mutex_unlock(&p->lock);
            waitq_wake_all(&p->changed, POLL_IN);
            mutex_lock(&p->lock);
        }
    }
    bool wake = done && waitq_busy(&p->changed);
    mutex_unlock(&p->lock);
    if (wake)
        waitq_wake_all(&p->changed, POLL_IN);
    return done ? done : n;
}

/* What fits into the ring in one piece goes straight there; all else is pipe_write()'s. */
static ssize_t pipe_write_buf(struct file *f, const void *buf, size_t len)
{
    struct pipe *p = f->private;
    mutex_lock_inline(&p->lock);
    u32 room = p->room, length = p->length, tail = (p->head + length) & (room - 1);
    if (likely(p->readers && len && len <= room - length && len <= room - tail &&
               !copy_safe(p->ring + tail, buf, len))) {
        p->length = length + len;
        bool wake = waitq_busy(&p->changed);
        mutex_unlock_inline(&p->lock);
        if (unlikely(wake))
            waitq_wake_all(&p->changed, POLL_IN);
        return file_done(f, len, true);
    }
    mutex_unlock_inline(&p->lock);
    return file_write_long(f, buf, len);
}

static u32 pipe_poll(struct file *f)
{
    struct pipe *p = f->private;
    u32 events = 0, mode = f->flags & O_ACCMODE;
    mutex_lock_inline(&p->lock);
    if (mode != O_WRONLY) {
        if (p->length)
            events |= POLL_IN;
        if (!p->writers && p->writers_ever)
            events |= POLL_HUP;
    }
    if (mode != O_RDONLY) {
        if (p->capacity - p->length >= PIPE_ATOMIC)
            events |= POLL_OUT;
        if (!p->readers)
            events |= POLL_ERR;
    }
    mutex_unlock_inline(&p->lock);
    return events;
}

static struct waitq *pipe_pollq(struct file *f)
{
    return &((struct pipe *)f->private)->changed;
}

/* ---- ioctl and fcntl ---- */

#define FIONREAD     0x541bu     /* ioctl_tty(2) */
#define SET_CAPACITY 0xfc000407u /* F_SETPIPE_SZ, F_GETPIPE_SZ as kernel/linux passes them */
#define GET_CAPACITY 0xfc000408u

static s64 set_capacity(struct pipe *p, u64 bytes)
{
    u32 capacity = PIPE_ATOMIC;
    if (bytes > PIPE_CAPACITY_MAX)
        return bytes > 0x80000000u ? -EINVAL : -EPERM;
    while (capacity < bytes)
        capacity *= 2;
    if (capacity < p->length)
        return -EBUSY;
    if (p->room > capacity && !ring_resize(p, capacity))
        return -ENOMEM;
    p->capacity = capacity;
    return capacity;
}

static s64 pipe_ioctl(struct file *f, u32 cmd, u64 arg)
{
    struct pipe *p = f->private;
    s64 result = -ENOTTY;
    u32 length;
    mutex_lock(&p->lock);
    length = p->length;
    if (cmd == SET_CAPACITY)
        result = set_capacity(p, arg);
    else if (cmd == GET_CAPACITY)
        result = p->capacity;
    mutex_unlock(&p->lock);
    if (cmd == FIONREAD)
        result = arg > PROGRAM_END - sizeof(length) || copy_safe((void *)arg, &length, sizeof(length))
                     ? -EFAULT
                     : 0;
    return result;
}

/* ---- life ---- */

static void count_open(struct pipe *p, u32 flags, int by)
{
    u32 mode = flags & O_ACCMODE;
    if (mode != O_WRONLY) {
        p->readers += by;
        p->readers_ever += by > 0;
    }
    if (mode != O_RDONLY) {
        p->writers += by;
        p->writers_ever += by > 0;
    }
}

/* True when nobody has it open any more. */
static bool close_end(struct pipe *p, u32 flags)
{
    mutex_lock(&p->lock);
    count_open(p, flags, -1);
    bool last = !p->readers && !p->writers;
    mutex_unlock(&p->lock);
    if (!last)
        waitq_wake_all(&p->changed, 0);
    return last;
}

/*
 * The two ends of a pipe may close at the same time: the one that finds the other gone frees, but only after
 * the other has woken the waiters; hence the count of files, dropped last.
 */
static void pipe_put(struct pipe *p)
{
    if (!__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL))
        pipe_free(p);
}

static void fifo_put(struct pipe *p)
{
    mutex_lock(&fifos_lock);
    bool last = !--p->refs;
    if (last)
        list_del(&p->fifo_link);
    mutex_unlock(&fifos_lock);
    if (last) {
        inode_put(p->inode);
        pipe_free(p);
    }
}

static void pipe_release(struct file *f)
{
    struct pipe *p = f->private;
    close_end(p, f->flags);
    if (p->inode)
        fifo_put(p);
    else
        pipe_put(p);
}

static const struct file_ops pipe_ops = {
    .read = pipe_read,
    .write = pipe_write,
    .read_buf = pipe_read_buf,
    .write_buf = pipe_write_buf,
    .poll = pipe_poll,
    .pollq = pipe_pollq,
    .ioctl = pipe_ioctl,
    .release = pipe_release,
    .stream = true,
};

static struct file *pipe_end(struct pipe *p, struct inode *inode, u32 flags)
{
    char name[32];
    snprintf(name, sizeof(name), "pipe:[%lu]", inode->ino);
    struct file *f = file_create(&pipe_ops, flags, inode, name, p);
    if (f) {
        count_open(p, flags, 1);
        p->refs++;
    }
    return f;
}

int pipe_create(u32 flags, struct file **read_end, struct file **write_end)
{
    if (flags & ~(O_NONBLOCK | O_CLOEXEC))
        return -EINVAL;
    struct pipe *p = pipe_new();
    struct inode *inode = inode_anon(S_IFIFO | 0600);
    *read_end = p && inode ? pipe_end(p, inode, O_RDONLY | (flags & O_NONBLOCK)) : NULL;
    *write_end = *read_end ? pipe_end(p, inode, O_WRONLY | (flags & O_NONBLOCK)) : NULL;
    inode_put(inode);
    if (*write_end)
        return 0;
    if (*read_end)
        file_put(*read_end); /* frees p */
    else
        kfree(p);
    return -ENOMEM;
}

/* ---- FIFOs ---- */

/* The pipe behind a FIFO's inode, made when this is the first open. */
static struct pipe *fifo_get(struct inode *inode)
{
    struct pipe *p;
    mutex_lock(&fifos_lock);
    list_for_each(p, &fifos, fifo_link)
    {
        if (p->inode == inode) {
            p->refs++;
            mutex_unlock(&fifos_lock);
            return p;
        }
    }
    p = pipe_new();
    if (p) {
        p->inode = inode;
        inode_get(inode);
        p->refs = 1;
        list_push_back(&fifos, &p->fifo_link);
    }
    mutex_unlock(&fifos_lock);
    return p;
}

/* Waits until the other side is, or was meanwhile, open. Lock held. */
static int wait_for_partner(struct pipe *p, struct file *f)
{
    u32 mode = f->flags & O_ACCMODE;
    const u32 *there = mode == O_RDONLY ? &p->writers : &p->readers;
    const u32 *ever = mode == O_RDONLY ? &p->writers_ever : &p->readers_ever;
    u32 before = *ever;
    int err = 0;
    if (mode == O_RDWR || (mode == O_RDONLY && (f->flags & O_NONBLOCK)))
        return 0;
    if (mode == O_WRONLY && (f->flags & O_NONBLOCK))
        return *there ? 0 : -ENXIO;
    while (!*there && *ever == before && !err)
        err = waitq_wait(&p->changed, &p->lock, SLEEP_FOREVER, SLEEP_INTERRUPTIBLE);
    return *there || *ever != before ? 0 : err == -EINTR ? -ERESTART : err;
}

int fifo_open(struct inode *inode, struct file *f)
{
    struct pipe *p = fifo_get(inode);
    if (!p)
        return -ENOMEM;
    mutex_lock(&p->lock);
    count_open(p, f->flags, 1);
    waitq_wake_all(&p->changed, 0);
    int err = wait_for_partner(p, f);
    mutex_unlock(&p->lock);
    if (err) {
        close_end(p, f->flags);
        fifo_put(p);
        return err;
    }
    file_set_ops(f, &pipe_ops);
    f->private = p;
    return 0;
}
