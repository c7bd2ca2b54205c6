#include "java-launcher/host/util.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool verbose;

static struct strvec cleanups;
static bool progress_shown;

static void vmessage(const char *f, va_list ap)
{
    char *s;
    if (vasprintf(&s, f, ap) < 0)
        return;
    progress(NULL);
    dprintf(STDERR_FILENO, "moka: %s\n", s);
    free(s);
}

void die(const char *f, ...)
{
    va_list ap;
    va_start(ap, f);
    vmessage(f, ap);
    va_end(ap);
    cleanup_run();
    exit(EXIT_MOKA);
}

void note(const char *f, ...)
{
    va_list ap;
    if (!verbose)
        return;
    va_start(ap, f);
    vmessage(f, ap);
    va_end(ap);
}

void progress(const char *f, ...)
{
    va_list ap;
    char *s;
    if (!f) {
        if (progress_shown)
            dprintf(STDERR_FILENO, "\r\033[K");
        progress_shown = false;
        return;
    }
    check_interrupt();
    va_start(ap, f);
    if (verbose) {
        vmessage(f, ap);
    } else if (isatty(STDERR_FILENO) && vasprintf(&s, f, ap) >= 0) {
        dprintf(STDERR_FILENO, "\r\033[Kmoka: %s ...", s);
        progress_shown = true;
        free(s);
    }
    va_end(ap);
}

void cleanup_add(char *path)
{
    vec_add(&cleanups, path);
}

void cleanup_run(void)
{
    while (cleanups.n)
        remove_tree(cleanups.v[--cleanups.n]);
}

void *xmalloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        die("out of memory");
    return p;
}

char *xstrdup(const char *s)
{
    return strcpy(xmalloc(strlen(s) + 1), s);
}

char *fmt(const char *f, ...)
{
    char *s;
    va_list ap;
    va_start(ap, f);
    if (vasprintf(&s, f, ap) < 0)
        die("out of memory");
    va_end(ap);
    return s;
}

bool starts_with(const char *s, const char *prefix)
{
    return !strncmp(s, prefix, strlen(prefix));
}

bool is_one_of(const char *const *list, const char *word)
{
    for (; *list; list++)
        if (!strcmp(*list, word))
            return true;
    return false;
}

bool begins_with_one_of(const char *const *list, const char *word)
{
    for (; *list; list++)
        if (starts_with(word, *list))
            return true;
    return false;
}

bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && !strcmp(s + n - m, suffix);
}

void vec_add(struct strvec *a, const char *s)
{
    if (a->n + 1 >= a->cap) {
        a->cap = a->cap ? 2 * a->cap : 16;
        a->v = realloc(a->v, a->cap * sizeof *a->v);
        if (!a->v)
            die("out of memory");
    }
    a->v[a->n++] = (char *)s;
    a->v[a->n] = NULL;
}

bool vec_has(const struct strvec *a, const char *s)
{
    for (size_t i = 0; i < a->n; i++)
        if (!strcmp(a->v[i], s))
            return true;
    return false;
}

void vec_split(struct strvec *a, const char *s, char separator)
{
    while (*s) {
        const char *end = strchrnul(s, separator);
        if (end > s)
            vec_add(a, fmt("%.*s", (int)(end - s), s));
        s = *end ? end + 1 : end;
    }
}

char *vec_join(const struct strvec *a, const char *separator)
{
    struct buf b = {0};
    buf_puts(&b, "");
    for (size_t i = 0; i < a->n; i++)
        buf_printf(&b, "%s%s", i ? separator : "", a->v[i]);
    return b.p;
}

void buf_add(struct buf *b, const void *data, size_t n)
{
    if (b->n + n + 1 > b->cap) {
        b->cap = 2 * b->cap + n + 1;
        b->p = realloc(b->p, b->cap);
        if (!b->p)
            die("out of memory");
    }
    if (n)
        memcpy(b->p + b->n, data, n);
    b->n += n;
    b->p[b->n] = 0;
}

void buf_puts(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *f, ...)
{
    char *s;
    va_list ap;
    va_start(ap, f);
    int n = vasprintf(&s, f, ap);
    va_end(ap);
    if (n < 0)
        die("out of memory");
    buf_add(b, s, (size_t)n);
    free(s);
}

bool parse_size(const char *s, uint64_t *bytes)
{
    static const char suffixes[] = "bkmgt";
    char *end;
    if (!isdigit((unsigned char)*s))
        return false;
    errno = 0;
    unsigned long long n = strtoull(s, &end, 10);
    int shift = 0;
    if (*end) {
        const char *p = strchr(suffixes, tolower((unsigned char)*end));
        if (!p || end[1])
            return false;
        shift = 10 * (int)(p - suffixes);
    }
    if (errno || n > UINT64_MAX >> shift)
        return false;
    *bytes = (uint64_t)n << shift;
    return true;
}
