/* The Internet checksum (RFC 1071): what the device does not compute for us. */
#ifndef MOKA_NET_CHECKSUM_H
#define MOKA_NET_CHECKSUM_H

#include "kernel/base/string.h"
#include "kernel/base/types.h"

/* Ones' complement sum, not inverted, of len bytes at any address, as 16-bit words in memory's own order. Any
 * context. */
u16 net_checksum(const void *data, int len);

/* The same of `count` 32-bit words: of a header, whose length the compiler knows. */
static inline u16 net_checksum_words(const void *data, u32 count)
{
    u64 sum = 0;
    u32 word;
    for (u32 i = 0; i < count; i++) {
        memcpy(&word, (const u8 *)data + 4 * i, sizeof(word));
        sum += word;
    }
    sum = (sum >> 32) + (u32)sum;
    sum = (sum >> 16) + (u16)sum; /* at most 18 bits */
    sum = (sum >> 16) + (u16)sum;
    return (sum >> 16) + (u16)sum;
}

#endif
