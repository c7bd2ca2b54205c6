/* What a handler sees and may change: the ucontext, the floating-point state, the alternate stack; traps. */
#include "abi.h"

#include <ucontext.h>

static volatile int count, last_code;
static volatile uintptr_t last_addr, handler_sp;
static greg_t registers[NGREG];
static stack_t stack_in_frame;

static void handle(int sig, void (*f)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = f, .sa_flags = flags | SA_SIGINFO};
    OK(sigaction(sig, &action, NULL));
}

/* ---- registers ---- */

static void skip_two_bytes(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    last_code = info->si_code;
    last_addr = (uintptr_t)info->si_addr;
    memcpy(registers, u->uc_mcontext.gregs, sizeof(registers));
    u->uc_mcontext.gregs[REG_RIP] += 2;
    count++;
}

CASE(skip_illegal_instruction)
{
    void *at;
    count = 0;
    handle(SIGILL, skip_two_bytes, 0);
    __asm__ volatile("lea 1f(%%rip), %0\n1: ud2" : "=r"(at)::"memory");
    VALUE(count);
    CHECK(last_code == ILL_ILLOPN);
    CHECK(last_addr == (uintptr_t)at && registers[REG_RIP] == (greg_t)(uintptr_t)at);
    CHECK(registers[REG_TRAPNO] == 6);
}

CASE(skip_division_by_zero)
{
    uint32_t low = 7, high = 0;
    count = 0;
    handle(SIGFPE, skip_two_bytes, 0);
    __asm__ volatile("div %%ecx" : "+a"(low), "+d"(high) : "c"(0) : "cc"); /* f7 f1: two bytes */
    VALUE(count);
    CHECK(last_code == FPE_INTDIV);
    CHECK(last_addr == (uintptr_t)registers[REG_RIP]);
    VALUE(registers[REG_TRAPNO]);
    VALUE(registers[REG_RAX]);
    VALUE(registers[REG_RCX]);
    low = 0x80000000, high = 0xffffffff;
    __asm__ volatile("idiv %%ecx" : "+a"(low), "+d"(high) : "c"(-1) : "cc"); /* overflow: the same trap */
    VALUE(count);
}

static void read_null(void *p)
{
    register volatile char *at __asm__("rbx") = p;
    __asm__ volatile("movb (%0), %%al" ::"r"(at) : "rax"); /* 8a 03: two bytes */
}

CASE(skip_null_read)
{
    static const uintptr_t at[] = {0, 8, 0x18, 0xfff, 0x1000, 0xf000};
    count = 0;
    handle(SIGSEGV, skip_two_bytes, 0);
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        read_null((void *)at[i]);
        say("address %#lx: si_addr %#lx cr2 %#llx rbx %#llx code %d trap %lld error %lld", at[i], last_addr,
            registers[REG_CR2], registers[REG_RBX], last_code, registers[REG_TRAPNO], registers[REG_ERR]);
    }
    VALUE(count);
}

CASE(fault_error_codes)
{
    char *p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    handle(SIGSEGV, skip_two_bytes, 0);
    (void)*(volatile char *)p;
    __asm__ volatile("movb %%al, (%0)" ::"b"(p) : "memory"); /* 88 03: two bytes */
    say("write to a page that is there: error %lld", registers[REG_ERR]);
    __asm__ volatile("movb %%al, (%0)" ::"b"(p + PAGE) : "memory");
    say("write to one never touched: error %lld at %ld", registers[REG_ERR] & ~1LL,
        (long)(last_addr - (uintptr_t)p));
    munmap(p, 2 * PAGE);
    __asm__ volatile("movb %%al, (%0)" ::"b"(p) : "memory");
    say("write to nothing: error %lld", registers[REG_ERR]);
    /* A non-canonical address: a general protection fault, which carries no address. */
    __asm__ volatile("movb (%0), %%al" ::"b"(0x8000000000000000UL) : "rax");
    say("non-canonical: code %d si_addr %#lx trap %lld", last_code, last_addr, registers[REG_TRAPNO]);
}

