/* Directories, links and special files of the tree in memory. */
#include "kernel/fs/memfs.h"

#define KEY_MASK     ((1UL << 60) - 1)
#define KEY_PROBES   64
#define FIRST_KEY    16          /* readdir positions below: "." and ".." */
#define DYNAMIC_BASE (1UL << 61) /* readdir positions from here on: computed entries */
#define NEW_INO_BASE (1UL << 48) /* numbers of inodes that are not in the image */

static struct mutex image_lock;  /* guards image_inodes; taken under directories' inode locks */
static struct tree image_inodes; /* loaded inodes of the image, by nid; each tree node holds no reference */

static struct erofs *image_of(const struct inode *inode)
{
    return inode->mount->private;
}

/* ---- inodes ---- */

static const struct inode_ops *ops_for(const struct mount *mount, u32 mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return mount->root && mount->root->inode ? mount->root->inode->ops : &mem_dir_ops;
    case S_IFLNK:
        return &mem_link_ops;
    }
    return &mem_node_ops;
}

struct inode *mem_inode_create(struct mount *mount, u32 mode, u64 rdev)
{
    struct mem_inode *mem = kmalloc(sizeof(*mem));
    if (!mem)
        return NULL;
    struct inode *inode = &mem->inode;
    inode_init(inode, mount, mode);
    inode->ino = mount_new_ino(mount);
    inode->ops = ops_for(mount, mode);
    inode->rdev = rdev;
    if (is_reg(inode)) {
        inode->file_ops = &mem_file_ops;
        vm_object_init(&inode->object, &mem_object_ops, 0, inode);
    }
    if (is_dir(inode))
        inode->nlink = 2;
    mem->loaded = true;
    return inode;
}

static void free_entries(struct tree *t)
{
    struct tree_node *node;
    while ((node = tree_first(t))) {
        struct mem_entry *entry = container_of(node, struct mem_entry, node);
        tree_remove(t, node);
        inode_put(entry->inode);
        kfree(entry);
    }
}

static void mem_free(struct mem_inode *mem)
{
    xattr_free(&mem->inode);
    kfree(mem->target);
    kfree(mem->image);
    kfree(mem);
}

static void mem_object_destroy(struct vm_object *obj)
{
    mem_free(mem_of(obj->owner));
}

static void mem_evict(struct inode *inode)
{
    struct mem_inode *mem = mem_of(inode);
    if (is_dir(inode))
        free_entries(&mem->entries);
    if (mem->memfd_link.next)
        memfd_forget(mem);
    if (is_reg(inode))
        vm_object_put(&inode->object); /* mappings may keep it; its destroy frees the inode */
    else
        mem_free(mem);
}

/* ---- files of the image ---- */

static int mem_fill_many(struct vm_object *obj, u64 index, struct page **pages, u32 count)
{
    struct mem_inode *mem = mem_of(obj->owner);
    if (mem->image)
        return erofs_fill(image_of(&mem->inode), mem->image, mem->image_limit, index, pages, count);
    for (u32 i = 0; i < count; i++)
        memset(page_to_virt(pages[i]), 0, PAGE_SIZE);
    return 0;
}

static int mem_fill(struct vm_object *obj, u64 index, struct page *page)
{
    return mem_fill_many(obj, index, &page, 1);
}

/* Without fill pages start as zeros, and holes stay holes. */
const struct vm_object_ops mem_object_ops = {.destroy = mem_object_destroy};
static const struct vm_object_ops image_object_ops = {
    .fill = mem_fill, .fill_many = mem_fill_many, .ahead = true, .destroy = mem_object_destroy};

static int nid_cmp(const struct tree_node *a, const struct tree_node *b)
{
    u64 x = container_of(a, struct mem_inode, nid_node)->image->nid;
    u64 y = container_of(b, struct mem_inode, nid_node)->image->nid;
    return x < y ? -1 : x > y;
}

