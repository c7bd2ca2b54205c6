/*
 * Reclaim of clean file pages: a clock (second chance) over all pages that can be read again. It runs inside
 * allocations, whose callers may hold any lock of this layer or above: so it only tries vm_lock and objects'.
 */
#include "mm/vm/internal.h"

#define WRITE_WINDOW 64UL /* pages written back at once when only dirty ones are left */
#define SCAN_POLITE  2048 /* pages looked at before recent use no longer protects them */

static struct mutex lru_lock; /* after any object's lock, except tried before it */
static struct list lru = LIST_INIT(lru);
static u64 lru_count;

void lru_add(struct page **pages, u32 count)
{
    mutex_lock(&lru_lock);
    for (u32 i = 0; i < count; i++)
        list_push_back(&lru, &pages[i]->link);
    __atomic_add_fetch(&lru_count, count, __ATOMIC_RELAXED);
    mutex_unlock(&lru_lock);
}

u64 vm_reclaimable_pages(void)
{
    return __atomic_load_n(&lru_count, __ATOMIC_RELAXED);
}

void lru_remove(struct page *page)
{
    mutex_lock(&lru_lock);
    if (!list_empty(&page->link)) {
        list_del(&page->link);
        __atomic_sub_fetch(&lru_count, 1, __ATOMIC_RELAXED);
    }
    mutex_unlock(&lru_lock);
}

/* The oldest page goes to the end of the clock, its object locked; NULL: its object is in use. *more: there
 * was a page. Nobody allocates while holding lru_lock, so it may be waited for. */
static struct page *take_oldest(bool *more)
{
    struct page *page = NULL;
    mutex_lock(&lru_lock);
    struct list *l = lru.next;
    *more = l != &lru;
    if (*more) {
        page = list_entry(l, struct page, link);
        list_del(l);
        list_push_back(&lru, l);
        if (!mutex_trylock(&page->object->lock))
            page = NULL;
    }
    mutex_unlock(&lru_lock);
    return page;
}

/* Takes a page out of every mapping that has not used it since the last look, or with force out of all;
 * false: still in use. With vm_lock shared and the object's lock. */
static bool unmap_idle(struct vm_object *obj, struct page *page, bool force, struct tlb_batch *b)
{
    struct vm_area *a;
    bool idle = true;
    list_for_each(a, &obj->areas, object_link)
    {
        int level;
        u64 first = a->offset >> PAGE_SHIFT;
        u64 addr = a->start + ((page->index - first) << PAGE_SHIFT);
        if (page->index < first || addr >= a->end)
            continue;
        pte_t *entry = pt_lookup(addr, &level);
        pte_t e = entry && level == 0 ? pte_load(entry) : (pte_t){0};
        if (!e.bits || pte_paddr(e) != page_to_paddr(page))
            continue;
        if ((e.bits & PTE_ACCESSED) && !force) {
            pte_cmpxchg(entry, e, (pte_t){e.bits & ~PTE_ACCESSED}); /* stale TLB entries: seen as idle late */
            idle = false;
        } else if (pte_cmpxchg(entry, e, (pte_t){0})) {
            tlb_note(b, addr, PAGE_SIZE);
            tlb_release(b, page);
            count_resident(-1);
        } else {
            idle = false;
        }
    }
    return idle;
}

static u32 page_refs(const struct page *page)
{
    return __atomic_load_n(&page->refs, __ATOMIC_ACQUIRE);
}

