/*
 * The page tables of the program's half. Faults add entries by compare-and-exchange while sharing vm_lock;
 * everything that removes or changes entries wholesale holds it alone, so tables found stay. The hardware may
 * set accessed and dirty bits at any time: entries are taken with an exchange.
 *
 * Rights belong to areas. But a program that protects pages here and there, one at a time (a write barrier, a
 * guard page), would cut an area in thousands that are joined again soon. So rights of a single page inside
 * an anonymous area stand in its entry (internal.h); whoever wants to see areas as they are makes areas of
 * them first (map.c).
 */
#include "kernel/arch/x86_64/pte.h"
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "mm/vm/internal.h"

#define TABLE_FLAGS (PTE_PRESENT | PTE_WRITE | PTE_ACCESSED)

u64 zero_paddr;

void pt_init(void)
{
    struct page *page = page_alloc(0, PAGE_KERNEL, PHYS_ZERO);
    ASSERT(page);
    zero_paddr = page_to_paddr(page);
}

struct page *vm_zero_page(void)
{
    struct page *page = paddr_to_page(zero_paddr);
    page_get(page);
    return page;
}

u64 pt_flags(u32 area_flags, bool writable)
{
    u64 bits = area_flags & VM_PROT ? PTE_PRESENT : PTE_HELD;
    if (!(area_flags & VM_EXEC))
        bits |= PTE_NX;
    if (writable && (area_flags & VM_WRITE))
        bits |= PTE_WRITE | (code_turns_over(area_flags) ? PTE_NX : 0);
    return bits;
}

static bool is_table(pte_t e)
{
    return pte_present(e) && !pte_huge(e);
}

static u64 span(int level)
{
    return PAGE_SIZE << (9 * level);
}

static inline __attribute__((always_inline)) pte_t *lookup(u64 addr, int *level)
{
    u64 next;
    pte_t *entry = pt_huge_entry(addr, &next);
    pte_t e = entry ? pte_load(entry) : (pte_t){0};
    *level = e.bits & PTE_HUGE ? 1 : 0;
    if (!e.bits || *level)
        return e.bits ? entry : NULL;
    return &pt_table(e)[pte_index(addr, 0)];
}

pte_t *pt_lookup(u64 addr, int *level)
{
    return lookup(addr, level);
}

/* The table below an entry, made when missing; NULL: no memory, or the entry is a 2 MiB page. */
static pte_t *table_make(pte_t *entry)
{
    pte_t e = pte_load(entry);
    if (!e.bits) {
        struct page *page = page_alloc(0, PAGE_KERNEL, PHYS_ZERO | PHYS_TRY);
        if (!page)
            return NULL;
        if (!pte_cmpxchg(entry, e, pte_make(page_to_paddr(page), TABLE_FLAGS)))
            page_free(page);
        e = pte_load(entry);
    }
    return is_table(e) ? pt_table(e) : NULL;
}

pte_t *pt_make_huge_entry(u64 addr)
{
    u64 next;
    pte_t *entry = pt_huge_entry(addr, &next), *table = page_table_root;
    if (likely(entry))
        return entry;
    for (int l = 3; l > 1 && table; l--)
        table = table_make(&table[pte_index(addr, l)]);
    return table ? &table[pte_index(addr, 1)] : NULL;
}

pte_t *pt_make_entry(pte_t *huge_entry, u64 addr)
{
    pte_t *table = table_make(huge_entry);
    return table ? &table[pte_index(addr, 0)] : NULL;
}

/* ---- splitting ---- */

/* Fills a table with 512 entries that map what the 2 MiB entry e maps. */
static void fill_split(pte_t *table, pte_t e)
{
    u64 flags = e.bits & ~(PTE_ADDR | PTE_HUGE);
    for (u32 i = 0; i < 512; i++)
        table[i] = pte_make(pte_paddr(e) + i * PAGE_SIZE, flags);
}

