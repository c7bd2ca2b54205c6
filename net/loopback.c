#include "net/loopback.h"

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/fs/vfs.h"
#include "net/hash.h"

#define PASSAGE_BITS 8
#define PASSAGES     (1u << PASSAGE_BITS)
#define TEMPLATE     64u /* bytes before a datagram's own that are copied, headers at their end */

struct passage {
    struct mutex lock;
    struct inet_socket *receiver; /* NULL: closed. Changes with the core and the lock */

    /* The lock; changed with the core, too. */
    u64 sender; /* inet_socket.identity */
    ip_addr_t to;
    u16 port;    /* 0: where the sender is connected to */
    u32 headers; /* bytes */
    u8 bytes[TEMPLATE];

    struct passage *sibling; /* to the same receiver: the core's */
};

static struct passage passages[PASSAGES];

/* What is on its way through lwIP: the core's. */
static struct {
    u64 sender; /* 0: nothing */
    ip_addr_t to, real;
    u16 port, real_port, from_port;
} watched;

static u64 direct, full; /* atomic */

/* One a CPU, so that CPUs do not meet there; atomic all the same, as a thread may move meanwhile. */
static struct {
    u64 packets, bytes;
} __attribute__((aligned(64))) counted[CPU_MAX];

void loopback_count(u64 packets, u64 bytes)
{
    u32 cpu = cpu_id();
    __atomic_add_fetch(&counted[cpu].packets, packets, __ATOMIC_RELAXED);
    __atomic_add_fetch(&counted[cpu].bytes, bytes, __ATOMIC_RELAXED);
}

void loopback_counted(u64 *packets, u64 *bytes)
{
    *packets = *bytes = 0;
    for (u32 i = 0; i < CPU_MAX; i++) {
        *packets += __atomic_load_n(&counted[i].packets, __ATOMIC_RELAXED);
        *bytes += __atomic_load_n(&counted[i].bytes, __ATOMIC_RELAXED);
    }
}

/* ---- memory ---- */

static void free_outgoing(struct pbuf *p)
{
    kfree(p);
}

_Static_assert(offsetof(struct outgoing, pbuf) == 0, "a pbuf is freed with all around it");

struct outgoing *outgoing_new(u32 len)
{
    struct outgoing *m = kmalloc_raw(sizeof(*m) + len);
    if (m)
        m->len = len;
    return m;
}

void outgoing_free(struct outgoing *m)
{
    kfree(m);
}

static struct pbuf *as_pbuf(struct outgoing *m, u8 *data, u32 len)
{
    m->pbuf.custom_free_function = free_outgoing;
    return pbuf_alloced_custom(PBUF_RAW, len, PBUF_RAM, &m->pbuf, data, len);
}

struct pbuf *outgoing_pbuf(struct outgoing *m)
{
    return as_pbuf(m, m->bytes, m->len);
}

static struct outgoing *outgoing_of(struct net_buf *frame)
{
    return container_of(frame, struct outgoing, frame);
}

void loopback_put(struct net_buf *frame)
{
    kfree(outgoing_of(frame));
}

struct pbuf *loopback_pbuf(struct net_buf *frame)
{
    return as_pbuf(outgoing_of(frame), frame->data, frame->len);
}

/* ---- sending ---- */

static struct passage *place(u64 sender, const ip_addr_t *to, u16 port)
{
    u64 h = port ? hash_address(sender << 16 ^ port, to) : hash_word(sender, 0);
    return &passages[hash_place(h, PASSAGE_BITS)];
}

/* The passage's lock held. */
static bool leads(const struct passage *p, u64 sender, const ip_addr_t *to, u16 port)
{
    return p->receiver && p->sender == sender && p->port == port && (!port || ip_addr_cmp(&p->to, to));
}

/* The headers as they were, but for lengths; nobody asks for IPv4's identification and checksum. */
static struct net_buf *frame_of(const struct passage *p, struct outgoing *m)
{
    u8 *udp = m->bytes - UDP_HLEN;
    memcpy(m->bytes - TEMPLATE, p->bytes, TEMPLATE);
    if (p->headers == FLOW_ETHERNET + FLOW_IPV4 + UDP_HLEN)
        flow_put_be16(udp - FLOW_IPV4 + 2, FLOW_IPV4 + UDP_HLEN + m->len);
    else
        flow_put_be16(udp - FLOW_IPV6 + 4, UDP_HLEN + m->len);
    flow_put_be16(udp + 4, UDP_HLEN + m->len);
    u32 len = p->headers + m->len;
    m->frame = (struct net_buf){.data = m->bytes - p->headers,
                                .len = len,
                                .frame_len = len,
                                .refs = 1,
                                .pieces = 1,
                                .queue = LOOPBACK_QUEUE,
                                .offload.flags = NET_CSUM_VALID};
    return &m->frame;
}

