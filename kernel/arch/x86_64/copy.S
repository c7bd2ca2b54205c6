/*
 * Memory accesses that may fault; prototypes and contracts in trap.h. Each instruction that touches a program's
 * memory has an entry in .extable: {address of the instruction, where to go when the fault cannot be resolved}.
 */
    .macro fixup at, to
    .pushsection .extable, "a"
    .quad \at, \to
    .popsection
    .endm

    .macro func name
    .global \name
    .type \name, @function
    .balign 16
\name:
    .cfi_startproc
    .endm
    .macro endfunc name
    .cfi_endproc
    .size \name, . - \name
    .endm

    .text

/* size_t copy_safe(void *dst, const void *src, size_t n) */
func copy_safe
    movq %rdx, %rcx
    shrq $3, %rcx
1:  rep movsq
    movl %edx, %ecx
    andl $7, %ecx
2:  rep movsb
    xorl %eax, %eax
    ret
3:  /* within 8 bytes of the bad page: go on byte by byte up to it */
    andl $7, %edx
    leaq (%rdx, %rcx, 8), %rcx
4:  rep movsb
5:  movq %rcx, %rax
    ret
    fixup 1b, 3b
    fixup 2b, 5b
    fixup 4b, 5b
endfunc copy_safe

/* size_t zero_safe(void *dst, size_t n) */
func zero_safe
    xorl %eax, %eax
    movq %rsi, %rcx
    shrq $3, %rcx
1:  rep stosq
    movl %esi, %ecx
    andl $7, %ecx
2:  rep stosb
    xorl %eax, %eax
    ret
3:  andl $7, %esi
    leaq (%rsi, %rcx, 8), %rcx
4:  rep stosb
5:  movq %rcx, %rax
    ret
    fixup 1b, 3b
    fixup 2b, 5b
    fixup 4b, 5b
endfunc zero_safe

/* ssize_t strnlen_safe(const char *s, size_t max) */
func strnlen_safe
    xorl %eax, %eax
1:  cmpq %rsi, %rax
    jae 3f
2:  cmpb $0, (%rdi, %rax)
    je 3f
    incq %rax
    jmp 1b
3:  ret
4:  movq $-14, %rax /* -EFAULT */
    ret
    fixup 2b, 4b
endfunc strnlen_safe

/* int load32_safe(const u32 *p, u32 *value) */
func load32_safe
1:  movl (%rdi), %eax
    movl %eax, (%rsi)
    xorl %eax, %eax
    ret
2:  movl $-14, %eax
    ret
    fixup 1b, 2b
endfunc load32_safe

/* int cmpxchg32_safe(u32 *p, u32 expected, u32 desired, u32 *old) */
func cmpxchg32_safe
    movl %esi, %eax
1:  lock cmpxchgl %edx, (%rdi)
    movl %eax, (%rcx)
    xorl %eax, %eax
    ret
2:  movl $-14, %eax
    ret
    fixup 1b, 2b
endfunc cmpxchg32_safe
    .section .note.GNU-stack, "", @progbits
