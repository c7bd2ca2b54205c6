#include "java-launcher/host/sha256.h"
#include "java-launcher/host/util.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* FIPS 180-4 section 4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64
 * primes. */
static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t ror(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Section 6.2.2: one block. */
static void compress(uint32_t h[8], const uint8_t *block)
{
    uint32_t w[64], v[8];
    for (int t = 0; t < 16; t++)
        w[t] = big_endian(block + 4 * t);
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = ror(w[t - 15], 7) ^ ror(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = ror(w[t - 2], 17) ^ ror(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    memcpy(v, h, sizeof v);
    for (int t = 0; t < 64; t++) {
        uint32_t choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t major = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        uint32_t t1 = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) + choose + k[t] + w[t];
        uint32_t t2 = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) + major;
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += v[i];
}

void sha256_init(struct sha256 *s)
{
    /* Section 5.3.3: from the square roots of the first 8 primes. */
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->h, first, sizeof first);
    s->len = 0;
}

void sha256_add(struct sha256 *s, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n) {
        size_t at = s->len % 64, take = 64 - at < n ? 64 - at : n;
        memcpy(s->block + at, p, take);
        s->len += take;
        p += take;
        n -= take;
        if (s->len % 64 == 0)
            compress(s->h, s->block);
    }
}

void sha256_end(struct sha256 *s, uint8_t digest[32])
{
    uint64_t bits = 8 * s->len;
    uint8_t length[8];
    sha256_add(s, "\x80", 1);
    while (s->len % 64 != 56)
        sha256_add(s, "", 1);
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(s, length, 8);
    for (int i = 0; i < 32; i++)
        digest[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

void key_u64(struct sha256 *s, uint64_t field)
{
    sha256_add(s, &field, sizeof field);
}

void key_str(struct sha256 *s, const char *field)
{
    size_t n = field ? strlen(field) : SIZE_MAX; /* no string is not the empty string */
    key_u64(s, n);
    if (field)
        sha256_add(s, field, n);
}

void key_file(struct sha256 *s, const char *path)
{
    struct stat st;
    key_str(s, path);
    if (stat(path, &st) < 0) {
        key_str(s, NULL);
        return;
    }
    key_u64(s, st.st_dev);
    key_u64(s, st.st_ino);
    key_u64(s, st.st_mode);
    key_u64(s, (uint64_t)st.st_size);
    key_u64(s, (uint64_t)st.st_mtim.tv_sec);
    key_u64(s, (uint64_t)st.st_mtim.tv_nsec);
    key_u64(s, (uint64_t)st.st_ctim.tv_sec);
    key_u64(s, (uint64_t)st.st_ctim.tv_nsec);
}

void key_tree(struct sha256 *s, const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    key_file(s, path);
    for (int i = 0; i < n; i++) {
        char *p = fmt("%s/%s", path, names[i]->d_name);
        struct stat st;
        if (strcmp(names[i]->d_name, ".") && strcmp(names[i]->d_name, "..")) {
            if (lstat(p, &st) == 0 && S_ISDIR(st.st_mode))
                key_tree(s, p);
            else
                key_file(s, p);
        }
        free(p);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

char *key_name(struct sha256 *s)
{
    uint8_t digest[32];
    struct buf b = {0};
    sha256_end(s, digest);
    for (int i = 0; i < 10; i++)
        buf_printf(&b, "%02x", digest[i]);
    return b.p;
}
