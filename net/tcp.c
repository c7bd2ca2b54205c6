/* SOCK_STREAM: TCP (tcp(7)), over lwIP's tcp_pcb. */
#include "lwip/priv/tcp_priv.h"
#include "net/channel.h"
#include "net/defer.h"
#include "net/delack.h"
#include "net/direct.h"
#include "net/hold.h"
#include "net/refer.h"
#include "net/share.h"
#include "net/table.h"
#include "net/template.h"

#define CHUNK_SMALL 1024u  /* bytes a small send copies through the stack */
#define CHUNK       16384u /* a large one, through the heap */
#define BACKLOG_MAX 4096   /* Linux's net.core.somaxconn */

static err_t on_receive(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err);
static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len);
static void on_error(void *arg, err_t err);

/* ---- control blocks (core held) ---- */

static void attach(struct inet_socket *s, struct tcp_pcb *pcb)
{
    s->tcp = pcb;
    tcp_arg(pcb, s);
    tcp_recv(pcb, on_receive);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_error);
    tcp_apply_options(s);
    template_renew(s);
}

/* The control block goes on by itself, if it does. */
static struct tcp_pcb *detach(struct inet_socket *s)
{
    struct tcp_pcb *pcb = s->tcp;
    hold_forget(s);
    delack_forget(s);
    channel_abandon(s);
    s->tcp = NULL;
    if (pcb && s->state == S_LISTENING) {
        tcp_arg(pcb, NULL);
        tcp_accept(pcb, NULL);
    } else if (pcb) {
        tcp_arg(pcb, NULL);
        tcp_recv(pcb, NULL);
        tcp_sent(pcb, NULL);
        tcp_err(pcb, NULL);
    }
    return pcb;
}

static int make_pcb(struct inet_socket *s, u8 type)
{
    struct tcp_pcb *pcb = s->tcp ? NULL : tcp_new_ip_type(type);
    if (!s->tcp && !pcb)
        return -ENOMEM;
    if (pcb)
        attach(s, pcb);
    return 0;
}

static void keep_names(struct inet_socket *s)
{
    s->local = s->tcp->local_ip;
    s->local_port = s->tcp->local_port;
    if (s->state != S_LISTENING) {
        s->remote = s->tcp->remote_ip;
        s->remote_port = s->tcp->remote_port;
    }
}

/* Probes without an answer. TCP_USER_TIMEOUT decides instead, if it is set (tcp(7)). */
static u32 keep_count(const struct inet_socket *s)
{
    s64 limit_ms = inet_option(s, 6, 18), idle_ms = inet_option(s, 6, 4) * 1000LL;
    s64 interval_ms = inet_option(s, 6, 5) * 1000LL;
    if (!limit_ms)
        return inet_option(s, 6, 6);
    return limit_ms <= idle_ms ? 1 : (limit_ms - idle_ms + interval_ms - 1) / interval_ms;
}

void tcp_apply_options(struct inet_socket *s)
{
    struct tcp_pcb *pcb = s->tcp;
    if (inet_option(s, 6, 1))
        tcp_nagle_disable(pcb);
    else
        tcp_nagle_enable(pcb);
    if (socket_flag(&s->base, LINUX_SO_KEEPALIVE))
        ip_set_option(pcb, SOF_KEEPALIVE);
    else
        ip_reset_option(pcb, SOF_KEEPALIVE);
    pcb->keep_idle = inet_option(s, 6, 4) * 1000;
    pcb->keep_intvl = inet_option(s, 6, 5) * 1000;
    pcb->keep_cnt = keep_count(s);
    pcb->recovery.syn_retries = inet_option(s, 6, 7);
    pcb->recovery.user_timeout_ms = inet_option(s, 6, 18);
    pcb->netif_idx = s->interface;
    pcb->tos = inet_option(s, 0, 1);
    if (inet_option(s, 0, 2) > 0)
        pcb->ttl = inet_option(s, 0, 2);
    if (socket_flag(&s->base, LINUX_SO_REUSEADDR) || socket_flag(&s->base, LINUX_SO_REUSEPORT))
        ip_set_option(pcb, SOF_REUSEADDR);
    if (s->state == S_ESTABLISHED && pcb->unsent && !inet_option(s, 6, 3)) /* no cork, not any more */
        hold_or_send(s);
}

