/* Opening and creating files. */
#include "kernel/fs/internal.h"
#include "kernel/fs/pipe.h"

/* Flags that stay with the description. */
#define KEPT_FLAGS                                                                                           \
    (O_ACCMODE | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY |           \
     O_NOFOLLOW | O_NOATIME | O_PATH)
#define TMPFILE_BIT 020000000u

static bool wants_write(u32 flags)
{
    return (flags & O_ACCMODE) != O_RDONLY;
}

static char *path_text(struct dentry *d)
{
    char *buf = kmalloc(PATH_MAX);
    if (!buf)
        return NULL;
    ssize_t n = vfs_path_name((struct vfs_path){d}, buf, PATH_MAX);
    char *text = n == -ERANGE ? kstrdup("") : kstrdup(buf);
    kfree(buf);
    return text;
}

/* What the type of the inode asks for beyond file_ops. */
static int open_special(struct inode *inode, struct file *f)
{
    u32 type = inode->mode & S_IFMT;
    if (type == S_IFIFO)
        return fifo_open(inode, f);
    if (type == S_IFSOCK || type == S_IFBLK)
        return -ENXIO;
    if (type == S_IFCHR && !inode->file_ops) {
        f->ops = device_ops(inode->rdev, &f->private);
        if (!f->ops)
            return -ENXIO;
    }
    return 0;
}

static int check_open(struct inode *inode, u32 flags)
{
    if (flags & O_PATH)
        return 0;
    if (is_link(inode))
        return -ELOOP;
    if (is_dir(inode) && wants_write(flags))
        return -EISDIR;
    bool changes = wants_write(flags) || (flags & O_TRUNC);
    return changes && (is_reg(inode) || is_dir(inode)) ? inode_writable(inode) : 0;
}

static int file_open_inode(struct dentry *d, u32 flags, struct file **out)
{
    struct inode *inode = d->inode;
    int err = check_open(inode, flags);
    if (err)
        return err;
    char *path = path_text(d);
    const struct file_ops *ops = flags & O_PATH  ? &link_file_ops
                                 : is_dir(inode) ? &dir_file_ops
                                                 : inode->file_ops;
    struct file *f = file_create(ops ? ops : &link_file_ops, flags & KEPT_FLAGS, inode, NULL, NULL);
    if (!f || !path) {
        kfree(path);
        if (f)
            file_put(f);
        return -ENOMEM;
    }
    f->path = path;
    f->dentry = d;
    dentry_get(d);
    if (!(flags & O_PATH)) {
        err = open_special(inode, f);
        if (!err && inode->ops->open)
            err = inode->ops->open(inode, f);
        if (!err && (flags & O_TRUNC) && is_reg(inode) && inode->ops->setattr) {
            struct vfs_stat st = {.size = 0};
            err = vfs_setattr_at(inode, (struct vfs_path){d}, &st, VFS_SET_SIZE);
        }
    }
    if (err) {
        file_set_ops(f, &link_file_ops); /* nothing to release */
        file_put(f);
        return err;
    }
    notify(inode, d, flags & O_PATH ? 0 : IN_OPEN);
    *out = f;
    return 0;
}

/* Makes a regular file of the last component, or finds what is there. dir's lock is taken here. */
static int create_last(struct walk *w, u32 mode, bool exclusive, struct dentry **out, bool *created)
{
    struct inode *dir = w->dir->inode, *inode;
    if (!is_dir(dir))
        return -ENOTDIR;
    mutex_lock(&dir->lock);
    int err = dentry_lookup_locked(w->dir, w->name, w->len, out);
    if (err == -ENOENT) {
        err = w->slash ? -EISDIR : inode_writable(dir);
        if (!err)
            err = dir->ops->create
                      ? dir->ops->create(dir, w->name, w->len, S_IFREG | (mode & 07777), 0, &inode)
                      : -EACCES;
        if (!err) {
            err = dentry_instantiate(w->dir, w->name, w->len, inode, out);
            inode_put(inode);
            *created = true;
        }
    } else if (!err && exclusive) {
        dentry_put(*out);
        err = -EEXIST;
    }
    mutex_unlock(&dir->lock);
    if (!err && *created)
        notify_entry(dir, w->name, w->len, false, IN_CREATE, 0);
    return err;
}

/* What is mounted on d, in place of d. */
static struct dentry *top_mount(struct dentry *d)
{
    while (d->mounted) {
        struct dentry *root = d->mounted->root;
        dentry_get(root);
        dentry_put(d);
        d = root;
    }
    return d;
}

