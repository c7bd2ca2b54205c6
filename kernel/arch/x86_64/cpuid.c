/* What /proc/cpuinfo and the auxiliary vector say about the CPU (Intel SDM 2A, CPUID; AMD APM 3, appendix E).
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"

#define HWCAP2_FSGSBASE 2u /* Linux uapi asm/hwcap2.h */

/* Linux's names (Documentation/x86/cpuinfo.rst) by leaf, register and bit; NULL: no name, or nothing to show.
 */
static const char *const leaf1_edx[32] = {"fpu",  "vme",   "de",   "pse",     "tsc",  "msr", "pae",  "mce",
                                          "cx8",  "apic",  NULL,   "sep",     "mtrr", "pge", "mca",  "cmov",
                                          "pat",  "pse36", "pn",   "clflush", NULL,   "dts", "acpi", "mmx",
                                          "fxsr", "sse",   "sse2", "ss",      "ht",   "tm",  "ia64", "pbe"};
static const char *const leaf1_ecx[32] = {"pni",    "pclmulqdq", "dtes64", "monitor", "ds_cpl",
                                          "vmx",    "smx",       "est",    "tm2",     "ssse3",
                                          "cid",    "sdbg",      "fma",    "cx16",    "xtpr",
                                          "pdcm",   NULL,        "pcid",   "dca",     "sse4_1",
                                          "sse4_2", "x2apic",    "movbe",  "popcnt",  "tsc_deadline_timer",
                                          "aes",    "xsave",     NULL,     "avx",     "f16c",
                                          "rdrand", "hypervisor"};
static const char *const leaf7_ebx[32] = {
    "fsgsbase", "tsc_adjust", "sgx",      "bmi1",     "hle",      "avx2",       NULL,       "smep",
    "bmi2",     "erms",       "invpcid",  "rtm",      "cqm",      NULL,         "mpx",      "rdt_a",
    "avx512f",  "avx512dq",   "rdseed",   "adx",      "smap",     "avx512ifma", NULL,       "clflushopt",
    "clwb",     "intel_pt",   "avx512pf", "avx512er", "avx512cd", "sha_ni",     "avx512bw", "avx512vl"};
static const char *const leaf7_ecx[32] = {NULL,
                                          "avx512vbmi",
                                          "umip",
                                          "pku",
                                          NULL,
                                          "waitpkg",
                                          "avx512_vbmi2",
                                          NULL,
                                          "gfni",
                                          "vaes",
                                          "vpclmulqdq",
                                          "avx512_vnni",
                                          "avx512_bitalg",
                                          "tme",
                                          "avx512_vpopcntdq",
                                          NULL,
                                          "la57",
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL,
                                          "rdpid",
                                          NULL,
                                          "bus_lock_detect",
                                          "cldemote",
                                          NULL,
                                          "movdiri",
                                          "movdir64b",
                                          "enqcmd",
                                          NULL,
                                          NULL};
static const char *const leaf7_edx[32] = {
    [4] = "fsrm", [8] = "avx512_vp2intersect", [14] = "serialize", [23] = "avx512_fp16"};
static const char *const ext1_edx[32] = {
    [11] = "syscall", [20] = "nx", [22] = "mmxext",   [25] = "fxsr_opt", [26] = "pdpe1gb",
    [27] = "rdtscp",  [29] = "lm", [30] = "3dnowext", [31] = "3dnow"};
static const char *const ext1_ecx[32] = {
    [0] = "lahf_lm", [1] = "cmp_legacy", [2] = "svm",         [4] = "cr8_legacy",
    [5] = "abm",     [6] = "sse4a",      [7] = "misalignsse", [8] = "3dnowprefetch",
    [9] = "osvw",    [11] = "xop",       [16] = "fma4",       [21] = "tbm"};
static const char *const leaf13_eax[32] = {"xsaveopt", "xsavec", "xgetbv1", "xsaves"};

enum { EAX, EBX, ECX, EDX };
static const struct {
    u32 leaf, sub, reg;
    const char *const *names;
} groups[] = {
    {1, 0, EDX, leaf1_edx},         {0x80000001, 0, EDX, ext1_edx}, {1, 0, ECX, leaf1_ecx},
    {0x80000001, 0, ECX, ext1_ecx}, {7, 0, EBX, leaf7_ebx},         {13, 1, EAX, leaf13_eax},
    {7, 0, ECX, leaf7_ecx},         {7, 0, EDX, leaf7_edx},
};

static u32 leaf_reg(u32 leaf, u32 sub, u32 reg)
{
    u32 r[4], max[4];
    cpuid(leaf & 0x80000000, 0, &max[0], &max[1], &max[2], &max[3]);
    if (max[0] < leaf)
        return 0;
    cpuid(leaf, sub, &r[0], &r[1], &r[2], &r[3]);
    return r[reg];
}

/* Names of features that programs must not count on, because the kernel does not turn them on. */
static bool hidden(const char *name)
{
    static const char *const off[] = {"vmx", "svm", "smep", "smap", "umip", "pku", "mpx", "pcid", "la57"};
    for (u32 i = 0; i < ARRAY_LEN(off); i++)
        if (!strcmp(name, off[i]))
            return true;
    return !strncmp(name, "avx512", 6) && (fpu_features & 0xe0) != 0xe0;
}

void arch_cpu_flags(char *buf, size_t size)
{
    size_t at = 0;
    if (size)
        buf[0] = 0;
    for (u32 g = 0; g < ARRAY_LEN(groups); g++) {
        u32 bits = leaf_reg(groups[g].leaf, groups[g].sub, groups[g].reg);
        for (u32 i = 0; i < 32; i++) {
            const char *name = groups[g].names[i];
            if (!(bits & (1u << i)) || !name || hidden(name) || at >= size)
                continue;
            at += snprintf(buf + at, size - at, at ? " %s" : "%s", name);
        }
    }
}

const char *arch_cpu_vendor(void)
{
    static char text[13];
    u32 max, r[3];
    cpuid(0, 0, &max, &r[0], &r[2], &r[1]);
    memcpy(text, r, 12);
    return text;
}

const char *arch_cpu_model(void)
{
    static char text[49];
    u32 r[4];
    if (leaf_reg(0x80000000, 0, EAX) < 0x80000004)
        return "unknown";
    for (u32 i = 0; i < 3; i++) {
        cpuid(0x80000002 + i, 0, &r[0], &r[1], &r[2], &r[3]);
        memcpy(text + 16 * i, r, 16);
    }
    return text + strspn(text, " ");
}

u64 arch_cpu_hwcap(void)
{
    return leaf_reg(1, 0, EDX);
}

u64 arch_cpu_hwcap2(void)
{
    return have_fsgsbase ? HWCAP2_FSGSBASE : 0;
}

bool arch_random(u64 *value)
{
    if (!(leaf_reg(1, 0, ECX) & (1u << 30)))
        return false;
    for (int i = 0; i < 10; i++) {
        bool ok;
        __asm__ volatile("rdrand %0" : "=r"(*value), "=@ccc"(ok));
        if (ok)
            return true;
    }
    return false;
}