static int nid_key_cmp(const void *key, const struct tree_node *node)
{
    u64 x = *(const u64 *)key, y = container_of(node, struct mem_inode, nid_node)->image->nid;
    return x < y ? -1 : x > y;
}

static int read_target(struct mem_inode *mem, struct erofs *fs)
{
    u64 len = mem->image->size;
    if (!len || len >= PATH_MAX)
        return -EIO;
    mem->target = kmalloc(len + 1);
    if (!mem->target)
        return -ENOMEM;
    int err = erofs_read(fs, mem->image, 0, mem->target, len);
    return !err && strlen(mem->target) != len ? -EIO : err;
}

static void apply_image(struct inode *inode, const struct erofs_inode *image)
{
    inode->ino = image->nid;
    inode->uid = image->uid;
    inode->gid = image->gid;
    inode->nlink = image->nlink;
    inode->atime = inode->mtime = inode->ctime = inode->btime =
        (struct vfs_time){image->mtime_sec, image->mtime_nsec};
}

static int load_inode(struct mount *mount, const struct erofs_inode *image, struct mem_inode **out)
{
    struct erofs_inode *copy = kmalloc(sizeof(*copy));
    struct inode *inode = copy ? mem_inode_create(mount, image->mode, image->rdev) : NULL;
    if (!inode) {
        kfree(copy);
        return -ENOMEM;
    }
    struct mem_inode *mem = mem_of(inode);
    *copy = *image;
    mem->image = copy;
    mem->loaded = false;
    apply_image(inode, image);
    int err = 0;
    if (is_reg(inode)) {
        inode->object.ops = &image_object_ops;
        inode->object.size = mem->image_limit = image->size;
    } else if (is_link(inode)) {
        err = read_target(mem, mount->private);
    }
    if (err)
        inode_put(inode);
    else
        *out = mem;
    return err;
}

/*
 * The inode of nid; a new reference. Image inodes stay for ever once loaded (the tree of names holds them
 * anyway): the table keeps a reference, so that a file with several names keeps its changes whichever of them
 * is used.
 */
static int mem_image_inode(struct mount *mount, u64 nid, u32 type, struct inode **out)
{
    struct erofs_inode image;
    struct mem_inode *mem;
    int err = 0;
    mutex_lock(&image_lock);
    struct tree_node *node = tree_find(&image_inodes, &nid, nid_key_cmp);
    if (node) {
        mem = container_of(node, struct mem_inode, nid_node);
        /* A directory has one name; a second one would make a loop. */
        if ((mem->inode.mode & S_IFMT) != type || type == S_IFDIR)
            err = -EIO;
    } else {
        err = erofs_inode(mount->private, nid, &image);
        if (!err && (image.mode & S_IFMT) != type)
            err = -EIO;
        if (!err)
            err = load_inode(mount, &image, &mem);
        if (!err)
            tree_insert(&image_inodes, &mem->nid_node, nid_cmp);
    }
    if (!err) {
        inode_get(&mem->inode);
        *out = &mem->inode;
    }
    mutex_unlock(&image_lock);
    return err;
}

/* ---- directories ---- */

static int entry_cmp(const struct tree_node *a, const struct tree_node *b)
{
    u64 x = container_of(a, struct mem_entry, node)->key, y = container_of(b, struct mem_entry, node)->key;
    return x < y ? -1 : x > y;
}

static int entry_key_cmp(const void *key, const struct tree_node *node)
{
    u64 x = *(const u64 *)key, y = container_of(node, struct mem_entry, node)->key;
    return x < y ? -1 : x > y;
}

static struct mem_entry *entry_from(struct tree_node *node)
{
    return node ? container_of(node, struct mem_entry, node) : NULL;
}

static u64 first_key(const char *name, u32 len)
{
    return FIRST_KEY + (name_hash(name, len) & KEY_MASK);
}

