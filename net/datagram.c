#include "net/datagram.h"

#include "kernel/fs/vfs.h"
#include "lwip/netif.h"
#include "lwip/prot/udp.h"
#include "net/checksum.h"
#include "net/inet.h"
#include "net/loopback.h"
#include "net/share.h"

#define CHECKED (NET_NEEDS_CSUM | NET_CSUM_VALID)

struct datagram_flow {
    union flow_key flow;        /* remote all zero: from wherever */
    struct datagram_flow *next; /* in its bucket */
    struct inet_socket *socket;
    struct datagram_flow *sibling; /* of the same socket: the core's */
    u32 broadcast;                 /* IPv4: no honest source address here; else 0 */
};

static struct bucket {
    struct mutex lock;
    struct datagram_flow *first;
} buckets[FLOW_BUCKETS];

static u32 from_peers;          /* atomic: flows of connected sockets */
static u32 held_max;            /* receive buffers of a queue, in channels */
static u32 held[NET_PAIRS_MAX]; /* atomic */

static struct counters {
    u64 classified, by_reader, moved, full, bad;
} counters;

static void count(u64 *counter)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

void datagram_init(u32 buffers)
{
    held_max = buffers / 4;
}

/* Sums and the pseudo-header (RFC 768, RFC 8200 section 8.1), as 16-bit words in memory's order. */
static bool sum_good(const u8 *ip, const u8 *udp, u32 len)
{
    bool v6 = udp - ip != FLOW_IPV4;
    u32 addresses = v6 ? net_checksum_words(ip + 8, 8) : net_checksum_words(ip + 12, 2);
    u32 sum = addresses + net_checksum(udp, len) + __builtin_bswap16(FLOW_UDP) + __builtin_bswap16(len);
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16) == 0xffff;
}

/* ---- receive thread ---- */

/* key's; of several, which a group's members have alike, the one that the packet goes to (share.h). Bucket's
 * mutex held. */
static struct datagram_flow *find(const struct bucket *b, const union flow_key *key,
                                  const struct flow_packet *p)
{
    struct datagram_flow *found = NULL;
    for (struct datagram_flow *flow = b->first; flow; flow = flow->next)
        if (flow_same(&flow->flow, key) && (!found || share_prefers(&p->flow, flow->socket, found->socket)))
            found = flow;
    return found;
}

/* lwIP drops some such packets. */
static bool odd_source(const union flow_key *f)
{
    const u8 *a = (const u8 *)f->remote;
    if (f->v6)
        return a[0] == 0xff || !f->remote[0] || !memcmp(f->remote, f->local, 16);
    return !a[0] || a[0] == 127 || a[0] >= 224 || f->remote[0] == f->local[0];
}

/* Is it as ordinary as a channel wants it? */
static bool ordinary(const struct net_buf *frame, struct flow_packet *p)
{
    if (frame->next || frame->offload.gso_type != NET_GSO_NONE || frame->data[0] & 1 ||
        !flow_ports(frame, p, UDP_HLEN) || odd_source(&p->flow))
        return false;
    u32 len = flow_be16(p->transport + 4);
    return len >= UDP_HLEN && len <= p->len && (!p->flow.v6 || flow_be16(p->transport + 6));
}

bool datagram_full(const struct inet_socket *s)
{
    return __atomic_load_n(&s->datagrams.bytes, __ATOMIC_RELAXED) > s->base.receive_buffer;
}

void datagram_push(struct inet_socket *s, struct net_buf *frame, u32 len)
{
    struct datagrams *q = &s->datagrams;
    __atomic_add_fetch(&q->bytes, datagram_charge(len), __ATOMIC_SEQ_CST);
    frames_push(&q->arrived, frame);
    inet_wake(s, POLL_IN);
}

/* Bucket's mutex held. */
static bool deliver_to(struct datagram_flow *flow, struct net_buf *frame, const struct flow_packet *p)
{
    struct inet_socket *s = flow->socket;
    if (!p->flow.v6 && p->flow.remote[0] == flow->broadcast)
        return false;
    if (datagram_full(s)) {
        count(&counters.full);
        net_frame_put(frame);
        return true;
    }
    if (__atomic_load_n(&held[frame->queue], __ATOMIC_RELAXED) >= held_max)
        return false;
    __atomic_add_fetch(&held[frame->queue], 1, __ATOMIC_RELAXED);
    frame->len = frame->frame_len = p->transport + p->len - frame->data;
    count(&counters.classified);
    datagram_push(s, frame, p->len - UDP_HLEN);
    return true;
}

