#include "net/channel.h"

#include "kernel/fs/vfs.h"
#include "lwip/priv/tcp_priv.h"
#include "net/datagram.h"
#include "net/frames.h"
#include "net/hold.h"
#include "net/table.h"
#include "net/template.h"
#include "net/transmit.h"

#define BATCH       64u  /* frames that wait for the batch's end, at most */
#define CHANNEL_MAX 128u /* frames in a channel before the receive thread drains it */

struct channel {
    union flow_key flow;
    struct channel *next;       /* in its bucket */
    struct inet_socket *socket; /* bucket's mutex or core; NULL: closed */
    struct frame_stack frames;
    u32 count;                   /* atomic: about how many */
    u32 eager;                   /* atomic: the socket waits for acknowledgements */
    u32 listed;                  /* atomic: on the worker's list */
    u32 refs;                    /* atomic */
    struct channel *next_listed; /* the worker's list */
    struct channel *next_urgent; /* the list of the receive thread that set `urgent` */
    u32 urgent; /* atomic: on one; set with the bucket's mutex, cleared before it is drained */
};

static struct bucket {
    struct mutex lock;
    struct channel *first;
} buckets[FLOW_BUCKETS];

/* A receive thread's own. */
static struct batch {
    struct net_buf *first, *last;
    u32 count;
    bool datagrams; /* some of these may be */
    bool others;    /* some are neither segments nor datagrams */
    struct channel *urgent;
} batches[NET_PAIRS_MAX];

static struct channel *listed;    /* atomic stack: channels that may hold something */
static struct net_buf *abandoned; /* core: frames of channels closed from within lwIP, oldest first */

static struct inet_socket *draining; /* core: whose channel lwIP is being given */

static struct counters {
    u64 classified, unclassified, by_owner, by_worker, by_receiver, wakeups, found;
} counters;

