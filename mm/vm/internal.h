/* Shared by the files of mm/vm only. */
#ifndef MOKA_MM_VM_INTERNAL_H
#define MOKA_MM_VM_INTERNAL_H

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/pte.h"
#include "kernel/base/errno.h"
#include "mm/vm/lock.h"
#include "mm/vm/vm.h"

/* ---- area.c: the areas by address. Readers hold vm_lock shared, changers alone ---- */

/* The tree's root, for peek.c, which holds no lock. */
const struct vm_area *area_root(void);
/* The first area that ends after addr, or NULL. */
struct vm_area *area_after(u64 addr);
/* The area that contains addr, or NULL. */
struct vm_area *area_at(u64 addr);
struct vm_area *area_next(const struct vm_area *a);
struct vm_area *area_prev(const struct vm_area *a);
struct vm_area *area_last(void);
/* next: area_after(a->start). */
void area_insert(struct vm_area *a, struct vm_area *next);
void area_remove(struct vm_area *a);
/* Moves an area's borders; it must not reach its neighbours. */
void area_resize(struct vm_area *a, u64 start, u64 end);
/* Cuts a at addr, which lies inside it: upper becomes the area of what is above. Cheap, like the next two. */
void area_split(struct vm_area *a, u64 addr, struct vm_area *upper);
/* The area after a, which begins where a ends, leaves the tree and a takes its place, too. */
void area_join(struct vm_area *a, struct vm_area *next);
/* Moves the border where a ends and the area after it begins. */
void area_move_border(struct vm_area *a, struct vm_area *next, u64 addr);
/* The highest free range of len bytes, aligned, within [low, high). 0: none. */
u64 area_find_gap(u64 len, u64 align, u64 low, u64 high);

/* The object's offset of addr. */
static inline u64 offset_at(const struct vm_area *a, u64 addr)
{
    return a->object ? a->offset + (addr - a->start) : 0;
}

/* ---- map.c ---- */

/* Joins areas that map.c keeps apart although they are alike, and makes singles areas. No lock held. */
void areas_settle(void);
/* Where [addr, addr + len) ends, len rounded up. -EINVAL, -ENOMEM. */
static inline int range_of(u64 addr, u64 len, u64 *end)
{
    if (!IS_ALIGNED(addr, PAGE_SIZE))
        return -EINVAL;
    if (len > PROGRAM_END || addr > PROGRAM_END - ALIGN_UP(len, PAGE_SIZE))
        return -ENOMEM;
    *end = addr + ALIGN_UP(len, PAGE_SIZE);
    return 0;
}

/* ---- tlb.c: frames that are being unmapped, and who must forget them ---- */

#define TLB_RUNS 32

/* Collects what one operation unmaps; frames are given up only after every CPU has flushed. On the stack. */
struct tlb_batch {
    u64 start, end; /* covers every changed translation; start > end: nothing to flush */
    struct list
        own; /* what is ours alone, to be freed: blocks, and runs of page.private neighbours of order 0 */
    struct page *head; /* of the last run of own; while next is not NULL */
    struct page *next; /* the page that would continue it; NULL: none */
    struct {
        struct page *first;
        u32 count;
    } run[TLB_RUNS]; /* pages to page_put, neighbours together */
    u32 run_count;
    struct page *tables; /* page tables that go, linked by page.private */
};
void tlb_begin(struct tlb_batch *b);
static inline void tlb_note(struct tlb_batch *b, u64 addr, u64 len)
{
    b->start = MIN(b->start, addr);
    b->end = MAX(b->end, addr + len);
}
void tlb_release_shared(struct tlb_batch *b, struct page *page);
/* A block that nobody else refers to. */
static inline void tlb_release_own(struct tlb_batch *b, struct page *page)
{
    if (page == b->next && !page->order && page->kind == b->head->kind) {
        b->head->private ++;
        b->next++;
        return;
    }
    list_push_back(&b->own, &page->link);
    page->private = 1;
    b->head = page;
    b->next = page->order ? NULL : page + 1;
}
/* Takes over one reference to page; puts off what other CPUs may still use until tlb_finish. */
static inline void tlb_release(struct tlb_batch *b, struct page *page)
{
    if (page->kind != PAGE_CACHE && __atomic_load_n(&page->refs, __ATOMIC_ACQUIRE) == 1)
        tlb_release_own(b, page);
    else
        tlb_release_shared(b, page);
}
void tlb_flush_noted(struct tlb_batch *b);
void tlb_free_collected(struct tlb_batch *b);
/* Flushes on all CPUs. May sleep; interrupts on once there are other CPUs. */
static inline void tlb_flush(struct tlb_batch *b)
{
    if (b->start < b->end)
        tlb_flush_noted(b);
}
/* Gives up what was collected; after tlb_flush(). The batch is empty again. */
static inline void tlb_free(struct tlb_batch *b)
{
    if (b->run_count || !list_empty(&b->own))
        tlb_free_collected(b);
}
/* Both. */
void tlb_finish(struct tlb_batch *b);
/* Drops the kernel's translations on all CPUs. May sleep. */
void tlb_flush_kernel(void);
/* From true to false this CPU runs nothing but the kernel, so shoot-downs leave it alone and it makes up for
 * them at the end. Preemption off in between. */
