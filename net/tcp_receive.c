/* Receiving on SOCK_STREAM: the bytes that wait in a socket's inbox, and those of the other end in this VM.
 */
#include "net/channel.h"
#include "net/direct.h"
#include "net/hold.h"

#define VIEWS 16 /* pieces copied out at a time */

struct view {
    const u8 *bytes;
    u32 len;
};

/* Where the next bytes behind the first `skip` lie, at most `most` of them. They stay there while the reader
 * mutex is held. core held. */
static u32 gather(struct inet_socket *s, struct view *views, u32 skip, size_t most)
{
    struct packet *packet;
    u32 n = 0;
    list_for_each(packet, &s->inbox, link)
    {
        skip += packet->taken;
        for (struct pbuf *p = packet->p; p && n < VIEWS && most; p = p->next) {
            if (skip >= p->len) {
                skip -= p->len;
                continue;
            }
            views[n].bytes = (u8 *)p->payload + skip;
            views[n].len = MIN((size_t)(p->len - skip), most);
            most -= views[n++].len;
            skip = 0;
        }
        if (n == VIEWS || !most)
            break;
    }
    return n;
}

/* core held. */
static void consume(struct inet_socket *s, size_t n)
{
    size_t left = n;
    struct packet *packet;
    while (left && (packet = inet_first(s))) {
        u32 k = MIN(left, (size_t)(packet->p->tot_len - packet->taken));
        packet->taken += k;
        left -= k;
        s->inbox_bytes -= k;
        if (packet->taken == packet->p->tot_len) {
            list_del(&packet->link);
            pbuf_free(packet->p);
            kfree(packet);
        }
    }
    for (; n && s->tcp; n -= MIN(n, (size_t)0xffff))
        tcp_recved(s->tcp, MIN(n, (size_t)0xffff));
}

/*
 * What a read leaves out now: the urgent byte, where it is at hand and out of line. peek: how many bytes that
 * are; else they go. core held.
 */
static u32 leave_out(struct inet_socket *s, bool peek)
{
    u32 n = s->left_out + urgent_hole(&s->urgent, inet_in_line(s));
    if (likely(!n) || peek)
        return MIN(n, s->inbox_bytes);
    n = MIN(n, s->inbox_bytes);
    urgent_passed(&s->urgent, n - s->left_out);
    s->left_out = 0;
    consume(s, n);
    return 0;
}

/* Takes the reader mutex; what is there, up to the urgent byte if it is ahead, and at most `most` bytes: how
 * many views. core held, left meanwhile if another thread reads. */
static u32 begin_reading(struct inet_socket *s, struct view *views, size_t most, bool peek)
{
    if (unlikely(!mutex_trylock(&s->reader))) { /* which comes before the core */
        core_leave();
        mutex_lock(&s->reader);
        core_enter();
    }
    u32 skip = leave_out(s, peek);
    return gather(s, views, skip, urgent_limit(&s->urgent, most));
}

/* Copies the n views, and leaves the reader mutex: bytes, 0 when there was nothing (left), -EFAULT. discard:
 * the bytes are thrown away instead (tcp(7), MSG_TRUNC). *more is set when others wait behind those that
 * went. */
static ssize_t copy_out(struct inet_socket *s, struct iov_iter *it, const struct view *views, u32 n,
                        bool peek, bool discard, bool *more)
{
    ssize_t done = 0;
    bool fault = false;
    for (u32 i = 0; i < n && !fault; i++) {
        ssize_t copied = discard ? (ssize_t)views[i].len : iov_to(it, views[i].bytes, views[i].len);
        it->left -= discard ? views[i].len : 0;
        fault = copied != (ssize_t)views[i].len;
        done += MAX(copied, 0);
    }
    if (done && !peek) {
        core_enter();
        urgent_passed(&s->urgent, done);
        consume(s, done);
        *more = s->inbox_bytes || channel_pending(s);
        core_leave();
    }
    mutex_unlock(&s->reader);
    return done ? done : fault ? -EFAULT : 0;
}