/* ---- what lwIP tells (core held) ---- */

/* Both directions have ended: lwIP sees the rest of the closing through, and frees the block when it likes.
 */
static void finish(struct inet_socket *s)
{
    struct tcp_pcb *pcb = detach(s);
    s->state = S_CLOSED;
    if (pcb)
        tcp_set_flags(pcb, TF_RXCLOSED);
}

static err_t on_receive(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct inet_socket *s = arg;
    delack_owed(s);
    if (p && s->receive_shut) { /* nobody will read it */
        s->urgent = (struct urgent){0};
        tcp_recved(pcb, p->tot_len);
        pbuf_free(p);
        return ERR_OK;
    }
    if (p)
        return inet_arrived(s, p);
    s->peer_end = true;
    /* Not send_shut: who shuts a direct end says so before it has the core for its FIN. */
    if (pcb->flags & TF_FIN)
        finish(s);
    if (!channel_draining(s))
        inet_wake(s, POLL_IN | POLL_RDHUP);
    return ERR_OK;
}

struct inet_socket *tcp_socket(const struct tcp_pcb *pcb)
{
    return pcb->recv == on_receive ? pcb->callback_arg : NULL;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
    struct inet_socket *s = arg;
    if (pcb->snd_buf >= SND_LOW)
        inet_wake(s, POLL_OUT);
    return ERR_OK;
}

/* The control block is gone already. */
static void on_error(void *arg, err_t err)
{
    struct inet_socket *s = arg;
    hold_forget(s);
    delack_forget(s);
    channel_abandon(s);
    s->tcp = NULL;
    if (err == ERR_RST)
        s->error = s->state == S_CONNECTING ? ECONNREFUSED : s->peer_end ? EPIPE : ECONNRESET;
    else if (err == ERR_ABRT)
        s->error = ETIMEDOUT;
    s->state = S_CLOSED;
    s->peer_end = s->send_shut = true;
    inet_wake(s, POLL_IN | POLL_OUT | POLL_ERR | POLL_HUP | POLL_RDHUP);
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct inet_socket *s = arg;
    s->state = S_ESTABLISHED;
    keep_names(s);
    channel_open(s);
    inet_wake(s, POLL_OUT);
    return ERR_OK;
}

/* The other end of pcb, when it is a socket of ours that has sent nothing yet; else NULL. */
static struct inet_socket *other_end(const struct tcp_pcb *pcb)
{
    struct tcp_pcb *p = ip_addr_isloopback(&pcb->remote_ip) || ip_addr_cmp(&pcb->remote_ip, &pcb->local_ip)
                            ? table_find(&pcb->remote_ip, pcb->remote_port, &pcb->local_ip, pcb->local_port)
                            : NULL;
    struct inet_socket *s = p ? tcp_socket(p) : NULL;
    return s && s->state == S_ESTABLISHED && !s->send_shut && !s->direct && !p->unsent && !p->unacked ? s
                                                                                                      : NULL;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct inet_socket *listener = arg;
    if (err != ERR_OK || !pcb || !listener)
        return ERR_VAL;
    struct inet_socket *s = inet_new(listener->base.family, SOCK_STREAM);
    if (!s)
        return ERR_MEM;
    s->base.flags = listener->base.flags;
    s->base.linger = listener->base.linger;
    s->v6only = listener->v6only;
    s->interface = listener->interface;
    options_inherit(s, listener);
    s->state = S_ESTABLISHED;
    attach(s, pcb);
    keep_names(s);
    urgent_early(s);
    tcp_backlog_delayed(pcb);
    struct inet_socket *other = other_end(pcb);
    if (other)
        direct_join(other, s);
    else
        channel_open(s);
    s->path_known = true;
    if (defer_begin(listener, s))
        return ERR_OK;
    list_push_back(&listener->backlog, &s->waiting_link);
    inet_wake(listener, POLL_IN);
    return ERR_OK;
}

/* ---- bind, listen, accept, connect ---- */

/* May s not have the port beside p, which is a listener's or bound? For lwIP it is enough that both want to
 * share somehow. */