void tlb_quiet(bool quiet);
void tlb_init(void);

/* ---- pt.c: the page tables of the program's half ---- */

/*
 * Entries: 0 is empty. Not present but not 0 ("held"): the page stays, nobody may touch it (PROT_NONE).
 * At level 1 PTE_HUGE marks a 2 MiB page, present or held; anything else is a table.
 */
#define PTE_HELD PTE_SOFT0
/*
 * A single: a page of an anonymous area that has rights of its own instead of the area's, which has `singles`
 * set. Its entry, at level 0 and never 0, has PTE_OWN and the VM_PROT bits of its rights from PTE_OWN_PROT
 * on; while nobody touched the page it maps the page of zeros. Changes with vm_lock alone, read with any.
 */
#define PTE_OWN      PTE_SOFT3
#define PTE_OWN_PROT PTE_SOFT4
#define PTE_OWN_BITS (PTE_OWN | VM_PROT * PTE_OWN_PROT)

/* The entry that maps addr, its level in *level (0 or 1); NULL when tables are missing. It may be empty. Any
 * vm_lock. */
pte_t *pt_lookup(u64 addr, int *level);
/* The level-1 entry for addr, tables above it made. NULL: no memory (nothing reclaimed). Any vm_lock. */
pte_t *pt_make_huge_entry(u64 addr);
/* The level-0 entry under a level-1 entry that is empty or a table. NULL: no memory. Any vm_lock. */
pte_t *pt_make_entry(pte_t *huge_entry, u64 addr);

static inline pte_t *pt_table(pte_t e)
{
    return phys_to_virt(pte_paddr(e));
}
/* The level-1 entry of addr, NULL where a table above it is missing; *next: where the 2 MiB, or what is
 * missing, end. Any vm_lock. */
static inline pte_t *pt_huge_entry(u64 addr, u64 *next)
{
    pte_t e = pte_load(&page_table_root[pte_index(addr, 3)]);
    if (unlikely(!e.bits)) {
        *next = (addr | ((PAGE_SIZE << 27) - 1)) + 1;
        return NULL;
    }
    e = pte_load(&pt_table(e)[pte_index(addr, 2)]);
    if (unlikely(!e.bits)) {
        *next = (addr | ((PAGE_SIZE << 18) - 1)) + 1;
        return NULL;
    }
    *next = (addr | (HUGE_SIZE - 1)) + 1;
    return &pt_table(e)[pte_index(addr, 1)];
}
/* Splits a 2 MiB page that crosses addr. -ENOMEM. vm_lock alone. */
int pt_split_at(u64 addr, struct tlb_batch *b);
/* Splits 2 MiB pages that cross start or end. -ENOMEM. vm_lock alone. */
int pt_split_around(u64 start, u64 end, struct tlb_batch *b);
/* Unmaps [start, end), at whose borders no 2 MiB page crosses; tables that serve only [floor, ceiling) go
 * too. vm_lock alone. */
void pt_zap(u64 start, u64 end, u64 floor, u64 ceiling, struct tlb_batch *b);
/* Empties one entry that pt_walk came to. vm_lock alone. */
void pt_zap_leaf(pte_t *entry, u64 addr, int level, struct tlb_batch *b);
/* Gives all pages of [start, end), part of an area, the rights of flags; object: the area's. 2 MiB pages at
 * the borders are split. There are no singles then. -ENOMEM: nothing changed. vm_lock alone. */
int pt_protect(u64 start, u64 end, u32 flags, const struct vm_object *object, struct tlb_batch *b);
/* Makes the page at addr, of an anonymous area, a single with the rights of flags; not own: an ordinary page
 * again, flags are the area's. False: no memory, nothing changed. vm_lock alone. */
bool pt_protect_single(u64 addr, u32 flags, bool own, struct tlb_batch *b);
/* The flags for a page of an area of these flags that has singles. Any vm_lock. */
u32 pt_flags_at(u64 addr, u32 area_flags);
/* The first run of singles of equal rights in [*start, end) become ordinary pages. Returns where they end,
 * *start where they begin, *prot their rights; 0: there are none. vm_lock alone. */
u64 pt_take_singles(u64 *start, u64 end, u32 *prot, struct tlb_batch *b);
/* Moves the pages of [from, from + len) to [to, to + len), which is empty. -ENOMEM: nothing moved. vm_lock
 * alone. */
int pt_move(u64 from, u64 to, u64 len, struct tlb_batch *b);
/* Calls fn(entry, address, level, arg) for each entry of [start, end) that is not empty. Any vm_lock. */
void pt_walk(u64 start, u64 end, void (*fn)(pte_t *e, u64 addr, int level, void *arg), void *arg);

/* Present bits for a page of an area with these flags. */
u64 pt_flags(u32 area_flags, bool writable);

extern u64 zero_paddr; /* of vm_zero_page(); fixed by pt_init() */
static inline u64 zero_page_paddr(void)
{
    return zero_paddr;
}
/* Makes the page of zeros. */
void pt_init(void);

