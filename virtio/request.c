/* Requests whose submitters wait for them; see request.h. */
#include "virtio/request.h"

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "mm/phys/phys.h"
#include "sched/thread.h"

static void finish(struct request *r, u32 len, bool failed)
{
    /* Once done is seen the request may be another thread's; a late wake of this one is harmless. */
    struct thread *waiter = r->waiter;
    r->len = len;
    r->failed = failed;
    __atomic_store_n(&r->done, 1, __ATOMIC_RELEASE);
    sched_wake(waiter);
}

/* Ends everything in flight after the device broke the rules; it is reset first, so it writes nothing any
 * more. */
static void fail_all(struct request_queue *q)
{
    virtio_fail(q->dev, q->vq->broken);
    for (u32 i = 0; i < q->vq->size; i++)
        if (__atomic_exchange_n(&q->vq->chains[i].in_flight, 0, __ATOMIC_ACQ_REL))
            finish(q->vq->chains[i].token, 0, true);
}

static void request_on_used(struct vq *vq)
{
    struct request_queue *q = vq->owner;
    struct vq_done done;
    do {
        while (vq_pop(vq, &done))
            finish(done.token, done.len, false);
    } while (!vq_irq_on(vq));
    if (vq->broken)
        fail_all(q);
}

int request_queue_init(struct request_queue *q, struct virtio_device *dev, u16 index, u32 size, u32 count)
{
    ASSERT(count >= 1 && count < 0xffff);
    q->dev = dev;
    q->requests = kmalloc(count * sizeof(struct request));
    if (!q->requests)
        return -ENOMEM;
    q->count = count;
    for (u32 i = 0; i < count; i++)
        q->requests[i].next = i + 1;
    q->vq = virtio_queue_create(dev, index, size, request_on_used, q);
    if (!q->vq)
        return -ENODEV;
    vq_irq_on(q->vq);
    return 0;
}

static bool has_room(struct request_queue *q, u32 descriptors)
{
    return (q->free_head != q->count && vq_room(q->vq) >= descriptors) || q->dev->failed;
}

/* Lock held on entry and return; released meanwhile. */
static void wait_for_room(struct request_queue *q, u32 descriptors)
{
    struct waiter w = {0};
    q->waiting++;
    waitq_enter(&q->room, &w);
    while (!has_room(q, descriptors)) {
        mutex_unlock(&q->lock);
        sched_sleep(SLEEP_FOREVER, 0);
        mutex_lock(&q->lock);
    }
    waitq_leave(&q->room, &w);
    q->waiting--;
}

struct request *request_begin(struct request_queue *q, u32 descriptors)
{
    ASSERT(descriptors <= q->vq->size);
    mutex_lock(&q->lock);
    if (unlikely(!has_room(q, descriptors)))
        wait_for_room(q, descriptors);
    struct request *r = NULL;
    if (likely(!q->dev->failed)) {
        r = &q->requests[q->free_head];
        q->free_head = r->next;
        r->waiter = current_thread();
        r->done = 0;
        r->head = 0xffff;
    }
    /* Kept until request_run has pushed, so that nobody else takes the descriptors. */
    if (!r)
        mutex_unlock(&q->lock);
    return r;
}

bool request_run(struct request_queue *q, struct request *r, const struct vq_buf *bufs, u32 out, u32 in)
{
    int head = vq_push(q->vq, bufs, out, in, r);
    if (head >= 0) {
        r->head = head;
        vq_kick(q->vq);
    }
    mutex_unlock(&q->lock);
    if (head < 0)
        return false;
    /* The device may have failed meanwhile: with vq_kick's fence, either fail_all saw this request, or this
     * sees the failure. */
    if (unlikely(__atomic_load_n(&q->dev->failed, __ATOMIC_SEQ_CST)) &&
        __atomic_exchange_n(&q->vq->chains[head].in_flight, 0, __ATOMIC_ACQ_REL))
        return false;
    while (!__atomic_load_n(&r->done, __ATOMIC_ACQUIRE))
        sched_sleep(SLEEP_FOREVER, 0);
    return !r->failed;
}

void request_end(struct request_queue *q, struct request *r)
{
    mutex_lock(&q->lock);
    if (r->head != 0xffff)
        vq_free(q->vq, r->head);
    r->next = q->free_head;
    q->free_head = r - q->requests;
    bool wake = q->waiting != 0;
    mutex_unlock(&q->lock);
    if (unlikely(wake))
        waitq_wake_all(&q->room, 0);
}
