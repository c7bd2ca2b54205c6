/* The EROFS reader. See erofs.h. Offsets in comments are bytes in the on-disk structure. */
#include "kernel/fs/erofs.h"
#include "kernel/fs/internal.h"
#include "virtio/virtio.h"

#define SUPER_OFFSET 1024
#define SUPER_SIZE   128
#define SUPER_MAGIC  0xe0f5e1e2u
#define NID_SHIFT    5
#define NULL_BLOCK   0xffffffffu
#define SIZE_MAX_OK  (1UL << 50) /* no file of an image is larger */

/* Incompatible features: those that only concern compressed files do not bother us until one is met. */
#define FEATURE_DEVICES 0x08u
#define FEATURE_KNOWN   0x7fu

#define LAYOUT_FLAT   0
#define LAYOUT_INLINE 2
#define LAYOUT_CHUNKS 4

#define DIRENT_SIZE 12

static u16 le16(const u8 *p)
{
    return p[0] | p[1] << 8;
}
static u32 le32(const u8 *p)
{
    return le16(p) | (u32)le16(p + 2) << 16;
}
static u64 le64(const u8 *p)
{
    return le32(p) | (u64)le32(p + 4) << 32;
}

static int corrupt(struct erofs *fs, u64 nid, const char *what)
{
    if (!fs->complained)
        log_error("moka: the root image is damaged: inode %lu: %s\n", nid, what);
    fs->complained = true;
    return -EIO;
}

/* ---- bytes and pages of the image ---- */

static int image_fill_many(struct vm_object *obj, u64 index, struct page **pages, u32 count)
{
    struct erofs *fs = obj->owner;
    return blk_read_pages(fs->dev, index << PAGE_SHIFT, pages, count);
}

static int image_fill(struct vm_object *obj, u64 index, struct page *page)
{
    return image_fill_many(obj, index, &page, 1);
}

static const struct vm_object_ops image_ops = {.fill = image_fill, .fill_many = image_fill_many};

/* [offset, offset + n) lies within the image. */
static bool inside(const struct erofs *fs, u64 offset, u64 n)
{
    return offset <= fs->size && n <= fs->size - offset;
}

static int read_image(struct erofs *fs, u64 offset, void *buf, size_t n)
{
    if (!inside(fs, offset, n))
        return -EIO;
    char *dst = buf;
    while (n) {
        struct page *page;
        size_t in_page = offset & (PAGE_SIZE - 1), piece = MIN(n, PAGE_SIZE - in_page);
        int err = vm_object_page(&fs->image, offset >> PAGE_SHIFT, false, &page);
        if (err)
            return err;
        memcpy(dst, (char *)page_to_virt(page) + in_page, piece);
        page_put(page);
        dst += piece;
        offset += piece;
        n -= piece;
    }
    return 0;
}

/* ---- the superblock ---- */

static int bad_image(const char *what)
{
    log_error("moka: root image: %s\n", what);
    return -EINVAL;
}

/* Superblock: 0 magic, 12 log2 of the block size, 14 root nid, 24 build time, 32 its ns, 36 blocks, 40 block
 * of the inode area, 80 incompatible features, 86 extra devices. */
static int parse_super(struct erofs *fs, const u8 *sb, u64 device_size)
{
    if (le32(sb) != SUPER_MAGIC)
        return bad_image("not an EROFS file system");
    fs->block_bits = sb[12];
    if (fs->block_bits < 9 || fs->block_bits > PAGE_SHIFT)
        return bad_image("unsupported block size");
    fs->block_size = 1u << fs->block_bits;
    u32 features = le32(sb + 80);
    if ((features & ~FEATURE_KNOWN) || ((features & FEATURE_DEVICES) && le16(sb + 86)))
        return bad_image("made with features that this kernel does not have");
    fs->size = (u64)le32(sb + 36) << fs->block_bits;
    if (fs->size > device_size)
        return bad_image("cut short: the device is smaller than the file system on it");
    fs->meta = (u64)le32(sb + 40) << fs->block_bits;
    fs->root = le16(sb + 14);
    fs->build_sec = le64(sb + 24);
    fs->build_nsec = le32(sb + 32) % NSEC_PER_SEC;
    if (!inside(fs, SUPER_OFFSET, SUPER_SIZE) || !inside(fs, fs->meta, 1))
        return bad_image("damaged superblock");
    return 0;
}

