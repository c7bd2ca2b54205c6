/*
 * Memory objects: the pages of a file, of a memfd, or of shared anonymous memory.
 *
 * A page is in its object's tree from before it is filled (PAGE_BUSY, not PAGE_UPTODATE) until it is removed;
 * page->object is NULL afterwards. References are taken under the object's lock, so a page with one
 * reference, seen under that lock, is nobody's but the object's.
 */
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "mm/vm/internal.h"
#include "sched/waitq.h"

#define READ_AHEAD_MAX   64
#define READ_AHEAD_SMALL 8                          /* on machines below: */
#define SMALL_MEMORY     (96UL << 20 >> PAGE_SHIFT) /* pages */

static struct waitq busy_queues[16]; /* by page: waiting for !PAGE_BUSY */

static u16 page_flags(const struct page *page)
{
    return __atomic_load_n(&page->flags, __ATOMIC_ACQUIRE);
}

static void flags_set(struct page *page, u16 bits)
{
    __atomic_or_fetch(&page->flags, bits, __ATOMIC_ACQ_REL);
}

static void flags_clear(struct page *page, u16 bits)
{
    __atomic_and_fetch(&page->flags, (u16)~bits, __ATOMIC_ACQ_REL);
}

static struct waitq *busy_queue(const struct page *page)
{
    return &busy_queues[(page_to_paddr(page) >> PAGE_SHIFT) % ARRAY_LEN(busy_queues)];
}

/* Waits until page is not PAGE_BUSY. */
static void page_wait(struct page *page)
{
    struct waiter w = {0};
    struct waitq *q = busy_queue(page);
    waitq_enter(q, &w);
    while (page_flags(page) & PAGE_BUSY)
        sched_sleep(SLEEP_FOREVER, 0);
    waitq_leave(q, &w);
    sched_wake(current_thread()); /* a permit that it took may have been of a wait around this one */
}

static void page_unbusy(struct page *page)
{
    flags_clear(page, PAGE_BUSY);
    waitq_wake_all(busy_queue(page), 0);
}

/* ---- life ---- */

void vm_object_init(struct vm_object *obj, const struct vm_object_ops *ops, u64 size, void *owner)
{
    memset(obj, 0, sizeof(*obj));
    obj->ops = ops;
    obj->refs = 1;
    obj->size = size;
    obj->owner = owner;
    list_init(&obj->areas);
}

static void anon_destroy(struct vm_object *obj)
{
    kfree(obj);
}

struct vm_object *vm_object_create_anon(u64 size)
{
    static const struct vm_object_ops ops = {.destroy = anon_destroy};
    struct vm_object *obj = kmalloc(sizeof(*obj));
    if (obj)
        vm_object_init(obj, &ops, size, NULL);
    return obj;
}

void object_detach_locked(struct vm_object *obj, struct page *page)
{
    radix_remove(obj, page->index);
    lru_remove(page); /* first: the reclaimer follows page->object of what it finds there */
    page->object = NULL;
    if (page_flags(page) & PAGE_DIRTY) {
        flags_clear(page, PAGE_DIRTY);
        obj->dirty_count--;
    }
}

/* Removes the pages [first, last]; their frames go to the batch. Under the lock. */
static void detach_range(struct vm_object *obj, u64 first, u64 last, struct tlb_batch *b)
{
    struct page *page;
    for (u64 i = first; i <= last && (page = radix_next(obj, &i)) && i <= last; i++) {
        object_detach_locked(obj, page);
        tlb_release(b, page);
    }
}

void vm_object_put(struct vm_object *obj)
{
    if (__atomic_sub_fetch(&obj->refs, 1, __ATOMIC_ACQ_REL))
        return;
    struct tlb_batch batch;
    tlb_begin(&batch);
    mutex_lock(&obj->lock);
    ASSERT(list_empty(&obj->areas));
    detach_range(obj, 0, ~0UL - 1, &batch);
    radix_free(obj);
    mutex_unlock(&obj->lock);
    tlb_finish(&batch);
    if (obj->ops && obj->ops->destroy)
        obj->ops->destroy(obj);
}

