/* System calls about extended attributes: setxattr(2), getxattr(2), listxattr(2), removexattr(2). */
#include "kernel/base/errno.h"
#include "kernel/linux/at.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/task.h"
#include "mm/phys/phys.h"

/* The file a call is about. target_put() releases. */
struct target {
    struct inode *inode;
    struct vfs_path place;
    struct file *file;
};

static int target_path(struct target *t, const char *path, u32 flags)
{
    t->file = NULL;
    return at_place(AT_FDCWD, path, flags, &t->place, &t->inode);
}

/* Not of descriptors with O_PATH. Those of an anonymous file without an inode have no attributes either. */
static int target_fd(struct target *t, int fd)
{
    *t = (struct target){.file = fd_get_io(fd)};
    if (!t->file)
        return -EBADF;
    if (!t->file->inode) {
        file_put(t->file);
        return -EOPNOTSUPP;
    }
    t->inode = t->file->inode;
    t->place.dentry = t->file->dentry;
    return 0;
}

static s64 target_put(struct target *t, s64 result)
{
    if (t->file)
        return file_put_after(t->file, result);
    inode_put(t->inode);
    vfs_path_put(t->place);
    return result;
}

/* A name of the program's: *out is the caller's. -ERANGE: empty or too long. */
static int get_name(const char *uname, char **out)
{
    int err = user_string(uname, XATTR_NAME_MAX + 1, -ERANGE, out);
    if (err || (*out)[0])
        return err;
    kfree(*out);
    return -ERANGE;
}

/* What setxattr is given, checked and copied. set_args_put() releases. */
struct set_args {
    char *name;
    void *value;
    size_t size;
    u32 flags;
};

static int set_args_get(struct set_args *a, const char *name, const void *value, u64 size, u32 flags)
{
    *a = (struct set_args){.size = size, .flags = flags};
    if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    int err = get_name(name, &a->name);
    if (err)
        return err;
    if (size > XATTR_SIZE_MAX)
        err = -E2BIG;
    else if (size && !(a->value = kmalloc_raw(size)))
        err = -ENOMEM;
    else if (size)
        err = copy_from_user(a->value, value, size);
    if (err) {
        kfree(a->value);
        kfree(a->name);
    }
    return err;
}

static s64 set_on(struct target *t, struct set_args *a, int found)
{
    s64 result = found;
    if (!found)
        result = target_put(t, xattr_set(t->inode, t->place, a->name, a->value, a->size, a->flags));
    kfree(a->value);
    kfree(a->name);
    return result;
}

/* xattr_get of that name, or xattr_list for NULL. The result goes to the program's buffer of `size` bytes. */
static s64 read_to(struct inode *inode, const char *name, void *ubuf, u64 size)
{
    const size_t most = name ? XATTR_SIZE_MAX : XATTR_LIST_MAX;
    size_t room = size < most ? size : most;
    void *buf = room ? kmalloc_raw(room) : NULL;
    if (room && !buf)
        return -ENOMEM;
    s64 result = name ? xattr_get(inode, name, buf, room) : xattr_list(inode, buf, room);
    if (result == -ERANGE && room == most) /* no buffer would do: listxattr(2) */
        result = -E2BIG;
    if (result > 0 && room && copy_to_user(ubuf, buf, result))
        result = -EFAULT;
    kfree(buf);
    return result;
}

static s64 get_on(struct target *t, int found, const char *uname, void *value, u64 size)
{
    if (found)
        return found;
    char *name;
    s64 result = get_name(uname, &name);
    if (!result) {
        result = read_to(t->inode, name, value, size);
        kfree(name);
    }
    return target_put(t, result);
}

static s64 list_on(struct target *t, int found, void *list, u64 size)
{
    return found ?: target_put(t, read_to(t->inode, NULL, list, size));
}

static s64 remove_on(struct target *t, int found, const char *uname)
{
    if (found)
        return found;
    char *name;
    s64 result = get_name(uname, &name);
    if (!result) {
        result = xattr_remove(t->inode, t->place, name);
        kfree(name);
    }
    return target_put(t, result);
}

s64 sys_setxattr(const char *path, const char *name, const void *value, u64 size, u32 flags)
{
    struct target t;
    struct set_args a;
    return set_args_get(&a, name, value, size, flags) ?: set_on(&t, &a, target_path(&t, path, 0));
}
s64 sys_lsetxattr(const char *path, const char *name, const void *value, u64 size, u32 flags)
{
    struct target t;
    struct set_args a;
    return set_args_get(&a, name, value, size, flags)
               ?: set_on(&t, &a, target_path(&t, path, AT_SYMLINK_NOFOLLOW));
}
s64 sys_fsetxattr(int fd, const char *name, const void *value, u64 size, u32 flags)
{
    struct target t;
    struct set_args a;
    return set_args_get(&a, name, value, size, flags) ?: set_on(&t, &a, target_fd(&t, fd));
}
s64 sys_getxattr(const char *path, const char *name, void *value, u64 size)
{
    struct target t;
    return get_on(&t, target_path(&t, path, 0), name, value, size);
}
s64 sys_lgetxattr(const char *path, const char *name, void *value, u64 size)
{
    struct target t;
    return get_on(&t, target_path(&t, path, AT_SYMLINK_NOFOLLOW), name, value, size);
}
s64 sys_fgetxattr(int fd, const char *name, void *value, u64 size)
{
    struct target t;
    return get_on(&t, target_fd(&t, fd), name, value, size);
}
s64 sys_listxattr(const char *path, void *list, u64 size)
{
    struct target t;
    return list_on(&t, target_path(&t, path, 0), list, size);
}
s64 sys_llistxattr(const char *path, void *list, u64 size)
{
    struct target t;
    return list_on(&t, target_path(&t, path, AT_SYMLINK_NOFOLLOW), list, size);
}
s64 sys_flistxattr(int fd, void *list, u64 size)
{
    struct target t;
    return list_on(&t, target_fd(&t, fd), list, size);
}
s64 sys_removexattr(const char *path, const char *name)
{
    struct target t;
    return remove_on(&t, target_path(&t, path, 0), name);
}
s64 sys_lremovexattr(const char *path, const char *name)
{
    struct target t;
    return remove_on(&t, target_path(&t, path, AT_SYMLINK_NOFOLLOW), name);
}
s64 sys_fremovexattr(int fd, const char *name)
{
    struct target t;
    return remove_on(&t, target_fd(&t, fd), name);
}
