/* Paths of system calls: a directory descriptor and a string, turned into what kernel/fs takes. */
#ifndef MOKA_LINUX_AT_H
#define MOKA_LINUX_AT_H

#include "kernel/fs/vfs.h"
#include "kernel/linux/user.h"

/* A place to start from and a path, both owned: at_put() releases. */
struct at {
    struct vfs_path dir;
    char *path;
    struct file *file; /* keeps the directory open */
};

/*
 * Reads a path of the program. dirfd counts for relative paths only. 0, or -EFAULT, -ENAMETOOLONG, -ENOMEM,
 * -EBADF, -ENOTDIR, -ENOENT (empty path).
 */
int at_get(struct at *at, int dirfd, const char *upath);
/*
 * The same, but the empty path is allowed and means dirfd itself: then *inode is its inode, with a reference
 * (inode_put), and nothing else is set. Else *inode is NULL.
 */
int at_get_empty(struct at *at, int dirfd, const char *upath, struct inode **inode);
void at_put(struct at *at);
/* Looks up dirfd + path (flags: AT_*), *inode with a reference. -EINVAL when flags holds more than allowed.
 */
int at_inode(int dirfd, const char *upath, u32 flags, struct inode **inode);
/* The same with the place, too (vfs_path_put); its dentry is NULL for an empty path. */
int at_place(int dirfd, const char *upath, u32 flags, struct vfs_path *place, struct inode **inode);

#endif
