/*
 * Costs of kernel operations as a program sees them. One static program for both guests; prints `name value
 * unit`, where a value is nanoseconds of CLOCK_MONOTONIC per operation: under QEMU's `-icount shift=0` that
 * is guest instructions.
 *
 * Each operation runs a warm-up round and then rounds of a fixed count; the smallest round counts (interrupts
 * and first-use costs only ever add).
 */
#define _GNU_SOURCE
#include "benchmarks/lib/bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE   4096ul
#define MIB    (1024 * 1024ul)
#define ROUNDS 5

/* Runs `round` ROUNDS + 1 times; it returns the ns it took for `count` operations, set-up excluded. */
static void report(const char *name, uint64_t (*round)(unsigned count), unsigned count)
{
    uint64_t best = UINT64_MAX;
    round(count);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t ns = round(count);
        if (ns < best)
            best = ns;
    }
    printf("%s %.1f ns\n", name, (double)best / count);
    fflush(stdout);
}

static void *map(size_t len)
{
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(p != MAP_FAILED, "mmap");
    return p;
}

/* The C library's function, whose system call may have been rewritten to a call ... */
static uint64_t getppid_libc(unsigned count)
{
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++)
        getppid();
    return now_ns() - start;
}

/* ... and syscall(2), which takes any number and so stays SYSCALL. */
static uint64_t getppid_syscall(unsigned count)
{
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++)
        syscall(SYS_getppid);
    return now_ns() - start;
}

static uint64_t clock_gettime_vdso(unsigned count)
{
    struct timespec ts;
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++)
        clock_gettime(CLOCK_MONOTONIC, &ts);
    return now_ns() - start;
}

/* ---- futex hand-over: two threads on one CPU, or on two, pass a word back and forth ---- */

static _Atomic uint32_t turn;
static unsigned passes;

static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
    syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void pass_turns(uint32_t me, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        while (turn != me)
            futex(&turn, FUTEX_WAIT, !me);
        turn = !me;
        futex(&turn, FUTEX_WAKE, 1);
    }
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static void *futex_partner(void *cpu)
{
    pin((intptr_t)cpu);
    pass_turns(1, passes);
    return NULL;
}

static uint64_t handover(unsigned count, intptr_t partner_cpu)
{
    pthread_t partner;
    pin(0);
    turn = 0;
    passes = count / 2;
    need(!pthread_create(&partner, NULL, futex_partner, (void *)partner_cpu), "pthread_create");
    uint64_t start = now_ns();
    pass_turns(0, passes);
    pthread_join(partner, NULL);
    return now_ns() - start;
}

static uint64_t futex_handover(unsigned count)
{
    return handover(count, 0);
}

static uint64_t futex_handover_2_cpus(unsigned count)
{
    return handover(count, 1);
}

/* ---- threads ---- */

static void *nothing(void *arg)
{
    return arg;
}

static uint64_t thread_create_join(unsigned count)
{
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) {
        pthread_t t;
        need(!pthread_create(&t, NULL, nothing, NULL), "pthread_create");
        pthread_join(t, NULL);
    }
    return now_ns() - start;
}

/* ---- memory ---- */

static void touch(char *p, size_t len, size_t step)
{
    for (size_t i = 0; i < len; i += step)
        ((volatile char *)p)[i] = 1;
}

static uint64_t fault_4k(unsigned count)
{
    char *p = map(count * PAGE);
    madvise(p, count * PAGE, MADV_NOHUGEPAGE);
    uint64_t start = now_ns();
    touch(p, count * PAGE, PAGE);
    uint64_t ns = now_ns() - start;
    munmap(p, count * PAGE);
    return ns;
}

static uint64_t munmap_4k(unsigned count)
{
    char *p = map(count * PAGE);
    madvise(p, count * PAGE, MADV_NOHUGEPAGE);
    touch(p, count * PAGE, PAGE);
    uint64_t start = now_ns();
    munmap(p, count * PAGE);
    return now_ns() - start;
}

/* Per MiB, through 2 MiB pages where the kernel gives them. */
static uint64_t first_touch_huge(unsigned count)
{
    size_t len = (count + 4) * MIB;
    char *p = map(len);
    char *aligned = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));
    madvise(aligned, count * MIB, MADV_HUGEPAGE);
    uint64_t start = now_ns();
    touch(aligned, count * MIB, PAGE);
    uint64_t ns = now_ns() - start;
    munmap(p, len);
    return ns;
}