static bool excludes(const struct inet_socket *s, struct tcp_pcb *p, const ip_addr_t *ip, u16 port)
{
    const struct inet_socket *other = p->callback_arg;
    if (!other || other == s || p->local_port != port || !share_meets(&p->local_ip, ip))
        return false;
    if (!share_allowed(s, other, p->state == LISTEN))
        return true;
    ip_set_option(p, SOF_REUSEADDR); /* it may have made up its mind after it was bound */
    return false;
}

static bool taken(const struct inet_socket *s, const ip_addr_t *ip, u16 port)
{
    for (struct tcp_pcb *p = tcp_listen_pcbs.pcbs; port && p; p = p->next)
        if (excludes(s, p, ip, port))
            return true;
    for (struct tcp_pcb *p = tcp_bound_pcbs; port && p; p = p->next)
        if (excludes(s, p, ip, port))
            return true;
    return false;
}

static int bind_locked(struct inet_socket *s, ip_addr_t *ip, u16 port)
{
    if (s->state != S_FRESH || s->local_port)
        return -EINVAL;
    if (!inet_bindable(s, ip))
        return -EADDRNOTAVAIL;
    if (taken(s, ip, port))
        return -EADDRINUSE;
    int err = make_pcb(s, inet_pcb_type(s));
    if (err)
        return err;
    tcp_apply_options(s);
    err = inet_errno(tcp_bind(s->tcp, ip, port));
    if (err)
        tcp_abort(detach(s)); /* the next try may be for another version of IP */
    else
        keep_names(s);
    return err;
}

static int tcp_bind_op(struct socket *base, const struct socket_address *a)
{
    return inet_bind(inet_of(base), a, bind_locked);
}

static int listen_locked(struct inet_socket *s, int backlog)
{
    u16 room =
        backlog < 1 || backlog > BACKLOG_MAX ? (backlog < 1 && backlog >= 0 ? 1 : BACKLOG_MAX) : backlog;
    err_t err = ERR_OK;
    if (s->state == S_LISTENING) {
        tcp_backlog_set(s->tcp, room);
        return 0;
    }
    if (s->state != S_FRESH)
        return -EINVAL;
    if (!s->local_port) {
        ip_addr_t any = {0};
        if (s->base.family == AF_INET6)
            IP_SET_TYPE_VAL(any, IPADDR_TYPE_V6);
        int e = bind_locked(s, &any, 0);
        if (e)
            return e;
    }
    if (taken(s, &s->tcp->local_ip, s->local_port))
        return -EADDRINUSE;
    u8 options = s->tcp->so_options;
    ip_reset_option(s->tcp, SOF_REUSEADDR); /* lwIP would not let anybody share */
    struct tcp_pcb *listener = tcp_listen_with_backlog_and_err(s->tcp, room, &err);
    if (!listener)
        return inet_errno(err);
    listener->so_options = options;
    s->tcp = listener;
    s->state = S_LISTENING;
    tcp_arg(listener, s);
    tcp_accept(listener, on_accept);
    return 0;
}

static int tcp_listen_op(struct socket *base, int backlog)
{
    core_enter();
    int err = listen_locked(inet_of(base), backlog);
    core_leave();
    return err;
}

static int tcp_accept_op(struct socket *base, u32 flags, struct socket **out)
{
    struct inet_socket *s = inet_of(base), *new = NULL;
    u64 deadline = socket_deadline(base->receive_timeout_ns);
    int err = 0;
    core_enter();
    for (;;) {
        defer_collect(s);
        if (s->state != S_LISTENING)
            err = -EINVAL;
        else if ((new = list_first(&s->backlog, struct inet_socket, waiting_link)))
            err = 0;
        if (new || err)
            break;
        err = inet_wait(s, flags, deadline);
        if (err && !list_empty(&s->backlog))
            err = 0;
    }
    if (new && !err) {
        list_del(&new->waiting_link);
        if (new->tcp)
            tcp_backlog_accepted(new->tcp);
        *out = &new->base;
    }
    core_leave();
    return err;
}

/* s has no control block any more; its address is again what bind() has given. 0, or why it is nobody's.
 * core held. */
