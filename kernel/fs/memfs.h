/*
 * The tree in memory: the root (over an EROFS image, loaded as needed), /dev, /tmp, memfds, and the skeleton
 * of /proc and /sys. A directory's entries are guarded by its inode lock; an entry holds one reference of its
 * inode once there is one (entries from the image name a nid until first looked up).
 */
#ifndef MOKA_FS_MEMFS_H
#define MOKA_FS_MEMFS_H

#include "kernel/base/tree.h"
#include "kernel/fs/erofs.h"
#include "kernel/fs/internal.h"

/* One entry of a directory, ordered by key: 60 bits of the name's hash, the next free key when taken. */
struct mem_entry {
    struct tree_node node;
    u64 key;
    struct inode *inode; /* one reference; NULL: still in the image */
    u64 nid;
    u32 type; /* S_IF* */
    u32 len;
    char name[];
};

struct mem_inode {
    struct inode inode;
    struct tree entries;       /* directories: mem_entry by key */
    u64 parent_ino;            /* directories: for ".." */
    char *target;              /* links: terminated */
    bool linkable;             /* O_TMPFILE: may get a first name */
    bool loaded;               /* directories: entries of the image are in the tree */
    struct erofs_inode *image; /* where it lies in the image; NULL: only in memory */
    struct list memfd_link;    /* memfds: in the list of all */
    u32 seals;                 /* memfds: F_SEAL_*; guarded by the inode lock */
    u64 image_limit;           /* files: bytes that still come from the image; guarded by the inode lock */
    struct tree_node nid_node; /* in the table of loaded image inodes */
    const struct synth_dir_ops *dynamic; /* computed entries besides those of the tree */
    void *ctx;
};

static inline struct mem_inode *mem_of(struct inode *inode)
{
    return container_of(inode, struct mem_inode, inode);
}

/* fcntl(2), F_ADD_SEALS */
#define F_SEAL_SEAL         1u
#define F_SEAL_SHRINK       2u
#define F_SEAL_GROW         4u
#define F_SEAL_WRITE        8u
#define F_SEAL_FUTURE_WRITE 16u

extern const struct inode_ops mem_dir_ops;   /* writable */
extern const struct inode_ops mem_fixed_ops; /* entries come and go only by mem_add: /proc, /sys */
extern const struct inode_ops mem_node_ops;  /* everything that is not a directory or a link */
extern const struct inode_ops mem_link_ops;
extern const struct file_ops mem_file_ops;
extern const struct vm_object_ops mem_object_ops;

/* A new inode of mode's type without a name; refs 1. NULL: out of memory. */
struct inode *mem_inode_create(struct mount *mount, u32 mode, u64 rdev);
/* Makes dir, so far only in memory, show the entries of an image's directory beside those it has, which win.
 * dir's lock is held. */
int mem_adopt(struct mem_inode *dir, const struct erofs_inode *image);
/* statfs: the half of memory that files with names may have, and what of it is left. */
int mem_statfs(struct inode *inode, struct vfs_statfs *st);
/* A memfd goes: takes it off their list. */
void memfd_forget(struct mem_inode *mem);
/* Adds a name; takes its own reference of inode. dir's lock is held. -EEXIST, -ENOMEM. */
int mem_add(struct inode *dir, const char *name, u32 len, struct inode *inode);
/* A mount of an empty tree. */
struct mount *mem_mount(const char *type, struct dentry *on, u32 mode, const struct inode_ops *dir_ops);

#endif
