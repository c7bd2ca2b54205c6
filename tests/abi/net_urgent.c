/* TCP's urgent data: MSG_OOB, SO_OOBINLINE, SIOCATMARK, POLLPRI, SIGURG. */
#include "abi.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>

static bool pair_of(int family, int pair[2])
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = family == AF_INET6 ? sizeof(a) : sizeof(a4);
    int l = socket(family, SOCK_STREAM, 0);
    if (family == AF_INET)
        memcpy(&a, &a4, sizeof(a4));
    bool good = !bind(l, (void *)&a, len) && !listen(l, 5) && !getsockname(l, (void *)&a, &len);
    pair[0] = socket(family, SOCK_STREAM, 0);
    good = good && !connect(pair[0], (void *)&a, len) && (pair[1] = accept(l, NULL, NULL)) >= 0;
    close(l);
    return good;
}

static void close_pair(int p[2])
{
    close(p[0]);
    close(p[1]);
}

static void in_line(int fd, int on)
{
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
}

static int events_of(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLPRI | POLLRDHUP};
    int n = poll(&p, 1, timeout_ms);
    return n < 0 ? n : p.revents;
}

/* The urgent byte is there: waits for it. */
static void urgent_comes(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLPRI};
    say("urgent: %d", poll(&p, 1, 5000));
}

static void show_state(int fd)
{
    int at = -1, pending = -1;
    ioctl(fd, SIOCATMARK, &at);
    ioctl(fd, FIONREAD, &pending);
    say("at mark %d, pending %d, events %x", at, pending, events_of(fd, 0));
}

