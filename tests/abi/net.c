/* TCP and UDP over loopback. */
#include "net.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

static int poll_of(int fd, int events, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int n = poll(&p, 1, timeout_ms);
    return n < 0 ? n : p.revents;
}

/* A listener on a port of the system's choice. */
static int listener(int backlog, struct sockaddr_in *a)
{
    socklen_t len = sizeof(*a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *a = loopback(0);
    if (bind(fd, (void *)a, sizeof(*a)) || listen(fd, backlog) || getsockname(fd, (void *)a, &len))
        return -1;
    return fd;
}

static void ignore_sigpipe(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
}

CASE(tcp_echo)
{
    struct sockaddr_in a, peer, self;
    socklen_t len = sizeof(peer);
    char text[16] = "";
    int l = listener(5, &a), c = socket(AF_INET, SOCK_STREAM, 0);
    NEED(l >= 0 && c >= 0);
    VALUE(poll_of(l, POLLIN, 0));
    OK(connect(c, (void *)&a, sizeof(a)));
    VALUE(poll_of(l, POLLIN, 1000));
    int s = accept4(l, (void *)&peer, &len, SOCK_CLOEXEC);
    NEED(s >= 0);
    VALUE(len);
    len = sizeof(self);
    OK(getsockname(c, (void *)&self, &len));
    CHECK(peer.sin_port == self.sin_port && peer.sin_addr.s_addr == self.sin_addr.s_addr);
    OK(getpeername(c, (void *)&self, &len));
    CHECK(self.sin_port == a.sin_port);
    VALUE(poll_of(c, POLLIN | POLLOUT, 0));
    VALUE(write(c, "hello", 5));
    VALUE(poll_of(s, POLLIN | POLLOUT, 1000));
    VALUE(recv(s, text, 3, MSG_PEEK));
    VALUE(read(s, text, sizeof(text)));
    CHECK(!memcmp(text, "hello", 5));
    VALUE(recv(s, text, 1, MSG_DONTWAIT));
    VALUE(send(s, "back", 4, MSG_NOSIGNAL));
    VALUE(recv(c, text, 4, MSG_WAITALL));
    VALUE(connect(c, (void *)&a, sizeof(a)));
    VALUE(connect(l, (void *)&a, sizeof(a)));
    OK(close(l));
    OK(close(c));
    OK(close(s));
}

CASE(tcp_half_close)
{
    int p[2];
    char text[8];
    ignore_sigpipe();
    NEED(tcp_pair(p));
    VALUE(write(p[0], "abc", 3));
    OK(shutdown(p[0], SHUT_WR));
    VALUE(write(p[0], "x", 1));
    VALUE(poll_of(p[1], POLLIN | POLLOUT | POLLRDHUP, 1000));
    VALUE(read(p[1], text, 8));
    VALUE(read(p[1], text, 8));
    VALUE(poll_of(p[0], POLLIN | POLLOUT | POLLRDHUP, 0));
    VALUE(write(p[1], "still", 5));
    VALUE(read(p[0], text, 8));
    OK(shutdown(p[1], SHUT_WR));
    VALUE(read(p[0], text, 8));
    VALUE(poll_of(p[0], POLLIN | POLLOUT | POLLRDHUP, 1000));
    VALUE(poll_of(p[1], POLLIN | POLLOUT | POLLRDHUP, 1000));
    OK(close(p[0]));
    OK(close(p[1]));
}

CASE(tcp_refused)
{
    struct sockaddr_in a;
    int l = listener(1, &a), c = socket(AF_INET, SOCK_STREAM, 0), error = 0;
    socklen_t len = sizeof(error);
    close(l);
    VALUE(poll_of(c, POLLIN | POLLOUT, 0));
    VALUE(connect(c, (void *)&a, sizeof(a)));
    close(c);
    c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(c, (void *)&a, sizeof(a));
    CHECK(poll_of(c, POLLOUT, 1000) & POLLERR);
    OK(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &len));
    say("%s", errname(error));
    OK(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &len));
    say("%s", errname(error));
    VALUE(read(c, &error, 1));
    close(c);
}