int erofs_open(struct erofs *fs, struct blk_device *dev)
{
    u8 sb[SUPER_SIZE];
    memset(fs, 0, sizeof(*fs));
    fs->dev = dev;
    fs->size = dev->size_bytes;
    vm_object_init(&fs->image, &image_ops, dev->size_bytes, fs);
    if (dev->size_bytes < SUPER_OFFSET + SUPER_SIZE)
        return bad_image("cut short: no room for a file system");
    if (read_image(fs, SUPER_OFFSET, sb, SUPER_SIZE)) {
        log_error("moka: root image: cannot be read\n");
        return -EIO;
    }
    int err = parse_super(fs, sb, dev->size_bytes);
    struct erofs_inode root;
    if (!err && (erofs_inode(fs, fs->root, &root) || (root.mode & S_IFMT) != S_IFDIR))
        err = bad_image("no root directory");
    return err;
}

/* ---- inodes ---- */

static bool valid_type(u32 mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return true;
    }
    return false;
}

/* The data of a flat file lies within the image, its tail within one block. */
static int check_flat(struct erofs *fs, struct erofs_inode *inode, u64 meta_end, u32 block)
{
    u64 tail_len = 0;
    inode->start = (u64)block << fs->block_bits;
    inode->flat_size = inode->size;
    if (inode->layout == LAYOUT_INLINE) {
        tail_len = inode->size & (fs->block_size - 1);
        inode->flat_size -= tail_len;
        inode->tail = meta_end;
        if (!inside(fs, meta_end, tail_len) ||
            (tail_len && (meta_end >> fs->block_bits) != ((meta_end + tail_len - 1) >> fs->block_bits)))
            return corrupt(fs, inode->nid, "inline data outside its block");
    }
    if (inode->flat_size && !inside(fs, inode->start, inode->flat_size))
        return corrupt(fs, inode->nid, "data outside the image");
    return 0;
}

/* Chunk format: bits 0-4 log2(chunk / block), bit 5: 8-byte indexes instead of a 4-byte block map. */
static int check_chunks(struct erofs *fs, struct erofs_inode *inode, u64 meta_end, u32 format)
{
    inode->chunk_bits = fs->block_bits + (format & 31);
    inode->entry_size = format & 32 ? 8 : 4;
    inode->tail = ALIGN_UP(meta_end, (u64)inode->entry_size);
    if (inode->chunk_bits < PAGE_SHIFT)
        return corrupt(fs, inode->nid, "chunks smaller than a page");
    u64 chunks = (inode->size + (1UL << inode->chunk_bits) - 1) >> inode->chunk_bits;
    if (!inside(fs, inode->tail, chunks * inode->entry_size))
        return corrupt(fs, inode->nid, "chunk table outside the image");
    return 0;
}

/* Compact inode, 32 bytes: 4 mode, 6 links, 8 size, 16 block | device, 24 uid, 26 gid.
 * Extended, 64 bytes: 4 mode, 8 size, 16 block | device, 24 uid, 28 gid, 32 mtime, 40 ns, 44 links. */
static void parse_inode(struct erofs *fs, const u8 *raw, bool extended, struct erofs_inode *out)
{
    out->mode = le16(raw + 4);
    out->size = extended ? le64(raw + 8) : le32(raw + 8);
    out->uid = extended ? le32(raw + 24) : le16(raw + 24);
    out->gid = extended ? le32(raw + 28) : le16(raw + 26);
    out->nlink = extended ? le32(raw + 44) : le16(raw + 6);
    out->mtime_sec = extended ? le64(raw + 32) : fs->build_sec;
    out->mtime_nsec = extended ? le32(raw + 40) % NSEC_PER_SEC : fs->build_nsec;
}

/* mknod's device encoding: minor's low 8 bits, 12 bits of major, minor's high 12 bits. */
static bool is_device(u32 mode)
{
    return (mode & S_IFMT) == S_IFCHR || (mode & S_IFMT) == S_IFBLK;
}

