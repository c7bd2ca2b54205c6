/*
 * Sockets that are bound to one port (socket(7), SO_REUSEADDR, SO_REUSEPORT): who may be, and who gets what.
 *
 * Sockets with SO_REUSEPORT that are bound to the same address and port form a group, connected ones apart:
 * a flow (both addresses, both ports) always goes to the same member, and flows spread evenly. The member is
 * the one with the highest random weight for the flow (Thaler & Ravishankar, "Using name-based mappings to
 * increase hit rates", 1998), so that one that comes or goes moves no other's flows; and whoever chooses,
 * lwIP or the receive thread (datagram.h), chooses alike, without asking the other.
 */
#ifndef MOKA_NET_SHARE_H
#define MOKA_NET_SHARE_H

#include "net/flow.h"
#include "net/inet.h"

/* May an address be bound to that one is bound to, as far as ports are the same? False: they do not meet. An
 * IPv6 wildcard meets IPv4's only with IPADDR_TYPE_ANY. */
bool share_meets(const ip_addr_t *a, const ip_addr_t *b);
/* May s be bound where `other` is? listens: other does. */
bool share_allowed(const struct inet_socket *s, const struct inet_socket *other, bool listens);
/* Are both in one group? Not if a is not in any. core held. */
bool share_together(const struct udp_pcb *a, const struct udp_pcb *b);
/* Does a flow go to `a` rather than to b, its fellow? */
bool share_prefers(const union flow_key *flow, const struct inet_socket *a, const struct inet_socket *b);

#endif
