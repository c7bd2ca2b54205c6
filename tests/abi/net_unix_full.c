/* UNIX datagram sockets whose receiver has no room: neither writable nor written to, until it reads. */
#include "net.h"

#include <sys/epoll.h>
#include <sys/un.h>

/* An abstract name of this process. */
static socklen_t name(struct sockaddr_un *a)
{
    memset(a, 0, sizeof(*a));
    a->sun_family = AF_UNIX;
    return offsetof(struct sockaddr_un, sun_path) + 1 +
           sprintf(a->sun_path + 1, "moka-test-full-%d", getpid());
}

static int receiver(struct sockaddr_un *a, socklen_t *len)
{
    int r = socket(AF_UNIX, SOCK_DGRAM, 0);
    *len = name(a);
    if (bind(r, (void *)a, *len))
        say("bind: %s", errname(errno));
    return r;
}

static int sender(const struct sockaddr_un *a, socklen_t len)
{
    int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (connect(s, (void *)a, len))
        say("connect: %s", errname(errno));
    return s;
}

static int fill(int s, size_t len)
{
    static char bytes[65536];
    int n = 0;
    while (send(s, bytes, len, MSG_DONTWAIT) == (ssize_t)len)
        n++;
    say("full: %s", errname(errno));
    return n;
}

static void read_one(int r)
{
    char bytes[16];
    if (recv(r, bytes, sizeof(bytes), MSG_DONTWAIT) < 0)
        say("recv: %s", errname(errno));
}

CASE(unix_full_poll)
{
    struct sockaddr_un a;
    socklen_t len;
    for (size_t size = 4; size <= 20000; size = size * 5000) {
        int r = receiver(&a, &len), s = sender(&a, len);
        say("-- %zu bytes", size);
        show_poll("at first", s);
        CHECK(fill(s, size) > 5);
        show_poll("full", s);
        show_poll("receiver", r);
        int other = sender(&a, len);
        int free = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        show_poll("who is connected to nobody", free);
        while (recv(r, &(char){0}, 1, MSG_DONTWAIT) == 1)
            ;
        show_poll("read", s);
        show_poll("read, another sender", other);
        VALUE(send(s, "x", 1, 0));
        VALUE(send(other, "x", 1, 0));
        close(r);
        close(s);
        close(other);
        close(free);
    }
}

/* What poll() calls writable takes a datagram of any size. */
CASE(unix_full_large)
{
    struct sockaddr_un a;
    socklen_t len;
    int r = receiver(&a, &len), s = sender(&a, len);
    static char bytes[60000];
    fcntl(s, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 30; i++) {
        struct pollfd p = {.fd = s, .events = POLLOUT};
        if (poll(&p, 1, 0) == 1 && send(s, bytes, sizeof(bytes), 0) < 0)
            say("writable, but %s", errname(errno));
    }
    close(r);
    close(s);
}

static void *run_poll(void *arg)
{
    struct pollfd p = {.fd = *(int *)arg, .events = POLLOUT};
    return (void *)(long)(poll(&p, 1, 10000) == 1 ? p.revents : -1);
}

static void *run_send(void *arg)
{
    int s = *(int *)arg;
    fcntl(s, F_SETFL, 0);
    ssize_t n = send(s, "x", 1, MSG_NOSIGNAL);
    return (void *)(n < 0 ? -(long)errno : (long)n);
}

static long end(pthread_t t)
{
    void *result;
    pthread_join(t, &result);
    return (long)result;
}

/* What ends the waiting: that the receiver reads, that it closes, that it is another one. */
CASE(unix_full_woken)
{
    struct sockaddr_un a;
    socklen_t len;
    for (int how = 0; how < 3; how++) {
        static const char *const ways[] = {"reads", "closes", "is left"};
        int r = receiver(&a, &len), s = sender(&a, len), second = sender(&a, len), e = epoll_create1(0);
        struct epoll_event v = {.events = EPOLLOUT | EPOLLET};
        struct sockaddr none = {.sa_family = AF_UNSPEC};
        say("-- %s", ways[how]);
        CHECK(fill(s, 4) > 5);
        OK(epoll_ctl(e, EPOLL_CTL_ADD, s, &v));
        VALUE(epoll_wait(e, &v, 1, 10));
        pthread_t waits = start(run_poll, &s), sends = start(run_send, &second);
        settle_ms(20);
        if (how == 0) {
            while (recv(r, &(char){0}, 1, MSG_DONTWAIT) == 1)
                ;
        } else if (how == 1) {
            close(r);
        } else {
            OK(connect(s, &none, sizeof(none)));
            while (recv(r, &(char){0}, 1, MSG_DONTWAIT) == 1)
                ;
        }
        CHECK((end(sends) > 0) == (how != 1));
        CHECK(end(waits) == POLLOUT);
        VALUE(epoll_wait(e, &v, 1, 1000));
        close(e);
        close(s);
        close(second);
        close(r);
    }
}

/* Each of a pair that is full wakes the other one. */
CASE(unix_full_pair)
{
    int p[2], e = epoll_create1(0);
    NEED(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p));
    CHECK(fill(p[0], 100) > 5);
    show_poll("the other", p[1]);
    struct epoll_event v = {.events = EPOLLOUT | EPOLLET};
    OK(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &v));
    epoll_wait(e, &v, 1, 0); /* Linux takes a pair's end for writable as long as its own buffer has room */
    while (recv(p[1], &(char){0}, 1, MSG_DONTWAIT) == 1)
        ;
    VALUE(epoll_wait(e, &v, 1, 1000));
    show_poll("read", p[0]);
    VALUE(send(p[0], "x", 1, 0));
    close(e);
}

/* Many senders, who come and go, and one receiver: each of them gets its turn, and nothing is left over. */
static volatile int stop;
static void *run_crowd(void *arg)
{
    struct sockaddr_un a;
    socklen_t len = name(&a);
    long sent = 0;
    while (!stop || sent < 50) {
        int s = sender(&a, len);
        for (int i = 0; i < 50; i++) {
            struct pollfd p = {.fd = s, .events = POLLOUT};
            if (poll(&p, 1, 10000) != 1)
                say("nobody woke a sender");
            sent += send(s, "turn", 4, MSG_DONTWAIT) == 4;
            if (stop && sent >= 50)
                break;
        }
        close(s);
    }
    return NULL;
}

CASE(unix_full_crowd)
{
    struct sockaddr_un a;
    socklen_t len;
    int r = receiver(&a, &len), got = 0;
    pthread_t crowd[6];
    stop = 0;
    for (int i = 0; i < 6; i++)
        crowd[i] = start(run_crowd, NULL);
    for (struct pollfd p = {.fd = r, .events = POLLIN}; got < 3000; got++) {
        poll(&p, 1, 10000);
        read_one(r);
    }
    stop = 1;
    struct timeval tv = {0, 200000};
    setsockopt(r, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    char bytes[16];
    while (recv(r, bytes, sizeof(bytes), 0) > 0)
        ;
    for (int i = 0; i < 6; i++)
        pthread_join(crowd[i], NULL);
    VALUE(got);
}
