/* Ending the machine when the kernel's own state is wrong. */
#ifndef MOKA_BASE_PANIC_H
#define MOKA_BASE_PANIC_H

#include "kernel/base/types.h"

struct trap_frame;

/*
 * Stops the other CPUs, prints `moka: panic: ` and the message, a backtrace with symbols, and powers off
 * with exit status 70. Any context. Only the first caller prints; later ones halt.
 */
_Noreturn void panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, with the registers and the backtrace of a trap. */
_Noreturn void panic_trap(const struct trap_frame *frame, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints a backtrace of the caller, or of frame when it is not NULL, as log_error lines. */
void backtrace_print(const struct trap_frame *frame);

/* Checks a precondition or an invariant; kept in every build. */
#define ASSERT(cond)                                                                                         \
    do {                                                                                                     \
        if (unlikely(!(cond)))                                                                               \
            panic("%s:%d: %s: not true: %s", __FILE__, __LINE__, __func__, #cond);                           \
    } while (0)

/*
 * How the host is told the exit status; NULL until a driver registers them. shutdown_begin keeps all other
 * threads from what shutdown_report uses, for good: called in a thread, may sleep, but not for long, whatever
 * locks the thread holds. After a panic it is left out: the other CPUs are stopped. shutdown_report is called
 * with interrupts off and must not sleep or lock; status: 0..255.
 */
extern void (*shutdown_begin)(void);
extern void (*shutdown_report)(int status);
/* Powers the machine off after reporting status (0..255). In a thread that may sleep, or by panic. Does not
 * return. */
_Noreturn void shutdown(int status);

#endif
