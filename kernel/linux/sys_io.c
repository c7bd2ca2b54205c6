/* System calls that move bytes: read, write and their families, lseek, sendfile, copy_file_range. */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/io/io.h"

#define RW_MAX 0x7ffff000UL /* bytes one call moves at most (read(2)) */

ssize_t io_broken_pipe(void)
{
    struct uabi_siginfo info;
    signal_info(&info, SIGPIPE, SI_USER);
    signal_send_task(current_task(), SIGPIPE, &info);
    return -EPIPE;
}

static ssize_t transfer(struct file *f, struct iov_iter *it, u64 *pos, bool write)
{
    it->left = MIN(it->left, RW_MAX);
    if (f->flags & O_PATH)
        return -EBADF;
    if (pos && f->ops->stream)
        return -ESPIPE;
    return write ? io_after_write(file_write(f, it, pos)) : file_read(f, it, pos);
}

static __attribute__((noinline)) ssize_t transfer_one(struct file *f, void *buf, u64 len, u64 *pos,
                                                      bool write)
{
    struct iov iov;
    struct iov_iter it;
    if ((s64)len < 0)
        return -EINVAL;
    return user_buf_init(&it, &iov, buf, len) ?: transfer(f, &it, pos, write);
}

static s64 one_buffer(int fd, void *buf, u64 len, u64 *pos, bool write)
{
    struct file *f = fd_get_inline(fd);
    if (!f)
        return -EBADF;
    s64 n = transfer_one(f, buf, len, pos, write);
    file_put(f);
    return n;
}

/* Whatever has no read_buf or write_buf, or cannot be done by it. The reference of f is dropped. */
static ssize_t long_way(struct file *f, void *buf, u64 len, bool write)
{
    struct iov iov = {buf, len};
    struct iov_iter it;
    bool plain = f->ops->stream && len <= RW_MAX && user_range((u64)buf, len);
    iov_iter_one(&it, &iov, true);
    s64 n;
    if (plain && !write && f->ops->read && file_readable(f))
        n = f->ops->read(f, &it, &f->pos);
    else if (plain && write && f->ops->write && file_writable(f))
        n = io_after_write(f->ops->write(f, &it, &f->pos));
    else
        return file_put_after(f, transfer_one(f, buf, len, NULL, write)); /* which tells the watchers */
    return file_done(f, n, write);
}
static __attribute__((noinline)) ssize_t read_long(struct file *f, void *buf, size_t len)
{
    return long_way(f, buf, len, false);
}
static __attribute__((noinline)) ssize_t write_long(struct file *f, const void *buf, size_t len)
{
    return long_way(f, (void *)buf, len, true);
}

void sys_io_init(void)
{
    file_read_long = read_long;
    file_write_long = write_long;
}

static __attribute__((noinline)) s64 look_up_slowly(int fd, void *buf, u64 len, bool write)
{
    struct file *f = fd_get(fd);
    return f ? long_way(f, buf, len, write) : -EBADF;
}

s64 sys_read(int fd, void *buf, u64 len)
{
    struct file *f = fd_get_fast(fd);
    if (unlikely(!f))
        return look_up_slowly(fd, buf, len, false);
    if (unlikely(len > RW_MAX || !user_range((u64)buf, len)))
        return read_long(f, buf, len);
    return f->read_buf(f, buf, len);
}
s64 sys_write(int fd, void *buf, u64 len)
{
    struct file *f = fd_get_fast(fd);
    if (unlikely(!f))
        return look_up_slowly(fd, buf, len, true);
    if (unlikely(len > RW_MAX || !user_range((u64)buf, len)))
        return write_long(f, buf, len);
    return f->write_buf(f, buf, len);
}
s64 sys_pread64(int fd, void *buf, u64 len, s64 pos)
{
    u64 at = pos;
    return pos < 0 ? -EINVAL : one_buffer(fd, buf, len, &at, false);
}
s64 sys_pwrite64(int fd, void *buf, u64 len, s64 pos)
{
    u64 at = pos;
    return pos < 0 ? -EINVAL : one_buffer(fd, buf, len, &at, true);
}

static s64 vectored(int fd, const void *iov, u64 count, u64 *pos, bool write)
{
    struct user_iov u;
    struct file *f = fd_get_inline(fd);
    if (!f)
        return -EBADF;
    s64 n = user_iov_init(&u, iov, count);
    if (!n) {
        n = transfer(f, &u.it, pos, write);
        user_iov_free(&u);
    }
    file_put(f);
    return n;
}

