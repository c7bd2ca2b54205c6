/*
 * `--strace`: one line a system call on the serial port, `[tid] name(arguments) = result (ERRNO)`, generated
 * from the kinds in table.def. Memory of the program is read fault-safely; what cannot be read is shown as an
 * address.
 */
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/table.h"
#include "kernel/linux/task.h"
#include "kernel/linux/user.h"

#define LINE_MAX   480
#define STRING_MAX 64 /* bytes of a string or buffer that are shown */

/* The line under construction; text that does not fit is cut. */
struct line {
    char text[LINE_MAX];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(l->text + l->len, sizeof(l->text) - l->len, fmt, ap);
    va_end(ap);
    l->len = MIN(l->len + n, sizeof(l->text) - 1);
}

/* ---- names of bits and values ---- */

struct name {
    u64 value;
    const char *text;
};
#define END                                                                                                  \
    {                                                                                                        \
        0, NULL                                                                                              \
    }

static const struct name open_flags[] = {
    {O_CREAT, "O_CREAT"},
    {O_EXCL, "O_EXCL"},
    {O_NOCTTY, "O_NOCTTY"},
    {O_TRUNC, "O_TRUNC"},
    {O_APPEND, "O_APPEND"},
    {O_NONBLOCK, "O_NONBLOCK"},
    {O_SYNC, "O_SYNC"},
    {O_DSYNC, "O_DSYNC"},
    {O_DIRECT, "O_DIRECT"},
    {O_LARGEFILE, "O_LARGEFILE"},
    {O_TMPFILE, "O_TMPFILE"},
    {O_DIRECTORY, "O_DIRECTORY"},
    {O_NOFOLLOW, "O_NOFOLLOW"},
    {O_NOATIME, "O_NOATIME"},
    {O_CLOEXEC, "O_CLOEXEC"},
    {O_PATH, "O_PATH"},
    END,
};
static const struct name prot_bits[] = {
    {1, "PROT_READ"}, {2, "PROT_WRITE"}, {4, "PROT_EXEC"}, {0x01000000, "PROT_GROWSDOWN"}, END,
};
static const struct name map_flags[] = {
    {0x03, "MAP_SHARED_VALIDATE"},
    {0x01, "MAP_SHARED"},
    {0x02, "MAP_PRIVATE"},
    {0x10, "MAP_FIXED"},
    {0x20, "MAP_ANONYMOUS"},
    {0x40, "MAP_32BIT"},
    {0x100, "MAP_GROWSDOWN"},
    {0x800, "MAP_DENYWRITE"},
    {0x2000, "MAP_LOCKED"},
    {0x4000, "MAP_NORESERVE"},
    {0x8000, "MAP_POPULATE"},
    {0x10000, "MAP_NONBLOCK"},
    {0x20000, "MAP_STACK"},
    {0x40000, "MAP_HUGETLB"},
    {0x100000, "MAP_FIXED_NOREPLACE"},
    END,
};
static const struct name clone_flags[] = {
    {0x100, "CLONE_VM"},
    {0x200, "CLONE_FS"},
    {0x400, "CLONE_FILES"},
    {0x800, "CLONE_SIGHAND"},
    {0x4000, "CLONE_VFORK"},
    {0x10000, "CLONE_THREAD"},
    {0x40000, "CLONE_SYSVSEM"},
    {0x80000, "CLONE_SETTLS"},
    {0x100000, "CLONE_PARENT_SETTID"},
    {0x200000, "CLONE_CHILD_CLEARTID"},
    {0x400000, "CLONE_DETACHED"},
    {0x1000000, "CLONE_CHILD_SETTID"},
    END,
};
static const struct name advice[] = {
    {0, "MADV_NORMAL"},         {1, "MADV_RANDOM"},          {2, "MADV_SEQUENTIAL"},
    {3, "MADV_WILLNEED"},       {4, "MADV_DONTNEED"},        {8, "MADV_FREE"},
    {9, "MADV_REMOVE"},         {10, "MADV_DONTFORK"},       {12, "MADV_MERGEABLE"},
    {14, "MADV_HUGEPAGE"},      {15, "MADV_NOHUGEPAGE"},     {16, "MADV_DONTDUMP"},
    {22, "MADV_POPULATE_READ"}, {23, "MADV_POPULATE_WRITE"}, END,
};
static const struct name clocks[] = {
    {0, "CLOCK_REALTIME"},          {1, "CLOCK_MONOTONIC"},     {2, "CLOCK_PROCESS_CPUTIME_ID"},
    {3, "CLOCK_THREAD_CPUTIME_ID"}, {4, "CLOCK_MONOTONIC_RAW"}, {5, "CLOCK_REALTIME_COARSE"},
    {6, "CLOCK_MONOTONIC_COARSE"},  {7, "CLOCK_BOOTTIME"},      END,
};
static const struct name futex_ops[] = {
    {0, "FUTEX_WAIT"},        {1, "FUTEX_WAKE"},         {3, "FUTEX_REQUEUE"},   {4, "FUTEX_CMP_REQUEUE"},
    {5, "FUTEX_WAKE_OP"},     {6, "FUTEX_LOCK_PI"},      {7, "FUTEX_UNLOCK_PI"}, {8, "FUTEX_TRYLOCK_PI"},
    {9, "FUTEX_WAIT_BITSET"}, {10, "FUTEX_WAKE_BITSET"}, {13, "FUTEX_LOCK_PI2"}, END,
};
static const struct name fcntl_commands[] = {
    {0, "F_DUPFD"},
    {1, "F_GETFD"},
    {2, "F_SETFD"},
    {3, "F_GETFL"},
    {4, "F_SETFL"},
    {5, "F_GETLK"},
    {6, "F_SETLK"},
    {7, "F_SETLKW"},
    {36, "F_OFD_GETLK"},
    {37, "F_OFD_SETLK"},
    {1030, "F_DUPFD_CLOEXEC"},
    END,
};
static const struct name whences[] = {
    {0, "SEEK_SET"}, {1, "SEEK_CUR"}, {2, "SEEK_END"}, {3, "SEEK_DATA"}, {4, "SEEK_HOLE"}, END,
};
static const struct name mask_hows[] = {{0, "SIG_BLOCK"}, {1, "SIG_UNBLOCK"}, {2, "SIG_SETMASK"}, END};
static const struct name errors[] = {
    {EPERM, "EPERM"},
    {ENOENT, "ENOENT"},
    {ESRCH, "ESRCH"},
    {EINTR, "EINTR"},
    {EIO, "EIO"},
    {ENXIO, "ENXIO"},
    {E2BIG, "E2BIG"},
    {ENOEXEC, "ENOEXEC"},
    {EBADF, "EBADF"},
    {ECHILD, "ECHILD"},
    {EAGAIN, "EAGAIN"},
    {ENOMEM, "ENOMEM"},
    {EACCES, "EACCES"},
    {EFAULT, "EFAULT"},
    {EBUSY, "EBUSY"},
    {EEXIST, "EEXIST"},
    {EXDEV, "EXDEV"},
    {ENODEV, "ENODEV"},
    {ENOTDIR, "ENOTDIR"},
    {EISDIR, "EISDIR"},
    {EINVAL, "EINVAL"},
    {ENFILE, "ENFILE"},
    {EMFILE, "EMFILE"},
    {ENOTTY, "ENOTTY"},
    {EFBIG, "EFBIG"},
    {ENOSPC, "ENOSPC"},
    {ESPIPE, "ESPIPE"},
    {EROFS, "EROFS"},
    {EMLINK, "EMLINK"},
    {EPIPE, "EPIPE"},
    {ERANGE, "ERANGE"},
    {EDEADLK, "EDEADLK"},
    {ENAMETOOLONG, "ENAMETOOLONG"},
    {ENOLCK, "ENOLCK"},
    {ENOSYS, "ENOSYS"},
    {ENOTEMPTY, "ENOTEMPTY"},
    {ELOOP, "ELOOP"},
    {ENODATA, "ENODATA"},
    {EOVERFLOW, "EOVERFLOW"},
    {ENOTSOCK, "ENOTSOCK"},
    {EOPNOTSUPP, "EOPNOTSUPP"},
    {EAFNOSUPPORT, "EAFNOSUPPORT"},
    {EADDRINUSE, "EADDRINUSE"},
    {ENOTCONN, "ENOTCONN"},
    {ETIMEDOUT, "ETIMEDOUT"},
    {ECONNREFUSED, "ECONNREFUSED"},
    {EINPROGRESS, "EINPROGRESS"},
    {ERESTART, "restarts"},
    {ERESTART_NOHAND, "restarts"},
    {ERESTART_BLOCK, "restarts"},
    END,
};

