/*
 * A virtio device as its driver sees it, and what a transport (mmio.c: VIRTIO 1.1, 4.2; pci.c: 4.1) must do.
 *
 * Life of a device, after the numbered steps of 3.1.1:
 *
 *   virtio_probe: reset (1), ACKNOWLEDGE (2), DRIVER (3)
 *     driver->probe: virtio_negotiate (4-6), virtio_queue_create for each queue (7), virtio_ready (8)
 *   virtio_fail: when anything goes wrong: FAILED, then reset, so that the device touches no memory any more
 *
 * All of it runs in the boot thread, or in the driver's own; only virtio_fail, queues' on_used and
 * config_changed may run in an interrupt handler.
 */
#ifndef MOKA_VIRTIO_TRANSPORT_H
#define MOKA_VIRTIO_TRANSPORT_H

#include "kernel/base/types.h"
#include "virtio/queue.h"

/* Device status bits (2.1). */
#define VIRTIO_ACKNOWLEDGE 1u
#define VIRTIO_DRIVER      2u
#define VIRTIO_DRIVER_OK   4u
#define VIRTIO_FEATURES_OK 8u
#define VIRTIO_NEEDS_RESET 64u
#define VIRTIO_FAILED      128u

/* Feature bits that belong to no device type (6). */
#define VIRTIO_F_INDIRECT_DESC (1UL << 28)
#define VIRTIO_F_EVENT_IDX     (1UL << 29)
#define VIRTIO_F_VERSION_1     (1UL << 32)

/* Device types (5). */
#define VIRTIO_ID_NET     1u
#define VIRTIO_ID_BLOCK   2u
#define VIRTIO_ID_CONSOLE 3u
#define VIRTIO_ID_RNG     4u
#define VIRTIO_ID_9P      9u

#define VIRTIO_QUEUES_MAX 66u

struct virtio_device;

/* A transport. Every function is there; threads only unless said otherwise. */
struct virtio_ops {
    u8 (*get_status)(struct virtio_device *dev);              /* any context */
    void (*set_status)(struct virtio_device *dev, u8 status); /* any context; 0 resets and waits for it */
    u64 (*get_features)(struct virtio_device *dev);
    void (*set_features)(struct virtio_device *dev, u64 features);
    /* One aligned access of 1, 2 or 4 bytes in the device's configuration; the caller checks off against
     * config_len. */
    u32 (*config_read)(struct virtio_device *dev, u32 off, u32 width);
    void (*config_write)(struct virtio_device *dev, u32 off, u32 width, u32 value);
    u32 (*config_generation)(struct virtio_device *dev);
    /* Largest size of a queue; 0: there is no such queue. */
    u32 (*queue_max)(struct virtio_device *dev, u16 index);
    /* Tells the device where vq lies, sets vq->notify and where its interrupts go, and enables it. 0 or
     * -errno.
     */
    int (*queue_enable)(struct virtio_device *dev, struct vq *vq);
};

struct virtio_device {
    const struct virtio_ops *ops;
    const char *name; /* for messages: "virtio-mmio feb00e00" */
    u32 id;           /* device type */
    u32 config_len;   /* bytes of configuration that may be read */
    u64 features;     /* negotiated */
    void *transport;
    void *driver;
    bool given_up;                                     /* atomic: virtio_fail has been called */
    bool failed;                                       /* atomic: virtio_failed */
    void (*config_changed)(struct virtio_device *dev); /* interrupt context; NULL: not interested */
    /* Set by the driver before it creates queues. Where the machine can (PCI), each queue with on_used gets a
     * vector of its own, on CPU irq_cpu at the time of creation. */
    bool own_vectors;
    u32 irq_cpu;
    u32 queue_count;                      /* queues[0..queue_count), NULL where not created */
    struct vq *queues[VIRTIO_QUEUES_MAX]; /* by queue number */
};

/* A driver for one device type. */
struct virtio_driver {
    u32 id;
    const char *name;
    /* dev has status DRIVER. 0, or -errno after a log line: the device is then failed. */
    int (*probe)(struct virtio_device *dev);
};
extern const struct virtio_driver blk_driver, console_driver, rng_driver, p9_driver, net_driver;

/* Steps 1-3 and the driver's part. For transports; dev lives for ever. */
void virtio_probe(struct virtio_device *dev);

/*
 * Steps 4-6: accepts those of `wanted` that the device offers; VERSION_1 is required, EVENT_IDX always
 * wanted. 0, or -ENODEV after a log line.
 */
int virtio_negotiate(struct virtio_device *dev, u64 wanted);
static inline bool virtio_has(const struct virtio_device *dev, u64 feature)
{
    return dev->features & feature;
}

/* Step 7, for one queue of at most size_max entries. on_used: interrupt context, NULL for none. NULL after a
 * log line: no such queue, or no memory. */
struct vq *virtio_queue_create(struct virtio_device *dev, u16 index, u32 size_max,
                               void (*on_used)(struct vq *), void *owner);
/* Step 8. */
void virtio_ready(struct virtio_device *dev);
/* Gives the device up: resets it, after a log line that says why (the first time). Any context. */
void virtio_fail(struct virtio_device *dev, const char *why);

/* True: the device was reset; it reads and writes no memory any more. */
static inline bool virtio_failed(const struct virtio_device *dev)
{
    return __atomic_load_n(&dev->failed, __ATOMIC_SEQ_CST);
}

/* Reads len bytes of configuration consistently (2.4.1: generation); bytes beyond config_len are zero. */
void virtio_config_read(struct virtio_device *dev, u32 off, void *buf, u32 len);

/* For transports: runs on_used of every queue that has finished chains. True when one has more than at the
 * last time. Interrupt context, one at a time. */
bool virtio_queues_interrupt(struct virtio_device *dev);

/*
 * Appends kernel memory to bufs[*count .. max) as physically contiguous stretches, joining neighbours. Any
 * mapped kernel address: direct map, image, kernel stack. False when max is too small.
 */
bool virtio_add_memory(struct vq_buf *bufs, u32 *count, u32 max, const void *mem, size_t len);

/* Transports' discovery; each probes what it finds, in order. */
void virtio_mmio_discover(void);
void virtio_pci_discover(void);

#endif
