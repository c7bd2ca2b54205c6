/* Regular files of the tree in memory: their contents are the page cache. */
#include "kernel/fs/memfs.h"

/* The page at index for reading, or NULL where the file has a hole. */
static int page_for_read(struct vm_object *obj, u64 index, struct page **page)
{
    *page = NULL;
    if (obj->ops->fill)
        return vm_object_page(obj, index, false, page);
    *page = vm_object_peek(obj, index);
    return 0;
}

static ssize_t read_piece(struct vm_object *obj, struct iov_iter *it, u64 pos, size_t n)
{
    struct page *page;
    size_t offset = pos & (PAGE_SIZE - 1);
    int err = page_for_read(obj, pos >> PAGE_SHIFT, &page);
    if (err)
        return err;
    if (!page)
        return iov_zero(it, n);
    ssize_t done = iov_to(it, (char *)page_to_virt(page) + offset, n);
    page_put(page);
    return done;
}

static ssize_t mem_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct vm_object *obj = &f->inode->object;
    size_t total = 0;
    while (it->left) {
        u64 size = __atomic_load_n(&obj->size, __ATOMIC_ACQUIRE);
        if (*pos >= size)
            break;
        size_t want = MIN(MIN(PAGE_SIZE - (*pos & (PAGE_SIZE - 1)), it->left), size - *pos);
        ssize_t n = read_piece(obj, it, *pos, want);
        if (n < 0 && !total)
            return n;
        if (n <= 0)
            break;
        *pos += n;
        total += n;
        if ((size_t)n < want)
            break;
    }
    if (!(f->flags & O_NOATIME))
        inode_accessed(f->inode);
    return total;
}

static ssize_t write_piece(struct vm_object *obj, struct iov_iter *it, u64 pos, size_t n)
{
    struct page *page;
    int err = vm_object_page(obj, pos >> PAGE_SHIFT, true, &page);
    if (err)
        return err == -ENOMEM ? -ENOSPC : err;
    ssize_t done = iov_from(it, (char *)page_to_virt(page) + (pos & (PAGE_SIZE - 1)), n);
    page_put(page);
    return done;
}

static void grow(struct vm_object *obj, u64 size)
{
    if (size <= obj->size)
        return;
    mutex_lock(&obj->lock);
    if (size > obj->size)
        __atomic_store_n(&obj->size, size, __ATOMIC_RELEASE);
    mutex_unlock(&obj->lock);
}

/* The inode lock is held. */
static ssize_t write_locked(struct inode *inode, struct iov_iter *it, u64 *pos)
{
    size_t total = 0;
    ssize_t n = 0;
    while (it->left) {
        size_t want = MIN(PAGE_SIZE - (*pos & (PAGE_SIZE - 1)), it->left);
        n = write_piece(&inode->object, it, *pos, want);
        if (n <= 0)
            break;
        *pos += n;
        total += n;
        if ((size_t)n < want)
            break;
    }
    if (!total)
        return n;
    grow(&inode->object, *pos);
    inode_touch(inode, VFS_SET_MTIME);
    return total;
}

static ssize_t mem_write(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct inode *inode = f->inode;
    if (!it->left)
        return 0;
    mutex_lock(&inode->lock);
    u64 at = f->flags & O_APPEND ? inode->object.size : *pos;
    ssize_t n = at >= (u64)INT64_MAX ? -EFBIG : 0;
    if (!n) {
        if (it->left > (u64)INT64_MAX - at)
            it->left = (u64)INT64_MAX - at;
        n = write_locked(inode, it, &at);
    }
    if (n > 0)
        *pos = at;
    mutex_unlock(&inode->lock);
    return n;
}

#define SEEK_DATA 3
#define SEEK_HOLE 4

static s64 seek_sparse(struct file *f, s64 off, bool data)
{
    struct vm_object *obj = &f->inode->object;
    if (off < 0 || (u64)off >= obj->size)
        return -ENXIO;
    u64 pos = off, image = mem_of(f->inode)->image_limit;
    if (pos < image) /* what comes from the image has no holes */
        pos = data ? pos : image;
    if (pos >= image && !(data && (u64)off < image))
        pos = vm_object_seek(obj, pos, data);
    if (pos >= obj->size) {
        if (data)
            return -ENXIO;
        pos = obj->size;
    }
    f->pos = pos;
    return pos;
}

static s64 mem_seek(struct file *f, s64 off, int whence)
{
    if (whence == SEEK_DATA || whence == SEEK_HOLE)
        return seek_sparse(f, off, whence == SEEK_DATA);
    return seek_generic(f, off, whence, f->inode->object.size);
}