static int split_huge(pte_t *entry, u64 addr, struct tlb_batch *b)
{
    struct page *table = page_alloc(0, PAGE_KERNEL, 0);
    if (!table)
        return -ENOMEM;
    struct page *page = paddr_to_page(pte_paddr(pte_load(entry)));
    if (page->kind == PAGE_ANON)
        count_huge(-1);
    if (page->order)
        page_split(page, page->refs);
    pte_t e = pte_load(entry);
    do
        fill_split(page_to_virt(table), e);
    while (!pte_cmpxchg(entry, e, pte_make(page_to_paddr(table), TABLE_FLAGS)) && (e = pte_load(entry)).bits);
    tlb_note(b, addr, PAGE_SIZE); /* flushing any part drops the whole 2 MiB translation */
    return 0;
}

int pt_split_at(u64 addr, struct tlb_batch *b)
{
    u64 next;
    pte_t *entry = IS_ALIGNED(addr, HUGE_SIZE) ? NULL : pt_huge_entry(addr, &next);
    return entry && (pte_load(entry).bits & PTE_HUGE) ? split_huge(entry, addr, b) : 0;
}

int pt_split_around(u64 start, u64 end, struct tlb_batch *b)
{
    u64 next;
    if (end - ALIGN_DOWN(start, HUGE_SIZE) >= HUGE_SIZE)
        return pt_split_at(start, b) ?: pt_split_at(end, b);
    pte_t *entry = pt_huge_entry(start, &next); /* both borders, or all but one, are in one entry's 2 MiB */
    return entry && (pte_load(entry).bits & PTE_HUGE) ? split_huge(entry, start, b) : 0;
}

/* ---- unmapping ---- */

void pt_zap_leaf(pte_t *entry, u64 addr, int level, struct tlb_batch *b)
{
    pte_t e = pte_exchange(entry, (pte_t){0});
    if (e.bits & PTE_PRESENT)
        tlb_note(b, addr, span(level));
    if (pte_paddr(e) == zero_page_paddr())
        return;
    struct page *page = paddr_to_page(pte_paddr(e));
    u32 count = level && !page->order ? 512 : 1; /* split meanwhile: each frame has its own count */
    count_resident(-(s64)(span(level) >> PAGE_SHIFT));
    if (level && page->kind == PAGE_ANON)
        count_huge(-1);
    if (page->kind == PAGE_CACHE && (e.bits & PTE_ACCESSED))
        __atomic_or_fetch(&page->flags, PAGE_ACTIVE, __ATOMIC_RELAXED);
    for (u32 i = 0; i < count; i++)
        tlb_release(b, page + i);
}

/* Empties the entries of [at, end), all of one table. */
static void zap_entries(pte_t *entry, u64 at, u64 end, struct tlb_batch *b)
{
    u64 zero = zero_page_paddr(), first = ~0UL, last = 0;
    s64 resident = 0;
    for (; at < end; at += PAGE_SIZE, entry++) {
        if (!pte_load(entry).bits)
            continue;
        pte_t e = pte_exchange(entry, (pte_t){0});
        if (pte_present(e)) {
            first = MIN(first, at);
            last = at + PAGE_SIZE;
        }
        if (pte_paddr(e) == zero)
            continue;
        struct page *page = paddr_to_page(pte_paddr(e));
        if (page->kind == PAGE_CACHE && (e.bits & PTE_ACCESSED))
            __atomic_or_fetch(&page->flags, PAGE_ACTIVE, __ATOMIC_RELAXED);
        resident++;
        tlb_release(b, page);
    }
    count_resident(-resident);
    if (last)
        tlb_note(b, first, last - first);
}

static void free_table(pte_t *entry, u64 addr, struct tlb_batch *b)
{
    pte_t e = pte_exchange(entry, (pte_t){0});
    tlb_note(b, addr, PAGE_SIZE); /* any address drops the cached upper levels */
    struct page *table = paddr_to_page(pte_paddr(e));
    table->private = (u64)b->tables;
    b->tables = table;
}

/* Frees the tables of level 1 and 2 below table's entries for [start, end) that serve only [floor, ceiling).
 */
