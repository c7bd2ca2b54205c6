/*
 * /etc/ld.so.cache: where the dynamic linker of glibc finds libraries by name. Read on the host to find them
 * as it would, and written into the image, where it also spares the linker a search through directories.
 *
 * The format ("glibc-ld.so.cache1.1", since glibc 2.32 the only one written) is a header, an array of entries
 * sorted downwards by library name, and the strings they point to; see ldconfig(8) and `ldconfig -p`.
 */
#ifndef JAVA_LAUNCHER_HOST_LDCACHE_H
#define JAVA_LAUNCHER_HOST_LDCACHE_H

#include "java-launcher/host/util.h"

struct ldcache {
    struct buf data; /* the file; empty if it could not be used */
};

void ldcache_read(struct ldcache *c, const char *path);
/* Path of the x86-64 library NAME, the variant for any CPU; NULL if the cache has none. Points into the
 * cache. */
const char *ldcache_find(const struct ldcache *c, const char *name);

/* The order of entries: like strcmp, but runs of digits compare as numbers. */
int ldcache_compare(const char *a, const char *b);
/* A cache of N libraries, names[i] at paths[i], appended to OUT. */
void ldcache_make(size_t n, char *const *names, char *const *paths, struct buf *out);

#endif
