/*
 * Files: open files, inodes, paths. kernel/linux translates the Linux calls to these; it owns descriptor
 * tables.
 *
 * The root is one in-memory tree whose inodes may be backed by the EROFS image (kernel/fs/root): directories
 * load their entries and files their pages from it when first needed, and every change stays in memory. Other
 * file systems (9p volumes, /proc, /sys, /dev) are mounted on directories of it.
 *
 * Locks, in order: rename lock (one, for moves between directories) < inode lock (parents first) < object
 * lock. All functions may sleep.  Errors: 0 or a positive result, or -errno as the Linux call of that name
 * documents.
 */
#ifndef MOKA_FS_VFS_H
#define MOKA_FS_VFS_H

#include "kernel/base/list.h"
#include "kernel/base/types.h"
#include "mm/vm/vm.h"
#include "sched/mutex.h"
#include "sched/waitq.h"

/* ---- scattered buffers ---- */

struct iov {
    void *base;
    size_t len;
};
/*
 * A walk over buffers. user: addresses are the program's, already checked to lie below PROGRAM_END, and may
 * fault; otherwise kernel memory. iov_to/iov_from copy and advance; they return the bytes copied, or -EFAULT
 * if none could be.
 *
 * pages: each buffer lies in one page, by its address in the direct map, that the caller has a reference of.
 * Who takes the bytes may take references of its own (page_get) instead of copying; then it sends what the
 * page holds at that time. more: further bytes follow at once, in another walk. part: a pipe takes what it
 * has room for, and waits only while it has none.
 */
struct iov_iter {
    const struct iov *iov;
    u32 count;
    size_t offset; /* in iov[0] */
    size_t left;   /* bytes in all */
    bool user, pages, more, part;
};
void iov_iter_init(struct iov_iter *it, const struct iov *iov, u32 count, bool user);
/* The same for one buffer. */
static inline void iov_iter_one(struct iov_iter *it, const struct iov *iov, bool user)
{
    *it = (struct iov_iter){.iov = iov, .count = 1, .left = iov->len, .user = user};
}
/* Buffers for the n bytes from pos on of what pages hold, one a page; pages[0] is the one of pos. How many.
 */
u32 iov_of_pages(struct iov *iov, struct page **pages, u64 pos, size_t n);
ssize_t iov_to(struct iov_iter *it, const void *src, size_t n); /* src -> buffers */
ssize_t iov_from(struct iov_iter *it, void *dst, size_t n);     /* buffers -> dst */
ssize_t iov_zero(struct iov_iter *it, size_t n);
void iov_advance(struct iov_iter *it, size_t n);
/* The next bytes that lie in one buffer, at most *n; how many in *n. Advances. it->left is not 0. */
void *iov_take(struct iov_iter *it, size_t *n);

/* ---- attributes ---- */

/* File types, as in stat's st_mode. */
#define S_IFMT   0170000
#define S_IFSOCK 0140000
#define S_IFLNK  0120000
#define S_IFREG  0100000
#define S_IFBLK  0060000
#define S_IFDIR  0040000
#define S_IFCHR  0020000
#define S_IFIFO  0010000

struct vfs_time {
    s64 sec;
    u32 nsec;
};
struct vfs_stat {
    u64 dev, ino, rdev;
    u32 mode, nlink, uid, gid;
    u64 size, blocks; /* blocks of 512 bytes */
    u32 blksize;
    struct vfs_time atime, mtime, ctime, btime;
};
#define VFS_SET_MODE  1u
#define VFS_SET_UID   2u
#define VFS_SET_GID   4u
#define VFS_SET_SIZE  8u
#define VFS_SET_ATIME 16u
#define VFS_SET_MTIME 32u
/* The time is now, whatever the fields say. */
#define VFS_SET_ATIME_NOW 64u
#define VFS_SET_MTIME_NOW 128u
struct vfs_statfs {
    u64 type, bsize, blocks, bfree, bavail, files, ffree, fsid, namelen;
};

/* ---- inodes and names ---- */

struct inode;
struct dentry;
struct file;
struct mount;

