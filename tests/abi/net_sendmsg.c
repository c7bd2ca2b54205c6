/* Control messages of sent datagrams: from which address, how far, with which class. */
#include "net.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/udp.h>

union control {
    struct cmsghdr h;
    char bytes[512];
};

struct sent {
    int to; /* the receiving socket */
    struct sockaddr_storage at;
    socklen_t len;
    union control control;
    size_t control_len;
};

static void add(struct sent *s, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *h = (void *)(s->control.bytes + s->control_len);
    h->cmsg_level = level;
    h->cmsg_type = type;
    h->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(h), data, len);
    s->control_len += CMSG_SPACE(len);
}

static void add_int(struct sent *s, int level, int type, int value)
{
    add(s, level, type, &value, sizeof(value));
}

static void add_v4(struct sent *s, const char *from, int interface)
{
    struct in_pktinfo i = {.ipi_ifindex = interface};
    inet_pton(AF_INET, from, &i.ipi_spec_dst);
    add(s, IPPROTO_IP, IP_PKTINFO, &i, sizeof(i));
}

static void add_v6(struct sent *s, const char *from, int interface)
{
    struct in6_pktinfo i = {.ipi6_ifindex = interface};
    inet_pton(AF_INET6, from, &i.ipi6_addr);
    add(s, IPPROTO_IPV6, IPV6_PKTINFO, &i, sizeof(i));
}

/* A receiver that tells everything, reached at a loopback address. */
static bool receiver(struct sent *s, int family, const char *address)
{
    memset(s, 0, sizeof(*s));
    s->to = socket(family, SOCK_DGRAM, 0);
    s->at.ss_family = family;
    s->len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (bind(s->to, (void *)&s->at, s->len) || getsockname(s->to, (void *)&s->at, &s->len))
        return false;
    if (family == AF_INET)
        inet_pton(family, address, &((struct sockaddr_in *)&s->at)->sin_addr);
    else
        inet_pton(family, address, &((struct sockaddr_in6 *)&s->at)->sin6_addr);
    set(s->to, IPPROTO_IP, IP_RECVTTL, 1);
    set(s->to, IPPROTO_IP, IP_RECVTOS, 1);
    if (family == AF_INET6) {
        set(s->to, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
        set(s->to, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    }
    return true;
}

static void show_arrival(struct sent *s)
{
    char text[16], name[64];
    struct sockaddr_storage from;
    union control control;
    struct iovec iov = {text, sizeof(text)};
    struct msghdr m = {.msg_name = &from,
                       .msg_namelen = sizeof(from),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(s->to, &m, MSG_DONTWAIT);
    if (n < 0) {
        say("  nothing came: %s", errname(errno));
        return;
    }
    const void *address = from.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&from)->sin_addr
                                                    : (void *)&((struct sockaddr_in6 *)&from)->sin6_addr;
    say("  %zd bytes from %s", n, inet_ntop(from.ss_family, address, name, sizeof(name)));
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h))
        say("  level %d type %d: %d", h->cmsg_level, h->cmsg_type,
            h->cmsg_len == CMSG_LEN(1) ? *CMSG_DATA(h) : *(int *)CMSG_DATA(h));
}

/* Sends with what was added, and shows how it came. */
static void send_it(struct sent *s, int fd, const char *what, bool connected)
{
    struct iovec iov = {(void *)"data", 4};
    struct msghdr m = {.msg_name = connected ? NULL : &s->at,
                       .msg_namelen = connected ? 0 : s->len,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = s->control_len ? &s->control : NULL,
                       .msg_controllen = s->control_len};
    errno = 0;
    ssize_t n = sendmsg(fd, &m, 0);
    say("%s: %zd %s", what, n, errname(n < 0 ? errno : 0));
    if (n >= 0)
        show_arrival(s);
    s->control_len = 0;
}

static void send_number(struct sent *s, int fd, int level, int type, const char *name, int value,
                        bool connected)
{
    char text[32];
    snprintf(text, sizeof(text), "%s %d", name, value);
    add_int(s, level, type, value);
    send_it(s, fd, text, connected);
}

#define LO (int)if_nametoindex("lo")

