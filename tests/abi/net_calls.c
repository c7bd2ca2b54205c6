/* The socket calls in detail: several buffers, flags, states, options; TCP, UDP and UNIX sockets alike. */
#include "abi.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

enum kind { TCP4, TCP6, UNIX_STREAM, KINDS };
static const char *const kind_names[] = {"tcp", "tcp6", "unix"};

static int events_of(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP};
    int n = poll(&p, 1, timeout_ms);
    return n < 0 ? n : p.revents;
}

/* What holds once it has stopped changing: loopback delivers at once, but on another CPU. */
static int settled(int fd)
{
    settle_ms(30);
    return events_of(fd, 0);
}

static socklen_t any_address(enum kind kind, struct sockaddr_storage *a)
{
    memset(a, 0, sizeof(*a));
    if (kind == TCP4) {
        *(struct sockaddr_in *)a =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        return sizeof(struct sockaddr_in);
    }
    if (kind == TCP6) {
        *(struct sockaddr_in6 *)a =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
        return sizeof(struct sockaddr_in6);
    }
    a->ss_family = AF_UNIX;
    return sizeof(sa_family_t); /* a name of the system's choice */
}

static int listener(enum kind kind, int backlog, struct sockaddr_storage *a, socklen_t *len)
{
    *len = any_address(kind, a);
    int fd = socket(a->ss_family, SOCK_STREAM, 0);
    if (bind(fd, (void *)a, *len) || listen(fd, backlog))
        return -1;
    *len = sizeof(*a);
    return getsockname(fd, (void *)a, len) ? -1 : fd;
}

static bool pair_of(enum kind kind, int pair[2])
{
    struct sockaddr_storage a;
    socklen_t len;
    int l = listener(kind, 5, &a, &len);
    pair[0] = socket(a.ss_family, SOCK_STREAM, 0);
    bool good = l >= 0 && !connect(pair[0], (void *)&a, len) && (pair[1] = accept(l, NULL, NULL)) >= 0;
    close(l);
    return good;
}