static void free_upper(pte_t *table, int level, u64 start, u64 end, u64 floor, u64 ceiling,
                       struct tlb_batch *b)
{
    for (u64 at = start, next; at < end; at = next) {
        u64 base = ALIGN_DOWN(at, span(level));
        pte_t *entry = &table[pte_index(at, level)];
        next = MIN(base + span(level), end);
        if (!pte_load(entry).bits)
            continue;
        if (level == 3)
            free_upper(pt_table(pte_load(entry)), 2, at, next, floor, ceiling, b);
        if (base >= floor && base + span(level) <= ceiling)
            free_table(entry, at, b);
    }
}

void pt_zap(u64 start, u64 end, u64 floor, u64 ceiling, struct tlb_batch *b)
{
    resident_falls((end - start) >> PAGE_SHIFT);
    for (u64 at = start, next; at < end; at = next) {
        pte_t *huge = pt_huge_entry(at, &next);
        u64 base = ALIGN_DOWN(at, HUGE_SIZE), stop = MIN(next, end);
        pte_t e = huge ? pte_load(huge) : (pte_t){0};
        if (!e.bits)
            continue;
        if (e.bits & PTE_HUGE) {
            ASSERT(at == base && stop == next);
            pt_zap_leaf(huge, at, 1, b);
            continue;
        }
        zap_entries(&pt_table(e)[pte_index(at, 0)], at, stop, b);
        if (base >= floor && next <= ceiling)
            free_table(huge, at, b);
    }
    u64 gib = ALIGN_DOWN(start, span(2));
    if (end - gib > span(2) || (gib >= floor && gib + span(2) <= ceiling))
        free_upper(page_table_root, 3, start, end, floor, ceiling, b);
}

/* ---- walking ---- */

void pt_walk(u64 start, u64 end, void (*fn)(pte_t *e, u64 addr, int level, void *arg), void *arg)
{
    for (u64 at = start, next; at < end; at = next) {
        pte_t *huge = pt_huge_entry(at, &next);
        pte_t e = huge ? pte_load(huge) : (pte_t){0};
        next = MIN(next, end);
        if (e.bits & PTE_HUGE)
            fn(huge, at, 1, arg);
        if (!e.bits || (e.bits & PTE_HUGE))
            continue;
        pte_t *entry = &pt_table(e)[pte_index(at, 0)];
        for (; at < next; at += PAGE_SIZE, entry++)
            if (pte_load(entry).bits)
                fn(entry, at, 0, arg);
    }
}

/* ---- protection ---- */

#define RIGHTS (PTE_PRESENT | PTE_HELD | PTE_WRITE | PTE_NX | PTE_OWN_BITS)

struct protect {
    const struct vm_object *object;
    struct tlb_batch *batch;
    u64 bits;  /* of RIGHTS, for a page that a write must not reach without a fault */
    u64 write; /* of RIGHTS: what is added for a page that may be written; 0: the area forbids it */
    bool shared;
};

static inline u64 write_rights(u32 area_flags)
{
    return area_flags & VM_WRITE ? pt_flags(area_flags, true) & (PTE_WRITE | PTE_NX) : 0;
}

static inline struct protect protect_as(const struct vm_object *object, u32 flags, struct tlb_batch *b)
{
    return (struct protect){object, b, pt_flags(flags, false), write_rights(flags), flags & VM_SHARED};
}

/* May the page behind e be written by the area without a fault? It allows writing. */
static inline bool write_through(pte_t e, const struct protect *p)
{
    if (pte_paddr(e) == zero_page_paddr())
        return false;
    if (!p->object)
        return true;
    if (p->shared) /* with a backing store, the first write marks the page dirty */
        return !p->object->ops || !p->object->ops->writeback;
    return paddr_to_page(pte_paddr(e))->kind == PAGE_ANON;
}

