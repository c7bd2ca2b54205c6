/* Generated files: /proc, /sys. Their directories are those of the tree in memory; see memfs.h. */
#include "kernel/fs/memfs.h"

struct synth_inode {
    struct inode inode; /* first: evicting frees it by this address */
    int (*show)(struct seq *s, void *arg);
    ssize_t (*store)(const char *text, size_t len, void *arg);
    ssize_t (*target)(char *buf, size_t size, void *arg);
    struct file *(*get)(void *arg);
    void *arg;
};

static struct synth_inode *synth_of(struct inode *inode)
{
    return container_of(inode, struct synth_inode, inode);
}

/* ---- text ---- */

static bool seq_room(struct seq *s, size_t more)
{
    if (s->failed || s->len + more + 1 <= s->room)
        return !s->failed;
    size_t room = MAX(s->room * 2, MAX(s->len + more + 1, 256UL));
    char *text = krealloc(s->text, room);
    if (!text) {
        s->failed = true;
        return false;
    }
    s->text = text;
    s->room = room;
    return true;
}

void seq_write(struct seq *s, const char *text, size_t len)
{
    if (!seq_room(s, len))
        return;
    memcpy(s->text + s->len, text, len);
    s->len += len;
    s->text[s->len] = 0;
}

void seq_printf(struct seq *s, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    size_t left = s->room - s->len;
    int n = vsnprintf(s->text ? s->text + s->len : NULL, s->text ? left : 0, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n >= left && seq_room(s, n))
        vsnprintf(s->text + s->len, s->room - s->len, fmt, again);
    va_end(again);
    if (n > 0 && !s->failed)
        s->len += n;
}

/* ---- files ---- */

/* What an open generated file holds: its text, made anew whenever reading starts at 0. */
struct synth_open {
    struct mutex lock;
    struct seq seq;
    bool made;
};

static int synth_open(struct inode *inode, struct file *f)
{
    f->private = kmalloc(sizeof(struct synth_open));
    return f->private ? 0 : -ENOMEM;
}

static void synth_release(struct file *f)
{
    struct synth_open *open = f->private;
    if (open)
        kfree(open->seq.text);
    kfree(open);
}

static int synth_make(struct synth_inode *si, struct synth_open *open)
{
    open->seq.len = 0;
    open->seq.failed = false;
    int err = si->show(&open->seq, si->arg);
    if (!err && open->seq.failed)
        err = -ENOMEM;
    open->made = !err;
    return err;
}

static ssize_t synth_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct synth_open *open = f->private;
    mutex_lock(&open->lock);
    int err = *pos && open->made ? 0 : synth_make(synth_of(f->inode), open);
    ssize_t n = err;
    if (!err)
        n = *pos < open->seq.len ? iov_to(it, open->seq.text + *pos, open->seq.len - *pos) : 0;
    if (n > 0)
        *pos += n;
    mutex_unlock(&open->lock);
    return n;
}

static ssize_t synth_write(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct synth_inode *si = synth_of(f->inode);
    char text[512];
    size_t len = it->left;
    if (!si->store)
        return -EINVAL;
    if (len >= sizeof(text))
        return -EINVAL;
    ssize_t n = iov_from(it, text, len);
    if (n < 0)
        return n;
    text[n] = 0;
    n = si->store(text, n, si->arg);
    if (n > 0)
        *pos += n;
    return n;
}

static s64 synth_seek(struct file *f, s64 off, int whence)
{
    return seek_generic(f, off, whence, 0);
}

static const struct file_ops synth_file_ops = {
    .read = synth_read, .write = synth_write, .seek = synth_seek, .release = synth_release};

static int synth_setattr(struct inode *inode, const struct vfs_stat *st, u32 which)
{
    return 0;
}

static const struct inode_ops synth_inode_ops = {.open = synth_open, .setattr = synth_setattr};

/* ---- links ---- */

static ssize_t synth_readlink(struct inode *inode, char *buf, size_t size)
{
    struct synth_inode *si = synth_of(inode);
    return si->target(buf, size, si->arg);
}

static int synth_jump(struct inode *inode, struct file **out)
{
    struct synth_inode *si = synth_of(inode);
    *out = si->get(si->arg);
    return *out ? 0 : -ENOENT;
}

static const struct inode_ops synth_link_ops = {.readlink = synth_readlink};
static const struct inode_ops synth_jump_ops = {.readlink = synth_readlink, .jump = synth_jump};

/* ---- inodes ---- */

static struct synth_inode *synth_create(struct mount *mount, u32 mode, const struct inode_ops *ops, void *arg)
{
    struct synth_inode *si = kmalloc(sizeof(*si));
    if (!si)
        return NULL;
    inode_init(&si->inode, mount, mode);
    si->inode.ino = mount_new_ino(mount);
    si->inode.ops = ops;
    si->arg = arg;
    return si;
}

struct inode *synth_inode_jump(ssize_t (*target)(char *buf, size_t size, void *arg),
                               struct file *(*get)(void *arg), void *arg)
{
    struct synth_inode *si = synth_create(proc_mount, S_IFLNK | 0700, &synth_jump_ops, arg);
    if (!si)
        return NULL;
    si->target = target;
    si->get = get;
    return &si->inode;
}

