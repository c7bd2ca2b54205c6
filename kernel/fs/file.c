/* Open files: life, reading, writing, positions, copying between files. */
#include "kernel/fs/internal.h"

#define MAX_TRANSFER 0x7ffff000UL /* read(2): what one call moves at most */

void (*vfs_unwatch_hook)(struct file *f);
read_buf_fn file_read_long;
write_buf_fn file_write_long;

void file_set_ops(struct file *f, const struct file_ops *ops)
{
    f->ops = ops;
    f->read_buf = file_readable(f) && ops->read_buf ? ops->read_buf : file_read_long;
    f->write_buf = file_writable(f) && ops->write_buf ? ops->write_buf : file_write_long;
}

struct file *file_create(const struct file_ops *ops, u32 flags, struct inode *inode, const char *path,
                         void *private)
{
    struct file *f = kmalloc(sizeof(*f));
    if (!f)
        return NULL;
    if (path && !(f->path = kstrdup(path))) {
        kfree(f);
        return NULL;
    }
    f->refs = 1;
    f->flags = flags;
    file_set_ops(f, ops);
    f->inode = inode;
    f->private = private;
    if (inode)
        inode_get(inode);
    return f;
}

s64 file_end(struct file *f, s64 result)
{
    if (f->inode && !(f->flags & O_PATH))
        notify(f->inode, f->dentry, (f->flags & O_ACCMODE) != O_RDONLY ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
    if (unlikely(__atomic_load_n(&f->watchers, __ATOMIC_ACQUIRE)))
        vfs_unwatch_hook(f);
    locks_release(f);
    if (f->ops->release)
        f->ops->release(f);
    dentry_put(f->dentry);
    inode_put(f->inode);
    kfree(f->path);
    kfree(f);
    return result;
}

struct vfs_path vfs_file_path(struct file *f)
{
    return (struct vfs_path){f->dentry};
}

/* ---- reading and writing ---- */

void file_notify_slow(struct file *f, bool written)
{
    if (f->inode)
        notify(f->inode, f->dentry, written ? IN_MODIFY : IN_ACCESS);
}

s64 file_done_slow(struct file *f, s64 result, bool written)
{
    if (result > 0)
        file_notify_slow(f, written);
    return file_put_after(f, result);
}

/* Limits the walk to n bytes; returns what was cut off, to be added again. */
static size_t iov_limit(struct iov_iter *it, size_t n)
{
    size_t cut = it->left > n ? it->left - n : 0;
    it->left -= cut;
    return cut;
}

typedef ssize_t (*transfer_fn)(struct file *f, struct iov_iter *it, u64 *pos);

static inline ssize_t transfer(struct file *f, struct iov_iter *it, u64 *pos, transfer_fn fn)
{
    if (!fn)
        return -EINVAL;
    if (pos && f->ops->stream)
        return -ESPIPE;
    if (pos && (s64)*pos < 0)
        return -EINVAL;
    size_t cut = iov_limit(it, MAX_TRANSFER);
    ssize_t n;
    if (pos || f->ops->stream) {
        n = fn(f, it, pos ? pos : &f->pos);
    } else {
        mutex_lock(&f->pos_lock);
        n = fn(f, it, &f->pos);
        mutex_unlock(&f->pos_lock);
    }
    it->left += cut;
    return n;
}

ssize_t file_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    if (!file_readable(f))
        return -EBADF;
    ssize_t n = transfer(f, it, pos, f->ops->read);
    if (n > 0)
        file_notify(f, false);
    return n;
}

ssize_t file_write(struct file *f, struct iov_iter *it, u64 *pos)
{
    if (!file_writable(f))
        return -EBADF;
    ssize_t n = transfer(f, it, pos, f->ops->write);
    if (n > 0)
        file_notify(f, true);
    return n;
}

ssize_t file_read_kernel(struct file *f, void *buf, size_t n, u64 pos)
{
    struct iov iov = {buf, n};
    struct iov_iter it;
    iov_iter_one(&it, &iov, false);
    return file_read(f, &it, f->ops->stream ? NULL : &pos);
}

ssize_t file_write_kernel(struct file *f, const void *buf, size_t n, u64 pos)
{
    struct iov iov = {(void *)buf, n};
    struct iov_iter it;
    iov_iter_one(&it, &iov, false);
    return file_write(f, &it, f->ops->stream ? NULL : &pos);
}

int vfs_truncate_file(struct file *f, u64 size)
{
    if ((s64)size < 0)
        return -EINVAL;
    if (f->flags & O_PATH)
        return -EBADF;
    if (!f->inode || !is_reg(f->inode) || (f->flags & O_ACCMODE) == O_RDONLY)
        return -EINVAL;
    struct vfs_stat st = {.size = size};
    return vfs_setattr_at(f->inode, vfs_file_path(f), &st, VFS_SET_SIZE);
}

/* ---- positions ---- */

#define SEEK_SET 0
#define SEEK_CUR 1
#define SEEK_END 2

s64 file_seek(struct file *f, s64 off, int whence)
{
    if (f->flags & O_PATH)
        return -EBADF;
    if (!f->ops->seek)
        return -ESPIPE;
    mutex_lock(&f->pos_lock);
    s64 pos = f->ops->seek(f, off, whence);
    mutex_unlock(&f->pos_lock);
    return pos;
}

s64 seek_generic(struct file *f, s64 off, int whence, u64 size)
{
    s64 base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (s64)f->pos : (s64)size, pos;
    if (whence < SEEK_SET || whence > SEEK_END)
        return -EINVAL;
    if (__builtin_add_overflow(base, off, &pos))
        return -EOVERFLOW;
    if (pos < 0)
        return -EINVAL;
    f->pos = pos;
    return pos;
}

