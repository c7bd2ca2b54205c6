/* The descriptor table: see fd.h for how a lookup gets its reference. */
#include "kernel/linux/fd.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "kernel/linux/task.h"
#include "kernel/linux/user.h"
#include "mm/phys/phys.h"

#define CHUNK_FDS 512
#define STOCK     2048UL /* references a full slot holds in advance */

/* A slot: the file's address in the low 48 bits, references in stock in the high 16. 0: closed. */
typedef u64 slot_t;

/* 512 descriptors. Never freed once made, so that lookups need no lock. used, cloexec: guarded by fd_lock. */
struct chunk {
    slot_t slots[CHUNK_FDS];
    u64 used[CHUNK_FDS / 64]; /* taken, also by a descriptor that is being opened */
    u64 cloexec[CHUNK_FDS / 64];
};

static struct mutex fd_lock;
static struct chunk *chunks[FD_LIMIT_HARD / CHUNK_FDS];
static u32 lowest_free; /* no free descriptor lies below; guarded by fd_lock */

void (*fd_closed_hook)(int fd, struct file *f);

static inline slot_t slot_make(struct file *f, u64 stock)
{
    return ((u64)f & 0xffffffffffffUL) | stock << 48;
}
static inline struct file *slot_file(slot_t s)
{
    /* Kernel addresses: the upper half. */
    return (s & 0xffffffffffffUL) ? (struct file *)(s | 0xffff000000000000UL) : NULL;
}
static inline u64 slot_stock(slot_t s)
{
    return s >> 48;
}

static inline struct chunk *chunk_of(u32 fd)
{
    return fd < FD_LIMIT_HARD ? __atomic_load_n(&chunks[fd / CHUNK_FDS], __ATOMIC_ACQUIRE) : NULL;
}

