/*
 * From the hypervisor's memory map to a direct map, a frame table and full free lists. Runs once, on the boot
 * CPU, before any lock matters. Memory needed on the way is cut off the usable ranges.
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "mm/phys/internal.h"

#define LOW_END    0x100000UL /* the first MiB belongs to firmware and the other CPUs' start-up code */
#define GIB_SIZE   (1UL << 30)
#define BLOCK_SIZE (PAGE_SIZE << ORDER_MAX)

#define MAP_FLAGS (PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY | PTE_GLOBAL | PTE_NX)

/* Usable memory that nobody has taken, in no order, page-aligned. */
static struct {
    u64 start, end;
} ranges[128];
static u32 range_count;

static void range_add(u64 start, u64 end)
{
    if (start >= end)
        return;
    ASSERT(range_count < ARRAY_LEN(ranges));
    ranges[range_count].start = start;
    ranges[range_count++].end = end;
}

/* Takes [start, end) out of the ranges. */
static void range_cut(u64 start, u64 end)
{
    for (u32 i = 0; i < range_count; i++) {
        u64 s = ranges[i].start, e = ranges[i].end;
        if (end <= s || start >= e)
            continue;
        ranges[i] = ranges[--range_count];
        range_add(s, MIN(start, e));
        range_add(MAX(end, s), e);
        i = -1; /* the array changed: look again */
    }
}

/* The lowest place: page tables are needed before memory above boot's direct map can be reached. */
static u64 early_alloc(u64 len, u64 align)
{
    u64 best = ~0UL;
    for (u32 i = 0; i < range_count; i++) {
        u64 at = ALIGN_UP(ranges[i].start, align);
        if (at + len <= ranges[i].end)
            best = MIN(best, at);
    }
    if (best == ~0UL)
        panic("not enough memory for the frame table");
    range_cut(best, best + len);
    return best;
}

static u64 early_table(void)
{
    u64 paddr = early_alloc(PAGE_SIZE, PAGE_SIZE);
    memset(phys_to_virt(paddr), 0, PAGE_SIZE);
    return paddr;
}

/* The entry for va at level, tables made on the way; NULL when a larger page maps va already. */
static pte_t *early_entry(u64 va, int level)
{
    pte_t *table = page_table_root;
    for (int l = 3; l > level; l--) {
        pte_t *e = &table[pte_index(va, l)];
        if (!pte_present(*e))
            *e = pte_make(early_table(), PTE_PRESENT | PTE_WRITE | PTE_ACCESSED);
        else if (pte_huge(*e))
            return NULL;
        table = phys_to_virt(pte_paddr(*e));
    }
    return &table[pte_index(va, level)];
}

static bool has_gib_pages(void)
{
    u32 a, b, c, d;
    cpuid(0x80000000, 0, &a, &b, &c, &d);
    if (a < 0x80000001)
        return false;
    cpuid(0x80000001, 0, &a, &b, &c, &d);
    return d & (1u << 26);
}

static void direct_map(u64 start, u64 end, bool gib_pages)
{
    u64 p = ALIGN_DOWN(start, HUGE_SIZE);
    while (p < end) {
        if (gib_pages && IS_ALIGNED(p, GIB_SIZE) && p + GIB_SIZE <= end) {
            pte_t *gib = early_entry(DIRECT_MAP + p, 2);
            if (!pte_present(*gib))
                *gib = pte_make(p, MAP_FLAGS | PTE_HUGE);
            if (pte_huge(*gib)) {
                p += GIB_SIZE;
                continue;
            }
        }
        pte_t *e = early_entry(DIRECT_MAP + p, 1);
        if (e && !pte_present(*e))
            *e = pte_make(p, MAP_FLAGS | PTE_HUGE);
        p += HUGE_SIZE;
    }
}

static void direct_map_all(void)
{
    bool gib_pages = has_gib_pages();
    for (u32 i = 0; i < boot_info.mem_count; i++) {
        const struct mem_range *m = &boot_info.mem[i];
        if (m->usable || m->len <= (64UL << 20))
            direct_map(m->start, m->start + m->len, gib_pages);
    }
}

/* Backs the frame table for the frames of [start, end), whole blocks of the largest order, so that looking at
 * a block's buddy is always safe. The entries are not initialised: see frames.c. */
static void table_map(u64 start, u64 end)
{
    u64 va = ALIGN_DOWN((u64)paddr_to_page(ALIGN_DOWN(start, BLOCK_SIZE)), PAGE_SIZE);
    u64 va_end = (u64)paddr_to_page(ALIGN_UP(end, BLOCK_SIZE));
    while (va < va_end) {
        pte_t *e = early_entry(va, 1);
        bool huge = IS_ALIGNED(va, HUGE_SIZE) && va + HUGE_SIZE <= va_end && e && !pte_present(*e);
        u64 size = huge ? HUGE_SIZE : PAGE_SIZE;
        if (!huge)
            e = early_entry(va, 0);
        if (e && !pte_present(*e))
            *e = pte_make(early_alloc(size, size), MAP_FLAGS | (huge ? PTE_HUGE : 0));
        va += size;
    }
}

static u32 block_order(u64 pfn, u64 end)
{
    u32 order = ORDER_MAX;
    while (!IS_ALIGNED(pfn, 1UL << order) || pfn + (1UL << order) > end)
        order--;
    return order;
}

/* Freed blocks look at their buddy's entry: where the buddy is not ours, the entry must say so. */
static void mark_buddies(u64 pfn, u64 end)
{
    for (u32 order; pfn < end; pfn += 1UL << order) {
        order = block_order(pfn, end);
        if (order < ORDER_MAX)
            paddr_to_page((pfn ^ (1UL << order)) << PAGE_SHIFT)->kind = PAGE_RESERVED;
    }
}

static void add_blocks(u64 pfn, u64 end)
{
    for (u32 order; pfn < end; pfn += 1UL << order) {
        order = block_order(pfn, end);
        frames_add(pfn, order);
    }
}

void phys_init(void)
{
    for (u32 i = 0; i < boot_info.mem_count; i++) {
        const struct mem_range *m = &boot_info.mem[i];
        if (m->usable)
            range_add(MAX(ALIGN_UP(m->start, PAGE_SIZE), LOW_END), ALIGN_DOWN(m->start + m->len, PAGE_SIZE));
    }
    range_cut(ALIGN_DOWN(boot_info.kernel_start, PAGE_SIZE), ALIGN_UP(boot_info.kernel_end, PAGE_SIZE));
    range_cut(ALIGN_DOWN(boot_info.words, PAGE_SIZE),
              ALIGN_UP(boot_info.words + boot_info.words_len, PAGE_SIZE));
    direct_map_all();
    for (u32 i = 0; i < boot_info.mem_count; i++) {
        const struct mem_range *m = &boot_info.mem[i];
        if (m->usable && m->start + m->len > LOW_END)
            table_map(m->start, m->start + m->len);
    }
    for (u32 i = 0; i < range_count; i++)
        mark_buddies(ranges[i].start >> PAGE_SHIFT, ranges[i].end >> PAGE_SHIFT);
    for (u32 i = 0; i < range_count; i++)
        add_blocks(ranges[i].start >> PAGE_SHIFT, ranges[i].end >> PAGE_SHIFT);
    frames_start();
}
