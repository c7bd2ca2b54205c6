/* Interfaces and their addresses: netlink, SIOCGIF*, and what the C library makes of them. */
#include "abi.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

CASE(link_getifaddrs)
{
    struct ifaddrs *all, *i;
    char text[64];
    int v4 = 0, v6 = 0, others = 0;
    OK(getifaddrs(&all));
    for (i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || strcmp(i->ifa_name, "lo")) {
            others++;
        } else if (i->ifa_addr->sa_family == AF_INET) {
            v4++;
            say("%s", inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, text, sizeof(text)));
            say("%s",
                inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_netmask)->sin_addr, text, sizeof(text)));
            say("flags %x", i->ifa_flags);
        } else if (i->ifa_addr->sa_family == AF_INET6) {
            v6++;
            say("%s",
                inet_ntop(AF_INET6, &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, text, sizeof(text)));
        }
    }
    VALUE(v4);
    VALUE(v6);
    freeifaddrs(all);
}

CASE(link_names)
{
    char name[IF_NAMESIZE] = "";
    struct if_nameindex *all = if_nameindex();
    NEED(all);
    VALUE(all[0].if_index);
    say("%s", all[0].if_name);
    if_freenameindex(all);
    VALUE(if_nametoindex("lo"));
    VALUE(if_nametoindex("nosuch0"));
    CHECK(if_indextoname(1, name) == name);
    say("%s", name);
    CHECK(if_indextoname(9999, name) == NULL);
    say("%s", errname(errno));
}

CASE(link_getaddrinfo)
{
    static const struct {
        const char *name, *service;
        int flags, family;
    } asked[] = {{"127.0.0.1", "80", AI_NUMERICHOST, AF_UNSPEC},
                 {"::1", "80", AI_NUMERICHOST, AF_UNSPEC},
                 {"localhost", "80", 0, AF_INET},
                 {NULL, "80", AI_PASSIVE, AF_INET},
                 {"1.2.3", "x", AI_NUMERICSERV, AF_UNSPEC},
                 {"::1", NULL, AI_NUMERICHOST, AF_INET}};
    char host[64], port[16];
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        struct addrinfo hints = {
            .ai_flags = asked[i].flags, .ai_family = asked[i].family, .ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        int error = getaddrinfo(asked[i].name, asked[i].service, &hints, &found);
        say("%s: %s", asked[i].name ? asked[i].name : "-", error ? "no" : "yes");
        if (!error && !getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof(host), port, sizeof(port),
                                   NI_NUMERICHOST | NI_NUMERICSERV))
            say("%s %s", host, port);
        if (!error)
            freeaddrinfo(found);
    }
}

/* SIOCGIF* of an interface that both sides have, and of one that neither has. */
CASE(link_ioctl)
{
    static const struct {
        const char *name;
        unsigned long request;
    } asked[] = {{"flags", SIOCGIFFLAGS}, {"addr", SIOCGIFADDR},       {"netmask", SIOCGIFNETMASK},
                 {"mtu", SIOCGIFMTU},     {"hwaddr", SIOCGIFHWADDR},   {"index", SIOCGIFINDEX},
                 {"txqlen", 0x8942},      {"brdaddr", SIOCGIFBRDADDR}, {"none", 0x8999}};
    int s = socket(AF_INET, SOCK_DGRAM, 0), u = socket(AF_UNIX, SOCK_DGRAM, 0);
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        struct ifreq r = {0};
        strcpy(r.ifr_name, "lo");
        say("%s", asked[i].name);
        if (OK(ioctl(s, asked[i].request, &r)))
            continue;
        for (int b = 0; b < 8; b++)
            if ((&r.ifr_addr.sa_data[0])[b - 2])
                say("byte %d is %d", b, (unsigned char)(&r.ifr_addr.sa_data[0])[b - 2]);
        strcpy(r.ifr_name, "nosuch0");
        OK(ioctl(s, asked[i].request, &r));
    }
    struct ifreq r[8] = {0};
    struct ifconf c = {.ifc_len = sizeof(r), .ifc_req = r};
    OK(ioctl(s, SIOCGIFCONF, &c));
    CHECK(c.ifc_len >= (int)sizeof(r[0]) && c.ifc_len % sizeof(r[0]) == 0);
    say("%s", r[0].ifr_name);
    r[1] = (struct ifreq){.ifr_ifindex = 1};
    OK(ioctl(u, SIOCGIFNAME, &r[1]));
    say("%s", r[1].ifr_name);
    OK(ioctl(s, SIOCGIFFLAGS, NULL));
    OK(ioctl(u, SIOCGIFFLAGS, NULL));
    close(u);
    close(s);
}