/* ---- finding and filling ---- */

void object_mark_dirty_locked(struct vm_object *obj, struct page *page)
{
    if (page->object != obj || (page_flags(page) & PAGE_DIRTY))
        return;
    flags_set(page, PAGE_DIRTY);
    obj->dirty_count++;
}

void vm_object_dirty(struct vm_object *obj, struct page *page)
{
    mutex_lock(&obj->lock);
    object_mark_dirty_locked(obj, page);
    mutex_unlock(&obj->lock);
}

struct page *object_peek_locked(struct vm_object *obj, u64 index)
{
    struct page *page = radix_get(obj, index);
    if (!page || !(page_flags(page) & PAGE_UPTODATE))
        return NULL;
    page_get(page);
    if (!(page_flags(page) & PAGE_ACTIVE))
        flags_set(page, PAGE_ACTIVE);
    return page;
}

struct page *vm_object_peek(struct vm_object *obj, u64 index)
{
    mutex_lock(&obj->lock);
    struct page *page = object_peek_locked(obj, index);
    mutex_unlock(&obj->lock);
    return page;
}

/* Puts a fresh page into the tree. Under the lock. The page gets a second reference: the caller keeps its. */
static int page_attach(struct vm_object *obj, u64 index, struct page *page, u16 flags)
{
    page->object = obj;
    page->index = index;
    page->flags = flags;
    page->refs = 2;
    int err = radix_set(obj, index, page);
    if (err) {
        page->object = NULL;
        page->refs = 1;
    }
    return err;
}

/* Pages [first, end) that a miss reads in one go. */
struct read_range {
    u64 first, end;
};

/* The absent pages around index in its aligned window; twice the window when the reader goes on where it was.
 */
static struct read_range read_around(struct vm_object *obj, u64 index, bool in_order)
{
    u64 window = phys_total_pages() < SMALL_MEMORY ? READ_AHEAD_SMALL : READ_AHEAD_MAX / 2;
    if (in_order)
        window *= 2;
    u64 pages = (obj->size + PAGE_SIZE - 1) >> PAGE_SHIFT;
    struct read_range r = {index, index + 1};
    if (!obj->ops || !obj->ops->fill || index >= pages)
        return r;
    u64 low = ALIGN_DOWN(index, window), high = MIN(low + window, pages);
    mutex_lock(&obj->lock);
    while (r.first > low && !radix_get(obj, r.first - 1))
        r.first--;
    while (r.end < high && !radix_get(obj, r.end))
        r.end++;
    mutex_unlock(&obj->lock);
    return r;
}

/* Reads what was attached; each result in ok. */
static int fill_pages(struct vm_object *obj, u64 index, struct page **pages, u32 count)
{
    if (obj->ops->fill_many && count > 1 && !obj->ops->fill_many(obj, index, pages, count))
        return count;
    for (u32 i = 0; i < count; i++) {
        int err = obj->ops->fill(obj, index + i, pages[i]);
        if (err)
            return i ? (int)i : err;
    }
    return count;
}

/* The first `good` pages are filled, the others go. */
static void fill_done(struct vm_object *obj, struct page **pages, u32 good, u32 count)
{
    mutex_lock(&obj->lock);
    for (u32 i = 0; i < count; i++) {
        if (i < good)
            flags_set(pages[i], PAGE_UPTODATE);
        else if (pages[i]->object == obj) {
            object_detach_locked(obj, pages[i]);
            page_put(pages[i]);
        }
        if (i < good && pages[i]->object == obj)
            lru_add(&pages[i], 1);
    }
    mutex_unlock(&obj->lock);
    for (u32 i = 0; i < count; i++)
        page_unbusy(pages[i]);
}