/* Called once per directory entry; non-zero stops the walk. next: the position to resume after this entry. */
typedef int (*vfs_dir_fn)(void *arg, const char *name, u32 len, u64 ino, u32 type /* S_IF* */, u64 next);

/*
 * Operations of an inode. dir and inode arguments are referenced by the caller. Locks: those that change a
 * directory are called with its inode lock held. NULL means: -ENOTDIR/-EPERM/-EROFS/-EINVAL as fits. *out: a
 * new reference.
 */
struct inode_ops {
    int (*lookup)(struct inode *dir, const char *name, u32 len, struct inode **out); /* -ENOENT */
    int (*create)(struct inode *dir, const char *name, u32 len, u32 mode, u64 rdev,
                  struct inode **out); /* any type but link and symlink; mode has S_IFMT */
    int (*symlink)(struct inode *dir, const char *name, u32 len, const char *target, struct inode **out);
    int (*link)(struct inode *dir, const char *name, u32 len, struct inode *inode);
    int (*unlink)(struct inode *dir, const char *name, u32 len, struct inode *inode);
    int (*rmdir)(struct inode *dir, const char *name, u32 len, struct inode *inode);
    int (*rename)(struct inode *from, const char *name, u32 len, struct inode *inode, struct inode *to,
                  const char *to_name, u32 to_len, struct inode *replaced, u32 flags);
    int (*tmpfile)(struct inode *dir, u32 mode, struct inode **out);  /* without a name; no lock held */
    ssize_t (*readlink)(struct inode *inode, char *buf, size_t size); /* bytes, no terminator */
    /* A link that leads to an open file instead of a path (/proc/self/fd/N): a new reference. NULL: none. */
    int (*jump)(struct inode *inode, struct file **out);
    int (*readdir)(struct inode *dir, struct file *file, u64 pos, vfs_dir_fn fn,
                   void *arg);                                /* "." and ".." included */
    int (*getattr)(struct inode *inode, struct vfs_stat *st); /* NULL: from the inode's fields */
    int (*setattr)(struct inode *inode, const struct vfs_stat *st, u32 which);
    int (*open)(struct inode *inode, struct file *file); /* may replace file->ops, set file->private */
    int (*statfs)(struct inode *inode, struct vfs_statfs *st);
    void (*evict)(struct inode *inode); /* last reference gone: free it; xattr_free() if it has xattrs */
    bool xattrs;                        /* extended attributes are kept, in inode->xattrs */
};

struct inode {
    const struct inode_ops *ops;
    const struct file_ops *file_ops; /* for files opened on it */
    struct mount *mount;
    struct mutex lock; /* directory contents, attributes */
    u32 refs;          /* atomic */
    u32 mode, nlink, uid, gid;
    u64 ino, rdev;
    struct vfs_time atime, mtime, ctime, btime;
    struct vm_object object; /* regular files: contents and size */
    struct list locks;       /* record locks and flock */
    struct list watches;     /* inotify */
    struct xattr *xattrs;    /* extended attributes; guarded by lock */
    void *private;
};

/* ---- open files ---- */

#define POLL_IN    0x001u
#define POLL_PRI   0x002u
#define POLL_OUT   0x004u
#define POLL_ERR   0x008u
#define POLL_HUP   0x010u
#define POLL_NVAL  0x020u
#define POLL_RDHUP 0x2000u

/*
 * Operations of an open file. NULL: see each. pos points to the position to use and advance (the file's own,
 * or pread's). Blocking respects O_NONBLOCK in file->flags (-EAGAIN) and signals (-ERESTART).
 */
