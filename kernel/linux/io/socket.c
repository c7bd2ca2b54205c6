/* The socket system calls, over the families of net/socket.h. */
#include "net/socket.h"

#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/linux/io/io.h"
#include "kernel/linux/task.h"
#include "net/interface.h"

#define AF_UNIX        1
#define AF_INET        2
#define AF_INET6       10
#define AF_NETLINK     16
#define SOCK_STREAM    1
#define SOCK_SEQPACKET 5
#define SOCK_TYPE_MASK 0xfu
#define SOCK_FLAGS     (O_NONBLOCK | O_CLOEXEC)
#define CONTROL_MAX    20480 /* bytes of control messages in one call (Linux: optmem_max) */
#define IOV_FLAG       0x80000000u

struct uabi_msghdr {
    u64 name;
    u32 name_len, pad;
    u64 iov, iov_len, control, control_len;
    u32 flags, pad2;
};
UABI_SIZE(struct uabi_msghdr, 56);
struct uabi_mmsghdr {
    struct uabi_msghdr msg;
    u32 len, pad;
};
UABI_SIZE(struct uabi_mmsghdr, 64);

/* ---- sockets as files ---- */

static struct socket *sock_of(const struct file *f)
{
    return f->private;
}

static u32 wait_flags(const struct file *f, u32 flags)
{
    return flags | (f->flags & O_NONBLOCK ? SOCKET_DONTWAIT : 0);
}

static ssize_t socket_read(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct socket_message m = {.it = it, .flags = wait_flags(f, 0)};
    return it->left ? sock_of(f)->ops->receive(sock_of(f), &m)
                    : 0; /* recv() of nothing waits, read() does not */
}

static ssize_t socket_write(struct file *f, struct iov_iter *it, u64 *pos)
{
    struct socket_message m = {.it = it, .flags = wait_flags(f, it->more ? SOCKET_MORE : 0)};
    return sock_of(f)->ops->send(sock_of(f), &m);
}

/* One buffer of the program's, whose range was checked. */
static ssize_t socket_read_buf(struct file *f, void *buf, size_t len)
{
    struct iov iov = {buf, len};
    struct iov_iter it;
    iov_iter_one(&it, &iov, true);
    return file_done(f, socket_read(f, &it, NULL), false);
}

static ssize_t socket_write_buf(struct file *f, const void *buf, size_t len)
{
    struct iov iov = {(void *)buf, len};
    struct iov_iter it;
    iov_iter_one(&it, &iov, true);
    return file_done(f, io_after_write(socket_write(f, &it, NULL)), true);
}

static u32 socket_poll(struct file *f)
{
    return sock_of(f)->ops->poll(sock_of(f));
}

static struct waitq *socket_pollq(struct file *f)
{
    return sock_of(f)->ops->pollq(sock_of(f));
}

/* ---- who gets SIGURG ---- */

static const struct file_ops socket_file_ops;

struct socket *file_socket(const struct file *f)
{
    return f->ops == &socket_file_ops ? sock_of(f) : NULL;
}

s32 socket_owner(const struct file *f)
{
    return f->ops == &socket_file_ops ? __atomic_load_n(&sock_of(f)->owner, __ATOMIC_RELAXED) : 0;
}

s64 socket_set_owner(struct file *f, s32 who)
{
    if (who && who != PID && who != -PID)
        return -ESRCH;
    if (f->ops == &socket_file_ops)
        __atomic_store_n(&sock_of(f)->owner, who, __ATOMIC_RELAXED);
    return 0;
}

/* socket_urgent_hook */
static void send_sigurg(void)
{
    signal_send_process(SIGURG, NULL);
}

void socket_init(void)
{
    socket_urgent_hook = send_sigurg;
}

#define FIOSETOWN 0x8901
#define SIOCSPGRP 0x8902
#define FIOGETOWN 0x8903
#define SIOCGPGRP 0x8904

