/* KVM's paravirtual clock. Source: Linux Documentation/virt/kvm/x86/msr.rst and cpuid.rst. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/base/string.h"

#define MSR_WALL_CLOCK  0x4b564d00
#define MSR_SYSTEM_TIME 0x4b564d01
#define FEATURES_LEAF   0x40000001
#define FEATURE_CLOCK2  (1u << 3)
#define FEATURE_STABLE  (1u << 24) /* FLAG_TSC_STABLE means something */
#define FLAG_TSC_STABLE 1u         /* the TSC is the same on all CPUs */

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

static struct pvclock_vcpu_time_info info __attribute__((aligned(64)));
static struct pvclock_wall_clock wall __attribute__((aligned(64)));

static u32 features(void)
{
    u32 a, b, c, d;
    if (!hypervisor_is(HYPERVISOR_KVM))
        return 0;
    cpuid(FEATURES_LEAF, 0, &a, &b, &c, &d);
    return a;
}

/* Copies what the hypervisor keeps up to date. The version is read first and again last: the same even one
 * means that nothing changed in between. */
static void read_whole(const u32 *version, const void *from, void *copy, size_t size)
{
    u32 begin;
    do {
        begin = __atomic_load_n(version, __ATOMIC_ACQUIRE);
        memcpy(copy, from, size);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while ((begin & 1) || __atomic_load_n(version, __ATOMIC_RELAXED) != begin);
}

static struct pvclock_vcpu_time_info info_read(void)
{
    struct pvclock_vcpu_time_info copy;
    read_whole(&info.version, (const void *)&info, &copy, sizeof(copy));
    return copy;
}

static struct pvclock_wall_clock wall_read(void)
{
    struct pvclock_wall_clock copy;
    read_whole(&wall.version, (const void *)&wall, &copy, sizeof(copy));
    return copy;
}

bool kvmclock_rate(u64 *mult, u64 *shift, bool *stable)
{
    u32 have = features();
    if (!(have & FEATURE_CLOCK2))
        return false;
    wrmsr(MSR_SYSTEM_TIME, ((u64)&info - KERNEL_BASE) | 1);
    struct pvclock_vcpu_time_info t = info_read();
    if (!t.tsc_to_system_mul || t.tsc_shift < -31 || t.tsc_shift > 31) /* readers shift by less than 64 */
        return false;
    *mult = t.tsc_shift > 0 ? (u64)t.tsc_to_system_mul << t.tsc_shift : t.tsc_to_system_mul;
    *shift = t.tsc_shift < 0 ? 32 - t.tsc_shift : 32;
    *stable = (have & FEATURE_STABLE) && (t.flags & FLAG_TSC_STABLE);
    return true;
}

u64 kvmclock_realtime_ns(void)
{
    u64 mult, shift;
    bool stable;
    if (!kvmclock_rate(&mult, &shift, &stable))
        return 0;
    wrmsr(MSR_WALL_CLOCK, (u64)&wall - KERNEL_BASE);
    struct pvclock_wall_clock w = wall_read();
    struct pvclock_vcpu_time_info t = info_read();
    u64 since = (u64)(((unsigned __int128)(read_tsc() - t.tsc_timestamp) * mult) >> shift);
    return w.sec * NSEC_PER_SEC + w.nsec + t.system_time + since;
}
