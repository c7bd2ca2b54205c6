/*
 * Reads an EROFS image: superblock, inodes, directories, links, file pages. Everything read is checked;
 * whatever is wrong gives -EIO, and the first time one log_error line. The image never changes.
 * Source: Linux documentation, filesystems/erofs.rst ("On-disk details"), and erofs-utils' mkfs.erofs(1).
 * Uncompressed files only: layouts flat, flat with inline tail, and chunk-based.
 */
#ifndef MOKA_FS_EROFS_H
#define MOKA_FS_EROFS_H

#include "kernel/base/types.h"
#include "mm/vm/vm.h"

struct blk_device;

struct erofs {
    struct blk_device *dev;
    struct vm_object image; /* the whole image, for metadata */
    u64 size;               /* bytes of the image */
    u64 meta;               /* byte offset of the inode area */
    u64 root;               /* nid */
    u32 block_bits;
    u32 block_size;
    u64 build_sec;
    u32 build_nsec;
    bool complained;
};

/* An inode as the image has it. */
struct erofs_inode {
    u64 nid, size;
    u32 mode, nlink, uid, gid, rdev;
    u64 mtime_sec;
    u32 mtime_nsec;
    u32 layout;
    u64 start;      /* flat: byte offset of the first block */
    u64 tail;       /* inline: byte offset of the tail; chunks: of the table */
    u64 flat_size;  /* inline: bytes before the tail */
    u32 chunk_bits; /* log2 of a chunk's bytes */
    u32 entry_size; /* of the chunk table: 4 or 8 */
};

/* Reads the superblock of dev. 0, or -EINVAL/-EIO after one log_error line. fs stays where it is from then
 * on. */
int erofs_open(struct erofs *fs, struct blk_device *dev);
/* 0, -EIO, -ENOMEM. */
int erofs_inode(struct erofs *fs, u64 nid, struct erofs_inode *out);
/* Calls fn for each entry ("." and ".." left out) with its nid and S_IF* type; a non-zero result ends it. */
int erofs_readdir(struct erofs *fs, const struct erofs_inode *dir,
                  int (*fn)(void *arg, const char *name, u32 len, u64 nid, u32 type), void *arg);
/* Reads size bytes from pos (within the file) into buf. */
int erofs_read(struct erofs *fs, const struct erofs_inode *inode, u64 pos, void *buf, size_t size);
/* Fills count pages of a file from page index; zeros beyond `limit` bytes of the file (at most its size). */
int erofs_fill(struct erofs *fs, const struct erofs_inode *inode, u64 limit, u64 index, struct page **pages,
               u32 count);

#endif
