#include "java-launcher/guest/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("moka: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

void words_add(struct words *w, char *s)
{
    if (w->n + 1 >= w->cap) {
        w->cap = w->cap ? 2 * w->cap : 32;
        w->v = realloc(w->v, w->cap * sizeof *w->v);
        if (!w->v)
            fail("out of memory");
    }
    w->v[w->n++] = s;
    w->v[w->n] = NULL;
}

void words_cut(struct words *w, size_t n)
{
    w->n = n;
    if (w->v)
        w->v[n] = NULL;
}

static char *slurp(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        fail("cannot read %s: %s", path, strerror(errno));
    char *text = malloc((size_t)st.st_size + 1);
    ssize_t n = text ? read(fd, text, (size_t)st.st_size) : -1;
    if (n < 0)
        fail("cannot read %s: %s", path, strerror(errno));
    text[n] = 0;
    close(fd);
    return text;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX in place; a % without two digits stands for itself. */
static void unescape(char *s)
{
    char *out = s;
    for (; *s; s++) {
        if (*s == '%' && hex(s[1]) >= 0 && hex(s[2]) >= 0) {
            *out++ = (char)(hex(s[1]) << 4 | hex(s[2]));
            s += 2;
        } else {
            *out++ = *s;
        }
    }
    *out = 0;
}

static void take(struct launch_conf *c, const char *key, char *value)
{
    if (!strcmp(key, "libjvm"))
        c->libjvm = value;
    else if (!strcmp(key, "main"))
        c->main = value;
    else if (!strcmp(key, "command"))
        c->command = value;
    else if (!strcmp(key, "mode"))
        c->mode_jar = !strcmp(value, "jar");
    else if (!strcmp(key, "option"))
        words_add(&c->options, value);
}

void conf_read(const char *path, struct launch_conf *c)
{
    memset(c, 0, sizeof *c);
    for (char *line = slurp(path), *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        char *value = strchr(line, ' ');
        if (!value)
            continue;
        *value++ = 0;
        unescape(value);
        take(c, line, value);
    }
    if (!c->libjvm || !c->main)
        fail("%s: no libjvm or no main class in it; build the image again", path);
}
