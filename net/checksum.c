/* The Internet checksum, as lwIP asks for it (LWIP_CHKSUM in net/lwip/arch/cc.h). */
#include "net/checksum.h"
#include "kernel/base/types.h"

typedef u64 __attribute__((aligned(1), may_alias)) unaligned_u64;
typedef u32 __attribute__((aligned(1), may_alias)) unaligned_u32;
typedef u16 __attribute__((aligned(1), may_alias)) unaligned_u16;

/* A sum and what it carried out. */
struct sum {
    u64 low, carries;
};

static inline void add(struct sum *s, u64 word)
{
    s->carries += __builtin_add_overflow(s->low, word, &s->low);
}

static inline void add_words(struct sum *s, const u8 *p, u32 count)
{
#pragma GCC unroll 8
    for (u32 i = 0; i < count; i++)
        add(s, ((const unaligned_u64 *)p)[i]);
}

/* The last bytes, fewer than 64, by the bits of their number. */
static inline void add_rest(struct sum *s, const u8 *p, u32 len)
{
    if (len & 32)
        add_words(s, p, 4), p += 32;
    if (len & 16)
        add_words(s, p, 2), p += 16;
    if (len & 8)
        add_words(s, p, 1), p += 8;
    if (len & 4)
        add(s, *(const unaligned_u32 *)p), p += 4;
    if (len & 2)
        add(s, *(const unaligned_u16 *)p), p += 2;
    if (len & 1)
        add(s, *p); /* the low byte of a word, as memory has it */
}

/*
 * Ones' complement sums may be taken in words of any size and folded afterwards (RFC 1071, section 2C). The
 * carries are counted apart: two instructions a word, and no long chain of carries, which an emulated
 * processor finds hard.
 */
u16 net_checksum(const void *data, int len)
{
    const u8 *p = data;
    struct sum s = {0};
    for (; len >= 64; len -= 64, p += 64)
        add_words(&s, p, 8);
    add_rest(&s, p, len);
    u64 sum = (s.low >> 32) + (u32)s.low + s.carries; /* at most 33 bits and a few */
    sum = (sum >> 32) + (u32)sum;
    sum = (sum >> 16) + (u16)sum;
    sum = (sum >> 16) + (u16)sum;
    return (sum >> 16) + (u16)sum;
}
