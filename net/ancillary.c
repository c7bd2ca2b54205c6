#include "net/ancillary.h"

#include "lwip/netif.h"

/* Linux's numbers (ip(7), ipv6(7), udp(7), socket(7)). */
#define SOL_IP     0
#define SOL_SOCKET 1
#define SOL_UDP    17
#define SOL_IPV6   41

#define IP_TOS           1
#define IP_TTL           2
#define IP_RETOPTS       7
#define IP_PKTINFO       8
#define IPV6_PKTINFO     50
#define IPV6_HOPLIMIT    52
#define IPV6_DONTFRAG    62
#define IPV6_TCLASS      67
#define UDP_SEGMENT      103
#define SCM_RIGHTS       1
#define SCM_CREDENTIALS  2
#define SO_PRIORITY      12
#define SO_MARK          36
#define SO_TIMESTAMPING  37
#define CMSG_HEADER      16u
#define INTERFACE_OFFSET 16u /* in struct in6_pktinfo, behind the address */

/* One control message. */
struct cmsg {
    s32 level, type;
    const u8 *data;
    u64 len; /* of its data */
};

static s32 number_of(const struct cmsg *c)
{
    s32 number = 0;
    memcpy(&number, c->data, MIN(c->len, sizeof(number)));
    return number;
}

/* A whole int in a range. */
static int take_number(const struct cmsg *c, s32 least, s32 most, s32 *out)
{
    s32 number = number_of(c);
    if (c->len != sizeof(number) || number < least || number > most)
        return -EINVAL;
    *out = number;
    return 0;
}

static int take_socket(const struct cmsg *c)
{
    if (c->type == SCM_RIGHTS || c->type == SCM_CREDENTIALS)
        return 0; /* of no meaning here */
    bool known = c->type == SO_MARK || c->type == SO_TIMESTAMPING || c->type == SO_PRIORITY;
    return known && c->len == sizeof(u32) ? 0 : -EINVAL;
}

static int take_udp(const struct cmsg *c, struct ancillary *out)
{
    u16 segment;
    if (c->type != UDP_SEGMENT || c->len != sizeof(segment))
        return -EINVAL;
    memcpy(&segment, c->data, sizeof(segment));
    out->segment = segment;
    return 0;
}

/* struct in_pktinfo: interface, source address, destination address. */
static int take_pktinfo_v4(const struct cmsg *c, struct ancillary *out)
{
    u32 info[3];
    if (c->len != sizeof(info))
        return -EINVAL;
    memcpy(info, c->data, sizeof(info));
    out->interface = info[0] ? info[0] : out->interface;
    out->unbound = !info[1]; /* the usual address, whatever the socket is bound to */
    ip_addr_set_ip4_u32_val(out->from, info[1]);
    return 0;
}

static int take_v4(const struct cmsg *c, struct ancillary *out)
{
    switch (c->type) {
    case IP_TTL:
        return take_number(c, 1, 255, &out->hops);
    case IP_TOS:
        if (c->len == 1) {
            out->class = c->data[0];
            return 0;
        }
        return take_number(c, 0, 255, &out->class);
    case IP_PKTINFO:
        return take_pktinfo_v4(c, out);
    case IP_RETOPTS:
        return c->len ? -EINVAL : 0; /* options we send none */
    }
    return -EINVAL;
}

/* An IPv6 socket may tell IPv4's source its own way. */
static int take_mapped(const struct cmsg *c, struct ancillary *out)
{
    static const u8 mapped[12] = {[10] = 0xff, [11] = 0xff};
    u32 address;
    if (c->type != IPV6_PKTINFO)
        return 0;
    if (c->len < INTERFACE_OFFSET + sizeof(u32) || memcmp(c->data, mapped, sizeof(mapped)))
        return -EINVAL;
    memcpy(&address, c->data + sizeof(mapped), sizeof(address));
    memcpy(&out->interface, c->data + INTERFACE_OFFSET, sizeof(u32));
    ip_addr_set_ip4_u32_val(out->from, address);
    return 0;
}

static int take_pktinfo_v6(const struct cmsg *c, struct ancillary *out)
{
    if (c->len < INTERFACE_OFFSET + sizeof(u32))
        return -EINVAL;
    memcpy(ip_2_ip6(&out->from)->addr, c->data, 16);
    memcpy(&out->interface, c->data + INTERFACE_OFFSET, sizeof(u32));
    return 0;
}

/* -1: all bits, as Linux takes it here. */
static int take_class_v6(const struct cmsg *c, struct ancillary *out)
{
    s32 class;
    int err = take_number(c, -1, 255, &class);
    if (!err)
        out->class = class & 255;
    return err;
}

static int take_v6(const struct cmsg *c, struct ancillary *out)
{
    s32 flag;
    switch (c->type) {
    case IPV6_PKTINFO:
        return take_pktinfo_v6(c, out);
    case IPV6_HOPLIMIT:
        return take_number(c, -1, 255, &out->hops);
    case IPV6_TCLASS:
        return take_class_v6(c, out);
    case IPV6_DONTFRAG:
        return take_number(c, 0, 1, &flag);
    }
    return -EINVAL;
}

static int take(const struct inet_socket *s, const struct cmsg *c, bool v6, struct ancillary *out)
{
    if (c->level == SOL_SOCKET)
        return take_socket(c);
    if (c->level == SOL_UDP)
        return take_udp(c, out);
    if (c->level == SOL_IPV6 && s->base.family == AF_INET6)
        return v6 ? take_v6(c, out) : take_mapped(c, out);
    return c->level == SOL_IP && !v6 ? take_v4(c, out) : 0;
}

int ancillary_read(const struct inet_socket *s, const struct socket_message *m, bool v6,
                   struct ancillary *out)
{
    *out = (struct ancillary){.hops = -1, .class = -1, .segment = inet_option(s, SOL_UDP, UDP_SEGMENT)};
    if (v6)
        IP_SET_TYPE_VAL(out->from, IPADDR_TYPE_V6);
    for (u64 at = 0; at + CMSG_HEADER <= m->control_len;) { /* its lengths were checked */
        struct cmsg c = {.data = m->control + at + CMSG_HEADER};
        u64 len;
        memcpy(&len, m->control + at, sizeof(len));
        memcpy(&c.level, m->control + at + 8, sizeof(c.level));
        memcpy(&c.type, m->control + at + 12, sizeof(c.type));
        c.len = len - CMSG_HEADER;
        int err = take(s, &c, v6, out);
        if (err)
            return err;
        at += ALIGN_UP(len, 8UL);
    }
    out->special =
        out->unbound || !ip_addr_isany(&out->from) || out->interface || out->hops >= 0 || out->class >= 0;
    return 0;
}

int ancillary_check(struct ancillary *a, bool v6)
{
    struct netif *device = netif_device();
    if (a->interface && (a->interface > 0xff || !netif_get_by_index(a->interface)))
        return -ENODEV;
    if (v6 && ip6_addr_islinklocal(ip_2_ip6(&a->from)) && device)
        ip6_addr_assign_zone(ip_2_ip6(&a->from), IP6_UNICAST, device);
    if (ip_addr_isany(&a->from) || inet_ours(&a->from))
        return 0;
    return v6 || ip_addr_ismulticast(&a->from) || ip_2_ip4(&a->from)->addr == ~0u ? -EINVAL : -ENETUNREACH;
}
