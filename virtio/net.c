/* virtio-net (VIRTIO 1.1, 5.1): the device itself; net_rx.c and net_tx.c move the frames. */
#include "virtio/net.h"

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "mm/phys/phys.h"
#include "sched/thread.h"
#include "virtio/net_internal.h"

/* Features (5.1.3). */
#define NET_F_CSUM       (1UL << 0)
#define NET_F_GUEST_CSUM (1UL << 1)
#define NET_F_MTU        (1UL << 3)
#define NET_F_MAC        (1UL << 5)
#define NET_F_GUEST_TSO4 (1UL << 7)
#define NET_F_GUEST_TSO6 (1UL << 8)
#define NET_F_HOST_TSO4  (1UL << 11)
#define NET_F_HOST_TSO6  (1UL << 12)
#define NET_F_MRG_RXBUF  (1UL << 15)
#define NET_F_STATUS     (1UL << 16)
#define NET_F_CTRL_VQ    (1UL << 17)
#define NET_F_MQ         (1UL << 22)

/* Configuration (5.1.4). */
#define CONFIG_MAC       0
#define CONFIG_STATUS    6
#define CONFIG_MAX_PAIRS 8
#define CONFIG_MTU       10
#define STATUS_LINK_UP   1u

/* The control queue (5.1.6.5). */
#define CTRL_MQ              4
#define CTRL_MQ_VQ_PAIRS_SET 0
#define CTRL_OK              0u

#define MTU_DEFAULT 1500u
#define MTU_MIN     68u /* RFC 791 */
#define DEVICES_MAX 8u
#define BUFFERS_MIN 128u /* a pair's share; below that a long frame would not fit twice */

static struct net *devices[DEVICES_MAX];
static u32 device_count;

struct net_device *net_get(u32 n)
{
    return n < device_count ? &devices[n]->public : NULL;
}

void net_arena(struct net_device *dev, void **base, size_t *len)
{
    struct net *net = container_of(dev, struct net, public);
    *base = net->arena;
    *len = net->arena_len;
}

void net_stats(struct net_device *dev, u32 queue, struct net_stats *out)
{
    const struct net_pair *p = &container_of(dev, struct net, public)->pairs[queue];
    *out = (struct net_stats){.rx_frames = p->rx.frames,
                              .rx_bytes = p->rx.bytes,
                              .rx_dropped = p->rx.dropped,
                              .rx_starved = p->rx.starved,
                              .tx_frames = p->tx.frames,
                              .tx_bytes = p->tx.bytes,
                              .rx_interrupts = p->rx.interrupts,
                              .tx_interrupts = p->tx.interrupts,
                              .irq_cpus = p->rx.irq_cpus | p->tx.irq_cpus,
                              .rx_found = p->rx.found};
}

/* ---- interrupts: they wake the pair's thread ---- */

/* Without event indexes the device would interrupt for every frame until the thread asks again. */
static void hush(struct vq *vq)
{
    if (!vq->event_idx)
        vq_irq_off(vq);
}

static void net_on_received(struct vq *vq)
{
    struct net_pair *pair = vq->owner;
    hush(vq);
    pair->rx.interrupts++;
    pair->rx.irq_cpus |= 1UL << cpu_id();
    event_set(&pair->event);
}

/* Somebody waits for what the device sends: all but lazy frames, which the next net_send collects. */
static bool tx_wanted(const struct net_pair *pair)
{
    return __atomic_load_n(&pair->tx.urgent, __ATOMIC_RELAXED) ||
           __atomic_load_n(&pair->tx.want_room, __ATOMIC_RELAXED);
}

/* Where queues share an interrupt this is also called for lazy frames. */
static void net_on_sent(struct vq *vq)
{
    struct net_pair *pair = vq->owner;
    hush(vq);
    if (!tx_wanted(pair))
        return;
    pair->tx.interrupts++;
    pair->tx.irq_cpus |= 1UL << cpu_id();
    event_set(&pair->event);
}

static void net_config_changed(struct virtio_device *dev)
{
    struct net *net = dev->driver;
    __atomic_store_n(&net->link_changed, 1, __ATOMIC_SEQ_CST);
    event_set(&net->pairs[0].event);
}