CASE(tcp_reset)
{
    int p[2];
    char text[8];
    struct linger now = {1, 0};
    ignore_sigpipe();
    NEED(tcp_pair(p));
    OK(setsockopt(p[0], SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
    OK(close(p[0]));
    VALUE(poll_of(p[1], POLLIN | POLLOUT | POLLRDHUP, 1000));
    VALUE(read(p[1], text, 8));
    VALUE(read(p[1], text, 8));
    VALUE(write(p[1], text, 8));
    OK(close(p[1]));
    NEED(tcp_pair(p));
    VALUE(write(p[0], "unread", 6));
    VALUE(poll_of(p[1], POLLIN, 1000));
    OK(close(p[1]));
    VALUE(read(p[0], text, 8));
    OK(close(p[0]));
}

CASE(tcp_nonblocking_connect)
{
    struct sockaddr_in a;
    int l = listener(5, &a), c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error = -1;
    socklen_t len = sizeof(error);
    NEED(l >= 0);
    int n = connect(c, (void *)&a, sizeof(a));
    CHECK(!n || errno == EINPROGRESS);
    VALUE(poll_of(c, POLLOUT, 1000));
    OK(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &len));
    VALUE(error);
    OK(fcntl(l, F_SETFL, O_NONBLOCK));
    int s = accept(l, NULL, NULL);
    CHECK(s >= 0);
    VALUE(accept(l, NULL, NULL));
    VALUE(read(c, &error, 1));
    close(s);
    close(c);
    close(l);
}

static void *send_all(void *arg)
{
    int fd = *(int *)arg;
    static char block[65536];
    for (unsigned i = 0; i < sizeof(block); i++)
        block[i] = i * 7;
    for (int i = 0; i < 64; i++) {
        for (size_t at = 0; at < sizeof(block);) {
            long n = write(fd, block + at, sizeof(block) - at);
            if (n <= 0)
                return (void *)1;
            at += n;
        }
    }
    shutdown(fd, SHUT_WR);
    return NULL;
}

CASE(tcp_bulk)
{
    int p[2];
    long total = 0, n, bad = 0;
    char *block = malloc(100000);
    NEED(tcp_pair(p));
    pthread_t t = start(send_all, &p[0]);
    settle_ms(100);
    while ((n = read(p[1], block, 99991)) > 0) {
        for (long i = 0; i < n; i++)
            bad += block[i] != (char)((total + i) % 65536 * 7);
        total += n;
    }
    void *result;
    pthread_join(t, &result);
    VALUE(total);
    VALUE(bad);
    CHECK(!result);
    free(block);
    close(p[0]);
    close(p[1]);
}

CASE(tcp_back_pressure)
{
    int p[2];
    long n, total = 0, got = 0;
    char *block = calloc(1, 65536);
    NEED(tcp_pair(p));
    OK(fcntl(p[0], F_SETFL, O_NONBLOCK));
    while ((n = write(p[0], block, 65536)) > 0)
        total += n;
    say("%s", errname(errno));
    CHECK(total > 65536);
    VALUE(poll_of(p[0], POLLOUT, 0));
    OK(fcntl(p[1], F_SETFL, O_NONBLOCK));
    for (int idle = 0; got < total && idle < 200;) {
        n = read(p[1], block, 65536);
        if (n > 0)
            got += n;
        else
            sleep_ms(10), idle++;
    }
    CHECK(got == total);
    VALUE(poll_of(p[0], POLLOUT, 1000));
    free(block);
    close(p[0]);
    close(p[1]);
}

static void *block_in_accept(void *arg)
{
    return (void *)(long)(accept(*(int *)arg, NULL, NULL) < 0 ? errno : 0);
}

static void *block_in_read(void *arg)
{
    char c;
    return (void *)(long)(read(*(int *)arg, &c, 1));
}

CASE(tcp_shutdown_wakes)
{
    struct sockaddr_in a;
    int p[2], l = listener(5, &a);
    void *result;
    NEED(tcp_pair(p) && l >= 0);
    pthread_t t = start(block_in_accept, &l);
    settle_ms(100);
    OK(shutdown(l, SHUT_RDWR));
    pthread_join(t, &result);
    say("%s", errname((long)result));
    t = start(block_in_read, &p[0]);
    settle_ms(100);
    OK(shutdown(p[0], SHUT_RDWR));
    pthread_join(t, &result);
    VALUE((long)result);
    close(l);
    close(p[0]);
    close(p[1]);
}

static volatile int at_the_end;

/* Shuts its end down together with the other thread: whether the peer's end comes. */
static void *shut_down_and_read(void *arg)
{
    int fd = *(int *)arg;
    char c;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    __atomic_add_fetch(&at_the_end, 1, __ATOMIC_SEQ_CST);
    while (at_the_end < 2)
        sched_yield();
    return (void *)(long)(shutdown(fd, SHUT_WR) == 0 && poll(&p, 1, 5000) == 1 && read(fd, &c, 1) == 0);
}

/* Each sends its end, however they meet in the kernel. */
CASE(tcp_shut_down_by_both)
{
    int p[2], rounds = 0;
    void *first, *second = (void *)1;
    for (first = (void *)1; first && second && rounds < 300; rounds++) {
        NEED(tcp_pair(p));
        at_the_end = 0;
        pthread_t t = start(shut_down_and_read, &p[0]);
        second = shut_down_and_read(&p[1]);
        pthread_join(t, &first);
        close(p[0]);
        close(p[1]);
    }
    CHECK(first && second);
    VALUE(rounds);
}

CASE(tcp_timeouts)
{
    int p[2];
    char c;
    struct timeval tv = {0, 50000};
    NEED(tcp_pair(p));
    OK(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    VALUE(read(p[0], &c, 1));
    close(p[0]);
    close(p[1]);
}

CASE(tcp_epoll)
{
    int p[2], ep = epoll_create1(0);
    char text[8];
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET}, out;
    NEED(tcp_pair(p) && ep >= 0);
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &e));
    VALUE(epoll_wait(ep, &out, 1, 0));
    VALUE(write(p[0], "a", 1));
    VALUE(epoll_wait(ep, &out, 1, 1000));
    VALUE(out.events);
    VALUE(epoll_wait(ep, &out, 1, 0));
    VALUE(read(p[1], text, 8));
    OK(close(p[0]));
    VALUE(epoll_wait(ep, &out, 1, 1000));
    VALUE(out.events);
    close(p[1]);
    close(ep);
}

