/* kernel/base compiled for the host: what it calls below itself, and a view for the test under other names.
 */
#define vsnprintf moka_vsnprintf
#define snprintf  moka_snprintf
#include "kernel/base/cmdline.c"
#include "kernel/base/printf.c"

char moka_last_error[512];

static void keep(const char *fmt, va_list ap)
{
    vsnprintf(moka_last_error, sizeof(moka_last_error), fmt, ap);
}

void log_error(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    keep(fmt, ap);
    va_end(ap);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    keep(fmt, ap);
    va_end(ap);
}

/* What the kernel allocates here lives for ever; the table keeps it reachable. */
static void *kept[64];
static u32 kept_count;
extern void *calloc(size_t n, size_t size);

static void *alloc(size_t size)
{
    return kept[kept_count++] = calloc(1, size);
}

int moka_cmdline_parse_module(const char *line, const char *module, size_t len)
{
    cmdline.argc = cmdline.envc = 0;
    return cmdline_parse(line, module, len, alloc);
}

int moka_cmdline_parse(const char *text)
{
    return moka_cmdline_parse_module(text, "not read", 0);
}

unsigned moka_cmdline_umask(void)
{
    return cmdline.umask;
}

unsigned moka_cmdline_idle_poll(void)
{
    return cmdline.idle_poll_us;
}

const char *moka_cmdline_arg(unsigned i)
{
    return cmdline.argv[i];
}

const char *moka_cmdline_env(unsigned i)
{
    return cmdline.env[i];
}

const char *moka_cmdline_mmio(unsigned i)
{
    return cmdline.mmio_devices[i];
}