static int mem_mmap(struct file *f, u64 offset, u64 len, u32 area_flags, struct vm_object **obj)
{
    inode_accessed(f->inode);
    *obj = &f->inode->object;
    return 0;
}

static int mem_fsync(struct file *f, bool data_only)
{
    return 0;
}

#define FALLOC_KEEP_SIZE  1
#define FALLOC_PUNCH_HOLE 2
#define FALLOC_ZERO_RANGE 16

/* Zeros in pages that come from the image, which a hole would bring back. */
static int zero_pages(struct vm_object *obj, u64 start, u64 end)
{
    while (start < end) {
        struct page *page;
        size_t offset = start & (PAGE_SIZE - 1), n = MIN(PAGE_SIZE - offset, end - start);
        int err = vm_object_page(obj, start >> PAGE_SHIFT, true, &page);
        if (err)
            return err;
        memset((char *)page_to_virt(page) + offset, 0, n);
        page_put(page);
        start += n;
    }
    return 0;
}

static int punch(struct inode *inode, u64 start, u64 end)
{
    struct vm_object *obj = &inode->object;
    u64 image = ALIGN_UP(mem_of(inode)->image_limit, PAGE_SIZE);
    int err =
        start < image ? zero_pages(obj, start, MIN(end, MIN(image, ALIGN_UP(obj->size, PAGE_SIZE)))) : 0;
    start = MAX(start, image);
    return err || start >= end ? err : vm_object_punch(obj, start, end);
}

/* Memory for every page of the range, as posix_fallocate promises. */
static int reserve(struct vm_object *obj, u64 start, u64 end)
{
    struct phys_stats mem;
    phys_stats(&mem);
    if ((end - start) >> PAGE_SHIFT > mem.free_pages)
        return -ENOSPC;
    for (u64 i = start >> PAGE_SHIFT; i <= (end - 1) >> PAGE_SHIFT; i++) {
        struct page *page;
        int err = vm_object_page(obj, i, true, &page);
        if (err)
            return err == -ENOMEM ? -ENOSPC : err;
        page_put(page);
    }
    return 0;
}

static int allocate_locked(struct inode *inode, int mode, u64 off, u64 end)
{
    int err = 0;
    if (mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE))
        err = punch(inode, off, end);
    if (!err && !(mode & FALLOC_PUNCH_HOLE))
        err = reserve(&inode->object, off, end);
    if (!err && !(mode & FALLOC_KEEP_SIZE))
        grow(&inode->object, end);
    if (!err)
        inode_touch(inode, VFS_SET_MTIME);
    return err;
}

static int mem_allocate(struct file *f, int mode, u64 off, u64 len)
{
    u64 end = off + len;
    if ((f->flags & O_ACCMODE) == O_RDONLY || (f->flags & O_PATH))
        return -EBADF;
    if ((s64)off < 0 || (s64)len <= 0)
        return -EINVAL;
    if ((s64)end < 0)
        return -EFBIG;
    if (mode != 0 && mode != FALLOC_KEEP_SIZE && mode != (FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE) &&
        mode != FALLOC_ZERO_RANGE && mode != (FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE))
        return -EOPNOTSUPP;
    mutex_lock(&f->inode->lock);
    int err = allocate_locked(f->inode, mode, off, end);
    mutex_unlock(&f->inode->lock);
    return err;
}

const struct file_ops mem_file_ops = {
    .read = mem_read,
    .write = mem_write,
    .seek = mem_seek,
    .mmap = mem_mmap,
    .fsync = mem_fsync,
    .allocate = mem_allocate,
};

/* ---- memfd ---- */

static struct mount memfd_mount = {
    .type = "tmpfs", .source = "tmpfs", .dev = 1, .next_ino = 1, .magic = 0x01021994};

int vfs_memfd(const char *name, u32 flags, bool huge, struct file **out)
{
    char path[NAME_MAX + 32];
    struct inode *inode = mem_inode_create(&memfd_mount, S_IFREG | 0777, 0);
    if (!inode)
        return -ENOMEM;
    inode->nlink = 0;
    inode->object.huge = huge;
    snprintf(path, sizeof(path), "/memfd:%s (deleted)", name);
    struct file *f = file_create(&mem_file_ops, O_RDWR | O_LARGEFILE | flags, inode, path, NULL);
    inode_put(inode);
    if (!f)
        return -ENOMEM;
    *out = f;
    return 0;
}
