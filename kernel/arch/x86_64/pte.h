/* Page-table entries as a type (Intel SDM 3A, 4.5), and walking the one page table. */
#ifndef MOKA_ARCH_PTE_H
#define MOKA_ARCH_PTE_H

#include "kernel/arch/x86_64/layout.h"
#include "kernel/base/types.h"

/* Physical memory through the direct map. */
static inline void *direct_ptr(u64 paddr)
{
    return (void *)(DIRECT_MAP + paddr);
}

typedef struct {
    u64 bits;
} pte_t;

#define PTE_PRESENT  (1UL << 0)
#define PTE_WRITE    (1UL << 1)
#define PTE_USER     (1UL << 2) /* never set: all is ring 0 */
#define PTE_NOCACHE  (1UL << 4)
#define PTE_ACCESSED (1UL << 5)
#define PTE_DIRTY    (1UL << 6)
#define PTE_HUGE     (1UL << 7)
#define PTE_GLOBAL   (1UL << 8)
#define PTE_SOFT0    (1UL << 9) /* free for software: see mm/vm */
#define PTE_SOFT1    (1UL << 10)
#define PTE_SOFT2    (1UL << 11)
#define PTE_SOFT3    (1UL << 52)
#define PTE_SOFT4    (1UL << 53) /* and five more above it, up to bit 58 */
#define PTE_NX       (1UL << 63)
#define PTE_ADDR     0x000ffffffffff000UL

static inline pte_t pte_make(u64 paddr, u64 flags)
{
    return (pte_t){(paddr & PTE_ADDR) | flags};
}
static inline u64 pte_paddr(pte_t e)
{
    return e.bits & PTE_ADDR;
}
static inline bool pte_present(pte_t e)
{
    return e.bits & PTE_PRESENT;
}
static inline bool pte_huge(pte_t e)
{
    return e.bits & PTE_HUGE;
}
static inline pte_t pte_load(const pte_t *p)
{
    return (pte_t){__atomic_load_n(&p->bits, __ATOMIC_ACQUIRE)};
}
static inline pte_t pte_exchange(pte_t *p, pte_t e)
{
    return (pte_t){__atomic_exchange_n(&p->bits, e.bits, __ATOMIC_ACQ_REL)};
}
static inline bool pte_cmpxchg(pte_t *p, pte_t old, pte_t new)
{
    return __atomic_compare_exchange_n(&p->bits, &old.bits, new.bits, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}
/* The same for loops: when it fails, *old becomes what is there. */
static inline bool pte_cmpxchg_load(pte_t *p, pte_t *old, pte_t new)
{
    return __atomic_compare_exchange_n(&p->bits, &old->bits, new.bits, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/* Index of addr in a table of the given level: 3 (PML4), 2, 1 (2 MiB entries), 0 (4 KiB entries). */
static inline u32 pte_index(u64 addr, int level)
{
    return (addr >> (PAGE_SHIFT + 9 * level)) & 511;
}

/* The top table (PML4), by its direct-map address. */
extern pte_t *page_table_root;

/*
 * The 4 KiB entry that maps addr, an address of the kernel's half that is not in the direct map. Missing
 * tables come from alloc_table: the physical address of a zeroed frame inside the direct map, 0 when there is
 * none; NULL for alloc_table or no frame: returns NULL. Several callers at once.
 */
pte_t *pte_kernel_walk(u64 addr, u64 (*alloc_table)(void));

/* Drop translations of this CPU only. */
static inline void tlb_flush_page_local(u64 addr)
{
    __asm__ volatile("invlpg (%0)" ::"r"(addr) : "memory");
}
/* All but global entries, which the program's half has none of. */
static inline void tlb_flush_program_local(void)
{
    u64 cr3;
    __asm__ volatile("movq %%cr3, %0; movq %0, %%cr3" : "=r"(cr3)::"memory");
}
void tlb_flush_all_local(void); /* global entries too */

#endif
