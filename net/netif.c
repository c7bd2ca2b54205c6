/*
 * The network device as an lwIP interface. Received pieces become pbufs without copying while less than half
 * of their queue's memory is held; after that they are copied, so that programs that do not read cannot
 * starve reception. Sending: transmit.c.
 */
#include "lwip/netif.h"
#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/cmdline.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/snmp.h"
#include "net/channel.h"
#include "net/checksum.h"
#include "net/datagram.h"
#include "net/flow.h"
#include "net/handshake.h"
#include "net/lease.h"
#include "net/resolver.h"
#include "net/template.h"
#include "net/transmit.h"
#include "virtio/net.h"

#define SMALL_FRAME  256u  /* cheaper to copy */
#define PIECE        2048u /* bytes of the device's memory that a piece of a frame holds */
#define ADDRESS_WAIT (5 * NSEC_PER_SEC)

struct frame_rx {
    struct pbuf_custom pbuf; /* first */
    struct net_buf *piece;
};

static struct net_device *device;
static struct netif interface;
static struct waitq address_changed;

/* Guarded by the core. */
static u64 held_bytes[NET_PAIRS_MAX]; /* each queue's receive memory in pbufs */
static u64 held_max;                  /* of one queue */
static u64 address_deadline_ns;
static struct {
    u64 copied, by_reference, dropped, checked, large;
} received; /* frames */

/* ---- receiving ---- */

static void free_piece(struct pbuf *p)
{
    struct frame_rx *rx = (struct frame_rx *)p;
    held_bytes[rx->piece->queue] -= PIECE;
    net_buf_put(rx->piece);
    kfree(rx);
}

static struct pbuf *copy_frame(struct net_buf *frame, u32 skip, u32 len)
{
    struct pbuf *p = pbuf_alloc(PBUF_RAW, len, PBUF_RAM);
    u32 at = 0;
    for (struct net_buf *b = frame; p && b && at < len; b = b->next) {
        u32 n = MIN(b->len - skip, len - at);
        memcpy((u8 *)p->payload + at, b->data + skip, n); /* PBUF_RAM is one piece */
        at += n;
        skip = 0;
    }
    net_frame_put(frame);
    return p;
}

static struct pbuf *piece_pbuf(struct net_buf *piece, u32 skip)
{
    struct frame_rx *rx = kmalloc_raw(sizeof(*rx));
    if (!rx)
        return NULL;
    rx->piece = piece;
    rx->pbuf.custom_free_function = free_piece;
    held_bytes[piece->queue] += PIECE;
    return pbuf_alloced_custom(PBUF_RAW, piece->len - skip, PBUF_REF, &rx->pbuf, piece->data + skip,
                               piece->len - skip);
}

struct pbuf *netif_frame_pbuf(struct net_buf *frame, u32 skip, u32 len)
{
    struct pbuf *whole = NULL;
    if (len <= SMALL_FRAME || held_bytes[frame->queue] + frame->pieces * PIECE > held_max) {
        received.copied++;
        return copy_frame(frame, skip, len);
    }
    received.by_reference++;
    while (frame) {
        struct net_buf *next = frame->next;
        struct pbuf *p = piece_pbuf(frame, skip);
        if (!p) {
            net_frame_put(frame);
            if (whole)
                pbuf_free(whole);
            return NULL;
        }
        if (whole)
            pbuf_cat(whole, p);
        else
            whole = p;
        frame = next;
        skip = 0;
    }
    if (whole->tot_len > len)
        pbuf_realloc(whole, len);
    return whole;
}

/* RFC 1122, 3.2.1.3 (g) and 3.3.6: nobody else sends from the loopback network, or as us. */
bool netif_martian(const struct net_buf *frame)
{
    u32 from, ours = __atomic_load_n(&netif_ip4_addr(&interface)->addr, __ATOMIC_RELAXED);
    if (frame->len < SIZEOF_ETH_HDR + IP_HLEN || frame->data[12] != 8 || frame->data[13])
        return false;
    memcpy(&from, frame->data + SIZEOF_ETH_HDR + 12, sizeof(from));
    return frame->data[SIZEOF_ETH_HDR + 12] == 127 || (from && from == ours);
}

struct netif *netif_device(void)
{
    return device ? &interface : NULL;
}

/* lwIP is about to see bytes of this frame. */
static void note_offloads(const struct net_buf *frame)
{
    bool checked = frame->offload.flags & (NET_NEEDS_CSUM | NET_CSUM_VALID);
    received.large += frame->offload.gso_type != NET_GSO_NONE;
    received.checked += checked;
    transmit_checksums(&interface, checked);
}

void netif_give(struct net_buf *frame)
{
    note_offloads(frame);
    struct pbuf *p = netif_frame_pbuf(frame, 0, frame->frame_len);
    received.dropped += !p;
    if (p && interface.input(p, &interface) != ERR_OK)
        pbuf_free(p);
}

