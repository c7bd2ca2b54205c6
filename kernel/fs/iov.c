/* Walks over scattered buffers. */
#include "kernel/arch/x86_64/trap.h"
#include "kernel/fs/internal.h"

void iov_iter_init(struct iov_iter *it, const struct iov *iov, u32 count, bool user)
{
    *it = (struct iov_iter){.iov = iov, .count = count, .user = user};
    for (u32 i = 0; i < count; i++)
        it->left += iov[i].len;
}

u32 iov_of_pages(struct iov *iov, struct page **pages, u64 pos, size_t n)
{
    u32 count = 0;
    for (size_t at = 0; at < n; at += iov[count++].len) {
        size_t offset = (pos + at) % PAGE_SIZE;
        iov[count] =
            (struct iov){(char *)page_to_virt(pages[count]) + offset, MIN(PAGE_SIZE - offset, n - at)};
    }
    return count;
}

/* The part of the current buffer that is left, at most n bytes; skips empty buffers. */
static inline size_t iov_piece(struct iov_iter *it, char **base, size_t n)
{
    while (it->offset >= it->iov->len) {
        it->offset = 0;
        it->iov++;
        it->count--;
    }
    *base = (char *)it->iov->base + it->offset;
    return MIN(n, it->iov->len - it->offset);
}

enum direction { TO, FROM, ZERO };

/* Bytes not moved, because program memory was missing. */
static inline size_t move_piece(const struct iov_iter *it, char *base, char *mem, size_t n,
                                enum direction dir)
{
    if (it->user) {
        if (dir == TO)
            return copy_safe(base, mem, n);
        return dir == FROM ? copy_safe(mem, base, n) : zero_safe(base, n);
    }
    if (dir == TO)
        memcpy(base, mem, n);
    else if (dir == FROM)
        memcpy(mem, base, n);
    else
        memset(base, 0, n);
    return 0;
}

static __attribute__((noinline)) ssize_t move_pieces(struct iov_iter *it, char *mem, size_t n,
                                                     enum direction dir)
{
    size_t done = 0;
    n = MIN(n, it->left);
    while (done < n) {
        char *base;
        size_t piece = iov_piece(it, &base, n - done);
        size_t missed = move_piece(it, base, mem ? mem + done : NULL, piece, dir);
        it->offset += piece - missed;
        it->left -= piece - missed;
        done += piece - missed;
        if (missed)
            return done ? (ssize_t)done : -EFAULT;
    }
    return done;
}

/* All in one buffer that is there: the common case, without the walk. What it did in vain is done again. */
static inline ssize_t iov_move(struct iov_iter *it, char *mem, size_t n, enum direction dir)
{
    if (likely(n <= it->left && n <= it->iov->len - it->offset &&
               !move_piece(it, (char *)it->iov->base + it->offset, mem, n, dir))) {
        it->offset += n;
        it->left -= n;
        return n;
    }
    return move_pieces(it, mem, n, dir);
}

ssize_t iov_to(struct iov_iter *it, const void *src, size_t n)
{
    return iov_move(it, (char *)src, n, TO);
}

ssize_t iov_from(struct iov_iter *it, void *dst, size_t n)
{
    return iov_move(it, dst, n, FROM);
}

ssize_t iov_zero(struct iov_iter *it, size_t n)
{
    return iov_move(it, NULL, n, ZERO);
}

void *iov_take(struct iov_iter *it, size_t *n)
{
    char *base;
    *n = iov_piece(it, &base, MIN(*n, it->left));
    it->offset += *n;
    it->left -= *n;
    return base;
}

void iov_advance(struct iov_iter *it, size_t n)
{
    n = MIN(n, it->left);
    it->left -= n;
    while (n) {
        char *base;
        size_t piece = iov_piece(it, &base, n);
        it->offset += piece;
        n -= piece;
    }
}