static void v4_ways(struct sent *s, int fd, bool connected)
{
    static const int values[] = {1, 7, 255, 0, 256, -1};
    send_it(s, fd, "plain", connected);
    add_v4(s, "127.0.0.9", 0);
    send_it(s, fd, "from 127.0.0.9", connected);
    send_it(s, fd, "plain again", connected);
    add_v4(s, "0.0.0.0", LO);
    send_it(s, fd, "by lo", connected);
    add_v4(s, "127.0.0.8", LO);
    send_it(s, fd, "from 127.0.0.8 by lo", connected);
    add_v4(s, "0.0.0.0", 77);
    send_it(s, fd, "by no interface", connected);
    add_v4(s, "198.51.100.1", 0);
    send_it(s, fd, "from somebody else", connected);
    add_v4(s, "224.0.0.5", 0);
    send_it(s, fd, "from a group", connected);
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        send_number(s, fd, IPPROTO_IP, IP_TTL, "ttl", values[i], connected);
        send_number(s, fd, IPPROTO_IP, IP_TOS, "tos", values[i], connected);
    }
    unsigned char tos = 0x20;
    add(s, IPPROTO_IP, IP_TOS, &tos, 1);
    send_it(s, fd, "a byte of tos", connected);
    add(s, IPPROTO_IP, IP_TOS, "xy", 2);
    send_it(s, fd, "two bytes of tos", connected);
    add(s, IPPROTO_IP, IP_TTL, &tos, 1);
    send_it(s, fd, "a byte of ttl", connected);
    add(s, IPPROTO_IP, IP_PKTINFO, "12345678", 8);
    send_it(s, fd, "short pktinfo", connected);
    add_int(s, IPPROTO_IP, IP_TTL, 3);
    add_int(s, IPPROTO_IP, IP_TOS, 8);
    add_v4(s, "127.0.0.3", LO);
    send_it(s, fd, "all three", connected);
    add_int(s, IPPROTO_IP, IP_MTU, 3);
    send_it(s, fd, "another type", connected);
    add_int(s, SOL_SOCKET, 999, 3);
    send_it(s, fd, "another type of socket's", connected);
    add_int(s, 999, 1, 3);
    send_it(s, fd, "another level", connected);
    add_int(s, IPPROTO_IPV6, IPV6_HOPLIMIT, 3);
    send_it(s, fd, "IPv6's", connected);
    send_it(s, fd, "plain at last", connected);
}

CASE(net_sendmsg_v4)
{
    struct sent s;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(receiver(&s, AF_INET, "127.0.0.1"));
    v4_ways(&s, fd, false);
    say("-- connected");
    OK(connect(fd, (void *)&s.at, s.len));
    v4_ways(&s, fd, true);
    close(fd);
    say("-- bound");
    struct sockaddr_in a = {.sin_family = AF_INET};
    inet_pton(AF_INET, "127.0.0.5", &a.sin_addr);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    OK(bind(fd, (void *)&a, sizeof(a)));
    set(fd, IPPROTO_IP, IP_TTL, 99);
    set(fd, IPPROTO_IP, IP_TOS, 0x40);
    v4_ways(&s, fd, false);
    close(fd);
    close(s.to);
}

static void v6_ways(struct sent *s, int fd, bool connected)
{
    static const int values[] = {1, 7, 255, 0, 256, -1, -2};
    send_it(s, fd, "plain", connected);
    add_v6(s, "::1", 0);
    send_it(s, fd, "from ::1", connected);
    add_v6(s, "::", LO);
    send_it(s, fd, "by lo", connected);
    add_v6(s, "::1", LO);
    send_it(s, fd, "from ::1 by lo", connected);
    add_v6(s, "::", 77);
    send_it(s, fd, "by no interface", connected);
    add_v6(s, "2001:db8::1", 0);
    send_it(s, fd, "from somebody else", connected);
    add_v6(s, "ff02::1", 0);
    send_it(s, fd, "from a group", connected);
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        send_number(s, fd, IPPROTO_IPV6, IPV6_HOPLIMIT, "hops", values[i], connected);
        send_number(s, fd, IPPROTO_IPV6, IPV6_TCLASS, "class", values[i], connected);
    }
    add(s, IPPROTO_IPV6, IPV6_HOPLIMIT, "x", 1);
    send_it(s, fd, "a byte of hops", connected);
    add(s, IPPROTO_IPV6, IPV6_TCLASS, "x", 1);
    send_it(s, fd, "a byte of class", connected);
    add(s, IPPROTO_IPV6, IPV6_PKTINFO, "12345678", 8);
    send_it(s, fd, "short pktinfo", connected);
    add_int(s, IPPROTO_IPV6, IPV6_HOPLIMIT, 3);
    add_int(s, IPPROTO_IPV6, IPV6_TCLASS, 8);
    add_v6(s, "::1", LO);
    send_it(s, fd, "all three", connected);
    add_int(s, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
    send_it(s, fd, "no fragments", connected);
    add_int(s, IPPROTO_IPV6, IPV6_DONTFRAG, 2);
    send_it(s, fd, "no fragments, oddly", connected);
    add_int(s, IPPROTO_IPV6, 999, 3);
    send_it(s, fd, "another type", connected);
    add_int(s, IPPROTO_IP, IP_TTL, 3);
    send_it(s, fd, "IPv4's", connected);
    send_it(s, fd, "plain at last", connected);
}

