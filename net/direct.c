#include "net/direct.h"

#include "lwip/prot/tcp.h"
#include "net/loopback.h"
#include "net/urgent.h"

#define PIECE_SMALL (2048u - sizeof(struct piece))
#define PIECE_LARGE (32768u - sizeof(struct piece))

/* A stretch of a buffer: bytes[begin .. end) wait. */
struct piece {
    struct piece *next;
    u32 begin, end, room;
    u8 bytes[];
};

/* What goes to one end; the pair's mutex. */
struct inbound {
    struct piece *first, *last;
    u32 bytes;
    bool want_room; /* the sender waits, or was told by poll that it must */
    struct urgent urgent;
};

struct direct {
    struct mutex lock;
    struct inbound to[2];
    union {
        bool closed[2]; /* or disconnected */
        u16 any_closed;
    };
    struct inet_socket *ends[2]; /* memory stays until both are freed */
    u32 refs;                    /* atomic */
};

void direct_join(struct inet_socket *a, struct inet_socket *b)
{
    struct direct *d = kmalloc(sizeof(*d));
    if (!d)
        return;
    d->ends[0] = a;
    d->ends[1] = b;
    d->refs = 2;
    b->direct_side = 1;
    a->direct = b->direct = d;
    __atomic_store_n(&a->by_direct, true, __ATOMIC_RELEASE);
    __atomic_store_n(&b->by_direct, true, __ATOMIC_RELEASE);
}

static void drop_bytes(struct inbound *in)
{
    while (in->first) {
        struct piece *next = in->first->next;
        kfree(in->first);
        in->first = next;
    }
    in->last = NULL;
    in->bytes = 0;
    in->urgent = (struct urgent){0};
}

void direct_free(struct inet_socket *s)
{
    struct direct *d = s->direct;
    if (__atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL))
        return;
    drop_bytes(&d->to[0]);
    drop_bytes(&d->to[1]);
    kfree(d->ends[0]);
    kfree(d->ends[1]);
    kfree(d);
}

/* ---- buffers: the pair's mutex held ---- */

static struct piece *writable_piece(struct inbound *in, size_t n)
{
    struct piece *p = in->last;
    if (p && p->end < p->room)
        return p;
    u32 room = n <= PIECE_SMALL ? PIECE_SMALL : PIECE_LARGE;
    p = kmalloc_raw(sizeof(*p) + room);
    if (!p)
        return NULL;
    p->next = NULL;
    p->begin = p->end = 0;
    p->room = room;
    if (in->last)
        in->last->next = p;
    else
        in->first = p;
    in->last = p;
    return p;
}

/* Bytes taken from it, at most n; -ENOBUFS, -EFAULT. */
static ssize_t put(struct inbound *in, struct iov_iter *it, size_t n)
{
    ssize_t done = 0, got = 0;
    while (n) {
        struct piece *p = writable_piece(in, n);
        if (!p)
            return done ? done : -ENOBUFS;
        got = iov_from(it, p->bytes + p->end, MIN(n, (size_t)(p->room - p->end)));
        if (got <= 0)
            return done ? done : got;
        p->end += got;
        in->bytes += got;
        done += got;
        n -= got;
    }
    return done;
}

/* The first piece is empty. One small one is kept for the next bytes. */
static void retire_piece(struct inbound *in)
{
    struct piece *p = in->first;
    p->begin = p->end = 0;
    if (p == in->last && p->room == PIECE_SMALL)
        return;
    in->first = p->next;
    if (!in->first)
        in->last = NULL;
    kfree(p);
}

/* The first n bytes of the first piece are gone. */
static void take(struct inbound *in, u32 n)
{
    struct piece *p = in->first;
    p->begin += n;
    in->bytes -= n;
    urgent_passed(&in->urgent, n);
    if (p->begin == p->end)
        retire_piece(in);
}

/* At most n bytes. discard: they are thrown away instead (tcp(7), MSG_TRUNC). */
static ssize_t get(struct inbound *in, struct iov_iter *it, size_t n, bool discard)
{
    ssize_t done = 0, got;
    for (; in->bytes && n; n -= got) {
        struct piece *p = in->first;
        size_t some = MIN(n, (size_t)(p->end - p->begin));
        got = discard ? (ssize_t)some : iov_to(it, p->bytes + p->begin, some);
        if (discard)
            it->left -= some;
        if (got <= 0)
            return done ? done : got;
        take(in, got);
        done += got;
    }
    return done;
}

