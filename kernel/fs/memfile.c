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

static ssize_t mem_borrow(struct file *f, u64 pos, size_t n, struct page **pages, u32 max)
{
    struct vm_object *obj = &f->inode->object;
    u64 size = __atomic_load_n(&obj->size, __ATOMIC_ACQUIRE), first = pos >> PAGE_SHIFT, at = first;
    int err = 0;
    if (pos >= size || !n)
        return 0; /* and nothing is lent, though part of the page at pos may lie within the file */
    u64 end = pos + MIN(n, size - pos);
    for (; at << PAGE_SHIFT < end && at - first < max; at++) {
        struct page **page = &pages[at - first];
        err = page_for_read(obj, at, page);
        if (err)
            break;
        if (!*page)
            *page = vm_zero_page(); /* a hole: nobody writes to what is borrowed */
    }
    if (!(f->flags & O_NOATIME))
        inode_accessed(f->inode);
    return at > first ? (ssize_t)(MIN(end, at << PAGE_SHIFT) - pos) : err;
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

static struct mutex memfds_lock;
static struct list memfds = LIST_INIT(memfds); /* mem_inode.memfd_link */

static u64 memfd_pages(void)
{
    struct mem_inode *mem;
    u64 pages = 0;
    mutex_lock(&memfds_lock);
    list_for_each(mem, &memfds, memfd_link) pages += mem->inode.object.page_count;
    mutex_unlock(&memfds_lock);
    return pages;
}

void memfd_forget(struct mem_inode *mem)
{
    mutex_lock(&memfds_lock);
    list_del(&mem->memfd_link);
    mutex_unlock(&memfds_lock);
}

/*
 * Pages that files may take beyond what they have. All files may have what is free, but for 1/32 of memory;
 * those with names, as on tmpfs, may have half of memory together.
 */
static u64 space_left(bool named)
{
    struct phys_stats mem;
    phys_stats(&mem);
    u64 clean = MIN(vm_reclaimable_pages(), mem.cache_pages), keep = mem.total_pages / 32;
    u64 available = mem.free_pages + clean, left = available > keep ? available - keep : 0;
    if (!named)
        return left;
    u64 held = mem.cache_pages - clean, most = mem.total_pages / 2 + memfd_pages();
    return most > held ? MIN(left, most - held) : 0;
}

static u64 space_for(struct inode *inode)
{
    return space_left(!mem_of(inode)->memfd_link.next);
}

static int check_space(struct inode *inode, u64 pages)
{
    return pages > space_for(inode) ? -ENOSPC : 0;
}

int mem_statfs(struct inode *inode, struct vfs_statfs *st)
{
    if (mem_of(inode)->memfd_link.next)
        return 0;
    st->blocks /= 2;
    st->bfree = st->bavail = MIN(st->blocks, space_left(true));
    return 0;
}

/* What seals and memory allow of writing [at, at + n): the bytes, or -EPERM, -ENOSPC. */
static ssize_t check_write(struct inode *inode, u64 at, size_t n)
{
    u32 seals = mem_of(inode)->seals;
    u64 size = inode->object.size;
    if (likely(at + n <= size && !seals))
        return n;
    if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
        return -EPERM;
    if ((seals & F_SEAL_GROW) && at + n > size)
        return at < size ? (ssize_t)(size - at) : -EPERM;
    u64 end = at + n, old = MAX(ALIGN_UP(size, PAGE_SIZE), ALIGN_DOWN(at, PAGE_SIZE));
    if (end > old)
        end = MIN(end, old + (space_for(inode) << PAGE_SHIFT)); /* as much as fits */
    return end > at ? (ssize_t)(end - at) : -ENOSPC;
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
        n = check_write(inode, at, it->left);
        if (n > 0) {
            it->left = n;
            n = write_locked(inode, it, &at);
        }
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
static int reserve(struct inode *inode, u64 start, u64 end)
{
    struct vm_object *obj = &inode->object;
    u64 first = start >> PAGE_SHIFT, last = (end - 1) >> PAGE_SHIFT;
    int err = 0;
    if (last - first >= obj->page_count)
        err = check_space(inode, last - first + 1 - obj->page_count);
    for (u64 i = first; !err && i <= last; i++) {
        struct page *page;
        if (i % 64 == 0)
            err = check_space(inode, 64);
        if (!err && i % 512 == 0 && last - i >= 511 && vm_object_add_huge(obj, i))
            i += 511;
        else if (!err && !(err = vm_object_page(obj, i, true, &page)))
            page_put(page);
    }
    return err == -ENOMEM ? -ENOSPC : err;
}

static int allocate_locked(struct inode *inode, int mode, u64 off, u64 end)
{
    u32 seals = mem_of(inode)->seals;
    int err = 0;
    if ((seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) && (mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)))
        return -EPERM;
    if ((seals & F_SEAL_GROW) && end > inode->object.size)
        return -EPERM;
    if (mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE))
        err = punch(inode, off, end);
    if (!err && !(mode & FALLOC_PUNCH_HOLE))
        err = reserve(inode, off, end);
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
    .borrow = mem_borrow,
    .fsync = mem_fsync,
    .allocate = mem_allocate,
};

