/*
 * virtio-console with several ports (VIRTIO 1.1, 5.3): the program's standard streams and the control channel
 * (docs/BOOT.md).
 *
 * Threads: the device's interrupt handler only wakes the driver's thread, which answers control messages,
 * hands on lines of the control port, and wakes whoever waits at a port. Data is moved by the threads that
 * read and write.
 *
 * Output: each port has a ring of bytes. A writer copies into it, offers the new stretch to the device as one
 * chain and returns; so many chains are in flight and small writes cost no wait. Hosts that take data at once
 * (QEMU without iothreads does so inside the notification) leave the ring empty again; interrupts are asked
 * for only while the ring is short of room.
 *
 * Input: the buffers lie in the receive queue until a reader has copied their bytes; a buffer goes back only
 * when drained, so a reader that does not read blocks the host.
 *
 * Locks: port.lock, then nothing but waitq.lock. The control queues belong to the driver's thread (before it
 * starts, to the boot thread).
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "sched/thread.h"
#include "sched/waitq.h"
#include "virtio/transport.h"
#include "virtio/virtio.h"

#define CONSOLE_F_MULTIPORT (1UL << 1)
#define CONFIG_MAX_PORTS    4 /* 5.3.4: le32 max_nr_ports */

/* Control messages (5.3.6.2). */
struct control_message {
    u32 port;
    u16 event;
    u16 value;
};
#define EVENT_DEVICE_READY 0
#define EVENT_PORT_ADD     1
#define EVENT_PORT_REMOVE  2
#define EVENT_PORT_READY   3
#define EVENT_PORT_OPEN    6

#define CONTROL_RX_QUEUE 2
#define CONTROL_TX_QUEUE 3
#define CONTROL_BUFFERS  32u
#define CONTROL_BUF_SIZE 128u /* room for a port's name, which is ignored */

#define PORT_COUNT      5 /* 0 is not used */
#define RX_BUFFERS      8u
#define RX_BUF_SIZE     ((u32)PAGE_SIZE)
#define TX_QUEUE_SIZE   64u
#define TX_RING_DATA    (32u << 10) /* bytes; powers of two */
#define TX_RING_CONTROL (4u << 10)
#define TX_ATOMIC       4096u /* a write of at most so much is never split by another one (PIPE_BUF) */

#define ANNOUNCE_TIMEOUT_NS (2 * NSEC_PER_SEC)
#define FINISH_TIMEOUT_NS   (5 * NSEC_PER_SEC)
#define SEIZE_TIMEOUT_NS    (100 * NSEC_PER_MSEC)

/* Port state: set by the driver's thread, read by anyone. */
#define PORT_ADDED       1u
#define PORT_HOST_OPEN   2u /* the host end is open */
#define PORT_HOST_CLOSED 4u /* it was open, and is closed now */
#define PORT_MISSING     8u /* not announced in time; set by whoever waited */

/* A piece of output that the device has: ring bytes in order of offering. */
struct tx_chunk {
    u32 len;
    bool done;
};

struct port {
    u32 nr;
    u32 state;    /* atomic; PORT_* above */
    u32 added_at; /* the driver's thread's: position in the order of announcement, from 1 */
    struct waitq waitq;

    struct mutex lock; /* guards all below */

    /* Output. The ring holds bytes [tail, head); chunks [chunk_tail, chunk_head) say how they were cut. */
    struct vq *tx;
    u8 *ring;
    u32 ring_size;
    u64 head, tail;
    struct tx_chunk chunks[TX_QUEUE_SIZE];
    u32 chunk_head, chunk_tail;

    /* Input. Buffers taken off the queue and not drained yet, oldest first, as a ring of at most RX_BUFFERS.
     */
    struct vq *rx;
    struct {
        u8 *data;
        u32 len;
    } filled[RX_BUFFERS];
    u32 filled_head, filled_tail;
    u32 drained; /* bytes of the oldest one that were read */
    size_t readable;
};

static struct {
    struct virtio_device *dev; /* NULL: there is no console */
    struct port ports[PORT_COUNT];
    struct event event; /* for the driver's thread */
    bool closing;       /* atomic: shutdown() wants the queues for itself */

    /* The driver's thread's. */
    struct vq *control_rx, *control_tx;
    struct control_message *messages; /* [CONTROL_BUFFERS]: those on their way out */
    u32 next_message;
    u32 adds;
    char line[256];
    u32 line_len;

