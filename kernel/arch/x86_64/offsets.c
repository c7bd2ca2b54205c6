/* Structure offsets for assembly: compiled to assembly text only; the Makefile makes offsets.h from it. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/trap.h"

#define DEFINE(name, value) __asm__ volatile("\n.ascii \"@" #name " %0\"" ::"i"(value))

void offsets(void)
{
    DEFINE(CPU_KSTACK_BOTTOM, offsetof(struct cpu, kstack_bottom));
    DEFINE(CPU_KSTACK_TOP, offsetof(struct cpu, kstack_top));
    DEFINE(CPU_KSTACK_FRAME, offsetof(struct cpu, kstack_frame));
    DEFINE(CPU_CURRENT, offsetof(struct cpu, current));
    DEFINE(THREAD_RETURN_WORK, offsetof(struct thread_head, return_work));
    DEFINE(CPU_SCRATCH, offsetof(struct cpu, scratch));
    DEFINE(CPU_ARCH, offsetof(struct cpu, arch));
    DEFINE(ARCH_CPU_EMERGENCY_BOTTOM, offsetof(struct arch_cpu, emergency_bottom));
    DEFINE(ARCH_CPU_EMERGENCY_TOP, offsetof(struct arch_cpu, emergency_top));
    DEFINE(FRAME_SIZE, sizeof(struct trap_frame));
    DEFINE(FRAME_R15, offsetof(struct trap_frame, r15));
    DEFINE(FRAME_R14, offsetof(struct trap_frame, r14));
    DEFINE(FRAME_R13, offsetof(struct trap_frame, r13));
    DEFINE(FRAME_R12, offsetof(struct trap_frame, r12));
    DEFINE(FRAME_RBP, offsetof(struct trap_frame, rbp));
    DEFINE(FRAME_RBX, offsetof(struct trap_frame, rbx));
    DEFINE(FRAME_R11, offsetof(struct trap_frame, r11));
    DEFINE(FRAME_R10, offsetof(struct trap_frame, r10));
    DEFINE(FRAME_R9, offsetof(struct trap_frame, r9));
    DEFINE(FRAME_R8, offsetof(struct trap_frame, r8));
    DEFINE(FRAME_RAX, offsetof(struct trap_frame, rax));
    DEFINE(FRAME_RCX, offsetof(struct trap_frame, rcx));
    DEFINE(FRAME_RDX, offsetof(struct trap_frame, rdx));
    DEFINE(FRAME_RSI, offsetof(struct trap_frame, rsi));
    DEFINE(FRAME_RDI, offsetof(struct trap_frame, rdi));
    DEFINE(FRAME_VECTOR, offsetof(struct trap_frame, vector));
    DEFINE(FRAME_ERROR, offsetof(struct trap_frame, error));
    DEFINE(FRAME_RIP, offsetof(struct trap_frame, rip));
    DEFINE(FRAME_CS, offsetof(struct trap_frame, cs));
    DEFINE(FRAME_RFLAGS, offsetof(struct trap_frame, rflags));
    DEFINE(FRAME_RSP, offsetof(struct trap_frame, rsp));
    DEFINE(FRAME_SS, offsetof(struct trap_frame, ss));
    DEFINE(ASM_TRAP_SYSCALL, TRAP_SYSCALL);
    DEFINE(ASM_KERNEL_CS, KERNEL_CS);
    DEFINE(ASM_KERNEL_SS, KERNEL_SS);
    DEFINE(ASM_SYSCALL_SLOTS, SYSCALL_SLOTS);
}
