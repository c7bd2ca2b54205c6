/* Ways to use sockets: flags of calls, many messages at once, epoll in all its forms, ioctls, shutdown; by
 * device. */
#include "net.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#define SIOCOUTQNSD 0x894b /* linux/sockios.h */

static bool udp_pair(int p[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, b = a;
    socklen_t len = sizeof(a);
    p[0] = socket(AF_INET, SOCK_DGRAM, 0);
    p[1] = socket(AF_INET, SOCK_DGRAM, 0);
    return !bind(p[0], (void *)&a, len) && !bind(p[1], (void *)&b, len) &&
           !getsockname(p[0], (void *)&a, &len) && !getsockname(p[1], (void *)&b, &len) &&
           !connect(p[0], (void *)&b, len) && !connect(p[1], (void *)&a, len);
}

static void show_int(int fd, int level, int option, const char *what)
{
    int v[8] = {-77, -77, -77};
    socklen_t len = sizeof(v);
    errno = 0;
    int r = getsockopt(fd, level, option, v, &len);
    say("%s: %s %d %d %d len %u", what, errname(r ? errno : 0), v[0], v[1], v[2], len);
}

/* SO_BINDTODEVICE and SO_BINDTOIFINDEX. */
static void show_device(int fd)
{
    char name[IFNAMSIZ] = "";
    socklen_t len = sizeof(name);
    int index = -1;
    OK(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len));
    say("\"%s\", %u bytes", name, len);
    len = sizeof(index);
    OK(getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, &len));
    VALUE(index);
}

