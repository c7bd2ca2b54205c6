#include "net/recovery.h"

#include "kernel/arch/x86_64/arch.h"
#include "kernel/fs/vfs.h"
#include "lwip/priv/tcp_priv.h"
#include "net/core.h"

#define RTO_FIRST NSEC_PER_SEC /* before a round trip was measured (RFC 6298, 2.1) */
#define RTO_BEYOND                                                                                           \
    (200 * NSEC_PER_MSEC) /* beyond the round trip, at least: delayed acknowledgements, as Linux */
#define RTO_MAX      (120 * NSEC_PER_SEC)
#define SYN_LINEAR   4u  /* resends of a SYN before the timeout doubles, as Linux (tcp_syn_linear_timeouts) */
#define SYN_RETRIES  6u  /* behind those, at most (tcp_syn_retries) */
#define SYNACK_TRIES 5u  /* resends of the answer to a SYN (tcp_synack_retries) */
#define SYNACK_FULL  2u  /* the same while half of the backlog is taken, as Linux: floods end soon */
#define RETRIES      15u /* for as long as this many would take (tcp_retries2) */
#define ORPHAN_TRIES 8u  /* the same of a connection whose socket is closed (tcp_orphan_retries) */
#define PROBE_BEYOND (8 * NSEC_PER_MSEC) /* beyond two round trips: hosts are not punctual, as Linux */
#define TIMER_MIN    NSEC_PER_MSEC       /* for the reordering window */
#define DUP_THRESH   3u
#define WINDOW_KEEPS 16 /* RFC 8985, 6.2.4 */
#define SACK_MAX     4  /* blocks an option has room for */
#define WINDOW_MAX   (1u << 30)
#define WINDOW_FIRST 10u /* segments (RFC 6928) */

#define OPTION_END  0
#define OPTION_NOP  1
#define OPTION_SACK 5

#define MARK_SACKED 1u /* arrived, out of order */
#define MARK_LOST   2u
#define MARK_RESENT 4u /* with MARK_LOST: sent again since */
#define MARK_TWICE  8u /* sent more than once: its round trip is ambiguous (Karn) */

struct block {
    u32 left, right;
};

/* The segment that lwIP is processing. core */
static struct {
    u64 now;       /* 0: nothing of ours was under way */
    u32 previous;  /* what was acknowledged before */
    u32 delivered; /* bytes that it says have arrived */
    u64 rtt_ns;    /* the longest round trip that it measures; 0: none */
    u32 blocks;
    struct block sack[SACK_MAX];
    u32 needless; /* segments sent again that had arrived the first time */
    bool dsack;   /* it says that something arrived twice (RFC 2883) */
} ack;

static struct tree timers;               /* core */
static u64 worker_comes = SLEEP_FOREVER; /* core: at the latest */
static struct counters {
    u64 resent, recoveries, undone, probes, timeouts;
} counters; /* core */

static struct tcp_pcb *pcb_of(struct tcp_recovery *r)
{
    return container_of(r, struct tcp_pcb, recovery);
}

static u32 start_of(const struct tcp_seg *seg)
{
    return lwip_ntohl(seg->tcphdr->seqno);
}

static u32 len_of(const struct tcp_seg *seg)
{
    return TCP_TCPLEN(seg);
}

static u32 end_of(const struct tcp_seg *seg)
{
    return start_of(seg) + len_of(seg);
}

static bool has_sack(const struct tcp_pcb *pcb)
{
    return pcb->flags & TF_SACK;
}

/* Bytes between what is acknowledged and what was sent. */
static u32 outstanding(const struct tcp_pcb *pcb)
{
    return pcb->snd_nxt - pcb->lastack;
}

/* Bytes that are under way, as far as one knows (RFC 6675's pipe). Without SACK each duplicate
 * acknowledgement tells of a segment that has left the wire. */
static u32 under_way(const struct tcp_pcb *pcb)
{
    const struct tcp_recovery *r = &pcb->recovery;
    u32 gone = r->sacked + r->lost - r->resent + (has_sack(pcb) ? 0 : pcb->dupacks * pcb->mss);
    return outstanding(pcb) - MIN(gone, outstanding(pcb));
}

