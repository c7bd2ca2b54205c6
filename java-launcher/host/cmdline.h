/*
 * The kernel's command line, as docs/BOOT.md defines it.
 */
#ifndef JAVA_LAUNCHER_HOST_CMDLINE_H
#define JAVA_LAUNCHER_HOST_CMDLINE_H

#include "java-launcher/host/util.h"

enum {
    CMDLINE_MAX = 65535,
    CMDLINE_MAX_PC = 4095, /* what QEMU's loader for q35 (its PVH option ROM) holds */
    MODULE_MAX = 1 << 20
};

/*
 * Appends a blank (unless it is the first) and a word with `%XX` for blanks, `%`, control characters and
 * bytes above 0x7e; the empty word is a lone `%`. A word after "--" that looks like QEMU's
 * virtio_mmio.device= has its first letter written so too: QEMU appends its own words at the end of the line,
 * and no argument may be taken for one.
 */
void cmdline_add(struct buf *line, const char *word);

/* The reverse, in place. */
void cmdline_decode(char *word);

/* WORD such that a POSIX shell reads it as it is, a new string. */
char *shell_quote(const char *word);

#endif
