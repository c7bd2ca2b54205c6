/*
 * What the scheduler promises, as facts that do not mind a busy host. Runs on Moka (and, but for `ticks`, on
 * Linux).
 *
 *   sched ticks           timer interrupts while idle, and while each CPU has one thread that computes
 *   sched zeroing         idle CPUs zero memory, first touches take it, and idle CPUs zero more
 *   sched crowd THREADS   threads that sleep, wake each other in a ring, and end
 *   sched migrate         a thread follows its affinity over all CPUs, and leaves a CPU it shares
 *   sched fair            the work that threads which compute get done, equal ones and such of two niceness
 *
 * Prints `ok NAME` or `not ok NAME: why` lines.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
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

/* ---- zeroing ---- */

/* A figure of /proc/vmstat, in pages; -1: there is none. */
static long vm_figure(const char *name)
{
    char line[128];
    size_t len = strlen(name);
    long value = -1;
    FILE *f = fopen("/proc/vmstat", "r");
    while (f && value < 0 && fgets(line, sizeof line, f))
        if (!strncmp(line, name, len) && line[len] == ' ')
            value = atol(line + len);
    if (f)
        fclose(f);
    return value;
}

/* Sleeps until the figure is larger than `than`: 0, or it never was. */
static long grows(const char *name, long than)
{
    for (uint64_t end = now_ms() + 20000; now_ms() < end; pause_ms(10))
        if (vm_figure(name) > than)
            return 1;
    return 0;
}

static void zeroing(void)
{
    enum { MEMORY = 16 << 20, BLOCK = 2 << 20 };
    long ready = grows("zeroed_ready_huge", 0) && grows("zeroed_ready", 0);
    report("zeroed-by-idle-cpus", ready, "2 MiB pages that are ready:", vm_figure("zeroed_ready_huge"));
    long made = vm_figure("zeroed_made"), used = vm_figure("zeroed_used");
    char *p = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long at = 0; p != MAP_FAILED && at < MEMORY; at += BLOCK)
        p[at] = 1;
    used = vm_figure("zeroed_used") - used;
    report("taken-and-made-again", used >= 512 && grows("zeroed_made", made), "pages taken:", used);
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

/* ---- fair ---- */

enum { WORKERS_MAX = 4 * CPUS_MAX, FAIR_MS = 5000, FAIR_TRIES = 12, TURNS = 50000 };

struct worker {
    _Alignas(64) uint64_t done; /* pieces of work of TURNS turns of a loop each */
    uint64_t fastest_ns;        /* the shortest time that a piece took */
    uint64_t cpu_ns;            /* CPU time as the kernel accounts for it */
    int nice;
};
static struct worker workers[WORKERS_MAX];

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    setpriority(PRIO_PROCESS, syscall(SYS_gettid), w->nice);
    w->fastest_ns = UINT64_MAX;
    for (w->done = 0; !stop; w->done++) {
        uint64_t start = clock_ns(CLOCK_MONOTONIC);
        for (int i = 0; i < TURNS; i++)
            __asm__ volatile("");
        uint64_t took = clock_ns(CLOCK_MONOTONIC) - start;
        w->fastest_ns = took < w->fastest_ns ? took : w->fastest_ns;
    }
    w->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static void compete(long count, int second_nice)
{
    pthread_t threads[WORKERS_MAX];
    stop = 0;
    for (long i = 0; i < count; i++) {
        workers[i].nice = i % 2 ? second_nice : 0;
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    pause_ms(FAIR_MS);
    stop = 1;
    for (long i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static double by_work(const struct worker *w)
{
    return w->done;
}
static double by_clock(const struct worker *w)
{
    return w->cpu_ns;
}

/* The largest deviation from a worker's share of the sum, in per cent of that share. */
static double unfairness(long count, double (*got)(const struct worker *w))
{
    double weights = 0, sum = 0, worst = 0;
    for (long i = 0; i < count; i++) {
        sum += got(&workers[i]);
        weights += workers[i].nice ? 335.54 : 1024; /* 1.25 for each step (setpriority(2) on Linux) */
    }
    for (long i = 0; i < count; i++) {
        double share = sum * (workers[i].nice ? 335.54 : 1024) / weights;
        worst = fmax(worst, fabs(got(&workers[i]) / share - 1));
    }
    return worst * 100;
}

/* How much of the time that the kernel accounts for no work was done, in per cent: the host took the CPU
 * away. */
static double stolen(long count)
{
    uint64_t fastest = UINT64_MAX;
    double done = 0, cpu_ns = 0;
    for (long i = 0; i < count; i++) {
        fastest = workers[i].fastest_ns < fastest ? workers[i].fastest_ns : fastest;
        done += workers[i].done;
        cpu_ns += workers[i].cpu_ns;
    }
    return (1 - done * fastest / cpu_ns) * 100;
}

/*
 * Each one's share of the work, and of the accounted time, is off by `limit` per cent at most. What the host
 * takes hits whoever runs at that time, and need not be the same for all: an eighth of it may be uneven. One
 * of a few tries must do.
 */
static void fair(const char *name, long count, int second_nice, double limit)
{
    double off = 0, allowed = 0, accounted = 0;
    for (int i = 0; i < FAIR_TRIES && off >= allowed; i++) {
        compete(count, second_nice);
        accounted = unfairness(count, by_clock);
        allowed = limit + stolen(count) / 8;
        off = fmax(unfairness(count, by_work), accounted);
    }
    fprintf(stderr, "%s: off by %.2f %%, allowed %.2f; by accounted time %.2f\n", name, off, allowed,
            accounted);
    report(name, off < allowed, "tenths of a per cent off:", lrint(10 * off));
}

int main(int argc, char **argv)
{
    cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (argc == 2 && !strcmp(argv[1], "ticks"))
        ticks();
    else if (argc == 2 && !strcmp(argv[1], "zeroing"))
        zeroing();
    else if (argc == 3 && !strcmp(argv[1], "crowd"))
        crowd(atol(argv[2]));
    else if (argc == 2 && !strcmp(argv[1], "migrate"))
        migrate();
    else if (argc == 2 && !strcmp(argv[1], "fair")) {
        fair("fair", 2 * cpus + 1, 0, 2);
        fair("fair-nice", 4 * cpus, 5, 5);
    } else
        return 2;
    return failed;
}