static int rebind(struct inet_socket *s)
{
    ip_addr_t any = {0}, ip;
    u16 port = s->local_port;
    if (s->base.family == AF_INET6)
        ip_addr_set_any(true, &any);
    ip = s->bound_address ? s->local : any;
    s->state = S_FRESH;
    s->local = ip;
    s->remote = any;
    s->local_port = s->remote_port = 0;
    int err = s->bound_port ? bind_locked(s, &ip, port) : 0;
    s->bound_port &= !err;
    return err;
}

/* The first call that sees how a connection attempt ended tells, and makes a failed socket fresh again. */
static int connect_outcome(struct inet_socket *s)
{
    s->connect_told = true;
    if (s->state == S_ESTABLISHED)
        return 0;
    int err = inet_take_error(s);
    if (s->state == S_CLOSED && !s->tcp) {
        s->peer_end = s->send_shut = false;
        rebind(s);
    }
    return err ? err : -ECONNABORTED;
}

static int connect_start(struct inet_socket *s, ip_addr_t *ip, u16 port)
{
    if (ip_addr_isany(ip))
        ip_addr_set_loopback(IP_IS_V6(ip), ip);
    if (!ip_addr_isloopback(ip))
        netif_wait_address();
    int err = make_pcb(s, IP_IS_V6(ip) ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4);
    if (err)
        return err;
    tcp_apply_options(s);
    if (ip_addr_isany(&s->tcp->local_ip) && s->bound_address && IP_IS_V6(&s->local) == IP_IS_V6(ip))
        ip_addr_copy(s->tcp->local_ip, s->local);
    else if (ip_addr_isany(&s->tcp->local_ip))
        ip_addr_set_any(IP_IS_V6(ip), &s->tcp->local_ip);
    s->state = S_CONNECTING;
    s->connect_told = false;
    err = inet_errno(tcp_connect(s->tcp, ip, port, on_connected));
    if (err) {
        s->connect_told = true;
        tcp_abort(detach(s));
        rebind(s);
        return err;
    }
    keep_names(s);
    return 0;
}

static int connect_wait(struct inet_socket *s, u32 flags, u64 deadline)
{
    int err = 0;
    while (s->state == S_CONNECTING && !err)
        err = inet_wait(s, flags, deadline);
    if (s->state != S_CONNECTING)
        return connect_outcome(s);
    return err == -EAGAIN ? -EINPROGRESS : err;
}

static int connect_locked(struct inet_socket *s, ip_addr_t *ip, u16 port, u32 flags, u64 deadline)
{
    int err = 0;
    if (s->state == S_CONNECTING && flags & SOCKET_DONTWAIT)
        return -EALREADY;
    if (s->state != S_CONNECTING && !s->connect_told)
        return connect_outcome(s);
    if (s->state == S_ESTABLISHED || s->state == S_LISTENING || s->state == S_CLOSED)
        return -EISCONN;
    if (s->state == S_FRESH)
        err = connect_start(s, ip, port);
    if (err)
        return err;
    return 1;
}

/* ---- disconnecting ---- */

void tcp_drop(struct inet_socket *s)
{
    struct tcp_pcb *pcb = detach(s);
    if (pcb)
        tcp_abort(pcb);
    inet_drop_inbox(s);
    if (direct_is(s)) {
        direct_close(s);
        direct_free(s);
    } else {
        kfree(s);
    }
}

static void drop_backlog(struct inet_socket *s)
{
    struct inet_socket *waiting;
    defer_end(s);
    while ((waiting = list_first(&s->backlog, struct inet_socket, waiting_link))) {
        list_del(&waiting->waiting_link);
        tcp_drop(waiting);
    }
}

/* As lwIP's and ours goes, so does its address, but what bind() has given. core held. */
static int renew_locked(struct inet_socket *s)
{
    bool listening = s->state == S_LISTENING;
    if (s->state == S_ESTABLISHED || s->state == S_CONNECTING)
        __atomic_store_n(&s->error, ECONNRESET, __ATOMIC_RELAXED);
    struct tcp_pcb *pcb = detach(s);
    if (pcb && listening)
        tcp_close(pcb);
    else if (pcb)
        tcp_abort(pcb);
    drop_backlog(s);
    inet_drop_inbox(s);
    direct_leave(s);
    s->connect_told = true;
    s->peer_end = s->send_shut = s->receive_shut = false;
    s->renewed++;
    return rebind(s);
}

