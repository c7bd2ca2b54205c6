/*
 * inotify(7). Each instance has a queue of events; each watch hangs on an inode's list. kernel/fs reports
 * what happens through vfs_notify_hook, in whatever thread changed the file.
 *
 * One lock guards all watches of all instances; an instance's own guards its queue. Order: an inode's lock <
 * watch_lock < inotify.lock. Removing a watch drops the inode's reference after the locks.
 */
#include "kernel/base/string.h"
#include "kernel/linux/at.h"
#include "kernel/linux/io/io.h"

#define IN_DELETE_SELF 0x00000400u
#define IN_ALL_EVENTS  0x00000fffu
#define IN_UNMOUNT     0x00002000u
#define IN_Q_OVERFLOW  0x00004000u
#define IN_IGNORED     0x00008000u
#define IN_ONLYDIR     0x01000000u
#define IN_DONT_FOLLOW 0x02000000u
#define IN_EXCL_UNLINK 0x04000000u
#define IN_MASK_CREATE 0x10000000u
#define IN_MASK_ADD    0x20000000u
#define IN_ISDIR       0x40000000u
#define IN_ONESHOT     0x80000000u
#define IN_WATCH_FLAGS                                                                                       \
    (IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ONESHOT)
#define QUEUE_MAX 16384 /* /proc/sys/fs/inotify/max_queued_events */

struct uabi_inotify_event {
    s32 wd;
    u32 mask, cookie, len;
};
UABI_SIZE(struct uabi_inotify_event, 16);

struct inotify {
    struct list watches; /* guarded by watch_lock, next_wd too */
    s32 next_wd;

    struct mutex lock; /* guards the queue */
    struct list events;
    u32 count;
    u64 bytes; /* as read() would give */
    struct waitq changed;
};

/* Guarded by watch_lock. */
struct watch {
    struct list inode_link; /* inode->watches */
    struct list link;       /* inotify->watches */
    struct inotify *owner;
    struct inode *inode; /* one reference */
    s32 wd;
    u32 mask;
};

struct notice {
    struct list link;
    struct uabi_inotify_event head; /* len: bytes at name, padded */
    char name[];
};

static struct mutex watch_lock;

/* ---- the queue ---- */

static u32 padded(const char *name)
{
    return name && *name ? ALIGN_UP((u32)strlen(name) + 1, (u32)sizeof(struct uabi_inotify_event)) : 0;
}

/* lock held. */
static bool same_as_last(struct inotify *in, const struct notice *e)
{
    if (list_empty(&in->events))
        return false;
    struct notice *last = list_entry(in->events.prev, struct notice, link);
    return !memcmp(&last->head, &e->head, sizeof(e->head)) && !memcmp(last->name, e->name, e->head.len);
}

static struct notice *new_event(s32 wd, u32 mask, u32 cookie, const char *name)
{
    u32 len = padded(name);
    struct notice *e = kmalloc(sizeof(*e) + len);
    if (!e)
        return NULL;
    e->head = (struct uabi_inotify_event){wd, mask, cookie, len};
    if (len)
        strlcpy(e->name, name, len);
    return e;
}

static void queue(struct inotify *in, s32 wd, u32 mask, u32 cookie, const char *name)
{
    mutex_lock(&in->lock);
    bool full = in->count >= QUEUE_MAX;
    struct notice *e = full ? new_event(-1, IN_Q_OVERFLOW, 0, NULL) : new_event(wd, mask, cookie, name);
    bool drop = !e || same_as_last(in, e);
    if (!drop) {
        list_push_back(&in->events, &e->link);
        in->count++;
        in->bytes += sizeof(e->head) + e->head.len;
    }
    mutex_unlock(&in->lock);
    if (drop)
        kfree(e);
    else
        waitq_wake_all(&in->changed, POLL_IN);
}

static void pop(struct inotify *in, struct notice *e)
{
    list_del(&e->link);
    in->count--;
    in->bytes -= sizeof(e->head) + e->head.len;
}

/* ---- watches: watch_lock held ---- */

