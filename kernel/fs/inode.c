/* Inodes: life, attributes, times, notifications. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/fs/internal.h"

void (*vfs_notify_hook)(struct inode *inode, struct inode *parent, const char *name, u32 mask, u32 cookie);
u32 vfs_watch_count;

struct vfs_time vfs_now(void)
{
    u64 ns = clock_realtime_ns();
    return (struct vfs_time){ns / NSEC_PER_SEC, ns % NSEC_PER_SEC};
}

u64 mount_new_ino(struct mount *mount)
{
    return __atomic_fetch_add(&mount->next_ino, 1, __ATOMIC_RELAXED);
}

void inode_init(struct inode *inode, struct mount *mount, u32 mode)
{
    inode->mount = mount;
    inode->refs = 1;
    inode->mode = mode;
    inode->nlink = 1;
    inode->atime = inode->mtime = inode->ctime = inode->btime = vfs_now();
    list_init(&inode->locks);
    list_init(&inode->watches);
}

void inode_put(struct inode *inode)
{
    if (!inode || __atomic_sub_fetch(&inode->refs, 1, __ATOMIC_ACQ_REL))
        return;
    if (inode->ops && inode->ops->evict)
        inode->ops->evict(inode);
    else
        kfree(inode);
}

static struct mount anon_mount = {
    .type = "anon_inodefs", .source = "anon_inodefs", .dev = 0xf, .next_ino = 1000, .magic = 0x09041934};

struct inode *inode_anon(u32 mode)
{
    static const struct inode_ops ops;
    struct inode *inode = kmalloc(sizeof(*inode));
    if (!inode)
        return NULL;
    inode_init(inode, &anon_mount, mode);
    inode->ops = &ops;
    inode->ino = mount_new_ino(&anon_mount);
    return inode;
}

int inode_writable(const struct inode *inode)
{
    return inode->mount && inode->mount->read_only ? -EROFS : 0;
}

void inode_touch(struct inode *inode, u32 which)
{
    struct vfs_time now = vfs_now();
    if (which & VFS_SET_ATIME)
        inode->atime = now;
    if (which & VFS_SET_MTIME)
        inode->mtime = now;
    if (which & (VFS_SET_MTIME | TOUCH_CTIME))
        inode->ctime = now;
}

static bool later(struct vfs_time a, struct vfs_time b)
{
    return a.sec > b.sec || (a.sec == b.sec && a.nsec > b.nsec);
}

/* mount(8), relatime: only when it is not newer than mtime or ctime, or older than a day. */
void inode_accessed(struct inode *inode)
{
    if (later(inode->atime, inode->mtime) && later(inode->atime, inode->ctime)) {
        struct vfs_time now = vfs_now();
        if (now.sec - inode->atime.sec < 24 * 3600)
            return;
    }
    if (!inode->mount || inode->mount->uncached || inode->mount->revalidate || inode_writable(inode))
        return;
    inode->atime = vfs_now();
}

static void fill_stat(struct inode *inode, struct vfs_stat *st)
{
    *st = (struct vfs_stat){.dev = inode->mount ? inode->mount->dev : 0,
                            .ino = inode->ino,
                            .rdev = inode->rdev,
                            .mode = inode->mode,
                            .nlink = inode->nlink,
                            .uid = inode->uid,
                            .gid = inode->gid,
                            .blksize = PAGE_SIZE,
                            .atime = inode->atime,
                            .mtime = inode->mtime,
                            .ctime = inode->ctime,
                            .btime = inode->btime};
    if (is_reg(inode)) {
        st->size = inode->object.size;
        st->blocks = inode->object.page_count * (PAGE_SIZE / 512);
    }
}

int vfs_stat(struct inode *inode, struct vfs_stat *st)
{
    fill_stat(inode, st);
    return inode->ops && inode->ops->getattr ? inode->ops->getattr(inode, st) : 0;
}

