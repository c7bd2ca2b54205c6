/*
 * JVM options as a user of the `java` command writes them, made into what JNI_CreateJavaVM takes.
 *
 * Besides passing options through, the java command joins two-word options ("--add-opens X" ->
 * "--add-opens=X"), reads JDK_JAVA_OPTIONS, and sizes the main thread by -Xss; so do we. Our own additions
 * are percentages of the VM's memory: -Xmx75%, -Xms10%, -Xmn20%, -XX:MaxDirectMemorySize=25% and so on become
 * byte counts here, in the guest, because an image may boot later with another memory size.
 */
#ifndef JAVA_LAUNCHER_GUEST_OPTIONS_H
#define JAVA_LAUNCHER_GUEST_OPTIONS_H

#include "java-launcher/guest/conf.h"

#include <stdint.h>

/* Total memory of this machine in bytes. */
uint64_t memory_total(void);

/*
 * The share of memory, in per cent, that the heap may take at most when the user says nothing: half of a
 * small VM (to 128 MiB), three quarters of one of 256 MiB and above, in between by a straight line. The rest
 * is for what the heap limit does not count: class metadata, compiled code, stacks, direct buffers, page
 * cache.
 */
double heap_percent(uint64_t total_bytes);

/* Splits TEXT at white space as the java command splits JDK_JAVA_OPTIONS: quotes of either kind keep blanks,
 * a backslash inside quotes takes the next character as it is. Appends to *OUT. Returns 0, or -1 if a quote
 * is not closed. */
int split_words(const char *text, struct words *out);

/*
 * Makes the options final in place: joins two-word options, drops those that mean nothing here (-server),
 * turns percentages into byte counts. Fails (see fail()) on an option only the java command itself knows,
 * such as -jar.
 */
void options_finish(struct words *options, uint64_t total_bytes);

/*
 * Takes out of IMAGE, the image's own options, what speaks against archives of classes that USER's options
 * name: with any, that the JVM be silent about them; with a cache of JDK 24 and later (-XX:AOT...) also the
 * image's archive, which the JVM does not take besides.
 */
void options_drop_archive(struct words *image, const struct words *user);

/* Fails when the heap is to begin larger than the machine's memory: the JVM would say so in ten lines. */
void options_check_heap(const struct words *options, uint64_t total_bytes);

/* Stack size asked for by the last -Xss, -XX:ThreadStackSize or -XX:MainThreadStackSize style option, in
 * bytes; 0 if there is none. */
uint64_t options_stack_size(const struct words *options);

#endif
