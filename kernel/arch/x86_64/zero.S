/*
 * void zero_frame_avx(void *frame)
 *
 * Zeroes 4 KiB. Keeps all vector registers: ymm0 waits on the stack. Preemption off; AVX on, AVX-512 off.
 */
    .text
    .global zero_frame_avx
    .type zero_frame_avx, @function
    .balign 16
zero_frame_avx:
    .cfi_startproc
    subq $40, %rsp
    .cfi_adjust_cfa_offset 40
    vmovdqu %ymm0, (%rsp)
    vpxor %xmm0, %xmm0, %xmm0
    leaq 4096(%rdi), %rax
1:
    .set offset, 0
    .rept 32
    vmovdqa %ymm0, offset(%rdi)
    .set offset, offset + 32
    .endr
    addq $1024, %rdi
    cmpq %rax, %rdi
    jne 1b
    vmovdqu (%rsp), %ymm0
    addq $40, %rsp
    .cfi_adjust_cfa_offset -40
    ret
    .cfi_endproc
    .size zero_frame_avx, . - zero_frame_avx
    .section .note.GNU-stack, "", @progbits
