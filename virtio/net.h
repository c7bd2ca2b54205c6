/*
 * Network devices (VIRTIO 1.1, 5.1): frames in and out, without copying.
 *
 * Receiving. Each queue has a thread that hands frames on in order (net_ops.frame). A frame is a chain of
 * net_buf, all pieces of one arena (net_arena), so that the arena can be shown to a program as a whole.
 * Whoever holds a frame gives it back by net_frame_put; its memory then goes to the device again. Holding all
 * of a queue's buffers stops that queue's reception, and nothing else.
 *
 * Sending. The caller owns struct net_tx and the memory it describes until `done`. Nothing is copied.
 *
 * Checksums and segmentation follow the device's features (net_device.offloads); struct net_offload says what
 * is left to do for a frame, in the specification's terms (5.1.6).
 */
#ifndef MOKA_VIRTIO_NET_H
#define MOKA_VIRTIO_NET_H

#include "kernel/base/types.h"
#include "virtio/queue.h"

#define NET_PAIRS_MAX 16u /* of queues that are used */

/* What the device does (net_device.offloads). */
#define NET_TX_CSUM 1u  /* completes checksums of frames sent with NET_NEEDS_CSUM */
#define NET_TX_TSO4 2u  /* cuts TCP over IPv4 into segments */
#define NET_TX_TSO6 4u  /* ... over IPv6 */
#define NET_RX_CSUM 8u  /* received frames may say NET_NEEDS_CSUM or NET_CSUM_VALID */
#define NET_RX_TSO  16u /* received frames may be longer than the MTU, already joined */

/* What is to be done to, or known about, a frame: virtio_net_hdr without num_buffers (5.1.6). */
struct net_offload {
    u8 flags;    /* NET_NEEDS_CSUM, NET_CSUM_VALID */
    u8 gso_type; /* NET_GSO_* */
    u16 hdr_len;
    u16 gso_size; /* payload bytes of each segment */
    /* NET_NEEDS_CSUM: the checksum over [csum_start, end) goes to csum_start + csum_offset, where the
     * pseudo-header's sum stands already. For received frames both lie within the frame: checked. */
    u16 csum_start;
    u16 csum_offset;
};
#define NET_NEEDS_CSUM 1u
#define NET_CSUM_VALID 2u
#define NET_GSO_NONE   0u
#define NET_GSO_TCPV4  1u
#define NET_GSO_TCPV6  4u
#define NET_GSO_ECN    0x80u

/* A piece of a received frame. The holder may change data, len, frame_len and next (to strip headers, to
 * cut), and say NET_CSUM_VALID once it knows; nothing else. */
struct net_buf {
    struct net_buf *next; /* the frame's next piece, or NULL */
    u8 *data;
    u32 len;
    u32 refs;                   /* atomic: 1 for each holder of this piece */
    struct net_offload offload; /* of the frame; in its first piece only */
    u16 pieces;                 /* of the frame; in its first piece only */
    u16 queue;                  /* whose memory this is: constant */
    u32 frame_len;              /* of the frame; in its first piece only */
    struct net_rx *rx;          /* the queue it returns to */
    struct net_buf *free;       /* link while not held */
};

/* Room for a frame to be sent, from kmalloc or any direct-mapped memory: the device reads `header`. */
#define NET_TX_SEGS_MAX 46u /* 64 KiB in segments of 1448 bytes, and their headers */
struct net_tx {
    struct net_tx *next; /* the driver's from net_send to done, else the owner's */
    /*
     * The device has read the frame (or failed): memory and struct are the owner's again. Called by some
     * thread that sends, or by the queue's own; no driver lock held; may sleep briefly; may call net_send.
     */
    void (*done)(struct net_tx *tx);
    struct net_offload offload;
    u16 seg_count;
    bool lazy; /* `done` may come as late as the next net_send: costs no interrupt */
    struct vq_buf bufs[1 + NET_TX_SEGS_MAX]; /* [0] is the driver's; the frame is in [1 .. seg_count] */
    u8 unused[4];
    u8 header[12]; /* if bufs[1] begins just behind, at &tx[1], that is one piece for the device */
};
_Static_assert(sizeof(struct net_tx) % 8 == 0, "nothing lies between the header and what follows it");

struct net_device {
    u8 mac[6];
    u16 mtu; /* largest IP packet: 1500 unless the device says otherwise */
    /* Of a receive and a send queue: one for each CPU, as far as the device has them, there are NET_PAIRS_MAX
     * and the memory goes round. Pair i's thread runs on CPU i, if there are several; its interrupts go there
     * where the machine can. */
    u32 pairs;
    u32 offloads;
    bool link_up; /* atomic */
};

/* What the network stack provides; all are called by the queue's thread, without driver locks, and may sleep.
 */
struct net_ops {
    /* A frame arrived; the callee holds it now. */
    void (*frame)(struct net_device *dev, u32 queue, struct net_buf *frame);
    /* All frames that were there have been handed on; the thread is about to sleep. */
    void (*batch_end)(struct net_device *dev, u32 queue);
    /* Room after net_send said -ENOBUFS; or the device has failed, and it says -EIO. */
    void (*tx_room)(struct net_device *dev, u32 queue);
    /* link_up changed. Queue 0's thread. */
    void (*link)(struct net_device *dev);
};

/* The n-th network device in discovery order, or NULL. */
struct net_device *net_get(u32 n);
/* Starts reception; once. ops lives for ever. 0 or -ENOMEM. */
int net_start(struct net_device *dev, const struct net_ops *ops);
/* All receive memory of the device: one physically contiguous range, 4 KiB aligned. */
void net_arena(struct net_device *dev, void **base, size_t *len);

/* Gives one piece back. Threads. */
void net_buf_put(struct net_buf *b);
/* Gives all pieces of a frame back, one reference each. Threads. */
void net_frame_put(struct net_buf *frame);

/*
 * Queues a frame of tx->seg_count segments for sending. -ENOBUFS: no room; tx_room will be called. -EIO: the
 * device has failed, or tx makes no sense (no segments, too many, offloads it lacks). On error `done` is not
 * called. Threads; may sleep on the queue's mutex. `more`: another net_send to the queue follows at once, so
 * the device is not told yet.
 */
int net_send(struct net_device *dev, u32 queue, struct net_tx *tx, bool more);

/* Tells the device what was queued with `more`. Threads. */
void net_flush(struct net_device *dev, u32 queue);
/* Calls `done` for what the device has read. Threads. */
void net_reclaim(struct net_device *dev, u32 queue);

/* Of one pair. */
struct net_stats {
    u64 rx_frames, rx_bytes, rx_dropped; /* dropped: nonsense from the device */
    u64 tx_frames, tx_bytes;
    u64 rx_starved;                   /* times a receive queue was left without buffers */
    u64 rx_interrupts, tx_interrupts; /* that woke its thread */
    u64 irq_cpus;                     /* where they came: a bit each */
    u64 rx_found;                     /* times an idle CPU woke the thread instead */
};
/* Figures of different moments, read without any lock. */
void net_stats(struct net_device *dev, u32 queue, struct net_stats *out);

#endif