static s64 owner_ioctl(struct file *f, u32 cmd, u32 *u)
{
    u32 who;
    if (cmd == FIOGETOWN || cmd == SIOCGPGRP)
        return put_user32(u, socket_owner(f));
    return get_user32(&who, u) ?: socket_set_owner(f, who);
}

static s64 socket_ioctl(struct file *f, u32 cmd, u64 arg)
{
    struct socket *s = sock_of(f);
    if (cmd >= FIOSETOWN && cmd <= SIOCGPGRP)
        return owner_ioctl(f, cmd, (void *)arg);
    s64 result = s->ops->ioctl ? s->ops->ioctl(s, cmd, arg) : -ENOTTY;
    return result == -ENOTTY ? ifconf_ioctl(cmd, arg)
                             : result; /* interfaces may be asked for on any socket */
}

static void socket_release(struct file *f)
{
    sock_of(f)->ops->release(sock_of(f));
}

static const struct file_ops socket_file_ops = {
    .read = socket_read,
    .write = socket_write,
    .read_buf = socket_read_buf,
    .write_buf = socket_write_buf,
    .poll = socket_poll,
    .pollq = socket_pollq,
    .ioctl = socket_ioctl,
    .release = socket_release,
    .stream = true,
};

/* A file for s, which it owns; on failure s is released. */
static struct file *socket_file(struct socket *s, u32 flags)
{
    char name[40];
    struct inode *inode = inode_anon(S_IFSOCK | 0777);
    struct file *f = NULL;
    if (inode) {
        snprintf(name, sizeof(name), "socket:[%lu]", inode->ino);
        f = file_create(&socket_file_ops, O_RDWR | (flags & O_NONBLOCK), inode, name, s);
        inode_put(inode);
    }
    if (!f)
        s->ops->release(s);
    return f;
}

static __attribute__((noinline)) struct file *no_socket(struct file *f, s64 *err)
{
    *err = f && !(f->flags & O_PATH) ? -ENOTSOCK : -EBADF;
    if (f)
        file_put(f);
    return NULL;
}

static inline struct file *socket_get(int fd, s64 *err)
{
    struct file *f = fd_get_inline(fd);
    if (unlikely(!f || f->ops != &socket_file_ops))
        return no_socket(f, err);
    *err = 0;
    return f;
}

static s64 install(struct socket *s, u32 flags)
{
    struct file *f = socket_file(s, flags);
    return f ? fd_install(f, 0, flags) : -ENOMEM;
}

/* What socket(2) and socketpair(2) check alike. */
static s64 find_family(u32 family, u32 *type, u32 *flags, struct socket_family **out)
{
    *flags = *type & ~SOCK_TYPE_MASK;
    *type &= SOCK_TYPE_MASK;
    if (*flags & ~SOCK_FLAGS)
        return -EINVAL;
    if (*type < SOCK_STREAM || *type > 10)
        return -EINVAL;
    *out = socket_find_family(family);
    return *out ? 0 : -EAFNOSUPPORT;
}

s64 sys_socket(u32 family, u32 type, u32 protocol)
{
    struct socket_family *f;
    struct socket *s;
    u32 flags;
    s64 err = find_family(family, &type, &flags, &f);
    if (!err)
        err = f->create(type, protocol, &s);
    return err ? err : install(s, flags);
}

s64 sys_socketpair(u32 family, u32 type, u32 protocol, int *ufds)
{
    struct socket_family *f;
    struct socket *pair[2];
    u32 flags;
    s64 err = find_family(family, &type, &flags, &f);
    if (err == -EAFNOSUPPORT && (family == AF_INET || family == AF_INET6))
        err = -EOPNOTSUPP; /* what these families, once registered, say too */
    if (!err)
        err = f->create_pair ? f->create_pair(type, protocol, pair) : -EOPNOTSUPP;
    if (err)
        return err;
    struct file *a = socket_file(pair[0], flags), *b = socket_file(pair[1], flags);
    if (a && b)
        return fd_install_pair(a, b, flags, ufds);
    if (a)
        file_put(a);
    if (b)
        file_put(b);
    return -ENOMEM;
}