CASE(net_sendmsg_v6)
{
    struct sent s;
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    NEED(receiver(&s, AF_INET6, "::1"));
    v6_ways(&s, fd, false);
    say("-- connected");
    OK(connect(fd, (void *)&s.at, s.len));
    v6_ways(&s, fd, true);
    close(fd);
    close(s.to);
}

/* IPv4 by an IPv6 socket: both kinds of messages. */
CASE(net_sendmsg_mapped)
{
    struct sent s;
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    NEED(receiver(&s, AF_INET6, "::ffff:127.0.0.1"));
    v4_ways(&s, fd, false);
    say("-- IPv6's");
    add_v6(&s, "::ffff:127.0.0.9", 0);
    send_it(&s, fd, "from 127.0.0.9", false);
    add_v6(&s, "::ffff:127.0.0.9", LO);
    send_it(&s, fd, "from 127.0.0.9 by lo", false);
    add_v6(&s, "::1", 0);
    send_it(&s, fd, "from ::1", false);
    add_v6(&s, "::", LO);
    send_it(&s, fd, "from ::", false);
    close(fd);
    close(s.to);
}

/* UDP_SEGMENT: one call, many datagrams. */
static void receive_all(int fd)
{
    char text[2000];
    ssize_t n;
    while ((n = recv(fd, text, sizeof(text), MSG_DONTWAIT)) >= 0)
        say("  %zd bytes, %c to %c", n, n ? text[0] : '-', n ? text[n - 1] : '-');
}

static void send_segments(struct sent *s, int fd, const char *bytes, size_t len, int size)
{
    unsigned short segment = size;
    if (size >= 0)
        add(s, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment));
    struct iovec iov = {(void *)bytes, len};
    struct msghdr m = {.msg_name = &s->at,
                       .msg_namelen = s->len,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = size >= 0 ? &s->control : NULL,
                       .msg_controllen = s->control_len};
    ssize_t n = sendmsg(fd, &m, 0);
    say("%zu bytes by %d: %zd %s", len, size, n, errname(n < 0 ? errno : 0));
    s->control_len = 0;
    settle_ms(2);
    receive_all(s->to);
}

CASE(net_sendmsg_segments)
{
    for (int family = AF_INET; family; family = family == AF_INET ? AF_INET6 : 0) {
        struct sent s;
        static char bytes[65000];
        int fd = socket(family, SOCK_DGRAM, 0);
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = 'a' + i / 500 % 26;
        NEED(receiver(&s, family, family == AF_INET ? "127.0.0.1" : "::1"));
        send_segments(&s, fd, bytes, 3000, 1000);
        send_segments(&s, fd, bytes, 3100, 1000);
        send_segments(&s, fd, bytes, 500, 1000);
        send_segments(&s, fd, bytes, 1000, 1000);
        send_segments(&s, fd, bytes, 0, 1000);
        send_segments(&s, fd, bytes, 1500, 0);
        send_segments(&s, fd, bytes, 129, 1);
        send_segments(&s, fd, bytes, 10, 3);
        set(fd, IPPROTO_UDP, UDP_SEGMENT, 700);
        send_segments(&s, fd, bytes, 1500, -1);
        send_segments(&s, fd, bytes, 1500, 1000);
        VALUE(sendto(fd, bytes, 1000, 0, (void *)&s.at, s.len));
        settle_ms(2);
        receive_all(s.to);
        set(fd, IPPROTO_UDP, UDP_SEGMENT, 0);
        send_segments(&s, fd, bytes, 1500, -1);
        int size = 700;
        add(&s, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size));
        send_it(&s, fd, "four bytes of segment", false);
        add(&s, IPPROTO_UDP, 999, &size, sizeof(size));
        send_it(&s, fd, "another type of UDP's", false);
        close(fd);
        close(s.to);
    }
}
