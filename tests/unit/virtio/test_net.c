/*
 * Host test of the network driver against a simulated device: frames in pieces, any order of completion,
 * holders that keep frames, several senders; several pairs of queues; and a device that answers with rubbish.
 */
#include "tests/unit/virtio/simulated.h"

#include <sys/wait.h>

#include "virtio/net.c"
#include "virtio/net_rx.c"
#include "virtio/net_tx.c"

bool fences_elided = true;

u32 cpu_count = 1;

/* ---- what the driver needs of memory: one block ---- */

static u64 total_memory = 128UL << 20; /* bytes */
static u64 arena_block[(4UL << 20) / 8] __attribute__((aligned(4096)));

void phys_stats(struct phys_stats *out)
{
    *out = (struct phys_stats){.total_pages = total_memory >> PAGE_SHIFT};
}

struct page *page_alloc(u32 order, enum page_kind kind, u32 flags)
{
    assert(PAGE_SIZE << order <= sizeof(arena_block));
    return paddr_to_page(virt_to_phys(arena_block));
}

void page_free(struct page *page)
{
}

/* ---- the device: of each pair the even queue receives, the odd one sends ---- */

static u32 device_pairs = 1; /* that it uses: the control queue says more */
static bool refuses;         /* what the control queue says */
static u64 given_by[NET_PAIRS_MAX], taken_by[NET_PAIRS_MAX];
static u64 given_frames, given_bytes, taken_frames; /* atomic */
static u64 wanted_frames;                           /* how many the device gives */

static u8 frame_byte(u32 seed, u32 at)
{
    return seed * 31 + at * 7 + (at >> 8);
}

/* A frame: its length and seed at the front, then a pattern. */
static void fill_piece(u8 *to, u32 from, u32 len, u32 total, u32 seed)
{
    for (u32 i = 0; i < len; i++) {
        u32 at = from + i;
        to[i] = at < 4 ? total >> 8 * at : at < 8 ? seed >> 8 * (at - 4) : frame_byte(seed, at);
    }
}

static void give_frame(struct device *d, u32 pair)
{
    static struct chain c[8];
    u32 total = 8 + rnd(d, rnd(d, 3) ? 1500 : 9000), seed = given_frames, header = NET_HEADER_SIZE;
    u32 pieces = (total + header + NET_BUF_SIZE - 1) / NET_BUF_SIZE, queue = 2 * pair;
    struct vq *vq = d->dev.queues[queue];
    if ((u16)(__atomic_load_n(&vq->avail->idx, __ATOMIC_SEQ_CST) - d->seen[queue]) < pieces) {
        struct chain none;
        if (d->seen[queue] == vq->avail->idx)
            take(d, queue, &none); /* asks to be told of more */
        return;
    }
    for (u32 i = 0, at = 0; i < pieces; i++) {
        assert(take(d, queue, &c[i]) && c[i].count == 1 && c[i].d[0].len == NET_BUF_SIZE);
        u32 skip = i ? 0 : header, len = NET_BUF_SIZE - skip;
        len = MIN(len, total - at);
        fill_piece(guest(c[i].d[0].addr) + skip, at, len, total, seed);
        at += len;
    }
    u8 *h = guest(c[0].d[0].addr);
    memset(h, 0, header);
    h[10] = pieces;
    if (seed % 3 == 0)
        memcpy(h, &(struct net_offload){.flags = NET_NEEDS_CSUM, .csum_start = 2, .csum_offset = seed % 5},
               10);
    /* All pieces are used at once, as 5.1.6.4 asks: by going back in the index. */
    for (u32 i = pieces; i-- > 0;) {
        u32 slot = (d->used[queue] + i) & (vq->size - 1), skip = i ? 0 : header;
        u32 begun = i ? i * NET_BUF_SIZE - header : 0, len = total - begun;
        len = MIN(len, NET_BUF_SIZE - skip);
        vq->used->ring[slot] = (struct vring_used_elem){c[i].head, len + skip};
    }
    u16 old = d->used[queue];
    d->used[queue] += pieces;
    __atomic_store_n(&vq->used->idx, d->used[queue], __ATOMIC_SEQ_CST);
    given_by[pair]++;
    u16 event = __atomic_load_n(&vq->avail->ring[vq->size], __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&given_bytes, total, __ATOMIC_RELAXED);
    __atomic_add_fetch(&given_frames, 1, __ATOMIC_RELAXED);
    if ((u16)(d->used[queue] - event - 1) < (u16)(d->used[queue] - old))
        vq->on_used(vq);
}