/* ---- addresses ---- */

static s64 read_address(struct socket_address *a, const void *uaddr, s32 len)
{
    if (len < 0 || len > SOCKET_ADDRESS_MAX)
        return -EINVAL;
    memset(a, 0, sizeof(*a));
    if (len && copy_from_user(a->bytes, uaddr, len))
        return -EFAULT;
    a->len = len;
    return 0;
}

/* As many bytes as the program has room for; the whole length is told. */
static s64 write_address(const struct socket_address *a, void *uaddr, u32 *ulen)
{
    u32 room;
    if (get_user32(&room, ulen))
        return -EFAULT;
    if ((s32)room < 0)
        return -EINVAL;
    if (copy_to_user(uaddr, a->bytes, MIN(room, a->len)))
        return -EFAULT;
    return put_user32(ulen, a->len);
}

s64 sys_bind(int fd, const void *uaddr, s32 len)
{
    struct socket_address a;
    s64 err;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    struct socket *s = sock_of(f);
    err = read_address(&a, uaddr, len);
    if (!err)
        err = s->ops->bind ? s->ops->bind(s, &a) : -EOPNOTSUPP;
    file_put(f);
    return err;
}

s64 sys_connect(int fd, const void *uaddr, s32 len)
{
    struct socket_address a;
    s64 err;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    struct socket *s = sock_of(f);
    err = read_address(&a, uaddr, len);
    if (!err)
        err = s->ops->connect ? s->ops->connect(s, &a, wait_flags(f, 0)) : -EOPNOTSUPP;
    file_put(f);
    return err;
}

s64 sys_listen(int fd, s32 backlog)
{
    s64 err;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    struct socket *s = sock_of(f);
    err = s->ops->listen ? s->ops->listen(s, backlog) : -EOPNOTSUPP;
    file_put(f);
    return err;
}

static s64 accept_from(struct file *f, void *uaddr, u32 *ulen, u32 flags)
{
    struct socket *s = sock_of(f), *new;
    struct socket_address a = {0};
    s64 err = s->ops->accept ? s->ops->accept(s, wait_flags(f, 0), &new) : -EOPNOTSUPP;
    if (err)
        return err;
    if (uaddr)
        err = new->ops->name(new, true, &a);
    if (!err && uaddr)
        err = write_address(&a, uaddr, ulen);
    if (!err)
        return install(new, flags);
    new->ops->release(new);
    return err;
}

s64 sys_accept4(int fd, void *uaddr, u32 *ulen, u32 flags)
{
    s64 err;
    if (flags & ~SOCK_FLAGS)
        return -EINVAL;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    s64 result = accept_from(f, uaddr, ulen, flags);
    file_put(f);
    return result;
}

s64 sys_accept(int fd, void *uaddr, u32 *ulen)
{
    return sys_accept4(fd, uaddr, ulen, 0);
}

static s64 name_of(int fd, void *uaddr, u32 *ulen, bool of_peer)
{
    struct socket_address a = {0};
    s64 err;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    struct socket *s = sock_of(f);
    err = s->ops->name ? s->ops->name(s, of_peer, &a) : -EOPNOTSUPP;
    if (!err)
        err = write_address(&a, uaddr, ulen);
    file_put(f);
    return err;
}

s64 sys_getsockname(int fd, void *uaddr, u32 *ulen)
{
    return name_of(fd, uaddr, ulen, false);
}

s64 sys_getpeername(int fd, void *uaddr, u32 *ulen)
{
    return name_of(fd, uaddr, ulen, true);
}

s64 sys_shutdown(int fd, s32 how)
{
    s64 err;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    struct socket *s = sock_of(f);
    if ((u32)how > 2)
        err = -EINVAL;
    else
        err = s->ops->shutdown ? s->ops->shutdown(s, how != 1, how != 0) : -EOPNOTSUPP;
    file_put(f);
    return err;
}

