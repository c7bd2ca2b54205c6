/* Options of sockets: what each begins with, what it takes, and what it is afterwards. Those that Moka has
 * not, because it could not do what they promise, are not here. */
#include "abi.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/un.h>

/* From Linux's headers, where the C library's are older. */
enum {
    OPT_SO_PREFER_BUSY_POLL = 69,
    OPT_SO_BUSY_POLL_BUDGET = 70,
    OPT_UDP_GRO = 104,
};

struct known {
    const char *name;
    int level, option;
    int values[6]; /* to be set, up to the first END */
};
#define END 0x7ffffff0
#define OPTION(level, option, ...)                                                                           \
    {                                                                                                        \
#option, level, option,                                                                              \
        {                                                                                                    \
            __VA_ARGS__, END                                                                                 \
        }                                                                                                    \
    }

static const struct known socket_options[] = {
    OPTION(SOL_SOCKET, SO_DEBUG, 0),
    OPTION(SOL_SOCKET, SO_DONTROUTE, 1),
    OPTION(SOL_SOCKET, SO_NO_CHECK, 1, 0),
    OPTION(SOL_SOCKET, SO_PRIORITY, 6, 0),
    OPTION(SOL_SOCKET, SO_BSDCOMPAT, 1),
    OPTION(SOL_SOCKET, SO_PASSCRED, 1, 0),
    OPTION(SOL_SOCKET, SO_SNDLOWAT, 5),
    OPTION(SOL_SOCKET, SO_MARK, 1, 0),
    OPTION(SOL_SOCKET, SO_BUSY_POLL, 0, 50, -1),
    OPTION(SOL_SOCKET, OPT_SO_PREFER_BUSY_POLL, 1, 0),
    OPTION(SOL_SOCKET, OPT_SO_BUSY_POLL_BUDGET, 8),
    OPTION(SOL_SOCKET, SO_INCOMING_NAPI_ID, 1),
};

static const struct known ip_options[] = {
    OPTION(IPPROTO_IP, IP_TOS, 0x10, 0xff, 256, -1),
    OPTION(IPPROTO_IP, IP_TTL, 0, 255, 256, -1),
    OPTION(IPPROTO_IP, IP_HDRINCL, 1),
    OPTION(IPPROTO_IP, IP_RECVOPTS, 1, 0),
    OPTION(IPPROTO_IP, IP_RETOPTS, 1, 0),
    OPTION(IPPROTO_IP, IP_PKTINFO, 5, 0),
    OPTION(IPPROTO_IP, IP_MTU_DISCOVER, 5, 6, -1, 0),
    OPTION(IPPROTO_IP, IP_RECVERR, 1, 0),
    OPTION(IPPROTO_IP, IP_RECVTTL, 1, 0),
    OPTION(IPPROTO_IP, IP_RECVTOS, 1, 0),
    OPTION(IPPROTO_IP, IP_MTU, 1),
    OPTION(IPPROTO_IP, IP_FREEBIND, 1, 0),
    OPTION(IPPROTO_IP, IP_RECVORIGDSTADDR, 1, 0),
    OPTION(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, 0),
    OPTION(IPPROTO_IP, IP_MULTICAST_IF, 0),
    OPTION(IPPROTO_IP, IP_MULTICAST_TTL, 5, -1, 256, 0),
    OPTION(IPPROTO_IP, IP_MULTICAST_LOOP, 0, 2),
    OPTION(IPPROTO_IP, IP_MULTICAST_ALL, 0, 2, 1),
};

static const struct known ipv6_options[] = {
    OPTION(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 0, 255, 256, -1),
    OPTION(IPPROTO_IPV6, IPV6_MULTICAST_IF, 0, 77),
    OPTION(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 0, 255, 256, -1),
    OPTION(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0, 2, 1),
    OPTION(IPPROTO_IPV6, IPV6_MTU_DISCOVER, 5, 6, -1, 0),
    OPTION(IPPROTO_IPV6, IPV6_MTU, 1280, 1000, 0),
    OPTION(IPPROTO_IPV6, IPV6_RECVERR, 1, 0),
    OPTION(IPPROTO_IPV6, IPV6_V6ONLY, 1, 0),
    OPTION(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, 0),
    OPTION(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1, 0),
    OPTION(IPPROTO_IPV6, IPV6_DONTFRAG, 1, 0),
    OPTION(IPPROTO_IPV6, IPV6_RECVTCLASS, 1, 0),
    OPTION(IPPROTO_IPV6, IPV6_TCLASS, 0x20, 255, 256, -1),
    OPTION(IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0, 1),
    OPTION(IPPROTO_IPV6, IPV6_ORIGDSTADDR, 1, 0),
    OPTION(IPPROTO_IPV6, IPV6_FREEBIND, 1, 0),
    OPTION(IPPROTO_IPV6, 29 /* IPV6_MULTICAST_ALL */, 0, 1),
    OPTION(IPPROTO_IPV6, 33 /* IPV6_FLOWINFO_SEND */, 1, 0),
};

