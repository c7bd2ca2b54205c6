/* net_checksum() and net_checksum_words() against the definition, word by word: all short lengths at all
 * alignments, long ones, extreme bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/checksum.h"

static u16 plain(const u8 *p, int len)
{
    u64 sum = 0;
    for (int i = 0; i < len; i++)
        sum += i & 1 ? (u64)p[i] << 8 : p[i];
    while (sum >> 16)
        sum = (sum >> 16) + (sum & 0xffff);
    return sum;
}

static int compare(const char *name, const u8 *data, int len)
{
    u16 want = plain(data, len), got = net_checksum(data, len);
    if (got == want && len % 4 == 0)
        got = net_checksum_words(data, len / 4);
    if (got != want)
        printf("not ok net/checksum-%s: %d bytes: %04x, not %04x\n", name, len, got, want);
    return got != want;
}

static int all_of(const char *name, u8 *data, int size)
{
    for (int start = 0; start < 9; start++)
        for (int len = 0; start + len <= size; len += len < 300 ? 1 : 977)
            if (compare(name, data + start, len))
                return 1;
    printf("ok net/checksum-%s\n", name);
    return 0;
}

int main(void)
{
    enum { SIZE = 65535 };
    u8 *data = malloc(SIZE);
    int failed = 0;
    memset(data, 0, SIZE);
    failed |= all_of("zeros", data, SIZE);
    memset(data, 0xff, SIZE);
    failed |= all_of("ones", data, SIZE);
    for (int i = 0; i < SIZE; i++)
        data[i] = rand();
    failed |= all_of("random", data, SIZE);
    free(data);
    return failed;
}