/* ---- sending ---- */

static s64 send_message(struct file *f, struct socket_message *m)
{
    struct socket *s = sock_of(f);
    m->flags = wait_flags(f, m->flags);
    s64 n = s->ops->send(s, m);
    if (n == -EPIPE && !(m->flags & SOCKET_NOSIGNAL)) {
        struct uabi_siginfo info;
        signal_info(&info, SIGPIPE, SI_USER);
        signal_send_task(current_task(), SIGPIPE, &info);
    }
    return n;
}

s64 sys_sendto(int fd, void *buf, u64 len, u32 flags, const void *uaddr, s32 addr_len)
{
    struct socket_address a;
    struct iov iov;
    struct iov_iter it;
    struct socket_message m = {.it = &it, .flags = flags};
    s64 err;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    err = user_buf_init(&it, &iov, buf, MIN(len, 0x7ffff000UL));
    if (!err && uaddr) {
        err = read_address(&a, uaddr, addr_len);
        m.address = &a;
    }
    s64 n = err ? err : send_message(f, &m);
    file_put(f);
    return n;
}

/* Copies the control messages and checks that each lies within (cmsg(3)). *out: the caller's, NULL when none.
 */
static s64 read_control(const struct uabi_msghdr *h, u8 **out)
{
    *out = NULL;
    if (!h->control_len)
        return 0;
    if (h->control_len > CONTROL_MAX)
        return -ENOBUFS;
    u8 *bytes = kmalloc(h->control_len);
    if (!bytes)
        return -ENOMEM;
    if (copy_from_user(bytes, (void *)h->control, h->control_len)) {
        kfree(bytes);
        return -EFAULT;
    }
    for (u64 at = 0; at + 16 <= h->control_len;) {
        u64 len;
        memcpy(&len, bytes + at, sizeof(len));
        if (len < 16 || len > h->control_len - at) {
            kfree(bytes);
            return -EINVAL;
        }
        at += ALIGN_UP(len, 8UL);
    }
    *out = bytes;
    return 0;
}

static s64 send_header(struct file *f, const struct uabi_msghdr *h, u32 flags)
{
    struct socket_address a;
    struct user_iov iov;
    struct socket_message m = {.flags = flags};
    u8 *control;
    s64 err = h->name ? read_address(&a, (void *)h->name, MIN(h->name_len, SOCKET_ADDRESS_MAX + 0u)) : 0;
    if (err)
        return err;
    err = h->iov_len > IOV_MAX ? -EMSGSIZE : user_iov_init(&iov, (void *)h->iov, h->iov_len);
    if (err)
        return err;
    err = read_control(h, &control);
    if (!err) {
        m.it = &iov.it;
        m.address = h->name ? &a : NULL;
        m.control = control;
        m.control_len = h->control_len;
        err = send_message(f, &m);
        kfree(control);
    }
    user_iov_free(&iov);
    return err;
}

s64 sys_sendmsg(int fd, const struct uabi_msghdr *uheader, u32 flags)
{
    struct uabi_msghdr h;
    s64 err;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    s64 n = copy_from_user(&h, uheader, sizeof(h)) ? -EFAULT : send_header(f, &h, flags);
    file_put(f);
    return n;
}

static s64 send_one_of_many(struct file *f, struct uabi_mmsghdr *u, u32 flags)
{
    struct uabi_mmsghdr h;
    if (copy_from_user(&h, u, sizeof(h)))
        return -EFAULT;
    s64 n = send_header(f, &h.msg, flags);
    return n < 0 ? n : put_user32(&u->len, n);
}

s64 sys_sendmmsg(int fd, struct uabi_mmsghdr *uheaders, u32 count, u32 flags)
{
    s64 err, done = 0;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    for (count = MIN(count, IOV_MAX + 0u); done < count && !err;) {
        err = send_one_of_many(f, uheaders + done, flags);
        done += !err;
    }
    file_put(f);
    return done ? done : err;
}

