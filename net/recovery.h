/*
 * Loss recovery of TCP senders: what was lost, when it is sent again, and how much may be under way. In place
 * of lwIP's own, which counts time in ticks of 500 ms and knows duplicate acknowledgements only.
 *
 *   RACK-TLP (RFC 8985)   a segment is lost when one that was sent well after it has arrived; SACK (RFC 2018)
 *                         says which have. The last ones of a flight are asked for by a probe after two round
 * trips. RTO (RFC 6298)        at least 200 ms beyond the round trip, as with Linux; 1 s before one was
 * measured. PRR (RFC 6937)        what leaves during recovery is in proportion to what arrives. CUBIC (RFC
 * 9438)      the window otherwise (cubic.h); it begins with 10 segments (RFC 6928). NewReno (RFC 6582)    for
 * peers without SACK.
 *
 * Where this departs: a timeout's marks are not undone when it proves to have been premature (no F-RTO, no
 * Eifel); all segments that were not SACKed count as lost then. SACK marks are dropped at a timeout only if
 * the peer has forgotten what it SACKed (RFC 2018, section 8).
 *
 * As a receiver it tells senders what came twice (D-SACK, RFC 2883), so that they learn of needless resends.
 *
 * A connection is given up, without a word to the peer, when a timeout finds it resending for too long: as
 * long as Linux does, or TCP_USER_TIMEOUT (RFC 5482), which also limits how long the peer's window is closed.
 *
 * lwIP calls what is declared in lwip/lwipopts.h; state lies in its control blocks (lwip/recovery_state.h).
 * Timers lie in a tree by time. One is rarely moved: what fires too early is queued anew for when it is due.
 */
#ifndef MOKA_NET_RECOVERY_H
#define MOKA_NET_RECOVERY_H

#include "kernel/base/types.h"

struct seq;

/* The worker: runs what is due at now_ns. When to come back, or SLEEP_FOREVER. core held. */
u64 recovery_tick(u64 now_ns);
void recovery_show(struct seq *s); /* for /proc/net/moka */

#endif
