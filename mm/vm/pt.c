/*
 * The page tables of the program's half. Faults add entries by compare-and-exchange while sharing vm_lock;
 * everything that removes or changes entries wholesale holds it alone, so tables found stay. The hardware may
 * set accessed and dirty bits at any time: entries are taken with an exchange.
 */
#include "kernel/arch/x86_64/pte.h"
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "mm/vm/internal.h"

#define TABLE_FLAGS (PTE_PRESENT | PTE_WRITE | PTE_ACCESSED)

u8 zero_page[PAGE_SIZE] __attribute__((aligned(4096)));

u64 zero_page_paddr(void)
{
    return (u64)zero_page - KERNEL_BASE;
}

u64 pt_flags(u32 area_flags, bool writable)
{
    u64 bits = area_flags & VM_PROT ? PTE_PRESENT : PTE_HELD;
    if (!(area_flags & VM_EXEC))
        bits |= PTE_NX;
    if (writable && (area_flags & VM_WRITE))
        bits |= PTE_WRITE;
    return bits;
}

static bool is_table(pte_t e)
{
    return pte_present(e) && !pte_huge(e);
}

static pte_t *table_of(pte_t e)
{
    return phys_to_virt(pte_paddr(e));
}

static u64 span(int level)
{
    return PAGE_SIZE << (9 * level);
}

pte_t *pt_lookup(u64 addr, int *level)
{
    pte_t *table = page_table_root;
    for (int l = 3; l > 0; l--) {
        pte_t *e = &table[pte_index(addr, l)];
        pte_t v = pte_load(e);
        if (l == 1 && (v.bits & PTE_HUGE)) {
            *level = 1;
            return e;
        }
        if (!is_table(v))
            return NULL;
        table = table_of(v);
    }
    *level = 0;
    return &table[pte_index(addr, 0)];
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
    return is_table(e) ? table_of(e) : NULL;
}

pte_t *pt_make_huge_entry(u64 addr)
{
    pte_t *table = page_table_root;
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

int pt_split_at(u64 addr, struct tlb_batch *b)
{
    int level;
    pte_t *entry = IS_ALIGNED(addr, HUGE_SIZE) ? NULL : pt_lookup(addr, &level);
    if (!entry || level == 0)
        return 0;
    struct page *table = page_alloc(0, PAGE_KERNEL, 0);
    if (!table)
        return -ENOMEM;
    struct page *page = paddr_to_page(pte_paddr(pte_load(entry)));
    if (page->order)
        page_split(page, page->refs);
    pte_t e = pte_load(entry);
    do
        fill_split(page_to_virt(table), e);
    while (!pte_cmpxchg(entry, e, pte_make(page_to_paddr(table), TABLE_FLAGS)) && (e = pte_load(entry)).bits);
    tlb_note(b, addr, PAGE_SIZE); /* flushing any part drops the whole 2 MiB translation */
    return 0;
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
    if (page->kind == PAGE_CACHE && (e.bits & PTE_ACCESSED))
        __atomic_or_fetch(&page->flags, PAGE_ACTIVE, __ATOMIC_RELAXED);
    for (u32 i = 0; i < count; i++)
        tlb_release(b, page + i);
}

static void zap_level(pte_t *table, int level, u64 start, u64 end, u64 floor, u64 ceiling,
                      struct tlb_batch *b)
{
    for (u64 at = start, next; at < end; at = next) {
        u64 base = ALIGN_DOWN(at, span(level));
        pte_t *entry = &table[pte_index(at, level)];
        pte_t e = pte_load(entry);
        next = MIN(base + span(level), end);
        if (!e.bits)
            continue;
        if (level == 0 || (e.bits & PTE_HUGE)) {
            ASSERT(at == base && next == base + span(level));
            pt_zap_leaf(entry, at, level, b);
            continue;
        }
        zap_level(table_of(e), level - 1, at, next, floor, ceiling, b);
        if (base >= floor && base + span(level) <= ceiling) {
            pte_exchange(entry, (pte_t){0});
            tlb_note(b, at, PAGE_SIZE); /* any address drops the cached upper levels */
            list_push_back(&b->frames, &paddr_to_page(pte_paddr(e))->link);
        }
    }
}

void pt_zap(u64 start, u64 end, u64 floor, u64 ceiling, struct tlb_batch *b)
{
    zap_level(page_table_root, 3, start, end, floor, ceiling, b);
}

/* ---- walking ---- */

static void walk_level(pte_t *table, int level, u64 start, u64 end,
                       void (*fn)(pte_t *e, u64 addr, int level, void *arg), void *arg)
{
    for (u64 at = start, next; at < end; at = next) {
        pte_t *entry = &table[pte_index(at, level)];
        pte_t e = pte_load(entry);
        next = MIN(ALIGN_DOWN(at, span(level)) + span(level), end);
        if (!e.bits)
            continue;
        if (level == 0 || (e.bits & PTE_HUGE))
            fn(entry, at, level, arg);
        else
            walk_level(table_of(e), level - 1, at, next, fn, arg);
    }
}

void pt_walk(u64 start, u64 end, void (*fn)(pte_t *e, u64 addr, int level, void *arg), void *arg)
{
    walk_level(page_table_root, 3, start, end, fn, arg);
}

/* ---- protection ---- */

struct protect {
    u32 flags;
    const struct vm_object *object;
    struct tlb_batch *batch;
};

/* May the page behind e be written by an area of these flags without a fault? */
static bool write_through(pte_t e, const struct protect *p)
{
    if (pte_paddr(e) == zero_page_paddr())
        return false;
    struct page *page = paddr_to_page(pte_paddr(e));
    if (p->flags & VM_SHARED) /* with a backing store, the first write marks the page dirty */
        return !p->object || !p->object->ops || !p->object->ops->writeback;
    return page->kind == PAGE_ANON;
}

static void protect_leaf(pte_t *entry, u64 addr, int level, void *arg)
{
    struct protect *p = arg;
    pte_t old, new;
    do {
        old = pte_load(entry);
        new.bits = (old.bits & ~(PTE_PRESENT | PTE_HELD | PTE_WRITE | PTE_NX)) |
                   pt_flags(p->flags, write_through(old, p));
    } while (!pte_cmpxchg(entry, old, new));
    u64 lost = old.bits & ~new.bits &(PTE_PRESENT | PTE_WRITE);
    u64 forbidden = new.bits & ~old.bits &PTE_NX;
    if ((old.bits & PTE_PRESENT) && (lost || forbidden))
        tlb_note(p->batch, addr, span(level));
}

void pt_protect(u64 start, u64 end, u32 flags, const struct vm_object *object, struct tlb_batch *b)
{
    struct protect p = {flags, object, b};
    pt_walk(start, end, protect_leaf, &p);
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
    for (u64 done = 0, step; done < len; done += step) {
        step = MIN(HUGE_SIZE - (from + done) % HUGE_SIZE, len - done);
        int err = move_piece(from + done, to + done, step, b);
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
