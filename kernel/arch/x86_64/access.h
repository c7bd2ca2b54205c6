/*
 * Single accesses to memory that may be bad, without a call: each is one instruction with an entry in
 * .extable. Page faults are resolved as for the program, so they may sleep. Callers check beforehand that the
 * address is below PROGRAM_END. True: done; false: there is no such memory.
 */
#ifndef MOKA_ARCH_ACCESS_H
#define MOKA_ARCH_ACCESS_H

#include "kernel/base/types.h"

static inline bool load64_safe(u64 *value, const void *p)
{
    u64 v;
    __asm__ goto("1: movq %1, %0\n\t"
                 ".pushsection .extable, \"a\"\n\t.quad 1b, %l2\n\t.popsection"
                 : "=r"(v)
                 : "m"(*(const u64 *)p)
                 :
                 : bad);
    *value = v;
    return true;
bad:
    return false;
}

static inline bool store64_safe(void *p, u64 value)
{
    __asm__ goto("1: movq %1, %0\n\t"
                 ".pushsection .extable, \"a\"\n\t.quad 1b, %l2\n\t.popsection"
                 :
                 : "m"(*(u64 *)p), "r"(value)
                 : "memory"
                 : bad);
    return true;
bad:
    return false;
}

static inline bool store16_safe(void *p, u16 value)
{
    __asm__ goto("1: movw %1, %0\n\t"
                 ".pushsection .extable, \"a\"\n\t.quad 1b, %l2\n\t.popsection"
                 :
                 : "m"(*(u16 *)p), "r"(value)
                 : "memory"
                 : bad);
    return true;
bad:
    return false;
}

static inline bool store32_safe(void *p, u32 value)
{
    __asm__ goto("1: movl %1, %0\n\t"
                 ".pushsection .extable, \"a\"\n\t.quad 1b, %l2\n\t.popsection"
                 :
                 : "m"(*(u32 *)p), "r"(value)
                 : "memory"
                 : bad);
    return true;
bad:
    return false;
}

#endif
