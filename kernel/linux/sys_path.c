/* System calls that name files: open, make, remove, rename, link, change directory. */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/at.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/task.h"
#include "mm/phys/phys.h"

/* ---- open ---- */

#define O_ASYNC_FLAG 020000
#define O_KNOWN                                                                                              \
    (O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | O_ASYNC_FLAG |    \
     O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_SYNC | O_PATH |           \
     O_TMPFILE)

static s64 open_at(int dirfd, const char *upath, u32 flags, u32 mode)
{
    struct at at;
    struct file *f;
    if (flags & O_PATH)
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? mode & 07777 & ~process.umask : 0;
    int err = at_get(&at, dirfd, upath);
    if (err)
        return err;
    err = vfs_open(at.dir, at.path, flags | O_LARGEFILE, mode, &f);
    at_put(&at);
    return err ? err : fd_install(f, 0, flags);
}

s64 sys_open(const char *path, u32 flags, u32 mode)
{
    return open_at(AT_FDCWD, path, flags & O_KNOWN, mode);
}
s64 sys_openat(int dirfd, const char *path, u32 flags, u32 mode)
{
    return open_at(dirfd, path, flags & O_KNOWN, mode);
}
s64 sys_creat(const char *path, u32 mode)
{
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* openat2(2). Of its RESOLVE_* restrictions none is offered: EINVAL says so, as for an unknown flag. */
s64 sys_openat2(int dirfd, const char *path, const void *uhow, u64 size)
{
    struct uabi_open_how how;
    if (size < sizeof(how))
        return -EINVAL;
    int err = user_struct(&how, sizeof(how), uhow, size);
    if (err)
        return err;
    if (how.flags & ~(u64)O_KNOWN || how.resolve)
        return -EINVAL;
    bool makes = how.flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY));
    if (how.mode & ~07777UL || (how.mode && !makes))
        return -EINVAL;
    return open_at(dirfd, path, how.flags, how.mode);
}

/* ---- make and remove ---- */

s64 sys_mkdirat(int dirfd, const char *upath, u32 mode)
{
    struct at at;
    int err = at_get(&at, dirfd, upath);
    if (err)
        return err;
    err = vfs_mkdir(at.dir, at.path, mode & 01777 & ~process.umask);
    at_put(&at);
    return err;
}
s64 sys_mkdir(const char *path, u32 mode)
{
    return sys_mkdirat(AT_FDCWD, path, mode);
}

s64 sys_mknodat(int dirfd, const char *upath, u32 mode, u32 dev)
{
    struct at at;
    u32 type = mode & S_IFMT ? mode & S_IFMT : S_IFREG;
    if (type == S_IFDIR)
        return -EPERM;
    if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
        return type == S_IFCHR || type == S_IFBLK ? -EPERM : -EINVAL;
    int err = at_get(&at, dirfd, upath);
    if (err)
        return err;
    err = vfs_mknod(at.dir, at.path, type | (mode & 07777 & ~process.umask), 0);
    at_put(&at);
    return err;
}
s64 sys_mknod(const char *path, u32 mode, u32 dev)
{
    return sys_mknodat(AT_FDCWD, path, mode, dev);
}