/* Takes w off its lists; frees it. The inode's reference is the caller's now. */
static struct inode *unlink_watch(struct watch *w)
{
    struct inode *inode = w->inode;
    list_del(&w->inode_link);
    list_del(&w->link);
    __atomic_sub_fetch(&vfs_watch_count, 1, __ATOMIC_RELAXED);
    kfree(w);
    return inode;
}

static bool no_watches(const struct inode *inode)
{
    return !inode || !inode->watches.next || list_empty(&inode->watches);
}

/* Queues an event for every watch of inode that wants it. Watches that end by it are moved to `ended`. */
static void notify_watches(struct inode *inode, const char *name, u32 mask, u32 cookie, struct list *ended)
{
    struct watch *w, *next;
    if (no_watches(inode))
        return;
    u32 what = mask & IN_ALL_EVENTS;
    list_for_each_safe(w, next, &inode->watches, inode_link)
    {
        bool dies = mask & (IN_DELETE_SELF | IN_UNMOUNT) && !name;
        if (w->mask & what) {
            queue(w->owner, w->wd, mask, cookie, name);
            dies |= (w->mask & IN_ONESHOT) != 0;
        }
        if (!dies)
            continue;
        queue(w->owner, w->wd, IN_IGNORED, 0, NULL);
        list_del(&w->inode_link);
        list_push_back(ended, &w->inode_link);
    }
}

/* vfs_notify_hook. */
static void on_notify(struct inode *inode, struct inode *parent, const char *name, u32 mask, u32 cookie)
{
    struct list ended = LIST_INIT(ended);
    struct watch *w;
    if (!__atomic_load_n(&vfs_watch_count, __ATOMIC_RELAXED))
        return;
    mutex_lock(&watch_lock);
    notify_watches(parent, name, mask, cookie, &ended);
    notify_watches(inode, NULL, mask, cookie, &ended);
    while ((w = list_first(&ended, struct watch, inode_link))) {
        struct inode *gone = unlink_watch(w);
        mutex_unlock(&watch_lock);
        inode_put(gone); /* not the last reference: the caller has one */
        mutex_lock(&watch_lock);
    }
    mutex_unlock(&watch_lock);
}

static struct watch *find_watch(struct inotify *in, s32 wd, const struct inode *inode)
{
    struct watch *w;
    list_for_each(w, &in->watches, link)
    {
        if (inode ? w->inode == inode : w->wd == wd)
            return w;
    }
    return NULL;
}

static s64 add_watch(struct inotify *in, struct inode *inode, u32 mask)
{
    struct watch *w = find_watch(in, 0, inode);
    u32 kept = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
    if (w) {
        if (mask & IN_MASK_CREATE)
            return -EEXIST;
        w->mask = mask & IN_MASK_ADD ? w->mask | kept : kept;
        return w->wd;
    }
    w = kmalloc(sizeof(*w));
    if (!w)
        return -ENOMEM;
    if (!inode->watches.next)
        list_init(&inode->watches);
    inode_get(inode);
    w->owner = in;
    w->inode = inode;
    w->mask = kept;
    w->wd = ++in->next_wd;
    list_push_back(&inode->watches, &w->inode_link);
    list_push_back(&in->watches, &w->link);
    __atomic_add_fetch(&vfs_watch_count, 1, __ATOMIC_RELAXED);
    return w->wd;
}

/* ---- the file ---- */

static ssize_t copy_events(struct inotify *in, struct iov_iter *it)
{
    ssize_t done = 0;
    struct notice *e;
    while ((e = list_first(&in->events, struct notice, link))) {
        ssize_t size = sizeof(e->head) + e->head.len;
        if (it->left < size)
            return done ? done : -EINVAL;
        if (iov_to(it, &e->head, size) != size)
            return done ? done : -EFAULT;
        pop(in, e);
        kfree(e);
        done += size;
    }
    return done;
}

static ssize_t inotify_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct inotify *in = f->private;
    int err = 0;
    mutex_lock(&in->lock);
    while (list_empty(&in->events) && !err)
        err = wait_change(f, &in->changed, &in->lock);
    ssize_t n = list_empty(&in->events) ? err : copy_events(in, it);
    mutex_unlock(&in->lock);
    return n;
}

