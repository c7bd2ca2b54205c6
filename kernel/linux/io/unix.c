/*
 * AF_UNIX (unix(7)): stream, datagram and sequenced-packet sockets, named by paths, by abstract names or not
 * at all; passing of descriptors and credentials.
 *
 * A message is a packet in the receiver's inbox. A stream's packets are pieces of the stream. The sender
 * waits on the receiver's wait queue while its inbox is full; who takes something out wakes that queue and
 * its peer's (for poll).
 *
 * Locks, in order: names_lock < a listener's lock < a socket's lock. Two sockets' locks are never held
 * together otherwise: each side changes its own state, and marks the other's under the other's lock.
 * References keep structures alive: the file's, the peer's, the backlog's, and transient ones.
 *
 * Sockets that were sent through one another and closed are never collected (Linux has a garbage collector
 * for that).
 */
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/linux/io/io.h"
#include "net/socket.h"

#define AF_UNSPEC       0
#define AF_UNIX         1
#define SOCK_STREAM     1
#define SOCK_DGRAM      2
#define SOCK_RAW        3 /* the same as a datagram socket here */
#define SOCK_SEQPACKET  5
#define SOL_SOCKET      1
#define SO_ERROR        4
#define SO_PASSCRED     16
#define SO_PEERCRED     17
#define SO_ACCEPTCONN   30
#define SCM_RIGHTS      1
#define SCM_CREDENTIALS 2

#define NAME_MAX_UNIX 108   /* sizeof(sun_path) */
#define PIECE_MAX     32768 /* bytes of a stream in one packet */
#define RIGHTS_MAX    253   /* descriptors in one message (SCM_MAX_FD) */
#define DATAGRAMS_MAX 512   /* messages in an inbox */
#define BACKLOG_MAX   4096
/* How senders that wait on a receiver's queue are woken: no event that poll knows, for s itself has not
 * changed. */
#define SENDER_ROOM 0x80000000u

struct packet {
    struct list link;
    u32 len, taken; /* bytes of data; of them received already (streams) */
    struct socket_address from;
    u32 rights_count;
    struct file **rights; /* a reference each */
    u8 data[];
};

enum state { FRESH, LISTENING, CONNECTED };

struct unix_socket {
    struct socket base;
    u32 refs; /* atomic */
    struct waitq changed;

    struct mutex lock; /* guards down to `waiting` */
    enum state state;
    struct unix_socket *peer; /* one reference. Datagram sockets: where send() goes */
    bool receive_shut, send_shut, closed;
    bool has_credentials; /* SO_PEERCRED: of whom connected, listened, or made the pair */
    int error;            /* SO_ERROR */
    struct list inbox;
    u32 inbox_bytes, inbox_count; /* bytes is read without the lock, too */
    struct socket_address name;
    struct list backlog; /* of sockets not accepted yet, by waiting_link; one reference each */
    u32 backlog_count, backlog_max;
    struct list waiting_link; /* guarded by the listener's lock */

    struct list bound_link; /* in bound; guarded by names_lock */
    struct inode *inode;    /* of a path name, one reference; guarded by names_lock */
};

static struct mutex names_lock;
static struct list bound = LIST_INIT(bound);
static const struct socket_ops unix_ops;

static struct unix_socket *unix_of(struct socket *s)
{
    return container_of(s, struct unix_socket, base);
}
static bool is_datagram(const struct unix_socket *s)
{
    return s->base.type == SOCK_DGRAM;
}
static bool is_stream(const struct unix_socket *s)
{
    return s->base.type == SOCK_STREAM;
}

/* ---- packets ---- */

static void free_rights(struct file **rights, u32 count)
{
    for (u32 i = 0; i < count; i++)
        file_put(rights[i]);
    kfree(rights);
}

static void free_packet(struct packet *p)
{
    free_rights(p->rights, p->rights_count);
    kfree(p);
}

/* lock held. */
static struct packet *take_packet(struct unix_socket *s)
{
    struct packet *p = list_first(&s->inbox, struct packet, link);
    if (p) {
        list_del(&p->link);
        s->inbox_count--;
        __atomic_store_n(&s->inbox_bytes, s->inbox_bytes - (p->len - p->taken), __ATOMIC_RELAXED);
    }
    return p;
}

/* ---- life ---- */

static void unix_get(struct unix_socket *s)
{
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
}

static void unix_put(struct unix_socket *s)
{
    struct packet *p;
    if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
        return;
    while ((p = take_packet(s)))
        free_packet(p);
    kfree(s);
}

static struct unix_socket *unix_new(u32 type)
{
    struct unix_socket *s = kmalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->base.ops = &unix_ops;
    s->base.family = AF_UNIX;
    s->base.type = type;
    s->base.send_buffer = s->base.receive_buffer = SOCKET_BUFFER;
    s->refs = 1;
    s->name = (struct socket_address){.len = sizeof(u16), .family = AF_UNIX};
    list_init(&s->inbox);
    list_init(&s->backlog);
    list_init(&s->waiting_link);
    list_init(&s->bound_link);
    return s;
}

