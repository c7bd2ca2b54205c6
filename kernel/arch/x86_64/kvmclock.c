/* KVM's paravirtual clock. Source: Linux Documentation/virt/kvm/x86/msr.rst and cpuid.rst. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"

#define MSR_WALL_CLOCK  0x4b564d00
#define MSR_SYSTEM_TIME 0x4b564d01
#define FEATURES_LEAF   0x40000001
#define FEATURE_CLOCK2  (1u << 3)
#define FEATURE_STABLE  (1u << 24)

struct pvclock_vcpu_time_info {
    u32 version, pad; /* odd while the hypervisor changes the rest */
    u64 tsc_timestamp, system_time;
    u32 tsc_to_system_mul;
    s8 tsc_shift;
    u8 flags, pad2[2];
};
struct pvclock_wall_clock {
    u32 version, sec, nsec;
};

static volatile struct pvclock_vcpu_time_info info __attribute__((aligned(64)));
static volatile struct pvclock_wall_clock wall __attribute__((aligned(64)));

static bool present(void)
{
    u32 a, b, c, d;
    if (!hypervisor_is("KVMKVMKVM\0\0\0"))
        return false;
    cpuid(FEATURES_LEAF, 0, &a, &b, &c, &d);
    return (a & FEATURE_CLOCK2) && (a & FEATURE_STABLE);
}

static struct pvclock_vcpu_time_info info_read(void)
{
    struct pvclock_vcpu_time_info copy;
    do
        copy = info;
    while ((copy.version & 1) || copy.version != info.version);
    return copy;
}

bool kvmclock_rate(u64 *mult, u64 *shift)
{
    if (!present())
        return false;
    wrmsr(MSR_SYSTEM_TIME, ((u64)&info - KERNEL_BASE) | 1);
    struct pvclock_vcpu_time_info t = info_read();
    if (!t.tsc_to_system_mul || t.tsc_shift < -31 || t.tsc_shift > 31) /* readers shift by less than 64 */
        return false;
    *mult = t.tsc_shift > 0 ? (u64)t.tsc_to_system_mul << t.tsc_shift : t.tsc_to_system_mul;
    *shift = t.tsc_shift < 0 ? 32 - t.tsc_shift : 32;
    return true;
}

u64 kvmclock_realtime_ns(void)
{
    u64 mult, shift;
    if (!kvmclock_rate(&mult, &shift))
        return 0;
    wrmsr(MSR_WALL_CLOCK, (u64)&wall - KERNEL_BASE);
    struct pvclock_vcpu_time_info t = info_read();
    u64 since = (u64)(((unsigned __int128)(read_tsc() - t.tsc_timestamp) * mult) >> shift);
    return wall.sec * NSEC_PER_SEC + wall.nsec + t.system_time + since;
}
