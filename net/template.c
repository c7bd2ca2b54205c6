#include "net/template.h"

#include "kernel/base/random.h"
#include "kernel/fs/vfs.h"
#include "lwip/netif.h"
#include "net/checksum.h"
#include "net/flow.h"
#include "net/transmit.h"

#define TEMPLATE_BITS 8
#define TEMPLATES     (1u << TEMPLATE_BITS)
#define HEADERS_MAX   (FLOW_ETHERNET + FLOW_IPV6 + UDP_HLEN)
#define IPV6_MTU      1280u /* goes everywhere (RFC 8200, section 5) */
#define SEGMENT_MAX   192u  /* bytes with TCP's header: more may be joined with what follows */
#define UDP_CHECKSUM  6u    /* its place in the header */
#define TCP_CHECKSUM  16u

_Static_assert(SEGMENT_MAX + FLOW_ETHERNET + FLOW_IPV6 <= TRANSMIT_SHORT, "it may be in pieces");

static struct template
{
    u64 identity; /* inet_socket.identity */
    u64 until_ns;
    u32 generation;
    u32 headers; /* bytes; UDP's is one of them, TCP's is not */
    bool v6;
    u32 sum;    /* of the IPv4 header but for length and identification */
    u32 pseudo; /* of the pseudo-header but for the length */
    ip_addr_t to;
    u8 bytes[HEADERS_MAX];
}
templates[TEMPLATES];

static u32 generation; /* atomic */
static u64 identities; /* the last one that was given out */
static u16 identification;
static struct {
    const struct inet_socket *socket; /* NULL: nobody watches */
    const ip_addr_t *to;
} watched;
static u64 by_template, segments_by_template;

static struct template *place(const struct inet_socket *s, const ip_addr_t *to)
{
    return &templates[hash_place(hash_address(s->identity, to), TEMPLATE_BITS)];
}

void template_renew(struct inet_socket *s)
{
    __atomic_store_n(&s->identity, ++identities, __ATOMIC_RELAXED); /* loopback.c looks without the core */
}

void template_forget_all(void)
{
    __atomic_add_fetch(&generation, 1, __ATOMIC_RELAXED);
}

/* ---- to learn ---- */

void template_begin(const struct inet_socket *s, const ip_addr_t *to)
{
    watched.socket = s;
    watched.to = to;
}

void template_end(void)
{
    watched.socket = NULL;
}

static bool is_stream(const struct inet_socket *s)
{
    return s->base.type == SOCK_STREAM;
}

/* The length of its headers up to IP's, if the frame is a whole packet to one machine that carries
 * `protocol`; else 0. */
static u32 headers_of(const struct pbuf *p, u8 protocol)
{
    u8 *frame = p->payload;
    struct flow_headers h;
    bool fits = flow_headers(frame, p->len, p->tot_len, &h) && h.transport + UDP_HLEN <= frame + p->len;
    return fits && h.protocol == protocol && !(frame[0] & 1) ? h.transport - frame : 0;
}

static void learn(const struct pbuf *frame)
{
    u8 protocol = is_stream(watched.socket) ? FLOW_TCP : FLOW_UDP;
    u32 headers = headers_of(frame, protocol);
    if (!headers)
        return;
    struct template *t = place(watched.socket, watched.to);
    bool v6 = headers == FLOW_ETHERNET + FLOW_IPV6;
    headers += protocol == FLOW_UDP ? UDP_HLEN : 0;
    *t = (struct template){.identity = watched.socket->identity,
                           .until_ns = clock_monotonic_ns() + TEMPLATE_LIFE,
                           .generation = __atomic_load_n(&generation, __ATOMIC_RELAXED),
                           .headers = headers,
                           .v6 = v6,
                           .to = *watched.to};
    memcpy(t->bytes, frame->payload, headers);
    u8 *ip = t->bytes + FLOW_ETHERNET;
    if (!v6) {
        memset(ip + 2, 0, 4);
        memset(ip + 10, 0, 2);
        t->sum = flow_sum_words(ip, FLOW_IPV4 / 2);
    }
    t->pseudo = protocol + flow_sum_words(flow_addresses(ip, v6), v6 ? 16 : 4);
    watched.socket = NULL;
}