CASE(tcp_options)
{
    int s = socket(AF_INET, SOCK_STREAM, 0), v = -1, one = 1;
    socklen_t len = sizeof(v);
    static const struct {
        int level, option;
    } options[] = {{SOL_SOCKET, SO_REUSEADDR},   {SOL_SOCKET, SO_KEEPALIVE}, {SOL_SOCKET, SO_REUSEPORT},
                   {SOL_SOCKET, SO_ERROR},       {SOL_SOCKET, SO_TYPE},      {SOL_SOCKET, SO_PROTOCOL},
                   {SOL_SOCKET, SO_ACCEPTCONN},  {IPPROTO_TCP, TCP_NODELAY}, {IPPROTO_TCP, TCP_KEEPIDLE},
                   {IPPROTO_TCP, TCP_KEEPINTVL}, {IPPROTO_TCP, TCP_KEEPCNT}, {IPPROTO_IP, IP_TOS},
                   {IPPROTO_TCP, 999},           {SOL_SOCKET, 999},          {999, 1}};
    for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        v = -1;
        OK(getsockopt(s, options[i].level, options[i].option, &v, &len));
        VALUE(v);
    }
    OK(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
    OK(getsockopt(s, IPPROTO_TCP, TCP_NODELAY, &v, &len));
    VALUE(v);
    OK(setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)));
    OK(getsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &v, &len));
    VALUE(v);
    close(s);
}

CASE(tcp_errors)
{
    struct sockaddr_in a, b;
    int l = listener(5, &a), s = socket(AF_INET, SOCK_STREAM, 0);
    char c;
    ignore_sigpipe();
    VALUE(bind(s, (void *)&a, sizeof(a)));
    VALUE(bind(s, (void *)&a, 4));
    b = a;
    b.sin_family = AF_INET6;
    VALUE(bind(s, (void *)&b, sizeof(b)));
    b = a;
    b.sin_addr.s_addr = htonl(0x01020304);
    VALUE(bind(s, (void *)&b, sizeof(b)));
    VALUE(read(s, &c, 1));
    VALUE(write(s, &c, 1));
    VALUE(accept(s, NULL, NULL));
    VALUE(shutdown(s, SHUT_WR));
    socklen_t len = sizeof(b);
    VALUE(getpeername(s, (void *)&b, &len));
    VALUE(read(l, &c, 1));
    VALUE(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    VALUE(socket(AF_INET, 5, 0));
    VALUE(socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0}));
    close(l);
    close(s);
}

