/*
 * virtio over PCI (VIRTIO 1.1, 4.1), modern interface, interrupts by MSI-X. Bus 0 alone is searched: QEMU
 * puts -device there unless told otherwise. Configuration space by ports 0xcf8 and 0xcfc (PCI Local
 * Bus 3.0, 3.2.2.3.2).
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "mm/phys/phys.h"
#include "virtio/pci_bus.h"
#include "virtio/transport.h"

#define CAP_VENDOR   0x09
#define CAP_MSIX     0x11
#define CAPS_MAX     48u /* a list that fits in 192 bytes of configuration space */
#define MSIX_ENABLE  (1u << 31)
#define MSIX_MASKALL (1u << 30)

#define VIRTIO_VENDOR     0x1af4u
#define VIRTIO_MODERN_ID  0x1040u /* + device type (4.1.2) */
#define VIRTIO_LEGACY_ID  0x1000u
#define VIRTIO_LAST_ID    0x107fu
#define VIRTIO_CFG_COMMON 1u /* 4.1.4 */
#define VIRTIO_CFG_NOTIFY 2u
#define VIRTIO_CFG_DEVICE 4u
#define NO_VECTOR         0xffffu

/* The common configuration (4.1.4.3). */
struct common_cfg {
    u32 device_feature_select, device_feature, driver_feature_select, driver_feature;
    u16 msix_config, num_queues;
    u8 device_status, config_generation;
    u16 queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
    u32 queue_desc[2], queue_driver[2], queue_device[2];
};

/* A mapped part of a BAR. */
struct region {
    volatile u8 *at; /* NULL: the device has none */
    u32 len;
};

struct pci_device {
    struct virtio_device dev;
    const struct pci_function *fn;
    char name[32];
    struct region common, notify, config, msix;
    u32 notify_multiplier;
    u32 msix_cap, msix_vectors;
    u32 vectors_used;
};

static bool map_region(struct pci_device *p, u32 bar, u32 off, u32 len, struct region *out)
{
    const struct pci_bar *bars = p->fn->bars;
    if (bar >= PCI_BARS || !bars[bar].base || !len || (u64)off + len > bars[bar].size || off % 4)
        return false;
    out->at = mmio_map(bars[bar].base + off, len);
    out->len = len;
    return out->at != NULL;
}

/* ---- capabilities ---- */

/* A vendor capability is a virtio structure (4.1.4); the first of a kind that can be mapped counts. */
static void vendor_cap(struct pci_device *p, u32 cap)
{
    u32 type = pci_read(p->fn->address, cap + 3) & 0xff, bar = pci_read(p->fn->address, cap + 4) & 0xff;
    u32 off = pci_read(p->fn->address, cap + 8), len = pci_read(p->fn->address, cap + 12);
    struct region *r = type == VIRTIO_CFG_COMMON   ? &p->common
                       : type == VIRTIO_CFG_NOTIFY ? &p->notify
                       : type == VIRTIO_CFG_DEVICE ? &p->config
                                                   : NULL;
    if (r && !r->at && map_region(p, bar, off, len, r) && r == &p->notify)
        p->notify_multiplier = pci_read(p->fn->address, cap + 16);
}

/* PCI Local Bus 3.0, 6.8.2. */
static void msix_cap(struct pci_device *p, u32 cap)
{
    u32 vectors = ((pci_read(p->fn->address, cap) >> 16) & 0x7ff) + 1;
    u32 table = pci_read(p->fn->address, cap + 4);
    if (!p->msix.at && map_region(p, table & 7, table & ~7u, vectors * 16, &p->msix)) {
        p->msix_cap = cap;
        p->msix_vectors = vectors;
    }
}

static void walk_caps(struct pci_device *p)
{
    if (!(pci_read(p->fn->address, PCI_COMMAND) & PCI_STATUS_CAPS))
        return;
    u32 cap = pci_read(p->fn->address, PCI_CAPS) & 0xfc;
    for (u32 i = 0; cap >= 0x40 && i < CAPS_MAX; i++) {
        u32 head = pci_read(p->fn->address, cap);
        if ((head & 0xff) == CAP_VENDOR)
            vendor_cap(p, cap);
        else if ((head & 0xff) == CAP_MSIX)
            msix_cap(p, cap);
        cap = (head >> 8) & 0xfc;
    }
}

