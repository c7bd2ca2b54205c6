/*
 * The kernel's own part of the page table: the image with rights per section, the direct map, device memory,
 * the system-call table. The program's half belongs to mm/vm.
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/pte.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/string.h"

#define PTE_TABLE  (PTE_PRESENT | PTE_WRITE)
#define PTE_KERNEL (PTE_PRESENT | PTE_GLOBAL | PTE_ACCESSED | PTE_DIRTY)
#define CR4_PGE    0x80UL
#define REFIT_NS   (50 * NSEC_PER_MSEC) /* half of the time that QEMU looks back on */

/* Tables of the kernel image's first 8 MiB and of the system-call table. */
#define IMAGE_TABLES 4
typedef pte_t page_table[512];
static page_table image_pd __attribute__((aligned(4096)));
static page_table image_pt[IMAGE_TABLES] __attribute__((aligned(4096)));
static page_table alias_pt[IMAGE_TABLES] __attribute__((aligned(4096)));
static page_table top_pd __attribute__((aligned(4096)));
static page_table top_pt __attribute__((aligned(4096)));
u64 syscall_table[SYSCALL_SLOTS] __attribute__((aligned(4096)));

extern page_table boot_pml4, boot_pdpt_low, boot_pdpt_kernel;
extern u8 kernel_image_start[], kernel_text_end[], kernel_rodata_end[], kernel_image_end[];
extern u8 syscall_stubs[];

pte_t *page_table_root;

static u64 image_paddr(const void *p)
{
    return (u64)p - KERNEL_BASE;
}

void tlb_flush_all_local(void)
{
    u64 cr4;
    u64 flags = irq_save();
    __asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("movq %0, %%cr4; movq %1, %%cr4" ::"r"(cr4 & ~CR4_PGE), "r"(cr4) : "memory");
    irq_restore(flags);
}

bool tlb_refits;

void tlb_refit_now(u64 now_ns)
{
    static u64 refitted_ns[CPU_MAX]; /* each CPU's own */
    u64 *last = &refitted_ns[cpu_id()];
    if (now_ns - *last < REFIT_NS)
        return;
    *last = now_ns;
    tlb_flush_all_local();
}

static u64 image_rights(u64 addr)
{
    if (addr < (u64)kernel_text_end)
        return PTE_KERNEL;
    if (addr < (u64)kernel_rodata_end)
        return PTE_KERNEL | PTE_NX;
    return PTE_KERNEL | PTE_NX | PTE_WRITE;
}

static void map_image(void)
{
    u64 end = (u64)kernel_image_end - KERNEL_BASE;
    ASSERT(end <= IMAGE_TABLES * HUGE_SIZE);
    for (u32 i = 0; i < IMAGE_TABLES; i++)
        image_pd[i] = pte_make(image_paddr(image_pt[i]), PTE_TABLE);
    for (u64 p = boot_info.kernel_start; p < end; p += PAGE_SIZE)
        image_pt[p / HUGE_SIZE][pte_index(p, 0)] = pte_make(p, image_rights(KERNEL_BASE + p));
    boot_pdpt_kernel[pte_index(KERNEL_BASE, 2)] = pte_make(image_paddr(image_pd), PTE_TABLE);
}

/* What of the 2 MiB at base lies outside [start, end) stays writable: page by page. */
static void split_alias(pte_t *huge, u64 base, u64 start, u64 end)
{
    pte_t *table = alias_pt[base / HUGE_SIZE];
    u64 flags = huge->bits & ~(PTE_ADDR | PTE_HUGE);
    for (u64 p = base; p < base + HUGE_SIZE; p += PAGE_SIZE)
        table[pte_index(p, 0)] = pte_make(p, p >= start && p < end ? flags & ~PTE_WRITE : flags);
    pte_exchange(huge, pte_make(image_paddr(table), PTE_TABLE));
}

/* The direct map shows the image's code and constants, too: read-only. Boot mapped it by 2 MiB pages. */
static void protect_alias(void)
{
    u64 start = boot_info.kernel_start, end = image_paddr(kernel_rodata_end);
    pte_t *pd = direct_ptr(pte_paddr(boot_pdpt_low[0]));
    for (u64 base = ALIGN_DOWN(start, HUGE_SIZE); base < end; base += HUGE_SIZE) {
        pte_t *huge = &pd[base / HUGE_SIZE];
        if (base >= start && base + HUGE_SIZE <= end)
            pte_exchange(huge, (pte_t){huge->bits & ~PTE_WRITE});
        else
            split_alias(huge, base, start, end);
    }
}

static void map_syscall_table(void)
{
    for (u32 i = 0; i < SYSCALL_SLOTS; i++)
        syscall_table[i] = (u64)syscall_stubs + 16 * i;
    top_pt[pte_index(SYSCALL_TABLE, 0)] = pte_make(image_paddr(syscall_table), PTE_KERNEL | PTE_NX);
    top_pd[pte_index(SYSCALL_TABLE, 1)] = pte_make(image_paddr(top_pt), PTE_TABLE);
    boot_pdpt_kernel[pte_index(SYSCALL_TABLE, 2)] = pte_make(image_paddr(top_pd), PTE_TABLE);
}

void paging_init(void)
{
    map_image();
    protect_alias();
    map_syscall_table();
    boot_pml4[0] = (pte_t){0};
    page_table_root = direct_ptr(image_paddr(boot_pml4));
    tlb_flush_all_local();
}

/* ---- walking ---- */

static pte_t *table_below(pte_t *entry, u64 (*alloc_table)(void))
{
    pte_t e = pte_load(entry);
    if (!pte_present(e)) {
        u64 table = alloc_table ? alloc_table() : 0;
        if (!table)
            return NULL;
        /* Another caller may have been faster: then its table counts, and ours is lost, which hardly ever
         * happens. */
        if (pte_cmpxchg(entry, e, pte_make(table, PTE_TABLE)))
            e = pte_make(table, PTE_TABLE);
        else
            e = pte_load(entry);
    }
    return direct_ptr(pte_paddr(e));
}

pte_t *pte_kernel_walk(u64 addr, u64 (*alloc_table)(void))
{
    pte_t *table = page_table_root;
    for (int level = 3; level > 0; level--) {
        table = table_below(&table[pte_index(addr, level)], alloc_table);
        if (!table)
            return NULL;
    }
    return &table[pte_index(addr, 0)];
}

/* ---- device memory ---- */

static u64 mmio_next = MMIO_START;

volatile void *mmio_map(u64 paddr, u64 len)
{
    u64 start = ALIGN_DOWN(paddr, PAGE_SIZE), size = ALIGN_UP(paddr + len, PAGE_SIZE) - start;
    if (size > MMIO_END - MMIO_START)
        return NULL;
    u64 base = __atomic_fetch_add(&mmio_next, size, __ATOMIC_RELAXED);
    if (base + size > MMIO_END)
        return NULL;
    for (u64 at = 0; at < size; at += PAGE_SIZE) {
        pte_t *entry = pte_kernel_walk(base + at, arch_hooks.alloc_frame);
        if (!entry)
            return NULL;
        pte_exchange(entry, pte_make(start + at, PTE_KERNEL | PTE_WRITE | PTE_NX | PTE_NOCACHE));
    }
    return (void *)(base + (paddr - start));
}