static bool try(const union flow_key *key, struct net_buf *frame, const struct flow_packet *p, bool *done)
{
    struct bucket *b = &buckets[flow_hash(key)];
    mutex_lock(&b->lock);
    struct datagram_flow *flow = find(b, key, p);
    if (flow)
        *done = deliver_to(flow, frame, p);
    mutex_unlock(&b->lock);
    return flow;
}

static bool to_channel(struct net_buf *frame, const struct flow_packet *p)
{
    bool done = false;
    if (__atomic_load_n(&from_peers, __ATOMIC_RELAXED) && try(&p->flow, frame, p, &done))
        return done;
    union flow_key key = {.local_port = p->flow.local_port, .v6 = p->flow.v6};
    memcpy(key.local, p->flow.local, sizeof(key.local));
    try(&key, frame, p, &done);
    return done;
}

bool datagram_deliver(struct net_buf *frame, struct flow_packet *p, bool behind)
{
    if (!ordinary(frame, p))
        return false;
    u32 rest = p->len - flow_be16(p->transport + 4);
    p->len -= rest;
    if (!behind && to_channel(frame, p))
        return true;
    /* lwIP would sum up the whole packet. */
    if (rest && sum_good(frame->data + FLOW_ETHERNET, p->transport, p->len))
        frame->offload.flags |= NET_CSUM_VALID;
    return false;
}

/* ---- what a frame of the channel holds ---- */

static u32 header_len(const struct net_buf *frame)
{
    return FLOW_ETHERNET + (frame->data[12] == 0x08 ? FLOW_IPV4 : FLOW_IPV6);
}

static u32 payload_len(const struct net_buf *frame)
{
    return frame->len - header_len(frame) - UDP_HLEN;
}

static bool good(struct net_buf *frame)
{
    if (loopback_frame(frame))
        return true;
    u32 header = header_len(frame);
    const u8 *ip = frame->data + FLOW_ETHERNET, *udp = frame->data + header;
    if (header == FLOW_ETHERNET + FLOW_IPV4 && net_checksum_words(ip, FLOW_IPV4 / 4) != 0xffff)
        return false;
    bool checked = frame->offload.flags & CHECKED || !(udp[6] | udp[7]);
    if (!checked && !sum_good(ip, udp, frame->len - header))
        return false;
    frame->offload.flags |= NET_CSUM_VALID;
    return true;
}

/* It holds receive memory no more, or somebody else looks after that. */
static void unhold(const struct net_buf *frame)
{
    if (!loopback_frame(frame))
        __atomic_sub_fetch(&held[frame->queue], 1, __ATOMIC_RELAXED);
}

/* It has left the channel. */
static void leave(struct datagrams *q, const struct net_buf *frame)
{
    unhold(frame);
    __atomic_sub_fetch(&q->bytes, datagram_charge(payload_len(frame)), __ATOMIC_RELAXED);
}

static void drop(struct datagrams *q, struct net_buf *frame)
{
    leave(q, frame);
    datagram_put(frame);
}

void datagram_put(struct net_buf *frame)
{
    if (loopback_frame(frame))
        loopback_put(frame);
    else
        net_frame_put(frame);
}

/* ---- consumers: the channel's mutex held ---- */

/* The oldest, which stays. */
static struct net_buf *first(struct datagrams *q)
{
    u32 n;
    if (!q->ready)
        q->ready = frames_take(&q->arrived, &n);
    return q->ready;
}

static struct net_buf *pop(struct datagrams *q)
{
    struct net_buf *frame = first(q);
    if (frame)
        q->ready = frame->free;
    return frame;
}

/* ---- readers ---- */

static void describe(struct net_buf *frame, struct datagram *out)
{
    u8 *ip = frame->data + FLOW_ETHERNET, *udp = frame->data + header_len(frame);
    out->frame = frame;
    out->bytes = udp + UDP_HLEN;
    out->len = payload_len(frame);
    out->from_port = flow_be16(udp);
    bool v6 = udp - ip != FLOW_IPV4;
    flow_get_address(&out->from, flow_addresses(ip, v6), v6);
    if (v6)
        ip6_addr_assign_zone(ip_2_ip6(&out->from), IP6_UNICAST, netif_device());
}

