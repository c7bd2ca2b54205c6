/* AF_NETLINK: routes and neighbours (rtnetlink(7), RTM_GETROUTE, RTM_GETNEIGH). */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/io/netlink.h"
#include "mm/phys/phys.h"
#include "net/interface.h"

#define AF_INET  2
#define AF_INET6 10

#define RTM_NEWROUTE 24
#define RTM_NEWNEIGH 28

#define RTA_DST      1
#define RTA_OIF      4
#define RTA_GATEWAY  5
#define RTA_PRIORITY 6
#define RTA_PREFSRC  7
#define RTA_TABLE    15
#define NDA_DST      1
#define NDA_LLADDR   2

#define TABLE_MAIN     254
#define TABLE_LOCAL    255
#define PROTOCOL_BOOT  3
#define PROTOCOL_KERN  2
#define RTM_F_CLONED   0x200u
#define RTCF_LOCAL     0x80000000u
#define RTN_UNICAST    1
#define RTN_LOCAL      2
#define NEIGHBOURS_MAX 64u

struct rtmsg {
    u8 family, to_len, from_len, tos, table, protocol, scope, type;
    u32 flags;
};
UABI_SIZE(struct rtmsg, 12);
struct ndmsg {
    u8 family, pad;
    u16 pad2;
    s32 interface;
    u16 state;
    u8 flags, type;
};
UABI_SIZE(struct ndmsg, 12);

static u32 address_len(u32 family)
{
    return family == AF_INET ? 4 : 16;
}

static void put_route(struct answer *a, const struct nlmsghdr *to, u32 pid, const struct net_route *r,
                      const struct rtmsg *m, u16 flags)
{
    u32 len = address_len(r->family);
    netlink_begin(a, to, pid, RTM_NEWROUTE, flags);
    netlink_put(a, m, sizeof(*m));
    netlink_attribute32(a, RTA_TABLE, m->table);
    if (r->prefix)
        netlink_attribute(a, RTA_DST, r->to, len);
    if (r->family == AF_INET6)
        netlink_attribute32(a, RTA_PRIORITY, r->metric);
    if (r->has_source)
        netlink_attribute(a, RTA_PREFSRC, r->source, len);
    if (r->has_gateway)
        netlink_attribute(a, RTA_GATEWAY, r->gateway, len);
    netlink_attribute32(a, RTA_OIF, r->interface);
    netlink_end(a);
}

static struct rtmsg header_of(const struct net_route *r)
{
    struct rtmsg m = {.family = r->family, .to_len = r->prefix, .scope = r->scope, .type = r->type};
    m.table = r->local ? TABLE_LOCAL : TABLE_MAIN;
    m.protocol = r->has_gateway ? PROTOCOL_BOOT : PROTOCOL_KERN;
    return m;
}

void netlink_put_routes(struct answer *a, const struct nlmsghdr *to, u32 pid, u8 family)
{
    struct net_route *all = kmalloc(NET_ROUTES * sizeof(*all));
    if (!all)
        return;
    u32 count = net_routes(all);
    for (u32 f = AF_INET; f <= AF_INET6; f += AF_INET6 - AF_INET)
        for (u32 local = 0; local < 2; local++)
            for (u32 i = 0; i < count; i++)
                if (all[i].family == f && all[i].local == local && (!family || family == f)) {
                    struct rtmsg m = header_of(&all[i]);
                    put_route(a, to, pid, &all[i], &m, NLM_F_MULTI);
                }
    kfree(all);
}

/* ---- the way to an address ---- */

static bool leads(const struct net_route *r, u32 family, const u8 *address)
{
    u32 bytes = r->prefix / 8, bits = r->prefix % 8;
    return r->family == family && !memcmp(r->to, address, bytes) &&
           (!bits || !((r->to[bytes] ^ address[bytes]) >> (8 - bits)));
}