/* ---- timers ---- */

static int earlier(const struct tree_node *a, const struct tree_node *b)
{
    u64 x = container_of(a, struct tcp_recovery, node)->queued_ns;
    u64 y = container_of(b, struct tcp_recovery, node)->queued_ns;
    return x < y ? -1 : x > y;
}

static void queue(struct tcp_recovery *r)
{
    r->queued = true;
    r->queued_ns = r->due_ns;
    tree_insert(&timers, &r->node, earlier);
    if (r->queued_ns < worker_comes) {
        worker_comes = r->queued_ns;
        core_kick();
    }
}

static void unqueue(struct tcp_recovery *r)
{
    if (r->queued)
        tree_remove(&timers, &r->node);
    r->queued = false;
}

static void arm(struct tcp_recovery *r, enum recovery_timer kind, u64 due_ns)
{
    r->kind = kind;
    r->due_ns = due_ns;
    if (r->queued && r->queued_ns <= due_ns)
        return; /* comes too early, and is queued anew then */
    unqueue(r);
    queue(r);
}

static void disarm(struct tcp_recovery *r)
{
    r->kind = R_NONE;
    r->due_ns = SLEEP_FOREVER;
}

static u64 rto(const struct tcp_pcb *pcb)
{
    const struct tcp_recovery *r = &pcb->recovery;
    u64 base = r->srtt_ns ? r->srtt_ns + MAX(4 * r->rttvar_ns, RTO_BEYOND) : RTO_FIRST;
    u32 doubled = pcb->state == SYN_SENT ? pcb->nrtx - MIN(pcb->nrtx, SYN_LINEAR) : pcb->nrtx;
    return doubled > 10 ? RTO_MAX : MIN(base << doubled, RTO_MAX);
}

/* How often a SYN is resent, beside the first SYN_LINEAR times. */
static u32 syn_retries(const struct tcp_pcb *pcb)
{
    return pcb->recovery.syn_retries ? pcb->recovery.syn_retries : SYN_RETRIES;
}

/* How long a connection may be stuck: TCP_USER_TIMEOUT, or what so many timeouts would take that double from
 * the least on, however long they are here (ip-sysctl, tcp_retries2: 924.6 s). */
static u64 patience(const struct tcp_pcb *pcb)
{
    bool syn = pcb->state == SYN_SENT;
    u32 retries = syn ? syn_retries(pcb) : pcb->recovery.orphan ? ORPHAN_TRIES : RETRIES;
    u64 all = 0, next = syn ? RTO_FIRST : RTO_BEYOND;
    if (pcb->recovery.user_timeout_ms)
        return pcb->recovery.user_timeout_ms * NSEC_PER_MSEC;
    for (u32 i = 0; i <= retries; i++, next = MIN(2 * next, RTO_MAX))
        all += next;
    return all;
}

static u32 synack_retries(const struct tcp_pcb *pcb)
{
    const struct tcp_pcb_listen *l = pcb->listener;
    return l && 2 * l->accepts_pending > MAX(8, l->backlog) ? SYNACK_FULL : SYNACK_TRIES;
}

static bool gives_up(const struct tcp_pcb *pcb, u64 now)
{
    if (pcb->state == SYN_RCVD)
        return pcb->nrtx >= synack_retries(pcb);
    return pcb->nrtx && ((pcb->state == SYN_SENT && pcb->nrtx >= SYN_LINEAR + syn_retries(pcb)) ||
                         now - pcb->recovery.stuck_from_ns >= patience(pcb));
}

static void arm_rto(struct tcp_pcb *pcb)
{
    const struct tcp_recovery *r = &pcb->recovery;
    u64 due = r->rto_from_ns + rto(pcb);
    if (r->user_timeout_ms && pcb->nrtx)
        due = MIN(due, r->stuck_from_ns + patience(pcb));
    arm(&pcb->recovery, R_RTO, due);
}