/* ---- netlink itself ---- */

struct question {
    struct nlmsghdr h;
    union {
        struct rtgenmsg generic;
        struct ifinfomsg link;
        struct ifaddrmsg address;
    };
};

static int netlink_socket(void)
{
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (s >= 0)
        OK(bind(s, (void *)&self, sizeof(self)));
    return s;
}

static long ask(int s, int type, int flags, int family, int index)
{
    struct question q = {.h = {sizeof(q), type, NLM_F_REQUEST | flags, 77, 0}};
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    q.link.ifi_family = family;
    q.link.ifi_index = index;
    return sendto(s, &q, sizeof(q), 0, (void *)&kernel, sizeof(kernel));
}

/* Counts the messages of each kind until the end of the list. */
static void read_list(int s)
{
    char bytes[16384];
    int links = 0, v4 = 0, v6 = 0, strange = 0;
    for (;;) {
        struct sockaddr_nl from = {0};
        struct iovec iov = {bytes, sizeof(bytes)};
        struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
        long n = recvmsg(s, &m, 0);
        NEED(n > 0 && m.msg_namelen == sizeof(from) && from.nl_pid == 0 && !(m.msg_flags & MSG_TRUNC));
        for (struct nlmsghdr *h = (void *)bytes; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            struct ifaddrmsg *a = NLMSG_DATA(h);
            if (h->nlmsg_type == NLMSG_DONE) {
                CHECK(h->nlmsg_flags & NLM_F_MULTI && h->nlmsg_seq == 77);
                CHECK(links > 0 || v4 > 0 || v6 > 0);
                VALUE(strange);
                return;
            }
            if (h->nlmsg_type == NLMSG_ERROR) {
                say("error %s", errname(-((struct nlmsgerr *)NLMSG_DATA(h))->error));
                return;
            }
            links += h->nlmsg_type == RTM_NEWLINK;
            v4 += h->nlmsg_type == RTM_NEWADDR && a->ifa_family == AF_INET;
            v6 += h->nlmsg_type == RTM_NEWADDR && a->ifa_family == AF_INET6;
            strange += h->nlmsg_type != RTM_NEWADDR && h->nlmsg_type != RTM_NEWLINK;
            if (h->nlmsg_type == RTM_NEWADDR && a->ifa_index == 1 && a->ifa_family == AF_INET)
                say("prefix %d scope %d", a->ifa_prefixlen, a->ifa_scope);
        }
    }
}

CASE(link_netlink_lists)
{
    int s = netlink_socket();
    NEED(s >= 0);
    struct pollfd p = {s, POLLIN | POLLOUT, 0};
    VALUE(poll(&p, 1, 0));
    VALUE(p.revents);
    VALUE(ask(s, RTM_GETLINK, NLM_F_DUMP, AF_UNSPEC, 0));
    VALUE(poll(&p, 1, 1000));
    VALUE(p.revents);
    read_list(s);
    VALUE(ask(s, RTM_GETADDR, NLM_F_DUMP, AF_UNSPEC, 0));
    read_list(s);
    VALUE(ask(s, RTM_GETADDR, NLM_F_DUMP, AF_INET, 0));
    read_list(s);
    VALUE(recv(s, &p, 1, MSG_DONTWAIT));
    close(s);
}

