/* The descriptor table: see fd.h for how a lookup gets its reference. */
#include "kernel/linux/fd.h"
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/pte.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "kernel/linux/task.h"
#include "kernel/linux/user.h"
#include "mm/phys/phys.h"

#define STOCK 2048u /* references a full slot holds in advance */

/* What goes with a page of slots. Never freed once made, so that lookups need no lock. */
#define FD_CHUNK (PAGE_SIZE / sizeof(fd_slot))
struct fd_chunk {
    u64 used[FD_CHUNK / 64];    /* taken, also by a descriptor that is being opened; guarded by fd_lock */
    u64 cloexec[FD_CHUNK / 64]; /* guarded by fd_lock */
};

static struct mutex fd_lock;
static struct fd_chunk
    *fd_chunks[FD_LIMIT_HARD / FD_CHUNK]; /* atomic; set after the page of slots was mapped */
static u32 lowest_free;                   /* no free descriptor lies below; guarded by fd_lock */

void (*fd_closed_hook)(int fd, struct file *f);

static inline fd_slot slot_make(struct file *f, u64 stock)
{
    return (u64)f << 16 | stock;
}
static inline struct file *slot_file(fd_slot s)
{
    return (struct file *)((s64)s >> 16); /* kernel addresses: the sign comes back */
}
static inline u64 slot_stock(fd_slot s)
{
    return (u16)s;
}

/* NULL: nothing was ever open in fd's chunk, and its slots are not there. */
static struct fd_chunk *chunk_of(u32 fd)
{
    return fd < FD_LIMIT_HARD ? __atomic_load_n(&fd_chunks[fd / FD_CHUNK], __ATOMIC_ACQUIRE) : NULL;
}

/* Takes references of f in advance and adds them to the slot's stock, if the slot still means f. */
static void slot_refill(fd_slot *slot, struct file *f)
{
    __atomic_add_fetch(&f->refs, STOCK, __ATOMIC_RELAXED);
    fd_slot old = __atomic_load_n(slot, __ATOMIC_RELAXED);
    while (slot_file(old) == f && slot_stock(old) < STOCK)
        if (__atomic_compare_exchange_n(slot, &old, slot_make(f, slot_stock(old) + STOCK), false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return;
    __atomic_sub_fetch(&f->refs, STOCK, __ATOMIC_RELEASE); /* the caller has one more: never the last */
}

struct file *fd_get(int fd)
{
    if (!chunk_of(fd))
        return NULL;
    fd_slot *slot = &FD_SLOTS[fd];
    fd_slot old = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    /* The last reference in stock is the slot's own, only taken together with it. */
    while (slot_stock(old) > 1) {
        if (!__atomic_compare_exchange_n(slot, &old, old - 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            continue;
        struct file *f = slot_file(old);
        if (slot_stock(old) < FD_STOCK_LOW)
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
    struct file *f = fd_get_inline(fd);
    if (f && unlikely(f->flags & O_PATH)) {
        file_put(f);
        return NULL;
    }
    return f;
}

/* Fills a slot with a reference of the caller's, or empties it. fd_lock held. Returns what was there. */
static fd_slot slot_swap(fd_slot *slot, struct file *f)
{
    if (f)
        __atomic_add_fetch(&f->refs, STOCK - 1, __ATOMIC_RELAXED);
    return __atomic_exchange_n(slot, f ? slot_make(f, STOCK) : 0, __ATOMIC_ACQ_REL);
}

/* Gives the stock back but one reference, which is the caller's. */
static struct file *slot_release(fd_slot s)
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

/* Maps the page of fd's slots, empty. fd_lock held. */
static bool map_slots(u32 fd)
{
    pte_t *entry = pte_kernel_walk((u64)&FD_SLOTS[fd], arch_hooks.alloc_frame);
    struct page *page = entry ? page_alloc(0, PAGE_KERNEL, PHYS_ZERO) : NULL;
    if (!page)
        return false;
    pte_exchange(entry, pte_make(page_to_paddr(page),
                                 PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY | PTE_GLOBAL | PTE_NX));
    return true;
}

/* The chunk of fd, made when missing. fd_lock held. */
static struct fd_chunk *chunk_need(u32 fd)
{
    struct fd_chunk **at = &fd_chunks[fd / FD_CHUNK];
    if (*at)
        return *at;
    struct fd_chunk *c = kmalloc(sizeof(*c));
    if (c && map_slots(fd))
        __atomic_store_n(at, c, __ATOMIC_RELEASE);
    else
        kfree(c);
    return *at;
}

/* The lowest free descriptor in [min, limit), or limit. fd_lock held. */
static u32 find_free(u32 min, u32 limit)
{
    u32 fd = MAX(min, lowest_free);
    while (fd < limit) {
        struct fd_chunk *c = fd_chunks[fd / FD_CHUNK];
        if (!c)
            return fd;
        u64 word = ~c->used[fd % FD_CHUNK / 64] & (~0UL << (fd % 64));
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
    struct fd_chunk *c = chunk_need(fd);
    if (!c)
        return -ENOMEM;
    set_bit(c->used, fd % FD_CHUNK, true);
    set_bit(c->cloexec, fd % FD_CHUNK, flags & O_CLOEXEC);
    slot_swap(&FD_SLOTS[fd], f);
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
    struct fd_chunk *c = chunk_need(to);
    fd_slot old = 0;
    if (c) {
        set_bit(c->used, to % FD_CHUNK, true);
        set_bit(c->cloexec, to % FD_CHUNK, flags & O_CLOEXEC);
        old = slot_swap(&FD_SLOTS[to], f);
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
    struct fd_chunk *c = chunk_of(fd);
    if (!c)
        return -EBADF;
    mutex_lock(&fd_lock);
    fd_slot old = slot_swap(&FD_SLOTS[fd], NULL);
    if (old) {
        set_bit(c->used, fd % FD_CHUNK, false);
        if ((u32)fd < lowest_free)
            lowest_free = fd;
    }
    mutex_unlock(&fd_lock);
    struct file *f = slot_release(old);
    return f ? close_file(fd, f) : -EBADF;
}

int fd_get_cloexec(int fd)
{
    struct fd_chunk *c = chunk_of(fd);
    if (!c || !FD_SLOTS[fd])
        return -EBADF;
    return get_bit(c->cloexec, fd % FD_CHUNK);
}

int fd_set_cloexec(int fd, bool on)
{
    struct fd_chunk *c = chunk_of(fd);
    if (!c)
        return -EBADF;
    mutex_lock(&fd_lock);
    bool open = FD_SLOTS[fd];
    if (open)
        set_bit(c->cloexec, fd % FD_CHUNK, on);
    mutex_unlock(&fd_lock);
    return open ? 0 : -EBADF;
}

int fd_next(int fd)
{
    for (u32 at = MAX(fd, 0); at < FD_LIMIT_HARD;) {
        struct fd_chunk *c = chunk_of(at);
        if (!c)
            at = ALIGN_DOWN(at, FD_CHUNK) + FD_CHUNK;
        else if (__atomic_load_n(&FD_SLOTS[at], __ATOMIC_RELAXED))
            return at;
        else
            at++;
    }
    return -1;
}