/* Drops the references of the run but the one of pages[keep]. */
static void put_others(struct page **pages, u32 count, u32 keep)
{
    for (u32 i = 0; i < count; i++)
        if (i != keep)
            page_put(pages[i]);
}

/*
 * Puts the first of `have` fresh pages into the tree, at indexes from first on, as far as those are absent,
 * and frees the others. Returns how many. *taken: it stopped at a page that was there.
 */
static u32 attach_run(struct vm_object *obj, u64 first, struct page **pages, u32 have, u16 flags, bool *taken)
{
    u32 count = 0;
    mutex_lock(&obj->lock);
    while (count < have && !radix_get(obj, first + count) &&
           !page_attach(obj, first + count, pages[count], flags))
        count++;
    *taken = count < have && radix_get(obj, first + count);
    if (count)
        __atomic_store_n(&obj->next_read, first + count, __ATOMIC_RELAXED);
    mutex_unlock(&obj->lock);
    for (u32 i = count; i < have; i++)
        page_free(pages[i]);
    return count;
}

int object_read_run(struct vm_object *obj, u64 first, struct page **pages, u32 have)
{
    bool taken;
    u32 count = attach_run(obj, first, pages, have, PAGE_BUSY, &taken);
    if (!count)
        return taken ? 0 : -ENOMEM;
    int good = fill_pages(obj, first, pages, count);
    fill_done(obj, pages, MAX(good, 0), count);
    put_others(pages, count, count);
    return good;
}

/*
 * Allocates, attaches and fills the page at index and, unless alone, absent ones around it. 0: the caller
 * looks again; the page itself comes back in *out with a reference, so that it cannot vanish before.
 */
static int fill_miss(struct vm_object *obj, u64 index, bool alone, u32 flags, struct page **out)
{
    struct page *pages[READ_AHEAD_MAX];
    bool in_order = index && index == __atomic_load_n(&obj->next_read, __ATOMIC_RELAXED), taken;
    struct read_range r = alone ? (struct read_range){index, index + 1} : read_around(obj, index, in_order);
    u32 want = r.end - r.first, at = index - r.first, have = 0;
    u32 zero = obj->ops && obj->ops->fill ? 0 : PHYS_ZERO;
    while (have < want && (pages[have] = page_alloc(0, PAGE_CACHE, zero | (have ? PHYS_TRY : flags))))
        have++;
    if (!have)
        return -ENOMEM;
    if (have <= at) { /* memory is short: the one page that is needed */
        r.first = index;
        at = 0;
    }
    u32 count = attach_run(obj, r.first, pages, have, zero ? PAGE_UPTODATE : PAGE_BUSY, &taken);
    if (!count)
        return taken ? -EAGAIN : -ENOMEM;
    if (!zero && !alone)
        object_missed(obj, r.first, r.first + count, in_order);
    int good = zero ? 1 : fill_pages(obj, r.first, pages, count);
    if (!zero)
        fill_done(obj, pages, MAX(good, 0), count);
    /* Somebody took the page, or an earlier one of the run failed: the next look decides about this one
     * alone. */
    bool mine = (s64)at < good;
    put_others(pages, count, mine ? at : count);
    if (mine)
        *out = pages[at];
    return mine ? 0 : good < 0 && at == 0 ? good : -EAGAIN;
}

/* flags: of page_alloc. */
static int find_or_fill(struct vm_object *obj, u64 index, bool for_write, u32 flags, struct page **out)
{
    bool alone = false; /* after somebody else was quicker, or a neighbour could not be read */
    for (;;) {
        mutex_lock(&obj->lock);
        struct page *page = object_peek_locked(obj, index);
        struct page *busy = page ? NULL : radix_get(obj, index);
        if (page && for_write)
            object_mark_dirty_locked(obj, page);
        if (busy)
            page_get(busy);
        mutex_unlock(&obj->lock);
        if (page) {
            *out = page;
            return 0;
        }
        if (busy) {
            page_wait(busy);
            page_put(busy);
            continue;
        }
        int err = fill_miss(obj, index, alone, flags, &page);
        if (err == -EAGAIN) {
            alone = true;
            continue;
        }
        if (err)
            return err;
        if (!for_write) {
            *out = page;
            return 0;
        }
        page_put(page); /* once more, to mark it dirty under the lock */
    }
}

