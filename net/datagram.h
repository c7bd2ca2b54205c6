/*
 * Net channels of UDP: a received datagram goes, unprocessed, to the socket it is for; the thread that reads
 * checks it and copies it out of the frame, without the core and without lwIP.
 *
 * Who gets what is lwIP's decision, remembered. When lwIP has given a datagram to a socket, and would give
 * the next one to the same local address and port, from wherever (or, of a connected socket, from its peer)
 * to that socket alone, then a flow is opened: such datagrams go to the socket's channel from now on.
 * (Sockets of the same port that are connected get flows of their own before, which are looked for first.)
 * Whatever may change the decision closes flows: a socket of the same port that is bound, connects or
 * disconnects, an address of the interface that comes or goes. Multicast, broadcast and what two connected
 * sockets share stay with lwIP; so do fragments, packets with options, and all that is odd about a
 * datagram.
 *
 *   device -- receive thread: datagram_deliver()
 *       |- a flow's: into the socket's channel; or dropped, when its receive buffer is full
 *       '- else: lwIP, which puts it into the socket's inbox (udp.c)
 *
 *   reader -- the inbox (with the core), then the channel (with the channel's mutex alone): datagram_take()
 *
 * Order. What lies in the inbox is older than what lies in the channel: before anything is added to the
 * inbox the channel moves there (datagram_settle(), with the core held); and the receive thread sends what
 * follows a packet that waits for lwIP, and may be a datagram, the same way. `moved` counts what is in the
 * inbox, so that the reader knows without the core.
 *
 * Nobody but the reader needs a datagram, so the worker need not look after these channels. What they hold of
 * a queue's receive memory ends at a quarter of it; then datagrams go by lwIP again, whose inbox copies.
 *
 * Nothing wakes too late: the receive thread counts the datagram and pushes it, then looks for waiters; a
 * reader queues itself, then looks (waitq.h).
 *
 * Locks, in order: the core < a channel's < a bucket of flows < a wait queue. The receive thread takes a
 * bucket only, and wakes the socket under it, so the socket cannot go away meanwhile.
 */
#ifndef MOKA_NET_DATAGRAM_H
#define MOKA_NET_DATAGRAM_H

#include "lwip/ip_addr.h"
#include "net/flow.h"
#include "net/frames.h"
#include "sched/mutex.h"

struct inet_socket;
struct pbuf;
struct seq;
struct datagram_flow;
struct passage;

/* Of each UDP socket; all zero at first. */
struct datagrams {
    struct frame_stack arrived;
    u32 bytes; /* atomic: datagram_charge() of all that waits, the inbox included */
    struct mutex lock;
    struct net_buf *ready;       /* lock: oldest first, older than `arrived` */
    u32 moved;                   /* changes with the core and the lock, read with either */
    struct datagram_flow *flows; /* the core's */
    struct passage *passages;    /* the core's: of datagrams that come from ourselves (loopback.h) */
};

/* What one of len bytes takes of the receive buffer: about what Linux counts, its skb. */
static inline u32 datagram_charge(u32 len)
{
    return len + 576;
}

/* How one came: what received control messages tell (udp.c). */
struct arrival {
    ip_addr_t to;
    u8 interface, hops, tos; /* interface: its index */
    u64 when_ns;             /* since 1970; 0: nobody looked */
};

/* One taken out of the channel: the caller's, who gives `frame` to datagram_put(). */
struct datagram {
    struct net_buf *frame;
    const u8 *bytes; /* within it */
    u32 len;
    ip_addr_t from;
    u16 from_port;
};

void datagram_put(struct net_buf *frame);
/* Of one taken out of the channel. No lock needed. */
void datagram_arrival(const struct net_buf *frame, struct arrival *out);
/* Has s no room for another one? No lock needed. */
bool datagram_full(const struct inet_socket *s);
/* Puts a frame, whose datagram has len bytes, into s's channel, and wakes s, which does not go away
 * meanwhile.
 */
void datagram_push(struct inet_socket *s, struct net_buf *frame, u32 len);
/* Reader. False: there is none, or one in the inbox goes first. No lock held. */
bool datagram_take(struct inet_socket *s, struct datagram *out);
/* Is there one, in the inbox or here? Drops bad ones on its way. No lock held. */
bool datagram_waiting(struct inet_socket *s);

/* ---- core held ---- */

/* Everything from the channel to the inbox. */
void datagram_settle(struct inet_socket *s);
/* lwIP hands p over to s. False, and p is still the caller's: no room, no memory, or it is no datagram. */
bool datagram_arrived(struct inet_socket *s, struct pbuf *p, const ip_addr_t *from, u16 port);
/* The inbox's first has been taken out. */
void datagram_taken(struct inet_socket *s, u32 len);
/* Within lwIP's callback, after it gave s a datagram: opens a flow. */
void datagram_learn(struct inet_socket *s);
/* Closes s's flows and passages; those of all sockets bound to a port; all there are. */
void datagram_forget(struct inet_socket *s);
void datagram_forget_port(u16 port);
void datagram_forget_all(void);

/* s has no flows and passages, and nobody reads: frees what lies there. No lock held. */
void datagram_drop_all(struct inet_socket *s);

/* Receive thread: takes the frame over, or leaves it to lwIP (false). behind: what may be older datagrams
 * waits for lwIP. */
bool datagram_deliver(struct net_buf *frame, struct flow_packet *packet, bool behind);
/* Once: the number of receive buffers that a queue has. */
void datagram_init(u32 buffers);
void datagram_show(struct seq *s); /* for /proc/net/moka */

#endif
