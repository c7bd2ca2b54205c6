/* See machine.h. */
#include "machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"

#define TICKS_PER_READ 40

struct machine machine;

/* As in Linux's documentation of KVM's registers. */
static struct {
    u32 version, pad;
    u64 tsc_timestamp, system_time;
    u32 mul;
    s8 shift;
    u8 flags, pad2[2];
} * shared_clock;

void machine_fault(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    printf("not ok arch: ");
    vprintf(fmt, ap);
    printf("\n");
    fflush(stdout);
    _Exit(1);
}

void machine_update_clock(void)
{
    __atomic_store_n(&shared_clock->version, shared_clock->version + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    shared_clock->tsc_timestamp = machine.kvm_tsc;
    shared_clock->system_time = machine.kvm_ns;
    shared_clock->mul = machine.kvm_mul;
    shared_clock->shift = machine.kvm_shift;
    shared_clock->flags = machine.kvm_flags;
    __atomic_store_n(&shared_clock->version, shared_clock->version + 1, __ATOMIC_RELEASE);
}

/* ---- what instructions would do ---- */

struct cpu *this_cpu(void)
{
    static struct arch_cpu arch;
    static struct cpu cpu = {.arch = &arch};
    cpus[0] = &cpu;
    return &cpu;
}

u64 read_tsc(void)
{
    return machine.tsc += TICKS_PER_READ;
}

static void hypervisor_leaf(u32 leaf, u32 *r)
{
    if (leaf == 0x40000000) {
        r[0] = machine.leaf_max;
        memcpy(r + 1, machine.hypervisor, 12);
    } else if (leaf == 0x40000001) {
        r[0] = machine.kvm_features;
    } else if (leaf == 0x40000010) {
        r[0] = machine.cpuid_khz;
    }
}

void cpuid(u32 leaf, u32 sub, u32 *a, u32 *b, u32 *c, u32 *d)
{
    u32 r[4] = {0};
    if (leaf == 0)
        r[0] = 0x15;
    else if (leaf == 1)
        r[2] =
            (u32)machine.x2apic << 21 | (u32)machine.deadline << 24 | (u32)(machine.hypervisor != NULL) << 31;
    else if (leaf == 0x15)
        r[0] = machine.ratio_low, r[1] = machine.ratio_high, r[2] = machine.crystal_hz;
    else if (leaf >> 28 == 4 && machine.hypervisor)
        hypervisor_leaf(leaf, r);
    else if (leaf >> 28 == 4) /* no such range: Intel's answer is that of the highest basic leaf */
        r[0] = 0x4b4d564b, r[1] = 0x4b4d564b, r[2] = 0x564b4d56, r[3] = 0x4d;
    *a = r[0], *b = r[1], *c = r[2], *d = r[3];
}

static void write_apic_base(u64 value)
{
    u64 on = 0x800, extended = 0x400;
    if ((value & extended) && !(value & on))
        machine_fault("x2APIC mode without the APIC");
    if ((value & extended) && !(machine.apic_base & on))
        machine_fault("from off straight to x2APIC mode");
    if ((value & extended) && !machine.x2apic)
        machine_fault("x2APIC mode on a CPU without it");
    if (!(value & extended) && (machine.apic_base & extended) && (value & on))
        machine_fault("from x2APIC mode back to xAPIC mode");
    machine.apic_base = value;
}

/* Intel SDM 3A, table 10-6, and the registers' pictures: what must be 0. */
static const struct {
    u32 msr;
    u64 allowed;
    u32 *at;
} apic_registers[] = {
    {0x808, 0xff, NULL},
    {0x80f, 0x13ff, &machine.spurious},
    {0x832, 0x710ff, &machine.lvt_timer},
    {0x835, 0x1f7ff, &machine.lvt_lint0},
    {0x836, 0x1f7ff, &machine.lvt_lint1},
    {0x837, 0x110ff, &machine.lvt_error},
    {0x838, 0xffffffff, &machine.initial_count},
    {0x83e, 0x0b, &machine.divide},
};

static void write_x2apic(u32 msr, u64 value)
{
    if (!(machine.apic_base & 0x400))
        machine_fault("register %#x outside x2APIC mode", msr);
    if (msr == 0x80b) {
        if (value)
            machine_fault("an end of interrupt that is not 0");
        machine.eois++;
        return;
    }
    if (msr == 0x830) {
        if (value & 0xfff32000)
            machine_fault("reserved bits of the interrupt command: %#lx", value);
        machine.icr = value;
        machine.ipis++;
        return;
    }
    for (u32 i = 0; i < ARRAY_LEN(apic_registers); i++) {
        if (apic_registers[i].msr != msr)
            continue;
        if (value & ~apic_registers[i].allowed)
            machine_fault("reserved bits of register %#x: %#lx", msr, value);
        if (apic_registers[i].at)
            *apic_registers[i].at = value;
        machine.initial_tsc = msr == 0x838 ? machine.tsc : machine.initial_tsc;
        return;
    }
    machine_fault("write of register %#x", msr);
}

void wrmsr(u32 msr, u64 value)
{
    if (msr == 0x1b) {
        write_apic_base(value);
    } else if (msr >= 0x800 && msr < 0x900) {
        write_x2apic(msr, value);
    } else if (msr == 0x6e0) {
        machine.deadline_writes++;
        if ((machine.lvt_timer & 0x60000) == 0x40000) /* else it is ignored */
            machine.deadline_tsc = value;
    } else if (msr == 0x4b564d01 && (machine.kvm_features & 8)) {
        if (value % 4 != 1)
            machine_fault("address of KVM's clock: %#lx", value);
        shared_clock = (void *)(value - 1 + KERNEL_BASE);
        if (!machine.clock_by_test)
            machine_update_clock();
    } else if (msr == 0x4b564d00 && (machine.kvm_features & 8)) {
        u32 *wall = (void *)(value + KERNEL_BASE);
        wall[0] += 2, wall[1] = machine.wall_sec, wall[2] = machine.wall_nsec;
    } else {
        machine_fault("write of MSR %#x", msr);
    }
}

u64 rdmsr(u32 msr)
{
    if (msr == 0x1b)
        return machine.apic_base;
    if (!(machine.apic_base & 0x400) || msr < 0x800 || msr > 0x8ff)
        machine_fault("read of MSR %#x", msr);
    if (msr == 0x802)
        return machine.apic_id;
    if (msr != 0x839)
        machine_fault("read of register %#x", msr);
    u64 passed =
        (u64)((unsigned __int128)(machine.tsc - machine.initial_tsc) * NSEC_PER_SEC / machine.tsc_hz);
    return machine.initial_count > passed ? machine.initial_count - passed : 0;
}

/* ---- the rest of the machine ---- */

u16 pit_read(void)
{
    machine.tsc += 3000; /* three exits to the hypervisor */
    return machine.pit ? -(u16)((unsigned __int128)machine.tsc * PIT_HZ / machine.tsc_hz) : 0;
}

void pit_start(void)
{
}

u64 rtc_seconds(void)
{
    return 0;
}

volatile void *mmio_map(u64 paddr, u64 len)
{
    machine_fault("the APIC's registers are not wanted in memory");
}

struct cpu *cpus[CPU_MAX];
u64 boot_entry_tsc;
