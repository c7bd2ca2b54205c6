/* Changing the tree: directories, links, names. Each call resolves the directory, then acts under its lock.
 */
#include "kernel/fs/internal.h"

static u32 next_cookie; /* atomic; joins the two events of a rename */

/* Walks to the directory of path's last component and locks it. On success walk_done() must follow. */
static int walk_locked(struct walk *w, struct vfs_path at, const char *path)
{
    int err = walk_start(w, at, path);
    if (!err)
        err = walk_parent(w);
    if (!err && !is_dir(w->dir->inode))
        err = -ENOTDIR;
    if (err)
        walk_end(w);
    else
        mutex_lock(&w->dir->inode->lock);
    return err;
}

static int walk_done(struct walk *w, int err)
{
    mutex_unlock(&w->dir->inode->lock);
    walk_end(w);
    return err;
}

/* Before creating the last component: -EEXIST when it is there. */
static int check_absent(struct walk *w)
{
    struct dentry *d;
    if (w->last != LAST_NAME)
        return -EEXIST;
    int err = dentry_lookup_locked(w->dir, w->name, w->len, &d);
    if (err == -ENOENT)
        return inode_writable(w->dir->inode);
    if (err)
        return err;
    dentry_put(d);
    return -EEXIST;
}

static int make_node(struct vfs_path at, const char *path, u32 mode, u64 rdev)
{
    struct walk w;
    struct inode *inode;
    struct dentry *d = NULL;
    bool dir = (mode & S_IFMT) == S_IFDIR;
    int err = walk_locked(&w, at, path);
    if (err)
        return err;
    struct inode *parent = w.dir->inode;
    err = check_absent(&w);
    if (!err && w.slash && !dir)
        err = -ENOENT;
    if (!err)
        err = parent->ops->create ? parent->ops->create(parent, w.name, w.len, mode, rdev, &inode) : -EPERM;
    if (!err) {
        err = dentry_instantiate(w.dir, w.name, w.len, inode, &d);
        inode_put(inode);
        notify_entry(parent, w.name, w.len, dir, IN_CREATE, 0);
    }
    err = walk_done(&w, err);
    dentry_put(d);
    return err;
}

int vfs_mkdir(struct vfs_path at, const char *path, u32 mode)
{
    return make_node(at, path, S_IFDIR | (mode & 01777), 0);
}

int vfs_mknod(struct vfs_path at, const char *path, u32 mode, u64 rdev)
{
    u32 type = mode & S_IFMT;
    if (type == S_IFDIR)
        return -EPERM;
    if (!type)
        mode |= S_IFREG;
    else if (type != S_IFREG && type != S_IFCHR && type != S_IFBLK && type != S_IFIFO && type != S_IFSOCK)
        return -EINVAL;
    return make_node(at, path, mode, rdev);
}

int vfs_symlink(const char *target, struct vfs_path at, const char *path)
{
    struct walk w;
    struct inode *inode;
    if (!*target)
        return -ENOENT;
    if (strnlen(target, PATH_MAX) >= PATH_MAX)
        return -ENAMETOOLONG;
    int err = walk_locked(&w, at, path);
    if (err)
        return err;
    struct inode *parent = w.dir->inode;
    err = check_absent(&w);
    if (!err && w.slash)
        err = -ENOENT;
    if (!err)
        err = parent->ops->symlink ? parent->ops->symlink(parent, w.name, w.len, target, &inode) : -EPERM;
    if (!err) {
        inode_put(inode);
        notify_entry(parent, w.name, w.len, false, IN_CREATE, 0);
    }
    return walk_done(&w, err);
}

int vfs_link(struct vfs_path from_at, const char *from, struct vfs_path at, const char *path, u32 flags)
{
    struct vfs_path source;
    struct walk w;
    int err = vfs_lookup(from_at, from, flags & 1 ? 0 : VFS_NOFOLLOW, &source);
    if (err)
        return err;
    struct inode *inode = source.dentry->inode;
    err = walk_locked(&w, at, path);
    if (err) {
        vfs_path_put(source);
        return err;
    }
    struct inode *parent = w.dir->inode;
    err = check_absent(&w);
    if (!err && w.slash)
        err = -ENOENT;
    if (!err && parent->mount != inode->mount)
        err = -EXDEV;
    if (!err && is_dir(inode))
        err = -EPERM;
    if (!err)
        err = parent->ops->link ? parent->ops->link(parent, w.name, w.len, inode) : -EPERM;
    if (!err) {
        notify_entry(parent, w.name, w.len, false, IN_CREATE, 0);
        notify(inode, NULL, IN_ATTRIB);
    }
    err = walk_done(&w, err);
    vfs_path_put(source);
    return err;
}