int erofs_inode(struct erofs *fs, u64 nid, struct erofs_inode *out)
{
    u8 raw[64];
    memset(out, 0, sizeof(*out));
    out->nid = nid;
    u64 offset = fs->meta + (nid << NID_SHIFT);
    if (nid >= 1UL << 48 || !inside(fs, offset, 32))
        return corrupt(fs, nid, "outside the image");
    int err = read_image(fs, offset, raw, 32);
    if (err)
        return err;
    u32 format = le16(raw), xattrs = le16(raw + 2);
    bool extended = format & 1;
    if (extended && (err = read_image(fs, offset, raw, 64)))
        return err;
    out->layout = format >> 1 & 7;
    parse_inode(fs, raw, extended, out);
    if (format >> 4 || !valid_type(out->mode) || out->size > SIZE_MAX_OK || !out->nlink)
        return corrupt(fs, nid, "impossible attributes");
    u64 meta_end = offset + (extended ? 64 : 32) + (xattrs ? 12 + 4 * (xattrs - 1) : 0);
    if (is_device(out->mode)) {
        out->rdev = le32(raw + 16);
        out->size = 0;
        return 0;
    }
    if (out->layout == LAYOUT_CHUNKS)
        return check_chunks(fs, out, meta_end, le16(raw + 16));
    if (out->layout != LAYOUT_FLAT && out->layout != LAYOUT_INLINE)
        return corrupt(fs, nid, "compressed (make the image without compression)");
    return check_flat(fs, out, meta_end, le32(raw + 16));
}

/* ---- data ---- */

/* Byte offset in the image of the chunk that holds pos; 0 for a hole. The entry's block number is at 0 of a
 * map entry and at 4 of an index (2: device). */
static int chunk_start(struct erofs *fs, const struct erofs_inode *inode, u64 pos, u64 *start)
{
    u8 raw[8];
    int err =
        read_image(fs, inode->tail + (pos >> inode->chunk_bits) * inode->entry_size, raw, inode->entry_size);
    if (err)
        return err;
    u32 block = le32(raw + inode->entry_size - 4);
    *start = block == NULL_BLOCK ? 0 : (u64)block << fs->block_bits;
    if (inode->entry_size == 8 && block != NULL_BLOCK && le16(raw + 2))
        return corrupt(fs, inode->nid, "data on another device");
    return 0;
}

/*
 * Where the bytes from pos on lie: *offset in the image (0: a hole), *len of them in a row, at most to the
 * file's end.
 */
static int map_data(struct erofs *fs, const struct erofs_inode *inode, u64 pos, u64 *offset, u64 *len)
{
    if (inode->layout != LAYOUT_CHUNKS) {
        bool tail = pos >= inode->flat_size;
        *offset = tail ? inode->tail + (pos - inode->flat_size) : inode->start + pos;
        *len = (tail ? inode->size : inode->flat_size) - pos;
        return 0;
    }
    u64 start, in_chunk = pos & ((1UL << inode->chunk_bits) - 1);
    int err = chunk_start(fs, inode, pos, &start);
    if (err)
        return err;
    *len = MIN((1UL << inode->chunk_bits) - in_chunk, inode->size - pos);
    *offset = start ? start + in_chunk : 0;
    if (start && !inside(fs, *offset, *len))
        return corrupt(fs, inode->nid, "chunk outside the image");
    return 0;
}

int erofs_read(struct erofs *fs, const struct erofs_inode *inode, u64 pos, void *buf, size_t size)
{
    char *dst = buf;
    while (size) {
        u64 offset, len;
        int err = map_data(fs, inode, pos, &offset, &len);
        if (err)
            return err;
        len = MIN(len, size);
        if (!len)
            return -EIO;
        if (offset)
            err = read_image(fs, offset, dst, len);
        else
            memset(dst, 0, len);
        if (err)
            return err;
        dst += len;
        pos += len;
        size -= len;
    }
    return 0;
}

/* Whole pages that lie in a row in the image, straight from the device; 0: this page needs piecing together.
 */
