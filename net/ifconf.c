/* Interfaces as programs see them: SIOCGIF* (netdevice(7)). Files: proc.c. */
#include "lwip/netif.h"
#include "net/inet.h"
#include "net/interface.h"

#define SIOCGIFNAME    0x8910u
#define SIOCGIFCONF    0x8912u
#define SIOCGIFFLAGS   0x8913u
#define SIOCGIFADDR    0x8915u
#define SIOCGIFBRDADDR 0x8919u
#define SIOCGIFNETMASK 0x891bu
#define SIOCGIFMTU     0x8921u
#define SIOCGIFHWADDR  0x8927u
#define SIOCGIFINDEX   0x8933u
#define SIOCGIFTXQLEN  0x8942u

#define IFF_UP        0x1
#define IFF_BROADCAST 0x2
#define IFF_LOOPBACK  0x8
#define IFF_RUNNING   0x40
#define IFF_MULTICAST 0x1000
#define IFF_LOWER_UP  0x10000u

#define ARPHRD_ETHER    1
#define ARPHRD_LOOPBACK 772

struct ifreq {
    char name[16];
    union {
        struct {
            u16 family, port;
            u32 addr;
        };
        s32 number;
        s16 flags;
        u8 bytes[24];
    };
};
_Static_assert(sizeof(struct ifreq) == 40, "struct ifreq");

bool inet_is_loopback(const struct netif *n)
{
    return n->name[0] == 'l';
}

const char *inet_interface_name(const struct netif *n)
{
    return inet_is_loopback(n) ? "lo" : "eth0";
}

struct netif *inet_interface(const char *name)
{
    struct netif *n;
    NETIF_FOREACH(n)
    {
        if (!strncmp(inet_interface_name(n), name, 16))
            return n;
    }
    return NULL;
}

static void set_address(struct ifreq *r, u32 addr)
{
    memset(r->bytes, 0, sizeof(r->bytes));
    r->family = AF_INET;
    r->addr = addr;
}

static s16 flags_of(const struct netif *n)
{
    s16 flags = IFF_UP | (netif_is_link_up(n) || inet_is_loopback(n) ? IFF_RUNNING : 0);
    return flags | (inet_is_loopback(n) ? IFF_LOOPBACK : IFF_BROADCAST | IFF_MULTICAST);
}

static s64 answer(struct netif *n, u32 cmd, struct ifreq *r)
{
    u32 ip = netif_ip4_addr(n)->addr, mask = netif_ip4_netmask(n)->addr;
    bool wants_address = cmd == SIOCGIFADDR || cmd == SIOCGIFBRDADDR || cmd == SIOCGIFNETMASK;
    if (wants_address && !ip)
        return -EADDRNOTAVAIL;
    switch (cmd) {
    case SIOCGIFFLAGS:
        r->flags = flags_of(n);
        return 0;
    case SIOCGIFADDR:
        set_address(r, ip);
        return 0;
    case SIOCGIFBRDADDR:
        set_address(r, inet_is_loopback(n) ? 0 : ip | ~mask);
        return 0;
    case SIOCGIFNETMASK:
        set_address(r, mask);
        return 0;
    case SIOCGIFMTU:
        r->number = inet_is_loopback(n) ? 65536 : n->mtu;
        return 0;
    case SIOCGIFINDEX:
        r->number = netif_get_index(n);
        return 0;
    case SIOCGIFTXQLEN:
        r->number = 1000;
        return 0;
    case SIOCGIFHWADDR:
        memset(r->bytes, 0, sizeof(r->bytes));
        r->family = inet_is_loopback(n) ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
        memcpy(r->bytes + 2, n->hwaddr, 6);
        return 0;
    }
    return -ENOTTY;
}

