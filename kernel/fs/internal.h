/*
 * What the files of kernel/fs share: names (dentries), mounts, the walk along a path.
 *
 * Locks, in order: rename lock < inode lock (parents first) < bucket of the name cache (a leaf).
 * A dentry's name and parent change only under the rename lock and its bucket's lock together, so either
 * suffices for reading them; `inode` never changes.
 */
#ifndef MOKA_FS_INTERNAL_H
#define MOKA_FS_INTERNAL_H

#include "kernel/base/errno.h"
#include "kernel/base/list.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/base/types.h"
#include "kernel/fs/vfs.h"

#define NAME_MAX  255
#define PATH_MAX  4096
#define LINKS_MAX 40

/* inotify(7) */
#define IN_ACCESS        0x00000001u
#define IN_MODIFY        0x00000002u
#define IN_ATTRIB        0x00000004u
#define IN_CLOSE_WRITE   0x00000008u
#define IN_CLOSE_NOWRITE 0x00000010u
#define IN_OPEN          0x00000020u
#define IN_MOVED_FROM    0x00000040u
#define IN_MOVED_TO      0x00000080u
#define IN_CREATE        0x00000100u
#define IN_DELETE        0x00000200u
#define IN_DELETE_SELF   0x00000400u
#define IN_MOVE_SELF     0x00000800u
#define IN_ISDIR         0x40000000u

/* A name in the tree. The name cache holds one reference of every dentry it lists. */
struct dentry {
    u32 refs; /* atomic */
    u32 len;
    u64 hash;              /* of parent and name */
    struct dentry *next;   /* in its bucket */
    bool cached;           /* listed in the name cache */
    bool used;             /* found since the sweep last passed */
    bool unlinked;         /* the name is gone from its directory */
    struct dentry *parent; /* one reference; NULL: the root of a mount, or detached */
    struct inode *inode;   /* one reference */
    struct mount *mounted; /* the file system mounted here; set once */
    struct mount *root_of; /* the mount whose root this is, or NULL */
    char *name;            /* terminated; kmalloc'ed apart when it does not fit */
    char short_name[40];
};

/* A mounted file system. Never unmounted. */
struct mount {
    struct list link; /* all mounts, guarded by the rename lock */
    const char *type, *source;
    struct dentry *root;
    struct dentry *covers; /* the directory it is mounted on; NULL for the first */
    u64 dev;
    u32 id;
    bool read_only;
    bool uncached; /* names are computed: ask the file system each time */
    /* Names may change by themselves: is a cached name of inode still its? on_way: it is not the end of the
     * path, so an answer a moment old will do. NULL: always. May sleep. */
    bool (*revalidate)(struct inode *inode, bool on_way);
    u64 next_ino; /* atomic */
    u64 magic;    /* statfs f_type */
    void *private;
};

extern struct mutex rename_lock;
extern struct mount *root_mount, *proc_mount;

static inline bool is_dir(const struct inode *inode)
{
    return (inode->mode & S_IFMT) == S_IFDIR;
}
static inline bool is_link(const struct inode *inode)
{
    return (inode->mode & S_IFMT) == S_IFLNK;
}
static inline bool is_reg(const struct inode *inode)
{
    return (inode->mode & S_IFMT) == S_IFREG;
}

/* FNV-like hash of a name, eight bytes a step. */
u64 name_hash(const char *name, u32 len);

/* ---- names: dentry.c ---- */

static inline void dentry_get(struct dentry *d)
{
    __atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
}
void dentry_put(struct dentry *d); /* may be NULL */
/* A dentry that is in no cache; takes over no reference: gets its own of parent (may be NULL) and inode. */
struct dentry *dentry_create(struct dentry *parent, const char *name, u32 len, struct inode *inode);
/*
 * The child of that name, from the cache or the file system. dir's inode lock is held. 0, -ENOENT,
 * -ENAMETOOLONG, -ENOMEM, or what lookup returned. Mounts are not crossed.
 */
int dentry_lookup_locked(struct dentry *dir, const char *name, u32 len, struct dentry **out);
/* The same without the lock held; crosses to the root of what is mounted there. on_way: more of the path
 * follows. */
