/* The Internet checksum, as lwIP asks for it (LWIP_CHKSUM in net/lwip/arch/cc.h). */
#include "net/checksum.h"
#include "kernel/base/types.h"

typedef u64 __attribute__((aligned(1), may_alias)) unaligned_u64;
typedef u16 __attribute__((aligned(1), may_alias)) unaligned_u16;

/* Addition with the carry brought round. */
static inline u64 add(u64 sum, u64 word)
{
    sum += word;
    return sum + (sum < word);
}

/* Ones' complement sums may be taken in words of any size and folded afterwards (RFC 1071, section 2C). */
u16 net_checksum(const void *data, int len)
{
    const u8 *p = data;
    u64 sum = 0;
    for (; len >= 32; len -= 32, p += 32) {
        const unaligned_u64 *words = (const unaligned_u64 *)p;
        sum = add(add(add(add(sum, words[0]), words[1]), words[2]), words[3]);
    }
    for (; len >= 8; len -= 8, p += 8)
        sum = add(sum, *(const unaligned_u64 *)p);
    for (; len >= 2; len -= 2, p += 2)
        sum = add(sum, *(const unaligned_u16 *)p);
    if (len)
        sum = add(sum, *p); /* the low byte of a word, as memory has it */
    while (sum >> 16)
        sum = (sum >> 16) + (u16)sum;
    return (u16)sum;
}