static const char *find_name(const struct name *names, u64 value)
{
    for (; names->text; names++)
        if (names->value == value)
            return names->text;
    return NULL;
}

static void add_value(struct line *l, const struct name *names, u64 value)
{
    const char *text = find_name(names, value);
    if (text)
        add(l, "%s", text);
    else
        add(l, "0x%lx", value);
}

/* first: what stands for the bits that no name covers being zero at the start, or NULL. */
static void add_bits(struct line *l, const struct name *names, u64 value, const char *first)
{
    bool any = first != NULL;
    if (first)
        add(l, "%s", first);
    for (; names->text; names++) {
        if ((value & names->value) != names->value)
            continue;
        add(l, "%s%s", any ? "|" : "", names->text);
        value &= ~names->value;
        any = true;
    }
    if (value || !any)
        add(l, "%s0x%lx", any ? "|" : "", value);
}

/* ---- the program's memory ---- */

static void add_bytes(struct line *l, const char *bytes, size_t n, bool cut)
{
    add(l, "\"");
    for (size_t i = 0; i < n; i++) {
        u8 c = bytes[i];
        if (c == '\n')
            add(l, "\\n");
        else if (c == '"' || c == '\\')
            add(l, "\\%c", c);
        else if (c >= 0x20 && c < 0x7f)
            add(l, "%c", c);
        else
            add(l, "\\x%02x", c);
    }
    add(l, cut ? "\"..." : "\"");
}

