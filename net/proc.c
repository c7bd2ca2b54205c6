/* Files about the network: /proc/net (proc(5)) and /sys/class/net. Numbers are as Linux prints them. */
#include "kernel/base/panic.h"
#include "kernel/fs/vfs.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/udp.h"
#include "net/channel.h"
#include "net/direct.h"
#include "net/hold.h"
#include "net/inet.h"
#include "net/interface.h"
#include "net/loopback.h"
#include "net/recovery.h"
#include "net/refer.h"
#include "net/template.h"
#include "net/transmit.h"
#include "virtio/net.h"

#define IFF_LOWER_UP 0x10000u
#define NEIGHBOURS   ARP_TABLE_SIZE

/* ---- interfaces ---- */

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

/* The device's, its queues' summed; or the loopback's, where all that is sent arrives. */
static struct net_stats stats_of(bool device)
{
    struct net_stats sum = {0};
    if (device) {
        netif_stats(&sum);
    } else {
        loopback_counted(&sum.tx_frames, &sum.tx_bytes);
        sum.rx_frames = sum.tx_frames;
        sum.rx_bytes = sum.tx_bytes;
    }
    return sum;
}

static int show_dev(struct seq *s, void *arg)
{
    struct net_interface all[NET_INTERFACES];
    u32 count = net_interfaces(all);
    seq_printf(s,
               "Inter-|   Receive                                                |  Transmit\n"
               " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
               "fifo colls carrier compressed\n");
    for (u32 i = 0; i < count; i++) {
        struct net_stats n = stats_of(i > 0);
        seq_printf(s, "%6s: %7lu %7lu 0 %4lu 0 0 0 0 %8lu %7lu 0 0 0 0 0 0\n", all[i].name, n.rx_bytes,
                   n.rx_frames, n.rx_dropped, n.tx_bytes, n.tx_frames);
    }
    return 0;
}