/* ---- receiving ---- */

static s64 receive_message(struct file *f, struct socket_message *m)
{
    m->flags = wait_flags(f, m->flags);
    return sock_of(f)->ops->receive(sock_of(f), m);
}

s64 sys_recvfrom(int fd, void *buf, u64 len, u32 flags, void *uaddr, u32 *ulen)
{
    struct socket_address a;
    struct iov iov;
    struct iov_iter it;
    struct socket_message m = {.it = &it, .flags = flags, .address = uaddr ? &a : NULL};
    s64 err;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    a.len = 0;
    err = user_buf_init(&it, &iov, buf, MIN(len, 0x7ffff000UL));
    s64 n = err ? err : receive_message(f, &m);
    if (n >= 0 && uaddr)
        n = write_address(&a, uaddr, ulen) ?: n;
    file_put(f);
    return n;
}

/* Gives the program what was received beside the bytes. */
static s64 write_header(struct uabi_msghdr *u, const struct uabi_msghdr *h, const struct socket_message *m,
                        u32 flags)
{
    const struct socket_control *c = m->reply;
    u32 out = m->out_flags | (c->truncated ? SOCKET_CTRUNC : 0) | (flags & SOCKET_CMSG_CLOEXEC);
    if (h->name) {
        u32 len = m->address->len;
        if (copy_to_user((void *)h->name, m->address->bytes, MIN(len, h->name_len)))
            return -EFAULT;
        if (put_user32(&u->name_len, len))
            return -EFAULT;
    }
    if (c->len && copy_to_user((void *)h->control, c->bytes, c->len))
        return -EFAULT;
    return put_user64(&u->control_len, c->len) ?: put_user32(&u->flags, out);
}

static s64 receive_header(struct file *f, struct uabi_msghdr *u, u32 flags)
{
    struct uabi_msghdr h;
    struct user_iov iov;
    struct socket_address a = {0};
    struct socket_control reply = {0};
    struct socket_message m = {.flags = flags, .address = &a, .reply = &reply};
    if (copy_from_user(&h, u, sizeof(h)))
        return -EFAULT;
    if (h.name && (s32)h.name_len < 0)
        return -EINVAL;
    s64 n = h.iov_len > IOV_MAX ? -EMSGSIZE : user_iov_init(&iov, (void *)h.iov, h.iov_len);
    if (n)
        return n;
    m.it = &iov.it;
    reply.room = h.control ? MIN(h.control_len, CONTROL_MAX + 0UL) : 0;
    reply.bytes = reply.room ? kmalloc(reply.room) : NULL;
    n = reply.room && !reply.bytes ? -ENOMEM : receive_message(f, &m);
    if (n >= 0)
        n = write_header(u, &h, &m, flags) ?: n;
    kfree(reply.bytes);
    user_iov_free(&iov);
    return n;
}

s64 sys_recvmsg(int fd, struct uabi_msghdr *uheader, u32 flags)
{
    s64 err;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    s64 n = receive_header(f, uheader, flags);
    file_put(f);
    return n;
}

/* timeout is looked at between messages only, as recvmmsg(2) admits. */
static s64 receive_many(struct file *f, struct uabi_mmsghdr *uheaders, u32 count, u32 flags, u64 deadline_ns)
{
    s64 done = 0, n = 0;
    while (done < count) {
        n = receive_header(f, &uheaders[done].msg, flags & ~SOCKET_WAITFORONE);
        if (n >= 0)
            n = put_user32(&uheaders[done].len, n);
        if (n < 0)
            break;
        done++;
        if (flags & SOCKET_WAITFORONE)
            flags |= SOCKET_DONTWAIT;
        if (clock_monotonic_ns() >= deadline_ns)
            break;
    }
    return done ? done : n;
}

