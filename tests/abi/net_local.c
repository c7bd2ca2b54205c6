/* TCP connections both of whose ends are here: ends of a connection in every order, readiness, buffers. */
#include "abi.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define STREAM (1 << 20)

static int poll_of(int fd, int events)
{
    struct pollfd p = {.fd = fd, .events = events};
    int n = poll(&p, 1, 1000);
    return n < 0 ? n : p.revents;
}

static bool pair_of(int family, int pair[2])
{
    union {
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr any;
    } a = {.any.sa_family = family};
    socklen_t len = sizeof(a);
    if (family == AF_INET6)
        a.v6.sin6_addr = in6addr_loopback;
    else
        a.v4.sin_addr.s_addr = htonl(0x7f010203); /* any address of the network */
    int l = socket(family, SOCK_STREAM, 0);
    pair[0] = socket(family, SOCK_STREAM, 0);
    bool ok = !bind(l, &a.any, sizeof(a)) && !listen(l, 4) && !getsockname(l, &a.any, &len) &&
              !connect(pair[0], &a.any, len) && (pair[1] = accept(l, NULL, NULL)) >= 0;
    close(l);
    return ok;
}

static void ignore_sigpipe(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
}

CASE(tcp_local_closed)
{
    int p[2];
    char text[8];
    ignore_sigpipe();
    NEED(pair_of(AF_INET6, p));
    VALUE(write(p[1], "abc", 3));
    OK(close(p[1]));
    VALUE(poll_of(p[0], POLLIN | POLLOUT | POLLRDHUP));
    VALUE(read(p[0], text, 2));
    VALUE(read(p[0], text, 8));
    VALUE(read(p[0], text, 8));
    VALUE(write(p[0], "x", 1)); /* answered by a reset */
    VALUE(poll_of(p[0], POLLERR));
    VALUE(write(p[0], "x", 1));
    VALUE(read(p[0], text, 8));
    OK(close(p[0]));
}

CASE(tcp_local_unread)
{
    int p[2];
    char text[8];
    ignore_sigpipe();
    NEED(pair_of(AF_INET, p));
    VALUE(write(p[0], "abc", 3));
    VALUE(write(p[1], "defg", 4));
    OK(close(p[1])); /* abc is lost: a reset */
    VALUE(poll_of(p[0], POLLIN | POLLOUT | POLLRDHUP));
    VALUE(read(p[0], text, 2));
    VALUE(read(p[0], text, 8));
    VALUE(read(p[0], text, 8));
    VALUE(read(p[0], text, 8));
    VALUE(write(p[0], "x", 1));
    OK(close(p[0]));
}

CASE(tcp_local_linger)
{
    int p[2];
    char text[8];
    struct linger at_once = {1, 0};
    NEED(pair_of(AF_INET, p));
    OK(setsockopt(p[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
    OK(close(p[1]));
    VALUE(poll_of(p[0], POLLIN | POLLOUT | POLLRDHUP));
    VALUE(read(p[0], text, 8));
    VALUE(read(p[0], text, 8));
    OK(close(p[0]));
}

CASE(tcp_local_edge)
{
    int p[2], e = epoll_create1(0);
    char text[8];
    struct epoll_event in = {EPOLLIN | EPOLLET, {.u32 = 7}}, out;
    NEED(pair_of(AF_INET, p));
    OK(epoll_ctl(e, EPOLL_CTL_ADD, p[1], &in));
    VALUE(epoll_wait(e, &out, 1, 0));
    VALUE(write(p[0], "a", 1));
    VALUE(epoll_wait(e, &out, 1, 1000));
    VALUE(epoll_wait(e, &out, 1, 0));
    VALUE(write(p[0], "b", 1)); /* news, although there were bytes before */
    VALUE(epoll_wait(e, &out, 1, 1000));
    VALUE(read(p[1], text, 8));
    VALUE(epoll_wait(e, &out, 1, 0));
    OK(close(p[0]));
    VALUE(epoll_wait(e, &out, 1, 1000));
    CHECK(out.events & EPOLLIN);
    OK(close(p[1]));
    OK(close(e));
}

CASE(tcp_local_queued)
{
    int p[2], n = -1;
    char text[64];
    struct iovec v[3] = {{text, 3}, {text + 3, 0}, {text + 3, 60}};
    NEED(pair_of(AF_INET, p));
    VALUE(write(p[0], "0123456789", 10));
    OK(ioctl(p[1], FIONREAD, &n));
    VALUE(n);
    VALUE(recv(p[1], text, 4, MSG_PEEK));
    OK(ioctl(p[1], FIONREAD, &n));
    VALUE(n);
    VALUE(readv(p[1], v, 3));
    CHECK(!memcmp(text, "0123456789", 10));
    VALUE(recv(p[1], text, 4, MSG_DONTWAIT));
    VALUE(send(p[0], text, 0, 0));
    VALUE(write(p[0], (void *)8, 5));
    VALUE(recv(p[1], text, 4, MSG_DONTWAIT));
    OK(close(p[0]));
    OK(close(p[1]));
}

/* Fills a connection whose peer does not read, and empties it. */
CASE(tcp_local_full)
{
    static char block[5000];
    struct pollfd w = {.events = POLLOUT};
    int p[2];
    size_t sent = 0, received = 0;
    ssize_t n;
    NEED(pair_of(AF_INET, p));
    OK(fcntl(p[0], F_SETFL, O_NONBLOCK));
    OK(fcntl(p[1], F_SETFL, O_NONBLOCK));
    w.fd = p[0];
    for (int round = 0; round < 3; round++) {
        for (; (n = write(p[0], block, sizeof(block))) > 0; sent += n)
            for (ssize_t i = 0; i < (ssize_t)sizeof(block); i++)
                block[i] = (char)(sent + sizeof(block) + i);
        VALUE(n);
        VALUE(poll(&w, 1, 0));
        while ((n = read(p[1], block, sizeof(block))) > 0 || received < sent)
            received += n > 0 ? n : 0;
        VALUE(poll(&w, 1, 1000));
    }
    CHECK(sent == received);
    OK(close(p[0]));
    OK(close(p[1]));
}

static void *write_stream(void *arg)
{
    static char block[3 * 7919];
    int fd = *(int *)arg;
    for (size_t at = 0; at < STREAM;) {
        size_t len = 1 + at * 7919 % sizeof(block);
        if (len > STREAM - at)
            len = STREAM - at;
        for (size_t i = 0; i < len; i++)
            block[i] = (char)((at + i) * 2654435761u >> 24);
        for (size_t done = 0; done < len;) {
            ssize_t n = write(fd, block + done, len - done);
            if (n <= 0)
                return (void *)1;
            done += n;
        }
        at += len;
    }
    return NULL;
}

CASE(tcp_local_stream)
{
    static char block[40000];
    int p[2], small = 4096;
    pthread_t t;
    void *failed;
    size_t at = 0, wrong = 0;
    ssize_t n = 0;
    NEED(pair_of(AF_INET, p));
    OK(setsockopt(p[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
    OK(setsockopt(p[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
    OK(pthread_create(&t, NULL, write_stream, &p[0]));
    while (at < STREAM && (n = read(p[1], block, 1 + at % sizeof(block))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            wrong += block[i] != (char)((at + i) * 2654435761u >> 24);
        at += n;
    }
    OK(pthread_join(t, &failed));
    CHECK(!failed);
    VALUE(at);
    VALUE(wrong);
    OK(close(p[0]));
    VALUE(read(p[1], block, 10));
    OK(close(p[1]));
}
