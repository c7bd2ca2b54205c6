/* Standard input, output and error on the console ports (docs/BOOT.md). They look like pipes to the program.
 */
#include "kernel/linux/stdio.h"
#include "kernel/base/cmdline.h"
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/uabi.h"
#include "kernel/linux/user.h"
#include "virtio/virtio.h"

#define PIECE 16384 /* bytes copied at a time */

static u32 port_of(const struct file *f)
{
    return (u64)f->private;
}

static ssize_t stdin_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    if (cmdline.stdin_null || !console_present() || !it->left)
        return 0;
    size_t want = MIN(it->left, (size_t)PIECE);
    char *buf = kmalloc(want);
    if (!buf)
        return -ENOMEM;
    ssize_t n = console_read(port_of(f), buf, want, f->flags & O_NONBLOCK);
    if (n > 0)
        n = iov_to(it, buf, n);
    kfree(buf);
    return n;
}

/* Without a console device everything goes to the serial port. */
static ssize_t port_write(u32 port, const char *buf, size_t n)
{
    if (console_present())
        return console_write(port, buf, n);
    log_write(buf, n);
    return n;
}

static ssize_t write_pieces(u32 port, struct iov_iter *it, char *buf, size_t room)
{
    ssize_t done = 0;
    while (it->left) {
        ssize_t n = iov_from(it, buf, MIN(it->left, room));
        if (n > 0)
            n = port_write(port, buf, n);
        if (n <= 0)
            return done ? done : n;
        done += n;
    }
    return done;
}

static ssize_t stdout_write(struct file *f, struct iov_iter *it, u64 *pos)
{
    char small[256];
    if (it->left <= sizeof(small))
        return write_pieces(port_of(f), it, small, sizeof(small));
    size_t room = MIN(it->left, (size_t)PIECE);
    char *buf = kmalloc(room);
    if (!buf)
        return -ENOMEM;
    ssize_t n = write_pieces(port_of(f), it, buf, room);
    kfree(buf);
    return n;
}

static u32 stdin_poll(struct file *f)
{
    size_t n = cmdline.stdin_null || !console_present() ? ~0UL : console_readable(port_of(f));
    if (n == ~0UL)
        return POLL_IN | POLL_HUP;
    return n ? POLL_IN : 0;
}

static u32 stdout_poll(struct file *f)
{
    return POLL_OUT;
}

static struct waitq *port_waitq(struct file *f)
{
    return console_present() ? console_waitq(port_of(f)) : NULL;
}

static s64 stdin_ioctl(struct file *f, u32 cmd, u64 arg)
{
    if (cmd != FIONREAD)
        return -ENOTTY;
    size_t n = console_present() && !cmdline.stdin_null ? console_readable(port_of(f)) : 0;
    return put_user32((void *)arg, n == ~0UL ? 0 : n);
}

static const struct file_ops stdin_ops = {
    .read = stdin_read, .poll = stdin_poll, .pollq = port_waitq, .ioctl = stdin_ioctl, .stream = true};
static const struct file_ops stdout_ops = {
    .write = stdout_write, .poll = stdout_poll, .pollq = port_waitq, .stream = true};

static int open_one(const struct file_ops *ops, u32 flags, const char *name, u64 port)
{
    struct inode *inode = inode_anon(S_IFIFO | 0600);
    if (!inode)
        return -ENOMEM;
    struct file *f = file_create(ops, flags, inode, name, (void *)port);
    inode_put(inode);
    int fd = f ? fd_install(f, 0, 0) : -ENOMEM;
    return fd < 0 ? fd : 0;
}

int stdio_open(void)
{
    int err = open_one(&stdin_ops, O_RDONLY, "pipe:[1]", PORT_STDIN);
    if (!err)
        err = open_one(&stdout_ops, O_WRONLY, "pipe:[2]", PORT_STDOUT);
    if (!err)
        err = open_one(&stdout_ops, O_WRONLY, "pipe:[3]", PORT_STDERR);
    return err;
}