static int check_type(u32 *type, u32 protocol)
{
    if (protocol && protocol != AF_UNIX)
        return -EPROTONOSUPPORT;
    if (*type == SOCK_RAW)
        *type = SOCK_DGRAM;
    return *type == SOCK_STREAM || *type == SOCK_DGRAM || *type == SOCK_SEQPACKET ? 0 : -ESOCKTNOSUPPORT;
}

static int unix_create(u32 type, u32 protocol, struct socket **out)
{
    int err = check_type(&type, protocol);
    if (err)
        return err;
    struct unix_socket *s = unix_new(type);
    if (!s)
        return -ENOMEM;
    *out = &s->base;
    return 0;
}

static int unix_create_pair(u32 type, u32 protocol, struct socket *out[2])
{
    int err = check_type(&type, protocol);
    if (err)
        return err;
    struct unix_socket *a = unix_new(type), *b = unix_new(type);
    if (!a || !b) {
        kfree(a);
        kfree(b);
        return -ENOMEM;
    }
    a->state = b->state = CONNECTED;
    a->has_credentials = b->has_credentials = true;
    a->peer = b;
    b->peer = a;
    a->refs = b->refs = 2;
    out[0] = &a->base;
    out[1] = &b->base;
    return 0;
}

/* The peer learns that s is gone; unread: s had data nobody will see. */
static void part_from(struct unix_socket *peer, struct unix_socket *s, bool unread)
{
    mutex_lock(&peer->lock);
    bool mine = peer->peer == s;
    if (mine && !is_datagram(peer)) {
        peer->receive_shut = peer->send_shut = true;
        if (unread)
            peer->error = ECONNRESET;
    }
    mutex_unlock(&peer->lock);
    waitq_wake_all(&peer->changed, 0);
}

static void unbind(struct unix_socket *s)
{
    mutex_lock(&names_lock);
    list_del(&s->bound_link);
    struct inode *inode = s->inode;
    s->inode = NULL;
    mutex_unlock(&names_lock);
    inode_put(inode);
}

static void unix_close(struct unix_socket *s)
{
    struct unix_socket *waiting;
    unbind(s);
    mutex_lock(&s->lock);
    struct unix_socket *peer = s->peer;
    bool unread = !list_empty(&s->inbox);
    s->closed = s->receive_shut = s->send_shut = true;
    s->peer = NULL;
    mutex_unlock(&s->lock);
    waitq_wake_all(&s->changed, 0);
    if (peer) {
        part_from(peer, s, unread);
        unix_put(peer);
    }
    /* Nobody adds to the backlog of a closed listener. */
    while ((waiting = list_first(&s->backlog, struct unix_socket, waiting_link))) {
        list_del(&waiting->waiting_link);
        unix_close(waiting);
    }
    unix_put(s);
}

static void unix_release(struct socket *base)
{
    unix_close(unix_of(base));
}

/* ---- names ---- */

static bool is_abstract(const struct socket_address *a)
{
    return a->bytes[2] == 0;
}

static struct unix_socket *find_abstract(const struct socket_address *a)
{
    struct unix_socket *s;
    list_for_each(s, &bound, bound_link)
    {
        if (!s->inode && s->name.len == a->len && !memcmp(s->name.bytes, a->bytes, a->len))
            return s;
    }
    return NULL;
}

static struct unix_socket *find_inode(const struct inode *inode)
{
    struct unix_socket *s;
    list_for_each(s, &bound, bound_link)
    {
        if (s->inode == inode)
            return s;
    }
    return NULL;
}

/* The path of an address, terminated. */
static void path_of(const struct socket_address *a, char path[NAME_MAX_UNIX + 1])
{
    size_t len = MIN(a->len - 2, NAME_MAX_UNIX + 0u);
    memcpy(path, a->bytes + 2, len);
    path[len] = 0;
}

static int check_address(const struct socket_address *a)
{
    if (a->len <= sizeof(u16) || a->len > sizeof(u16) + NAME_MAX_UNIX)
        return -EINVAL;
    return a->family == AF_UNIX ? 0 : -EINVAL;
}

/* The socket bound to an address, with a reference. type 0: any. */
static int find_socket(const struct socket_address *a, u32 type, struct unix_socket **out)
{
    char name[NAME_MAX_UNIX + 1];
    struct vfs_path path = {0};
    int err = check_address(a);
    if (err)
        return err;
    if (!is_abstract(a)) {
        struct vfs_path cwd = process_cwd();
        path_of(a, name);
        err = vfs_lookup(cwd, name, 0, &path);
        vfs_path_put(cwd);
        if (err)
            return err;
    }
    mutex_lock(&names_lock);
    struct unix_socket *s = path.dentry ? find_inode(vfs_path_inode(path)) : find_abstract(a);
    if (s)
        unix_get(s);
    mutex_unlock(&names_lock);
    if (path.dentry)
        vfs_path_put(path);
    if (!s)
        return -ECONNREFUSED;
    if (s->base.type != type) {
        unix_put(s);
        return -EPROTOTYPE;
    }
    *out = s;
    return 0;
}

