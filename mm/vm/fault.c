/*
 * Page faults. They share vm_lock and install entries by compare-and-exchange, so faults on different CPUs,
 * and on the same page, go on side by side: who loses the exchange drops its page and repeats the access.
 *
 * What can wait (reading a file, reclaiming memory) happens after vm_lock was released; then the fault starts
 * over.
 */
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "mm/vm/internal.h"
#include "sched/thread.h"

#define AROUND_PAGES     16 /* cached file pages mapped by one read fault: an aligned window of this many */
#define OOM_TRIES        8
#define HUGE_MIN_MEMORY  (128UL << 20 >> PAGE_SHIFT) /* smaller machines use no 2 MiB pages by themselves */
#define HUGE_MANY_MEMORY (256UL << 20 >> PAGE_SHIFT)

struct vm_cpu vm_cpus[CPU_MAX];

/* One fault on its way. need_*: what to do without the lock before trying again. */
struct fault {
    u64 addr; /* page-aligned */
    struct vm_area *area;
    u32 flags; /* the area's, but the page's own rights */
    u32 error; /* PF_* */
    bool write;
    bool major;
    s64 resident;                  /* pages mapped that were not */
    struct vm_object *need_object; /* referenced: read need_index of it. Set with TRY_AGAIN */
    u64 need_index;
};

/* Results of a try besides 0 and errors for the caller. */
#define TRY_AGAIN (-EAGAIN)

static bool is_zero_page(pte_t e)
{
    return pte_paddr(e) == zero_page_paddr();
}

/* Makes new, of count pages, the translation of addr if the entry still is old. Page's reference passes to
 * the entry. */
static inline bool install(struct fault *f, pte_t *entry, pte_t old, pte_t new, u64 pages)
{
    if (unlikely(!pte_cmpxchg(entry, old, new)))
        return false;
    if (!old.bits || is_zero_page(old))
        f->resident += pages;
    return true;
}

static struct page *anon_page(u32 order, u32 flags)
{
    return page_alloc(order, PAGE_ANON, flags | PHYS_TRY);
}

/* ---- 2 MiB pages ---- */

/*
 * The policy, all of it. A 2 MiB page serves a write to an untouched aligned 2 MiB within one area while
 * memory is plentiful: a quarter of it free, a half on machines of less than 256 MiB, never below 128 MiB;
 * areas that asked for it (MADV_HUGEPAGE) only need a sixteenth free.
 */
bool huge_affordable(u32 area_flags)
{
    u64 total = phys_total_pages(), free = phys_free_pages();
    if (area_flags & VM_HUGE)
        return free >= total / 16 + 512;
    return total >= HUGE_MIN_MEMORY * 15 / 16 && free >= total / (total < HUGE_MANY_MEMORY * 15 / 16 ? 2 : 4);
}

static bool huge_wanted(const struct vm_area *a, u64 addr)
{
    u64 base = ALIGN_DOWN(addr, HUGE_SIZE);
    return base >= a->start && base + HUGE_SIZE <= a->end && !(a->flags & (VM_NOHUGE | VM_STACK)) &&
           huge_affordable(a->flags);
}

/* 0: installed, or somebody else did; -ENOMEM: take small pages. */
static int fault_anon_huge(struct fault *f, pte_t *entry)
{
    struct page *page = anon_page(ORDER_HUGE, PHYS_ZERO);
    if (!page)
        return -ENOMEM;
    u64 bits = pt_flags(f->flags, true) | PTE_HUGE | PTE_ACCESSED | PTE_DIRTY;
    if (install(f, entry, (pte_t){0}, pte_make(page_to_paddr(page), bits), 512))
        count_huge(1);
    else
        page_free(page);
    return 0;
}

/* ---- anonymous memory ---- */

static int map_zero_page(struct fault *f, pte_t *entry)
{
    pte_cmpxchg(entry, (pte_t){0}, pte_make(zero_page_paddr(), pt_flags(f->flags, false) | PTE_ACCESSED));
    return 0;
}

/* Others may still read what old mapped: they must see that it was replaced. */
static void __attribute__((noinline)) forget_old(struct fault *f, pte_t old)
{
    struct tlb_batch batch;
    tlb_begin(&batch);
    tlb_note(&batch, f->addr, PAGE_SIZE);
    if (!is_zero_page(old))
        tlb_release(&batch, paddr_to_page(pte_paddr(old)));
    tlb_finish(&batch);
}

