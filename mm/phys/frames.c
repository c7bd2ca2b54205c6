/*
 * Frames: a buddy allocator (Knuth, TAOCP 1, 2.5) under a sleeping mutex, with a small cache per CPU in front
 * for single frames and for 2 MiB blocks.
 *
 * The frame table is never cleared. An entry is valid where it heads a block that is or was free or handed
 * out; splitting writes the new half's entry first, and boot wrote those of every initial block and its
 * buddy. So the only entries looked at, a block's and its buddy's, have always been written.
 *
 * Locks: zone_lock (frames of the buddy). A CPU's cache needs none: preemption off.
 */
#include "kernel/arch/x86_64/zero.h"
#include "kernel/base/panic.h"
#include "mm/phys/internal.h"
#include "sched/mutex.h"

#define HUGE_POOL_MIN_TOTAL (256UL << 20 >> PAGE_SHIFT) /* smaller machines pool no 2 MiB blocks */
#define RECLAIM_MIN         32                          /* frames asked of the reclaimers at least */
#define RECLAIM_TRIES       16
#define RUN_SMALL           4 /* neighbours freed together: so few go to the CPU's cache */

struct mutex zone_lock;
static struct list zone_free[ORDER_MAX + 1]; /* guarded by zone_lock */
static u64 zone_free_pages; /* without those zeroed ahead; written under zone_lock, read by anyone */
static u64 total_pages, reserve_pages; /* fixed after frames_start() */
static u32 pool_limit;                 /* fixed after frames_start() */

static struct mm_cpu boot_cpu_caches;
static struct mm_cpu *all_caches[CPU_MAX]; /* set once each, atomically; NULL: no such CPU */

static u64 (*reclaimers[4])(u64 want);

/* ---- the buddy allocator, under zone_lock ---- */

/* A page's kind is written by whoever owns the page, and read by the buddy allocator, which only asks whether
 * it is PAGE_FREE: that changes under zone_lock alone. */
static void set_kind(struct page *page, u32 kind)
{
    __atomic_store_n(&page->kind, (u8)kind, __ATOMIC_RELAXED);
}

static u32 kind_of(const struct page *page)
{
    return __atomic_load_n(&page->kind, __ATOMIC_RELAXED);
}

static void block_add(struct page *page, u32 order)
{
    set_kind(page, PAGE_FREE);
    page->order = order;
    list_push_front(&zone_free[order], &page->link);
}

static void add_free(s64 pages)
{
    __atomic_store_n(&zone_free_pages, zone_free_pages + pages, __ATOMIC_RELAXED);
}

static struct page *buddy_of(struct page *page, u32 order)
{
    return paddr_to_page(page_to_paddr(page) ^ (PAGE_SIZE << order));
}

void buddy_give(struct page *page, u32 order)
{
    add_free(1L << order);
    while (order < ORDER_MAX) {
        struct page *buddy = buddy_of(page, order);
        if (kind_of(buddy) != PAGE_FREE || buddy->order != order)
            break;
        list_del(&buddy->link);
        set_kind(buddy, PAGE_RESERVED);
        set_kind(page, PAGE_RESERVED);
        page = MIN(page, buddy);
        order++;
    }
    block_add(page, order);
}

struct page *buddy_take(u32 order)
{
    u32 have = order;
    while (have <= ORDER_MAX && list_empty(&zone_free[have]))
        have++;
    if (have > ORDER_MAX)
        return NULL;
    struct page *page = list_entry(list_pop_front(&zone_free[have]), struct page, link);
    while (have > order) {
        have--;
        block_add(page + (1UL << have), have);
    }
    set_kind(page, PAGE_POOLED);
    add_free(-(1L << order));
    return page;
}

/* Takes one free block of at most max frames, the smallest there is (a larger one is cut), frame by frame.
 * Returns how many; 0 only when nothing is free. */
