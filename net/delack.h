/*
 * Delayed acknowledgements (RFC 1122, 4.2.3.2; RFC 5681, 4.2): a segment that none followed and nothing
 * answered is acknowledged after DELACK_NS, as with Linux (TCP_DELACK_MIN).
 *
 * lwIP would do so at its next tick, up to 250 ms later: so long a peer with Nagle's algorithm, which writes
 * twice and then reads, waits before its second segment leaves. Its ticks stay what they are; a socket is on
 * the list here only while an acknowledgement may be owed, so an idle system has no timer for it.
 */
#ifndef MOKA_NET_DELACK_H
#define MOKA_NET_DELACK_H

#include "net/inet.h"

#define DELACK_NS (40 * NSEC_PER_MSEC)

/* s's control block was given bytes: does it now owe an acknowledgement? core held; from lwIP's callbacks. */
void delack_owed(struct inet_socket *s);
/* s's control block goes. core held; also from lwIP's callbacks. */
void delack_forget(struct inet_socket *s);
/* The worker: sends what is due. When to come back, or SLEEP_FOREVER. core held. */
u64 delack_tick(u64 now_ns);

#endif
