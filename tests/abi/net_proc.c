/* Files about the network: /proc/net (proc(5)) and /sys/class/net. */
#include "net.h"

#include <arpa/inet.h>

enum { NAMES = 8, TEXT = 1 << 16, LINES = 32, TIME_WAIT = 6 };

static struct {
    int port;
    const char *name;
} names[NAMES];
static int count;

/* A port that the system chose is told by a name. */
static int named(int fd, const char *name)
{
    struct sockaddr_in6 a;
    socklen_t len = sizeof(a);
    if (fd < 0 || getsockname(fd, (void *)&a, &len))
        say("%s: %s", name, errname(errno));
    names[count].port = ntohs(a.sin6_port); /* where sin_port is, too */
    names[count++].name = name;
    return fd;
}

static const char *name_of(int port)
{
    for (int i = 0; i < count; i++)
        if (names[i].port == port)
            return names[i].name;
    return port ? "?" : "0";
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* The lines about our sockets alone: addresses, ports' names, state, and, if they say the same everywhere,
 * queues. A host has many others, some of them with ports that were ours once. */
static void show_sockets(const char *path, bool queues)
{
    static char found[LINES][200];
    char line[300];
    int n = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        say("%s: %s", path, errname(errno));
    while (f && n < LINES && fgets(line, sizeof(line), f)) {
        char local[40], remote[40];
        unsigned local_port, remote_port, state, unsent, waiting;
        if (sscanf(line, " %*d: %32[0-9A-F]:%x %32[0-9A-F]:%x %x %x:%x", local, &local_port, remote,
                   &remote_port, &state, &unsent, &waiting) != 7)
            continue;
        const char *us = name_of(local_port), *them = name_of(remote_port);
        if (*us == '?' || *them == '?' || state == TIME_WAIT)
            continue;
        int len =
            snprintf(found[n], sizeof(found[n]), "%s %s:%s %s:%s %02X", path, local, us, remote, them, state);
        if (queues)
            snprintf(found[n] + len, sizeof(found[n]) - len, " %u:%u", unsent, waiting);
        n++;
    }
    if (f)
        fclose(f);
    qsort(found, n, sizeof(found[0]), by_text);
    for (int i = 0; i < n; i++)
        say("%s", found[i]);
}

static int bound(int family, int type)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = loopback(0);
    int fd = socket(family, type, 0);
    if (family == AF_INET6 ? bind(fd, (void *)&any, sizeof(any)) : bind(fd, (void *)&v4, sizeof(v4)))
        say("bind: %s", errname(errno));
    return fd;
}

static int connected_to(int family, int type, int port)
{
    struct sockaddr_in v4 = loopback(port);
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, type, 0);
    if (family == AF_INET6 ? connect(fd, (void *)&v6, sizeof(v6)) : connect(fd, (void *)&v4, sizeof(v4)))
        say("connect: %s", errname(errno));
    return fd;
}

CASE(proc_tcp)
{
    count = 0;
    int l = named(bound(AF_INET, SOCK_STREAM), "l"), m = named(bound(AF_INET6, SOCK_STREAM), "m");
    OK(listen(l, 5));
    OK(listen(m, 5));
    int c = named(connected_to(AF_INET, SOCK_STREAM, names[0].port), "c");
    int s = accept(l, NULL, NULL);
    int d = named(connected_to(AF_INET6, SOCK_STREAM, names[1].port), "d");
    int e = named(connected_to(AF_INET, SOCK_STREAM, names[1].port), "e");
    OK(write(c, "12345", 5) == 5 ? 0 : -1);
    sleep_ms(50);
    show_sockets("/proc/net/tcp", true);
    show_sockets("/proc/net/tcp6", true);
    show_sockets("/proc/self/net/tcp", true);
    say("-- one end closed");
    close(s);
    s = -1;
    sleep_ms(50);
    close(d);
    sleep_ms(50);
    show_sockets("/proc/net/tcp6", false);
    close(c);
    close(e);
    close(m);
    close(l);
}