/* ---- memfd ---- */

/* What kernel/linux passes on of fcntl(2). */
#define FCNTL_ADD_SEALS (0xfc000000u | 1033)
#define FCNTL_GET_SEALS (0xfc000000u | 1034)
#define SEALS_KNOWN     (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

static bool mapped_writable(struct vm_object *obj)
{
    struct vm_area *a;
    bool found = false;
    mutex_lock(&obj->lock);
    list_for_each(a, &obj->areas, object_link) found |= (a->flags & VM_SHARED) && (a->flags & VM_MAYWRITE);
    mutex_unlock(&obj->lock);
    return found;
}

static int add_seals(struct file *f, u32 seals)
{
    struct mem_inode *mem = mem_of(f->inode);
    if (seals & ~SEALS_KNOWN)
        return -EINVAL;
    if ((f->flags & O_ACCMODE) == O_RDONLY)
        return -EPERM;
    mutex_lock(&f->inode->lock);
    int err = mem->seals & F_SEAL_SEAL ? -EPERM : 0;
    if (!err && (seals & ~mem->seals & F_SEAL_WRITE) && mapped_writable(&f->inode->object))
        err = -EBUSY;
    if (!err)
        mem->seals |= seals;
    mutex_unlock(&f->inode->lock);
    return err;
}

static s64 memfd_ioctl(struct file *f, u32 cmd, u64 arg)
{
    if (cmd == FCNTL_ADD_SEALS)
        return add_seals(f, arg);
    return cmd == FCNTL_GET_SEALS ? (s64)mem_of(f->inode)->seals : -ENOTTY;
}

static int memfd_mmap(struct file *f, u64 offset, u64 len, u32 area_flags, struct vm_object **obj)
{
    bool writable = (area_flags & VM_SHARED) && (area_flags & (VM_WRITE | VM_MAYWRITE));
    u32 seals = mem_of(f->inode)->seals;
    if (writable && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
        return -EPERM;
    return mem_mmap(f, offset, len, area_flags, obj);
}

static const struct file_ops memfd_ops = {
    .read = mem_read,
    .write = mem_write,
    .seek = mem_seek,
    .ioctl = memfd_ioctl,
    .mmap = memfd_mmap,
    .borrow = mem_borrow,
    .fsync = mem_fsync,
    .allocate = mem_allocate,
};

static struct mount memfd_mount = {
    .type = "tmpfs", .source = "tmpfs", .dev = 1, .next_ino = 1, .magic = 0x01021994};
/* Those that asked for huge pages: programs look whether they got them. */
static struct mount huge_mount = {
    .type = "hugetlbfs", .source = "hugetlbfs", .dev = 2, .next_ino = 1, .magic = 0x958458f6};

int vfs_memfd(const char *name, bool sealable, bool huge, struct file **out)
{
    char path[NAME_MAX + 32];
    struct inode *inode = mem_inode_create(huge ? &huge_mount : &memfd_mount, S_IFREG | 0777, 0);
    if (!inode)
        return -ENOMEM;
    inode->nlink = 0;
    inode->object.huge = huge;
    inode->file_ops = &memfd_ops;
    mem_of(inode)->seals = sealable ? 0 : F_SEAL_SEAL;
    mutex_lock(&memfds_lock);
    list_push_back(&memfds, &mem_of(inode)->memfd_link);
    mutex_unlock(&memfds_lock);
    snprintf(path, sizeof(path), "/memfd:%s (deleted)", name);
    struct file *f = file_create(&memfd_ops, O_RDWR | O_LARGEFILE, inode, path, NULL);
    inode_put(inode);
    if (!f)
        return -ENOMEM;
    *out = f;
    return 0;
}
