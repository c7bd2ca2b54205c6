/*
 * How lwIP sent the last datagram to an address is how the next one goes: its headers, kept, with another
 * length and port. So a datagram leaves without route, neighbour and four layers being asked again. So does a
 * connection's small segment (LWIP_HOOK_TCP_OUTPUT); larger ones may be joined, and pass by transmit.h.
 *
 * A template is for one address, from one socket as it is: what changes the socket (bind, connect, options)
 * calls template_renew(). All end when anything comes that may be about routes or neighbours (ARP, ICMP),
 * when the interface changes, and after TEMPLATE_LIFE, so that lwIP sees a datagram now and then and keeps
 * what it knows fresh. Multicast, broadcast, what goes to this machine and what needs fragments never has
 * one.
 *
 * There are few: two that fall on the same place drive one another out. All with the core held.
 */
#ifndef MOKA_NET_TEMPLATE_H
#define MOKA_NET_TEMPLATE_H

#include "net/inet.h"

#define TEMPLATE_LIFE NSEC_PER_SEC

/* Sends p, a datagram's bytes in one piece with PBUF_TRANSPORT's room before them, of which it makes use. 0;
 * 1: there is no template, p is as it was; -ENOBUFS. */
int template_send(const struct inet_socket *s, struct pbuf *p, const ip_addr_t *to, u16 port);
/* Until template_end() the first datagram that leaves shows how s sends to `to`. */
void template_begin(const struct inet_socket *s, const ip_addr_t *to);
void template_end(void);
/* A frame leaves; its first piece holds the headers. */
void template_see(const struct pbuf *frame);
/* s is not what it was. */
void template_renew(struct inet_socket *s);
/* All end. Without the core, too. */
void template_forget_all(void);
struct seq;
void template_show(struct seq *s); /* for /proc/net/moka */

#endif
