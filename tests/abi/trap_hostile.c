/* What a program may do to its own registers and signal frames without harm to anyone else. */
#include "abi.h"

#include <ucontext.h>

static volatile int count, last_sig, last_code;
static volatile uintptr_t last_addr;
static sigjmp_buf out;
static char alternate[65536];

static void on_alternate_stack(int sig, void (*f)(int, siginfo_t *, void *))
{
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    struct sigaction action = {.sa_sigaction = f, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    OK(sigaltstack(&stack, NULL));
    OK(sigaction(sig, &action, NULL));
}

static void without_alternate_stack(void)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    OK(sigaltstack(&none, NULL));
}

static void leave(int sig, siginfo_t *info, void *context)
{
    last_sig = sig;
    last_code = info->si_code;
    last_addr = (uintptr_t)info->si_addr;
    siglongjmp(out, 1);
}

static void count_it(int sig, siginfo_t *info, void *context)
{
    count++;
}

/* ---- a stack pointer that points nowhere ---- */

/* Loops, makes a system call, and loops again with rsp = value; true when everything survived. */
static bool runs_on(uint64_t value)
{
    uint64_t left = 30000000, pid;
    __asm__ volatile("mov %%rsp, %%r12\n"
                     "mov %2, %%rsp\n"
                     "1: dec %0\n"
                     "jnz 1b\n"
                     "mov $39, %%eax\n"
                     "syscall\n"
                     "mov $10000000, %0\n"
                     "2: dec %0\n"
                     "jnz 2b\n"
                     "mov %%r12, %%rsp\n"
                     : "+&r"(left), "=&a"(pid)
                     : "r"(value)
                     : "r12", "rcx", "r11", "memory", "cc");
    return pid == (uint64_t)getpid() && !left;
}

CASE(stack_pointer_anywhere)
{
    CHECK(runs_on(0));
    CHECK(runs_on(8));
    CHECK(runs_on(0x7ffffffff000));
    CHECK(runs_on(~0ul));
    CHECK(runs_on(0x123456789abcdef1));
}

CASE(fault_without_stack)
{
    on_alternate_stack(SIGSEGV, leave);
    if (!sigsetjmp(out, 1))
        __asm__ volatile("mov $16, %%rsp\n mov (%%rsp), %%rax" ::: "rax", "memory");
    VALUE(last_sig);
    CHECK(last_addr == 16);
    if (!sigsetjmp(out, 1))
        __asm__ volatile("mov $0x8000000000000000, %%rax\n mov %%rax, %%rsp\n push %%rax" ::
                             : "rax", "memory");
    VALUE(last_sig);
    without_alternate_stack();
}

static volatile bool kicked_enough;

/* Signals do not queue: on a busy machine many become one. */
static void *kick(void *arg)
{
    pthread_t main_thread = *(pthread_t *)arg;
    for (int i = 0; i < 5000 && !kicked_enough; i++) {
        usleep(2000);
        pthread_kill(main_thread, SIGUSR1);
    }
    return NULL;
}

CASE(signal_without_stack)
{
    pthread_t thread, self = pthread_self();
    count = 0;
    kicked_enough = false;
    on_alternate_stack(SIGUSR1, count_it);
    NEED(!ERROR(pthread_create(&thread, NULL, kick, &self)));
    bool survived = true;
    while (count < 5 && survived)
        survived = runs_on(0x30);
    kicked_enough = true;
    CHECK(survived);
    ERROR(pthread_join(thread, NULL));
    without_alternate_stack();
}

CASE_ENDS(signal_without_any_stack)
{
    pthread_t thread, self = pthread_self();
    struct sigaction action = {.sa_sigaction = count_it, .sa_flags = SA_SIGINFO};
    kicked_enough = false;
    OK(sigaction(SIGUSR1, &action, NULL));
    NEED(!ERROR(pthread_create(&thread, NULL, kick, &self)));
    for (;;)
        runs_on(0x30); /* ended by SIGSEGV: there is nowhere to put the frame */
}

