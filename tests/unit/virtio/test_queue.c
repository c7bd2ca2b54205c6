/*
 * Host test of the virtqueue: against a simulated device that behaves (any order of completion, both ways of
 * suppressing notifications, three threads), and against one that writes rubbish.
 */
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/queue.h"

bool fences_elided = true;

/* A chain as the test offered it. */
struct offer {
    struct vq_buf bufs[8];
    u32 out, in, written;
    int head;
    bool live, done;
};

struct sim {
    struct vq vq;
    void *shared, *private;
    u16 seen;              /* device: next avail entry */
    u16 used;              /* device: its used.idx */
    u32 notified;          /* atomic */
    u16 held[VQ_SIZE_MAX]; /* heads the device has taken and not finished */
    u32 held_count;
};

static u32 seed = 12345;

static u32 rnd(u32 n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static void sim_notify(struct vq *vq)
{
    __atomic_add_fetch(&((struct sim *)vq->notify_arg)->notified, 1, __ATOMIC_SEQ_CST);
}

static struct sim *sim_new(u32 size, bool event_idx)
{
    struct sim *s = calloc(1, sizeof(*s));
    s->shared = aligned_alloc(16, ALIGN_UP(vq_shared_bytes(size), 16UL));
    s->private = calloc(1, vq_private_bytes(size));
    memset(s->shared, 0, vq_shared_bytes(size));
    vq_init(&s->vq, 3, size, s->shared, s->private, event_idx);
    s->vq.notify = sim_notify;
    s->vq.notify_arg = s;
    return s;
}

static void sim_free(struct sim *s)
{
    free(s->shared);
    free(s->private);
    free(s);
}

/* ---- the device's side, from the specification's text alone ---- */

static u16 *dev_avail_event(struct sim *s)
{
    return (u16 *)&s->vq.used->ring[s->vq.size];
}

/* Takes everything offered, then asks to be told of the next. */
static void dev_take(struct sim *s)
{
    do {
        while (s->seen != __atomic_load_n(&s->vq.avail->idx, __ATOMIC_ACQUIRE)) {
            u16 at = s->seen & (s->vq.size - 1);
            s->held[s->held_count++] = s->vq.avail->ring[at];
            s->seen++;
        }
        __atomic_store_n(dev_avail_event(s), s->seen, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    } while (s->seen != __atomic_load_n(&s->vq.avail->idx, __ATOMIC_ACQUIRE));
}

/* Finishes one held chain; true: the driver wants an interrupt (2.6.7.2). */
static bool dev_finish(struct sim *s, u32 which, u32 len)
{
    u16 old = s->used, new = old + 1;
    struct vring_used_elem *e = &s->vq.used->ring[old & (s->vq.size - 1)];
    __atomic_store_n(&e->id, s->held[which], __ATOMIC_RELAXED);
    __atomic_store_n(&e->len, len, __ATOMIC_RELAXED);
    s->held[which] = s->held[--s->held_count];
    s->used = new;
    __atomic_store_n(&s->vq.used->idx, new, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!s->vq.event_idx)
        return !(__atomic_load_n(&s->vq.avail->flags, __ATOMIC_RELAXED) & VRING_AVAIL_NO_INTERRUPT);
    u16 event = __atomic_load_n(&s->vq.avail->ring[s->vq.size], __ATOMIC_RELAXED);
    return (u16)(new - event - 1) < (u16)(new - old);
}

/* The chain at head, as the device reads it, must be what was offered. */
static void dev_check_chain(struct sim *s, u16 head, const struct offer *o)
{
    u32 i = 0;
    for (u16 at = head;; i++) {
        struct vring_desc *d = &s->vq.desc[at];
        assert(i < o->out + o->in && d->addr == o->bufs[i].paddr && d->len == o->bufs[i].len);
        assert(!!(d->flags & VRING_DESC_WRITE) == (i >= o->out));
        if (!(d->flags & VRING_DESC_NEXT))
            break;
        at = d->next;
    }
    assert(i + 1 == o->out + o->in);
}

/* ---- a device that behaves ---- */

static void make_offer(struct offer *o)
{
    *o = (struct offer){.out = rnd(4), .in = rnd(4)};
    if (o->out + o->in == 0)
        o->out = 1;
    for (u32 i = 0; i < o->out + o->in; i++) {
        o->bufs[i] = (struct vq_buf){((u64)rnd(1u << 20) << 20) + 1, 1 + rnd(5000)};
        if (i >= o->out)
            o->written += o->bufs[i].len;
    }
    o->written = rnd(o->written + 1);
}

static void step_push(struct sim *s, struct offer *offers, u32 *live)
{
    u32 slot = rnd(256), room = vq_room(&s->vq);
    struct offer *o = &offers[slot];
    if (o->live)
        return;
    make_offer(o);
    o->head = vq_push(&s->vq, o->bufs, o->out, o->in, o);
    assert((o->head >= 0) == (o->out + o->in <= room));
    if (o->head < 0)
        return;
    o->live = true;
    (*live)++;
    dev_check_chain(s, o->head, o);
}

static void step_finish(struct sim *s, bool irq_armed)
{
    if (!s->held_count)
        return;
    u32 which = rnd(s->held_count);
    struct offer *o = s->vq.chains[s->held[which]].token;
    bool was_empty = s->used == s->vq.used_next;
    bool irq = dev_finish(s, which, o->written);
    o->done = true;
    assert(!irq_armed || !was_empty || irq);
}

static void step_pop(struct sim *s, u32 *live)
{
    struct vq_done d;
    while (vq_pop(&s->vq, &d)) {
        struct offer *o = d.token;
        assert(o->live && o->done && o->head == d.head && o->written == d.len);
        o->live = false;
        (*live)--;
        vq_free(&s->vq, d.head);
    }
    assert(!s->vq.broken);
}

static void test_orderly(u32 size, bool event_idx)
{
    struct sim *s = sim_new(size, event_idx);
    static struct offer offers[256];
    memset(offers, 0, sizeof(offers));
    u32 live = 0;
    bool armed = false;
    for (u32 i = 0; i < 100000; i++) {
        switch (rnd(5)) {
        case 0:
        case 1: {
            bool idle = s->seen == s->vq.avail_next; /* took all, asked to be told */
            u32 before = s->notified;
            u16 next = s->vq.avail_next;
            step_push(s, offers, &live);
            vq_kick(&s->vq);
            assert(!idle || next == s->vq.avail_next || s->notified == before + 1);
            break;
        }
        case 2:
            dev_take(s);
            break;
        case 3:
            step_finish(s, armed);
            break;
        case 4:
            step_pop(s, &live);
            armed = rnd(2) && vq_irq_on(&s->vq);
            if (!armed)
                vq_irq_off(&s->vq);
            break;
        }
    }
    dev_take(s);
    while (s->held_count)
        step_finish(s, false);
    step_pop(s, &live);
    assert(live == 0 && vq_room(&s->vq) == size);
    sim_free(s);
}

/* ---- indexes of 16 bits, beside counters that never wrap ---- */

struct wide {
    struct sim *s;
    u64 pushed, kicked, taken; /* taken: where the device asked to be told of the next */
    u64 finished, popped;
    u64 target; /* the interrupt is due when this many have finished; 0: none is */
};

/* All indexes begin at `start`, as if as many chains had gone round. */
static struct wide wide_new(u32 size, bool event_idx, u16 start)
{
    struct wide w = {.s = sim_new(size, event_idx)};
    struct vq *vq = &w.s->vq;
    w.pushed = w.kicked = w.taken = w.finished = w.popped = start;
    w.s->seen = w.s->used = vq->avail_next = vq->avail_kicked = vq->used_next = start;
    vq->avail->idx = vq->used->idx = *dev_avail_event(w.s) = start;
    vq_irq_off(vq);
    return w;
}

static void wide_push(struct wide *w, u32 count)
{
    struct vq_buf buf = {0x1000, 4};
    u32 before = w->s->notified;
    for (; count && vq_room(&w->s->vq); count--, w->pushed++)
        assert(vq_push(&w->s->vq, &buf, 0, 1, (void *)(w->pushed + 1)) >= 0);
    vq_kick(&w->s->vq);
    bool wanted = w->s->vq.event_idx ? w->kicked <= w->taken && w->taken < w->pushed : w->kicked != w->pushed;
    assert(w->s->notified - before == wanted);
    w->kicked = w->pushed;
}

/* The device uses `count` chains at once, in order, and says whether it interrupts (2.6.7.2). */
static void wide_finish(struct wide *w, u32 count)
{
    struct sim *s = w->s;
    count = MIN(count, s->held_count);
    if (!count)
        return;
    for (u32 i = 0; i < count; i++)
        s->vq.used->ring[(u16)(s->used + i) & (s->vq.size - 1)] = (struct vring_used_elem){s->held[i], 4};
    s->held_count -= count;
    memmove(s->held, s->held + count, s->held_count * sizeof(s->held[0]));
    u16 old = s->used, event = s->vq.avail->ring[s->vq.size];
    s->used += count;
    __atomic_store_n(&s->vq.used->idx, s->used, __ATOMIC_RELEASE);
    bool irq = s->vq.event_idx ? (u16)(s->used - event - 1) < (u16)(s->used - old)
                               : !(s->vq.avail->flags & VRING_AVAIL_NO_INTERRUPT);
    bool due = s->vq.event_idx ? w->finished < w->target && w->target <= w->finished + count : w->target != 0;
    assert(irq == due);
    w->finished += count;
}

static void wide_pop(struct wide *w, u32 count)
{
    struct vq_done d;
    assert(vq_pending(&w->s->vq) == (w->popped != w->finished));
    for (; count && vq_pop(&w->s->vq, &d); count--) {
        assert(d.token == (void *)(++w->popped) && w->popped <= w->finished);
        vq_free(&w->s->vq, d.head);
    }
    assert(!w->s->vq.broken && (!count || w->popped == w->finished));
}

static void wide_ask(struct wide *w, u32 n)
{
    if (!n) {
        vq_irq_off(&w->s->vq);
        w->target = 0;
        return;
    }
    assert(vq_irq_after(&w->s->vq, n) == (w->finished < w->popped + n));
    w->target = w->popped + n;
}

static void test_wrap(u32 size, bool event_idx, u16 start, u64 chains)
{
    struct wide w = wide_new(size, event_idx, start);
    while (w.popped < start + chains) {
        wide_push(&w, rnd(size + 1));
        if (rnd(3)) {
            dev_take(w.s);
            w.taken = w.pushed;
        }
        wide_finish(&w, rnd(size + 1));
        if (rnd(4))
            wide_pop(&w, 1 + rnd(size));
        wide_ask(&w, rnd(3) ? rnd(size + 1) : 0);
    }
    sim_free(w.s);
}

static void test_wraps(bool event_idx)
{
    for (u32 size = 1; size <= VQ_SIZE_MAX; size *= 2) {
        test_wrap(size, event_idx, 0, 200000); /* three times round */
        for (u32 before = 0; before < 40; before++)
            test_wrap(size, event_idx, 0xffff - before, 4 * size + 100);
    }
}

/* ---- a device that does not ---- */

static void scribble(struct sim *s)
{
    u32 size = s->vq.size;
    struct vring_used_elem *e = &s->vq.used->ring[rnd(size)];
    switch (rnd(6)) {
    case 0:
        e->id = rnd(4) ? rnd(size + 2) : seed;
        break;
    case 1:
        e->len = rnd(4) ? rnd(20000) : seed;
        break;
    case 2:
        s->vq.used->idx += rnd(8) ? rnd(3) : seed;
        break;
    case 3:
        s->vq.desc[rnd(size)] = (struct vring_desc){seed, seed, seed, seed};
        break;
    case 4:
        *dev_avail_event(s) = seed;
        break;
    case 5:
        s->vq.used->flags = seed;
        break;
    }
}

/* Whatever happens: each token comes back at most once, with a length that fits, and nothing else is touched.
 */
static void hostile_round(u32 size, bool event_idx)
{
    struct sim *s = sim_new(size, event_idx);
    static struct offer offers[256];
    memset(offers, 0, sizeof(offers));
    u32 live = 0;
    for (u32 i = 0; i < 200; i++) {
        struct offer *o = &offers[rnd(256)];
        if (rnd(2) && !o->live) {
            make_offer(o);
            o->live = vq_push(&s->vq, o->bufs, o->out, o->in, o) >= 0;
            live += o->live;
            vq_kick(&s->vq);
        }
        scribble(s);
        struct vq_done d;
        while (rnd(4) && vq_pop(&s->vq, &d)) {
            struct offer *got = d.token;
            u32 room = 0;
            assert(got >= offers && got < offers + 256 && got->live);
            for (u32 k = got->out; k < got->out + got->in; k++)
                room += got->bufs[k].len;
            assert(d.len <= room);
            got->live = false;
            live--;
            vq_free(&s->vq, d.head);
        }
        vq_irq_on(&s->vq);
        assert(vq_room(&s->vq) <= size && (live || vq_room(&s->vq) == size));
    }
    sim_free(s);
}

static void test_hostile(void)
{
    for (u32 i = 0; i < 5000; i++) {
        seed = i;
        hostile_round(1u << (1 + rnd(6)), i & 1);
    }
}

static void expect_broken(u32 id, u32 len, u16 idx, const char *why)
{
    struct sim *s = sim_new(8, false);
    struct vq_buf bufs[2] = {{0x1000, 16}, {0x2000, 64}};
    struct vq_done d;
    assert(vq_push(&s->vq, bufs, 1, 1, s) == 0);
    s->vq.used->ring[0] = (struct vring_used_elem){id, len};
    s->vq.used->idx = idx;
    assert(!vq_pop(&s->vq, &d) && s->vq.broken && !strcmp(s->vq.broken, why));
    assert(vq_push(&s->vq, bufs, 1, 1, s) < 0 && vq_irq_on(&s->vq));
    sim_free(s);
}

static void test_broken(void)
{
    expect_broken(8, 0, 1, "used id beyond the queue");
    expect_broken(0xffffffff, 0, 1, "used id beyond the queue");
    expect_broken(1, 0, 1, "used id that was not offered");
    expect_broken(0, 65, 1, "used length beyond the buffer");
    expect_broken(0, 0, 9, "used index runs ahead");
    expect_broken(0, 0, 0xffff, "used index runs ahead");
    for (u16 ahead = 9; ahead < 20; ahead++) { /* beyond the wrap */
        struct wide w = wide_new(8, false, 0xfffa);
        struct vq_done d;
        w.s->vq.used->idx += ahead;
        assert(!vq_pop(&w.s->vq, &d) && !strcmp(w.s->vq.broken, "used index runs ahead"));
        sim_free(w.s);
    }
}

/* ---- three threads: producer, device, interrupt handler; nothing may get lost ---- */

#define THREADED_CHAINS 50000u

struct threaded {
    struct sim *s;
    u32 irqs, popped; /* atomic */
    u32 stop;
    u32 freed_head, freed_tail;
    u16 freed[1024]; /* from the consumer to the producer */
};

static void *device_main(void *arg)
{
    struct threaded *t = arg;
    u32 notified = 0, finished = 0;
    while (finished < THREADED_CHAINS) {
        if (__atomic_load_n(&t->s->notified, __ATOMIC_SEQ_CST) == notified) {
            sched_yield();
            continue;
        }
        notified = __atomic_load_n(&t->s->notified, __ATOMIC_SEQ_CST);
        dev_take(t->s);
        for (; t->s->held_count; finished++)
            if (dev_finish(t->s, 0, 4))
                __atomic_add_fetch(&t->irqs, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static void *consumer_main(void *arg)
{
    struct threaded *t = arg;
    u32 taken = 0;
    while (t->popped < THREADED_CHAINS) {
        if (__atomic_load_n(&t->irqs, __ATOMIC_SEQ_CST) == taken) {
            sched_yield();
            continue;
        }
        taken = __atomic_load_n(&t->irqs, __ATOMIC_SEQ_CST);
        struct vq_done d;
        do {
            while (vq_pop(&t->s->vq, &d)) {
                assert(d.len == 4);
                t->freed[t->freed_head % 1024] = d.head;
                __atomic_store_n(&t->freed_head, t->freed_head + 1, __ATOMIC_RELEASE);
                __atomic_add_fetch(&t->popped, 1, __ATOMIC_SEQ_CST);
            }
        } while (!vq_irq_on(&t->s->vq));
    }
    return NULL;
}

static void test_threads(bool event_idx)
{
    struct threaded t = {.s = sim_new(64, event_idx)};
    struct vq_buf buf = {0x1000, 4};
    pthread_t device, consumer;
    vq_irq_on(&t.s->vq);
    dev_take(t.s);
    pthread_create(&device, NULL, device_main, &t);
    pthread_create(&consumer, NULL, consumer_main, &t);
    for (u32 pushed = 0; pushed < THREADED_CHAINS;) {
        while (t.freed_tail != __atomic_load_n(&t.freed_head, __ATOMIC_ACQUIRE))
            vq_free(&t.s->vq, t.freed[t.freed_tail++ % 1024]);
        if (vq_push(&t.s->vq, &buf, 0, 1, &t) < 0) {
            sched_yield();
            continue;
        }
        vq_kick(&t.s->vq);
        pushed++;
    }
    pthread_join(device, NULL);
    pthread_join(consumer, NULL);
    assert(!t.s->vq.broken);
    sim_free(t.s);
}

int main(void)
{
    for (u32 i = 0; i < 4; i++) {
        test_orderly(2u << i * 2, false);
        test_orderly(2u << i * 2, true);
    }
    printf("ok virtqueue: a device that behaves\n");
    test_wraps(false);
    test_wraps(true);
    printf("ok virtqueue: indexes wrap, interrupts and notifications come exactly when asked for\n");
    test_broken();
    test_hostile();
    printf("ok virtqueue: a hostile device\n");
    test_threads(false);
    test_threads(true);
    printf("ok virtqueue: producer, device and interrupt handler at once\n");
    return 0;
}
