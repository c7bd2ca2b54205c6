#include "java-launcher/guest/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t memory_total(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    return pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

double heap_percent(uint64_t total_bytes)
{
    double mib = (double)total_bytes / (1 << 20);
    if (mib <= 128)
        return 50;
    return mib >= 256 ? 75 : 50 + 25 * (mib - 128) / 128;
}

/* One word from *p into a new string; *p is at its first character. -1 for an open quote. */
static int next_word(const char **p, char **word)
{
    char *out = malloc(strlen(*p) + 1);
    if (!out)
        fail("out of memory");
    *word = out;
    char quote = 0;
    for (; **p && (quote || !isspace((unsigned char)**p)); (*p)++) {
        char c = **p;
        if (quote && c == '\\' && (*p)[1])
            *out++ = *++*p;
        else if (quote ? c == quote : c == '"' || c == '\'')
            quote = quote ? 0 : c;
        else
            *out++ = c;
    }
    *out = 0;
    return quote ? -1 : 0;
}

int split_words(const char *text, struct words *out)
{
    for (;;) {
        char *word;
        while (isspace((unsigned char)*text))
            text++;
        if (!*text)
            return 0;
        if (next_word(&text, &word) < 0) {
            free(word);
            return -1;
        }
        words_add(out, word);
    }
}

/* Options the java command takes as two words and the JVM only as one with '='. */
static const char *const two_words[] = {"--add-modules",
                                        "--add-reads",
                                        "--add-exports",
                                        "--add-opens",
                                        "--limit-modules",
                                        "--patch-module",
                                        "--module-path",
                                        "--upgrade-module-path",
                                        "--enable-native-access",
                                        "-p",
                                        "--illegal-native-access",
                                        "--finalization",
                                        NULL};

/* Options that only make sense for the java command, which finds classes by itself; here `moka` did. */
static const char *const not_here[] = {"-jar", "-cp", "-classpath", "--class-path", "-m", "--module", NULL};

static int listed(const char *const *list, const char *s)
{
    for (; *list; list++)
        if (!strcmp(*list, s))
            return 1;
    return 0;
}

static char *joined(const char *name, const char *value)
{
    char *s;
    if (!strcmp(name, "-p"))
        name = "--module-path";
    if (asprintf(&s, "%s=%s", name, value) < 0)
        fail("out of memory");
    return s;
}

/* Where the value of a memory option begins, or NULL for any other option. */
static const char *size_value(const char *o)
{
    if (!strncmp(o, "-Xmx", 4) || !strncmp(o, "-Xms", 4) || !strncmp(o, "-Xmn", 4) || !strncmp(o, "-Xss", 4))
        return o + 4;
    if (strncmp(o, "-XX:", 4))
        return NULL;
    const char *eq = strchr(o, '=');
    return eq ? eq + 1 : NULL;
}

/* "-Xmx75%" with 1 GiB -> "-Xmx786432k"; other options are returned as they are. */
static char *percent_to_size(char *o, uint64_t total_bytes)
{
    const char *value = size_value(o);
    size_t len = strlen(o);
    if (!value || o[len - 1] != '%')
        return o;
    char *end, *s;
    double percent = strtod(value, &end);
    if (end == value || *end != '%' || percent < 0 || percent > 100)
        fail("%s: a share of memory is a number from 0%% to 100%%", o);
    uint64_t kib = (uint64_t)((double)(total_bytes >> 10) * percent / 100);
    if (asprintf(&s, "%.*s%lluk", (int)(value - o), o, (unsigned long long)kib) < 0)
        fail("out of memory");
    return s;
}

void options_finish(struct words *options, uint64_t total_bytes)
{
    size_t out = 0;
    for (size_t i = 0; i < options->n; i++) {
        char *o = options->v[i];
        if (listed(not_here, o))
            fail("JVM option %s does not go with -J: use moka's own --classpath and --main", o);
        if (!strcmp(o, "-server") || !strcmp(o, "-client"))
            continue;
        if (listed(two_words, o) && i + 1 < options->n)
            o = joined(o, options->v[++i]);
        if (!strcmp(o, "-verbose"))
            o = "-verbose:class";
        options->v[out++] = percent_to_size(o, total_bytes);
    }
    words_cut(options, out);
}

/* Does an option begin with one of these words? */
static int begins(const char *const *list, const char *option)
{
    for (; *list; list++)
        if (!strncmp(*list, option, strlen(*list)))
            return 1;
    return 0;
}

static int any_begins(const char *const *list, const struct words *options)
{
    for (size_t i = 0; i < options->n; i++)
        if (begins(list, options->v[i]))
            return 1;
    return 0;
}

static void drop(struct words *options, const char *const *list)
{
    size_t out = 0;
    for (size_t i = 0; i < options->n; i++)
        if (!begins(list, options->v[i]))
            options->v[out++] = options->v[i];
    words_cut(options, out);
}

void options_drop_archive(struct words *image, const struct words *user)
{
    static const char *const caches[] = {"-XX:AOTCache", "-XX:AOTMode", "-XX:AOTConfiguration", NULL};
    static const char *const archives[] = {"-XX:SharedArchiveFile=",
                                           "-XX:ArchiveClassesAtExit=",
                                           "-XX:+AutoCreateSharedArchive",
                                           "-Xshare:on",
                                           "-Xshare:dump",
                                           NULL};
    static const char *const silence[] = {"-Xlog:cds=off", "-Xlog:aot=off", NULL};
    static const char *const own[] = {"-XX:SharedArchiveFile=", NULL};
    int cache = any_begins(caches, user);
    if (cache)
        drop(image, own);
    if (cache || any_begins(archives, user))
        drop(image, silence);
}

/* "1m" -> 1048576; plain numbers are UNIT bytes each. 0 if it is no size. */
static uint64_t parse_size(const char *s, uint64_t unit)
{
    char *end;
    uint64_t n = strtoull(s, &end, 10);
    if (end == s)
        return 0;
    switch (tolower((unsigned char)*end)) {
    case 't':
        return n << 40;
    case 'g':
        return n << 30;
    case 'm':
        return n << 20;
    case 'k':
        return n << 10;
    case 0:
        return n * unit;
    }
    return 0;
}

uint64_t options_stack_size(const struct words *options)
{
    static const char xx[] = "-XX:ThreadStackSize=";
    uint64_t size = 0;
    for (size_t i = 0; i < options->n; i++) {
        const char *o = options->v[i];
        if (!strncmp(o, "-Xss", 4))
            size = parse_size(o + 4, 1);
        else if (!strncmp(o, xx, sizeof xx - 1))
            size = parse_size(o + sizeof xx - 1, 1024);
    }
    return size;
}

void options_check_heap(const struct words *options, uint64_t total_bytes)
{
    static const char xx[] = "-XX:InitialHeapSize=";
    const char *asked = NULL;
    uint64_t size = 0;
    for (size_t i = 0; i < options->n; i++) {
        const char *o = options->v[i];
        const char *value = !strncmp(o, "-Xms", 4)           ? o + 4
                            : !strncmp(o, xx, sizeof xx - 1) ? o + sizeof xx - 1
                                                             : NULL;
        if (value) {
            asked = o;
            size = parse_size(value, 1);
        }
    }
    if (asked && size > total_bytes)
        fail("not enough memory: %s does not fit into this VM's %llu MiB (-m gives more)", asked,
             (unsigned long long)(total_bytes >> 20));
}
