/* The split virtqueue; see queue.h for who may call what, and for the memory orders. */
#include "virtio/queue.h"

#include "kernel/arch/x86_64/fence.h"
#include "kernel/base/errno.h"

static size_t avail_offset(u32 size)
{
    return sizeof(struct vring_desc) * size;
}

static size_t used_offset(u32 size)
{
    /* flags, idx, ring[size], used_event; the used ring is aligned to 4 (2.6). */
    return ALIGN_UP(avail_offset(size) + sizeof(u16) * (3 + (size_t)size), (size_t)4);
}

size_t vq_shared_bytes(u32 size)
{
    return used_offset(size) + sizeof(u16) * 3 + sizeof(struct vring_used_elem) * size;
}

size_t vq_private_bytes(u32 size)
{
    return (sizeof(struct vq_chain) + sizeof(u16)) * size;
}

static u16 *used_event(struct vq *vq)
{
    return &vq->avail->ring[vq->size];
}

static u16 *avail_event(struct vq *vq)
{
    return (u16 *)&vq->used->ring[vq->size];
}

void vq_init(struct vq *vq, u16 index, u16 size, void *shared, void *private, bool event_idx)
{
    *vq = (struct vq){.index = index, .size = size, .event_idx = event_idx, .free_count = size};
    vq->desc = shared;
    vq->avail = (void *)((u8 *)shared + avail_offset(size));
    vq->used = (void *)((u8 *)shared + used_offset(size));
    vq->chains = private;
    vq->next = (u16 *)(vq->chains + size);
    for (u32 i = 0; i < size; i++)
        vq->next[i] = i + 1;
    vq_irq_off(vq);
}

int vq_push(struct vq *vq, const struct vq_buf *bufs, u32 out, u32 in, void *token)
{
    u32 count = out + in, in_len = 0;
    if (vq_broken(vq))
        return -EIO;
    if (count > vq->free_count)
        return -ENOSPC;

    u16 head = vq->free_head, at = head, last = head;
    for (u32 i = 0; i < count; i++) {
        struct vring_desc *d = &vq->desc[at];
        d->addr = bufs[i].paddr;
        d->len = bufs[i].len;
        d->flags = (i + 1 < count ? VRING_DESC_NEXT : 0) | (i >= out ? VRING_DESC_WRITE : 0);
        d->next = vq->next[at];
        if (i >= out)
            in_len += bufs[i].len;
        last = at;
        at = vq->next[at];
    }
    vq->free_head = at;
    vq->free_count -= count;

    struct vq_chain *c = &vq->chains[head];
    c->token = token;
    c->in_len = in_len;
    c->last = last;
    c->count = count;
    __atomic_store_n(&c->in_flight, 1, __ATOMIC_RELAXED);
    vq->avail->ring[vq->avail_next & (vq->size - 1)] = head;
    vq->avail_next++;
    __atomic_store_n(&vq->avail->idx, vq->avail_next, __ATOMIC_RELEASE);
    return head;
}

/* Did a counter that went from old to new pass event + 1? (2.6.7.2; all modulo 2^16) */
static bool passed_event(u16 event, u16 new, u16 old)
{
    return (u16)(new - event - 1) < (u16)(new - old);
}

bool vq_kick_prepare(struct vq *vq)
{
    device_fence();
    u16 old = vq->avail_kicked, new = vq->avail_next;
    vq->avail_kicked = new;
    if (vq->event_idx)
        return passed_event(__atomic_load_n(avail_event(vq), __ATOMIC_RELAXED), new, old);
    return new != old && !(__atomic_load_n(&vq->used->flags, __ATOMIC_RELAXED) & VRING_USED_NO_NOTIFY);
}

void vq_free(struct vq *vq, u16 head)
{
    struct vq_chain *c = &vq->chains[head];
    vq->next[c->last] = vq->free_head;
    vq->free_head = head;
    vq->free_count += c->count;
}

bool vq_pending(const struct vq *vq)
{
    return __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE) !=
           __atomic_load_n(&vq->used_next, __ATOMIC_RELAXED);
}

static bool queue_broken(struct vq *vq, const char *why)
{
    __atomic_store_n(&vq->broken, why, __ATOMIC_RELAXED);
    return false;
}

bool vq_pop(struct vq *vq, struct vq_done *done)
{
    u16 idx = __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE);
    if (idx == vq->used_next || vq_broken(vq))
        return false;
    if ((u16)(idx - vq->used_next) > vq->size)
        return queue_broken(vq, "used index runs ahead");

    /* Read once: what is checked is what is used, even if the device changes the entry meanwhile. */
    struct vring_used_elem *e = &vq->used->ring[vq->used_next & (vq->size - 1)];
    u32 id = __atomic_load_n(&e->id, __ATOMIC_RELAXED), len = __atomic_load_n(&e->len, __ATOMIC_RELAXED);
    if (id >= vq->size)
        return queue_broken(vq, "used id beyond the queue");
    struct vq_chain *c = &vq->chains[id];
    if (!__atomic_load_n(&c->in_flight, __ATOMIC_ACQUIRE))
        return queue_broken(vq, "used id that was not offered");
    if (len > c->in_len)
        return queue_broken(vq, "used length beyond the buffer");

    __atomic_store_n(&c->in_flight, 0, __ATOMIC_RELAXED);
    *done = (struct vq_done){c->token, len, id};
    __atomic_store_n(&vq->used_next, vq->used_next + 1, __ATOMIC_RELAXED);
    return true;
}

bool vq_irq_after(struct vq *vq, u16 n)
{
    if (vq->event_idx)
        __atomic_store_n(used_event(vq), vq->used_next + n - 1, __ATOMIC_RELAXED);
    else
        __atomic_store_n(&vq->avail->flags, 0, __ATOMIC_RELAXED);
    device_fence();
    return vq_broken(vq) || (u16)(__atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE) - vq->used_next) < n;
}

bool vq_irq_on(struct vq *vq)
{
    return vq_irq_after(vq, 1);
}

void vq_irq_off(struct vq *vq)
{
    /* With event indexes: an index the device reaches only after 2^16 - 1 more chains; callers that stay off
     * for so long get one interrupt too many. */
    if (vq->event_idx)
        __atomic_store_n(used_event(vq), vq->used_next - 1, __ATOMIC_RELAXED);
    else
        __atomic_store_n(&vq->avail->flags, VRING_AVAIL_NO_INTERRUPT, __ATOMIC_RELAXED);
}
