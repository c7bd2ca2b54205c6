#include "java-launcher/host/zip.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Record signatures and fixed sizes, APPNOTE sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16. */
enum {
    LOCAL_MAGIC = 0x04034b50,
    LOCAL_SIZE = 30,
    CENTRAL_MAGIC = 0x02014b50,
    CENTRAL_SIZE = 46,
    END_MAGIC = 0x06054b50,
    END_SIZE = 22,
    END64_MAGIC = 0x06064b50,
    END64_SIZE = 56,
    LOCATOR64_MAGIC = 0x07064b50,
    LOCATOR64_SIZE = 20,
    COMMENT_MAX = 0xffff,
    ENCRYPTED = 1, /* general purpose bit 0 */
    STORED = 0,
    DEFLATED = 8,
    EXTRA_ZIP64 = 1,
};

static uint64_t le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    while (bytes--)
        v = v << 8 | p[bytes];
    return v;
}

/* N bytes at offset AT, or NULL if the file has not got them. */
static const uint8_t *at(const struct zip *z, uint64_t offset, uint64_t n)
{
    return offset <= z->size && n <= z->size - offset ? z->base + offset : NULL;
}

static bool magic_at(const struct zip *z, uint64_t offset, uint32_t magic, size_t size)
{
    const uint8_t *p = at(z, offset, size);
    return p && le(p, 4) == magic;
}

/* The end record is the last thing in the file but for a comment of its own. */
static bool find_end(const struct zip *z, size_t *end)
{
    if (z->size < END_SIZE)
        return false;
    size_t pos = z->size - END_SIZE, last = pos > COMMENT_MAX ? pos - COMMENT_MAX : 0;
    for (;; pos--) {
        if (magic_at(z, pos, END_MAGIC, END_SIZE) && pos + END_SIZE + le(z->base + pos + 20, 2) <= z->size) {
            *end = pos;
            return true;
        }
        if (pos == last)
            return false;
    }
}

static bool locate_directory(struct zip *z)
{
    size_t end;
    if (!find_end(z, &end))
        return false;
    uint64_t size = le(z->base + end + 12, 4), offset = le(z->base + end + 16, 4);
    if (end >= LOCATOR64_SIZE && magic_at(z, end - LOCATOR64_SIZE, LOCATOR64_MAGIC, LOCATOR64_SIZE)) {
        uint64_t end64 = le(z->base + end - LOCATOR64_SIZE + 8, 8);
        if (magic_at(z, end64, END64_MAGIC, END64_SIZE)) {
            size = le(z->base + end64 + 40, 8);
            offset = le(z->base + end64 + 48, 8);
            end = end64;
        }
    }
    /* Whatever was put before the archive shifts everything by the same amount. */
    if (size > end || offset > end - size)
        return false;
    z->start = end - size - offset;
    z->directory = end - size;
    z->directory_end = end;
    return true;
}

int zip_open(struct zip *z, const char *path)
{
    struct stat st;
    memset(z, 0, sizeof *z);
    if (stat(path, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode)) /* to open a pipe would wait for its writer */
        return -ESPIPE;
    int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        err = -errno;
    else if (st.st_size < END_SIZE)
        err = -ENOEXEC;
    if (!err) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            err = -errno;
        } else {
            z->base = p;
            z->size = (size_t)st.st_size;
        }
    }
    close(fd);
    if (!err && !locate_directory(z)) {
        zip_close(z);
        err = -ENOEXEC;
    }
    return err;
}

void zip_close(struct zip *z)
{
    if (z->base)
        munmap((void *)z->base, z->size);
    memset(z, 0, sizeof *z);
}

/* Replaces the fields that say 0xffffffff by those of the ZIP64 extra field, which holds only these, in this
 * order. */
static void apply_zip64(struct zip_entry *e, const uint8_t *extra, size_t len)
{
    uint64_t *fields[] = {&e->unpacked, &e->packed, &e->header};
    while (len >= 4) {
        size_t id = le(extra, 2), n = le(extra + 2, 2);
        if (n > len - 4)
            return;
        if (id == EXTRA_ZIP64) {
            const uint8_t *p = extra + 4, *end = p + n;
            for (int i = 0; i < 3; i++) {
                if (*fields[i] == UINT32_MAX && end - p >= 8) {
                    *fields[i] = le(p, 8);
                    p += 8;
                }
            }
        }
        extra += 4 + n;
        len -= 4 + n;
    }
}

bool zip_next(const struct zip *z, size_t *cursor, struct zip_entry *e)
{
    size_t pos = z->directory + *cursor;
    if (pos + CENTRAL_SIZE > z->directory_end || !magic_at(z, pos, CENTRAL_MAGIC, CENTRAL_SIZE))
        return false;
    const uint8_t *p = z->base + pos;
    size_t name = le(p + 28, 2), extra = le(p + 30, 2), comment = le(p + 32, 2);
    if (pos + CENTRAL_SIZE + name + extra + comment > z->directory_end)
        return false;
    e->flags = (uint16_t)le(p + 8, 2);
    e->method = (uint16_t)le(p + 10, 2);
    e->packed = le(p + 20, 4);
    e->unpacked = le(p + 24, 4);
    e->header = le(p + 42, 4);
    e->name = (const char *)p + CENTRAL_SIZE;
    e->name_len = name;
    apply_zip64(e, p + CENTRAL_SIZE + name, extra);
    *cursor += CENTRAL_SIZE + name + extra + comment;
    return true;
}

bool zip_find(const struct zip *z, const char *name, struct zip_entry *e)
{
    size_t cursor = 0, len = strlen(name);
    while (zip_next(z, &cursor, e))
        if (e->name_len == len && !memcmp(e->name, name, len))
            return true;
    return false;
}

static int inflate_some(const uint8_t *data, size_t packed, size_t want, struct buf *out)
{
    char chunk[16384];
    z_stream s = {.next_in = (Bytef *)data, .avail_in = packed > UINT32_MAX ? UINT32_MAX : (uInt)packed};
    int r = Z_OK;
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK)
        die("out of memory");
    while (want && r == Z_OK) {
        s.next_out = (Bytef *)chunk;
        s.avail_out = want < sizeof chunk ? (uInt)want : sizeof chunk;
        uInt room = s.avail_out;
        r = inflate(&s, Z_SYNC_FLUSH);
        buf_add(out, chunk, room - s.avail_out);
        want -= room - s.avail_out;
        if (r == Z_BUF_ERROR || (r == Z_OK && room == s.avail_out))
            break;
    }
    inflateEnd(&s);
    return want ? -EINVAL : 0;
}

int zip_read(const struct zip *z, const struct zip_entry *e, size_t limit, struct buf *out)
{
    uint64_t header = z->start + e->header;
    if (e->flags & ENCRYPTED || !magic_at(z, header, LOCAL_MAGIC, LOCAL_SIZE))
        return -EINVAL;
    const uint8_t *p = z->base + header;
    const uint8_t *data = at(z, header + LOCAL_SIZE + le(p + 26, 2) + le(p + 28, 2), e->packed);
    size_t want = e->unpacked < limit ? e->unpacked : limit;
    buf_add(out, "", 0);
    if (!data)
        return -EINVAL;
    if (e->method == DEFLATED)
        return inflate_some(data, e->packed, want, out);
    if (e->method != STORED || want > e->packed)
        return -EINVAL;
    buf_add(out, data, want);
    return 0;
}