/* Ours first, then the longest prefix. */
static const struct net_route *best(const struct net_route *all, u32 count, u32 family, const u8 *address)
{
    const struct net_route *found = NULL;
    for (u32 i = 0; i < count; i++)
        if (leads(&all[i], family, address) &&
            (!found || all[i].local > found->local ||
             (all[i].local == found->local && all[i].prefix > found->prefix)))
            found = &all[i];
    return found;
}

/* RTA_DST of the question. */
static const u8 *asked_for(const u8 *body, u32 len, u32 bytes)
{
    for (u32 at = sizeof(struct rtmsg); at + 4 <= len;) {
        u16 header[2];
        memcpy(header, body + at, sizeof(header));
        if (header[0] < 4 || header[0] > len - at)
            return NULL;
        if (header[1] == RTA_DST && header[0] == 4 + bytes)
            return body + at + 4;
        at += ALIGN_UP(header[0] + 0u, 4u);
    }
    return NULL;
}

/* The address of ours that one speaks from by that route; NULL: none. */
static const u8 *find_source(const struct net_route *all, u32 count, const struct net_route *by)
{
    if (by->has_source)
        return by->source;
    for (u32 i = 0; i < count; i++)
        if (all[i].type == RTN_LOCAL && all[i].prefix == 8 * address_len(by->family) &&
            all[i].family == by->family && all[i].interface == by->interface)
            return all[i].to;
    return NULL;
}

/* A route to the address alone. Linux tells of IPv4's what its cache would have, of IPv6's the route. */
static void put_way(struct answer *a, const struct nlmsghdr *to, u32 pid, const struct net_route *by,
                    const u8 *address, const u8 *source)
{
    struct net_route way = *by;
    u32 bytes = address_len(way.family);
    memcpy(way.to, address, bytes);
    way.prefix = 8 * bytes;
    way.has_source = source != NULL;
    if (source)
        memcpy(way.source, source, bytes);
    struct rtmsg m = header_of(&way);
    if (way.family == AF_INET) {
        m.table = TABLE_MAIN;
        m.scope = NET_SCOPE_GLOBAL;
        m.protocol = 0;
        m.flags = RTM_F_CLONED | (way.local ? RTCF_LOCAL : 0);
    }
    put_route(a, to, pid, &way, &m, 0);
}

int netlink_put_way(struct answer *a, const struct nlmsghdr *to, u32 pid, const u8 *body, u32 len)
{
    if (len < sizeof(struct rtmsg) || (body[0] != AF_INET && body[0] != AF_INET6))
        return -EINVAL;
    u32 bytes = address_len(body[0]);
    const u8 *address = asked_for(body, len, bytes);
    struct net_route *all = address ? kmalloc(NET_ROUTES * sizeof(*all)) : NULL;
    if (!all)
        return address ? -ENOBUFS : -EINVAL;
    u32 count = net_routes(all);
    const struct net_route *r = best(all, count, body[0], address);
    if (r)
        put_way(a, to, pid, r, address, find_source(all, count, r));
    kfree(all);
    return r ? 0 : -ENETUNREACH;
}

/* ---- neighbours ---- */

void netlink_put_neighbours(struct answer *a, const struct nlmsghdr *to, u32 pid, u8 family)
{
    struct net_neighbour *all = kmalloc(NEIGHBOURS_MAX * sizeof(*all));
    u32 count = all ? net_neighbours(all, NEIGHBOURS_MAX) : 0;
    for (u32 i = 0; i < count; i++) {
        const struct net_neighbour *n = &all[i];
        struct ndmsg m = {.family = n->family, .interface = n->interface, .state = n->state};
        m.type = RTN_UNICAST;
        if (family && family != n->family)
            continue;
        netlink_begin(a, to, pid, RTM_NEWNEIGH, NLM_F_MULTI);
        netlink_put(a, &m, sizeof(m));
        netlink_attribute(a, NDA_DST, n->address, address_len(n->family));
        netlink_attribute(a, NDA_LLADDR, n->hw_address, sizeof(n->hw_address));
        netlink_end(a);
    }
    kfree(all);
}