static void edit_registers(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    greg_t *r = u->uc_mcontext.gregs;
    r[REG_RIP] += 2;
    r[REG_RAX] = r[REG_RAX] + r[REG_R15];
    r[REG_R12] = 0x1212121212121212;
    r[REG_EFL] |= 1; /* carry */
    __asm__ volatile("xor %%r12, %%r12\n\txor %%r15, %%r15\n\txor %%rbx, %%rbx\n\tstc\n\tcld" ::
                         : "r12", "r15", "rbx");
}

CASE(edit_registers_in_handler)
{
    uint64_t a = 40, r12 = 1, rbx = 0xbbbbbbbbbbbbbbbb;
    uint8_t carry = 0;
    handle(SIGILL, edit_registers, 0);
    __asm__ volatile("mov $2, %%r15\n\t"
                     "mov %2, %%r12\n\t"
                     "mov %3, %%rbx\n\t"
                     "clc\n\t"
                     "ud2\n\t"
                     "setc %1\n\t"
                     "mov %%r12, %2\n\t"
                     "mov %%rbx, %3"
                     : "+a"(a), "=m"(carry), "+m"(r12), "+m"(rbx)
                     :
                     : "r15", "r12", "rbx", "cc", "memory");
    VALUE(a);
    VALUE(carry);
    CHECK(r12 == 0x1212121212121212);
    CHECK(rbx == 0xbbbbbbbbbbbbbbbb);
}

static void jump_away(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    u->uc_mcontext.gregs[REG_RIP] =
        u->uc_mcontext.gregs[REG_RDX]; /* as a JVM leaves for its exception stub */
}

CASE(implicit_null_checks)
{
    int caught = 0;
    handle(SIGSEGV, jump_away, SA_ONSTACK | SA_RESTART);
    for (int i = 0; i < 20000; i++)
        __asm__ volatile("lea 1f(%%rip), %%rdx\n\t"
                         "mov 8(%1), %%eax\n\t"
                         "jmp 2f\n"
                         "1: incl %0\n"
                         "2:"
                         : "+r"(caught)
                         : "r"(0L)
                         : "rax", "rdx", "cc", "memory");
    VALUE(caught);
}

static void *null_checker(void *wrong)
{
    long caught = 0;
    for (int i = 0; i < 5000; i++)
        __asm__ volatile("lea 1f(%%rip), %%rdx\n\t"
                         "mov 8(%1), %%eax\n\t"
                         "jmp 2f\n"
                         "1: incq %0\n"
                         "2:"
                         : "+r"(caught)
                         : "r"(0L)
                         : "rax", "rdx", "cc", "memory");
    return (void *)caught;
}

CASE(implicit_null_checks_in_threads)
{
    pthread_t t[4];
    bool right = true;
    handle(SIGSEGV, jump_away, SA_ONSTACK | SA_RESTART);
    for (int i = 0; i < 4; i++)
        t[i] = start(null_checker, NULL);
    for (int i = 0; i < 4; i++) {
        void *caught;
        pthread_join(t[i], &caught);
        right = right && (long)caught == 5000;
    }
    CHECK(right);
}

static void deep_in_red_zone(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    volatile char local[256];
    memset((void *)local, 0xee, sizeof(local));
    u->uc_mcontext.gregs[REG_RIP] += 2;
    count++;
}

CASE(red_zone_kept)
{
    uint64_t value = 0;
    count = 0;
    handle(SIGILL, deep_in_red_zone, 0);
    __asm__ volatile("movabs $0x1122334455667788, %%rax\n\t"
                     "mov %%rax, -8(%%rsp)\n\t"
                     "mov %%rax, -128(%%rsp)\n\t"
                     "ud2\n\t"
                     "mov -8(%%rsp), %0\n\t"
                     "and -128(%%rsp), %0"
                     : "=r"(value)::"rax", "memory");
    CHECK(value == 0x1122334455667788 && count == 1);
}