static void close_pair(int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

static void ignore_sigpipe(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
}

static void each_kind(void (*f)(enum kind kind, int pair[2]))
{
    for (enum kind k = 0; k < KINDS; k++) {
        int pair[2];
        say("-- %s", kind_names[k]);
        if (pair_of(k, pair))
            f(k, pair);
        else
            say("no pair: %s", errname(errno));
        close_pair(pair);
    }
}

/* ---- flags of receiving ---- */

static void receive_flags(enum kind kind, int p[2])
{
    char text[32];
    VALUE(recv(p[1], text, 4, MSG_DONTWAIT));
    VALUE(recv(p[1], text, 0, MSG_DONTWAIT));
    VALUE(send(p[0], "0123456789", 10, MSG_NOSIGNAL));
    VALUE(settled(p[1]));
    VALUE(recv(p[1], text, 4, MSG_PEEK));
    VALUE(recv(p[1], text, 20, MSG_PEEK | MSG_DONTWAIT));
    VALUE(recv(p[1], text, 4, 0));
    CHECK(!memcmp(text, "0123", 4));
    VALUE(recv(p[1], text, 0, 0));
    VALUE(recv(p[1], text, 20, MSG_WAITALL | MSG_DONTWAIT));
    CHECK(!memcmp(text, "456789", 6));
    VALUE(send(p[0], "ab", 2, MSG_MORE | MSG_DONTWAIT));
    VALUE(send(p[0], "cd", 2, 0));
    VALUE(recv(p[1], text, 4, MSG_WAITALL));
    CHECK(!memcmp(text, "abcd", 4));
    VALUE(send(p[0], "last", 4, 0));
    OK(shutdown(p[0], SHUT_WR));
    VALUE(recv(p[1], text, 20, MSG_WAITALL));
    VALUE(recv(p[1], text, 20, MSG_PEEK));
    VALUE(recv(p[1], text, 20, MSG_WAITALL));
    VALUE(recv(p[1], text, 20, MSG_ERRQUEUE));
}

CASE(sock_receive_flags)
{
    each_kind(receive_flags);
}

CASE(sock_tcp_truncate)
{
    int p[2], left = -1;
    char text[8];
    NEED(pair_of(TCP4, p));
    VALUE(send(p[0], "0123456789", 10, 0));
    VALUE(settled(p[1]));
    VALUE(recv(p[1], NULL, 4, MSG_TRUNC)); /* tcp(7): throws bytes away */
    VALUE(recv(p[1], text, 2, 0));
    CHECK(!memcmp(text, "45", 2));
    OK(ioctl(p[1], FIONREAD, &left));
    VALUE(left);
    close_pair(p);
}

static void *send_later(void *arg)
{
    int fd = *(int *)arg;
    for (int i = 0; i < 5; i++) {
        sleep_ms(20);
        send(fd, "abcde" + i, 1, 0);
    }
    return NULL;
}

static void wait_all(enum kind kind, int p[2])
{
    char text[8] = "";
    pthread_t t = start(send_later, &p[0]);
    VALUE(recv(p[1], text, 5, MSG_WAITALL));
    CHECK(!strcmp(text, "abcde"));
    pthread_join(t, NULL);
    struct timeval tv = {0, 400000}; /* more than an acknowledgement may be late */
    OK(setsockopt(p[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    VALUE(send(p[0], "xyz", 3, 0));
    VALUE(recv(p[1], text, 5, MSG_WAITALL)); /* what came until the timeout */
    VALUE(recv(p[1], text, 5, MSG_WAITALL));
}

CASE(sock_wait_all)
{
    each_kind(wait_all);
}

/* ---- several buffers ---- */

static void many_buffers(enum kind kind, int p[2])
{
    char out[64], in[64] = "";
    struct iovec o[6], i[5];
    for (int k = 0; k < 64; k++)
        out[k] = 'A' + k % 50;
    for (int k = 0; k < 6; k++)
        o[k] = (struct iovec){out + k * 10, k == 2 ? 0 : 10};
    struct msghdr m = {.msg_iov = o, .msg_iovlen = 6};
    VALUE(sendmsg(p[0], &m, 0));
    VALUE(settled(p[1]));
    i[0] = (struct iovec){in, 1};
    i[1] = (struct iovec){in + 1, 0};
    i[2] = (struct iovec){in + 1, 25};
    i[3] = (struct iovec){in + 26, 38};
    m = (struct msghdr){.msg_iov = i, .msg_iovlen = 4, .msg_flags = -1};
    VALUE(recvmsg(p[1], &m, MSG_PEEK));
    VALUE(m.msg_flags & ~MSG_CMSG_CLOEXEC);
    memset(in, 0, sizeof(in));
    VALUE(readv(p[1], i, 4));
    CHECK(!memcmp(in, out, 20) && !memcmp(in + 20, out + 30, 30));
    VALUE(writev(p[0], o, 2));
    VALUE(readv(p[1], i + 3, 1));
    m = (struct msghdr){.msg_iov = o, .msg_iovlen = 1025};
    VALUE(sendmsg(p[0], &m, 0));
    m = (struct msghdr){.msg_iov = (void *)16, .msg_iovlen = 1};
    VALUE(sendmsg(p[0], &m, 0));
    m = (struct msghdr){.msg_iov = o, .msg_iovlen = 1, .msg_control = out, .msg_controllen = 8};
    VALUE(sendmsg(p[0], &m, 0));
    VALUE(recvmsg(p[1], (void *)16, MSG_DONTWAIT));
    VALUE(sendmsg(p[0], (void *)16, MSG_DONTWAIT));
    m = (struct msghdr){.msg_iov = NULL, .msg_iovlen = 0};
    VALUE(sendmsg(p[0], &m, 0));
}

CASE(sock_many_buffers)
{
    each_kind(many_buffers);
}

CASE(sock_udp_messages)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
    socklen_t len = sizeof(a);
    int s = socket(AF_INET, SOCK_DGRAM, 0), c = socket(AF_INET, SOCK_DGRAM, 0);
    char text[3][16];
    OK(bind(s, (void *)&a, sizeof(a)));
    OK(getsockname(s, (void *)&a, &len));
    struct iovec o[3] = {{"one", 3}, {"", 0}, {"two-three", 9}},
                 i[3] = {{text[0], 5}, {text[1], 2}, {text[2], 1}};
    struct msghdr m = {.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = o, .msg_iovlen = 3};
    VALUE(sendmsg(c, &m, 0));
    m = (struct msghdr){.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = i, .msg_iovlen = 3};
    VALUE(recvmsg(s, &m, 0));
    VALUE(m.msg_flags);
    VALUE(m.msg_namelen);
    CHECK(!memcmp(text[0], "onetw", 5) && text[1][0] == 'o' && text[1][1] == '-' && text[2][0] == 't');
    struct mmsghdr many[4] = {0};
    for (int k = 0; k < 4; k++)
        many[k].msg_hdr =
            (struct msghdr){.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = o, .msg_iovlen = 1};
    VALUE(sendmmsg(c, many, 4, 0));
    VALUE(many[3].msg_len);
    for (int k = 0; k < 4; k++)
        many[k].msg_hdr = (struct msghdr){.msg_iov = i, .msg_iovlen = 1};
    struct timespec ts = {1, 0};
    VALUE(recvmmsg(s, many, 3, MSG_WAITFORONE, &ts));
    VALUE(recvmmsg(s, many, 4, MSG_WAITFORONE, NULL));
    VALUE(recvmmsg(s, many, 4, MSG_DONTWAIT, NULL));
    m = (struct msghdr){.msg_iov = o, .msg_iovlen = 1};
    VALUE(sendmsg(c, &m, 0));
    a.sin_port = 0;
    VALUE(sendto(c, "x", 1, 0, (void *)&a, sizeof(a)));
    VALUE(sendto(c, "x", 1, 0, (void *)&a, 4));
    VALUE(sendto(c, "x", 1, MSG_OOB, (void *)&a, sizeof(a)));
    close(s);
    close(c);
}

CASE(sock_udp_unreachable)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    char c;
    int s = socket(AF_INET, SOCK_DGRAM, 0), gone = socket(AF_INET, SOCK_DGRAM, 0), error = -1;
    OK(bind(gone, (void *)&a, sizeof(a)));
    OK(getsockname(gone, (void *)&a, &len));
    OK(close(gone));
    VALUE(sendto(s, "x", 1, 0, (void *)&a, sizeof(a))); /* not connected: nobody is told */
    VALUE(settled(s));
    OK(connect(s, (void *)&a, sizeof(a)));
    VALUE(send(s, "x", 1, 0));
    VALUE(settled(s));
    VALUE(recv(s, &c, 1, MSG_DONTWAIT));
    VALUE(recv(s, &c, 1, MSG_DONTWAIT));
    VALUE(send(s, "x", 1, 0));
    settle_ms(30);
    VALUE(send(s, "x", 1, 0));
    VALUE(send(s, "x", 1, 0));
    settle_ms(30);
    len = sizeof(error);
    OK(getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &len));
    say("%s", errname(error));
    OK(getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &len));
    say("%s", errname(error));
    close(s);
}

