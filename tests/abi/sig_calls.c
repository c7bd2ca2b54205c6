/*
 * Signals that come while the program enters the kernel, and what a system call leaves in the registers. On
 * Moka the image builder has made most of these system calls calls, or none of them (--no-rewrite): the lines
 * are the same.
 */
#include "abi.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <ucontext.h>

static volatile sig_atomic_t count, odd;
static volatile bool handled; /* SIGUSR1 has a handler, which counts */

/* Where a signal may find a program: at its own code, on a stack of its own. */
static void look_around(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *u = context;
    uint64_t rip = u->uc_mcontext.gregs[REG_RIP], rsp = u->uc_mcontext.gregs[REG_RSP];
    odd += rip >= 0x7ffffffff000 || rsp >= 0x7ffffffff000 || rsp % 8;
    count++;
}

static void handle(int sig, int flags)
{
    struct sigaction a = {.sa_sigaction = look_around, .sa_flags = SA_SIGINFO | flags};
    sigaction(sig, &a, NULL);
    handled = true;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

/* For a while, and then until enough signals have come, however busy the host is. */
static bool enough(double begin, double at_least, int signals)
{
    double spent = seconds() - begin;
    return spent > 20 || (spent > at_least && count > signals);
}

/* Calls of several kinds; true when each gave what it should. */
static bool some_calls(pid_t parent, mode_t mask)
{
    return getppid() == parent && umask(mask) == mask && close(-1) == -1 && errno == EBADF &&
           getpriority(PRIO_PROCESS, 0) == 0;
}

CASE(calls_under_a_timer)
{
    struct itimerval often = {{0, 150}, {0, 150}}, never = {0};
    pid_t parent = getppid();
    mode_t mask = umask(022);
    bool good = true;
    umask(mask);
    count = odd = 0;
    handle(SIGALRM, SA_RESTART);
    setitimer(ITIMER_REAL, &often, NULL);
    for (double begin = seconds(); good && !enough(begin, 0.4, 20);)
        for (int i = 0; i < 100; i++)
            good = good && some_calls(parent, mask);
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK(good);
    CHECK(count > 20);
    CHECK(odd == 0);
}

static volatile bool stop;

static void *keep_signalling(void *whom)
{
    while (!stop)
        pthread_kill(*(pthread_t *)whom, SIGUSR1);
    return NULL;
}

CASE(calls_under_another_thread)
{
    pthread_t self = pthread_self(), t;
    pid_t parent = getppid();
    mode_t mask = umask(022);
    bool good = true;
    umask(mask);
    count = odd = 0;
    stop = false;
    handle(SIGUSR1, SA_RESTART);
    NEED(pthread_create(&t, NULL, keep_signalling, &self) == 0);
    for (double begin = seconds(); good && !enough(begin, 0.4, 0);)
        for (int i = 0; i < 100; i++)
            good = good && some_calls(parent, mask);
    stop = true;
    pthread_join(t, NULL);
    CHECK(good);
    CHECK(count > 0);
    CHECK(odd == 0);
}

/* ---- registers ---- */

struct registers {
    uint64_t rbx, rdx, rsi, rdi, r8, r9, r10, r12, r13, r14, r15, rsp_before, rsp_after;
    int64_t rax;
};

/* getppid with every register filled. */
static void call_with(struct registers *r)
{
    struct registers *unused = r;
    __asm__ volatile("pushq %%rbp\n\t"
                     "movq %[r], %%rbp\n\t"
                     "movq 0(%%rbp), %%rbx\n\t"
                     "movq 8(%%rbp), %%rdx\n\t"
                     "movq 16(%%rbp), %%rsi\n\t"
                     "movq 24(%%rbp), %%rdi\n\t"
                     "movq 32(%%rbp), %%r8\n\t"
                     "movq 40(%%rbp), %%r9\n\t"
                     "movq 48(%%rbp), %%r10\n\t"
                     "movq 56(%%rbp), %%r12\n\t"
                     "movq 64(%%rbp), %%r13\n\t"
                     "movq 72(%%rbp), %%r14\n\t"
                     "movq 80(%%rbp), %%r15\n\t"
                     "movq %%rsp, 88(%%rbp)\n\t"
                     "movl $110, %%eax\n\t"
                     "syscall\n\t"
                     "movq %%rsp, 96(%%rbp)\n\t"
                     "movq %%rax, 104(%%rbp)\n\t"
                     "notq %%rbx\n\tmovq %%rbx, 0(%%rbp)\n\t"
                     "notq %%rdx\n\tmovq %%rdx, 8(%%rbp)\n\t"
                     "notq %%rsi\n\tmovq %%rsi, 16(%%rbp)\n\t"
                     "notq %%rdi\n\tmovq %%rdi, 24(%%rbp)\n\t"
                     "notq %%r8\n\tmovq %%r8, 32(%%rbp)\n\t"
                     "notq %%r9\n\tmovq %%r9, 40(%%rbp)\n\t"
                     "notq %%r10\n\tmovq %%r10, 48(%%rbp)\n\t"
                     "notq %%r12\n\tmovq %%r12, 56(%%rbp)\n\t"
                     "notq %%r13\n\tmovq %%r13, 64(%%rbp)\n\t"
                     "notq %%r14\n\tmovq %%r14, 72(%%rbp)\n\t"
                     "notq %%r15\n\tmovq %%r15, 80(%%rbp)\n\t"
                     "cmpq %%rax, %%rax\n\t"
                     "popq %%rbp"
                     : [r] "+a"(unused)::"rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
                       "r13", "r14", "r15", "memory", "cc");
    if (!r)
        say("never"); /* a function that calls keeps nothing below its stack pointer */
}

static bool registers_kept(void)
{
    struct registers r, wanted;
    uint64_t *w = (uint64_t *)&wanted, *p = (uint64_t *)&r;
    for (int i = 0; i < 11; i++) {
        p[i] = 0x0123456789abcdef * (i + 3);
        w[i] = ~p[i];
    }
    call_with(&r);
    return memcmp(&r, &wanted, 11 * sizeof *p) == 0 && r.rsp_before == r.rsp_after && r.rax == getppid();
}

CASE(calls_keep_registers)
{
    CHECK(registers_kept());
    struct itimerval often = {{0, 150}, {0, 150}}, never = {0};
    bool good = true;
    count = odd = 0;
    handle(SIGALRM, SA_RESTART); /* so that some find work on the way back */
    setitimer(ITIMER_REAL, &often, NULL);
    for (double begin = seconds(); good && !enough(begin, 0.3, 20);)
        for (int i = 0; i < 100; i++)
            good = good && registers_kept();
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK(good);
    CHECK(count > 20);
    CHECK(odd == 0);
}

/* ---- calls that a signal interrupts ---- */

static int pair[2];

/* Each signal after the one before was handled: they do not queue. */
static void *signal_then_send(void *whom)
{
    for (int i = 0; i < 20; i++) {
        usleep(3000);
        pthread_kill(*(pthread_t *)whom, SIGUSR1);
        for (int tries = 0; handled && count <= i && tries < 20000; tries++)
            usleep(100);
    }
    usleep(3000);
    send(pair[0], "x", 1, 0);
    return NULL;
}

/* recv, whose system call the C library makes with a constant number. */
static void receive_under_signals(void)
{
    pthread_t self = pthread_self(), t;
    char c = 0;
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    NEED(pthread_create(&t, NULL, signal_then_send, &self) == 0);
    VALUE(recv(pair[1], &c, 1, 0));
    VALUE(c);
    pthread_join(t, NULL);
    close(pair[0]);
    close(pair[1]);
}

CASE(calls_restart)
{
    count = odd = 0;
    handle(SIGUSR1, SA_RESTART);
    receive_under_signals();
    VALUE(count);
    VALUE(odd);
}

CASE(calls_go_on_when_ignored)
{
    signal(SIGUSR1, SIG_IGN);
    handled = false;
    receive_under_signals();
}

CASE(calls_end_with_eintr)
{
    count = odd = 0;
    handle(SIGUSR1, 0);
    receive_under_signals();
    CHECK(count > 0);
    VALUE(odd);
}

/* ---- cancellation at any instruction ---- */

static volatile int cleaned;

static void clean(void *unused)
{
    cleaned++;
}

static void *call_until_cancelled(void *ready)
{
    int old;
    pthread_cleanup_push(clean, NULL);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    *(volatile bool *)ready = true;
    for (;;)
        getppid();
    pthread_cleanup_pop(0);
    return NULL;
}

CASE(calls_cancelled)
{
    int ended = 0;
    cleaned = 0;
    for (int i = 0; i < 100; i++) {
        volatile bool ready = false;
        pthread_t t;
        void *result = NULL;
        if (pthread_create(&t, NULL, call_until_cancelled, (void *)&ready))
            break;
        while (!ready)
            sched_yield();
        usleep(i * 7);
        pthread_cancel(t);
        pthread_join(t, &result);
        ended += result == PTHREAD_CANCELED;
    }
    VALUE(ended);
    VALUE(cleaned);
}

/* ---- calls that are not there, and a stack that is not there any more ---- */

static long call_500(void)
{
    long result;
    __asm__ volatile("movl $500, %%eax\n\tsyscall\n\ttestl %%eax, %%eax"
                     : "=a"(result)::"rcx", "r11", "memory");
    return result;
}

static long call_511(void)
{
    long result;
    __asm__ volatile("movl $511, %%eax\n\tsyscall\n\ttestl %%eax, %%eax"
                     : "=a"(result)::"rcx", "r11", "memory");
    return result;
}

CASE(calls_not_there)
{
    VALUE(call_500());
    VALUE(call_511());
}

/* munmap of the stack it is called on, as threads end that free their own. */
static long unmap_own_stack(void *stack, size_t size)
{
    long result;
    __asm__ volatile("movq %%rsp, %%rbx\n\t"
                     "leaq -64(%%rdi,%%rsi), %%rsp\n\t"
                     "movl $11, %%eax\n\t"
                     "syscall\n\t"
                     "movq %%rbx, %%rsp\n\t"
                     "testl %%eax, %%eax"
                     : "=a"(result)
                     : "D"(stack), "S"(size)
                     : "rbx", "rcx", "r11", "memory", "cc");
    if (result)
        say("munmap: %ld", result); /* a function that calls keeps nothing below its stack pointer */
    return result;
}

CASE(calls_without_stack)
{
    size_t size = 64 << 10;
    void *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(stack != MAP_FAILED);
    VALUE(unmap_own_stack(stack, size));
    CHECK(msync(stack, size, MS_ASYNC) == -1 && errno == ENOMEM);
}
