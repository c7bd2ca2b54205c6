/*
 * What loss recovery (net/recovery.h) keeps in lwIP's control blocks and segments: members that lwip.patch
 * adds. Zero at first. Guarded by the core.
 */
#ifndef MOKA_NET_LWIP_RECOVERY_STATE_H
#define MOKA_NET_LWIP_RECOVERY_STATE_H

#include "kernel/base/tree.h"
#include "kernel/base/types.h"
#include "net/cubic.h"

struct tcp_seg;

struct sent_segment {
    u64 at_ns; /* when it left last; 0: never */
    u8 marks;  /* MARK_* of recovery.c */
};

/*
 *             loss found                 ackno reaches `end`
 *   R_OPEN ----------------> R_RECOVERY ---------------------> R_OPEN
 *      '---- timeout ---------> R_LOSS <---- timeout ----' ---^
 */
enum recovery_phase { R_OPEN, R_RECOVERY, R_LOSS };

enum recovery_timer { R_NONE, R_REORDER, R_PROBE, R_RTO };

struct tcp_recovery {
    struct tcp_seg *last;        /* on `unacked`, while there is any */
    struct tcp_seg *last_unsent; /* at tcp_write()'s last return: others may have come behind. NULL: look */

    /* The timer: in the tree under queued_ns, which is never later than due_ns. */
    struct tree_node node;
    bool queued;
    enum recovery_timer kind;
    u64 queued_ns, due_ns;
    u64 rto_from_ns; /* what the retransmission timeout counts from */
    u64 sent_ns;     /* when the last segment left */

    /* As a receiver: bytes that came twice, which the next acknowledgement tells (RFC 2883). Equal: none. */
    u32 twice_left, twice_right;

    /* Giving up. */
    bool orphan;         /* its socket is closed */
    u32 user_timeout_ms; /* TCP_USER_TIMEOUT; 0: none */
    u32 syn_retries;     /* TCP_SYNCNT; 0: as many as usual */
    u64 stuck_from_ns;   /* pcb->nrtx: when the first resend left, or the first SYN */
    u64 closed_from_ns;  /* the peer's window has been closed since; 0: it is open, or nobody looked */

    /* Round trips (RFC 6298). 0: none measured. */
    u64 srtt_ns, rttvar_ns, min_rtt_ns;

    enum recovery_phase phase;
    u32 end;                  /* R_RECOVERY, R_LOSS: snd_nxt when it began */
    u32 sacked, lost, resent; /* bytes on `unacked`: arrived out of order; lost; lost and sent again */
    u32 sacked_segments;

    /* Proportional rate reduction (RFC 6937), in R_RECOVERY. */
    u32 flight_size, delivered, out;

    /* RACK (RFC 8985, section 5.2): the segment sent last of those that arrived. */
    u64 rack_at_ns, rack_rtt_ns;
    u32 rack_end, fack; /* highest sequence number that arrived */
    bool reordering;    /* seen */
    u8 window_steps;    /* of the reordering window, beyond the first */
    u8 window_keeps;    /* recoveries before it falls back to the first */
    bool widened;       /* in this round trip, which ends when dsack_round is acknowledged */
    u32 dsack_round;

    /* Tail loss probe (section 7): on its way while probing. */
    bool probing, probe_is_old, extra; /* extra: one segment may leave beyond the window */
    u32 probe_end;

    struct cubic cubic;

    /* What a reduction is taken back to when all it was made for proves to have arrived at first. */
    u32 undo_cwnd, undo_ssthresh; /* undo_cwnd 0: cannot be */
    u32 undo_left;                /* segments sent again that have not been proved so */
    struct cubic undo_cubic;
};

/* Urgent data (net/urgent.h). */
struct tcp_urgent {
    bool sending; /* some is not acknowledged: */
    u32 end;      /* the sequence number behind the urgent byte */
    /* A mark that came with the handshake's last segment, until there is a socket: its byte, if that came. */
    bool early, early_here;
    u8 early_byte;
    u32 early_at;
};

#endif