/* The entry of that name, or NULL. dir's lock is held and its entries are loaded.
 * Names with equal hashes have keys in a row, with gaps where one was removed: all KEY_PROBES are looked at.
 */
static struct mem_entry *mem_find(struct mem_inode *dir, const char *name, u32 len)
{
    u64 key = first_key(name, len);
    struct mem_entry *entry = entry_from(tree_lower_bound(&dir->entries, &key, entry_key_cmp));
    while (entry && entry->key < key + KEY_PROBES) {
        if (entry->len == len && !memcmp(entry->name, name, len))
            return entry;
        entry = entry_from(tree_next(&entry->node));
    }
    return NULL;
}

static struct mem_entry *add_entry(struct mem_inode *dir, const char *name, u32 len)
{
    struct mem_entry *entry = kmalloc(sizeof(*entry) + len + 1);
    if (!entry)
        return NULL;
    memcpy(entry->name, name, len);
    entry->len = len;
    entry->key = first_key(name, len);
    u64 end = entry->key + KEY_PROBES;
    while (tree_find(&dir->entries, &entry->key, entry_key_cmp))
        if (++entry->key == end) {
            kfree(entry);
            return NULL;
        }
    tree_insert(&dir->entries, &entry->node, entry_cmp);
    return entry;
}

static void remove_entry(struct mem_inode *dir, struct mem_entry *entry)
{
    tree_remove(&dir->entries, &entry->node);
    inode_put(entry->inode);
    kfree(entry);
}

static int load_entry(void *arg, const char *name, u32 len, u64 nid, u32 type)
{
    struct mem_inode *dir = arg;
    if (mem_find(dir, name, len))
        return -EIO;
    struct mem_entry *entry = add_entry(dir, name, len);
    if (!entry)
        return -ENOMEM;
    entry->nid = nid;
    entry->type = type;
    return 0;
}

/* Brings a directory's entries in from the image at first use. Its lock is held. */
static int load(struct mem_inode *dir)
{
    if (likely(dir->loaded))
        return 0;
    int err = erofs_readdir(image_of(&dir->inode), dir->image, load_entry, dir);
    if (err)
        free_entries(&dir->entries);
    else
        dir->loaded = true;
    return err;
}

static int adopt_entry(void *arg, const char *name, u32 len, u64 nid, u32 type)
{
    struct mem_inode *dir = arg;
    if (mem_find(dir, name, len))
        return 0;
    if (type == S_IFDIR)
        dir->inode.nlink++;
    return load_entry(dir, name, len, nid, type);
}

int mem_adopt(struct mem_inode *dir, const struct erofs_inode *image)
{
    dir->image = kmalloc(sizeof(*image));
    if (!dir->image)
        return -ENOMEM;
    *dir->image = *image;
    u32 nlink = dir->inode.nlink;
    apply_image(&dir->inode, image);
    dir->inode.nlink = nlink;
    mutex_lock(&image_lock);
    tree_insert(&image_inodes, &dir->nid_node, nid_cmp); /* nothing below may be the root again */
    mutex_unlock(&image_lock);
    return erofs_readdir(image_of(&dir->inode), dir->image, adopt_entry, dir);
}

static int entry_inode(struct mem_inode *dir, struct mem_entry *entry)
{
    if (entry->inode)
        return 0;
    int err = mem_image_inode(dir->inode.mount, entry->nid, entry->type, &entry->inode);
    if (!err && is_dir(entry->inode))
        mem_of(entry->inode)->parent_ino = dir->inode.ino;
    return err;
}

static int mem_lookup(struct inode *inode, const char *name, u32 len, struct inode **out)
{
    struct mem_inode *dir = mem_of(inode);
    int err = load(dir);
    if (err)
        return err;
    struct mem_entry *entry = mem_find(dir, name, len);
    if (!entry)
        return dir->dynamic ? dir->dynamic->lookup(name, len, out, dir->ctx) : -ENOENT;
    err = entry_inode(dir, entry);
    if (err)
        return err;
    inode_get(entry->inode);
    *out = entry->inode;
    return 0;
}

