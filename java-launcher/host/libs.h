/*
 * Finding the shared libraries a program loads, in the order the dynamic linker looks: ld.so(8) for glibc,
 * and the search path of musl's linker. Names with a slash are paths; then DT_RPATH of the object and of
 * those that loaded it (unless it has DT_RUNPATH), LD_LIBRARY_PATH, DT_RUNPATH of the object, the cache, the
 * standard directories.
 */
#ifndef JAVA_LAUNCHER_HOST_LIBS_H
#define JAVA_LAUNCHER_HOST_LIBS_H

#include "java-launcher/host/elf.h"
#include "java-launcher/host/ldcache.h"

/* One object: the program, or a library something needs. */
struct lib {
    char *path; /* on the host, as the linker would open it */
    char *name; /* the DT_NEEDED name it was found by; NULL for the objects libs_add was called with */
    struct lib *loader; /* what needed it first */
    bool by_name; /* found through the cache, LD_LIBRARY_PATH or the standard directories: belongs into a
                     cache */
    struct elf_info elf;
};

/* All objects found so far. Zero-initialise; `cache_path` may be set before the first libs_add. */
struct libs {
    struct lib **v;
    size_t n, cap;
    struct strvec missing;  /* "NAME, needed by PATH" */
    const char *cache_path; /* NULL: /etc/ld.so.cache */
    bool cache_read;
    struct ldcache cache;
};

/* Adds an object and everything it needs that is not there yet. 0, or elf_read's error for PATH itself. */
int libs_add(struct libs *l, const char *path);
/* Adds the library NAME and what it needs, when it exists at all: for libraries opened at run time. */
void libs_add_optional(struct libs *l, const char *name);

/* $ORIGIN and ${ORIGIN} (directory of the object at PATH), $LIB and $PLATFORM of one DT_RPATH element,
 * expanded. */
char *libs_expand(const char *element, const char *path);

#endif
