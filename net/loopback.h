/*
 * UDP to ourselves without lwIP: a datagram for one of our own sockets goes from the sender's call into that
 * socket's queue, with the headers it would have had, so that its reader sees no difference (datagram.h).
 *
 * Who gets what is lwIP's decision, remembered. The first datagram from a socket to an address goes through
 * lwIP and its loopback; which socket it comes out at is noted in a passage, and further ones take that. lwIP
 * decides by addresses and ports alone, so a decision holds until some socket of the receiving port is bound,
 * connects, disconnects or closes (datagram_forget()), until the interface's addresses change, or until the
 * sender is no longer what it was (inet_socket.identity). Multicast, broadcast and what nobody receives, with
 * the error that gives, are always lwIP's.
 *
 * A passage is for one address, from one socket. They are few: two that fall on the same place drive one
 * another out. Each has a mutex, held while a datagram is pushed and its receiver woken: so the receiver
 * cannot go away meanwhile. Lock order: the core < a passage's < a wait queue.
 *
 * Order. What went by lwIP has arrived before its sender left the core; and a socket's queue moves to its
 * inbox before anything of lwIP's comes there (datagram.h). So a sender's datagrams stay in order, whichever
 * way each takes.
 */
#ifndef MOKA_NET_LOOPBACK_H
#define MOKA_NET_LOOPBACK_H

#include "net/inet.h"

#define OUTGOING_HEADERS 80u /* Ethernet's, IPv6's, UDP's, and what lwIP reserves beside */

/* A datagram that a program sends: for lwIP a pbuf, for a queue a frame. One allocation, from kmalloc. */
struct outgoing {
    struct pbuf_custom pbuf;
    struct net_buf frame; /* its `queue` is LOOPBACK_QUEUE */
    u32 len;
    u8 headers[OUTGOING_HEADERS]; /* the last of these, before `bytes` */
    u8 bytes[];
};

/* net_buf.queue of a frame that never was in a device's memory. */
#define LOOPBACK_QUEUE 0xffffu
static inline bool loopback_frame(const struct net_buf *frame)
{
    return frame->queue == LOOPBACK_QUEUE;
}

/* Room for len bytes; NULL: out of memory. The caller fills `bytes`. */
struct outgoing *outgoing_new(u32 len);
/* Frees one that nobody has taken over. */
void outgoing_free(struct outgoing *m);
/* As a pbuf, which owns m now. */
struct pbuf *outgoing_pbuf(struct outgoing *m);

/* Sends m from s, to an address or (port 0) to where s is connected. False: there is no passage, and m is
 * still the caller's. A receiver without room drops it: true. No lock held. */
bool loopback_send(const struct inet_socket *s, struct outgoing *m, const ip_addr_t *to, u16 port);

/* A frame of a queue: gives it back; as a pbuf of its bytes (frame->data, frame->len), which owns it. */
void loopback_put(struct net_buf *frame);
struct pbuf *loopback_pbuf(struct net_buf *frame);

/* ---- core held ---- */

/* Until loopback_end() a datagram that s sends (to, port: as loopback_send() takes them; real: the address
 * lwIP is told) shows who receives it. */
void loopback_begin(const struct inet_socket *s, const ip_addr_t *to, u16 port, const ip_addr_t *real);
void loopback_end(void);
/* Within lwIP's callback: s has received p, whose headers lie before it, from that address. */
void loopback_arrived(struct inet_socket *s, const struct pbuf *p, const ip_addr_t *from, u16 port);
/* Closes all passages to s. */
void loopback_forget(struct inet_socket *s);

/* ---- the loopback interface's figures, as Linux counts its packets: with their IP headers, on any of the
 * three ways to ourselves (lwIP's packets, these datagrams, and the bytes of direct.h, as the segments they
 * would be) ---- */

void loopback_count(u64 packets, u64 bytes);
/* Sums up to now, of different moments. */
void loopback_counted(u64 *packets, u64 *bytes);

struct seq;
void loopback_show(struct seq *s); /* for /proc/net/moka */

#endif
