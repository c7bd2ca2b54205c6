/* Routes and neighbours, for those above who describe them to programs. */
#include "lwip/etharp.h"
#include "lwip/netif.h"
#include "lwip/priv/nd6_priv.h"
#include "net/inet.h"
#include "net/interface.h"

#define TYPE_UNICAST    1 /* Linux's RTN_* */
#define TYPE_LOCAL      2
#define TYPE_BROADCAST  3
#define STATE_REACHABLE 2 /* Linux's NUD_* */
#define STATE_STALE     4
#define METRIC_PREFIX   256
#define METRIC_DEFAULT  1024

struct routes {
    struct net_route *out;
    u32 count;
};

static struct net_route *next_route(struct routes *all, const struct netif *n, u16 family, u8 type, u8 prefix,
                                    u8 scope)
{
    static struct net_route spare;
    struct net_route *r = all->count < NET_ROUTES ? &all->out[all->count++] : &spare;
    *r = (struct net_route){.family = family, .type = type, .prefix = prefix, .scope = scope};
    r->interface = netif_get_index(n);
    r->local = type != TYPE_UNICAST;
    return r;
}

static void set_v4(struct net_route *r, u32 to, u32 source)
{
    memcpy(r->to, &to, 4);
    memcpy(r->source, &source, 4);
    r->has_source = source != 0;
}

static void describe_v4(struct routes *all, const struct netif *n)
{
    u32 ip = netif_ip4_addr(n)->addr, mask = netif_ip4_netmask(n)->addr, gateway = netif_ip4_gw(n)->addr;
    bool loopback = inet_is_loopback(n);
    u8 prefix = __builtin_popcount(mask);
    if (!ip)
        return;
    if (!loopback && gateway) {
        struct net_route *r = next_route(all, n, AF_INET, TYPE_UNICAST, 0, NET_SCOPE_GLOBAL);
        memcpy(r->gateway, &gateway, 4);
        r->has_gateway = true;
    }
    set_v4(next_route(all, n, AF_INET, loopback ? TYPE_LOCAL : TYPE_UNICAST, prefix,
                      loopback ? NET_SCOPE_HOST : NET_SCOPE_LINK),
           ip & mask, ip);
    set_v4(next_route(all, n, AF_INET, TYPE_LOCAL, 32, NET_SCOPE_HOST), ip, ip);
    set_v4(next_route(all, n, AF_INET, TYPE_BROADCAST, 32, NET_SCOPE_LINK), ip | ~mask, ip);
}

static void describe_v6(struct routes *all, const struct netif *n)
{
    bool loopback = inet_is_loopback(n);
    for (u32 i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        if (!ip6_addr_isvalid(netif_ip6_addr_state(n, i)))
            continue;
        const ip6_addr_t *a = netif_ip6_addr(n, i);
        memcpy(next_route(all, n, AF_INET6, TYPE_LOCAL, 128, NET_SCOPE_GLOBAL)->to, a->addr, 16);
        if (loopback)
            continue;
        struct net_route *r = next_route(all, n, AF_INET6, TYPE_UNICAST, 64, NET_SCOPE_GLOBAL);
        memcpy(r->to, a->addr, 8);
        r->metric = METRIC_PREFIX;
    }
}

static void describe_routers(struct routes *all)
{
    for (u32 i = 0; i < LWIP_ND6_NUM_ROUTERS; i++) {
        const struct nd6_neighbor_cache_entry *e = default_router_list[i].neighbor_entry;
        if (!e || !default_router_list[i].invalidation_timer)
            continue;
        struct net_route *r = next_route(all, e->netif, AF_INET6, TYPE_UNICAST, 0, NET_SCOPE_GLOBAL);
        memcpy(r->gateway, e->next_hop_address.addr, 16);
        r->has_gateway = true;
        r->metric = METRIC_DEFAULT;
    }
}

u32 net_routes(struct net_route out[NET_ROUTES])
{
    struct routes all = {out, 0};
    struct netif *n;
    core_enter();
    for (int pass = 0; pass < 2; pass++) { /* loopback first */
        NETIF_FOREACH(n)
        {
            if (inet_is_loopback(n) == !pass) {
                describe_v4(&all, n);
                describe_v6(&all, n);
            }
        }
    }
    describe_routers(&all);
    core_leave();
    return all.count;
}

static u32 neighbours_v4(struct net_neighbour *out, u32 room)
{
    u32 count = 0;
    for (u32 i = 0; i < ARP_TABLE_SIZE && count < room; i++) {
        ip4_addr_t *ip;
        struct netif *netif;
        struct eth_addr *mac;
        if (!etharp_get_entry(i, &ip, &netif, &mac))
            continue;
        struct net_neighbour *n = &out[count++];
        *n = (struct net_neighbour){.family = AF_INET, .state = STATE_REACHABLE};
        n->interface = netif_get_index(netif);
        memcpy(n->address, &ip->addr, 4);
        memcpy(n->hw_address, mac->addr, 6);
    }
    return count;
}

static u32 neighbours_v6(struct net_neighbour *out, u32 room)
{
    u32 count = 0;
    for (u32 i = 0; i < LWIP_ND6_NUM_NEIGHBORS && count < room; i++) {
        const struct nd6_neighbor_cache_entry *e = &neighbor_cache[i];
        if (e->state == ND6_NO_ENTRY || e->state == ND6_INCOMPLETE)
            continue;
        struct net_neighbour *n = &out[count++];
        *n = (struct net_neighbour){.family = AF_INET6};
        n->state = e->state == ND6_REACHABLE ? STATE_REACHABLE : STATE_STALE;
        n->interface = netif_get_index(e->netif);
        memcpy(n->address, e->next_hop_address.addr, 16);
        memcpy(n->hw_address, e->lladdr, 6);
    }
    return count;
}

u32 net_neighbours(struct net_neighbour *out, u32 room)
{
    core_enter();
    u32 count = neighbours_v4(out, room);
    count += neighbours_v6(out + count, room - count);
    core_leave();
    return count;
}