static void take_frames(struct device *d, u32 pair)
{
    static struct chain held_by[NET_PAIRS_MAX][64];
    static u32 counts[NET_PAIRS_MAX];
    struct chain *held = held_by[pair];
    u32 count = counts[pair];
    while (count < ARRAY_LEN(held_by[0]) && take(d, 2 * pair + 1, &held[count])) {
        struct chain *c = &held[count++];
        assert(c->d[0].len >= NET_HEADER_SIZE);
        u8 *h = guest(c->d[0].addr);
        u32 at = 0, seed = h[6] | h[7] << 8; /* the test's csum_start */
        for (u32 i = 0; i < c->count; i++)
            for (u32 k = i ? 0 : NET_HEADER_SIZE; k < c->d[i].len; k++, at++)
                assert(guest(c->d[i].addr)[k] == frame_byte(seed, at));
        __atomic_add_fetch(&taken_frames, 1, __ATOMIC_RELAXED);
        taken_by[pair]++;
    }
    if (count && rnd(d, 3)) {
        u32 which = rnd(d, count);
        finish_chain(d, 2 * pair + 1, held[which].head, 0);
        held[which] = held[--count];
    }
    counts[pair] = count;
}

/* The command that sets the number of pairs (5.1.6.5.5); the control queue lies behind all pairs there are.
 */
static void serve_control(struct device *d)
{
    u32 queue = 2 * (d->config[CONFIG_MAX_PAIRS] | d->config[CONFIG_MAX_PAIRS + 1] << 8);
    struct chain c;
    if (queue >= VIRTIO_QUEUES_MAX || !d->dev.queues[queue] || !take(d, queue, &c))
        return;
    const u8 *command = guest(c.d[0].addr), *pairs = guest(c.d[1].addr);
    assert(c.count == 3 && c.d[0].len == 2 && c.d[1].len == 2 && c.d[2].len == 1 && command[0] == CTRL_MQ &&
           command[1] == CTRL_MQ_VQ_PAIRS_SET && !pairs[1] && pairs[0] <= queue / 2);
    *guest(c.d[2].addr) = refuses;
    if (!refuses)
        device_pairs = pairs[0];
    finish_chain(d, queue, c.head, 1);
}

static void serve_net(struct device *d)
{
    serve_control(d);
    u32 pair = rnd(d, device_pairs);
    if (given_frames < __atomic_load_n(&wanted_frames, __ATOMIC_RELAXED))
        give_frame(d, pair);
    for (u32 i = 0; i < 2 * device_pairs; i++)
        take_frames(d, i % device_pairs);
    if (is_hostile(d) && rnd(d, 100) == 0) {
        u32 queue = rnd(d, 2);
        finish_chain(d, queue, rnd(d, 2) ? rnd(d, 300) : d->seed, rnd(d, 3000));
    }
}

static u64 device_features(struct virtio_device *dev)
{
    return ~0UL;
}
static const struct virtio_ops sim_ops = {.get_features = device_features};

/* ---- the stack above ---- */

static u64 got_frames, got_bytes; /* atomic */
static struct net_buf *held_frames[NET_PAIRS_MAX][16];
static struct event room_events[NET_PAIRS_MAX];

