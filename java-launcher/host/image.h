/*
 * Images: one file that boots.
 *
 *   0           EROFS file system (superblock at 1024), a multiple of 4096 bytes
 *   then        the description: text, one "key value" a line, values encoded as words of the kernel's
 * command line, padded with zeros to a multiple of 512 last 512    the trailer: "moka-image 1 FILE-SIZE
 * DESCRIPTION-OFFSET DESCRIPTION-LENGTH\n", zeros
 *
 * The kernel sees the whole file as its disk and stops reading at the file system's end. A file whose trailer
 * is missing or disagrees with its size has been cut short.
 */
#ifndef JAVA_LAUNCHER_HOST_IMAGE_H
#define JAVA_LAUNCHER_HOST_IMAGE_H

#include "java-launcher/host/options.h"
#include "java-launcher/host/util.h"

/* The description: what to start, and the defaults `moka build` was given. */
struct image {
    char *path;
    char *program; /* path in the guest */
    bool java;     /* the program is the launcher: it takes -J options and "--" */
    struct strvec args, jvm, env;
    uint64_t memory;
    unsigned cpus;
    char *name, *workdir;
};

/* Is there an EROFS file system in it, or does its name end in .img? Then it is to be booted, not built from.
 */
bool image_looks_like(const char *path);
/* Reads the description. Dies when the file is no image or was cut short. */
void image_open(struct image *im, const char *path);
/* The image for these options from the cache, built now if need be. Knows nothing of defaults but the
 * program. */
void image_for(struct image *im, const struct options *o);
/* Writes OUTPUT: the file system of IM with the options' defaults in its description. */
void image_write(const struct image *im, const struct options *o, const char *output);

/* Writes file system FROM and description IM to TO, in place if they are the same file. */
void image_seal(const struct image *im, const char *from, const char *to);

#endif
