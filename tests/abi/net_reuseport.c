/* SO_REUSEPORT: sockets that share an address and a port share what comes there. */
#include "abi.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

enum { SOCKETS = 4, FLOWS = 128, ROUNDS = 3 };

static socklen_t address(struct sockaddr_storage *a, int family, bool wildcard)
{
    memset(a, 0, sizeof(*a));
    a->ss_family = family;
    if (family == AF_INET)
        ((struct sockaddr_in *)a)->sin_addr.s_addr = htonl(wildcard ? INADDR_ANY : INADDR_LOOPBACK);
    else
        ((struct sockaddr_in6 *)a)->sin6_addr = wildcard ? in6addr_any : in6addr_loopback;
    return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static int sharing(int family, int type)
{
    int fd = socket(family, type | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    return fd;
}

/* `SOCKETS` of them, bound to one port; a: where they are reached. */
static bool group(int fds[SOCKETS], int family, int type, bool wildcard, struct sockaddr_storage *a)
{
    socklen_t len = address(a, family, wildcard);
    for (int i = 0; i < SOCKETS; i++) {
        fds[i] = sharing(family, type);
        if (bind(fds[i], (void *)a, len) || getsockname(fds[i], (void *)a, &len) ||
            (type == SOCK_STREAM && listen(fds[i], 1000)))
            return false;
    }
    int port = ((struct sockaddr_in *)a)->sin_port;
    address(a, family, false);
    ((struct sockaddr_in *)a)->sin_port = port;
    return true;
}

static int count_datagrams(int fd, int by_flow[FLOWS], int who)
{
    unsigned char flow;
    int n = 0;
    while (recv(fd, &flow, 1, 0) == 1) {
        n++;
        if (by_flow[flow] == 0)
            by_flow[flow] = who + 1;
        else if (by_flow[flow] != who + 1)
            by_flow[flow] = -1;
    }
    return n;
}

static void spread_datagrams(int family, bool wildcard)
{
    struct sockaddr_storage a;
    int fds[SOCKETS], senders[FLOWS], by_flow[FLOWS] = {0}, total = 0, idle = 0, torn = 0;
    socklen_t len = address(&a, family, wildcard);
    say("-- family %d %s", family, wildcard ? "anywhere" : "here");
    NEED(group(fds, family, SOCK_DGRAM, wildcard, &a));
    for (int i = 0; i < FLOWS; i++) {
        senders[i] = socket(family, SOCK_DGRAM, 0);
        if (i & 1)
            connect(senders[i], (void *)&a, len);
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < FLOWS; i++) {
            unsigned char flow = i;
            sendto(senders[i], &flow, 1, 0, i & 1 ? NULL : (void *)&a, i & 1 ? 0 : len);
        }
    settle_ms(20);
    for (int i = 0; i < SOCKETS; i++) {
        int n = count_datagrams(fds[i], by_flow, i);
        total += n;
        idle += !n;
    }
    for (int i = 0; i < FLOWS; i++)
        torn += by_flow[i] <= 0;
    VALUE(total);
    VALUE(idle);
    VALUE(torn);
    /* One goes: the others get everything. */
    close(fds[0]);
    for (int i = 0; i < FLOWS; i++)
        sendto(senders[i], "", 1, 0, i & 1 ? NULL : (void *)&a, i & 1 ? 0 : len);
    settle_ms(20);
    total = 0;
    for (int i = 1; i < SOCKETS; i++)
        total += count_datagrams(fds[i], by_flow, i);
    VALUE(total);
    for (int i = 0; i < FLOWS; i++)
        close(senders[i]);
    for (int i = 1; i < SOCKETS; i++)
        close(fds[i]);
}

CASE(net_reuseport_udp)
{
    spread_datagrams(AF_INET, true);
    spread_datagrams(AF_INET, false);
    spread_datagrams(AF_INET6, true);
    spread_datagrams(AF_INET6, false);
}

static void spread_connections(int family, bool wildcard)
{
    struct sockaddr_storage a;
    int fds[SOCKETS], clients[FLOWS], total = 0, idle = 0, failed = 0, fd;
    socklen_t len = address(&a, family, wildcard);
    say("-- family %d %s", family, wildcard ? "anywhere" : "here");
    NEED(group(fds, family, SOCK_STREAM, wildcard, &a));
    for (int i = 0; i < FLOWS; i++) {
        clients[i] = socket(family, SOCK_STREAM, 0);
        failed += connect(clients[i], (void *)&a, len) != 0;
    }
    VALUE(failed);
    for (int i = 0; i < SOCKETS; i++) {
        int n = 0;
        struct pollfd p = {.fd = fds[i], .events = POLLIN};
        while (poll(&p, 1, 20) == 1 && (fd = accept(fds[i], NULL, NULL)) >= 0) {
            close(fd);
            n++;
        }
        total += n;
        idle += !n;
    }
    VALUE(total);
    VALUE(idle);
    for (int i = 0; i < FLOWS; i++)
        close(clients[i]);
    for (int i = 0; i < SOCKETS; i++)
        close(fds[i]);
}

CASE(net_reuseport_tcp)
{
    spread_connections(AF_INET, true);
    spread_connections(AF_INET, false);
    spread_connections(AF_INET6, true);
    spread_connections(AF_INET6, false);
}

/* Who may share: those who both want to. */
static void try_second(int type, int first_option, int second_option, bool listens, bool first_any,
                       bool second_any)
{
    struct sockaddr_storage a;
    socklen_t len = address(&a, AF_INET, first_any);
    int one = 1, p = socket(AF_INET, type, 0), q = socket(AF_INET, type, 0);
    if (first_option)
        setsockopt(p, SOL_SOCKET, first_option, &one, sizeof(one));
    if (second_option)
        setsockopt(q, SOL_SOCKET, second_option, &one, sizeof(one));
    bind(p, (void *)&a, len);
    if (listens)
        listen(p, 5);
    getsockname(p, (void *)&a, &len);
    ((struct sockaddr_in *)&a)->sin_addr.s_addr = htonl(second_any ? INADDR_ANY : INADDR_LOOPBACK);
    int result = bind(q, (void *)&a, len), error = errno;
    say("type %d options %d %d %s %s %s: %s", type, first_option, second_option, listens ? "listening" : "",
        first_any ? "any" : "one", second_any ? "any" : "one", errname(result ? error : 0));
    if (!result && type == SOCK_STREAM)
        OK(listen(q, 5));
    close(p);
    close(q);
}

CASE(net_reuseport_rules)
{
    static const int options[] = {0, SO_REUSEADDR, SO_REUSEPORT};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            for (int any = 0; any < 4; any++) {
                try_second(SOCK_DGRAM, options[i], options[k], false, any & 1, any & 2);
                try_second(SOCK_STREAM, options[i], options[k], false, any & 1, any & 2);
                try_second(SOCK_STREAM, options[i], options[k], true, any & 1, any & 2);
            }
}

/* The option set after the bind, and one port for both families. */
CASE(net_reuseport_late)
{
    struct sockaddr_storage a, a6;
    socklen_t len = address(&a, AF_INET, true), len6 = address(&a6, AF_INET6, true);
    int one = 1, p = socket(AF_INET, SOCK_DGRAM, 0), q = sharing(AF_INET, SOCK_DGRAM);
    OK(bind(p, (void *)&a, len));
    getsockname(p, (void *)&a, &len);
    OK(setsockopt(p, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
    OK(bind(q, (void *)&a, len));
    int s = sharing(AF_INET6, SOCK_DGRAM), t = socket(AF_INET6, SOCK_DGRAM, 0);
    ((struct sockaddr_in6 *)&a6)->sin6_port = ((struct sockaddr_in *)&a)->sin_port;
    OK(bind(t, (void *)&a6, len6));
    OK(bind(s, (void *)&a6, len6));
    OK(setsockopt(t, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)));
    OK(bind(t, (void *)&a6, len6));
    close(p);
    close(q);
    close(s);
    close(t);
}
