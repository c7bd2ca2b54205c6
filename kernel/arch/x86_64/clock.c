/*
 * Monotonic time is the TSC scaled by one set of parameters, which are replaced as a whole when the rate
 * becomes known better: sets are never changed once published, so that any reader, the vDSO included, follows
 * one pointer. A new set starts STEP_NS ahead of the old one: a reader still using the old one on another CPU
 * is then behind, not ahead.
 */
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/lapic.h"
#include "kernel/arch/x86_64/msr.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"

#define SHIFT              32
#define STEP_NS            1000UL
#define BASE_BEHIND        1000UL /* a set's base lies 1/1000 s back: another CPU's TSC may be a little behind */
#define APIC_HZ_QEMU       1000000000UL /* TCG's and KVM's APIC timer counts nanoseconds */
#define CALIBRATE_NS       400000UL
#define CPUID1C_DEADLINE   (1u << 24)
#define CPUID1C_HYPERVISOR (1u << 31)

static struct clock_params sets[64];
static u32 sets_used;
const struct clock_params *clock_current = &sets[0];
static u64 tsc_hz, ticks_per_ns_32; /* the second: TSC ticks in a nanosecond, 32 fractional bits */
static u64 apic_hz;
static bool have_deadline;

/* ---- reading ---- */

static u64 scale(const struct clock_params *p, u64 tsc)
{
    return (u64)(((unsigned __int128)(tsc - p->tsc_base) * p->mult) >> p->shift) + p->ns_base;
}

static const struct clock_params *params(void)
{
    return __atomic_load_n(&clock_current, __ATOMIC_ACQUIRE);
}

u64 clock_monotonic_ns(void)
{
    return scale(params(), read_tsc());
}

u64 clock_realtime_ns(void)
{
    const struct clock_params *p = params();
    return scale(p, read_tsc()) + p->realtime_offset_ns;
}

const struct clock_params *clock_params(void)
{
    return params();
}

u64 clock_tsc_hz(void)
{
    return tsc_hz;
}

/* ---- changing ---- */

/* A copy of the present set to change and publish. Sets are reused after 64 changes, far longer than a reader
 * looks at one. */
static struct clock_params *set_begin(const struct clock_params **old)
{
    struct clock_params *p = &sets[__atomic_add_fetch(&sets_used, 1, __ATOMIC_RELAXED) % ARRAY_LEN(sets)];
    *old = params();
    *p = **old;
    return p;
}

