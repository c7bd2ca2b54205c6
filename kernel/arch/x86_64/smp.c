/* Starting the other CPUs: INIT, then a start-up message with the page of the trampoline (Intel SDM 3A, 8.4).
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/lapic.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/platform.h"
#include "kernel/arch/x86_64/pte.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"

#define TRAMPOLINE       0x8000UL /* below 1 MiB: no frame there is ever allocated */
#define START_TIMEOUT_NS (5 * NSEC_PER_SEC)
#define INIT_WAIT_NS     (100 * NSEC_PER_USEC)
#define AGAIN_WAIT_NS    (20 * NSEC_PER_MSEC)

extern u8 ap_trampoline[], ap_trampoline_end[];
extern pte_t boot_pml4[512], ap_pml4[512], boot_pdpt_low[512];

/* For the assembly part: by APIC identifier, the CPU's number; by number, its stack. */
u8 ap_index[APIC_ID_END];
u64 ap_stack_top[CPU_MAX];
static u32 started;

_Noreturn void ap_main(u32 id);

static void prepare_trampoline(void)
{
    /* The boot CPU's table has no identity mapping any more. */
    memcpy(ap_pml4, boot_pml4, PAGE_SIZE);
    ap_pml4[0] = pte_make((u64)boot_pdpt_low - KERNEL_BASE, PTE_PRESENT | PTE_WRITE);
    memcpy(direct_ptr(TRAMPOLINE), ap_trampoline, ap_trampoline_end - ap_trampoline);
}

static void prepare_cpu(u32 id, u32 apic_id)
{
    struct cpu *c = arch_hooks.alloc(sizeof(struct cpu));
    struct arch_cpu *a = arch_hooks.alloc(sizeof(struct arch_cpu));
    u64 bottom = 0, top = arch_hooks.alloc_stack(&bottom);
    if (!c || !a || !top)
        panic("out of memory starting CPU %u", id);
    c->self = c;
    c->arch = a;
    c->id = id;
    c->apic_id = apic_id;
    if (!arch_hooks.prepare_cpu(c))
        panic("out of memory starting CPU %u", id);
    cpu_set_kstack(c, bottom, top);
    ap_stack_top[id] = top;
    ap_index[apic_id] = id;
    cpus[id] = c;
}

/* The first code in C of a CPU, on its idle thread's stack, interrupts off. */
_Noreturn void ap_main(u32 id)
{
    struct cpu *c = cpus[id];
    cpu_tables_load(c);
    fpu_init_cpu();
    lapic_init_cpu();
    clock_init_cpu();
    c->online = true;
    __atomic_add_fetch(&started, 1, __ATOMIC_RELEASE);
    arch_hooks.cpu_main();
    panic("CPU %u has nothing to do", id);
}

static void wait_ns(u64 ns)
{
    for (u64 end = clock_monotonic_ns() + ns; clock_monotonic_ns() < end;)
        cpu_relax();
}

static void send_startup(u32 count)
{
    for (u32 i = 1; i < count; i++)
        if (!cpus[i]->online)
            lapic_send(cpus[i]->apic_id, ICR_STARTUP | TRAMPOLINE >> PAGE_SHIFT);
}

static void wait_started(u32 wanted, u64 ns)
{
    for (u64 end = clock_monotonic_ns() + ns; clock_monotonic_ns() < end;) {
        if (__atomic_load_n(&started, __ATOMIC_ACQUIRE) >= wanted)
            return;
        cpu_relax();
    }
}

static u32 prepare_all(void)
{
    u32 count = 1;
    for (u32 i = 0; i < platform.cpu_count && count < CPU_MAX; i++)
        if (platform.apic_ids[i] != cpus[0]->apic_id)
            prepare_cpu(count++, platform.apic_ids[i]);
    return count;
}

static void start_all(u32 count)
{
    prepare_trampoline();
    for (u32 i = 1; i < count; i++)
        lapic_send(cpus[i]->apic_id, ICR_INIT);
    wait_ns(INIT_WAIT_NS);
    send_startup(count);
    wait_started(count - 1, AGAIN_WAIT_NS);
    if (__atomic_load_n(&started, __ATOMIC_ACQUIRE) < count - 1) {
        send_startup(count); /* the SDM sends it twice; a CPU that runs ignores it */
        wait_started(count - 1, START_TIMEOUT_NS);
    }
    for (u32 i = 1; i < count; i++)
        if (!cpus[i]->online)
            panic("CPU %u (APIC %u) does not start", i, cpus[i]->apic_id);
    cpu_count = count;
    log_info("smp: %u CPUs\n", count);
}

void smp_start(void)
{
    u32 count = prepare_all();
    if (platform.cpus_beyond)
        log_warn("moka: %u CPUs are used, %u more are not\n", count, platform.cpus_beyond);
    if (count > 1)
        start_all(count);
}
