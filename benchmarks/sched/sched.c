/*
 * The scheduler's evidence, on Linux and on Moka alike: how fairly busy threads share the CPUs, and how late
 * a sleeper wakes beside them. Usage: sched SECONDS. One figure a line: NAME VALUE UNIT.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define SLEEPS      200

static volatile int stop;
static uint64_t used_ns[THREADS_MAX];  /* CPU time, as the kernel accounts for it */
static uint64_t turns[THREADS_MAX][8]; /* [0]: turns of the loop, the work really done; a cache line each */
static int niceness[THREADS_MAX];

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

static void *spin(void *arg)
{
    long me = (long)arg;
    setpriority(PRIO_PROCESS, syscall(SYS_gettid), niceness[me]);
    uint64_t done = 0;
    while (!stop)
        __asm__ volatile("incq %0" : "+r"(done));
    turns[me][0] = done;
    used_ns[me] = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static void run_threads(long count, unsigned seconds)
{
    pthread_t threads[THREADS_MAX];
    stop = 0;
    for (long i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, spin, (void *)i);
    sleep(seconds);
    stop = 1;
    for (long i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static uint64_t by_clock(long i)
{
    return used_ns[i];
}
static uint64_t by_work(long i)
{
    return turns[i][0];
}

/* The largest deviation from the fair share, in per cent of it. */
static double unfairness(long count, double (*weight)(long i), uint64_t (*got)(long i))
{
    double sum = 0, weights = 0, worst = 0;
    for (long i = 0; i < count; i++) {
        sum += got(i);
        weights += weight(i);
    }
    for (long i = 0; i < count; i++) {
        double share = sum * weight(i) / weights, off = (got(i) - share) / share * 100;
        worst = off < 0 ? (-off > worst ? -off : worst) : off > worst ? off : worst;
    }
    return worst;
}

static double equal(long i)
{
    return 1;
}
static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* How late sleeps of 5 ms end while `hogs` threads spin. */
static void lateness(const char *name, long hogs)
{
    pthread_t threads[THREADS_MAX];
    uint64_t late[SLEEPS];
    stop = 0;
    for (long i = 0; i < hogs; i++)
        pthread_create(&threads[i], NULL, spin, (void *)i);
    for (int i = 0; i < SLEEPS; i++) {
        uint64_t due = clock_ns(CLOCK_MONOTONIC) + 5000000;
        struct timespec ts = {due / 1000000000, due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
        late[i] = clock_ns(CLOCK_MONOTONIC) - due;
    }
    stop = 1;
    for (long i = 0; i < hogs; i++)
        pthread_join(threads[i], NULL);
    qsort(late, SLEEPS, sizeof(*late), compare);
    printf("%s_median %.1f us\n%s_worst %.1f us\n", name, late[SLEEPS / 2] / 1e3, name,
           late[SLEEPS - 1] / 1e3);
}

static void shares(long count, unsigned seconds, long cpus)
{
    run_threads(count, seconds);
    printf("unfairness_%ld_threads_%ld_cpus %.2f %%\n", count, cpus, unfairness(count, equal, by_clock));
    printf("unfairness_%ld_threads_%ld_cpus_by_work %.2f %%\n", count, cpus,
           unfairness(count, equal, by_work));
    fflush(stdout);
}

/* Every other thread at nice 5, twice as many threads as CPUs: no thread's share is more than a CPU. */
static double alternating(long i)
{
    return i % 2 ? 335.54 : 1024; /* 1.25 for each step (setpriority(2) on Linux) */
}

static void nice_shares(unsigned seconds, long cpus)
{
    long count = 4 * cpus;
    for (long i = 1; i < count; i += 2)
        niceness[i] = 5;
    run_threads(count, seconds);
    memset(niceness, 0, sizeof(niceness));
    printf("unfairness_nice_0_and_5 %.2f %%\n", unfairness(count, alternating, by_clock));
    printf("unfairness_nice_0_and_5_by_work %.2f %%\n", unfairness(count, alternating, by_work));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? atoi(argv[1]) : 5;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    shares(cpus + 1, seconds, cpus);
    shares(2 * cpus + 1, seconds, cpus);
    shares(4 * cpus, seconds, cpus);
    nice_shares(seconds, cpus);
    lateness("late_idle", 0);
    lateness("late_busy", 2 * cpus);
    return 0;
}
