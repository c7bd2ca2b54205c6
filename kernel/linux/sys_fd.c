/* System calls about descriptors: close, dup, fcntl, flock, ioctl. */
#include "kernel/base/errno.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/io/io.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/user.h"

s64 sys_close(int fd)
{
    int err = fd_close(fd);
    return err == -ERESTART ? -EINTR : err;
}

s64 sys_dup(int fd)
{
    struct file *f = fd_get(fd);
    return f ? fd_install(f, 0, 0) : -EBADF;
}

static s64 dup_to(int from, int to, u32 flags)
{
    struct file *f = fd_get(from);
    return f ? fd_replace(to, f, flags) : -EBADF;
}
s64 sys_dup2(int from, int to)
{
    if (from == to)
        return fd_next(from) == from ? to : -EBADF;
    return dup_to(from, to, 0);
}
s64 sys_dup3(int from, int to, u32 flags)
{
    return flags & ~O_CLOEXEC || from == to ? -EINVAL : dup_to(from, to, flags);
}

#define CLOSE_RANGE_UNSHARE 2u
#define CLOSE_RANGE_CLOEXEC 4u
s64 sys_close_range(u32 first, u32 last, u32 flags)
{
    if (flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) || first > last)
        return -EINVAL;
    if (first >= FD_LIMIT_HARD)
        return 0;
    for (int fd = fd_next(first); fd >= 0 && (u32)fd <= last; fd = fd_next(fd + 1)) {
        if (flags & CLOSE_RANGE_CLOEXEC)
            fd_set_cloexec(fd, true);
        else
            fd_close(fd);
    }
    return 0;
}

/* ---- record locks ---- */

/* The range of a struct flock as [start, end). 0, -EINVAL, -EOVERFLOW. */
static s64 lock_range(struct file *f, const struct uabi_flock *l, struct vfs_lock *out)
{
    s64 base = 0;
    if (l->whence == SEEK_CUR)
        base = f->pos;
    else if (l->whence == SEEK_END)
        base = f->inode ? f->inode->object.size : 0;
    else if (l->whence != SEEK_SET)
        return -EINVAL;
    s64 start, end; /* end: the last byte */
    if (__builtin_add_overflow(base, l->start, &start))
        return -EOVERFLOW;
    if (start < 0 || (l->len < 0 && start + l->len < 0))
        return -EINVAL;
    if (__builtin_add_overflow(start, MAX(l->len, 1L) - 1, &end))
        return -EOVERFLOW;
    out->start = l->len < 0 ? start + l->len : start;
    out->end = l->len < 0 ? (u64)start : l->len && end != INT64_MAX ? (u64)end + 1 : ~0UL;
    return 0;
}

static s64 get_lock(struct file *f, struct uabi_flock *l, struct vfs_lock *lock)
{
    struct vfs_lock other;
    if (l->type == F_UNLCK)
        return -EINVAL;
    if (!vfs_lock_test(f, lock, &other)) {
        l->type = F_UNLCK;
        return 0;
    }
    l->type = other.exclusive ? F_WRLCK : F_RDLCK;
    l->whence = SEEK_SET;
    l->start = other.start;
    l->len = other.end == ~0UL ? 0 : other.end - other.start;
    l->pid = other.owner == &process ? PID : -1;
    return 0;
}

static s64 set_lock(struct file *f, const struct uabi_flock *l, struct vfs_lock *lock, bool wait)
{
    u32 access = f->flags & O_ACCMODE;
    if (l->type == F_UNLCK) {
        vfs_unlock(f, lock);
        return 0;
    }
    if ((l->type == F_RDLCK && access == O_WRONLY) || (l->type == F_WRLCK && access == O_RDONLY))
        return -EBADF;
    return vfs_lock(f, lock, wait);
}

static s64 record_lock(struct file *f, u32 command, struct uabi_flock *uflock)
{
    struct uabi_flock l;
    if (copy_from_user(&l, uflock, sizeof(l)))
        return -EFAULT;
    bool ofd = command >= F_OFD_GETLK;
    bool get = command == F_GETLK || command == F_OFD_GETLK;
    if ((u16)l.type > F_UNLCK || (ofd && l.pid) || !f->inode)
        return -EINVAL;
    struct vfs_lock lock = {.exclusive = l.type == F_WRLCK, .owner = ofd ? (void *)f : &process, .kind = 0};
    s64 err = lock_range(f, &l, &lock);
    if (err)
        return err;
    if (get)
        return get_lock(f, &l, &lock) ?: copy_to_user(uflock, &l, sizeof(l));
    return set_lock(f, &l, &lock, command == F_SETLKW || command == F_OFD_SETLKW);
}

s64 sys_flock(int fd, u32 op)
{
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    struct vfs_lock lock = {.start = 0, .end = ~0UL, .owner = f, .kind = 1};
    u32 kind = op & ~LOCK_NB;
    s64 err = 0;
    lock.exclusive = kind == LOCK_EX;
    if (!f->inode || (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN))
        err = -EINVAL;
    else if (kind == LOCK_UN)
        vfs_unlock(f, &lock);
    else
        err = vfs_lock(f, &lock, !(op & LOCK_NB));
    file_put(f);
    return err;
}