/* connect(2), AF_UNSPEC: s is as socket() and bind() made it, but for its options; the peer is told by a
 * reset. */
static int disconnect(struct inet_socket *s)
{
    int err = 0;
    if (direct_is(s))
        direct_close(s);
    mutex_lock(&s->reader);
    core_enter();
    if (s->state != S_FRESH)
        err = renew_locked(s);
    core_leave();
    mutex_unlock(&s->reader);
    inet_wake(s, POLL_IN | POLL_OUT | POLL_ERR | POLL_HUP);
    return err;
}

static int tcp_connect_op(struct socket *base, const struct socket_address *a, u32 flags)
{
    struct inet_socket *s = inet_of(base);
    u64 deadline = socket_deadline(base->send_timeout_ns);
    ip_addr_t ip;
    u16 port;
    if (a->len >= sizeof(a->family) && a->family == AF_UNSPEC)
        return disconnect(s);
    int err = inet_address(s, a, &ip, &port);
    if (err)
        return err;
    core_enter();
    err = connect_locked(s, &ip, port, flags, deadline);
    core_leave(); /* over loopback the peer answers here */
    if (err <= 0)
        return err;
    if (flags & SOCKET_DONTWAIT) /* Linux says so even when the answer is there already */
        return -EINPROGRESS;
    core_enter();
    err = connect_wait(s, flags, deadline);
    core_leave();
    return err;
}

/* ---- sending ---- */

/* Is so much not sent yet, counted `times` times, that no more is wanted (tcp(7), TCP_NOTSENT_LOWAT)? */
static inline bool much_unsent(const struct inet_socket *s, u32 times)
{
    u32 low = __atomic_load_n(&s->base.unsent_low, __ATOMIC_RELAXED);
    return unlikely(low) && (s->tcp->snd_lbb - s->tcp->snd_nxt) * times >= low;
}

/* Waits until there is room: bytes of it, or why not. core held. */
static s64 wait_writable(struct inet_socket *s, u32 flags, u64 deadline, bool again)
{
    u32 renewed = s->renewed;
    int err = 0;
    for (;;) {
        channel_drain(s);
        if (unlikely(s->renewed != renewed))
            return -EPIPE;
        if (s->error)
            return inet_take_error(s);
        if (s->send_shut || s->state == S_FRESH || s->state == S_LISTENING || s->state == S_CLOSED)
            return -EPIPE;
        if (s->state == S_ESTABLISHED && !again && tcp_sndbuf(s->tcp) &&
            tcp_sndqueuelen(s->tcp) < TCP_SND_QUEUELEN && !much_unsent(s, 1))
            return MIN(tcp_sndbuf(s->tcp), 0xffffu);
        again = false;
        if (err)
            return err;
        if (s->state == S_ESTABLISHED && !(flags & SOCKET_DONTWAIT)) /* what is held back makes room, too */
            tcp_output(s->tcp);
        err = inet_wait(s, flags, deadline);
    }
}

/* What is to be queued: bytes to copy, or a walk over pages to refer to. */
struct source {
    const u8 *bytes;
    struct iov_iter *pages;
};

static err_t queue(struct tcp_pcb *pcb, struct source *from, u16 n, u8 flags)
{
    err_t err = from->pages ? refer_write(pcb, from->pages, n, flags)
                            : tcp_write(pcb, from->bytes, n, TCP_WRITE_FLAG_COPY | flags);
    if (err == ERR_OK && from->bytes)
        from->bytes += n;
    return err;
}

/* More follows: only full segments leave. Behind one under way Nagle's rule keeps the last. */
static void send_full(struct tcp_pcb *pcb)
{
    tcpflags_t no_delay = pcb->flags & TF_NODELAY;
    if (!pcb->unsent || (!pcb->unsent->next && pcb->unsent->len < pcb->mss))
        return;
    tcp_clear_flags(pcb, TF_NODELAY);
    tcp_output(pcb);
    tcp_set_flags(pcb, no_delay);
}