/* Tells watchers that a name of inode went. */
static void notify_removed(struct inode *parent, struct dentry *d, bool gone)
{
    notify_entry(parent, d->name, d->len, is_dir(d->inode), IN_DELETE, 0);
    notify(d->inode, NULL, IN_ATTRIB);
    if (gone)
        notify(d->inode, NULL, IN_DELETE_SELF);
}

int vfs_unlink(struct vfs_path at, const char *path)
{
    struct walk w;
    struct dentry *d = NULL;
    int err = walk_locked(&w, at, path);
    if (err)
        return err;
    struct inode *parent = w.dir->inode;
    if (w.last != LAST_NAME)
        err = -EISDIR;
    if (!err)
        err = dentry_lookup_locked(w.dir, w.name, w.len, &d);
    if (!err && is_dir(d->inode))
        err = -EISDIR;
    if (!err && w.slash)
        err = -ENOTDIR;
    if (!err && d->mounted)
        err = -EBUSY;
    if (!err)
        err = inode_writable(parent);
    if (!err)
        err = parent->ops->unlink ? parent->ops->unlink(parent, d->name, d->len, d->inode) : -EPERM;
    if (!err) {
        dentry_unlink(d);
        notify_removed(parent, d, !d->inode->nlink);
    }
    err = walk_done(&w, err);
    dentry_put(d);
    return err;
}

/* Calls the file system's rmdir with the directory itself locked, too. */
static int rmdir_locked(struct inode *parent, struct dentry *d)
{
    if (!parent->ops->rmdir)
        return -EPERM;
    if (d->inode == parent)
        return -EBUSY; /* a volume's host tree with loops */
    mutex_lock(&d->inode->lock);
    int err = parent->ops->rmdir(parent, d->name, d->len, d->inode);
    mutex_unlock(&d->inode->lock);
    return err;
}

int vfs_rmdir(struct vfs_path at, const char *path)
{
    static const int last_error[] = {[LAST_DOT] = -EINVAL, [LAST_DOTDOT] = -ENOTEMPTY, [LAST_ROOT] = -EBUSY};
    struct walk w;
    struct dentry *d = NULL;
    int err = walk_locked(&w, at, path);
    if (err)
        return err;
    struct inode *parent = w.dir->inode;
    err = w.last == LAST_NAME ? dentry_lookup_locked(w.dir, w.name, w.len, &d) : last_error[w.last];
    if (!err && !is_dir(d->inode))
        err = -ENOTDIR;
    if (!err && d->mounted)
        err = -EBUSY;
    if (!err)
        err = inode_writable(parent);
    if (!err)
        err = rmdir_locked(parent, d);
    if (!err) {
        dentry_unlink(d);
        notify_removed(parent, d, true);
    }
    err = walk_done(&w, err);
    dentry_put(d);
    return err;
}

ssize_t vfs_readlink(struct vfs_path at, const char *path, char *buf, size_t size)
{
    struct vfs_path p;
    int err = vfs_lookup(at, path, VFS_NOFOLLOW, &p);
    if (err)
        return err;
    struct inode *inode = p.dentry->inode;
    ssize_t n = is_link(inode) ? inode->ops->readlink(inode, buf, size) : -EINVAL;
    if (n >= 0)
        inode_accessed(inode);
    vfs_path_put(p);
    return n;
}

/* ---- rename ---- */

struct rename {
    struct walk from, to;
    struct dentry *source, *target; /* target: what is replaced, or NULL */
    u32 flags;
};

/* The rename lock is held: no directory moves, so the order by ancestry is fixed, and by address else. */
static void lock_both(struct dentry *a, struct dentry *b)
{
    if (a->inode == b->inode) {
        mutex_lock(&a->inode->lock);
        return;
    }
    if (dentry_above(b, a) || (!dentry_above(a, b) && b->inode < a->inode)) {
        struct dentry *t = a;
        a = b;
        b = t;
    }
    mutex_lock(&a->inode->lock);
    mutex_lock(&b->inode->lock);
}

static void unlock_both(struct dentry *a, struct dentry *b)
{
    mutex_unlock(&a->inode->lock);
    if (a->inode != b->inode)
        mutex_unlock(&b->inode->lock);
}

/* rename(2)'s conditions on the two types. */
static int check_types(const struct rename *r)
{
    bool dir = is_dir(r->source->inode);
    if (!dir && (r->from.slash || (r->to.slash && !(r->flags & VFS_RENAME_EXCHANGE))))
        return -ENOTDIR;
    if (!r->target)
        return 0;
    if (r->flags & VFS_RENAME_EXCHANGE)
        return r->to.slash && !is_dir(r->target->inode) ? -ENOTDIR : 0;
    if (dir && !is_dir(r->target->inode))
        return -ENOTDIR;
    if (!dir && is_dir(r->target->inode))
        return -EISDIR;
    return 0;
}

