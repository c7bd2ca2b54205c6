/* AF_UNIX: messages, and what comes with them. */
#include "kernel/linux/io/unix.h"

#define SCM_RIGHTS      1
#define SCM_CREDENTIALS 2

#define PIECE_MAX     32768 /* bytes of a stream in one packet */
#define RIGHTS_MAX    253   /* descriptors in one message (SCM_MAX_FD) */
#define DATAGRAMS_MAX 512   /* messages in an inbox */

/* ---- packets ---- */

static void free_packet(struct packet *p)
{
    if (unlikely(p->rights))
        rights_free(p->rights);
    kfree(p);
}

/* lock held. */
static struct packet *take_packet(struct unix_socket *s)
{
    struct packet *p = list_first(&s->inbox, struct packet, link);
    if (p) {
        if (unlikely(p->rights))
            rights_leave(p->rights);
        list_del(&p->link);
        __atomic_store_n(&s->inbox_count, s->inbox_count - 1, __ATOMIC_RELAXED);
        __atomic_store_n(&s->inbox_bytes, s->inbox_bytes - (p->len - p->taken), __ATOMIC_RELAXED);
    }
    return p;
}

void unix_drop_inbox(struct unix_socket *s)
{
    struct list all = LIST_INIT(all);
    struct packet *p;
    mutex_lock(&s->lock);
    while ((p = take_packet(s)))
        list_push_back(&all, &p->link);
    mutex_unlock(&s->lock);
    while ((p = list_first(&all, struct packet, link))) {
        list_del(&p->link);
        free_packet(p);
    }
}

/* ---- control messages ---- */

struct control_header {
    u64 len;
    s32 level, type;
};

/* NULL: out of memory. */
static struct rights *new_rights(struct packet *p, u32 room)
{
    struct rights *r = kmalloc(sizeof(*r) + room * sizeof(r->files[0]));
    if (!r)
        return NULL;
    list_init(&r->link);
    r->packet = p;
    return r;
}

/* Adds descriptors to those that p has from earlier control messages: the receiver gets them in one. p lies
 * in no queue yet. */