CASE(single_step_and_breakpoint)
{
    count = 0;
    handle(SIGTRAP, skip_two_bytes, 0);
    __asm__ volatile("int3\n\tnop\n\tnop\n\tnop"); /* the handler skips two of the nops */
    VALUE(count);
    VALUE(last_code);
    VALUE(registers[REG_TRAPNO]);
}

/* ---- floating point ---- */

static void spoil_vectors(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    __asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n\tpcmpeqd %%xmm7, %%xmm7\n\tpcmpeqd %%xmm15, %%xmm15\n\t"
                     "fninit\n\tfldpi" ::
                         : "xmm0", "xmm7", "xmm15");
    if (info->si_code == ILL_ILLOPN)
        u->uc_mcontext.gregs[REG_RIP] += 2;
    count++;
}

CASE(xmm_kept)
{
    uint64_t a = 0x1111, b = 0x7777, c = 0xffff;
    count = 0;
    handle(SIGILL, spoil_vectors, 0);
    __asm__ volatile("movq %0, %%xmm0\n\tmovq %1, %%xmm7\n\tmovq %2, %%xmm15\n\t"
                     "ud2\n\t"
                     "movq %%xmm0, %0\n\tmovq %%xmm7, %1\n\tmovq %%xmm15, %2"
                     : "+r"(a), "+r"(b), "+r"(c)::"xmm0", "xmm7", "xmm15");
    CHECK(a == 0x1111 && b == 0x7777 && c == 0xffff && count == 1);
}

__attribute__((target("avx"))) static void spoil_ymm(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    __asm__ volatile("vxorps %%ymm3, %%ymm3, %%ymm3\n\tvzeroall" ::: "xmm3");
    u->uc_mcontext.gregs[REG_RIP] += 2;
    count++;
}

__attribute__((target("avx"))) static bool ymm_survives(void)
{
    uint64_t in[4] = {1, 2, 3, 4}, out[4] = {0};
    __asm__ volatile("vmovups %1, %%ymm3\n\tud2\n\tvmovups %%ymm3, %0" : "=m"(out) : "m"(in) : "xmm3");
    return memcmp(in, out, sizeof(in)) == 0;
}

CASE(ymm_kept)
{
    count = 0;
    handle(SIGILL, spoil_ymm, 0);
    CHECK(!__builtin_cpu_supports("avx") || ymm_survives());
}

static void edit_xmm(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    u->uc_mcontext.gregs[REG_RIP] += 2;
    u->uc_mcontext.fpregs->_xmm[1].element[0] = 0xabcd;
    u->uc_mcontext.fpregs->mxcsr |= 0x8000; /* flush to zero */
}

CASE(edit_xmm_in_handler)
{
    uint64_t a = 1;
    uint32_t mxcsr = 0x1f80, after = 0;
    handle(SIGILL, edit_xmm, 0);
    __asm__ volatile("ldmxcsr %2\n\tmovq %0, %%xmm1\n\tud2\n\tmovq %%xmm1, %0\n\tstmxcsr %1\n\tldmxcsr %2"
                     : "+r"(a), "=m"(after)
                     : "m"(mxcsr)
                     : "xmm1");
    say("xmm1 %#lx mxcsr %#x", a, after);
}

static uint64_t vectors_in_frame;
static uint16_t control_in_frame;

static void note_and_edit_xmm(int sig, siginfo_t *info, void *context)
{
    fpregset_t fp = ((ucontext_t *)context)->uc_mcontext.fpregs;
    vectors_in_frame = 0;
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 4; k++)
            vectors_in_frame |= fp->_xmm[i].element[k];
    control_in_frame = fp->cwd;
    edit_xmm(sig, info, context);
}