/* Finds source and target and checks everything. Both directories are locked. */
static int rename_check(struct rename *r)
{
    int err = dentry_lookup_locked(r->from.dir, r->from.name, r->from.len, &r->source);
    if (err)
        return err;
    if (is_dir(r->source->inode) && dentry_above(r->source, r->to.dir))
        return -EINVAL;
    err = dentry_lookup_locked(r->to.dir, r->to.name, r->to.len, &r->target);
    if (err && err != -ENOENT)
        return err;
    if (!err && (r->flags & VFS_RENAME_NOREPLACE))
        return -EEXIST;
    if (err && (r->flags & VFS_RENAME_EXCHANGE))
        return -ENOENT;
    if (r->target && dentry_above(r->target, r->from.dir))
        return r->flags & VFS_RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
    err = check_types(r);
    if (!err && (r->source->mounted || (r->target && r->target->mounted)))
        err = -EBUSY;
    return err ? err : inode_writable(r->to.dir->inode);
}

static int move_dentries(struct rename *r)
{
    if (r->flags & VFS_RENAME_EXCHANGE) {
        /* Both names are known to be valid; a failed allocation here would only leave an old name. */
        dentry_move(r->target, r->from.dir, r->from.name, r->from.len);
        return dentry_move(r->source, r->to.dir, r->to.name, r->to.len);
    }
    if (r->target)
        dentry_unlink(r->target);
    return dentry_move(r->source, r->to.dir, r->to.name, r->to.len);
}

static void rename_notify(struct rename *r)
{
    if (likely(!vfs_watch_count))
        return;
    u32 cookie = __atomic_add_fetch(&next_cookie, 1, __ATOMIC_RELAXED);
    bool dir = is_dir(r->source->inode);
    notify_entry(r->from.dir->inode, r->from.name, r->from.len, dir, IN_MOVED_FROM, cookie);
    notify_entry(r->to.dir->inode, r->to.name, r->to.len, dir, IN_MOVED_TO, cookie);
    notify(r->source->inode, NULL, IN_MOVE_SELF);
    if (r->target && !(r->flags & VFS_RENAME_EXCHANGE)) {
        notify(r->target->inode, NULL, IN_ATTRIB);
        if (!r->target->inode->nlink || is_dir(r->target->inode))
            notify(r->target->inode, NULL, IN_DELETE_SELF);
    }
}

static int rename_locked(struct rename *r)
{
    int err = rename_check(r);
    if (err)
        return err;
    if (r->target && r->target->inode == r->source->inode)
        return 0; /* rename(2): two links to one file: nothing happens */
    struct inode *from = r->from.dir->inode, *to = r->to.dir->inode;
    struct inode *replaced = r->target ? r->target->inode : NULL;
    if (!from->ops->rename)
        return -EPERM;
    if (replaced == from || replaced == to)
        return -EBUSY; /* a volume's host tree with loops */
    bool lock_replaced = replaced && is_dir(replaced);
    if (lock_replaced)
        mutex_lock(&replaced->lock);
    err = from->ops->rename(from, r->from.name, r->from.len, r->source->inode, to, r->to.name, r->to.len,
                            replaced, r->flags);
    if (lock_replaced)
        mutex_unlock(&replaced->lock);
    if (!err)
        move_dentries(r);
    return err;
}

static int rename_walk(struct walk *w, struct vfs_path at, const char *path, u32 flags)
{
    int err = walk_start(w, at, path);
    if (!err)
        err = walk_parent(w);
    if (!err && !is_dir(w->dir->inode))
        err = -ENOTDIR;
    if (!err && w->last != LAST_NAME)
        err = flags & VFS_RENAME_NOREPLACE ? -EEXIST : -EBUSY;
    if (!err && w->len > NAME_MAX)
        err = -ENAMETOOLONG;
    return err;
}

int vfs_rename(struct vfs_path from_at, const char *from, struct vfs_path to_at, const char *to, u32 flags)
{
    struct rename r = {.flags = flags};
    if ((flags & ~(VFS_RENAME_NOREPLACE | VFS_RENAME_EXCHANGE)) ||
        flags == (VFS_RENAME_NOREPLACE | VFS_RENAME_EXCHANGE))
        return -EINVAL;
    int err = rename_walk(&r.from, from_at, from, 0);
    if (!err)
        err = rename_walk(&r.to, to_at, to, flags);
    if (!err && r.from.dir->inode->mount != r.to.dir->inode->mount)
        err = -EXDEV;
    if (!err) {
        mutex_lock(&rename_lock);
        lock_both(r.from.dir, r.to.dir);
        err = rename_locked(&r);
        unlock_both(r.from.dir, r.to.dir);
        mutex_unlock(&rename_lock);
        if (!err)
            rename_notify(&r);
    }
    dentry_put(r.source);
    dentry_put(r.target);
    walk_end(&r.from);
    walk_end(&r.to);
    return err;
}
