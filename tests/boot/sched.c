/*
 * What the scheduler promises, as facts that do not mind a busy host. Runs on Moka (and, but for `ticks`, on
 * Linux).
 *
 *   sched ticks           timer interrupts while idle, and while each CPU has one thread that computes
 *   sched crowd THREADS   threads that sleep, wake each other in a ring, and end
 *   sched migrate         a thread follows its affinity over all CPUs, and leaves a CPU it shares
 *
 * Prints `ok NAME` or `not ok NAME: why` lines.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CPUS_MAX = 32, TOKENS = 16, STACK = 32 << 10, WINDOW_MS = 2000 };

static int failed;
static long cpus;

static void report(const char *name, int fine, const char *what, long value)
{
    if (fine)
        printf("ok %s\n", name);
    else
        printf("not ok %s: %s %ld\n", name, what, value);
    failed |= !fine;
    fflush(stdout);
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000UL + ts.tv_nsec / 1000000;
}

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static void compute_ms(unsigned ms)
{
    for (uint64_t end = now_ms() + ms; now_ms() < end;)
        ;
}

/* Local timer interrupts of all CPUs so far: the sum of the line LOC, one number a CPU. */
static long timer_interrupts(void)
{
    char line[4096];
    long sum = -1;
    FILE *f = fopen("/proc/interrupts", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *p = strstr(line, "LOC:"), *end;
        if (!p)
            continue;
        sum = 0;
        for (p += 4;; p = end) {
            long n = strtol(p, &end, 10);
            if (end == p)
                break;
            sum += n;
        }
    }
    if (f)
        fclose(f);
    return sum;
}

/* ---- ticks ---- */

static atomic_int stop;

static void *compute(void *arg)
{
    while (!stop)
        ;
    return arg;
}

static void ticks(void)
{
    pthread_t threads[CPUS_MAX];
    pause_ms(200);
    long before = timer_interrupts();
    pause_ms(WINDOW_MS);
    long idle = timer_interrupts() - before;
    /* One ends the sleep. It may come early and be set once more: the timer's rate was measured on a busy
     * host. */
    report("no-ticks-when-idle", before >= 0 && idle <= 2, "timer interrupts in 2 s of sleep:", idle);

    for (long i = 1; i < cpus; i++)
        pthread_create(&threads[i], NULL, compute, NULL);
    compute_ms(1000); /* until each has a CPU of its own */
    before = timer_interrupts();
    compute_ms(WINDOW_MS);
    long busy = timer_interrupts() - before;
    report("no-ticks-with-one-thread-a-cpu", busy == 0, "timer interrupts in 2 s:", busy);
    stop = 1;
    for (long i = 1; i < cpus; i++)
        pthread_join(threads[i], NULL);
}

/* ---- crowd ---- */

struct member {
    sem_t turn;
    struct member *next;
    unsigned nap_us;
};
static atomic_long passed;
static long rounds;

static void *take_part(void *arg)
{
    struct member *m = arg;
    for (long i = 0; i < rounds; i++) {
        while (sem_wait(&m->turn))
            ;
        passed++;
        sem_post(&m->next->turn);
        nanosleep(&(struct timespec){.tv_nsec = m->nap_us * 1000L}, NULL);
    }
    return NULL;
}

/* TOKENS tokens go round; everybody passes as many as there are rounds, and naps each time. */
static void crowd(long count)
{
    struct member *members = calloc(count, sizeof *members);
    pthread_t *threads = calloc(count, sizeof *threads);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    rounds = TOKENS;
    long started = 0;
    for (long i = 0; i < count; i++) {
        sem_init(&members[i].turn, 0, i % (count / TOKENS) == 0);
        members[i].next = &members[(i + 1) % count];
        members[i].nap_us = i * 7919 % 5000;
    }
    while (started < count && !pthread_create(&threads[started], &attr, take_part, &members[started]))
        started++;
    report("crowd-starts", started == count, "threads started:", started);
    if (started < count)
        return;
    for (long i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    report("crowd-ends", passed == count * rounds, "passes:", passed);
}

/* ---- migrate ---- */

static void pin(pthread_t thread, int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(thread, sizeof set, &set);
}

static atomic_int seen_cpu;

static void *watch_cpu(void *arg)
{
    while (!stop)
        seen_cpu = sched_getcpu();
    return arg;
}

/* A thread that computes is moved by another one; then two that share a CPU are let go, and part. */
static void migrate(void)
{
    pthread_t thread;
    cpu_set_t all;
    long moved = 0;
    stop = 0;
    pthread_create(&thread, NULL, watch_cpu, NULL);
    for (int cpu = 0; cpu < cpus; cpu++) {
        pin(thread, cpu);
        for (uint64_t end = now_ms() + 20000; seen_cpu != cpu && now_ms() < end;)
            pause_ms(1);
        moved += seen_cpu == cpu;
    }
    report("moved-by-affinity", moved == cpus, "CPUs reached:", moved);

    pin(thread, 0);
    pin(pthread_self(), 0);
    pause_ms(10);
    CPU_ZERO(&all);
    for (int cpu = 0; cpu < cpus; cpu++)
        CPU_SET(cpu, &all);
    sched_setaffinity(0, sizeof all, &all);
    pthread_setaffinity_np(thread, sizeof all, &all);
    long apart = cpus == 1;
    for (uint64_t end = now_ms() + 20000; !apart && now_ms() < end;)
        apart = seen_cpu != sched_getcpu();
    report("parted", apart, "still together on CPU", seen_cpu);
    stop = 1;
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (argc == 2 && !strcmp(argv[1], "ticks"))
        ticks();
    else if (argc == 3 && !strcmp(argv[1], "crowd"))
        crowd(atol(argv[2]));
    else if (argc == 2 && !strcmp(argv[1], "migrate"))
        migrate();
    else
        return 2;
    return failed;
}