static const struct known tcp_options[] = {
    OPTION(IPPROTO_TCP, TCP_NODELAY, 2, 0),
    OPTION(IPPROTO_TCP, TCP_MAXSEG, 100, 87, 32768, 0),
    OPTION(IPPROTO_TCP, TCP_CORK, 2, 0),
    OPTION(IPPROTO_TCP, TCP_KEEPIDLE, 0, 1, 32767, 32768),
    OPTION(IPPROTO_TCP, TCP_KEEPINTVL, 0, 1, 32767, 32768),
    OPTION(IPPROTO_TCP, TCP_KEEPCNT, 0, 1, 127, 128),
    OPTION(IPPROTO_TCP, TCP_SYNCNT, 0, 1, 128),
    OPTION(IPPROTO_TCP, TCP_LINGER2, 10, 0, -5, 1000),
    OPTION(IPPROTO_TCP, TCP_DEFER_ACCEPT, 1, 5, 100, 0),
    OPTION(IPPROTO_TCP, TCP_WINDOW_CLAMP, 100, 0),
    OPTION(IPPROTO_TCP, TCP_QUICKACK, 0, 1, 2),
    OPTION(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1, 2, 0),
    OPTION(IPPROTO_TCP, TCP_USER_TIMEOUT, 5000, -1, 0),
    OPTION(IPPROTO_TCP, TCP_FASTOPEN, 5, 0, -1),
    OPTION(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 2),
    OPTION(IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1, 2, 0),
    OPTION(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0, 16384),
    OPTION(IPPROTO_TCP, 998, 1),
};

static const struct known udp_options[] = {
    OPTION(IPPROTO_UDP, UDP_SEGMENT, 1000, 65536, -1, 0),
    OPTION(IPPROTO_UDP, OPT_UDP_GRO, 1, 0),
    OPTION(IPPROTO_UDP, 998, 1),
};

static void show(int fd, const struct known *k, const char *when)
{
    int value[4] = {-77, -77, -77, -77};
    socklen_t len = sizeof(value);
    errno = 0;
    if (getsockopt(fd, k->level, k->option, value, &len))
        say("%s %s: %s", k->name, when, errname(errno));
    else
        say("%s %s: %d, %u bytes", k->name, when, len == 1 ? *(char *)value : value[0], len);
}

static void try(int fd, const struct known *list, unsigned n)
{
    char text[32];
    for (const struct known *k = list; k < list + n; k++) {
        show(fd, k, "at first");
        for (int i = 0; i < 6 && k->values[i] != END; i++) {
            int result = setsockopt(fd, k->level, k->option, &k->values[i], sizeof(int));
            snprintf(text, sizeof(text), "= %d: %s, is", k->values[i], errname(result ? errno : 0));
            show(fd, k, text);
        }
    }
}
#define TRY(fd, list) try(fd, list, sizeof(list) / sizeof((list)[0]))

static const int kinds[][2] = {{AF_INET, SOCK_STREAM},   {AF_INET, SOCK_DGRAM},  {AF_INET6, SOCK_STREAM},
                               {AF_INET6, SOCK_DGRAM},   {AF_UNIX, SOCK_STREAM}, {AF_UNIX, SOCK_DGRAM},
                               {AF_UNIX, SOCK_SEQPACKET}};

static void each(const struct known *list, unsigned n)
{
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        int fd = socket(kinds[i][0], kinds[i][1], 0);
        say("-- family %d type %d", kinds[i][0], kinds[i][1]);
        try(fd, list, n);
        close(fd);
    }
}
#define EACH(list) each(list, sizeof(list) / sizeof((list)[0]))

CASE(net_options_socket)
{
    EACH(socket_options);
}

CASE(net_options_ip)
{
    EACH(ip_options);
}

CASE(net_options_ipv6)
{
    EACH(ipv6_options);
}

CASE(net_options_tcp)
{
    EACH(tcp_options);
}

CASE(net_options_udp)
{
    EACH(udp_options);
}