static bool may_probe(const struct tcp_pcb *pcb)
{
    const struct tcp_recovery *r = &pcb->recovery;
    return r->phase == R_OPEN && has_sack(pcb) && !r->probing && r->srtt_ns && pcb->state >= ESTABLISHED;
}

/* alone: one segment is under way, whose acknowledgement may be delayed. */
static void arm_probe(struct tcp_pcb *pcb, u64 now, bool alone)
{
    struct tcp_recovery *r = &pcb->recovery;
    u64 due = now + 2 * r->srtt_ns + (alone ? RTO_BEYOND : PROBE_BEYOND);
    arm(r, R_PROBE, MIN(due, r->rto_from_ns + rto(pcb)));
}

/* reorder_ns: the time after which a segment counts as lost; 0: none does. */
static void set_timer(struct tcp_pcb *pcb, u64 now, u64 reorder_ns)
{
    if (!pcb->unacked)
        disarm(&pcb->recovery);
    else if (reorder_ns)
        arm(&pcb->recovery, R_REORDER, now + MAX(reorder_ns, TIMER_MIN));
    else if (may_probe(pcb))
        arm_probe(pcb, now, !pcb->unacked->next);
    else
        arm_rto(pcb);
}

/* ---- what has arrived ---- */

static bool sent_after(u64 at, u32 end, u64 other_at, u32 other_end)
{
    return at > other_at || (at == other_at && TCP_SEQ_GT(end, other_end));
}

/* RFC 8985, 6.2.1 to 6.2.3. */
static void delivered(struct tcp_recovery *r, const struct tcp_seg *seg)
{
    u64 rtt = MAX(ack.now - seg->sent.at_ns, 1);
    u32 end = end_of(seg);
    ack.delivered += len_of(seg);
    if (!(seg->sent.marks & MARK_TWICE)) {
        ack.rtt_ns = MAX(ack.rtt_ns, rtt);
        r->min_rtt_ns = r->min_rtt_ns ? MIN(r->min_rtt_ns, rtt) : rtt;
        r->reordering |= TCP_SEQ_LT(end, r->fack);
    } else if (rtt < r->min_rtt_ns) { /* of the first copy, in all likelihood: it was overtaken only */
        bool certain = seg->sent.marks & MARK_RESENT && rtt < r->min_rtt_ns / 4 * 3;
        r->reordering |= certain;
        ack.needless += certain;
        return;
    }
    if (TCP_SEQ_GT(end, r->fack))
        r->fack = end;
    if (sent_after(seg->sent.at_ns, end, r->rack_at_ns, r->rack_end)) {
        r->rack_at_ns = seg->sent.at_ns;
        r->rack_end = end;
        r->rack_rtt_ns = rtt;
    }
}

static void unmark_lost(struct tcp_recovery *r, struct tcp_seg *seg)
{
    if (seg->sent.marks & MARK_LOST)
        r->lost -= len_of(seg);
    if (seg->sent.marks & MARK_RESENT)
        r->resent -= len_of(seg);
    seg->sent.marks &= ~(MARK_LOST | MARK_RESENT);
}

static void mark_lost(struct tcp_recovery *r, struct tcp_seg *seg)
{
    unmark_lost(r, seg);
    seg->sent.marks |= MARK_LOST;
    r->lost += len_of(seg);
}

static void mark_sacked(struct tcp_recovery *r, struct tcp_seg *seg)
{
    delivered(r, seg);
    unmark_lost(r, seg);
    seg->sent.marks |= MARK_SACKED;
    r->sacked += len_of(seg);
    r->sacked_segments++;
}

static void unmark_sacked(struct tcp_recovery *r, struct tcp_seg *seg)
{
    seg->sent.marks &= ~MARK_SACKED;
    r->sacked -= len_of(seg);
    r->sacked_segments--;
}