static s64 list_interfaces(u64 arg)
{
    struct {
        s32 len, pad;
        u64 buffer;
    } conf;
    struct ifreq found[4];
    struct netif *n;
    u32 count = 0;
    if (inet_get(arg, &conf, sizeof(conf)))
        return -EFAULT;
    memset(found, 0, sizeof(found));
    core_enter();
    for (int pass = 0; pass < 2; pass++) { /* loopback first */
        NETIF_FOREACH(n)
        {
            if (inet_is_loopback(n) == !pass && count < ARRAY_LEN(found) && netif_ip4_addr(n)->addr) {
                strlcpy(found[count].name, inet_interface_name(n), 16);
                set_address(&found[count++], netif_ip4_addr(n)->addr);
            }
        }
    }
    core_leave();
    s32 bytes = count * sizeof(found[0]);
    if (conf.buffer) {
        bytes = MIN(bytes, MAX(conf.len, 0) / (s32)sizeof(found[0]) * (s32)sizeof(found[0]));
        if (bytes > 0 && inet_put(conf.buffer, found, bytes))
            return -EFAULT;
    }
    return inet_put(arg, &bytes, sizeof(bytes));
}

s64 ifconf_ioctl(u32 cmd, u64 arg)
{
    struct ifreq r;
    if (cmd < 0x890b || cmd > 0x89ff) /* below it: any socket's own */
        return -ENOTTY;
    if (cmd == SIOCGIFCONF)
        return list_interfaces(arg);
    if (inet_get(arg, &r, sizeof(r)))
        return -EFAULT;
    core_enter();
    struct netif *n = cmd != SIOCGIFNAME     ? inet_interface(r.name)
                      : (u32)r.number > 0xff ? NULL
                                             : netif_get_by_index(r.number);
    s64 err = n ? 0 : -ENODEV;
    if (n && cmd == SIOCGIFNAME)
        strlcpy(r.name, inet_interface_name(n), 16);
    else if (n)
        err = answer(n, cmd, &r);
    core_leave();
    return err ? err : inet_put(arg, &r, sizeof(r));
}

/* ---- for netlink ---- */

static struct net_address *next_address(struct net_interface *out, u16 family, u32 prefix, u32 scope)
{
    if (out->count == NET_ADDRESSES)
        return NULL;
    struct net_address *a = &out->addresses[out->count++];
    *a = (struct net_address){.family = family, .prefix = prefix, .scope = scope};
    return a;
}

static void describe_addresses(const struct netif *n, struct net_interface *out)
{
    const ip4_addr_t *v4 = netif_ip4_addr(n);
    struct net_address *a;
    u32 bits = __builtin_popcount(netif_ip4_netmask(n)->addr);
    if (v4->addr &&
        (a = next_address(out, AF_INET, bits, inet_is_loopback(n) ? NET_SCOPE_HOST : NET_SCOPE_GLOBAL)))
        memcpy(a->bytes, &v4->addr, 4);
    for (u32 i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        const ip6_addr_t *v6 = netif_ip6_addr(n, i);
        if (!ip6_addr_isvalid(netif_ip6_addr_state(n, i)))
            continue;
        u32 scope = ip6_addr_isloopback(v6)    ? NET_SCOPE_HOST
                    : ip6_addr_islinklocal(v6) ? NET_SCOPE_LINK
                                               : NET_SCOPE_GLOBAL;
        if ((a = next_address(out, AF_INET6, inet_is_loopback(n) ? 128 : 64, scope)))
            memcpy(a->bytes, v6->addr, 16);
    }
}

static void describe(const struct netif *n, struct net_interface *out)
{
    memset(out, 0, sizeof(*out));
    strlcpy(out->name, inet_interface_name(n), sizeof(out->name));
    out->index = netif_get_index(n);
    out->flags = flags_of(n) | (netif_is_link_up(n) || inet_is_loopback(n) ? IFF_LOWER_UP : 0);
    out->mtu = inet_is_loopback(n) ? 65536 : n->mtu;
    out->hw_type = inet_is_loopback(n) ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
    memcpy(out->hw_address, n->hwaddr, MIN(n->hwaddr_len, 6));
    describe_addresses(n, out);
}

u32 net_interfaces(struct net_interface out[NET_INTERFACES])
{
    struct netif *n;
    u32 count = 0;
    core_enter();
    for (int pass = 0; pass < 2; pass++) { /* loopback first */
        NETIF_FOREACH(n)
        {
            if (inet_is_loopback(n) == !pass && count < NET_INTERFACES)
                describe(n, &out[count++]);
        }
    }
    core_leave();
    return count;
}