/* Takes references of f in advance and adds them to the slot's stock, if the slot still means f. */
static void slot_refill(slot_t *slot, struct file *f)
{
    __atomic_add_fetch(&f->refs, STOCK, __ATOMIC_RELAXED);
    slot_t old = __atomic_load_n(slot, __ATOMIC_RELAXED);
    while (slot_file(old) == f && slot_stock(old) < STOCK)
        if (__atomic_compare_exchange_n(slot, &old, slot_make(f, slot_stock(old) + STOCK), false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return;
    __atomic_sub_fetch(&f->refs, STOCK, __ATOMIC_RELEASE); /* the caller has one more: never the last */
}

struct file *fd_get(int fd)
{
    struct chunk *c = chunk_of(fd);
    if (!c)
        return NULL;
    slot_t *slot = &c->slots[(u32)fd % CHUNK_FDS];
    slot_t old = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    /* The last reference in stock is the slot's own, only taken together with it. */
    while (slot_stock(old) > 1) {
        if (!__atomic_compare_exchange_n(slot, &old, old - (1UL << 48), false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
            continue;
        struct file *f = slot_file(old);
        if (unlikely(slot_stock(old) < STOCK / 2))
            slot_refill(slot, f);
        return f;
    }
    if (likely(!old))
        return NULL;
    /* Thousands of threads took the stock at once and none has refilled yet: the closer's lock keeps f alive.
     */
    mutex_lock(&fd_lock);
    struct file *f = slot_file(__atomic_load_n(slot, __ATOMIC_ACQUIRE));
    if (f) {
        file_get(f);
        slot_refill(slot, f);
    }
    mutex_unlock(&fd_lock);
    return f;
}

struct file *fd_get_io(int fd)
{
    struct file *f = fd_get(fd);
    if (f && unlikely(f->flags & O_PATH)) {
        file_put(f);
        return NULL;
    }
    return f;
}

/* Fills a slot with a reference of the caller's, or empties it. fd_lock held. Returns what was there. */
static slot_t slot_swap(slot_t *slot, struct file *f)
{
    if (f)
        __atomic_add_fetch(&f->refs, STOCK - 1, __ATOMIC_RELAXED);
    return __atomic_exchange_n(slot, f ? slot_make(f, STOCK) : 0, __ATOMIC_ACQ_REL);
}

/* Gives the stock back but one reference, which is the caller's. */
static struct file *slot_release(slot_t s)
{
    struct file *f = slot_file(s);
    if (f)
        __atomic_sub_fetch(&f->refs, slot_stock(s) - 1, __ATOMIC_RELEASE);
    return f;
}

static void set_bit(u64 *map, u32 n, bool on)
{
    if (on)
        map[n / 64] |= 1UL << (n % 64);
    else
        map[n / 64] &= ~(1UL << (n % 64));
}
static bool get_bit(const u64 *map, u32 n)
{
    return map[n / 64] >> (n % 64) & 1;
}

/* The chunk of fd, made when missing. fd_lock held. */
static struct chunk *chunk_need(u32 fd)
{
    struct chunk **at = &chunks[fd / CHUNK_FDS];
    if (!*at) {
        struct chunk *c = kmalloc(sizeof(*c));
        if (!c)
            return NULL;
        __atomic_store_n(at, c, __ATOMIC_RELEASE);
    }
    return *at;
}

/* The lowest free descriptor in [min, limit), or limit. fd_lock held. */
static u32 find_free(u32 min, u32 limit)
{
    u32 fd = MAX(min, lowest_free);
    while (fd < limit) {
        struct chunk *c = chunks[fd / CHUNK_FDS];
        if (!c)
            return fd;
        u64 word = ~c->used[fd % CHUNK_FDS / 64] & (~0UL << (fd % 64));
        if (word)
            return MIN(limit, ALIGN_DOWN(fd, 64) + (u32)__builtin_ctzl(word));
        fd = ALIGN_DOWN(fd, 64) + 64;
    }
    return limit;
}

static int install_locked(struct file *f, u32 min, u32 flags)
{
    u64 limit = MIN(process_rlimit(RLIMIT_NOFILE), FD_LIMIT_HARD);
    if (min && min >= limit)
        return -EINVAL;
    u32 fd = find_free(min, limit);
    if (fd >= limit)
        return -EMFILE;
    struct chunk *c = chunk_need(fd);
    if (!c)
        return -ENOMEM;
    set_bit(c->used, fd % CHUNK_FDS, true);
    set_bit(c->cloexec, fd % CHUNK_FDS, flags & O_CLOEXEC);
    slot_swap(&c->slots[fd % CHUNK_FDS], f);
    if (min <= lowest_free)
        lowest_free = fd + 1;
    return fd;
}

int fd_install(struct file *f, u32 min, u32 flags)
{
    mutex_lock(&fd_lock);
    int fd = install_locked(f, min, flags);
    mutex_unlock(&fd_lock);
    if (fd < 0)
        file_put(f);
    return fd;
}

int fd_install_pair(struct file *a, struct file *b, u32 flags, int *fds)
{
    int pair[2];
    pair[0] = fd_install(a, 0, flags);
    if (pair[0] < 0) {
        file_put(b);
        return pair[0];
    }
    pair[1] = fd_install(b, 0, flags);
    int err = pair[1] < 0 ? pair[1] : copy_to_user(fds, pair, sizeof(pair));
    if (err) {
        fd_close(pair[0]);
        if (pair[1] >= 0)
            fd_close(pair[1]);
    }
    return err;
}

/* What closing a descriptor does to its file; drops the reference. */
static int close_file(int fd, struct file *f)
{
    if (fd_closed_hook)
        fd_closed_hook(fd, f);
    int err = f->ops->flush && !(f->flags & O_PATH) ? f->ops->flush(f) : 0;
    if (f->inode && !(f->flags & O_PATH)) {
        /* Any close of a file drops the process's record locks on it (fcntl(2)). */
        struct vfs_lock all = {.start = 0, .end = ~0UL, .owner = &process, .kind = 0};
        vfs_unlock(f, &all);
    }
    file_put(f);
    return err;
}

int fd_replace(int to, struct file *f, u32 flags)
{
    if ((u32)to >= MIN(process_rlimit(RLIMIT_NOFILE), FD_LIMIT_HARD)) {
        file_put(f);
        return -EBADF;
    }
    mutex_lock(&fd_lock);
    struct chunk *c = chunk_need(to);
    slot_t old = 0;
    if (c) {
        set_bit(c->used, to % CHUNK_FDS, true);
        set_bit(c->cloexec, to % CHUNK_FDS, flags & O_CLOEXEC);
        old = slot_swap(&c->slots[to % CHUNK_FDS], f);
    }
    mutex_unlock(&fd_lock);
    if (!c) {
        file_put(f);
        return -ENOMEM;
    }
    struct file *gone = slot_release(old);
    if (gone)
        close_file(to, gone);
    return to;
}

int fd_close(int fd)
{
    struct chunk *c = chunk_of(fd);
    if (!c)
        return -EBADF;
    mutex_lock(&fd_lock);
    slot_t old = slot_swap(&c->slots[fd % CHUNK_FDS], NULL);
    if (old) {
        set_bit(c->used, fd % CHUNK_FDS, false);
        if ((u32)fd < lowest_free)
            lowest_free = fd;
    }
    mutex_unlock(&fd_lock);
    struct file *f = slot_release(old);
    return f ? close_file(fd, f) : -EBADF;
}

int fd_get_cloexec(int fd)
{
    struct chunk *c = chunk_of(fd);
    if (!c || !c->slots[fd % CHUNK_FDS])
        return -EBADF;
    return get_bit(c->cloexec, fd % CHUNK_FDS);
}

int fd_set_cloexec(int fd, bool on)
{
    struct chunk *c = chunk_of(fd);
    if (!c)
        return -EBADF;
    mutex_lock(&fd_lock);
    bool open = c->slots[fd % CHUNK_FDS];
    if (open)
        set_bit(c->cloexec, fd % CHUNK_FDS, on);
    mutex_unlock(&fd_lock);
    return open ? 0 : -EBADF;
}

int fd_next(int fd)
{
    for (u32 at = MAX(fd, 0); at < FD_LIMIT_HARD;) {
        struct chunk *c = chunk_of(at);
        if (!c)
            at = ALIGN_DOWN(at, CHUNK_FDS) + CHUNK_FDS;
        else if (__atomic_load_n(&c->slots[at % CHUNK_FDS], __ATOMIC_RELAXED))
            return at;
        else
            at++;
    }
    return -1;
}