/* Gives the area its own page with the contents of source (NULL: zeros) in place of what old maps. */
static int map_own_page(struct fault *f, pte_t *entry, pte_t old, struct page *source)
{
    struct page *page = anon_page(0, source ? 0 : PHYS_ZERO);
    if (unlikely(!page))
        return -ENOMEM;
    if (source)
        memcpy(page_to_virt(page), page_to_virt(source), PAGE_SIZE);
    u64 bits = pt_flags(f->flags, true) | PTE_ACCESSED | (f->write ? PTE_DIRTY : 0);
    bits |= old.bits & PTE_OWN_BITS;
    if (unlikely(!install(f, entry, old, pte_make(page_to_paddr(page), bits), 1)))
        page_free(page);
    else if (unlikely(pte_present(old)))
        forget_old(f, old);
    return 0;
}

/* The entry is present and the access is allowed by the area: grant it, or find that it is granted. */
static int __attribute__((noinline)) fault_present(struct fault *f, pte_t *entry, pte_t e)
{
    bool missing_write = f->write && !(e.bits & PTE_WRITE);
    if (missing_write && is_zero_page(e))
        return map_own_page(f, entry, e, NULL);
    struct page *page = paddr_to_page(pte_paddr(e));
    if (missing_write && page->kind == PAGE_CACHE && !(f->area->flags & VM_SHARED))
        return map_own_page(f, entry, e, page);
    if (missing_write && page->kind == PAGE_CACHE) {
        mutex_lock(&f->area->object->lock);
        object_mark_dirty_locked(f->area->object, page);
        mutex_unlock(&f->area->object->lock);
    }
    if (code_turns_over(f->area->flags)) {
        code_turn(entry, f->addr, f->error);
        return 0;
    }
    if (missing_write)
        pte_cmpxchg(entry, e, (pte_t){e.bits | PTE_WRITE | PTE_DIRTY | PTE_ACCESSED});
    tlb_flush_page_local(f->addr);
    return 0;
}

/* Most pages that are read first are written soon: while half of memory is free a read gets a page too, which
 * saves the second fault and its shoot-down. */
static int fault_anon(struct fault *f, pte_t *entry)
{
    bool own = f->write || ((f->flags & VM_WRITE) && phys_free_pages() > phys_total_pages() / 2);
    return own ? map_own_page(f, entry, (pte_t){0}, NULL) : map_zero_page(f, entry);
}

/* ---- objects ---- */

/* May shared pages of the object be written without a first fault that marks them dirty? */
static bool writes_untracked(const struct vm_object *obj)
{
    return !obj->ops || !obj->ops->writeback;
}

/* Maps other pages of the window around f->addr that are in the cache already. Under the object's lock. */
static void map_around(struct fault *f, pte_t *entry)
{
    struct vm_area *a = f->area;
    u64 window = ALIGN_DOWN(f->addr, AROUND_PAGES * PAGE_SIZE);
    u64 start = MAX(window, a->start), end = MIN(window + AROUND_PAGES * PAGE_SIZE, a->end);
    u64 limit = ALIGN_UP(a->object->size, PAGE_SIZE);
    bool writable = (a->flags & VM_SHARED) && writes_untracked(a->object);
    u64 bits = pt_flags(a->flags, writable);
    s64 mapped = 0;
    for (u64 addr = start; addr < end; addr += PAGE_SIZE) {
        pte_t *e = entry + ((s64)(addr - f->addr) >> PAGE_SHIFT);
        u64 offset = a->offset + (addr - a->start);
        if (pte_load(e).bits || offset >= limit)
            continue;
        struct page *page = object_peek_locked(a->object, offset >> PAGE_SHIFT);
        if (!page)
            continue;
        if (pte_cmpxchg(e, (pte_t){0}, pte_make(page_to_paddr(page), bits)))
            mapped++;
        else
            page_put(page);
    }
    f->resident += mapped;
}

/* Maps the object's page itself. Its reference passes to the entry. Under the object's lock. */
static void map_cached(struct fault *f, pte_t *entry, struct page *page)
{
    struct vm_area *a = f->area;
    bool shared = a->flags & VM_SHARED;
    if (shared && f->write)
        object_mark_dirty_locked(a->object, page);
    u64 bits = pt_flags(a->flags, shared && (f->write || writes_untracked(a->object)));
    bits |= PTE_ACCESSED | (f->write ? PTE_DIRTY : 0);
    if (!install(f, entry, (pte_t){0}, pte_make(page_to_paddr(page), bits), 1))
        page_put(page);
}

