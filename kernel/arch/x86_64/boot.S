/*
 * Entry from the hypervisor (PVH: Xen, public/arch-x86/hvm/start_info.h and docs/misc/pvh): 32-bit protected mode,
 * paging off, flat segments, interrupts off, ebx = physical address of struct hvm_start_info.
 *
 * Makes the first page tables: the first 4 GiB in 2 MiB pages, at 0 (only while switching), at DIRECT_MAP, and its
 * first GiB at KERNEL_BASE. Then: void kernel_main(void), on boot_stack, in long mode.
 */
#include "kernel/arch/x86_64/layout.h"

#define PHYS(sym) ((sym) - 0xffffffff80000000)

#define PTE_PW     0x003
#define PTE_PWGPS  0x183 /* present, writable, global, 2 MiB */
#define CR0_BITS   0x80010033 /* PG WP NE ET MP PE */
#define CR4_BITS   0x0a0 /* PAE PGE */
#define MSR_EFER   0xc0000080
#define EFER_BITS  0x901 /* NXE LME SCE */

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18 /* name and descriptor length, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad PHYS(pvh_start32)

    .section .text.boot, "ax"
    .code32
    .global pvh_start32
pvh_start32:
    cli
    cld
    movl %ebx, PHYS(pvh_start_info)
    rdtsc
    movl %eax, PHYS(boot_entry_tsc)
    movl %edx, PHYS(boot_entry_tsc) + 4

    movl $PHYS(boot_pd), %edi
    movl $PTE_PWGPS, %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 1b

    movl $PHYS(boot_pd) + PTE_PW, PHYS(boot_pdpt_low)
    movl $PHYS(boot_pd) + 0x1000 + PTE_PW, PHYS(boot_pdpt_low) + 8
    movl $PHYS(boot_pd) + 0x2000 + PTE_PW, PHYS(boot_pdpt_low) + 16
    movl $PHYS(boot_pd) + 0x3000 + PTE_PW, PHYS(boot_pdpt_low) + 24
    movl $PHYS(boot_pd) + PTE_PW, PHYS(boot_pdpt_kernel) + 510 * 8
    movl $PHYS(boot_pdpt_low) + PTE_PW, PHYS(boot_pml4)
    movl $PHYS(boot_pdpt_low) + PTE_PW, PHYS(boot_pml4) + 256 * 8
    movl $0x80000000, PHYS(boot_pml4) + 256 * 8 + 4 /* no execute */
    movl $PHYS(boot_pdpt_kernel) + PTE_PW, PHYS(boot_pml4) + 511 * 8

    movl $PHYS(boot_pml4), %eax
    movl %eax, %cr3
    movl $CR4_BITS, %eax
    movl %eax, %cr4
    movl $MSR_EFER, %ecx
    movl $EFER_BITS, %eax
    xorl %edx, %edx
    wrmsr
    movl $CR0_BITS, %eax
    movl %eax, %cr0
    lgdt PHYS(boot_gdt_pointer)
    ljmp $8, $PHYS(1f)

    .code64
1:  movabsq $2f, %rax
    jmpq *%rax
2:  movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq $boot_stack_top, %rsp
    xorl %ebp, %ebp
    pushq %rbp /* a return address of 0 ends backtraces */
    jmp kernel_main

    .section .rodata
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 64-bit code, ring 0 */
    .quad 0x00cf93000000ffff /* data */
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long PHYS(boot_gdt)

    .bss
    .balign 4096
    .global boot_pml4, boot_pdpt_low, boot_pdpt_kernel, boot_stack_bottom, boot_stack_top
boot_pml4:
    .skip 4096
boot_pdpt_low:
    .skip 4096
boot_pdpt_kernel:
    .skip 4096
boot_pd:
    .skip 4 * 4096
boot_stack_bottom:
    .skip 16384
boot_stack_top:

    .data
    .balign 8
    .global pvh_start_info, boot_entry_tsc
pvh_start_info:
    .quad 0
boot_entry_tsc:
    .quad 0
    .section .note.GNU-stack, "", @progbits
