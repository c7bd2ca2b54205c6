/*
 * Backtraces through the kernel and the program, by DWARF call-frame information (libunwind's remote
 * interface). Kernel frames are named from the kernel's own symbol table; program frames by file and offset,
 * and by the exported symbol that covers the address where there is one.
 */
#ifndef MOKA_BASE_UNWIND_H
#define MOKA_BASE_UNWIND_H

#include "kernel/base/types.h"

/* Where an ELF file of the program lies in memory. */
struct unwind_module {
    u64 base;       /* address of its ELF header (load bias + first segment) */
    u64 start, end; /* the mapping that holds the address asked for */
    char name[128]; /* path, or a name in brackets */
};
/*
 * Tells which file the program address ip belongs to; false when none. Called with anything locked or stopped
 * when may_sleep is false, and must then neither sleep nor lock. NULL until kernel/linux registers one.
 */
extern bool (*unwind_find_module)(u64 ip, struct unwind_module *out, bool may_sleep);

/*
 * The kernel's address of the page that a fault at addr, in the program's half, would map from a file; 0 when
 * it is not in memory. Any context, like unwind_peek. NULL until mm/vm registers one.
 */
extern u64 (*unwind_find_cached)(u64 addr);

/*
 * Reads n bytes of kernel or program memory by walking the page table, and the page cache where the program
 * has a file mapped whose page is cached: any context, never faults. False when a page is absent.
 */
bool unwind_peek(u64 addr, void *out, size_t n);

/* For unwind.c: takes back all memory that libunwind has, before the next walk. Any context. */
void unwind_memory_reset(void);

#endif