static int take_rights(const u8 *fds, size_t len, struct packet *p)
{
    struct rights *before = p->rights;
    u32 had = before ? before->count : 0;
    if (len / sizeof(s32) > RIGHTS_MAX - had)
        return -EINVAL;
    u32 total = had + len / sizeof(s32);
    if (total == had)
        return 0;
    struct rights *r = new_rights(p, total);
    if (!r)
        return -ENOMEM;
    if (before)
        memcpy(r->files, before->files, had * sizeof(r->files[0]));
    kfree(before);
    p->rights = r;
    for (r->count = had; r->count < total; r->count++) {
        s32 fd;
        memcpy(&fd, fds + (r->count - had) * sizeof(fd), sizeof(fd));
        struct file *f = fd_get(fd);
        if (!f)
            return -EBADF;
        r->files[r->count] = f;
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
static void give_rights(struct socket_control *c, u32 flags, const struct rights *r)
{
    s32 fds[RIGHTS_MAX];
    u32 room = c->room - c->len > sizeof(struct control_header)
                   ? (c->room - c->len - sizeof(struct control_header)) / sizeof(s32)
                   : 0;
    u32 given = 0;
    while (given < MIN(r->count, room)) {
        file_get(r->files[given]);
        fds[given] = fd_install(r->files[given], 0, flags & SOCKET_CMSG_CLOEXEC ? O_CLOEXEC : 0);
        if (fds[given] < 0)
            break;
        given++;
    }
    if (given < r->count)
        c->truncated = true;
    if (given)
        socket_control_put(c, SOL_SOCKET, SCM_RIGHTS, fds, given * sizeof(s32));
}

/* Who sent p. lock held. */
static void give_sender(struct socket_message *m, const struct packet *p)
{
    if (!m->address)
        return;
    *m->address = p->from;
    if (p->from.len <= sizeof(u16)) /* it has no name */
        m->address->len = 0;
}

/* What the receiver gets beside the bytes of what was sent at sent_ns. */
static void give_extras(struct unix_socket *s, struct socket_message *m, u64 sent_ns,
                        const struct rights *rights)
{
    static const struct credentials creds = {.pid = PID};
    if (m->reply && socket_stamps(&s->base) && !is_stream(s))
        socket_put_time(&s->base, m->reply, sent_ns);
    if (m->reply && socket_flag(&s->base, SO_PASSCRED))
        socket_control_put(m->reply, SOL_SOCKET, SCM_CREDENTIALS, &creds, sizeof(creds));
    if (m->reply && rights)
        give_rights(m->reply, m->flags, rights);
    else if (rights)
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

/* Has a datagram socket's inbox room for one more from `from`, of whatever size? Reads the counts without a
 * lock; a caller that needs to be sure has to's. */
static bool has_room_for_one(const struct unix_socket *to, const struct unix_socket *from)
{
    return __atomic_load_n(&to->inbox_count, __ATOMIC_RELAXED) < DATAGRAMS_MAX &&
           __atomic_load_n(&to->inbox_bytes, __ATOMIC_RELAXED) <
               __atomic_load_n(&from->base.send_buffer, __ATOMIC_RELAXED);
}

static bool has_room(const struct unix_socket *to, const struct unix_socket *from, u32 bytes)
{
    u32 limit = __atomic_load_n(&from->base.send_buffer, __ATOMIC_RELAXED);
    if (is_datagram(to))
        return has_room_for_one(to, from);
    if (to->inbox_count >= DATAGRAMS_MAX && !is_stream(to))
        return false;
    return !to->inbox_bytes || to->inbox_bytes + bytes <= limit;
}

bool unix_can_send(const struct unix_socket *s)
{
    const struct unix_socket *peer = s->peer;
    if (s->send_shut || !peer)
        return true;
    if (is_datagram(s))
        return has_room_for_one(peer, s);
    u32 limit = __atomic_load_n(&s->base.send_buffer, __ATOMIC_RELAXED);
    return __atomic_load_n(&peer->inbox_bytes, __ATOMIC_RELAXED) <= limit / 2;
}

/*
 * Datagram sockets whose poll() found their peer's inbox full stand on the peer's list, and are told when it
 * is not any more. None is forgotten: poll() lists its socket and then looks at the inbox, who takes
 * something out does that and then looks at wanting_count, and each has a locked instruction in between.
 */
static struct mutex room_lock; /* guards all of these lists; innermost */

/* room_lock held. */
static void leave_list(struct unix_socket *s)
{
    if (!s->wanted)
        return;
    list_del(&s->wanting_link);
    __atomic_sub_fetch(&s->wanted->wanting_count, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&s->wanted, NULL, __ATOMIC_RELAXED);
}

void unix_want_no_room(struct unix_socket *s)
{
    /* Without the lock: whoever puts s on a list looks at its peer afterwards, with s's lock, and who calls
     * here has changed that with the same lock. */
    if (!__atomic_load_n(&s->wanted, __ATOMIC_RELAXED))
        return;
    mutex_lock(&room_lock);
    leave_list(s);
    mutex_unlock(&room_lock);
}

bool unix_want_room(struct unix_socket *s)
{
    mutex_lock(&s->lock);
    struct unix_socket *peer = s->peer;
    if (peer)
        unix_get(peer);
    mutex_unlock(&s->lock);
    if (!peer)
        return true;
    mutex_lock(&room_lock);
    if (s->wanted != peer) {
        leave_list(s);
        __atomic_store_n(&s->wanted, peer, __ATOMIC_RELAXED);
        list_push_back(&peer->wanting, &s->wanting_link);
        __atomic_add_fetch(&peer->wanting_count, 1, __ATOMIC_SEQ_CST);
    }
    mutex_unlock(&room_lock);
    bool room = has_room_for_one(peer, s);
    mutex_lock(&s->lock);
    bool left = s->peer != peer; /* meanwhile: who changed it may have been before us */
    mutex_unlock(&s->lock);
    if (left)
        unix_want_no_room(s);
    unix_put(peer);
    return room || left;
}

/* Those who stand on s's list now. */
void unix_tell_wanting_slowly(struct unix_socket *s)
{
    struct unix_socket *other;
    for (u32 left = __atomic_load_n(&s->wanting_count, __ATOMIC_RELAXED); left; left--) {
        mutex_lock(&room_lock);
        other = list_first(&s->wanting, struct unix_socket, wanting_link);
        if (other) {
            leave_list(other);
            unix_get(other); /* it leaves the list before it goes */
        }
        mutex_unlock(&room_lock);
        if (!other)
            return;
        waitq_wake_all(&other->changed, POLL_OUT);
        unix_put(other);
    }
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
        err = unix_wait(to, flags, deadline_ns);
    }
}

/* Puts p into to's inbox, which takes it over; on failure p is freed. */
static int deliver(struct unix_socket *s, struct unix_socket *to, struct packet *p, u32 flags,
                   u64 deadline_ns)
{
    mutex_lock(&to->lock);
    int err = wait_for_room(s, to, p->len, flags, deadline_ns);
    if (!err) {
        if (unlikely(socket_stamps(&to->base)))
            p->sent_ns = clock_realtime_ns();
        if (unlikely(p->rights))
            rights_enter(to, p->rights);
        list_push_back(&to->inbox, &p->link);
        __atomic_store_n(&to->inbox_count, to->inbox_count + 1, __ATOMIC_RELAXED);
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
    bool rights = p->rights;
    err = deliver(s, to, p, m->flags, deadline_ns);
    if (unlikely(rights))
        unix_collect_crowd();
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
        return unix_find(m->address, SOCK_DGRAM, out);
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
    if (mine) {
        unix_want_no_room(s);
        unix_put(peer);
    }
}

ssize_t unix_send(struct socket *base, struct socket_message *m)
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
        err = unix_wait(s, flags, deadline_ns);
    }
}

/* Someone may send to s again. No lock held. */
static void made_room(struct unix_socket *s)
{
    mutex_lock(&s->lock);
    struct unix_socket *peer = s->peer;
    if (peer)
        unix_get(peer);
    mutex_unlock(&s->lock);
    waitq_wake_all(&s->changed, SENDER_ROOM);
    unix_tell_wanting(s);
    if (peer) {
        waitq_wake_all(&peer->changed, POLL_OUT);
        unix_put(peer);
    }
}

/* References of p's files for a reader that leaves the packet there (peek), or p's own; NULL: there are none.
 * lock held. */
static struct rights *claim_rights(struct packet *p, bool peek)
{
    struct rights *r = p->rights, *copy;
    if (likely(!r))
        return NULL;
    if (!peek) {
        rights_leave(r);
        p->rights = NULL;
        return r;
    }
    copy = new_rights(NULL, r->count);
    for (; copy && copy->count < r->count; copy->count++)
        file_get(copy->files[copy->count] = r->files[copy->count]);
    return copy;
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
    u32 copied = MIN(p->len, m->it->left), len = p->len;
    bool fault = copied && iov_to(m->it, p->data, copied) != copied;
    struct rights *rights = fault ? NULL : claim_rights(p, peek);
    u64 sent_ns = p->sent_ns;
    give_sender(m, p);
    if (!peek)
        take_packet(s);
    mutex_unlock(&s->lock);
    if (!fault)
        give_extras(s, m, sent_ns, rights);
    if (unlikely(rights))
        rights_free(rights);
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
    bool fault, stop;      /* stop: the next bytes are for another call */
    struct rights *rights; /* the receiver's now */
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
        if (!c->done)
            give_sender(m, p);
        c->done += n;
        if (unlikely(p->rights)) {
            c->rights = claim_rights(p, peek);
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
        give_extras(s, m, 0, c.rights);
        if (unlikely(c.rights))
            rights_free(c.rights);
        return c.done;
    }
    if (!there && m->reply && socket_flag(&s->base, SO_PASSCRED)) /* the end is nobody's */
        socket_control_put(m->reply, SOL_SOCKET, SCM_CREDENTIALS, &(struct credentials){0},
                           sizeof(struct credentials));
    return c.fault ? -EFAULT : MIN(there, 0);
}

ssize_t unix_receive(struct socket *base, struct socket_message *m)
{
    struct unix_socket *s = unix_of(base);
    u64 deadline = socket_deadline(base->receive_timeout_ns);
    if (m->flags & SOCKET_OOB)
        return is_stream(s) ? -EINVAL : -EOPNOTSUPP; /* there is none */
    return is_stream(s) ? receive_stream(s, m, deadline) : receive_packet(s, m, deadline);
}