typedef ssize_t (*read_buf_fn)(struct file *f, void *buf, size_t len);
typedef ssize_t (*write_buf_fn)(struct file *f, const void *buf, size_t len);
struct file_ops {
    ssize_t (*read)(struct file *f, struct iov_iter *it, u64 *pos);  /* NULL: -EINVAL */
    ssize_t (*write)(struct file *f, struct iov_iter *it, u64 *pos); /* NULL: -EINVAL */
    /* The same for one buffer of the program's, whose range was checked, at no position: the short way for
     * streams, which ends the whole call. So they take over the caller's reference, and return file_done() or
     * file_put_after() of the result. NULL: read and write are called. */
    read_buf_fn read_buf;
    write_buf_fn write_buf;
    s64 (*seek)(struct file *f, s64 off, int whence); /* NULL: -ESPIPE */
    u32 (*poll)(struct file *f);                      /* POLL_* that hold now. NULL: always IN|OUT */
    struct waitq *(*pollq)(struct file *f); /* queue woken when poll() may have changed; NULL: never */
    s64 (*ioctl)(struct file *f, u32 cmd, u64 arg); /* NULL: -ENOTTY; arg unchecked program value */
    int (*mmap)(struct file *f, u64 offset, u64 len, u32 area_flags,
                struct vm_object **obj); /* NULL: -ENODEV; *obj borrowed; NULL: anonymous memory */
    /*
     * The pages that hold the n bytes from pos on, as far as the file goes, each with a reference of the
     * caller's: room for `max`. Bytes they hold from pos on, 0 at the end of the file, or -errno. The bytes
     * count as read. NULL: the contents are not cached, read() is the way.
     */
    ssize_t (*borrow)(struct file *f, u64 pos, size_t n, struct page **pages, u32 max);
    int (*fsync)(struct file *f, bool data_only);                /* NULL: 0 for files, -EINVAL else */
    int (*allocate)(struct file *f, int mode, u64 off, u64 len); /* NULL: -EOPNOTSUPP */
    int (*flush)(struct file *f);                                /* each close of a descriptor. NULL: 0 */
    void (*release)(struct file *f);                             /* last reference gone */
    bool stream;                                                 /* no position: pread fails with -ESPIPE */
};

struct file {
    const struct file_ops *ops;
    u32 refs;             /* atomic */
    u32 flags;            /* O_*: access mode, O_APPEND, O_NONBLOCK ...; changed by fcntl atomically */
    read_buf_fn read_buf; /* of ops; where there is none, or the file may not be read, file_read_long */
    write_buf_fn write_buf;
    struct mutex pos_lock; /* guards pos during read, write, seek, getdents */
    u64 pos;
    struct inode *inode;   /* one reference; anonymous files (pipes, eventfd ...) have one of the anon file
                              system or NULL */
    struct dentry *dentry; /* one reference; where it was opened; NULL for anonymous files */
    char *path;            /* absolute path at open, kmalloc'ed, for /proc/self/fd and maps; "pipe:[n]",
                              "anon_inode:[eventfd]" ... */
    void *watchers;        /* epoll's; vfs_unwatch_hook is called when not NULL at the end of the file */
    void *private;
};
/* Called before a file's release when its watchers is not NULL; may sleep; no locks held. Registered once. */
extern void (*vfs_unwatch_hook)(struct file *f);

#define O_ACCMODE   00000003
#define O_RDONLY    00000000
#define O_WRONLY    00000001
#define O_RDWR      00000002
#define O_CREAT     00000100
#define O_EXCL      00000200
#define O_NOCTTY    00000400
#define O_TRUNC     00001000
#define O_APPEND    00002000
#define O_NONBLOCK  00004000
#define O_DSYNC     00010000
#define O_DIRECT    00040000
#define O_LARGEFILE 00100000
#define O_DIRECTORY 00200000
#define O_NOFOLLOW  00400000
#define O_NOATIME   01000000
#define O_CLOEXEC   02000000
#define O_SYNC      04010000
#define O_PATH      010000000
#define O_TMPFILE   020200000

/* A file with refs 1, no descriptor. ops, flags given; inode and path may be NULL (path is copied). NULL: out
 * of memory. */
struct file *file_create(const struct file_ops *ops, u32 flags, struct inode *inode, const char *path,
                         void *private);
static inline void file_get(struct file *f)
{
    __atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
}
s64 file_end(struct file *f, s64 result); /* for file_put: after the last reference. Returns result */
/* Drops a reference; releases with the last one. */
static inline void file_put(struct file *f)
{
    if (unlikely(!__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL)))
        file_end(f, 0);
}
/* The same for what returns the result of a call. */
static inline s64 file_put_after(struct file *f, s64 result)
{
    return unlikely(!__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL)) ? file_end(f, result) : result;
}
/* What read_buf and write_buf are of files without one of their own. Registered once at boot, before there is
 * a file. */
