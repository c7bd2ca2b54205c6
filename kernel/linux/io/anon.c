/* Files without a name. */
#include "kernel/linux/io/io.h"

struct file *anon_file(const struct file_ops *ops, u32 flags, u32 mode, const char *name, void *private)
{
    struct inode *inode = inode_anon(mode);
    if (!inode)
        return NULL;
    struct file *f = file_create(ops, flags, inode, name, private);
    inode_put(inode);
    return f;
}

s64 anon_open(const struct file_ops *ops, u32 flags, const char *name, void *private, void (*discard)(void *))
{
    struct file *f = private ? anon_file(ops, flags & ~O_CLOEXEC, 0600, name, private) : NULL;
    if (!f) {
        if (private)
            discard(private);
        return -ENOMEM;
    }
    return fd_install(f, 0, flags);
}

int wait_change(struct file *f, struct waitq *q, struct mutex *lock)
{
    if (f->flags & O_NONBLOCK)
        return -EAGAIN;
    int err = waitq_wait(q, lock, SLEEP_FOREVER, SLEEP_INTERRUPTIBLE);
    return err == -EINTR ? -ERESTART : err;
}

void io_init(void)
{
    sys_io_init();
    epoll_init();
    inotify_setup();
    socket_init();
    unix_init();
    netlink_init();
}
