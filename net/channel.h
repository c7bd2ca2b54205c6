/*
 * Net channels: a received segment goes, unprocessed, to the socket it belongs to, and the thread that reads
 * does the protocol's work for it.
 *
 * Source: Van Jacobson and Bob Felderman, "Speeding up Networking", linux.conf.au 2006; Kivity et al., "OSv -
 * Optimizing the Operating System for Virtual Machines", USENIX ATC 2014, section 2.3.
 *
 *   device -- receive thread: channel_deliver()
 *       |- a connection's segment: into its channel; the socket's waiters are woken
 *       |- a datagram: perhaps into its socket's (datagram.h)
 *       '- anything else: into the batch, which goes to lwIP under one taking of the core
 *
 *   channel -- drained, with the core held, by
 *       |- read, write, poll, epoll and close of the socket: channel_drain()
 *       |- the worker, when nobody did for CHANNEL_PATIENCE: acknowledgements, FINs and retransmissions never
 *       |  depend on the program
 *       '- the receive thread at its batch's end, when the socket waits for acknowledgements to send more
 *          (`eager`), or too much lies there
 *
 * Segments that were drained together are acknowledged together.
 *
 * A channel is a stack of frames (frames.h) that is taken with the core held, so frames reach lwIP in the
 * order they came. One flow comes through one queue of the device (it changes after pauses only, transmit.h),
 * and a connection's channel is opened by the thread that delivers its frames, in between two of them:
 * nothing overtakes. If the host ever puts a flow elsewhere in the midst, TCP sorts its segments.
 *
 * Nothing wakes too late: a reader queues itself, then looks at the channel; the receive thread pushes, then
 * looks for waiters (waitq.h argues that one sees the other). A poll looks at the channel because it drains
 * it. Segments that carry only an acknowledgement wake nobody.
 *
 * What is shared and how: buckets of the table by their mutex (looked up without the core); a socket is woken
 * under its bucket's mutex, so it cannot go away meanwhile; channels are counted, one reference for the
 * table, one for the worker's list. Lock order: the core < a bucket < a wait queue; the receive thread has no
 * core when it takes a bucket.
 */
#ifndef MOKA_NET_CHANNEL_H
#define MOKA_NET_CHANNEL_H

#include "net/inet.h"
#include "virtio/net.h"

#define CHANNEL_PATIENCE (4 * NSEC_PER_MSEC)

/* s is established with a peer elsewhere: its frames come through a channel from now on. Out of memory: they
 * come as before. core held. */
void channel_open(struct inet_socket *s);
/* Before s loses its control block: what still lies there is given to lwIP soon. core held; also from lwIP's
 * callbacks. */
void channel_abandon(struct inet_socket *s);
/* Gives what lies in s's channel to lwIP. core held; not from within lwIP. */
void channel_drain(struct inet_socket *s);
/* Is there anything? A hint, unless the caller is queued for s's wake-ups. */
bool channel_pending(const struct inet_socket *s);

/* After s has sent: are acknowledgements urgent? core held. */
void channel_wants(struct inet_socket *s);
/* Within lwIP's callbacks: s was woken for what is being told, when its frame came. */
bool channel_draining(const struct inet_socket *s);
void channel_show(struct seq *s); /* for /proc/net/moka */

/* Receive thread `queue`. Takes the frame over. */
void channel_deliver(u32 queue, struct net_buf *frame);
void channel_batch_end(u32 queue);

/* The worker shall come within CHANNEL_PATIENCE. core held. */
void channel_watch(void);
/* The worker, without the core: drains what nobody did, sends what was held back (hold.h). When to come back,
 * or SLEEP_FOREVER. */
u64 channel_work(u64 now_ns);

#endif