/* ---- the transport ---- */

static struct pci_device *pci_of(struct virtio_device *dev)
{
    return dev->transport;
}

static volatile struct common_cfg *common_of(struct virtio_device *dev)
{
    return (volatile struct common_cfg *)pci_of(dev)->common.at;
}

static u8 pci_get_status(struct virtio_device *dev)
{
    return common_of(dev)->device_status;
}

static void pci_set_status(struct virtio_device *dev, u8 status)
{
    common_of(dev)->device_status = status;
    /* 4.1.4.3.2: a reset is complete when 0 is read back. A device that never does is left at that. */
    for (u32 i = 0; !status && common_of(dev)->device_status && i < 1000000; i++)
        ;
}

static u64 pci_get_features(struct virtio_device *dev)
{
    u64 features = 0;
    for (u32 half = 0; half < 2; half++) {
        common_of(dev)->device_feature_select = half;
        features |= (u64)common_of(dev)->device_feature << (32 * half);
    }
    return features;
}

static void pci_set_features(struct virtio_device *dev, u64 features)
{
    common_of(dev)->msix_config =
        0; /* a reset has cleared it; without a vector nothing is reported, no harm */
    for (u32 half = 0; half < 2; half++) {
        common_of(dev)->driver_feature_select = half;
        common_of(dev)->driver_feature = features >> (32 * half);
    }
}

static u32 pci_config_read(struct virtio_device *dev, u32 off, u32 width)
{
    volatile u8 *at = pci_of(dev)->config.at + off;
    return width == 4 ? *(volatile u32 *)at : width == 2 ? *(volatile u16 *)at : *at;
}

static void pci_config_write(struct virtio_device *dev, u32 off, u32 width, u32 value)
{
    volatile u8 *at = pci_of(dev)->config.at + off;
    if (width == 4)
        *(volatile u32 *)at = value;
    else if (width == 2)
        *(volatile u16 *)at = value;
    else
        *at = value;
}

static u32 pci_config_generation(struct virtio_device *dev)
{
    return common_of(dev)->config_generation;
}

static u32 pci_queue_max(struct virtio_device *dev, u16 index)
{
    if (index >= common_of(dev)->num_queues)
        return 0;
    common_of(dev)->queue_select = index;
    return common_of(dev)->queue_enable ? 0 : common_of(dev)->queue_size;
}

static void pci_notify(struct vq *vq)
{
    *(volatile u16 *)vq->notify_arg = vq->index; /* 4.1.5.2 */
}

static void write_address(volatile u32 *field, const void *p)
{
    u64 paddr = virt_to_phys(p);
    field[0] = paddr;
    field[1] = paddr >> 32;
}

/*
 * ---- interrupts ----
 *
 * MSI-X entry 0 is all queues', but for devices that want own_vectors: there each queue takes the next entry
 * as long as there are any. Changes of configuration are reported through entry 0, too.
 */

static void pci_interrupt(void *arg)
{
    struct virtio_device *dev = arg;
    virtio_queues_interrupt(dev);
    if (dev->config_changed)
        dev->config_changed(dev);
}

static void pci_queue_interrupt(void *arg)
{
    struct vq *vq = arg;
    if (vq_pending(vq))
        vq->on_used(vq);
}

/* Sets the next table entry; its number, or -ENOSPC. */
static int msix_add(struct pci_device *p, u32 cpu, irq_handler handler, void *arg)
{
    if (p->vectors_used == p->msix_vectors)
        return -ENOSPC;
    int vector = irq_alloc(handler, arg);
    if (vector < 0)
        return vector;
    u64 addr;
    u32 data;
    msi_message(vector, cpu, &addr, &data);
    volatile u32 *entry = (volatile u32 *)p->msix.at + 4 * p->vectors_used;
    entry[0] = addr;
    entry[1] = addr >> 32;
    entry[2] = data;
    entry[3] = 0; /* not masked */
    return p->vectors_used++;
}

