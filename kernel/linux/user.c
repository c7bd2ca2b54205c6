/* Strings, buffers and structures of the program. */
#include "kernel/linux/user.h"
#include "kernel/base/string.h"
#include "mm/phys/phys.h"

int user_string(const char *s, size_t max, int too_long, char **out)
{
    if ((u64)s >= PROGRAM_END)
        return -EFAULT;
    size_t room = MIN(max, PROGRAM_END - (u64)s);
    ssize_t len = strnlen_safe(s, room);
    if (len < 0)
        return -EFAULT;
    if ((size_t)len == room)
        return room == max ? too_long : -EFAULT;
    char *copy = kmalloc(len + 1);
    if (!copy)
        return -ENOMEM;
    if (copy_safe(copy, s, len)) {
        kfree(copy);
        return -EFAULT;
    }
    copy[len] = 0; /* the program may have changed it meanwhile */
    *out = copy;
    return 0;
}

/* The sum of the lengths, or -errno. */
static inline ssize_t check_iov(const struct iov *iov, u32 count)
{
    size_t sum = 0;
    for (u32 i = 0; i < count; i++) {
        if (unlikely((ssize_t)iov[i].len < 0 || (ssize_t)(sum + iov[i].len) < 0))
            return -EINVAL;
        if (unlikely(!user_range((u64)iov[i].base, iov[i].len)))
            return -EFAULT;
        sum += iov[i].len;
    }
    return sum;
}

int user_iov_init(struct user_iov *u, const void *iov, u64 count)
{
    if (count > IOV_MAX)
        return -EINVAL;
    u->iov = u->fast;
    if (count > ARRAY_LEN(u->fast) && !(u->iov = kmalloc(count * sizeof(*u->iov))))
        return -ENOMEM;
    ssize_t total = copy_from_user(u->iov, iov, count * sizeof(*u->iov));
    if (!total)
        total = check_iov(u->iov, count);
    if (unlikely(total < 0)) {
        user_iov_free(u);
        return total;
    }
    u->it = (struct iov_iter){.iov = u->iov, .count = count, .left = total, .user = true};
    return 0;
}

void user_iov_free(struct user_iov *u)
{
    if (u->iov != u->fast)
        kfree(u->iov);
}

int user_buf_init(struct iov_iter *it, struct iov *iov, void *buf, size_t len)
{
    if (!user_range((u64)buf, len))
        return -EFAULT;
    iov->base = buf;
    iov->len = len;
    iov_iter_one(it, iov, true);
    return 0;
}

int user_struct(void *dst, size_t known, const void *src, size_t given)
{
    memset(dst, 0, known);
    if (given > PAGE_SIZE)
        return -E2BIG;
    for (size_t at = known; at < given; at++) {
        u8 byte;
        if (copy_from_user(&byte, (const char *)src + at, 1))
            return -EFAULT;
        if (byte)
            return -E2BIG;
    }
    return copy_from_user(dst, src, MIN(known, given));
}
