/* Clocks and interrupt messages on machines that only their descriptions say how they behave: machine.h. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/lapic.h"
#include "kernel/arch/x86_64/trap.h"
#include "machine.h"

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            machine_fault("%s:%d: %s", __FILE__, __LINE__, #cond);                                           \
    } while (0)

static u32 warnings;

void log_warn(const char *fmt, ...)
{
    warnings++;
}

void log_info(const char *fmt, ...)
{
}

/* As KVM computes it: ns = (ticks << shift or >> -shift) * mul >> 32, mul with its highest bit set. */
static void kvm_scale(u64 hz)
{
    machine.tsc_hz = hz;
    machine.kvm_shift = 0;
    unsigned __int128 mul = ((unsigned __int128)NSEC_PER_SEC << 32) / hz;
    for (; mul >> 32; mul >>= 1)
        machine.kvm_shift++;
    for (; !(mul >> 31) && machine.kvm_shift > -31;) {
        machine.kvm_shift--;
        mul = ((unsigned __int128)NSEC_PER_SEC << (32 - machine.kvm_shift)) / hz;
    }
    machine.kvm_mul = mul;
}

static void on_kvm(u64 hz)
{
    machine.hypervisor = HYPERVISOR_KVM;
    machine.leaf_max = 0x40000001;
    machine.kvm_features = 1u << 3 | 1u << 24;
    machine.kvm_flags = 1;
    machine.deadline = machine.x2apic = true;
    machine.apic_base = 0xfee00900;
    machine.tsc = 5 * hz;
    machine.kvm_tsc = 4 * hz;
    machine.kvm_ns = 7 * NSEC_PER_SEC; /* the VM is 7 s old at 4 s of its TSC, which a migration has moved */
    machine.wall_sec = 1700000000, machine.wall_nsec = 250000000;
    kvm_scale(hz);
    boot_entry_tsc = machine.tsc - hz / 10;
}

static bool about(u64 value, u64 wanted, u64 error)
{
    return value + error >= wanted && value <= wanted + error;
}

static void start(void)
{
    lapic_init_cpu();
    clock_init();
}

static u64 ns_of(u64 ticks)
{
    return (u64)((unsigned __int128)ticks * NSEC_PER_SEC / machine.tsc_hz);
}

static const u64 rates[] = {400000000, 999999999, 1000000000, 2000000000, 2794748000, 3699999000, 8000000000};

static void kvm_clock(void)
{
    for (u32 i = 0; i < ARRAY_LEN(rates); i++) {
        if (fork()) {
            int status;
            CHECK(wait(&status) > 0 && status == 0);
            continue;
        }
        on_kvm(rates[i]);
        start();
        CHECK(!warnings && about(clock_tsc_hz(), rates[i], rates[i] / 1000000000 + 2));
        CHECK(about(clock_monotonic_ns(), ns_of(machine.tsc - boot_entry_tsc), 200));
        CHECK(about(clock_realtime_ns(), 1700000000 * NSEC_PER_SEC + 250000000 + 8 * NSEC_PER_SEC, 10000));
        machine.tsc += 365UL * 86400 * rates[i]; /* a year later */
        CHECK(about(clock_monotonic_ns(), ns_of(machine.tsc - boot_entry_tsc), 365UL * 86400 * 4));
        _exit(0);
    }
}

static void kvm_clock_not_stable(void)
{
    on_kvm(2500000000);
    machine.kvm_flags = 0;
    start();
    CHECK(warnings == 1 && about(clock_tsc_hz(), 2500000000, 3));
    machine.kvm_flags = 1;
    machine.kvm_features &= ~(1u << 24); /* then the flag means nothing */
    clock_init();
    CHECK(warnings == 2);
}

