/*
 * What DHCP (RFC 2131) gives the device, and for how long: the timers of lwIP's client, and the options that
 * lwIP leaves to others: name servers, domain, MTU.
 *
 * lwIP counts a lease in ticks, of a minute as it comes: a lease of two minutes would never be renewed in
 * time. Here a tick is a sixtieth of the lease, a second at least and a minute at most. The timers run only
 * while DHCP waits for something: an idle guest takes one interrupt a tick.
 */
#ifndef MOKA_NET_LEASE_H
#define MOKA_NET_LEASE_H

#include "kernel/base/types.h"
#include "lwip/netif.h"

/* Asks for an address of n, which is up. core held. False: out of memory. */
bool lease_begin(struct netif *n);
/* The worker: does what is due. When to come back, or SLEEP_FOREVER. core held. */
u64 lease_tick(u64 now_ns);

#endif
