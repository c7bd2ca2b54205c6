/* epoll among many threads. */
#include "abi.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int watch(int ep, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.fd = fd};
    return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

static long ring(int event)
{
    uint64_t one = 1;
    return write(event, &one, sizeof(one));
}

/* ---- one epoll, on which some threads wait and which others poll ---- */

static volatile int came;

static void *poll_one(void *arg)
{
    struct pollfd p = {.fd = (int)(long)arg, .events = POLLIN};
    __atomic_add_fetch(&came, poll(&p, 1, -1) == 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void *wait_one(void *arg)
{
    struct epoll_event out;
    __atomic_add_fetch(&came, epoll_wait((int)(long)arg, &out, 1, -1) == 1, __ATOMIC_SEQ_CST);
    return NULL;
}

CASE(epoll_waited_and_polled)
{
    void *(*const ways[])(void *) = {poll_one, poll_one, wait_one, poll_one, wait_one};
    enum { WAYS = sizeof(ways) / sizeof(ways[0]) };
    pthread_t threads[WAYS];
    long ep = epoll_create1(0), event = eventfd(0, 0);
    came = 0;
    OK(watch(ep, event, EPOLLIN));
    for (int i = 0; i < WAYS; i++)
        threads[i] = start(ways[i], (void *)ep);
    settle_ms(50);
    VALUE(ring(event));
    CHECK(wait_for(&came, WAYS));
    for (int i = 0; i < WAYS; i++) { /* for those that were forgotten */
        ring(event);
        settle_ms(10);
    }
    for (int i = 0; i < WAYS; i++)
        pthread_join(threads[i], NULL);
}
