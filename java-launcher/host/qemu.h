/*
 * The virtual machine's description: QEMU's command line, with the kernel's inside (docs/BOOT.md).
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

/* The kernel's command line for it, a new string. Dies when it gets too long. */
char *vm_cmdline(const struct vm *vm);

/* QEMU's words. FDS: descriptors of sockets QEMU inherits, one a stream; NULL: connect the streams to QEMU's
 * own standard input, output and error, for a person to run. */
void vm_qemu(const struct vm *vm, const int *fds, struct strvec *argv);

/* Dies when QEMU is not installed. */
void vm_require_qemu(void);

#endif
