#include "net/template.h"

#include "kernel/base/random.h"
#include "kernel/fs/vfs.h"
#include "lwip/netif.h"
#include "net/checksum.h"
#include "net/flow.h"
#include "net/transmit.h"

#define TEMPLATES   256u
#define HEADERS_MAX (FLOW_ETHERNET + FLOW_IPV6 + UDP_HLEN)
#define IPV6_MTU    1280u /* goes everywhere (RFC 8200, section 5) */

static struct template
{
    u64 identity; /* inet_socket.identity */
    u64 until_ns;
    u32 generation;
    u32 headers; /* bytes */
    u32 sum;     /* of the IPv4 header but for length and identification */
    u32 pseudo;  /* of the pseudo-header but for the length */
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
static u64 by_template;

static struct template *place(const struct inet_socket *s, const ip_addr_t *to)
{
    u64 h = s->identity * 0x9e3779b97f4a7c15UL ^ ip_2_ip4(to)->addr;
    if (IP_IS_V6(to))
        h ^= (u64)ip_2_ip6(to)->addr[3] << 32 ^ ip_2_ip6(to)->addr[2];
    return &templates[h * 0x9e3779b97f4a7c15UL >> 56];
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

/* The length of its headers, if the frame is a whole datagram to one machine; else 0. */
static u32 headers_of(const u8 *frame, u32 len)
{
    const u8 *ip = frame + FLOW_ETHERNET;
    if (len < FLOW_ETHERNET + FLOW_IPV4 + UDP_HLEN || frame[0] & 1)
        return 0;
    if (flow_be16(frame + 12) == 0x0800)
        return ip[0] == 0x45 && ip[9] == FLOW_UDP && !((ip[6] & 0x3f) | ip[7])
                   ? FLOW_ETHERNET + FLOW_IPV4 + UDP_HLEN
                   : 0;
    return flow_be16(frame + 12) == 0x86dd && len >= HEADERS_MAX && ip[6] == FLOW_UDP ? HEADERS_MAX : 0;
}

void template_see(const u8 *frame, u32 len)
{
    u32 headers = watched.socket ? headers_of(frame, len) : 0;
    if (!headers)
        return;
    struct template *t = place(watched.socket, watched.to);
    bool v6 = headers == HEADERS_MAX;
    *t = (struct template){.identity = watched.socket->identity,
                           .until_ns = clock_monotonic_ns() + TEMPLATE_LIFE,
                           .generation = __atomic_load_n(&generation, __ATOMIC_RELAXED),
                           .headers = headers,
                           .to = *watched.to};
    memcpy(t->bytes, frame, headers);
    u8 *ip = t->bytes + FLOW_ETHERNET;
    if (!v6) {
        memset(ip + 2, 0, 4);
        memset(ip + 10, 0, 2);
        t->sum = flow_sum_words(ip, FLOW_IPV4 / 2);
    }
    t->pseudo = FLOW_UDP + (v6 ? flow_sum_words(ip + 8, 16) : flow_sum_words(ip + 12, 4));
    watched.socket = NULL;
}

/* ---- to send ---- */

/* The headers before a datagram of len bytes with its own. */
static void fill(const struct template *t, u8 *frame, u32 len, u16 port)
{
    u8 *ip = frame + FLOW_ETHERNET, *udp = frame + t->headers - UDP_HLEN;
    memcpy(frame, t->bytes, t->headers);
    if (t->headers == HEADERS_MAX) {
        flow_put_be16(ip + 4, len);
    } else {
        u32 total = len + FLOW_IPV4;
        flow_put_be16(ip + 2, total);
        flow_put_be16(ip + 4, ++identification);
        flow_put_be16(ip + 10, ~flow_fold(t->sum + total + identification));
    }
    flow_put_be16(udp + 2, port);
    flow_put_be16(udp + 4, len);
    flow_put_be16(udp + 6, flow_fold(t->pseudo + len));
}

int template_send(const struct inet_socket *s, struct pbuf *p, const ip_addr_t *to, u16 port)
{
    const struct template *t = place(s, to);
    u32 len = p->tot_len + UDP_HLEN, packet = len + t->headers - FLOW_ETHERNET - UDP_HLEN;
    if (t->identity != s->identity || !ip_addr_cmp(&t->to, to) ||
        t->generation != __atomic_load_n(&generation, __ATOMIC_RELAXED) ||
        packet > (t->headers == HEADERS_MAX ? IPV6_MTU : netif_device()->mtu))
        return 1;
    u64 now = core_traffic();
    if (now >= t->until_ns || pbuf_add_header(p, t->headers))
        return 1;
    fill(t, p->payload, len, port);
    by_template++;
    return transmit_datagram(p, t->headers - UDP_HLEN, now) == ERR_OK ? 0 : -ENOBUFS;
}

void template_show(struct seq *s)
{
    seq_printf(s, "datagrams_by_template %lu\n", by_template);
}