static u32 buddy_take_upto(struct page **frames, u32 max)
{
    u32 order = 0, limit = 31 - __builtin_clz(max);
    while (order < limit && list_empty(&zone_free[order]))
        order++;
    struct page *block = buddy_take(order);
    for (u32 i = 0; block && i < 1u << order; i++) {
        set_kind(block + i, PAGE_POOLED);
        frames[i] = block + i;
    }
    return block ? 1u << order : 0;
}

void frames_add(u64 pfn, u32 order)
{
    if (!zone_free[0].next)
        for (u32 i = 0; i <= ORDER_MAX; i++)
            list_init(&zone_free[i]);
    block_add(paddr_to_page(pfn << PAGE_SHIFT), order);
    zone_free_pages += 1UL << order;
}

/* Makes them the CPU's, and seen by who looks at those of all. */
static void caches_enter(struct cpu *cpu, struct mm_cpu *c)
{
    cpu->mm = c;
    __atomic_store_n(&all_caches[cpu->id], c, __ATOMIC_RELEASE);
}

void frames_start(void)
{
    total_pages = zone_free_pages;
    pool_limit = MIN(POOL_MAX, MAX(8, total_pages / 1024));
    reserve_pages = MIN(512, MAX(16, total_pages / 256));
    zeroed_start(total_pages);
    caches_enter(this_cpu(), &boot_cpu_caches);
}

/* ---- per-CPU caches ---- */

/* This CPU's caches; preemption off. */
static struct mm_cpu *caches(void)
{
    return this_cpu()->mm;
}

static void count_kind(struct mm_cpu *c, u32 kind, s64 pages)
{
    __atomic_store_n(&c->used[kind], c->used[kind] + pages, __ATOMIC_RELAXED);
}

static inline struct page *pool_take(u32 order, u32 kind)
{
    struct page *page = NULL;
    preempt_disable();
    struct mm_cpu *c = caches();
    if (likely(order == 0) && c->count)
        page = c->pool[--c->count];
    else if (order == ORDER_HUGE && c->huge_count)
        page = c->huge[--c->huge_count];
    if (page)
        count_kind(c, kind, 1L << order);
    preempt_enable();
    return page;
}

/* Puts a frame into this CPU's cache; false when it is full. */
static bool pool_give(struct page *page, u32 order)
{
    bool done = false;
    preempt_disable();
    struct mm_cpu *c = caches();
    count_kind(c, page->kind, -(1L << order));
    if (order == 0 && c->count < pool_limit) {
        set_kind(page, PAGE_POOLED);
        c->pool[c->count++] = page;
        done = true;
    } else if (order == ORDER_HUGE && c->huge_count < HUGE_POOL_MAX && total_pages >= HUGE_POOL_MIN_TOTAL) {
        set_kind(page, PAGE_POOLED);
        c->huge[c->huge_count++] = page;
        done = true;
    }
    preempt_enable();
    return done;
}

/* Moves all but keep frames of this CPU's cache to the buddy allocator, and one more when it is not NULL. */
static void pool_drain(u32 keep, struct page *one)
{
    struct page *batch[POOL_MAX + ZEROED_MAX];
    u32 n = 0;
    preempt_disable();
    struct mm_cpu *c = caches();
    while (c->count > keep)
        batch[n++] = c->pool[--c->count];
    while (!keep && c->zeroed_count)
        batch[n++] = c->zeroed[--c->zeroed_count];
    preempt_enable();
    if (!n && !one)
        return;
    mutex_lock(&zone_lock);
    while (n)
        buddy_give(batch[--n], 0);
    if (one)
        buddy_give(one, one->order);
    mutex_unlock(&zone_lock);
}

static bool zone_enter(u32 flags)
{
    if (flags & PHYS_ATOMIC)
        return mutex_trylock(&zone_lock);
    mutex_lock(&zone_lock);
    return true;
}

/* The program's memory and the page cache leave a reserve to the kernel, which needs it to free memory. */
static bool zone_allows(u32 kind, u32 order)
{
    u64 keep = kind == PAGE_ANON || kind == PAGE_CACHE ? reserve_pages : 0;
    return zone_free_pages >= keep + (1UL << order);
}

