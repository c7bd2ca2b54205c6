/* Shared by the files of mm/phys only. */
#ifndef MOKA_MM_PHYS_INTERNAL_H
#define MOKA_MM_PHYS_INTERNAL_H

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/pte.h"
#include "mm/phys/phys.h"

#define POOL_MAX      64 /* frames of order 0 that a CPU keeps */
#define HUGE_POOL_MAX 2
#define HEAP_CLASSES  14

/* Free pieces of one size class, linked through their first words. */
struct magazine {
    void *head;
    u32 count;
};

/* One CPU's caches, in struct cpu.mm. Owned by its CPU: touched with preemption off. Allocated when a CPU
 * first allocates something. */
struct mm_cpu {
    u32 count, huge_count;
    struct page *pool[POOL_MAX];
    struct page *huge[HUGE_POOL_MAX];
    s64 used[PAGE_KINDS]; /* frames handed out minus taken back here; read by anyone (sums) */
    struct magazine magazines[HEAP_CLASSES];
};

/* Adds a block to the free lists at boot: aligned to its size, not above ORDER_MAX. */
void frames_add(u64 pfn, u32 order);
/* Called when all memory was added: sizes the caches and the reserve. */
void frames_start(void);

/* The entry for addr at level 0, tables made where missing (kernel half only). NULL: out of memory. */
pte_t *kernel_pte(u64 addr);

#endif