static void check_frame(struct net_buf *f)
{
    u32 at = 0, pieces = 0, total = 0, seed = 0;
    for (u32 i = 0; i < 4; i++) {
        total |= f->data[i] << 8 * i;
        seed |= f->data[4 + i] << 8 * i;
    }
    assert(total == f->frame_len);
    for (struct net_buf *b = f; b; b = b->next, pieces++)
        for (u32 i = 0; i < b->len; i++, at++)
            assert(at < 8 || b->data[i] == frame_byte(seed, at));
    assert(at == total && pieces == f->pieces);
    assert(f->offload.flags == (seed % 3 == 0 ? NET_NEEDS_CSUM : 0));
}

static void on_frame(struct net_device *dev, u32 queue, struct net_buf *f)
{
    static bool hostile;
    hostile |= is_hostile(device_of(devices[0]->dev));
    if (!hostile)
        check_frame(f);
    __atomic_add_fetch(&got_bytes, f->frame_len, __ATOMIC_RELAXED);
    __atomic_add_fetch(&got_frames, 1, __ATOMIC_RELEASE);
    /* Some are held for a while: another one goes back in their place. */
    u32 slot = f->frame_len % ARRAY_LEN(held_frames[0]);
    struct net_buf *old = held_frames[queue][slot];
    assert(f->queue == queue);
    held_frames[queue][slot] = f;
    net_frame_put(old);
}

static void on_room(struct net_device *dev, u32 queue)
{
    event_set(&room_events[queue]);
}

static const struct net_ops stack = {.frame = on_frame, .tx_room = on_room};

#define SENDS 20000u
static u64 done_count; /* atomic */

struct send {
    struct net_tx tx;
    u8 data[3000]; /* of every other frame from the first byte on, just behind the header */
    u32 busy;      /* atomic */
};

static void on_done(struct net_tx *tx)
{
    __atomic_add_fetch(&done_count, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&container_of(tx, struct send, tx)->busy, 0, __ATOMIC_RELEASE);
}

static void prepare(struct send *s, u32 n)
{
    u32 at = 0, len = 1 + n * 37 % (sizeof(s->data) - 1), segs = 1 + n % MIN(len, 20);
    u8 *data = s->data + (n & 1);
    for (u32 i = 0; i < len; i++)
        data[i] = frame_byte(n & 0xffff, i);
    for (u32 i = 1; i <= segs; i++) {
        u32 part = i == segs ? len - at : len / segs;
        s->tx.bufs[i] = (struct vq_buf){virt_to_phys(data + at), part};
        at += part;
    }
    s->tx.seg_count = segs;
    s->tx.offload = (struct net_offload){.csum_start = n};
    s->tx.lazy = n % 3 == 0;
    s->tx.done = on_done;
    s->busy = 1;
}

/* One sender a queue is told; several would take the news from one another. */
static void wait_till_room(struct net_device *dev, u32 queue)
{
    if (dev->pairs == 1)
        usleep(50);
    else
        assert(!event_wait(&room_events[queue], clock_monotonic_ns() + 10 * NSEC_PER_SEC, 0));
}

/* Collects what was sent before the queues' interrupt handlers can. */
static u32 flushing; /* atomic */
static void *flusher_main(void *arg)
{
    while (__atomic_load_n(&flushing, __ATOMIC_RELAXED))
        for (u32 i = 0; i < net_get(0)->pairs; i++)
            net_reclaim(net_get(0), i);
    host_retire();
    return NULL;
}

static void *sender_main(void *arg)
{
    struct send *slots = kmalloc(100 * sizeof(struct send));
    struct net_device *dev = net_get(0);
    u32 queue = (u64)arg % dev->pairs;
    for (u32 n = 0, i = 0; n < SENDS; n++) {
        while (__atomic_load_n(&slots[i % 100].busy, __ATOMIC_ACQUIRE)) /* a lazy one may stay for long */
            i++;
        prepare(&slots[i % 100], n);
        int err;
        while ((err = net_send(dev, queue, &slots[i % 100].tx, n % 4 != 3)) == -ENOBUFS)
            wait_till_room(dev, queue);
        if (err)
            break;
    }
    host_retire();
    return NULL;
}