CASE(link_netlink_one)
{
    char bytes[8192];
    int s = netlink_socket();
    NEED(s >= 0);
    VALUE(ask(s, RTM_GETLINK, 0, AF_UNSPEC, 1));
    CHECK(recv(s, bytes, 16, MSG_PEEK) == 16);
    CHECK(recv(s, bytes, 16, MSG_PEEK | MSG_TRUNC) > 16);
    long n = recv(s, bytes, sizeof(bytes), 0);
    struct nlmsghdr *h = (void *)bytes;
    struct ifinfomsg *link = NLMSG_DATA(h);
    NEED(NLMSG_OK(h, n));
    VALUE(h->nlmsg_type);
    VALUE(h->nlmsg_flags);
    VALUE(link->ifi_index);
    VALUE(link->ifi_type);
    int left = IFLA_PAYLOAD(h);
    for (struct rtattr *a = IFLA_RTA(link); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == IFLA_IFNAME)
            say("name %s", (char *)RTA_DATA(a));
        if (a->rta_type == IFLA_MTU)
            say("mtu %d", *(int *)RTA_DATA(a));
        if (a->rta_type == IFLA_ADDRESS)
            say("address of %d bytes", (int)RTA_PAYLOAD(a));
    }
    VALUE(ask(s, RTM_GETLINK, 0, AF_UNSPEC, 9999));
    n = recv(s, bytes, sizeof(bytes), 0);
    NEED(NLMSG_OK(h, n));
    VALUE(h->nlmsg_type);
    say("%s", errname(-((struct nlmsgerr *)NLMSG_DATA(h))->error));
    close(s);
}

CASE(link_netlink_errors)
{
    struct sockaddr_nl a = {.nl_family = AF_NETLINK}, self;
    socklen_t len = sizeof(self);
    char bytes[64] = "";
    int s = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE);
    NEED(s >= 0);
    VALUE(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE));
    OK(getsockname(s, (void *)&self, &len));
    VALUE(len);
    VALUE(self.nl_pid);
    VALUE(bind(s, (void *)&a, 4));
    a.nl_family = AF_INET;
    VALUE(bind(s, (void *)&a, sizeof(a)));
    a.nl_family = AF_NETLINK;
    OK(bind(s, (void *)&a, sizeof(a)));
    OK(getsockname(s, (void *)&self, &len));
    CHECK(self.nl_pid != 0);
    a.nl_pid = self.nl_pid + 1;
    VALUE(bind(s, (void *)&a, sizeof(a)));
    VALUE(listen(s, 1));
    VALUE(accept(s, NULL, NULL));
    VALUE(shutdown(s, SHUT_RDWR));
    VALUE(recv(s, bytes, 1, MSG_DONTWAIT));
    VALUE(send(s, bytes, 8, 0));
    VALUE(recv(s, bytes, 1, MSG_DONTWAIT));
    len = sizeof(self);
    OK(getpeername(s, (void *)&self, &len));
    VALUE(self.nl_pid);
    int type = -1;
    len = sizeof(type);
    OK(getsockopt(s, SOL_SOCKET, SO_PROTOCOL, &type, &len));
    VALUE(type);
    OK(getsockopt(s, SOL_SOCKET, SO_DOMAIN, &type, &len));
    VALUE(type);
    close(s);
}

/* ---- routes and neighbours ---- */

struct route_question {
    struct nlmsghdr h;
    struct rtmsg m;
    struct rtattr a;
    unsigned char address[16];
};

static void show_route(const struct nlmsghdr *h)
{
    const struct rtmsg *m = NLMSG_DATA(h);
    char text[3][64] = {"-", "-", "-"};
    int left = RTM_PAYLOAD(h), interface = 0, table = 0;
    for (struct rtattr *a = RTM_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        int which = a->rta_type == RTA_DST       ? 0
                    : a->rta_type == RTA_PREFSRC ? 1
                    : a->rta_type == RTA_GATEWAY ? 2
                                                 : 3;
        if (which < 3)
            inet_ntop(m->rtm_family, RTA_DATA(a), text[which], sizeof(text[which]));
        if (a->rta_type == RTA_OIF)
            interface = *(int *)RTA_DATA(a);
        if (a->rta_type == RTA_TABLE)
            table = *(int *)RTA_DATA(a);
    }
    if (interface == 1)
        say("family %d to %s/%d table %d %d from %s gateway %s scope %d type %d protocol %d flags %x",
            m->rtm_family, text[0], m->rtm_dst_len, m->rtm_table, table, text[1], text[2], m->rtm_scope,
            m->rtm_type, m->rtm_protocol, m->rtm_flags);
}