static bool msix_start(struct pci_device *p)
{
    if (msix_add(p, 0, pci_interrupt, &p->dev) != 0)
        return false;
    u32 control = pci_read(p->fn->address, p->msix_cap);
    pci_write(p->fn->address, p->msix_cap, (control | MSIX_ENABLE) & ~MSIX_MASKALL);
    return true;
}

static u16 queue_vector(struct pci_device *p, struct vq *vq)
{
    if (!vq->on_used)
        return NO_VECTOR;
    int entry = p->dev.own_vectors ? msix_add(p, p->dev.irq_cpu, pci_queue_interrupt, vq) : 0;
    return entry < 0 ? 0 : entry;
}

static int pci_queue_enable(struct virtio_device *dev, struct vq *vq)
{
    struct pci_device *p = pci_of(dev);
    volatile struct common_cfg *c = common_of(dev);
    c->queue_select = vq->index;
    u64 notify_off = (u64)c->queue_notify_off * p->notify_multiplier;
    if (notify_off + sizeof(u16) > p->notify.len)
        return -EIO;
    vq->notify = pci_notify;
    vq->notify_arg = (void *)(p->notify.at + notify_off);
    c->queue_size = vq->size;
    u16 vector = queue_vector(p, vq);
    c->queue_msix_vector = vector;
    if (c->queue_msix_vector != vector)
        return -ENOSPC; /* 4.1.5.1.2.1 */
    write_address(c->queue_desc, vq->desc);
    write_address(c->queue_driver, vq->avail);
    write_address(c->queue_device, vq->used);
    c->queue_enable = 1;
    return 0;
}

static const struct virtio_ops pci_ops = {
    .get_status = pci_get_status,
    .set_status = pci_set_status,
    .get_features = pci_get_features,
    .set_features = pci_set_features,
    .config_read = pci_config_read,
    .config_write = pci_config_write,
    .config_generation = pci_config_generation,
    .queue_max = pci_queue_max,
    .queue_enable = pci_queue_enable,
};

/* ---- discovery ---- */

static void pci_start(struct pci_device *p)
{
    walk_caps(p);
    if (!p->common.at || p->common.len < sizeof(struct common_cfg) || !p->notify.at) {
        log_error("moka: %s: a legacy device; only VIRTIO 1.0 and later work\n", p->name);
        return;
    }
    if (!p->msix.at || !msix_start(p)) {
        log_error("moka: %s: no MSI-X interrupt can be had\n", p->name);
        return;
    }
    p->dev.config_len = p->config.at ? p->config.len : 0;
    virtio_probe(&p->dev);
}

/* Device type by 4.1.2; 0: not a virtio device. */
static u32 pci_virtio_type(const struct pci_function *fn)
{
    u32 id = fn->id >> 16;
    if ((fn->id & 0xffff) != VIRTIO_VENDOR)
        return 0;
    if (id >= VIRTIO_MODERN_ID && id <= VIRTIO_LAST_ID)
        return id - VIRTIO_MODERN_ID;
    /* Transitional: the subsystem tells (4.1.2.3). */
    return id >= VIRTIO_LEGACY_ID && id < VIRTIO_MODERN_ID ? pci_read(fn->address, PCI_SUBSYSTEM) >> 16 : 0;
}

void virtio_pci_discover(void)
{
    const struct pci_function *fn;
    for (u32 n = 0; (fn = pci_get(n)); n++) {
        u32 type = pci_virtio_type(fn);
        struct pci_device *p = type ? kmalloc(sizeof(*p)) : NULL; /* lives for ever */
        if (!p)
            continue;
        p->fn = fn;
        snprintf(p->name, sizeof(p->name), "virtio-pci 00:%02x.%u", fn->address >> 11, fn->address >> 8 & 7);
        p->dev.ops = &pci_ops;
        p->dev.name = p->name;
        p->dev.id = type;
        p->dev.transport = p;
        pci_start(p);
    }
}