static void run_senders(void)
{
    pthread_t t[3];
    for (u32 i = 0; i < ARRAY_LEN(t); i++)
        pthread_create(&t[i], NULL, sender_main, (void *)(u64)i);
    for (u32 i = 0; i < ARRAY_LEN(t); i++)
        pthread_join(t[i], NULL);
}

static void wait_until(u64 *counter, u64 value)
{
    for (u32 i = 0; __atomic_load_n(counter, __ATOMIC_ACQUIRE) != value; i++) {
        assert(i < 20000);
        usleep(1000);
    }
}

/* ---- CPUs that are idle now and then ---- */

static struct idle_source *watched[CPU_MAX]; /* by CPU */
static u32 idling;                           /* atomic */

void sched_idle_watch(u32 cpu, struct idle_source *s)
{
    assert(cpu < cpu_count && !watched[cpu]);
    watched[cpu] = s;
}

static void *idler_main(void *arg)
{
    struct idle_source *s = watched[(u64)arg];
    u64 looks = 0;
    while (__atomic_load_n(&idling, __ATOMIC_RELAXED)) {
        if (s->begin(s)) {
            for (u32 i = looks++ % 50; i; i--)
                s->look(s);
            s->end(s);
        }
        if (looks % 7 == 0)
            usleep(1);
    }
    host_retire();
    return (void *)looks;
}

/* All frames must come, whoever looks at the rings, and be it while their threads run. */
static void receive_with_idlers(u64 frames)
{
    pthread_t t[4];
    u64 looks = 0;
    idling = 1;
    for (u64 i = 0; i < cpu_count; i++)
        pthread_create(&t[i], NULL, idler_main, (void *)i);
    __atomic_store_n(&wanted_frames, frames, __ATOMIC_RELAXED);
    wait_until(&got_frames, frames);
    __atomic_store_n(&idling, 0, __ATOMIC_RELAXED);
    for (u64 i = 0; i < cpu_count; i++) {
        void *n;
        pthread_join(t[i], &n);
        looks += (u64)n;
    }
    assert(looks > 100);
}

/* All buffers are with the device, free, or returned, once the stack holds none. */
static void check_no_leak(struct net *net)
{
    for (u32 q = 0; q < net->public.pairs; q++)
        for (u32 i = 0; i < ARRAY_LEN(held_frames[0]); i++)
            net_frame_put(held_frames[q][i]);
    usleep(20000);
    for (u32 q = 0; q < net->public.pairs; q++) {
        struct net_rx *rx = &net->pairs[q].rx;
        u32 count = rx->vq->size - vq_room(rx->vq);
        for (struct net_buf *b = rx->free; b; b = b->free)
            count++;
        for (struct net_buf *b = rx->returned; b; b = b->free)
            count++;
        assert(count == rx->buffers);
    }
    memset(held_frames, 0, sizeof(held_frames));
}

static struct device d = {.serve = serve_net, .seed = 3};

/* The device with that many pairs, for a machine of that many CPUs; the driver uses `wanted` of them. */
static void probe(u32 max_pairs, u32 cpus, u32 wanted)
{
    memcpy(d.config, "\x52\x54\0\x12\x34\x56\1\0\1\0\xdc\5", 12);
    d.config[CONFIG_MAX_PAIRS] = max_pairs;
    d.dev.ops = &sim_ops;
    d.dev.name = "net";
    cpu_count = cpus;
    wanted_frames = 0;
    assert(!net_driver.probe(&d.dev) && net_get(0)->pairs == wanted);
}