static void take_block(struct tcp_pcb *pcb, struct block b)
{
    for (struct tcp_seg *seg = pcb->unacked; seg && TCP_SEQ_LT(start_of(seg), b.right); seg = seg->next)
        if (!(seg->sent.marks & MARK_SACKED) && TCP_SEQ_GEQ(start_of(seg), b.left) &&
            TCP_SEQ_LEQ(end_of(seg), b.right))
            mark_sacked(&pcb->recovery, seg);
}

/* RFC 6298, 2.2 and 2.3. */
static void measure(struct tcp_recovery *r, u64 rtt)
{
    if (!rtt)
        return;
    if (!r->srtt_ns) {
        r->srtt_ns = rtt;
        r->rttvar_ns = rtt / 2;
        return;
    }
    u64 differs = rtt > r->srtt_ns ? rtt - r->srtt_ns : r->srtt_ns - rtt;
    r->rttvar_ns = (3 * r->rttvar_ns + differs) / 4;
    r->srtt_ns = MAX((7 * r->srtt_ns + rtt) / 8, 1);
}

/* ---- the peer's options ---- */

/* An option's bytes may lie in two pieces. */
struct options {
    const u8 *first, *rest;
    u32 first_len, len;
};

static u32 byte_at(const struct options *o, u32 i)
{
    return i < o->first_len ? o->first[i] : o->rest[i - o->first_len];
}

static u32 word_at(const struct options *o, u32 i)
{
    return byte_at(o, i) << 24 | byte_at(o, i + 1) << 16 | byte_at(o, i + 2) << 8 | byte_at(o, i + 3);
}

/* Blocks outside of what was sent say nothing. */
static void take_option(const struct tcp_pcb *pcb, const struct options *o, u32 at, u32 len, u32 ackno)
{
    for (u32 i = at + 2; i + 8 <= at + len && ack.blocks < SACK_MAX; i += 8) {
        struct block b = {word_at(o, i), word_at(o, i + 4)};
        if (!TCP_SEQ_LT(b.left, b.right) || TCP_SEQ_GT(b.right, pcb->snd_nxt))
            continue;
        if (i == at + 2 && TCP_SEQ_LEQ(b.right, ackno))
            ack.dsack = true;
        else
            ack.sack[ack.blocks++] = b;
    }
    if (!ack.dsack && ack.blocks > 1 && TCP_SEQ_GEQ(ack.sack[0].left, ack.sack[1].left) &&
        TCP_SEQ_LEQ(ack.sack[0].right, ack.sack[1].right))
        ack.dsack = true;
}

static void read_options(const struct tcp_pcb *pcb, const struct options *o, u32 ackno)
{
    for (u32 i = 0; i < o->len && byte_at(o, i) != OPTION_END;) {
        if (byte_at(o, i) == OPTION_NOP) {
            i++;
            continue;
        }
        u32 len = i + 1 < o->len ? byte_at(o, i + 1) : 0;
        if (len < 2 || i + len > o->len)
            return;
        if (byte_at(o, i) == OPTION_SACK)
            take_option(pcb, o, i, len, ackno);
        i += len;
    }
}

/* What of a segment's bytes had arrived before is told by the next acknowledgement (RFC 2883). */
static void notice_duplicate(struct tcp_pcb *pcb, u32 left, u32 right)
{
    struct tcp_recovery *r = &pcb->recovery;
    if (TCP_SEQ_LT(left, pcb->rcv_nxt)) {
        r->twice_left = left;
        r->twice_right = TCP_SEQ_LT(right, pcb->rcv_nxt) ? right : pcb->rcv_nxt;
        return;
    }
    for (u32 i = 0; i < LWIP_TCP_MAX_SACK_NUM; i++) {
        struct tcp_sack_range b = pcb->rcv_sacks[i];
        if (TCP_SEQ_LT(left, b.right) && TCP_SEQ_LT(b.left, right)) {
            r->twice_left = TCP_SEQ_GT(b.left, left) ? b.left : left;
            r->twice_right = TCP_SEQ_LT(b.right, right) ? b.right : right;
            return;
        }
    }
}

