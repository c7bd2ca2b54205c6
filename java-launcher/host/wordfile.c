#include "java-launcher/host/wordfile.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* The whole file as text; dies where it cannot be read or holds a zero byte. */
static char *text_of(const char *option, const char *path)
{
    struct buf text = {0};
    int err = is_dir(path) ? -EISDIR : read_whole(path, &text);
    if (err)
        die("%s%s: %s", option, path, strerror(-err));
    if (memchr(text.p, 0, text.n))
        die("%s%s: not a text file", option, path);
    return text.p;
}

void wordfile_env(const char *path, struct strvec *out)
{
    char *line = text_of("--env-file ", path), *next;
    for (unsigned number = 1; line; line = next, number++) {
        char *end = strchrnul(line, '\n');
        next = *end ? end + 1 : NULL;
        *end = 0;
        if (end > line && end[-1] == '\r')
            end[-1] = 0;
        line += strspn(line, " \t\r");
        if (!*line || *line == '#')
            continue;
        size_t name = strcspn(line, "=");
        if (!name || strcspn(line, " \t") < name)
            die("--env-file %s, line %u: write NAME=VALUE, or NAME to pass on the value it has here", path,
                number);
        vec_add(out, line);
    }
}

/* What a backslash and this character mean inside quotes. */
static char escaped(char c)
{
    static const char letters[] = "nrtf", meant[] = "\n\r\t\f";
    const char *p = strchr(letters, c);
    return p ? meant[p - letters] : c;
}

/* Inside quotes: takes the escape at P, which is a backslash, and returns what follows it. */
static const char *take_escape(const char *p, struct buf *word)
{
    p++;
    if (*p == '\r' && p[1] == '\n')
        p++;
    if (*p == '\n' || *p == '\r') /* the line goes on in the next, behind its blanks */
        return p + 1 + strspn(p + 1, " \t\f");
    char c = escaped(*p);
    buf_add(word, &c, 1);
    return p + 1;
}

/* The word at P into OUT; returns what follows it. The end of the line ends an open quote, too. */
static const char *take_word(const char *p, struct strvec *out)
{
    struct buf word = {0};
    char quote = 0;
    buf_puts(&word, "");
    while (*p && *p != '\n' && *p != '\r' && (quote || !isspace((unsigned char)*p))) {
        if (quote && *p == '\\' && p[1]) {
            p = take_escape(p, &word);
            continue;
        }
        if (quote ? *p == quote : *p == '"' || *p == '\'')
            quote = quote ? 0 : *p;
        else
            buf_add(&word, p, 1);
        p++;
    }
    vec_add(out, word.p);
    return p;
}

void wordfile_arguments(const char *path, struct strvec *out)
{
    const char *p = text_of("-J@", path);
    while (*p) {
        p += strspn(p, " \t\r\n\f\v");
        if (*p == '#')
            p += strcspn(p, "\r\n");
        else if (*p)
            p = take_word(p, out);
    }
}
