/* pipe(2), pipe2(2). */
#include "kernel/fs/pipe.h"
#include "kernel/linux/io/io.h"

s64 sys_pipe2(int *fds, u32 flags)
{
    struct file *ends[2];
    int err = pipe_create(flags, &ends[0], &ends[1]);
    return err ? err : fd_install_pair(ends[0], ends[1], flags, fds);
}

s64 sys_pipe(int *fds)
{
    return sys_pipe2(fds, 0);
}