static void kvm_clock_absent(void)
{
    u64 mult, shift;
    bool stable;

    on_kvm(2500000000);
    machine.kvm_features = 1u << 24;
    CHECK(!kvmclock_rate(&mult, &shift, &stable) && !kvmclock_realtime_ns());
    on_kvm(2500000000);
    machine.hypervisor = HYPERVISOR_TCG;
    CHECK(!kvmclock_rate(&mult, &shift, &stable) && !kvmclock_realtime_ns());
    on_kvm(2500000000);
    machine.kvm_mul = 0;
    CHECK(!kvmclock_rate(&mult, &shift, &stable));
    on_kvm(2500000000);
    machine.kvm_shift = 32;
    CHECK(!kvmclock_rate(&mult, &shift, &stable));
}

/* ---- the host changes its clock while it is read ---- */

static bool reading = true;

static void *change(void *arg)
{
    for (u32 i = 0; __atomic_load_n(&reading, __ATOMIC_RELAXED); i++) {
        machine.kvm_shift = -(s8)(i % 30);
        machine.kvm_mul = 0x80000000u + i % 30;
        machine_update_clock();
    }
    return NULL;
}

static void kvm_clock_changes(void)
{
    pthread_t thread;
    u64 mult, shift;
    bool stable;

    on_kvm(2500000000);
    machine.kvm_shift = 0, machine.kvm_mul = 0x80000000u;
    CHECK(kvmclock_rate(&mult, &shift, &stable));
    machine.clock_by_test = true;
    pthread_create(&thread, NULL, change, NULL);
    for (u32 i = 0; i < 300000; i++) {
        CHECK(kvmclock_rate(&mult, &shift, &stable));
        CHECK(mult - 0x80000000u == shift - 32);
    }
    __atomic_store_n(&reading, false, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
}

/* ---- other sources of the rate ---- */

static void rate_by_cpuid(void)
{
    on_kvm(2400000000);
    machine.kvm_features = 0;
    machine.leaf_max = 0x40000010, machine.cpuid_khz = 2400000;
    start();
    CHECK(about(clock_tsc_hz(), 2400000000, 3));
    machine.hypervisor = NULL; /* then leaf 0x40000000 is garbage that looks like much */
    machine.ratio_low = 2, machine.ratio_high = 250, machine.crystal_hz = 24000000;
    CHECK(!hypervisor_is(HYPERVISOR_KVM) && !hypervisor_is("KVMKVMKVMKVM"));
    clock_init();
    CHECK(about(clock_tsc_hz(), 3000000000, 3));
}

static void rate_by_pit(void)
{
    on_kvm(3100000000);
    machine.kvm_features = 0, machine.pit = true, machine.deadline = false;
    start();
    CHECK(about(clock_tsc_hz(), machine.tsc_hz, machine.tsc_hz / 500));
    u64 before = clock_monotonic_ns();
    machine.tsc += machine.tsc_hz / 5;
    timer_arm(before + NSEC_PER_SEC); /* measures again on the side */
    CHECK(about(clock_tsc_hz(), machine.tsc_hz, machine.tsc_hz / 10000));
    u64 after = clock_monotonic_ns();
    CHECK(about(after - before, 200 * NSEC_PER_MSEC, NSEC_PER_MSEC));
    machine.tsc -= machine.tsc_hz / 100000; /* another CPU's is 10 us behind */
    u64 elsewhere = clock_monotonic_ns();
    CHECK(about(elsewhere, after, 20000));
}

/* ---- the timer ---- */

static void deadline_timer(void)
{
    for (u32 i = 0; i < ARRAY_LEN(rates); i++) {
        memset(&machine, 0, sizeof(machine));
        on_kvm(rates[i]);
        start();
        CHECK(machine.lvt_timer == (0x40000 | VECTOR_TIMER));
        static const u64 deltas[] = {1, 1000, 1000000, 999999999, 59 * NSEC_PER_SEC};
        for (u32 k = 0; k < ARRAY_LEN(deltas); k++) {
            u64 now = clock_monotonic_ns(), tsc = machine.tsc;
            timer_arm(now + deltas[k]);
            u64 wanted = tsc + (u64)((unsigned __int128)deltas[k] * machine.tsc_hz / NSEC_PER_SEC);
            CHECK(about(machine.deadline_tsc, wanted, 100 + deltas[k] / 100000000));
        }
        timer_arm(clock_monotonic_ns() - 1000000); /* has passed: at once */
        CHECK(machine.deadline_tsc && machine.deadline_tsc <= machine.tsc + machine.tsc_hz / 1000000 + 2);
        timer_arm(0);
        CHECK(machine.deadline_tsc && machine.deadline_tsc <= machine.tsc + machine.tsc_hz / 1000000 + 2);
        timer_arm(~1UL); /* an hour at most: it is set again then */
        CHECK(about(machine.deadline_tsc - machine.tsc, 3600 * machine.tsc_hz, machine.tsc_hz));
        timer_arm(~0UL);
        CHECK(machine.deadline_tsc == 0);
    }
}

static void one_shot_timer(void)
{
    on_kvm(2500000000);
    machine.deadline = false;
    start();
    CHECK(machine.lvt_timer == VECTOR_TIMER);
    u32 writes = machine.deadline_writes;
    timer_arm(clock_monotonic_ns() + 1000000);
    CHECK(about(machine.initial_count, 1000000, 100) && machine.divide == 0xb);
    timer_arm(clock_monotonic_ns() + 60 * NSEC_PER_SEC); /* 2^32 ns are 4.3 s: divided by 16 */
    CHECK(about(machine.initial_count, 60 * NSEC_PER_SEC / 16, 100) && machine.divide == 3);
    timer_arm(~0UL);
    CHECK(machine.initial_count == 0 && machine.deadline_writes == writes);
}

/* ---- x2APIC mode ---- */

static void x2apic(void)
{
    on_kvm(2500000000);
    machine.apic_base = 0xfee00000; /* off */
    machine.apic_id = 0x42;
    lapic_init_cpu();
    CHECK((machine.apic_base & 0xc00) == 0xc00 && lapic_id() == 0x42 && this_cpu()->apic_id == 0x42);
    CHECK(machine.spurious == 0x1ff && (machine.lvt_lint0 & 0x10000) && machine.lvt_lint1 == 0x400);
    lapic_init_cpu(); /* firmware may have left it so */
    lapic_send(0x12345678, ICR_INIT);
    CHECK(machine.icr == 0x1234567800004500);
    lapic_send(3, ICR_STARTUP | 8);
    CHECK(machine.icr == 0x300004608);
    ipi_send(0, VECTOR_RESCHED);
    CHECK(machine.icr == (0x4200004000 | VECTOR_RESCHED));
    lapic_send_others(ICR_FIXED | VECTOR_TLB);
    CHECK(machine.icr == (0xc4000 | VECTOR_TLB) && machine.ipis == 4);
    lapic_eoi();
    CHECK(machine.eois == 1);
    u64 addr;
    u32 data;
    msi_message(0x55, 0, &addr, &data);
    CHECK(addr == 0xfee42000 && data == 0x55);
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {{"kvm-clock", kvm_clock},
             {"kvm-clock-not-stable", kvm_clock_not_stable},
             {"kvm-clock-absent", kvm_clock_absent},
             {"kvm-clock-changes", kvm_clock_changes},
             {"rate-by-cpuid", rate_by_cpuid},
             {"rate-by-pit", rate_by_pit},
             {"deadline-timer", deadline_timer},
             {"one-shot-timer", one_shot_timer},
             {"x2apic", x2apic}};

int main(void)
{
    int failed = 0;
    setbuf(stdout, NULL);
    for (u32 i = 0; i < ARRAY_LEN(tests); i++) {
        int status = -1;
        if (!fork()) { /* each starts with a kernel that knows nothing yet */
            this_cpu();
            tests[i].run();
            _exit(0);
        }
        wait(&status);
        if (status == 0)
            printf("ok arch-%s\n", tests[i].name);
        else
            printf("not ok arch-%s: status %#x\n", tests[i].name, status);
        failed |= status;
    }
    return failed != 0;
}
