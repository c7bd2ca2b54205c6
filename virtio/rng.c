/* virtio-rng (VIRTIO 1.1, 5.4): random bytes from the host, through one bounce buffer. */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "virtio/request.h"
#include "virtio/virtio.h"

#define RNG_CHUNK 256u

static struct {
    struct request_queue queue;
    bool present;
    struct mutex lock; /* guards buffer; taken before the queue's */
    u8 *buffer;        /* [RNG_CHUNK] */
} rng;

static int rng_probe(struct virtio_device *dev)
{
    if (rng.present)
        return 0; /* one is enough: a further one stays idle */
    int err = virtio_negotiate(dev, 0);
    if (err)
        return err;
    rng.buffer = kmalloc(RNG_CHUNK);
    if (!rng.buffer)
        return -ENOMEM;
    err = request_queue_init(&rng.queue, dev, 0, 4, 1);
    if (err)
        return err;
    virtio_ready(dev);
    rng.present = true;
    return 0;
}

/* Bytes that came, 0 on failure; at most RNG_CHUNK. */
static u32 read_chunk(u32 n)
{
    struct vq_buf buf = {virt_to_phys(rng.buffer), n};
    struct request *r = request_begin(&rng.queue, 1);
    if (!r)
        return 0;
    u32 got = request_run(&rng.queue, r, &buf, 0, 1) ? r->len : 0;
    request_end(&rng.queue, r);
    return got;
}

bool rng_read(void *buf, size_t n)
{
    if (!rng.present)
        return false;
    u8 *to = buf;
    mutex_lock(&rng.lock);
    while (n) {
        u32 got = read_chunk(MIN(n, RNG_CHUNK));
        if (!got)
            break;
        memcpy(to, rng.buffer, got);
        memset(rng.buffer, 0, got); /* nobody may find it later */
        to += got;
        n -= got;
    }
    mutex_unlock(&rng.lock);
    return n == 0;
}

const struct virtio_driver rng_driver = {VIRTIO_ID_RNG, "entropy source", rng_probe};
