/*
 * The application: its JARs and directories, where they go in the guest, and what to start.
 */
#ifndef JAVA_LAUNCHER_HOST_APP_H
#define JAVA_LAUNCHER_HOST_APP_H

#include "java-launcher/host/jdk.h"
#include "java-launcher/host/options.h"
#include "java-launcher/host/sha256.h"
#include "java-launcher/host/stage.h"

struct app_item {
    char *host;  /* absolute path, links not resolved: Class-Path entries are relative to it */
    char *guest; /* filled in last */
    bool is_dir;
    bool on_path; /* named on the class path itself, not only through a Class-Path attribute */
    bool fixed;   /* keeps its path in the guest (an absolute Class-Path entry) */
};

/*
 * All JARs of the application: the one named, those of --classpath, and what their Class-Path attributes add.
 * In the guest they lie below /app as they lie on the host below the directory they have in common, so that
 * relative Class-Path entries hold.
 */
struct app {
    struct app_item *items;
    size_t n;
    char *main_class;
    bool start_jar;  /* let the class library start the JAR by its manifest: it has attributes only that heeds
                      */
    bool has_nested; /* a JAR holds JARs */
    int main_release;    /* Java release the main class was compiled for; 0: not found */
    const char *command; /* what `java` would have been given, for sun.java.command: guest path of the JAR, or
                            the class */
};

/* Reads JARs and class path of the options. Dies with one clear line on what java -jar would not start. */
void app_open(struct app *a, const struct options *o);
/* Dies if the main class needs a newer Java than the JDK is. */
void app_check(const struct app *a, const struct options *o, const struct jdk *j);
void app_key(const struct app *a, struct sha256 *key);
void app_stage(const struct app *a, struct stage *s);
/* java.class.path in the guest. */
char *app_class_path(const struct app *a);
/* Host paths of all JARs and directories. */
void app_files(const struct app *a, struct strvec *out);
/* "a/b/C\n" for the classes of the JARs that come before the first directory on the class path, at most
 * LIMIT. */
void app_classes(const struct app *a, size_t limit, struct buf *out);
/* The part of the class path before its first directory: what a class data archive can cover. */
char *app_archive_path(const struct app *a);

#endif
