/*
 * Entry to and return from the kernel; the picture is in trap.h.
 *
 * Nothing here may touch the program's stack: its rsp may be anything. The vectors' gates turn interrupts off and
 * switch to an IST stack. trap_common finds out who was interrupted by the stack pointer, builds struct trap_frame
 * on the kernel stack (for the program at its top, for the kernel below its stack pointer) and calls
 *     void trap_dispatch(struct trap_frame *frame)      interrupts off on entry and on return
 * A stack pointer that belongs to neither, with rip in the kernel, is a broken or overflown kernel stack:
 *     void trap_fatal(struct trap_frame *frame, int why)    on the emergency stack; never returns
 */
#include "offsets.h"

#define RFLAGS_IF    0x200
#define RFLAGS_TF_RF 0x10100
#define RFLAGS_PLAIN 0x202

    .macro push_registers_after_rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    .endm

    .macro push_registers
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rax
    push_registers_after_rax
    .endm

    .macro pop_registers
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rax
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    .endm

    /* Call-frame information at a point where rsp is a struct trap_frame: every register is found through rsp by a
       DWARF expression (DW_OP_breg7 offset), because the interrupted stack is another one. */
    .macro cfi_saved reg, offset
    .cfi_escape 0x10, \reg, 3, 0x77, (\offset & 0x7f) | 0x80, \offset >> 7
    .endm
    .macro cfi_trap_frame
    .cfi_signal_frame
    .cfi_escape 0x0f, 4, 0x77, (FRAME_RSP & 0x7f) | 0x80, FRAME_RSP >> 7, 0x06 /* CFA = the saved rsp */
    cfi_saved 15, 0
    cfi_saved 14, 8
    cfi_saved 13, 16
    cfi_saved 12, 24
    cfi_saved 6, 32
    cfi_saved 3, 40
    cfi_saved 11, 48
    cfi_saved 10, 56
    cfi_saved 9, 64
    cfi_saved 8, 72
    cfi_saved 0, 80
    cfi_saved 2, 88
    cfi_saved 1, 96
    cfi_saved 4, 104
    cfi_saved 5, 112
    cfi_saved 16, FRAME_RIP
    .endm

    .section .text.entry, "ax"

/* One stub of 16 bytes a vector. Exceptions 8, 10-14, 17, 21, 29, 30 come with an error code. */
    .balign 16
    .global trap_vectors
trap_vectors:
    .set vector, 0
    .rept 256
    .balign 16
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
    pushq $0
    .endif
    pushq $vector
    .if vector == 2
    jmp trap_on_nmi
    .elseif vector == 8 || vector == 18
    jmp trap_on_emergency
    .else
    jmp trap_common
    .endif
    .set vector, vector + 1
    .endr

    .balign 16
    .type trap_common, @function
trap_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    cld
    /* IST stack: 0 rdx, 8 rcx, 16 rax, 24 vector, 32 error, 40 rip, 48 cs, 56 rflags, 64 rsp, 72 ss */
    movq 64(%rsp), %rax
    movq %gs:CPU_KSTACK_TOP, %rcx
    movq %gs:CPU_KSTACK_BOTTOM, %rdx
    cmpq %rcx, %rax
    ja 1f
    cmpq %rdx, %rax
    jae 2f
1:  /* Not on the kernel stack: the program, or a kernel that lost its stack. */
    movq 40(%rsp), %rax
    cmpq $kernel_entry_end, %rax
    jb 3f
    cmpq $kernel_text_end, %rax
    jb trap_lost_stack
    jmp 3f
2:  /* The kernel: continue below its stack pointer, if there is room for the frame and some work. */
    leaq FRAME_SIZE + 512(%rdx), %rdx
    movq %rax, %rcx
    andq $-16, %rcx
    cmpq %rdx, %rcx
    jb trap_lost_stack
3:  movq %rsp, %rdx
    movq %rcx, %rsp
    .macro move_frame /* from the IST stack at rdx */
    pushq 72(%rdx)
    pushq 64(%rdx)
    pushq 56(%rdx)
    pushq 48(%rdx)
    pushq 40(%rdx)
    pushq 32(%rdx)
    pushq 24(%rdx)
    pushq %rdi
    pushq %rsi
    pushq 0(%rdx)
    pushq 8(%rdx)
    pushq 16(%rdx)
    push_registers_after_rax
    .endm
    move_frame
    .cfi_startproc
    cfi_trap_frame
    movq %rsp, %rdi
    call trap_dispatch
    .global trap_return
trap_return: /* rsp: the frame to continue with; interrupts off */
    pop_registers
    addq $16, %rsp
    iretq
    .cfi_endproc

