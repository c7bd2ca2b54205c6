/* System calls about attributes: stat, statx, chmod, chown, times, access, statfs, directories. */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/at.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/task.h"
#include "kernel/linux/time.h"
#include "mm/phys/phys.h"

static struct uabi_timespec to_timespec(struct vfs_time t)
{
    return (struct uabi_timespec){t.sec, t.nsec};
}

/* ---- stat ---- */

static s64 put_stat(struct uabi_stat *u, struct inode *inode)
{
    struct vfs_stat st;
    int err = vfs_stat(inode, &st);
    if (err)
        return err;
    struct uabi_stat s = {
        .dev = st.dev,
        .ino = st.ino,
        .nlink = st.nlink,
        .mode = st.mode,
        .uid = st.uid,
        .gid = st.gid,
        .rdev = st.rdev,
        .size = st.size,
        .blksize = st.blksize,
        .blocks = st.blocks,
        .atime = to_timespec(st.atime),
        .mtime = to_timespec(st.mtime),
        .ctime = to_timespec(st.ctime),
    };
    return copy_to_user(u, &s, sizeof(s));
}

static s64 stat_at(int dirfd, const char *path, struct uabi_stat *u, u32 flags)
{
    struct inode *inode;
    int err = at_inode(dirfd, path, flags, &inode);
    if (err)
        return err;
    s64 result = put_stat(u, inode);
    inode_put(inode);
    return result;
}

s64 sys_stat(const char *path, struct uabi_stat *u)
{
    return stat_at(AT_FDCWD, path, u, 0);
}
s64 sys_lstat(const char *path, struct uabi_stat *u)
{
    return stat_at(AT_FDCWD, path, u, AT_SYMLINK_NOFOLLOW);
}
s64 sys_newfstatat(int dirfd, const char *path, struct uabi_stat *u, u32 flags)
{
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE))
        return -EINVAL;
    return stat_at(dirfd, path, u, flags);
}

/* The inode of an open descriptor with a reference, or NULL. */
static struct inode *fd_inode(int fd)
{
    struct file *f = fd_get(fd);
    if (!f)
        return NULL;
    struct inode *inode = f->inode;
    if (inode)
        inode_get(inode);
    file_put(f);
    return inode;
}

s64 sys_fstat(int fd, struct uabi_stat *u)
{
    struct inode *inode = fd_inode(fd);
    if (!inode)
        return -EBADF;
    s64 result = put_stat(u, inode);
    inode_put(inode);
    return result;
}

static struct uabi_statx_time to_statx_time(struct vfs_time t)
{
    return (struct uabi_statx_time){t.sec, t.nsec, 0};
}
/* Device numbers as makedev(3) packs them. */
static u32 dev_major(u64 dev)
{
    return (dev >> 8 & 0xfff) | (dev >> 32 & ~0xfffu);
}
static u32 dev_minor(u64 dev)
{
    return (dev & 0xff) | (dev >> 12 & ~0xffu);
}

static s64 put_statx(struct uabi_statx *u, struct inode *inode)
{
    struct vfs_stat st;
    int err = vfs_stat(inode, &st);
    if (err)
        return err;
    struct uabi_statx s = {
        .mask = STATX_BASIC_STATS | STATX_BTIME,
        .blksize = st.blksize,
        .nlink = st.nlink,
        .uid = st.uid,
        .gid = st.gid,
        .mode = st.mode,
        .ino = st.ino,
        .size = st.size,
        .blocks = st.blocks,
        .atime = to_statx_time(st.atime),
        .btime = to_statx_time(st.btime),
        .ctime = to_statx_time(st.ctime),
        .mtime = to_statx_time(st.mtime),
        .rdev_major = dev_major(st.rdev),
        .rdev_minor = dev_minor(st.rdev),
        .dev_major = dev_major(st.dev),
        .dev_minor = dev_minor(st.dev),
    };
    return copy_to_user(u, &s, sizeof(s));
}

s64 sys_statx(int dirfd, const char *path, u32 flags, u32 mask, struct uabi_statx *u)
{
    struct inode *inode;
    if (mask & STATX_RESERVED || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE ||
        flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE))
        return -EINVAL;
    int err = at_inode(dirfd, path, flags, &inode);
    if (err)
        return err;
    s64 result = put_statx(u, inode);
    inode_put(inode);
    return result;
}

/* ---- change ---- */

