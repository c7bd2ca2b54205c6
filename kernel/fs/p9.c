#include "kernel/fs/internal.h"

int vfs_mount_9p(const char *tag, const char *dir, bool read_only)
{
    return -ENODEV;
}