static int fill_run(struct erofs *fs, const struct erofs_inode *inode, u64 limit, u64 pos,
                    struct page **pages, u32 count, u32 *done)
{
    u64 offset, len;
    int err = map_data(fs, inode, pos, &offset, &len);
    *done = 0;
    if (err)
        return err;
    len = MIN(len, limit - pos);
    /* The last page of a flat file may be read whole where the image goes on: the rest is zeroed below. */
    u32 whole = MIN((u64)count, len >> PAGE_SHIFT);
    bool rest = len & (PAGE_SIZE - 1), last = pos + len == limit;
    if (offset && whole < count && rest && last && inside(fs, offset, (u64)(whole + 1) << PAGE_SHIFT))
        whole++;
    if (!whole || !offset || offset % 512)
        return 0;
    err = blk_read_pages(fs->dev, offset, pages, whole);
    if (err)
        return err;
    u64 end = pos + ((u64)whole << PAGE_SHIFT);
    if (end > limit)
        memset((char *)page_to_virt(pages[whole - 1]) + (limit & (PAGE_SIZE - 1)), 0, end - limit);
    *done = whole;
    return 0;
}

int erofs_fill(struct erofs *fs, const struct erofs_inode *inode, u64 limit, u64 index, struct page **pages,
               u32 count)
{
    u32 i = 0;
    limit = MIN(limit, inode->size);
    while (i < count) {
        u64 pos = (index + i) << PAGE_SHIFT;
        u32 done = 0;
        int err = 0;
        if (pos < limit)
            err = fill_run(fs, inode, limit, pos, pages + i, count - i, &done);
        if (err)
            return err;
        if (!done) {
            char *mem = page_to_virt(pages[i]);
            u64 len = pos < limit ? MIN(limit - pos, PAGE_SIZE) : 0;
            err = len ? erofs_read(fs, inode, pos, mem, len) : 0;
            if (err)
                return err;
            memset(mem + len, 0, PAGE_SIZE - len);
            done = 1;
        }
        i += done;
    }
    return 0;
}

/* ---- directories ---- */

static u32 entry_type(u8 type)
{
    static const u32 types[] = {0, S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK};
    return type < ARRAY_LEN(types) ? types[type] : 0;
}

static bool valid_name(const char *name, u32 len)
{
    return len && len <= NAME_MAX && !memchr(name, '/', len) && !memchr(name, 0, len);
}

static bool is_dots(const char *name, u32 len)
{
    return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

/*
 * A directory block: entries of 12 bytes (0 nid, 8 offset of the name in the block, 10 type), then the names.
 * The first name's offset tells how many entries there are; a name ends where the next begins, the last one
 * at the block's end or at a NUL.
 */
static int walk_block(struct erofs *fs, u64 nid, const u8 *block, u32 size,
                      int (*fn)(void *arg, const char *name, u32 len, u64 nid, u32 type), void *arg)
{
    if (size < DIRENT_SIZE)
        return corrupt(fs, nid, "short directory block");
    u32 names = le16(block + 8), count = names / DIRENT_SIZE;
    if (!count || names % DIRENT_SIZE || names >= size)
        return corrupt(fs, nid, "bad directory block");
    for (u32 i = 0; i < count; i++) {
        const u8 *entry = block + i * DIRENT_SIZE;
        u32 start = le16(entry + 8), end = i + 1 < count ? le16(entry + DIRENT_SIZE + 8) : size;
        if (start < names || start >= end || end > size)
            return corrupt(fs, nid, "bad name in a directory");
        const char *name = (const char *)block + start;
        u32 len = i + 1 < count ? end - start : strnlen(name, end - start);
        if (!valid_name(name, len) || !entry_type(entry[10]))
            return corrupt(fs, nid, "bad name in a directory");
        int err = is_dots(name, len) ? 0 : fn(arg, name, len, le64(entry), entry_type(entry[10]));
        if (err)
            return err;
    }
    return 0;
}

int erofs_readdir(struct erofs *fs, const struct erofs_inode *dir,
                  int (*fn)(void *arg, const char *name, u32 len, u64 nid, u32 type), void *arg)
{
    u8 *block = kmalloc(fs->block_size);
    int err = block ? 0 : -ENOMEM;
    for (u64 pos = 0; !err && pos < dir->size; pos += fs->block_size) {
        u32 size = MIN(dir->size - pos, fs->block_size);
        err = erofs_read(fs, dir, pos, block, size);
        if (!err)
            err = walk_block(fs, dir->nid, block, size, fn, arg);
    }
    kfree(block);
    return err;
}