bool datagram_take(struct inet_socket *s, struct datagram *out)
{
    struct datagrams *q = &s->datagrams;
    while (__atomic_load_n(&q->bytes, __ATOMIC_RELAXED)) {
        mutex_lock(&q->lock);
        struct net_buf *frame = q->moved ? NULL : pop(q);
        mutex_unlock(&q->lock);
        if (!frame)
            return false;
        if (good(frame)) {
            leave(q, frame);
            count(&counters.by_reader);
            describe(frame, out);
            return true;
        }
        count(&counters.bad);
        drop(q, frame);
    }
    return false;
}

bool datagram_waiting(struct inet_socket *s)
{
    struct datagrams *q = &s->datagrams;
    struct net_buf *frame = NULL;
    if (!__atomic_load_n(&q->bytes, __ATOMIC_SEQ_CST))
        return false;
    mutex_lock(&q->lock);
    while (!q->moved && (frame = first(q)) && !good(frame)) {
        count(&counters.bad);
        drop(q, pop(q));
    }
    bool any = q->moved || frame;
    mutex_unlock(&q->lock);
    return any;
}

void datagram_arrival(const struct net_buf *frame, struct arrival *out)
{
    const u8 *ip = frame->data + FLOW_ETHERNET;
    struct netif *device = netif_device();
    *out = (struct arrival){.interface = device && !loopback_frame(frame) ? netif_get_index(device) : 1};
    if (ip[0] >> 4 == 4) {
        memcpy(&ip_2_ip4(&out->to)->addr, ip + 16, 4);
        out->hops = ip[8];
        out->tos = ip[1];
        return;
    }
    IP_SET_TYPE_VAL(out->to, IPADDR_TYPE_V6);
    memcpy(ip_2_ip6(&out->to)->addr, ip + 24, 16);
    out->hops = ip[7];
    out->tos = flow_be16(ip) >> 4;
}

/* Of what lwIP is giving to a callback; when it must be told it has not lain in a channel (datagram_learn()).
 */
static void current_arrival(const struct inet_socket *s, struct arrival *out)
{
    bool v6 = ip_current_is_v6();
    *out = (struct arrival){.to = *ip_current_dest_addr(),
                            .interface = netif_get_index(ip_current_input_netif())};
    out->hops = v6 ? IP6H_HOPLIM(ip6_current_header()) : IPH_TTL(ip4_current_header());
    out->tos = v6 ? IP6H_TC(ip6_current_header()) : IPH_TOS(ip4_current_header());
    if (inet_stamps(s))
        out->when_ns = clock_realtime_ns();
}

/* ---- the inbox: core held ---- */

/* To the inbox, the frame's memory if that may be, else a copy. The mutex held. */
static void move(struct inet_socket *s, struct net_buf *frame)
{
    struct datagrams *q = &s->datagrams;
    struct datagram d;
    struct arrival arrival;
    if (!good(frame)) {
        count(&counters.bad);
        drop(q, frame);
        return;
    }
    describe(frame, &d);
    datagram_arrival(frame, &arrival);
    unhold(frame);
    frame->data = (u8 *)d.bytes;
    frame->len = frame->frame_len = d.len;
    struct pbuf *p =
        loopback_frame(frame) ? loopback_pbuf(frame) : netif_frame_pbuf(frame, 0, frame->frame_len);
    count(&counters.moved);
    if (p && inet_append(s, p, &d.from, d.from_port, &arrival) == ERR_OK) {
        q->moved++;
        return;
    }
    if (p)
        pbuf_free(p);
    __atomic_sub_fetch(&q->bytes, datagram_charge(d.len), __ATOMIC_RELAXED);
}

void datagram_settle(struct inet_socket *s)
{
    struct net_buf *frame;
    mutex_lock(&s->datagrams.lock);
    while ((frame = pop(&s->datagrams)))
        move(s, frame);
    mutex_unlock(&s->datagrams.lock);
}