    void (*on_control)(const char *line); /* atomic; set once */
} console;

bool console_present(void)
{
    return console.dev && !virtio_failed(console.dev);
}

static struct port *port_of(u32 nr)
{
    ASSERT(nr >= PORT_STDIN && nr <= PORT_CONTROL);
    return &console.ports[nr];
}

static u32 port_state(const struct port *p)
{
    return __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
}

struct waitq *console_waitq(u32 nr)
{
    return &port_of(nr)->waitq;
}

/* The host end cannot take or give anything any more. */
static bool port_dead(const struct port *p)
{
    return (port_state(p) & PORT_HOST_CLOSED) || virtio_failed(console.dev);
}

/* Checks a queue after vq_pop had no more. */
static void check_queue(struct vq *vq)
{
    if (likely(!vq_broken(vq)))
        return;
    virtio_fail(console.dev, vq_broken(vq));
    event_set(&console.event); /* everyone who waits must know */
}

/* ---- output ---- */

/* Takes back what the device has consumed. Lock held (or the machine is stopped). */
static void tx_reclaim(struct port *p)
{
    struct vq_done done;
    while (vq_pop(p->tx, &done)) {
        vq_free(p->tx, done.head);
        if (done.token)
            ((struct tx_chunk *)done.token)->done = true;
    }
    check_queue(p->tx);
    while (p->chunk_tail != p->chunk_head) {
        struct tx_chunk *c = &p->chunks[p->chunk_tail % TX_QUEUE_SIZE];
        if (!c->done)
            break;
        p->tail += c->len;
        p->chunk_tail++;
    }
}

static u32 tx_room(const struct port *p)
{
    if (p->chunk_head - p->chunk_tail == TX_QUEUE_SIZE || vq_room(p->tx) == 0)
        return 0;
    return p->ring_size - (u32)(p->head - p->tail);
}

/* Copies one contiguous stretch and offers it; n <= tx_room. Returns its length; 0 when the device has
 * failed. */
static u32 tx_put(struct port *p, const u8 *data, size_t n)
{
    u32 at = p->head & (p->ring_size - 1);
    u32 len = MIN(n, p->ring_size - at);
    struct tx_chunk *c = &p->chunks[p->chunk_head % TX_QUEUE_SIZE];
    struct vq_buf buf = {virt_to_phys(p->ring + at), len};
    memcpy(p->ring + at, data, len);
    *c = (struct tx_chunk){len, false};
    if (vq_push(p->tx, &buf, 1, 0, c) < 0)
        return 0;
    p->head += len;
    p->chunk_head++;
    return len;
}

/* Copies and offers as much as there is room for. Lock held. */
static size_t tx_fill(struct port *p, const u8 *data, size_t n)
{
    size_t sent = 0;
    while (sent < n) {
        u32 room = tx_room(p);
        u32 len = room ? tx_put(p, data + sent, MIN(n - sent, room)) : 0;
        if (!len)
            break;
        sent += len;
    }
    if (sent) {
        vq_kick(p->tx);
        tx_reclaim(p); /* many hosts are done by now */
    }
    return sent;
}

/* Sends what fits now, nothing if that would tear a small write. Asks for an interrupt when there is more to
 * send. -EPIPE, -EIO or the length. */
static ssize_t tx_try(struct port *p, const u8 *data, size_t n)
{
    while (unlikely(__atomic_load_n(&console.closing, __ATOMIC_RELAXED))) /* the machine is about to go */
        sched_sleep(clock_monotonic_ns() + NSEC_PER_MSEC, 0);
    mutex_lock(&p->lock);
    ssize_t sent = 0;
    do {
        tx_reclaim(p);
        if (port_dead(p)) {
            sent = virtio_failed(console.dev) ? -EIO : -EPIPE;
            break;
        }
        if (tx_room(p) >= MIN(n, TX_ATOMIC))
            sent += tx_fill(p, data + sent, n - sent);
    } while (sent < n && !vq_irq_on(p->tx));
    bool others = sent == n && waitq_busy(&p->waitq);
    if (sent == n && !others)
        vq_irq_off(p->tx);
    mutex_unlock(&p->lock);
    /* What they wait for may have been taken back here: then its interrupt is nobody's. */
    if (unlikely(others))
        waitq_wake_all(&p->waitq, 0);
    return sent;
}

