/* Threads that hand on to each other while others compute. Usage: ring SECONDS [THREADS [BUSY]] */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };

static sem_t turn[THREADS_MAX];
static int threads = 4;
static volatile unsigned long rounds;

static void *hand_on(void *arg)
{
    for (long me = (long)arg;;) {
        sem_wait(&turn[me]);
        rounds += !me;
        sem_post(&turn[(me + 1) % threads]);
    }
    return arg;
}

static void *compute(void *arg)
{
    for (volatile unsigned long i = 0;;)
        i++;
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    double seconds = argc > 1 ? atof(argv[1]) : 3;
    threads = argc > 2 ? atoi(argv[2]) : threads;
    int busy = argc > 3 ? atoi(argv[3]) : 1;
    if (threads < 2 || threads > THREADS_MAX)
        return 2;
    for (int i = 0; i < threads; i++)
        sem_init(&turn[i], 0, !i);
    for (long i = 0; i < threads; i++)
        pthread_create(&thread, NULL, hand_on, (void *)i);
    for (int i = 0; i < busy; i++)
        pthread_create(&thread, NULL, compute, NULL);
    usleep(200000);
    printf("begin ring\n");
    fflush(stdout);
    unsigned long before = rounds;
    usleep(seconds * 1e6);
    printf("end ring %lu\n", rounds - before);
    fflush(stdout);
    _exit(0);
}
