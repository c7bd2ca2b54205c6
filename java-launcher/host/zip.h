/*
 * Reading ZIP archives, and with them JAR files (PKWARE APPNOTE.TXT 6.3; the JAR file specification).
 *
 * The archive is mapped; entries are visited in the order of the central directory. Stored and deflated
 * entries can be read; ZIP64 is understood; encrypted and multi-disk archives are refused. All offsets are
 * checked against the file's size: a damaged archive gives errors, never a fault.
 */
#ifndef JAVA_LAUNCHER_HOST_ZIP_H
#define JAVA_LAUNCHER_HOST_ZIP_H

#include "java-launcher/host/util.h"

struct zip {
    const uint8_t *base; /* the mapped file */
    size_t size;
    size_t directory, directory_end; /* offsets of the central directory */
    size_t start; /* bytes before the archive proper (self-extracting ones); added to entry offsets */
};

struct zip_entry {
    const char *name; /* not terminated */
    size_t name_len;
    uint64_t packed, unpacked; /* bytes */
    uint64_t header;           /* offset of the local header */
    uint16_t method, flags;
};

/* 0; -errno when the file cannot be read: -EISDIR for a directory, -ESPIPE for a pipe or a device; -ENOEXEC
 * when it is no ZIP archive. */
int zip_open(struct zip *z, const char *path);
void zip_close(struct zip *z);

/* Takes the entry at *CURSOR (0 at first) and moves *CURSOR on. False at the end of the directory or where it
 * is damaged. */
bool zip_next(const struct zip *z, size_t *cursor, struct zip_entry *e);
bool zip_find(const struct zip *z, const char *name, struct zip_entry *e);
/* Appends the first LIMIT bytes of an entry, unpacked (all if it is shorter). 0, or -EINVAL when the entry is
 * damaged. */
int zip_read(const struct zip *z, const struct zip_entry *e, size_t limit, struct buf *out);

#endif
