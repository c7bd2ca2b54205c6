/* Sending: frames stay where they are; their owner hears when the device has read them. */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "mm/phys/phys.h"
#include "virtio/net_internal.h"

static void tx_finish(struct net_tx_queue *q, struct net_tx *tx, struct net_tx ***tail)
{
    q->in_flight--;
    q->urgent -= !tx->lazy;
    tx->next = NULL;
    **tail = tx;
    *tail = &tx->next;
}

/* Appends what the device has finished to a list; true when there was any. Lock held. */
static bool reclaim(struct net_tx_queue *q, struct net_tx ***tail)
{
    struct vq_done done;
    bool any = false;
    while (vq_pop(q->vq, &done)) {
        vq_free(q->vq, done.head);
        tx_finish(q, done.token, tail);
        any = true;
    }
    return any;
}

/* The same by senders: the interrupt that was asked for when there was no room may then find nothing to tell.
 */
static void reclaim_ahead(struct net_tx_queue *q, struct net_tx ***tail)
{
    if (reclaim(q, tail) && q->want_room)
        event_set(&container_of(q, struct net_pair, tx)->event);
}

static void call_done(struct net_tx *list)
{
    while (list) {
        struct net_tx *next = list->next; /* done may free or reuse it */
        list->done(list);
        list = next;
    }
}

/* Offloads the device lacks must have been done by the caller. */
static bool sensible(struct net *net, const struct net_tx *tx)
{
    u32 kind = tx->offload.gso_type & ~NET_GSO_ECN, have = net->public.offloads;
    if (!tx->seg_count || tx->seg_count > NET_TX_SEGS_MAX || 1u + tx->seg_count > NET_QUEUE_SIZE)
        return false;
    if ((tx->offload.flags & NET_NEEDS_CSUM) && !(have & NET_TX_CSUM))
        return false;
    return kind == NET_GSO_NONE || (kind == NET_GSO_TCPV4 && (have & NET_TX_TSO4)) ||
           (kind == NET_GSO_TCPV6 && (have & NET_TX_TSO6));
}

/* Room for a frame; asks for an interrupt when there is none. Lock held. */
static bool make_room(struct net_tx_queue *q, u32 count, struct net_tx ***tail)
{
    reclaim_ahead(q, tail);
    while (vq_room(q->vq) < count) {
        __atomic_store_n(&q->want_room, true, __ATOMIC_RELAXED);
        if (vq_irq_after(q->vq, (q->in_flight + 1) / 2)) /* half of them: not one interrupt a frame */
            return false;
        reclaim_ahead(q, tail);
    }
    return true;
}

/* Asks for an interrupt when all that is in flight is done, if anybody waits for that. Lock held. */
static void arm(struct net_tx_queue *q, struct net_tx ***tail)
{
    while (q->urgent && !q->want_room && !vq_broken(q->vq) && !vq_irq_after(q->vq, q->in_flight))
        reclaim(q, tail);
}

static void push(struct net_tx_queue *q, struct net_tx *tx)
{
    memset(tx->header, 0, sizeof(tx->header));
    memcpy(tx->header, &tx->offload, sizeof(tx->offload));
    struct vq_buf *header = &tx->bufs[0], *first = &tx->bufs[1];
    *header = (struct vq_buf){virt_to_phys(tx->header), NET_HEADER_SIZE};
    q->in_flight++;
    q->urgent += !tx->lazy;
    q->frames++;
    for (u32 i = 1; i <= tx->seg_count; i++)
        q->bytes += tx->bufs[i].len;
    if (first->paddr == header->paddr + NET_HEADER_SIZE) {
        *first = (struct vq_buf){header->paddr, first->len + NET_HEADER_SIZE};
        vq_push(q->vq, first, tx->seg_count, 0, tx);
    } else {
        vq_push(q->vq, header, 1 + tx->seg_count, 0, tx);
    }
}

int net_send(struct net_device *dev, u32 queue, struct net_tx *tx, bool more)
{
    struct net *net = container_of(dev, struct net, public);
    struct net_tx_queue *q = &net->pairs[queue].tx;
    struct net_tx *finished = NULL, **tail = &finished;
    if (!sensible(net, tx))
        return -EIO;
    int err = 0;
    bool notify = false;
    mutex_lock(&q->lock);
    if (virtio_failed(net->dev) || vq_broken(q->vq))
        err = -EIO;
    else if (!make_room(q, 1 + tx->seg_count, &tail))
        err = -ENOBUFS;
    else
        push(q, tx);
    if (!err && !more) {
        notify = vq_kick_prepare(q->vq);
        arm(q, &tail);
    }
    if (vq_broken(q->vq))
        event_set(&net->pairs[queue].event); /* its thread gives the device up */
    mutex_unlock(&q->lock);
    if (notify)
        q->vq->notify(q->vq);
    call_done(finished);
    return err;
}

void net_flush(struct net_device *dev, u32 queue)
{
    struct net_tx_queue *q = &container_of(dev, struct net, public)->pairs[queue].tx;
    struct net_tx *finished = NULL, **tail = &finished;
    mutex_lock(&q->lock);
    bool notify = vq_kick_prepare(q->vq);
    arm(q, &tail);
    mutex_unlock(&q->lock);
    if (notify)
        q->vq->notify(q->vq);
    call_done(finished);
}

void net_reclaim(struct net_device *dev, u32 queue)
{
    struct net_tx_queue *q = &container_of(dev, struct net, public)->pairs[queue].tx;
    struct net_tx *finished = NULL, **tail = &finished;
    mutex_lock(&q->lock);
    reclaim_ahead(q, &tail);
    arm(q, &tail);
    mutex_unlock(&q->lock);
    call_done(finished);
}

void net_tx_service(struct net_pair *pair)
{
    struct net_tx_queue *q = &pair->tx;
    struct net *net = pair->rx.net;
    struct net_tx *finished = NULL, **tail = &finished;
    mutex_lock(&q->lock);
    reclaim(q, &tail);
    bool room = q->want_room && vq_room(q->vq) >= 1 + NET_TX_SEGS_MAX;
    if (room)
        __atomic_store_n(&q->want_room, false, __ATOMIC_RELAXED);
    else if (q->want_room && !vq_irq_after(q->vq, (q->in_flight + 1) / 2))
        event_set(&pair->event); /* more has finished: once again */
    arm(q, &tail);
    mutex_unlock(&q->lock);
    call_done(finished);
    if (room && net->ops->tx_room)
        net->ops->tx_room(&net->public, pair->rx.index);
}

void net_tx_abort(struct net_pair *pair)
{
    struct net_tx_queue *q = &pair->tx;
    struct net *net = pair->rx.net;
    struct net_tx *finished = NULL, **tail = &finished;
    mutex_lock(&q->lock);
    for (u32 i = 0; i < q->vq->size; i++)
        if (__atomic_exchange_n(&q->vq->chains[i].in_flight, 0, __ATOMIC_ACQ_REL))
            tx_finish(q, q->vq->chains[i].token, &tail);
    mutex_unlock(&q->lock);
    call_done(finished);
    if (net->ops->tx_room)
        net->ops->tx_room(&net->public, pair->rx.index);
}
