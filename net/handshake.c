#include "net/handshake.h"

#include "kernel/arch/x86_64/arch.h"
#include "kernel/fs/vfs.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "net/core.h"
#include "net/flow.h"
#include "net/syncookie.h"
#include "net/table.h"
#include "net/transmit.h"
#include "virtio/net.h"

/* Guarded by the core. */
static u64 cookies_sent, cookies_believed;

static ip_addr_t address_of(const u32 words[4], bool v6)
{
    ip_addr_t ip;
    flow_get_address(&ip, words, v6);
    if (v6)
        ip6_addr_assign_zone(ip_2_ip6(&ip), IP6_UNICAST, netif_device());
    return ip;
}

/*
 * A new connection between ports whose last one is in TIME_WAIT here: RFC 1122, 4.2.2.13 lets it begin when
 * its sequence number is beyond the old one's. lwIP would only acknowledge the old one again, so that goes
 * first.
 */
static void make_way(const struct flow_packet *syn)
{
    const union flow_key *f = &syn->flow;
    ip_addr_t from = address_of(f->remote, f->v6), to = address_of(f->local, f->v6);
    struct tcp_pcb *p = table_find(&to, f->local_port, &from, f->remote_port);
    u32 seq;
    memcpy(&seq, syn->transport + 4, sizeof(seq));
    if (p && p->state == TIME_WAIT && !p->callback_arg && (s32)(lwip_ntohl(seq) - p->rcv_nxt) > 0) {
        tcp_pcb_remove(&tcp_tw_pcbs, p);
        memp_free(MEMP_TCP_PCB, p);
    }
}

static struct tcp_pcb_listen *listener_of(const union flow_key *f)
{
    ip_addr_t to = address_of(f->local, f->v6);
    struct tcp_pcb_listen *l = tcp_listen_pcbs.listen_pcbs;
    while (l && (l->local_port != f->local_port ||
                 !(ip_addr_isany(&l->local_ip) || ip_addr_cmp_zoneless(&l->local_ip, &to))))
        l = l->next;
    return l;
}

/* Of l's half-open connections, the one that has waited longest; NULL: there are none. */
static struct tcp_pcb *oldest_half_open(const struct tcp_pcb_listen *l, u32 *count)
{
    struct tcp_pcb *oldest = NULL;
    *count = 0;
    for (struct tcp_pcb *p = tcp_active_pcbs; p; p = p->next) {
        if (p->state != SYN_RCVD || p->listener != l)
            continue;
        (*count)++;
        if (!oldest || (s32)(p->tmr - oldest->tmr) <= 0)
            oldest = p;
    }
    return oldest;
}

/* What was found when a listener's backlog was full: in a flood it is not looked for with each SYN, but when
 * half-open connections have grown older. */
static struct verdict {
    const struct tcp_pcb_listen *listener;
    u32 ticks;
    bool cookie;
} verdicts[64]; /* by ports */

/*
 * A SYN for a listener whose backlog is full. If that is of half-open connections, the oldest of them goes,
 * silently, when its peer has had time to answer; else, so that a flood of SYNs nobody stands behind does not
 * keep others out, the SYN is to be answered by a cookie: true. A backlog full of connections that the
 * program has not accepted is full, as with Linux.
 */
#define HALF_OPEN_TICKS 4 /* of TCP_SLOW_INTERVAL: 1.5 to 2 s; a busy host may be late with an answer */
static bool make_room(struct tcp_pcb_listen *l)
{
    u32 count;
    if (!l || l->accepts_pending < l->backlog)
        return false;
    struct verdict *v = &verdicts[l->local_port % ARRAY_LEN(verdicts)];
    if (v->listener == l && v->ticks == tcp_ticks)
        return v->cookie;
    struct tcp_pcb *oldest = oldest_half_open(l, &count);
    if (oldest && tcp_ticks - oldest->tmr >= HALF_OPEN_TICKS) {
        tcp_abandon(oldest, 0);
        syncookie_expect();
        return false;
    }
    *v = (struct verdict){l, tcp_ticks, oldest && count >= l->backlog / 2u};
    return v->cookie;
}

