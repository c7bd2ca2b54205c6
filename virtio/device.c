/* What all virtio devices share: initialisation (VIRTIO 1.1, 3.1.1), queues, configuration. */
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/pte.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "mm/phys/phys.h"
#include "virtio/transport.h"

static const struct virtio_driver *const drivers[] = {&blk_driver, &console_driver, &rng_driver, &p9_driver,
                                                      &net_driver};

static void status_add(struct virtio_device *dev, u8 bits)
{
    dev->ops->set_status(dev, dev->ops->get_status(dev) | bits);
}

/* Who sees `failed` takes memory back from the device: it is set after the reset. Callers that come together
 * all reset, since none can wait for another here. */
void virtio_fail(struct virtio_device *dev, const char *why)
{
    if (!__atomic_exchange_n(&dev->given_up, true, __ATOMIC_RELAXED))
        log_error("moka: %s: %s; device given up\n", dev->name, why);
    status_add(dev, VIRTIO_FAILED);
    dev->ops->set_status(dev, 0);
    __atomic_store_n(&dev->failed, true, __ATOMIC_SEQ_CST);
}

void virtio_probe(struct virtio_device *dev)
{
    const struct virtio_driver *driver = NULL;
    for (u32 i = 0; i < ARRAY_LEN(drivers); i++)
        if (drivers[i]->id == dev->id)
            driver = drivers[i];
    if (!driver) {
        log_info("moka: %s: no driver for device type %u\n", dev->name, dev->id);
        return;
    }
    dev->ops->set_status(dev, 0);        /* 3.1.1 step 1 */
    status_add(dev, VIRTIO_ACKNOWLEDGE); /* step 2 */
    status_add(dev, VIRTIO_DRIVER);      /* step 3 */
    if (driver->probe(dev))
        virtio_fail(dev, "cannot be used");
    else
        log_info("moka: %s: %s, features %#lx\n", dev->name, driver->name, dev->features);
}

int virtio_negotiate(struct virtio_device *dev, u64 wanted)
{
    u64 offered = dev->ops->get_features(dev);
    if (!(offered & VIRTIO_F_VERSION_1)) {
        log_error("moka: %s: a legacy device; only VIRTIO 1.0 and later work\n", dev->name);
        return -ENODEV;
    }
    dev->features = offered & (wanted | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX);
    dev->ops->set_features(dev, dev->features);         /* step 4 */
    status_add(dev, VIRTIO_FEATURES_OK);                /* step 5 */
    if (dev->ops->get_status(dev) & VIRTIO_FEATURES_OK) /* step 6 */
        return 0;
    log_error("moka: %s: the device refuses features %#lx\n", dev->name, dev->features);
    return -ENODEV;
}

/* Memory of a queue, or -errno; on failure nothing is left behind. */
static int queue_allocate(struct vq **out, u16 index, u32 size, bool event_idx)
{
    struct vq *vq = kmalloc(sizeof(*vq));
    void *shared = kmalloc(vq_shared_bytes(size)), *private = kmalloc(vq_private_bytes(size));
    if (!vq || !shared || !private) {
        kfree(vq);
        kfree(shared);
        kfree(private);
        return -ENOMEM;
    }
    vq_init(vq, index, size, shared, private, event_idx);
    *out = vq;
    return 0;
}

struct vq *virtio_queue_create(struct virtio_device *dev, u16 index, u32 size_max,
                               void (*on_used)(struct vq *), void *owner)
{
    ASSERT(index < VIRTIO_QUEUES_MAX && !dev->queues[index]);
    u32 max = MIN(dev->ops->queue_max(dev, index), MIN(size_max, VQ_SIZE_MAX));
    struct vq *vq;
    if (!max) {
        log_error("moka: %s: the device has no queue %u\n", dev->name, index);
        return NULL;
    }
    u32 size = 1u << (31 - __builtin_clz(max));
    if (queue_allocate(&vq, index, size, virtio_has(dev, VIRTIO_F_EVENT_IDX))) {
        log_error("moka: %s: no memory for queue %u\n", dev->name, index);
        return NULL;
    }
    vq->on_used = on_used;
    vq->owner = owner;
    dev->queues[index] = vq;
    dev->queue_count = MAX(dev->queue_count, index + 1u);
    if (!dev->ops->queue_enable(dev, vq))
        return vq;
    log_error("moka: %s: queue %u cannot be enabled\n", dev->name, index);
    dev->queues[index] = NULL; /* the memory stays: the device may know it until it is reset */
    return NULL;
}

