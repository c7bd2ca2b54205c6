#include "java-launcher/guest/missing.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAUSES_MAX = 16 };

/* Packages that are reached by name, with the dot at their end, and their modules (the JDK's own index of
 * packages has them all). The first that fits counts, so packages within packages come before these. */
static const struct {
    const char *package, *module;
} homes[] = {
    {"java.awt.", "java.desktop"},
    {"java.beans.", "java.desktop"},
    {"java.lang.instrument.", "java.instrument"},
    {"java.net.http.", "java.net.http"},
    {"java.rmi.", "java.rmi"},
    {"java.sql.", "java.sql"},
    {"java.util.logging.", "java.logging"},
    {"java.util.prefs.", "java.prefs"},
    {"javax.annotation.processing.", "java.compiler"},
    {"javax.imageio.", "java.desktop"},
    {"javax.lang.model.", "java.compiler"},
    {"javax.management.remote.rmi.", "java.management.rmi"},
    {"javax.naming.", "java.naming"},
    {"javax.print.", "java.desktop"},
    {"javax.script.", "java.scripting"},
    {"javax.security.auth.kerberos.", "java.security.jgss"},
    {"javax.security.sasl.", "java.security.sasl"},
    {"javax.smartcardio.", "java.smartcardio"},
    {"javax.sound.", "java.desktop"},
    {"javax.sql.rowset.", "java.sql.rowset"},
    {"javax.sql.", "java.sql"},
    {"javax.swing.", "java.desktop"},
    {"javax.tools.", "java.compiler"},
    {"javax.transaction.xa.", "java.transaction.xa"},
    {"javax.xml.crypto.", "java.xml.crypto"},
    {"javax.xml.", "java.xml"},
    {"com.sun.jdi.", "jdk.jdi"},
    {"com.sun.jndi.dns.", "jdk.naming.dns"},
    {"com.sun.jndi.", "java.naming"},
    {"com.sun.net.httpserver.", "jdk.httpserver"},
    {"com.sun.nio.sctp.", "jdk.sctp"},
    {"com.sun.security.auth.", "jdk.security.auth"},
    {"com.sun.security.jgss.", "jdk.security.jgss"},
    {"com.sun.source.", "jdk.compiler"},
    {"com.sun.tools.attach.", "jdk.attach"},
    {"com.sun.tools.javac.", "jdk.compiler"},
    {"jdk.dynalink.", "jdk.dynalink"},
    {"jdk.jfr.", "jdk.jfr"},
    {"jdk.jshell.", "jdk.jshell"},
    {"jdk.net.", "jdk.net"},
    {"jdk.nio.mapmode.", "jdk.nio.mapmode"},
    {"org.ietf.jgss.", "java.security.jgss"},
    {"org.w3c.dom.", "java.xml"},
    {"org.xml.sax.", "java.xml"},
};

/* NAME as Java gives it: with dots, or with slashes in errors of the JVM. */
static bool is_in(const char *name, const char *package)
{
    for (; *package; name++, package++)
        if (*name != *package && !(*name == '/' && *package == '.'))
            return false;
    return true;
}

static const char *home_of(const char *class_name)
{
    for (size_t i = 0; i < sizeof homes / sizeof *homes; i++)
        if (is_in(class_name, homes[i].package))
            return homes[i].module;
    return NULL;
}

/* Whether the line MODULES="a b c" has the word. */
static bool line_has(const char *line, const char *module)
{
    size_t n = strlen(module);
    for (const char *at = line; (at = strstr(at, module)); at += n)
        if (at > line && strchr("\" ", at[-1]) && strchr("\" ", at[n]) && at[n])
            return true;
    return false;
}

/* Whether the runtime surely lacks the module. */
static bool lacks(const char *libjvm, const char *module)
{
    static const char server[] = "/lib/server/libjvm.so", key[] = "MODULES=";
    size_t home = strlen(libjvm), room = 0;
    char *path, *line = NULL;
    bool listed = false, has = false;
    if (home < sizeof server || strcmp(libjvm + home - (sizeof server - 1), server) != 0 ||
        asprintf(&path, "%.*s/release", (int)(home - (sizeof server - 1)), libjvm) < 0)
        return false;
    FILE *f = fopen(path, "re");
    free(path);
    while (f && !listed && getline(&line, &room, f) > 0) {
        listed = !strncmp(line, key, sizeof key - 1);
        has = listed && line_has(line, module);
    }
    free(line);
    if (f)
        fclose(f);
    return listed && !has;
}

/* The module of the class that THROWN says is not there; NULL: it says no such thing. */
static const char *missed_by(JNIEnv *env, jthrowable thrown, jclass types[2], jmethodID get_message)
{
    const char *module = NULL;
    if (!(*env)->IsInstanceOf(env, thrown, types[0]) && !(*env)->IsInstanceOf(env, thrown, types[1]))
        return NULL;
    jstring message = (*env)->CallObjectMethod(env, thrown, get_message);
    const char *text =
        message && !(*env)->ExceptionCheck(env) ? (*env)->GetStringUTFChars(env, message, NULL) : NULL;
    if (text) {
        module = home_of(text);
        (*env)->ReleaseStringUTFChars(env, message, text);
    }
    return module;
}

const char *missing_module(JNIEnv *env, const char *libjvm)
{
    const char *module = NULL;
    jthrowable pending = (*env)->ExceptionOccurred(env);
    if (!pending)
        return NULL;
    (*env)->ExceptionClear(env);
    jclass throwable = (*env)->FindClass(env, "java/lang/Throwable");
    jclass types[] = {(*env)->FindClass(env, "java/lang/ClassNotFoundException"),
                      (*env)->FindClass(env, "java/lang/NoClassDefFoundError")};
    if (throwable && types[0] && types[1]) {
        jmethodID message = (*env)->GetMethodID(env, throwable, "getMessage", "()Ljava/lang/String;");
        jmethodID cause = (*env)->GetMethodID(env, throwable, "getCause", "()Ljava/lang/Throwable;");
        jthrowable t = message && cause ? pending : NULL;
        for (int i = 0; t && i < CAUSES_MAX && !module && !(*env)->ExceptionCheck(env); i++) {
            module = missed_by(env, t, types, message);
            if (!(*env)->ExceptionCheck(env))
                t = (*env)->CallObjectMethod(env, t, cause);
        }
    }
    (*env)->ExceptionClear(env);
    (*env)->Throw(env, pending);
    return module && lacks(libjvm, module) ? module : NULL;
}