/* A page of an object that has no backing store: made at once. */
static int make_object_page(struct fault *f, pte_t *entry, u64 index)
{
    struct page *page;
    struct vm_object *obj = f->area->object;
    int err = object_page_try(obj, index, &page);
    if (err)
        return err;
    if (f->write && !(f->area->flags & VM_SHARED)) {
        err = map_own_page(f, entry, (pte_t){0}, page);
        page_put(page);
        return err;
    }
    mutex_lock(&obj->lock);
    map_cached(f, entry, page);
    mutex_unlock(&obj->lock);
    return 0;
}

/* The object's offset of the 2 MiB around the fault, if a shared mapping could use one entry for them; else
 * -1. */
static s64 huge_offset(const struct fault *f)
{
    const struct vm_area *a = f->area;
    u64 base = ALIGN_DOWN(f->addr, HUGE_SIZE), offset = a->offset + (base - a->start);
    bool fits = base >= a->start && base + HUGE_SIZE <= a->end && IS_ALIGNED(offset, HUGE_SIZE) &&
                offset + HUGE_SIZE <= a->object->size;
    return fits && (a->flags & VM_SHARED) && !(a->flags & VM_NOHUGE) ? (s64)offset : -1;
}

/* Maps 512 pages of the object that lie in one block by one entry; true when it did. Each page gets its
 * reference, as if mapped alone. */
static bool __attribute__((noinline)) fault_object_huge(struct fault *f, pte_t *entry)
{
    struct vm_object *obj = f->area->object;
    s64 offset = huge_offset(f);
    if (offset < 0 || (obj->ops && (obj->ops->fill || obj->ops->writeback)))
        return false;
    u64 index = offset >> PAGE_SHIFT;
    if (f->write || (f->area->flags & VM_HUGE))
        vm_object_add_huge(obj, index);
    mutex_lock(&obj->lock);
    struct page *first = object_huge_locked(obj, index);
    for (u32 i = 0; first && i < 512; i++)
        page_get(first + i);
    mutex_unlock(&obj->lock);
    if (!first)
        return false;
    u64 bits = pt_flags(f->area->flags, true) | PTE_HUGE | PTE_ACCESSED | (f->write ? PTE_DIRTY : 0);
    if (!install(f, entry, (pte_t){0}, pte_make(page_to_paddr(first), bits), 512))
        for (u32 i = 0; i < 512; i++)
            page_put(first + i);
    return true;
}

static int __attribute__((noinline)) fault_object(struct fault *f, pte_t *entry)
{
    struct vm_area *a = f->area;
    struct vm_object *obj = a->object;
    u64 offset = a->offset + (f->addr - a->start);
    if (offset >= obj->size)
        return -EIO;
    bool own = f->write && !(a->flags & VM_SHARED);
    mutex_lock(&obj->lock);
    struct page *page = object_peek_locked(obj, offset >> PAGE_SHIFT);
    if (page && !own) {
        map_cached(f, entry, page);
        map_around(f, entry);
    }
    mutex_unlock(&obj->lock);
    if (page && own) {
        int err = map_own_page(f, entry, (pte_t){0}, page);
        page_put(page);
        return err;
    }
    if (page)
        return 0;
    if (!obj->ops || !obj->ops->fill)
        return make_object_page(f, entry, offset >> PAGE_SHIFT);
    vm_object_get(obj);
    f->need_object = obj;
    f->need_index = offset >> PAGE_SHIFT;
    return TRY_AGAIN;
}

/* ---- the fault ---- */

static int check_access(u32 flags, u32 error)
{
    u32 need = error & PF_FETCH ? VM_EXEC : error & PF_WRITE ? VM_WRITE : VM_PROT;
    return flags & need ? 0 : -EACCES;
}

/* area_at(), looking first where this CPU's last fault was. vm_lock shared. */
static inline struct vm_area *fault_area(u64 addr)
{
    struct vm_cpu *c = &vm_cpus[cpu_id()];
    if (likely(__atomic_load_n(&c->generation, __ATOMIC_ACQUIRE) == vm_lock.generation)) {
        struct vm_area *last = __atomic_load_n(&c->area, __ATOMIC_RELAXED);
        if (likely(addr >= last->start && addr < last->end))
            return last;
    }
    struct vm_area *a = area_at(addr);
    if (a) { /* any area written here is one of this generation: no writer can have come since it was found */
        __atomic_store_n(&c->area, a, __ATOMIC_RELEASE);
        __atomic_store_n(&c->generation, vm_lock.generation, __ATOMIC_RELEASE);
    }
    return a;
}