/* ---- fcntl ---- */

#define SETTABLE (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | 020000 /* O_ASYNC */)

static s64 set_flags(struct file *f, u32 flags)
{
    u32 old = __atomic_load_n(&f->flags, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&f->flags, &old, (old & ~SETTABLE) | (flags & SETTABLE), false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    return 0;
}

/* A thread that is to have the signals is as good as its process. */
static s64 owner_ex(struct file *f, u32 command, struct uabi_owner_ex *u)
{
    struct uabi_owner_ex o;
    if (command == F_GETOWN_EX) {
        s32 who = socket_owner(f);
        o.type = who < 0 ? F_OWNER_PGRP : who ? F_OWNER_PID : F_OWNER_TID;
        o.pid = who < 0 ? -who : who;
        return copy_to_user(u, &o, sizeof(o));
    }
    if (copy_from_user(&o, u, sizeof(o)))
        return -EFAULT;
    if (o.type < F_OWNER_TID || o.type > F_OWNER_PGRP)
        return -EINVAL;
    if (o.pid < 0)
        return -ESRCH;
    return socket_set_owner(f, o.type == F_OWNER_PGRP ? -o.pid : o.pid);
}

/* Handled by the file itself where it can: pipes (size), memfds (seals). */
#define FCNTL_IOCTL(command) (0xfc000000u | (command))

static s64 fcntl_file(struct file *f, u32 command, u64 arg)
{
    switch (command) {
    case F_GETFL:
        return f->flags & ~(O_CLOEXEC | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC);
    case F_SETFL:
        return set_flags(f, arg);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return record_lock(f, command, (void *)arg);
    case F_GETSIG:
        return 0;
    case F_GETOWN:
        return socket_owner(f);
    case F_SETOWN:
        return socket_set_owner(f, arg);
    case F_GETOWN_EX:
    case F_SETOWN_EX:
        return owner_ex(f, command, (void *)arg);
    case F_SETSIG:
        return arg > NSIG ? -EINVAL : 0;
    case F_SETPIPE_SZ:
    case F_GETPIPE_SZ: {
        s64 result = f->ops->ioctl ? f->ops->ioctl(f, FCNTL_IOCTL(command), arg) : -EBADF;
        return result == -ENOTTY ? -EBADF : result;
    }
    case F_ADD_SEALS:
    case F_GET_SEALS: {
        s64 result = f->ops->ioctl ? f->ops->ioctl(f, FCNTL_IOCTL(command), arg) : -EINVAL;
        return result == -ENOTTY ? -EINVAL : result;
    }
    case F_GETLEASE:
        return F_UNLCK;
    case F_SETLEASE:
        return arg == F_UNLCK ? -EAGAIN : -EINVAL;
    default:
        return -EINVAL;
    }
}

s64 sys_fcntl(int fd, u32 command, u64 arg)
{
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    s64 result;
    switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        if (arg >= process_rlimit(RLIMIT_NOFILE)) {
            file_put(f);
            return -EINVAL;
        }
        return fd_install(f, arg, command == F_DUPFD ? 0 : O_CLOEXEC);
    case F_GETFD:
        result = fd_get_cloexec(fd);
        break;
    case F_SETFD:
        result = fd_set_cloexec(fd, arg & FD_CLOEXEC);
        break;
    default:
        result = f->flags & O_PATH && command != F_GETFL ? -EBADF : fcntl_file(f, command, arg);
    }
    file_put(f);
    return result;
}

/* ---- ioctl ---- */

static s64 bytes_left(struct file *f, u64 arg)
{
    if (f->inode && (f->inode->mode & S_IFMT) == S_IFREG) {
        u64 size = f->inode->object.size;
        return put_user32((void *)arg, size > f->pos ? size - f->pos : 0);
    }
    return f->ops->ioctl ? f->ops->ioctl(f, FIONREAD, arg) : -ENOTTY;
}

static s64 nonblock(struct file *f, u64 arg)
{
    u32 on;
    if (get_user32(&on, (void *)arg))
        return -EFAULT;
    if (on)
        __atomic_or_fetch(&f->flags, O_NONBLOCK, __ATOMIC_RELAXED);
    else
        __atomic_and_fetch(&f->flags, ~O_NONBLOCK, __ATOMIC_RELAXED);
    return 0;
}

s64 sys_ioctl(int fd, u32 command, u64 arg)
{
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    s64 result;
    switch (command) {
    case FIOCLEX:
    case FIONCLEX:
        result = fd_set_cloexec(fd, command == FIOCLEX);
        break;
    case FIONBIO:
        result = nonblock(f, arg);
        break;
    case FIONREAD:
        result = bytes_left(f, arg);
        break;
    default:
        result = f->ops->ioctl && command < 0xfc000000u ? f->ops->ioctl(f, command, arg) : -ENOTTY;
    }
    file_put(f);
    return result;
}
