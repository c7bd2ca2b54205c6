/*
 * The staging directory: the root file system as a tree of files on the host, from which mkfs.erofs makes the
 * image.
 *
 * Everything in it gets one fixed time (STAGE_TIME): images made from the same input are the same, and the
 * JVM, which checks the times of the files its class data archive was made from, sees in the guest what it
 * saw here.
 */
#ifndef JAVA_LAUNCHER_HOST_STAGE_H
#define JAVA_LAUNCHER_HOST_STAGE_H

#include "java-launcher/host/libs.h"
#include "java-launcher/host/util.h"

enum { STAGE_TIME = 1000000000 }; /* 2001-09-09 01:46:40 UTC */

struct stage {
    char *root;                             /* path of the directory */
    struct strvec cache_names, cache_paths; /* what the image's ld.so.cache will hold */
    struct strvec staged;                   /* guest paths of libraries already there */
};

/* A new stage in the empty directory ROOT: /tmp, /run, /var, /etc basics and the links of a merged /usr. */
void stage_init(struct stage *s, const char *root);
/* Host path of guest path GUEST. */
char *stage_path(const struct stage *s, const char *guest);
/* Copies a file or a whole directory (links inside followed only if they point out of it); dies when it
 * cannot. */
void stage_copy(struct stage *s, const char *host, const char *guest);
void stage_text(struct stage *s, const char *guest, const char *text);
/* A symbolic link at GUEST, unless something is there. */
void stage_link(struct stage *s, const char *target, const char *guest);
/* Copies all objects in L and the interpreters they name, each to its own path, but for those below directory
 * EXCEPT (NULL: none), which are staged otherwise. OPTIONAL: missing libraries are only noted, else they are
 * an error. */
void stage_libs(struct stage *s, const struct libs *l, const char *except, bool optional);
/* Writes the linker's cache and sets all times: the last step before the image is made. */
void stage_finish(struct stage *s);

#endif