/* Makes the file of a path name. *inode: a reference. */
static int make_path(const char *name, struct inode **inode)
{
    struct vfs_path path, cwd = process_cwd();
    u32 umask = __atomic_load_n(&process.umask, __ATOMIC_RELAXED);
    int err = vfs_mknod(cwd, name, S_IFSOCK | (0777 & ~umask), 0);
    if (err == -EEXIST)
        err = -EADDRINUSE;
    if (!err)
        err = vfs_lookup(cwd, name, VFS_NOFOLLOW, &path);
    vfs_path_put(cwd);
    if (err)
        return err;
    *inode = vfs_path_inode(path);
    inode_get(*inode);
    vfs_path_put(path);
    return 0;
}

static bool path_exists(const char *name)
{
    struct vfs_path path, cwd = process_cwd();
    int err = vfs_lookup(cwd, name, VFS_NOFOLLOW, &path);
    vfs_path_put(cwd);
    if (!err)
        vfs_path_put(path);
    return !err;
}

/* An abstract name of five hexadecimal digits (unix(7), autobind). names_lock held. */
static int autobind(struct socket_address *a)
{
    static u32 next;
    for (u32 tries = 0; tries < 0x100000; tries++) {
        *a = (struct socket_address){.len = 8, .family = AF_UNIX};
        char digits[8];
        snprintf(digits, sizeof(digits), "%05x", next++ & 0xfffff);
        memcpy(a->bytes + 3, digits, 5);
        if (!find_abstract(a))
            return 0;
    }
    return -ENOSPC;
}

/* Gives s its name. inode: of a path name, the reference is taken over on success. */
static int set_name(struct unix_socket *s, const struct socket_address *a, struct inode *inode)
{
    struct socket_address name = *a;
    int err = 0;
    mutex_lock(&names_lock);
    if (s->name.len > sizeof(u16))
        err = -EINVAL;
    else if (name.len == sizeof(u16))
        err = autobind(&name);
    else if (!inode && find_abstract(&name))
        err = -EADDRINUSE;
    if (!err) {
        mutex_lock(&s->lock);
        s->name = name;
        mutex_unlock(&s->lock);
        s->inode = inode;
        list_push_back(&bound, &s->bound_link);
    }
    mutex_unlock(&names_lock);
    return err;
}

static int unix_bind(struct socket *base, const struct socket_address *a)
{
    struct unix_socket *s = unix_of(base);
    char name[NAME_MAX_UNIX + 1];
    struct inode *inode = NULL;
    if (a->len == sizeof(u16) && a->family == AF_UNIX)
        return s->name.len > sizeof(u16) ? 0 : set_name(s, a, NULL);
    int err = check_address(a);
    if (err)
        return err;
    if (is_abstract(a))
        return s->name.len > sizeof(u16) ? -EINVAL : set_name(s, a, NULL);
    path_of(a, name);
    if (s->name.len > sizeof(u16)) /* what is in the way comes first, as on Linux */
        return path_exists(name) ? -EADDRINUSE : -EINVAL;
    err = make_path(name, &inode);
    if (err)
        return err;
    /* As getsockname() tells it: with the terminator. */
    struct socket_address full = {.len = 2 + strlen(name) + 1, .family = AF_UNIX};
    memcpy(full.bytes + 2, name, strlen(name) + 1);
    err = set_name(s, &full, inode);
    if (err)
        inode_put(inode);
    return err;
}

static int unix_name(struct socket *base, bool of_peer, struct socket_address *out)
{
    struct unix_socket *s = unix_of(base), *peer = NULL;
    int err = 0;
    mutex_lock(&s->lock);
    if (!of_peer)
        *out = s->name;
    else if (s->peer)
        unix_get(peer = s->peer);
    else
        err = -ENOTCONN;
    mutex_unlock(&s->lock);
    if (peer) {
        mutex_lock(&peer->lock);
        *out = peer->name;
        mutex_unlock(&peer->lock);
        unix_put(peer);
    }
    return err;
}

/* ---- connecting ---- */

static int unix_listen(struct socket *base, int backlog)
{
    struct unix_socket *s = unix_of(base);
    int err = 0;
    if (is_datagram(s))
        return -EOPNOTSUPP;
    mutex_lock(&s->lock);
    if (s->state == CONNECTED || s->name.len == sizeof(u16)) {
        err = -EINVAL;
    } else {
        s->state = LISTENING;
        s->has_credentials = true;
        s->backlog_max = (u32)backlog > BACKLOG_MAX ? BACKLOG_MAX : backlog;
    }
    mutex_unlock(&s->lock);
    waitq_wake_all(&s->changed, 0);
    return err;
}

