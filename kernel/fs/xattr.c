/* Extended attributes, kept in memory with the inode (tmpfs of Linux 6.6 and later does the same). */
#include "kernel/fs/internal.h"

struct xattr {
    struct xattr *next;
    void *value; /* kmalloc'ed; NULL: empty */
    size_t size;
    char name[];
};

static bool starts(const char *name, const char *prefix)
{
    return !strncmp(name, prefix, strlen(prefix));
}

/* Names that are kept, and have something after the dot. POSIX ACLs (system.*) are not. */
static int check_kept(const struct inode *inode, const char *name)
{
    static const char *const kept[] = {"user.", "trusted.", "security."};
    for (u32 i = 0; i < ARRAY_LEN(kept); i++)
        if (starts(name, kept[i])) {
            if (!inode->ops || !inode->ops->xattrs)
                return -EOPNOTSUPP;
            return name[strlen(kept[i])] ? 0 : -EINVAL;
        }
    return -EOPNOTSUPP;
}

/* user.* belongs to contents; a device's or a link's mode bits guard something else (xattr(7)). */
static bool misplaced(const struct inode *inode, const char *name)
{
    return starts(name, "user.") && !is_reg(inode) && !is_dir(inode);
}

static int check_change(const struct inode *inode, const char *name)
{
    int err = inode_writable(inode);
    if (err)
        return err;
    return misplaced(inode, name) ? -EPERM : check_kept(inode, name);
}

/* Where the attribute hangs, or would: *result is NULL at the end. The inode lock is held. */
static struct xattr **find(struct inode *inode, const char *name)
{
    struct xattr **at = &inode->xattrs;
    while (*at && strcmp((*at)->name, name))
        at = &(*at)->next;
    return at;
}

static void free_one(struct xattr *x)
{
    kfree(x->value);
    kfree(x);
}

static struct xattr *create(const char *name, const void *value, size_t size)
{
    size_t len = strlen(name) + 1;
    struct xattr *x = kmalloc(sizeof(*x) + len);
    if (!x)
        return NULL;
    memcpy(x->name, name, len);
    if (size) {
        x->value = kmalloc_raw(size);
        if (!x->value) {
            kfree(x);
            return NULL;
        }
        memcpy(x->value, value, size);
    }
    x->size = size;
    return x;
}

/* As setxattr(2): XATTR_CREATE wants it absent, XATTR_REPLACE present. */
static int check_flags(const struct xattr *old, u32 flags)
{
    if (old && flags & XATTR_CREATE)
        return -EEXIST;
    return !old && flags & XATTR_REPLACE ? -ENODATA : 0;
}

int xattr_set(struct inode *inode, struct vfs_path at, const char *name, const void *value, size_t size,
              u32 flags)
{
    int err = check_change(inode, name);
    if (err)
        return err;
    struct xattr *new = create(name, value, size);
    if (!new)
        return -ENOMEM;
    mutex_lock(&inode->lock);
    struct xattr **place = find(inode, name), *old = *place;
    err = check_flags(old, flags);
    if (!err) {
        new->next = old ? old->next : NULL;
        *place = new;
        inode_touch(inode, TOUCH_CTIME);
    }
    mutex_unlock(&inode->lock);
    if (err)
        free_one(new);
    else if (old)
        free_one(old);
    if (!err)
        notify(inode, at.dentry, IN_ATTRIB);
    return err;
}

int xattr_remove(struct inode *inode, struct vfs_path at, const char *name)
{
    int err = check_change(inode, name);
    if (err)
        return err;
    mutex_lock(&inode->lock);
    struct xattr **place = find(inode, name), *old = *place;
    if (old) {
        *place = old->next;
        inode_touch(inode, TOUCH_CTIME);
    }
    mutex_unlock(&inode->lock);
    if (!old)
        return -ENODATA;
    free_one(old);
    notify(inode, at.dentry, IN_ATTRIB);
    return 0;
}

ssize_t xattr_get(struct inode *inode, const char *name, void *buf, size_t room)
{
    if (misplaced(inode, name))
        return -ENODATA;
    int err = check_kept(inode, name);
    if (err)
        return err;
    mutex_lock(&inode->lock);
    struct xattr *x = *find(inode, name);
    ssize_t result = x ? (ssize_t)x->size : -ENODATA;
    if (x && room) {
        if (x->size > room)
            result = -ERANGE;
        else if (x->size)
            memcpy(buf, x->value, x->size);
    }
    mutex_unlock(&inode->lock);
    return result;
}

ssize_t xattr_list(struct inode *inode, char *buf, size_t room)
{
    size_t total = 0;
    mutex_lock(&inode->lock);
    for (struct xattr *x = inode->xattrs; x; x = x->next) {
        size_t len = strlen(x->name) + 1;
        if (room && len <= room && total <= room - len)
            memcpy(buf + total, x->name, len);
        total += len;
    }
    mutex_unlock(&inode->lock);
    return room && total > room ? -ERANGE : (ssize_t)total;
}

void xattr_free(struct inode *inode)
{
    while (inode->xattrs) {
        struct xattr *x = inode->xattrs;
        inode->xattrs = x->next;
        free_one(x);
    }
}
