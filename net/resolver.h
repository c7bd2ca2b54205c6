/*
 * /etc/resolv.conf (resolv.conf(5)): the name servers and the domain that ip=, DHCP and router advertisements
 * (RFC 8106) tell. It is written anew whenever one of them says something new, and only then.
 */
#ifndef MOKA_NET_RESOLVER_H
#define MOKA_NET_RESOLVER_H

#include "kernel/base/types.h"
#include "lwip/ip_addr.h"

enum { RESOLVER_SERVERS = 3, RESOLVER_DOMAIN = 256 }; /* MAXNS of resolv.conf(5); RFC 1035, 2.3.4 */

/* In the order in which their servers are asked. */
enum resolver_origin { RESOLVER_IP, RESOLVER_DHCP, RESOLVER_ROUTER, RESOLVER_ORIGINS };

struct resolver_source {
    ip_addr_t servers[RESOLVER_SERVERS];
    u32 count;
    char domain[RESOLVER_DOMAIN]; /* "" for none; from outside, and not looked at yet */
};

/* All that this origin says now. core held. */
void resolver_set(enum resolver_origin origin, const struct resolver_source *source);
/* The worker: writes the file if it has to. Without the core; sleeps. */
void resolver_work(void);

#endif