void netif_give_tcp(struct pbuf *p, const ip_addr_t *from, const ip_addr_t *to, const u8 *ip6)
{
    p->if_idx = netif_get_index(&interface);
    ip_data.current_ip6_header = IP_IS_V6(from) ? (struct ip6_hdr *)ip6 : NULL;
    ip_data.current_netif = ip_data.current_input_netif = &interface;
    ip_data.current_iphdr_src = *from;
    ip_data.current_iphdr_dest = *to;
    tcp_input(p, &interface);
    ip_data.current_ip6_header = NULL;
    ip_data.current_netif = ip_data.current_input_netif = NULL;
    ip_addr_set_any(IP_IS_V6(from), &ip_data.current_iphdr_src);
    ip_addr_set_any(IP_IS_V6(from), &ip_data.current_iphdr_dest);
}

/* Whose flags these are. False: no TCP segment, or not enough of it in the first piece. */
static bool is_tcp(const struct net_buf *frame, struct flow_packet *p, u8 *flags)
{
    if (!flow_read(frame, p) || p->protocol != FLOW_TCP || !flow_ports(frame, p, TCP_HLEN))
        return false;
    *flags = p->transport[13] & (TCP_SYN | TCP_ACK | TCP_RST);
    return true;
}

void netif_input_frame(struct net_buf *frame)
{
    struct flow_packet p;
    u8 flags = 0;
    if (is_tcp(frame, &p, &flags) && flags & (TCP_SYN | TCP_ACK) && !(flags & TCP_RST))
        handshake_input(frame, &p, flags);
    else
        netif_give(frame);
}

/* The bytes of an IP packet's payload, when its headers are `headers` bytes long and sound; else 0. */
static u32 payload_of(const struct net_buf *frame, bool v6, u32 headers)
{
    const u8 *ip = frame->data + FLOW_ETHERNET;
    u32 len = v6 ? flow_be16(ip + 4) : flow_be16(ip + 2) - FLOW_IPV4;
    bool sound = v6 || net_checksum_words(ip, FLOW_IPV4 / 4) == 0xffff; /* RFC 1071 */
    return sound && len <= frame->frame_len - headers ? len : 0;
}

void netif_input_segment(struct net_buf *frame, const ip_addr_t *from, const ip_addr_t *to)
{
    bool v6 = IP_IS_V6(from);
    u32 headers = FLOW_ETHERNET + (v6 ? FLOW_IPV6 : FLOW_IPV4), len = payload_of(frame, v6, headers);
    if (!len) {
        received.dropped++;
        net_frame_put(frame);
        return;
    }
    note_offloads(frame);
    const u8 *ip6 = frame->data + FLOW_ETHERNET;
    struct pbuf *p = netif_frame_pbuf(frame, headers, len);
    received.dropped += !p;
    if (p)
        netif_give_tcp(p, from, to, ip6);
}

/* "queue N" and pairs of words: for people, and for tests/boot/net-queues. */
static void show_queue(struct seq *s, u32 i)
{
    struct net_stats n;
    net_stats(device, i, &n);
    seq_printf(s, "queue %u received %lu bytes %lu sent %lu bytes %lu", i, n.rx_frames, n.rx_bytes,
               n.tx_frames, n.tx_bytes);
    seq_printf(s, " interrupts_received %lu interrupts_sent %lu interrupted_cpus %lx starved %lu",
               n.rx_interrupts, n.tx_interrupts, n.irq_cpus, n.rx_starved);
    seq_printf(s, " found_by_idle_cpus %lu\n", n.rx_found);
}

void netif_stats(struct net_stats *sum)
{
    struct net_stats n;
    *sum = (struct net_stats){.rx_dropped = received.dropped};
    for (u32 i = 0; device && i < device->pairs; i++) {
        net_stats(device, i, &n);
        sum->rx_frames += n.rx_frames;
        sum->rx_bytes += n.rx_bytes;
        sum->rx_dropped += n.rx_dropped;
        sum->tx_frames += n.tx_frames;
        sum->tx_bytes += n.tx_bytes;
    }
}

void netif_show(struct seq *s)
{
    struct net_stats sum;
    netif_stats(&sum);
    seq_printf(s, "received_copied %lu\nreceived_by_reference %lu\ndropped %lu\n", received.copied,
               received.by_reference, sum.rx_dropped);
    handshake_show(s);
    seq_printf(s, "received_checked %lu\nreceived_large %lu\n", received.checked, received.large);
    for (u32 i = 0; device && i < device->pairs; i++)
        show_queue(s, i);
}

static void on_frame(struct net_device *dev, u32 queue, struct net_buf *frame)
{
    if (frame->frame_len > 0xffff)
        net_frame_put(frame);
    else
        channel_deliver(queue, frame);
}