/* ---- 2 MiB at once: for objects without a backing store ---- */

struct page *object_huge_locked(struct vm_object *obj, u64 index)
{
    struct page *first = radix_get(obj, index);
    if (!first || !IS_ALIGNED(page_to_paddr(first), HUGE_SIZE))
        return NULL;
    for (u32 i = 1; i < 512; i++)
        if (radix_get(obj, index + i) != first + i)
            return NULL;
    return first;
}

static bool absent(struct vm_object *obj, u64 first, u64 past)
{
    struct page *page = radix_next(obj, &first);
    return !page || first >= past;
}

/* Puts the pages of a split block into the tree, all or none. Under the lock. */
static bool attach_block(struct vm_object *obj, struct page *first)
{
    u64 index = first->index;
    u32 done = 0;
    if (!absent(obj, index, index + 512))
        return false;
    while (done < 512 && !radix_set(obj, index + done, first + done))
        done++;
    if (done == 512)
        return true;
    while (done--)
        radix_remove(obj, index + done);
    return false;
}

bool vm_object_add_huge(struct vm_object *obj, u64 index)
{
    if ((obj->ops && (obj->ops->fill || obj->ops->writeback)) || index % 512 || !huge_affordable(0))
        return false;
    mutex_lock(&obj->lock);
    bool wanted = absent(obj, index, index + 512);
    mutex_unlock(&obj->lock);
    struct page *first = wanted ? page_alloc(ORDER_HUGE, PAGE_CACHE, PHYS_ZERO | PHYS_TRY) : NULL;
    if (!first)
        return false;
    first->object = obj;
    first->index = index;
    first->flags = PAGE_UPTODATE;
    page_split(first, 1);
    mutex_lock(&obj->lock);
    bool done = attach_block(obj, first);
    mutex_unlock(&obj->lock);
    if (!done) {
        first->order = ORDER_HUGE;
        page_free(first);
    }
    return done;
}

int vm_object_page(struct vm_object *obj, u64 index, bool for_write, struct page **out)
{
    return find_or_fill(obj, index, for_write, 0, out);
}

int object_page_try(struct vm_object *obj, u64 index, struct page **out)
{
    return find_or_fill(obj, index, false, PHYS_TRY, out);
}

/* ---- removing ---- */

static void unmap_cached(pte_t *entry, u64 addr, int level, void *arg)
{
    pte_t e = pte_load(entry);
    if (pte_paddr(e) != zero_page_paddr() && paddr_to_page(pte_paddr(e))->kind == PAGE_CACHE)
        pt_zap_leaf(entry, addr, level, arg);
}

/* Unmaps pages [first, last] of obj from every area; copies: private copies of them too. vm_lock alone and
 * obj->lock held. -ENOMEM. */
static int object_unmap_locked(struct vm_object *obj, u64 first, u64 last, bool copies, struct tlb_batch *b)
{
    struct vm_area *a;
    list_for_each(a, &obj->areas, object_link)
    {
        u64 area_first = a->offset >> PAGE_SHIFT;
        u64 area_last = area_first + ((a->end - a->start) >> PAGE_SHIFT) - 1;
        u64 from = MAX(first, area_first), to = MIN(last, area_last);
        if (from > to)
            continue;
        u64 start = a->start + ((from - area_first) << PAGE_SHIFT);
        u64 end = a->start + ((to - area_first + 1) << PAGE_SHIFT);
        if (pt_split_at(start, b) || pt_split_at(end, b))
            return -ENOMEM;
        if (copies)
            pt_zap(start, end, start, end, b);
        else
            pt_walk(start, end, unmap_cached, b);
    }
    return 0;
}