/* What went wrong is told before what waits; a closed end is told to those alone who would wait. */
CASE(sock_udp6_to_oneself)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback}, from;
    socklen_t len = sizeof(a);
    struct timeval patience = {.tv_sec = 5};
    char text[8];
    int s = socket(AF_INET6, SOCK_DGRAM, 0), peer = socket(AF_INET6, SOCK_DGRAM, 0);
    OK(bind(s, (void *)&a, sizeof(a)));
    OK(getsockname(s, (void *)&a, &len));
    OK(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
    for (int size = 0; size <= 8; size += 4) {
        VALUE(sendto(peer, "datagram", size, 0, (void *)&a, sizeof(a)));
        len = sizeof(from);
        VALUE(recvfrom(s, text, sizeof(text), 0, (void *)&from, &len));
        CHECK(!memcmp(&from.sin6_addr, &in6addr_loopback, sizeof(in6addr_loopback)));
        CHECK(!memcmp(text, "datagram", size));
    }
    close(s);
    close(peer);
}

CASE(sock_udp_error_first)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, b = a;
    socklen_t len = sizeof(a);
    char text[4];
    int s = socket(AF_INET, SOCK_DGRAM, 0), peer = socket(AF_INET, SOCK_DGRAM, 0);
    OK(bind(peer, (void *)&a, sizeof(a)));
    OK(getsockname(peer, (void *)&a, &len));
    OK(bind(s, (void *)&b, sizeof(b)));
    OK(getsockname(s, (void *)&b, &len));
    OK(connect(s, (void *)&a, sizeof(a)));
    VALUE(sendto(peer, "1", 1, 0, (void *)&b, sizeof(b)));
    VALUE(sendto(peer, "2", 1, 0, (void *)&b, sizeof(b)));
    OK(close(peer));
    VALUE(send(s, "x", 1, 0));
    VALUE(settled(s));
    VALUE(recv(s, text, 4, MSG_PEEK));
    VALUE(recv(s, text, 4, 0));
    OK(shutdown(s, SHUT_RD));
    VALUE(recv(s, text, 4, MSG_DONTWAIT));
    VALUE(recv(s, text, 4, MSG_DONTWAIT));
    VALUE(recv(s, text, 4, 0));
    VALUE(settled(s));
    close(s);
}