static inline __attribute__((always_inline)) void protect_leaf(pte_t *entry, pte_t old, u64 addr, int level,
                                                               const struct protect *p)
{
    pte_t new;
    do {
        new.bits = (old.bits & ~RIGHTS) | p->bits;
        if (p->write && write_through(old, p))
            new.bits |= p->write;
    } while (!pte_cmpxchg_load(entry, &old, new));
    u64 lost = (old.bits & ~new.bits &(PTE_PRESENT | PTE_WRITE)) | (new.bits & ~old.bits &PTE_NX);
    if (lost && pte_present(old))
        tlb_note(p->batch, addr, span(level));
}

/* No 2 MiB page crosses end but one that crosses start, too. False: no memory to split one, nothing changed.
 */
static bool __attribute__((noinline)) protect_range(u64 start, u64 end, const struct protect *p)
{
    for (u64 at = start, next; at < end; at = next) {
        pte_t *huge = pt_huge_entry(at, &next);
        pte_t e = huge ? pte_load(huge) : (pte_t){0};
        if (e.bits & PTE_HUGE) {
            bool whole = IS_ALIGNED(at, HUGE_SIZE) && next <= end;
            if (whole)
                protect_leaf(huge, e, at, 1, p);
            else if (split_huge(huge, at, p->batch))
                return false;
            else
                e = pte_load(huge);
        }
        next = MIN(next, end);
        if (!e.bits || (e.bits & PTE_HUGE))
            continue;
        pte_t *entry = &pt_table(e)[pte_index(at, 0)];
        for (; at < next; at += PAGE_SIZE, entry++) {
            e = pte_load(entry);
            if (e.bits)
                protect_leaf(entry, e, at, 0, p);
        }
    }
    return true;
}

/* One page, of 4 KiB: what a program protects most often. False: it is a 2 MiB one. */
static inline __attribute__((always_inline)) bool protect_page(u64 at, const struct protect *p)
{
    int level;
    pte_t *entry = lookup(at, &level);
    pte_t e = entry ? pte_load(entry) : (pte_t){0};
    if (e.bits && !level)
        protect_leaf(entry, e, at, 0, p);
    return !level;
}

int pt_protect(u64 start, u64 end, u32 flags, const struct vm_object *object, struct tlb_batch *b)
{
    struct protect p = protect_as(object, flags, b);
    if (end - start == PAGE_SIZE && protect_page(start, &p))
        return 0;
    bool several = start >> HUGE_SHIFT != (end - 1) >> HUGE_SHIFT;
    if (several && pt_split_at(end, b))
        return -ENOMEM;
    return protect_range(start, end, &p) ? 0 : -ENOMEM;
}

/* ---- singles ---- */

/* The level-0 entry of addr, for which a 2 MiB page is split or tables are made. NULL: no memory. */
static pte_t *__attribute__((noinline)) make_single_entry(u64 addr, struct tlb_batch *b)
{
    pte_t *huge = pt_make_huge_entry(addr);
    return huge && !pt_split_around(addr, addr + PAGE_SIZE, b) ? pt_make_entry(huge, addr) : NULL;
}

/* An entry of the page of zeros, which stands for an untouched page: empty again. */
static void __attribute__((noinline)) empty_entry(pte_t *entry, u64 addr, struct tlb_batch *b)
{
    if (pte_present(pte_exchange(entry, (pte_t){0})))
        tlb_note(b, addr, PAGE_SIZE);
}

bool pt_protect_single(u64 addr, u32 flags, bool own, struct tlb_batch *b)
{
    int level;
    pte_t *entry = lookup(addr, &level);
    if (unlikely(!entry || level))
        entry = make_single_entry(addr, b);
    if (unlikely(!entry))
        return false;
    struct protect p = protect_as(NULL, flags, b);
    if (own)
        p.bits |= PTE_OWN | (flags & VM_PROT) * PTE_OWN_PROT;
    pte_t e = pte_load(entry);
    if (unlikely(!e.bits)) {
        if (own)
            pte_exchange(entry, pte_make(zero_page_paddr(), p.bits));
    } else if (unlikely(!own && pte_paddr(e) == zero_page_paddr())) {
        empty_entry(entry, addr, b);
    } else {
        protect_leaf(entry, e, addr, 0, &p);
    }
    return true;
}