trap_lost_stack:
    movq %rsp, %rdx
    movq %gs:CPU_ARCH, %rax
    movq ARCH_CPU_EMERGENCY_TOP(%rax), %rcx
    movq %rcx, %rsp
    movq %rcx, %gs:CPU_KSTACK_TOP
    movq ARCH_CPU_EMERGENCY_BOTTOM(%rax), %rcx
    movq %rcx, %gs:CPU_KSTACK_BOTTOM
    move_frame
    .cfi_startproc
    cfi_trap_frame
    movq %rsp, %rdi
    movl $1, %esi
    call trap_fatal
    ud2
    .cfi_endproc

trap_on_emergency: /* on the emergency stack by IST: what faults from here on is the kernel */
    push_registers
    .cfi_startproc
    cfi_trap_frame
    cld
    movq %gs:CPU_ARCH, %rax
    movq ARCH_CPU_EMERGENCY_TOP(%rax), %rcx
    movq %rcx, %gs:CPU_KSTACK_TOP
    movq ARCH_CPU_EMERGENCY_BOTTOM(%rax), %rcx
    movq %rcx, %gs:CPU_KSTACK_BOTTOM
    movq %rsp, %rdi
    xorl %esi, %esi
    call trap_fatal
    ud2
    .cfi_endproc

trap_on_nmi: /* void trap_nmi(struct trap_frame *), on the NMI stack; must not fault */
    push_registers
    .cfi_startproc
    cfi_trap_frame
    cld
    movq %rsp, %rdi
    call trap_nmi
    jmp trap_return
    .cfi_endproc

/*
 * System calls. SYSCALL: rcx = rip, r11 = rflags, rsp the program's, rax the number; MSR_FMASK has turned interrupts
 * off. A program rewritten to call through SYSCALL_TABLE arrives at one of syscall_stubs instead.
 *
 * The handler in syscall_handlers is a C function: it keeps rbx, rbp, r12 .. r15, so a call that neither needs the
 * whole trap frame nor finds work on the way back leaves them where they are. The frame at the top of the kernel stack
 * then has only rip, rsp, the number, the arguments, and by SYSCALL rflags; fill_frame makes it whole.
 *     s64 handler(u64 rdi, u64 rsi, u64 rdx, u64 r10, u64 r8, u64 r9)    interrupts on
 *     void trap_syscall(struct trap_frame *frame)         a call with the whole frame; interrupts on, off on return
 *     void trap_syscall_leave(struct trap_frame *frame)   work on the way back; interrupts on or off, off on return
 */
    .macro save_arguments /* the number is in rax */
    movq %rax, FRAME_ERROR(%rsp)
    movq %rdi, FRAME_RDI(%rsp)
    movq %rsi, FRAME_RSI(%rsp)
    movq %rdx, FRAME_RDX(%rsp)
    movq %r10, FRAME_R10(%rsp)
    movq %r8, FRAME_R8(%rsp)
    movq %r9, FRAME_R9(%rsp)
    .endm
    .macro restore_arguments
    movq FRAME_RDI(%rsp), %rdi
    movq FRAME_RSI(%rsp), %rsi
    movq FRAME_RDX(%rsp), %rdx
    movq FRAME_R10(%rsp), %r10
    movq FRAME_R8(%rsp), %r8
    movq FRAME_R9(%rsp), %r9
    .endm
    /* need_resched is no business of theirs: whoever sets it outside interrupts has preemption off and acts on it
       in preempt_enable(); after an interrupt, its way out does. */
    .macro leave_if_work target
    movq %gs:CPU_CURRENT, %rcx
    cmpl $0, THREAD_RETURN_WORK(%rcx)
    jne \target
    .endm
    /* The rest of the frame at rsp, as SYSCALL leaves the registers; rax is the result or the number. */
    .macro fill_frame
    movq %r15, FRAME_R15(%rsp)
    movq %r14, FRAME_R14(%rsp)
    movq %r13, FRAME_R13(%rsp)
    movq %r12, FRAME_R12(%rsp)
    movq %rbp, FRAME_RBP(%rsp)
    movq %rbx, FRAME_RBX(%rsp)
    movq %rax, FRAME_RAX(%rsp)
    movq FRAME_RFLAGS(%rsp), %r11
    movq %r11, FRAME_R11(%rsp)
    movq FRAME_RIP(%rsp), %rcx
    movq %rcx, FRAME_RCX(%rsp)
    movq $ASM_TRAP_SYSCALL, FRAME_VECTOR(%rsp)
    movq $ASM_KERNEL_CS, FRAME_CS(%rsp)
    movq $ASM_KERNEL_SS, FRAME_SS(%rsp)
    .endm
    /* Call-frame information while a handler runs. */
    .macro cfi_syscall_frame
    .cfi_signal_frame
    .cfi_escape 0x0f, 4, 0x77, (FRAME_RSP & 0x7f) | 0x80, FRAME_RSP >> 7, 0x06 /* CFA = the saved rsp */
    cfi_saved 10, 56
    cfi_saved 9, 64
    cfi_saved 8, 72
    cfi_saved 1, 88
    cfi_saved 4, 104
    cfi_saved 5, 112
    cfi_saved 16, FRAME_RIP
    .endm

    .balign 16
    .global syscall_entry
    .type syscall_entry, @function
