/* Requests whose submitters wait for them; see request.h. */
#include "virtio/request.h"

#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "mm/phys/phys.h"
#include "sched/thread.h"

#define NO_HEAD 0xffff

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
    virtio_fail(q->dev, vq_broken(q->vq));
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
    if (vq_broken(vq))
        fail_all(q);
}

int request_queue_init(struct request_queue *q, struct virtio_device *dev, u16 index, u32 size, u32 count)
{
    q->dev = dev;
    struct request *requests =
        kmalloc(count * sizeof(struct request)); /* never freed: the device may know them */
    if (!requests)
        return -ENOMEM;
    for (u32 i = 0; i < count; i++) {
        requests[i].next = q->free;
        q->free = &requests[i];
    }
    q->vq = virtio_queue_create(dev, index, size, request_on_used, q);
    if (!q->vq)
        return -ENODEV;
    vq_irq_on(q->vq);
    return 0;
}

/* Lock held. */
static void take_returned(struct request_queue *q)
{
    struct request *r = __atomic_exchange_n(&q->returned, NULL, __ATOMIC_SEQ_CST), *next;
    for (; r; r = next) {
        next = r->next;
        if (r->head != NO_HEAD)
            vq_free(q->vq, r->head);
        r->next = q->free;
        q->free = r;
    }
}

/* Lock held. */
static bool has_room(struct request_queue *q, u32 descriptors)
{
    take_returned(q);
    return (q->free && vq_room(q->vq) >= descriptors) || virtio_failed(q->dev);
}

/* Lock held on entry and return; released meanwhile. */
static void wait_for_room(struct request_queue *q, u32 descriptors)
{
    struct waiter w = {0};
    __atomic_add_fetch(&q->waiting, 1, __ATOMIC_SEQ_CST);
    waitq_enter(&q->room, &w);
    while (!has_room(q, descriptors)) {
        mutex_unlock(&q->lock);
        sched_sleep(SLEEP_FOREVER, 0);
        mutex_lock(&q->lock);
    }
    waitq_leave(&q->room, &w);
    __atomic_sub_fetch(&q->waiting, 1, __ATOMIC_RELAXED);
}

struct request *request_begin(struct request_queue *q, u32 descriptors)
{
    ASSERT(descriptors <= q->vq->size);
    mutex_lock(&q->lock);
    if (!has_room(q, descriptors))
        wait_for_room(q, descriptors);
    if (virtio_failed(q->dev)) {
        mutex_unlock(&q->lock);
        return NULL;
    }
    struct request *r = q->free;
    q->free = r->next;
    r->waiter = current_thread();
    r->done = 0;
    r->head = NO_HEAD;
    return r;
}

/*
 * How long a submitter polls before it sleeps: about what a host needs to read from its page cache. An idle
 * CPU that halts pays for the halt, the interrupt and two switches, and wakes later; Linux guests poll for
 * the same reason (its "guest halt polling" documentation). What takes longer is a real disk, or a host that
 * has no time for us: sleeping is right for both.
 */
#define POLL_NS (200 * NSEC_PER_USEC)

static void wait_done(struct request *r)
{
    u64 until = clock_monotonic_ns() + POLL_NS;
    while (!__atomic_load_n(&r->done, __ATOMIC_ACQUIRE)) {
        if (sched_alone() && clock_monotonic_ns() < until)
            cpu_relax();
        else
            sched_sleep(SLEEP_FOREVER, 0);
    }
}

bool request_run(struct request_queue *q, struct request *r, const struct vq_buf *bufs, u32 out, u32 in)
{
    int head = vq_push(q->vq, bufs, out, in, r);
    bool notify = head >= 0 && vq_kick_prepare(q->vq);
    mutex_unlock(&q->lock);
    if (head < 0)
        return false;
    r->head = head;
    if (notify)
        q->vq->notify(q->vq);
    /* The device may have failed meanwhile: with vq_kick_prepare's fence, either fail_all saw this request,
     * or this sees the failure. */
    if (unlikely(virtio_failed(q->dev)) &&
        __atomic_exchange_n(&q->vq->chains[head].in_flight, 0, __ATOMIC_ACQ_REL))
        return false;
    wait_done(r);
    return !r->failed;
}

void request_end(struct request_queue *q, struct request *r)
{
    r->next = __atomic_load_n(&q->returned, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&q->returned, &r->next, r, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    if (unlikely(__atomic_load_n(&q->waiting, __ATOMIC_SEQ_CST)))
        waitq_wake_all(&q->room, 0);
}
