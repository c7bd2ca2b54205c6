/*
 * The 9P2000.L protocol: one function a message, over virtio's p9_transact(). Every reply is checked for its
 * type, tag and length; a reply that is none of what was asked gives -EIO.
 * Source: diod's protocol.md (9P2000.L), Plan 9 intro(5) of section 5.
 */
#ifndef MOKA_FS_P9_H
#define MOKA_FS_P9_H

#include "kernel/base/types.h"
#include "kernel/fs/vfs.h"
#include "virtio/virtio.h"

/* A connection: one mounted volume. */
struct p9 {
    struct p9_channel *channel;
    u32 msize;    /* bytes of the largest message, both sides agreed */
    u32 next_fid; /* atomic */
    u32 next_tag; /* atomic */
};

/* A handle on the server, shared by reference; the last put clunks it. */
struct p9_fid {
    struct p9 *p9;
    u32 id;
    u32 refs;  /* atomic */
    u32 flags; /* O_ACCMODE it was opened with; meaningless while only walked to */
};

struct p9_qid {
    u8 type;
    u32 version;
    u64 path;
};
#define P9_QID_DIR  0x80
#define P9_QID_LINK 0x02

struct p9_attr {
    struct p9_qid qid;
    struct vfs_stat st; /* dev is left 0 */
};

/* A record of a directory; name is not terminated. */
struct p9_entry {
    u64 qid_path, next;
    u32 type, len; /* type: S_IF* */
    const char *name;
};

/* Agrees on version and message size, attaches. *root: the root's handle. -EIO, -EPROTO, -ENOMEM. */
int p9_connect(struct p9 *p9, struct p9_channel *channel, struct p9_fid **root);

static inline struct p9_fid *p9_fid_get(struct p9_fid *fid)
{
    __atomic_add_fetch(&fid->refs, 1, __ATOMIC_RELAXED);
    return fid;
}
void p9_fid_put(struct p9_fid *fid); /* may be NULL */

/* name NULL: a second handle on the same thing. */
int p9_walk(struct p9_fid *from, const char *name, u32 len, struct p9_fid **out, struct p9_qid *qid);
int p9_getattr(struct p9_fid *fid, struct p9_attr *attr);
int p9_setattr(struct p9_fid *fid, const struct vfs_stat *st, u32 which /* VFS_SET_* */);
int p9_open(struct p9_fid *fid, u32 flags);
/* fid, a handle of the directory, becomes one of the new open file. */
int p9_create(struct p9_fid *fid, const char *name, u32 len, u32 flags, u32 mode);
int p9_mkdir(struct p9_fid *dir, const char *name, u32 len, u32 mode);
int p9_mknod(struct p9_fid *dir, const char *name, u32 len, u32 mode, u64 rdev);
int p9_symlink(struct p9_fid *dir, const char *name, u32 len, const char *target);
int p9_link(struct p9_fid *dir, const char *name, u32 len, struct p9_fid *file);
int p9_rename(struct p9_fid *from, const char *name, u32 len, struct p9_fid *to, const char *to_name,
              u32 to_len);
int p9_unlink(struct p9_fid *dir, const char *name, u32 len, bool directory);
ssize_t p9_readlink(struct p9_fid *fid, char *buf, size_t size);
int p9_fsync(struct p9_fid *fid, bool data_only);
int p9_statfs(struct p9_fid *fid, struct vfs_statfs *st);
/* Calls fn for the entries of one reply from offset on; *count: how many there were. Ends when fn is not 0.
 */
int p9_readdir(struct p9_fid *fid, u64 offset, int (*fn)(void *arg, const struct p9_entry *entry), void *arg,
               u32 *count);

/* Data. Bytes moved, fewer than asked for only at the end of the file or after an error. Kernel memory of any
 * kind. */
ssize_t p9_write(struct p9_fid *fid, u64 offset, const void *buf, size_t n);
/* One message's worth to or from scattered buffers. */
ssize_t p9_read_iter(struct p9_fid *fid, u64 offset, struct iov_iter *it, size_t n);
/* As many messages as it has room for, until the end of the file: 0 then, too, with it->left not 0. */
int p9_read_all(struct p9_fid *fid, u64 offset, struct iov_iter *it);
/* data, when not NULL, is called with what was written, in kernel memory. */
ssize_t p9_write_iter(struct p9_fid *fid, u64 offset, struct iov_iter *it, size_t n,
                      void (*data)(void *arg, u64 offset, const void *bytes, size_t n), void *arg);

#endif
