/* UDP_GRO: what was sent as several datagrams of one size is received at once, with that size beside it. */
#include "net.h"

#include <netinet/udp.h>

#define OPT_UDP_SEGMENT 103
#define OPT_UDP_GRO     104

static void receive(int fd)
{
    static char text[65536];
    union {
        struct cmsghdr h;
        char bytes[512];
    } c;
    struct sockaddr_in6 from;
    struct iovec iov = {text, sizeof(text)};
    struct msghdr m = {.msg_name = &from,
                       .msg_namelen = sizeof(from),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &c,
                       .msg_controllen = sizeof(c)};
    errno = 0;
    ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
    say("received %zd %s flags %x", n, errname(n < 0 ? errno : 0), n < 0 ? 0 : m.msg_flags);
    if (n <= 0)
        return;
    bool right = true;
    for (ssize_t i = 1; i < n; i++)
        right &= text[i] == (char)(text[i - 1] + 1);
    say("  from %u: %s", from.sin6_family, right ? "right" : "wrong");
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
        int value;
        memcpy(&value, CMSG_DATA(h), sizeof(value));
        say("  level %d type %d, %zu bytes", h->cmsg_level, h->cmsg_type, (size_t)h->cmsg_len - CMSG_LEN(0));
        if (h->cmsg_level == IPPROTO_UDP)
            say("  %d", value);
    }
}

static void give(int fd, size_t len)
{
    static char bytes[65536];
    for (size_t i = 0; i < len; i++)
        bytes[i] = i;
    VALUE(send(fd, bytes, len, 0));
}

static int receiver(int family, struct sockaddr_in6 *a, socklen_t *len)
{
    struct sockaddr_in v4 = loopback(0);
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int r = socket(family, SOCK_DGRAM, 0);
    *len = family == AF_INET ? sizeof(v4) : sizeof(v6);
    if (bind(r, family == AF_INET ? (void *)&v4 : (void *)&v6, *len) || getsockname(r, (void *)a, len))
        say("no receiver: %s", errname(errno));
    return r;
}

static int sender(const struct sockaddr_in6 *a, socklen_t len)
{
    int s = socket(a->sin6_family, SOCK_DGRAM, 0);
    if (connect(s, (void *)a, len))
        say("connect: %s", errname(errno));
    set(s, IPPROTO_UDP, OPT_UDP_SEGMENT, 1000);
    return s;
}

static void conversation(int family)
{
    struct sockaddr_in6 a;
    socklen_t len;
    int r = receiver(family, &a, &len), s = sender(&a, len), other = sender(&a, len);
    for (int on = 0; on < 2; on++) {
        say("-- UDP_GRO %d", on);
        set(r, IPPROTO_UDP, OPT_UDP_GRO, on);
        for (int round = 0; round < 2; round++) {
            give(s, 3500);
            give(s, 1000);
            give(other, 1500);
            give(s, 999);
            for (int i = 0; i < (on ? 5 : 9); i++)
                receive(r);
        }
    }
    set(r, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    set(r, IPPROTO_IP, IP_PKTINFO, 1);
    set(r, IPPROTO_IP, IP_RECVTTL, 1);
    if (family == AF_INET6) {
        set(r, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        set(r, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
    }
    give(s, 2001);
    receive(r);
    give(s, 7);
    receive(r);
    give(s, 0);
    receive(r);
    receive(r);
    /* Much. */
    set(s, IPPROTO_UDP, OPT_UDP_SEGMENT, 1400);
    give(s, 60000);
    receive(r);
    receive(r);
    set(s, IPPROTO_UDP, OPT_UDP_SEGMENT, 0);
    give(s, 60000);
    receive(r);
    close(r);
    close(s);
    close(other);
}

CASE(net_gro_v4)
{
    conversation(AF_INET);
}

CASE(net_gro_v6)
{
    conversation(AF_INET6);
}

/* A reader that waits gets all of it, in however many calls. */
static void *run_receive(void *arg)
{
    int fd = *(int *)arg;
    char bytes[65536];
    long got = 0;
    while (got < 100 * 35000) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n <= 0)
            break;
        got += n;
    }
    return (void *)got;
}

CASE(net_gro_waits)
{
    struct sockaddr_in6 a;
    socklen_t len;
    int r = receiver(AF_INET, &a, &len), s = sender(&a, len);
    void *got;
    static char bytes[35000];
    struct timeval tv = {5, 0};
    setsockopt(r, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    set(r, IPPROTO_UDP, OPT_UDP_GRO, 1);
    set(r, SOL_SOCKET, SO_RCVBUF, 200000);
    pthread_t t = start(run_receive, &r);
    for (int i = 0; i < 100; i++) {
        send(s, bytes, sizeof(bytes), 0);
        for (int queued = 1; queued > 0;) {
            struct pollfd p = {.fd = r, .events = POLLIN};
            queued = poll(&p, 1, 0);
            sched_yield();
        }
    }
    pthread_join(t, &got);
    VALUE((long)got);
    close(r);
    close(s);
}
