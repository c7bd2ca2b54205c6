/* Byte streams between descriptors: pipes, FIFOs, and the two directions of a UNIX stream socket. */
#ifndef MOKA_FS_PIPE_H
#define MOKA_FS_PIPE_H

#include "kernel/fs/vfs.h"

/* A pair of connected files as pipe2(2); flags: O_NONBLOCK, O_CLOEXEC ignored here, O_DIRECT refused. 0,
 * -ENOMEM. */
int pipe_create(u32 flags, struct file **read_end, struct file **write_end);

#endif
