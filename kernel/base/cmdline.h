/* The kernel command line and the loader's module behind it, decoded (docs/BOOT.md). Filled once at boot;
 * strings live for ever. */
#ifndef MOKA_BASE_CMDLINE_H
#define MOKA_BASE_CMDLINE_H

#include "kernel/base/types.h"

struct cmdline {
    bool verbose, strace, stdin_null;
    const char *cwd, *hostname;
    const char *ip; /* ADDRESS/PREFIX[,GATEWAY[,NAMESERVER]]; NULL: DHCP */
    char **env;     /* NAME=VALUE, NULL-terminated */
    char *
        *argv; /* the program's path and arguments, NULL-terminated; argv[0] NULL when there is no program */
    u32 argc, envc;
    u32 umask;               /* the program's at its start */
    u32 idle_poll_us;        /* how long an idle CPU looks for work before it halts; set before parsing */
    const char *volumes[32]; /* TAG:GUESTDIR[:ro] */
    u32 volume_count;
    const char *mmio_devices[32]; /* SIZE@BASE:IRQ */
    u32 mmio_device_count;
};
extern struct cmdline cmdline;

/*
 * Parses line, and the len bytes of module as if they stood behind it, into a copy made by alloc (zeroed
 * memory, NULL when there is none), which is never freed. Before threads run. -EINVAL, -ENOMEM, after a
 * log_error line that says what is wrong.
 */
int cmdline_parse(const char *line, const char *module, size_t len, void *(*alloc)(size_t size));

#endif
