#include "java-launcher/host/netcheck.h"

#include "java-launcher/host/util.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* "a.b.c.d" of n bytes. */
static bool is_address(const char *text, size_t n, in_addr_t *out)
{
    char copy[INET_ADDRSTRLEN] = "";
    struct in_addr a;
    if (!n || n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    bool good = inet_pton(AF_INET, copy, &a) == 1;
    *out = a.s_addr;
    return good;
}

static bool parse_ip(const char *text, struct fixed_address *ip)
{
    const char *slash = strchr(text, '/');
    in_addr_t *const more[] = {&ip->gateway, &ip->resolver};
    char *end = NULL;
    if (!slash || !is_address(text, (size_t)(slash - text), &ip->address) ||
        !isdigit((unsigned char)slash[1]))
        return false;
    long prefix = strtol(slash + 1, &end, 10);
    if (prefix < 1 || prefix > 32)
        return false;
    ip->prefix = (unsigned)prefix;
    ip->mask = htonl(~0u << (32 - prefix));
    for (size_t i = 0; *end == ','; i++) {
        char *next = strchrnul(end + 1, ',');
        if (i == sizeof more / sizeof *more || !is_address(end + 1, (size_t)(next - end - 1), more[i]))
            return false;
        end = next;
    }
    return !*end;
}

/* A machine's: neither a group's, nor the loopback's, nor the network's first or last, which mean all of it.
 */
static bool is_machine(in_addr_t address, in_addr_t mask, unsigned prefix)
{
    unsigned first = ntohl(address) >> 24;
    in_addr_t host = address & ~mask;
    return first && first != 127 && first < 224 && (prefix > 30 || (host && host != ~mask));
}

struct fixed_address netcheck_ip(const char *text)
{
    struct fixed_address ip = {0};
    if (!parse_ip(text, &ip))
        die("--ip %s: write ADDRESS/PREFIX[,GATEWAY[,NAMESERVER]], such as 10.0.0.2/24,10.0.0.1", text);
    if (!is_machine(ip.address, ip.mask, ip.prefix))
        die("--ip %s: no machine can have that address", text);
    if (ip.gateway && ((ip.gateway ^ ip.address) & ip.mask || ip.gateway == ip.address))
        die("--ip %s: the gateway must be another address of the same network", text);
    return ip;
}

/* Whether the port could be opened now, as QEMU will open it. */
static void check_forward(const struct forward *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(f->host_port)};
    int on = 1, fd = socket(AF_INET, (f->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (inet_pton(AF_INET, f->host_ip, &a.sin_addr) != 1)
        die("-p: %s is not an IPv4 address", f->host_ip);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool good = !bind(fd, (struct sockaddr *)&a, sizeof a) && (f->udp || !listen(fd, 1));
    int error = errno;
    close(fd);
    if (good)
        return;
    if (error == EADDRINUSE)
        die("-p: port %u of %s is in use already; take another one", f->host_port, f->host_ip);
    if (error == EADDRNOTAVAIL)
        die("-p: %s is no address of this machine", f->host_ip);
    if (error == EACCES)
        die("-p: port %u needs root; take one above 1023", f->host_port);
    die("-p: cannot open port %u of %s: %s", f->host_port, f->host_ip, strerror(error));
}

/* QEMU could open only the first of two. */
static void check_twice(const struct options *o, size_t i)
{
    const struct forward *f = &o->forwards[i];
    for (size_t k = 0; k < i; k++) {
        const struct forward *g = &o->forwards[k];
        bool overlap = !strcmp(f->host_ip, g->host_ip) || !strcmp(f->host_ip, "0.0.0.0") ||
                       !strcmp(g->host_ip, "0.0.0.0");
        if (f->udp == g->udp && f->host_port == g->host_port && overlap)
            die("-p: port %u of %s is given twice", f->host_port, f->host_ip);
    }
}

/* The port where the JVM's debugging agent listens inside the VM only, as it does where `address` is a port
 * alone (JDK 9 and later); 0: none such. */
static unsigned private_debugger(const char *option)
{
    static const char flag[] = "-agentlib:jdwp=", *const here[] = {"", "localhost:", "127.0.0.1:"};
    const char *address = starts_with(option, flag) ? strstr(option, "address=") : NULL;
    for (size_t i = 0; address && i < sizeof here / sizeof *here; i++) {
        const char *port = address + sizeof "address=" - 1;
        if (!starts_with(port, here[i]))
            continue;
        char *end;
        unsigned long n = strtoul(port += strlen(here[i]), &end, 10);
        if (end > port && (!*end || *end == ',') && n <= UINT16_MAX)
            return (unsigned)n;
    }
    return 0;
}

static void check_debugger(const struct options *o, const struct forward *f)
{
    for (size_t i = 0; i < o->jvm.n; i++) {
        if (!f->udp && private_debugger(o->jvm.v[i]) == f->guest_port)
            die("-p: the debugging agent would not listen to the world outside the VM; write address=*:%u",
                f->guest_port);
    }
}

void netcheck_host(const struct options *o)
{
    for (size_t i = 0; i < o->n_forwards; i++) {
        check_twice(o, i);
        check_forward(&o->forwards[i]);
        check_debugger(o, &o->forwards[i]);
    }
    if (o->net && !strncmp(o->net, "tap:", 4) && !if_nametoindex(o->net + 4))
        die("--net %s: there is no such device; make it with: ip tuntap add dev %s mode tap multi_queue",
            o->net, o->net + 4);
}