s64 sys_recvmmsg(int fd, struct uabi_mmsghdr *uheaders, u32 count, u32 flags,
                 const struct uabi_timespec *utimeout)
{
    struct uabi_timespec ts;
    u64 deadline = ~0UL;
    s64 err;
    if (utimeout) {
        if (copy_from_user(&ts, utimeout, sizeof(ts)))
            return -EFAULT;
        if (!timespec_valid(&ts))
            return -EINVAL;
        deadline = deadline_after(timespec_ns(&ts));
    }
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    s64 n = receive_many(f, uheaders, MIN(count, IOV_MAX + 0u), flags, deadline);
    file_put(f);
    return n;
}

/* ---- options of SOL_SOCKET that all families share (socket(7)) ---- */

#define SOL_SOCKET     1
#define SO_DEBUG       1
#define SO_REUSEADDR   2
#define SO_TYPE        3
#define SO_ERROR       4
#define SO_DONTROUTE   5
#define SO_BROADCAST   6
#define SO_SNDBUF      7
#define SO_RCVBUF      8
#define SO_KEEPALIVE   9
#define SO_OOBINLINE   10
#define SO_NO_CHECK    11
#define SO_PRIORITY    12
#define SO_LINGER      13
#define SO_BSDCOMPAT   14
#define SO_REUSEPORT   15
#define SO_PASSCRED    16
#define SO_PEERCRED    17
#define SO_RCVLOWAT    18
#define SO_SNDLOWAT    19
#define SO_RCVTIMEO    20
#define SO_SNDTIMEO    21
#define SO_TIMESTAMP   29
#define SO_ACCEPTCONN  30
#define SO_SNDBUFFORCE 32
#define SO_RCVBUFFORCE 33
#define SO_TIMESTAMPNS 35
#define SO_MARK        36
#define SO_PROTOCOL    38
#define SO_DOMAIN      39
#define SO_BUSY_POLL   46
#define SO_NAPI_ID     56
#define SO_COOKIE      57
#define SO_PREFER_BUSY 69
#define SO_BUSY_BUDGET 70

#define TIMESTAMPS (1UL << SO_TIMESTAMP | 1UL << SO_TIMESTAMPNS) /* one of them at most */
#define BOOLEAN_OPTIONS                                                                                      \
    (1UL << SO_DEBUG | 1UL << SO_REUSEADDR | 1UL << SO_DONTROUTE | 1UL << SO_BROADCAST |                     \
     1UL << SO_KEEPALIVE | 1UL << SO_OOBINLINE | 1UL << SO_NO_CHECK | 1UL << SO_REUSEPORT |                  \
     1UL << SO_PASSCRED | TIMESTAMPS)
#define RECEIVE_BUFFER_MIN 2304u
#define SEND_BUFFER_MIN    4608u
#define BUFFER_MAX         425984u /* twice net.core.wmem_max */

static int get_timeout(u64 ns, void *value, u32 *len)
{
    struct uabi_timeval tv = timeval_of(ns);
    *len = MIN(*len, (u32)sizeof(tv));
    memcpy(value, &tv, *len);
    return 0;
}

static int get_number(u32 number, void *value, u32 *len)
{
    *len = MIN(*len, (u32)sizeof(number));
    memcpy(value, &number, *len);
    return 0;
}

/* struct ucred of nobody: a family with credentials tells them itself. */
static int get_nobody(void *value, u32 *len)
{
    static const s32 nobody[3] = {0, -1, -1};
    *len = MIN(*len, (u32)sizeof(nobody));
    memcpy(value, nobody, *len);
    return 0;
}

/* A number that no other socket has or had. */
static int get_cookie(struct socket *s, void *value, u32 *len)
{
    static u64 last; /* atomic */
    u64 cookie = __atomic_load_n(&s->cookie, __ATOMIC_RELAXED), none = 0;
    if (*len < sizeof(cookie))
        return -EINVAL;
    if (!cookie) {
        cookie = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
        if (!__atomic_compare_exchange_n(&s->cookie, &none, cookie, false, __ATOMIC_RELAXED,
                                         __ATOMIC_RELAXED))
            cookie = none;
    }
    *len = sizeof(cookie);
    memcpy(value, &cookie, sizeof(cookie));
    return 0;
}