int recovery_input(struct tcp_pcb *pcb, const struct tcp_hdr *header, u32 data_len, u32 len, u32 first_len,
                   const u8 *rest)
{
    ack.now = 0;
    if (pcb->state >= ESTABLISHED && data_len && has_sack(pcb))
        notice_duplicate(pcb, header->seqno, header->seqno + data_len);
    if (pcb->state <= LISTEN || !pcb->unacked)
        return ERR_OK;
    ack.now = clock_monotonic_ns();
    ack.previous = pcb->lastack;
    ack.delivered = ack.blocks = ack.needless = 0;
    ack.rtt_ns = 0;
    ack.dsack = false;
    struct options o = {(const u8 *)(header + 1), rest, first_len, len};
    if (len && has_sack(pcb) && TCPH_FLAGS(header) & TCP_ACK)
        read_options(pcb, &o, header->ackno);
    return ERR_OK;
}

/* ---- what is lost ---- */

/* How long a segment may be overtaken (RFC 8985, 6.2.4). */
static u64 reorder_window(const struct tcp_recovery *r)
{
    if (!r->reordering && (r->phase != R_OPEN || r->sacked_segments >= DUP_THRESH))
        return 0;
    return MIN((1 + r->window_steps) * r->min_rtt_ns / 4, r->srtt_ns);
}

/* The peer got something twice: it had not been lost. */
static void widen(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    if (r->widened && TCP_SEQ_GEQ(pcb->lastack, r->dsack_round))
        r->widened = false;
    if (!ack.dsack || r->widened)
        return;
    r->widened = true;
    r->dsack_round = pcb->snd_nxt;
    r->window_keeps = WINDOW_KEEPS;
    if (r->window_steps < 0xff)
        r->window_steps++;
}

/* RFC 6582: three duplicates, or an acknowledgement in recovery that leaves some open, tell of the first. */
static void find_lost_plainly(struct tcp_pcb *pcb, bool advanced)
{
    struct tcp_recovery *r = &pcb->recovery;
    struct tcp_seg *head = pcb->unacked;
    bool partial = r->phase == R_RECOVERY && advanced && TCP_SEQ_LT(pcb->lastack, r->end);
    if (head && !(head->sent.marks & MARK_LOST) && (pcb->dupacks >= DUP_THRESH || partial))
        mark_lost(r, head);
}

/* RFC 8985, 6.2.5. The time until the next one counts as lost; 0: none will by time alone. */
static u64 find_lost(struct tcp_pcb *pcb, u64 now)
{
    struct tcp_recovery *r = &pcb->recovery;
    u64 window = reorder_window(r), wait = 0;
    for (struct tcp_seg *seg = pcb->unacked; seg; seg = seg->next) {
        u8 marks = seg->sent.marks;
        if (marks & MARK_SACKED || (marks & MARK_LOST && !(marks & MARK_RESENT)))
            continue;
        if (!sent_after(r->rack_at_ns, r->rack_end, seg->sent.at_ns, end_of(seg))) {
            if (!(marks & MARK_TWICE))
                break; /* those behind it left even later */
            continue;
        }
        u64 lost_at = seg->sent.at_ns + r->rack_rtt_ns + window;
        if (lost_at <= now)
            mark_lost(r, seg);
        else
            wait = MAX(wait, lost_at - now);
    }
    return wait;
}

/* ---- how much may be under way ---- */

static void reduce(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    r->undo_cwnd = pcb->cwnd;
    r->undo_ssthresh = pcb->ssthresh;
    r->undo_cubic = r->cubic;
    r->undo_left = 0;
    pcb->ssthresh = cubic_reduce(&r->cubic, pcb->cwnd, pcb->mss);
}

/* Everything that was sent again had arrived: nothing was lost, and the window is what it was (RFC 4015). */
static void undo(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    counters.undone++;
    pcb->cwnd = MAX(pcb->cwnd, r->undo_cwnd);
    pcb->ssthresh = r->undo_ssthresh;
    r->cubic = r->undo_cubic;
    r->undo_cwnd = 0;
    r->phase = R_OPEN;
    for (struct tcp_seg *seg = pcb->unacked; seg; seg = seg->next)
        unmark_lost(r, seg);
}