static void count(u64 *counter, u64 n)
{
    __atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

/* ---- what a frame is ---- */

/* TCP's header, when the packet is a whole segment of a connection and no beginning of one. */
static const u8 *classify(const struct net_buf *frame, struct flow_packet *p, u32 *payload)
{
    const u8 *tcp = p->transport;
    if (!flow_ports(frame, p, TCP_HLEN))
        return NULL;
    u32 header = (tcp[12] >> 4) * 4;
    if (header < TCP_HLEN || p->len < header || (tcp[13] & TCP_SYN))
        return NULL;
    *payload = p->len - header;
    return tcp;
}

static struct bucket *bucket_of(const union flow_key *f)
{
    return &buckets[flow_hash(f)];
}

static struct channel *find(struct bucket *b, const union flow_key *f)
{
    struct channel *c = b->first;
    while (c && !flow_same(&c->flow, f))
        c = c->next;
    return c;
}

/* ---- life ---- */

static void put(struct channel *c)
{
    if (!__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
        kfree(c);
}

void channel_open(struct inet_socket *s)
{
    struct channel *c = s->channel || ip_addr_isloopback(&s->remote) || ip_addr_cmp(&s->remote, &s->local)
                            ? NULL
                            : kmalloc(sizeof(*c));
    if (!c)
        return;
    flow_set_address(c->flow.local, &s->local);
    flow_set_address(c->flow.remote, &s->remote);
    c->flow.local_port = s->local_port;
    c->flow.remote_port = s->remote_port;
    c->flow.v6 = IP_IS_V6(&s->remote);
    c->socket = s;
    c->refs = 1;
    struct bucket *b = bucket_of(&c->flow);
    mutex_lock(&b->lock);
    c->next = b->first;
    b->first = c;
    mutex_unlock(&b->lock);
    __atomic_store_n(&s->channel, c, __ATOMIC_RELEASE);
}

/* No frame comes any more. */
static struct channel *unhook(struct inet_socket *s)
{
    struct channel *c = s->channel;
    if (!c)
        return NULL;
    struct bucket *b = bucket_of(&c->flow);
    mutex_lock(&b->lock);
    struct channel **at = &b->first;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->socket = NULL;
    mutex_unlock(&b->lock);
    return c;
}

/* ---- consumers: core held ---- */

/* What lies there, oldest first; how many. */
static struct net_buf *take(struct channel *c, u32 *n)
{
    struct net_buf *frames = frames_take(&c->frames, n);
    __atomic_sub_fetch(&c->count, *n, __ATOMIC_RELAXED);
    return frames;
}

/*
 * To lwIP. s: frames are segments of this connection that lay there together, with one acknowledgement for
 * all of them, as for what Linux joins in its receive path (GRO), instead of one for every other. What must
 * be acknowledged at once, a gap above all, is. s->tcp may go meanwhile. NULL: any frames.
 */
static void input_all(struct net_buf *frames, struct inet_socket *s)
{
    bool several = s && frames->free, owed = false;
    while (frames) {
        struct net_buf *next = frames->free;
        STAT_COUNTER sent = lwip_stats.tcp.xmit;
        if (several && s->tcp && s->tcp->flags & TF_ACK_DELAY) {
            tcp_clear_flags(s->tcp, TF_ACK_DELAY);
            owed = true;
        }
        if (s)
            netif_input_segment(frames, &s->remote, &s->local);
        else
            netif_input_frame(frames);
        if (sent != lwip_stats.tcp.xmit)
            owed = false; /* whatever goes out acknowledges */
        frames = next;
    }
    if (owed && s->tcp)
        tcp_send_empty_ack(s->tcp);
}

static void drain(struct channel *c, struct inet_socket *s, u64 *counter)
{
    u32 n;
    if (!frames_any(&c->frames))
        return;
    struct net_buf *frames = take(c, &n);
    count(counter, n);
    core_traffic();
    transmit_reclaim();
    draining = s;
    input_all(frames, s);
    draining = NULL;
    if (s)
        channel_wants(s);
}

void channel_drain(struct inet_socket *s)
{
    if (s->channel)
        drain(s->channel, s, &counters.by_owner);
}

void channel_wants(struct inet_socket *s)
{
    if (s->channel && s->tcp)
        __atomic_store_n(&s->channel->eager, s->tcp->unsent || s->tcp->snd_buf < SND_LOW, __ATOMIC_RELAXED);
}

bool channel_pending(const struct inet_socket *s)
{
    return s->channel && frames_any(&s->channel->frames);
}

void channel_abandon(struct inet_socket *s)
{
    u32 n;
    struct channel *c = unhook(s);
    if (!c)
        return;
    s->channel = NULL;
    struct net_buf **tail = &abandoned, *frames = take(c, &n);
    while (*tail)
        tail = &(*tail)->free;
    *tail = frames;
    put(c);
    if (n)
        core_kick();
}

bool channel_draining(const struct inet_socket *s)
{
    return draining == s;
}

struct tcp_pcb *net_tcp_find(u16 remote_port, u16 local_port)
{
    struct tcp_pcb *p = draining ? draining->tcp : NULL;
    /* Its channel holds nothing but its segments. */
    bool same = p && p->remote_port == remote_port && p->local_port == local_port && p->state > LISTEN &&
                p->state != TIME_WAIT;
    count(&counters.found, same);
    return same ? p : table_find(ip_current_dest_addr(), local_port, ip_current_src_addr(), remote_port);
}

static void drain_abandoned(void)
{
    struct net_buf *frames = abandoned;
    abandoned = NULL;
    input_all(frames, NULL);
}

/* ---- receive threads ---- */

/* Onto the worker's list. */
static void list(struct channel *c)
{
    if (__atomic_load_n(&c->listed, __ATOMIC_SEQ_CST) || __atomic_exchange_n(&c->listed, 1, __ATOMIC_SEQ_CST))
        return;
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    c->next_listed = __atomic_load_n(&listed, __ATOMIC_RELAXED);
    while (
        !__atomic_compare_exchange_n(&listed, &c->next_listed, c, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    if (!c->next_listed)
        core_kick();
}

/* Bucket's mutex held. */
static void push(struct channel *c, struct batch *batch, struct net_buf *frame, u32 events)
{
    frames_push(&c->frames, frame);
    u32 depth = __atomic_add_fetch(&c->count, 1, __ATOMIC_RELAXED);
    if (!__atomic_load_n(&c->urgent, __ATOMIC_SEQ_CST) &&
        (depth > CHANNEL_MAX || __atomic_load_n(&c->eager, __ATOMIC_RELAXED))) {
        __atomic_store_n(&c->urgent, 1, __ATOMIC_RELAXED);
        c->next_urgent = batch->urgent;
        batch->urgent = c;
        __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    }
    list(c);
    if (events) {
        count(&counters.wakeups, 1);
        inet_wake(c->socket, events);
    }
}

static bool to_channel(struct batch *batch, struct net_buf *frame, struct flow_packet *p)
{
    u32 payload;
    const u8 *tcp = classify(frame, p, &payload);
    if (!tcp)
        return false;
    u32 events = tcp[13] & TCP_RST              ? POLL_IN | POLL_OUT | POLL_ERR | POLL_HUP | POLL_RDHUP
                 : tcp[13] & TCP_URG            ? POLL_IN | POLL_PRI | POLL_RDHUP
                 : payload || tcp[13] & TCP_FIN ? POLL_IN | POLL_RDHUP
                                                : 0;
    struct bucket *b = bucket_of(&p->flow);
    mutex_lock(&b->lock);
    struct channel *c = find(b, &p->flow);
    if (c)
        push(c, batch, frame, events);
    mutex_unlock(&b->lock);
    if (c)
        count(&counters.classified, 1);
    return c != NULL;
}

void channel_deliver(u32 queue, struct net_buf *frame)
{
    struct batch *batch = &batches[queue];
    struct flow_packet p;
    u8 protocol = flow_read(frame, &p) ? p.protocol : 0;
    if (protocol == FLOW_TCP && to_channel(batch, frame, &p))
        return;
    if (protocol == FLOW_UDP && datagram_deliver(frame, &p, batch->datagrams))
        return;
    count(&counters.unclassified, 1);
    if (netif_martian(frame)) {
        net_frame_put(frame);
        return;
    }
    frame->free = NULL;
    if (batch->last)
        batch->last->free = frame;
    else
        batch->first = frame;
    batch->last = frame;
    batch->datagrams |= protocol != FLOW_TCP;
    batch->others |= protocol != FLOW_TCP && protocol != FLOW_UDP;
    if (++batch->count >= BATCH)
        channel_batch_end(queue);
}

void channel_batch_end(u32 queue)
{
    struct batch *batch = &batches[queue];
    struct net_buf *frames = batch->first;
    struct channel *c = batch->urgent, *next;
    if (!frames && !c)
        return;
    batch->first = batch->last = NULL;
    batch->urgent = NULL;
    batch->count = 0;
    batch->datagrams = false;
    core_enter();
    if (batch->others) /* routes, neighbours */
        template_forget_all();
    batch->others = false;
    core_traffic();
    transmit_reclaim();
    input_all(frames, NULL);
    for (; c; c = next) {
        next = c->next_urgent;
        /* Before looking for frames; push() does it the other way round. */
        __atomic_store_n(&c->urgent, 0, __ATOMIC_SEQ_CST);
        drain(c, c->socket, &counters.by_receiver);
        put(c);
    }
    core_leave();
}

/* ---- the worker ---- */

void channel_watch(void)
{
    if (!__atomic_load_n(&listed, __ATOMIC_SEQ_CST)) /* else it was told, or is about to be */
        core_kick();
}

u64 channel_work(u64 now)
{
    static u64 due = SLEEP_FOREVER; /* the worker's own */
    if (due == SLEEP_FOREVER && (__atomic_load_n(&listed, __ATOMIC_SEQ_CST) || hold_any()))
        due = now + CHANNEL_PATIENCE;
    if (now < due && !abandoned)
        return due;
    due = SLEEP_FOREVER;
    core_enter();
    drain_abandoned();
    struct channel *c = __atomic_exchange_n(&listed, NULL, __ATOMIC_ACQ_REL);
    while (c) {
        struct channel *next = c->next_listed;
        __atomic_store_n(&c->listed, 0, __ATOMIC_SEQ_CST);
        drain(c, c->socket, &counters.by_worker);
        put(c);
        c = next;
    }
    hold_release_all();
    core_leave();
    return SLEEP_FOREVER;
}

/* ---- /proc/net/moka ---- */

void channel_show(struct seq *s)
{
    seq_printf(s, "classified %lu\nunclassified %lu\nwakeups %lu\n", counters.classified,
               counters.unclassified, counters.wakeups);
    seq_printf(s, "drained_by_owner %lu\ndrained_by_worker %lu\ndrained_by_receiver %lu\n", counters.by_owner,
               counters.by_worker, counters.by_receiver);
    seq_printf(s, "found_by_channel %lu\n", counters.found);
}
