/* Implements kernel/base/random.h; lives here because it draws on the entropy device. ChaCha20: RFC
 * 8439, 2.3. */
#include "kernel/base/random.h"
#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/string.h"
#include "sched/mutex.h"
#include "virtio/virtio.h"

#define RESEED_NS (300 * NSEC_PER_SEC)
#define BLOCK     64

static struct mutex lock; /* guards all below */
static u32 key[8];
static u64 counter;
static u64 reseed_at_ns;
static bool seeded;

static u32 rotl(u32 x, u32 n)
{
    return x << n | x >> (32 - n);
}

static void quarter(u32 *s, u32 a, u32 b, u32 c, u32 d)
{
    s[a] += s[b], s[d] = rotl(s[d] ^ s[a], 16);
    s[c] += s[d], s[b] = rotl(s[b] ^ s[c], 12);
    s[a] += s[b], s[d] = rotl(s[d] ^ s[a], 8);
    s[c] += s[d], s[b] = rotl(s[b] ^ s[c], 7);
}

static void chacha_block(u32 out[16])
{
    u32 in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(in + 4, key, sizeof(key));
    in[12] = counter;
    in[13] = counter >> 32;
    counter++;
    memcpy(out, in, sizeof(in));
    for (int i = 0; i < 10; i++) {
        for (u32 j = 0; j < 4; j++)
            quarter(out, j, 4 + j, 8 + j, 12 + j);
        for (u32 j = 0; j < 4; j++)
            quarter(out, j, 4 + (j + 1) % 4, 8 + (j + 2) % 4, 12 + (j + 3) % 4);
    }
    for (int i = 0; i < 16; i++)
        out[i] += in[i];
}

/* Replaces the key by output, so that a later look at memory tells nothing about what was given out. */
static void erase_key(void)
{
    u32 block[16];
    chacha_block(block);
    memcpy(key, block, sizeof(key));
    memset(block, 0, sizeof(block));
}

static void mix(const void *data, size_t n)
{
    const u8 *p = data;
    for (size_t i = 0; i < n; i += sizeof(key)) {
        u8 part[sizeof(key)] = {0};
        memcpy(part, p + i, MIN(sizeof(part), n - i));
        for (u32 j = 0; j < 8; j++)
            key[j] ^=
                (u32)part[4 * j] | part[4 * j + 1] << 8 | part[4 * j + 2] << 16 | (u32)part[4 * j + 3] << 24;
        erase_key();
    }
}

/* The time-stamp counter's low bits over memory accesses and time readings: weak, but always there. */
static void mix_jitter(void)
{
    u64 samples[64];
    for (u32 i = 0; i < ARRAY_LEN(samples); i++) {
        u32 lo, hi;
        __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
        samples[i] = ((u64)hi << 32 | lo) ^ clock_monotonic_ns() * 0x9e3779b97f4a7c15UL;
    }
    mix(samples, sizeof(samples));
}

static void reseed(void)
{
    u64 words[8] = {0};
    u8 device[32];
    for (u32 i = 0; i < ARRAY_LEN(words); i++)
        if (!arch_random(&words[i]))
            words[i] = clock_realtime_ns();
    mix(words, sizeof(words));
    if (rng_read(device, sizeof(device)))
        mix(device, sizeof(device));
    mix_jitter();
    seeded = true;
    reseed_at_ns = clock_monotonic_ns() + RESEED_NS;
}

void random_bytes(void *buf, size_t n)
{
    u8 *out = buf;
    mutex_lock(&lock);
    if (!seeded || clock_monotonic_ns() > reseed_at_ns)
        reseed();
    while (n) {
        u32 block[BLOCK / 4];
        size_t piece = MIN(n, BLOCK);
        chacha_block(block);
        memcpy(out, block, piece);
        out += piece;
        n -= piece;
    }
    erase_key();
    mutex_unlock(&lock);
}

u64 random_u64(void)
{
    u64 value;
    random_bytes(&value, sizeof(value));
    return value;
}

void random_mix(const void *data, size_t n)
{
    mutex_lock(&lock);
    mix(data, n);
    mutex_unlock(&lock);
}
