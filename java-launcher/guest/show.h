/*
 * Options of the java command that make it say something about itself: -version, --version, -showversion,
 * --show-version, -XshowSettings. They are not the JVM's; the class library prints the answers.
 */
#ifndef JAVA_LAUNCHER_GUEST_SHOW_H
#define JAVA_LAUNCHER_GUEST_SHOW_H

#include "java-launcher/guest/conf.h"

#include <jni.h>
#include <stdbool.h>

struct show {
    bool version, to_stdout, then_exit;
    char *settings; /* the whole option, or NULL */
};

/* Takes these options out of OPTIONS. */
void show_take(struct show *s, struct words *options);
/* Prints what was asked for. True when that was all the user wanted. An exception may be pending afterwards.
 */
bool show_print(const struct show *s, JNIEnv *env, jclass helper);

#endif