/* A zeroed block from this CPU's cache, which is filled from the common list; NULL: there is none. */
static struct page *__attribute__((noinline)) zeroed_pool_take(u32 order, u32 kind, u32 flags)
{
    struct page *page = NULL, *more[ZEROED_MAX];
    preempt_disable();
    struct mm_cpu *c = caches();
    if (order == 0 && c->zeroed_count)
        page = c->zeroed[--c->zeroed_count];
    if (page)
        count_kind(c, kind, 1);
    preempt_enable();
    if (page || !zone_enter(flags))
        return page;
    u32 n = zone_allows(kind, 0) ? zeroed_take(order, more, order ? 1 : ZEROED_MAX) : 0;
    mutex_unlock(&zone_lock);
    if (!n)
        return NULL;
    preempt_disable();
    c = caches();
    count_kind(c, kind, 1L << order);
    while (n > 1 && c->zeroed_count < ZEROED_MAX) /* the first is taken out first */
        c->zeroed[c->zeroed_count++] = more[--n];
    preempt_enable();
    if (n > 1 && zone_enter(0)) { /* another thread filled the cache meanwhile */
        while (n > 1)
            buddy_give(more[--n], 0);
        mutex_unlock(&zone_lock);
    }
    return more[0];
}

static inline bool zeroed_hint(u32 order)
{
    return (order == 0 && caches()->zeroed_count) || zeroed_any(order); /* of any CPU: it is a hint */
}

/* From the buddy allocator; single frames bring half a cache more with them. */
static struct page *zone_take(u32 order, u32 kind, u32 flags)
{
    struct page *extra[POOL_MAX];
    u32 n = 0;
    if (!zone_enter(flags))
        return NULL;
    struct page *page = zone_allows(kind, order) ? buddy_take(order) : NULL;
    if (unlikely(!page) && zeroed_give_up() && zone_allows(kind, order))
        page = buddy_take(order);
    while (page && order == 0 && n < pool_limit / 2 - 1 && zone_allows(PAGE_ANON, 0))
        n += buddy_take_upto(extra + n, pool_limit / 2 - 1 - n);
    mutex_unlock(&zone_lock);
    preempt_disable();
    struct mm_cpu *c = caches();
    if (page)
        count_kind(c, kind, 1L << order);
    while (n && c->count < pool_limit)
        c->pool[c->count++] = extra[--n];
    preempt_enable();
    if (n && zone_enter(0)) { /* only when another thread filled the cache meanwhile */
        while (n)
            buddy_give(extra[--n], 0);
        mutex_unlock(&zone_lock);
    }
    return page;
}

/* ---- the interface ---- */

bool phys_prepare_cpu(struct cpu *cpu)
{
    struct page *page = page_alloc(0, PAGE_KERNEL, PHYS_ZERO);
    if (!page)
        return false;
    _Static_assert(sizeof(struct mm_cpu) <= PAGE_SIZE, "one frame");
    caches_enter(cpu, page_to_virt(page));
    return true;
}

u64 phys_reclaim(u64 want)
{
    u64 freed = 0;
    for (u32 i = 0; i < ARRAY_LEN(reclaimers) && freed < want; i++)
        if (reclaimers[i])
            freed += reclaimers[i](want - freed);
    pool_drain(0, NULL);
    return freed;
}

void phys_register_reclaim(u32 priority, u64 (*reclaim)(u64 want))
{
    ASSERT(priority < ARRAY_LEN(reclaimers) && !reclaimers[priority]);
    reclaimers[priority] = reclaim;
}

static inline struct page *page_ready(struct page *page, u32 order, u32 kind, u32 flags)
{
    page->refs = 1;
    set_kind(page, kind);
    page->order = order;
    page->flags = 0;
    list_init(&page->link);
    page->object = NULL;
    page->index = 0;
    page->private = 0;
    if (flags & PHYS_ZERO)
        zero_frames(page_to_virt(page), PAGE_SIZE << order);
    return page;
}

