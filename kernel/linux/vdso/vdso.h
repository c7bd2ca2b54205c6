/*
 * The vDSO: a small ELF shared object that the kernel maps into the program, so that clock_gettime,
 * clock_getres, gettimeofday, time and getcpu cost a call. Source: vdso(7); symbol version LINUX_2.6, names
 * __vdso_*.
 */
#ifndef MOKA_LINUX_VDSO_H
#define MOKA_LINUX_VDSO_H

#include "kernel/base/types.h"

/* Maps the image read-only and executable; returns its address for AT_SYSINFO_EHDR, or 0 when memory ran out.
 * Once. */
u64 vdso_map(void);

#endif
