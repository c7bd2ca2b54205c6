/* Loading ELF programs. */
#ifndef MOKA_LINUX_ELF_H
#define MOKA_LINUX_ELF_H

#include "kernel/base/types.h"

/* A program in memory. Addresses are the program's. */
struct elf_program {
    u64 start;       /* where to jump: the interpreter's entry, or the program's */
    u64 entry;       /* the program's own */
    u64 phdr, phnum; /* its program headers */
    u64 interp_base; /* 0: no interpreter */
    u64 end;         /* page-aligned end of the program: the break starts here */
    u64 code_start, code_end, data_start, data_end;
    bool exec_stack;
};

/* Maps the program at an absolute path, and its interpreter. 0, or -errno after one log_error line. */
int elf_load(const char *path, struct elf_program *out);

#endif