/* Resolves the last component to what shall be opened. */
static int open_last(struct walk *w, u32 flags, u32 mode, struct dentry **out, bool *created)
{
    if (!(flags & O_CREAT)) {
        if (w->last != LAST_ROOT)
            return walk_last(w, out);
        dentry_get(w->dir);
        *out = w->dir;
        return 0;
    }
    if (w->last != LAST_NAME) {
        if (is_dir(w->dir->inode))
            return flags & O_EXCL ? -EEXIST : -EISDIR;
        dentry_get(w->dir); /* a jump link led here */
        *out = w->dir;
        return 0;
    }
    if (w->slash)
        return -EISDIR;
    if (!(flags & O_EXCL) && is_dir(w->dir->inode) && dentry_find_through(w->dir, w->name, w->len, out))
        return 0;
    int err = create_last(w, mode, flags & O_EXCL, out, created);
    if (!err)
        *out = top_mount(*out);
    return err;
}

/* A second description of what f is open on, as opening /proc/self/fd/N does; for files without a name in the
 * tree (pipes, sockets) f itself with one more reference. */
static int reopen(struct file *f, u32 flags, struct file **out)
{
    if ((flags & O_DIRECTORY) && (!f->inode || !is_dir(f->inode)))
        return -ENOTDIR;
    if (f->dentry && f->inode)
        return file_open_inode(f->dentry, flags & ~(O_CREAT | O_EXCL), out);
    file_get(f);
    *out = f;
    return 0;
}

/* A link at the end: follows it, or opens the file it jumps to. *out is set only in the latter case. */
static int open_link(struct walk *w, struct dentry *d, u32 flags, struct file **out)
{
    if (!d->inode->ops->jump)
        return walk_follow(w, d);
    struct file *f;
    int err = d->inode->ops->jump(d->inode, &f);
    if (err)
        return err;
    err = reopen(f, flags & ~(O_CREAT | O_EXCL), out);
    file_put(f);
    return err;
}

static int finish_open(struct walk *w, struct dentry *d, u32 flags, bool created, struct file **out)
{
    struct inode *inode = d->inode;
    if (((flags & O_DIRECTORY) || w->slash) && !is_dir(inode))
        return is_link(inode) && (flags & O_NOFOLLOW) && !(flags & O_PATH) && !(flags & O_DIRECTORY)
                   ? -ELOOP
                   : -ENOTDIR;
    if (is_dir(inode) && (flags & O_CREAT))
        return -EISDIR;
    if (created)
        flags &= ~O_TRUNC;
    return file_open_inode(d, flags, out);
}

static int open_tmpfile(struct vfs_path at, const char *path, u32 flags, u32 mode, struct file **out)
{
    struct vfs_path dir;
    if (!wants_write(flags) || (flags & O_CREAT))
        return -EINVAL;
    int err = vfs_lookup(at, path, VFS_DIRECTORY, &dir);
    if (err)
        return err;
    struct inode *inode = NULL;
    const struct inode_ops *ops = dir.dentry->inode->ops;
    err = inode_writable(dir.dentry->inode);
    if (!err)
        err = ops->tmpfile ? ops->tmpfile(dir.dentry->inode, S_IFREG | (mode & 07777), &inode) : -EOPNOTSUPP;
    struct dentry *d = NULL;
    if (!err) {
        char name[32];
        u32 len = snprintf(name, sizeof(name), "#%lu", inode->ino);
        d = dentry_create(dir.dentry, name, len, inode);
        err = d ? 0 : -ENOMEM;
    }
    if (!err) {
        d->unlinked = true;
        err = file_open_inode(d, flags & ~(O_DIRECTORY | O_TRUNC), out);
    }
    dentry_put(d);
    inode_put(inode);
    vfs_path_put(dir);
    return err;
}

int vfs_open(struct vfs_path at, const char *path, u32 flags, u32 mode, struct file **out)
{
    if (flags & O_PATH)
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    else if (flags & TMPFILE_BIT)
        return flags & O_DIRECTORY ? open_tmpfile(at, path, flags & ~TMPFILE_BIT, mode, out) : -EINVAL;
    if ((flags & O_CREAT) && (flags & O_DIRECTORY))
        return -EINVAL;
    struct walk w;
    int err = walk_start(&w, at, path);
    *out = NULL;
    while (!err && !*out) {
        struct dentry *d = NULL;
        bool created = false;
        err = walk_parent(&w);
        if (!err)
            err = open_last(&w, flags, mode, &d, &created);
        if (err)
            break;
        if (!is_link(d->inode) || ((flags & O_NOFOLLOW) && !w.slash))
            err = finish_open(&w, d, flags, created, out);
        else
            err = open_link(&w, d, flags, out);
        dentry_put(d);
    }
    walk_end(&w);
    return err;
}
