/*
 * virtio over MMIO (VIRTIO 1.1, 4.2), version 2 only. Devices come from the command line words
 * virtio_mmio.device=SIZE@BASE:IRQ, where IRQ is an I/O APIC input.
 *
 * QEMU's microvm gives the first -device of its command line the transport with the highest address, so the
 * devices are probed by falling address: "the first virtio-blk" is the first one its user named.
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/cmdline.h"
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "mm/phys/phys.h"
#include "virtio/transport.h"

/* Register offsets (4.2.2, table 4.1). */
#define MMIO_MAGIC             0x000
#define MMIO_VERSION           0x004
#define MMIO_DEVICE_ID         0x008
#define MMIO_DEVICE_FEATURES   0x010
#define MMIO_DEVICE_FEAT_SEL   0x014
#define MMIO_DRIVER_FEATURES   0x020
#define MMIO_DRIVER_FEAT_SEL   0x024
#define MMIO_QUEUE_SEL         0x030
#define MMIO_QUEUE_NUM_MAX     0x034
#define MMIO_QUEUE_NUM         0x038
#define MMIO_QUEUE_READY       0x044
#define MMIO_QUEUE_NOTIFY      0x050
#define MMIO_INTERRUPT_STATUS  0x060
#define MMIO_INTERRUPT_ACK     0x064
#define MMIO_STATUS            0x070
#define MMIO_QUEUE_DESC        0x080
#define MMIO_QUEUE_DRIVER      0x090
#define MMIO_QUEUE_DEVICE      0x0a0
#define MMIO_CONFIG_GENERATION 0x0fc
#define MMIO_CONFIG            0x100

#define MMIO_MAGIC_VALUE  0x74726976u /* "virt" */
#define MMIO_IRQ_QUEUE    1u
#define MMIO_IRQ_CONFIG   2u
#define MMIO_REGION_LIMIT 0x10000u

struct mmio_device {
    struct virtio_device dev;
    volatile u8 *regs;
    u64 base;
    u32 gsi, size;
    char name[32];
};

static u32 reg_read(struct mmio_device *m, u32 off)
{
    return *(volatile u32 *)(m->regs + off);
}

static void reg_write(struct mmio_device *m, u32 off, u32 value)
{
    *(volatile u32 *)(m->regs + off) = value;
}

static struct mmio_device *mmio_of(struct virtio_device *dev)
{
    return dev->transport;
}

static u8 mmio_get_status(struct virtio_device *dev)
{
    return reg_read(mmio_of(dev), MMIO_STATUS);
}

static void mmio_set_status(struct virtio_device *dev, u8 status)
{
    /* A reset is complete when the write returns (4.2.2.1). */
    reg_write(mmio_of(dev), MMIO_STATUS, status);
}

static u64 mmio_get_features(struct virtio_device *dev)
{
    u64 features = 0;
    for (u32 half = 0; half < 2; half++) {
        reg_write(mmio_of(dev), MMIO_DEVICE_FEAT_SEL, half);
        features |= (u64)reg_read(mmio_of(dev), MMIO_DEVICE_FEATURES) << (32 * half);
    }
    return features;
}

static void mmio_set_features(struct virtio_device *dev, u64 features)
{
    for (u32 half = 0; half < 2; half++) {
        reg_write(mmio_of(dev), MMIO_DRIVER_FEAT_SEL, half);
        reg_write(mmio_of(dev), MMIO_DRIVER_FEATURES, features >> (32 * half));
    }
}

static u32 mmio_config_read(struct virtio_device *dev, u32 off, u32 width)
{
    volatile u8 *at = mmio_of(dev)->regs + MMIO_CONFIG + off;
    return width == 4 ? *(volatile u32 *)at : width == 2 ? *(volatile u16 *)at : *at;
}

static void mmio_config_write(struct virtio_device *dev, u32 off, u32 width, u32 value)
{
    volatile u8 *at = mmio_of(dev)->regs + MMIO_CONFIG + off;
    if (width == 4)
        *(volatile u32 *)at = value;
    else if (width == 2)
        *(volatile u16 *)at = value;
    else
        *at = value;
}

static u32 mmio_config_generation(struct virtio_device *dev)
{
    return reg_read(mmio_of(dev), MMIO_CONFIG_GENERATION);
}

/* Selects a queue that is not in use yet (4.2.3.2, steps 1-3); its largest size. */
static u32 mmio_queue_max(struct virtio_device *dev, u16 index)
{
    struct mmio_device *m = mmio_of(dev);
    reg_write(m, MMIO_QUEUE_SEL, index);
    return reg_read(m, MMIO_QUEUE_READY) ? 0 : reg_read(m, MMIO_QUEUE_NUM_MAX);
}

static void mmio_notify(struct vq *vq)
{
    *(volatile u32 *)vq->notify_arg = vq->index;
}

static void write_address(struct mmio_device *m, u32 reg, const void *p)
{
    u64 paddr = virt_to_phys(p);
    reg_write(m, reg, paddr);
    reg_write(m, reg + 4, paddr >> 32);
}

