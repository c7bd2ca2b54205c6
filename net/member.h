/*
 * Groups that UDP sockets are members of (ip(7), ipv6(7)). lwIP knows which groups an interface listens to;
 * which sockets are members is known here, so that a socket leaves its groups when it is closed, and that one
 * that wants nothing of other sockets' groups (IP_MULTICAST_ALL) gets nothing.
 */
#ifndef MOKA_NET_MEMBER_H
#define MOKA_NET_MEMBER_H

#include "net/inet.h"

/* After lwIP's start: groups on the loopback interface. core held. */
void member_init(void);
/* Is it an option that joins or leaves a group? */
bool member_is(int level, int option);
/* 0; -EINVAL; -ENODEV: no such interface; -EADDRINUSE: it is a member; -EADDRNOTAVAIL: it is none. core held.
 */
int member_change(struct inet_socket *s, int level, int option, const void *value, u32 len);
/* Leaves all. core held. */
void member_leave_all(struct inet_socket *s);
/* Within lwIP's callback: may s have what came to this group? core held. */
bool member_takes(const struct inet_socket *s, const ip_addr_t *group);

#endif
