/* Receiving: buffers of one arena go round between the device and whoever holds frames. */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "mm/phys/phys.h"
#include "virtio/net_internal.h"

void net_rx_init(struct net_pair *pair, struct net_buf *bufs, u32 count)
{
    struct net_rx *rx = &pair->rx;
    rx->buffers = count;
    for (u32 i = 0; i < count; i++) {
        bufs[i].rx = rx;
        bufs[i].queue = rx->index;
        bufs[i].free = rx->free;
        rx->free = &bufs[i];
    }
}

static u8 *buf_memory(struct net_buf *b)
{
    struct net *net = b->rx->net;
    return (u8 *)net->arena + (size_t)(b - net->bufs) * NET_BUF_SIZE;
}

void net_buf_put(struct net_buf *b)
{
    if (__atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL))
        return;
    struct net_rx *rx = b->rx;
    b->free = __atomic_load_n(&rx->returned, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&rx->returned, &b->free, b, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    /* Pairs with net_rx_refill: it stores starving, then looks at returned. */
    if (__atomic_load_n(&rx->starving, __ATOMIC_SEQ_CST))
        event_set(&container_of(rx, struct net_pair, rx)->event);
}

void net_frame_put(struct net_buf *frame)
{
    while (frame) {
        struct net_buf *next = frame->next;
        net_buf_put(frame);
        frame = next;
    }
}

static struct net_buf *take_free(struct net_rx *rx)
{
    if (!rx->free)
        rx->free = __atomic_exchange_n(&rx->returned, NULL, __ATOMIC_SEQ_CST);
    struct net_buf *b = rx->free;
    if (b)
        rx->free = b->free;
    return b;
}

/* Buffers are offered some at a time: a frame that comes alone is on its way sooner, and fewer fences are
 * needed. */
static bool worth_refilling(const struct net_rx *rx)
{
    return vq_room(rx->vq) >= rx->vq->size / 8u || rx->starving;
}

void net_rx_refill(struct net_pair *pair)
{
    struct net_rx *rx = &pair->rx;
    bool any = false;
    if (!worth_refilling(rx))
        return;
    while (vq_room(rx->vq)) {
        struct net_buf *b = take_free(rx);
        if (!b)
            break;
        struct vq_buf buf = {virt_to_phys(buf_memory(b)), NET_BUF_SIZE};
        if (vq_push(rx->vq, &buf, 0, 1, b) < 0) {
            b->free = rx->free;
            rx->free = b;
            break;
        }
        any = true;
    }
    if (any)
        vq_kick(rx->vq);
    /* Less than a quarter is left to the device: be told of what comes back. */
    bool low = vq_room(rx->vq) > rx->vq->size / 4 * 3u;
    if (low && !rx->starving)
        rx->starved++;
    __atomic_store_n(&rx->starving, low, __ATOMIC_SEQ_CST);
    if (low && __atomic_load_n(&rx->returned, __ATOMIC_SEQ_CST))
        event_set(&pair->event);
}

/* One used buffer as a piece with the first `skip` bytes left out; NULL: none there. */
static struct net_buf *pop_piece(struct net_rx *rx, u32 skip)
{
    struct vq_done done;
    if (!vq_pop(rx->vq, &done))
        return NULL;
    vq_free(rx->vq, done.head);
    struct net_buf *b = done.token;
    b->next = NULL;
    b->refs = 1;
    b->data = buf_memory(b) + skip;
    b->len = done.len > skip ? done.len - skip : 0;
    return b;
}

/* The device's statements about a frame are kept only where they make sense. False: the frame is to be
 * dropped. */
static bool check_offload(struct net *net, struct net_buf *first)
{
    struct net_offload *o = &first->offload;
    u32 kind = o->gso_type & ~NET_GSO_ECN;
    if (!(net->public.offloads & NET_RX_CSUM))
        o->flags = 0;
    if (!(net->public.offloads & NET_RX_TSO) || !o->gso_size ||
        (kind != NET_GSO_TCPV4 && kind != NET_GSO_TCPV6))
        o->gso_type = NET_GSO_NONE;
    u32 csum_end = (u32)o->csum_start + o->csum_offset + 2;
    return !(o->flags & NET_NEEDS_CSUM) || csum_end <= first->len;
}

/* Further pieces of a frame (5.1.6.4). False: the device did not deliver them together, or an empty one. */
static bool pop_rest(struct net_rx *rx, struct net_buf *first, u32 pieces)
{
    struct net_buf *last = first;
    for (first->pieces = 1; first->pieces < pieces; first->pieces++) {
        last->next = pop_piece(rx, 0);
        last = last->next;
        if (!last || !last->len)
            return false;
        first->frame_len += last->len;
    }
    return true;
}

static struct net_buf *drop(struct net_rx *rx, struct net_buf *frame)
{
    rx->dropped++;
    net_frame_put(frame);
    return NULL;
}

/* The next frame; NULL with *more set when it was dropped, NULL with *more clear when none is there. */
static struct net_buf *next_frame(struct net_rx *rx, bool *more)
{
    struct net_buf *first = pop_piece(rx, NET_HEADER_SIZE);
    *more = first != NULL;
    if (!first)
        return NULL;
    u16 pieces;
    const u8 *header = first->data - NET_HEADER_SIZE;
    memcpy(&first->offload, header, sizeof(first->offload));
    memcpy(&pieces, header + sizeof(first->offload), sizeof(pieces));
    first->frame_len = first->len;
    if (!rx->net->mergeable)
        pieces = 1;
    if (!first->len || !pieces || !pop_rest(rx, first, pieces) || !check_offload(rx->net, first))
        return drop(rx, first);
    rx->frames++;
    rx->bytes += first->frame_len;
    return first;
}

bool net_rx_service(struct net_pair *pair)
{
    struct net_rx *rx = &pair->rx;
    struct net *net = rx->net;
    bool any = false, more = true;
    for (u32 n = 1; more; n++) {
        struct net_buf *frame = next_frame(rx, &more);
        if (frame) {
            net->ops->frame(&net->public, rx->index, frame);
            any = true;
        }
        if (n % 32 == 0)
            net_rx_refill(pair);
    }
    return any;
}
