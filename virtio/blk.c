/*
 * virtio-blk (VIRTIO 1.1, 5.2): reads only; writing is not needed, the root image never changes.
 * Several readers at once; see request.h for how each waits.
 */
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "virtio/request.h"
#include "virtio/virtio.h"

#define BLK_F_SEG_MAX   (1UL << 2)
#define BLK_QUEUE_SIZE  256u
#define BLK_REQUESTS    32u
#define BLK_MAX_SEGS    64u /* page stretches of one request; bounds stack use, too */
#define BLK_MAX_DEVICES 8u
#define SECTOR_SIZE     512u

#define BLK_T_IN 0u /* 5.2.6: read */
#define BLK_S_OK 0u

#define BLK_CONFIG_CAPACITY 0 /* 5.2.4: le64, in sectors */
#define BLK_CONFIG_SEG_MAX  12

struct blk_header {
    u32 type, reserved;
    u64 sector;
};

struct blk {
    struct blk_device public;
    struct request_queue queue;
};

static struct blk *devices[BLK_MAX_DEVICES];
static u32 device_count;

struct blk_device *blk_get(u32 n)
{
    return n < device_count ? &devices[n]->public : NULL;
}

static int blk_probe(struct virtio_device *dev)
{
    struct blk *blk = kmalloc(sizeof(*blk));
    if (!blk || device_count == BLK_MAX_DEVICES) {
        kfree(blk);
        return -ENOMEM;
    }
    int err = virtio_negotiate(dev, BLK_F_SEG_MAX);
    if (err)
        return err;
    u64 capacity;
    u32 seg_max = 1;
    virtio_config_read(dev, BLK_CONFIG_CAPACITY, &capacity, sizeof(capacity));
    if (virtio_has(dev, BLK_F_SEG_MAX))
        virtio_config_read(dev, BLK_CONFIG_SEG_MAX, &seg_max, sizeof(seg_max));
    if (capacity > ~0UL / SECTOR_SIZE) {
        log_error("moka: %s: a capacity of %#lx sectors cannot be\n", dev->name, capacity);
        return -EINVAL;
    }
    dev->driver = blk;
    err = request_queue_init(&blk->queue, dev, 0, BLK_QUEUE_SIZE, BLK_REQUESTS);
    if (err)
        return err;
    if (blk->queue.vq->size < 4)
        return -EINVAL; /* header, one segment, status */
    virtio_ready(dev);
    u32 fit = MIN(BLK_MAX_SEGS, blk->queue.vq->size - 2u);
    blk->public = (struct blk_device){capacity * SECTOR_SIZE, MAX(1, MIN(seg_max, fit))};
    devices[device_count++] = blk;
    return 0;
}

/*
 * One request: fills bufs[1..] with as many of the pages as fit in the segments, `bytes` at most in all.
 * Returns how many pages that took, and their segments.
 */
static u32 gather(struct blk *blk, struct page **pages, u32 count, u64 bytes, struct vq_buf *bufs,
                  u32 *segments)
{
    u32 n = 0, used = 0;
    for (; n < count && bytes; n++) {
        u64 paddr = page_to_paddr(pages[n]);
        u32 len = MIN(bytes, PAGE_SIZE);
        struct vq_buf *prev = &bufs[used]; /* bufs[0] is the header's and never adjoins */
        if (used && prev->paddr + prev->len == paddr) {
            prev->len += len;
        } else {
            if (used == blk->public.max_segments)
                break;
            bufs[++used] = (struct vq_buf){paddr, len};
        }
        bytes -= len;
    }
    *segments = used;
    return n;
}

/* Reads up to `bytes` bytes (a multiple of 512, at least one) into the first of the pages; returns how many
 * pages were read, or -EIO. */
static int read_some(struct blk *blk, u64 offset, struct page **pages, u32 count, u64 bytes)
{
    struct vq_buf bufs[BLK_MAX_SEGS + 2];
    u32 segments;
    u32 n = gather(blk, pages, count, bytes, bufs, &segments);
    struct request *r = request_begin(&blk->queue, segments + 2);
    if (!r)
        return -EIO;
    *(struct blk_header *)r->header = (struct blk_header){.type = BLK_T_IN, .sector = offset / SECTOR_SIZE};
    r->status[0] = 0xff;
    bufs[0] = (struct vq_buf){virt_to_phys(r->header), sizeof(struct blk_header)};
    bufs[segments + 1] = (struct vq_buf){virt_to_phys(r->status), 1};
    bool ok = request_run(&blk->queue, r, bufs, 1, segments + 1) && r->status[0] == BLK_S_OK;
    u32 status = r->status[0];
    request_end(&blk->queue, r);
    if (ok)
        return n;
    log_error("moka: disk: reading %u pages at offset %#lx fails, status %u\n", n, offset, status);
    return -EIO;
}

/* Bytes past the end of the device are zeros. */
static void zero_tail(struct blk *blk, u64 offset, struct page **pages, u32 count)
{
    for (u32 i = 0; i < count; i++, offset += PAGE_SIZE) {
        u64 valid = offset >= blk->public.size_bytes ? 0 : blk->public.size_bytes - offset;
        if (valid < PAGE_SIZE)
            memset((u8 *)page_to_virt(pages[i]) + valid, 0, PAGE_SIZE - valid);
    }
}

int blk_read_pages(struct blk_device *dev, u64 offset, struct page **pages, u32 count)
{
    struct blk *blk = container_of(dev, struct blk, public);
    if (offset % SECTOR_SIZE)
        return -EIO;
    zero_tail(blk, offset, pages, count);
    while (count && offset < dev->size_bytes) {
        int n = read_some(blk, offset, pages, count, dev->size_bytes - offset);
        if (n < 0)
            return n;
        pages += n;
        count -= n;
        offset += n * PAGE_SIZE;
    }
    return 0;
}

const struct virtio_driver blk_driver = {VIRTIO_ID_BLOCK, "block device", blk_probe};