/* Waits on s, whose lock is held, for a change: 0, -EAGAIN, -ERESTART. */
static int wait_for(struct unix_socket *s, u32 flags, u64 deadline_ns)
{
    if (flags & SOCKET_DONTWAIT)
        return -EAGAIN;
    int err = waitq_wait(&s->changed, &s->lock, deadline_ns, SLEEP_INTERRUPTIBLE);
    return err == -EINTR ? -ERESTART : err == -ETIMEDOUT ? -EAGAIN : err;
}

/* Joins s and the new far end. The listener's lock held. */
static int join(struct unix_socket *s, struct unix_socket *far)
{
    int err = 0;
    mutex_lock(&s->lock);
    if (s->state != FRESH) {
        err = s->state == CONNECTED ? -EISCONN : -EINVAL;
    } else {
        s->state = far->state = CONNECTED;
        s->has_credentials = far->has_credentials = true;
        s->peer = far;
        far->peer = s;
        unix_get(s);
        unix_get(far);
    }
    mutex_unlock(&s->lock);
    return err;
}

static int connect_stream(struct unix_socket *s, struct unix_socket *listener, struct unix_socket *far,
                          u32 flags)
{
    u64 deadline = socket_deadline(s->base.send_timeout_ns);
    int err = 0;
    mutex_lock(&listener->lock);
    while (listener->state == LISTENING && !listener->closed &&
           listener->backlog_count > listener->backlog_max && !err)
        err = wait_for(listener, flags, deadline);
    if (listener->state != LISTENING || listener->closed)
        err = -ECONNREFUSED;
    else if (listener->backlog_count <= listener->backlog_max)
        err = join(s, far);
    if (!err) {
        far->name = listener->name;
        far->base.flags = listener->base.flags;
        list_push_back(&listener->backlog, &far->waiting_link);
        listener->backlog_count++;
    }
    mutex_unlock(&listener->lock);
    if (!err)
        waitq_wake_all(&listener->changed, POLL_IN);
    return err;
}

static int connect_datagram(struct unix_socket *s, struct unix_socket *target)
{
    mutex_lock(&s->lock);
    struct unix_socket *before = s->peer;
    s->peer = target;
    s->state = target ? CONNECTED : FRESH;
    mutex_unlock(&s->lock);
    if (before)
        unix_put(before);
    return 0;
}

static int unix_connect(struct socket *base, const struct socket_address *a, u32 flags)
{
    struct unix_socket *s = unix_of(base), *target;
    if (a->len < sizeof(u16))
        return -EINVAL;
    if (is_datagram(s) && a->family == AF_UNSPEC)
        return connect_datagram(s, NULL);
    int err = find_socket(a, base->type, &target);
    if (err)
        return err;
    if (is_datagram(s))
        return connect_datagram(s, target);
    if (__atomic_load_n(&s->state, __ATOMIC_RELAXED) == CONNECTED) {
        unix_put(target);
        return -EISCONN;
    }
    struct unix_socket *far = unix_new(base->type);
    err = far ? connect_stream(s, target, far, flags) : -ENOMEM;
    if (err && far)
        unix_put(far);
    unix_put(target);
    return err;
}

static int unix_accept(struct socket *base, u32 flags, struct socket **out)
{
    struct unix_socket *s = unix_of(base), *new = NULL;
    u64 deadline = socket_deadline(base->receive_timeout_ns);
    int err = is_datagram(s) ? -EOPNOTSUPP : 0;
    if (err)
        return err;
    mutex_lock(&s->lock);
    if (s->state != LISTENING)
        err = -EINVAL;
    while (list_empty(&s->backlog) && !err)
        err = s->receive_shut ? -EINVAL : wait_for(s, flags, deadline);
    if (!list_empty(&s->backlog)) {
        new = list_first(&s->backlog, struct unix_socket, waiting_link);
        list_del(&new->waiting_link);
        s->backlog_count--;
        err = 0;
    }
    mutex_unlock(&s->lock);
    if (!new)
        return err;
    waitq_wake_all(&s->changed, 0); /* connects that wait for room */
    *out = &new->base;
    return 0;
}

static int unix_shutdown(struct socket *base, bool receive, bool send)
{
    struct unix_socket *s = unix_of(base), *peer;
    mutex_lock(&s->lock);
    peer = s->peer;
    s->receive_shut |= receive;
    s->send_shut |= send;
    if (peer)
        unix_get(peer);
    mutex_unlock(&s->lock);
    waitq_wake_all(&s->changed, 0);
    if (!peer)
        return 0;
    if (!is_datagram(s)) {
        mutex_lock(&peer->lock);
        peer->send_shut |= receive;
        peer->receive_shut |= send;
        mutex_unlock(&peer->lock);
        waitq_wake_all(&peer->changed, 0);
    }
    unix_put(peer);
    return 0;
}