/* What every file system in memory does with the plain attributes. The inode lock is held. */
static void set_fields(struct inode *inode, const struct vfs_stat *st, u32 which)
{
    if (which & VFS_SET_MODE)
        inode->mode = (inode->mode & S_IFMT) | (st->mode & 07777);
    if (which & VFS_SET_UID)
        inode->uid = st->uid;
    if (which & VFS_SET_GID)
        inode->gid = st->gid;
    if (which & VFS_SET_ATIME)
        inode->atime = st->atime;
    if (which & VFS_SET_MTIME)
        inode->mtime = st->mtime;
    struct vfs_time now = vfs_now();
    if (which & VFS_SET_ATIME_NOW)
        inode->atime = now;
    if (which & VFS_SET_MTIME_NOW)
        inode->mtime = now;
    inode->ctime = now;
}

int vfs_setattr(struct inode *inode, const struct vfs_stat *st, u32 which)
{
    return vfs_setattr_at(inode, (struct vfs_path){NULL}, st, which);
}

int vfs_setattr_at(struct inode *inode, struct vfs_path at, const struct vfs_stat *st, u32 which)
{
    int err = inode_writable(inode);
    if (err)
        return err;
    if (which & VFS_SET_SIZE) {
        if (is_dir(inode))
            return -EISDIR;
        if (!is_reg(inode))
            return -EINVAL;
        which |= VFS_SET_MTIME_NOW;
        if ((s64)st->size < 0)
            return -EINVAL;
    }
    mutex_lock(&inode->lock);
    if (inode->ops && inode->ops->setattr)
        err = inode->ops->setattr(inode, st, which);
    else if (which & VFS_SET_SIZE)
        err = -EINVAL;
    if (!err)
        set_fields(inode, st, which);
    mutex_unlock(&inode->lock);
    if (!err)
        notify(inode, at.dentry, which & VFS_SET_SIZE ? IN_MODIFY : IN_ATTRIB);
    return err;
}

int vfs_statfs(struct inode *inode, struct vfs_statfs *st)
{
    struct phys_stats mem;
    phys_stats(&mem);
    *st = (struct vfs_statfs){.type = inode->mount ? inode->mount->magic : 0,
                              .bsize = PAGE_SIZE,
                              .blocks = mem.total_pages,
                              .bfree = mem.free_pages,
                              .bavail = mem.free_pages,
                              .files = mem.total_pages,
                              .ffree = mem.free_pages,
                              .fsid = inode->mount ? inode->mount->dev : 0,
                              .namelen = NAME_MAX};
    if (is_reg(inode) && inode->object.huge) {
        st->bsize = HUGE_SIZE;
        st->blocks /= HUGE_SIZE / PAGE_SIZE;
        st->bfree = st->bavail = st->bfree / (HUGE_SIZE / PAGE_SIZE);
    }
    return inode->ops && inode->ops->statfs ? inode->ops->statfs(inode, st) : 0;
}

/* ---- notifications ---- */

void notify_slow(struct inode *inode, struct dentry *d, u32 mask)
{
    if (!vfs_notify_hook)
        return;
    if (is_dir(inode) && !(mask & (IN_DELETE_SELF | IN_MOVE_SELF))) /* as Linux: those never say so */
        mask |= IN_ISDIR;
    if (!d || !d->parent) {
        vfs_notify_hook(inode, NULL, NULL, mask, 0);
        return;
    }
    char name[NAME_MAX + 1];
    mutex_lock(&rename_lock);
    struct inode *parent = d->unlinked ? NULL : d->parent->inode;
    if (parent)
        inode_get(parent);
    strlcpy(name, d->name, sizeof(name));
    mutex_unlock(&rename_lock);
    vfs_notify_hook(inode, parent, name, mask, 0);
    inode_put(parent);
}

void notify_entry(struct inode *dir, const char *name, u32 len, bool is_directory, u32 mask, u32 cookie)
{
    if (likely(!vfs_watch_count) || !vfs_notify_hook)
        return;
    char text[NAME_MAX + 1];
    memcpy(text, name, len);
    text[len] = 0;
    vfs_notify_hook(NULL, dir, text, mask | (is_directory ? IN_ISDIR : 0), cookie);
}
