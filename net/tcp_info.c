/* What tcp(7), TCP_INFO, tells of a connection. */
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "net/inet.h"

#define TCPI_OPT_SACK   2
#define TCPI_OPT_WSCALE 4
#define CA_OPEN         0
#define CA_RECOVERY     3
#define CA_LOSS         4
#define NSEC_PER_USEC   1000UL
#define INFINITE        0x7fffffffu

/* struct tcp_info as glibc has it; later kernels tell more. Times in microseconds, "last" ones in
 * milliseconds. */
struct info {
    u8 state, ca_state, retransmits, probes, backoff, options, scales, flags;
    u32 rto, ato, snd_mss, rcv_mss;
    u32 unacked, sacked, lost, retrans, fackets;
    u32 last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    u32 pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
    u32 rcv_rtt, rcv_space;
    u32 total_retrans;
};
_Static_assert(sizeof(struct info) == 104, "struct tcp_info");

u32 tcp_state_number(u32 state)
{
    static const u8 numbers[] = {7, 10, 2,  3, 1, 4,
                                 5, 8,  11, 9, 6}; /* CLOSED LISTEN SYN_SENT ... TIME_WAIT */
    return numbers[state];
}

static u32 segments(u32 bytes, u32 mss)
{
    return mss ? (bytes + mss - 1) / mss : 0;
}

static void tell_listener(const struct tcp_pcb_listen *l, struct info *out)
{
    out->unacked = l->accepts_pending;
    out->sacked = l->backlog;
}

static void tell_path(const struct tcp_pcb *pcb, struct info *out)
{
    const struct tcp_recovery *r = &pcb->recovery;
    u32 mss = tcp_mss(pcb);
    u64 rto = r->srtt_ns ? r->srtt_ns + MAX(4 * r->rttvar_ns, 200 * NSEC_PER_MSEC) : NSEC_PER_SEC;
    out->ca_state = r->phase == R_RECOVERY ? CA_RECOVERY : r->phase == R_LOSS ? CA_LOSS : CA_OPEN;
    out->retransmits = out->backoff = pcb->nrtx;
    out->probes = pcb->persist_probe;
    out->options =
        (pcb->flags & TF_SACK ? TCPI_OPT_SACK : 0) | (pcb->flags & TF_WND_SCALE ? TCPI_OPT_WSCALE : 0);
    out->scales = pcb->flags & TF_WND_SCALE ? pcb->snd_scale | pcb->rcv_scale << 4 : 0;
    out->rto = MIN((rto << MIN(pcb->nrtx, 10)) / NSEC_PER_USEC, 120000000UL);
    out->ato = 40000;
    out->snd_mss = out->rcv_mss = out->advmss = mss;
    out->unacked = segments(pcb->snd_nxt - pcb->lastack, mss);
    out->sacked = r->sacked_segments;
    out->lost = segments(r->lost, mss);
    out->retrans = segments(r->resent, mss);
    out->last_data_sent = r->sent_ns ? (clock_monotonic_ns() - r->sent_ns) / NSEC_PER_MSEC : 0;
    out->pmtu = inet_mtu(&pcb->remote_ip);
    out->rtt = r->srtt_ns / NSEC_PER_USEC;
    out->rttvar = r->rttvar_ns / NSEC_PER_USEC;
    out->snd_ssthresh = pcb->ssthresh >= TCP_SND_BUF ? INFINITE : segments(pcb->ssthresh, mss);
    out->snd_cwnd = MAX(segments(pcb->cwnd, mss), 1);
    out->reordering = 3;
    out->rcv_ssthresh = out->rcv_space = pcb->rcv_wnd;
}

int tcp_info(const struct inet_socket *s, void *value, u32 *len)
{
    struct info info = {.state = tcp_state_number(s->tcp ? s->tcp->state : CLOSED)};
    if (s->tcp && s->tcp->state == LISTEN)
        tell_listener((const struct tcp_pcb_listen *)s->tcp, &info);
    else if (s->tcp && s->tcp->state != CLOSED)
        tell_path(s->tcp, &info);
    *len = MIN(*len, (u32)sizeof(info));
    memcpy(value, &info, *len);
    return 0;
}
