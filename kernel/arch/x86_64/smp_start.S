/*
 * Where the other CPUs start: real mode, cs:ip = 0x0800:0, copied to physical 0x8000. Straight to long mode (Intel
 * SDM 3A, 9.8.5 with protection and paging turned on at once), on ap_pml4, which maps the first GiBs at 0 too.
 * Then, on boot_pml4: void ap_main(u32 id), on the stack that smp_start() set up.
 *
 * The entries that map memory at 0 are the direct map's, which are global: with CR4.PGE set a change of CR3 would
 * leave them in the TLB (Intel SDM 3A, 4.10.2.4), and the program's null pointers would find memory there. So PGE
 * comes last; turning it on drops everything.
 */
#define PHYS(sym) ((sym) - 0xffffffff80000000)
#define CR0_BITS  0x80010033 /* PG WP NE ET MP PE */
#define CR4_BITS  0x020      /* PAE */
#define CR4_PGE   0x080
#define MSR_EFER  0xc0000080
#define EFER_BITS 0x901 /* NXE LME SCE */

    .section .rodata
    .balign 16
    .global ap_trampoline, ap_trampoline_end
    .code16
ap_trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movl $CR4_BITS, %eax
    movl %eax, %cr4
    movl $PHYS(ap_pml4), %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    movl $EFER_BITS, %eax
    xorl %edx, %edx
    wrmsr
    lgdtl ap_gdt_pointer - ap_trampoline
    movl $CR0_BITS, %eax
    movl %eax, %cr0
    ljmpl $8, $0x8000 + (ap_long - ap_trampoline)
    .code64
ap_long:
    movabsq $ap_start, %rax
    jmpq *%rax
    .balign 8
ap_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
ap_gdt_pointer:
    .word . - ap_gdt - 1
    .long 0x8000 + (ap_gdt - ap_trampoline)
ap_trampoline_end:

    .text
ap_start:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl $1, %eax
    cpuid
    shrl $24, %ebx /* initial APIC identifier */
    movzbl ap_index(%rbx), %edi
    movl $PHYS(boot_pml4), %eax
    movq %rax, %cr3
    movq %cr4, %rax
    orl $CR4_PGE, %eax
    movq %rax, %cr4
    movq ap_stack_top(, %rdi, 8), %rsp
    xorl %ebp, %ebp
    pushq %rbp
    jmp ap_main

    .bss
    .balign 4096
    .global ap_pml4
ap_pml4:
    .skip 4096
    .section .note.GNU-stack, "", @progbits
