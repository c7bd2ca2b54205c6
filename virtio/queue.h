/*
 * The split virtqueue (VIRTIO 1.1, 2.6), the driver's side of it.
 *
 *   producer: vq_push, vq_kick*, vq_free, vq_room     serialised by the owner (a mutex)
 *   consumer: vq_pop, vq_irq_*                      serialised by the owner (a mutex, or being the only
 *                                                     interrupt handler of the queue)
 *
 * The two sides share nothing that both write, so an interrupt handler may be the consumer while threads
 * produce under a mutex. A chain stays allocated from vq_push until the producer gives it back by vq_free,
 * which is allowed once vq_pop has returned it.
 *
 * Nothing the device writes is trusted: vq_pop checks the used index, the id and the length against this
 * side's own records, and never reads the descriptor table, which the device could have changed. A device
 * that breaks the rules makes the queue `broken` for ever, and `broken` says how.
 *
 * Memory orders. Device and driver are two agents on coherent memory:
 *   push: descriptors and ring entry, then avail.idx with release; the device reads idx first (2.6.13.3)
 *   kick: a full fence between writing avail.idx and reading what the device says about notifications
 *         (2.6.13.3.1): either it sees the new index or this side sees that it wants to be told
 *   pop:  used.idx with acquire, then the ring entry (2.6.14)
 *   irq_on: likewise between asking for an interrupt and looking at used.idx once more (2.6.7.2, 2.6.8)
 *
 * This file and queue.c know no transport, and of the kernel only device_fence(): tests/unit runs them on the
 * host.
 */
#ifndef MOKA_VIRTIO_QUEUE_H
#define MOKA_VIRTIO_QUEUE_H

#include "kernel/base/types.h"

#define VQ_SIZE_MAX 1024u

/* A stretch of physically contiguous memory. */
struct vq_buf {
    u64 paddr;
    u32 len;
};

/* What the device finished. */
struct vq_done {
    void *token; /* as given to vq_push */
    u32 len;     /* bytes the device says it wrote; at most the chain's writable bytes */
    u16 head;    /* for vq_free */
};

/* One chain, by its head; the producer's, except in_flight. */
struct vq_chain {
    void *token;
    u32 in_len;    /* writable bytes */
    u16 last;      /* last descriptor of the chain */
    u16 count;     /* descriptors */
    u32 in_flight; /* atomic: set by the producer before the device sees it, cleared by the consumer */
};

struct vq {
    /* Fixed once initialised. */
    u16 size;  /* a power of two */
    u16 index; /* the queue's number at its device */
    bool event_idx;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    struct vq_chain *chains; /* [size] */
    u16 *next;               /* [size]: links of free and allocated descriptors; the device never sees it */
    void (*notify)(struct vq *vq); /* tells the device; any context */
    void *notify_arg;
    void (*on_used)(struct vq *vq); /* interrupt handler's call, after the interrupt was acknowledged */
    void *owner;

    /* Producer. */
    u16 free_head, free_count;
    u16 avail_next;   /* next value of avail.idx */
    u16 avail_kicked; /* its value at the last vq_kick */

    /* Consumer. */
    u16 used_next;      /* next used entry to look at */
    const char *broken; /* atomic: vq_broken() */

    /* Interrupt handler. */
    u16 used_told; /* the device's used.idx when on_used was last called by virtio_queues_interrupt() */
};

/* Layout of the shared memory (2.6.5, 2.6.6, 2.6.8). */
struct vring_desc {
    u64 addr;
    u32 len;
    u16 flags;
    u16 next;
};
#define VRING_DESC_NEXT  1u
#define VRING_DESC_WRITE 2u
struct vring_avail {
    u16 flags;
    u16 idx;
    u16 ring[]; /* [size], then used_event */
};
#define VRING_AVAIL_NO_INTERRUPT 1u
struct vring_used_elem {
    u32 id;
    u32 len;
};
struct vring_used {
    u16 flags;
    u16 idx;
    struct vring_used_elem ring[]; /* [size], then u16 avail_event */
};
#define VRING_USED_NO_NOTIFY 1u

/* Bytes of zeroed memory, aligned to 16, that vq_init() divides into the three parts (size: power of two). */
size_t vq_shared_bytes(u32 size);
/* Bytes of private zeroed memory. */
size_t vq_private_bytes(u32 size);
/* Everything but notify, on_used and owner, which the caller fills. Interrupts start suppressed. */
void vq_init(struct vq *vq, u16 index, u16 size, void *shared, void *private, bool event_idx);

/*
 * Offers `out` buffers that the device reads followed by `in` buffers that it writes, as one chain, without
 * telling it. Returns the head (>= 0), -ENOSPC when too few descriptors are free, -EIO when broken.
 * out + in >= 1; lengths > 0.
 */
int vq_push(struct vq *vq, const struct vq_buf *bufs, u32 out, u32 in, void *token);
/*
 * True when the device wants to know of what was pushed since the last call: then call vq->notify(vq), which,
 * unlike this, needs no lock. Notifying is slow (it leaves the VM), so contended owners unlock first.
 */
bool vq_kick_prepare(struct vq *vq);
static inline void vq_kick(struct vq *vq)
{
    if (vq_kick_prepare(vq))
        vq->notify(vq);
}
/* Gives the descriptors of a finished chain back. */
void vq_free(struct vq *vq, u16 head);
static inline u32 vq_room(const struct vq *vq)
{
    return vq->free_count;
}

/* NULL, or what the device did wrong. Any context. */
static inline const char *vq_broken(const struct vq *vq)
{
    return __atomic_load_n(&vq->broken, __ATOMIC_RELAXED);
}

/* The next finished chain; false: none, or broken. */
bool vq_pop(struct vq *vq, struct vq_done *done);
/* Any finished chain there? A hint, from any context. */
bool vq_pending(const struct vq *vq);
/* Asks for an interrupt at the next finished chain. False: one is there already (look again). */
bool vq_irq_on(struct vq *vq);
/*
 * The same, but only once n more chains have finished (n >= 1; where the device has no event indexes: at the
 * next one). False: that many have finished already.
 */
bool vq_irq_after(struct vq *vq, u16 n);
/* Asks for none; one may still come. */
void vq_irq_off(struct vq *vq);

#endif