/* ---- control messages ---- */

struct control_header {
    u64 len;
    s32 level, type;
};
struct credentials {
    s32 pid;
    u32 uid, gid;
};

static int take_rights(const u8 *fds, size_t len, struct packet *p)
{
    u32 count = len / sizeof(s32);
    if (count > RIGHTS_MAX || p->rights)
        return -EINVAL;
    p->rights = kmalloc(MAX(count, 1u) * sizeof(*p->rights));
    if (!p->rights)
        return -ENOMEM;
    for (; p->rights_count < count; p->rights_count++) {
        s32 fd;
        memcpy(&fd, fds + p->rights_count * sizeof(fd), sizeof(fd));
        struct file *f = fd_get(fd);
        if (!f)
            return -EBADF;
        p->rights[p->rights_count] = f;
    }
    return 0;
}

static int check_credentials(const u8 *data, size_t len)
{
    struct credentials c;
    if (len != sizeof(c))
        return -EINVAL;
    memcpy(&c, data, sizeof(c));
    if (c.pid != PID)
        return -ESRCH; /* who has all rights may say another process's, if there is one */
    return !c.uid && !c.gid ? 0 : -EPERM;
}

/* What the sender gives along with p. */
static int read_control(const struct socket_message *m, struct packet *p)
{
    struct control_header h;
    int err = 0;
    for (size_t at = 0; m->control && at + sizeof(h) <= m->control_len && !err; at += ALIGN_UP(h.len, 8UL)) {
        memcpy(&h, m->control + at, sizeof(h));
        if (h.level != SOL_SOCKET)
            continue;
        const u8 *data = m->control + at + sizeof(h);
        if (h.type == SCM_RIGHTS)
            err = take_rights(data, h.len - sizeof(h), p);
        else if (h.type == SCM_CREDENTIALS)
            err = check_credentials(data, h.len - sizeof(h));
        else
            err = -EINVAL;
    }
    return err;
}

/* Opens the files that came with a message. */
static void give_rights(struct socket_control *c, u32 flags, struct file **rights, u32 count)
{
    s32 fds[RIGHTS_MAX];
    u32 room = c->room - c->len > sizeof(struct control_header)
                   ? (c->room - c->len - sizeof(struct control_header)) / sizeof(s32)
                   : 0;
    u32 given = 0;
    while (given < MIN(count, room)) {
        file_get(rights[given]);
        fds[given] = fd_install(rights[given], 0, flags & SOCKET_CMSG_CLOEXEC ? O_CLOEXEC : 0);
        if (fds[given] < 0)
            break;
        given++;
    }
    if (given < count)
        c->truncated = true;
    if (given)
        socket_control_put(c, SOL_SOCKET, SCM_RIGHTS, fds, given * sizeof(s32));
}

/* What the receiver gets beside the bytes of p. */
static void give_extras(struct unix_socket *s, struct socket_message *m, struct packet *p,
                        struct file **rights, u32 count)
{
    static const struct credentials creds = {.pid = PID};
    if (m->address) {
        *m->address = p->from;
        if (p->from.len <= sizeof(u16)) /* it has no name */
            m->address->len = 0;
    }
    if (m->reply && socket_flag(&s->base, SO_PASSCRED))
        socket_control_put(m->reply, SOL_SOCKET, SCM_CREDENTIALS, &creds, sizeof(creds));
    if (m->reply && count)
        give_rights(m->reply, m->flags, rights, count);
    else if (count)
        m->out_flags |= SOCKET_CTRUNC;
}

/* ---- sending ---- */

static struct packet *new_packet(struct unix_socket *s, struct socket_message *m, u32 len)
{
    struct packet *p = kmalloc(sizeof(*p) + len);
    if (!p)
        return NULL;
    p->len = len;
    mutex_lock(&s->lock);
    p->from = s->name;
    mutex_unlock(&s->lock);
    return p;
}

static bool has_room(const struct unix_socket *to, const struct unix_socket *from, u32 bytes)
{
    u32 limit = __atomic_load_n(&from->base.send_buffer, __ATOMIC_RELAXED);
    if (to->inbox_count >= DATAGRAMS_MAX && !is_stream(to))
        return false;
    return !to->inbox_bytes || to->inbox_bytes + bytes <= limit;
}

/* Waits until `bytes` fit into to's inbox. 0, or why not. to's lock held. */
static int wait_for_room(struct unix_socket *s, struct unix_socket *to, u32 bytes, u32 flags, u64 deadline_ns)
{
    int err = 0;
    for (;;) {
        if (to->closed || to->receive_shut)
            return is_datagram(to) && to->closed ? -ECONNREFUSED : -EPIPE;
        if (has_room(to, s, bytes))
            return 0;
        if (err)
            return err;
        err = wait_for(to, flags, deadline_ns);
    }
}

