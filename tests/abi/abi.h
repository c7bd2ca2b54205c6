/* The ABI suite: one program, many cases, the same output wanted on Linux and on Moka.
 *
 * A case is a function that prints lines through the macros below. Nothing it prints may depend on the run:
 * no addresses, no descriptor numbers, no times; facts about them instead ("starts where asked: yes"). Linux
 * is the oracle: the runner runs the same binary on the host and on Moka and compares the lines case by case.
 *
 *     CASE(name) { ... }      shares a process with other cases. It must put back what it changes in the
 * process; the driver restores signal actions, mask, directory, umask and descriptors after it.
 *     CASE_ENDS(name) { ... } ends the process, or leaves it unusable: gets a process (a VM) of its own.
 *     CASE_MOKA(name) { ... } means nothing on Linux (the random calls): runs on Moka only, must print "ok".
 *
 * A case that crashes prints "crash: ..." and the driver goes on; one that hangs prints "hang" and ends the
 * program with status 99, and the runner starts another one with the cases that are left.
 */
#ifndef MOKA_TESTS_ABI_H
#define MOKA_TESTS_ABI_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum abi_kind { ABI_SHARED, ABI_ENDS, ABI_MOKA };

struct abi_case {
    const char *name;
    enum abi_kind kind;
    void (*run)(void);
    struct abi_case *next; /* the list is sorted by name */
};

void abi_register(struct abi_case *c);

#define ABI_CASE(id, its_kind)                                                                               \
    static void id(void);                                                                                    \
    __attribute__((constructor)) static void register_##id(void)                                             \
    {                                                                                                        \
        static struct abi_case self = {.name = #id, .kind = its_kind, .run = id};                            \
        abi_register(&self);                                                                                 \
    }                                                                                                        \
    static void id(void)
#define CASE(id)      ABI_CASE(id, ABI_SHARED)
#define CASE_ENDS(id) ABI_CASE(id, ABI_ENDS)
#define CASE_MOKA(id) ABI_CASE(id, ABI_MOKA)

/* Prints "CASE: text\n" with one write, so that lines of several threads do not mix. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The symbolic name of an errno value, "0" for zero. */
const char *errname(int error);

/* How a call went: "ok" for any result but -1, else the name of errno. Keeps the result for RESULT. */
long show_ok(const char *text, long result);
/* As show_ok, but prints the number itself: for results that are the same everywhere. */
long show_value(const char *text, long result);
/* For calls that return their error instead of setting errno (pthread_*, posix_*). */
long show_error(const char *text, int error);
bool show_fact(const char *text, bool fact);

#define OK(call)    (errno = 0, show_ok(#call, (long)(call)))
#define VALUE(call) (errno = 0, show_value(#call, (long)(call)))
#define ERROR(call) show_error(#call, (call))
#define CHECK(fact) show_fact(#fact, (fact))

/* Ends the case when a step that everything after it needs has failed. */
#define NEED(fact)                                                                                           \
    do {                                                                                                     \
        if (!(fact)) {                                                                                       \
            say("cannot go on: %s (%s)", #fact, errname(errno));                                             \
            return;                                                                                          \
        }                                                                                                    \
    } while (0)

/* ---- faults ---- */

struct fault {
    int signal; /* 0: none happened */
    int code;   /* si_code */
    void *addr; /* si_addr */
};

/* Runs f(arg) and catches the SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP it raises in this thread. */
struct fault fault_of(void (*f)(void *), void *arg);
struct fault fault_read(const volatile void *p);
struct fault fault_write(volatile void *p);
struct fault fault_exec(void *p);
/* Prints "text: none" or "text: SIGSEGV SEGV_MAPERR at +offset", the offset counted from base. */
void show_fault(const char *text, struct fault f, const volatile void *base);

const char *signame(int signal);

/* ---- small conveniences ---- */

#define PAGE 4096UL
#define KB   1024UL
#define MB   (1024UL * KB)
#define GB   (1024UL * MB)
#define TB   (1024UL * GB)

uint64_t now_ns(clockid_t clock);
void sleep_ms(unsigned ms);
/* Until other threads do what they are about to do: so many ms during which the host had time for us. */
void settle_ms(unsigned ms);
/* Waits until *word has become value, at most 10 seconds; false when it has not. */
bool wait_for(const volatile int *word, int value);
/* Private anonymous memory, read and write; NULL on failure. */
char *anonymous(size_t len);
/* The whole of a file (at most len - 1 bytes), zero-terminated; its length, or -1. */
long slurp(const char *path, char *text, size_t len);
void spit(const char *path, const char *text);
/* For a long case: it is no hang, more time. */
void abi_alive(void);
/* Starts a thread; ends the process when it cannot. */
pthread_t start(void *(*f)(void *), void *arg);

#endif