/* Registers in their initial state, which processors leave out where they may, after others lay in memory. */
CASE(initial_vectors_in_handler)
{
    struct timespec moment = {0, 1000000};
    uint64_t xmm1 = 1, call = SYS_nanosleep; /* the registers are put away */
    handle(SIGILL, note_and_edit_xmm, 0);
    __asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n\tpcmpeqd %%xmm1, %%xmm1\n\tpcmpeqd %%xmm9, %%xmm9\n\tfldpi\n\t"
                     "syscall"
                     : "+a"(call)
                     : "D"(&moment), "S"(0)
                     : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm9");
    __asm__ volatile(
        "fninit\n\t"
        "pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\tpxor %%xmm2, %%xmm2\n\tpxor %%xmm3, %%xmm3\n\t"
        "pxor %%xmm4, %%xmm4\n\tpxor %%xmm5, %%xmm5\n\tpxor %%xmm6, %%xmm6\n\tpxor %%xmm7, %%xmm7\n\t"
        "pxor %%xmm8, %%xmm8\n\tpxor %%xmm9, %%xmm9\n\tpxor %%xmm10, %%xmm10\n\tpxor %%xmm11, %%xmm11\n\t"
        "pxor %%xmm12, %%xmm12\n\tpxor %%xmm13, %%xmm13\n\tpxor %%xmm14, %%xmm14\n\tpxor %%xmm15, %%xmm15\n\t"
        "ud2\n\t"
        "movq %%xmm1, %0"
        : "+r"(xmm1)::"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    say("in the frame %#lx control %#x, afterwards %#lx", vectors_in_frame, control_in_frame, xmm1);
}

static uint32_t mxcsr_in_handler;
static uint16_t control_in_handler;
static struct {
    uint32_t magic1, extended_size, magic2;
    uint64_t features;
    uint32_t xstate_size;
} frame_facts;

static void note_frame(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    char *fp = (char *)u->uc_mcontext.fpregs;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr_in_handler), "=m"(control_in_handler));
    /* The software bytes of the FXSAVE area (Linux's struct _fpx_sw_bytes, at offset 464). */
    memcpy(&frame_facts.magic1, fp + 464, 4);
    memcpy(&frame_facts.extended_size, fp + 468, 4);
    memcpy(&frame_facts.features, fp + 472, 8);
    memcpy(&frame_facts.xstate_size, fp + 480, 4);
    if (frame_facts.magic1 == 0x46505853)
        memcpy(&frame_facts.magic2, fp + frame_facts.xstate_size, 4);
    last_addr = (uintptr_t)fp;
    handler_sp = (uintptr_t)__builtin_frame_address(0) + 16;
    memcpy(registers, u->uc_mcontext.gregs, sizeof(registers));
    stack_in_frame = u->uc_stack;
    count++;
}

CASE(frame_layout)
{
    count = 0;
    handle(SIGUSR1, note_frame, 0);
    raise(SIGUSR1);
    VALUE(count);
    CHECK(frame_facts.magic1 == 0x46505853);
    CHECK(frame_facts.magic2 == 0x46505845);
    CHECK((frame_facts.features & 3) == 3);
    CHECK(frame_facts.extended_size == frame_facts.xstate_size + 4);
    CHECK(last_addr % 64 == 0);
    CHECK(handler_sp % 16 == 0); /* at entry the stack pointer is 8 below a multiple of 16 */
    CHECK(mxcsr_in_handler == 0x1f80);
    say("cs %#llx", registers[REG_CSGSFS] & 0xffff);
    CHECK((registers[REG_EFL] & 0x200) != 0);
}

CASE(rounding_mode_is_the_threads)
{
    uint32_t up = 0x5f80, normal = 0x1f80;
    handle(SIGUSR1, note_frame, 0);
    __asm__ volatile("ldmxcsr %0" ::"m"(up));
    raise(SIGUSR1);
    uint32_t after;
    __asm__ volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(after) : "m"(normal));
    say("in the handler %#x, after it %#x", mxcsr_in_handler, after & 0xffc0);
}

static volatile int stop;

