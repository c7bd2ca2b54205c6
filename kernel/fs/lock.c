/*
 * Record locks (fcntl POSIX and OFD) and flock. An inode's locks are a list of ranges ordered by start; all
 * lists and the waiters are guarded by one mutex: locks are rare, and looking for deadlocks needs them all.
 */
#include "kernel/fs/internal.h"

struct held {
    struct list link; /* inode->locks */
    struct vfs_lock lock;
};
/* Somebody waiting: an edge of the graph of who waits for whom. */
struct waiting {
    struct list link;
    const void *owner, *blocker;
};

static struct mutex locks_lock;
static struct waitq released; /* woken when any lock is released */
static struct list waiters = LIST_INIT(waiters);

static bool overlap(const struct vfs_lock *a, const struct vfs_lock *b)
{
    return a->start < b->end && b->start < a->end;
}

static bool conflict(const struct vfs_lock *a, const struct vfs_lock *b)
{
    return a->kind == b->kind && a->owner != b->owner && (a->exclusive || b->exclusive) && overlap(a, b);
}

static struct held *find_conflict(struct inode *inode, const struct vfs_lock *lock)
{
    struct held *h;
    list_for_each(h, &inode->locks, link) if (conflict(&h->lock, lock)) return h;
    return NULL;
}

static bool same_owner(const struct held *h, const struct vfs_lock *lock)
{
    return h->lock.owner == lock->owner && h->lock.kind == lock->kind;
}

static void drop(struct held *h)
{
    list_del(&h->link);
    kfree(h);
}

/* Takes range out of what its owner holds; spare becomes the part behind when one is split. Returns whether
 * anything changed; *spare is NULL when it was used. */
static bool carve(struct inode *inode, const struct vfs_lock *range, struct held **spare)
{
    struct held *h, *next;
    bool changed = false;
    list_for_each_safe(h, next, &inode->locks, link)
    {
        if (!same_owner(h, range) || !overlap(&h->lock, range))
            continue;
        changed = true;
        if (h->lock.start < range->start && h->lock.end > range->end) {
            (*spare)->lock = h->lock;
            (*spare)->lock.start = range->end;
            h->lock.end = range->start;
            list_push_front(&h->link, &(*spare)->link);
            *spare = NULL;
            break;
        }
        if (h->lock.start < range->start)
            h->lock.end = range->start;
        else if (h->lock.end > range->end)
            h->lock.start = range->end;
        else
            drop(h);
    }
    return changed;
}

/* Adds a lock, joined with neighbours of the same owner and type. */
static void add(struct inode *inode, struct held *fresh)
{
    struct held *h, *next;
    struct list *after = &inode->locks;
    list_for_each_safe(h, next, &inode->locks, link)
    {
        if (same_owner(h, &fresh->lock) && h->lock.exclusive == fresh->lock.exclusive &&
            h->lock.start <= fresh->lock.end && fresh->lock.start <= h->lock.end) {
            fresh->lock.start = MIN(fresh->lock.start, h->lock.start);
            fresh->lock.end = MAX(fresh->lock.end, h->lock.end);
            drop(h);
        }
    }
    list_for_each(h, &inode->locks, link)
    {
        if (h->lock.start > fresh->lock.start)
            break;
        after = &h->link;
    }
    list_push_front(after, &fresh->link);
}

/* Would owner waiting for blocker close a circle? */
static bool deadlock(const void *owner, const void *blocker)
{
    for (u32 steps = 0; steps < 64; steps++) {
        struct waiting *w, *found = NULL;
        if (blocker == owner)
            return true;
        list_for_each(w, &waiters, link) if (w->owner == blocker) found = w;
        if (!found)
            return false;
        blocker = found->blocker;
    }
    return false;
}

/* Sleeps until some lock is released. The mutex is held on entry and on return. */
static int wait_release(struct file *f, const struct vfs_lock *lock, const void *blocker)
{
    if (lock->kind == 0 && lock->owner != f && deadlock(lock->owner, blocker))
        return -EDEADLK;
    struct waiting self = {.owner = lock->owner, .blocker = blocker};
    struct waiter w = {0};
    list_push_back(&waiters, &self.link);
    waitq_enter(&released, &w);
    mutex_unlock(&locks_lock);
    int err = sched_sleep(SLEEP_FOREVER, SLEEP_INTERRUPTIBLE);
    waitq_leave(&released, &w);
    mutex_lock(&locks_lock);
    list_del(&self.link);
    return err;
}

static int lock_locked(struct file *f, const struct vfs_lock *lock, bool wait, struct held *fresh,
                       struct held **spare)
{
    struct held *h;
    while ((h = find_conflict(f->inode, lock))) {
        int err = wait ? wait_release(f, lock, h->lock.owner) : -EAGAIN;
        if (err)
            return err == -EINTR ? -ERESTART : err;
    }
    bool changed = carve(f->inode, lock, spare);
    fresh->lock = *lock;
    add(f->inode, fresh);
    if (changed)
        waitq_wake_all(&released, 0); /* an exclusive lock may have become a shared one */
    return 0;
}

int vfs_lock(struct file *f, const struct vfs_lock *lock, bool wait)
{
    struct held *fresh = kmalloc(sizeof(*fresh)), *spare = kmalloc(sizeof(*spare));
    int err = f->inode && fresh && spare ? 0 : f->inode ? -ENOLCK : -EBADF;
    if (!err) {
        mutex_lock(&locks_lock);
        err = lock_locked(f, lock, wait, fresh, &spare);
        mutex_unlock(&locks_lock);
    }
    if (err)
        kfree(fresh);
    kfree(spare);
    return err;
}

void vfs_unlock(struct file *f, const struct vfs_lock *range)
{
    if (!f->inode || list_empty(&f->inode->locks))
        return;
    struct held *spare = kmalloc(sizeof(*spare));
    if (!spare)
        return;
    mutex_lock(&locks_lock);
    if (carve(f->inode, range, &spare))
        waitq_wake_all(&released, 0);
    mutex_unlock(&locks_lock);
    kfree(spare);
}

bool vfs_lock_test(struct file *f, const struct vfs_lock *lock, struct vfs_lock *conflicting)
{
    if (!f->inode)
        return false;
    mutex_lock(&locks_lock);
    struct held *h = find_conflict(f->inode, lock);
    if (h)
        *conflicting = h->lock;
    mutex_unlock(&locks_lock);
    return h;
}

void locks_release(struct file *f)
{
    struct held *h, *next;
    bool changed = false;
    if (!f->inode || list_empty(&f->inode->locks))
        return;
    mutex_lock(&locks_lock);
    list_for_each_safe(h, next, &f->inode->locks, link) if (h->lock.owner == f)
    {
        drop(h);
        changed = true;
    }
    if (changed)
        waitq_wake_all(&released, 0);
    mutex_unlock(&locks_lock);
}