s64 sys_readv(int fd, const void *iov, u64 count)
{
    return vectored(fd, iov, count, NULL, false);
}
s64 sys_writev(int fd, const void *iov, u64 count)
{
    return vectored(fd, iov, count, NULL, true);
}
s64 sys_preadv(int fd, const void *iov, u64 count, s64 pos)
{
    u64 at = pos;
    return pos < 0 ? -EINVAL : vectored(fd, iov, count, &at, false);
}
s64 sys_pwritev(int fd, const void *iov, u64 count, s64 pos)
{
    u64 at = pos;
    return pos < 0 ? -EINVAL : vectored(fd, iov, count, &at, true);
}
/* Flags of preadv2(2): RWF_HIPRI 1, DSYNC 2, SYNC 4 are hints or done below; NOWAIT and APPEND are not
 * offered. */
s64 sys_preadv2(int fd, const void *iov, u64 count, s64 pos, u64 high, u32 flags)
{
    u64 at = pos;
    if (flags & ~7u)
        return -EOPNOTSUPP;
    return pos < -1 ? -EINVAL : vectored(fd, iov, count, pos == -1 ? NULL : &at, false);
}
static s64 sync_fd(int fd, bool data_only);
s64 sys_pwritev2(int fd, const void *iov, u64 count, s64 pos, u64 high, u32 flags)
{
    u64 at = pos;
    if (flags & ~7u)
        return -EOPNOTSUPP;
    s64 n = pos < -1 ? -EINVAL : vectored(fd, iov, count, pos == -1 ? NULL : &at, true);
    if (n > 0 && flags & 6)
        n = sync_fd(fd, !(flags & 4)) ?: n;
    return n;
}

s64 sys_lseek(int fd, s64 off, u32 whence)
{
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    s64 result = whence > SEEK_HOLE ? -EINVAL : f->ops->seek ? file_seek(f, off, whence) : -ESPIPE;
    file_put(f);
    return result;
}

/* ---- durability ---- */

static s64 sync_fd(int fd, bool data_only)
{
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    u32 type = f->inode ? f->inode->mode & S_IFMT : 0;
    s64 err = type == S_IFREG || type == S_IFDIR || type == S_IFBLK ? 0 : -EINVAL;
    if (f->ops->fsync)
        err = f->ops->fsync(f, data_only);
    file_put(f);
    return err;
}

s64 sys_fsync(int fd)
{
    return sync_fd(fd, false);
}
s64 sys_fdatasync(int fd)
{
    return sync_fd(fd, true);
}
s64 sys_syncfs(int fd)
{
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    file_put(f);
    vfs_sync();
    return 0;
}
s64 sys_sync(void)
{
    vfs_sync();
    return 0;
}
s64 sys_sync_file_range(int fd, s64 off, s64 len, u32 flags)
{
    if (flags & ~7u || off < 0 || len < 0 || off + len < off)
        return -EINVAL;
    s64 err = sync_fd(fd, true);
    return err == -EINVAL ? -ESPIPE : err;
}

/* ---- advice: the cache reads ahead by itself ---- */

static s64 check_advice(int fd)
{
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    s64 err = f->ops->stream ? -ESPIPE : 0;
    file_put(f);
    return err;
}
s64 sys_fadvise64(int fd, s64 off, s64 len, s32 advice)
{
    s64 err = check_advice(fd);
    return err ? err : (u32)advice > 5 || len < 0 ? -EINVAL : 0;
}
s64 sys_readahead(int fd, s64 off, u64 len)
{
    s64 err = check_advice(fd);
    return err == -ESPIPE ? -EINVAL : err;
}

/* ---- space ---- */

s64 sys_ftruncate(int fd, s64 size)
{
    if (size < 0)
        return -EINVAL;
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    s64 err = (f->flags & O_ACCMODE) == O_RDONLY ? -EINVAL : vfs_truncate_file(f, size);
    file_put(f);
    return err;
}

s64 sys_fallocate(int fd, s32 mode, s64 off, s64 len)
{
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    s64 err;
    if (off < 0 || len <= 0)
        err = -EINVAL;
    else if ((f->flags & O_ACCMODE) == O_RDONLY)
        err = -EBADF;
    else if (off + len < off)
        err = -EFBIG;
    else if (f->ops->stream)
        err = -ESPIPE;
    else if (f->inode && (f->inode->mode & S_IFMT) != S_IFREG)
        err = -ENODEV;
    else
        err = f->ops->allocate ? f->ops->allocate(f, mode, off, len) : -EOPNOTSUPP;
    file_put(f);
    return err;
}

/* ---- copies inside the kernel ---- */

