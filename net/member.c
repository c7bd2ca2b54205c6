#include "net/member.h"

#include "lwip/igmp.h"
#include "lwip/mld6.h"
#include "lwip/netif.h"

/* Linux's numbers. */
#define IP_ADD_MEMBERSHIP  35
#define IP_DROP_MEMBERSHIP 36
#define IPV6_JOIN_GROUP    20
#define IPV6_LEAVE_GROUP   21
#define MCAST_JOIN_GROUP   42
#define MCAST_LEAVE_GROUP  45
#define IP_MULTICAST_ALL   49
#define IPV6_MULTICAST_ALL 29
#define GROUP_REQ_ADDRESS  8 /* in struct group_req: behind the interface and padding */

struct membership {
    struct membership *next;
    ip_addr_t group; /* without a zone */
    u8 interface;    /* its index */
};

/* What an option says. */
struct request {
    ip_addr_t group;
    u32 address; /* of the interface; 0: nothing is said */
    u32 index;
    bool join;
};

void member_init(void)
{
    struct netif *netif;
    NETIF_FOREACH(netif)
    {
        if (inet_is_loopback(netif)) {
            netif_set_flags(netif, NETIF_FLAG_IGMP | NETIF_FLAG_MLD6);
            igmp_start(netif);
        }
    }
}

bool member_is(int level, int option)
{
    if (level == LEVEL_IP && (option == IP_ADD_MEMBERSHIP || option == IP_DROP_MEMBERSHIP))
        return true;
    if (level == LEVEL_IPV6 && (option == IPV6_JOIN_GROUP || option == IPV6_LEAVE_GROUP))
        return true;
    return (level == LEVEL_IP || level == LEVEL_IPV6) &&
           (option == MCAST_JOIN_GROUP || option == MCAST_LEAVE_GROUP);
}

/* ---- what is asked for ---- */

/* struct ip_mreq: group, address of the interface; struct ip_mreqn: and its index. */
static int read_v4(const u8 *value, u32 len, struct request *out)
{
    u32 group;
    if (len < 8)
        return -EINVAL;
    memcpy(&group, value, sizeof(group));
    memcpy(&out->address, value + 4, sizeof(out->address));
    if (len >= 12)
        memcpy(&out->index, value + 8, sizeof(out->index));
    ip_addr_set_ip4_u32_val(out->group, group);
    return 0;
}

/* struct ipv6_mreq: group, index. */
static int read_v6(const u8 *value, u32 len, struct request *out)
{
    if (len < 20)
        return -EINVAL;
    IP_SET_TYPE_VAL(out->group, IPADDR_TYPE_V6);
    memcpy(ip_2_ip6(&out->group)->addr, value, 16);
    memcpy(&out->index, value + 16, sizeof(out->index));
    return 0;
}

/* struct group_req: index, struct sockaddr_storage. */
static int read_either(int level, const u8 *value, u32 len, struct request *out)
{
    const u8 *name = value + GROUP_REQ_ADDRESS;
    u16 family;
    if (len < GROUP_REQ_ADDRESS + SOCKET_ADDRESS_MAX)
        return -EINVAL;
    memcpy(&out->index, value, sizeof(out->index));
    memcpy(&family, name, sizeof(family));
    if (family != (level == LEVEL_IP ? AF_INET : AF_INET6))
        return level == LEVEL_IP ? -EINVAL : -EADDRNOTAVAIL;
    if (level == LEVEL_IP) {
        u32 group;
        memcpy(&group, name + 4, sizeof(group));
        ip_addr_set_ip4_u32_val(out->group, group);
    } else {
        IP_SET_TYPE_VAL(out->group, IPADDR_TYPE_V6);
        memcpy(ip_2_ip6(&out->group)->addr, name + 8, 16);
    }
    return 0;
}