static void on_batch_end(struct net_device *dev, u32 queue)
{
    channel_batch_end(queue);
}

static void on_tx_room(struct net_device *dev, u32 queue)
{
    core_enter();
    transmit_room(queue);
    core_leave();
}

static void on_link(struct net_device *dev)
{
    core_enter();
    template_forget_all();
    if (__atomic_load_n(&dev->link_up, __ATOMIC_RELAXED))
        netif_set_link_up(&interface);
    else
        netif_set_link_down(&interface);
    core_leave();
}

static const struct net_ops device_ops = {
    .frame = on_frame, .batch_end = on_batch_end, .tx_room = on_tx_room, .link = on_link};

/* ---- addresses ---- */

static void on_status(struct netif *netif)
{
    datagram_forget_all();
    template_forget_all();
    waitq_wake_all(&address_changed, 0);
}

void netif_wait_address(void)
{
    if (!device)
        return;
    while (ip4_addr_isany_val(*netif_ip4_addr(&interface)) && clock_monotonic_ns() < address_deadline_ns) {
        if (core_wait(&address_changed, address_deadline_ns))
            return;
    }
}

/* ---- start ---- */

static err_t interface_init(struct netif *netif)
{
    netif->name[0] = 'e';
    netif->name[1] = 't';
    netif->hostname = cmdline.hostname;
    netif->output = etharp_output;
    netif->output_ip6 = ethip6_output;
    netif->linkoutput = transmit_frame;
    netif->mtu = MIN(device->mtu, 1500);
    netif->hwaddr_len = 6;
    memcpy(netif->hwaddr, device->mac, 6);
    netif->flags =
        NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    if (device->link_up)
        netif->flags |= NETIF_FLAG_LINK_UP;
    return ERR_OK;
}

/* What follows `at` in text, which ends there now; NULL: there is none. */
static char *cut(char *text, char at)
{
    char *rest = text ? strchr(text, at) : NULL;
    if (rest)
        *rest++ = 0;
    return rest;
}

/* 1 to 32; 0: text is none of these. */
static u32 prefix_bits(const char *text)
{
    u32 bits = 0;
    for (; *text >= '0' && *text <= '9' && bits <= 32; text++)
        bits = bits * 10 + *text - '0';
    return *text || bits > 32 ? 0 : bits;
}

/* "ADDRESS/PREFIX[,GATEWAY[,NAMESERVER]]" of the ip= option. False: not that. core held. */
static bool set_static(const char *text)
{
    char copy[64];
    ip4_addr_t address, mask, gw = {0}, resolver;
    struct resolver_source said = {.count = 1};
    if (strlcpy(copy, text, sizeof(copy)) >= sizeof(copy))
        return false;
    char *prefix = cut(copy, '/'), *gateway = cut(prefix, ','), *server = cut(gateway, ',');
    u32 bits = prefix ? prefix_bits(prefix) : 0;
    if (!bits || !ip4addr_aton(copy, &address) || (gateway && !ip4addr_aton(gateway, &gw)) ||
        (server && !ip4addr_aton(server, &resolver)))
        return false;
    mask.addr = lwip_htonl(~0u << (32 - bits));
    if (gateway && !ip4_addr_netcmp(&gw, &address, &mask))
        return false;
    if (server) {
        ip_addr_copy_from_ip4(said.servers[0], resolver);
        resolver_set(RESOLVER_IP, &said);
    }
    netif_set_addr(&interface, &address, &mask, &gw);
    return true;
}

static void begin_dhcp(void)
{
    address_deadline_ns = clock_monotonic_ns() + ADDRESS_WAIT;
    if (!lease_begin(&interface))
        log_error("moka: network: out of memory for DHCP\n");
}

void netif_start(void)
{
    void *arena;
    size_t len;
    device = net_get(0);
    if (!device)
        return;
    core_enter();
    netif_add(&interface, NULL, NULL, NULL, NULL, interface_init, netif_input);
    transmit_init(device, &interface);
    netif_set_status_callback(&interface, on_status);
    netif_set_default(&interface);
    netif_set_up(&interface);
    netif_create_ip6_linklocal_address(&interface, 1);
    struct netif *n = &interface; /* a macro that tests its argument */
    netif_set_ip6_autoconfig_enabled(n, 1);
    core_leave();
    if (net_start(device, &device_ops)) {
        log_error("moka: network: the device cannot be started\n");
        device = NULL;
        return;
    }
    net_arena(device, &arena, &len);
    datagram_init(len / device->pairs / PIECE);
    core_enter();
    held_max = len / device->pairs / 2;
    if (!cmdline.ip || !set_static(cmdline.ip)) {
        if (cmdline.ip)
            log_error("moka: network: ip=%s is not ADDRESS/PREFIX[,GATEWAY[,NAMESERVER]]; using DHCP\n",
                      cmdline.ip);
        begin_dhcp();
    }
    core_leave();
}
