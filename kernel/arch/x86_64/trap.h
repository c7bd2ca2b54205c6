/*
 * Traps, interrupts and the entry from and return to the program.
 *
 * Everything runs in ring 0, so "kernel" and "program" are told apart by the stack pointer: inside the
 * current thread's kernel stack it is the kernel. Every vector enters on an IST stack (the program uses the
 * red zone); the entry code copies the frame to the thread's kernel stack (its top when the program was
 * interrupted, below the interrupted stack pointer when the kernel was) and continues there, so that handlers
 * may nest, sleep and be preempted.
 *
 *   program --SYSCALL/call--> part of a frame at the top --> the number's handler (interrupts on) --> return
 *   program --exception-----> frame at the top --> fault hooks (interrupts on) --> return
 *   program --interrupt-----> frame at the top --> irq handler (interrupts off) --> return
 *   kernel  --exception-----> below rsp --> page_fault hook, else fix-up table, else panic
 *   kernel  --interrupt-----> below rsp --> irq handler --> sched_preempt (preempt_count 0, IF was set)
 *
 * Return to the program looks for work first: signals, preemption.
 */
#ifndef MOKA_ARCH_TRAP_H
#define MOKA_ARCH_TRAP_H

#include "kernel/base/types.h"

/* Registers at the time of entry. Vectors 0..31 are exceptions; TRAP_SYSCALL marks a system call, whose
 * number is rax. */
struct trap_frame {
    u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    u64 vector;
    u64 error; /* the CPU's error code; for TRAP_SYSCALL the original rax */
    u64 rip, cs, rflags, rsp, ss;
};

#define TRAP_DIVIDE        0
#define TRAP_DEBUG         1
#define TRAP_NMI           2
#define TRAP_BREAKPOINT    3
#define TRAP_INVALID_OP    6
#define TRAP_DOUBLE        8
#define TRAP_GP            13
#define TRAP_PAGE          14
#define TRAP_FP            16
#define TRAP_ALIGN         17
#define TRAP_MACHINE_CHECK 18
#define TRAP_SIMD          19
#define TRAP_SYSCALL       256

#define PF_PRESENT 1u /* error code of TRAP_PAGE: protection violation, not a missing page */
#define PF_WRITE   2u
#define PF_FETCH   16u
/* Not the CPU's: the instruction lies in the page that it writes to. */
#define PF_OWN_CODE (1u << 31)

/* What upper layers hook in. Set each once, during boot, before the program starts. */
struct trap_hooks {
    /*
     * A page fault at addr, from the program or from a kernel access with a fix-up. Interrupts on, may sleep.
     * Returns 0 when the access can be repeated, else -errno: then the kernel access takes its fix-up, or the
     * program gets `exception`.
     */
    int (*page_fault)(struct trap_frame *frame, u64 addr, u32 error);
    /* An exception of the program that nobody resolved (addr: CR2 for TRAP_PAGE; pf_result: what page_fault
     * returned). */
    void (*exception)(struct trap_frame *frame, u64 addr, int pf_result);
    /* A system call that has no handler of its own (syscall_set_handler); the result goes to frame->rax by
     * the hook itself. Interrupts on, may sleep. */
    void (*syscall)(struct trap_frame *frame);
    /* Runs before each return to the program while thread->return_work is non-zero. Interrupts on, may sleep.
     */
    void (*return_work)(struct trap_frame *frame);
};
extern struct trap_hooks trap_hooks;

/* True when the frame was made while the program ran (not the kernel). */
bool trap_from_program(const struct trap_frame *frame);
/* The frame of the current thread's latest entry from the program: at the top of its kernel stack. */
struct trap_frame *trap_program_frame(void);

/*
 * Leaves the kernel for the program with the registers of frame, for a new thread or after execve-like
 * set-up; the kernel stack is empty afterwards. Interrupts may be on.
 */
_Noreturn void trap_return_to_program(const struct trap_frame *frame);

/* The segment selectors of everything; what return to the program forces into the frame. */
#define KERNEL_CS 0x08
#define KERNEL_SS 0x10

/*
 * The table at SYSCALL_TABLE: slot n holds the address of code that a program may CALL, with the seven bytes
 * of `call *slot`, instead of executing SYSCALL with rax = n. Registers are treated as by SYSCALL (rcx and
 * r11 are lost); the flags are lost, too.
 */
#define SYSCALL_SLOTS 512

/*
 * The handler of one number, called straight from the entry code with the arguments in their order; returns
 * what goes to rax. Interrupts on, may sleep. Of the program's frame (trap_program_frame) it may read rip,
 * rsp, the arguments and the number, and change nothing: calls that need more go to trap_hooks.syscall. A
 * handler that wants something done before the program continues sets return_work of its thread.
 */
typedef s64 (*syscall_handler)(u64, u64, u64, u64, u64, u64);
/* During boot, before the program starts. */
void syscall_set_handler(u32 number, syscall_handler handler);

/* ---- interrupts ---- */

typedef void (*irq_handler)(void *arg);
/*
 * A free vector for handler, called with interrupts off on whatever CPU the interrupt reached; it must not
 * sleep, and may wake threads (sched_wake). Returns the vector, or -ENOSPC. May sleep.
 */
int irq_alloc(irq_handler handler, void *arg);
/* Routes an I/O APIC input (a global system interrupt) to vector on a CPU. level: level-triggered, active
 * high. One caller at a time: drivers do it while they start. -ENODEV: no such input. */
int ioapic_route(u32 gsi, u32 vector, u32 cpu, bool level);
/* Address and data of an MSI message that raises vector on a CPU (Intel SDM 3A, 11.11). */
void msi_message(u32 vector, u32 cpu, u64 *addr, u32 *data);
/* Sends vector to another CPU. Any context. */
void ipi_send(u32 cpu, u32 vector);
/* The fixed vectors above 0xf0: set a handler each, once. */
#define VECTOR_RESCHED 0xf1
#define VECTOR_TLB     0xf2
#define VECTOR_TIMER   0xf3
void irq_set_fixed(u32 vector, irq_handler handler, void *arg);

/* ---- access to memory that may be bad ---- */

/*
 * Copies n bytes where either side may fault; page faults are resolved as for the program. Returns how many
 * bytes were NOT copied. May sleep. Callers check beforehand that program addresses are below PROGRAM_END.
 */
size_t copy_safe(void *dst, const void *src, size_t n);
/* The same for filling with zeros. */
size_t zero_safe(void *dst, size_t n);
/* Length of a string of at most max bytes without its end; max when there is no end; -EFAULT. May sleep. */
ssize_t strnlen_safe(const char *s, size_t max);
/* Atomic accesses to a program's 32-bit word: 0 or -EFAULT. old: what was there before. */
int load32_safe(const u32 *p, u32 *value);
int cmpxchg32_safe(u32 *p, u32 expected, u32 desired, u32 *old);

#endif