/* At most n bytes behind the first `skip`. */
static ssize_t peek(struct inbound *in, struct iov_iter *it, size_t n, u32 skip)
{
    ssize_t done = 0, got;
    for (struct piece *p = in->first; p && n && p->begin < p->end; p = p->next) {
        u32 left_out = MIN(skip, p->end - p->begin);
        skip -= left_out;
        if (left_out == p->end - p->begin)
            continue;
        got = iov_to(it, p->bytes + p->begin + left_out, MIN(n, (size_t)(p->end - p->begin - left_out)));
        if (got <= 0)
            return done ? done : got;
        done += got;
        n -= got;
    }
    return done;
}

/* ---- both directions ---- */

static struct inbound *to_me(struct inet_socket *s)
{
    return &s->direct->to[s->direct_side];
}
static struct inbound *to_peer(struct inet_socket *s)
{
    return &s->direct->to[!s->direct_side];
}
static struct inet_socket *peer_of(struct inet_socket *s)
{
    return s->direct->ends[!s->direct_side];
}

/* Bytes that may wait on their way from s: what the receiver's buffer has no room for was not sent yet, so to
 * say. */
static u32 limit_of(struct inet_socket *s)
{
    return __atomic_load_n(&s->base.unsent_most, __ATOMIC_RELAXED) +
           __atomic_load_n(&peer_of(s)->base.receive_buffer, __ATOMIC_RELAXED);
}

static bool roomy(u32 used, u32 limit)
{
    return used <= limit / 3 * 2;
}

static int take_error(struct inet_socket *s)
{
    return -__atomic_exchange_n(&s->error, 0, __ATOMIC_RELAXED);
}

/* Has anything happened that a sender or receiver must look at? */
static bool told(struct inet_socket *s, bool sending)
{
    return __atomic_load_n(&s->error, __ATOMIC_RELAXED) || s->state != S_ESTABLISHED ||
           s->direct->closed[s->direct_side] ||
           (sending ? s->send_shut || s->direct->closed[!s->direct_side] : s->peer_end || s->receive_shut);
}

/* Sleeps once; the mutex is dropped meanwhile. Errors as inet_wait's. */
static int wait(struct inet_socket *s, bool sending, u32 flags, u64 deadline)
{
    struct direct *d = s->direct;
    struct waiter w;
    int err = 0;
    if (flags & SOCKET_DONTWAIT)
        return -EAGAIN;
    waitq_enter(&s->changed, &w);
    if (!told(s, sending)) {
        mutex_unlock(&d->lock);
        err = sched_sleep(deadline, SLEEP_INTERRUPTIBLE);
        mutex_lock(&d->lock);
    }
    waitq_leave(&s->changed, &w);
    return err == -EINTR ? -ERESTART : err == -ETIMEDOUT ? -EAGAIN : err;
}

/* ---- sending ---- */

/* Stores what fits now, once there is room: bytes, 0 (peer gone), or why not. */
static ssize_t send_some(struct inet_socket *s, struct socket_message *m, u64 deadline)
{
    struct inbound *in = to_peer(s);
    int err = 0;
    for (;;) {
        if (s->error && !s->direct->closed[s->direct_side])
            return take_error(s);
        if (s->send_shut || s->state != S_ESTABLISHED)
            return -EPIPE;
        if (unlikely(s->direct->any_closed))
            return s->direct->closed[s->direct_side] ? -EPIPE : 0;
        u32 limit = limit_of(s);
        if (in->bytes < limit && (!in->want_room || roomy(in->bytes, limit))) {
            in->want_room = false;
            return put(in, m->it, MIN(m->it->left, (size_t)(limit - in->bytes)));
        }
        in->want_room = true;
        if (err)
            return err;
        err = wait(s, true, m->flags, deadline);
    }
}

