#include "java-launcher/host/cmdline.h"

#include <string.h>

static bool plain(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '%';
}

void cmdline_add(struct buf *line, const char *word)
{
    bool hide_first = starts_with(word, "virtio_mmio.device=");
    if (line->n)
        buf_puts(line, " ");
    buf_puts(line, *word ? "" : "%");
    for (const char *p = word; *p; p++) {
        if (plain((unsigned char)*p) && !(hide_first && p == word))
            buf_add(line, p, 1);
        else
            buf_printf(line, "%%%02x", (unsigned char)*p);
    }
}

static int hex(char c)
{
    const char *digits = "0123456789abcdef", *p = c ? strchr(digits, c | 0x20) : NULL;
    return p ? (int)(p - digits) : -1;
}

void cmdline_decode(char *word)
{
    char *out = word;
    if (!strcmp(word, "%"))
        *word = 0;
    for (; *word; word++) {
        if (*word == '%' && hex(word[1]) >= 0 && hex(word[2]) >= 0) {
            *out++ = (char)(hex(word[1]) << 4 | hex(word[2]));
            word += 2;
        } else {
            *out++ = *word;
        }
    }
    *out = 0;
}

char *shell_quote(const char *word)
{
    struct buf b = {0};
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@%+";
    if (*word && strspn(word, safe) == strlen(word))
        return xstrdup(word);
    buf_puts(&b, "'");
    for (; *word; word++) {
        if (*word == '\'')
            buf_puts(&b, "'\\''");
        else
            buf_add(&b, word, 1);
    }
    buf_puts(&b, "'");
    return b.p;
}
