/*
 * Whose packet a received frame is: addresses and ports, as they lie in it. Private to net/.
 *
 * Only whole packets have a flow: IPv4 without options and fragments, IPv6 without extension headers. Nothing
 * is believed of a frame but its length: checksums are others' business.
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

struct flow_packet {
    union flow_key flow; /* with the ports once flow_ports() was called */
    const u8 *transport; /* the header behind IP's, which may lie beyond the frame's first piece */
    u32 len;             /* bytes from there to the packet's end, which lies within the frame */
    u8 protocol;         /* IPv4's numbers */
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

/* False: not a whole packet. */
static inline bool flow_read(const struct net_buf *frame, struct flow_packet *out)
{
    const u8 *ip = frame->data + FLOW_ETHERNET;
    u32 total, header;
    if (frame->len < FLOW_ETHERNET + FLOW_IPV4)
        return false;
    u16 type = flow_be16(frame->data + 12);
    out->flow = (union flow_key){0};
    if (type == 0x0800 && ip[0] == 0x45 && !((ip[6] & 0x3f) | ip[7])) {
        total = flow_be16(ip + 2);
        header = FLOW_IPV4;
        out->protocol = ip[9];
        memcpy(out->flow.remote, ip + 12, 4);
        memcpy(out->flow.local, ip + 16, 4);
    } else if (type == 0x86dd && frame->len >= FLOW_ETHERNET + FLOW_IPV6 && ip[0] >> 4 == 6) {
        total = flow_be16(ip + 4) + FLOW_IPV6;
        header = FLOW_IPV6;
        out->protocol = ip[6];
        memcpy(out->flow.remote, ip + 8, 16);
        memcpy(out->flow.local, ip + 24, 16);
        out->flow.v6 = 1;
    } else {
        return false;
    }
    out->transport = ip + header;
    out->len = total - header;
    return total >= header && total <= frame->frame_len - FLOW_ETHERNET;
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

static inline void flow_set_address(u32 words[4], const ip_addr_t *ip)
{
    if (IP_IS_V6(ip))
        memcpy(words, ip_2_ip6(ip)->addr, 16);
    else
        words[0] = ip_2_ip4(ip)->addr;
}

#endif