static int show_arp(struct seq *s, void *arg)
{
    struct net_neighbour *all = kmalloc(NEIGHBOURS * sizeof(*all));
    u32 count = all ? net_neighbours(all, NEIGHBOURS) : 0;
    if (!all)
        return -ENOMEM;
    seq_printf(s, "IP address       HW type     Flags       HW address            Mask     Device\n");
    for (u32 i = 0; i < count; i++) {
        const u8 *ip = all[i].address, *mac = all[i].hw_address;
        char text[IP4ADDR_STRLEN_MAX];
        if (all[i].family != AF_INET)
            continue;
        snprintf(text, sizeof(text), "%u.%u.%u.%u", ip[0], ip[1], ip[2], ip[3]);
        seq_printf(s, "%-16s 0x1         0x2         %02x:%02x:%02x:%02x:%02x:%02x     *        eth0\n", text,
                   mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    }
    kfree(all);
    return 0;
}

enum attribute { ADDRESS, CARRIER, IFINDEX, MTU, OPERSTATE, TYPE };
static const char *const attributes[] = {
    [ADDRESS] = "address", [CARRIER] = "carrier",     [IFINDEX] = "ifindex",
    [MTU] = "mtu",         [OPERSTATE] = "operstate", [TYPE] = "type"};
static const struct {
    const char *name;
    size_t at;
} statistics[] = {
    {"rx_bytes", offsetof(struct net_stats, rx_bytes)},
    {"rx_packets", offsetof(struct net_stats, rx_frames)},
    {"rx_dropped", offsetof(struct net_stats, rx_dropped)},
    {"tx_bytes", offsetof(struct net_stats, tx_bytes)},
    {"tx_packets", offsetof(struct net_stats, tx_frames)},
};
#define SYS_ARG(device, which) ((void *)((u64)(device) << 32 | (which)))

static int show_attribute(struct seq *s, void *arg)
{
    struct net_interface all[NET_INTERFACES];
    u32 device = (u64)arg >> 32, count = net_interfaces(all);
    const struct net_interface *n = &all[device];
    if (device >= count)
        return -ENODEV;
    const u8 *mac = n->hw_address;
    bool up = n->flags & IFF_LOWER_UP;
    switch ((enum attribute)(u64)arg) {
    case ADDRESS:
        seq_printf(s, "%02x:%02x:%02x:%02x:%02x:%02x\n", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        break;
    case CARRIER:
        seq_printf(s, "%u\n", up);
        break;
    case IFINDEX:
        seq_printf(s, "%d\n", n->index);
        break;
    case MTU:
        seq_printf(s, "%u\n", n->mtu);
        break;
    case OPERSTATE: /* the loopback's is not known on Linux, either */
        seq_printf(s, "%s\n", !device ? "unknown" : up ? "up" : "down");
        break;
    case TYPE:
        seq_printf(s, "%u\n", n->hw_type);
        break;
    }
    return 0;
}

static int show_statistic(struct seq *s, void *arg)
{
    struct net_stats n = stats_of((u64)arg >> 32);
    seq_printf(s, "%lu\n", *(u64 *)((u8 *)&n + statistics[(u32)(u64)arg].at));
    return 0;
}

static int add_sys(const char *name, u32 device)
{
    char path[80];
    int err = 0;
    for (u32 i = 0; i < ARRAY_LEN(attributes); i++) {
        snprintf(path, sizeof(path), "/sys/class/net/%s/%s", name, attributes[i]);
        err |= synth_file(path, show_attribute, NULL, SYS_ARG(device, i));
    }
    for (u32 i = 0; i < ARRAY_LEN(statistics); i++) {
        snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", name, statistics[i].name);
        err |= synth_file(path, show_statistic, NULL, SYS_ARG(device, i));
    }
    return err;
}

/* ---- sockets ---- */

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

/* A line's number, addresses, ports, Linux's number of the state. IPv6 sockets that IPv4 reaches are IPv6
 * ones. */
struct line {
    u32 number;
    bool v6;
    const ip_addr_t *local, *remote;
    u16 local_port, remote_port;
    u32 state, unsent, waiting;
};

static void show_socket(struct seq *s, const struct line *l)
{
    seq_printf(s, "%4u: ", l->number);
    show_address(s, l->local, l->local_port, l->v6);
    show_address(s, l->remote, l->remote_port, l->v6);
    seq_printf(s, "%02X %08X:%08X 00:00000000 00000000     0        0 0\n", l->state, l->unsent, l->waiting);
}

static bool reaches_v6(const ip_addr_t *local)
{
    return IP_IS_V6(local) || IP_IS_ANY_TYPE_VAL(*local);
}

/* Whose it is; NULL: nobody's yet, or any more. */
static struct inet_socket *owner_of(const struct tcp_pcb *p)
{
    struct inet_socket *s = p->state == SYN_RCVD || p->state == TIME_WAIT ? NULL : p->callback_arg;
    return s && s->tcp == p ? s : NULL;
}

/* What the program has not taken yet, and (unsent) what the peer has not. core held. */
static u32 queue_of(const struct tcp_pcb *p, struct inet_socket *s, bool unsent)
{
    if (p->state == LISTEN) {
        struct inet_socket *waiting;
        u32 count = 0;
        list_for_each(waiting, &s->backlog, waiting_link) count++;
        return unsent ? 0 : count;
    }
    if (direct_is(s))
        return direct_pending(s, unsent);
    return unsent ? TCP_SND_BUF - p->snd_buf : inet_waiting(s);
}

static void show_connection(struct seq *seq, const struct tcp_pcb *p, bool v6, u32 *number)
{
    struct inet_socket *s = owner_of(p);
    struct line l = {.v6 = v6, .local = &p->local_ip, .local_port = p->local_port};
    ip_addr_t none;
    if ((s ? s->base.family == AF_INET6 : reaches_v6(&p->local_ip)) != v6)
        return;
    ip_addr_set_any(v6, &none);
    l.number = (*number)++;
    l.remote = p->state == LISTEN ? &none : &p->remote_ip;
    l.remote_port = p->state == LISTEN ? 0 : p->remote_port;
    l.state = tcp_state_number(p->state);
    l.unsent = s ? queue_of(p, s, true) : 0;
    l.waiting = s ? queue_of(p, s, false) : 0;
    show_socket(seq, &l);
}

static int show_tcp(struct seq *s, void *arg)
{
    u32 number = 0;
    seq_printf(
        s,
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n");
    core_enter();
    for (u32 i = 0; i < NUM_TCP_PCB_LISTS; i++)
        for (struct tcp_pcb *p = *tcp_pcb_lists[i]; p; p = p->next)
            show_connection(s, p, arg != NULL, &number);
    core_leave();
    return 0;
}

#define UDP_CONNECTED   1u /* as TCP's states */
#define UDP_UNCONNECTED 7u

static int show_udp(struct seq *s, void *arg)
{
    u32 number = 0;
    seq_printf(s,
               "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
               "inode ref pointer drops\n");
    core_enter();
    for (const struct udp_pcb *p = udp_pcbs; p; p = p->next) {
        bool v6 = reaches_v6(&p->local_ip), connected = p->flags & UDP_FLAGS_CONNECTED;
        ip_addr_t none;
        if (v6 != (arg != NULL) || !p->local_port)
            continue;
        ip_addr_set_any(v6, &none);
        struct line l = {.number = number++, .v6 = v6, .local = &p->local_ip, .local_port = p->local_port};
        l.remote = connected ? &p->remote_ip : &none;
        l.remote_port = connected ? p->remote_port : 0;
        l.state = connected ? UDP_CONNECTED : UDP_UNCONNECTED;
        show_socket(s, &l);
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
    static const struct {
        const char *path;
        int (*show)(struct seq *s, void *arg);
        void *arg;
    } files[] = {
        {"/proc/net/moka", show_moka, NULL},     {"/proc/net/if_inet6", show_if_inet6, NULL},
        {"/proc/net/route", show_route, NULL},   {"/proc/net/dev", show_dev, NULL},
        {"/proc/net/arp", show_arp, NULL},       {"/proc/net/tcp", show_tcp, NULL},
        {"/proc/net/tcp6", show_tcp, (void *)1}, {"/proc/net/udp", show_udp, NULL},
        {"/proc/net/udp6", show_udp, (void *)1},
    };
    int err = add_sys("lo", 0);
    for (u32 i = 0; i < ARRAY_LEN(files); i++)
        err |= synth_file(files[i].path, files[i].show, NULL, files[i].arg);
    if (net_get(0))
        err |= add_sys("eth0", 1);
    if (err)
        panic("no memory for /proc/net");
}