/* The last byte queued is urgent: neither Nagle's rule nor a cork keeps it (urgent.h). */
static void send_urgent(struct inet_socket *s)
{
    struct tcp_pcb *pcb = s->tcp;
    tcpflags_t no_delay = pcb->flags & TF_NODELAY;
    pcb->urgent.sending = true;
    pcb->urgent.end = pcb->snd_lbb;
    hold_forget(s);
    tcp_nagle_disable(pcb);
    tcp_output(pcb);
    if (!no_delay)
        tcp_nagle_enable(pcb);
}

/* Queues n bytes: how many, or why none. cork: what is not a full segment stays. more: the call has more. */
static s64 write_bytes(struct inet_socket *s, struct source from, size_t n, u32 flags, u64 deadline,
                       bool cork, bool more)
{
    size_t done = 0;
    s64 room = 0;
    bool full = false;
    core_enter();
    while (done < n && (room = wait_writable(s, flags, deadline, full)) > 0) {
        size_t k = MIN(n - done, (size_t)room);
        err_t err = queue(s->tcp, &from, k, cork || more || done + k < n ? TCP_WRITE_FLAG_MORE : 0);
        full = err != ERR_OK;
        done += full ? 0 : k;
        if (flags & SOCKET_OOB && done == n && !more)
            send_urgent(s);
        else if (full || !(cork || more))
            hold_or_send(s);
        else if (!more)
            send_full(s->tcp);
        if (full && !s->tcp->unsent && !s->tcp->unacked) { /* nothing on its way: no room will come */
            room = -ENOBUFS;
            break;
        }
    }
    if (s->tcp)
        channel_wants(s);
    core_leave();
    return done ? (s64)done : room;
}

/* Through lwIP. */
static ssize_t send_segments(struct inet_socket *s, struct socket_message *m)
{
    u64 deadline = socket_deadline(s->base.send_timeout_ns);
    bool cork = m->flags & SOCKET_MORE || inet_option(s, 6, 3);
    if (m->it->pages && m->it->left >= REFER_MIN)
        return write_bytes(s, (struct source){.pages = m->it}, m->it->left, m->flags, deadline, cork, false);
    u8 small[CHUNK_SMALL], *bytes = m->it->left <= CHUNK_SMALL ? small : kmalloc(CHUNK);
    size_t room = bytes == small ? CHUNK_SMALL : CHUNK;
    ssize_t done = 0, n = 0;
    if (!bytes)
        n = -ENOMEM;
    while (!n && m->it->left) {
        ssize_t got = iov_from(m->it, bytes, MIN(room, m->it->left));
        if (got <= 0) {
            n = -EFAULT;
            break;
        }
        n = write_bytes(s, (struct source){.bytes = bytes}, got, m->flags, deadline, cork, m->it->left);
        if (n > 0)
            done += n;
        n = n == got ? 0 : n < 0 ? n : -EAGAIN;
    }
    if (bytes != small)
        kfree(bytes);
    return done ? done : n;
}

/* MSG_FASTOPEN (RFC 7413): a connection without a cookie, behind whose handshake the bytes leave. */
static int open_fast(struct socket *base, const struct socket_message *m)
{
    return m->address && m->address->len ? tcp_connect_op(base, m->address, m->flags) : 0;
}

static ssize_t tcp_send_op(struct socket *base, struct socket_message *m)
{
    struct inet_socket *s = inet_of(base);
    bool rest = true;
    ssize_t n = unlikely(m->flags & SOCKET_FASTOPEN) ? open_fast(base, m) : 0;
    if (n)
        return n;
    if (!s->path_known &&
        !direct_is(s)) { /* who joins the ends has the core: a state seen without it may come too early */
        core_enter();
        n = wait_writable(s, m->flags, socket_deadline(base->send_timeout_ns), false);
        core_leave();
        if (n < 0)
            return n;
        n = 0; /* there is room; nothing is sent yet */
        s->path_known = true;
    }
    if (direct_is(s))
        n = direct_send(s, m, &rest);
    return rest && n <= 0 ? send_segments(s, m) : n;
}

/* ---- poll, shutdown, close ---- */

/* events: what the buffers say. */
static u32 stream_events(const struct inet_socket *s, u32 events)
{
    bool end = s->peer_end || s->receive_shut;
    if (end)
        events |= POLL_IN | POLL_RDHUP;
    if (s->state == S_FRESH || s->state == S_CLOSED || (end && s->send_shut))
        events |= POLL_HUP;
    if (s->state == S_FRESH || s->state == S_CLOSED || s->send_shut)
        events |= POLL_OUT;
    if (s->error)
        events |= POLL_ERR;
    return events;
}