/* ---- ending a connection, in all directions ---- */

static void shutdowns(enum kind kind, int unused[2])
{
    static const int hows[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
    for (int h = 0; h < 3; h++) {
        int p[2];
        char c;
        NEED(pair_of(kind, p));
        VALUE(send(p[1], "x", 1, MSG_NOSIGNAL));
        settle_ms(20);
        OK(shutdown(p[0], hows[h]));
        VALUE(settled(p[0]));
        VALUE(settled(p[1]));
        VALUE(recv(p[0], &c, 1, MSG_DONTWAIT));
        VALUE(recv(p[0], &c, 1, MSG_DONTWAIT));
        VALUE(send(p[0], "y", 1, MSG_NOSIGNAL));
        VALUE(recv(p[1], &c, 1, MSG_DONTWAIT));
        OK(shutdown(p[0], hows[h]));
        VALUE(shutdown(p[0], 7));
        close_pair(p);
    }
}

CASE(sock_shutdown)
{
    each_kind(shutdowns);
}

CASE(sock_shutdown_states)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct sockaddr_storage a;
        socklen_t len = any_address(k, &a);
        int s = socket(a.ss_family, SOCK_STREAM, 0);
        say("-- %s", kind_names[k]);
        OK(shutdown(s, SHUT_RDWR));
        OK(bind(s, (void *)&a, len));
        OK(listen(s, 1));
        VALUE(settled(s));
        VALUE(send(s, "x", 1, MSG_NOSIGNAL));
        OK(shutdown(s, SHUT_RD));
        VALUE(settled(s));
        OK(accept(s, NULL, NULL));
        close(s);
    }
}

static void closed_by_peer(enum kind kind, int p[2])
{
    char c;
    ignore_sigpipe();
    VALUE(send(p[1], "x", 1, 0));
    OK(close(p[1]));
    p[1] = -1;
    VALUE(settled(p[0]));
    VALUE(read(p[0], &c, 1));
    VALUE(read(p[0], &c, 1));
    errno = 0;
    for (int i = 0; i < 50 && write(p[0], "y", 1) == 1; i++)
        sleep_ms(5);
    say("%s", errname(errno));
    VALUE(settled(p[0]));
    VALUE(read(p[0], &c, 1));
}

CASE(sock_closed_by_peer)
{
    each_kind(closed_by_peer);
}

/* ---- waiting: poll and epoll in every state ---- */