static void undo_if_needless(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    u32 needless = MAX(ack.needless, ack.dsack);
    if (!needless || !r->undo_left)
        return;
    r->undo_left -= MIN(needless, r->undo_left);
    if (!r->undo_left && r->undo_cwnd)
        undo(pcb);
}

static void recover(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    counters.recoveries++;
    r->phase = R_RECOVERY;
    r->end = pcb->snd_nxt;
    r->flight_size = MAX(outstanding(pcb), 1);
    r->delivered = r->out = 0;
    reduce(pcb);
}

static void recovered(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    if (r->phase == R_RECOVERY)
        pcb->cwnd = pcb->ssthresh;
    r->phase = R_OPEN;
    if (r->window_keeps && !--r->window_keeps)
        r->window_steps = 0;
}

/* RFC 6937, section 3.1. */
static void reduce_in_proportion(struct tcp_pcb *pcb, bool advanced)
{
    struct tcp_recovery *r = &pcb->recovery;
    u32 flying = under_way(pcb);
    s64 may_send;
    r->delivered += ack.delivered;
    if (flying > pcb->ssthresh) {
        may_send = (s64)(((u64)r->delivered * pcb->ssthresh + r->flight_size - 1) / r->flight_size) - r->out;
    } else {
        s64 limit = MAX((s64)r->delivered - r->out, ack.delivered) + (advanced ? pcb->mss : 0);
        may_send = MIN((s64)pcb->ssthresh - flying, limit);
    }
    if (!r->out) /* the first one goes at once */
        may_send = MAX(may_send, pcb->mss);
    pcb->cwnd = flying + MAX(may_send, 0);
}

/* A window that was not full says nothing of the path (RFC 7661). */
static void grow(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    u32 flight = pcb->snd_nxt - ack.previous;
    if (pcb->cwnd < pcb->ssthresh) {
        if (pcb->cwnd < 2 * flight)
            pcb->cwnd += ack.delivered;
    } else if (flight + 2 * pcb->mss >= pcb->cwnd) {
        pcb->cwnd = cubic_grow(&r->cubic, pcb->cwnd, pcb->mss, ack.delivered, ack.now, r->srtt_ns);
    } else {
        cubic_idle(&r->cubic);
    }
    pcb->cwnd = MIN(pcb->cwnd, WINDOW_MAX);
}

static void steer(struct tcp_pcb *pcb, bool advanced)
{
    struct tcp_recovery *r = &pcb->recovery;
    if (r->phase != R_OPEN && TCP_SEQ_GEQ(pcb->lastack, r->end))
        recovered(pcb);
    if (r->phase == R_OPEN && r->lost)
        recover(pcb);
    if (r->phase == R_RECOVERY)
        reduce_in_proportion(pcb, advanced);
    else if (ack.delivered)
        grow(pcb);
}

/* RFC 8985, 7.4: was the probe answered, and did it mend a loss nobody saw? */
static void probe_answered(struct tcp_pcb *pcb, bool advanced)
{
    struct tcp_recovery *r = &pcb->recovery;
    if (!r->probing || TCP_SEQ_LT(pcb->lastack, r->probe_end))
        return;
    if (r->probe_is_old && !ack.dsack && TCP_SEQ_GT(pcb->lastack, r->probe_end) && r->phase == R_OPEN) {
        pcb->ssthresh = cubic_reduce(&r->cubic, pcb->cwnd, pcb->mss);
        pcb->cwnd = pcb->ssthresh;
    } else if (r->probe_is_old && !ack.dsack && advanced) {
        return; /* which of the two copies this acknowledges shows later */
    }
    r->probing = false;
}

/* ---- lwIP's hooks ---- */

void recovery_arrived(struct tcp_pcb *pcb, struct tcp_seg *seg)
{
    struct tcp_recovery *r = &pcb->recovery;
    if (seg->sent.marks & MARK_SACKED)
        unmark_sacked(r, seg);
    else if (ack.now)
        delivered(r, seg);
    unmark_lost(r, seg);
}