/* Only the family that has credentials passes them. */
static bool foreign(const struct socket *s, int option)
{
    return option == SO_PASSCRED && s->family != AF_UNIX && s->family != AF_NETLINK;
}

static int get_common(struct socket *s, int option, void *value, u32 *len)
{
    if (foreign(s, option))
        return -EOPNOTSUPP;
    if (option > 0 && option < 64 && (BOOLEAN_OPTIONS >> option & 1))
        return get_number(socket_flag(s, option), value, len);
    switch (option) {
    case SO_TYPE:
        return get_number(s->type, value, len);
    case SO_DOMAIN:
        return get_number(s->family, value, len);
    case SO_PROTOCOL:
        return get_number(s->protocol, value, len);
    case SO_ERROR:
    case SO_ACCEPTCONN:
    case SO_BSDCOMPAT:
    case SO_NAPI_ID:
        return get_number(0, value, len);
    case SO_PEERCRED:
        return get_nobody(value, len);
    case SO_COOKIE:
        return get_cookie(s, value, len);
    case SO_MARK:
        return get_number(s->mark, value, len);
    case SO_BUSY_POLL:
        return get_number(s->busy_poll_us, value, len);
    case SO_PREFER_BUSY:
        return get_number(s->prefer_busy_poll, value, len);
    case SO_PRIORITY:
        return get_number(s->priority, value, len);
    case SO_SNDBUF:
        return get_number(s->send_buffer, value, len);
    case SO_RCVBUF:
        return get_number(s->receive_buffer, value, len);
    case SO_RCVLOWAT:
        return get_number(s->receive_low + 1, value, len);
    case SO_SNDLOWAT:
        return get_number(1, value, len);
    case SO_LINGER:
        *len = MIN(*len, (u32)sizeof(s->linger));
        memcpy(value, &s->linger, *len);
        return 0;
    case SO_RCVTIMEO:
        return get_timeout(s->receive_timeout_ns, value, len);
    case SO_SNDTIMEO:
        return get_timeout(s->send_timeout_ns, value, len);
    }
    return -ENOPROTOOPT;
}

static int set_timeout(u64 *ns, const void *value, u32 len)
{
    struct uabi_timeval tv;
    if (len < sizeof(tv))
        return -EINVAL;
    memcpy(&tv, value, sizeof(tv));
    if (tv.usec < 0 || tv.usec >= 1000000)
        return -EDOM;
    u64 timeout = tv.sec < 0 ? 0 : tv.sec > 1000000000 ? 0 : tv.sec * NSEC_PER_SEC + tv.usec * 1000;
    __atomic_store_n(ns, timeout, __ATOMIC_RELAXED);
    return 0;
}

static int set_flag(struct socket *s, int option, bool on)
{
    if (TIMESTAMPS >> option & 1)
        __atomic_and_fetch(&s->flags, ~TIMESTAMPS, __ATOMIC_RELAXED);
    if (on)
        __atomic_or_fetch(&s->flags, 1UL << option, __ATOMIC_RELAXED);
    else
        __atomic_and_fetch(&s->flags, ~(1UL << option), __ATOMIC_RELAXED);
    return 0;
}

static void set_buffer(u32 *bytes, u32 number, u32 least)
{
    u32 wanted = number > BUFFER_MAX / 2 ? BUFFER_MAX : number * 2;
    __atomic_store_n(bytes, MAX(wanted, least), __ATOMIC_RELAXED);
}