CASE(sock_poll_states)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct sockaddr_storage a;
        socklen_t len;
        int l = listener(k, 5, &a, &len), c = socket(a.ss_family, SOCK_STREAM, 0);
        say("-- %s", kind_names[k]);
        NEED(l >= 0);
        VALUE(events_of(c, 0)); /* fresh */
        VALUE(events_of(l, 0)); /* listening */
        OK(connect(c, (void *)&a, len));
        VALUE(settled(c)); /* connected, not accepted yet */
        VALUE(settled(l));
        VALUE(send(c, "early", 5, 0));
        int s = accept(l, NULL, NULL);
        VALUE(settled(s));
        VALUE(events_of(l, 0));
        close(c);
        VALUE(settled(s));
        close(s);
        OK(connect(c = socket(a.ss_family, SOCK_STREAM, 0), (void *)&a, len));
        close(c); /* gone before it was accepted */
        VALUE(settled(l));
        s = accept(l, NULL, NULL);
        CHECK(s >= 0);
        VALUE(settled(s));
        close(s);
        close(l);
    }
}

CASE(sock_epoll_edges)
{
    for (enum kind k = 0; k < KINDS; k++) {
        int p[2], ep = epoll_create1(0);
        char text[64];
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET}, out[4];
        say("-- %s", kind_names[k]);
        NEED(pair_of(k, p));
        OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &e));
        VALUE(epoll_wait(ep, out, 4, 100));
        VALUE(out[0].events);
        VALUE(epoll_wait(ep, out, 4, 0));
        VALUE(send(p[0], "ab", 2, 0));
        VALUE(epoll_wait(ep, out, 4, 1000));
        VALUE(out[0].events);
        VALUE(epoll_wait(ep, out, 4, 0));
        VALUE(send(p[0], "c", 1, 0)); /* more arrives: another edge */
        VALUE(epoll_wait(ep, out, 4, 1000));
        VALUE(recv(p[1], text, 1, 0)); /* reading a part is none */
        VALUE(epoll_wait(ep, out, 4, 20));
        OK(shutdown(p[0], SHUT_WR));
        VALUE(epoll_wait(ep, out, 4, 1000));
        VALUE(out[0].events);
        e.events = EPOLLIN | EPOLLONESHOT;
        OK(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &e));
        VALUE(epoll_wait(ep, out, 4, 1000));
        VALUE(out[0].events);
        VALUE(epoll_wait(ep, out, 4, 20));
        OK(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &e));
        VALUE(epoll_wait(ep, out, 4, 1000));
        OK(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], NULL));
        close_pair(p);
        close(ep);
    }
}

CASE(sock_writable_again)
{
    for (enum kind k = 0; k < KINDS; k++) {
        int p[2], ep = epoll_create1(0);
        char *block = calloc(1, 1 << 20);
        long sent = 0, got = 0, n;
        struct epoll_event e = {.events = EPOLLOUT | EPOLLET}, out;
        say("-- %s", kind_names[k]);
        NEED(pair_of(k, p));
        OK(fcntl(p[0], F_SETFL, O_NONBLOCK));
        OK(fcntl(p[1], F_SETFL, O_NONBLOCK));
        for (int full = 0; full < 3; full++, sleep_ms(20))
            while ((n = write(p[0], block, 1 << 16)) > 0)
                sent += n;
        say("%s", errname(errno));
        VALUE(events_of(p[0], 0) & POLLOUT);
        OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
        VALUE(epoll_wait(ep, &out, 1, 0));
        for (int idle = 0; got < sent && idle < 200;)
            if ((n = read(p[1], block, 1 << 20)) > 0)
                got += n;
            else
                sleep_ms(5), idle++;
        CHECK(got == sent);
        VALUE(epoll_wait(ep, &out, 1, 1000));
        VALUE(out.events);
        free(block);
        close_pair(p);
        close(ep);
    }
}

/* ---- sendfile, accept4, errors ---- */