/* ---- code that is not there, and instructions that are not allowed ---- */

CASE(jump_nowhere)
{
    static const uint64_t targets[] = {0, 0x8000000000000000, 0x0000800000000000, 0xffffffff00000000, 0x10};
    on_alternate_stack(SIGSEGV, leave);
    for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
        last_sig = 0;
        if (!sigsetjmp(out, 1))
            ((void (*)(void))targets[i])();
        VALUE(last_sig);
    }
    without_alternate_stack();
}

CASE(software_interrupts)
{
    on_alternate_stack(SIGSEGV, leave);
    on_alternate_stack(SIGTRAP, leave);
    last_sig = 0;
    if (!sigsetjmp(out, 1))
        __asm__ volatile("int3");
    VALUE(last_sig);
    without_alternate_stack();
}

CASE(reads_of_forbidden_addresses)
{
    static const uint64_t addresses[] = {0, 0x8000000000000000, 0x0000800000000000, 0x7ffffffff000, 0xfff};
    on_alternate_stack(SIGSEGV, leave);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
        if (!sigsetjmp(out, 1))
            (void)*(volatile char *)addresses[i];
        VALUE(last_sig);
        VALUE(last_code);
        CHECK(last_addr == (last_code == SI_KERNEL ? 0 : addresses[i]));
    }
    without_alternate_stack();
}

/* ---- signal frames that were tampered with ---- */

static int tamper;

static void tamper_with_frame(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    greg_t *regs = u->uc_mcontext.gregs;
    uint8_t *fpu = (uint8_t *)u->uc_mcontext.fpregs;
    switch (tamper) {
    case 0:
        regs[REG_RIP] = 0x8000000000000000;
        break;
    case 1:
        regs[REG_EFL] |= 0x3000 | 0x4000 | 0x20000; /* IOPL, NT, VM */
        regs[REG_EFL] &= ~0x200;                    /* IF */
        break;
    case 2:
        memset(fpu + 24, 0xff, 4); /* MXCSR with reserved bits */
        break;
    case 3:
        memset(fpu + 512 + 8, 0xff, 16); /* reserved words of the XSAVE header */
        break;
    case 4:
        u->uc_mcontext.fpregs = (void *)0x8000000000000000;
        break;
    case 5:
        u->uc_mcontext.fpregs = NULL; /* allowed: the state is reset */
        break;
    case 6:
        regs[REG_EFL] |= 0x400; /* DF: taken */
        break;
    }
}

CASE(tampered_frames)
{
    struct sigaction action = {.sa_sigaction = tamper_with_frame, .sa_flags = SA_SIGINFO};
    OK(sigaction(SIGUSR1, &action, NULL));
    on_alternate_stack(SIGSEGV, leave);
    for (tamper = 0; tamper < 7; tamper++) {
        uint64_t flags = 0;
        last_sig = 0;
        if (!sigsetjmp(out, 1)) {
            long result;
            __asm__ volatile("syscall\n pushfq\n popq %1\n cld"
                             : "=a"(result), "=r"(flags)
                             : "0"(SYS_tgkill), "D"(getpid()), "S"(gettid()), "d"(SIGUSR1)
                             : "rcx", "r11", "memory", "cc");
            VALUE(result);
        }
        VALUE(last_sig);
        say("after %d: flags %#lx", tamper, flags & 0x400);
    }
    without_alternate_stack();
}

CASE(sigreturn_from_nowhere)
{
    on_alternate_stack(SIGSEGV, leave);
    last_sig = 0;
    if (!sigsetjmp(out, 1))
        __asm__ volatile("mov $0x40, %%esp\n mov $15, %%eax\n syscall" ::: "rax", "memory");
    VALUE(last_sig);
    if (!sigsetjmp(out, 1))
        __asm__ volatile("mov $0x7fffffffffff0000, %%rax\n mov %%rax, %%rsp\n mov $15, %%eax\n syscall" ::
                             : "rax", "memory");
    VALUE(last_sig);
    without_alternate_stack();
}