/* Sleeps until the host has announced the port. False: it did not in time. */
static bool wait_announced(struct port *p)
{
    struct waiter w = {0};
    u64 deadline = clock_monotonic_ns() + ANNOUNCE_TIMEOUT_NS;
    waitq_enter(&p->waitq, &w);
    while (!(port_state(p) & PORT_ADDED) && sched_sleep(deadline, 0) == 0)
        ;
    waitq_leave(&p->waitq, &w);
    if (port_state(p) & PORT_ADDED)
        return true;
    __atomic_or_fetch(&p->state, PORT_MISSING, __ATOMIC_RELAXED);
    log_warn("moka: the console has no port %u\n", p->nr);
    return false;
}

static bool port_usable(struct port *p)
{
    u32 state = port_state(p);
    return console_present() &&
           (likely(state & PORT_ADDED) || (!(state & PORT_MISSING) && wait_announced(p)));
}

/* Without a console the standard streams go to the serial port. */
static ssize_t write_fallback(u32 nr, const void *data, size_t n)
{
    if (nr == PORT_STDOUT || nr == PORT_STDERR)
        serial_write(data, n);
    return n;
}

ssize_t console_write(u32 nr, const void *data, size_t n)
{
    struct port *p = port_of(nr);
    if (!n)
        return 0;
    if (unlikely(!port_usable(p)))
        return write_fallback(nr, data, n);
    ssize_t sent = tx_try(p, data, n);
    if (likely(sent == n) || sent < 0)
        return sent;

    struct waiter w = {0};
    ssize_t more = 0;
    int err = 0;
    waitq_enter(&p->waitq, &w);
    while (sent < n && !err) {
        more = tx_try(p, (const u8 *)data + sent, n - sent);
        if (more > 0)
            sent += more;
        else
            err = more < 0 ? (int)more : sched_sleep(SLEEP_FOREVER, SLEEP_INTERRUPTIBLE);
    }
    waitq_leave(&p->waitq, &w);
    return sent ? sent : err == -EINTR ? -ERESTART : err;
}

/* Until the device has taken a port's output, as much as there is now: others may write on. */
static void drain(struct port *p)
{
    struct waiter w = {0};
    bool done = false;
    waitq_enter(&p->waitq, &w);
    mutex_lock(&p->lock);
    u32 last = p->chunk_head;
    mutex_unlock(&p->lock);
    for (;;) {
        mutex_lock(&p->lock);
        do
            tx_reclaim(p);
        while (!vq_irq_on(p->tx));
        done = (s32)(p->chunk_tail - last) >= 0 || port_dead(p);
        mutex_unlock(&p->lock);
        if (done)
            break;
        sched_sleep(SLEEP_FOREVER, 0);
    }
    waitq_leave(&p->waitq, &w);
    waitq_wake_all(&p->waitq, 0); /* as in tx_try() */
}

void console_drain(void)
{
    if (!console_present())
        return;
    drain(port_of(PORT_STDOUT));
    drain(port_of(PORT_STDERR));
}

/* ---- input ---- */

static void rx_offer(struct port *p, u8 *data)
{
    struct vq_buf buf = {virt_to_phys(data), RX_BUF_SIZE};
    if (vq_push(p->rx, &buf, 0, 1, data) < 0)
        check_queue(p->rx);
}

/* Takes filled buffers off the queue and leaves its interrupt on. Lock held. */
static void rx_pull(struct port *p)
{
    struct vq_done done;
    do {
        while (vq_pop(p->rx, &done)) {
            vq_free(p->rx, done.head);
            if (!done.len) { /* nothing in it: straight back */
                rx_offer(p, done.token);
                continue;
            }
            u32 i = p->filled_head++ % RX_BUFFERS;
            p->filled[i].data = done.token;
            p->filled[i].len = done.len;
            p->readable += done.len;
        }
        check_queue(p->rx);
    } while (!vq_irq_on(p->rx));
}

/* Copies at most n bytes out and gives drained buffers back. Lock held. */
static size_t rx_copy(struct port *p, u8 *to, size_t n)
{
    size_t got = 0;
    bool offered = false;
    while (got < n && p->filled_tail != p->filled_head) {
        u32 i = p->filled_tail % RX_BUFFERS;
        u32 len = MIN(n - got, p->filled[i].len - p->drained);
        memcpy(to + got, p->filled[i].data + p->drained, len);
        got += len;
        p->drained += len;
        if (p->drained == p->filled[i].len) {
            p->filled_tail++;
            p->drained = 0;
            rx_offer(p, p->filled[i].data);
            offered = true;
        }
    }
    p->readable -= got;
    if (offered)
        vq_kick(p->rx);
    return got;
}

