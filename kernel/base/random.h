/*
 * The kernel's random generator: ChaCha20 with fast key erasure (Bernstein, "Fast-key-erasure random-number
 * generators", 2017), keyed from RDRAND, virtio-rng and the jitter of the time-stamp counter.
 */
#ifndef MOKA_BASE_RANDOM_H
#define MOKA_BASE_RANDOM_H

#include "kernel/base/types.h"

/* n random bytes. Threads only; may sleep (a mutex, and the entropy device at the first call and every five
 * minutes). */
void random_bytes(void *buf, size_t n);
u64 random_u64(void);
/* Mixes data into the key (writes to /dev/random, device timings). */
void random_mix(const void *data, size_t n);

#endif