void recovery_acknowledged(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    bool advanced = pcb->lastack != ack.previous;
    u64 wait = 0;
    if (!ack.now)
        return;
    for (u32 i = 0; i < ack.blocks; i++)
        take_block(pcb, ack.sack[i]);
    measure(r, ack.rtt_ns);
    widen(pcb);
    undo_if_needless(pcb);
    probe_answered(pcb, advanced);
    if (advanced)
        r->rto_from_ns = ack.now;
    if (has_sack(pcb)) {
        wait = find_lost(pcb, ack.now);
    } else {
        if (!advanced && pcb->dupacks)
            ack.delivered += pcb->mss;
        find_lost_plainly(pcb, advanced);
    }
    steer(pcb, advanced);
    set_timer(pcb, ack.now, wait);
}

static void resend_lost(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    for (struct tcp_seg *seg = pcb->unacked; seg && r->lost > r->resent; seg = seg->next) {
        u32 flying = under_way(pcb);
        if ((seg->sent.marks & (MARK_LOST | MARK_RESENT)) != MARK_LOST)
            continue;
        if ((flying && flying + len_of(seg) > pcb->cwnd) || tcp_resend(pcb, seg) != ERR_OK)
            return;
    }
}

/* What one knew of the path fades while nothing is sent: half of the window for each timeout's time (RFC
 * 2861). */
static void fade(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    u32 first = WINDOW_FIRST * pcb->mss;
    u64 idle = clock_monotonic_ns() - r->sent_ns, period = rto(pcb);
    if (idle < period)
        return;
    pcb->ssthresh = MAX(pcb->ssthresh, pcb->cwnd / 4 * 3);
    for (; idle >= period && pcb->cwnd > first; idle -= period)
        pcb->cwnd /= 2;
    pcb->cwnd = MAX(pcb->cwnd, first);
    cubic_idle(&r->cubic);
}

u32 recovery_window(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    if (!pcb->unacked && pcb->unsent && pcb->cwnd > WINDOW_FIRST * pcb->mss)
        fade(pcb);
    if (r->lost > r->resent)
        resend_lost(pcb);
    u32 window = pcb->cwnd + outstanding(pcb) - under_way(pcb);
    return r->extra ? MAX(window, outstanding(pcb) + pcb->mss) : window;
}

void recovery_sent(struct tcp_pcb *pcb, struct tcp_seg *seg)
{
    struct tcp_recovery *r = &pcb->recovery;
    u64 now = clock_monotonic_ns();
    bool again = seg->sent.at_ns;
    seg->sent.at_ns = r->sent_ns = now;
    if (again) {
        counters.resent++;
        seg->sent.marks |= MARK_TWICE;
        if ((seg->sent.marks & (MARK_LOST | MARK_RESENT)) == MARK_LOST) {
            seg->sent.marks |= MARK_RESENT;
            r->resent += len_of(seg);
            r->undo_left++;
        }
    }
    r->closed_from_ns = 0;
    if (r->phase == R_RECOVERY)
        r->out += len_of(seg);
    if (!pcb->unacked) {
        r->rto_from_ns = now;
        r->fack = pcb->lastack;
        disarm(r);
    }
    if (!again && r->kind != R_REORDER && may_probe(pcb))
        arm_probe(pcb, now, !pcb->unacked);
    else if (r->kind == R_NONE)
        arm_rto(pcb);
}

bool recovery_closed_too_long(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    u64 now = clock_monotonic_ns();
    if (!pcb->persist_backoff || !r->user_timeout_ms || !r->closed_from_ns)
        r->closed_from_ns = pcb->persist_backoff ? now : 0;
    return r->closed_from_ns && r->user_timeout_ms &&
           now - r->closed_from_ns >= r->user_timeout_ms * NSEC_PER_MSEC;
}

bool recovery_probed_in_vain(struct tcp_pcb *pcb)
{
    return pcb->persist_probe >= (pcb->recovery.orphan ? ORPHAN_TRIES : RETRIES);
}

