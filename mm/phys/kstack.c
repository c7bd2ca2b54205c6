/*
 * Kernel stacks: slots of four pages with an unmapped page below each, in their own part of the address
 * space. A freed stack stays mapped on a lock-free stack of its own; only one thread pops at a time
 * (kstack_lock), so that the link read from the top one cannot be stale (no ABA).
 */
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "mm/phys/internal.h"
#include "sched/mutex.h"

#define SLOT_SIZE (KSTACK_SIZE + PAGE_SIZE)

static struct mutex kstack_lock;
static u64 next_slot = KSTACK_START; /* guarded by kstack_lock */
static u64 *free_stacks;             /* atomic; the last word of a free stack links to the next one's */
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
    return top ? (u64)(top + 1) : 0;
}

/* Maps the pages of a new slot; those mapped before memory ran out stay for the next try. */
static bool slot_map(u64 bottom)
{
    for (u64 va = bottom; va < bottom + KSTACK_SIZE; va += PAGE_SIZE) {
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

u64 kstack_alloc(void)
{
    mutex_lock(&kstack_lock);
    u64 top = stack_pop();
    if (!top && next_slot + SLOT_SIZE < KSTACK_END && slot_map(next_slot + PAGE_SIZE)) {
        next_slot += SLOT_SIZE;
        top = next_slot;
    }
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
}