static struct page *__attribute__((noinline)) alloc_slow(u32 order, u32 kind, u32 flags)
{
    ASSERT(order <= ORDER_MAX);
    struct page *page = zone_take(order, kind, flags);
    for (u32 i = 0, vain = 0; !page && !(flags & (PHYS_ATOMIC | PHYS_TRY)) && i < RECLAIM_TRIES && vain < 3;
         i++) {
        vain += !phys_reclaim(MAX(RECLAIM_MIN, 1UL << order));
        page = zone_take(order, kind, flags);
    }
    return page ? page_ready(page, order, kind, flags) : NULL;
}

struct page *page_alloc(u32 order, enum page_kind kind, u32 flags)
{
    if ((flags & PHYS_ZERO) && zeroed_hint(order)) {
        struct page *zeroed = zeroed_pool_take(order, kind, flags);
        if (zeroed)
            return page_ready(zeroed, order, kind, 0);
    }
    struct page *page = pool_take(order, kind);
    return likely(page) ? page_ready(page, order, kind, flags) : alloc_slow(order, kind, flags);
}

void page_free(struct page *page)
{
    u32 order = page->order;
    ASSERT(page->kind >= PAGE_KERNEL && page->kind <= PAGE_CACHE);
    if (!pool_give(page, order))
        pool_drain(order == 0 ? pool_limit / 2 : POOL_MAX, page);
}

/* Whole blocks at once: of their frames only the first one's entry is looked at while they are free. */
static void buddy_give_run(struct page *first, u32 count)
{
    while (count) {
        u32 order = MIN(31 - __builtin_clz(count), ORDER_MAX);
        order = MIN(order, (u32)__builtin_ctzl(page_to_paddr(first) >> PAGE_SHIFT));
        buddy_give(first, order);
        first += 1u << order;
        count -= 1u << order;
    }
}

/* Before frames of one kind go back to the buddy allocator. May sleep. */
static void count_freed(u32 kind, u64 pages)
{
    preempt_disable();
    count_kind(caches(), kind, -(s64)pages);
    preempt_enable();
}

void page_free_run(struct page *first, u32 count)
{
    if (count <= RUN_SMALL) {
        while (count)
            page_free(first + --count); /* the lowest last: it is taken out first */
        return;
    }
    count_freed(first->kind, count);
    mutex_lock(&zone_lock);
    buddy_give_run(first, count);
    mutex_unlock(&zone_lock);
}

void page_put(struct page *page)
{
    if (__atomic_sub_fetch(&page->refs, 1, __ATOMIC_ACQ_REL) == 0)
        page_free(page);
}

void page_split(struct page *page, u32 refs_each)
{
    u32 n = 1u << page->order;
    for (u32 i = 0; i < n; i++) {
        page[i].refs = refs_each;
        page[i].kind = page->kind;
        page[i].order = 0;
        page[i].flags = page->flags;
        list_init(&page[i].link);
        page[i].object = page->object;
        page[i].index = page->index + i;
        page[i].private = 0;
    }
}

u64 phys_total_pages(void)
{
    return total_pages;
}

u64 phys_free_pages(void)
{
    return __atomic_load_n(&zone_free_pages, __ATOMIC_RELAXED) + zeroed_pages();
}

void phys_stats(struct phys_stats *out)
{
    s64 used[PAGE_KINDS] = {0};
    for (u32 i = 0; i < CPU_MAX; i++) {
        struct mm_cpu *c = __atomic_load_n(&all_caches[i], __ATOMIC_ACQUIRE);
        for (u32 k = 0; c && k < PAGE_KINDS; k++)
            used[k] += __atomic_load_n(&c->used[k], __ATOMIC_RELAXED);
    }
    s64 in_use = used[PAGE_KERNEL] + used[PAGE_ANON] + used[PAGE_CACHE];
    out->total_pages = total_pages;
    out->free_pages = in_use < 0 ? total_pages : in_use > (s64)total_pages ? 0 : total_pages - in_use;
    out->kernel_pages = MAX(used[PAGE_KERNEL], 0);
    out->anon_pages = MAX(used[PAGE_ANON], 0);
    out->cache_pages = MAX(used[PAGE_CACHE], 0);
}
