/*
 * Host test of the block and console drivers against simulated devices: in their own thread, taking requests
 * in any order and at any time, or answering with rubbish. The kernel around the drivers is replaced by
 * pthreads below.
 */
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
#include "sched/waitq.c"
#include "virtio/blk.c"
#include "virtio/console.c"
#include "virtio/request.c"

/* ---- the kernel, of pthreads ---- */

struct host {
    struct thread thread;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool permit;
};
static __thread struct host *self;

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

static void *thread_body(void *arg)
{
    void (**entry)(void *) = arg;
    (*entry)(NULL);
    return NULL;
}

struct thread *thread_create(const char *name, void (*entry)(void *), void *arg, bool with_fpu)
{
    static void (*kept_entry)(void *);
    kept_entry = entry;
    pthread_t t;
    pthread_create(&t, NULL, thread_body, &kept_entry);
    pthread_detach(t);
    return host_thread();
}

bool sched_alone(void)
{
    return false;
}

void thread_start(struct thread *t)
{
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
    u32 notified; /* atomic */
    u32 stop;
    u16 seen[VIRTIO_QUEUES_MAX], used[VIRTIO_QUEUES_MAX];
    u8 config[32];
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

/* The next chain offered on a queue, without taking more. */
static bool take(struct device *d, u32 index, struct chain *c)
{
    struct vq *vq = d->dev.queues[index];
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

static void finish_chain(struct device *d, u32 index, u32 id, u32 len)
{
    struct vq *vq = d->dev.queues[index];
    u16 old = d->used[index]++;
    __atomic_store_n(&vq->used->ring[old & (vq->size - 1)].id, id, __ATOMIC_RELAXED);
    __atomic_store_n(&vq->used->ring[old & (vq->size - 1)].len, len, __ATOMIC_RELAXED);
    __atomic_store_n(&vq->used->idx, old + 1, __ATOMIC_SEQ_CST);
    u16 event = __atomic_load_n(&vq->avail->ring[vq->size], __ATOMIC_SEQ_CST);
    if ((u16)(old - event) < 1 && vq->on_used)
        vq->on_used(vq);
}

static void *device_main(void *arg)
{
    struct device *d = arg;
    u32 notified = 0;
    while (!__atomic_load_n(&d->stop, __ATOMIC_ACQUIRE)) {
        u32 now = __atomic_load_n(&d->notified, __ATOMIC_SEQ_CST);
        if (now == notified)
            usleep(20);
        notified = now;
        d->serve(d);
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

/* A reset: the device touches no memory from now on. */
void virtio_fail(struct virtio_device *dev, const char *why)
{
    if (__atomic_exchange_n(&dev->failed, true, __ATOMIC_SEQ_CST))
        return;
    log_error("%s", why);
    __atomic_store_n(&device_of(dev)->stop, 1, __ATOMIC_RELEASE);
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

/* ---- block ---- */

#define DISK_SECTORS 2048u

static u8 disk_byte(u64 off)
{
    return (off >> 9) * 7 + off % 251;
}

/* A frame's memory is what the frame table makes of its address; the test's pages are frames from a high
 * number. */
static void serve_blk(struct device *d)
{
    static struct chain held[32];
    static u32 held_count;
    while (held_count < ARRAY_LEN(held) && take(d, 0, &held[held_count]))
        held_count++;
    if (is_hostile(d) && rnd(d, 50) == 0)
        finish_chain(d, 0, d->seed, d->seed);
    if (!held_count || rnd(d, 4) == 0)
        return;
    u32 which = rnd(d, held_count), wrote = 1;
    struct chain c = held[which];
    held[which] = held[--held_count];
    struct blk_header *h = (void *)guest(c.d[0].addr);
    assert(c.count >= 3 && c.d[0].len == 16 && h->type == BLK_T_IN && c.d[c.count - 1].len == 1);
    u64 off = h->sector * SECTOR_SIZE;
    for (u32 i = 1; i + 1 < c.count; i++) {
        assert(c.d[i].flags & VRING_DESC_WRITE);
        for (u32 k = 0; k < c.d[i].len; k++)
            guest(c.d[i].addr)[k] = disk_byte(off++);
        wrote += c.d[i].len;
    }
    assert(off <= DISK_SECTORS * SECTOR_SIZE);
    *guest(c.d[c.count - 1].addr) = BLK_S_OK;
    finish_chain(d, 0, c.head, wrote);
}

/* struct page pointers whose frames are the given memory. */
static struct page *page_of(void *mem)
{
    return paddr_to_page(virt_to_phys(mem));
}

static u32 reads_failed; /* atomic */

static void *reader_main(void *arg)
{
    enum { PAGES = 16 };
    struct blk_device *disk = blk_get(0);
    u8 *mem = aligned_alloc(PAGE_SIZE, PAGES * PAGE_SIZE);
    u32 seed = (u64)arg;
    for (u32 n = 0; n < 400; n++) {
        struct page *pages[PAGES];
        u32 count = 1 + (seed = seed * 1664525u + 1013904223u) / 65536 % PAGES;
        u64 off = (seed = seed * 1664525u + 1013904223u) / 65536 % (DISK_SECTORS + 20) * SECTOR_SIZE;
        for (u32 i = 0; i < count; i++) /* descending, so that nothing joins, or ascending */
            pages[i] = page_of(mem + PAGE_SIZE * (n % 2 ? i : count - 1 - i));
        memset(mem, 0x5a, PAGES * PAGE_SIZE);
        if (blk_read_pages(disk, off, pages, count)) {
            __atomic_add_fetch(&reads_failed, 1, __ATOMIC_RELAXED);
            continue;
        }
        for (u32 i = 0; i < count * PAGE_SIZE; i++) {
            u64 at = off + i;
            u8 want = at < disk->size_bytes ? disk_byte(at) : 0;
            assert(((u8 *)page_to_virt(pages[i / PAGE_SIZE]))[i % PAGE_SIZE] == want);
        }
    }
    free(mem);
    free(self);
    return NULL;
}

static void run_readers(void)
{
    enum { READERS = 12 };
    pthread_t t[READERS];
    for (u64 i = 0; i < READERS; i++)
        pthread_create(&t[i], NULL, reader_main, (void *)(i + 1));
    for (u32 i = 0; i < READERS; i++)
        pthread_join(t[i], NULL);
}

static void test_blk(void)
{
    static struct device d = {.serve = serve_blk, .seed = 1};
    *(u64 *)d.config = DISK_SECTORS;
    *(u32 *)(d.config + BLK_CONFIG_SEG_MAX) = 10;
    d.dev.name = "blk";
    assert(!blk_driver.probe(&d.dev) && blk_get(0)->size_bytes == DISK_SECTORS * SECTOR_SIZE);
    run_readers();
    assert(reads_failed == 0 && errors == 0);
    printf("ok block driver: twelve readers\n");

    __atomic_store_n(&d.hostile, 1, __ATOMIC_RELAXED);
    run_readers(); /* all end, most with -EIO */
    assert(reads_failed > 0 && d.dev.failed);
    pthread_join(d.thread, NULL);
    printf("ok block driver: a device that breaks down\n");
}

/* ---- console ---- */

#define STREAM_BYTES 3000000u

static u8 stream_byte(u32 stream, u64 at)
{
    return at * 13 + (at >> 8) * 7 + stream;
}

static u64 taken[PORT_COUNT],
    given;             /* bytes of each port that the device consumed, and of stdin that it gave */
static u32 open_ports; /* atomic: bits */
static char control_text[64];

static void send_control(struct device *d, u32 port, u16 event, u16 value)
{
    struct chain c;
    if (!take(d, CONTROL_RX_QUEUE, &c))
        return;
    *(struct control_message *)guest(c.d[0].addr) = (struct control_message){port, event, value};
    finish_chain(d, CONTROL_RX_QUEUE, c.head, sizeof(struct control_message));
}

static void serve_control(struct device *d)
{
    struct chain c;
    while (take(d, CONTROL_TX_QUEUE, &c)) {
        struct control_message m = *(struct control_message *)guest(c.d[0].addr);
        finish_chain(d, CONTROL_TX_QUEUE, c.head, 0);
        if (m.event == EVENT_DEVICE_READY)
            for (u32 nr = 0; nr < PORT_COUNT; nr++)
                send_control(d, nr, EVENT_PORT_ADD, 1);
        if (m.event == EVENT_PORT_READY && m.value)
            send_control(d, m.port, EVENT_PORT_OPEN, 1);
        if (m.event == EVENT_PORT_OPEN)
            __atomic_or_fetch(&open_ports, 1u << m.port, __ATOMIC_RELAXED);
    }
}

static void serve_output(struct device *d, u32 nr)
{
    struct chain c;
    u32 index = rx_queue_index(nr) + 1;
    if (rnd(d, 3) == 0 || !take(d, index, &c))
        return;
    for (u32 k = 0; k < c.d[0].len; k++, taken[nr]++) {
        u8 byte = guest(c.d[0].addr)[k];
        if (nr == PORT_CONTROL)
            control_text[taken[nr] % sizeof(control_text)] = byte;
        else
            assert(is_hostile(d) || byte == stream_byte(nr, taken[nr]));
    }
    finish_chain(d, index, c.head, 0);
}

static void serve_input(struct device *d)
{
    struct chain c;
    u32 index = rx_queue_index(PORT_STDIN);
    if (given == STREAM_BYTES || rnd(d, 2) == 0 || !take(d, index, &c))
        return;
    u32 len = 1 + rnd(d, c.d[0].len);
    len = MIN(len, STREAM_BYTES - given);
    for (u32 k = 0; k < len; k++)
        guest(c.d[0].addr)[k] = stream_byte(PORT_STDIN, given++);
    finish_chain(d, index, c.head, len);
    if (given == STREAM_BYTES)
        send_control(d, PORT_STDIN, EVENT_PORT_OPEN, 0);
}

static void serve_console(struct device *d)
{
    serve_control(d);
    serve_output(d, PORT_STDOUT);
    serve_output(d, PORT_STDERR);
    serve_output(d, PORT_CONTROL);
    if (__atomic_load_n(&open_ports, __ATOMIC_RELAXED) & 1u << PORT_STDIN)
        serve_input(d);
    u32 victim = rx_queue_index(PORT_STDIN) + rnd(d, 8);
    if (is_hostile(d) && rnd(d, 200) == 0 && d->dev.queues[victim])
        finish_chain(d, victim, rnd(d, 2) ? d->seed : rnd(d, 8), rnd(d, 9000));
}

static void *writer_main(void *arg)
{
    u32 nr = (u64)arg, seed = nr;
    u8 *buf = malloc(70000);
    for (u64 at = 0; at < STREAM_BYTES;) {
        seed = seed * 1664525u + 1013904223u;
        u32 len = 1 + seed / 65536 % (at % 3 ? 200 : 65536);
        len = MIN(len, STREAM_BYTES - at);
        for (u32 k = 0; k < len; k++)
            buf[k] = stream_byte(nr, at + k);
        ssize_t sent = console_write(nr, buf, len);
        if (sent < 0)
            break;
        assert(sent == len || console.dev->failed);
        at += sent;
    }
    free(buf);
    free(self);
    return NULL;
}

static void *input_main(void *arg)
{
    u8 buf[5000];
    u64 at = 0;
    ssize_t n;
    while ((n = console_read(PORT_STDIN, buf, 1 + at % sizeof(buf), false)) > 0)
        for (ssize_t k = 0; k < n; k++, at++)
            assert(buf[k] == stream_byte(PORT_STDIN, at) || console.dev->failed);
    assert(n == 0 && (at == STREAM_BYTES || is_hostile(device_of(console.dev))));
    free(self);
    return NULL;
}

static void run_streams(void)
{
    pthread_t out, err, in;
    pthread_create(&out, NULL, writer_main, (void *)PORT_STDOUT);
    pthread_create(&err, NULL, writer_main, (void *)PORT_STDERR);
    pthread_create(&in, NULL, input_main, NULL);
    pthread_join(out, NULL);
    pthread_join(err, NULL);
    pthread_join(in, NULL);
}

static void test_console(void)
{
    static struct device d = {.serve = serve_console, .seed = 7};
    *(u32 *)(d.config + CONFIG_MAX_PORTS) = PORT_COUNT;
    d.dev.name = "console";
    errors = 0;
    assert(!console_driver.probe(&d.dev) && console_present());
    run_streams();
    console_drain();
    assert(taken[PORT_STDOUT] == STREAM_BYTES && taken[PORT_STDERR] == STREAM_BYTES);
    assert(console_readable(PORT_STDIN) == ~0UL && errors == 0);
    shutdown_report(42);
    assert(!strcmp(control_text, "exit 42\n"));
    printf("ok console driver: three streams and the exit line\n");

    __atomic_store_n(&d.hostile, 1, __ATOMIC_RELAXED);
    run_streams(); /* all end */
    pthread_join(d.thread, NULL);
    assert(!console_present() && errors > 0);
    printf("ok console driver: a device that breaks down\n");
}

int main(void)
{
    test_blk();
    test_console();
    fflush(stdout);
    _exit(0); /* the console's thread is still there */
}