/* Does a call that looks at what waits, for at most `most` bytes, of which so many are too few, wait for
 * more? Not when no more may come: the end, the mark, a closed window. core held. */
static __attribute__((noinline)) bool waits_to_peek(struct inet_socket *s, u32 flags, size_t most,
                                                    size_t too_few)
{
    u32 bytes = s->inbox_bytes - leave_out(s, true);
    return flags & SOCKET_PEEK && most && bytes <= MIN(too_few, most - 1) &&
           urgent_limit(&s->urgent, bytes) == bytes && !inet_closed_window(s) && !s->peer_end &&
           !s->receive_shut;
}

/* 1: there are bytes; 0: the end; or why not. done: how many the call has; with some it ends at the urgent
 * byte, too. most: how many it may get. */
static int wait_readable(struct inet_socket *s, u32 flags, u64 deadline, ssize_t done, size_t most,
                         size_t too_few)
{
    u32 renewed = s->renewed;
    int err = 0;
    for (;;) {
        channel_drain(s);
        if (unlikely(s->renewed != renewed)) /* the error is of who asks for it */
            return done ? 0 : -EPIPE;
        if (done && urgent_at_mark(&s->urgent))
            return 0;
        bool later = unlikely(too_few) && !err && waits_to_peek(s, flags, most, too_few);
        if ((s->inbox_bytes > (flags & SOCKET_PEEK ? leave_out(s, true) : 0) && !later) || direct_is(s))
            return 1;
        if (s->error) /* the next call's, if this one has bytes */
            return done ? 0 : inet_take_error(s);
        if (s->peer_end || s->receive_shut)
            return 0;
        if (s->state == S_FRESH || s->state == S_LISTENING)
            return -ENOTCONN;
        if (s->state == S_CLOSED)
            return 0;
        if (err)
            return err;
        err = inet_wait(s, flags, deadline);
    }
}

/* What came in segments. */
static ssize_t receive_segments(struct inet_socket *s, struct socket_message *m)
{
    u64 deadline = socket_deadline(s->base.receive_timeout_ns);
    bool peek = m->flags & SOCKET_PEEK, more;
    size_t too_few = socket_too_few(&s->base, m->flags);
    ssize_t done = 0, n = 0;
    do {
        u32 flags = m->flags | ((size_t)done > too_few ? SOCKET_DONTWAIT : 0), count = 0;
        struct view views[VIEWS];
        more = false;
        core_enter();
        hold_release_mine();
        n = wait_readable(s, flags, deadline, done, m->it->left, too_few);
        bool direct = direct_is(s), any = n > 0 && m->it->left;
        if (any && !direct)
            count = begin_reading(s, views, m->it->left, peek);
        core_leave();
        if (!any)
            break;
        if (direct)
            return direct_receive(s, m);
        n = copy_out(s, m->it, views, count, peek, m->flags & SOCKET_TRUNC, &more);
        done += MAX(n, 0);
    } while (n >= 0 && m->it->left && !peek && (more || (size_t)done <= too_few));
    return done ? done : MIN(n, 0);
}

static ssize_t receive_urgent(struct inet_socket *s, struct socket_message *m)
{
    u8 byte;
    int n = -ENOTCONN;
    core_enter();
    channel_drain(s);
    if (s->state != S_LISTENING)
        n = urgent_take(&s->urgent, m->flags, inet_in_line(s), s->peer_end || s->receive_shut, &byte);
    core_leave();
    return n > 0 ? urgent_give(m, byte) : n;
}

ssize_t tcp_receive_op(struct socket *base, struct socket_message *m)
{
    struct inet_socket *s = inet_of(base);
    if (m->address)
        m->address->len = 0;
    if (m->flags & SOCKET_OOB)
        return direct_is(s) ? direct_receive_urgent(s, m) : receive_urgent(s, m);
    if (m->flags & SOCKET_ERRQUEUE)
        return -EAGAIN;
    return direct_is(s) ? direct_receive(s, m) : receive_segments(s, m);
}