/* A SYN to lwIP, which is to answer it with a cookie. False: its header is not whole. */
static bool input_syn(const struct flow_packet *syn, struct net_buf *frame)
{
    u32 header_len = syn->transport[12] / 16 * 4, there = frame->data + frame->len - syn->transport;
    if (header_len < TCP_HLEN || header_len > MIN(there, syn->len)) {
        net_frame_put(frame);
        return false;
    }
    syncookie_choose(syncookie_make(syn, header_len));
    netif_give(frame);
    syncookie_choose(0);
    return true;
}

/* lwIP answers, in a connection that it makes and we take away again at once. */
static void answer_by_cookie(struct tcp_pcb_listen *l, const struct flow_packet *syn, struct net_buf *frame)
{
    const union flow_key *f = &syn->flow;
    ip_addr_t from = address_of(f->remote, f->v6), to = address_of(f->local, f->v6);
    u16 local_port = f->local_port, remote_port = f->remote_port;
    __typeof__(l->backlog) backlog = l->backlog;
    l->backlog = l->accepts_pending + 1;
    bool answered = input_syn(syn, frame);
    l->backlog = backlog;
    struct tcp_pcb *p = answered ? table_find(&to, local_port, &from, remote_port) : NULL;
    if (p && p->state == SYN_RCVD) {
        tcp_abandon(p, 0);
        syncookie_expect();
        cookies_sent++;
    }
}

/*
 * While cookies are expected, a segment of no connection may acknowledge one: then lwIP makes the connection
 * out of the SYN that we did not keep; what it says to that, the peer knows. The peer is there: if need be,
 * one who has not answered yet makes room. False: nothing is to be said to the segment. Either there is no
 * room, as on Linux, or it is not the peer's first one, which was lost or overtaken: it comes again, if it is
 * not reset.
 */
static bool believe_cookie(const struct flow_packet *ack)
{
    const union flow_key *f = &ack->flow;
    ip_addr_t from = address_of(f->remote, f->v6), to = address_of(f->local, f->v6);
    struct tcp_pcb_listen *l;
    struct syncookie cookie;
    u32 count;
    u8 syn[SYNCOOKIE_SYN];
    struct tcp_pcb *kept = table_find(&to, f->local_port, &from, f->remote_port);
    if ((kept && kept->state != SYN_RCVD) || !(l = listener_of(f)))
        return true;
    if (!syncookie_check(ack, &cookie))
        return kept;
    if (kept && kept->snd_nxt == cookie.isn + 1)
        return true;
    if (kept)
        tcp_abandon(kept, 0); /* of a SYN sent again, when the number for it had changed */
    struct tcp_pcb *oldest = l->accepts_pending < l->backlog ? NULL : oldest_half_open(l, &count);
    if (oldest)
        tcp_abandon(oldest, 0);
    struct pbuf *p = l->accepts_pending < l->backlog ? pbuf_alloc(PBUF_RAW, sizeof(syn), PBUF_RAM) : NULL;
    if (!p)
        return false;
    syncookie_syn(ack, &cookie, syn);
    pbuf_take(p, syn, sizeof(syn));
    cookies_believed++;
    transmit_checksums(netif_device(), true);
    syncookie_choose(cookie.isn);
    transmit_mute(true);
    netif_give_tcp(p, &from, &to, ack->transport - FLOW_IPV6);
    transmit_mute(false);
    syncookie_choose(0);
    return table_find(&to, f->local_port, &from, f->remote_port);
}

void handshake_input(struct net_buf *frame, const struct flow_packet *p, u8 flags)
{
    struct tcp_pcb_listen *l;
    if (flags != TCP_SYN) {
        if (flags != TCP_ACK || !syncookie_expected() || believe_cookie(p))
            netif_give(frame);
        else
            net_frame_put(frame);
        return;
    }
    make_way(p);
    l = listener_of(&p->flow);
    if (make_room(l))
        answer_by_cookie(l, p, frame);
    else if (l)
        input_syn(p, frame);
    else
        netif_give(frame);
}

void handshake_show(struct seq *s)
{
    seq_printf(s, "syn_cookies_sent %lu\nsyn_cookies_believed %lu\n", cookies_sent, cookies_believed);
}