CASE(ways_device)
{
    int p[2], l, u[2], index = 1;
    char text[8];
    NEED(tcp_pair_and_listener(p, &l));
    NEED(udp_pair(u));
    show_device(u[1]);
    OK(setsockopt(u[1], SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
    show_device(u[1]);
    VALUE(send(u[0], "x", 1, 0));
    VALUE(recv(u[1], text, 8, 0));
    OK(setsockopt(u[1], SOL_SOCKET, SO_BINDTODEVICE, "nosuch0", 8));
    socklen_t len = 4;
    OK(getsockopt(u[1], SOL_SOCKET, SO_BINDTODEVICE, text, &len));
    OK(setsockopt(u[1], SOL_SOCKET, SO_BINDTODEVICE, "", 0));
    show_device(u[1]);
    OK(setsockopt(u[1], SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof(index)));
    show_device(u[1]);
    VALUE(send(u[0], "x", 1, 0));
    VALUE(recv(u[1], text, 8, 0));
    index = -1;
    OK(setsockopt(u[1], SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof(index)));
    OK(setsockopt(l, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2));
    struct sockaddr_in a;
    len = sizeof(a);
    getsockname(l, (void *)&a, &len);
    int c = socket(AF_INET, SOCK_STREAM, 0), s;
    OK(setsockopt(c, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2));
    OK(connect(c, (void *)&a, len));
    CHECK((s = accept(l, NULL, NULL)) >= 0);
    show_device(s);
    VALUE(send(c, "x", 1, 0));
    VALUE(recv(s, text, 8, 0));
}

/* Who is at the other end, and which socket this is. */
CASE(ways_identity)
{
    int p[2], l, u[2];
    NEED(tcp_pair_and_listener(p, &l));
    NEED(udp_pair(u));
    show_int(p[0], SOL_SOCKET, SO_PEERCRED, "credentials of TCP");
    show_int(u[0], SOL_SOCKET, SO_PEERCRED, "credentials of UDP");
    uint64_t cookies[4];
    socklen_t len = sizeof(uint64_t);
    OK(getsockopt(p[0], SOL_SOCKET, SO_COOKIE, &cookies[0], &len));
    VALUE(len);
    getsockopt(p[1], SOL_SOCKET, SO_COOKIE, &cookies[1], &len);
    getsockopt(p[0], SOL_SOCKET, SO_COOKIE, &cookies[2], &len);
    getsockopt(u[0], SOL_SOCKET, SO_COOKIE, &cookies[3], &len);
    CHECK(cookies[0] == cookies[2] && cookies[0] != cookies[1] && cookies[0] != cookies[3] &&
          cookies[0] != 0);
    len = 4;
    OK(getsockopt(p[0], SOL_SOCKET, SO_COOKIE, &cookies[0], &len));
}

static void queue_of(const char *what, int fd, unsigned long request)
{
    int n = -1;
    errno = 0;
    int result = ioctl(fd, request, &n);
    say("%s, %lx: %s %d", what, request, errname(result ? errno : 0), n);
}

CASE(ways_ioctls)
{
    int p[2], l, u[2], n;
    NEED(tcp_pair_and_listener(p, &l));
    NEED(udp_pair(u));
    send(p[0], "hello", 5, 0);
    send(u[0], "hello", 5, 0);
    send(u[0], "hi", 2, 0);
    settle_ms(5);
    queue_of("stream", p[1], FIONREAD);
    queue_of("datagrams", u[1], FIONREAD);
    queue_of("listener", l, FIONREAD);
    queue_of("stream", p[0], TIOCOUTQ);
    queue_of("datagrams", u[0], TIOCOUTQ);
    queue_of("stream", p[0], SIOCOUTQNSD);
    n = 1;
    OK(ioctl(p[0], FIONBIO, &n));
    VALUE(recv(p[0], &n, 1, 0));
    char room[64];
    OK(ioctl(p[0], 0x1234, &n));
    OK(ioctl(p[0], TCGETS, room));
}

CASE(ways_flags)
{
    int p[2], l;
    char t[16];
    NEED(tcp_pair_and_listener(p, &l));
    VALUE(send(p[0], "abcdef", 6, MSG_MORE));
    VALUE(send(p[0], "gh", 2, MSG_EOR));
    settle_ms(5);
    VALUE(recv(p[1], t, 3, MSG_PEEK));
    VALUE(recv(p[1], t, 16, MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT));
    VALUE(recv(p[1], t, 4, MSG_TRUNC));
    VALUE(recv(p[1], t, 16, MSG_WAITALL | MSG_DONTWAIT));
    VALUE(recv(p[1], t, 0, MSG_DONTWAIT));
    VALUE(send(p[0], "", 0, 0));
    VALUE(send(p[0], "x", 1, MSG_ZEROCOPY | MSG_DONTWAIT));
    VALUE(send(p[0], "x", 1, MSG_CONFIRM | MSG_DONTROUTE));
    VALUE(send(p[0], "x", 1, 0x10000 /* MSG_BATCH */));
    VALUE(sendto(p[0], "x", 1, 0, (void *)t, 3));
    VALUE(recv(p[1], t, 16, MSG_ERRQUEUE));
    struct msghdr m = {0};
    VALUE(recvmsg(p[1], &m, MSG_ERRQUEUE));
    /* sending to somebody else */
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    VALUE(sendto(p[0], "x", 1, 0, (void *)&a, sizeof(a)));
    int s = socket(AF_INET, SOCK_STREAM, 0);
    VALUE(sendto(s, "x", 1, MSG_NOSIGNAL, (void *)&a, sizeof(a)));
    VALUE(send(s, "x", 1, MSG_NOSIGNAL));
    VALUE(recv(s, t, 1, 0));
    show_poll("fresh", s);
    socklen_t len = sizeof(a);
    getsockname(l, (void *)&a, &len);
    VALUE(sendto(s, "fast", 4, MSG_FASTOPEN, (void *)&a, sizeof(a)));
    int c = accept(l, NULL, NULL);
    CHECK(c >= 0);
    VALUE(recv(c, t, 16, 0));
    close(s);
    s = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    OK(setsockopt(s, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, 4));
    OK(connect(s, (void *)&a, sizeof(a)));
    VALUE(send(s, "later", 5, 0));
    c = accept(l, NULL, NULL);
    VALUE(recv(c, t, 16, 0));
}

CASE(ways_many)
{
    int u[2];
    NEED(udp_pair(u));
    struct mmsghdr m[4];
    struct iovec iov[4];
    char t[4][8];
    memset(m, 0, sizeof(m));
    for (int i = 0; i < 4; i++) {
        iov[i] = (struct iovec){t[i], i + 1};
        m[i].msg_hdr.msg_iov = &iov[i];
        m[i].msg_hdr.msg_iovlen = 1;
        memset(t[i], 'a' + i, 8);
    }
    VALUE(sendmmsg(u[0], m, 4, 0));
    for (int i = 0; i < 4; i++)
        VALUE(m[i].msg_len);
    VALUE(sendmmsg(u[0], m, 0, 0));
    m[2].msg_hdr.msg_iov = (void *)16;
    VALUE(sendmmsg(u[0], m, 4, 0));
    m[2].msg_hdr.msg_iov = &iov[2];
    settle_ms(5);
    for (int i = 0; i < 4; i++)
        iov[i].iov_len = 8;
    struct timespec ts = {0, 1000000};
    VALUE(recvmmsg(u[1], m, 4, MSG_WAITFORONE, NULL));
    for (int i = 0; i < 4; i++)
        VALUE(m[i].msg_len);
    VALUE(recvmmsg(u[1], m, 4, MSG_DONTWAIT, NULL));
    VALUE(recvmmsg(u[1], m, 4, MSG_DONTWAIT, NULL));
    VALUE(recvmmsg(u[1], m, 0, 0, NULL));
    send(u[0], "x", 1, 0);
    settle_ms(5);
    ts.tv_nsec = -1;
    VALUE(recvmmsg(u[1], m, 4, 0, &ts));
    VALUE(recvmmsg(u[1], m, 4, MSG_DONTWAIT, (void *)16));
}

static int wait_on(int e, const char *what)
{
    struct epoll_event ev[4];
    int n = epoll_wait(e, ev, 4, 0);
    say("%s: %d", what, n);
    for (int i = 0; i < n; i++)
        say("  %x data %u", ev[i].events, ev[i].data.u32);
    return n;
}

CASE(ways_epoll)
{
    int p[2], l, e = epoll_create1(0), f = epoll_create1(0), g = epoll_create1(0);
    char t[8];
    NEED(tcp_pair_and_listener(p, &l));
    struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = 1};
    OK(epoll_ctl(e, EPOLL_CTL_ADD, p[1], &ev));
    OK(epoll_ctl(e, EPOLL_CTL_ADD, p[1], &ev));
    send(p[0], "x", 1, 0);
    settle_ms(5);
    wait_on(e, "oneshot");
    wait_on(e, "oneshot");
    OK(epoll_ctl(e, EPOLL_CTL_MOD, p[1], &ev));
    wait_on(e, "oneshot again");
    ev = (struct epoll_event){.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u32 = 2};
    OK(epoll_ctl(f, EPOLL_CTL_ADD, p[1], &ev));
    wait_on(f, "exclusive");
    wait_on(f, "exclusive");
    OK(epoll_ctl(f, EPOLL_CTL_MOD, p[1], &ev));
    ev.events = EPOLLIN;
    OK(epoll_ctl(f, EPOLL_CTL_MOD, p[1], &ev));
    ev.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
    OK(epoll_ctl(f, EPOLL_CTL_ADD, p[0], &ev));
    ev.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP;
    OK(epoll_ctl(f, EPOLL_CTL_ADD, p[0], &ev));
    ev.events = EPOLLOUT | EPOLLEXCLUSIVE | EPOLLET | EPOLLWAKEUP;
    OK(epoll_ctl(f, EPOLL_CTL_ADD, p[0], &ev));
    ev = (struct epoll_event){.events = EPOLLIN, .data.u32 = 3};
    OK(epoll_ctl(g, EPOLL_CTL_ADD, f, &ev));
    wait_on(g, "nested");
    ev.events = EPOLLIN | EPOLLEXCLUSIVE;
    OK(epoll_ctl(g, EPOLL_CTL_ADD, e, &ev));
    OK(epoll_ctl(f, EPOLL_CTL_ADD, g, &ev));
    OK(epoll_ctl(e, EPOLL_CTL_ADD, e, &ev));
    show_poll("nested", f);
    show_poll("nested", g);
    recv(p[1], t, 8, 0);
    wait_on(g, "nested, read");
    show_poll("nested, read", g);
    ev = (struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.u32 = 4};
    OK(epoll_ctl(e, EPOLL_CTL_MOD, p[1], &ev));
    wait_on(e, "edge");
    wait_on(e, "edge");
    send(p[0], "x", 1, 0);
    settle_ms(5);
    wait_on(e, "edge, sent");
    send(p[0], "x", 1, 0);
    settle_ms(5);
    wait_on(e, "edge, sent more");
    shutdown(p[0], SHUT_WR);
    settle_ms(5);
    wait_on(e, "edge, shut");
    close(p[0]);
    settle_ms(5);
    epoll_wait(e, &ev, 1, 0); /* an edge more or less does no harm */
    VALUE(send(p[1], "y", 1, MSG_NOSIGNAL));
    settle_ms(20);
    wait_on(e, "edge, reset");
    OK(epoll_ctl(e, EPOLL_CTL_DEL, p[1], NULL));
    OK(epoll_ctl(e, EPOLL_CTL_DEL, p[1], NULL));
    ev.events = 0;
    OK(epoll_ctl(e, EPOLL_CTL_ADD, p[1], &ev));
    wait_on(e, "nothing asked");
    int d = open("/dev/null", O_RDWR);
    OK(epoll_ctl(e, EPOLL_CTL_ADD, d, &ev));
    int file = open("x", O_CREAT | O_RDWR, 0600);
    OK(epoll_ctl(e, EPOLL_CTL_ADD, file, &ev));
}

CASE(ways_shutdown)
{
    int l = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    bind(l, (void *)&a, len);
    listen(l, 5);
    getsockname(l, (void *)&a, &len);
    show_poll("listener", l);
    OK(shutdown(l, SHUT_WR));
    show_poll("listener", l);
    OK(shutdown(l, SHUT_RD));
    show_poll("listener", l);
    VALUE(accept(l, NULL, NULL));
    int c = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect(c, (void *)&a, len));
    OK(listen(l, 5));
    close(c);
    c = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect(c, (void *)&a, len));
    OK(connect(c, (void *)&a, len));
    OK(listen(c, 5));
    OK(shutdown(c, 5));
    int u = socket(AF_INET, SOCK_DGRAM, 0);
    OK(listen(u, 1));
    VALUE(accept(u, NULL, NULL));
    show_poll("udp", u);
    int d[2];
    NEED(udp_pair(d));
    OK(shutdown(d[0], SHUT_WR));
    VALUE(send(d[0], "x", 1, MSG_NOSIGNAL));
    show_poll("udp shut", d[0]);
    OK(shutdown(d[1], SHUT_RD));
    show_poll("udp shut", d[1]);
    VALUE(recv(d[1], &len, 1, MSG_DONTWAIT));
    VALUE(send(d[1], "x", 1, MSG_NOSIGNAL));
    OK(shutdown(d[1], SHUT_WR));
    show_poll("udp shut", d[1]);
}
