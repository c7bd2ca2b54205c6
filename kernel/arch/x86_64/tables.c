/* GDT, TSS, IDT (Intel SDM 3A, chapters 3, 6, 8) and the MSRs of each CPU. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/msr.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/panic.h"

#define GDT_CODE     0x00af9b000000ffffUL
#define GDT_DATA     0x00cf93000000ffffUL
#define GDT_TSS      0x18
#define CR4_MCE      0x40UL
#define CPUID1D_MCE  (1u << 7)
#define GATE_INT_P   0x8e00u   /* present, interrupt gate */
#define FLAGS_MASKED 0x47700UL /* TF IF DF IOPL NT AC: cleared on SYSCALL */

struct gate {
    u16 offset0, selector, flags, offset1;
    u32 offset2, reserved;
};
struct table_pointer {
    u16 limit;
    u64 base;
} __attribute__((packed));

static struct gate idt[256];
extern u8 trap_vectors[];

void idt_init(void)
{
    for (u32 i = 0; i < 256; i++) {
        u64 addr = (u64)trap_vectors + 16 * i;
        u32 ist = i == TRAP_NMI                                 ? IST_NMI
                  : i == TRAP_DOUBLE || i == TRAP_MACHINE_CHECK ? IST_EMERGENCY
                                                                : IST_TRAP;
        idt[i] = (struct gate){.offset0 = addr,
                               .selector = KERNEL_CS,
                               .flags = GATE_INT_P | ist,
                               .offset1 = addr >> 16,
                               .offset2 = addr >> 32};
    }
}

static void gdt_fill(struct arch_cpu *a)
{
    u64 tss = (u64)&a->tss;
    a->gdt[1] = GDT_CODE;
    a->gdt[2] = GDT_DATA;
    a->gdt[3] = (sizeof(struct tss) - 1) | (tss & 0xffffff) << 16 | 0x89UL << 40 | (tss >> 24 & 0xff) << 56;
    a->gdt[4] = tss >> 32;
}

static void tss_fill(struct arch_cpu *a)
{
    a->emergency_bottom = (u64)a->emergency_stack;
    a->emergency_top = (u64)a->emergency_stack + sizeof(a->emergency_stack);
    a->tss.ist[IST_TRAP - 1] = (u64)a->trap_stack + sizeof(a->trap_stack);
    a->tss.ist[IST_NMI - 1] = (u64)a->nmi_stack + sizeof(a->nmi_stack);
    a->tss.ist[IST_EMERGENCY - 1] = a->emergency_top;
    a->tss.iomap = sizeof(struct tss);
}

static void segments_load(struct arch_cpu *a)
{
    struct table_pointer gdtr = {6 * sizeof(u64) - 1, (u64)a->gdt}, idtr = {sizeof(idt) - 1, (u64)idt};
    gdtr.limit = sizeof(a->gdt) - 1;
    __asm__ volatile("lgdt %0" ::"m"(gdtr));
    __asm__ volatile("pushq %0; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1:" ::"i"(KERNEL_CS)
                     : "rax", "memory");
    __asm__ volatile("movl %0, %%ds; movl %0, %%es; movl %0, %%ss" ::"r"(KERNEL_SS));
    __asm__ volatile("movl %0, %%fs; movl %0, %%gs" ::"r"(0));
    __asm__ volatile("lidt %0" ::"m"(idtr));
    __asm__ volatile("ltr %w0" ::"r"(GDT_TSS));
}

/* LSTAR, STAR, FMASK. */
static void syscall_init_cpu(void)
{
    extern u8 syscall_entry[];
    wrmsr(MSR_STAR, (u64)KERNEL_CS << 32);
    wrmsr(MSR_LSTAR, (u64)syscall_entry);
    wrmsr(MSR_FMASK, FLAGS_MASKED);
}

/* What RDTSCP and RDPID say: the CPU's number, as on Linux. */
static void tsc_aux_init(u32 id)
{
    u32 a, b, c, d;
    cpuid(0x80000001, 0, &a, &b, &c, &d);
    if (d & (1u << 27))
        wrmsr(MSR_TSC_AUX, id);
}

/* With CR4.MCE clear a machine check would reset the machine, and nobody would learn why (Intel SDM
 * 3A, 6.15). */
static void machine_checks_on(void)
{
    u32 a, b, c, d;
    u64 cr4;
    cpuid(1, 0, &a, &b, &c, &d);
    if (!(d & CPUID1D_MCE))
        return;
    __asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("movq %0, %%cr4" ::"r"(cr4 | CR4_MCE));
}

void cpu_tables_load(struct cpu *c)
{
    struct arch_cpu *a = c->arch;
    gdt_fill(a);
    tss_fill(a);
    segments_load(a);
    wrmsr(MSR_GS_BASE, (u64)c);
    syscall_init_cpu();
    tsc_aux_init(c->id);
    machine_checks_on();
}