static void send_file(enum kind kind, int p[2])
{
    char block[5000], back[5000];
    off_t at = 100;
    int fd = open("file", O_CREAT | O_RDWR | O_TRUNC, 0600);
    for (int i = 0; i < 5000; i++)
        block[i] = i * 13 >> 2;
    VALUE(write(fd, block, 5000));
    VALUE(sendfile(p[0], fd, &at, 3000));
    VALUE(at);
    VALUE(recv(p[1], back, 3000, MSG_WAITALL));
    CHECK(!memcmp(back, block + 100, 3000));
    VALUE(sendfile(p[0], fd, &at, 9000));
    VALUE(sendfile(p[0], fd, &at, 9000));
    VALUE(recv(p[1], back, 1900, MSG_WAITALL));
    CHECK(!memcmp(back, block + 3100, 1900));
    VALUE(lseek(fd, 4990, SEEK_SET));
    VALUE(sendfile(p[0], fd, NULL, 100));
    VALUE(lseek(fd, 0, SEEK_CUR));
    VALUE(recv(p[1], back, 100, 0));
    VALUE(sendfile(fd, p[0], NULL, 10));
    VALUE(sendfile(p[0], p[1], NULL, 10));
    close(fd);
}

CASE(sock_sendfile)
{
    each_kind(send_file);
}

