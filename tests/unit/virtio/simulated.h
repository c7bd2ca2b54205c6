/*
 * The kernel that drivers stand on, made of pthreads, and a simulated device with a thread of its own.
 * Included once, before the drivers' sources, by each test.
 */
#ifndef MOKA_TEST_SIMULATED_H
#define MOKA_TEST_SIMULATED_H

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define sched_yield moka_sched_yield /* the kernel's differs from libc's */
#include "kernel/arch/x86_64/cpu.h"
#include "sched/thread.h"
static struct thread *host_thread(void);
#define current_thread() host_thread()
#define cpu_id()         0u /* the device's thread is the interrupt handler */
#include "sched/waitq.c"
#include "virtio/request.c"

/* ---- the kernel, of pthreads ---- */

struct host {
    struct thread thread;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool permit;
    struct host *next; /* in retired */
};
static __thread struct host *self;

/* The calling thread ends. Its struct stays, as the kernel's do: who wakes it late still uses it. */
static struct host *retired; /* atomic */
static void host_retire(void)
{
    if (!self)
        return;
    self->next = __atomic_load_n(&retired, __ATOMIC_RELAXED);
    while (
        !__atomic_compare_exchange_n(&retired, &self->next, self, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
}

static struct thread *host_thread(void)
{
    if (!self) {
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        self = calloc(1, sizeof(*self));
        pthread_mutex_init(&self->lock, NULL);
        pthread_cond_init(&self->woken, &attr);
    }
    return &self->thread;
}

void sched_wake(struct thread *t)
{
    struct host *h = container_of(t, struct host, thread);
    pthread_mutex_lock(&h->lock);
    h->permit = true;
    pthread_cond_signal(&h->woken);
    pthread_mutex_unlock(&h->lock);
}

int sched_sleep(u64 deadline_ns, u32 flags)
{
    struct host *h = container_of(host_thread(), struct host, thread);
    struct timespec ts = {deadline_ns / NSEC_PER_SEC, deadline_ns % NSEC_PER_SEC};
    int err = 0;
    pthread_mutex_lock(&h->lock);
    while (!h->permit && !err)
        err = deadline_ns == SLEEP_FOREVER ? pthread_cond_wait(&h->woken, &h->lock)
                                           : pthread_cond_timedwait(&h->woken, &h->lock, &ts);
    h->permit = false;
    pthread_mutex_unlock(&h->lock);
    return err ? -ETIMEDOUT : 0;
}

/* The kernel's mutex would need its scheduler; what counts here is exclusion. */
void mutex_lock(struct mutex *m)
{
    while (__atomic_exchange_n(&m->count, 1, __ATOMIC_ACQUIRE))
        usleep(1);
}

bool mutex_trylock(struct mutex *m)
{
    return !__atomic_exchange_n(&m->count, 1, __ATOMIC_ACQUIRE);
}

void mutex_unlock(struct mutex *m)
{
    __atomic_store_n(&m->count, 0, __ATOMIC_RELEASE);
}

u64 clock_monotonic_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* Kept reachable: what drivers allocate lives for ever. */
static void *kept[4096];
static u32 kept_count;

void *kmalloc(size_t size)
{
    void *p = aligned_alloc(64, ALIGN_UP(size, 64UL));
    memset(p, 0, size);
    assert(kept_count < ARRAY_LEN(kept));
    return kept[kept_count++] = p;
}

void kfree(void *p)
{
}

struct start {
    struct thread thread; /* what the creator gets; the running one is another, host_thread() */
    void (*entry)(void *);
    void *arg;
};

static void *thread_body(void *arg)
{
    struct start *s = arg;
    s->entry(s->arg);
    return NULL;
}

struct thread *thread_create(const char *name, void (*entry)(void *), void *arg, bool with_fpu)
{
    struct start *s = kmalloc(sizeof(*s));
    s->entry = entry;
    s->arg = arg;
    return &s->thread;
}

void thread_start(struct thread *t)
{
    pthread_t p;
    pthread_create(&p, NULL, thread_body, container_of(t, struct start, thread));
    pthread_detach(p);
}

void thread_discard(struct thread *t)
{
}

void sched_set_affinity(struct thread *t, cpu_mask mask)
{
}

bool sched_alone(void)
{
    return false;
}

static u32 errors; /* atomic: log_error lines */
void log_error(const char *fmt, ...)
{
    __atomic_add_fetch(&errors, 1, __ATOMIC_RELAXED);
}
void log_warn(const char *fmt, ...)
{
}
void panic(const char *fmt, ...)
{
    fprintf(stderr, "panic: %s\n", fmt);
    abort();
}
void serial_write(const char *text, size_t len)
{
}
void (*shutdown_begin)(void);
void (*shutdown_report)(int status);

/* ---- the device ---- */

#define CHAIN_MAX 80u

struct chain {
    u16 head;
    u32 count;
    struct vring_desc d[CHAIN_MAX];
};

struct device {
    struct virtio_device dev;
    u32 notified;    /* atomic */
    u32 reset, busy; /* atomic: busy while serve() runs */
    u16 seen[VIRTIO_QUEUES_MAX], used[VIRTIO_QUEUES_MAX];
    _Alignas(8) u8 config[32];
    u32 hostile; /* atomic */
    u32 seed;
    pthread_t thread;
    void (*serve)(struct device *d);
};

static struct device *device_of(struct virtio_device *dev)
{
    return container_of(dev, struct device, dev);
}

static bool is_hostile(struct device *d)
{
    return __atomic_load_n(&d->hostile, __ATOMIC_RELAXED);
}

static u32 rnd(struct device *d, u32 n)
{
    d->seed = d->seed * 1664525u + 1013904223u;
    return (d->seed >> 8) % n;
}

static u8 *guest(u64 paddr)
{
    return phys_to_virt(paddr);
}

/* From then on serve() must not touch the driver's memory: finish_chain() may have ended with a reset. */
static bool was_reset(struct device *d)
{
    return __atomic_load_n(&d->reset, __ATOMIC_SEQ_CST);
}

/* The next chain offered on a queue, without taking more. */
static bool take(struct device *d, u32 index, struct chain *c)
{
    struct vq *vq = d->dev.queues[index];
    if (was_reset(d))
        return false;
    u16 *event = (u16 *)&vq->used->ring[vq->size];
    __atomic_store_n(event, d->seen[index], __ATOMIC_SEQ_CST);
    if (d->seen[index] == __atomic_load_n(&vq->avail->idx, __ATOMIC_SEQ_CST))
        return false;
    *c = (struct chain){.head = vq->avail->ring[d->seen[index]++ & (vq->size - 1)]};
    for (u16 at = c->head;; at = c->d[c->count - 1].next) {
        assert(at < vq->size && c->count < CHAIN_MAX);
        c->d[c->count++] = vq->desc[at];
        if (!(c->d[c->count - 1].flags & VRING_DESC_NEXT))
            return true;
    }
}

static u32 interrupt_delay_us;

static void finish_chain(struct device *d, u32 index, u32 id, u32 len)
{
    struct vq *vq = d->dev.queues[index];
    u16 old = d->used[index]++;
    __atomic_store_n(&vq->used->ring[old & (vq->size - 1)].id, id, __ATOMIC_RELAXED);
    __atomic_store_n(&vq->used->ring[old & (vq->size - 1)].len, len, __ATOMIC_RELAXED);
    __atomic_store_n(&vq->used->idx, old + 1, __ATOMIC_SEQ_CST);
    u16 event = __atomic_load_n(&vq->avail->ring[vq->size], __ATOMIC_SEQ_CST);
    if ((u16)(old - event) >= 1 || !vq->on_used)
        return;
    usleep(interrupt_delay_us);
    if (vq_pending(vq)) /* as transports do: somebody may have collected it meanwhile */
        vq->on_used(vq);
}

static __thread bool is_device;

static void *device_main(void *arg)
{
    struct device *d = arg;
    u32 notified = 0;
    is_device = true;
    while (!was_reset(d)) {
        u32 now = __atomic_load_n(&d->notified, __ATOMIC_SEQ_CST);
        if (now == notified)
            usleep(20);
        notified = now;
        __atomic_store_n(&d->busy, 1, __ATOMIC_SEQ_CST);
        if (!was_reset(d))
            d->serve(d);
        __atomic_store_n(&d->busy, 0, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static void device_notify(struct vq *vq)
{
    __atomic_add_fetch((u32 *)vq->notify_arg, 1, __ATOMIC_SEQ_CST);
}

int virtio_negotiate(struct virtio_device *dev, u64 wanted)
{
    dev->features = wanted | VIRTIO_F_EVENT_IDX;
    return 0;
}

struct vq *virtio_queue_create(struct virtio_device *dev, u16 index, u32 size_max,
                               void (*on_used)(struct vq *), void *owner)
{
    struct vq *vq = kmalloc(sizeof(*vq));
    vq_init(vq, index, size_max, kmalloc(vq_shared_bytes(size_max)), kmalloc(vq_private_bytes(size_max)),
            true);
    vq->on_used = on_used;
    vq->owner = owner;
    vq->notify = device_notify;
    vq->notify_arg = &device_of(dev)->notified;
    dev->queues[index] = vq;
    dev->queue_count = MAX(dev->queue_count, index + 1u);
    return vq;
}

void virtio_ready(struct virtio_device *dev)
{
    struct device *d = device_of(dev);
    pthread_create(&d->thread, NULL, device_main, d);
}

/* As the kernel's; a reset takes effect before the register's access returns. */
void virtio_fail(struct virtio_device *dev, const char *why)
{
    struct device *d = device_of(dev);
    if (!__atomic_exchange_n(&dev->given_up, true, __ATOMIC_SEQ_CST))
        log_error("%s", why);
    __atomic_store_n(&d->reset, 1, __ATOMIC_SEQ_CST);
    while (!is_device && __atomic_load_n(&d->busy, __ATOMIC_SEQ_CST))
        usleep(20);
    __atomic_store_n(&dev->failed, true, __ATOMIC_SEQ_CST);
}

void virtio_config_read(struct virtio_device *dev, u32 off, void *buf, u32 len)
{
    memcpy(buf, device_of(dev)->config + off, len);
}

bool virtio_add_memory(struct vq_buf *bufs, u32 *count, u32 max, const void *mem, size_t len)
{
    bufs[(*count)++] = (struct vq_buf){virt_to_phys(mem), len};
    return true;
}

#endif
