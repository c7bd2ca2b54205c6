/*
 * A queue of requests whose submitters wait for them: blk, 9P, rng.
 *
 * The interrupt handler is the only consumer of the queue: it takes finished requests off the used ring and
 * wakes each one's thread, no other. Submitters take the mutex twice, to push and to give the slot back. So a
 * request that meets no other costs one notification, one interrupt and one wake-up.
 *
 * Locks: request_queue.lock, a leaf. on_used needs none.
 */
#ifndef MOKA_VIRTIO_REQUEST_H
#define MOKA_VIRTIO_REQUEST_H

#include "kernel/base/types.h"
#include "sched/mutex.h"
#include "sched/waitq.h"
#include "virtio/transport.h"

/* 64 bytes. From request_begin until request_end the caller's; driver memory that the device may access. */
struct request {
    struct thread *waiter;
    u32 done;             /* atomic; set by the interrupt handler */
    u32 len;              /* bytes the device wrote; valid once done */
    struct request *next; /* of free or returned requests */
    u16 head;             /* NO_HEAD: not pushed */
    bool failed;
    u8 status[5]; /* for what the device answers */
    u8 header[32];
};

struct request_queue {
    struct virtio_device *dev;
    struct vq *vq;
    struct request *requests; /* fixed */

    struct mutex lock; /* guards the producer side of vq, and: */
    struct request *free;
    u32 waiting; /* threads that wait for room; atomic, read without the lock */
    struct waitq room;

    struct request *returned; /* atomic */
};

/* Creates queue `index` of dev for at most `size` descriptors and `count` requests at a time. 0 or -errno. */
int request_queue_init(struct request_queue *q, struct virtio_device *dev, u16 index, u32 size, u32 count);

/* A request for the calling thread, when `descriptors` are free (at most the queue's size). May sleep. NULL:
 * the device has failed. Otherwise the lock stays held until request_run, which must follow at once. */
struct request *request_begin(struct request_queue *q, u32 descriptors);
/*
 * Submits and sleeps until the device has finished. bufs: out buffers, then in buffers. True: done, r->len
 * says how much the device wrote. The caller must have got descriptors >= out + in from request_begin.
 */
bool request_run(struct request_queue *q, struct request *r, const struct vq_buf *bufs, u32 out, u32 in);
void request_end(struct request_queue *q, struct request *r);

#endif
