/*
 * Control messages of a datagram that a program sends (ip(7), ipv6(7), udp(7)): what it says about this
 * datagram alone.
 */
#ifndef MOKA_NET_ANCILLARY_H
#define MOKA_NET_ANCILLARY_H

#include "net/inet.h"

struct ancillary {
    bool special;    /* something of the next five is said: neither templates nor passages know it */
    bool unbound;    /* not from the address that the socket is bound to */
    ip_addr_t from;  /* the source address; any: the usual one */
    u32 interface;   /* its index; 0: the one that leads there */
    s32 hops, class; /* -1: the socket's */
    u32 segment;     /* UDP_SEGMENT: bytes of each datagram but the last; 0: it is one */
};

/* What m says, which is to an address of IPv6 (v6) or IPv4; without a word the socket's own UDP_SEGMENT. 0 or
 * -EINVAL. No lock needed. */
int ancillary_read(const struct inet_socket *s, const struct socket_message *m, bool v6,
                   struct ancillary *out);
/* May it be sent so? 0; -ENODEV: no such interface; -EINVAL (IPv6) and -ENETUNREACH (IPv4): the source is not
 * ours. core held. */
int ancillary_check(struct ancillary *a, bool v6);

#endif
