/*
 * Host test of the block and console drivers against simulated devices: in their own thread, taking requests
 * in any order and at any time, or answering with rubbish. The kernel around the drivers is replaced by
 * pthreads below.
 */
#include "tests/unit/virtio/simulated.h"

#include "virtio/blk.c"
#include "virtio/console.c"

bool fences_elided = true;

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
    if (!held_count || rnd(d, 4) == 0 || was_reset(d))
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
    host_retire();
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
static bool late_end; /* atomic */

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
            assert(is_hostile(d) || taken[nr] >= STREAM_BYTES || byte == stream_byte(nr, taken[nr]));
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

/* To a device that breaks down until it has: a driver notices when it looks at the queue. */
static bool goes_on(u64 at)
{
    return is_hostile(device_of(console.dev)) ? !console.dev->failed : at < STREAM_BYTES;
}

static void *writer_main(void *arg)
{
    u32 nr = (u64)arg, seed = nr;
    u8 *buf = malloc(70000);
    for (u64 at = 0; goes_on(at);) {
        seed = seed * 1664525u + 1013904223u;
        u32 len = 1 + seed / 65536 % (at % 3 ? 200 : 65536);
        if (at < STREAM_BYTES)
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
    host_retire();
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
    host_retire();
    return NULL;
}

/* Write on, much and little at a time, while the machine is shut down. */
static void *late_main(void *arg)
{
    static const u8 bytes[3000];
    while (!__atomic_load_n(&late_end, __ATOMIC_RELAXED))
        console_write(PORT_STDERR, bytes, (u64)arg);
    host_retire();
    return NULL;
}

static void shut_down_once(void)
{
    memset(control_text, 0, sizeof(control_text));
    taken[PORT_CONTROL] = 0;
    shutdown_begin();
    shutdown_report(42);
    assert(errors == 0 && !strcmp(control_text, "exit 42\n"));
    /* A machine would be gone now. */
    __atomic_store_n(&console.closing, false, __ATOMIC_RELAXED);
    for (u32 nr = PORT_STDOUT; nr <= PORT_CONTROL; nr++) {
        mutex_unlock(&console.ports[nr].lock);
        waitq_wake_all(&console.ports[nr].waitq, 0);
    }
}

/* The exit line comes through whole whatever other threads do, each of many times, and no writer sleeps for
 * ever for what another one took back. */
static void shut_down(void)
{
    pthread_t late[3];
    for (u32 i = 0; i < ARRAY_LEN(late); i++)
        pthread_create(&late[i], NULL, late_main, (void *)(u64[]){4, 3000, 700}[i]);
    for (u32 i = 0; i < 300; i++) {
        console_drain(); /* for what was written before it */
        shut_down_once();
    }
    __atomic_store_n(&late_end, true, __ATOMIC_RELAXED);
    for (u32 i = 0; i < ARRAY_LEN(late); i++)
        pthread_join(late[i], NULL);
}

/* The same after all output was waited for: as a machine ends in order, when nobody writes any more. */
static void drain_and_shut_down(void)
{
    static const u8 bytes[3000];
    for (u32 i = 0; i < 100; i++) {
        console_write(PORT_STDERR, bytes, 1 + i * 29);
        console_drain();
        shut_down_once();
    }
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
    assert(console_readable(PORT_STDIN) == ~0UL && errors == 0);
    shut_down();
    drain_and_shut_down();
    assert(taken[PORT_STDOUT] == STREAM_BYTES && taken[PORT_STDERR] >= STREAM_BYTES);
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