static void three_pairs(void)
{
    probe(3, 4, 3);
    assert(!net_start(net_get(0), &stack) && device_pairs == 3);
    pthread_t flusher;
    flushing = 1;
    interrupt_delay_us = 1;
    pthread_create(&flusher, NULL, flusher_main, NULL);
    run_senders(); /* nothing is received: no other interrupt comes */
    __atomic_store_n(&flushing, 0, __ATOMIC_RELAXED);
    pthread_join(flusher, NULL);
    __atomic_store_n(&wanted_frames, 20000, __ATOMIC_RELAXED);
    run_senders();
    wait_until(&got_frames, 20000);
    check_no_leak(devices[0]);
    wait_until(&taken_frames, 6 * SENDS);
    u64 received = 0;
    for (u32 i = 0; i < 3; i++) {
        struct net_stats n;
        net_stats(net_get(0), i, &n);
        assert(n.rx_frames == given_by[i] && n.rx_frames > 5000 && n.tx_frames == 2 * SENDS &&
               taken_by[i] == 2 * SENDS);
        assert(n.rx_interrupts && n.rx_interrupts <= n.rx_frames && !n.rx_dropped);
        received += n.rx_bytes;
    }
    assert(received == given_bytes && errors == 0);
}

/* One pair for all CPUs, then one for each. */
static void idle_cpus(void)
{
    probe(1, 3, 1);
    assert(!net_start(net_get(0), &stack) && watched[0] == watched[1] && watched[1] == watched[2]);
    receive_with_idlers(20000);
    receive_with_idlers(40000);
    check_no_leak(devices[0]);
}

static void idle_cpu_each(void)
{
    probe(2, 2, 2);
    assert(!net_start(net_get(0), &stack) && watched[0] != watched[1]);
    receive_with_idlers(40000);
    check_no_leak(devices[0]);
}

static void fewer_cpus(void)
{
    probe(3, 2, 2);
    assert(device_pairs == 2 && d.dev.queues[6] && !d.dev.queues[4]);
}

static void one_cpu(void)
{
    probe(3, 1, 1);
    assert(device_pairs == 1 && !d.dev.queues[6] && !d.dev.queues[2]);
}

static void refused(void)
{
    refuses = true;
    probe(4, 4, 1);
}

/* 512 KiB to receive into are two queues' at most. */
static void little_memory(void)
{
    total_memory = 64UL << 20;
    probe(4, 4, 2);
}

/* The control queue's number is beyond what a transport takes. */
static void too_many(void)
{
    probe(40, 4, 1);
}

/* In a process of its own: devices live for ever. */
static void apart(void (*test)(void))
{
    int status = 1;
    pid_t child = fork();
    if (!child) {
        test();
        _exit(0);
    }
    assert(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

int main(void)
{
    apart(three_pairs);
    printf("ok network driver: three pairs of queues\n");
    apart(idle_cpus);
    apart(idle_cpu_each);
    printf("ok network driver: idle CPUs look for frames\n");
    apart(fewer_cpus);
    apart(one_cpu);
    apart(refused);
    apart(little_memory);
    apart(too_many);
    printf("ok network driver: fewer pairs than the device has\n");
    fflush(stdout);
    probe(1, 1, 1);
    struct net_device *dev = net_get(0);
    assert(dev->mtu == 1500 && dev->mac[5] == 0x56 && dev->link_up);
    assert(!net_start(dev, &stack));
    __atomic_store_n(&wanted_frames, 20000, __ATOMIC_RELAXED);
    run_senders();
    wait_until(&got_frames, 20000);
    assert(got_bytes == given_bytes && errors == 0);
    check_no_leak(devices[0]);
    printf("ok network driver: receiving in pieces\n");
    struct send last = {0};
    prepare(&last, 1);
    last.tx.lazy = false;
    assert(!net_send(dev, 0, &last.tx, false));
    wait_until(&done_count, 3 * SENDS + 1); /* not lazy: an interrupt comes when all are done */
    assert(taken_frames == done_count);
    printf("ok network driver: three senders\n");

    __atomic_store_n(&d.hostile, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&wanted_frames, ~0UL, __ATOMIC_RELAXED);
    run_senders();
    pthread_join(d.thread, NULL);
    assert(d.dev.failed && errors > 0 && net_send(dev, 0, &last.tx, false) == -EIO);
    printf("ok network driver: a device that breaks down\n");
    fflush(stdout);
    _exit(0);
}