static int read_request(int level, int option, const u8 *value, u32 len, struct request *out)
{
    *out = (struct request){0};
    out->join = option == MCAST_JOIN_GROUP || option == IP_ADD_MEMBERSHIP ||
                (level == LEVEL_IPV6 && option == IPV6_JOIN_GROUP);
    if (option == MCAST_JOIN_GROUP || option == MCAST_LEAVE_GROUP)
        return read_either(level, value, len, out);
    return level == LEVEL_IP ? read_v4(value, len, out) : read_v6(value, len, out);
}

/* NULL: there is none. */
static struct netif *interface_of(const struct request *r)
{
    struct netif *netif;
    if (r->index)
        return r->index > 0xff ? NULL : netif_get_by_index(r->index);
    if (!r->address)
        return netif_device();
    NETIF_FOREACH(netif)
    {
        if (netif_ip4_addr(netif)->addr == r->address)
            return netif;
    }
    return NULL;
}

/* ---- members ---- */

static struct membership **find(struct inet_socket *s, const ip_addr_t *group, u8 interface)
{
    struct membership **at = &s->memberships;
    while (*at && !((*at)->interface == interface && ip_addr_cmp_zoneless(&(*at)->group, group)))
        at = &(*at)->next;
    return at;
}

static err_t tell_lwip(struct netif *netif, const ip_addr_t *group, bool join)
{
    if (IP_IS_V4(group))
        return join ? igmp_joingroup_netif(netif, ip_2_ip4(group))
                    : igmp_leavegroup_netif(netif, ip_2_ip4(group));
    ip6_addr_t zoned = *ip_2_ip6(group);
    ip6_addr_assign_zone(&zoned, IP6_MULTICAST, netif);
    return join ? mld6_joingroup_netif(netif, &zoned) : mld6_leavegroup_netif(netif, &zoned);
}

static int join(struct inet_socket *s, const struct request *r)
{
    struct netif *netif = interface_of(r);
    if (!ip_addr_ismulticast(&r->group))
        return -EINVAL;
    if (!netif)
        return -ENODEV;
    if (*find(s, &r->group, netif_get_index(netif)))
        return -EADDRINUSE;
    struct membership *m = kmalloc(sizeof(*m));
    if (!m || tell_lwip(netif, &r->group, true) != ERR_OK) {
        kfree(m);
        return -ENOBUFS;
    }
    *m = (struct membership){s->memberships, r->group, netif_get_index(netif)};
    s->memberships = m;
    return 0;
}

static void end(struct membership **at)
{
    struct membership *m = *at;
    struct netif *netif = netif_get_by_index(m->interface);
    if (netif)
        tell_lwip(netif, &m->group, false);
    *at = m->next;
    kfree(m);
}

static int leave(struct inet_socket *s, const struct request *r)
{
    struct netif *netif = interface_of(r);
    if (!netif)
        return -ENODEV;
    struct membership **at = find(s, &r->group, netif_get_index(netif));
    if (!*at)
        return -EADDRNOTAVAIL;
    end(at);
    return 0;
}

int member_change(struct inet_socket *s, int level, int option, const void *value, u32 len)
{
    struct request r;
    if (level == LEVEL_IPV6 && s->base.family != AF_INET6)
        return -ENOPROTOOPT;
    int err = read_request(level, option, value, len, &r);
    if (err)
        return err;
    return r.join ? join(s, &r) : leave(s, &r);
}

void member_leave_all(struct inet_socket *s)
{
    while (s->memberships)
        end(&s->memberships);
}

bool member_takes(const struct inet_socket *s, const ip_addr_t *group)
{
    u8 interface = netif_get_index(ip_current_input_netif());
    if (IP_IS_V6(group) ? inet_option(s, LEVEL_IPV6, IPV6_MULTICAST_ALL)
                        : inet_option(s, LEVEL_IP, IP_MULTICAST_ALL))
        return true;
    for (const struct membership *m = s->memberships; m; m = m->next)
        if (m->interface == interface && ip_addr_cmp_zoneless(&m->group, group))
            return true;
    return false;
}