static s64 set_at(int dirfd, const char *path, u32 flags, const struct vfs_stat *st, u32 which)
{
    struct vfs_path place;
    struct inode *inode;
    int err = at_place(dirfd, path, flags, &place, &inode);
    if (err)
        return err;
    err = which ? vfs_setattr_at(inode, place, st, which) : 0;
    inode_put(inode);
    vfs_path_put(place);
    return err;
}

static s64 set_fd(int fd, const struct vfs_stat *st, u32 which)
{
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    s64 err = !which ? 0 : f->inode ? vfs_setattr_at(f->inode, vfs_file_path(f), st, which) : -EINVAL;
    file_put(f);
    return err;
}

s64 sys_fchmodat(int dirfd, const char *path, u32 mode)
{
    struct vfs_stat st = {.mode = mode & 07777};
    return set_at(dirfd, path, 0, &st, VFS_SET_MODE);
}
s64 sys_chmod(const char *path, u32 mode)
{
    return sys_fchmodat(AT_FDCWD, path, mode);
}
s64 sys_fchmod(int fd, u32 mode)
{
    struct vfs_stat st = {.mode = mode & 07777};
    return set_fd(fd, &st, VFS_SET_MODE);
}

static u32 owner_mask(s32 uid, s32 gid)
{
    return (uid == -1 ? 0 : VFS_SET_UID) | (gid == -1 ? 0 : VFS_SET_GID);
}
s64 sys_fchownat(int dirfd, const char *path, s32 uid, s32 gid, u32 flags)
{
    struct vfs_stat st = {.uid = uid, .gid = gid};
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return set_at(dirfd, path, flags, &st, owner_mask(uid, gid));
}
s64 sys_chown(const char *path, s32 uid, s32 gid)
{
    return sys_fchownat(AT_FDCWD, path, uid, gid, 0);
}
s64 sys_lchown(const char *path, s32 uid, s32 gid)
{
    return sys_fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}
s64 sys_fchown(int fd, s32 uid, s32 gid)
{
    struct vfs_stat st = {.uid = uid, .gid = gid};
    return set_fd(fd, &st, owner_mask(uid, gid));
}

#define UTIME_NOW  0x3fffffff
#define UTIME_OMIT 0x3ffffffe

/* One of utimensat's times. False when it is not valid. */
static bool take_time(const struct uabi_timespec *ts, struct vfs_time *out, u32 bit, u32 *which)
{
    if (ts->nsec == UTIME_OMIT)
        return true;
    *which |= bit;
    if (ts->nsec == UTIME_NOW)
        *out = vfs_now();
    else if ((u64)ts->nsec < NSEC_PER_SEC)
        *out = (struct vfs_time){ts->sec, ts->nsec};
    else
        return false;
    return true;
}

static s64 set_times(int dirfd, const char *path, const struct uabi_timespec ts[2], u32 flags)
{
    struct vfs_stat st = {0};
    u32 which = 0;
    if (!take_time(&ts[0], &st.atime, VFS_SET_ATIME, &which) ||
        !take_time(&ts[1], &st.mtime, VFS_SET_MTIME, &which))
        return -EINVAL;
    if (!path)
        return dirfd == AT_FDCWD ? -EFAULT : set_fd(dirfd, &st, which);
    return set_at(dirfd, path, flags, &st, which);
}