/* An optional position in the program's memory. */
struct upos {
    u64 *user, value;
};
static s64 upos_get(struct upos *p, u64 *user)
{
    p->user = user;
    if (!user)
        return 0;
    if (get_user64(&p->value, user))
        return -EFAULT;
    return (s64)p->value < 0 ? -EINVAL : 0;
}
static s64 upos_put(const struct upos *p, s64 result)
{
    if (p->user && result > 0 && put_user64(p->user, p->value))
        return -EFAULT;
    return result;
}

static s64 check_copy(const struct file *in, const struct file *out, const struct upos *ip,
                      const struct upos *op)
{
    if ((in->flags & O_ACCMODE) == O_WRONLY || (out->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    if ((ip->user && in->ops->stream) || (op->user && out->ops->stream))
        return -ESPIPE;
    if (!in->ops->read || !out->ops->write)
        return -EINVAL;
    return 0;
}

/* What one copy is about: positions are NULL where the file's own counts. */
struct copy {
    const struct file *in, *out;
    const u64 *in_pos, *out_pos;
    u64 len;
};

/* check: what one of the calls adds. */
static s64 copy_files(int in_fd, u64 *uin, int out_fd, u64 *uout, u64 len, s64 (*check)(const struct copy *c))
{
    struct upos ip, op;
    s64 n = upos_get(&ip, uin) ?: upos_get(&op, uout);
    if (n)
        return n;
    struct file *in = fd_get_io(in_fd), *out = fd_get_io(out_fd);
    if (!in || !out)
        n = -EBADF;
    else {
        struct copy c = {in, out, uin ? &ip.value : NULL, uout ? &op.value : NULL, len};
        n = check_copy(in, out, &ip, &op) ?: check(&c);
    }
    if (!n)
        n = io_after_write(
            vfs_splice(in, uin ? &ip.value : NULL, out, uout ? &op.value : NULL, MIN(len, RW_MAX)));
    n = upos_put(&ip, n);
    n = upos_put(&op, n);
    if (in)
        file_put(in);
    if (out)
        file_put(out);
    return n;
}

static s64 check_sendfile(const struct copy *c)
{
    if (c->out->flags & O_APPEND)
        return -EINVAL;
    return c->in->ops->stream ? -EINVAL : 0;
}
s64 sys_sendfile(int out, int in, u64 *upos, u64 len)
{
    return copy_files(in, upos, out, NULL, len, check_sendfile);
}

static s64 check_range(const struct copy *c)
{
    const struct inode *in = c->in->inode, *out = c->out->inode;
    if (!in || !out)
        return -EINVAL;
    u32 a = in->mode & S_IFMT, b = out->mode & S_IFMT;
    if (a == S_IFDIR || b == S_IFDIR)
        return -EISDIR;
    if (a != S_IFREG || b != S_IFREG)
        return -EINVAL;
    if (c->out->flags & O_APPEND)
        return -EBADF;
    u64 from = c->in_pos ? *c->in_pos : c->in->pos, to = c->out_pos ? *c->out_pos : c->out->pos;
    if (from + c->len < from || to + c->len < to)
        return -EOVERFLOW;
    u64 size = in->object.size, n = from < size ? MIN(c->len, size - from) : 0; /* what there is to copy */
    return in == out && from < to + n && to < from + n ? -EINVAL : 0;
}
s64 sys_copy_file_range(int in, u64 *uin, int out, u64 *uout, u64 len, u32 flags)
{
    return flags ? -EINVAL : copy_files(in, uin, out, uout, len, check_range);
}

static s64 check_splice(const struct copy *c)
{
    return c->in->ops->stream || c->out->ops->stream ? 0 : -EINVAL;
}

#define SPLICE_F_NONBLOCK 2u

static bool pipe_would_wait(const struct file *f, u32 events)
{
    return file_is_pipe(f) && f->ops->poll && !(f->ops->poll((struct file *)f) & events);
}
/* The pipe does not wait; what else there is does as its own flags say. */
static s64 check_splice_now(const struct copy *c)
{
    bool wait = pipe_would_wait(c->in, POLL_IN | POLL_HUP) || pipe_would_wait(c->out, POLL_OUT | POLL_ERR);
    return check_splice(c) ?: wait ? -EAGAIN : 0;
}

s64 sys_splice(int in, u64 *uin, int out, u64 *uout, u64 len, u32 flags)
{
    return flags & ~15u ? -EINVAL
                        : copy_files(in, uin, out, uout, len,
                                     flags & SPLICE_F_NONBLOCK ? check_splice_now : check_splice);
}
