/*
 * Where things of one or several words lie in net/'s tables. Private to net/.
 *
 * Each word is taken up by multiplication with a number that is odd, and secret, so that peers cannot choose
 * addresses and ports that fall into one bucket (multiply-shift hashing: Dietzfelbinger et al., "A reliable
 * randomized algorithm for the closest-pair problem", 1997). That alone keeps what counts upwards in step:
 * with one multiplier of 300, near a simple fraction of 2^64, consecutive ports fall into a few buckets. So
 * the product's upper half is folded upon the lower, which makes it a multiple of nothing (as in wyhash: Wang
 * Yi, 2019), and one more multiplication, at the end, carries what the low bits know up to the high ones.
 */
#ifndef MOKA_NET_HASH_H
#define MOKA_NET_HASH_H

#include "kernel/base/string.h"
#include "lwip/ip_addr.h"

/* core_init() draws it; fixed afterwards. */
extern u64 hash_multiplier;

/* h: what was taken up before; a first word may stand for it, but then only the bits in which the two differ
 * count. */
static inline u64 hash_word(u64 h, u64 word)
{
    unsigned __int128 product = (unsigned __int128)(h ^ word) * hash_multiplier;
    return product >> 64 ^ (u64)product;
}

/* An address as it lies in a packet; below IPv4's there is room for a first word of 32 bits. */
static inline u64 hash_ipv4(u64 h, u32 address)
{
    return hash_word(h, (u64)address << 32);
}
static inline u64 hash_ipv6(u64 h, const void *address)
{
    u64 words[2];
    memcpy(words, address, sizeof(words));
    return hash_word(hash_word(h, words[0]), words[1]);
}

static inline u64 hash_address(u64 h, const ip_addr_t *ip)
{
    return IP_IS_V6(ip) ? hash_ipv6(h, ip_2_ip6(ip)->addr) : hash_ipv4(h, ip_2_ip4(ip)->addr);
}

/* All 64 bits of it are mixed well. */
static inline u64 hash_end(u64 h)
{
    return h * hash_multiplier;
}

/* 0 .. 2^bits - 1. */
static inline u32 hash_place(u64 h, u32 bits)
{
    return hash_end(h) >> (64 - bits);
}

#endif