static void *summer(void *seed)
{
    double x = (long)seed, sum = 0;
    while (!stop)
        for (int i = 0; i < 1000; i++) {
            double before = sum;
            sum = sum + x;
            if (sum - before != x)
                return (void *)1;
            if (sum > 1e9)
                sum = 0;
        }
    return NULL;
}

CASE(vectors_across_switches)
{
    pthread_t t[6];
    bool right = true;
    stop = 0;
    for (long i = 0; i < 6; i++)
        t[i] = start(summer, (void *)(i + 1));
    sleep_ms(300);
    stop = 1;
    for (int i = 0; i < 6; i++) {
        void *wrong;
        pthread_join(t[i], &wrong);
        right = right && wrong == NULL;
    }
    CHECK(right);
}

static void divide_trapping(void *unused)
{
    uint32_t trapping = 0x1f80 & ~0x200u;
    double zero = 0, one = 1;
    __asm__ volatile("ldmxcsr %2\n\tdivsd %1, %0" : "+x"(one) : "x"(zero), "m"(trapping));
}

CASE(float_division_trap)
{
    uint32_t normal = 0x1f80;
    struct fault f = fault_of(divide_trapping, NULL);
    __asm__ volatile("ldmxcsr %0" ::"m"(normal));
    /* QEMU's TCG raises no such traps; where the CPU does, the signal must be right. */
    CHECK(f.signal == 0 || (f.signal == SIGFPE && f.code == FPE_FLTDIV));
}

/* ---- the alternate stack ---- */

static char *alternate;
enum { ALTERNATE = 64 * 1024 };

CASE(alternate_stack)
{
    alternate = anonymous(ALTERNATE);
    stack_t stack = {.ss_sp = alternate, .ss_size = ALTERNATE}, old;
    OK(sigaltstack(NULL, &old));
    CHECK(old.ss_flags == SS_DISABLE);
    OK(sigaltstack(&stack, NULL));
    handle(SIGUSR1, note_frame, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK(handler_sp > (uintptr_t)alternate && handler_sp < (uintptr_t)alternate + ALTERNATE);
    CHECK(stack_in_frame.ss_sp == alternate && stack_in_frame.ss_size == ALTERNATE &&
          stack_in_frame.ss_flags == 0);
    handle(SIGUSR1, note_frame, 0);
    raise(SIGUSR1);
    CHECK(handler_sp < (uintptr_t)alternate || handler_sp >= (uintptr_t)alternate + ALTERNATE);
    stack.ss_size = 100;
    VALUE(sigaltstack(&stack, NULL));
    stack.ss_size = ALTERNATE;
    stack.ss_flags = 0x40;
    VALUE(sigaltstack(&stack, NULL));
    VALUE(syscall(SYS_sigaltstack, 16, NULL));
    stack.ss_flags = SS_DISABLE;
    OK(sigaltstack(&stack, &old));
    CHECK(old.ss_sp == alternate);
    munmap(alternate, ALTERNATE);
}

static stack_t seen_inside;
static int change_inside, change_error;

static void look_inside(int sig, siginfo_t *info, void *context)
{
    sigaltstack(NULL, &seen_inside);
    stack_t other = {.ss_sp = alternate, .ss_size = ALTERNATE};
    change_inside = sigaltstack(&other, NULL);
    change_error = errno;
}

CASE(alternate_stack_in_use)
{
    alternate = anonymous(ALTERNATE);
    stack_t stack = {.ss_sp = alternate, .ss_size = ALTERNATE};
    sigaltstack(&stack, NULL);
    handle(SIGUSR1, look_inside, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK(seen_inside.ss_flags == SS_ONSTACK);
    say("changing it inside: %d %s", change_inside, errname(change_error));
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
    munmap(alternate, ALTERNATE);
}

static sigjmp_buf out_of_overflow;
static volatile uintptr_t overflow_at;

static void overflowed(int sig, siginfo_t *info, void *context)
{
    overflow_at = (uintptr_t)info->si_addr;
    last_code = info->si_code;
    siglongjmp(out_of_overflow, 1);
}

__attribute__((noinline)) static int dig(int n)
{
    volatile char room[512];
    room[0] = n;
    return n == 0 ? 0 : dig(n + 1) + room[0];
}

CASE(stack_overflow)
{
    uintptr_t low;
    pthread_attr_t attributes;
    size_t size;
    void *base;
    alternate = anonymous(ALTERNATE);
    stack_t stack = {.ss_sp = alternate, .ss_size = ALTERNATE};
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &base, &size);
    low = (uintptr_t)base;
    sigaltstack(&stack, NULL);
    handle(SIGSEGV, overflowed, SA_ONSTACK);
    for (int i = 0; i < 3; i++) {
        if (sigsetjmp(out_of_overflow, 1) == 0)
            dig(1);
        CHECK(overflow_at <= low + PAGE && overflow_at >= low - 64 * PAGE);
        CHECK(last_code == SEGV_ACCERR); /* the guard page of a thread's stack is PROT_NONE */
    }
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
}

CASE(stack_pages_protected)
{
    pthread_attr_t attributes;
    size_t size;
    void *base;
    char *zone;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &base, &size);
    zone = (char *)(((uintptr_t)base + PAGE - 1) & -PAGE);
    CHECK(size >= 64 * KB);
    alternate = anonymous(ALTERNATE);
    stack_t stack = {.ss_sp = alternate, .ss_size = ALTERNATE};
    sigaltstack(&stack, NULL);
    handle(SIGSEGV, overflowed, SA_ONSTACK);
    OK(mprotect(zone, 4 * PAGE, PROT_NONE));
    if (sigsetjmp(out_of_overflow, 1) == 0)
        dig(1);
    CHECK(overflow_at >= (uintptr_t)zone && overflow_at < (uintptr_t)zone + 4 * PAGE);
    OK(mprotect(zone, 4 * PAGE, PROT_READ | PROT_WRITE));
    show_fault("after giving it back", fault_write(zone + 100), zone);
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
}

