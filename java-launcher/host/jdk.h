/*
 * The JDK the image is made from, and runtimes linked from it.
 */
#ifndef JAVA_LAUNCHER_HOST_JDK_H
#define JAVA_LAUNCHER_HOST_JDK_H

#include "java-launcher/host/sha256.h"
#include "java-launcher/host/util.h"

struct jdk {
    char *home;
    char *version;         /* JAVA_VERSION of its release file, "17.0.21" */
    int release;           /* 17 */
    struct strvec modules; /* all it has */
    char
        *passed_over; /* why it is not the one of JAVA_HOME: " (JAVA_HOME ...)"; "" if it is or none is set */
};

/*
 * The JDK at DIR (of --jdk), else at JAVA_HOME if that is a whole JDK for this kind of machine, else the 17
 * under /usr/lib/jvm, else the newest there. Dies with what to do when there is none.
 */
void jdk_find(struct jdk *j, const char *dir);

/* Adds to a key all that makes one JDK different from another. */
void jdk_key(const struct jdk *j, struct sha256 *key);

/*
 * Modules for an application: what jdeps finds in CLASS_PATH's JARs (their host paths, NULL-terminated), or
 * java.se when it cannot tell or WHOLE is set; with EXTRA modules (NULL-terminated), and those a program may
 * need without naming them.
 */
void jdk_modules(const struct jdk *j, char *const *jars, bool whole, char *const *extra, struct strvec *out);

/*
 * Directory of a runtime that holds MODULES and what they need, made now or found in the cache directory
 * CACHE. Its files carry STAGE_TIME and may be linked to but not written. It stays in the cache.
 */
char *jdk_runtime(const struct jdk *j, const struct strvec *modules, const char *cache);

#endif
