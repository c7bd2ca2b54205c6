/* Interfaces as programs see them: SIOCGIF* (netdevice(7)) and files under /proc/net. */
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "net/channel.h"
#include "net/hold.h"
#include "net/interface.h"
#include "net/loopback.h"
#include "net/recovery.h"
#include "net/refer.h"
#include "net/template.h"
#include "net/transmit.h"

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

/* ---- /proc/net ---- */

static int show_if_inet6(struct seq *s, void *arg)
{
    struct netif *n;
    core_enter();
    NETIF_FOREACH(n)
    {
        for (u32 i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
            if (!ip6_addr_isvalid(netif_ip6_addr_state(n, i)))
                continue;
            const ip6_addr_t *a = netif_ip6_addr(n, i);
            for (u32 k = 0; k < 4; k++)
                seq_printf(s, "%08x", lwip_ntohl(a->addr[k]));
            u32 scope = inet_is_loopback(n) ? 0x10 : ip6_addr_islinklocal(a) ? 0x20 : 0;
            seq_printf(s, " %02x %02x %02x %02x %8s\n", netif_get_index(n), inet_is_loopback(n) ? 128 : 64,
                       scope, 0x80, inet_interface_name(n));
        }
    }
    core_leave();
    return 0;
}

static int show_route(struct seq *s, void *arg)
{
    struct netif *n;
    seq_printf(s, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n");
    core_enter();
    NETIF_FOREACH(n)
    {
        u32 ip = netif_ip4_addr(n)->addr, mask = netif_ip4_netmask(n)->addr, gw = netif_ip4_gw(n)->addr;
        if (inet_is_loopback(n) || !ip)
            continue;
        if (gw)
            seq_printf(s, "%s\t00000000\t%08X\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", inet_interface_name(n),
                       gw);
        seq_printf(s, "%s\t%08X\t00000000\t0001\t0\t0\t0\t%08X\t0\t0\t0\n", inet_interface_name(n), ip & mask,
                   mask);
    }
    core_leave();
    return 0;
}

static int show_dev(struct seq *s, void *arg)
{
    struct netif *n;
    seq_printf(s,
               "Inter-|   Receive                                                |  Transmit\n"
               " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
               "fifo colls carrier compressed\n");
    core_enter();
    NETIF_FOREACH(n)
    {
        seq_printf(s, "%6s: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", inet_interface_name(n));
    }
    core_leave();
    return 0;
}

static void show_address(struct seq *s, const ip_addr_t *ip, u16 port, bool v6)
{
    u32 words[4] = {0};
    if (IP_IS_V6(ip)) {
        memcpy(words, ip_2_ip6(ip)->addr, 16);
    } else if (!IP_IS_ANY_TYPE_VAL(*ip)) {
        words[2] = v6 ? lwip_htonl(0xffff) : 0;
        words[3] = ip_2_ip4(ip)->addr;
    }
    for (u32 i = v6 ? 0 : 3; i < 4; i++)
        seq_printf(s, "%08X", words[i]);
    seq_printf(s, ":%04X ", port);
}

static int show_tcp(struct seq *s, void *arg)
{
    bool v6 = arg != NULL;
    u32 line = 0;
    seq_printf(
        s,
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n");
    core_enter();
    for (u32 i = 0; i < NUM_TCP_PCB_LISTS; i++) {
        for (struct tcp_pcb *p = *tcp_pcb_lists[i]; p; p = p->next) {
            bool listens = p->state == LISTEN,
                 is_v6 = IP_IS_V6(&p->local_ip) || IP_IS_ANY_TYPE_VAL(p->local_ip);
            ip_addr_t none = p->local_ip;
            ip_addr_set_any(is_v6, &none);
            if (is_v6 != v6)
                continue;
            seq_printf(s, "%4u: ", line++);
            show_address(s, &p->local_ip, p->local_port, v6);
            show_address(s, listens ? &none : &p->remote_ip, listens ? 0 : p->remote_port, v6);
            seq_printf(s, "%02X 00000000:00000000 00:00000000 00000000     0        0 0\n",
                       tcp_state_number(p->state));
        }
    }
    core_leave();
    return 0;
}

static int show_moka(struct seq *s, void *arg)
{
    channel_show(s);
    datagram_show(s);
    loopback_show(s);
    template_show(s);
    hold_show(s);
    netif_show(s);
    transmit_show(s);
    refer_show(s);
    recovery_show(s);
    return 0;
}

void netproc_init(void)
{
    synth_file("/proc/net/moka", show_moka, NULL, NULL);
    synth_file("/proc/net/if_inet6", show_if_inet6, NULL, NULL);
    synth_file("/proc/net/route", show_route, NULL, NULL);
    synth_file("/proc/net/dev", show_dev, NULL, NULL);
    synth_file("/proc/net/tcp", show_tcp, NULL, NULL);
    synth_file("/proc/net/tcp6", show_tcp, NULL, (void *)1);
}