/* Zeroes bytes [start, end) of the page they lie in, when it is there. Under the lock. */
static void zero_part(struct vm_object *obj, u64 start, u64 end)
{
    struct page *page = radix_get(obj, start >> PAGE_SHIFT);
    if (!page || start == end || !(page_flags(page) & PAGE_UPTODATE))
        return;
    memset((char *)page_to_virt(page) + start % PAGE_SIZE, 0, end - start);
    object_mark_dirty_locked(obj, page);
}

/* Takes obj->lock, and vm_lock alone before it when the object is mapped. True: vm_lock is held. */
static bool lock_for_removal(struct vm_object *obj)
{
    mutex_lock(&obj->lock);
    if (list_empty(&obj->areas))
        return false;
    mutex_unlock(&obj->lock);
    vm_write_lock();
    mutex_lock(&obj->lock);
    return true;
}

/* Frees whole pages in [start, end) bytes. copies: private copies of them go too. */
static int remove_bytes(struct vm_object *obj, u64 start, u64 end, bool copies, struct tlb_batch *b)
{
    u64 first = (start + PAGE_SIZE - 1) >> PAGE_SHIFT, past = end >> PAGE_SHIFT;
    if (first >= past)
        return 0;
    int err = object_unmap_locked(obj, first, past - 1, copies, b);
    if (!err)
        detach_range(obj, first, past - 1, b);
    return err;
}

/* The flush runs before vm_lock is released; freeing frames takes no lock of this layer. */
static void unlock_after_removal(struct vm_object *obj, bool vm_locked, struct tlb_batch *b)
{
    tlb_finish(b);
    mutex_unlock(&obj->lock);
    if (vm_locked)
        vm_write_unlock();
}

int vm_object_truncate(struct vm_object *obj, u64 size)
{
    struct tlb_batch batch;
    tlb_begin(&batch);
    bool vm_locked = lock_for_removal(obj);
    int err = 0;
    if (size < obj->size) {
        err = remove_bytes(obj, size, ~0UL << PAGE_SHIFT, true, &batch);
        if (size % PAGE_SIZE)
            zero_part(obj, size, ALIGN_UP(size, PAGE_SIZE));
    }
    if (!err)
        obj->size = size;
    unlock_after_removal(obj, vm_locked, &batch);
    return err;
}

int vm_object_punch(struct vm_object *obj, u64 start, u64 end)
{
    struct tlb_batch batch;
    tlb_begin(&batch);
    bool vm_locked = lock_for_removal(obj);
    int err = 0;
    if (start >> PAGE_SHIFT == end >> PAGE_SHIFT) {
        zero_part(obj, start, end);
    } else {
        if (start % PAGE_SIZE)
            zero_part(obj, start, ALIGN_UP(start, PAGE_SIZE));
        zero_part(obj, ALIGN_DOWN(end, PAGE_SIZE), end);
        err = remove_bytes(obj, start, end, false, &batch);
    }
    unlock_after_removal(obj, vm_locked, &batch);
    return err;
}

void vm_object_invalidate(struct vm_object *obj, u64 start, u64 end)
{
    struct tlb_batch batch;
    tlb_begin(&batch);
    bool vm_locked = lock_for_removal(obj);
    struct page *page;
    u64 last = end ? (end - 1) >> PAGE_SHIFT : 0;
    for (u64 i = start >> PAGE_SHIFT; (page = radix_next(obj, &i)) && i <= last; i++) {
        if (page_flags(page) & (PAGE_DIRTY | PAGE_BUSY))
            continue;
        if (object_unmap_locked(obj, i, i, false, &batch))
            break;
        object_detach_locked(obj, page);
        tlb_release(&batch, page);
    }
    unlock_after_removal(obj, vm_locked, &batch);
}