static u32 inotify_poll(struct file *f)
{
    struct inotify *in = f->private;
    return __atomic_load_n(&in->count, __ATOMIC_RELAXED) ? POLL_IN : 0;
}

static struct waitq *inotify_pollq(struct file *f)
{
    return &((struct inotify *)f->private)->changed;
}

static s64 inotify_ioctl(struct file *f, u32 cmd, u64 arg)
{
    struct inotify *in = f->private;
    return cmd == FIONREAD ? put_user32((void *)arg, __atomic_load_n(&in->bytes, __ATOMIC_RELAXED)) : -ENOTTY;
}

static void inotify_free(void *p)
{
    struct inotify *in = p;
    struct notice *e;
    while ((e = list_first(&in->events, struct notice, link))) {
        pop(in, e);
        kfree(e);
    }
    kfree(in);
}

static void inotify_release(struct file *f)
{
    struct inotify *in = f->private;
    struct watch *w;
    mutex_lock(&watch_lock);
    while ((w = list_first(&in->watches, struct watch, link))) {
        struct inode *inode = unlink_watch(w);
        mutex_unlock(&watch_lock);
        inode_put(inode);
        mutex_lock(&watch_lock);
    }
    mutex_unlock(&watch_lock);
    inotify_free(in);
}

static const struct file_ops inotify_ops = {
    .read = inotify_read,
    .poll = inotify_poll,
    .pollq = inotify_pollq,
    .ioctl = inotify_ioctl,
    .release = inotify_release,
    .stream = true,
};

void inotify_setup(void)
{
    vfs_notify_hook = on_notify;
}

s64 sys_inotify_init1(u32 flags)
{
    if (flags & ~(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    struct inotify *in = kmalloc(sizeof(*in));
    if (in) {
        list_init(&in->watches);
        list_init(&in->events);
    }
    return anon_open(&inotify_ops, O_RDONLY | flags, "anon_inode:inotify", in, inotify_free);
}

s64 sys_inotify_init(void)
{
    return sys_inotify_init1(0);
}

static struct file *inotify_get(int fd, s64 *err)
{
    struct file *f = fd_get_io(fd);
    *err = !f ? -EBADF : f->ops != &inotify_ops ? -EINVAL : 0;
    if (f && *err)
        file_put(f);
    return *err ? NULL : f;
}

static s64 watch_path(struct inotify *in, const char *upath, u32 mask)
{
    struct at at;
    struct vfs_path path;
    s64 result = at_get(&at, AT_FDCWD, upath);
    if (result)
        return result;
    u32 flags = (mask & IN_DONT_FOLLOW ? VFS_NOFOLLOW : 0) | (mask & IN_ONLYDIR ? VFS_DIRECTORY : 0);
    result = vfs_lookup(at.dir, at.path, flags, &path);
    at_put(&at);
    if (result)
        return result;
    mutex_lock(&watch_lock);
    result = add_watch(in, vfs_path_inode(path), mask);
    mutex_unlock(&watch_lock);
    vfs_path_put(path);
    return result;
}

s64 sys_inotify_add_watch(int fd, const char *path, u32 mask)
{
    s64 err;
    if (!(mask & (IN_ALL_EVENTS | IN_WATCH_FLAGS)) || ((mask & IN_MASK_ADD) && (mask & IN_MASK_CREATE)))
        return -EINVAL;
    struct file *f = inotify_get(fd, &err);
    if (!f)
        return err;
    s64 result = watch_path(f->private, path, mask);
    file_put(f);
    return result;
}

static s64 remove_watch(struct inotify *in, s32 wd)
{
    mutex_lock(&watch_lock);
    struct watch *w = find_watch(in, wd, NULL);
    struct inode *inode = w ? unlink_watch(w) : NULL;
    mutex_unlock(&watch_lock);
    if (!inode)
        return -EINVAL;
    inode_put(inode);
    queue(in, wd, IN_IGNORED, 0, NULL);
    return 0;
}

s64 sys_inotify_rm_watch(int fd, s32 wd)
{
    s64 err;
    struct file *f = inotify_get(fd, &err);
    if (!f)
        return err;
    s64 result = remove_watch(f->private, wd);
    file_put(f);
    return result;
}