/* ---- radix.c: pages of an object by index, under the object's lock ---- */

struct page *radix_get(struct vm_object *obj, u64 index);
int radix_set(struct vm_object *obj, u64 index, struct page *page); /* slot must be empty. -ENOMEM */
struct page *radix_remove(struct vm_object *obj, u64 index);
/* The first page at or after *index, and its index; NULL: none. */
struct page *radix_next(struct vm_object *obj, u64 *index);
/* radix_get on a copy of an object, without its lock, believing no pointer. False: the tree is broken. */
bool radix_peek(const struct vm_object *obj, u64 index, struct page **page);
/* Frees the nodes; no page may be left. */
void radix_free(struct vm_object *obj);

/* ---- object.c ---- */

/* The page at index if present and filled, with a reference. Under obj->lock. */
struct page *object_peek_locked(struct vm_object *obj, u64 index);
/* The first of 512 pages from index on, when all are there and lie in one aligned block; else NULL. Under
 * obj->lock. */
struct page *object_huge_locked(struct vm_object *obj, u64 index);
/* vm_object_page for a reader, without reclaiming. */
int object_page_try(struct vm_object *obj, u64 index, struct page **out);
/* Attaches fresh pages (refs 1) at absent indexes from first on and fills them; takes all of them over.
 * Returns how many, or -errno. May sleep; no lock. */
int object_read_run(struct vm_object *obj, u64 first, struct page **pages, u32 have);
/* Takes a page out of the tree. Under obj->lock; the object's reference passes to the caller. */
void object_detach_locked(struct vm_object *obj, struct page *page);
void object_mark_dirty_locked(struct vm_object *obj, struct page *page);

/* ---- peek.c ---- */

/* Lets backtraces see cached file pages that are not mapped. */
void peek_init(void);

/* ---- readahead.c ---- */

/* A reader missed, and is about to read [first, end) itself. in_order: it read the page before last. */
void object_missed(struct vm_object *obj, u64 first, u64 end, bool in_order);

/* ---- reclaim.c ---- */
void lru_add(struct page **pages, u32 count);
void lru_remove(struct page *page);
/* phys_reclaim for callers that hold no lock at all: may wait for vm_lock. */
u64 reclaim_unlocked(u64 want);
/* Writes some dirty file pages back, so that they can be reclaimed. False: there are none, or it failed. No
 * lock of this layer held. */
bool reclaim_write_back(void);
void reclaim_init(void);

/* ---- code.c ---- */

/* Of areas of these flags pages are written or executed at a time. */
static inline bool code_turns_over(u32 area_flags)
{
    return unlikely(code_takes_turns) && (area_flags & (VM_WRITE | VM_EXEC)) == (VM_WRITE | VM_EXEC);
}
/* Gives a present entry of such an area, at level 0 or 1, the right that a fault (PF_*) wants, unless it must
 * be copied first. vm_lock shared; may sleep. */
void code_turn(pte_t *entry, u64 addr, u32 error);

/* ---- fault.c ---- */

/* One CPU's figures, summed by vm_stats, and the area where its last fault was. */
struct vm_cpu {
    s64 resident; /* pages of 4 KiB mapped minus unmapped here */
    s64 huge;     /* 2 MiB entries of anonymous memory made minus undone here */
    u64 minor, major;
    u64 unnoted;          /* pages whose addresses were unmapped here since resident_note() */
    struct vm_area *area; /* atomic; valid while generation is vm_lock's */
    u64 generation;       /* atomic; written after area */
} __attribute__((aligned(64)));
extern struct vm_cpu vm_cpus[CPU_MAX];
static inline void count_resident(s64 pages)
{
    preempt_disable();
    s64 *n = &vm_cpus[cpu_id()].resident;
    __atomic_store_n(n, *n + pages, __ATOMIC_RELAXED);
    preempt_enable();
}
/* Remembers how many pages are resident if that is the most so far. It reads what every CPU writes at each
 * fault. Lock-free. Returns how many are. */
u64 resident_note(void);
/* Before `pages` of addresses are unmapped: now and then, so the peak may be UNNOTED_PAGES for each CPU too
 * low. */
#define UNNOTED_PAGES 256u
static inline void resident_falls(u64 pages)
{
    preempt_disable();
    u64 *n = &vm_cpus[cpu_id()].unnoted;
    bool due = (*n += pages) >= UNNOTED_PAGES;
    if (due)
        *n = 0;
    preempt_enable();
    if (unlikely(due))
        resident_note();
}
static inline void count_huge(s64 entries)
{
    preempt_disable();
    s64 *n = &vm_cpus[cpu_id()].huge;
    __atomic_store_n(n, *n + entries, __ATOMIC_RELAXED);
    preempt_enable();
}
/* The policy for 2 MiB pages: is there memory for one more in an area of these flags? */
bool huge_affordable(u32 area_flags);
/* vm_fault without the out-of-memory end: -ENOMEM after reclaiming in vain. */
int vm_fault_try(u64 addr, u32 error);

#endif