static void show_read(int fd, int len, int flags)
{
    char text[64] = "";
    struct iovec iov = {text, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    errno = 0;
    long n = recvmsg(fd, &m, flags);
    if (n < 0)
        say("recv(%d, %x): %s", len, flags, errname(errno));
    else
        say("recv(%d, %x): %ld '%.*s', flags %x", len, flags, n, n > len ? len : (int)n, text, m.msg_flags);
}

static void out_of_line(int family)
{
    int p[2];
    NEED(pair_of(family, p));
    show_state(p[1]);
    show_read(p[1], 1, MSG_OOB);
    VALUE(send(p[0], "ab", 2, 0));
    VALUE(send(p[0], "cdU", 3, MSG_OOB));
    VALUE(send(p[0], "ef", 2, 0));
    urgent_comes(p[1]);
    sleep_ms(20);
    show_state(p[1]);
    show_read(p[1], 20, MSG_PEEK);
    show_read(p[1], 1, MSG_OOB | MSG_PEEK);
    show_read(p[1], 1, MSG_OOB | MSG_DONTWAIT);
    show_state(p[1]);
    show_read(p[1], 1, MSG_OOB);
    show_read(p[1], 3, 0);
    show_state(p[1]);
    show_read(p[1], 20, MSG_WAITALL);
    show_state(p[1]);
    show_read(p[1], 20, MSG_PEEK);
    show_state(p[1]);
    show_read(p[1], 20, 0);
    show_state(p[1]);
    show_read(p[1], 20, MSG_DONTWAIT);
    show_read(p[1], 1, MSG_OOB);
    close_pair(p);
}

CASE(net_urgent_out_of_line)
{
    out_of_line(AF_INET);
}

CASE(net_urgent_out_of_line6)
{
    out_of_line(AF_INET6);
}

CASE(net_urgent_in_line)
{
    int p[2];
    NEED(pair_of(AF_INET, p));
    in_line(p[1], 1);
    VALUE(send(p[0], "ab", 2, 0));
    VALUE(send(p[0], "U", 1, MSG_OOB));
    VALUE(send(p[0], "ef", 2, 0));
    urgent_comes(p[1]);
    sleep_ms(20);
    show_state(p[1]);
    show_read(p[1], 1, MSG_OOB);
    show_read(p[1], 20, 0);
    show_state(p[1]);
    show_read(p[1], 20, MSG_PEEK);
    show_read(p[1], 20, 0);
    show_state(p[1]);
    /* turned on and off while it waits */
    VALUE(send(p[0], "xV", 2, MSG_OOB));
    urgent_comes(p[1]);
    in_line(p[1], 0);
    show_state(p[1]);
    show_read(p[1], 20, 0);
    show_state(p[1]);
    in_line(p[1], 1);
    show_state(p[1]);
    show_read(p[1], 20, MSG_DONTWAIT);
    show_state(p[1]);
    close_pair(p);
}

/* The byte alone is nothing to read; a read that waits passes it. */
CASE(net_urgent_alone)
{
    int p[2];
    NEED(pair_of(AF_INET, p));
    VALUE(send(p[0], "U", 1, MSG_OOB));
    urgent_comes(p[1]);
    show_state(p[1]);
    show_read(p[1], 20, MSG_PEEK | MSG_DONTWAIT);
    show_state(p[1]);
    show_read(p[1], 0, MSG_OOB);
    show_state(p[1]);
    VALUE(send(p[0], "V", 1, MSG_OOB));
    urgent_comes(p[1]);
    show_state(p[1]);
    show_read(p[1], 20, MSG_DONTWAIT);
    show_state(p[1]);
    show_read(p[1], 1, MSG_OOB);
    VALUE(send(p[0], "W", 1, MSG_OOB));
    VALUE(send(p[0], "x", 1, 0));
    urgent_comes(p[1]);
    sleep_ms(20);
    show_state(p[1]);
    show_read(p[1], 5, MSG_OOB | MSG_TRUNC);
    show_read(p[1], 20, MSG_TRUNC);
    VALUE(send(p[0], "", 0, MSG_OOB));
    show_state(p[1]);
    close_pair(p);
}

/* A second mark before the first was passed: the first byte is an ordinary one, unless it is the next. */
CASE(net_urgent_twice)
{
    int p[2];
    NEED(pair_of(AF_INET, p));
    VALUE(send(p[0], "aU", 2, MSG_OOB));
    urgent_comes(p[1]);
    show_read(p[1], 1, MSG_OOB);
    VALUE(send(p[0], "bV", 2, MSG_OOB));
    urgent_comes(p[1]);
    show_state(p[1]);
    show_read(p[1], 1, MSG_OOB);
    show_read(p[1], 20, 0);
    show_state(p[1]);
    VALUE(send(p[0], "cW", 2, MSG_OOB));
    urgent_comes(p[1]);
    show_state(p[1]);
    show_read(p[1], 20, 0);
    VALUE(send(p[0], "d", 1, 0));
    show_read(p[1], 1, MSG_OOB);
    show_read(p[1], 20, 0);
    show_read(p[1], 20, MSG_DONTWAIT);
    close_pair(p);
}

CASE(net_urgent_end)
{
    int p[2];
    NEED(pair_of(AF_INET, p));
    VALUE(send(p[0], "U", 1, MSG_OOB));
    OK(shutdown(p[0], SHUT_WR));
    urgent_comes(p[1]);
    sleep_ms(20);
    show_state(p[1]);
    show_read(p[1], 1, MSG_OOB);
    show_read(p[1], 20, 0);
    show_state(p[1]);
    show_read(p[1], 20, 0);
    show_read(p[1], 1, MSG_OOB);
    VALUE(send(p[1], "still", 5, MSG_OOB));
    urgent_comes(p[0]);
    OK(close(p[1]));
    sleep_ms(20);
    show_state(p[0]);
    show_read(p[0], 1, MSG_OOB);
    show_read(p[0], 20, 0);
    show_read(p[0], 20, 0);
    show_state(p[0]);
    close(p[0]);
    NEED(pair_of(AF_INET, p));
    OK(shutdown(p[0], SHUT_RD));
    VALUE(send(p[1], "lost", 4, MSG_OOB));
    sleep_ms(20);
    int at = -1;
    OK(ioctl(p[0], SIOCATMARK, &at));
    close_pair(p);
}

CASE(net_urgent_poll)
{
    int p[2], e = epoll_create1(0);
    struct epoll_event edge = {.events = EPOLLPRI | EPOLLET, .data.u32 = 7}, got = {0};
    fd_set read, except;
    struct timeval tv = {5, 0}, none = {0, 0};
    NEED(pair_of(AF_INET, p));
    OK(epoll_ctl(e, EPOLL_CTL_ADD, p[1], &edge));
    VALUE(epoll_wait(e, &got, 1, 0));
    VALUE(send(p[0], "abc", 3, 0));
    VALUE(epoll_wait(e, &got, 1, 20));
    VALUE(send(p[0], "U", 1, MSG_OOB));
    VALUE(epoll_wait(e, &got, 1, 5000));
    say("events %x", got.events);
    VALUE(epoll_wait(e, &got, 1, 0));
    FD_ZERO(&read);
    FD_ZERO(&except);
    FD_SET(p[1], &read);
    FD_SET(p[1], &except);
    VALUE(select(p[1] + 1, &read, NULL, &except, &tv));
    CHECK(FD_ISSET(p[1], &read) && FD_ISSET(p[1], &except));
    show_read(p[1], 1, MSG_OOB);
    VALUE(select(p[1] + 1, &read, NULL, &except, &none));
    CHECK(FD_ISSET(p[1], &read) && !FD_ISSET(p[1], &except));
    show_read(p[1], 20, 0);
    FD_SET(p[1], &except);
    VALUE(select(p[1] + 1, &read, NULL, &except, &none));
    VALUE(send(p[0], "V", 1, MSG_OOB));
    VALUE(epoll_wait(e, &got, 1, 5000));
    close(e);
    close_pair(p);
}

static void *send_later(void *arg)
{
    sleep_ms(50);
    send(*(int *)arg, "zU", 2, MSG_OOB);
    return NULL;
}

/* Readers that wait when the mark comes. */
CASE(net_urgent_waiting)
{
    int p[2];
    NEED(pair_of(AF_INET, p));
    VALUE(send(p[0], "abc", 3, 0));
    pthread_t t = start(send_later, &p[0]);
    show_read(p[1], 20, MSG_WAITALL);
    pthread_join(t, NULL);
    show_read(p[1], 1, MSG_OOB);
    t = start(send_later, &p[0]);
    struct pollfd pri = {.fd = p[1], .events = POLLPRI};
    VALUE(poll(&pri, 1, 5000));
    say("events %x", pri.revents);
    pthread_join(t, NULL);
    show_read(p[1], 20, 0);
    show_read(p[1], 1, MSG_OOB);
    close_pair(p);
}

static volatile int signals;

static void count_signal(int signal)
{
    signals++;
}

CASE(net_urgent_signal)
{
    int p[2], owner = -1;
    struct sigaction a = {.sa_handler = count_signal};
    signals = 0;
    OK(sigaction(SIGURG, &a, NULL));
    NEED(pair_of(AF_INET, p));
    VALUE(fcntl(p[1], F_GETOWN));
    VALUE(send(p[0], "aU", 2, MSG_OOB));
    urgent_comes(p[1]);
    say("signals %d", signals);
    OK(fcntl(p[1], F_SETOWN, getpid()));
    CHECK(fcntl(p[1], F_GETOWN) == getpid());
    VALUE(send(p[0], "bV", 2, MSG_OOB));
    CHECK(wait_for(&signals, 1));
    show_read(p[1], 1, MSG_OOB);
    OK(fcntl(p[1], F_SETOWN, 0));
    VALUE(fcntl(p[1], F_GETOWN));
    VALUE(fcntl(p[1], F_SETOWN, 0x7ffffff0));
    owner = getpid();
    OK(ioctl(p[1], SIOCSPGRP, &owner));
    owner = 0;
    OK(ioctl(p[1], SIOCGPGRP, &owner));
    CHECK(owner == getpid());
    VALUE(send(p[0], "cW", 2, MSG_OOB));
    CHECK(wait_for(&signals, 2));
    show_read(p[1], 1, MSG_OOB);
    close_pair(p);
}

CASE(net_urgent_refused)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int l = socket(AF_INET, SOCK_STREAM, 0), u = socket(AF_INET, SOCK_DGRAM, 0), at = 5, p[2];
    char c;
    VALUE(recv(l, &c, 1, MSG_OOB));
    VALUE(send(l, "x", 1, MSG_OOB | MSG_NOSIGNAL));
    OK(ioctl(l, SIOCATMARK, &at));
    VALUE(at);
    OK(bind(l, (void *)&a, sizeof(a)));
    OK(listen(l, 5));
    VALUE(recv(l, &c, 1, MSG_OOB));
    VALUE(recv(u, &c, 1, MSG_OOB | MSG_DONTWAIT));
    VALUE(ioctl(u, SIOCATMARK, &at));
    NEED(pair_of(AF_INET, p));
    VALUE(ioctl(p[1], SIOCATMARK, NULL));
    VALUE(send(p[0], "U", 1, MSG_OOB));
    urgent_comes(p[1]);
    VALUE(recv(p[1], (void *)16, 1, MSG_OOB));
    VALUE(recv(p[1], &c, 1, MSG_OOB));
    close_pair(p);
    close(l);
    close(u);
}

enum { ROUNDS = 2000 };

static void *send_marks(void *arg)
{
    int fd = *(int *)arg;
    char block[100];
    memset(block, 'o', sizeof(block));
    block[99] = 'U';
    for (int i = 0; i < ROUNDS; i++) {
        if (send(fd, block, 100, i % 4 ? 0 : MSG_OOB) != 100)
            break;
    }
    shutdown(fd, SHUT_WR);
    return NULL;
}

/* However marks and reads meet: in line nothing is lost. */
CASE(net_urgent_race)
{
    int p[2];
    long total = 0, n, urgent = 0;
    char block[333];
    NEED(pair_of(AF_INET, p));
    in_line(p[1], 1);
    pthread_t t = start(send_marks, &p[0]);
    while ((n = recv(p[1], block, sizeof(block), 0)) > 0) {
        total += n;
        for (long i = 0; i < n; i++)
            urgent += block[i] == 'U';
    }
    pthread_join(t, NULL);
    VALUE(n);
    VALUE(total);
    VALUE(urgent);
    close_pair(p);
}