int mem_add(struct inode *inode, const char *name, u32 len, struct inode *child)
{
    struct mem_inode *dir = mem_of(inode);
    int err = load(dir);
    if (err)
        return err;
    if (mem_find(dir, name, len))
        return -EEXIST;
    struct mem_entry *entry = add_entry(dir, name, len);
    if (!entry)
        return -ENOSPC;
    inode_get(child);
    entry->inode = child;
    entry->type = child->mode & S_IFMT;
    if (is_dir(child)) {
        inode->nlink++;
        mem_of(child)->parent_ino = inode->ino;
    }
    inode_touch(inode, VFS_SET_MTIME);
    return 0;
}

/* A directory that was removed takes no new entries. */
static int mem_add_new(struct inode *dir, const char *name, u32 len, struct inode *child, struct inode **out)
{
    if (!child)
        return -ENOSPC;
    int err = dir->nlink ? mem_add(dir, name, len, child) : -ENOENT;
    if (err)
        inode_put(child);
    else
        *out = child;
    return err;
}

static int mem_create(struct inode *dir, const char *name, u32 len, u32 mode, u64 rdev, struct inode **out)
{
    return mem_add_new(dir, name, len, mem_inode_create(dir->mount, mode, rdev), out);
}

static int mem_symlink(struct inode *dir, const char *name, u32 len, const char *target, struct inode **out)
{
    struct inode *link = mem_inode_create(dir->mount, S_IFLNK | 0777, 0);
    if (link && !(mem_of(link)->target = kstrdup(target))) {
        inode_put(link);
        link = NULL;
    }
    return mem_add_new(dir, name, len, link, out);
}

static int mem_tmpfile(struct inode *dir, u32 mode, struct inode **out)
{
    struct inode *inode = mem_inode_create(dir->mount, mode, 0);
    if (!inode)
        return -ENOSPC;
    inode->nlink = 0;
    mem_of(inode)->linkable = true;
    *out = inode;
    return 0;
}

/* The number of names changes under a lock of its own: a file may be in two directories. */
static struct mutex nlink_lock;

static int mem_link(struct inode *dir, const char *name, u32 len, struct inode *inode)
{
    mutex_lock(&nlink_lock);
    int err = !inode->nlink && !mem_of(inode)->linkable ? -ENOENT : !dir->nlink ? -ENOENT : 0;
    if (!err)
        err = mem_add(dir, name, len, inode);
    if (!err) {
        inode->nlink++;
        inode_touch(inode, TOUCH_CTIME);
    }
    mutex_unlock(&nlink_lock);
    return err;
}

static int mem_unlink(struct inode *dir, const char *name, u32 len, struct inode *inode)
{
    struct mem_entry *entry = mem_find(mem_of(dir), name, len);
    if (!entry)
        return -ENOENT;
    mutex_lock(&nlink_lock);
    if (inode->nlink)
        inode->nlink--;
    mem_of(inode)->linkable = false;
    mutex_unlock(&nlink_lock);
    inode_touch(inode, TOUCH_CTIME);
    inode_touch(dir, VFS_SET_MTIME);
    remove_entry(mem_of(dir), entry);
    return 0;
}

/* Marks an empty directory removed. Its lock and its parent's are held. */
static int kill_dir(struct inode *parent, struct inode *inode)
{
    struct mem_inode *mem = mem_of(inode);
    int err = load(mem);
    if (!err && tree_first(&mem->entries))
        err = -ENOTEMPTY;
    if (err)
        return err;
    inode->nlink = 0;
    if (parent->nlink > 2)
        parent->nlink--;
    inode_touch(inode, TOUCH_CTIME);
    return 0;
}

