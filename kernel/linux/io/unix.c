/* AF_UNIX (unix(7)): stream, datagram and sequenced-packet sockets, named by paths, by abstract names or not
 * at all. */
#include "kernel/linux/io/unix.h"

#include "kernel/base/printf.h"

#define SO_ERROR      4
#define SO_PEERCRED   17
#define SO_ACCEPTCONN 30

#define NAME_MAX_UNIX 108 /* sizeof(sun_path) */
#define BACKLOG_MAX   4096

static struct mutex names_lock;
static struct list bound = LIST_INIT(bound);
static const struct socket_ops unix_ops;

/* ---- life ---- */

void unix_put(struct unix_socket *s)
{
    if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
        return;
    unix_drop_inbox(s); /* of one that was never anybody's */
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
    list_init(&s->wanting);
    list_init(&s->wanting_link);
    list_init(&s->flying_link);
    list_init(&s->carrying);
    list_init(&s->carrier_link);
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
    unix_want_no_room(s);
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
    if (unread)
        unix_drop_inbox(s);
    waitq_wake_all(&s->changed, 0);
    unix_tell_wanting(s);
    if (peer) {
        part_from(peer, s, unread);
        unix_put(peer);
    }
    /* Nobody adds to the backlog of a closed listener. */
    while ((waiting = list_first(&s->backlog, struct unix_socket, waiting_link))) {
        list_del(&waiting->waiting_link);
        unix_close(waiting);
    }
    unix_leave_keeper(s);
    unix_put(s);
}

static void unix_release(struct socket *base)
{
    unix_close(unix_of(base));
    unix_collect();
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
int unix_find(const struct socket_address *a, u32 type, struct unix_socket **out)
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
int unix_wait(struct unix_socket *s, u32 flags, u64 deadline_ns)
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
    far->keeper = listener; /* before anybody can send to it */
    mutex_lock(&listener->lock);
    while (listener->state == LISTENING && !listener->closed &&
           listener->backlog_count > listener->backlog_max && !err)
        err = unix_wait(listener, flags, deadline);
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
    if (before) {
        unix_want_no_room(s);
        unix_put(before);
    }
    waitq_wake_all(&s->changed, POLL_OUT); /* it may have waited for the other's room */
    return 0;
}

static int unix_connect(struct socket *base, const struct socket_address *a, u32 flags)
{
    struct unix_socket *s = unix_of(base), *target;
    if (a->len < sizeof(u16))
        return -EINVAL;
    if (is_datagram(s) && a->family == AF_UNSPEC)
        return connect_datagram(s, NULL);
    int err = unix_find(a, base->type, &target);
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
        err = s->receive_shut ? -EINVAL : unix_wait(s, flags, deadline);
    if (!list_empty(&s->backlog)) {
        new = list_first(&s->backlog, struct unix_socket, waiting_link);
        list_del(&new->waiting_link);
        s->backlog_count--;
        err = 0;
    }
    mutex_unlock(&s->lock);
    if (!new)
        return err;
    unix_leave_keeper(new);
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

/* ---- poll, options ---- */

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
    bool room = s->state != LISTENING && unix_can_send(s);
    mutex_unlock(&s->lock);
    if (!room && is_datagram(s))
        room = unix_want_room(s);
    return events | (room ? POLL_OUT : 0);
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