syscall_entry:
    movq %rsp, %gs:CPU_SCRATCH
    movq %gs:CPU_KSTACK_FRAME, %rsp
    movq %r11, FRAME_RFLAGS(%rsp)
    movq %gs:CPU_SCRATCH, %r11
    sti
    movq %r11, FRAME_RSP(%rsp)
    movq %rcx, FRAME_RIP(%rsp)
    .cfi_startproc
    cfi_syscall_frame
    save_arguments
    movl %eax, %eax /* Linux takes the number as 32 bits */
    movq %r10, %rcx
    cmpq $ASM_SYSCALL_SLOTS, %rax
    jae syscall_unknown
    call *syscall_handlers(, %rax, 8)
    cli
    leave_if_work syscall_leave
    restore_arguments
    movq FRAME_RIP(%rsp), %rcx
    movq FRAME_RFLAGS(%rsp), %r11
    testl $RFLAGS_TF_RF, %r11d
    jnz syscall_leave
    /* A jump does what IRETQ does in many times the time; STI takes effect after the instruction that follows it. */
    andl $~RFLAGS_IF, FRAME_RFLAGS(%rsp)
    leaq FRAME_RFLAGS(%rsp), %rsp
    .cfi_endproc
    popfq
    popq %rsp
    sti
    jmpq *%rcx

/*
 * Targets of `call *slot(nr)`. The return address stays on the program's stack, so that RET can take it: processors
 * predict that. Interrupts are on throughout, and until rsp changes everything that comes in is the program's: signals
 * find their way by trap_settle. Once the look for work has begun, an interrupt lets it begin anew (trap.c); that is
 * why nothing between syscall_call_look and syscall_call_left changes rax or rsp.
 */
    .balign 16
    .global syscall_stubs, syscall_stubs_end, syscall_call_look, syscall_call_left
syscall_stubs:
    .set number, 0
    .rept ASM_SYSCALL_SLOTS
    .balign 16
    movq (%rsp), %rcx
    movl $number, %eax
    jmp syscall_entry_call
    .set number, number + 1
    .endr
syscall_entry_call:
    leaq 8(%rsp), %r11
    movq %gs:CPU_KSTACK_FRAME, %rsp
syscall_stubs_end:
    movq %r11, FRAME_RSP(%rsp)
    movq %rcx, FRAME_RIP(%rsp)
    .cfi_startproc
    cfi_syscall_frame
    save_arguments
    movq %r10, %rcx
    call *syscall_handlers(, %rax, 8)
syscall_call_look:
    leave_if_work syscall_call_leave
    restore_arguments
    movq FRAME_RIP(%rsp), %rcx
    movq FRAME_RSP(%rsp), %rsp
    .cfi_endproc
syscall_call_left:
    pushq %rcx
    ret

    .cfi_startproc
    cfi_syscall_frame
syscall_call_leave:
    movq $RFLAGS_PLAIN, FRAME_RFLAGS(%rsp) /* flags do not outlive a call */
syscall_leave:
    fill_frame
    .cfi_endproc
    .cfi_startproc
    cfi_trap_frame
    movq %rsp, %rdi
    call trap_syscall_leave
    jmp trap_return
    .cfi_endproc

/* The handler of all calls that need the whole frame; what it was called from tells how the program came. */
    .balign 16
    .global syscall_whole
    .type syscall_whole, @function
syscall_whole:
    cmpq $syscall_call_look, (%rsp)
    leaq 8(%rsp), %rsp
    jne syscall_unknown
    movq $RFLAGS_PLAIN, FRAME_RFLAGS(%rsp)
syscall_unknown:
    fill_frame
    .cfi_startproc
    cfi_trap_frame
    movq %rsp, %rdi
    call trap_syscall
    jmp trap_return
    .cfi_endproc

/* _Noreturn void trap_return_to_program(const struct trap_frame *frame): copies backwards, because the frame may
   overlap its new place at the stack's top from below. */
    .balign 16
    .global trap_return_to_program
    .type trap_return_to_program, @function
trap_return_to_program:
    .cfi_startproc
    .cfi_undefined rip
    cli
    movq %gs:CPU_KSTACK_TOP, %rsp
    .set offset, FRAME_SS
    .rept FRAME_SIZE / 8
    pushq offset(%rdi)
    .set offset, offset - 8
    .endr
    movq %rsp, %rdi
    call trap_exit_to_program
    jmp trap_return
    .cfi_endproc

    .section .note.GNU-stack, "", @progbits