static u64 own_bits(u64 addr)
{
    int level;
    pte_t *entry = lookup(addr, &level);
    return entry && !level ? pte_load(entry).bits & PTE_OWN_BITS : 0;
}

static u32 own_prot(u64 bits)
{
    return bits / PTE_OWN_PROT & VM_PROT;
}

u32 pt_flags_at(u64 addr, u32 area_flags)
{
    u64 own = own_bits(addr);
    return own ? (area_flags & ~VM_PROT) | own_prot(own) : area_flags;
}

static void make_ordinary(u64 addr, struct tlb_batch *b)
{
    int level;
    pte_t *entry = lookup(addr, &level), e = pte_load(entry);
    if (pte_paddr(e) == zero_page_paddr())
        empty_entry(entry, addr, b);
    else
        __atomic_and_fetch(&entry->bits, ~PTE_OWN_BITS, __ATOMIC_ACQ_REL);
}

u64 pt_take_singles(u64 *start, u64 end, u32 *prot, struct tlb_batch *b)
{
    u64 at = *start, next, own = 0;
    while (at < end && !(own = own_bits(at))) {
        pte_t *huge = pt_huge_entry(at, &next);
        at = huge && is_table(pte_load(huge)) ? at + PAGE_SIZE : next;
    }
    if (!own)
        return 0;
    *start = at;
    *prot = own_prot(own);
    for (; at < end && own_bits(at) == own; at += PAGE_SIZE)
        make_ordinary(at, b);
    return at;
}

/* ---- moving ---- */

/* Moves the entries of one 2 MiB-aligned piece, or less, of equal alignment on both sides or not. */
static int move_piece(u64 from, u64 to, u64 len, struct tlb_batch *b)
{
    int level;
    pte_t *source = pt_lookup(from, &level);
    if (!source)
        return 0;
    if (level == 1 && len == HUGE_SIZE && IS_ALIGNED(from | to, HUGE_SIZE)) {
        pte_t *target = pt_make_huge_entry(to);
        if (!target)
            return -ENOMEM;
        ASSERT(!pte_load(target).bits);
        pte_exchange(target, pte_exchange(source, (pte_t){0}));
        tlb_note(b, from, HUGE_SIZE);
        return 0;
    }
    for (u64 done = 0; done < len; done += PAGE_SIZE) {
        source = pt_lookup(from + done, &level);
        if (!source || !pte_load(source).bits)
            continue;
        if (level == 1) {
            int err =
                pt_split_at(IS_ALIGNED(from + done, HUGE_SIZE) ? from + done + PAGE_SIZE : from + done, b);
            if (err)
                return err;
            source = pt_lookup(from + done, &level);
        }
        pte_t *target = pt_make_huge_entry(to + done);
        target = target ? pt_make_entry(target, to + done) : NULL;
        if (!target)
            return -ENOMEM;
        pte_exchange(target, pte_exchange(source, (pte_t){0}));
        tlb_note(b, from + done, PAGE_SIZE);
    }
    return 0;
}

static int move_range(u64 from, u64 to, u64 len, struct tlb_batch *b)
{
    for (u64 done = 0, next, step; done < len; done += step) {
        pt_huge_entry(from + done, &next); /* nothing can lie before it where a table is missing */
        step = MIN(next - (from + done), len - done);
        int err = step > HUGE_SIZE ? 0 : move_piece(from + done, to + done, step, b);
        if (err)
            return err;
    }
    return 0;
}

int pt_move(u64 from, u64 to, u64 len, struct tlb_batch *b)
{
    int err = move_range(from, to, len, b);
    for (u32 tries = 0; err && tries < 3 && phys_reclaim(64); tries++)
        err = move_range(from, to, len, b);  /* goes on where it stopped: what moved is empty now */
    if (err && move_range(to, from, len, b)) /* the tables on the way back exist */
        panic("out of page tables while moving memory back");
    return err;
}
