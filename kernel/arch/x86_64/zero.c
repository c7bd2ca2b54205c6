/*
 * `rep stos` is microcode that stores whole cache lines where the CPU says so (ERMS, FSRM: Intel Optimization
 * Reference Manual, 3.7.6). Where it does not, and in QEMU's TCG, whatever it says there, that is a loop of
 * 8-byte steps, and AVX's 32-byte stores take a quarter of the instructions.
 *
 * The vector registers are the program's, of whichever thread loaded them last here (arch_switch). So one is
 * put back after each frame, before another thread can get the CPU; interrupt handlers use none. Not with
 * AVX-512, where storing to a YMM register clears the rest of the ZMM register.
 */
#include "kernel/arch/x86_64/zero.h"
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/base/string.h"

#define CPUID7B_ERMS (1u << 9)
#define CPUID7D_FSRM (1u << 4)

static bool by_vector; /* fixed by zero_init() */

/* zero.S */
void zero_frame_avx(void *frame);

static bool string_stores_fast(void)
{
    u32 max, b, c, d, a;
    cpuid(0, 0, &max, &b, &c, &d);
    if (max < 7 || hypervisor_is(HYPERVISOR_TCG))
        return false;
    cpuid(7, 0, &a, &b, &c, &d);
    return (b & CPUID7B_ERMS) || (d & CPUID7D_FSRM);
}

void zero_init(void)
{
    by_vector = (fpu_features & XFEATURES_AVX512) == XFEATURE_AVX && !string_stores_fast();
}

void zero_frames(void *at, u64 len)
{
    if (!by_vector) {
        memset(at, 0, len);
        return;
    }
    for (u8 *frame = at, *end = frame + len; frame < end; frame += PAGE_SIZE) {
        preempt_disable();
        zero_frame_avx(frame);
        preempt_enable();
    }
}
