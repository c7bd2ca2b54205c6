/*
 * The kernel heap: slabs (Bonwick, USENIX Summer 1994) of one frame each, cut into pieces of one size class,
 * behind a magazine per CPU and class (Bonwick and Adams, USENIX ATC 2001, without their depot). Larger sizes
 * are blocks of frames.
 *
 * Locks: one mutex a class (its partly used slabs) < the frames' lock.
 */
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "mm/phys/internal.h"
#include "sched/mutex.h"

/* Powers of two and one size between each two, so that a sixth is lost on average. */
static const u16 class_size[HEAP_CLASSES] = {16,  32,  48,  64,  96,   128,  192,
                                             256, 384, 512, 768, 1024, 1360, 2048};

static struct heap_class {
    struct mutex lock;
    struct list partial; /* slabs with a free piece; zeroed: empty */
} classes[HEAP_CLASSES];

static u32 class_of(size_t size)
{
    if (size <= 32)
        return size > 16;
    u32 log = 64 - __builtin_clzl(size - 1); /* size <= 2^log */
    u32 full = 2 * log - 9;
    return size <= class_size[full - 1] ? full - 1 : full;
}

/* Pieces that a magazine holds at most: a frame's worth, 4 to 32. */
static const u8 magazine_limit[HEAP_CLASSES] = {32, 32, 32, 32, 32, 32, 21, 16, 10, 8, 5, 4, 4, 4};

static struct page *slab_of(void *piece)
{
    return paddr_to_page(ALIGN_DOWN(virt_to_phys(piece), PAGE_SIZE));
}

static struct page *slab_create(u32 class)
{
    struct page *slab = page_alloc(0, PAGE_KERNEL, 0);
    if (!slab)
        return NULL;
    slab->slab_class = class + 1;
    slab->slab_used = 0;
    slab->slab_free = NULL;
    char *base = page_to_virt(slab);
    u32 size = class_size[class];
    for (u32 n = PAGE_SIZE / size; n > 0; n--) {
        void **piece = (void **)(base + (n - 1) * size);
        *piece = slab->slab_free;
        slab->slab_free = piece;
    }
    return slab;
}

/* Takes up to want pieces from partly used slabs, as a chain. Under the class's lock. */
static u32 slabs_take(struct heap_class *c, u32 want, void **chain)
{
    u32 got = 0;
    while (got < want && !list_empty(&c->partial)) {
        struct page *slab = list_entry(c->partial.next, struct page, link);
        while (got < want && slab->slab_free) {
            void **piece = slab->slab_free;
            slab->slab_free = *piece;
            slab->slab_used++;
            *piece = *chain;
            *chain = piece;
            got++;
        }
        if (!slab->slab_free)
            list_del(&slab->link);
    }
    return got;
}

static void class_lock(struct heap_class *c)
{
    mutex_lock(&c->lock);
    if (unlikely(!c->partial.next))
        list_init(&c->partial);
}

/* A chain of at least one piece and about want, its length in *count; NULL when memory ran out. */
static void *class_take(u32 class, u32 want, u32 *count)
{
    struct heap_class *c = &classes[class];
    void *chain = NULL;
    class_lock(c);
    *count = slabs_take(c, want, &chain);
    mutex_unlock(&c->lock);
    if (*count)
        return chain;
    struct page *slab = slab_create(class); /* outside the lock: it may reclaim, and reclaiming frees */
    if (!slab)
        return NULL;
    class_lock(c);
    list_push_front(&c->partial, &slab->link);
    *count = slabs_take(c, want, &chain);
    mutex_unlock(&c->lock);
    return chain;
}

/* Returns a chain of pieces to their slabs; frees slabs that became empty. */
static void class_give(u32 class, void *chain)
{
    struct heap_class *c = &classes[class];
    struct list empty;
    list_init(&empty);
    class_lock(c);
    while (chain) {
        void **piece = chain;
        chain = *piece;
        struct page *slab = slab_of(piece);
        if (!slab->slab_free)
            list_push_back(&c->partial, &slab->link);
        *piece = slab->slab_free;
        slab->slab_free = piece;
        if (--slab->slab_used == 0) {
            list_del(&slab->link);
            list_push_back(&empty, &slab->link);
        }
    }
    mutex_unlock(&c->lock);
    for (struct list *l; (l = list_pop_front(&empty));) {
        struct page *slab = list_entry(l, struct page, link);
        page_free(slab);
    }
}

static void *magazine_pop(u32 class)
{
    preempt_disable();
    struct mm_cpu *c = this_cpu()->mm;
    struct magazine *m = &c->magazines[class];
    void **piece = m->head;
    if (piece) {
        m->head = *piece;
        m->count--;
    }
    preempt_enable();
    return piece;
}

/* Half of what a full magazine may hold stays, the rest comes off as a chain. Preemption off. */
static __attribute__((noinline)) void *magazine_halve(struct magazine *m, u32 class)
{
    u32 keep = magazine_limit[class] / 2;
    void **last = m->head, *rest;
    for (u32 i = 1; i < keep; i++)
        last = *last;
    rest = *last;
    *last = NULL;
    m->count = keep;
    return rest;
}

/* Puts the pieces from first to last, count of them, on this CPU's magazine. Whatever exceeds its limit comes
 * back as a chain. */