extern read_buf_fn file_read_long;
extern write_buf_fn file_write_long;
/* A pipe or FIFO, either end. */
static inline bool file_is_pipe(const struct file *f)
{
    return f->inode && (f->inode->mode & S_IFMT) == S_IFIFO;
}
/* True when f may be read (written): its access mode, and not O_PATH. */
static inline bool file_readable(const struct file *f)
{
    return !(f->flags & O_PATH) && (f->flags & O_ACCMODE) != O_WRONLY;
}
static inline bool file_writable(const struct file *f)
{
    return !(f->flags & O_PATH) && (f->flags & O_ACCMODE) != O_RDONLY;
}
/* Changes the operations of a file that is being opened; ops must not be set otherwise. */
void file_set_ops(struct file *f, const struct file_ops *ops);
/* Tells inotify about bytes read or written through f; costs a load when nobody watches anything. */
void file_notify_slow(struct file *f, bool written);
extern u32 vfs_watch_count;
static inline void file_notify(struct file *f, bool written)
{
    if (unlikely(vfs_watch_count))
        file_notify_slow(f, written);
}
/* The end of a transfer of `result` bytes or -errno: tells inotify, drops the reference, returns result. */
s64 file_done_slow(struct file *f, s64 result, bool written);
static inline s64 file_done(struct file *f, s64 result, bool written)
{
    return unlikely(vfs_watch_count) ? file_done_slow(f, result, written) : file_put_after(f, result);
}
/* Kernel-buffer and iterator I/O with the checks every caller needs (access mode, RLIMIT-free). pos NULL: the
 * file's own position under pos_lock. */
ssize_t file_read(struct file *f, struct iov_iter *it, u64 *pos);
ssize_t file_write(struct file *f, struct iov_iter *it, u64 *pos);
/* lseek under pos_lock. The new position, or -ESPIPE, -EINVAL, -ENXIO. */
s64 file_seek(struct file *f, s64 off, int whence);
/* Calls fn for the entries of a directory from f's position on, which follows; fn must not touch program
 * memory (an inode lock is held). 0, or what fn returned, or -ENOTDIR, -ENOENT (removed). */
int file_readdir(struct file *f, vfs_dir_fn fn, void *arg);
ssize_t file_read_kernel(struct file *f, void *buf, size_t n, u64 pos);
ssize_t file_write_kernel(struct file *f, const void *buf, size_t n, u64 pos);

/* ---- paths: all take absolute paths or paths relative to `at` (a directory inode, one reference kept by the
 * caller) ---- */

/* Reference counts of inodes; the last put evicts. */
static inline void inode_get(struct inode *inode)
{
    __atomic_add_fetch(&inode->refs, 1, __ATOMIC_RELAXED);
}
void inode_put(struct inode *inode); /* may be NULL */
/* For inodes made outside kernel/fs (pipes, sockets): a zeroed one with refs 1, nlink 1, its times now, a new
 * number on the anonymous file system, freed by kfree. NULL: out of memory. */
struct inode *inode_anon(u32 mode);

/* A place in the tree: name lookup result. Each holds references; vfs_path_put releases. */
struct vfs_path {
    struct dentry *dentry;
};
void vfs_init(void);      /* makes the empty root; mounts /proc, /sys, /dev, /tmp dirs */
int vfs_mount_root(void); /* the EROFS image of the first block device; -ENODEV, -EINVAL with one log_error
                             line that says what is wrong */
void vfs_prefetch(void);  /* starts reading what the image lists in /moka/prefetch; returns at once */
/* Mounts the 9p device of that tag on dir (created if missing). -ENODEV, -ENOTDIR, -ENAMETOOLONG, -ENOMEM,
 * -EIO; the strings are copied. */