/* ---- idle CPUs look for frames themselves: see sched/idle.c ---- */

static struct net_pair *pair_of(struct idle_source *s)
{
    return container_of(s, struct net_pair, idle);
}

static bool consumer_moves(struct net_pair *pair, u32 from, u32 to)
{
    return __atomic_compare_exchange_n(&pair->consumer, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/*
 * After an idle CPU wrote to the ring's event index. If the thread was there meanwhile, it shall write its
 * own index once more. The exchange is a locked instruction also where it changes nothing: who comes now sees
 * what was written. Model: tests/model/frames.pml.
 */
static bool idle_wrote(struct net_pair *pair, u32 next)
{
    bool undisturbed = consumer_moves(pair, CONSUMER_IDLE, next);
    if (!undisturbed)
        event_set(&pair->event);
    return undisturbed;
}

static bool net_idle_begin(struct idle_source *s)
{
    struct net_pair *pair = pair_of(s);
    if (!consumer_moves(pair, CONSUMER_INTERRUPT, CONSUMER_IDLE))
        return false;
    vq_irq_off(pair->rx.vq);
    return idle_wrote(pair, CONSUMER_IDLE);
}

static void net_idle_look(struct idle_source *s)
{
    struct net_pair *pair = pair_of(s);
    if (!vq_pending(pair->rx.vq))
        return;
    pair->rx.found++;
    event_set(&pair->event);
}

static void net_idle_end(struct idle_source *s)
{
    struct net_pair *pair = pair_of(s);
    if (!vq_irq_on(pair->rx.vq))
        event_set(&pair->event);
    idle_wrote(pair, CONSUMER_INTERRUPT);
}

/* ---- a pair's thread ---- */

static bool read_link(struct net *net)
{
    u16 status = STATUS_LINK_UP;
    if (virtio_has(net->dev, NET_F_STATUS))
        virtio_config_read(net->dev, CONFIG_STATUS, &status, sizeof(status));
    return status & STATUS_LINK_UP;
}

static void check_link(struct net *net)
{
    if (!__atomic_exchange_n(&net->link_changed, 0, __ATOMIC_SEQ_CST))
        return;
    bool up = read_link(net);
    if (up == net->public.link_up)
        return;
    __atomic_store_n(&net->public.link_up, up, __ATOMIC_RELEASE);
    if (net->ops->link)
        net->ops->link(&net->public);
}

/* Everything there is to do now, until the next interrupt. */
static void serve(struct net_pair *pair)
{
    struct net *net = pair->rx.net;
    bool any = false;
    do {
        any |= net_rx_service(pair);
        net_rx_refill(pair);
    } while (!vq_irq_on(pair->rx.vq));
    if (tx_wanted(pair))
        net_tx_service(pair);
    if (any && net->ops->batch_end)
        net->ops->batch_end(&net->public, pair->rx.index);
}

static void wait_for_frames(struct net_pair *pair)
{
    __atomic_store_n(&pair->consumer, CONSUMER_INTERRUPT, __ATOMIC_SEQ_CST);
    event_wait(&pair->event, SLEEP_FOREVER, 0);
    __atomic_store_n(&pair->consumer, CONSUMER_THREAD, __ATOMIC_SEQ_CST);
}

static void pair_main(void *arg)
{
    struct net_pair *pair = arg;
    struct net *net = pair->rx.net;
    while (!virtio_failed(net->dev)) {
        serve(pair);
        if (pair->rx.index == 0)
            check_link(net);
        const char *broken = vq_broken(pair->rx.vq) ?: vq_broken(pair->tx.vq);
        if (broken)
            virtio_fail(net->dev, broken);
        else
            wait_for_frames(pair);
    }
    for (u32 i = 0; i < net->public.pairs; i++) /* the others must notice, too */
        event_set(&net->pairs[i].event);
    net_tx_abort(pair);
}

/* ---- start ---- */

/* Receive memory: 4 MiB, less where the machine is small. */
static u32 arena_order(void)
{
    struct phys_stats stats;
    phys_stats(&stats);
    return stats.total_pages >= (512UL << 20 >> PAGE_SHIFT)   ? 10
           : stats.total_pages >= (128UL << 20 >> PAGE_SHIFT) ? 9
                                                              : 7;
}

static bool allocate_arena(struct net *net)
{
    u32 order = arena_order();
    struct page *page = page_alloc(order, PAGE_KERNEL, 0);
    net->arena_len = PAGE_SIZE << order;
    net->bufs = page ? kmalloc(net->arena_len / NET_BUF_SIZE * sizeof(struct net_buf)) : NULL;
    if (!net->bufs) {
        if (page)
            page_free(page);
        return false;
    }
    net->arena = page_to_virt(page);
    return true;
}

/* On the CPU of the pair's thread, or on all where it may run anywhere. */
static void watch(struct net_pair *pair, u32 only)
{
    pair->idle = (struct idle_source){net_idle_begin, net_idle_look, net_idle_end};
    for (u32 cpu = 0; cpu < cpu_count; cpu++) {
        if (cpu == only || only == cpu_count)
            sched_idle_watch(cpu, &pair->idle);
    }
}

int net_start(struct net_device *dev, const struct net_ops *ops)
{
    struct net *net = container_of(dev, struct net, public);
    struct thread *threads[NET_PAIRS_MAX];
    u32 pairs = dev->pairs;
    if (!allocate_arena(net))
        return -ENOMEM;
    u32 share = net->arena_len / NET_BUF_SIZE / pairs;
    net->ops = ops;
    for (u32 i = 0; i < pairs; i++) {
        char name[THREAD_NAME_LEN];
        snprintf(name, sizeof(name), "net-%u", i);
        threads[i] = thread_create(name, pair_main, &net->pairs[i], false);
        if (!threads[i]) {
            while (i)
                thread_discard(threads[--i]);
            return -ENOMEM; /* the arena stays for another try's sake: there is none */
        }
        net_rx_init(&net->pairs[i], net->bufs + i * share, share);
        if (pairs > 1)
            sched_set_affinity(threads[i], 1UL << i % cpu_count);
    }
    for (u32 i = 0; i < pairs; i++) {
        thread_start(threads[i]);
        watch(&net->pairs[i], pairs > 1 ? i % cpu_count : cpu_count);
    }
    return 0;
}

/* ---- probe ---- */

static u32 offloads_of(const struct virtio_device *dev)
{
    return (virtio_has(dev, NET_F_CSUM) ? NET_TX_CSUM : 0) |
           (virtio_has(dev, NET_F_HOST_TSO4) ? NET_TX_TSO4 : 0) |
           (virtio_has(dev, NET_F_HOST_TSO6) ? NET_TX_TSO6 : 0) |
           (virtio_has(dev, NET_F_GUEST_CSUM) ? NET_RX_CSUM : 0) |
           (virtio_has(dev, NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6) ? NET_RX_TSO : 0);
}

/* Features that need others (5.1.3.1) are offered only together with them by a correct device; a long frame
 * needs mergeable buffers here, as no single one holds it. */
static u64 wanted_features(struct virtio_device *dev)
{
    u64 wanted = NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MTU | NET_F_MAC | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 |
                 NET_F_MRG_RXBUF | NET_F_STATUS | NET_F_CTRL_VQ | NET_F_MQ;
    u64 offered = dev->ops->get_features(dev);
    if ((offered & NET_F_MRG_RXBUF) && (offered & NET_F_GUEST_CSUM))
        wanted |= NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6;
    if (!(offered & NET_F_CSUM))
        wanted &= ~(NET_F_HOST_TSO4 | NET_F_HOST_TSO6);
    if (!(offered & NET_F_CTRL_VQ))
        wanted &= ~NET_F_MQ;
    return wanted;
}

static void read_config(struct net *net, u32 *max_pairs)
{
    struct virtio_device *dev = net->dev;
    struct net_device *device = &net->public;
    u16 value;
    device->mtu = MTU_DEFAULT;
    *max_pairs = 1;
    if (virtio_has(dev, NET_F_MAC))
        virtio_config_read(dev, CONFIG_MAC, device->mac, sizeof(device->mac));
    else
        memcpy(device->mac, "\x52\x54\x00\x6d\x6b\x61", 6); /* locally administered */
    if (virtio_has(dev, NET_F_MTU)) {
        virtio_config_read(dev, CONFIG_MTU, &value, sizeof(value));
        /* Without mergeable buffers a frame must fit in one. */
        if (value >= MTU_MIN && (net->mergeable || value <= MTU_DEFAULT))
            device->mtu = value;
    }
    if (virtio_has(dev, NET_F_MQ)) {
        virtio_config_read(dev, CONFIG_MAX_PAIRS, &value, sizeof(value));
        *max_pairs = MAX(1, value);
    }
}

static int create_pair(struct net *net, u32 i)
{
    struct net_pair *pair = &net->pairs[i];
    pair->rx.net = net;
    pair->rx.index = i;
    net->dev->irq_cpu = i % cpu_count;
    pair->rx.vq = virtio_queue_create(net->dev, 2 * i, NET_QUEUE_SIZE, net_on_received, pair);
    pair->tx.vq = virtio_queue_create(net->dev, 2 * i + 1, NET_QUEUE_SIZE, net_on_sent, pair);
    if (!pair->rx.vq || !pair->tx.vq)
        return -ENODEV;
    return pair->tx.vq->size < 2 * (1 + NET_TX_SEGS_MAX) ? -EINVAL : 0;
}

/* A control queue beyond what the transport knows cannot be used, so nothing but the first pair can. */
static u32 usable_pairs(u32 max_pairs)
{
    u32 shares = (PAGE_SIZE << arena_order()) / NET_BUF_SIZE / BUFFERS_MIN;
    return 2 * max_pairs >= VIRTIO_QUEUES_MAX ? 1
                                              : MIN(MIN(max_pairs, cpu_count), MIN(shares, NET_PAIRS_MAX));
}

/* Tells the device how many pairs to use (5.1.6.5.5). False: it goes on with one. */
static bool set_pairs(struct net *net, u32 pairs)
{
    struct request *r = request_begin(&net->control, 3);
    if (!r)
        return false;
    memcpy(r->header, &(u8[]){CTRL_MQ, CTRL_MQ_VQ_PAIRS_SET, pairs, 0}, 4);
    r->status[0] = 0xff;
    struct vq_buf bufs[3] = {
        {virt_to_phys(r->header), 2}, {virt_to_phys(r->header + 2), 2}, {virt_to_phys(r->status), 1}};
    bool ok = request_run(&net->control, r, bufs, 2, 1) && r->status[0] == CTRL_OK;
    request_end(&net->control, r);
    return ok;
}

/* Steps 4 to 8. */
static int net_setup(struct net *net)
{
    struct virtio_device *dev = net->dev;
    u32 max_pairs;
    int err = virtio_negotiate(dev, wanted_features(dev));
    if (err)
        return err;
    net->mergeable = virtio_has(dev, NET_F_MRG_RXBUF);
    net->public.offloads = offloads_of(dev);
    read_config(net, &max_pairs);
    dev->own_vectors = true;
    u32 pairs = usable_pairs(max_pairs);
    for (u32 i = 0; i < pairs && !err; i++)
        err = create_pair(net, i);
    if (!err && pairs > 1)
        err = request_queue_init(&net->control, dev, 2 * max_pairs, 16, 1);
    if (err)
        return err;
    net->public.link_up = read_link(net);
    dev->config_changed = net_config_changed;
    virtio_ready(dev);
    net->public.pairs = pairs == 1 || set_pairs(net, pairs) ? pairs : 1;
    return 0;
}

static int net_probe(struct virtio_device *dev)
{
    struct net *net = device_count < DEVICES_MAX ? kmalloc(sizeof(*net)) : NULL; /* lives for ever */
    if (!net)
        return -ENOMEM;
    net->dev = dev;
    dev->driver = net;
    int err = net_setup(net);
    if (err)
        return err;
    devices[device_count++] = net;
    return 0;
}

const struct virtio_driver net_driver = {VIRTIO_ID_NET, "network device", net_probe};
