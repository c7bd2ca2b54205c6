/* Control messages of received datagrams: where one came to, how far, when. */
#include "net.h"

#include <arpa/inet.h>
#include <net/if.h>

/* Two sockets: [1] bound to its wildcard, [0] connected to it by way of its loopback address. */
static bool pair_of(int family, int p[2], bool mapped)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    struct sockaddr_in a4 = {.sin_family = AF_INET};
    socklen_t len = family == AF_INET6 ? sizeof(a) : sizeof(a4);
    if (family == AF_INET)
        memcpy(&a, &a4, sizeof(a4));
    p[1] = socket(family, SOCK_DGRAM, 0);
    if (bind(p[1], (void *)&a, len) || getsockname(p[1], (void *)&a, &len))
        return false;
    p[0] = socket(mapped ? AF_INET : family, SOCK_DGRAM, 0);
    if (family == AF_INET) {
        ((struct sockaddr_in *)&a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (mapped) {
        a4.sin_port = a.sin6_port;
        a4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        memcpy(&a, &a4, sizeof(a4));
        len = sizeof(a4);
    } else {
        a.sin6_addr = in6addr_loopback;
    }
    return !connect(p[0], (void *)&a, len);
}

static bool about_now(long seconds, long fraction, long most)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return seconds <= now.tv_sec && seconds >= now.tv_sec - 20 && fraction >= 0 && fraction < most;
}

static void show_one(const struct cmsghdr *h)
{
    const void *data = CMSG_DATA(h);
    char text[64];
    say("level %d type %d, %zu bytes", h->cmsg_level, h->cmsg_type, (size_t)h->cmsg_len - CMSG_LEN(0));
    if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
        const struct in_pktinfo *i = data;
        CHECK((unsigned)i->ipi_ifindex == if_nametoindex("lo"));
        say("to %s", inet_ntop(AF_INET, &i->ipi_addr, text, sizeof(text)));
        say("at %s", inet_ntop(AF_INET, &i->ipi_spec_dst, text, sizeof(text)));
    } else if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO) {
        const struct in6_pktinfo *i = data;
        CHECK(i->ipi6_ifindex == if_nametoindex("lo"));
        say("to %s", inet_ntop(AF_INET6, &i->ipi6_addr, text, sizeof(text)));
    } else if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_TOS) {
        say("tos %d", *(const unsigned char *)data);
    } else if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SO_TIMESTAMP) {
        const struct timeval *t = data;
        CHECK(about_now(t->tv_sec, t->tv_usec, 1000000));
    } else if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SO_TIMESTAMPNS) {
        const struct timespec *t = data;
        CHECK(about_now(t->tv_sec, t->tv_nsec, 1000000000));
    } else {
        say("value %d", *(const int *)data);
    }
}

static void receive(int p[2], size_t room, int flags)
{
    char text[8];
    union {
        struct cmsghdr h;
        char bytes[256];
    } control;
    memset(&control, 0, sizeof(control));
    struct iovec iov = {text, sizeof(text)};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = room};
    if (!(flags & MSG_DONTWAIT))
        VALUE(send(p[0], "data", 4, 0));
    VALUE(recvmsg(p[1], &m, flags & ~MSG_DONTWAIT));
    say("flags %x, %zu bytes of control", m.msg_flags, (size_t)m.msg_controllen);
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h))
        show_one(h);
}

static void v4_options(int fd, int on)
{
    set(fd, IPPROTO_IP, IP_PKTINFO, on);
    set(fd, IPPROTO_IP, IP_RECVTTL, on);
    set(fd, IPPROTO_IP, IP_RECVTOS, on);
}

static void v6_options(int fd, int on)
{
    set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, on);
    set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, on);
    set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, on);
}

CASE(net_messages_v4)
{
    int p[2];
    NEED(pair_of(AF_INET, p, false));
    receive(p, 256, 0);
    v4_options(p[1], 1);
    receive(p, 256, 0);
    receive(p, 256, 0);
    set(p[0], IPPROTO_IP, IP_TTL, 7);
    set(p[0], IPPROTO_IP, IP_TOS, 0x10);
    receive(p, 256, MSG_PEEK);
    receive(p, 256, MSG_DONTWAIT);
    receive(p, 40, 0);
    receive(p, 20, 0);
    receive(p, 0, 0);
    set(p[1], SOL_SOCKET, SO_TIMESTAMP, 1);
    receive(p, 256, 0);
    v4_options(p[1], 0);
    receive(p, 256, 0);
    close(p[0]);
    close(p[1]);
}

CASE(net_messages_v6)
{
    int p[2];
    NEED(pair_of(AF_INET6, p, false));
    v6_options(p[1], 1);
    receive(p, 256, 0);
    receive(p, 256, 0);
    set(p[0], IPPROTO_IPV6, IPV6_UNICAST_HOPS, 7);
    set(p[0], IPPROTO_IPV6, IPV6_TCLASS, 0x20);
    receive(p, 256, MSG_PEEK);
    receive(p, 256, MSG_DONTWAIT);
    set(p[1], SOL_SOCKET, SO_TIMESTAMPNS, 1);
    receive(p, 256, 0);
    v6_options(p[1], 0);
    receive(p, 256, 0);
    close(p[0]);
    close(p[1]);
}

/* IPv4 at an IPv6 socket. */
CASE(net_messages_mapped)
{
    int p[2];
    NEED(pair_of(AF_INET6, p, true));
    v6_options(p[1], 1);
    receive(p, 256, 0);
    v4_options(p[1], 1);
    receive(p, 256, 0);
    receive(p, 256, 0);
    close(p[0]);
    close(p[1]);
}

CASE(net_messages_timestamps)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), value;
    static const int steps[][2] = {{SO_TIMESTAMP, 1}, {SO_TIMESTAMPNS, 1}, {SO_TIMESTAMPNS, 5},
                                   {SO_TIMESTAMP, 1}, {SO_TIMESTAMP, 0},   {SO_TIMESTAMPNS, 1},
                                   {SO_TIMESTAMP, 0}};
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        socklen_t len = sizeof(value);
        set(fd, SOL_SOCKET, steps[i][0], steps[i][1]);
        VALUE(getsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &value, &len));
        VALUE(value);
        VALUE(getsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &value, &len));
        VALUE(value);
    }
    close(fd);
}