/* Nothing is mapped in these 2 MiB: true when one entry serves them now. */
static bool __attribute__((noinline)) fault_huge(struct fault *f, pte_t *entry)
{
    /* Who writes should not stop those who execute the rest of 2 MiB. */
    if (code_turns_over(f->area->flags))
        return false;
    if (f->area->object)
        return fault_object_huge(f, entry);
    return f->write && huge_wanted(f->area, f->addr) && !fault_anon_huge(f, entry);
}

/* With vm_lock shared. */
static int fault_once(struct fault *f)
{
    u64 next;
    f->area = fault_area(f->addr);
    if (unlikely(!f->area))
        return -EFAULT;
    f->flags = f->area->flags;
    if (unlikely(f->area->singles))
        f->flags = pt_flags_at(f->addr, f->flags);
    int err = check_access(f->flags, f->error);
    if (unlikely(err))
        return err;
    pte_t *huge = pt_huge_entry(f->addr, &next) ?: pt_make_huge_entry(f->addr);
    if (unlikely(!huge))
        return -ENOMEM;
    pte_t e = pte_load(huge);
    if (unlikely(!e.bits)) {
        if (fault_huge(f, huge))
            return 0;
        pt_make_entry(huge, f->addr);
        e = pte_load(huge);
        if (!e.bits)
            return -ENOMEM;
    }
    if (unlikely(e.bits & PTE_HUGE))
        return fault_present(f, huge, e);
    pte_t *entry = &pt_table(e)[pte_index(f->addr, 0)];
    e = pte_load(entry);
    if (e.bits)
        return fault_present(f, entry, e);
    return f->area->object ? fault_object(f, entry) : fault_anon(f, entry);
}

/* Reads the page that a try missed. *page: keeps it from being reclaimed before the next try. */
static int fetch(struct fault *f, struct page **page)
{
    int err = vm_object_page(f->need_object, f->need_index, false, page);
    vm_object_put(f->need_object);
    f->need_object = NULL;
    f->major = true;
    return err == -ENOMEM ? err : err ? -EIO : 0;
}

/* After an allocation failed: false when nothing can be had, also not by others who are about to free some.
 */
static bool make_room(u32 *failures)
{
    if (reclaim_unlocked(64) || reclaim_write_back())
        return true;
    if (!sched_sleep(clock_monotonic_ns() + NSEC_PER_MSEC, 0))
        sched_wake(current_thread()); /* the permit was somebody else's */
    return (*failures)++ < OOM_TRIES;
}

static void count_fault(const struct fault *f)
{
    preempt_disable();
    struct vm_cpu *c = &vm_cpus[cpu_id()];
    __atomic_store_n(&c->resident, c->resident + f->resident, __ATOMIC_RELAXED);
    if (likely(!f->major))
        c->minor++;
    else
        c->major++;
    preempt_enable();
}

/* After a try that could not end: 0 to try again. *held: keeps the page that was read from being reclaimed
 * before. */
static int __attribute__((noinline))
between_tries(struct fault *f, int err, struct page **held, u32 *failures)
{
    if (err == TRY_AGAIN && f->need_object)
        err = fetch(f, held) ?: TRY_AGAIN;
    if (err == -ENOMEM && make_room(failures))
        err = TRY_AGAIN;
    return err == TRY_AGAIN ? 0 : err;
}

int vm_fault_try(u64 addr, u32 error)
{
    struct fault f;
    struct page *held = NULL;
    f.addr = ALIGN_DOWN(addr, PAGE_SIZE);
    f.error = error;
    f.write = error & PF_WRITE;
    f.major = false;
    f.resident = 0;
    f.need_object = NULL;
    u32 failures = 0;
    int err;
    if (unlikely(addr < PROGRAM_START || addr >= PROGRAM_END))
        return -EFAULT;
    for (;;) {
        vm_read_lock();
        err = fault_once(&f);
        vm_read_unlock();
        if (unlikely(held)) {
            page_put(held);
            held = NULL;
        }
        if (likely(err != TRY_AGAIN && err != -ENOMEM))
            break;
        err = between_tries(&f, err, &held, &failures);
        if (err)
            break;
    }
    count_fault(&f);
    return err;
}

static _Noreturn void out_of_memory(void)
{
    struct phys_stats s;
    phys_stats(&s);
    log_error("moka: out of memory: of %lu KiB the program has %lu, the page cache %lu, the kernel %lu; -m "
              "gives more\n",
              s.total_pages * 4, s.anon_pages * 4, s.cache_pages * 4, s.kernel_pages * 4);
    shutdown(137);
}

int vm_fault(u64 addr, u32 error)
{
    int err = vm_fault_try(addr, error);
    if (err == -ENOMEM)
        out_of_memory();
    return err;
}
