/* The program's FPU, SSE, AVX and AVX-512 registers: XSAVE (Intel SDM 1, chapter 13), FXSAVE where there is
 * none. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/base/string.h"

#define CR4_OSFXSR     (1UL << 9)
#define CR4_OSXMMEXCPT (1UL << 10)
#define CR4_FSGSBASE   (1UL << 16)
#define CR4_OSXSAVE    (1UL << 18)
#define CPUID1C_XSAVE  (1u << 26)
#define CPUID7B_FSBASE (1u << 0)
/* x87, SSE, AVX, opmask, ZMM_Hi256, Hi16_ZMM. Not MPX (gone), PKRU (pages have no user bit), AMX (8 KiB a
 * thread). */
#define FEATURES_WANTED 0xe7UL

#define FXSAVE_FCW   0
#define FXSAVE_MXCSR 24
#define FXSAVE_SIZE  512
#define XSAVE_HEADER 512

u32 fpu_area_size = FXSAVE_SIZE;
u64 fpu_features = 3;
bool have_xsave, have_xsaveopt, have_fsgsbase;
static u32 mxcsr_mask = 0xffbf;

static void xcr0_set(u64 value)
{
    __asm__ volatile("xsetbv" ::"c"(0), "a"((u32)value), "d"((u32)(value >> 32)));
}

static void detect(void)
{
    u32 a, b, c, d;
    cpuid(1, 0, &a, &b, &c, &d);
    have_xsave = c & CPUID1C_XSAVE;
    cpuid(0, 0, &a, &b, &c, &d);
    if (a >= 7) {
        cpuid(7, 0, &a, &b, &c, &d);
        have_fsgsbase = b & CPUID7B_FSBASE;
    }
    if (!have_xsave)
        return;
    cpuid(13, 0, &a, &b, &c, &d);
    fpu_features = (((u64)d << 32) | a) & FEATURES_WANTED;
    if ((fpu_features & XFEATURES_AVX512) != XFEATURES_AVX512)
        fpu_features &= ~(XFEATURES_AVX512 & ~XFEATURE_AVX); /* all or nothing: 13.3 */
    cpuid(13, 1, &a, &b, &c, &d);
    have_xsaveopt = a & 1;
}

static u32 mxcsr_mask_read(void)
{
    static u8 area[FXSAVE_SIZE] __attribute__((aligned(64)));
    __asm__ volatile("fxsave64 %0" : "=m"(area));
    u32 mask;
    memcpy(&mask, area + 28, 4);
    return mask ? mask : 0xffbf;
}

void fpu_init_cpu(void)
{
    bool first = this_cpu()->id == 0;
    if (first)
        detect();
    u64 cr4;
    __asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
    cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | (have_xsave ? CR4_OSXSAVE : 0) | (have_fsgsbase ? CR4_FSGSBASE : 0);
    __asm__ volatile("movq %0, %%cr4" ::"r"(cr4));
    if (have_xsave)
        xcr0_set(fpu_features);
    if (!first)
        return;
    mxcsr_mask = mxcsr_mask_read();
    if (have_xsave) {
        u32 a, b, c, d;
        cpuid(13, 0, &a, &b, &c, &d); /* ebx: size for what XCR0 has now */
        fpu_area_size = b;
    }
}

void fpu_init_area(void *area)
{
    u8 *p = area;
    memset(p, 0, fpu_area_size);
    memcpy(p + FXSAVE_FCW, &(u16){0x37f}, 2);
    memcpy(p + FXSAVE_MXCSR, &(u32){0x1f80}, 4);
    if (have_xsave)
        memcpy(p + XSAVE_HEADER, &(u64){3}, 8);
}

/*
 * Not XSAVEOPT, which the context switch takes: it leaves out what is in its initial state, and what has not
 * changed since the area was loaded (Intel SDM 1, 13.9). Others read all of the area, or give another one.
 */
void fpu_save_current(void *area)
{
    u32 lo = fpu_features, hi = fpu_features >> 32;
    if (have_xsave)
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(lo), "d"(hi) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

void fpu_restore_current(const void *area)
{
    fpu_restore_inline(area);
}

/* XRSTOR faults on reserved MXCSR bits, unknown features, the compacted form, and non-zero reserved header
 * bytes. */
bool fpu_area_valid(const void *area)
{
    const u8 *p = area;
    u32 mxcsr;
    memcpy(&mxcsr, p + FXSAVE_MXCSR, 4);
    if (mxcsr & ~mxcsr_mask)
        return false;
    if (!have_xsave)
        return true;
    u64 header[8];
    memcpy(header, p + XSAVE_HEADER, sizeof(header));
    if (header[0] & ~fpu_features)
        return false;
    for (u32 i = 1; i < 8; i++)
        if (header[i])
            return false;
    return true;
}
