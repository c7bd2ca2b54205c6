/* Byte streams between descriptors: pipes and FIFOs. */
#ifndef MOKA_FS_PIPE_H
#define MOKA_FS_PIPE_H

#include "kernel/fs/vfs.h"

#define PIPE_CAPACITY     65536u   /* of a new pipe, bytes (pipe(7)) */
#define PIPE_CAPACITY_MAX 1048576u /* F_SETPIPE_SZ */
#define PIPE_ATOMIC       4096u    /* PIPE_BUF: writes of at most this many bytes stay together */

/* A pair of connected files as pipe2(2); flags: O_NONBLOCK; O_DIRECT is refused. 0, -ENOMEM, -EINVAL. */
int pipe_create(u32 flags, struct file **read_end, struct file **write_end);
/*
 * Opens a FIFO: sets f's ops and private. As fifo(7): waits for the other side unless O_NONBLOCK or O_RDWR.
 * -ENXIO (writing, O_NONBLOCK, no reader), -ERESTART, -ENOMEM.
 */
int fifo_open(struct inode *inode, struct file *f);

#endif