static struct synth_inode *file_inode(struct mount *mount, int (*show)(struct seq *s, void *arg),
                                      ssize_t (*store)(const char *text, size_t len, void *arg), void *arg)
{
    struct synth_inode *si = synth_create(mount, S_IFREG | (store ? 0644 : 0444), &synth_inode_ops, arg);
    if (!si)
        return NULL;
    si->show = show;
    si->store = store;
    si->inode.file_ops = &synth_file_ops;
    return si;
}

struct inode *synth_inode_file(int (*show)(struct seq *s, void *arg), void *arg)
{
    struct synth_inode *si = file_inode(proc_mount, show, NULL, arg);
    return si ? &si->inode : NULL;
}

static struct inode *dynamic_inode(struct mount *mount, const struct synth_dir_ops *ops, void *ctx)
{
    struct inode *inode = mem_inode_create(mount, S_IFDIR | 0555, 0);
    if (!inode)
        return NULL;
    inode->ops = &mem_fixed_ops;
    mem_of(inode)->dynamic = ops;
    mem_of(inode)->ctx = ctx;
    return inode;
}

struct inode *synth_inode_dir(const struct synth_dir_ops *ops, void *ctx)
{
    return dynamic_inode(proc_mount, ops, ctx);
}

/* ---- registration by path ---- */

/* Adds inode, whose reference it takes over, as the last component of path. */
static int add_at(struct vfs_path dir, const char *name, struct inode *inode)
{
    struct inode *parent = dir.dentry->inode;
    if (!inode)
        return -ENOMEM;
    mutex_lock(&parent->lock);
    int err = mem_add(parent, name, strlen(name), inode);
    mutex_unlock(&parent->lock);
    inode_put(inode);
    return err;
}

/* The directory last registered in: files are registered in groups, and nothing here is ever removed. */
static struct mutex recent_lock;
static char recent_path[128];
static size_t recent_len;
static struct vfs_path recent;

static bool take_recent(const char *path, size_t len, struct vfs_path *out)
{
    mutex_lock(&recent_lock);
    bool hit = recent.dentry && len == recent_len && !memcmp(path, recent_path, len);
    if (hit) {
        vfs_path_get(recent);
        *out = recent;
    }
    mutex_unlock(&recent_lock);
    return hit;
}

static void set_recent(const char *path, size_t len, struct vfs_path dir)
{
    if (len >= sizeof(recent_path))
        return;
    vfs_path_get(dir);
    mutex_lock(&recent_lock);
    struct vfs_path old = recent;
    memcpy(recent_path, path, len);
    recent_len = len;
    recent = dir;
    mutex_unlock(&recent_lock);
    vfs_path_put(old);
}

/* The directory of path's last component, made where missing; *name is that component, inside path. */
static int parent_of(const char *path, struct vfs_path *out, const char **name)
{
    const char *whole = path, *last = strrchr(path, '/');
    size_t len = last - path;
    *name = last + 1;
    if (take_recent(path, len, out))
        return 0;
    struct vfs_path dir = vfs_root(), next;
    while (*path == '/')
        path++;
    for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
        char part[NAME_MAX + 1];
        size_t len = MIN((size_t)(slash - path), NAME_MAX);
        memcpy(part, path, len);
        part[len] = 0;
        int err = vfs_lookup(dir, part, VFS_DIRECTORY, &next);
        if (err == -ENOENT) {
            err = add_at(dir, part, mem_inode_create(dir.dentry->inode->mount, S_IFDIR | 0555, 0));
            if (!err)
                err = vfs_lookup(dir, part, VFS_DIRECTORY, &next);
        }
        vfs_path_put(dir);
        if (err)
            return err;
        dir = next;
    }
    set_recent(whole, len, dir);
    *out = dir;
    return 0;
}

int synth_file(const char *path, int (*show)(struct seq *s, void *arg),
               ssize_t (*store)(const char *text, size_t len, void *arg), void *arg)
{
    struct vfs_path dir;
    const char *name;
    int err = parent_of(path, &dir, &name);
    if (err)
        return err;
    struct synth_inode *si = file_inode(dir.dentry->inode->mount, show, store, arg);
    err = add_at(dir, name, si ? &si->inode : NULL);
    vfs_path_put(dir);
    return err;
}

int synth_dir(const char *path)
{
    return synth_dynamic_dir(path, NULL, NULL);
}

int synth_link(const char *path, ssize_t (*target)(char *buf, size_t size, void *arg), void *arg)
{
    struct vfs_path dir;
    const char *name;
    int err = parent_of(path, &dir, &name);
    if (err)
        return err;
    struct synth_inode *si = synth_create(dir.dentry->inode->mount, S_IFLNK | 0777, &synth_link_ops, arg);
    if (si)
        si->target = target;
    err = add_at(dir, name, si ? &si->inode : NULL);
    vfs_path_put(dir);
    return err;
}

/* A directory that is there already (made for a file below it) becomes the dynamic one. */
int synth_dynamic_dir(const char *path, const struct synth_dir_ops *ops, void *ctx)
{
    struct vfs_path dir, there;
    const char *name;
    int err = parent_of(path, &dir, &name);
    if (err)
        return err;
    if (!vfs_lookup(dir, name, VFS_DIRECTORY, &there)) {
        mem_of(there.dentry->inode)->dynamic = ops;
        mem_of(there.dentry->inode)->ctx = ctx;
        vfs_path_put(there);
    } else {
        err = add_at(dir, name, dynamic_inode(dir.dentry->inode->mount, ops, ctx));
    }
    vfs_path_put(dir);
    return err;
}