static uint64_t mprotect_page(unsigned count)
{
    char *p = map(16 * PAGE);
    touch(p, 16 * PAGE, PAGE);
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++)
        mprotect(p + 8 * PAGE, PAGE, i & 1 ? PROT_READ | PROT_WRITE : PROT_READ);
    uint64_t ns = now_ns() - start;
    munmap(p, 16 * PAGE);
    return ns;
}

/* Every second page of 16 MiB, in an order that jumps about, read-only, and then back. */
static uint64_t mprotect_pages(unsigned count)
{
    unsigned pages = count / 2; /* a power of two */
    size_t len = 2 * pages * PAGE;
    char *p = map(len);
    madvise(p, len, MADV_NOHUGEPAGE);
    touch(p, len, PAGE);
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) {
        unsigned k = i * 1237 % pages; /* odd: each page once a pass */
        need(!mprotect(p + 2 * k * PAGE, PAGE, i < pages ? PROT_READ : PROT_READ | PROT_WRITE), "mprotect");
    }
    uint64_t ns = now_ns() - start;
    munmap(p, len);
    return ns;
}

static uint64_t mmap_munmap_64k(unsigned count)
{
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++)
        munmap(map(64 * 1024), 64 * 1024);
    return now_ns() - start;
}

/* ---- descriptors ---- */

static uint64_t pipe_write_read(unsigned count)
{
    int fd[2];
    char c = 0;
    need(!pipe(fd), "pipe");
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++)
        need(write(fd[1], &c, 1) == 1 && read(fd[0], &c, 1) == 1, "pipe i/o");
    uint64_t ns = now_ns() - start;
    close(fd[0]);
    close(fd[1]);
    return ns;
}

static uint64_t eventfd_write_read(unsigned count)
{
    int fd = eventfd(0, 0);
    uint64_t v = 1;
    need(fd >= 0, "eventfd");
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++)
        need(write(fd, &v, 8) == 8 && read(fd, &v, 8) == 8, "eventfd i/o");
    uint64_t ns = now_ns() - start;
    close(fd);
    return ns;
}

static uint64_t epoll_one_ready(unsigned count)
{
    int fd = eventfd(1, 0), ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN};
    need(fd >= 0 && ep >= 0 && !epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), "epoll");
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++)
        need(epoll_wait(ep, &e, 1, -1) == 1, "epoll_wait");
    uint64_t ns = now_ns() - start;
    close(ep);
    close(fd);
    return ns;
}

/* ---- a lock that four threads pass through ---- */

enum { LOCK_THREADS = 4, TURNS = 50 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned lock_passes;

static void *lock_worker(void *arg)
{
    for (unsigned i = 0; i < lock_passes; i++) {
        pthread_mutex_lock(&lock);
        for (volatile int turns = 0; turns < TURNS; turns++)
            ;
        pthread_mutex_unlock(&lock);
    }
    return arg;
}

static uint64_t contended_lock(unsigned count)
{
    pthread_t threads[LOCK_THREADS];
    lock_passes = count / LOCK_THREADS;
    uint64_t start = now_ns();
    for (int i = 0; i < LOCK_THREADS; i++)
        need(!pthread_create(&threads[i], NULL, lock_worker, NULL), "pthread_create");
    for (int i = 0; i < LOCK_THREADS; i++)
        pthread_join(threads[i], NULL);
    return now_ns() - start;
}

int main(void)
{
    report("getppid", getppid_libc, 20000);
    report("getppid_by_syscall2", getppid_syscall, 20000);
    report("clock_gettime", clock_gettime_vdso, 20000);
    report("futex_handover", futex_handover, 10000);
    if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
        report("futex_handover_2_cpus", futex_handover_2_cpus, 2000);
    report("thread_create_join", thread_create_join, 500);
    report("fault_4k", fault_4k, 2048);
    report("munmap_4k", munmap_4k, 2048);
    report("first_touch_huge_1m", first_touch_huge, 32);
    report("mprotect_page", mprotect_page, 5000);
    report("mprotect_pages", mprotect_pages, 4096);
    report("mmap_munmap_64k", mmap_munmap_64k, 5000);
    report("pipe_write_read", pipe_write_read, 10000);
    report("eventfd_write_read", eventfd_write_read, 10000);
    report("epoll_one_ready", epoll_one_ready, 10000);
    report("contended_lock", contended_lock, 40000);
    return 0;
}