/* The passage's lock held. */
static void deliver(const struct passage *p, struct outgoing *m)
{
    loopback_count(1, p->headers - FLOW_ETHERNET + m->len);
    if (datagram_full(p->receiver)) {
        __atomic_add_fetch(&full, 1, __ATOMIC_RELAXED);
        outgoing_free(m);
        return;
    }
    __atomic_add_fetch(&direct, 1, __ATOMIC_RELAXED);
    datagram_push(p->receiver, frame_of(p, m), m->len);
}

bool loopback_send(const struct inet_socket *s, struct outgoing *m, const ip_addr_t *to, u16 port)
{
    u64 sender = __atomic_load_n(&s->identity, __ATOMIC_RELAXED);
    struct passage *p = place(sender, to, port);
    if (__atomic_load_n(&p->sender, __ATOMIC_RELAXED) != sender)
        return false;
    mutex_lock(&p->lock);
    bool there = leads(p, sender, to, port);
    if (there)
        deliver(p, m);
    mutex_unlock(&p->lock);
    return there;
}

/* ---- to learn: core held ---- */

void loopback_begin(const struct inet_socket *s, const ip_addr_t *to, u16 port, const ip_addr_t *real)
{
    watched.sender = s->identity;
    watched.to = port ? *to : (ip_addr_t){0};
    watched.port = port;
    watched.real = *real;
    watched.real_port = port ? port : s->remote_port;
    watched.from_port = s->udp->local_port;
}

void loopback_end(void)
{
    watched.sender = 0;
}

/* Of what lwIP is receiving, plain headers as a device would have brought them; how many bytes, or 0. */
static u32 headers_of(const struct pbuf *p, u8 bytes[TEMPLATE])
{
    u8 *udp = bytes + TEMPLATE - UDP_HLEN;
    bool v6 = ip_current_is_v6();
    u32 len = v6 ? FLOW_IPV6 : FLOW_IPV4;
    const void *ip = v6 ? (const void *)ip6_current_header() : (const void *)ip4_current_header();
    if (ip_current_header_tot_len() != len)
        return 0;
    memset(bytes, 0, TEMPLATE);
    memcpy(udp, (const u8 *)p->payload - UDP_HLEN, UDP_HLEN);
    memcpy(udp - len, ip, len);
    flow_put_be16(udp - len - 2, v6 ? 0x86dd : 0x0800);
    return FLOW_ETHERNET + len + UDP_HLEN;
}

/* No longer to its receiver. */
static void close_passage(struct passage *p)
{
    struct passage **at = &p->receiver->datagrams.passages;
    while (*at != p)
        at = &(*at)->sibling;
    *at = p->sibling;
    mutex_lock(&p->lock);
    p->receiver = NULL;
    mutex_unlock(&p->lock);
}

static void open_passage(struct passage *p, struct inet_socket *receiver, u32 headers, const u8 *bytes)
{
    mutex_lock(&p->lock);
    __atomic_store_n(&p->sender, watched.sender, __ATOMIC_RELAXED);
    p->to = watched.to;
    p->port = watched.port;
    p->headers = headers;
    memcpy(p->bytes, bytes, TEMPLATE);
    p->receiver = receiver;
    mutex_unlock(&p->lock);
    p->sibling = receiver->datagrams.passages;
    receiver->datagrams.passages = p;
}

void loopback_arrived(struct inet_socket *s, const struct pbuf *p, const ip_addr_t *from, u16 port)
{
    const ip_addr_t *to = ip_current_dest_addr();
    u8 bytes[TEMPLATE];
    if (inet_stamps(s) || !watched.sender || port != watched.from_port ||
        s->udp->local_port != watched.real_port || !ip_addr_cmp_zoneless(to, &watched.real) ||
        ip_addr_ismulticast(to) || ip_addr_isbroadcast(to, ip_current_netif()))
        return;
    u32 headers = headers_of(p, bytes);
    if (!headers)
        return;
    struct passage *passage = place(watched.sender, &watched.to, watched.port);
    if (passage->receiver)
        close_passage(passage);
    open_passage(passage, s, headers, bytes);
    loopback_end();
}

void loopback_forget(struct inet_socket *s)
{
    while (s->datagrams.passages)
        close_passage(s->datagrams.passages);
}

/* ---- /proc/net/moka ---- */

void loopback_show(struct seq *s)
{
    seq_printf(s, "datagrams_to_ourselves %lu\ndatagrams_to_ourselves_full %lu\n", direct, full);
}