CASE(sock_accept4)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct sockaddr_storage a, peer;
        socklen_t len, small = 3;
        say("-- %s", kind_names[k]);
        int l = listener(k, 5, &a, &len), c = socket(a.ss_family, SOCK_STREAM, 0), s;
        OK(connect(c, (void *)&a, len));
        VALUE(syscall(SYS_accept4, l, NULL, NULL, 0x1234)); /* musl tries again without flags */
        VALUE(syscall(SYS_accept4, l, NULL, NULL, O_APPEND));
        NEED((s = accept4(l, (void *)&peer, &small, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
        VALUE(small);
        VALUE(fcntl(s, F_GETFL));
        VALUE(fcntl(s, F_GETFD));
        close(s);
        close(c);
        OK(fcntl(l, F_SETFL, O_NONBLOCK));
        VALUE(accept4(l, NULL, NULL, 0));
        OK(connect(c = socket(a.ss_family, SOCK_STREAM, 0), (void *)&a, len));
        small = -1;
        VALUE(accept(l, (void *)&peer, &small));
        OK(connect(s = socket(a.ss_family, SOCK_STREAM, 0), (void *)&a, len));
        NEED((s = accept(l, NULL, NULL)) >= 0);
        VALUE(fcntl(s, F_GETFL)); /* does not inherit O_NONBLOCK */
        close(s);
        close(c);
        close(l);
        VALUE(accept(l, NULL, NULL));
    }
}

CASE(sock_errors)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int file = open("file", O_CREAT | O_RDWR, 0600), u = socket(AF_INET, SOCK_DGRAM, 0),
        t = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof(a);
    VALUE(bind(file, (void *)&a, sizeof(a)));
    VALUE(listen(file, 1));
    VALUE(send(file, "x", 1, 0));
    VALUE(shutdown(file, 2));
    VALUE(getsockname(-1, (void *)&a, &len));
    VALUE(getsockopt(file, SOL_SOCKET, SO_TYPE, &file, &len));
    VALUE(listen(u, 1));
    VALUE(accept(u, NULL, NULL));
    VALUE(accept(t, NULL, NULL));
    VALUE(connect(t, (void *)16, sizeof(a)));
    VALUE(connect(t, (void *)&a, 2));
    VALUE(connect(t, (void *)&a, 4000));
    VALUE(send(t, "x", 1, MSG_NOSIGNAL));
    VALUE(recv(t, &len, 1, MSG_DONTWAIT));
    VALUE(sendto(t, "x", 1, MSG_NOSIGNAL, (void *)&a, sizeof(a)));
    VALUE(socket(AF_INET, SOCK_STREAM | 0x100, 0));
    VALUE(socket(AF_INET, 77, 0));
    VALUE(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    VALUE(socket(77, SOCK_STREAM, 0));
    VALUE(socket(-1, SOCK_STREAM, 0));
    VALUE(lseek(t, 0, SEEK_SET));
    VALUE(pread(t, &len, 1, 0));
    VALUE(ftruncate(t, 0));
    VALUE(fsync(t));
    struct stat st;
    OK(fstat(t, &st));
    CHECK(S_ISSOCK(st.st_mode) && st.st_size == 0);
    VALUE(ioctl(t, 0x12345678, &len));
    int on = 1;
    OK(ioctl(t, FIONBIO, &on));
    VALUE(fcntl(t, F_GETFL));
    close(t);
    close(u);
    close(file);
}

/* ---- options: those the JDK sets, and some that nobody knows ---- */

static void show_option(int s, int level, int option, const char *name)
{
    int value[4] = {-1, -1, -1, -1};
    socklen_t len = sizeof(value);
    errno = 0;
    int result = getsockopt(s, level, option, value, &len);
    say("%s: %s %d of %d bytes", name, result ? errname(errno) : "ok", result ? 0 : value[0],
        result ? 0 : (int)len);
}
#define SHOW(level, option) show_option(s, level, option, #option)

static void set_and_show(int s, int level, int option, const char *name, int value)
{
    errno = 0;
    int result = setsockopt(s, level, option, &value, sizeof(value));
    say("%s = %d: %s", name, value, errname(result ? errno : 0));
    show_option(s, level, option, name);
}
#define SET(level, option, value) set_and_show(s, level, option, #option, value)

CASE(sock_options)
{
    static const int kinds[][2] = {
        {AF_INET, SOCK_STREAM}, {AF_INET6, SOCK_STREAM}, {AF_INET, SOCK_DGRAM}, {AF_INET6, SOCK_DGRAM}};
    for (int k = 0; k < 4; k++) {
        int s = socket(kinds[k][0], kinds[k][1], 0), v6 = kinds[k][0] == AF_INET6;
        say("-- family %d type %d", kinds[k][0], kinds[k][1]);
        SHOW(SOL_SOCKET, SO_TYPE);
        SHOW(SOL_SOCKET, SO_DOMAIN);
        SHOW(SOL_SOCKET, SO_PROTOCOL);
        SHOW(SOL_SOCKET, SO_ERROR);
        SHOW(SOL_SOCKET, SO_ACCEPTCONN);
        SHOW(SOL_SOCKET, SO_LINGER);
        SHOW(SOL_SOCKET, SO_RCVTIMEO);
        SET(SOL_SOCKET, SO_REUSEADDR, 1);
        SET(SOL_SOCKET, SO_REUSEPORT, 1);
        SET(SOL_SOCKET, SO_KEEPALIVE, 5);
        SET(SOL_SOCKET, SO_BROADCAST, 1);
        SET(SOL_SOCKET, SO_OOBINLINE, 1);
        SET(SOL_SOCKET, SO_SNDBUF, 20000);
        SET(SOL_SOCKET, SO_RCVBUF, 20000);
        SET(SOL_SOCKET, SO_SNDBUF, 1);
        SET(SOL_SOCKET, SO_RCVBUF, 1);
        SET(SOL_SOCKET, SO_PRIORITY, 3);
        SET(SOL_SOCKET, SO_RCVLOWAT, 1);
        SET(SOL_SOCKET, 999, 1);
        SET(SOL_SOCKET, SO_TYPE, 1);
        SET(IPPROTO_IP, IP_TOS, 0x10);
        SET(IPPROTO_IP, IP_TTL, 77);
        SET(IPPROTO_IP, IP_TTL, 256);
        SET(IPPROTO_IP, 999, 1);
        SET(IPPROTO_TCP, TCP_NODELAY, 1);
        SET(999, 1, 1);
        if (v6) {
            SET(IPPROTO_IPV6, IPV6_V6ONLY, 1);
            SET(IPPROTO_IPV6, IPV6_TCLASS, 0x10);
            SET(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 77);
            SET(IPPROTO_IPV6, 999, 1);
        } else {
            SET(IPPROTO_IPV6, IPV6_V6ONLY, 1);
        }
        if (kinds[k][1] == SOCK_STREAM) {
            SET(IPPROTO_TCP, TCP_KEEPIDLE, 100);
            SET(IPPROTO_TCP, TCP_KEEPINTVL, 10);
            SET(IPPROTO_TCP, TCP_KEEPCNT, 3);
            SET(IPPROTO_TCP, TCP_KEEPIDLE, 0);
            SET(IPPROTO_TCP, TCP_CORK, 1);
            SET(IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
            SET(IPPROTO_TCP, TCP_QUICKACK, 1);
            SET(IPPROTO_TCP, 999, 1);
        } else {
            SET(IPPROTO_IP, IP_MULTICAST_TTL, 3);
            SET(IPPROTO_IP, IP_MULTICAST_LOOP, 0);
        }
        int value = 1;
        socklen_t len = 2;
        OK(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &value, 2));
        OK(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, (void *)16, 4));
        OK(getsockopt(s, SOL_SOCKET, SO_REUSEADDR, &value, &len));
        VALUE(len);
        len = -1;
        OK(getsockopt(s, SOL_SOCKET, SO_REUSEADDR, &value, &len));
        OK(getsockopt(s, SOL_SOCKET, SO_REUSEADDR, &value, (void *)16));
        struct linger l = {1, 7}, back = {0};
        len = sizeof(back);
        OK(setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
        OK(getsockopt(s, SOL_SOCKET, SO_LINGER, &back, &len));
        VALUE(back.l_onoff);
        VALUE(back.l_linger);
        struct timeval tv = {3, 250000}, was = {0};
        len = sizeof(was);
        OK(setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)));
        OK(getsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &was, &len));
        CHECK(was.tv_sec == 3 && was.tv_usec >= 250000 && was.tv_usec < 260000);
        tv.tv_usec = 1000000;
        OK(setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)));
        close(s);
    }
}