static int mem_rmdir(struct inode *dir, const char *name, u32 len, struct inode *inode)
{
    struct mem_entry *entry = mem_find(mem_of(dir), name, len);
    if (!entry)
        return -ENOENT;
    int err = kill_dir(dir, inode);
    if (err)
        return err;
    inode_touch(dir, VFS_SET_MTIME);
    remove_entry(mem_of(dir), entry);
    return 0;
}

static void set_entry(struct inode *dir, struct mem_entry *entry, struct inode *inode)
{
    entry->inode = inode;
    entry->type = inode->mode & S_IFMT;
    if (is_dir(inode))
        mem_of(inode)->parent_ino = dir->ino;
}

/* Directories count in their parent's number of links. */
static void adjust_links(struct inode *from, struct inode *to, const struct inode *moved)
{
    if (from != to && is_dir(moved)) {
        if (from->nlink > 2)
            from->nlink--;
        to->nlink++;
    }
}

static int mem_exchange(struct inode *from, struct mem_entry *a, struct inode *to, struct mem_entry *b)
{
    struct inode *x = a->inode, *y = b->inode;
    set_entry(from, a, y);
    set_entry(to, b, x);
    adjust_links(from, to, x);
    adjust_links(to, from, y);
    inode_touch(x, TOUCH_CTIME);
    inode_touch(y, TOUCH_CTIME);
    return 0;
}

/* Puts inode in the place of what entry names. */
static int mem_replace(struct inode *to, struct mem_entry *entry, struct inode *inode, struct inode *replaced)
{
    if (is_dir(replaced)) {
        int err = kill_dir(to, replaced);
        if (err)
            return err;
        if (is_dir(inode))
            to->nlink++;
    } else {
        mutex_lock(&nlink_lock);
        if (replaced->nlink)
            replaced->nlink--;
        mutex_unlock(&nlink_lock);
        inode_touch(replaced, TOUCH_CTIME);
    }
    inode_get(inode);
    set_entry(to, entry, inode);
    inode_put(replaced);
    return 0;
}

static int mem_rename(struct inode *from, const char *name, u32 len, struct inode *inode, struct inode *to,
                      const char *to_name, u32 to_len, struct inode *replaced, u32 flags)
{
    struct mem_entry *source = mem_find(mem_of(from), name, len);
    int err = load(mem_of(to));
    if (err || !source || !to->nlink)
        return err ? err : -ENOENT;
    struct mem_entry *target = mem_find(mem_of(to), to_name, to_len);
    if (replaced && !target)
        return -ENOENT;
    if (flags & VFS_RENAME_EXCHANGE) {
        err = mem_exchange(from, source, to, target);
    } else {
        err = target ? mem_replace(to, target, inode, replaced) : mem_add(to, to_name, to_len, inode);
        if (err)
            return err;
        remove_entry(mem_of(from), source);
        if (is_dir(inode) && from->nlink > 2)
            from->nlink--;
    }
    inode_touch(from, VFS_SET_MTIME);
    inode_touch(to, VFS_SET_MTIME);
    inode_touch(inode, TOUCH_CTIME);
    return err;
}

static int list_static(struct mem_inode *dir, u64 pos, vfs_dir_fn fn, void *arg)
{
    pos = MAX(pos, FIRST_KEY);
    struct mem_entry *entry = entry_from(tree_lower_bound(&dir->entries, &pos, entry_key_cmp));
    for (; entry; entry = entry_from(tree_next(&entry->node))) {
        u64 ino = entry->inode ? entry->inode->ino : entry->nid;
        int stop = fn(arg, entry->name, entry->len, ino, entry->type, entry->key + 1);
        if (stop)
            return stop;
    }
    return 0;
}

struct dynamic_list {
    vfs_dir_fn fn;
    void *arg;
};

static int dynamic_entry(void *arg, const char *name, u32 len, u64 ino, u32 type, u64 next)
{
    struct dynamic_list *list = arg;
    return list->fn(list->arg, name, len, ino, type, DYNAMIC_BASE + next);
}

