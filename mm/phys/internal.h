/* Shared by the files of mm/phys only. */
#ifndef MOKA_MM_PHYS_INTERNAL_H
#define MOKA_MM_PHYS_INTERNAL_H

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/pte.h"
#include "mm/phys/phys.h"
#include "sched/mutex.h"

#define POOL_MAX      64 /* frames of order 0 that a CPU keeps */
#define HUGE_POOL_MAX 2
#define ZEROED_MAX    32 /* zeroed frames that a CPU takes at once */
#define HEAP_CLASSES  14

/* Free pieces of one size class, linked through their first words. */
struct magazine {
    void *head;
    u32 count;
};

/* One CPU's caches, in struct cpu.mm, there before it runs. Owned by their CPU: touched with preemption off.
 */
struct mm_cpu {
    u32 count, huge_count, zeroed_count;
    struct page *pool[POOL_MAX];
    struct page *zeroed[ZEROED_MAX];
    struct page *huge[HUGE_POOL_MAX];
    s64 used[PAGE_KINDS]; /* frames handed out minus taken back here; read by anyone (sums) */
    struct magazine magazines[HEAP_CLASSES];
};

/* ---- frames.c ---- */

extern struct mutex zone_lock;
/* The buddy allocator, under zone_lock. buddy_take: NULL when there is no such block. */
struct page *buddy_take(u32 order);
void buddy_give(struct page *page, u32 order);

/* ---- zeroed.c; under zone_lock but for zeroed_any and zeroed_pages, which are hints ---- */

void zeroed_start(u64 total);
u64 zeroed_pages(void);
extern u32 zeroed_count[2]; /* atomic: single frames, blocks of ORDER_HUGE; written under zone_lock */
static inline bool zeroed_any(u32 order)
{
    return (order == 0 || order == ORDER_HUGE) &&
           __atomic_load_n(&zeroed_count[order != 0], __ATOMIC_RELAXED);
}
/* Up to max zeroed blocks; order 0 or ORDER_HUGE. Returns how many. */
u32 zeroed_take(u32 order, struct page **pages, u32 max);
/* Gives all to the buddy allocator. False: there was none. */
bool zeroed_give_up(void);

/* Adds a block to the free lists at boot: aligned to its size, not above ORDER_MAX. */
void frames_add(u64 pfn, u32 order);
/* Called when all memory was added: sizes the caches and the reserve. */
void frames_start(void);

/* The entry for addr at level 0, tables made where missing (kernel half only). NULL: out of memory. */
pte_t *kernel_pte(u64 addr);

#endif
