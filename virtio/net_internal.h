/* Shared by the parts of the network driver: net.c (device), net_rx.c, net_tx.c. */
#ifndef MOKA_VIRTIO_NET_INTERNAL_H
#define MOKA_VIRTIO_NET_INTERNAL_H

#include "sched/mutex.h"
#include "sched/thread.h"
#include "sched/waitq.h"
#include "virtio/net.h"
#include "virtio/request.h"
#include "virtio/transport.h"

#define NET_BUF_SIZE    2048u
#define NET_HEADER_SIZE 12u /* struct virtio_net_hdr with num_buffers (5.1.6) */
#define NET_QUEUE_SIZE  256u

/*
 * A receive queue. Its buffers go round: offered to the device -> in a frame -> held above -> `returned` ->
 * free -> offered. Everything but `returned` and `starving` is its thread's alone.
 */
struct net_rx {
    struct net *net;
    u32 index;
    struct vq *vq;
    struct net_buf *free;
    u32 buffers;              /* all that belong to this queue */
    struct net_buf *returned; /* atomic stack: pushed one by one, taken as a whole */
    u32 starving;             /* atomic: the device has no buffers; wake the thread when one comes back */
    u64 frames, bytes, dropped, starved;
    u64 interrupts, irq_cpus; /* its interrupt handler's; irq_cpus: a bit each */
    u64 found;                /* idle CPUs': how often they woke the thread */
};

struct net_tx_queue {
    struct vq *vq;
    struct mutex lock;     /* guards all below, and both sides of vq */
    u32 in_flight, urgent; /* frames the device has; those among them that are not lazy (atomic: a hint) */
    bool want_room;        /* atomic: a hint without the lock */
    u64 frames, bytes;
    u64 interrupts, irq_cpus; /* its interrupt handler's, not the lock's */
};

/* A receive and a send queue, and the thread that serves both. */
struct net_pair {
    struct net_rx rx;
    struct net_tx_queue tx;
    struct event event;
    struct idle_source idle;
    u32 consumer; /* atomic: enum consumer */
};

/*
 * Who looks at the receive queue's used ring. Its thread may come back any time, without waiting for an idle
 * CPU that is at it: that one sees so afterwards and wakes the thread once more, which then asks for
 * interrupts after whatever the CPU wrote.
 */
enum consumer { CONSUMER_THREAD, CONSUMER_INTERRUPT, CONSUMER_IDLE };

struct net {
    struct net_device public;
    struct virtio_device *dev;
    const struct net_ops *ops;
    bool mergeable;
    u32 link_changed; /* atomic: the configuration is to be looked at */
    struct request_queue control;
    void *arena;
    size_t arena_len;
    struct net_buf *bufs; /* one for each NET_BUF_SIZE of the arena */
    struct net_pair pairs[NET_PAIRS_MAX];
};

/* Receive thread only. Hands on what has arrived; true when there was any. */
bool net_rx_service(struct net_pair *pair);
/* Offers free buffers to the device, once an eighth of the queue is empty. */
void net_rx_refill(struct net_pair *pair);
/* Gives the queue its share of the arena. */
void net_rx_init(struct net_pair *pair, struct net_buf *bufs, u32 count);
/* Takes back what the device has sent, calls done and tx_room. Thread of the pair. */
void net_tx_service(struct net_pair *pair);
/* After the device failed: ends what was in flight. */
void net_tx_abort(struct net_pair *pair);

#endif