static void add_string(struct line *l, u64 addr)
{
    char bytes[STRING_MAX];
    ssize_t n = user_range(addr, 1) && addr ? strnlen_safe((const char *)addr, STRING_MAX) : -EFAULT;
    if (n < 0 || copy_from_user(bytes, (const void *)addr, n))
        add(l, addr ? "0x%lx" : "NULL", addr);
    else
        add_bytes(l, bytes, n, n == STRING_MAX);
}

static void add_buffer(struct line *l, u64 addr, u64 len)
{
    char bytes[STRING_MAX];
    size_t n = MIN(len, (u64)STRING_MAX);
    if (!addr || copy_from_user(bytes, (const void *)addr, n))
        add(l, addr ? "0x%lx" : "NULL", addr);
    else
        add_bytes(l, bytes, n, len > STRING_MAX);
}

static void add_timespec(struct line *l, u64 addr)
{
    s64 ts[2];
    if (!addr || copy_from_user(ts, (const void *)addr, sizeof(ts)))
        add(l, addr ? "0x%lx" : "NULL", addr);
    else
        add(l, "{%ld, %ld}", ts[0], ts[1]);
}

static void add_sigset(struct line *l, u64 addr)
{
    u64 set;
    if (!addr || get_user64(&set, (const void *)addr))
        add(l, addr ? "0x%lx" : "NULL", addr);
    else
        add(l, "{0x%lx}", set);
}

static void add_iov(struct line *l, u64 addr, u64 count)
{
    struct iov iov;
    if (!addr || !count || copy_from_user(&iov, (const void *)addr, sizeof(iov))) {
        add(l, "0x%lx", addr);
        return;
    }
    add(l, "[{");
    add_buffer(l, (u64)iov.base, iov.len);
    add(l, ", %zu}%s]", iov.len, count > 1 ? ", ..." : "");
}

/* ---- arguments ---- */

