/* Character devices: the table of those registered, and the memory devices of mem(4). */
#include "kernel/base/random.h"
#include "kernel/fs/memfs.h"

struct device {
    struct list link;
    u64 rdev;
    const struct file_ops *ops;
    void *private;
};

static struct mutex devices_lock;
static struct list devices = LIST_INIT(devices);

const struct file_ops *device_ops(u64 rdev, void **private)
{
    const struct file_ops *ops = NULL;
    struct device *dev;
    mutex_lock(&devices_lock);
    list_for_each(dev, &devices, link) if (dev->rdev == rdev)
    {
        ops = dev->ops;
        *private = dev->private;
    }
    mutex_unlock(&devices_lock);
    return ops;
}

/* A character device under /dev with its own file operations. */
static int synth_device(const char *path, u32 major, u32 minor, const struct file_ops *ops, void *private)
{
    struct device *dev = kmalloc(sizeof(*dev));
    if (!dev)
        return -ENOMEM;
    *dev = (struct device){.rdev = make_dev(major, minor), .ops = ops, .private = private};
    mutex_lock(&devices_lock);
    list_push_back(&devices, &dev->link);
    mutex_unlock(&devices_lock);
    return vfs_mknod((struct vfs_path){root_mount->root}, path, S_IFCHR | 0666, dev->rdev);
}

static ssize_t read_nothing(struct file *f, struct iov_iter *it, u64 *pos)
{
    return 0;
}

static ssize_t write_nothing(struct file *f, struct iov_iter *it, u64 *pos)
{
    size_t n = it->left;
    iov_advance(it, n);
    return n;
}

static ssize_t read_zeros(struct file *f, struct iov_iter *it, u64 *pos)
{
    return iov_zero(it, it->left);
}

static ssize_t write_full(struct file *f, struct iov_iter *it, u64 *pos)
{
    return -ENOSPC;
}

static s64 seek_nowhere(struct file *f, s64 off, int whence)
{
    return f->pos = 0;
}

/* mmap of /dev/zero: private mappings are anonymous memory, shared ones an object of the open file's. */
static int map_zero(struct file *f, u64 offset, u64 len, u32 area_flags, struct vm_object **obj)
{
    *obj = NULL;
    if (!(area_flags & VM_SHARED))
        return 0;
    mutex_lock(&f->pos_lock);
    if (!f->private)
        f->private = vm_object_create_anon(offset + len);
    mutex_unlock(&f->pos_lock);
    *obj = f->private;
    if (!*obj)
        return -ENOMEM;
    return offset + len > (*obj)->size ? vm_object_truncate(*obj, offset + len) : 0;
}

static void release_zero(struct file *f)
{
    if (f->private)
        vm_object_put(f->private);
}

static ssize_t read_random(struct file *f, struct iov_iter *it, u64 *pos)
{
    u8 chunk[256];
    size_t total = 0;
    while (it->left) {
        size_t n = MIN(it->left, sizeof(chunk));
        random_bytes(chunk, n);
        ssize_t done = iov_to(it, chunk, n);
        if (done < 0)
            return total ? (ssize_t)total : done;
        total += done;
        if ((size_t)done < n)
            break;
    }
    return total;
}

/* Gives what is written to `use`, piece by piece. */
static ssize_t write_to(struct iov_iter *it, void (*use)(const void *bytes, size_t n))
{
    u8 chunk[256];
    size_t total = 0;
    while (it->left) {
        ssize_t n = iov_from(it, chunk, sizeof(chunk));
        if (n < 0)
            return total ? (ssize_t)total : n;
        use(chunk, n);
        total += n;
    }
    return total;
}

static ssize_t write_random(struct file *f, struct iov_iter *it, u64 *pos)
{
    return write_to(it, random_mix);
}

static void write_log(const void *text, size_t len)
{
    log_write(text, len);
}

/* /dev/console and /dev/kmsg: the kernel's own messages, on the serial port. */
static ssize_t write_console(struct file *f, struct iov_iter *it, u64 *pos)
{
    return write_to(it, write_log);
}

static const struct file_ops null_ops = {.read = read_nothing, .write = write_nothing, .seek = seek_nowhere};
static const struct file_ops zero_ops = {.read = read_zeros,
                                         .write = write_nothing,
                                         .seek = seek_nowhere,
                                         .mmap = map_zero,
                                         .release = release_zero};
static const struct file_ops full_ops = {.read = read_zeros, .write = write_full, .seek = seek_nowhere};
static const struct file_ops random_ops = {.read = read_random, .write = write_random, .seek = seek_nowhere};
static const struct file_ops console_ops = {.read = read_nothing, .write = write_console};

static const struct {
    const char *path;
    u32 major, minor;
    const struct file_ops *ops;
} nodes[] = {
    {"/dev/null", 1, 3, &null_ops},       {"/dev/zero", 1, 5, &zero_ops},
    {"/dev/full", 1, 7, &full_ops},       {"/dev/random", 1, 8, &random_ops},
    {"/dev/urandom", 1, 9, &random_ops},  {"/dev/kmsg", 1, 11, &console_ops},
    {"/dev/console", 5, 1, &console_ops}, {"/dev/tty", 5, 0, NULL}, /* no controlling terminal: ENXIO */
};

static const char *const links[][2] = {
    {"/proc/self/fd", "/dev/fd"},
    {"/proc/self/fd/0", "/dev/stdin"},
    {"/proc/self/fd/1", "/dev/stdout"},
    {"/proc/self/fd/2", "/dev/stderr"},
};

void dev_init(void)
{
    struct vfs_path root = {root_mount->root};
    for (u32 i = 0; i < ARRAY_LEN(nodes); i++)
        if (synth_device(nodes[i].path, nodes[i].major, nodes[i].minor, nodes[i].ops, NULL))
            panic("no memory for %s", nodes[i].path);
    for (u32 i = 0; i < ARRAY_LEN(links); i++)
        vfs_symlink(links[i][0], root, links[i][1]);
}
