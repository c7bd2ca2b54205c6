/* Panic, shutdown and the backtrace. */
#include "kernel/base/panic.h"
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/irq.h"
#include "kernel/arch/x86_64/lapic.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/printf.h"

#define EXIT_PANIC 70

void (*shutdown_begin)(void);
void (*shutdown_report)(int status);
bool panic_stopping;

_Noreturn void shutdown(int status)
{
    if (shutdown_begin && !panic_stopping)
        shutdown_begin();
    irq_off();
    if (shutdown_report)
        shutdown_report(status);
    arch_poweroff();
}

static _Noreturn void halt(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* Only the first CPU to panic gets past this. A second panic on the same CPU powers off at once. */
static void panic_enter(void)
{
    static u32 owner; /* cpu id + 1 */
    irq_off();
    u32 none = 0, me = cpu_id() + 1;
    if (!__atomic_compare_exchange_n(&owner, &none, me, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        if (none == me)
            arch_poweroff();
        halt();
    }
    this_cpu()->preempt_count++;
    panic_stopping = true;
    if (cpu_count > 1)
        lapic_send_others(ICR_NMI);
}

static void registers_print(const struct trap_frame *f)
{
    log_error("  rip %016lx  rsp %016lx  rflags %08lx  vector %lu  error %lx\n", f->rip, f->rsp, f->rflags,
              f->vector, f->error);
    log_error("  rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx\n", f->rax, f->rbx, f->rcx, f->rdx);
    log_error("  rsi %016lx  rdi %016lx  rbp %016lx  r8  %016lx\n", f->rsi, f->rdi, f->rbp, f->r8);
    log_error("  r9  %016lx  r10 %016lx  r11 %016lx  r12 %016lx\n", f->r9, f->r10, f->r11, f->r12);
    log_error("  r13 %016lx  r14 %016lx  r15 %016lx  cpu %u\n", f->r13, f->r14, f->r15, cpu_id());
}

static _Noreturn void panic_finish(const struct trap_frame *frame, const char *fmt, va_list ap)
{
    static char text[400];
    vsnprintf(text, sizeof(text), fmt, ap);
    log_error("moka: panic: %s\n", text);
    if (frame)
        registers_print(frame);
    backtrace_print(frame);
    shutdown(EXIT_PANIC);
}

_Noreturn void panic(const char *fmt, ...)
{
    va_list ap;
    panic_enter();
    va_start(ap, fmt);
    panic_finish(NULL, fmt, ap);
}

_Noreturn void panic_trap(const struct trap_frame *frame, const char *fmt, ...)
{
    va_list ap;
    panic_enter();
    va_start(ap, fmt);
    panic_finish(frame, fmt, ap);
}
