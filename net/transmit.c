#include "net/transmit.h"

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/fs/vfs.h"
#include "lwip/inet_chksum.h"
#include "lwip/prot/tcp.h"
#include "mm/phys/phys.h"
#include "net/checksum.h"
#include "net/core.h"
#include "net/flow.h"
#include "net/refer.h"
#include "net/template.h"

#define POOL_MAX    512u  /* frames at most */
#define POOL_KEEP   256u  /* frames that stay when they are not needed */
#define FRAME_MAX   1514u /* Ethernet header and MTU */
#define HEADERS_MAX 134u  /* Ethernet, IPv6, TCP with all its options */
#define LARGE_MAX   65000u
#define FLOW_BITS   8
#define FLOWS       (1u << FLOW_BITS)
#define FLOW_PAUSE  (100 * NSEC_PER_MSEC) /* frames of before it have long been received */
#define PENDING     (1u << NET_PAIRS_MAX)

/* All flows of one hash. */
struct flow {
    u32 frames; /* from get() to release() */
    u32 queue;  /* changes only while there are none */
    u64 last_ns;
};

struct frame {
    struct net_tx tx;    /* first */
    u8 bytes[FRAME_MAX]; /* the whole frame, or a copy of its headers; just behind tx.header */
    struct frame *next;
    struct flow *flow;
    struct pbuf *held[NET_TX_SEGS_MAX]; /* lwIP's buffers that the device reads */
    u32 held_count;
};

/* A TCP segment's parts within a frame's first buffer. */
struct segment {
    u8 *ip, *tcp;
    u32 headers; /* with Ethernet's */
    u32 payload;
    bool v6;
};

static struct net_device *device;
static struct frame *done; /* atomic stack: finished, pushed by anyone, taken as a whole with the core held */

/* Guarded by the core. */
static struct frame *unused, *pending; /* pending: may still grow */
static u32 frame_count, pending_len;
static bool muted;
static u32 in_device[NET_PAIRS_MAX]; /* frames that refer to lwIP's buffers and have not come back */
u32 transmit_untold;                 /* queues, a bit each; PENDING: a frame may still grow */
static struct waiting {
    struct frame *first, *last; /* by `next` */
} waiting[NET_PAIRS_MAX];       /* found their queue full; at most all frames there are */
static struct flow flows[FLOWS];
static struct {
    u64 frames, copied, referred, joined, full, checksums, large;
} counters;

/* ---- frames come and go ---- */

