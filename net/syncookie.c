#include "net/syncookie.h"

#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/random.h"
#include "lwip/prot/tcp.h"

#define UNIT_SHIFT   35 /* of nanoseconds: 34 s */
#define OPTION_BITS  7
#define OPTION_MASK  ((1u << OPTION_BITS) - 1)
#define NO_SHIFT     15u
#define SHIFT_MAX    14u /* RFC 7323, 2.3 */
#define OPTION_MSS   2
#define OPTION_SHIFT 3
#define OPTION_SACK  4

/* What most peers can take; the next lower one counts. The first is what a SYN without the option means (RFC
 * 9293, 3.7.1). */
static const u16 segments[] = {536, 1220, 1360, 1440};

static u64 key[2];   /* 0: not chosen yet */
static u64 until_ns; /* cookies may come back until then */
static u32 chosen;

void syncookie_choose(u32 isn)
{
    chosen = isn;
}

u32 net_tcp_isn(void)
{
    return chosen ? chosen : random_u64();
}

/* ---- SipHash-2-4 ---- */

static u64 rotate(u64 x, u32 n)
{
    return x << n | x >> (64 - n);
}

static void sip_round(u64 v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32) + v[3];
    v[2] += v[1];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void take_in(u64 v[4], u64 word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

static u64 hash(const union flow_key *flow, u32 peer_isn, u64 unit)
{
    u64 v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
                key[1] ^ 0x7465646279746573};
    for (u32 i = 0; i < FLOW_WORDS; i++)
        take_in(v, flow->words[i]);
    take_in(v, unit << 32 | peer_isn);
    take_in(v, (u64)(FLOW_WORDS + 1) * sizeof(u64) << 56);
    v[2] ^= 0xff;
    for (u32 i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- cookies ---- */

static u32 be32(const u8 *p)
{
    return (u32)flow_be16(p) << 16 | flow_be16(p + 2);
}

static void put_be32(u8 *p, u32 v)
{
    flow_put_be16(p, v >> 16);
    flow_put_be16(p + 2, v);
}

static u32 segment_index(u16 mss)
{
    u32 i = ARRAY_LEN(segments) - 1;
    while (i && segments[i] > mss)
        i--;
    return i;
}

/* The low bits of a cookie, from a SYN's options. */
static u32 options_of(const u8 *p, const u8 *end)
{
    u32 index = 0, sack = 0, shift = NO_SHIFT;
    while (p < end && *p) {
        if (*p == 1) { /* nothing */
            p++;
            continue;
        }
        if (end - p < 2 || p[1] < 2 || p[1] > end - p)
            break;
        if (p[0] == OPTION_MSS && p[1] == 4)
            index = segment_index(flow_be16(p + 2));
        else if (p[0] == OPTION_SHIFT && p[1] == 3)
            shift = MIN(p[2], SHIFT_MAX);
        else if (p[0] == OPTION_SACK && p[1] == 2)
            sack = 1;
        p += p[1];
    }
    return shift << 3 | sack << 2 | index;
}

void syncookie_expect(void)
{
    until_ns = clock_monotonic_ns() + (2ull << UNIT_SHIFT);
}

static u32 mask_of(u64 h)
{
    return h >> 32 & OPTION_MASK;
}

bool syncookie_expected(void)
{
    return until_ns && clock_monotonic_ns() < until_ns;
}

u32 syncookie_make(const struct flow_packet *syn, u32 header_len)
{
    u64 now = clock_monotonic_ns();
    while (!key[0])
        random_bytes(key, sizeof(key));
    u64 h = hash(&syn->flow, be32(syn->transport + 4), now >> UNIT_SHIFT);
    u32 options = options_of(syn->transport + TCP_HLEN, syn->transport + header_len);
    return ((u32)h & ~OPTION_MASK) | (options ^ mask_of(h));
}

bool syncookie_check(const struct flow_packet *ack, struct syncookie *out)
{
    u64 unit = clock_monotonic_ns() >> UNIT_SHIFT;
    u32 peer_isn = be32(ack->transport + 4) - 1;
    out->isn = be32(ack->transport + 8) - 1;
    for (u32 age = 0; age < 2; age++) {
        u64 h = hash(&ack->flow, peer_isn, unit - age);
        out->options = (out->isn & OPTION_MASK) ^ mask_of(h);
        if (!(((u32)h ^ out->isn) & ~OPTION_MASK))
            return true;
    }
    return false;
}

void syncookie_syn(const struct flow_packet *ack, const struct syncookie *cookie, u8 out[SYNCOOKIE_SYN])
{
    u32 shift = cookie->options >> 3;
    memset(out, 1, SYNCOOKIE_SYN); /* options: nothing */
    memcpy(out, ack->transport, TCP_HLEN);
    put_be32(out + 4, be32(ack->transport + 4) - 1);
    put_be32(out + 8, 0);
    out[12] = SYNCOOKIE_SYN / 4 << 4;
    out[13] = TCP_SYN;
    out[20] = OPTION_MSS;
    out[21] = 4;
    flow_put_be16(out + 22, segments[cookie->options & 3]);
    if (shift != NO_SHIFT) {
        out[24] = OPTION_SHIFT;
        out[25] = 3;
        out[26] = shift;
    }
    if (cookie->options >> 2 & 1) {
        out[28] = OPTION_SACK;
        out[29] = 2;
    }
}
