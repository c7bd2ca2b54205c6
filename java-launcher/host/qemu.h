/*
 * The virtual machine's description: QEMU's command line, with the kernel's inside, and the words that a
 * module behind it carries (docs/BOOT.md).
 */
#ifndef JAVA_LAUNCHER_HOST_QEMU_H
#define JAVA_LAUNCHER_HOST_QEMU_H

#include "java-launcher/host/image.h"
#include "java-launcher/host/options.h"

/* The streams between the command and the VM; the first four in the order of their virtio-serial ports,
 * from 1. */
enum stream { STREAM_STDIN, STREAM_STDOUT, STREAM_STDERR, STREAM_CONTROL, STREAM_SERIAL, STREAMS };

/* What to boot: options of the command over the image's defaults. */
struct vm {
    const struct options *o;
    const struct image *im;
    bool no_stdin; /* standard input is at its end from the start */
};

/* Descriptors that QEMU inherits. */
struct vm_fds {
    int streams[STREAMS]; /* sockets */
    int words;            /* a file with vm_words() */
};

/* The program, its arguments and its environment, for a module: whatever may be secret, since every user of
 * this machine can read QEMU's command line. Dies when it gets too long. */
struct buf vm_words(const struct vm *vm);

/* QEMU's words. FDS NULL: all on the command line, and the streams connected to QEMU's own standard input,
 * output and error, for a person to run. Dies when a line gets too long. */
void vm_qemu(const struct vm *vm, const struct vm_fds *fds, struct strvec *argv);

/* Dies when QEMU is not installed. */
void vm_require_qemu(void);

#endif
