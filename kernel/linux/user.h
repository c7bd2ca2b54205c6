/*
 * Access to the program's memory. Every address is checked to lie in the program's half, then copied by the
 * fault-safe routines. Errors: -EFAULT unless said otherwise. All may sleep (page faults).
 */
#ifndef MOKA_LINUX_USER_H
#define MOKA_LINUX_USER_H

#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/errno.h"
#include "kernel/base/types.h"
#include "kernel/fs/vfs.h"

#define PATH_MAX 4096
#define IOV_MAX  1024

/* [addr, addr + len) lies in the program's half. */
static inline bool user_range(u64 addr, u64 len)
{
    return len <= PROGRAM_END && addr <= PROGRAM_END - len;
}

static inline int copy_from_user(void *dst, const void *src, size_t n)
{
    if (!user_range((u64)src, n))
        return -EFAULT;
    return copy_safe(dst, src, n) ? -EFAULT : 0;
}

static inline int copy_to_user(void *dst, const void *src, size_t n)
{
    if (!user_range((u64)dst, n))
        return -EFAULT;
    return copy_safe(dst, src, n) ? -EFAULT : 0;
}

static inline int clear_user(void *dst, size_t n)
{
    if (!user_range((u64)dst, n))
        return -EFAULT;
    return zero_safe(dst, n) ? -EFAULT : 0;
}

static inline int get_user32(u32 *value, const void *src)
{
    return copy_from_user(value, src, sizeof(*value));
}
static inline int get_user64(u64 *value, const void *src)
{
    return copy_from_user(value, src, sizeof(*value));
}
static inline int put_user32(void *dst, u32 value)
{
    return copy_to_user(dst, &value, sizeof(value));
}
static inline int put_user64(void *dst, u64 value)
{
    return copy_to_user(dst, &value, sizeof(value));
}

/*
 * A string of the program, copied; *out is the caller's (kfree). -EFAULT, -ENOMEM, too_long when it has no
 * end within max bytes (terminator included).
 */
int user_string(const char *s, size_t max, int too_long, char **out);
/* A path: user_string with PATH_MAX and -ENAMETOOLONG. The empty path is left to the caller. */
static inline int user_path(const char *s, char **out)
{
    return user_string(s, PATH_MAX, -ENAMETOOLONG, out);
}

/* Buffers of a vectored call, copied and checked. */
struct user_iov {
    struct iov fast[8];
    struct iov *iov; /* fast, or kmalloc'ed */
    struct iov_iter it;
};
/* -EFAULT, -EINVAL (count, or a sum of lengths beyond SSIZE_MAX), -ENOMEM. user_iov_free() on success only.
 */
int user_iov_init(struct user_iov *u, const void *iov, u64 count);
void user_iov_free(struct user_iov *u);
/* One buffer: only -EFAULT. */
int user_buf_init(struct iov_iter *it, struct iov *iov, void *buf, size_t len);

/*
 * A structure whose size the program gives (clone3, openat2): longer ones must end in zeros (-E2BIG), shorter
 * ones are filled up with zeros.
 */
int user_struct(void *dst, size_t known, const void *src, size_t given);

#endif