/* Puts p into to's inbox, which takes it over; on failure p is freed. */
static int deliver(struct unix_socket *s, struct unix_socket *to, struct packet *p, u32 flags,
                   u64 deadline_ns)
{
    mutex_lock(&to->lock);
    int err = wait_for_room(s, to, p->len, flags, deadline_ns);
    if (!err) {
        list_push_back(&to->inbox, &p->link);
        to->inbox_count++;
        __atomic_store_n(&to->inbox_bytes, to->inbox_bytes + p->len, __ATOMIC_RELAXED);
    }
    mutex_unlock(&to->lock);
    if (err)
        free_packet(p);
    else
        waitq_wake_all(&to->changed, POLL_IN);
    return err;
}

/* One message of len bytes. */
static ssize_t send_packet(struct unix_socket *s, struct unix_socket *to, struct socket_message *m, u32 len,
                           bool with_control, u64 deadline_ns)
{
    struct packet *p = new_packet(s, m, len);
    int err = p ? 0 : -ENOMEM;
    if (!err && with_control)
        err = read_control(m, p);
    if (!err && len && iov_from(m->it, p->data, len) != len)
        err = -EFAULT;
    if (err) {
        if (p)
            free_packet(p);
        return err;
    }
    err = deliver(s, to, p, m->flags, deadline_ns);
    return err ? err : (ssize_t)len;
}

/* How much of a stream goes into the next packet. */
static u32 next_piece(struct unix_socket *s, struct unix_socket *to, size_t left)
{
    u32 limit = __atomic_load_n(&s->base.send_buffer, __ATOMIC_RELAXED);
    u32 used = __atomic_load_n(&to->inbox_bytes, __ATOMIC_RELAXED);
    u32 room = used < limit ? limit - used : limit;
    return MIN(MIN(left, PIECE_MAX + 0UL), room);
}

static ssize_t send_stream(struct unix_socket *s, struct unix_socket *to, struct socket_message *m,
                           u64 deadline_ns)
{
    ssize_t done = 0, n = 0;
    while (m->it->left) {
        n = send_packet(s, to, m, next_piece(s, to, m->it->left), !done, deadline_ns);
        if (n < 0)
            break;
        done += n;
    }
    return done ? done : n;
}

/* Where a message goes, with a reference. */
static int send_target(struct unix_socket *s, const struct socket_message *m, struct unix_socket **out)
{
    int err = 0;
    if (is_datagram(s) && m->address && m->address->len)
        return find_socket(m->address, SOCK_DGRAM, out);
    if (is_stream(s) && m->address && m->address->len)
        return __atomic_load_n(&s->state, __ATOMIC_RELAXED) == CONNECTED ? -EISCONN : -EOPNOTSUPP;
    mutex_lock(&s->lock);
    if (!s->peer && s->state != CONNECTED)
        err = -ENOTCONN;
    else if (s->send_shut)
        err = -EPIPE;
    else if (!s->peer)
        err = -ENOTCONN;
    else
        unix_get(*out = s->peer);
    mutex_unlock(&s->lock);
    return err;
}

/* A datagram socket that is connected takes from its peer only. */
static bool accepts_from(struct unix_socket *to, struct unix_socket *s)
{
    mutex_lock(&to->lock);
    bool ok = !to->peer || to->peer == s || !is_datagram(to);
    mutex_unlock(&to->lock);
    return ok;
}

/* A datagram socket's peer is closed: it has none any more, as the error tells. */
static void leave_peer(struct unix_socket *s, struct unix_socket *peer)
{
    mutex_lock(&s->lock);
    bool mine = s->peer == peer;
    if (mine) {
        s->peer = NULL;
        s->state = FRESH;
    }
    mutex_unlock(&s->lock);
    if (mine)
        unix_put(peer);
}

static ssize_t unix_send(struct socket *base, struct socket_message *m)
{
    struct unix_socket *s = unix_of(base), *to;
    u64 deadline = socket_deadline(base->send_timeout_ns);
    if (m->flags & SOCKET_OOB)
        return -EOPNOTSUPP;
    ssize_t n = send_target(s, m, &to);
    if (n)
        return n;
    if (is_stream(s))
        n = send_stream(s, to, m, deadline);
    else if (m->it->left > base->send_buffer)
        n = -EMSGSIZE;
    else
        n = accepts_from(to, s) ? send_packet(s, to, m, m->it->left, true, deadline) : -EPERM;
    if (n == -ECONNREFUSED)
        leave_peer(s, to);
    unix_put(to);
    return n;
}

/* ---- receiving ---- */

