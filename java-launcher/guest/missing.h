/*
 * A program that reaches classes of the JDK by name may miss their module: jlink left it out, because jdeps
 * saw nothing that needs it. Java then says ClassNotFoundException or NoClassDefFoundError, and nothing of
 * modules.
 */
#ifndef JAVA_LAUNCHER_GUEST_MISSING_H
#define JAVA_LAUNCHER_GUEST_MISSING_H

#include <jni.h>

/*
 * The module that the pending exception, or a cause of it, misses; NULL: none, or not known. LIBJVM: the path
 * of the JVM, whose runtime has a file `release` that lists its modules. The exception stays pending. For a
 * thread that is attached; may call Java. A string that needs no free().
 */
const char *missing_module(JNIEnv *env, const char *libjvm);

#endif