/* Frees the page into the batch if nobody needs it. Object locked. */
static bool try_free(struct page *page, bool vm_shared, bool force, struct tlb_batch *b)
{
    struct vm_object *obj = page->object;
    u16 flags = __atomic_load_n(&page->flags, __ATOMIC_ACQUIRE);
    if (flags & (PAGE_DIRTY | PAGE_BUSY))
        return false;
    bool used = (flags & PAGE_ACTIVE) && !force;
    if (flags & PAGE_ACTIVE)
        __atomic_and_fetch(&page->flags, (u16)~PAGE_ACTIVE, __ATOMIC_ACQ_REL);
    if (page_refs(page) > 1 && (!vm_shared || !unmap_idle(obj, page, force, b)))
        return false;
    u32 unmapped = 0; /* references the batch took over from mappings */
    for (u32 i = 0; i < b->run_count; i++)
        unmapped += page >= b->run[i].first && page < b->run[i].first + b->run[i].count;
    if (used || page_refs(page) != 1 + unmapped)
        return false;
    object_detach_locked(obj, page);
    tlb_release(b, page);
    return true;
}

/* vm_shared: vm_lock is held shared, so that mapped pages can go too. */
static u64 reclaim_pages(u64 want, bool vm_shared)
{
    struct tlb_batch batch;
    u64 freed = 0, limit = 2 * __atomic_load_n(&lru_count, __ATOMIC_RELAXED);
    bool more = true;
    tlb_begin(&batch);
    for (u64 seen = 0; freed < want && seen < limit && more; seen++) {
        struct page *page = take_oldest(&more);
        if (!page)
            continue;
        struct vm_object *obj = page->object;
        freed += try_free(page, vm_shared, seen >= SCAN_POLITE, &batch);
        if (batch.run_count > TLB_RUNS / 2)
            tlb_finish(&batch);
        mutex_unlock(&obj->lock);
    }
    tlb_finish(&batch);
    return freed;
}

static u64 reclaim_anywhere(u64 want)
{
    bool vm_shared = vm_read_trylock();
    u64 freed = reclaim_pages(want, vm_shared);
    if (vm_shared)
        vm_read_unlock();
    return freed;
}

/* A reference, unless the last one is gone already: then the object is being taken apart. */
static bool get_living(struct vm_object *obj)
{
    u32 refs = __atomic_load_n(&obj->refs, __ATOMIC_RELAXED);
    while (refs && !__atomic_compare_exchange_n(&obj->refs, &refs, refs + 1, false, __ATOMIC_ACQUIRE,
                                                __ATOMIC_RELAXED))
        ;
    return refs;
}

/* The object of a dirty page near the old end of the clock that can be written back, with a reference, and
 * the page's index; NULL: none. */
static struct vm_object *find_dirty(u64 *index)
{
    bool more = true;
    u64 limit = __atomic_load_n(&lru_count, __ATOMIC_RELAXED);
    for (u64 seen = 0; seen < limit && more; seen++) {
        struct page *page = take_oldest(&more);
        if (!page)
            continue;
        struct vm_object *obj = page->object;
        bool dirty = __atomic_load_n(&page->flags, __ATOMIC_ACQUIRE) & PAGE_DIRTY;
        bool wanted = dirty && obj->ops->writeback && get_living(obj);
        *index = page->index;
        mutex_unlock(&obj->lock);
        if (wanted)
            return obj;
    }
    return NULL;
}

bool reclaim_write_back(void)
{
    u64 index;
    struct vm_object *obj = find_dirty(&index);
    if (!obj)
        return false;
    u64 start = ALIGN_DOWN(index, WRITE_WINDOW) << PAGE_SHIFT;
    int err = vm_object_sync(obj, start, start + WRITE_WINDOW * PAGE_SIZE);
    vm_object_put(obj);
    return !err;
}

u64 reclaim_unlocked(u64 want)
{
    vm_read_lock();
    u64 freed = reclaim_pages(want, true);
    vm_read_unlock();
    return freed < want ? freed + phys_reclaim(want - freed) : freed;
}

static u64 reclaim_stacks(u64 want)
{
    return kstack_reclaim(want, tlb_flush_kernel);
}

void reclaim_init(void)
{
    phys_register_reclaim(0, reclaim_anywhere);
    phys_register_reclaim(1, reclaim_stacks);
}