/* Bytes copied (0: end of file), or -EAGAIN: nothing there. */
static ssize_t rx_try(struct port *p, void *buf, size_t n)
{
    bool dead = port_dead(p); /* before looking: what came before the close is in the queue by now */
    mutex_lock(&p->lock);
    rx_pull(p);
    ssize_t got = rx_copy(p, buf, n);
    mutex_unlock(&p->lock);
    return got || dead ? got : -EAGAIN;
}

ssize_t console_read(u32 nr, void *buf, size_t n, bool nonblock)
{
    struct port *p = port_of(nr);
    if (!n || !p->rx || !port_usable(p))
        return 0;
    ssize_t got = rx_try(p, buf, n);
    if (got != -EAGAIN || nonblock)
        return got;

    struct waiter w = {0};
    int err = 0;
    waitq_enter(&p->waitq, &w);
    while ((got = rx_try(p, buf, n)) == -EAGAIN && !err)
        err = sched_sleep(SLEEP_FOREVER, SLEEP_INTERRUPTIBLE);
    waitq_leave(&p->waitq, &w);
    return got != -EAGAIN ? got : -ERESTART;
}

size_t console_readable(u32 nr)
{
    struct port *p = port_of(nr);
    if (!console_present() || !p->rx)
        return ~0UL;
    bool dead = port_dead(p);
    mutex_lock(&p->lock);
    rx_pull(p);
    size_t n = p->readable;
    mutex_unlock(&p->lock);
    return n || !dead ? n : ~0UL;
}

/* ---- the control queues ---- */

static void control_send(u32 port, u16 event, u16 value)
{
    struct vq_done done;
    while (vq_pop(console.control_tx, &done))
        vq_free(console.control_tx, done.head);
    check_queue(console.control_tx);
    struct control_message *m = &console.messages[console.next_message++ % CONTROL_BUFFERS];
    *m = (struct control_message){port, event, value};
    struct vq_buf buf = {virt_to_phys(m), sizeof(*m)};
    if (vq_push(console.control_tx, &buf, 1, 0, NULL) < 0)
        log_error("moka: %s: the host does not take control messages\n", console.dev->name);
    vq_kick(console.control_tx);
}

static void set_state(struct port *p, u32 set, u32 clear)
{
    __atomic_and_fetch(&p->state, ~clear, __ATOMIC_RELEASE);
    __atomic_or_fetch(&p->state, set, __ATOMIC_RELEASE);
    waitq_wake_all(&p->waitq, 0);
}

/*
 * A host end that was closed before the port was ready is never reported: there is only no PORT_OPEN. But the
 * device answers in order, so an answer to a port announced later means that this one's have all come.
 */
static void note_never_opened(const struct port *answered)
{
    for (u32 nr = PORT_STDIN; nr <= PORT_CONTROL; nr++) {
        struct port *p = &console.ports[nr];
        if (p->added_at && p->added_at < answered->added_at &&
            !(port_state(p) & (PORT_HOST_OPEN | PORT_HOST_CLOSED)))
            set_state(p, PORT_HOST_CLOSED, 0);
    }
}

static void control_handle(const struct control_message *m)
{
    bool ours = m->port >= PORT_STDIN && m->port <= PORT_CONTROL;
    struct port *p = ours ? &console.ports[m->port] : NULL;
    if (ours && m->event > EVENT_PORT_READY)
        note_never_opened(p);
    switch (m->event) {
    case EVENT_PORT_ADD:
        control_send(m->port, EVENT_PORT_READY, ours);
        if (ours) {
            p->added_at = ++console.adds;
            set_state(p, PORT_ADDED, 0);
            control_send(m->port, EVENT_PORT_OPEN, 1);
        }
        break;
    case EVENT_PORT_REMOVE:
        if (ours)
            set_state(p, PORT_HOST_CLOSED, PORT_HOST_OPEN);
        break;
    case EVENT_PORT_OPEN:
        if (ours && m->value)
            set_state(p, PORT_HOST_OPEN, PORT_HOST_CLOSED);
        else if (ours)
            set_state(p, PORT_HOST_CLOSED, PORT_HOST_OPEN);
        break;
    default: /* PORT_NAME, CONSOLE_PORT, RESIZE: of no use here */
        break;
    }
}