s64 sys_utimensat(int dirfd, const char *path, const struct uabi_timespec *uts, u32 flags)
{
    struct uabi_timespec ts[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (uts && copy_from_user(ts, uts, sizeof(ts)))
        return -EFAULT;
    return set_times(dirfd, path, ts, flags);
}

s64 sys_futimesat(int dirfd, const char *path, const struct uabi_timeval *utv)
{
    struct uabi_timespec ts[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    struct uabi_timeval tv[2];
    if (utv) {
        if (copy_from_user(tv, utv, sizeof(tv)))
            return -EFAULT;
        for (int i = 0; i < 2; i++) {
            if ((u64)tv[i].usec >= 1000000)
                return -EINVAL;
            ts[i] = (struct uabi_timespec){tv[i].sec, tv[i].usec * 1000};
        }
    }
    return set_times(dirfd, path, ts, 0);
}
s64 sys_utimes(const char *path, const struct uabi_timeval *utv)
{
    return sys_futimesat(AT_FDCWD, path, utv);
}
s64 sys_utime(const char *path, const s64 *utimes)
{
    struct uabi_timespec ts[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    s64 t[2];
    if (utimes) {
        if (copy_from_user(t, utimes, sizeof(t)))
            return -EFAULT;
        ts[0] = (struct uabi_timespec){t[0], 0};
        ts[1] = (struct uabi_timespec){t[1], 0};
    }
    return set_times(AT_FDCWD, path, ts, 0);
}

s64 sys_truncate(const char *path, s64 size)
{
    struct vfs_stat st = {.size = size};
    if (size < 0)
        return -EINVAL;
    return set_at(AT_FDCWD, path, 0, &st, VFS_SET_SIZE);
}

/* ---- access: the superuser may everything but execute what nobody may ---- */

s64 sys_faccessat2(int dirfd, const char *path, u32 mode, u32 flags)
{
    struct inode *inode;
    if (mode & ~7u || flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    int err = at_inode(dirfd, path, flags & ~AT_EACCESS, &inode);
    if (err)
        return err;
    if (mode & 1 && (inode->mode & S_IFMT) != S_IFDIR && !(inode->mode & 0111))
        err = -EACCES;
    inode_put(inode);
    return err;
}
s64 sys_faccessat(int dirfd, const char *path, u32 mode)
{
    return sys_faccessat2(dirfd, path, mode, 0);
}
s64 sys_access(const char *path, u32 mode)
{
    return sys_faccessat2(AT_FDCWD, path, mode, 0);
}

/* ---- file systems ---- */

static s64 put_statfs(struct uabi_statfs *u, struct inode *inode)
{
    struct vfs_statfs st;
    int err = vfs_statfs(inode, &st);
    if (err)
        return err;
    struct uabi_statfs s = {
        .type = st.type,
        .bsize = st.bsize,
        .blocks = st.blocks,
        .bfree = st.bfree,
        .bavail = st.bavail,
        .files = st.files,
        .ffree = st.ffree,
        .fsid = {st.fsid, st.fsid >> 32},
        .namelen = st.namelen,
        .frsize = st.bsize,
        .flags = 0x20, /* ST_VALID */
    };
    return copy_to_user(u, &s, sizeof(s));
}

s64 sys_statfs(const char *path, struct uabi_statfs *u)
{
    struct inode *inode;
    int err = at_inode(AT_FDCWD, path, 0, &inode);
    if (err)
        return err;
    s64 result = put_statfs(u, inode);
    inode_put(inode);
    return result;
}
s64 sys_fstatfs(int fd, struct uabi_statfs *u)
{
    struct inode *inode = fd_inode(fd);
    if (!inode)
        return -EBADF;
    s64 result = put_statfs(u, inode);
    inode_put(inode);
    return result;
}

/* ---- directories ---- */

struct dir_buf {
    char *buf;
    size_t used, room;
    bool old; /* getdents: type at the record's end */
    bool full;
    u64 *last_off;
};

static int add_entry(void *arg, const char *name, u32 len, u64 ino, u32 type, u64 next)
{
    struct dir_buf *d = arg;
    size_t header = d->old ? 18 : offsetof(struct uabi_dirent64, name);
    size_t size = ALIGN_UP(header + len + 1 + (d->old ? 1 : 0), 8);
    if (d->used + size > d->room) {
        d->full = true;
        return 1;
    }
    struct uabi_dirent64 *e = (void *)(d->buf + d->used);
    memset(e, 0, size);
    e->ino = ino;
    e->off = next;
    e->reclen = size;
    memcpy((char *)e + header, name, len);
    if (d->old)
        ((u8 *)e)[size - 1] = type >> 12;
    else
        e->type = type >> 12; /* DT_* are the S_IF* bits */
    d->used += size;
    return 0;
}

static s64 read_dir(int fd, void *ubuf, u32 size, bool old)
{
    struct dir_buf d = {.room = MIN(size, 65536u), .old = old};
    if (!user_range((u64)ubuf, size))
        return -EFAULT;
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    d.buf = kmalloc(MAX(d.room, 64UL));
    s64 result = d.buf ? file_readdir(f, add_entry, &d) : -ENOMEM;
    if (result >= 0)
        result = d.full && !d.used ? -EINVAL : copy_to_user(ubuf, d.buf, d.used) ?: (s64)d.used;
    kfree(d.buf);
    file_put(f);
    return result;
}

s64 sys_getdents64(int fd, void *ubuf, u32 size)
{
    return read_dir(fd, ubuf, size, false);
}
s64 sys_getdents(int fd, void *ubuf, u32 size)
{
    return read_dir(fd, ubuf, size, true);
}
