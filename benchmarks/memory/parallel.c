/*
 * Memory touched, mapped and unmapped by N threads on N CPUs at once, N = 1, 2, 4 ... up to the number of
 * CPUs. Prints `begin NAME-N`, and `end NAME-N COUNT` after COUNT pages, MiB or operations. One static
 * program for both guests.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE    4096ul
#define MIB     (1024 * 1024ul)
#define CPU_MAX 32

struct test {
    const char *name;
    uint64_t (*work)(unsigned me); /* returns how many operations it did */
};

static pthread_barrier_t barrier;
static const struct test *test;
static uint64_t done[CPU_MAX];
static unsigned rounds = 10;

static char *map(size_t len)
{
    char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("parallel: mmap");
        exit(1);
    }
    return p;
}

static uint64_t touch_small(unsigned me)
{
    size_t len = 16 * MIB;
    char *p = map(len);
    madvise(p, len, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < len; i += PAGE)
        ((volatile char *)p)[i] = me;
    munmap(p, len);
    return len / PAGE;
}

static uint64_t touch_huge(unsigned me)
{
    size_t len = 32 * MIB;
    char *p = map(len);
    madvise(p, len, MADV_HUGEPAGE);
    for (size_t i = 0; i < len; i += PAGE)
        ((volatile char *)p)[i] = me;
    munmap(p, len);
    return len / MIB;
}

/* All threads change the one address space: the lock on it is what is measured. */
static uint64_t map_unmap(unsigned me)
{
    for (int i = 0; i < 2000; i++) {
        char *p = map(16 * PAGE);
        *(volatile char *)p = me;
        munmap(p, 16 * PAGE);
    }
    return 2000;
}

static void *thread(void *arg)
{
    unsigned me = (uintptr_t)arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(me, &set);
    sched_setaffinity(0, sizeof(set), &set);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < rounds; i++)
        done[me] += test->work(me);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void run(unsigned n)
{
    pthread_t threads[CPU_MAX];
    uint64_t sum = 0;
    pthread_barrier_init(&barrier, NULL, n + 1);
    for (uintptr_t i = 0; i < n; i++) {
        done[i] = 0;
        if (pthread_create(&threads[i], NULL, thread, (void *)i))
            exit(1);
    }
    printf("begin %s-%u\n", test->name, n);
    fflush(stdout);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < n; i++)
        sum += done[i];
    printf("end %s-%u %lu\n", test->name, n, sum);
    fflush(stdout);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"touch-4k-pages", touch_small},
        {"touch-huge-mib", touch_huge},
        {"map-touch-unmap", map_unmap},
    };
    unsigned cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (argc > 1)
        rounds = atoi(argv[1]);
    for (unsigned t = 0; t < sizeof(tests) / sizeof(tests[0]); t++) {
        test = &tests[t];
        for (unsigned n = 1; n <= cpus && n <= CPU_MAX; n *= 2)
            run(n);
    }
    return 0;
}
