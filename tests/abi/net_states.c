/* What sockets say of their state: connect(AF_UNSPEC), TCP_INFO, path MTU; groups. */
#include "net.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>

static void show_names(const char *what, int fd)
{
    struct sockaddr_in a = {0}, b = {0};
    socklen_t len = sizeof(a);
    char text[32], other[32];
    getsockname(fd, (void *)&a, &len);
    len = sizeof(b);
    int result = getpeername(fd, (void *)&b, &len), error = errno;
    say("%s: %s %s, peer %s", what, inet_ntop(AF_INET, &a.sin_addr, text, sizeof(text)),
        a.sin_port ? "with a port" : "without a port",
        result ? errname(error) : inet_ntop(AF_INET, &b.sin_addr, other, sizeof(other)));
}

/* ---- connect() to AF_UNSPEC ---- */

CASE(state_unspec_udp)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    struct sockaddr_in a = loopback(9), mine = loopback(0);
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    show_names("fresh", s);
    OK(connect(s, (void *)&a, sizeof(a)));
    show_names("connected", s);
    OK(connect(s, &none, sizeof(none)));
    show_names("disconnected", s);
    OK(connect(s, &none, sizeof(none)));
    OK(connect(s, (void *)&a, sizeof(a)));
    show_names("again", s);
    close(s);
    s = socket(AF_INET, SOCK_DGRAM, 0);
    OK(bind(s, (void *)&mine, sizeof(mine)));
    OK(connect(s, (void *)&a, sizeof(a)));
    OK(connect(s, &none, sizeof(none)));
    show_names("bound, disconnected", s);
    close(s);
    mine.sin_addr.s_addr = htonl(INADDR_ANY);
    s = socket(AF_INET, SOCK_DGRAM, 0);
    OK(bind(s, (void *)&mine, sizeof(mine)));
    OK(connect(s, (void *)&a, sizeof(a)));
    show_names("bound anywhere, connected", s);
    OK(connect(s, &none, sizeof(none)));
    show_names("bound anywhere, disconnected", s);
    OK(connect(s, &none, 2));
    OK(connect(s, &none, 1));
    close(s);
}

/* ---- TCP_INFO ---- */

static void show_info(const char *what, int fd)
{
    struct tcp_info i;
    socklen_t len = sizeof(i);
    memset(&i, 0xee, sizeof(i));
    errno = 0;
    int result = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len);
    say("%s: %s, %s, state %d, ca %d, retransmits %d, probes %d, backoff %d", what,
        errname(result ? errno : 0), len >= 104 ? "whole" : "short", i.tcpi_state, i.tcpi_ca_state,
        i.tcpi_retransmits, i.tcpi_probes, i.tcpi_backoff);
    say("  unacked %u, lost %u, retrans %u, total %u", i.tcpi_unacked, i.tcpi_lost, i.tcpi_retrans,
        i.tcpi_total_retrans);
    if (i.tcpi_state == TCP_ESTABLISHED) {
        CHECK(i.tcpi_snd_mss >= 536 && i.tcpi_rcv_mss >= 536 && i.tcpi_pmtu > i.tcpi_snd_mss);
        CHECK(i.tcpi_snd_cwnd > 0 && i.tcpi_rto >= 200000 && i.tcpi_options & TCPI_OPT_SACK);
        CHECK(i.tcpi_options & TCPI_OPT_WSCALE && i.tcpi_snd_wscale <= 14 && i.tcpi_rcv_wscale <= 14);
    }
}

CASE(state_tcp_info)
{
    int p[2], l, s = socket(AF_INET, SOCK_STREAM, 0);
    char text[8];
    show_info("fresh", s);
    close(s);
    NEED(tcp_pair_and_listener(p, &l));
    VALUE(send(p[0], "hello", 5, 0));
    VALUE(recv(p[1], text, 8, 0));
    settle_ms(60);
    show_info("client", p[0]);
    show_info("server", p[1]);
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    getsockname(l, (void *)&a, &len);
    show_info("listener", l);
    s = socket(AF_INET, SOCK_STREAM, 0);
    connect(s, (void *)&a, len);
    show_info("listener with one", l);
    close(s);
    shutdown(p[0], SHUT_WR);
    settle_ms(60);
    show_info("who shut", p[0]);
    show_info("the other", p[1]);
    close(p[1]);
    settle_ms(60);
    show_info("both shut", p[0]);
    close(p[0]);
    char small[104];
    len = 8;
    OK(getsockopt(l, IPPROTO_TCP, TCP_INFO, small, &len));
    VALUE(len);
    close(l);
}

/* ---- path MTU ---- */

