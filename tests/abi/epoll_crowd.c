/* epoll among many: threads that wait on one, others that poll it, and event loops that serve clients over
 * UNIX sockets as Netty does, edge-triggered. No edge and no wake-up may be lost. */
#include "abi.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

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

/* ---- event loops ---- */

#define LOOPS   3
#define CLIENTS 20
#define ROUNDS  120
#define ECHO    40 /* bytes at most */

/* A round: how the loops share the work. */
enum way { ALONE, HANDED_OVER, SHARED, NESTED, WAYS };

struct loop {
    int ep, outer, event;
    volatile bool awake;                 /* HANDED_OVER: whoever adds to `handed` need not ring */
    volatile int handed[CLIENTS], added; /* sockets to serve; taken up to `taken` */
    int taken;
};

static struct service {
    struct loop loops[LOOPS];
    struct sockaddr_un address;
    int listener, stop_event;
    enum way way;
    pthread_barrier_t begin;
    volatile bool end;                                 /* no more rounds */
    volatile bool stop;                                /* the round's loops */
    volatile int accepted, closed, served, loops_left; /* in this round */
} service;

static void count(volatile int *n)
{
    __atomic_add_fetch(n, 1, __ATOMIC_SEQ_CST);
}

static uint32_t connection_events(void)
{
    return EPOLLIN | EPOLLRDHUP | EPOLLET | (service.way == SHARED ? EPOLLONESHOT : EPOLLOUT);
}

/* Gives back what came; closes at the end. */
static void echo(struct loop *l, int fd)
{
    char bytes[ECHO];
    ssize_t n;
    while ((n = read(fd, bytes, sizeof(bytes))) > 0)
        n = write(fd, bytes, n);
    if (!n) {
        close(fd);
        count(&service.closed);
    } else if (service.way == SHARED) {
        struct epoll_event e = {.events = connection_events(), .data.fd = fd};
        epoll_ctl(l->ep, EPOLL_CTL_MOD, fd, &e);
    }
}

static void hand_over(struct loop *to, int fd)
{
    to->handed[to->added] = fd;
    count(&to->added);
    if (!__atomic_exchange_n(&to->awake, true, __ATOMIC_SEQ_CST))
        ring(to->event);
}

static void accept_all(struct loop *l)
{
    int fd;
    while ((fd = accept4(service.listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        int n = __atomic_fetch_add(&service.accepted, 1, __ATOMIC_SEQ_CST);
        if (service.way == HANDED_OVER)
            hand_over(&service.loops[1 + n % (LOOPS - 1)], fd);
        else
            watch(l->ep, fd, connection_events());
    }
}

static int wait_events(struct loop *l, struct epoll_event *e, int max)
{
    int n = 0;
    __atomic_store_n(&l->awake, false, __ATOMIC_SEQ_CST);
    if (l->taken == __atomic_load_n(&l->added, __ATOMIC_SEQ_CST))
        n = epoll_wait(service.way == NESTED ? l->outer : l->ep, e, max, -1);
    if (n > 0 && service.way == NESTED)
        n = epoll_wait(l->ep, e, max, 0);
    __atomic_store_n(&l->awake, true, __ATOMIC_SEQ_CST);
    return n;
}

static void *run_loop(void *arg)
{
    struct loop *l = arg;
    struct epoll_event e[4];
    for (;;) {
        pthread_barrier_wait(&service.begin);
        if (service.end)
            return NULL;
        while (!service.stop) {
            int n = wait_events(l, e, 4);
            for (int i = 0; i < n; i++) {
                if (e[i].data.fd == service.listener)
                    accept_all(l);
                else if (e[i].data.fd != service.stop_event && e[i].data.fd != l->event)
                    echo(l, e[i].data.fd);
            }
            for (; l->taken < l->added; l->taken++)
                watch(l->ep, l->handed[l->taken], connection_events());
        }
        count(&service.loops_left);
    }
}

static bool talk(int fd, int bytes, bool half)
{
    char text[ECHO] = {0};
    if (write(fd, text, bytes) != bytes)
        return false;
    if (half)
        shutdown(fd, SHUT_WR);
    for (ssize_t n; bytes > 0; bytes -= n)
        if ((n = read(fd, text, bytes)) <= 0)
            return false;
    return !half || read(fd, text, 1) == 0;
}

static void *run_client(void *arg)
{
    int me = (int)(long)arg;
    for (int round = 0;; round++) {
        pthread_barrier_wait(&service.begin);
        if (service.end)
            return NULL;
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        bool ok = !connect(fd, (struct sockaddr *)&service.address, sizeof(service.address)) &&
                  talk(fd, 1 + (me + round) % ECHO, (me ^ round) & 1);
        close(fd);
        __atomic_add_fetch(&service.served, ok, __ATOMIC_SEQ_CST);
    }
}

static void prepare_loops(int round)
{
    service.way = round % WAYS;
    service.stop = false;
    service.accepted = service.closed = service.served = service.loops_left = 0;
    service.address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(service.address.sun_path + 1, 32, "crowd.%d.%d", (int)getpid(), round);
    service.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    bind(service.listener, (struct sockaddr *)&service.address, sizeof(service.address));
    listen(service.listener, round % 3 ? CLIENTS : 1);
    service.stop_event = eventfd(0, 0);
    for (int i = 0; i < LOOPS; i++) {
        struct loop *l = &service.loops[i];
        *l = (struct loop){.ep = epoll_create1(0), .outer = epoll_create1(0), .event = eventfd(0, 0)};
        if (service.way == SHARED && i)
            dup2(service.loops[0].ep, l->ep);
        watch(l->outer, l->ep, EPOLLIN);
        watch(l->ep, l->event, EPOLLIN | EPOLLET);
        watch(l->ep, service.stop_event, EPOLLIN);
        if (!i)
            watch(l->ep, service.listener, service.way == SHARED ? EPOLLIN : EPOLLIN | EPOLLET);
    }
}

static void close_loops(void)
{
    for (int i = 0; i < LOOPS; i++) {
        close(service.loops[i].outer);
        close(service.loops[i].ep);
        close(service.loops[i].event);
    }
    close(service.stop_event);
    close(service.listener);
}

/* False: somebody waits for ever. */
static bool loops_round(int round)
{
    prepare_loops(round);
    pthread_barrier_wait(&service.begin);
    bool served = wait_for(&service.served, CLIENTS), closed = served && wait_for(&service.closed, CLIENTS);
    service.stop = true;
    ring(service.stop_event);
    bool left = wait_for(&service.loops_left, LOOPS);
    if (!served || !closed || !left) {
        say("round %d, way %d: %d accepted, %d served, %d closed, %d loops ended", round, service.way,
            service.accepted, service.served, service.closed, service.loops_left);
        return false;
    }
    close_loops();
    return true;
}

CASE(epoll_loops)
{
    pthread_t threads[LOOPS + CLIENTS];
    int round = 0;
    service.end = false;
    pthread_barrier_init(&service.begin, NULL, LOOPS + CLIENTS + 1);
    for (int i = 0; i < LOOPS + CLIENTS; i++)
        threads[i] = i < LOOPS ? start(run_loop, &service.loops[i]) : start(run_client, (void *)(long)i);
    while (round < ROUNDS && loops_round(round))
        round++;
    VALUE(round);
    if (round < ROUNDS)
        return; /* nobody comes to the barrier */
    service.end = true;
    pthread_barrier_wait(&service.begin);
    for (int i = 0; i < LOOPS + CLIENTS; i++)
        pthread_join(threads[i], NULL);
}