static u32 tcp_poll_op(struct socket *base)
{
    struct inet_socket *s = inet_of(base);
    u32 events = 0;
    if (direct_is(s))
        return stream_events(s, direct_poll(s));
    core_enter();
    hold_release_mine();
    if (s->state == S_LISTENING) {
        defer_collect(s);
        events = list_empty(&s->backlog) ? 0 : POLL_IN;
    } else {
        channel_drain(s);
        u32 too_few = __atomic_load_n(&s->base.receive_low, __ATOMIC_RELAXED);
        if (unlikely(too_few) && inet_closed_window(s))
            too_few = 0;
        events |= urgent_events(&s->urgent, inet_in_line(s), inet_waiting(s), too_few);
        if (s->state == S_ESTABLISHED && s->tcp && s->tcp->snd_buf >= SND_LOW && !much_unsent(s, 2))
            events |= POLL_OUT;
        events = stream_events(s, events);
    }
    core_leave();
    return events;
}

static int shutdown_locked(struct inet_socket *s, bool receive, bool send)
{
    if (s->state == S_LISTENING && !receive)
        return 0;
    if (s->state == S_LISTENING) {
        tcp_close(detach(s));
        drop_backlog(s);
        rebind(s);
        return 0;
    }
    channel_drain(s);
    if (s->state != S_ESTABLISHED)
        return -ENOTCONN;
    s->receive_shut |= receive;
    if (!send || (s->send_shut && !direct_is(s)))
        return 0;
    s->send_shut = true;
    if (s->tcp)
        tcp_shutdown(s->tcp, 0, 1);
    if (s->peer_end && s->tcp)
        finish(s);
    return 0;
}

static int tcp_shutdown_op(struct socket *base, bool receive, bool send)
{
    struct inet_socket *s = inet_of(base);
    if (direct_is(s) && send)
        direct_end_send(s);
    core_enter();
    int err = shutdown_locked(s, receive, send);
    inet_wake(s, 0);
    core_leave();
    return err;
}

struct linger {
    s32 on, seconds;
};

/* SO_LINGER: until everything is acknowledged, or time is up. */
static void linger(struct inet_socket *s, u32 seconds)
{
    u64 deadline = clock_monotonic_ns() + seconds * NSEC_PER_SEC;
    while (s->tcp && (s->tcp->unsent || s->tcp->unacked) && clock_monotonic_ns() < deadline) {
        if (core_wait(&s->changed, deadline))
            return;
    }
}

static void close_locked(struct inet_socket *s, bool unread)
{
    struct linger l;
    memcpy(&l, &s->base.linger, sizeof(l));
    bool was_listening = s->state == S_LISTENING;
    channel_drain(s);
    if (s->state == S_ESTABLISHED && l.on && l.seconds > 0)
        linger(s, l.seconds);
    bool reset = s->state == S_ESTABLISHED && ((l.on && !l.seconds) || unread || !list_empty(&s->inbox));
    struct tcp_pcb *pcb = detach(s);
    if (pcb && !was_listening)
        pcb->recovery.orphan = true;
    if (pcb && (reset || tcp_close(pcb) != ERR_OK))
        tcp_abort(pcb);
    if (was_listening)
        drop_backlog(s);
}

static void tcp_release_op(struct socket *base)
{
    struct inet_socket *s = inet_of(base);
    bool unread = direct_is(s) && direct_close(s);
    core_enter();
    close_locked(s, unread);
    core_leave();
    inet_free(s);
}

const struct socket_ops tcp_ops = {
    .bind = tcp_bind_op,
    .connect = tcp_connect_op,
    .listen = tcp_listen_op,
    .accept = tcp_accept_op,
    .name = inet_name,
    .shutdown = tcp_shutdown_op,
    .send = tcp_send_op,
    .receive = tcp_receive_op,
    .poll = tcp_poll_op,
    .pollq = inet_pollq,
    .get_option = inet_get_option,
    .set_option = inet_set_option,
    .ioctl = inet_ioctl,
    .release = tcp_release_op,
};
