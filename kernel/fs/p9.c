/*
 * Volumes: a directory of the host over 9P2000.L.
 *
 * read and write go straight to the host, so they see and make its present contents; the page cache serves
 * only mappings. The two meet so: before reading, dirty pages of the range are written back; what is written
 * is also copied into the pages that are cached. When the last open file of an inode goes, dirty pages are
 * written back and the cache is dropped, so that the next mapping starts from what the host then has.
 *
 * An inode stands for one qid path, however many names lead to it, so that mappings and locks agree. It keeps
 * the handle of the latest name looked up. QEMU's handles stand for paths, so one request about the handle
 * tells whether a cached name still leads where it did.
 *
 * Locks: an inode's `lock` as everywhere; then attr_lock, which makes asking for the size and believing the
 * answer one step for writers; fid_lock guards the handles and is a leaf; table_lock is a leaf. Record locks
 * are kept in this kernel alone: QEMU's server grants every Tlock without looking.
 */
#include "kernel/fs/p9.h"
#include "kernel/base/tree.h"
#include "kernel/fs/internal.h"
#include "sched/thread.h"

#define FRESH_NS   NSEC_PER_MSEC         /* an answer of this age is one of the same call */
#define ON_WAY_NS  (100 * NSEC_PER_MSEC) /* how long a directory on the way is believed to be where it was */
#define FILL_PAGES 32u                   /* in one message */

struct p9_mount {
    struct p9 p9;
    struct mutex table_lock; /* guards inodes */
    struct tree inodes;      /* p9_inode by qid path; holds no reference */
};

struct p9_inode {
    struct inode inode; /* ino is the qid path */
    struct tree_node node;
    bool listed;            /* in the table; guarded by table_lock */
    struct mutex attr_lock; /* held from asking the host about size until the answer is taken over, and while
                               writing */
    struct mutex fid_lock;
    struct p9_fid *fid;     /* walked to, not open */
    struct p9_fid *io;      /* open, for the page cache: read-write when any file was opened so; or NULL */
    struct p9_fid *created; /* open for read and write by creation, for the open that follows; or NULL */
    u32 open_count;         /* files open */
    /* The host's latest answer; guarded by attr_lock, but looked at without it. */
    struct vfs_stat attr;
    u64 attr_ns;                /* when it came; 0: outdated since */
    const struct thread *asked; /* who asked for it, and has not used it yet */
};

static const struct inode_ops p9_dir_ops, p9_node_ops, p9_link_ops;
static const struct file_ops p9_file_ops, p9_dir_file_ops;
static const struct vm_object_ops p9_object_ops;

static struct p9_inode *p9_of(struct inode *inode)
{
    return container_of(inode, struct p9_inode, inode);
}

static struct p9_mount *mount_of(struct inode *inode)
{
    return inode->mount->private;
}

static struct p9_fid *take_fid(struct p9_inode *pi, struct p9_fid **which)
{
    mutex_lock(&pi->fid_lock);
    struct p9_fid *fid = *which ? p9_fid_get(*which) : NULL;
    mutex_unlock(&pi->fid_lock);
    return fid;
}

/* Puts fid, whose reference it takes over, in the place of what was there. */
static void replace_fid(struct p9_inode *pi, struct p9_fid **which, struct p9_fid *fid)
{
    mutex_lock(&pi->fid_lock);
    struct p9_fid *old = *which;
    *which = fid;
    mutex_unlock(&pi->fid_lock);
    p9_fid_put(old);
}

/* ---- the table of inodes ---- */

static int node_cmp(const struct tree_node *a, const struct tree_node *b)
{
    u64 x = container_of(a, struct p9_inode, node)->inode.ino,
        y = container_of(b, struct p9_inode, node)->inode.ino;
    return x < y ? -1 : x > y;
}

static int node_key_cmp(const void *key, const struct tree_node *node)
{
    u64 x = *(const u64 *)key, y = container_of(node, struct p9_inode, node)->inode.ino;
    return x < y ? -1 : x > y;
}