static inline void *magazine_push(u32 class, void *first, void **last, u32 count)
{
    void *rest = NULL;
    preempt_disable();
    struct mm_cpu *c = this_cpu()->mm;
    struct magazine *m = &c->magazines[class];
    *last = m->head;
    m->head = first;
    m->count += count;
    if (unlikely(m->count > magazine_limit[class]))
        rest = magazine_halve(m, class);
    preempt_enable();
    return rest;
}

static void *class_alloc(u32 class)
{
    void *piece = magazine_pop(class);
    if (likely(piece))
        return piece;
    u32 count;
    void **chain = class_take(class, magazine_limit[class] / 2, &count), **last = chain;
    if (!chain || !*chain)
        return chain;
    while (*last)
        last = *last;
    void *rest = magazine_push(class, *chain, last, count - 1);
    if (rest)
        class_give(class, rest);
    return chain;
}

static u32 block_order(size_t size)
{
    return size <= PAGE_SIZE ? 0 : 64 - __builtin_clzl((size - 1) >> PAGE_SHIFT);
}

static void *block_alloc(size_t size, u32 flags)
{
    u32 order = block_order(size);
    struct page *page = order <= ORDER_MAX ? page_alloc(order, PAGE_KERNEL, flags) : NULL;
    if (!page)
        return NULL;
    page->slab_class = 0;
    return page_to_virt(page);
}

void *kmalloc(size_t size)
{
    if (size > class_size[HEAP_CLASSES - 1])
        return block_alloc(size, PHYS_ZERO);
    void *p = class_alloc(class_of(size));
    return p ? memset(p, 0, ALIGN_UP(MAX(size, 1), 16)) : NULL;
}

void *kmalloc_raw(size_t size)
{
    return size > class_size[HEAP_CLASSES - 1] ? block_alloc(size, 0) : class_alloc(class_of(size));
}

void kfree(void *p)
{
    if (!p)
        return;
    struct page *page = slab_of(p);
    ASSERT(page->kind == PAGE_KERNEL);
    if (!page->slab_class) {
        page_free(page);
        return;
    }
    u32 class = page->slab_class - 1;
    void *rest = magazine_push(class, p, p, 1);
    if (rest)
        class_give(class, rest);
}

static size_t usable_size(void *p)
{
    struct page *page = slab_of(p);
    return page->slab_class ? class_size[page->slab_class - 1] : PAGE_SIZE << page->order;
}

void *krealloc(void *p, size_t size)
{
    if (!p)
        return kmalloc(size);
    size_t old = usable_size(p);
    /* Within the same piece the caller's new bytes are not zeroed: realloc promises only the old ones. */
    if (size <= old && size > old / 2)
        return p;
    void *q = kmalloc(size);
    if (!q)
        return NULL;
    memcpy(q, p, MIN(old, size));
    kfree(p);
    return q;
}

char *kstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = kmalloc(n);
    return copy ? memcpy(copy, s, n) : NULL;
}

/* ---- pools ---- */

/* The link lies behind the object, whose bytes must stay as they were. */
static void **pool_link(struct kpool *pool, void *p)
{
    return (void **)((char *)p + ALIGN_UP(pool->size, 8));
}

static bool pool_exchange(struct kpool *pool, void **free, u64 *tag, void *new_free)
{
    bool done;
    u64 new_tag = *tag + 1;
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(done), "+m"(*(unsigned __int128 *)&pool->free), "+a"(*free), "+d"(*tag)
                     : "b"(new_free), "c"(new_tag)
                     : "memory");
    return done;
}

static void pool_push(struct kpool *pool, void *p)
{
    void *head = __atomic_load_n(&pool->free, __ATOMIC_RELAXED);
    u64 tag = __atomic_load_n(&pool->tag, __ATOMIC_RELAXED);
    do
        __atomic_store_n(pool_link(pool, p), head, __ATOMIC_RELAXED);
    while (!pool_exchange(pool, &head, &tag, p));
}

static void *pool_pop(struct kpool *pool)
{
    void *head = __atomic_load_n(&pool->free, __ATOMIC_ACQUIRE);
    u64 tag = __atomic_load_n(&pool->tag, __ATOMIC_RELAXED);
    while (head) {
        /* Type-stable: head may be taken by another CPU meanwhile, then the tag differs and next is ignored.
         */
        void *next = __atomic_load_n(pool_link(pool, head), __ATOMIC_RELAXED);
        if (pool_exchange(pool, &head, &tag, next))
            break;
    }
    return head;
}

void *kpool_alloc(struct kpool *pool)
{
    void *p = pool_pop(pool);
    if (!p) {
        size_t stride = ALIGN_UP(ALIGN_UP(pool->size, 8) + 8, 16);
        u32 order = block_order(stride);
        struct page *page = page_alloc(order, PAGE_KERNEL, PHYS_ZERO);
        if (!page)
            return NULL;
        p = page_to_virt(page);
        for (size_t at = stride; at + stride <= PAGE_SIZE << order; at += stride)
            pool_push(pool, (char *)p + at);
    }
    __atomic_add_fetch(&pool->live, 1, __ATOMIC_RELAXED);
    return p;
}

void kpool_free(struct kpool *pool, void *p)
{
    __atomic_sub_fetch(&pool->live, 1, __ATOMIC_RELAXED);
    pool_push(pool, p);
}