CASE(state_mtu)
{
    static char bytes[70000];
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof(a);
    int r = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_DGRAM, 0), mtu = -1;
    OK(bind(r, (void *)&a, len));
    getsockname(r, (void *)&a, &len);
    OK(connect(s, (void *)&a, len));
    len = sizeof(mtu);
    OK(getsockopt(s, IPPROTO_IP, IP_MTU, &mtu, &len));
    VALUE(mtu);
    for (int discover = 0; discover < 4; discover++) {
        set(s, IPPROTO_IP, IP_MTU_DISCOVER, discover);
        VALUE(send(s, bytes, 65507, MSG_DONTWAIT));
        VALUE(send(s, bytes, 65508, MSG_DONTWAIT));
        while (recv(r, bytes, sizeof(bytes), MSG_DONTWAIT) >= 0)
            ;
    }
    int p[2], l;
    NEED(tcp_pair_and_listener(p, &l));
    len = sizeof(mtu);
    OK(getsockopt(p[0], IPPROTO_IP, IP_MTU, &mtu, &len));
    VALUE(mtu);
    OK(getsockopt(l, IPPROTO_IP, IP_MTU, &mtu, &len));
    close(p[0]);
    close(p[1]);
    close(l);
    close(r);
    close(s);
}

/* ---- groups ---- */

static int member_of(const char *group, const char *interface, int index, int port, bool reuse)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = port};
    struct ip_mreqn m = {.imr_ifindex = index};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), one = 1;
    inet_pton(AF_INET, group, &m.imr_multiaddr);
    inet_pton(AF_INET, interface, &m.imr_address);
    if (reuse)
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    OK(bind(s, (void *)&a, sizeof(a)));
    OK(setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)));
    return s;
}

static void show_received(const char *what, int fd)
{
    char text[16];
    ssize_t n;
    int count = 0;
    while ((n = recv(fd, text, 16, MSG_DONTWAIT)) >= 0)
        count++;
    say("%s: %d", what, count);
}

CASE(state_multicast)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct in_addr lo = {htonl(INADDR_LOOPBACK)};
    int r = member_of("239.1.2.3", "127.0.0.1", 0, 0, true), s = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t len = sizeof(to);
    struct ip_mreq m = {.imr_interface = lo};
    getsockname(r, (void *)&to, &len);
    int q = member_of("239.1.2.3", "0.0.0.0", if_nametoindex("lo"), to.sin_port, true);
    int other = member_of("239.1.2.4", "127.0.0.1", 0, to.sin_port, true);
    inet_pton(AF_INET, "239.1.2.3", &to.sin_addr);
    m.imr_multiaddr = to.sin_addr;
    OK(setsockopt(r, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)));
    OK(setsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof(lo)));
    lo.s_addr = 0;
    len = sizeof(lo);
    OK(getsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &lo, &len));
    CHECK(lo.s_addr == htonl(INADDR_LOOPBACK));
    VALUE(sendto(s, "one", 3, 0, (void *)&to, sizeof(to)));
    settle_ms(5);
    show_received("member", r);
    show_received("the other member", q);
    show_received("of another group", other);
    set(other, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    set(s, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
    VALUE(sendto(s, "two", 3, 0, (void *)&to, sizeof(to)));
    settle_ms(5);
    show_received("without loop", r);
    set(s, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
    OK(setsockopt(q, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)));
    OK(setsockopt(q, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)));
    set(q, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    VALUE(sendto(s, "three", 5, 0, (void *)&to, sizeof(to)));
    settle_ms(5);
    show_received("member", r);
    show_received("who left", q);
    show_received("of another group, alone", other);
    OK(setsockopt(r, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)));
    m.imr_multiaddr.s_addr = htonl(INADDR_LOOPBACK);
    OK(setsockopt(r, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)));
    OK(setsockopt(r, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)));
    OK(setsockopt(r, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, 4));
    struct ip_mreqn n = {.imr_ifindex = 77};
    inet_pton(AF_INET, "239.1.2.3", &n.imr_multiaddr);
    OK(setsockopt(r, IPPROTO_IP, IP_ADD_MEMBERSHIP, &n, sizeof(n)));
    struct group_req g = {.gr_interface = if_nametoindex("lo")};
    memcpy(&g.gr_group, &to, sizeof(to));
    OK(setsockopt(r, IPPROTO_IP, MCAST_JOIN_GROUP, &g, sizeof(g)));
    VALUE(sendto(s, "four", 4, 0, (void *)&to, sizeof(to)));
    settle_ms(5);
    show_received("member", r);
    OK(setsockopt(r, IPPROTO_IP, MCAST_LEAVE_GROUP, &g, sizeof(g)));
    close(r);
    close(q);
    close(s);
    close(other);
}

CASE(state_multicast6)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    struct ipv6_mreq m = {.ipv6mr_interface = if_nametoindex("lo")};
    socklen_t len = sizeof(a);
    int r = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    inet_pton(AF_INET6, "ff02::1:77", &m.ipv6mr_multiaddr);
    OK(bind(r, (void *)&a, len));
    getsockname(r, (void *)&a, &len);
    OK(setsockopt(r, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof(m)));
    OK(setsockopt(r, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof(m)));
    OK(setsockopt(r, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &m, sizeof(m)));
    OK(setsockopt(r, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &m, sizeof(m)));
    inet_pton(AF_INET6, "::1", &m.ipv6mr_multiaddr);
    OK(setsockopt(r, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof(m)));
    m.ipv6mr_interface = 77;
    inet_pton(AF_INET6, "ff02::1:77", &m.ipv6mr_multiaddr);
    OK(setsockopt(r, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof(m)));
    close(r);
}