CASE(udp_datagrams)
{
    struct sockaddr_in a = loopback(0), from;
    socklen_t len = sizeof(a);
    int s = socket(AF_INET, SOCK_DGRAM, 0), c = socket(AF_INET, SOCK_DGRAM, 0), waiting;
    char text[16];
    OK(bind(s, (void *)&a, sizeof(a)));
    OK(getsockname(s, (void *)&a, &len));
    VALUE(send(c, "x", 1, 0));
    VALUE(sendto(c, "hello", 5, 0, (void *)&a, sizeof(a)));
    VALUE(sendto(c, "", 0, 0, (void *)&a, sizeof(a)));
    VALUE(poll_of(s, POLLIN | POLLOUT, 1000));
    OK(ioctl(s, FIONREAD, &waiting));
    VALUE(waiting);
    len = sizeof(from);
    VALUE(recvfrom(s, text, 3, MSG_TRUNC, (void *)&from, &len));
    VALUE(len);
    VALUE(recv(s, text, 16, 0));
    VALUE(recv(s, text, 16, MSG_DONTWAIT));
    OK(connect(s, (void *)&from, sizeof(from)));
    VALUE(send(s, "back", 4, 0));
    VALUE(recv(c, text, 16, 0));
    char *big = calloc(1, 70000);
    VALUE(sendto(c, big, 65508, 0, (void *)&a, sizeof(a)));
    VALUE(sendto(c, big, 20000, 0, (void *)&a, sizeof(a)));
    VALUE(recv(s, big, 70000, 0));
    free(big);
    close(s);
    close(c);
}

CASE(dual_stack)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6}, peer;
    socklen_t len = sizeof(a);
    int l = socket(AF_INET6, SOCK_STREAM, 0), c, s, v = -1;
    NEED(l >= 0);
    socklen_t vlen = sizeof(v);
    OK(getsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &v, &vlen));
    VALUE(v);
    OK(bind(l, (void *)&a, sizeof(a)));
    OK(listen(l, 5));
    OK(getsockname(l, (void *)&a, &len));
    struct sockaddr_in v4 = loopback(ntohs(a.sin6_port));
    c = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect(c, (void *)&v4, sizeof(v4)));
    len = sizeof(peer);
    s = accept(l, (void *)&peer, &len);
    VALUE(len);
    CHECK(IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr));
    VALUE(write(c, "4", 1));
    VALUE(read(s, &v, 1));
    close(s);
    close(c);
    c = socket(AF_INET6, SOCK_STREAM, 0);
    a.sin6_addr = in6addr_loopback;
    OK(connect(c, (void *)&a, sizeof(a)));
    s = accept(l, (void *)&peer, &len);
    CHECK(IN6_IS_ADDR_LOOPBACK(&peer.sin6_addr));
    VALUE(write(c, "6", 1));
    VALUE(read(s, &v, 1));
    close(s);
    close(c);
    c = socket(AF_INET6, SOCK_STREAM, 0);
    memset(&a.sin6_addr, 0, 16);
    a.sin6_addr.s6_addr[10] = a.sin6_addr.s6_addr[11] = 0xff;
    a.sin6_addr.s6_addr[12] = 127;
    a.sin6_addr.s6_addr[15] = 1;
    OK(connect(c, (void *)&a, sizeof(a)));
    s = accept(l, (void *)&peer, &len);
    CHECK(IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr));
    close(s);
    close(c);
    close(l);
}

CASE(tcp_many)
{
    struct sockaddr_in a;
    int l = listener(100, &a), ok = 0;
    char c;
    NEED(l >= 0);
    for (int i = 0; i < 200; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (void *)&a, sizeof(a)))
            break;
        int s = accept(l, NULL, NULL);
        ok += write(fd, "x", 1) == 1 && read(s, &c, 1) == 1;
        close(i & 1 ? fd : s);
        close(i & 1 ? s : fd);
    }
    VALUE(ok);
    close(l);
}
