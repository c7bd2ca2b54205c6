#include "java-launcher/host/ldcache.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct header {
    char magic[20]; /* "glibc-ld.so.cache" "1.1" */
    uint32_t entries, string_bytes;
    uint8_t flags; /* FLAG_LITTLE_ENDIAN */
    uint8_t padding[3];
    uint32_t extension;
    uint32_t unused[3];
};

struct entry {
    int32_t flags;
    uint32_t key, value; /* offsets of strings from the start of the header */
    uint32_t os_version;
    uint64_t hwcap; /* not 0: a variant for newer CPUs */
};

static const char magic[] = "glibc-ld.so.cache1.1";
enum { FLAG_LITTLE_ENDIAN = 2, X86_64_LIBC6 = 0x0303 };

_Static_assert(sizeof(struct header) == 48 && sizeof(struct entry) == 24, "the layout of the file");

/* Files written before glibc 2.32 begin with an older table; the new one follows it on an 8-byte boundary. */
void ldcache_read(struct ldcache *c, const char *path)
{
    memset(c, 0, sizeof *c);
    if (read_whole(path, &c->data) < 0 || !c->data.n)
        return;
    char *start = memmem(c->data.p, c->data.n, magic, sizeof magic - 1);
    size_t skip = start ? (size_t)(start - c->data.p) : 0;
    struct header h;
    if (start && c->data.n - skip >= sizeof h) {
        memcpy(&h, start, sizeof h);
        c->data.n -= skip;
        memmove(c->data.p, start, c->data.n + 1);
        if (h.entries <= (c->data.n - sizeof h) / sizeof(struct entry))
            return;
    }
    free(c->data.p);
    memset(&c->data, 0, sizeof c->data);
}

const char *ldcache_find(const struct ldcache *c, const char *name)
{
    struct header h;
    if (!c->data.n)
        return NULL;
    memcpy(&h, c->data.p, sizeof h);
    for (uint32_t i = 0; i < h.entries; i++) {
        struct entry e;
        memcpy(&e, c->data.p + sizeof h + i * sizeof e, sizeof e);
        if (e.flags == X86_64_LIBC6 && !e.hwcap && e.key < c->data.n && e.value < c->data.n &&
            !strcmp(c->data.p + e.key, name))
            return c->data.p + e.value;
    }
    return NULL;
}

static unsigned long number(const char **s)
{
    char *end;
    unsigned long n = strtoul(*s, &end, 10);
    *s = end;
    return n;
}

int ldcache_compare(const char *a, const char *b)
{
    while (*a) {
        bool da = isdigit((unsigned char)*a), db = isdigit((unsigned char)*b);
        if (da != db)
            return da ? 1 : -1;
        if (da) {
            unsigned long na = number(&a), nb = number(&b);
            if (na != nb)
                return na > nb ? 1 : -1;
        } else if (*a++ != *b++) {
            return (int)(unsigned char)a[-1] - (int)(unsigned char)b[-1];
        }
    }
    return -(int)(unsigned char)*b;
}

static char *const *sort_names;

static int downwards(const void *a, const void *b)
{
    return -ldcache_compare(sort_names[*(const size_t *)a], sort_names[*(const size_t *)b]);
}

void ldcache_make(size_t n, char *const *names, char *const *paths, struct buf *out)
{
    struct header h = {.entries = (uint32_t)n, .flags = FLAG_LITTLE_ENDIAN};
    struct buf strings = {0}, entries = {0};
    size_t *order = xmalloc(n * sizeof *order), base = sizeof h + n * sizeof(struct entry);
    memcpy(h.magic, magic, sizeof h.magic);
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    sort_names = names;
    qsort(order, n, sizeof *order, downwards);
    for (size_t i = 0; i < n; i++) {
        struct entry e = {.flags = X86_64_LIBC6, .key = (uint32_t)(base + strings.n)};
        buf_add(&strings, names[order[i]], strlen(names[order[i]]) + 1);
        e.value = (uint32_t)(base + strings.n);
        buf_add(&strings, paths[order[i]], strlen(paths[order[i]]) + 1);
        buf_add(&entries, &e, sizeof e);
    }
    h.string_bytes = (uint32_t)strings.n;
    buf_add(out, &h, sizeof h);
    buf_add(out, entries.p, entries.n);
    buf_add(out, strings.p, strings.n);
    free(order);
    free(entries.p);
    free(strings.p);
}