static int mem_readdir(struct inode *inode, struct file *file, u64 pos, vfs_dir_fn fn, void *arg)
{
    struct mem_inode *dir = mem_of(inode);
    int stop = load(dir);
    if (!stop && pos == 0)
        stop = fn(arg, ".", 1, inode->ino, S_IFDIR, 1);
    if (!stop && pos <= 1)
        stop = fn(arg, "..", 2, dir->parent_ino ? dir->parent_ino : inode->ino, S_IFDIR, FIRST_KEY);
    if (!stop && pos < DYNAMIC_BASE)
        stop = list_static(dir, pos, fn, arg);
    if (!stop && dir->dynamic) {
        struct dynamic_list list = {fn, arg};
        stop =
            dir->dynamic->list(pos < DYNAMIC_BASE ? 0 : pos - DYNAMIC_BASE, dynamic_entry, &list, dir->ctx);
    }
    return stop;
}

/* ---- links ---- */

static ssize_t mem_readlink(struct inode *inode, char *buf, size_t size)
{
    const char *target = mem_of(inode)->target;
    size_t len = MIN(strlen(target), size);
    memcpy(buf, target, len);
    return len;
}

static int link_getattr(struct inode *inode, struct vfs_stat *st)
{
    st->size = strlen(mem_of(inode)->target);
    return 0;
}

/* ---- attributes ---- */

/* Shrinking forgets what the image had beyond, for good. */
static int mem_setattr(struct inode *inode, const struct vfs_stat *st, u32 which)
{
    if (!(which & VFS_SET_SIZE))
        return 0;
    struct mem_inode *mem = mem_of(inode);
    u32 sealed = st->size < inode->object.size ? F_SEAL_SHRINK : F_SEAL_GROW;
    if ((mem->seals & sealed) && st->size != inode->object.size)
        return -EPERM;
    mem->image_limit = MIN(mem->image_limit, st->size);
    return vm_object_truncate(&inode->object, st->size);
}

static int plain_setattr(struct inode *inode, const struct vfs_stat *st, u32 which)
{
    return which & VFS_SET_SIZE ? -EINVAL : 0;
}

static int dir_getattr(struct inode *inode, struct vfs_stat *st)
{
    st->size = PAGE_SIZE;
    return 0;
}

const struct inode_ops mem_dir_ops = {
    .lookup = mem_lookup,
    .create = mem_create,
    .symlink = mem_symlink,
    .link = mem_link,
    .unlink = mem_unlink,
    .rmdir = mem_rmdir,
    .rename = mem_rename,
    .tmpfile = mem_tmpfile,
    .readdir = mem_readdir,
    .getattr = dir_getattr,
    .setattr = plain_setattr,
    .statfs = mem_statfs,
    .evict = mem_evict,
    .xattrs = true,
};
const struct inode_ops mem_fixed_ops = {.lookup = mem_lookup, .readdir = mem_readdir, .evict = mem_evict};
const struct inode_ops mem_node_ops = {
    .setattr = mem_setattr, .statfs = mem_statfs, .evict = mem_evict, .xattrs = true};
const struct inode_ops mem_link_ops = {
    .readlink = mem_readlink,
    .getattr = link_getattr,
    .setattr = plain_setattr,
    .statfs = mem_statfs,
    .evict = mem_evict,
    .xattrs = true,
};

struct mount *mem_mount(const char *type, struct dentry *on, u32 mode, const struct inode_ops *dir_ops)
{
    struct mount *m = mount_create(type, type, 0x01021994);
    struct inode *root = m ? mem_inode_create(m, S_IFDIR | mode, 0) : NULL;
    if (!root)
        return NULL;
    m->next_ino = NEW_INO_BASE;
    root->ops = dir_ops;
    return mount_attach(m, root, on) ? NULL : m;
}
