/*
 * Where a frame's headers lie, and whose packet it is: addresses and ports, as they lie in it. Private to
 * net/.
 *
 * Only whole packets are read: IPv4 without options and fragments, IPv6 without extension headers. Nothing is
 * believed of a frame but its length: checksums are others' business.
 */
#ifndef MOKA_NET_FLOW_H
#define MOKA_NET_FLOW_H

#include "net/hash.h"
#include "virtio/net.h"

#define FLOW_ETHERNET 14u
#define FLOW_IPV4     20u
#define FLOW_IPV6     40u
#define FLOW_TCP      6
#define FLOW_UDP      17

/* Addresses as in a packet, IPv4's in the first word; ports in host order. */
#define FLOW_WORDS 5
union flow_key {
    struct {
        u32 local[4], remote[4];
        u16 local_port, remote_port;
        u32 v6;
    };
    u64 words[FLOW_WORDS]; /* all of that, to compare */
};

_Static_assert(sizeof(union flow_key) == FLOW_WORDS * sizeof(u64), "no holes in a flow");

struct flow_headers {
    u8 *ip, *transport; /* transport: the header behind IP's, which may lie beyond the frame's first piece */
    u32 len;            /* bytes from there to the packet's end, which lies within the frame */
    u8 protocol;        /* IPv4's numbers */
    bool v6;
};

struct flow_packet {
    union flow_key flow; /* with the ports once flow_ports() was called */
    const u8 *transport; /* as flow_headers have them */
    u32 len;
    u8 protocol;
};

static inline u16 flow_be16(const u8 *p)
{
    return p[0] << 8 | p[1];
}

static inline void flow_put_be16(u8 *p, u16 v)
{
    p[0] = v >> 8;
    p[1] = v;
}

/* Sums of 16-bit words for a header's checksum (RFC 1071), in host order; flow_fold() makes one word of a
 * sum. */
static inline u32 flow_sum_words(const u8 *p, u32 words)
{
    u32 sum = 0;
    for (u32 i = 0; i < words; i++)
        sum += flow_be16(p + 2 * i);
    return sum;
}

static inline u32 flow_fold(u32 sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

/* Source and destination, 4 bytes each or 16. */
static inline u8 *flow_addresses(u8 *ip, bool v6)
{
    return ip + (v6 ? 8 : 12);
}

/* Of a frame of `whole` bytes, whose first piece has `first` and lies at `frame`. False: not a whole packet.
 */
static inline bool flow_headers(u8 *frame, u32 first, u32 whole, struct flow_headers *out)
{
    u8 *ip = frame + FLOW_ETHERNET;
    u32 total, header;
    if (first < FLOW_ETHERNET + FLOW_IPV4)
        return false;
    u16 type = flow_be16(frame + 12);
    if (type == 0x0800 && ip[0] == 0x45 && !((ip[6] & 0x3f) | ip[7])) {
        total = flow_be16(ip + 2);
        header = FLOW_IPV4;
        out->protocol = ip[9];
    } else if (type == 0x86dd && first >= FLOW_ETHERNET + FLOW_IPV6 && ip[0] >> 4 == 6) {
        total = flow_be16(ip + 4) + FLOW_IPV6;
        header = FLOW_IPV6;
        out->protocol = ip[6];
    } else {
        return false;
    }
    out->v6 = header == FLOW_IPV6;
    out->ip = ip;
    out->transport = ip + header;
    out->len = total - header;
    return total >= header && total <= whole - FLOW_ETHERNET;
}

/* False: not a whole packet. */
static inline bool flow_read(const struct net_buf *frame, struct flow_packet *out)
{
    struct flow_headers h;
    if (!flow_headers(frame->data, frame->len, frame->frame_len, &h))
        return false;
    const u8 *from = flow_addresses(h.ip, h.v6);
    out->flow = (union flow_key){.v6 = h.v6};
    if (h.v6) {
        memcpy(out->flow.remote, from, 16);
        memcpy(out->flow.local, from + 16, 16);
    } else {
        memcpy(out->flow.remote, from, 4);
        memcpy(out->flow.local, from + 4, 4);
    }
    out->transport = h.transport;
    out->len = h.len;
    out->protocol = h.protocol;
    return true;
}

/* The first `header` bytes of what IP carries are there, in the frame's first piece. Ports, of TCP or UDP. */
static inline bool flow_ports(const struct net_buf *frame, struct flow_packet *p, u32 header)
{
    if (p->len < header || p->transport + header > frame->data + frame->len)
        return false;
    p->flow.remote_port = flow_be16(p->transport);
    p->flow.local_port = flow_be16(p->transport + 2);
    return true;
}

static inline bool flow_same(const union flow_key *a, const union flow_key *b)
{
    u64 differ = 0;
    for (u32 i = 0; i < FLOW_WORDS; i++)
        differ |= a->words[i] ^ b->words[i];
    return !differ;
}

/* To be given to hash_end() or hash_place(). */
static inline u64 flow_mix(const union flow_key *f)
{
    u64 ports = f->words[FLOW_WORDS - 1];
    if (f->v6)
        return hash_ipv6(hash_ipv6(ports, f->local), f->remote);
    return hash_ipv4(ports ^ f->local[0], f->remote[0]); /* ours: nobody else chooses it */
}

#define FLOW_BUCKET_BITS 9
#define FLOW_BUCKETS     (1u << FLOW_BUCKET_BITS)
static inline u32 flow_hash(const union flow_key *f)
{
    return hash_place(flow_mix(f), FLOW_BUCKET_BITS);
}

/* As a packet or a flow has it. A link-local address is still without its zone. */
static inline void flow_get_address(ip_addr_t *ip, const void *bytes, bool v6)
{
    *ip = (ip_addr_t){0};
    if (!v6) {
        memcpy(&ip_2_ip4(ip)->addr, bytes, 4);
        return;
    }
    IP_SET_TYPE(ip, IPADDR_TYPE_V6);
    memcpy(ip_2_ip6(ip)->addr, bytes, 16);
}

static inline void flow_set_address(u32 words[4], const ip_addr_t *ip)
{
    if (IP_IS_V6(ip))
        memcpy(words, ip_2_ip6(ip)->addr, 16);
    else
        words[0] = ip_2_ip4(ip)->addr;
}

#endif