static int mmio_queue_enable(struct virtio_device *dev, struct vq *vq)
{
    struct mmio_device *m = mmio_of(dev);
    vq->notify = mmio_notify;
    vq->notify_arg = (void *)(m->regs + MMIO_QUEUE_NOTIFY);
    reg_write(m, MMIO_QUEUE_SEL, vq->index);     /* 4.2.3.2 step 1; step 4 was virtio_queue_create's */
    reg_write(m, MMIO_QUEUE_NUM, vq->size);      /* step 5 */
    write_address(m, MMIO_QUEUE_DESC, vq->desc); /* step 6 */
    write_address(m, MMIO_QUEUE_DRIVER, vq->avail);
    write_address(m, MMIO_QUEUE_DEVICE, vq->used);
    reg_write(m, MMIO_QUEUE_READY, 1); /* step 7 */
    return reg_read(m, MMIO_QUEUE_READY) ? 0 : -EIO;
}

static const struct virtio_ops mmio_ops = {
    .get_status = mmio_get_status,
    .set_status = mmio_set_status,
    .get_features = mmio_get_features,
    .set_features = mmio_set_features,
    .config_read = mmio_config_read,
    .config_write = mmio_config_write,
    .config_generation = mmio_config_generation,
    .queue_max = mmio_queue_max,
    .queue_enable = mmio_queue_enable,
};

/*
 * Level-triggered: the line is up while InterruptStatus is not 0. Acknowledging comes before looking at the
 * rings, so what the device finishes after the look raises the line again. Each register costs an exit to the
 * host: what rings tell is not asked for. A change of the configuration that came with it keeps the line up,
 * and with no news in the rings the status is read.
 */
static void mmio_interrupt(void *arg)
{
    struct mmio_device *m = arg;
    reg_write(m, MMIO_INTERRUPT_ACK, MMIO_IRQ_QUEUE);
    if (virtio_queues_interrupt(&m->dev))
        return;
    u32 status = reg_read(m, MMIO_INTERRUPT_STATUS);
    if (!status)
        return;
    reg_write(m, MMIO_INTERRUPT_ACK, status);
    if (status & MMIO_IRQ_QUEUE)
        virtio_queues_interrupt(&m->dev);
    if ((status & MMIO_IRQ_CONFIG) && m->dev.config_changed)
        m->dev.config_changed(&m->dev);
}

/* A number as C writes it, with an optional K or M; *end: what follows. */
static u64 parse_number(const char *s, const char **end)
{
    u64 value = 0;
    u32 base = s[0] == '0' && (s[1] == 'x' || s[1] == 'X') ? 16 : 10;
    if (base == 16)
        s += 2;
    for (;; s++) {
        u32 c = (u8)*s | 32u;
        u32 digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base)
            break;
        value = value * base + digit;
    }
    if (*s == 'K' || *s == 'M')
        value <<= *s++ == 'K' ? 10 : 20;
    *end = s;
    return value;
}

static bool parse_word(const char *word, struct mmio_device *m)
{
    const char *s = word;
    u64 size = parse_number(s, &s);
    if (*s++ != '@')
        return false;
    m->base = parse_number(s, &s);
    if (*s++ != ':')
        return false;
    m->gsi = parse_number(s, &s);
    m->size = size;
    return (*s == 0 || *s == ':') && size > MMIO_CONFIG && size <= MMIO_REGION_LIMIT && m->base % 4 == 0;
}

/* Maps the registers; true when a device of version 2 is there. */
static bool mmio_identify(struct mmio_device *m)
{
    snprintf(m->name, sizeof(m->name), "virtio-mmio %lx", m->base);
    m->regs = mmio_map(m->base, m->size);
    if (!m->regs || reg_read(m, MMIO_MAGIC) != MMIO_MAGIC_VALUE) {
        log_error("moka: %s: no virtio device there\n", m->name);
        return false;
    }
    m->dev.id = reg_read(m, MMIO_DEVICE_ID);
    if (m->dev.id && reg_read(m, MMIO_VERSION) != 2) {
        log_error("moka: %s: a legacy device; QEMU needs -global virtio-mmio.force-legacy=false\n", m->name);
        return false;
    }
    return m->dev.id != 0; /* 0: an empty transport (4.2.3.1.1) */
}

static void mmio_start(struct mmio_device *m)
{
    m->dev.ops = &mmio_ops;
    m->dev.name = m->name;
    m->dev.config_len = m->size - MMIO_CONFIG;
    m->dev.transport = m;
    int vector = irq_alloc(mmio_interrupt, m);
    if (vector < 0 || ioapic_route(m->gsi, vector, 0, true)) {
        log_error("moka: %s: interrupt %u cannot be had\n", m->name, m->gsi);
        return;
    }
    virtio_probe(&m->dev);
}

static int by_falling_base(const void *a, const void *b)
{
    const struct mmio_device *const *x = a, *const *y = b;
    return (*x)->base < (*y)->base ? 1 : (*x)->base > (*y)->base ? -1 : 0;
}

void virtio_mmio_discover(void)
{
    struct mmio_device *found[ARRAY_LEN(cmdline.mmio_devices)];
    u32 count = 0;
    for (u32 i = 0; i < cmdline.mmio_device_count; i++) {
        struct mmio_device *m = kmalloc(sizeof(*m));
        if (m && parse_word(cmdline.mmio_devices[i], m)) {
            found[count++] = m;
            continue;
        }
        log_error("moka: virtio_mmio.device=%s: not SIZE@BASE:IRQ\n", cmdline.mmio_devices[i]);
        kfree(m);
    }
    qsort(found, count, sizeof(found[0]), by_falling_base);
    for (u32 i = 0; i < count; i++)
        if (mmio_identify(found[i]))
            mmio_start(found[i]);
        else
            kfree(found[i]);
}