s64 sys_unlinkat(int dirfd, const char *upath, u32 flags)
{
    struct at at;
    if (flags & ~AT_REMOVEDIR)
        return -EINVAL;
    int err = at_get(&at, dirfd, upath);
    if (err)
        return err;
    err = flags & AT_REMOVEDIR ? vfs_rmdir(at.dir, at.path) : vfs_unlink(at.dir, at.path);
    at_put(&at);
    return err;
}
s64 sys_unlink(const char *path)
{
    return sys_unlinkat(AT_FDCWD, path, 0);
}
s64 sys_rmdir(const char *path)
{
    return sys_unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

/* ---- rename and link ---- */

s64 sys_renameat2(int from_fd, const char *ufrom, int to_fd, const char *uto, u32 flags)
{
    struct at from, to;
    if (flags & ~(VFS_RENAME_NOREPLACE | VFS_RENAME_EXCHANGE) ||
        flags == (VFS_RENAME_NOREPLACE | VFS_RENAME_EXCHANGE))
        return -EINVAL;
    int err = at_get(&from, from_fd, ufrom);
    if (err)
        return err;
    err = at_get(&to, to_fd, uto);
    if (!err) {
        err = vfs_rename(from.dir, from.path, to.dir, to.path, flags);
        at_put(&to);
    }
    at_put(&from);
    return err;
}
s64 sys_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return sys_renameat2(from_fd, from, to_fd, to, 0);
}
s64 sys_rename(const char *from, const char *to)
{
    return sys_renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* link(2) by descriptor goes through the name in /proc, which the path layer resolves to the file. */
s64 sys_linkat(int from_fd, const char *ufrom, int to_fd, const char *uto, u32 flags)
{
    struct at from, to;
    if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    int err = at_get(&from, from_fd, ufrom);
    if (err)
        return err;
    err = at_get(&to, to_fd, uto);
    if (!err) {
        err = vfs_link(from.dir, from.path, to.dir, to.path, flags & AT_SYMLINK_FOLLOW ? 1 : 0);
        at_put(&to);
    }
    at_put(&from);
    return err;
}
s64 sys_link(const char *from, const char *to)
{
    return sys_linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

s64 sys_symlinkat(const char *utarget, int dirfd, const char *upath)
{
    struct at at;
    char *target;
    int err = user_path(utarget, &target);
    if (err)
        return err;
    err = target[0] ? at_get(&at, dirfd, upath) : -ENOENT;
    if (!err) {
        err = vfs_symlink(target, at.dir, at.path);
        at_put(&at);
    }
    kfree(target);
    return err;
}
s64 sys_symlink(const char *target, const char *path)
{
    return sys_symlinkat(target, AT_FDCWD, path);
}

static s64 copy_link(ssize_t n, const char *buf, char *ubuf)
{
    return n < 0 ? n : copy_to_user(ubuf, buf, n) ?: n;
}
s64 sys_readlinkat(int dirfd, const char *upath, char *ubuf, s32 size)
{
    struct at at;
    struct inode *inode;
    if (size <= 0)
        return -EINVAL;
    size = MIN(size, PATH_MAX);
    int err = at_get_empty(&at, dirfd, upath, &inode);
    if (err)
        return err;
    char *buf = kmalloc(size);
    ssize_t n = -ENOMEM;
    if (buf && inode)
        n = (inode->mode & S_IFMT) == S_IFLNK && inode->ops->readlink ? inode->ops->readlink(inode, buf, size)
                                                                      : -ENOENT;
    else if (buf)
        n = vfs_readlink(at.dir, at.path, buf, size);
    s64 result = copy_link(n, buf, ubuf);
    kfree(buf);
    if (inode)
        inode_put(inode);
    else
        at_put(&at);
    return result;
}
s64 sys_readlink(const char *path, char *buf, s32 size)
{
    return sys_readlinkat(AT_FDCWD, path, buf, size);
}

/* ---- working directory ---- */

static void set_cwd(struct vfs_path p)
{
    mutex_lock(&process.fs_lock);
    struct vfs_path old = process.cwd;
    process.cwd = p;
    mutex_unlock(&process.fs_lock);
    vfs_path_put(old);
}

s64 sys_chdir(const char *upath)
{
    struct at at;
    struct vfs_path p;
    int err = at_get(&at, AT_FDCWD, upath);
    if (err)
        return err;
    err = vfs_lookup(at.dir, at.path, VFS_DIRECTORY, &p);
    at_put(&at);
    if (!err)
        set_cwd(p);
    return err;
}

s64 sys_fchdir(int fd)
{
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    struct vfs_path p = vfs_file_path(f);
    s64 err = p.dentry && f->inode && (f->inode->mode & S_IFMT) == S_IFDIR ? 0 : -ENOTDIR;
    if (!err) {
        vfs_path_get(p);
        set_cwd(p);
    }
    file_put(f);
    return err;
}

s64 sys_getcwd(char *ubuf, u64 size)
{
    char *buf = kmalloc(PATH_MAX);
    if (!buf)
        return -ENOMEM;
    struct vfs_path cwd = process_cwd();
    ssize_t n = vfs_path_name(cwd, buf, PATH_MAX);
    vfs_path_put(cwd);
    s64 result = n;
    if (n > 0)
        result = (u64)n > size ? -ERANGE : copy_to_user(ubuf, buf, n) ?: n;
    kfree(buf);
    return result;
}

/* ---- what one process without rights over the machine cannot do ---- */

s64 sys_chroot(void)
{
    return -EPERM;
}
s64 sys_mount(void)
{
    return -EPERM;
}
s64 sys_umount2(void)
{
    return -EPERM;
}
s64 sys_pivot_root(void)
{
    return -EPERM;
}
s64 sys_swapon(void)
{
    return -EPERM;
}
s64 sys_swapoff(void)
{
    return -EPERM;
}
s64 sys_acct(void)
{
    return -EPERM;
}
