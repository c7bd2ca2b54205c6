/* Threads that contend for the address space: mmap, touch each page, munmap, 64 KiB at a time. Usage: maps
 * SECONDS [THREADS] */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LEN = 64 << 10, PAGE = 4096, THREADS_MAX = 64 };

static atomic_bool stop;
static atomic_ulong total;

static void *worker(void *arg)
{
    unsigned long done = 0;
    for (; !stop; done++) {
        char *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            abort();
        for (int i = 0; i < LEN; i += PAGE)
            p[i] = 1;
        munmap(p, LEN);
    }
    total += done;
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS_MAX];
    double seconds = argc > 1 ? atof(argv[1]) : 3;
    int n = argc > 2 ? atoi(argv[2]) : 4;
    printf("begin maps\n");
    fflush(stdout);
    for (int i = 0; i < n && i < THREADS_MAX; i++)
        pthread_create(&threads[i], NULL, worker, NULL);
    usleep(seconds * 1e6);
    stop = true;
    for (int i = 0; i < n && i < THREADS_MAX; i++)
        pthread_join(threads[i], NULL);
    printf("end maps %lu\n", total);
}