static void control_offer(u8 *buf)
{
    struct vq_buf b = {virt_to_phys(buf), CONTROL_BUF_SIZE};
    vq_push(console.control_rx, &b, 0, 1, buf);
}

static void control_receive(void)
{
    struct vq_done done;
    do {
        while (vq_pop(console.control_rx, &done)) {
            struct control_message m;
            memcpy(&m, done.token, sizeof(m));
            vq_free(console.control_rx, done.head);
            control_offer(done.token);
            vq_kick(console.control_rx);
            if (done.len >= sizeof(m))
                control_handle(&m);
        }
        check_queue(console.control_rx);
    } while (!vq_irq_on(console.control_rx));
}

/* ---- the control port's lines ---- */

static void line_byte(void (*handler)(const char *), char c)
{
    if (c != '\n') {
        if (console.line_len < sizeof(console.line) - 1)
            console.line[console.line_len++] = c;
        return;
    }
    console.line[console.line_len] = 0;
    console.line_len = 0;
    handler(console.line);
}

/* Lines stay in the queue until somebody wants them. */
static void control_lines(void)
{
    void (*handler)(const char *) = __atomic_load_n(&console.on_control, __ATOMIC_ACQUIRE);
    char buf[128];
    ssize_t n;
    while (handler && (n = rx_try(&console.ports[PORT_CONTROL], buf, sizeof(buf))) > 0)
        for (ssize_t i = 0; i < n; i++)
            line_byte(handler, buf[i]);
}

void console_on_control(void (*line)(const char *))
{
    __atomic_store_n(&console.on_control, line, __ATOMIC_RELEASE);
    event_set(&console.event);
}

/* ---- the driver's thread ---- */

static void console_on_used(struct vq *vq)
{
    event_set(&console.event);
}

static void port_service(struct port *p)
{
    bool wake = p->rx && vq_pending(p->rx);
    if (vq_pending(p->tx)) {
        mutex_lock(&p->lock);
        tx_reclaim(p);
        mutex_unlock(&p->lock);
        wake = true;
    }
    if (wake || virtio_failed(console.dev))
        waitq_wake_all(&p->waitq, 0);
}

static void console_main(void *arg)
{
    for (;;) {
        event_wait(&console.event, SLEEP_FOREVER, 0);
        control_receive();
        for (u32 nr = PORT_STDIN; nr <= PORT_CONTROL; nr++)
            port_service(&console.ports[nr]);
        control_lines();
    }
}

/* ---- without threads: panic and power-off ---- */

/* Until the device has taken everything, or the deadline. Machine stopped. */
static bool poll_empty(struct port *p, u64 deadline_ns)
{
    for (;;) {
        tx_reclaim(p);
        if (vq_room(p->tx) == p->tx->size)
            return true;
        if (port_dead(p) || clock_monotonic_ns() > deadline_ns)
            return false;
        cpu_relax();
    }
}

static void write_polled(u32 nr, const void *data, size_t n)
{
    static u8 bounce[512];
    struct port *p = port_of(nr);
    if (!console_present() || !(port_state(p) & PORT_ADDED)) {
        write_fallback(nr, data, n);
        return;
    }
    u64 deadline = clock_monotonic_ns() + FINISH_TIMEOUT_NS;
    while (n && poll_empty(p, deadline)) {
        u32 len = MIN(n, sizeof(bounce)), count = 0;
        struct vq_buf bufs[2];
        memcpy(bounce, data, len);
        if (!virtio_add_memory(bufs, &count, ARRAY_LEN(bufs), bounce, len) ||
            vq_push(p->tx, bufs, count, 0, NULL) < 0)
            break;
        vq_kick(p->tx);
        data = (const u8 *)data + len;
        n -= len;
    }
    poll_empty(p, deadline);
}

/* The ports' locks are held for moments only, once nobody queues for them any more. If one is not let go all
 * the same, better a status that may be lost than a machine that stays. */
static void keep_others_out(void)
{
    u64 deadline = clock_monotonic_ns() + SEIZE_TIMEOUT_NS;
    __atomic_store_n(&console.closing, true, __ATOMIC_RELAXED);
    for (u32 nr = PORT_STDOUT; nr <= PORT_CONTROL; nr++)
        while (!mutex_trylock(&console.ports[nr].lock) && clock_monotonic_ns() < deadline)
            sched_sleep(clock_monotonic_ns() + NSEC_PER_MSEC, 0);
}