int dentry_lookup(struct dentry *dir, const char *name, u32 len, bool on_way, struct dentry **out);
/* As dentry_lookup, but only from the cache: false when it is not there. */
bool dentry_find_through(struct dentry *dir, const char *name, u32 len, struct dentry **out);
/* Makes the dentry of a name just created (dir's inode lock held) and lists it. */
int dentry_instantiate(struct dentry *dir, const char *name, u32 len, struct inode *inode,
                       struct dentry **out);
/* The name is gone: leaves the cache and is marked. dir's inode lock is held. */
void dentry_unlink(struct dentry *d);
/* Gives d a new place. The rename lock and both directories' inode locks are held. -ENOMEM changes nothing.
 */
int dentry_move(struct dentry *d, struct dentry *parent, const char *name, u32 len);
/* ".." as a path sees it, a new reference. */
struct dentry *dentry_dotdot(struct dentry *d);
/* True when a is d or above it, mounts included. The rename lock is held. */
bool dentry_above(struct dentry *a, struct dentry *d);

/* ---- the walk along a path: path.c ---- */

enum last_kind { LAST_NAME, LAST_DOT, LAST_DOTDOT, LAST_ROOT /* no component: "/" */ };

/* After walk_parent: dir is the directory that holds (or may hold) the last component. */
struct walk {
    struct dentry *dir; /* one reference */
    const char *rest;   /* what is still to be walked */
    char *buf;          /* the text with links substituted; kmalloc'ed, or NULL */
    u32 links;
    enum last_kind last;
    const char *name; /* of the last component; not terminated */
    u32 len;
    bool slash; /* slashes follow it */
};
int walk_start(struct walk *w, struct vfs_path at, const char *path);
int walk_parent(struct walk *w);
/* Resolves the last component (or, within walk_parent, the present one) without following it. */
int walk_last(struct walk *w, struct dentry **out);
/* Continues along link, which is the last component. Then walk_parent again. */
int walk_follow(struct walk *w, struct dentry *link);
void walk_end(struct walk *w);

/* ---- inodes: inode.c ---- */

/* Fills the generic part of a new inode. */
void inode_init(struct inode *inode, struct mount *mount, u32 mode);
u64 mount_new_ino(struct mount *mount);
/* Checks that the file system can be written: 0 or -EROFS. */
int inode_writable(const struct inode *inode);
void inode_touch(struct inode *inode, u32 which); /* VFS_SET_ATIME|MTIME; ctime goes with MTIME */
#define TOUCH_CTIME (1u << 31)
/* Updates the access time as relatime does. */
void inode_accessed(struct inode *inode);

void notify_slow(struct inode *inode, struct dentry *d, u32 mask);
/* Tells watchers of inode, and of its directory by d (may be NULL), about mask. */
static inline void notify(struct inode *inode, struct dentry *d, u32 mask)
{
    if (unlikely(vfs_watch_count))
        notify_slow(inode, d, mask);
}
/* Tells dir's watchers about an entry. */
void notify_entry(struct inode *dir, const char *name, u32 len, bool is_directory, u32 mask, u32 cookie);

/* ---- mounts: mount.c ---- */

/* A mount with its fields set, not yet attached; root given. */
struct mount *mount_create(const char *type, const char *source, u64 magic);
/* Makes root_inode (one reference passed) the root and attaches it on `on` (NULL: the first mount). */
int mount_attach(struct mount *m, struct inode *root_inode, struct dentry *on);
/* Calls fn for every mount of that type. */
void mounts_for_each(const char *type, void (*fn)(struct mount *m));
/* mkdir -p for boot: the dentry of dir, made where missing. */
int mount_make_dir(const char *dir, struct vfs_path *out);

/* ---- files ---- */
extern const struct file_ops dir_file_ops;  /* directories of any file system */
extern const struct file_ops link_file_ops; /* O_PATH files: nothing works */
s64 seek_generic(struct file *f, s64 off, int whence, u64 size);
/* The operations of a registered character device; NULL: none. */
const struct file_ops *device_ops(u64 rdev, void **private);
void locks_release(struct file *f); /* all locks owned by f */

static inline u64 make_dev(u32 major, u32 minor)
{
    return ((u64)(major & 0xfff) << 8) | (minor & 0xff) | ((u64)(minor & ~0xffu) << 12) |
           ((u64)(major & ~0xfffu) << 32);
}

void dev_init(void);
void proc_init(void);
void sys_init(void);

#endif