/* lwIP has cut UDP's header off, unread but for ports and checksum. */
static bool cut(struct pbuf *p)
{
    const struct udp_hdr *h = (const struct udp_hdr *)((u8 *)p->payload - UDP_HLEN);
    u32 len = lwip_ntohs(h->len);
    if (ip_current_is_v6()) {
        /* RFC 8200, 8.1; what never left this machine has none */
        if (!h->chksum && netif_get_ip6_addr_match(ip_current_input_netif(), ip6_current_src_addr()) < 0)
            return false;
        if (!len)
            return true; /* a jumbogram's, or as good as */
    }
    if (len < UDP_HLEN || len - UDP_HLEN > p->tot_len)
        return false;
    if (len - UDP_HLEN < p->tot_len)
        pbuf_realloc(p, len - UDP_HLEN);
    return true;
}

bool datagram_arrived(struct inet_socket *s, struct pbuf *p, const ip_addr_t *from, u16 port)
{
    struct datagrams *q = &s->datagrams;
    if (!cut(p) || datagram_full(s))
        return false;
    datagram_settle(s);
    struct arrival arrival;
    current_arrival(s, &arrival);
    if (inet_append(s, p, from, port, &arrival) != ERR_OK)
        return false;
    mutex_lock(&q->lock);
    q->moved++;
    mutex_unlock(&q->lock);
    __atomic_add_fetch(&q->bytes, datagram_charge(p->tot_len), __ATOMIC_SEQ_CST);
    inet_wake(s, POLL_IN);
    return true;
}

void datagram_taken(struct inet_socket *s, u32 len)
{
    struct datagrams *q = &s->datagrams;
    mutex_lock(&q->lock);
    q->moved--;
    mutex_unlock(&q->lock);
    __atomic_sub_fetch(&q->bytes, datagram_charge(len), __ATOMIC_RELAXED);
}

void datagram_drop_all(struct inet_socket *s)
{
    struct net_buf *frame;
    mutex_lock(&s->datagrams.lock);
    while ((frame = pop(&s->datagrams)))
        drop(&s->datagrams, frame);
    mutex_unlock(&s->datagrams.lock);
}

/* ---- flows: core held ---- */

/* Of the same local port as the datagram: does p receive what is sent to that address, as far as it alone
 * decides? lwIP's rule. */
static bool takes(const struct udp_pcb *p, const ip_addr_t *to)
{
    if (IP_IS_ANY_TYPE_VAL(p->local_ip))
        return true;
    return IP_IS_V6_VAL(p->local_ip) == IP_IS_V6(to) &&
           (ip_addr_isany(&p->local_ip) || ip_addr_cmp(&p->local_ip, to));
}

static union flow_key key_of(const struct udp_pcb *pcb, const ip_addr_t *to)
{
    union flow_key f = {.local_port = pcb->local_port, .v6 = IP_IS_V6(to)};
    flow_set_address(f.local, to);
    if (pcb->flags & UDP_FLAGS_CONNECTED) {
        f.remote_port = pcb->remote_port;
        flow_set_address(f.remote, &pcb->remote_ip);
    }
    return f;
}

/* Flows with one key, linked by `next`: all at once, as a group's members have them. */
static void hook(struct datagram_flow *flows)
{
    if (!flows)
        return;
    struct bucket *b = &buckets[flow_hash(&flows->flow)];
    struct datagram_flow *last = flows;
    __atomic_add_fetch(&from_peers, flows->flow.remote_port != 0, __ATOMIC_SEQ_CST);
    while (last->next)
        last = last->next;
    mutex_lock(&b->lock);
    last->next = b->first;
    b->first = flows;
    mutex_unlock(&b->lock);
}

/* A flow of s's that is not hooked yet, before *first; none if s has it. False: out of memory. */
static bool prepare(struct inet_socket *s, const union flow_key *f, struct datagram_flow **first)
{
    for (struct datagram_flow *old = s->datagrams.flows; old; old = old->sibling)
        if (flow_same(&old->flow, f))
            return true;
    struct datagram_flow *flow = kmalloc(sizeof(*flow));
    if (!flow)
        return false;
    struct netif *device = netif_device();
    *flow = (struct datagram_flow){.flow = *f, .next = *first, .socket = s, .sibling = s->datagrams.flows};
    if (!f->v6)
        flow->broadcast = netif_ip4_addr(device)->addr | ~netif_ip4_netmask(device)->addr;
    s->datagrams.flows = flow;
    *first = flow;
    return true;
}

