/*
 * What ICMP says about datagrams, kept for those who ask (ip(7), IP_RECVERR; ipv6(7), IPV6_RECVERR) until
 * they receive it with MSG_ERRQUEUE: which datagram to whom did not arrive, why, and who says so.
 */
#ifndef MOKA_NET_ERROR_QUEUE_H
#define MOKA_NET_ERROR_QUEUE_H

#include "net/inet.h"

/* One message; addresses are of the same version of IP. */
struct icmp_error {
    int error;     /* errno */
    u8 type, code; /* the message's */
    ip_addr_t to;  /* where the datagram went */
    u16 to_port;
    ip_addr_t offender; /* who says so */
};

/* Does s want to know, of a version of IP? */
bool error_queue_wanted(const struct inet_socket *s, bool v6);
/* Adds a message; the datagram's bytes, as far as they were quoted, lie behind the first `at` of p. One too
 * many, or without memory: nothing is added. core held. */
void error_queue_add(struct inet_socket *s, const struct icmp_error *e, const struct pbuf *p, u32 at);
/* The oldest: bytes of its datagram, or -EAGAIN. The core not held. */
ssize_t error_queue_receive(struct inet_socket *s, struct socket_message *m);
/* Drops all. core held. */
void error_queue_drop(struct inet_socket *s);

#endif