/* A reference, unless the last one is just going. */
static bool get_unless_zero(u32 *refs)
{
    u32 n = __atomic_load_n(refs, __ATOMIC_RELAXED);
    while (n)
        if (__atomic_compare_exchange_n(refs, &n, n + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return true;
    return false;
}

static void unlist(struct p9_mount *m, struct p9_inode *pi)
{
    if (pi->listed)
        tree_remove(&m->inodes, &pi->node);
    pi->listed = false;
}

/* The inode of a qid path if it is in use; one that is going is unlisted to make room. */
static struct p9_inode *find_inode(struct p9_mount *m, u64 qid_path)
{
    struct tree_node *node = tree_find(&m->inodes, &qid_path, node_key_cmp);
    if (!node)
        return NULL;
    struct p9_inode *pi = container_of(node, struct p9_inode, node);
    if (get_unless_zero(&pi->inode.refs))
        return pi;
    unlist(m, pi);
    return NULL;
}

/* ---- attributes ---- */

/* Takes over what the host says. A file that shrank there loses its pages beyond. */
static void apply_attr(struct inode *inode, const struct p9_attr *attr)
{
    const struct vfs_stat *st = &attr->st;
    inode->mode = st->mode;
    inode->nlink = MAX(st->nlink, 1u);
    inode->uid = st->uid;
    inode->gid = st->gid;
    inode->rdev = st->rdev;
    inode->atime = st->atime;
    inode->mtime = st->mtime;
    inode->ctime = st->ctime;
    inode->btime = st->btime;
    if (!is_reg(inode))
        return;
    if (st->size < inode->object.size)
        vm_object_truncate(&inode->object, st->size);
    else
        __atomic_store_n(&inode->object.size, st->size, __ATOMIC_RELEASE);
}

static void keep_attr(struct p9_inode *pi, const struct p9_attr *attr)
{
    pi->attr = attr->st;
    pi->attr_ns = clock_monotonic_ns();
    pi->asked = current_thread();
}

static void outdate(struct inode *inode)
{
    p9_of(inode)->attr_ns = 0;
}

/* The answer that the calling thread's own lookup has just brought, once: stat asks for a path, then for what
 * is there. */
static bool take_attr(struct inode *inode, struct vfs_stat *st)
{
    struct p9_inode *pi = p9_of(inode);
    mutex_lock(&pi->attr_lock);
    bool fresh =
        pi->asked == current_thread() && pi->attr_ns && clock_monotonic_ns() - pi->attr_ns < FRESH_NS;
    pi->asked = NULL;
    if (fresh)
        *st = pi->attr;
    mutex_unlock(&pi->attr_lock);
    return fresh;
}

/* Asks the host and takes over the answer. -ESTALE: something else took the name. */
static int fetch_attr(struct inode *inode, struct p9_attr *attr)
{
    struct p9_inode *pi = p9_of(inode);
    struct p9_fid *fid = take_fid(pi, &pi->fid);
    mutex_lock(&pi->attr_lock);
    int err = p9_getattr(fid, attr);
    if (!err && (attr->qid.path != inode->ino || ((attr->st.mode ^ inode->mode) & S_IFMT)))
        err = -ESTALE;
    if (!err) {
        apply_attr(inode, attr);
        keep_attr(pi, attr);
    }
    mutex_unlock(&pi->attr_lock);
    p9_fid_put(fid);
    return err;
}

/* Asks the host. A file whose name is gone keeps the attributes it had. */
static int refresh(struct inode *inode)
{
    struct p9_attr attr;
    int err = fetch_attr(inode, &attr);
    if (err == -ENOENT && p9_of(inode)->open_count) {
        inode->nlink = 0;
        err = 0;
    }
    return err;
}

static int p9_inode_getattr(struct inode *inode, struct vfs_stat *st)
{
    struct p9_attr attr;
    u64 dev = st->dev;
    if (take_attr(inode, st)) {
        st->dev = dev;
        return 0;
    }
    int err = fetch_attr(inode, &attr);
    if ((err == -ENOENT || err == -ESTALE) && p9_of(inode)->open_count) { /* open, but its name is gone */
        st->nlink = 0;
        return 0;
    }
    if (err)
        return err;
    *st = attr.st;
    st->dev = dev;
    return 0;
}

static int p9_inode_setattr(struct inode *inode, const struct vfs_stat *st, u32 which)
{
    struct p9_inode *pi = p9_of(inode);
    struct p9_fid *fid = take_fid(pi, &pi->fid);
    if (which & VFS_SET_SIZE)
        which &= ~VFS_SET_MTIME_NOW; /* the host does that */
    if ((which & VFS_SET_SIZE) && inode->object.page_count)
        vm_object_sync(&inode->object, 0, st->size);
    mutex_lock(&pi->attr_lock);
    int err = p9_setattr(fid, st, which);
    outdate(inode);
    if (!err && (which & VFS_SET_SIZE))
        err = vm_object_truncate(&inode->object, st->size);
    mutex_unlock(&pi->attr_lock);
    p9_fid_put(fid);
    return err;
}

static int p9_inode_statfs(struct inode *inode, struct vfs_statfs *st)
{
    struct p9_inode *pi = p9_of(inode);
    struct p9_fid *fid = take_fid(pi, &pi->fid);
    int err = p9_statfs(fid, st);
    p9_fid_put(fid);
    return err;
}

/* ---- inodes ---- */

static void p9_evict(struct inode *inode)
{
    struct p9_inode *pi = p9_of(inode);
    struct p9_mount *m = mount_of(inode);
    mutex_lock(&m->table_lock);
    unlist(m, pi);
    mutex_unlock(&m->table_lock);
    p9_fid_put(pi->created);
    p9_fid_put(pi->io);
    p9_fid_put(pi->fid);
    if (is_reg(inode))
        vm_object_put(&inode->object); /* its destroy frees the inode */
    else
        kfree(pi);
}

static void p9_object_destroy(struct vm_object *obj)
{
    kfree(p9_of(obj->owner));
}

static bool known_type(u32 mode)
{
    u32 type = mode & S_IFMT;
    return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFIFO || type == S_IFCHR ||
           type == S_IFBLK || type == S_IFSOCK;
}

static struct p9_inode *new_inode(struct mount *mount, const struct p9_attr *attr)
{
    struct p9_inode *pi = kmalloc(sizeof(*pi));
    if (!pi)
        return NULL;
    struct inode *inode = &pi->inode;
    inode_init(inode, mount, attr->st.mode);
    inode->ino = attr->qid.path;
    inode->ops = is_dir(inode) ? &p9_dir_ops : is_link(inode) ? &p9_link_ops : &p9_node_ops;
    if (is_reg(inode)) {
        inode->file_ops = &p9_file_ops;
        vm_object_init(&inode->object, &p9_object_ops, attr->st.size, inode);
    }
    apply_attr(inode, attr);
    return pi;
}

/* The inode behind fid, whose reference it takes over. */
static int inode_of_fid(struct mount *mount, struct p9_fid *fid, struct inode **out)
{
    struct p9_mount *m = mount->private;
    struct p9_attr attr;
    int err = p9_getattr(fid, &attr);
    if (!err && !known_type(attr.st.mode))
        err = -EIO;
    if (err) {
        p9_fid_put(fid);
        return err;
    }
    mutex_lock(&m->table_lock);
    struct p9_inode *pi = find_inode(m, attr.qid.path), *stale = NULL;
    if (pi && ((pi->inode.mode ^ attr.st.mode) & S_IFMT)) {
        unlist(m, pi); /* the host reused the number */
        stale = pi;
        pi = NULL;
    }
    bool fresh = !pi;
    if (fresh && (pi = new_inode(mount, &attr))) {
        keep_attr(pi, &attr);
        pi->fid = fid;
        tree_insert(&m->inodes, &pi->node, node_cmp);
        pi->listed = true;
    }
    mutex_unlock(&m->table_lock);
    if (stale)
        inode_put(&stale->inode);
    if (!pi) {
        p9_fid_put(fid);
        return -ENOMEM;
    }
    if (!fresh)
        replace_fid(pi, &pi->fid, fid);
    *out = &pi->inode;
    return 0;
}

/* ---- directories ---- */

static int p9_lookup(struct inode *dir, const char *name, u32 len, struct inode **out)
{
    struct p9_fid *from = take_fid(p9_of(dir), &p9_of(dir)->fid), *fid;
    struct p9_qid qid;
    int err = p9_walk(from, name, len, &fid, &qid);
    p9_fid_put(from);
    return err ? err : inode_of_fid(dir->mount, fid, out);
}

/* The handle that creating left open serves the open that follows: it works whatever the new file's mode. */
static int create_file(struct p9_fid *dir, const char *name, u32 len, u32 mode, struct p9_fid **opened)
{
    struct p9_fid *fid;
    int err = p9_walk(dir, NULL, 0, &fid, NULL);
    if (err)
        return err;
    err = p9_create(fid, name, len, O_RDWR | O_CREAT | O_EXCL, mode & 07777);
    if (err)
        p9_fid_put(fid);
    else
        *opened = fid;
    return err;
}

static int p9_inode_create(struct inode *dir, const char *name, u32 len, u32 mode, u64 rdev,
                           struct inode **out)
{
    struct p9_fid *at = take_fid(p9_of(dir), &p9_of(dir)->fid), *opened = NULL;
    u32 type = mode & S_IFMT;
    int err;
    if (type == S_IFREG)
        err = create_file(at, name, len, mode, &opened);
    else if (type == S_IFDIR)
        err = p9_mkdir(at, name, len, mode & 07777);
    else
        err = p9_mknod(at, name, len, mode, rdev);
    outdate(dir);
    p9_fid_put(at);
    if (!err)
        err = p9_lookup(dir, name, len, out);
    if (opened && !err)
        replace_fid(p9_of(*out), &p9_of(*out)->created, opened);
    else
        p9_fid_put(opened);
    return err;
}

static int p9_inode_symlink(struct inode *dir, const char *name, u32 len, const char *target,
                            struct inode **out)
{
    struct p9_fid *at = take_fid(p9_of(dir), &p9_of(dir)->fid);
    int err = p9_symlink(at, name, len, target);
    outdate(dir);
    p9_fid_put(at);
    return err ? err : p9_lookup(dir, name, len, out);
}

static int p9_inode_link(struct inode *dir, const char *name, u32 len, struct inode *inode)
{
    struct p9_fid *at = take_fid(p9_of(dir), &p9_of(dir)->fid);
    struct p9_fid *file = take_fid(p9_of(inode), &p9_of(inode)->fid);
    int err = p9_link(at, name, len, file);
    outdate(inode);
    outdate(dir);
    p9_fid_put(at);
    p9_fid_put(file);
    return err;
}

static int remove_name(struct inode *dir, const char *name, u32 len, struct inode *inode, bool directory)
{
    struct p9_fid *at = take_fid(p9_of(dir), &p9_of(dir)->fid);
    int err = p9_unlink(at, name, len, directory);
    outdate(inode);
    outdate(dir);
    p9_fid_put(at);
    if (!err && inode->nlink)
        inode->nlink = directory ? 0 : inode->nlink - 1;
    return err;
}

static int p9_inode_unlink(struct inode *dir, const char *name, u32 len, struct inode *inode)
{
    return remove_name(dir, name, len, inode, false);
}

static int p9_inode_rmdir(struct inode *dir, const char *name, u32 len, struct inode *inode)
{
    return remove_name(dir, name, len, inode, true);
}

static int p9_inode_rename(struct inode *from, const char *name, u32 len, struct inode *inode,
                           struct inode *to, const char *to_name, u32 to_len, struct inode *replaced,
                           u32 flags)
{
    if (flags & VFS_RENAME_EXCHANGE)
        return -EINVAL;
    struct p9_fid *a = take_fid(p9_of(from), &p9_of(from)->fid), *b = take_fid(p9_of(to), &p9_of(to)->fid);
    int err = p9_rename(a, name, len, b, to_name, to_len);
    outdate(inode);
    outdate(from);
    outdate(to);
    if (replaced)
        outdate(replaced);
    p9_fid_put(a);
    p9_fid_put(b);
    /* The server moves handles along with names; a fresh one does not depend on that. */
    struct inode *again;
    if (!err && !p9_lookup(to, to_name, to_len, &again))
        inode_put(again);
    return err;
}

struct p9_list {
    vfs_dir_fn fn;
    void *arg;
    u64 pos;
};

static int list_entry_fn(void *arg, const struct p9_entry *entry)
{
    struct p9_list *list = arg;
    int stop = list->fn(list->arg, entry->name, entry->len, entry->qid_path, entry->type, entry->next);
    if (!stop)
        list->pos = entry->next;
    return stop;
}

static int p9_inode_readdir(struct inode *dir, struct file *f, u64 pos, vfs_dir_fn fn, void *arg)
{
    struct p9_list list = {fn, arg, pos};
    u32 count;
    int err;
    do
        err = p9_readdir(f->private, list.pos, list_entry_fn, &list, &count);
    while (!err && count);
    return err;
}

static ssize_t p9_inode_readlink(struct inode *inode, char *buf, size_t size)
{
    struct p9_fid *fid = take_fid(p9_of(inode), &p9_of(inode)->fid);
    ssize_t n = p9_readlink(fid, buf, size);
    p9_fid_put(fid);
    return n;
}

/* ---- open files ---- */

/* A newly opened handle with the access that flags ask for. */
static int open_fid(struct p9_inode *pi, u32 flags, struct p9_fid **out)
{
    mutex_lock(&pi->fid_lock);
    struct p9_fid *fid = pi->created;
    pi->created = NULL;
    mutex_unlock(&pi->fid_lock);
    if (fid) {
        *out = fid;
        return 0;
    }
    struct p9_fid *from = take_fid(pi, &pi->fid);
    int err = p9_walk(from, NULL, 0, &fid, NULL);
    p9_fid_put(from);
    if (err)
        return err;
    err = p9_open(fid, flags & (O_ACCMODE | O_DIRECTORY));
    if (err)
        p9_fid_put(fid);
    else
        *out = fid;
    return err;
}

static int p9_inode_open(struct inode *inode, struct file *f)
{
    struct p9_inode *pi = p9_of(inode);
    struct p9_fid *fid;
    if (!is_reg(inode) && !is_dir(inode))
        return 0;
    int err = open_fid(pi, f->flags | (is_dir(inode) ? O_DIRECTORY : 0), &fid);
    if (err)
        return err;
    f->private = fid;
    f->ops = is_dir(inode) ? &p9_dir_file_ops : &p9_file_ops;
    struct p9_fid *old = NULL;
    mutex_lock(&pi->fid_lock);
    pi->open_count++;
    if (is_reg(inode) && fid->flags != O_WRONLY && (!pi->io || fid->flags == O_RDWR)) {
        old = pi->io;
        pi->io = p9_fid_get(fid);
    }
    mutex_unlock(&pi->fid_lock);
    p9_fid_put(old);
    return 0;
}

static void p9_release(struct file *f)
{
    struct p9_inode *pi = p9_of(f->inode);
    struct vm_object *obj = &f->inode->object;
    struct p9_fid *io = NULL;
    if (is_reg(f->inode) && obj->page_count)
        vm_object_sync(obj, 0, ~0UL);
    mutex_lock(&pi->fid_lock);
    if (!--pi->open_count) {
        io = pi->io;
        pi->io = NULL;
    }
    mutex_unlock(&pi->fid_lock);
    if (io && obj->page_count)
        vm_object_invalidate(obj, 0, ~0UL);
    p9_fid_put(io);
    p9_fid_put(f->private);
}

static int p9_flush(struct file *f)
{
    struct vm_object *obj = &f->inode->object;
    return is_reg(f->inode) && obj->page_count ? vm_object_sync(obj, 0, ~0UL) : 0;
}

/* What mappings changed reaches the host before anybody reads it there. */
static void sync_range(struct vm_object *obj, u64 pos, size_t n)
{
    if (obj->page_count)
        vm_object_sync(obj, ALIGN_DOWN(pos, PAGE_SIZE), pos + n);
}

static ssize_t p9_file_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    size_t total = 0;
    ssize_t n = 0;
    sync_range(&f->inode->object, *pos, it->left);
    while (it->left) {
        n = p9_read_iter(f->private, *pos, it, it->left);
        if (n <= 0)
            break;
        *pos += n;
        total += n;
    }
    return total ? (ssize_t)total : n;
}

/* Brings cached pages up to date with what was just written. */
static void update_pages(void *arg, u64 offset, const void *bytes, size_t n)
{
    struct vm_object *obj = arg;
    const char *src = bytes;
    while (n && obj->page_count) {
        size_t in_page = offset & (PAGE_SIZE - 1), piece = MIN(n, PAGE_SIZE - in_page);
        struct page *page = vm_object_peek(obj, offset >> PAGE_SHIFT);
        if (page) {
            memcpy((char *)page_to_virt(page) + in_page, src, piece);
            page_put(page);
        }
        offset += piece;
        src += piece;
        n -= piece;
    }
}

static void grow(struct vm_object *obj, u64 size)
{
    mutex_lock(&obj->lock);
    if (size > obj->size)
        __atomic_store_n(&obj->size, size, __ATOMIC_RELEASE);
    mutex_unlock(&obj->lock);
}

static ssize_t write_locked(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct vm_object *obj = &f->inode->object;
    size_t total = 0;
    ssize_t n = 0;
    if (f->flags & O_APPEND) {
        int err = refresh(f->inode);
        if (err)
            return err;
        *pos = obj->size;
    }
    struct p9_inode *pi = p9_of(f->inode);
    mutex_lock(&pi->attr_lock);
    outdate(f->inode);
    while (it->left) {
        size_t left = it->left;
        n = p9_write_iter(f->private, *pos, it, left, update_pages, obj);
        if (n <= 0)
            break;
        *pos += n;
        total += n;
        if (it->left != left - n)
            break; /* the host took less than was sent */
    }
    if (total)
        grow(obj, *pos);
    mutex_unlock(&pi->attr_lock);
    return total ? (ssize_t)total : n;
}

static ssize_t p9_file_write(struct file *f, struct iov_iter *it, u64 *pos)
{
    u64 at = *pos;
    int err = inode_writable(f->inode);
    if (err || !it->left)
        return err;
    mutex_lock(&f->inode->lock);
    ssize_t n = write_locked(f, it, &at);
    if (n > 0)
        *pos = at;
    mutex_unlock(&f->inode->lock);
    if (n > 0 && (f->flags & (O_DSYNC | O_SYNC)) &&
        (err = p9_fsync(f->private, !(f->flags & (O_SYNC & ~O_DSYNC)))))
        return err;
    return n;
}

#define SEEK_END_WHENCE 2

/* SEEK_DATA and SEEK_HOLE as for a file without holes: the protocol cannot ask. */
static s64 p9_seek(struct file *f, s64 off, int whence)
{
    if (whence >= SEEK_END_WHENCE) {
        int err = refresh(f->inode);
        if (err)
            return err;
    }
    u64 size = f->inode->object.size;
    if (whence == 3 || whence == 4) {
        if (off < 0 || (u64)off >= size)
            return -ENXIO;
        return f->pos = whence == 3 ? (u64)off : size;
    }
    return seek_generic(f, off, whence, size);
}

static int p9_mmap(struct file *f, u64 offset, u64 len, u32 area_flags, struct vm_object **obj)
{
    int err = refresh(f->inode);
    *obj = &f->inode->object;
    return err;
}

static int p9_file_fsync(struct file *f, bool data_only)
{
    struct vm_object *obj = &f->inode->object;
    int err = is_reg(f->inode) && obj->page_count ? vm_object_sync(obj, 0, ~0UL) : 0;
    return err ? err : p9_fsync(f->private, data_only);
}

static void write_zeros(struct file *f, u64 pos, u64 end, int *err)
{
    static const char zeros[PAGE_SIZE];
    while (pos < end && !*err) {
        size_t n = MIN(end - pos, sizeof(zeros));
        ssize_t done = p9_write(f->private, pos, zeros, n);
        if (done < 0)
            *err = done;
        else
            update_pages(&f->inode->object, pos, zeros, n);
        pos += n;
    }
}

/* posix_fallocate's plain form, by zeros beyond the end; the protocol has nothing better. */
static int p9_allocate(struct file *f, int mode, u64 off, u64 len)
{
    u64 end = off + len;
    if (mode)
        return -EOPNOTSUPP;
    if ((s64)off < 0 || (s64)len <= 0 || (s64)end < 0)
        return -EINVAL;
    if ((f->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    mutex_lock(&f->inode->lock);
    int err = refresh(f->inode);
    u64 size = f->inode->object.size;
    if (!err && end > size)
        write_zeros(f, MAX(size, off), end, &err);
    if (!err)
        grow(&f->inode->object, end);
    mutex_unlock(&f->inode->lock);
    return err;
}

/* ---- the page cache of mappings ---- */

static int p9_fill_many(struct vm_object *obj, u64 index, struct page **pages, u32 count)
{
    struct iov iov[FILL_PAGES];
    struct iov_iter it;
    int err = 0;
    struct p9_inode *pi = p9_of(obj->owner);
    struct p9_fid *io = take_fid(pi, &pi->io);
    if (!io)
        return -EIO;
    for (u32 at = 0, n; at < count && !err; at += n) {
        n = MIN(count - at, FILL_PAGES);
        iov_iter_init(&it, iov, iov_of_pages(iov, pages + at, 0, n * PAGE_SIZE), false);
        err = p9_read_all(io, (index + at) << PAGE_SHIFT, &it);
        iov_zero(&it, it.left); /* beyond the end of the file */
    }
    p9_fid_put(io);
    return err;
}

static int p9_fill(struct vm_object *obj, u64 index, struct page *page)
{
    return p9_fill_many(obj, index, &page, 1);
}

static int p9_writeback(struct vm_object *obj, u64 index, struct page *page, u32 len)
{
    struct p9_inode *pi = p9_of(obj->owner);
    struct p9_fid *io = take_fid(pi, &pi->io);
    if (!io || io->flags == O_RDONLY) {
        p9_fid_put(io);
        return -EIO;
    }
    ssize_t n = len ? p9_write(io, index << PAGE_SHIFT, page_to_virt(page), len) : 0;
    outdate(&pi->inode);
    p9_fid_put(io);
    return n < 0 ? (int)n : 0;
}

static const struct vm_object_ops p9_object_ops = {
    .fill = p9_fill, .fill_many = p9_fill_many, .writeback = p9_writeback, .destroy = p9_object_destroy};

static ssize_t p9_dir_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    return -EISDIR;
}

static s64 p9_dir_seek(struct file *f, s64 off, int whence)
{
    return seek_generic(f, off, whence, ~0UL >> 1);
}

static const struct file_ops p9_file_ops = {
    .read = p9_file_read,
    .write = p9_file_write,
    .seek = p9_seek,
    .mmap = p9_mmap,
    .fsync = p9_file_fsync,
    .allocate = p9_allocate,
    .flush = p9_flush,
    .release = p9_release,
};
static const struct file_ops p9_dir_file_ops = {
    .read = p9_dir_read, .seek = p9_dir_seek, .fsync = p9_file_fsync, .release = p9_release};

static const struct inode_ops p9_dir_ops = {
    .lookup = p9_lookup,
    .create = p9_inode_create,
    .symlink = p9_inode_symlink,
    .link = p9_inode_link,
    .unlink = p9_inode_unlink,
    .rmdir = p9_inode_rmdir,
    .rename = p9_inode_rename,
    .readdir = p9_inode_readdir,
    .getattr = p9_inode_getattr,
    .setattr = p9_inode_setattr,
    .open = p9_inode_open,
    .statfs = p9_inode_statfs,
    .evict = p9_evict,
};
static const struct inode_ops p9_node_ops = {
    .getattr = p9_inode_getattr,
    .setattr = p9_inode_setattr,
    .open = p9_inode_open,
    .statfs = p9_inode_statfs,
    .evict = p9_evict,
};
static const struct inode_ops p9_link_ops = {
    .readlink = p9_inode_readlink,
    .getattr = p9_inode_getattr,
    .setattr = p9_inode_setattr,
    .statfs = p9_inode_statfs,
    .evict = p9_evict,
};

/* One request instead of the three of a new lookup. A file with several names may have lost this one. */
static bool p9_revalidate(struct inode *inode, bool on_way)
{
    struct p9_inode *pi = p9_of(inode);
    struct p9_attr attr;
    if (on_way && is_dir(inode) && clock_monotonic_ns() - pi->attr_ns < ON_WAY_NS)
        return true;
    return !fetch_attr(inode, &attr) && (is_dir(inode) || attr.st.nlink == 1);
}

/* ---- mounting ---- */

static int connect(struct mount *m, struct p9_channel *channel, struct inode **root)
{
    struct p9_mount *pm = kmalloc(sizeof(*pm));
    struct p9_fid *fid;
    if (!pm)
        return -ENOMEM;
    m->private = pm;
    int err = p9_connect(&pm->p9, channel, &fid);
    return err ? err : inode_of_fid(m, fid, root);
}

int vfs_mount_9p(const char *tag, const char *dir, bool read_only)
{
    struct p9_channel *channel = p9_channel_open(tag);
    struct vfs_path on;
    struct inode *root;
    if (!channel)
        return -ENODEV;
    int err = mount_make_dir(dir, &on);
    if (err)
        return err;
    struct mount *m = mount_create("9p", kstrdup(tag), 0x01021997);
    err = m ? connect(m, channel, &root) : -ENOMEM;
    if (!err && !is_dir(root)) {
        inode_put(root);
        err = -ENOTDIR;
    }
    if (!err) {
        m->revalidate = p9_revalidate;
        m->read_only = read_only;
        err = mount_attach(m, root, on.dentry);
    }
    vfs_path_put(on);
    return err;
}

/* sync(2): every dirty page of every volume. */
static void sync_mount(struct mount *m)
{
    struct p9_mount *pm = m->private;
    u64 after = 0;
    for (;;) {
        mutex_lock(&pm->table_lock);
        struct tree_node *node = tree_lower_bound(&pm->inodes, &after, node_key_cmp);
        while (node && !get_unless_zero(&container_of(node, struct p9_inode, node)->inode.refs))
            node = tree_next(node);
        mutex_unlock(&pm->table_lock);
        if (!node)
            return;
        struct inode *inode = &container_of(node, struct p9_inode, node)->inode;
        if (is_reg(inode) && inode->object.page_count)
            vm_object_sync(&inode->object, 0, ~0UL);
        after = inode->ino + 1;
        inode_put(inode);
        if (!after)
            return;
    }
}

void vfs_sync(void)
{
    mounts_for_each("9p", sync_mount);
}