CASE(sock_names)
{
    for (enum kind k = TCP4; k <= TCP6; k++) {
        struct sockaddr_storage a, b = {0};
        socklen_t len, small = 5;
        int l = listener(k, 1, &a, &len), c = socket(a.ss_family, SOCK_STREAM, 0);
        say("-- %s", kind_names[k]);
        VALUE(len);
        OK(getpeername(l, (void *)&b, &len));
        OK(getsockname(l, (void *)&b, &small));
        VALUE(small);
        OK(getsockname(c, (void *)&b, &len));
        VALUE(ntohs(((struct sockaddr_in *)&b)->sin_port));
        OK(bind(c, (void *)&a, len)); /* the listener has it */
        OK(connect(c, (void *)&a, len));
        OK(bind(c, (void *)&a, len));
        small = -1;
        OK(getpeername(c, (void *)&b, &small));
        OK(getpeername(c, (void *)&b, (void *)16));
        len = sizeof(b);
        OK(getpeername(c, (void *)&b, &len));
        CHECK(!memcmp(&a, &b, len));
        OK(connect(c, (void *)&a, len));
        close(c);
        close(l);
    }
}

CASE(sock_unix_pairs)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int k = 0; k < 3; k++) {
        int p[2];
        char text[8];
        say("-- type %d", types[k]);
        OK(socketpair(AF_UNIX, types[k] | SOCK_CLOEXEC, 0, p));
        VALUE(send(p[0], "abcdef", 6, 0));
        VALUE(send(p[0], "gh", 2, 0));
        VALUE(recv(p[1], text, 3, 0));
        VALUE(recv(p[1], text, 8, MSG_DONTWAIT));
        VALUE(recv(p[1], text, 8, MSG_DONTWAIT));
        VALUE(send(p[0], "tail", 4, 0));
        VALUE(recv(p[1], text, 1, MSG_TRUNC));
        VALUE(recv(p[1], text, 8, MSG_DONTWAIT));
        OK(shutdown(p[0], SHUT_WR));
        VALUE(settled(p[1]));
        VALUE(recv(p[1], text, 8, MSG_DONTWAIT));
        OK(close(p[0]));
        VALUE(send(p[1], "x", 1, MSG_NOSIGNAL));
        VALUE(settled(p[1]));
        close(p[1]);
    }
}