/* The last byte there is the urgent one. */
static void mark_last(struct inbound *in, bool in_line)
{
    struct piece *p = in->last;
    if (!in->bytes)
        return; /* nobody will read it */
    u8 byte = p->bytes[p->end - 1];
    if (urgent_mark(&in->urgent, in->bytes - 1, in->bytes - 1, in_line)) {
        struct urgent new = in->urgent;
        in->urgent.state = U_NONE;
        take(in, 1);
        in->urgent = new;
    }
    urgent_here(&in->urgent, byte);
}

/* What n bytes would have been on the loopback interface: segments as long as packets can be, with Linux's
 * 12 bytes of options; acknowledgements ride on the answers. */
static void count(const struct inet_socket *s, u64 n)
{
    u64 headers = (IP_IS_V6_VAL(s->local) ? IP6_HLEN : IP_HLEN) + TCP_HLEN + 12, most = 0xffff - headers;
    u64 segments = (n + most - 1) / most;
    loopback_count(segments, n + segments * headers);
}

ssize_t direct_send(struct inet_socket *s, struct socket_message *m, bool *rest)
{
    struct direct *d = s->direct;
    struct inet_socket *peer = peer_of(s);
    ssize_t done = 0, n = 0;
    u64 deadline = socket_deadline(s->base.send_timeout_ns);
    *rest = false;
    mutex_lock(&d->lock);
    for (bool first = m->it->left; first || (n > 0 && m->it->left); first = false) {
        n = send_some(s, m, deadline);
        done += MAX(n, 0);
        if (n > 0 && __atomic_load_n(&peer->receive_shut, __ATOMIC_RELAXED))
            drop_bytes(to_peer(s)); /* nobody will read them */
        if (n > 0 && m->it->left) { /* the receiver first, or nobody makes room */
            mutex_unlock(&d->lock);
            inet_wake(peer, POLL_IN);
            mutex_lock(&d->lock);
        }
    }
    *rest = !n && m->it->left;
    bool urgent = m->flags & SOCKET_OOB && done;
    if (urgent)
        mark_last(to_peer(s), inet_in_line(peer));
    mutex_unlock(&d->lock);
    if (done) {
        count(s, done);
        inet_wake(peer, POLL_IN | (urgent ? POLL_PRI : 0));
    }
    if (urgent)
        socket_tell_urgent(&peer->base);
    return done ? done : n;
}

/* ---- receiving ---- */

/* Does a call that looks at what waits wait for more? Not when no more may come: the end, the mark, no room.
 */
static __attribute__((noinline)) bool waits_to_peek(struct inet_socket *s, const struct socket_message *m)
{
    struct inbound *in = to_me(s);
    size_t too_few = socket_too_few(&s->base, m->flags);
    u32 bytes = in->bytes - urgent_hole(&in->urgent, inet_in_line(s));
    return m->it->left && bytes <= MIN(too_few, m->it->left - 1) &&
           urgent_limit(&in->urgent, bytes) == bytes && !in->want_room && !told(s, false);
}

/* There are some bytes: those up to the urgent one, if it is ahead; 0: there was it alone, left out, or a
 * look waits for more; with an error it does not. */
static ssize_t receive_here(struct inet_socket *s, struct socket_message *m, int err)
{
    struct inbound *in = to_me(s);
    u32 hole = urgent_hole(&in->urgent, inet_in_line(s));
    size_t n = urgent_limit(&in->urgent, m->it->left);
    if (m->flags & SOCKET_PEEK)
        return !err && waits_to_peek(s, m) ? 0 : peek(in, m->it, n, hole);
    if (unlikely(hole))
        take(in, 1);
    return get(in, m->it, n, m->flags & SOCKET_TRUNC);
}

/* Bytes, 0 at the end, or why not. done: how many this call has; with some it ends at the urgent byte, too,
 * and an error is the next call's. */
static ssize_t receive_some(struct inet_socket *s, struct socket_message *m, u64 deadline, ssize_t done)
{
    struct inbound *in = to_me(s);
    ssize_t n;
    int err = 0;
    for (;;) {
        if (done && urgent_at_mark(&in->urgent))
            return 0;
        if (in->bytes && ((n = receive_here(s, m, err)) || !m->it->left))
            return n;
        if (s->direct->closed[s->direct_side])
            return done ? 0 : -EPIPE;
        if (s->error)
            return done ? 0 : take_error(s);
        if (s->peer_end || s->receive_shut || s->state != S_ESTABLISHED)
            return 0;
        if (err)
            return err;
        err = wait(s, false, m->flags, deadline);
    }
}

