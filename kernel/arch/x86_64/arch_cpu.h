/* The architecture's part of each CPU, and what its files share with one another only. */
#ifndef MOKA_ARCH_CPU_PRIVATE_H
#define MOKA_ARCH_CPU_PRIVATE_H

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/types.h"

/* Task-state segment (Intel SDM 3A, 8.7): only its IST stacks are used. */
struct tss {
    u32 reserved0;
    u64 rsp[3];
    u64 reserved1;
    u64 ist[7]; /* IST1 is ist[0] */
    u64 reserved2;
    u16 reserved3, iomap;
} __attribute__((packed));

#define IST_TRAP      1 /* every vector but those below; left before anything can nest */
#define IST_NMI       2
#define IST_EMERGENCY 3 /* #DF and #MC, which never return */

/* Owned by its CPU. Stacks grow down from the ends of the arrays. */
struct arch_cpu {
    u64 gdt[5]; /* null, code, data, TSS (two words) */
    struct tss tss;
    u64 emergency_bottom, emergency_top;
    u32 icr_destination; /* what xAPIC's ICR_HIGH holds */
    u32 timer_divide;    /* what the divide configuration register holds; 0: as after reset */
    u8 trap_stack[512] __attribute__((aligned(16)));
    u8 nmi_stack[1536] __attribute__((aligned(16)));
    u8 emergency_stack[12288] __attribute__((aligned(16)));
};

/* GDT, TSS, IDT, GS, control registers and MSRs of the calling CPU. c->self, c->arch set. Interrupts off. */
void cpu_tables_load(struct cpu *c);
/* All numbers to trap_hooks.syscall. Boot CPU. */
void syscall_handlers_init(void);
/* Sets the running context's kernel stack. */
static inline void cpu_set_kstack(struct cpu *c, u64 bottom, u64 top)
{
    c->kstack_bottom = bottom;
    c->kstack_top = top;
    c->kstack_frame = top - sizeof(struct trap_frame);
}
/* Fills the interrupt descriptor table; once, before the first cpu_tables_load(). */
void idt_init(void);
/* CR4, XCR0 and the size of the XSAVE area. The first call decides for all CPUs. */
void fpu_init_cpu(void);
/*
 * For the context switch: what fpu_restore_inline() is to load from the same area later, perhaps no more. The
 * area must hold what was saved there last, or be loaded anew, each time.
 */
extern bool have_xsave, have_xsaveopt, have_fsgsbase;
extern u64 fpu_features;
#define XFEATURE_AVX     0x04UL
#define XFEATURES_AVX512 0xe4UL /* its three parts, and AVX */
static inline void fpu_save_inline(void *area)
{
    u32 lo = fpu_features, hi = fpu_features >> 32;
    if (likely(have_xsaveopt))
        __asm__ volatile("xsaveopt64 (%0)" ::"r"(area), "a"(lo), "d"(hi) : "memory");
    else if (have_xsave)
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(lo), "d"(hi) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}
static inline void fpu_restore_inline(const void *area)
{
    u32 lo = fpu_features, hi = fpu_features >> 32;
    if (likely(have_xsave))
        __asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(lo), "d"(hi) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}
/* The final page tables of the kernel image; drops the identity mapping. Boot CPU. */
void paging_init(void);
void serial_init(void);
/* Fills and maps the table at SYSCALL_TABLE. Boot CPU, in paging_init. */
extern u64 syscall_table[];

#endif