static void report_exit(int status)
{
    char line[16];
    int len = snprintf(line, sizeof(line), "exit %d\n", status);
    if (!console_present())
        return;
    u64 deadline = clock_monotonic_ns() + FINISH_TIMEOUT_NS;
    poll_empty(&console.ports[PORT_STDOUT], deadline);
    poll_empty(&console.ports[PORT_STDERR], deadline);
    write_polled(PORT_CONTROL, line, len);
}

/* ---- start ---- */

static u16 rx_queue_index(u32 nr)
{
    return nr ? 2 * nr + 2 : 0; /* 5.3.2 */
}

static int port_init(struct virtio_device *dev, u32 nr)
{
    struct port *p = &console.ports[nr];
    p->nr = nr;
    p->ring_size = nr == PORT_CONTROL ? TX_RING_CONTROL : TX_RING_DATA;
    p->tx = virtio_queue_create(dev, rx_queue_index(nr) + 1, TX_QUEUE_SIZE, console_on_used, p);
    if (!p->tx)
        return -ENODEV;
    if (nr != PORT_STDIN && !(p->ring = kmalloc(p->ring_size)))
        return -ENOMEM;
    if (nr != PORT_STDIN && nr != PORT_CONTROL)
        return 0;
    p->rx = virtio_queue_create(dev, rx_queue_index(nr), RX_BUFFERS, console_on_used, p);
    return p->rx ? 0 : -ENODEV;
}

static int fill_rx(struct port *p)
{
    for (u32 i = 0; p->rx && i < MIN(RX_BUFFERS, p->rx->size); i++) {
        u8 *buf = kmalloc(RX_BUF_SIZE);
        if (!buf)
            return -ENOMEM;
        rx_offer(p, buf);
    }
    if (p->rx) {
        vq_irq_on(p->rx);
        vq_kick(p->rx);
    }
    return 0;
}

static int control_init(struct virtio_device *dev)
{
    console.control_rx = virtio_queue_create(dev, CONTROL_RX_QUEUE, CONTROL_BUFFERS, console_on_used, NULL);
    console.control_tx = virtio_queue_create(dev, CONTROL_TX_QUEUE, CONTROL_BUFFERS, NULL, NULL);
    if (!console.control_rx || !console.control_tx)
        return -ENODEV;
    u8 *bufs = kmalloc(CONTROL_BUFFERS * CONTROL_BUF_SIZE);
    console.messages = kmalloc(CONTROL_BUFFERS * sizeof(struct control_message));
    if (!bufs || !console.messages)
        return -ENOMEM;
    for (u32 i = 0; i < console.control_rx->size; i++)
        control_offer(bufs + i * CONTROL_BUF_SIZE);
    vq_irq_on(console.control_rx);
    return 0;
}

/* 5.3.5. The handshake goes on in the driver's thread; hosts that answer inside the notification are served
 * at once, so that the first output waits for nothing. */
static int console_start(struct virtio_device *dev)
{
    virtio_ready(dev);
    console.dev = dev;
    vq_kick(console.control_rx);
    for (u32 nr = PORT_STDIN; nr <= PORT_CONTROL; nr++)
        if (fill_rx(&console.ports[nr]))
            return -ENOMEM;
    control_send(0, EVENT_DEVICE_READY, 1);
    control_receive();
    struct thread *t = thread_create("console", console_main, NULL, false);
    if (!t)
        return -ENOMEM;
    thread_start(t);
    shutdown_begin = keep_others_out;
    shutdown_report = report_exit;
    return 0;
}

static int console_probe(struct virtio_device *dev)
{
    if (console.dev)
        return 0; /* the first one counts */
    int err = virtio_negotiate(dev, CONSOLE_F_MULTIPORT);
    if (err)
        return err;
    u32 max_ports = 0;
    if (virtio_has(dev, CONSOLE_F_MULTIPORT))
        virtio_config_read(dev, CONFIG_MAX_PORTS, &max_ports, sizeof(max_ports));
    if (max_ports <= PORT_CONTROL) {
        log_error("moka: %s: the console has %u ports; ports 1 to 4 are needed (max_ports=5)\n", dev->name,
                  max_ports);
        return -ENODEV;
    }
    err = control_init(dev);
    for (u32 nr = PORT_STDIN; nr <= PORT_CONTROL && !err; nr++)
        err = port_init(dev, nr);
    return err ? err : console_start(dev);
}

const struct virtio_driver console_driver = {VIRTIO_ID_CONSOLE, "console", console_probe};