int vfs_mount_9p(const char *tag, const char *dir, bool read_only);
/* The same for TAG:GUESTDIR[:ro]. -EINVAL after a log_error line that says what is wrong. */
int vfs_mount_volume(const char *spec);
struct vfs_path vfs_root(void); /* a new reference */
void vfs_path_put(struct vfs_path p);
void vfs_path_get(struct vfs_path p);
struct inode *vfs_path_inode(struct vfs_path p); /* borrowed */
/* Absolute path of p into buf; length with terminator, or -ERANGE; -ENOENT when unlinked (buf then has "
 * (deleted)" appended). */
ssize_t vfs_path_name(struct vfs_path p, char *buf, size_t size);
#define VFS_NOFOLLOW  1u /* do not follow a symbolic link at the end */
#define VFS_DIRECTORY 2u /* -ENOTDIR unless a directory */
int vfs_lookup(struct vfs_path at, const char *path, u32 flags, struct vfs_path *out);
/* flags O_*, mode already masked by umask. The file's path is set. */
int vfs_open(struct vfs_path at, const char *path, u32 flags, u32 mode, struct file **out);
struct vfs_path vfs_file_path(struct file *f); /* borrowed; dentry NULL for anonymous files */
int vfs_mkdir(struct vfs_path at, const char *path, u32 mode);
int vfs_mknod(struct vfs_path at, const char *path, u32 mode, u64 rdev);
int vfs_unlink(struct vfs_path at, const char *path);
int vfs_rmdir(struct vfs_path at, const char *path);
int vfs_symlink(const char *target, struct vfs_path at, const char *path);
int vfs_link(struct vfs_path from_at, const char *from, struct vfs_path at, const char *path,
             u32 flags /* 0: VFS_NOFOLLOW-like Linux default; 1: follow */);
#define VFS_RENAME_NOREPLACE 1u
#define VFS_RENAME_EXCHANGE  2u
int vfs_rename(struct vfs_path from_at, const char *from, struct vfs_path to_at, const char *to, u32 flags);
ssize_t vfs_readlink(struct vfs_path at, const char *path, char *buf, size_t size);
int vfs_stat(struct inode *inode, struct vfs_stat *st);
int vfs_setattr(struct inode *inode, const struct vfs_stat *st, u32 which); /* truncation included */
/* The same, telling watchers of the directory by the name it was reached by (at.dentry may be NULL). */
int vfs_setattr_at(struct inode *inode, struct vfs_path at, const struct vfs_stat *st, u32 which);
int vfs_statfs(struct inode *inode, struct vfs_statfs *st);
int vfs_truncate_file(struct file *f, u64 size);
/* Creates an unnamed regular file in memory (memfd_create). name only shows in /proc. sealable: F_ADD_SEALS
 * works. */
int vfs_memfd(const char *name, bool sealable, bool huge, struct file **out);
struct vfs_time vfs_now(void);
/* Load averages over 1, 5 and 15 minutes, in 2048ths (sysinfo wants 65536ths: << 5). */
void vfs_loadavg(u32 out[3]);
/* sync(2): writes back whatever is dirty on every mounted volume. May sleep long; errors are not reported. */
void vfs_sync(void);

/* Copies between files without a program buffer (sendfile, copy_file_range, splice to a socket or pipe). Ends
 * early, with what was copied, when a signal is pending. */
ssize_t vfs_splice(struct file *in, u64 *in_pos, struct file *out, u64 *out_pos, size_t n);

/* The mounted file systems in order, for /proc/mounts and mountinfo; dir: where. Stops when fn is not 0. */
struct vfs_mount_info {
    const char *source, *type, *dir;
    u64 dev;
    u32 id, parent_id;
    bool read_only;
};
int vfs_for_each_mount(int (*fn)(const struct vfs_mount_info *info, void *arg), void *arg);

/* ---- extended attributes: xattr(7) ---- */

#define XATTR_NAME_MAX 255
#define XATTR_SIZE_MAX 65536
#define XATTR_LIST_MAX 65536
#define XATTR_CREATE   1u
#define XATTR_REPLACE  2u

/*
 * name: 1 to XATTR_NAME_MAX bytes and a terminator. All buffers are the kernel's. Kept are user.* (of files
 * and directories), trusted.* and security.*, by file systems in memory. Errors of all but xattr_list:
 * -EOPNOTSUPP (not a kind that is kept, or a file system that keeps none), -EINVAL (the name ends after the
 * dot). No locks held; may sleep.
 */
