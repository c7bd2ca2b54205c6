/*
 * What a JAR says about itself: the main section of META-INF/MANIFEST.MF (JAR file specification, "JAR
 * Manifest"), and the version of a class file (Java virtual machine specification, section 4.1).
 */
#ifndef JAVA_LAUNCHER_HOST_JAR_H
#define JAVA_LAUNCHER_HOST_JAR_H

#include "java-launcher/host/util.h"
#include "java-launcher/host/zip.h"

/* The value of attribute NAME (any case) in the main section of manifest TEXT, continuation lines joined, a
 * new string; NULL if it is not there. Of several the last counts, as in Java. */
char *manifest_get(const char *text, const char *name);

/* The manifest of an open JAR as a new string; "" if it has none or an unreadable one. */
char *jar_manifest(const struct zip *z);

/* Decodes %XX of a Class-Path entry in place, and strips "file:" with its slashes. False for another kind of
 * URL. */
bool class_path_entry_decode(char *entry);

/* The Java feature release (8, 17, 25, ...) that the class NAME ("a.b.C" or "a/b/C") in the JAR was compiled
 * for; 0 if the class is not in it or is no class file. */
int jar_class_release(const struct zip *z, const char *name);

/* Appends the names ("a/b/C") of up to LIMIT classes of the JAR, leaving out META-INF, BOOT-INF, WEB-INF,
 * module-info and package-info. Returns how many. */
size_t jar_classes(const struct zip *z, size_t limit, struct buf *out);

/* Does the JAR carry further JARs inside (as Spring Boot's do), whose needs jdeps does not see? */
bool jar_has_nested(const struct zip *z);

#endif