/* ---- faults inside system calls ---- */

CASE(bad_pointers)
{
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    char *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long kernel = 0xffffffff80000000L, odd = 0x8000000000000000L;
    VALUE(syscall(SYS_write, fd, 8, 10));
    VALUE(syscall(SYS_write, fd, kernel, 10));
    VALUE(syscall(SYS_write, fd, odd, 10));
    VALUE(syscall(SYS_write, fd, p, 10));
    lseek(fd, 0, SEEK_SET);
    VALUE(syscall(SYS_read, fd, p, 10));
    VALUE(syscall(SYS_read, fd, kernel, 10));
    VALUE(syscall(SYS_read, fd, odd, 10));
    VALUE(syscall(SYS_open, 8, O_RDONLY));
    VALUE(syscall(SYS_open, kernel, O_RDONLY));
    VALUE(syscall(SYS_stat, "f", 8));
    VALUE(syscall(SYS_stat, "f", kernel));
    VALUE(syscall(SYS_uname, kernel));
    VALUE(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, kernel));
    VALUE(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8));
    VALUE(syscall(SYS_futex, kernel, 0, 0, NULL, NULL, 0));
    VALUE(syscall(SYS_futex, 8, 0, 0, NULL, NULL, 0));
    VALUE(syscall(SYS_futex, 5, 0, 0, NULL, NULL, 0));
    VALUE(syscall(SYS_readlink, "/proc/self/exe", 8, 100));
    VALUE(syscall(SYS_getcwd, 8, 100));
    VALUE(syscall(SYS_getcwd, p, 1));
    VALUE(syscall(SYS_pipe2, 8, 0));
    VALUE(syscall(SYS_poll, 8, 1, 0));
    VALUE(syscall(SYS_nanosleep, 8, NULL));
    VALUE(syscall(SYS_writev, fd, 8, 1));
    VALUE(syscall(SYS_getrandom, kernel, 16, 0));
    VALUE(syscall(SYS_sched_getaffinity, 0, 128, kernel));
    munmap(p, PAGE);
}