/* ---- directories ---- */

static ssize_t dir_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    return -EISDIR;
}

static s64 dir_seek(struct file *f, s64 off, int whence)
{
    return seek_generic(f, off, whence, ~0UL >> 1);
}

static int dir_fsync(struct file *f, bool data_only)
{
    return 0;
}

const struct file_ops dir_file_ops = {.read = dir_read, .seek = dir_seek, .fsync = dir_fsync};
const struct file_ops link_file_ops;

struct readdir_call {
    vfs_dir_fn fn;
    void *arg;
    u64 pos;
};

static int readdir_entry(void *arg, const char *name, u32 len, u64 ino, u32 type, u64 next)
{
    struct readdir_call *call = arg;
    int stop = call->fn(call->arg, name, len, ino, type, next);
    if (!stop)
        call->pos = next;
    return stop;
}

int file_readdir(struct file *f, vfs_dir_fn fn, void *arg)
{
    struct inode *dir = f->inode;
    if (f->flags & O_PATH)
        return -EBADF;
    if (!dir || !is_dir(dir) || !dir->ops->readdir)
        return -ENOTDIR;
    mutex_lock(&f->pos_lock);
    struct readdir_call call = {fn, arg, f->pos};
    mutex_lock(&dir->lock);
    int err = dir->nlink ? dir->ops->readdir(dir, f, f->pos, readdir_entry, &call) : -ENOENT;
    mutex_unlock(&dir->lock);
    f->pos = call.pos;
    mutex_unlock(&f->pos_lock);
    if (!err)
        inode_accessed(dir);
    return err;
}

/* ---- copying between files ---- */

#define SPLICE_CHUNK (64 * 1024UL)
#define SPLICE_PAGES 32

/* A copy under way. */
struct splice {
    struct file *in, *out;
    u64 *in_pos, *out_pos; /* NULL: the file's own */
    size_t left;           /* bytes still wanted */
    char *buf;             /* SPLICE_CHUNK bytes; NULL: in lends its pages */
    bool to_pipe; /* from a file: what fits, or the caller, who may be its reader, would wait for ever */
    bool ended;   /* in has no more, or out takes no more */
};

/* Writes all that it holds unless out takes only a part. */
static ssize_t splice_out(struct splice *c, struct iov_iter *it)
{
    size_t done = 0;
    it->part = c->to_pipe;
    while (it->left && !(c->to_pipe && done)) {
        ssize_t part = file_write(c->out, it, c->out_pos);
        if (part <= 0)
            return done ? (ssize_t)done : part;
        done += part;
    }
    return done;
}

/* One round over cached pages, which out may keep: what is written to them meanwhile may be sent. */
static ssize_t splice_pages(struct splice *c)
{
    struct page *pages[SPLICE_PAGES];
    struct iov iov[SPLICE_PAGES];
    struct iov_iter it;
    u64 *in_pos = c->in_pos ? c->in_pos : &c->in->pos, pos = *in_pos;
    ssize_t got = (s64)pos < 0 ? -EINVAL : c->in->ops->borrow(c->in, pos, c->left, pages, SPLICE_PAGES);
    c->ended = got <= 0;
    if (c->ended)
        return got;
    u32 count = iov_of_pages(iov, pages, pos, got);
    iov_iter_init(&it, iov, count, false);
    it.pages = true;
    it.more = (size_t)got < c->left && pos + got < c->in->inode->object.size;
    ssize_t put = splice_out(c, &it);
    for (u32 i = 0; i < count; i++)
        page_put(pages[i]);
    if (put > 0) {
        *in_pos = pos + put;
        file_notify(c->in, false);
    }
    c->ended = put < got;
    return put;
}

/* One round through buf. Bytes that out does not take are given back to in, where in has a position. */
static ssize_t splice_copy(struct splice *c)
{
    struct iov iov = {c->buf, MIN(c->left, SPLICE_CHUNK)};
    struct iov_iter it;
    iov_iter_one(&it, &iov, false);
    u64 *in_pos = c->in_pos ? c->in_pos : &c->in->pos, start = *in_pos;
    ssize_t got = file_read(c->in, &it, c->in_pos);
    c->ended = got < (ssize_t)iov.len;
    if (got <= 0)
        return got;
    iov.len = got;
    iov_iter_one(&it, &iov, false);
    ssize_t put = splice_out(c, &it);
    if (put < got)
        c->ended = true;
    if (put < got && !c->in->ops->stream)
        *in_pos = start + MAX(put, 0);
    return put;
}

ssize_t vfs_splice(struct file *in, u64 *in_pos, struct file *out, u64 *out_pos, size_t n)
{
    struct splice c = {in, out, in_pos, out_pos, .left = n};
    c.to_pipe = !in->ops->stream && file_is_pipe(out);
    bool lent = in->ops->borrow && in->inode != out->inode;
    ssize_t part = 0;
    if (!lent && !(c.buf = kmalloc(MIN(n, SPLICE_CHUNK))))
        return -ENOMEM;
    while (c.left && !c.ended) {
        part = lent ? splice_pages(&c) : splice_copy(&c);
        c.left -= MAX(part, 0);
        if (__atomic_load_n(&current_thread()->interrupt, __ATOMIC_RELAXED))
            break; /* a signal must not wait for gigabytes */
        if (c.to_pipe && !(out->ops->poll(out) & POLL_OUT))
            break;
    }
    kfree(c.buf);
    return c.left < n ? (ssize_t)(n - c.left) : part;
}
