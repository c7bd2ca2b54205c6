/*
 * 9P over virtio. Device type 9 is reserved in VIRTIO 1.1, 5, but not described there; the layout is what
 * QEMU's hw/9pfs offers: one request queue, a chain is the T-message (device reads) followed by room for the
 * R-message (device writes); configuration: le16 length of the mount tag, then the tag without a terminator.
 */
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "virtio/request.h"
#include "virtio/virtio.h"

#define P9_F_MOUNT_TAG  (1UL << 0)
#define P9_QUEUE_SIZE   128u
#define P9_REQUESTS     32u
#define P9_CHANNELS     32u
#define P9_TAG_MAX      255u
#define P9_MAX_MESSAGE  (512u << 10)
#define P9_SPARE_CHUNKS 8u /* of the queue: messages that start and end inside pages */

struct p9_channel {
    struct request_queue queue;
    char tag[P9_TAG_MAX + 1];
};

static struct p9_channel *channels[P9_CHANNELS];
static u32 channel_count;

static bool read_tag(struct virtio_device *dev, char *tag)
{
    u16 len;
    virtio_config_read(dev, 0, &len, sizeof(len));
    if (!virtio_has(dev, P9_F_MOUNT_TAG) || len > P9_TAG_MAX || len + 2u > dev->config_len) {
        log_error("moka: %s: the 9P device has no usable mount tag\n", dev->name);
        return false;
    }
    for (u32 i = 0; i < len; i++)
        virtio_config_read(dev, 2 + i, tag + i, 1);
    tag[len] = 0;
    return true;
}

static int p9_probe(struct virtio_device *dev)
{
    if (channel_count == P9_CHANNELS)
        return -ENOSPC;
    int err = virtio_negotiate(dev, P9_F_MOUNT_TAG);
    if (err)
        return err;
    struct p9_channel *ch = kmalloc(sizeof(*ch));
    if (!ch)
        return -ENOMEM;
    err =
        read_tag(dev, ch->tag) ? request_queue_init(&ch->queue, dev, 0, P9_QUEUE_SIZE, P9_REQUESTS) : -EINVAL;
    if (!err && ch->queue.vq->size < 2 * P9_SPARE_CHUNKS)
        err = -EINVAL;
    if (err)
        return err; /* ch stays: the queue may refer to it */
    virtio_ready(dev);
    channels[channel_count++] = ch;
    return 0;
}

struct p9_channel *p9_channel_open(const char *tag)
{
    for (u32 i = 0; i < channel_count; i++)
        if (!strcmp(channels[i]->tag, tag))
            return channels[i];
    return NULL;
}

u32 p9_max_message(struct p9_channel *ch)
{
    u64 room = (ch->queue.vq->size - P9_SPARE_CHUNKS) * PAGE_SIZE;
    return MIN(room, P9_MAX_MESSAGE);
}

ssize_t p9_transact(struct p9_channel *ch, const void *out, size_t out_len, void *in, size_t in_room)
{
    struct vq_buf bufs[P9_QUEUE_SIZE];
    u32 max = MIN(P9_QUEUE_SIZE, ch->queue.vq->size), out_count = 0, in_count = 0;
    if (!virtio_add_memory(bufs, &out_count, max, out, out_len))
        return -EIO;
    /* Counted apart, so that a reply buffer right behind the request is not joined to it. */
    if (!virtio_add_memory(bufs + out_count, &in_count, max - out_count, in, in_room))
        return -EIO;
    struct request *r = request_begin(&ch->queue, out_count + in_count);
    if (!r)
        return -EIO;
    ssize_t len = request_run(&ch->queue, r, bufs, out_count, in_count) ? (ssize_t)r->len : -EIO;
    request_end(&ch->queue, r);
    return len;
}

const struct virtio_driver p9_driver = {VIRTIO_ID_9P, "9P volume", p9_probe};