/* Waits for something in the inbox: 1, or 0 at the end, or why not. lock held. */
static int wait_for_packet(struct unix_socket *s, u32 flags, u64 deadline_ns)
{
    int err = 0;
    for (;;) {
        bool any = !list_empty(&s->inbox);
        if (any && (is_stream(s) || !s->error))
            return 1;
        if (s->error) {
            err = -s->error;
            s->error = 0;
            return err;
        }
        if (s->receive_shut)
            return is_datagram(s) && flags & SOCKET_DONTWAIT ? -EAGAIN : 0;
        if (s->state != CONNECTED && !is_datagram(s))
            return is_stream(s) && s->state == FRESH ? -EINVAL : -ENOTCONN;
        if (err)
            return err;
        err = wait_for(s, flags, deadline_ns);
    }
}

/* Someone may send again. lock not held. */
static void made_room(struct unix_socket *s)
{
    mutex_lock(&s->lock);
    struct unix_socket *peer = s->peer;
    if (peer)
        unix_get(peer);
    mutex_unlock(&s->lock);
    waitq_wake_all(&s->changed, SENDER_ROOM);
    if (peer) {
        waitq_wake_all(&peer->changed, POLL_OUT);
        unix_put(peer);
    }
}

/* References of p's files for a reader that leaves the packet there (peek), or p's own. */
static struct file **claim_rights(struct packet *p, bool peek, u32 *count)
{
    struct file **rights = p->rights;
    *count = p->rights_count;
    if (peek) {
        rights = *count ? kmalloc(*count * sizeof(*rights)) : NULL;
        if (!rights)
            *count = 0;
        for (u32 i = 0; i < *count; i++)
            file_get(rights[i] = p->rights[i]);
        return rights;
    }
    p->rights = NULL;
    p->rights_count = 0;
    return rights;
}

static ssize_t receive_packet(struct unix_socket *s, struct socket_message *m, u64 deadline_ns)
{
    bool peek = m->flags & SOCKET_PEEK;
    mutex_lock(&s->lock);
    int there = wait_for_packet(s, m->flags, deadline_ns);
    if (there <= 0) {
        mutex_unlock(&s->lock);
        return there;
    }
    struct packet *p = list_first(&s->inbox, struct packet, link);
    u32 copied = MIN(p->len, m->it->left), len = p->len, rights_count;
    bool fault = copied && iov_to(m->it, p->data, copied) != copied;
    struct file **rights = fault ? NULL : claim_rights(p, peek, &rights_count);
    if (!peek)
        take_packet(s);
    mutex_unlock(&s->lock);
    if (!fault) {
        give_extras(s, m, p, rights, rights_count);
        free_rights(rights, rights_count);
    }
    if (!peek) {
        free_packet(p);
        made_room(s);
    }
    if (copied < len)
        m->out_flags |= SOCKET_TRUNC;
    return fault ? -EFAULT : m->flags & SOCKET_TRUNC ? (ssize_t)len : copied;
}

/* What one receive call got out of a stream. */
struct stream_copy {
    ssize_t done;
    bool fault, stop;     /* stop: the next bytes are for another call */
    struct file **rights; /* the receiver's now */
    u32 rights_count;
};

/*
 * Copies from the packets of a stream. Stops behind one that has descriptors: what follows is for another
 * call. lock held.
 */
static void copy_stream(struct unix_socket *s, struct socket_message *m, struct stream_copy *c)
{
    bool peek = m->flags & SOCKET_PEEK;
    struct packet *p, *next;
    list_for_each_safe(p, next, &s->inbox, link)
    {
        if (!m->it->left || c->stop)
            return;
        u32 n = MIN(p->len - p->taken, m->it->left);
        c->fault = iov_to(m->it, p->data + p->taken, n) != n;
        if (c->fault)
            return;
        if (m->address && !c->done)
            *m->address = p->from;
        c->done += n;
        if (p->rights_count) {
            c->rights = claim_rights(p, peek, &c->rights_count);
            c->stop = true;
        }
        if (peek)
            continue;
        p->taken += n;
        __atomic_store_n(&s->inbox_bytes, s->inbox_bytes - n, __ATOMIC_RELAXED);
        if (p->taken == p->len)
            free_packet(take_packet(s));
    }
    c->stop |= !list_empty(&s->inbox) && m->it->left && !peek;
}

static ssize_t receive_stream(struct unix_socket *s, struct socket_message *m, u64 deadline_ns)
{
    struct stream_copy c = {0};
    size_t too_few = m->flags & SOCKET_PEEK ? 0 : socket_too_few(&s->base, m->flags);
    int there;
    mutex_lock(&s->lock);
    do {
        there = wait_for_packet(s, m->flags, deadline_ns);
        if (there > 0 && m->it->left)
            copy_stream(s, m, &c);
    } while (there > 0 && (size_t)c.done <= too_few && m->it->left && !c.fault && !c.stop);
    mutex_unlock(&s->lock);
    if (c.done && !(m->flags & SOCKET_PEEK))
        made_room(s);
    if (c.done) {
        struct packet none = {.from = m->address ? *m->address : (struct socket_address){0}};
        give_extras(s, m, &none, c.rights, c.rights_count);
        free_rights(c.rights, c.rights_count);
        return c.done;
    }
    if (!there && m->reply && socket_flag(&s->base, SO_PASSCRED)) /* the end is nobody's */
        socket_control_put(m->reply, SOL_SOCKET, SCM_CREDENTIALS, &(struct credentials){0},
                           sizeof(struct credentials));
    return c.fault ? -EFAULT : MIN(there, 0);
}

