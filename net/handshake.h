/*
 * How connections from outside begin, before lwIP sees it: who makes way for a new connection, and what a
 * listener does whose backlog is full (syncookie.h).
 */
#ifndef MOKA_NET_HANDSHAKE_H
#define MOKA_NET_HANDSHAKE_H

#include "kernel/base/types.h"

struct net_buf;
struct flow_packet;
struct seq;

/* A frame off the device, which it takes over and gives to lwIP or drops: a TCP segment, which p describes,
 * with SYN or ACK and without RST (flags: those two). core held; does not sleep. */
void handshake_input(struct net_buf *frame, const struct flow_packet *p, u8 flags);
/* How many cookies were sent and believed, for /proc/net/moka. */
void handshake_show(struct seq *s);

#endif