void recovery_forget(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    unqueue(r);
    disarm(r);
    r->sacked = r->lost = r->resent = r->sacked_segments = 0;
    r->last = r->last_unsent = NULL;
    r->phase = R_OPEN;
}

/* ---- what happens by time ---- */

static void probe(struct tcp_pcb *pcb, u64 now)
{
    struct tcp_recovery *r = &pcb->recovery;
    u32 before = pcb->snd_nxt;
    counters.probes++;
    r->probing = r->extra = true;
    tcp_output(pcb);
    r->extra = false;
    r->probe_is_old = pcb->snd_nxt == before;
    if (r->probe_is_old)
        tcp_resend(pcb, r->last);
    r->probe_end = pcb->snd_nxt;
    r->rto_from_ns = now;
    arm_rto(pcb);
}

/* Everything that is not known to have arrived is sent again, slowly at first (RFC 5681, 3.1; RFC 6298, 5).
 */
static void assume_all_lost(struct tcp_pcb *pcb)
{
    struct tcp_recovery *r = &pcb->recovery;
    bool reneged = pcb->unacked->sent.marks & MARK_SACKED;
    for (struct tcp_seg *seg = pcb->unacked; seg; seg = seg->next) {
        if (reneged && seg->sent.marks & MARK_SACKED)
            unmark_sacked(r, seg);
        if (!(seg->sent.marks & MARK_SACKED))
            mark_lost(r, seg);
    }
    pcb->dupacks = 0;
    if (pcb->state < ESTABLISHED)
        return;
    if (pcb->nrtx == 1)
        reduce(pcb);
    pcb->cwnd = pcb->mss;
    r->phase = R_LOSS;
    r->end = pcb->snd_nxt;
}

static void timeout(struct tcp_pcb *pcb, u64 now)
{
    struct tcp_recovery *r = &pcb->recovery;
    disarm(r);
    if (pcb->persist_backoff || !(pcb->unacked || pcb->unsent))
        return;
    if (gives_up(pcb, now)) {
        tcp_abandon(pcb, 0);
        return;
    }
    counters.timeouts++;
    r->probing = false;
    if (!pcb->nrtx)
        r->stuck_from_ns = pcb->state == SYN_SENT ? r->rto_from_ns : now;
    r->rto_from_ns = now;
    if (pcb->nrtx < 0xff)
        pcb->nrtx++;
    if (pcb->unacked)
        assume_all_lost(pcb);
    arm_rto(pcb);
    tcp_output(pcb);
}

static void expire(struct tcp_pcb *pcb, u64 now)
{
    enum recovery_timer kind = pcb->recovery.kind;
    if (kind == R_REORDER && pcb->unacked) {
        ack.now = now;
        ack.previous = pcb->lastack;
        ack.delivered = 0;
        u64 wait = find_lost(pcb, now);
        steer(pcb, false);
        set_timer(pcb, now, wait);
        tcp_output(pcb);
    } else if (kind == R_PROBE && pcb->unacked) {
        probe(pcb, now);
    } else {
        timeout(pcb, now);
    }
}

u64 recovery_tick(u64 now)
{
    struct tree_node *node;
    worker_comes = 0; /* it is here */
    while ((node = tree_first(&timers))) {
        struct tcp_recovery *r = container_of(node, struct tcp_recovery, node);
        if (r->queued_ns > now)
            return worker_comes = r->queued_ns;
        unqueue(r);
        if (r->due_ns <= now)
            expire(pcb_of(r), now);
        else if (r->due_ns != SLEEP_FOREVER)
            queue(r);
    }
    return worker_comes = SLEEP_FOREVER;
}

void recovery_show(struct seq *s)
{
    seq_printf(s, "segments_resent %lu\nloss_recoveries %lu\nneedless_recoveries %lu\n", counters.resent,
               counters.recoveries, counters.undone);
    seq_printf(s, "loss_probes %lu\nretransmission_timeouts %lu\n", counters.probes, counters.timeouts);
}
