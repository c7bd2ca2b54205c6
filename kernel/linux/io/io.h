/* What the event-like files share. */
#ifndef MOKA_LINUX_IO_H
#define MOKA_LINUX_IO_H

#include "kernel/base/errno.h"
#include "kernel/fs/vfs.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/time.h"
#include "kernel/linux/user.h"
#include "sched/waitq.h"

/*
 * A descriptor of an anonymous file; name as /proc/self/fd shows it, O_CLOEXEC in flags. private is the
 * file's from here on: its release frees it. On any failure private was freed by `discard`.
 */
s64 anon_open(const struct file_ops *ops, u32 flags, const char *name, void *private,
              void (*discard)(void *));

/* Waits on q for a change of what lock guards (waitq_wait): 0, -EAGAIN (O_NONBLOCK), -ERESTART. */
int wait_change(struct file *f, struct waitq *q, struct mutex *lock);

/* As poll(): what holds now of events; files without poll are always ready. */
static inline u32 file_poll(struct file *f)
{
    return f->ops->poll ? f->ops->poll(f) : POLL_IN | POLL_OUT;
}

/* Registers hooks; once, at boot. */
void io_init(void);
void epoll_init(void);
void inotify_setup(void);
void unix_init(void);
void netlink_init(void);
void socket_init(void);

/* F_GETOWN, F_SETOWN: a socket keeps its owner (PID, -PID, 0: nobody), any other file has none. -ESRCH. */
s32 socket_owner(const struct file *f);
s64 socket_set_owner(struct file *f, s32 who);

/* NULL: it is none. */
struct socket;
struct socket *file_socket(const struct file *f);

/* Result of a write: one that found nobody to read sends SIGPIPE to the caller with its -EPIPE. */
ssize_t io_broken_pipe(void);
static inline ssize_t io_after_write(ssize_t n)
{
    return unlikely(n == -EPIPE) ? io_broken_pipe() : n;
}

void sys_io_init(void); /* part of io_init */

#endif