static void add_open_flags(struct line *l, u64 flags)
{
    static const char *const access[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
    add_bits(l, open_flags, flags & ~(u64)O_ACCMODE, access[flags & O_ACCMODE]);
}

static void add_futex_op(struct line *l, u64 op)
{
    add_value(l, futex_ops, op & 0x7f);
    add(l, "%s%s", op & 128 ? "|FUTEX_PRIVATE_FLAG" : "", op & 256 ? "|FUTEX_CLOCK_REALTIME" : "");
}

/* False: kind is no number's. */
static bool add_number(struct line *l, char kind, u64 v)
{
    switch (kind) {
    case 'd':
    case 'f':
        add(l, "%d", (int)v);
        return true;
    case 'F':
        add(l, (int)v == -100 ? "AT_FDCWD" : "%d", (int)v);
        return true;
    case 'u':
        add(l, "%u", (u32)v);
        return true;
    case 'l':
        add(l, "%ld", (s64)v);
        return true;
    case 'z':
        add(l, "%lu", v);
        return true;
    case 'o':
        add(l, "0%lo", v & 07777777);
        return true;
    }
    return false;
}

/* False: kind has no names. */
static bool add_named(struct line *l, char kind, u64 v)
{
    switch (kind) {
    case 'O':
        add_open_flags(l, v);
        return true;
    case 'P':
        add_bits(l, prot_bits, v, v ? NULL : "PROT_NONE");
        return true;
    case 'M':
        add_bits(l, map_flags, v, NULL);
        return true;
    case 'K':
        add_bits(l, clone_flags, v & ~0xffUL, NULL);
        return true;
    case 'D':
        add_value(l, advice, v);
        return true;
    case 'S':
        add(l, "%s", v > 0 && v <= 64 ? signal_name(v) : "?");
        return true;
    case 'H':
        add_value(l, mask_hows, v);
        return true;
    case 'c':
        add_value(l, clocks, v);
        return true;
    case 'T':
        add_futex_op(l, v);
        return true;
    case 'N':
        add_value(l, fcntl_commands, v);
        return true;
    case 'h':
        add_value(l, whences, v);
        return true;
    }
    return false;
}

/* result: of a call that has returned, for buffers it filled; negative before that. */
static void add_argument(struct line *l, char kind, const u64 *args, int i, s64 result)
{
    u64 v = args[i];
    if (add_number(l, kind, v) || add_named(l, kind, v))
        return;
    switch (kind) {
    case 's':
        add_string(l, v);
        break;
    case 'b':
        add_buffer(l, v, result > 0 ? result : 0);
        break;
    case 'B':
        add_buffer(l, v, args[i + 1]);
        break;
    case 'V':
        add_iov(l, v, args[i + 1]);
        break;
    case 'W':
        add_sigset(l, v);
        break;
    case 't':
    case 'q':
        add_timespec(l, v);
        break;
    default: /* x, p and pointers to structures */
        add(l, v || kind == 'x' ? "0x%lx" : "NULL", v);
    }
}

/* sigaction's first argument is a signal, its kinds describe pointers: the row says A for both. */
static char kind_of(u64 nr, const char *kinds, int i)
{
    return nr == 13 && i == 0 ? 'S' : kinds[i];
}

static void add_call(struct line *l, u64 nr, const u64 args[6], s64 result)
{
    const struct syscall_row *row = nr < SYSCALL_MAX ? &syscall_rows[nr] : NULL;
    add(l, "[%d] ", current_task()->tid);
    if (!row || !row->name) {
        add(l, "syscall_%lu(0x%lx, 0x%lx, 0x%lx", nr, args[0], args[1], args[2]);
        return;
    }
    add(l, "%s(", row->name);
    for (int i = 0; row->args[i]; i++) {
        if (i)
            add(l, ", ");
        add_argument(l, kind_of(nr, row->args, i), args, i, result);
    }
}

static void finish(struct line *l)
{
    l->text[l->len++] = '\n';
    log_write(l->text, l->len);
}

/* Calls that do not come back are shown when they start. */
static bool never_returns(u64 nr)
{
    return nr == 15 /* rt_sigreturn */ || nr == 60 /* exit */ || nr == 231 /* exit_group */;
}

void strace_enter(u64 nr, const u64 args[6])
{
    struct line l = {.len = 0};
    if (!never_returns(nr))
        return;
    add_call(&l, nr, args, -1);
    add(&l, ") = ?");
    finish(&l);
}

/* True for the calls whose result is an address or a set of bits. */
static bool result_is_address(u64 nr)
{
    return nr == 9 /* mmap */ || nr == 12 /* brk */ || nr == 25 /* mremap */ || nr == 30 /* shmat */;
}

void strace_call(u64 nr, const u64 args[6], s64 result)
{
    struct line l = {.len = 0};
    if (never_returns(nr))
        return;
    add_call(&l, nr, args, result);
    /* The result stays readable whatever the arguments' length. */
    l.len = MIN(l.len, (size_t)LINE_MAX - 48);
    if (result < 0 && result >= -4095) {
        const char *name = find_name(errors, -result);
        add(&l, ") = -1 (%s)", name ? name : "?");
        if (!name)
            add(&l, " errno %ld", -result);
    } else {
        add(&l, result_is_address(nr) ? ") = 0x%lx" : ") = %ld", result);
    }
    finish(&l);
}
