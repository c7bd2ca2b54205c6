/* The `volume=` option of the command line (docs/BOOT.md). */
#include "kernel/fs/internal.h"

static const char *reason(int err)
{
    switch (err) {
    case ENODEV:
        return "no 9p device has this mount tag";
    case ENOTDIR:
        return "not a directory";
    case ENAMETOOLONG:
        return "the path is too long";
    case ENOMEM:
        return "out of memory";
    }
    return "the device does not answer as it should";
}

static int refuse(const char *spec, const char *why)
{
    log_error("moka: volume=%s: %s\n", spec, why);
    return -EINVAL;
}

/* Cuts text at its first colon; what follows it, or NULL. */
static char *cut(char *text)
{
    char *colon = text ? strchr(text, ':') : NULL;
    if (!colon)
        return NULL;
    *colon = 0;
    return colon + 1;
}

int vfs_mount_volume(const char *spec)
{
    char *tag = kstrdup(spec), *dir = cut(tag), *mode = cut(dir);
    int err = -EINVAL;
    if (!tag)
        err = refuse(spec, reason(ENOMEM));
    else if (!dir || !*tag || *dir != '/')
        err = refuse(spec, "write TAG:/GUESTDIR or TAG:/GUESTDIR:ro");
    else if (mode && strcmp(mode, "ro"))
        err = refuse(spec, "after the directory only :ro may follow");
    else if ((err = vfs_mount_9p(tag, dir, mode)))
        err = refuse(spec, reason(-err));
    kfree(tag);
    return err;
}
