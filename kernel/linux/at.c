/* See at.h. */
#include "kernel/linux/at.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/task.h"

/* The directory that dirfd names, for a relative path. */
static int start_dir(struct at *at, int dirfd)
{
    if (dirfd == AT_FDCWD) {
        at->dir = process_cwd();
        return 0;
    }
    at->file = fd_get(dirfd);
    if (!at->file)
        return -EBADF;
    at->dir = vfs_file_path(at->file);
    if (!at->dir.dentry || !at->file->inode || (at->file->inode->mode & S_IFMT) != S_IFDIR) {
        file_put(at->file);
        at->file = NULL;
        return -ENOTDIR;
    }
    vfs_path_get(at->dir);
    return 0;
}

static int start(struct at *at, int dirfd)
{
    at->file = NULL;
    if (at->path[0] != '/')
        return start_dir(at, dirfd);
    at->dir = vfs_root();
    return 0;
}

int at_get(struct at *at, int dirfd, const char *upath)
{
    int err = user_path(upath, &at->path);
    if (err)
        return err;
    err = at->path[0] ? start(at, dirfd) : -ENOENT;
    if (err)
        kfree(at->path);
    return err;
}

static int fd_inode(int fd, struct inode **inode)
{
    if (fd == AT_FDCWD) {
        struct vfs_path cwd = process_cwd();
        *inode = vfs_path_inode(cwd);
        inode_get(*inode);
        vfs_path_put(cwd);
        return 0;
    }
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    *inode = f->inode;
    if (*inode)
        inode_get(*inode);
    file_put(f);
    return *inode ? 0 : -EINVAL;
}

int at_get_empty(struct at *at, int dirfd, const char *upath, struct inode **inode)
{
    *inode = NULL;
    int err = user_path(upath, &at->path);
    if (err)
        return err;
    if (at->path[0])
        err = start(at, dirfd);
    else
        err = fd_inode(dirfd, inode);
    if (err || *inode)
        kfree(at->path);
    return err;
}

void at_put(struct at *at)
{
    vfs_path_put(at->dir);
    if (at->file)
        file_put(at->file);
    kfree(at->path);
}

int at_place(int dirfd, const char *upath, u32 flags, struct vfs_path *place, struct inode **inode)
{
    struct at at;
    int err;
    place->dentry = NULL;
    if (flags & AT_EMPTY_PATH) {
        err = at_get_empty(&at, dirfd, upath, inode);
        if (err || *inode)
            return err;
    } else if ((err = at_get(&at, dirfd, upath))) {
        return err;
    }
    err = vfs_lookup(at.dir, at.path, flags & AT_SYMLINK_NOFOLLOW ? VFS_NOFOLLOW : 0, place);
    at_put(&at);
    if (err)
        return err;
    *inode = vfs_path_inode(*place);
    inode_get(*inode);
    return 0;
}

int at_inode(int dirfd, const char *upath, u32 flags, struct inode **inode)
{
    struct vfs_path place;
    int err = at_place(dirfd, upath, flags, &place, inode);
    if (!err)
        vfs_path_put(place);
    return err;
}
