/* Mounts, and setting up the tree at boot. */
#include "kernel/fs/memfs.h"
#include "virtio/virtio.h"

struct mount *root_mount, *proc_mount;
static struct list mounts = LIST_INIT(mounts); /* guarded by the rename lock */
static u32 next_mount;

struct mount *mount_create(const char *type, const char *source, u64 magic)
{
    struct mount *m = kmalloc(sizeof(*m));
    if (!m)
        return NULL;
    m->id = __atomic_add_fetch(&next_mount, 1, __ATOMIC_RELAXED);
    m->type = type;
    m->source = source;
    m->magic = magic;
    m->dev = make_dev(0, 0x14 + m->id);
    m->next_ino = 1;
    list_init(&m->link);
    return m;
}

int mount_attach(struct mount *m, struct inode *root_inode, struct dentry *on)
{
    struct dentry *root = dentry_create(NULL, "/", 1, root_inode);
    if (!root)
        return -ENOMEM;
    inode_put(root_inode);
    root->root_of = m;
    m->root = root;
    m->covers = on;
    if (on)
        dentry_get(on);
    else
        root_mount = m;
    mutex_lock(&rename_lock);
    list_push_back(&mounts, &m->link);
    if (on)
        __atomic_store_n(&on->mounted, m, __ATOMIC_RELEASE);
    mutex_unlock(&rename_lock);
    return 0;
}

/* The mount that holds d. */
static struct mount *mount_of(struct dentry *d)
{
    while (d->parent)
        d = d->parent;
    return d->root_of;
}

int vfs_for_each_mount(int (*fn)(const struct vfs_mount_info *info, void *arg), void *arg)
{
    char *dir = kmalloc(PATH_MAX);
    int stop = dir ? 0 : -ENOMEM;
    struct mount *m;
    /* Mounts only ever come, at the end: the list can be walked without the lock, which naming takes. */
    for (struct list *at = mounts.next; !stop && at != &mounts; at = at->next) {
        m = list_entry(at, struct mount, link);
        if (vfs_path_name((struct vfs_path){m->root}, dir, PATH_MAX) < 0)
            continue;
        struct vfs_mount_info info = {m->source, m->type, dir, m->dev, m->id, 0, m->read_only};
        if (m->covers)
            info.parent_id = mount_of(m->covers)->id;
        stop = fn(&info, arg);
    }
    kfree(dir);
    return stop;
}

void mounts_for_each(const char *type, void (*fn)(struct mount *m))
{
    for (struct list *at = mounts.next; at != &mounts; at = at->next) {
        struct mount *m = list_entry(at, struct mount, link);
        if (!strcmp(m->type, type))
            fn(m);
    }
}

int mount_make_dir(const char *dir, struct vfs_path *out)
{
    char path[PATH_MAX];
    if (strlcpy(path, dir, sizeof(path)) >= sizeof(path))
        return -ENAMETOOLONG;
    struct vfs_path root = {root_mount->root};
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        vfs_mkdir(root, path, 0755);
        *slash = '/';
    }
    vfs_mkdir(root, path, 0755);
    return vfs_lookup(root, path, VFS_DIRECTORY, out);
}

static struct mount *mount_mem_at(const char *dir, const char *type, u32 mode, const struct inode_ops *ops)
{
    struct vfs_path on;
    if (mount_make_dir(dir, &on))
        return NULL;
    struct mount *m = mem_mount(type, on.dentry, mode, ops);
    vfs_path_put(on);
    return m;
}

static const char *const boot_dirs[] = {"/tmp", "/var/tmp", "/run", "/root", "/etc", "/home"};

/* The mounts every root has; on top of whatever the image brings. */
static void mount_kernel_trees(void)
{
    struct mount *proc = proc_mount = mount_mem_at("/proc", "proc", 0555, &mem_fixed_ops);
    struct mount *sys = mount_mem_at("/sys", "sysfs", 0555, &mem_fixed_ops);
    struct mount *dev = mount_mem_at("/dev", "devtmpfs", 0755, &mem_dir_ops);
    struct mount *shm = mount_mem_at("/dev/shm", "tmpfs", 01777, &mem_dir_ops);
    struct mount *pts = mount_mem_at("/dev/pts", "devpts", 0755, &mem_fixed_ops);
    if (!proc || !sys || !dev || !shm || !pts)
        panic("no memory for the file systems of the kernel");
    proc->magic = 0x9fa0;
    proc->uncached = true; /* computed directories below */
    sys->magic = 0x62656572;
    pts->magic = 0x1cd1;
}

static void make_boot_dirs(void)
{
    struct vfs_path p;
    for (u32 i = 0; i < ARRAY_LEN(boot_dirs); i++)
        if (!mount_make_dir(boot_dirs[i], &p))
            vfs_path_put(p);
    struct vfs_stat st = {.mode = 01777};
    for (u32 i = 0; i < 2; i++)
        if (!vfs_lookup(vfs_root(), boot_dirs[i], 0, &p)) {
            vfs_setattr(p.dentry->inode, &st, VFS_SET_MODE);
            vfs_path_put(p);
        }
}

static void file_get_cb(void *f)
{
    file_get(f);
}

static void file_put_cb(void *f)
{
    file_put(f);
}

void vfs_init(void)
{
    vm_file_ops = (struct vm_file_ops){file_get_cb, file_put_cb};
    root_mount = mem_mount("rootfs", NULL, 0755, &mem_dir_ops);
    if (!root_mount)
        panic("no memory for the root directory");
    root_mount->source = "rootfs";
    mount_kernel_trees();
    dev_init();
    proc_init();
    sys_init();
}

/* Makes the directory of the image the directory of the root: its entries appear beside those made so far. */
static int adopt_image(struct erofs *fs)
{
    struct mem_inode *root = mem_of(root_mount->root->inode);
    struct erofs_inode image;
    int err = erofs_inode(fs, fs->root, &image);
    if (err)
        return err;
    root_mount->private = fs;
    mutex_lock(&root->inode.lock);
    err = mem_adopt(root, &image);
    mutex_unlock(&root->inode.lock);
    return err;
}

int vfs_mount_root(void)
{
    struct blk_device *dev = blk_get(0);
    if (!dev) {
        log_error("moka: no root image: there is no virtio block device\n");
        return -ENODEV;
    }
    struct erofs *fs = kmalloc(sizeof(*fs));
    int err = fs ? erofs_open(fs, dev) : -ENOMEM;
    if (!err && (err = adopt_image(fs)))
        log_error("moka: root image: the root directory cannot be read\n");
    if (!err) {
        root_mount->type = "erofs";
        root_mount->source = "/dev/vda";
        make_boot_dirs();
    }
    return err;
}
