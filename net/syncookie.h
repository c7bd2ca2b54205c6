/*
 * SYN cookies (RFC 4987, 3.6; Bernstein, 1996): when a listener's backlog is full of connections whose peers
 * have not answered, a SYN is answered without keeping anything of it. All that must be known again is in the
 * initial sequence number, which the peer's acknowledgement brings back. Connections that are kept have such
 * numbers, too: one that has to go before its peer has answered is made again when that does.
 *
 *     31            7 6        3   2    1      0
 *     keyed hash      shift of   SACK  index of MSS
 *                     the window (15: no option)
 *
 * The low bits are masked by other bits of the hash, so that nothing of the number can be guessed.
 * The hash (SipHash-2-4, Aumasson & Bernstein 2012) takes in addresses, ports, the peer's sequence number and
 * the time, in units of 34 s: a cookie is good for one or two of them. lwIP makes SYN-ACKs and connections;
 * for those made of a cookie it is given the SYN once more. All with the core held.
 */
#ifndef MOKA_NET_SYNCOOKIE_H
#define MOKA_NET_SYNCOOKIE_H

#include "net/flow.h"

#define SYNCOOKIE_SYN 32u /* bytes of a SYN that syncookie_syn() writes */

/* From now on acknowledgements of cookies are expected, for as long as those are good: one was sent, or a
 * half-open connection has gone. Else nothing but what lwIP keeps opens a connection. */
void syncookie_expect(void);
bool syncookie_expected(void);

/* The sequence number to answer a SYN with, whose first header_len bytes, options included, lie there. */
u32 syncookie_make(const struct flow_packet *syn, u32 header_len);

struct syncookie {
    u32 isn, options;
};
/* Does a segment without SYN and RST acknowledge a cookie? *out: it. */
bool syncookie_check(const struct flow_packet *ack, struct syncookie *out);
/* The TCP header of the SYN that got this cookie, as far as it matters; without a checksum. */
void syncookie_syn(const struct flow_packet *ack, const struct syncookie *cookie, u8 out[SYNCOOKIE_SYN]);

/* The next connection's initial sequence number, 0: a random one. */
void syncookie_choose(u32 isn);

#endif