void template_see(const struct pbuf *frame)
{
    if (unlikely(watched.socket))
        learn(frame);
}

/* ---- to send ---- */

/* How s sends to `to`, a packet of so many bytes behind IP's header; NULL: not known, or not any more. */
static const struct template *look(const struct inet_socket *s, const ip_addr_t *to, u32 len)
{
    const struct template *t = place(s, to);
    bool good = t->identity == s->identity && ip_addr_cmp(&t->to, to) &&
                t->generation == __atomic_load_n(&generation, __ATOMIC_RELAXED) &&
                (t->v6 ? len + FLOW_IPV6 <= IPV6_MTU : len + FLOW_IPV4 <= netif_device()->mtu);
    return good ? t : NULL;
}

/* The headers before a packet of len bytes behind IP's. */
static void fill(const struct template *t, u8 *frame, u32 len)
{
    u8 *ip = frame + FLOW_ETHERNET;
    memcpy(frame, t->bytes, t->headers);
    if (t->v6) {
        flow_put_be16(ip + 4, len);
    } else {
        u32 total = len + FLOW_IPV4;
        flow_put_be16(ip + 2, total);
        flow_put_be16(ip + 4, ++identification);
        flow_put_be16(ip + 10, ~flow_fold(t->sum + total + identification));
    }
}

int template_send(const struct inet_socket *s, struct pbuf *p, const ip_addr_t *to, u16 port)
{
    u32 len = p->tot_len + UDP_HLEN;
    const struct template *t = look(s, to, len);
    if (!t)
        return 1;
    u64 now = core_traffic();
    if (now >= t->until_ns || pbuf_add_header(p, t->headers))
        return 1;
    u8 *frame = p->payload, *udp = frame + t->headers - UDP_HLEN;
    fill(t, frame, len);
    flow_put_be16(udp + 2, port);
    flow_put_be16(udp + 4, len);
    flow_put_be16(udp + UDP_CHECKSUM, flow_fold(t->pseudo + len));
    by_template++;
    return transmit_packet(p, t->headers - UDP_HLEN, UDP_CHECKSUM, now) == ERR_OK ? 0 : -ENOBUFS;
}

static bool send_segment(const struct inet_socket *s, const struct tcp_pcb *pcb, struct pbuf *p)
{
    const struct template *t = look(s, &pcb->remote_ip, p->tot_len);
    if (!t)
        return false;
    u64 now = core_traffic();
    u32 len = p->tot_len;
    if (now >= t->until_ns || pbuf_add_header(p, t->headers))
        return false;
    u8 *frame = p->payload;
    fill(t, frame, len);
    flow_put_be16(frame + t->headers + TCP_CHECKSUM, flow_fold(t->pseudo + len));
    if (transmit_packet(p, t->headers, TCP_CHECKSUM, now) == ERR_OK) {
        segments_by_template++;
        return true;
    }
    memset(frame + t->headers + TCP_CHECKSUM, 0, 2); /* as lwIP had it */
    pbuf_remove_header(p, t->headers);
    return false;
}

int net_tcp_output(struct tcp_pcb *pcb, struct pbuf *p)
{
    const struct inet_socket *s = tcp_socket(pcb);
    if (!s || p->tot_len > SEGMENT_MAX)
        return 0;
    if (send_segment(s, pcb, p))
        return 1;
    template_begin(s, &pcb->remote_ip);
    return 0;
}

void net_tcp_output_end(void)
{
    template_end();
}

void template_show(struct seq *s)
{
    seq_printf(s, "datagrams_by_template %lu\nsegments_by_template %lu\n", by_template, segments_by_template);
}