void virtio_ready(struct virtio_device *dev)
{
    status_add(dev, VIRTIO_DRIVER_OK); /* step 8 */
}

bool virtio_queues_interrupt(struct virtio_device *dev)
{
    bool news = false;
    for (u32 i = 0; i < dev->queue_count; i++) {
        struct vq *vq = dev->queues[i];
        if (!vq || !vq->on_used || !vq_pending(vq))
            continue;
        u16 used = __atomic_load_n(&vq->used->idx, __ATOMIC_RELAXED);
        news |= used != vq->used_told;
        vq->used_told = used;
        vq->on_used(vq);
    }
    return news;
}

/* Fields are read with their own width (4.2.2.2, 4.1.3.1); a multi-byte read may use smaller ones for bytes.
 */
static void config_read_once(struct virtio_device *dev, u32 off, u8 *buf, u32 len)
{
    while (len) {
        u32 width = off % 4 == 0 && len >= 4 ? 4 : off % 2 == 0 && len >= 2 ? 2 : 1;
        u32 value = off + width <= dev->config_len ? dev->ops->config_read(dev, off, width) : 0;
        memcpy(buf, &value, width);
        off += width;
        buf += width;
        len -= width;
    }
}

void virtio_config_read(struct virtio_device *dev, u32 off, void *buf, u32 len)
{
    /* A device that changes its configuration for ever gets the last answer taken. */
    for (int tries = 0; tries < 16; tries++) {
        u32 before = dev->ops->config_generation(dev);
        config_read_once(dev, off, buf, len);
        if (dev->ops->config_generation(dev) == before)
            return;
    }
}

/* Physical address of mapped kernel memory outside the direct map and the image: kernel stacks. */
static u64 walk_to_paddr(u64 addr)
{
    pte_t *table = page_table_root;
    for (int level = 3;; level--) {
        pte_t e = pte_load(&table[pte_index(addr, level)]);
        ASSERT(pte_present(e));
        u64 span = PAGE_SIZE << (9 * level);
        if (level == 0 || (level < 3 && pte_huge(e)))
            return ALIGN_DOWN(pte_paddr(e), span) + (addr & (span - 1));
        table = phys_to_virt(pte_paddr(e));
    }
}

static u64 kernel_paddr(u64 addr)
{
    if (addr >= DIRECT_MAP && addr < DIRECT_MAP_END)
        return addr - DIRECT_MAP;
    if (addr >= KERNEL_BASE)
        return addr - KERNEL_BASE;
    return walk_to_paddr(addr);
}

bool virtio_add_memory(struct vq_buf *bufs, u32 *count, u32 max, const void *mem, size_t len)
{
    u64 addr = (u64)mem;
    while (len) {
        bool direct = addr >= DIRECT_MAP && addr < DIRECT_MAP_END;
        u32 part = direct ? MIN(len, 1UL << 30) : MIN(len, PAGE_SIZE - addr % PAGE_SIZE);
        u64 paddr = kernel_paddr(addr);
        struct vq_buf *prev = *count ? &bufs[*count - 1] : NULL;
        if (prev && prev->paddr + prev->len == paddr && (u64)prev->len + part <= 1UL << 30) {
            prev->len += part;
        } else {
            if (*count == max)
                return false;
            bufs[(*count)++] = (struct vq_buf){paddr, part};
        }
        addr += part;
        len -= part;
    }
    return true;
}