static int set_common(struct socket *s, int option, const void *value, u32 len)
{
    u32 number;
    if (foreign(s, option))
        return -EOPNOTSUPP;
    if (option == SO_RCVTIMEO || option == SO_SNDTIMEO)
        return set_timeout(option == SO_RCVTIMEO ? &s->receive_timeout_ns : &s->send_timeout_ns, value, len);
    if (len < sizeof(number))
        return -EINVAL;
    memcpy(&number, value, sizeof(number));
    if (option > 0 && option < 64 && (BOOLEAN_OPTIONS >> option & 1))
        return set_flag(s, option, number);
    switch (option) {
    case SO_SNDBUF:
    case SO_SNDBUFFORCE:
        set_buffer(&s->send_buffer, number, SEND_BUFFER_MIN);
        socket_limit_unsent(s);
        return 0;
    case SO_RCVBUF:
    case SO_RCVBUFFORCE:
        set_buffer(&s->receive_buffer, number, RECEIVE_BUFFER_MIN);
        return 0;
    case SO_LINGER:
        if (len < sizeof(s->linger))
            return -EINVAL;
        memcpy(&s->linger, value, sizeof(s->linger));
        return 0;
    case SO_PRIORITY:
        __atomic_store_n(&s->priority, number, __ATOMIC_RELAXED);
        return 0;
    case SO_MARK:
        __atomic_store_n(&s->mark, number, __ATOMIC_RELAXED);
        return 0;
    case SO_BUSY_POLL:
        if ((s32)number < 0)
            return -EINVAL;
        __atomic_store_n(&s->busy_poll_us, number, __ATOMIC_RELAXED);
        return 0;
    case SO_PREFER_BUSY:
        __atomic_store_n(&s->prefer_busy_poll, !!number, __ATOMIC_RELAXED);
        return 0;
    case SO_BSDCOMPAT:
    case SO_BUSY_BUDGET:
        return 0;
    case SO_RCVLOWAT:
        number = (s32)number < 0 ? INT32_MAX : number;
        __atomic_store_n(&s->receive_low, number ? number - 1 : 0, __ATOMIC_RELAXED);
        return 0;
    }
    return -ENOPROTOOPT;
}

#define OPTION_MAX 256 /* bytes of an option's value */

static s64 get_option(struct socket *s, int level, int option, void *uvalue, u32 *ulen)
{
    u8 value[OPTION_MAX] = {0};
    u32 len;
    if (get_user32(&len, ulen))
        return -EFAULT;
    if ((s32)len < 0)
        return -EINVAL;
    len = MIN(len, OPTION_MAX + 0u);
    int err = s->ops->get_option ? s->ops->get_option(s, level, option, value, &len) : -ENOPROTOOPT;
    if (err == -ENOPROTOOPT && level == SOL_SOCKET)
        err = get_common(s, option, value, &len);
    if (err)
        return err == -ENOPROTOOPT && level != SOL_SOCKET && !s->ops->get_option ? -EOPNOTSUPP : err;
    return copy_to_user(uvalue, value, len) ?: put_user32(ulen, len);
}

static s64 set_option(struct socket *s, int level, int option, const void *uvalue, s32 len)
{
    u8 value[OPTION_MAX] = {0};
    if (len < 0)
        return -EINVAL;
    u32 known = MIN(len, OPTION_MAX);
    if (copy_from_user(value, uvalue, known))
        return -EFAULT;
    int err = s->ops->set_option ? s->ops->set_option(s, level, option, value, known) : -ENOPROTOOPT;
    if (err == -ENOPROTOOPT && level == SOL_SOCKET)
        return set_common(s, option, value, known);
    return err == -ENOPROTOOPT && !s->ops->set_option ? -EOPNOTSUPP : err;
}

s64 sys_getsockopt(int fd, int level, int option, void *uvalue, u32 *ulen)
{
    s64 err;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    err = get_option(sock_of(f), level, option, uvalue, ulen);
    file_put(f);
    return err;
}

s64 sys_setsockopt(int fd, int level, int option, const void *uvalue, s32 len)
{
    s64 err;
    struct file *f = socket_get(fd, &err);
    if (!f)
        return err;
    err = set_option(sock_of(f), level, option, uvalue, len);
    file_put(f);
    return err;
}
