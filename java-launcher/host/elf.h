/*
 * What an ELF executable or library needs of others (System V ABI, chapters 4 and 5; its x86-64 supplement).
 */
#ifndef JAVA_LAUNCHER_HOST_ELF_H
#define JAVA_LAUNCHER_HOST_ELF_H

#include "java-launcher/host/util.h"

struct elf_info {
    bool executable;       /* ET_EXEC or ET_DYN with an entry point or an interpreter */
    char *interpreter;     /* PT_INTERP, or NULL */
    char *soname;          /* DT_SONAME, or NULL */
    char *rpath, *runpath; /* DT_RPATH and DT_RUNPATH, not expanded, or NULL */
    struct strvec needed;  /* DT_NEEDED in order */
};

/* 0; -errno when the file cannot be read; -ENOEXEC when it is no 64-bit x86-64 ELF file or a damaged one. */
int elf_read(const char *path, struct elf_info *info);

#endif
