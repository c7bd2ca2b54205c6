/* The words of docs/BOOT.md: separated by blanks, %XX for a byte, options before `--`, the program after. */
#include "kernel/base/cmdline.h"
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"

#define LINE_MAX   65535u
#define MODULE_MAX (1u << 20)

struct cmdline cmdline = {.cwd = "/", .hostname = "moka", .umask = 022};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes one word in place; a lone % is the empty word. False when a % is not followed by two digits or
 * stands for a NUL. */
static bool decode(char *word)
{
    char *out = word;
    if (!strcmp(word, "%"))
        *word = 0;
    while (*word) {
        if (*word != '%') {
            *out++ = *word++;
            continue;
        }
        int hi = hex_digit(word[1]), lo = hi < 0 ? -1 : hex_digit(word[2]);
        if (lo < 0 || (hi == 0 && lo == 0))
            return false;
        *out++ = hi << 4 | lo;
        word += 3;
    }
    *out = 0;
    return true;
}

/* The rest of word behind key, or NULL when it does not start with it. */
static const char *value_of(const char *word, const char *key)
{
    size_t n = strlen(key);
    return strncmp(word, key, n) ? NULL : word + n;
}

static void add_limited(const char **array, u32 *count, u32 room, const char *value, const char *what)
{
    if (*count < room)
        array[(*count)++] = value;
    else
        log_warn("moka: more than %u %s on the command line; the rest is ignored\n", room, what);
}

/* A number up to max, of digits below base (at most 10); what is not one leaves the default. */
static void set_number(u32 *to, u32 base, u32 max, const char *word, const char *digits)
{
    u64 n = 0;
    const char *p = digits;
    for (; *p >= '0' && *p < (char)('0' + base) && n <= max; p++)
        n = n * base + (u64)(*p - '0');
    if (p == digits || *p || n > max)
        log_warn(base == 8 ? "moka: kernel option '%s' ignored: it takes an octal number from 0 to %o\n"
                           : "moka: kernel option '%s' ignored: it takes a number from 0 to %u\n",
                 word, max);
    else
        *to = (u32)n;
}

static void parse_option(const char *word)
{
    const char *v;
    if (!strcmp(word, "verbose"))
        cmdline.verbose = true;
    else if (!strcmp(word, "strace"))
        cmdline.strace = true;
    else if (!strcmp(word, "stdin=null"))
        cmdline.stdin_null = true;
    else if ((v = value_of(word, "env=")))
        cmdline.env[cmdline.envc++] = (char *)v;
    else if ((v = value_of(word, "cwd=")))
        cmdline.cwd = v;
    else if ((v = value_of(word, "hostname=")))
        cmdline.hostname = v;
    else if ((v = value_of(word, "ip=")))
        cmdline.ip = v;
    else if ((v = value_of(word, "idle-poll=")))
        set_number(&cmdline.idle_poll_us, 10, 1000000, word, v);
    else if ((v = value_of(word, "umask=")))
        set_number(&cmdline.umask, 8, 0777, word, v);
    else if ((v = value_of(word, "volume=")))
        add_limited(cmdline.volumes, &cmdline.volume_count, ARRAY_LEN(cmdline.volumes), v, "volumes");
    else if ((v = value_of(word, "virtio_mmio.device=")))
        add_limited(cmdline.mmio_devices, &cmdline.mmio_device_count, ARRAY_LEN(cmdline.mmio_devices), v,
                    "virtio-mmio devices");
    else
        log_warn("moka: unknown kernel option '%s' ignored\n", word);
}

static u32 count_words(const char *text)
{
    u32 n = 0;
    for (; *text; n++) {
        text += strspn(text, " ");
        text += strcspn(text, " ");
    }
    return n;
}

static int out_of_memory(void)
{
    log_error("moka: out of memory while reading the kernel command line; give the VM more with -m\n");
    return -ENOMEM;
}

/* What is to be parsed, in one piece; NULL after *err and a line. */
static char *join(const char *line, const char *module, size_t len, void *(*alloc)(size_t size), int *err)
{
    size_t n = strnlen(line, LINE_MAX + 1);
    *err = -EINVAL;
    if (n > LINE_MAX || len > MODULE_MAX) {
        log_error("moka: the kernel command line is longer than 64 KiB, or its module than 1 MiB; pass fewer "
                  "arguments\n");
        return NULL;
    }
    if (strnlen(module, len) < len) {
        log_error("moka: the module behind the kernel command line is no text: it has a NUL byte\n");
        return NULL;
    }
    char *text = alloc(n + 1 + len + 1);
    if (!text) {
        *err = out_of_memory();
        return NULL;
    }
    memcpy(text, line, n);
    text[n] = ' ';
    memcpy(text + n + 1, module, len);
    return text;
}

int cmdline_parse(const char *line, const char *module, size_t len, void *(*alloc)(size_t size))
{
    int err;
    char *next = join(line, module, len, alloc, &err);
    if (!next)
        return err;
    u32 words = count_words(next);
    cmdline.env = alloc((words + 1) * sizeof(char *));
    cmdline.argv = alloc((words + 1) * sizeof(char *));
    if (!cmdline.env || !cmdline.argv)
        return out_of_memory();
    bool program = false;
    while (*(next += strspn(next, " "))) {
        char *word = next;
        next += strcspn(next, " ");
        if (*next)
            *next++ = 0;
        /* QEMU puts its own words last, behind the program's arguments; an argument of that form has an
         * escape in it. */
        bool from_qemu = value_of(word, "virtio_mmio.device=");
        if (!decode(word)) {
            log_error("moka: bad %% escape in the kernel command line word '%s'\n", word);
            return -EINVAL;
        }
        if (program && !from_qemu)
            cmdline.argv[cmdline.argc++] = word;
        else if (!strcmp(word, "--"))
            program = true;
        else
            parse_option(word);
    }
    return 0;
}
