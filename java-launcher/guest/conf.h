/*
 * The launcher's configuration: what `moka` wrote into the image when it built it.
 *
 * /moka/launch.conf is a text file, one "key value" a line; the value runs to the end of the line, and %XX in
 * it stands for one byte (so that a value may hold a line end). Keys:
 *
 *   libjvm PATH       the shared library that holds JNI_CreateJavaVM
 *   mode jar|class    whether `main` is a JAR to look up Main-Class and friends in, or the name of a class
 *   main NAME         that JAR or class
 *   command WORD      what `java` would have been told to run, for sun.java.command; `main` if missing
 *   option OPTION     one option for the JVM, in order; may repeat
 *
 * Unknown keys are ignored: an older launcher may meet a newer file.
 */
#ifndef JAVA_LAUNCHER_GUEST_CONF_H
#define JAVA_LAUNCHER_GUEST_CONF_H

#include <stddef.h>

/* A growing array of strings; `v` is always NULL-terminated. The strings belong to whoever made them. */
struct words {
    char **v;
    size_t n, cap;
};

struct launch_conf {
    char *libjvm;
    char *main, *command;
    int mode_jar;
    struct words options;
};

void words_add(struct words *w, char *s);
/* Keeps the first n, at most as many as there are. */
void words_cut(struct words *w, size_t n);

/* Reads PATH into *C. On failure says why on standard error and ends the process with status 1. */
void conf_read(const char *path, struct launch_conf *c);

/* An error the user can act on: "moka: ..." on standard error, then exit(1). */
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