/* at: where the inode was found, for inotify; its dentry may be NULL. size: 0 to XATTR_SIZE_MAX. flags:
 * XATTR_*. -EEXIST, -ENODATA (as flags ask), -EPERM (user.* of anything but files and directories), -EROFS,
 * -ENOMEM. */
int xattr_set(struct inode *inode, struct vfs_path at, const char *name, const void *value, size_t size,
              u32 flags);
/* The size of the value, copied to buf unless room is 0. -ENODATA, -ERANGE (room is too small). */
ssize_t xattr_get(struct inode *inode, const char *name, void *buf, size_t room);
/* The bytes that all names take with their terminators, copied likewise. -ERANGE. */
ssize_t xattr_list(struct inode *inode, char *buf, size_t room);
/* -ENODATA, -EPERM, -EROFS. */
int xattr_remove(struct inode *inode, struct vfs_path at, const char *name);
/* At the end of an inode: frees what it has. */
void xattr_free(struct inode *inode);

/* ---- record locks ---- */
struct vfs_lock {
    u64 start, end; /* [start, end), end ~0: to infinity */
    bool exclusive;
    const void *owner; /* process for F_SETLK, struct file for OFD and flock */
    u32 kind;          /* 0 POSIX, 1 flock */
};
int vfs_lock(struct file *f, const struct vfs_lock *lock, bool wait); /* -EAGAIN, -EINTR, -EDEADLK */
void vfs_unlock(struct file *f, const struct vfs_lock *range);
bool vfs_lock_test(struct file *f, const struct vfs_lock *lock, struct vfs_lock *conflict);

/*
 * ---- notifications (inotify): fs calls them, kernel/linux/inotify registers. Mask: IN_* of inotify(7),
 * IN_ISDIR included. ---- inode's watches get the event without a name, parent's watches with name; either
 * may be NULL. Called with or without inode locks held: must not take one, nor touch program memory.
 */
extern u32 vfs_watch_count; /* atomic; watches there are: the hook is called only when it is not 0 */
extern void (*vfs_notify_hook)(struct inode *inode, struct inode *parent, const char *name, u32 mask,
                               u32 cookie);

/* ---- synthetic files for /proc, /sys, /dev: registered by any layer at boot ---- */

/* Text of a synthetic file grows in a seq; the generator appends. Errors stick and surface as -ENOMEM at
 * read. */
struct seq {
    char *text;
    size_t len, room;
    bool failed;
};
void seq_printf(struct seq *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void seq_write(struct seq *s, const char *text, size_t len);
/*
 * A read-only file at an absolute path under /proc or /sys: show generates the whole text at open time.
 * store, when not NULL, handles a write of len bytes (kernel memory): result as write(2).
 */
int synth_file(const char *path, int (*show)(struct seq *s, void *arg),
               ssize_t (*store)(const char *text, size_t len, void *arg), void *arg);
int synth_dir(const char *path);
/* A symbolic link computed when it is read. */
int synth_link(const char *path, ssize_t (*target)(char *buf, size_t size, void *arg), void *arg);
/*
 * A directory whose entries are computed: list calls fn for each; open_entry makes the inode of one name (for
 * /proc/self/fd, task).
 */
struct synth_dir_ops {
    int (*list)(u64 pos, vfs_dir_fn fn, void *arg, void *ctx);
    int (*lookup)(const char *name, u32 len, struct inode **out, void *ctx);
};
int synth_dynamic_dir(const char *path, const struct synth_dir_ops *ops, void *ctx);
/* Inodes for synth_dir_ops.lookup: a generated text, a directory. */
struct inode *synth_inode_file(int (*show)(struct seq *s, void *arg), void *arg);
/* A link with the text of target that leads to the file get returns (a new reference, or NULL: -ENOENT). */
struct inode *synth_inode_jump(ssize_t (*target)(char *buf, size_t size, void *arg),
                               struct file *(*get)(void *arg), void *arg);
/* A directory with computed entries (/proc/self/task/N). */
struct inode *synth_inode_dir(const struct synth_dir_ops *ops, void *ctx);

#endif