static ssize_t unix_receive(struct socket *base, struct socket_message *m)
{
    struct unix_socket *s = unix_of(base);
    u64 deadline = socket_deadline(base->receive_timeout_ns);
    if (m->flags & SOCKET_OOB)
        return is_stream(s) ? -EINVAL : -EOPNOTSUPP; /* there is none */
    return is_stream(s) ? receive_stream(s, m, deadline) : receive_packet(s, m, deadline);
}

/* ---- poll, options ---- */

static bool can_send(struct unix_socket *s)
{
    struct unix_socket *peer = s->peer;
    if (is_datagram(s) || s->send_shut || !peer)
        return true;
    u32 limit = __atomic_load_n(&s->base.send_buffer, __ATOMIC_RELAXED);
    return __atomic_load_n(&peer->inbox_bytes, __ATOMIC_RELAXED) <= limit / 2;
}

static u32 unix_poll(struct socket *base)
{
    struct unix_socket *s = unix_of(base);
    u32 events = 0;
    mutex_lock(&s->lock);
    if (!list_empty(&s->inbox) || !list_empty(&s->backlog))
        events |= POLL_IN;
    if (s->receive_shut)
        events |= POLL_IN | POLL_RDHUP;
    if ((s->receive_shut && s->send_shut) || (s->state == FRESH && !is_datagram(s)))
        events |= POLL_HUP;
    if (s->error)
        events |= POLL_ERR;
    if (s->state != LISTENING && can_send(s))
        events |= POLL_OUT;
    mutex_unlock(&s->lock);
    return events;
}

static struct waitq *unix_pollq(struct socket *base)
{
    return &unix_of(base)->changed;
}

static int unix_get_option(struct socket *base, int level, int option, void *value, u32 *len)
{
    struct unix_socket *s = unix_of(base);
    struct credentials creds = {.pid = PID};
    u32 number;
    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    mutex_lock(&s->lock);
    bool known = s->has_credentials;
    number = option == SO_ACCEPTCONN ? s->state == LISTENING : s->error;
    if (option == SO_ERROR)
        s->error = 0;
    mutex_unlock(&s->lock);
    if (option == SO_PEERCRED) {
        if (!known)
            creds = (struct credentials){0, ~0u, ~0u};
        *len = MIN(*len, (u32)sizeof(creds));
        memcpy(value, &creds, *len);
        return 0;
    }
    if (option != SO_ERROR && option != SO_ACCEPTCONN)
        return -ENOPROTOOPT;
    *len = MIN(*len, (u32)sizeof(number));
    memcpy(value, &number, *len);
    return 0;
}

static int unix_set_option(struct socket *base, int level, int option, const void *value, u32 len)
{
    return level == SOL_SOCKET ? -ENOPROTOOPT : -EOPNOTSUPP;
}

#define TIOCOUTQ 0x5411

static s64 unix_ioctl(struct socket *base, u32 cmd, u64 arg)
{
    struct unix_socket *s = unix_of(base);
    u32 bytes = 0;
    if (cmd != FIONREAD && cmd != TIOCOUTQ)
        return -ENOTTY;
    mutex_lock(&s->lock);
    bool listening = s->state == LISTENING;
    if (cmd == TIOCOUTQ) {
        bytes = s->peer ? __atomic_load_n(&s->peer->inbox_bytes, __ATOMIC_RELAXED) : 0;
    } else if (is_stream(s)) {
        bytes = s->inbox_bytes;
    } else {
        struct packet *p = list_first(&s->inbox, struct packet, link);
        bytes = p ? p->len : 0;
    }
    mutex_unlock(&s->lock);
    return listening && cmd == FIONREAD ? -EINVAL : put_user32((void *)arg, bytes);
}

static const struct socket_ops unix_ops = {
    .bind = unix_bind,
    .connect = unix_connect,
    .listen = unix_listen,
    .accept = unix_accept,
    .name = unix_name,
    .shutdown = unix_shutdown,
    .send = unix_send,
    .receive = unix_receive,
    .poll = unix_poll,
    .pollq = unix_pollq,
    .get_option = unix_get_option,
    .set_option = unix_set_option,
    .ioctl = unix_ioctl,
    .release = unix_release,
};

static struct socket_family unix_family = {AF_UNIX, unix_create, unix_create_pair, NULL};

void unix_init(void)
{
    socket_register(&unix_family);
}
