/* Files without a name. */
#include "kernel/linux/io/io.h"

s64 anon_open(const struct file_ops *ops, u32 flags, const char *name, void *private, void (*discard)(void *))
{
    struct inode *inode = private ? inode_anon(0600) : NULL;
    struct file *f = inode ? file_create(ops, flags & ~O_CLOEXEC, inode, name, private) : NULL;
    inode_put(inode);
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