/* Are the bytes that it has too few for the call? */
static __attribute__((noinline)) bool wants_more(const struct inet_socket *s, const struct socket_message *m,
                                                 ssize_t done)
{
    return (size_t)done <= socket_too_few(&s->base, m->flags) && !(m->flags & SOCKET_PEEK);
}

ssize_t direct_receive(struct inet_socket *s, struct socket_message *m)
{
    struct direct *d = s->direct;
    struct inbound *in = to_me(s);
    bool more = (m->flags & SOCKET_WAITALL) || __atomic_load_n(&s->base.receive_low, __ATOMIC_RELAXED);
    bool room = false;
    u64 deadline = socket_deadline(s->base.receive_timeout_ns);
    ssize_t done = 0, n;
    mutex_lock(&d->lock);
    do {
        n = receive_some(s, m, deadline, done);
        done += MAX(n, 0);
        room = in->want_room && roomy(in->bytes, limit_of(peer_of(s)));
        if (room)
            in->want_room = false;
        if (room && more && m->it->left) {
            mutex_unlock(&d->lock);
            inet_wake(peer_of(s), POLL_OUT);
            mutex_lock(&d->lock);
        }
    } while (n > 0 && more && m->it->left && wants_more(s, m, done));
    mutex_unlock(&d->lock);
    if (room)
        inet_wake(peer_of(s), POLL_OUT);
    return done ? done : n;
}

/* ---- the rest ---- */

u32 direct_poll(struct inet_socket *s)
{
    struct direct *d = s->direct;
    mutex_lock(&d->lock);
    u32 too_few = __atomic_load_n(&s->base.receive_low, __ATOMIC_RELAXED);
    if (unlikely(too_few) && (to_me(s)->want_room || to_me(s)->bytes >= limit_of(peer_of(s))))
        too_few = 0; /* it is full */
    u32 events = urgent_events(&to_me(s)->urgent, inet_in_line(s), to_me(s)->bytes, too_few);
    if (d->closed[!s->direct_side] || roomy(to_peer(s)->bytes, limit_of(s)))
        events |= POLL_OUT;
    else
        to_peer(s)->want_room = true;
    mutex_unlock(&d->lock);
    return events;
}

bool direct_any(const struct inet_socket *s)
{
    return __atomic_load_n(&s->direct->to[s->direct_side].bytes, __ATOMIC_RELAXED);
}

u32 direct_pending(struct inet_socket *s, bool out)
{
    struct direct *d = s->direct;
    mutex_lock(&d->lock);
    u32 bytes = out ? to_peer(s)->bytes : urgent_pending(&to_me(s)->urgent, inet_in_line(s), to_me(s)->bytes),
        theirs = peer_of(s)->base.receive_buffer;
    mutex_unlock(&d->lock);
    return !out ? bytes : bytes > theirs ? bytes - theirs : 0;
}

bool direct_at_mark(struct inet_socket *s)
{
    mutex_lock(&s->direct->lock);
    bool at = urgent_at_mark(&to_me(s)->urgent);
    mutex_unlock(&s->direct->lock);
    return at;
}

ssize_t direct_receive_urgent(struct inet_socket *s, struct socket_message *m)
{
    u8 byte;
    mutex_lock(&s->direct->lock);
    int n = urgent_take(&to_me(s)->urgent, m->flags, inet_in_line(s), s->peer_end || s->receive_shut, &byte);
    mutex_unlock(&s->direct->lock);
    return n > 0 ? urgent_give(m, byte) : n;
}

void direct_end_send(struct inet_socket *s)
{
    mutex_lock(&s->direct->lock);
    s->send_shut = true;
    mutex_unlock(&s->direct->lock);
}

bool direct_close(struct inet_socket *s)
{
    struct direct *d = s->direct;
    mutex_lock(&d->lock);
    bool unread = to_me(s)->bytes;
    drop_bytes(to_me(s));
    d->closed[s->direct_side] = true;
    mutex_unlock(&d->lock);
    inet_wake(peer_of(s), POLL_OUT); /* who waits for room goes on by lwIP */
    return unread;
}
