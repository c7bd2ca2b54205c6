/*
 * The descriptor table.
 *
 * Looking a descriptor up takes no lock and is one compare-and-exchange: a slot holds the file's address and
 * a stock of references that were taken in advance (counted in file->refs); a lookup takes one out of the
 * stock, closing gives the rest of it back. So a lookup that races with close either gets a reference or
 * EBADF. A lookup that leaves little in stock refills it. All functions may sleep.
 */
#ifndef MOKA_LINUX_FD_H
#define MOKA_LINUX_FD_H

#include "kernel/arch/x86_64/access.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/fs/vfs.h"

#define FD_LIMIT_HARD 1048576u
#define FD_LIMIT_SOFT 65536u

/* A slot: the file's address in the high 48 bits, references in stock in the low 16. 0: closed. */
typedef u64 fd_slot;
#define FD_STOCK_LOW 1024u /* a lookup that finds less goes the slow way, and refills */

/*
 * All slots, at fixed addresses. A page of them is there once one of its descriptors was opened, and stays;
 * before that it is not mapped, and nothing is open in it.
 */
#define FD_SLOTS ((fd_slot *)FD_TABLE)

/* What is open in a slot that has references in stock. */
static inline struct file *fd_slot_file(fd_slot s)
{
    struct file *f = (struct file *)((s64)s >> 16); /* kernel addresses: the sign comes back */
    if (!f)
        __builtin_unreachable();
    return f;
}

/* The file of fd with a reference of the caller's (file_put), or NULL: not open (EBADF). */
struct file *fd_get(int fd);
/* The same for the calls that are made most. NULL: ask fd_get(), it may be open all the same. */
static inline struct file *fd_get_fast(u32 fd)
{
    if (unlikely(fd >= FD_LIMIT_HARD))
        return NULL;
    fd_slot *slot = &FD_SLOTS[fd], old;
    if (likely(load64_safe(&old, slot) && (u16)old >= FD_STOCK_LOW &&
               __atomic_compare_exchange_n(slot, &old, old - 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)))
        return fd_slot_file(old);
    return NULL;
}
static inline struct file *fd_get_inline(u32 fd)
{
    struct file *f = fd_get_fast(fd);
    return likely(f) ? f : fd_get(fd);
}
/* The same, and NULL too when it was opened with O_PATH: for everything that does I/O. */
struct file *fd_get_io(int fd);

/*
 * Gives f the lowest free descriptor >= min. flags: O_CLOEXEC is looked at, nothing else. Takes over the
 * caller's reference, on failure too (it is dropped then). The descriptor, -EMFILE, -EINVAL (min beyond the
 * limit), -ENOMEM.
 */
int fd_install(struct file *f, u32 min, u32 flags);
/*
 * The same for a pair (pipe2, socketpair); the numbers go to the program's int[2] at fds. Both references are
 * taken over. 0, -EMFILE, -EFAULT (nothing is left open), -ENOMEM.
 */
int fd_install_pair(struct file *a, struct file *b, u32 flags, int *fds);
/* dup2/dup3: makes `to` mean f, closing what was there. Takes over the reference. `to`, or -EBADF, -ENOMEM.
 */
int fd_replace(int to, struct file *f, u32 flags);
/* 0, -EBADF, or what the file's flush said (closed nevertheless). */
int fd_close(int fd);
/* FD_CLOEXEC of an open descriptor: 0/1, or -EBADF. */
int fd_get_cloexec(int fd);
int fd_set_cloexec(int fd, bool on);
/* The lowest open descriptor >= fd, or -1: for /proc/self/fd and close_range. */
int fd_next(int fd);
/* Called after a descriptor was closed and its file may have other references: epoll drops what it watched
 * through (fd, file). Registered once at boot. */
extern void (*fd_closed_hook)(int fd, struct file *f);

#endif