/* False when another change came first: begin again. */
static bool set_publish(const struct clock_params *old, const struct clock_params *p)
{
    return __atomic_compare_exchange_n(&clock_current, &old, p, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static void realtime_set(u64 ns)
{
    const struct clock_params *old;
    struct clock_params *p;
    do {
        p = set_begin(&old);
        p->realtime_offset_ns = ns - scale(p, read_tsc());
    } while (!set_publish(old, p));
}

void clock_set_realtime_ns(u64 ns)
{
    realtime_set(ns);
}

static void rate_set(u64 mult, u64 shift)
{
    tsc_hz = (u64)(((unsigned __int128)NSEC_PER_SEC << shift) / mult);
    ticks_per_ns_32 = (u64)(((unsigned __int128)1 << (shift + 32)) / mult);
    const struct clock_params *old;
    struct clock_params *p;
    do {
        p = set_begin(&old);
        if (old->mult) {
            u64 tsc = read_tsc(), behind = MIN(tsc - old->tsc_base, tsc_hz / BASE_BEHIND);
            u64 ns = scale(old, tsc) + STEP_NS;
            p->realtime_offset_ns -= STEP_NS;
            p->tsc_base = tsc - behind;
            p->ns_base = ns - (u64)(((unsigned __int128)behind * mult) >> shift);
        } else {
            p->tsc_base = boot_entry_tsc;
        }
        p->mult = mult;
        p->shift = shift;
    } while (!set_publish(old, p));
}

static void rate_set_hz(u64 hz)
{
    rate_set((u64)(((unsigned __int128)NSEC_PER_SEC << SHIFT) / hz), SHIFT);
}

/* ---- calibration ---- */

/* A reference counter read at a known TSC value: the best of a few tries, as the read may take microseconds.
 */
struct sample {
    u64 tsc;
    u32 count;
};

static struct sample sample_take(u32 (*read)(void))
{
    struct sample best = {0};
    u64 best_width = ~0UL;
    for (int i = 0; i < 5; i++) {
        u64 before = read_tsc();
        u32 count = read();
        u64 width = read_tsc() - before;
        if (width < best_width) {
            best_width = width;
            best = (struct sample){before + width / 2, count};
        }
    }
    return best;
}

static u32 apic_read(void)
{
    return lapic_timer_read();
}

static u32 pit_read32(void)
{
    return pit_read();
}

static struct sample pit_base; /* pit_base.tsc 0: no PIT, nothing to refine by */

static u64 elapsed_pit(struct sample from, struct sample to, u64 hz)
{
    u64 ticks = (u16)(from.count - to.count);
    u64 expected = (u64)((unsigned __int128)(to.tsc - from.tsc) * PIT_HZ / hz);
    return ticks + ALIGN_DOWN(expected - ticks + 32768, 65536UL);
}

static void pit_prepare(void)
{
    pit_start();
    u16 first = pit_read();
    for (int i = 0; i < 1000; i++)
        if (pit_read() != first) {
            pit_base = sample_take(pit_read32);
            return;
        }
}

/* Both against the APIC timer, whose rate QEMU fixes. */
static u64 calibrate_by_apic(void)
{
    lapic_timer_set(~0u, 0);
    struct sample from = sample_take(apic_read), to;
    do
        to = sample_take(apic_read);
    while (from.count - to.count < CALIBRATE_NS);
    lapic_timer_set(0, 0);
    return (u64)((unsigned __int128)(to.tsc - from.tsc) * APIC_HZ_QEMU / (from.count - to.count));
}

/* TSC against the PIT, and the APIC timer against the TSC: elsewhere. */
static u64 calibrate_by_pit(void)
{
    if (!pit_base.tsc)
        return calibrate_by_apic();
    lapic_timer_set(~0u, 0);
    struct sample from = sample_take(pit_read32), apic_from = sample_take(apic_read), to;
    do
        to = sample_take(pit_read32);
    while ((u16)(from.count - to.count) < PIT_HZ / 500);
    struct sample apic_to = sample_take(apic_read);
    lapic_timer_set(0, 0);
    u64 hz = (to.tsc - from.tsc) * PIT_HZ / (u16)(from.count - to.count);
    apic_hz =
        (u64)((unsigned __int128)(apic_from.count - apic_to.count) * hz / (apic_to.tsc - apic_from.tsc));
    return hz;
}

/* Without a hypervisor the leaf shows what another one does (Intel SDM 2A, CPUID). */
bool hypervisor_is(const char *signature)
{
    u32 a, b, c, d, text[3];
    cpuid(1, 0, &a, &b, &c, &d);
    if (!(c & CPUID1C_HYPERVISOR))
        return false;
    cpuid(0x40000000, 0, &a, &text[0], &text[1], &text[2]);
    return !memcmp(text, signature, 12);
}

bool arch_fetches_torn(void)
{
    return hypervisor_is(HYPERVISOR_TCG);
}

/* CPUID 0x40000010 (VMware's and KVM's timing leaf) or 0x15; 0 when neither says it. */
static u64 cpuid_tsc_hz(void)
{
    u32 a, b, c, d, max;
    cpuid(0x40000000, 0, &max, &b, &c, &d);
    if ((hypervisor_is(HYPERVISOR_KVM) || hypervisor_is(HYPERVISOR_VMWARE)) && max >= 0x40000010) {
        cpuid(0x40000010, 0, &a, &b, &c, &d);
        if (a)
            return a * 1000UL;
    }
    cpuid(0, 0, &max, &b, &c, &d);
    if (max < 0x15)
        return 0;
    cpuid(0x15, 0, &a, &b, &c, &d);
    return a && b && c ? (u64)c * b / a : 0;
}

static void find_rate(void)
{
    u64 mult, shift, hz;
    bool stable;
    apic_hz = APIC_HZ_QEMU;
    if (kvmclock_rate(&mult, &shift, &stable)) {
        rate_set(mult, shift);
        if (!stable)
            log_warn("moka: the host says that its CPUs' clocks differ: time may go back\n");
    } else if ((hz = cpuid_tsc_hz())) {
        rate_set_hz(hz);
    } else {
        pit_prepare();
        rate_set_hz(hypervisor_is(HYPERVISOR_TCG) ? calibrate_by_apic() : calibrate_by_pit());
    }
}

/*
 * QEMU's RTC starts a second of its own when it is made, anywhere in a second of the host's: half a second
 * more is the best guess. Under TCG the TSC starts at 0 some START_NS later, so that the part of the RTC's
 * second that has passed is known; elsewhere it is not.
 */
#define RTC_FRACTION_NS (NSEC_PER_SEC / 2)
#define START_NS        (50 * NSEC_PER_MSEC)

static u64 rtc_ns(void)
{
    u64 seconds = rtc_seconds(), passed = RTC_FRACTION_NS;
    if (hypervisor_is(HYPERVISOR_TCG))
        passed = (START_NS + (u64)(((unsigned __int128)read_tsc() * params()->mult) >> params()->shift)) %
                 NSEC_PER_SEC;
    return seconds * NSEC_PER_SEC + passed + RTC_FRACTION_NS;
}

static void find_realtime(void)
{
    u64 ns = kvmclock_realtime_ns();
    realtime_set(ns ? ns : rtc_ns());
}

void clock_init(void)
{
    u32 a, b, c, d;
    cpuid(1, 0, &a, &b, &c, &d);
    have_deadline = c & CPUID1C_DEADLINE;
    find_rate();
    find_realtime();
    clock_init_cpu();
    log_info("clock: TSC %lu kHz, %s timer\n", tsc_hz / 1000, have_deadline ? "TSC-deadline" : "one-shot");
}

/* ---- refinement ---- */

/*
 * A rate farther off than one part in so many is not believed. QEMU's TCG advances the TSC by a little extra
 * whenever two CPUs read it at the same moment (per cent in all when they do nothing else), so that a
 * measurement over a busy time says nothing about the rate at other times.
 */
#define REFINE_LIMIT 4000
/* Later the PIT may have gone round once more, or less, than the rate known so far tells. */
#define REFINE_TOO_LATE_MS 60000

static void refine_rate(void)
{
    struct sample now = sample_take(pit_read32);
    u64 ticks = elapsed_pit(pit_base, now, tsc_hz);
    u64 hz = (u64)((unsigned __int128)(now.tsc - pit_base.tsc) * PIT_HZ / ticks);
    if (hz - tsc_hz + tsc_hz / REFINE_LIMIT < 2 * tsc_hz / REFINE_LIMIT)
        rate_set_hz(hz);
}

/*
 * Measures again 0.1 s and 2 s after boot, on the side of whatever arms a timer then: an idle machine takes
 * no interrupt for it. Interrupts off. The CPU that advances `done` does the work.
 */
static void refine_on_the_side(u64 tsc)
{
    static const u32 after_ms[] = {100, 2000};
    static u32 done;
    u32 step = __atomic_load_n(&done, __ATOMIC_RELAXED);
    if (step >= ARRAY_LEN(after_ms) || !pit_base.tsc)
        return;
    u64 ms = (tsc - pit_base.tsc) / (tsc_hz / 1000);
    if (ms < after_ms[step] ||
        !__atomic_compare_exchange_n(&done, &step, step + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;
    if (ms > REFINE_TOO_LATE_MS)
        __atomic_store_n(&done, ARRAY_LEN(after_ms), __ATOMIC_RELAXED);
    else
        refine_rate();
}

/* ---- the timer ---- */

void clock_init_cpu(void)
{
    if (have_deadline)
        lapic_timer_deadline_mode();
}

static u64 scale_up(u64 ns, u64 per_ns_32)
{
    return (u64)(((unsigned __int128)ns * per_ns_32) >> 32) + 1;
}

void timer_arm(u64 deadline_ns)
{
    if (deadline_ns == ~0UL) {
        if (have_deadline)
            wrmsr(MSR_TSC_DEADLINE, 0);
        else
            lapic_timer_set(0, 0);
        return;
    }
    u64 tsc = read_tsc(), now = scale(params(), tsc);
    refine_on_the_side(tsc);
    u64 delta = deadline_ns > now ? MIN(deadline_ns - now, 3600 * NSEC_PER_SEC) : 1;
    if (have_deadline) {
        wrmsr(MSR_TSC_DEADLINE, tsc + scale_up(delta, ticks_per_ns_32));
        return;
    }
    u64 count = scale_up(delta, (apic_hz << 32) / NSEC_PER_SEC);
    u32 divide = 0;
    while (count >> divide > 0xffffffffUL && divide < 7)
        divide++;
    lapic_timer_set(MIN((count >> divide) + (divide ? 1 : 0), 0xffffffffUL), divide);
}
