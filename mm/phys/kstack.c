/*
 * Kernel stacks: slots of four pages with an unmapped page below each, in their own part of the address
 * space. A freed stack stays mapped on a lock-free stack of its own; only one thread pops at a time
 * (kstack_lock), so that the link read from the top one cannot be stale (no ABA). When memory is short, those
 * beyond STACKS_KEPT lose their pages; their slots are linked through their first page's entry, not present.
 */
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "mm/phys/internal.h"
#include "sched/mutex.h"

#define SLOT_SIZE   (KSTACK_SIZE + PAGE_SIZE)
#define STACKS_KEPT 8

static struct mutex kstack_lock;
static u64 next_slot = KSTACK_START; /* guarded by kstack_lock */
static u64 *free_stacks;             /* atomic; the last word of a free stack links to the next one's */
static u64 empty_slots; /* guarded by kstack_lock: bottom of the first slot without pages, 0: none */
static u64 cached;      /* atomic: stacks on free_stacks */
static struct mutex kernel_tables_lock;

pte_t *kernel_pte(u64 addr)
{
    ASSERT(addr >= DIRECT_MAP);
    pte_t *table = page_table_root, *entry = NULL;
    mutex_lock(&kernel_tables_lock);
    for (int level = 3; level > 0; level--) {
        entry = &table[pte_index(addr, level)];
        if (!pte_present(*entry)) {
            struct page *page = page_alloc(0, PAGE_KERNEL, PHYS_ZERO);
            if (!page) {
                mutex_unlock(&kernel_tables_lock);
                return NULL;
            }
            pte_exchange(entry, pte_make(page_to_paddr(page), PTE_PRESENT | PTE_WRITE | PTE_ACCESSED));
        }
        table = phys_to_virt(pte_paddr(*entry));
    }
    mutex_unlock(&kernel_tables_lock);
    return &table[pte_index(addr, 0)];
}

static u64 stack_pop(void)
{
    u64 *top = __atomic_load_n(&free_stacks, __ATOMIC_ACQUIRE);
    while (top && !__atomic_compare_exchange_n(&free_stacks, &top, (u64 *)*top, false, __ATOMIC_ACQUIRE,
                                               __ATOMIC_ACQUIRE))
        ;
    if (top)
        __atomic_sub_fetch(&cached, 1, __ATOMIC_RELAXED);
    return top ? (u64)(top + 1) : 0;
}

/* An entry that is not present and says where the next empty slot is. 0 means none. */
static pte_t slot_link(u64 bottom)
{
    return (pte_t){bottom ? bottom - KSTACK_START : 0};
}

/* Maps the pages of a new slot; those mapped before memory ran out stay for the next try. */
static bool slot_map(u64 bottom)
{
    for (u64 va = bottom + KSTACK_SIZE; va > bottom;) { /* the first page last: its entry links empty slots */
        va -= PAGE_SIZE;
        pte_t *e = kernel_pte(va);
        if (!e)
            return false;
        if (pte_present(*e))
            continue;
        struct page *page = page_alloc(0, PAGE_KERNEL, 0);
        if (!page)
            return false;
        pte_exchange(e, pte_make(page_to_paddr(page),
                                 PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY | PTE_GLOBAL | PTE_NX));
    }
    return true;
}

/* The bottom of a slot whose pages were taken away; 0: none. */
static u64 slot_pop(void)
{
    u64 bottom = empty_slots;
    if (!bottom)
        return 0;
    pte_t *first = kernel_pte(bottom); /* exists */
    u64 next = pte_exchange(first, (pte_t){0}).bits;
    empty_slots = next ? next + KSTACK_START : 0;
    return bottom;
}

static void slot_push(u64 bottom)
{
    pte_exchange(kernel_pte(bottom), slot_link(empty_slots));
    empty_slots = bottom;
}

/* A stack in a slot that has no pages, or 0. */
static u64 stack_map(void)
{
    u64 bottom = slot_pop();
    bool fresh = !bottom && next_slot + SLOT_SIZE < KSTACK_END;
    if (fresh)
        bottom = next_slot + PAGE_SIZE;
    if (!bottom)
        return 0;
    if (slot_map(bottom)) {
        if (fresh)
            next_slot += SLOT_SIZE;
        return bottom + KSTACK_SIZE;
    }
    if (!fresh)
        slot_push(bottom);
    return 0;
}

u64 kstack_alloc(void)
{
    mutex_lock(&kstack_lock);
    u64 top = stack_pop();
    if (!top)
        top = stack_map();
    mutex_unlock(&kstack_lock);
    return top;
}

void kstack_free(u64 top)
{
    u64 *link = (u64 *)top - 1;
    u64 *head = __atomic_load_n(&free_stacks, __ATOMIC_RELAXED);
    do
        *link = (u64)head;
    while (
        !__atomic_compare_exchange_n(&free_stacks, &head, link, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    __atomic_add_fetch(&cached, 1, __ATOMIC_RELAXED);
}

/* Takes a slot's pages away; they are still in TLBs. */
static void slot_unmap(u64 bottom, struct list *pages)
{
    for (u64 va = bottom; va < bottom + KSTACK_SIZE; va += PAGE_SIZE) {
        pte_t e = pte_exchange(kernel_pte(va), (pte_t){0});
        list_push_back(pages, &paddr_to_page(pte_paddr(e))->link);
    }
}

u64 kstack_reclaim(u64 want, void (*flush)(void))
{
    struct list pages;
    u64 freed = 0, top;
    list_init(&pages);
    if (!mutex_trylock(&kstack_lock)) /* its holder may be waiting for memory */
        return 0;
    while (freed < want && __atomic_load_n(&cached, __ATOMIC_RELAXED) > STACKS_KEPT && (top = stack_pop())) {
        u64 bottom = top - KSTACK_SIZE;
        slot_unmap(bottom, &pages);
        slot_push(bottom);
        freed += KSTACK_SIZE / PAGE_SIZE;
    }
    if (freed)
        flush(); /* before a slot can be used again */
    mutex_unlock(&kstack_lock);
    for (struct list *l; (l = list_pop_front(&pages));)
        page_free(list_entry(l, struct page, link));
    return freed;
}
