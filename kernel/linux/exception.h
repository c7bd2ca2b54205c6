/* Hooks for faults and exceptions (trap.h). */
#ifndef MOKA_LINUX_EXCEPTION_H
#define MOKA_LINUX_EXCEPTION_H

#include "kernel/arch/x86_64/trap.h"

int exception_page_fault(struct trap_frame *frame, u64 addr, u32 error);
void exception_signal(struct trap_frame *frame, u64 addr, int pf_result);

#endif
