#include "java-launcher/host/jar.h"

#include <stdlib.h>
#include <string.h>

enum { MANIFEST_MAX = 4 << 20, CLASS_FIRST_RELEASE = 44 /* major version 45 is Java 1, 61 is Java 17 */ };

/* Length of the line at P, without its end; *NEXT is where the next begins. CR LF, LF and CR all end lines.
 */
static size_t line_length(const char *p, const char **next)
{
    size_t n = strcspn(p, "\r\n");
    const char *end = p + n;
    if (*end == '\r')
        end++;
    if (*end == '\n' && (end == p + n || end[-1] == '\r'))
        end++;
    *next = end;
    return n;
}

char *manifest_get(const char *text, const char *name)
{
    size_t name_len = strlen(name);
    char *last = NULL;
    for (const char *p = text, *next; *p; p = next) {
        size_t n = line_length(p, &next);
        if (n == 0)
            break; /* the main section ends at the first empty line */
        if (n < name_len + 1 || strncasecmp(p, name, name_len) || p[name_len] != ':')
            continue;
        struct buf value = {0};
        size_t skip = name_len + 1 + (p[name_len + 1] == ' ');
        buf_add(&value, p + skip, n - skip);
        while (*next == ' ') { /* a continuation line */
            p = next + 1;
            n = line_length(p, &next);
            buf_add(&value, p, n);
        }
        while (value.n && value.p[value.n - 1] == ' ')
            value.p[--value.n] = 0;
        free(last);
        last = value.p;
    }
    return last;
}

char *jar_manifest(const struct zip *z)
{
    struct zip_entry e;
    struct buf text = {0};
    buf_puts(&text, "");
    if (zip_find(z, "META-INF/MANIFEST.MF", &e) && zip_read(z, &e, MANIFEST_MAX, &text) < 0)
        note("the JAR's manifest is damaged");
    return text.p;
}

static int hex(char c)
{
    const char *digits = "0123456789abcdef", *p = c ? strchr(digits, c | 0x20) : NULL;
    return p ? (int)(p - digits) : -1;
}

bool class_path_entry_decode(char *entry)
{
    char *in = entry, *out = entry;
    if (!strncasecmp(in, "file:", 5)) {
        in += 5;
        if (starts_with(in, "///"))
            in += 2;
    } else if (strstr(in, "://")) {
        return false;
    }
    for (; *in; in++) {
        if (*in == '%' && hex(in[1]) >= 0 && hex(in[2]) >= 0) {
            *out++ = (char)(hex(in[1]) << 4 | hex(in[2]));
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = 0;
    return true;
}

int jar_class_release(const struct zip *z, const char *name)
{
    struct zip_entry e;
    struct buf head = {0};
    char *path = fmt("%s.class", name);
    for (char *p = path; p < path + strlen(name); p++)
        if (*p == '.')
            *p = '/';
    int release = 0;
    if (zip_find(z, path, &e) && zip_read(z, &e, 8, &head) == 0 && head.n == 8 &&
        !memcmp(head.p, "\xca\xfe\xba\xbe", 4))
        release = (uint8_t)head.p[6] * 256 + (uint8_t)head.p[7] - CLASS_FIRST_RELEASE;
    free(head.p);
    free(path);
    return release;
}

static bool entry_ends(const struct zip_entry *e, const char *suffix)
{
    size_t n = strlen(suffix);
    return e->name_len >= n && !memcmp(e->name + e->name_len - n, suffix, n);
}

static bool entry_starts(const struct zip_entry *e, const char *prefix)
{
    size_t n = strlen(prefix);
    return e->name_len >= n && !memcmp(e->name, prefix, n);
}

size_t jar_classes(const struct zip *z, size_t limit, struct buf *out)
{
    struct zip_entry e;
    size_t cursor = 0, n = 0;
    while (n < limit && zip_next(z, &cursor, &e)) {
        if (!entry_ends(&e, ".class") || entry_starts(&e, "META-INF/") || entry_starts(&e, "BOOT-INF/") ||
            entry_starts(&e, "WEB-INF/") || entry_ends(&e, "module-info.class") ||
            entry_ends(&e, "package-info.class") || memchr(e.name, '\n', e.name_len))
            continue;
        buf_add(out, e.name, e.name_len - strlen(".class"));
        buf_puts(out, "\n");
        n++;
    }
    return n;
}

bool jar_has_nested(const struct zip *z)
{
    struct zip_entry e;
    size_t cursor = 0;
    while (zip_next(z, &cursor, &e))
        if (entry_ends(&e, ".jar"))
            return true;
    return false;
}