/* False: out of memory. */
static bool open_flow(struct inet_socket *s, const union flow_key *f)
{
    struct datagram_flow *flows = NULL;
    bool done = prepare(s, f, &flows);
    hook(flows);
    return done;
}

/* They were the newest of their sockets' flows. */
static void drop_prepared(struct datagram_flow *flow)
{
    while (flow) {
        struct datagram_flow *next = flow->next;
        flow->socket->datagrams.flows = flow->sibling;
        kfree(flow);
        flow = next;
    }
}

/* The flow for mine and its group, or for nobody: who had none would get nothing. */
static void open_group(const struct udp_pcb *mine, const union flow_key *f)
{
    struct datagram_flow *flows = NULL;
    bool done = prepare(mine->recv_arg, f, &flows);
    for (const struct udp_pcb *p = udp_pcbs; p && done; p = p->next)
        if (p != mine && share_together(p, mine))
            done = !inet_stamps(p->recv_arg) && prepare(p->recv_arg, f, &flows);
    if (done)
        hook(flows);
    else
        drop_prepared(flows);
}

/*
 * lwIP has chosen mine for a datagram to that address. May a flow say that it would for all others of the
 * flow? Among sockets that are not connected the sender does not matter to it. What comes from a connected
 * socket's peer goes to that one: it needs a flow of its own, which is looked for first. Two that are
 * connected to one peer are left to lwIP. In mine's group the flow itself chooses (open_group()).
 */
static bool settled(const struct udp_pcb *mine, const ip_addr_t *to)
{
    for (const struct udp_pcb *p = udp_pcbs; p; p = p->next) {
        if (p == mine || p->local_port != mine->local_port || !takes(p, to))
            continue;
        union flow_key f = key_of(p, to), own = key_of(mine, to);
        if (share_together(p, mine))
            continue;
        if (!p->recv_arg || (f.remote_port && flow_same(&f, &own)))
            return false;
        if (f.remote_port && !own.remote_port && !open_flow(p->recv_arg, &f))
            return false;
    }
    return true;
}

void datagram_learn(struct inet_socket *s)
{
    const ip_addr_t *to = ip_current_dest_addr();
    struct netif *device = netif_device();
    bool ours = IP_IS_V6(to) ? device && netif_get_ip6_addr_match(device, ip_2_ip6(to)) >= 0
                             : device && ip4_addr_cmp(ip_2_ip4(to), netif_ip4_addr(device));
    if (inet_stamps(s) || !s->udp || !ours || ip_addr_isbroadcast(to, device) || !settled(s->udp, to))
        return;
    union flow_key f = key_of(s->udp, to);
    open_group(s->udp, &f);
}

static void unhook(struct datagram_flow *flow)
{
    struct bucket *b = &buckets[flow_hash(&flow->flow)];
    mutex_lock(&b->lock);
    struct datagram_flow **at = &b->first;
    while (*at != flow)
        at = &(*at)->next;
    *at = flow->next;
    mutex_unlock(&b->lock);
    __atomic_sub_fetch(&from_peers, flow->flow.remote_port != 0, __ATOMIC_RELAXED);
}

void datagram_forget(struct inet_socket *s)
{
    loopback_forget(s);
    while (s->datagrams.flows) {
        struct datagram_flow *flow = s->datagrams.flows;
        s->datagrams.flows = flow->sibling;
        unhook(flow);
        kfree(flow);
    }
}

/* Not only sockets have control blocks: DHCP's has no argument. */
void datagram_forget_port(u16 port)
{
    for (struct udp_pcb *p = udp_pcbs; p; p = p->next)
        if (p->local_port == port && p->recv_arg)
            datagram_forget(p->recv_arg);
}

void datagram_forget_all(void)
{
    for (struct udp_pcb *p = udp_pcbs; p; p = p->next)
        if (p->recv_arg)
            datagram_forget(p->recv_arg);
}

/* ---- /proc/net/moka ---- */

void datagram_show(struct seq *s)
{
    seq_printf(s, "datagrams_classified %lu\ndatagrams_by_reader %lu\ndatagrams_moved %lu\n",
               counters.classified, counters.by_reader, counters.moved);
    seq_printf(s, "datagrams_full %lu\ndatagrams_bad %lu\n", counters.full, counters.bad);
}
