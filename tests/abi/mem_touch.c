/* First touches: memory reads as zeros whatever was there before, and a fault costs no register. */
#include "abi.h"

#define HUGE (2 * MB)

/* Fills len bytes at p with other bytes than zeros. */
static void spoil(char *p, size_t len)
{
    memset(p, 0xa5, len);
}

static bool zeros(const char *p, size_t len)
{
    const uint64_t *word = (const void *)p;
    for (size_t i = 0; i < len / 8; i++)
        if (word[i])
            return false;
    return true;
}

/* Maps, looks and unmaps again and again, so that memory comes back that was in use before. */
static unsigned dirty_rounds(size_t len, int advice, int rounds)
{
    unsigned dirty = 0;
    for (int i = 0; i < rounds; i++) {
        char *p = anonymous(len);
        if (!p)
            return 1000;
        madvise(p, len, advice);
        for (size_t at = 0; at < len; at += PAGE) /* the first access: a write or a read */
            if ((at / PAGE + i) % 3)
                ((volatile char *)p)[at + i % PAGE] = 0;
        dirty += !zeros(p, len);
        spoil(p, len);
        munmap(p, len);
    }
    return dirty;
}

CASE(touched_memory_is_zero)
{
    VALUE(dirty_rounds(300 * PAGE, MADV_NOHUGEPAGE, 12));
    VALUE(dirty_rounds(4 * HUGE, MADV_HUGEPAGE, 4));
}

/* One of each: what a register held before and after. */
struct vectors {
    unsigned char of[16][32];
} __attribute__((aligned(32)));

#define LOAD(n)  "vmovdqa " #n "*32(%[in]), %%ymm" #n "\n\t"
#define STORE(n) "vmovdqa %%ymm" #n ", " #n "*32(%[out])\n\t"
#define ALL(f)   f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)

/* Writes to each page of [p, end) with all registers loaded from in, and stores them to out. */
__attribute__((target("avx"))) static void touch_with_ymm(char *p, const char *end, const struct vectors *in,
                                                          struct vectors *out)
{
    __asm__ volatile(ALL(LOAD) "1: movb $1, (%[p])\n\t"
                               "addq $4096, %[p]\n\t"
                               "cmpq %[end], %[p]\n\t"
                               "jb 1b\n\t" ALL(STORE) "vzeroupper"
                     : [p] "+r"(p)
                     : [end] "r"(end), [in] "r"(in), [out] "r"(out)
                     : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static void touch(char *p, const char *end, const struct vectors *in, struct vectors *out)
{
    if (__builtin_cpu_supports("avx")) {
        touch_with_ymm(p, end, in, out);
        return;
    }
    for (; p < end; p += PAGE)
        *(volatile char *)p = 1;
    *out = *in;
}

/* Returns how often registers changed. */
static unsigned spoiled(unsigned char mark, size_t len, int advice, int rounds)
{
    struct vectors in, out;
    unsigned wrong = 0;
    for (int i = 0; i < rounds; i++) {
        char *p = anonymous(len);
        if (!p)
            return 1000;
        madvise(p, len, advice);
        for (size_t k = 0; k < sizeof(in); k++)
            ((unsigned char *)&in)[k] = mark + i + k * 7;
        memset(&out, 0, sizeof(out));
        touch(p, p + len, &in, &out);
        wrong += memcmp(&in, &out, sizeof(in)) != 0;
        munmap(p, len);
    }
    return wrong;
}

static void *spoiled_small(void *mark)
{
    return (void *)(uintptr_t)spoiled((uintptr_t)mark, 64 * PAGE, MADV_NOHUGEPAGE, 150);
}

static void *spoiled_huge(void *mark)
{
    return (void *)(uintptr_t)spoiled((uintptr_t)mark, 2 * HUGE, MADV_HUGEPAGE, 12);
}

/* More threads than CPUs, so that they take the CPU from each other in the middle of their faults. */
CASE(vectors_kept_by_faults)
{
    pthread_t thread[8];
    uintptr_t wrong = 0;
    for (uintptr_t i = 0; i < 8; i++)
        thread[i] = start(i & 1 ? spoiled_huge : spoiled_small, (void *)(i * 31 + 1));
    for (int i = 0; i < 8; i++) {
        void *result;
        pthread_join(thread[i], &result);
        wrong += (uintptr_t)result;
    }
    VALUE(wrong);
}
