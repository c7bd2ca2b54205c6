/* SHA-256 (FIPS 180-4): the names of cached things. */
#ifndef JAVA_LAUNCHER_HOST_SHA256_H
#define JAVA_LAUNCHER_HOST_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t h[8];
    uint64_t len; /* bytes so far */
    uint8_t block[64];
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t n);
void sha256_end(struct sha256 *s, uint8_t digest[32]);

/* A hash of a list of fields. Every field is hashed with its length, so that different lists never run
 * together. */
void key_str(struct sha256 *s, const char *field);
void key_u64(struct sha256 *s, uint64_t field);
/* What tells one state of a file from another without reading it: path, size, times, inode; or that it is
 * missing. */
void key_file(struct sha256 *s, const char *path);
/* The same for every file under a directory. */
void key_tree(struct sha256 *s, const char *path);
/* The first 20 hexadecimal digits of the hash, a new string. */
char *key_name(struct sha256 *s);

#endif
