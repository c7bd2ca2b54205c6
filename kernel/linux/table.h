/* The table of system calls. */
#ifndef MOKA_LINUX_TABLE_H
#define MOKA_LINUX_TABLE_H

#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/types.h"

#define SYSCALL_MAX 451

#define NR_RT_SIGRETURN 15
#define NR_CLONE        56
#define NR_CLONE3       435

typedef syscall_handler syscall_fn;

/* One row: what strace needs to know about a call. */
struct syscall_row {
    const char *name; /* NULL: no such number */
    const char *args; /* kinds, see table.def */
};
extern const struct syscall_row syscall_rows[SYSCALL_MAX];

/* Tells the entry code which handlers it may call by itself. strace_on is decided. */
void table_init(void);
/* The trap hook: a call with its whole frame, traced, restarted, or not there. */
void linux_syscall(struct trap_frame *frame);
/* Names a call that we do not have on the console, once for each number. */
void syscall_missing(u64 nr, const char *why);

/* strace.c: prints a call that is about to run and will not return, or one that returned. */
void strace_call(u64 nr, const u64 args[6], s64 result);
void strace_enter(u64 nr, const u64 args[6]);
extern bool strace_on;

#endif
