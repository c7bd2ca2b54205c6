/*
 * SYN cookies (RFC 4987, 3.6; Bernstein, 1996): when a listener's backlog is full of connections whose peers
 * have not answered, a SYN is answered without keeping anything of it. All that must be known again is in the
 * initial sequence number, which the peer's acknowledgement brings back:
 *
 *     31            7 6        3   2    1      0
 *     keyed hash      shift of   SACK  index of MSS
 *                     the window (15: no option)
 *
 * The hash (SipHash-2-4, Aumasson & Bernstein 2012) takes in addresses, ports, the peer's sequence number and
 * the time, in units of 34 s: a cookie is good for one or two of them. lwIP makes SYN-ACKs and connections;
 * for those made of a cookie it is given the SYN once more. All with the core held.
 */
#ifndef MOKA_NET_SYNCOOKIE_H
#define MOKA_NET_SYNCOOKIE_H

#include "net/flow.h"

#define SYNCOOKIE_SYN 32u /* bytes of a SYN that syncookie_syn() writes */

/* The sequence number to answer a SYN with, whose first header_len bytes, options included, lie there. */
u32 syncookie_make(const struct flow_packet *syn, u32 header_len);
/* Does a segment without SYN and RST acknowledge such a number? *isn: it. */
bool syncookie_check(const struct flow_packet *ack, u32 *isn);
/* The TCP header of the SYN that got this number, as far as it matters; without a checksum. */
void syncookie_syn(const struct flow_packet *ack, u32 isn, u8 out[SYNCOOKIE_SYN]);

/* The next connection's initial sequence number, 0: a random one. */
void syncookie_choose(u32 isn);

#endif