CASE(proc_udp)
{
    count = 0;
    int a = named(bound(AF_INET, SOCK_DGRAM), "a"), b = named(bound(AF_INET6, SOCK_DGRAM), "b");
    int c = named(connected_to(AF_INET, SOCK_DGRAM, names[0].port), "c");
    int d = named(connected_to(AF_INET6, SOCK_DGRAM, names[1].port), "d");
    int none = socket(AF_INET, SOCK_DGRAM, 0);
    show_sockets("/proc/net/udp", true);
    show_sockets("/proc/net/udp6", true);
    close(a);
    show_sockets("/proc/net/udp", true);
    close(b);
    close(c);
    close(d);
    close(none);
}

/* Interfaces: how the lines are made, and what they say of the one that is everywhere. */
CASE(proc_dev)
{
    static char text[TEXT];
    if (slurp("/proc/net/dev", text, sizeof(text)) <= 0)
        say("no file: %s", errname(errno));
    int number = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), number++) {
        char name[20];
        unsigned long long n[16];
        if (number < 2)
            say("%s", line);
        else if (sscanf(line, " %19[^:]:%llu%llu%llu%llu%llu%llu%llu%llu%llu%llu%llu%llu%llu%llu%llu%llu",
                        name, n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7, n + 8, n + 9, n + 10,
                        n + 11, n + 12, n + 13, n + 14, n + 15) != 17)
            say("line %d is otherwise", number);
        else if (!strcmp(name, "lo"))
            say("lo");
    }
    if (slurp("/proc/net/arp", text, sizeof(text)) <= 0)
        say("no file: %s", errname(errno));
    say("%s", strtok(text, "\n"));
    static const char *const files[] = {"address", "carrier", "ifindex", "mtu", "operstate", "type"};
    for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[60], value[60] = "";
        snprintf(path, sizeof(path), "/sys/class/net/lo/%s", files[i]);
        if (slurp(path, value, sizeof(value)) <= 0)
            say("%s: %s", files[i], errname(errno));
        say("%s %.*s", files[i], (int)strcspn(value, "\n"), value);
    }
    char value[60];
    say("rx_bytes %d", slurp("/sys/class/net/lo/statistics/rx_bytes", value, sizeof(value)) > 0);
}

struct traffic {
    unsigned long long in, packets_in, out, packets_out;
};

static struct traffic loopback_traffic(void)
{
    static char text[TEXT];
    struct traffic t = {0};
    char *line = slurp("/proc/net/dev", text, sizeof(text)) > 0 ? strstr(text, " lo:") : NULL;
    if (!line || sscanf(line, " lo:%llu%llu%*u%*u%*u%*u%*u%*u%llu%llu", &t.in, &t.packets_in, &t.out,
                        &t.packets_out) != 4)
        say("no loopback");
    return t;
}

/* Others may send there, too: so at least what was sent. */
static void show_traffic(const char *what, struct traffic before, unsigned long long packets,
                         unsigned long long bytes)
{
    struct traffic t = loopback_traffic();
    say("%s: packets %d, bytes %d, all that is sent arrives %d", what,
        t.packets_out - before.packets_out >= packets, t.out - before.out >= bytes,
        t.in == t.out && t.packets_in == t.packets_out);
}

/* What goes to ourselves counts, whichever way it goes; Java's recorder and agents report it. */
CASE(proc_dev_loopback)
{
    static char bytes[100000];
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    int p[2], to = bound(AF_INET, SOCK_DGRAM), from = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(tcp_pair(p));
    NEED(!getsockname(to, (void *)&a, &len));
    struct traffic before = loopback_traffic();
    sendto(from, bytes, 1000, 0, (void *)&a, len);
    show_traffic("a first datagram", before, 1, 1028);
    before = loopback_traffic();
    for (int i = 0; i < 10; i++)
        sendto(from, bytes, 1000, 0, (void *)&a, len);
    show_traffic("ten datagrams", before, 10, 10280);
    before = loopback_traffic();
    for (int i = 0; i < 10; i++) {
        NEED(write(p[0], bytes, sizeof(bytes)) == sizeof(bytes));
        NEED(recv(p[1], bytes, sizeof(bytes), MSG_WAITALL) == sizeof(bytes));
    }
    show_traffic("a stream", before, 16, 1000832);
    close(p[0]);
    close(p[1]);
    close(to);
    close(from);
}
