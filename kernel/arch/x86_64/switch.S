/*
 * struct thread *switch_stack(u64 *save_rsp, u64 next_rsp, struct thread *prev)
 *
 * Saves the callee-saved registers and the stack pointer (in *save_rsp), continues on next_rsp, which an earlier
 * call or arch_thread_prepare() left, and returns prev there.
 */
    .text
    .global switch_stack, thread_begin
    .type switch_stack, @function
switch_stack:
    .cfi_startproc
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r15, 0
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    .cfi_def_cfa rsp, 8
    movq %rdx, %rax
    ret
    .cfi_endproc
    .size switch_stack, . - switch_stack

/* Where a new thread's first switch-in returns to: rax = the thread switched away from, r12 = entry, r13 = arg. */
    .type thread_begin, @function
thread_begin:
    .cfi_startproc
    .cfi_undefined rip
    movq %rax, %rdi
    movq %r12, %rsi
    movq %r13, %rdx
    xorl %ebp, %ebp
    call arch_thread_begin
    ud2
    .cfi_endproc
    .size thread_begin, . - thread_begin
    .section .note.GNU-stack, "", @progbits
