/*
 * Fonts: what the JDK's java.desktop needs to draw text. It opens fontconfig's library by name and asks it
 * for fonts, and fontconfig reads what an administrator configured and installed (fonts.conf(5)).
 */
#ifndef JAVA_LAUNCHER_HOST_FONTS_H
#define JAVA_LAUNCHER_HOST_FONTS_H

#include "java-launcher/host/sha256.h"
#include "java-launcher/host/stage.h"

/* Adds to a key the state of this machine's fonts and their configuration. */
void fonts_key(struct sha256 *key);

/*
 * Stages fontconfig, its configuration and this machine's fonts, if the runtime staged at /jvm draws text. Of
 * more than 64 MiB of fonts only those that stand for Java's logical ones are taken. A machine that has none
 * of this gives none: Java then says so when it draws, here as there.
 */
void fonts_stage(struct stage *s);

#endif