static void list_routes(int s, int family)
{
    char bytes[16384];
    say("-- family %d", family);
    VALUE(ask(s, RTM_GETROUTE, NLM_F_DUMP, family, 0));
    for (;;) {
        long n = recv(s, bytes, sizeof(bytes), 0);
        for (struct nlmsghdr *h = (void *)bytes; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            if (h->nlmsg_type != RTM_NEWROUTE) {
                say("end: type %d flags %x", h->nlmsg_type, h->nlmsg_flags);
                return;
            }
            if (!(((struct rtmsg *)NLMSG_DATA(h))->rtm_flags &
                  RTM_F_CLONED)) /* Linux lists what it has cached, too */
                show_route(h);
        }
    }
}

static void way_to(int s, int family, const char *address)
{
    char bytes[8192];
    int len = family == AF_INET ? 4 : 16;
    struct route_question q = {
        .h = {NLMSG_LENGTH(sizeof(q.m)) + RTA_LENGTH(len), RTM_GETROUTE, NLM_F_REQUEST, 5, 0},
        .m = {.rtm_family = family, .rtm_dst_len = 8 * len},
        .a = {RTA_LENGTH(len), RTA_DST}};
    inet_pton(family, address, q.address);
    say("-- to %s", address);
    VALUE(send(s, &q, q.h.nlmsg_len, 0) == q.h.nlmsg_len);
    long n = recv(s, bytes, sizeof(bytes), 0);
    struct nlmsghdr *h = (void *)bytes;
    NEED(NLMSG_OK(h, n));
    if (h->nlmsg_type == NLMSG_ERROR)
        say("error %s", errname(-((struct nlmsgerr *)NLMSG_DATA(h))->error));
    else
        show_route(h);
}

CASE(link_netlink_routes)
{
    int s = netlink_socket();
    NEED(s >= 0);
    list_routes(s, AF_INET);
    list_routes(s, AF_INET6);
    way_to(s, AF_INET, "127.0.0.1");
    way_to(s, AF_INET, "127.0.0.7");
    way_to(s, AF_INET6, "::1");
    VALUE(ask(s, RTM_GETROUTE, 0, AF_INET, 0) > 0);
    char bytes[8192];
    CHECK(recv(s, bytes, sizeof(bytes), 0) > 0);
    VALUE(ask(s, RTM_GETNEIGH, NLM_F_DUMP, AF_INET, 0));
    for (bool done = false; !done;) {
        long n = recv(s, bytes, sizeof(bytes), 0);
        for (struct nlmsghdr *h = (void *)bytes; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n))
            if (h->nlmsg_type != RTM_NEWNEIGH) {
                say("end: type %d flags %x", h->nlmsg_type, h->nlmsg_flags);
                done = true;
            }
    }
    close(s);
}

/* Numbers that a byte cannot hold, and room for less than one entry. */
CASE(link_out_of_range)
{
    struct ifreq r = {.ifr_ifindex = 257}, list[2];
    struct ifconf all = {.ifc_len = -40, .ifc_req = list};
    int s = socket(AF_INET, SOCK_DGRAM, 0), v6 = socket(AF_INET6, SOCK_DGRAM, 0), index = 257;
    NEED(s >= 0 && v6 >= 0);
    VALUE(ioctl(s, SIOCGIFNAME, &r));
    r.ifr_ifindex = -255;
    VALUE(ioctl(s, SIOCGIFNAME, &r));
    VALUE(setsockopt(v6, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)));
    VALUE(ioctl(s, SIOCGIFCONF, &all));
    VALUE(all.ifc_len);
    all.ifc_len = 39;
    VALUE(ioctl(s, SIOCGIFCONF, &all));
    VALUE(all.ifc_len);
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_scope_id = 257};
    inet_pton(AF_INET6, "fe80::1", &a.sin6_addr);
    a.sin6_port = htons(9);
    VALUE(connect(v6, (void *)&a, sizeof(a)));
}