static void finished(struct net_tx *tx)
{
    struct frame *f = (struct frame *)tx, *head = __atomic_load_n(&done, __ATOMIC_RELAXED);
    do
        f->next = head;
    while (!__atomic_compare_exchange_n(&done, &head, f, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

static void release(struct frame *f)
{
    in_device[f->flow->queue] -= f->held_count != 0;
    f->flow->frames--;
    for (u32 i = 0; i < f->held_count; i++)
        pbuf_free(f->held[i]);
    if (frame_count > POOL_KEEP) {
        frame_count--;
        kfree(f);
        return;
    }
    f->held_count = 0;
    f->next = unused;
    unused = f;
}

static void take_done(void)
{
    if (!__atomic_load_n(&done, __ATOMIC_RELAXED))
        return;
    struct frame *f = __atomic_exchange_n(&done, NULL, __ATOMIC_ACQUIRE), *next;
    for (; f; f = next) {
        next = f->next;
        release(f);
    }
}

/* There are no more frames to be had, but some may lie in queues that nothing was sent to since. */
static __attribute__((noinline)) void collect(void)
{
    for (u32 i = 0; i < device->pairs; i++)
        net_reclaim(device, i);
    take_done();
}

static struct frame *get(void)
{
    if (!unused)
        take_done();
    if (unlikely(!unused && frame_count >= POOL_MAX))
        collect();
    struct frame *f = unused;
    if (f) {
        unused = f->next;
    } else if (frame_count < POOL_MAX && (f = kmalloc_raw(sizeof(*f)))) {
        f->held_count = 0;
        frame_count++;
    }
    if (f) {
        f->tx.done = finished;
        f->tx.lazy = true;
        f->tx.seg_count = 0;
        f->tx.offload = (struct net_offload){0};
    }
    return f;
}

/* What lies behind the last piece joins it: two segments often share a page. */
static void add(struct frame *f, const void *bytes, u32 len)
{
    struct vq_buf *last = &f->tx.bufs[f->tx.seg_count];
    u64 at = virt_to_phys(bytes);
    if (f->tx.seg_count && last->paddr + last->len == at)
        last->len += len;
    else
        f->tx.bufs[++f->tx.seg_count] = (struct vq_buf){at, len};
}

static void hold(struct frame *f, struct pbuf *p)
{
    in_device[f->flow->queue] += f->held_count == 0;
    pbuf_ref(p);
    f->held[f->held_count++] = p;
}

/* ---- what a frame holds ---- */

static u32 be32(const u8 *p)
{
    return (u32)flow_be16(p) << 16 | flow_be16(p + 2);
}

/* The frame at p, when it is a TCP segment. len: of the whole frame; headers are in one piece, as lwIP builds
 * them. */
static bool parse(u8 *p, u32 first, u32 len, struct segment *s)
{
    struct flow_headers h;
    if (!flow_headers(p, first, len, &h) || h.protocol != FLOW_TCP || h.transport + TCP_HLEN > p + first)
        return false;
    s->ip = h.ip;
    s->tcp = h.transport;
    s->v6 = h.v6;
    s->headers = s->tcp - p + (s->tcp[12] >> 4) * 4;
    s->payload = len - s->headers;
    return s->headers <= first;
}

/* ---- which queue ---- */

/* Only TCP's ports count: a fragment shows none, and must not overtake a whole datagram. */
static u32 hash_flow(u8 *p, u32 first, u32 len)
{
    struct segment s;
    u32 type = first >= FLOW_ETHERNET + FLOW_IPV4 ? flow_be16(p + 12) : 0;
    bool v6 = type == 0x86dd && first >= FLOW_ETHERNET + FLOW_IPV6;
    if (!v6 && type != 0x0800)
        return 0;
    const u8 *addresses = flow_addresses(p + FLOW_ETHERNET, v6);
    u64 h = parse(p, first, len, &s) ? be32(s.tcp) : 0, both;
    if (v6)
        return hash_place(hash_ipv6(hash_ipv6(h, addresses), addresses + 16), FLOW_BITS);
    memcpy(&both, addresses, sizeof(both));
    return hash_place(hash_word(h, both), FLOW_BITS);
}

/* For a frame that begins with the `first` bytes at p. */
static void assign(struct frame *f, u8 *p, u32 first, u32 len, u64 now)
{
    struct flow *flow = flows;
    if (device->pairs > 1) {
        flow = &flows[hash_flow(p, first, len)];
        if (!flow->frames && now - flow->last_ns > FLOW_PAUSE)
            flow->queue = cpu_id() % device->pairs;
        flow->last_ns = now;
    }
    flow->frames++;
    f->flow = flow;
}

/* The pseudo-header's sum, where the device goes on. */
static void seed_checksum(struct net_offload *o, const u8 *frame, const struct segment *s, u32 tcp_len)
{
    u32 addresses = flow_sum_words(flow_addresses(s->ip, s->v6), s->v6 ? 16 : 4);
    u32 sum = flow_fold(FLOW_TCP + tcp_len + addresses);
    counters.checksums++;
    o->flags = NET_NEEDS_CSUM;
    o->csum_start = s->tcp - frame;
    o->csum_offset = 16;
    flow_put_be16(s->tcp + 16, sum);
}

/* ---- joining segments ---- */

/* Segments that the device may cut out of a larger one: bytes, ACK and PSH. */
static bool joinable(const struct segment *s)
{
    return s->payload && !(s->tcp[13] & ~(TCP_ACK | TCP_PSH)) && s->headers <= HEADERS_MAX;
}

static bool follows(const struct segment *a, const struct segment *b, u32 gso_size)
{
    const u8 *addresses = flow_addresses(a->ip, a->v6);
    u32 size = a->v6 ? 32 : 8, joined = pending_len - a->headers;
    return a->v6 == b->v6 && a->headers == b->headers &&
           !memcmp(addresses, flow_addresses(b->ip, b->v6), size) && !memcmp(a->tcp, b->tcp, 4) &&
           be32(a->tcp + 4) + joined == be32(b->tcp + 4) &&
           !memcmp(a->tcp + 20, b->tcp + 20, a->headers - (a->tcp + 20 - (a->ip - FLOW_ETHERNET))) &&
           joined % gso_size == 0 && b->payload <= gso_size;
}

/* Lengths and checksums of the large frame. */
static void finish_large(struct frame *f)
{
    struct segment s;
    u8 *p = f->bytes;
    parse(p, HEADERS_MAX, pending_len, &s);
    u32 ip_len = pending_len - FLOW_ETHERNET;
    if (s.v6) {
        flow_put_be16(s.ip + 4, ip_len - 40);
    } else {
        flow_put_be16(s.ip + 2, ip_len);
        flow_put_be16(s.ip + 10, 0);
        u16 sum = inet_chksum(s.ip, 20);
        memcpy(s.ip + 10, &sum, 2);
    }
    seed_checksum(&f->tx.offload, p, &s, pending_len - (s.tcp - p));
    if (pending_len - s.headers > f->tx.offload.gso_size) {
        f->tx.offload.gso_type = s.v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4;
        f->tx.offload.hdr_len = s.headers;
        counters.large++;
    } else {
        f->tx.offload.gso_size = 0;
    }
}

/* To the device; -ENOBUFS: transmit_room() will be called, the frame is still the caller's. */
static int hand_over(struct frame *f)
{
    u32 queue = f->flow->queue;
    int err = net_send(device, queue, &f->tx, true);
    if (!err) {
        counters.frames++;
        transmit_untold |= 1u << queue;
    } else if (err != -ENOBUFS) {
        release(f);
    }
    return err;
}

/* Behind what waits already. A frame lost here would cost its connection a second: lwIP has no early sign. */
static void push(struct frame *f)
{
    struct waiting *w = &waiting[f->flow->queue];
    if (!w->first && hand_over(f) != -ENOBUFS)
        return;
    counters.full++;
    f->next = NULL;
    if (w->first)
        w->last->next = f;
    else
        w->first = f;
    w->last = f;
}

void transmit_room(u32 queue)
{
    struct waiting *w = &waiting[queue];
    while (w->first) {
        struct frame *next = w->first->next;
        if (hand_over(w->first) == -ENOBUFS)
            return;
        w->first = next;
    }
}

static void push_pending(void)
{
    struct frame *f = pending;
    pending = NULL;
    if (f) {
        finish_large(f);
        push(f);
    }
}

static u32 pieces(const struct pbuf *p)
{
    u32 n = 0;
    for (; p; p = p->next)
        n++;
    return n;
}

/* p's bytes from `skip` on, by reference. */
static void refer(struct frame *f, struct pbuf *p, u32 skip)
{
    hold(f, p);
    counters.referred++;
    for (; p; p = p->next) {
        if (p->len > skip)
            add(f, (u8 *)p->payload + skip, p->len - skip);
        skip -= MIN(skip, (u32)p->len);
    }
}

/* Adds p to the pending frame, or makes it the pending one. False: p is to leave alone. */
static bool join(struct pbuf *p, const struct segment *s, u32 tso, u64 now)
{
    struct segment first;
    if (!(device->offloads & tso) || !joinable(s) || pieces(p) + 1 > NET_TX_SEGS_MAX)
        return false;
    if (pending && parse(pending->bytes, HEADERS_MAX, pending_len, &first) &&
        follows(&first, s, pending->tx.offload.gso_size) && pending_len + s->payload < LARGE_MAX &&
        pending->tx.seg_count + pieces(p) <= NET_TX_SEGS_MAX) {
        first.tcp[13] |= s->tcp[13];
        memcpy(first.tcp + 8, s->tcp + 8, 4);
        memcpy(first.tcp + 14, s->tcp + 14, 2);
        counters.joined++;
    } else {
        struct frame *f = get();
        push_pending();
        if (!f)
            return false;
        assign(f, p->payload, p->len, p->tot_len, now);
        memcpy(f->bytes, p->payload, s->headers);
        add(f, f->bytes, s->headers);
        f->tx.offload.gso_size = s->payload;
        pending = f;
        transmit_untold |= PENDING;
        pending_len = s->headers;
    }
    refer(pending, p, s->headers);
    pending_len += s->payload;
    return true;
}

/* ---- the interface's ---- */

/* Are p's bytes in memory whose physical address is known, for as long as p is held? lwIP's own are, and the
 * pages of refer.h. */
static bool can_refer(const struct pbuf *p)
{
    u32 n = pieces(p);
    for (; p; p = p->next)
        if (!(p->type_internal & PBUF_TYPE_FLAG_STRUCT_DATA_CONTIGUOUS) && !refer_is(p))
            return false;
    return n <= NET_TX_SEGS_MAX;
}

void transmit_mute(bool on)
{
    muted = on;
}

err_t transmit_frame(struct netif *netif, struct pbuf *p)
{
    struct segment s;
    if (muted)
        return ERR_OK;
    bool large = p->tot_len > TRANSMIT_SHORT && can_refer(p);
    bool segment = parse(p->payload, p->len, p->tot_len, &s);
    u64 now = core_traffic();
    template_see(p);
    if (large && segment && join(p, &s, s.v6 ? NET_TX_TSO6 : NET_TX_TSO4, now))
        return ERR_OK;
    push_pending();
    struct frame *f = p->tot_len <= FRAME_MAX ? get() : NULL;
    if (!f)
        return ERR_MEM;
    assign(f, p->payload, p->len, p->tot_len, now);
    /* TCP's checksum is the device's business. (UDP's is lwIP's: a fragmented datagram has one, too.) */
    if (segment && device->offloads & NET_TX_CSUM)
        seed_checksum(&f->tx.offload, p->payload, &s, p->tot_len - (s.tcp - (u8 *)p->payload));
    if (large) {
        refer(f, p, 0);
    } else {
        pbuf_copy_partial(p, f->bytes, p->tot_len, 0);
        add(f, f->bytes, p->tot_len);
        counters.copied++;
    }
    push(f);
    return ERR_OK;
}

/* By the device, if it can. */
static void finish_checksum(struct net_offload *o, u8 *frame, u32 len, u32 transport, u32 place)
{
    if (device->offloads & NET_TX_CSUM) {
        counters.checksums++;
        *o = (struct net_offload){.flags = NET_NEEDS_CSUM, .csum_start = transport, .csum_offset = place};
        return;
    }
    u16 sum = ~net_checksum(frame + transport, len - transport);
    if (!sum)
        sum = 0xffff; /* the same number; UDP's 0 says that there is none (RFC 768) */
    memcpy(frame + transport + place, &sum, sizeof(sum));
}

static void copy(u8 *to, const struct pbuf *p)
{
    for (; p; to += p->len, p = p->next)
        memcpy(to, p->payload, p->len);
}

err_t transmit_packet(struct pbuf *p, u32 transport, u32 checksum, u64 now)
{
    push_pending();
    struct frame *f = get();
    if (!f)
        return ERR_MEM;
    assign(f, p->payload, p->len, p->tot_len, now);
    if (p->tot_len > TRANSMIT_SHORT) {
        finish_checksum(&f->tx.offload, p->payload, p->len, transport, checksum);
        refer(f, p, 0);
    } else {
        copy(f->bytes, p);
        finish_checksum(&f->tx.offload, f->bytes, p->tot_len, transport, checksum);
        add(f, f->bytes, p->tot_len);
        counters.copied++;
    }
    push(f);
    return ERR_OK;
}

void transmit_tell(void)
{
    push_pending();
    u32 queues = transmit_untold & ~PENDING;
    transmit_untold = 0;
    for (; queues; queues &= queues - 1)
        net_flush(device, __builtin_ctz(queues));
}

void transmit_reclaim(void)
{
    for (u32 i = 0; device && i < device->pairs; i++)
        if (in_device[i])
            net_reclaim(device, i);
    take_done();
}

void transmit_checksums(struct netif *netif, bool received_checked)
{
    u16 flags = NETIF_CHECKSUM_ENABLE_ALL;
    if (device->offloads & NET_TX_CSUM)
        flags &= ~NETIF_CHECKSUM_GEN_TCP;
    if (received_checked)
        flags &= ~(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP);
    NETIF_SET_CHECKSUM_CTRL(netif, flags);
}

void transmit_init(struct net_device *dev, struct netif *netif)
{
    device = dev;
    transmit_checksums(netif, false);
}

void transmit_show(struct seq *s)
{
    seq_printf(
        s,
        "frames_sent %lu\nsent_copied %lu\nsent_by_reference %lu\nsegments_joined %lu\nsend_queue_full %lu\n",
        counters.frames, counters.copied, counters.referred, counters.joined, counters.full);
    seq_printf(s, "sent_large %lu\nchecksums_left %lu\n", counters.large, counters.checksums);
}