u64 vm_object_seek(struct vm_object *obj, u64 pos, bool data)
{
    mutex_lock(&obj->lock);
    u64 index = pos >> PAGE_SHIFT, size = obj->size;
    if (data) {
        u64 at = index;
        struct page *page = radix_next(obj, &at);
        pos = !page ? size : at == index ? pos : at << PAGE_SHIFT;
    } else if (radix_get(obj, index)) {
        while (radix_get(obj, index))
            index++;
        pos = index << PAGE_SHIFT;
    }
    mutex_unlock(&obj->lock);
    return MIN(pos, size);
}

/* ---- writing back ---- */

static void protect_one(pte_t *entry, struct page *page, u64 addr, struct tlb_batch *b)
{
    pte_t e = pte_load(entry);
    while (pte_paddr(e) == page_to_paddr(page) && (e.bits & PTE_WRITE)) {
        if (pte_cmpxchg(entry, e, (pte_t){e.bits & ~(PTE_WRITE | PTE_DIRTY)})) {
            tlb_note(b, addr, PAGE_SIZE);
            return;
        }
        e = pte_load(entry);
    }
}

/* Takes the right to write away from every mapping of the page, so that the next write marks it dirty. Under
 * vm_lock (shared) and the object's lock. */
static void write_protect(struct vm_object *obj, struct page *page, struct tlb_batch *b)
{
    struct vm_area *a;
    list_for_each(a, &obj->areas, object_link)
    {
        u64 first = a->offset >> PAGE_SHIFT;
        u64 addr = a->start + ((page->index - first) << PAGE_SHIFT);
        int level;
        pte_t *entry = NULL;
        if (page->index >= first && addr < a->end && addr >= a->start)
            entry = pt_lookup(addr, &level);
        if (entry && level == 0)
            protect_one(entry, page, addr, b);
    }
}

/*
 * The next dirty page of [*index, last] with a reference; NULL: none. *mine: made busy and clean, for the
 * caller to write; else another thread is at it.
 */
static struct page *next_dirty(struct vm_object *obj, u64 *index, u64 last, bool *mine)
{
    struct tlb_batch batch;
    struct page *page = NULL;
    tlb_begin(&batch);
    vm_read_lock();
    mutex_lock(&obj->lock);
    while (obj->dirty_count && (page = radix_next(obj, index)) && *index <= last &&
           !(page_flags(page) & PAGE_DIRTY))
        ++*index;
    if (!obj->dirty_count || *index > last)
        page = NULL;
    if (page) {
        page_get(page);
        *mine = !(page_flags(page) & PAGE_BUSY);
        if (*mine) {
            flags_set(page, PAGE_BUSY);
            flags_clear(page, PAGE_DIRTY); /* before the mappings: a write from now on sets it again */
            obj->dirty_count--;
            write_protect(obj, page, &batch);
        }
    }
    tlb_finish(&batch);
    mutex_unlock(&obj->lock);
    vm_read_unlock();
    return page;
}

static int write_page(struct vm_object *obj, struct page *page)
{
    u64 at = page->index << PAGE_SHIFT, size = obj->size;
    int err = at < size ? obj->ops->writeback(obj, page->index, page, MIN(PAGE_SIZE, size - at)) : 0;
    if (err)
        vm_object_dirty(obj, page);
    page_unbusy(page);
    return err;
}

int vm_object_sync(struct vm_object *obj, u64 start, u64 end)
{
    if (!obj->ops || !obj->ops->writeback || start >= end)
        return 0;
    int result = 0;
    u64 index = start >> PAGE_SHIFT, last = (end - 1) >> PAGE_SHIFT;
    struct page *page;
    bool mine;
    while ((page = next_dirty(obj, &index, last, &mine))) {
        int err = 0;
        if (mine) {
            err = write_page(obj, page);
            index++;
        } else {
            page_wait(page); /* then look at it again */
        }
        page_put(page);
        if (err && !result)
            result = err;
    }
    return result;
}
