/*
 * What drivers offer to upper layers, and what a driver sees of its transport.
 * Source: Virtual I/O Device (VIRTIO) 1.1, sections named at each driver. Modern devices only
 * (VIRTIO_F_VERSION_1), over PCI with MSI-X (4.1) and over MMIO (4.2).
 */
#ifndef MOKA_VIRTIO_H
#define MOKA_VIRTIO_H

#include "kernel/base/types.h"
#include "mm/phys/phys.h"

/* Finds all devices (command line virtio_mmio.device= words, PCI bus 0) and runs their drivers. Threads and
 * interrupts work. */
void virtio_init(void);

/* ---- block ---- */
struct blk_device {
    u64 size_bytes;
    u32 max_segments;
};
/* The n-th block device in discovery order (microvm: by MMIO address, PCI: by slot); NULL when there is none.
 */
struct blk_device *blk_get(u32 n);
/* Reads count pages from byte offset (multiple of 512) into pages[]; several callers at once; may sleep. 0,
 * -EIO. Past the end: zeros. */
int blk_read_pages(struct blk_device *dev, u64 offset, struct page **pages, u32 count);

/* ---- console ports (docs/BOOT.md) ---- */
#define PORT_STDIN   1
#define PORT_STDOUT  2
#define PORT_STDERR  3
#define PORT_CONTROL 4
bool console_present(void);
/* Sends all n bytes from kernel memory, in order; sleeps while the host does not take them. n, or -EIO;
 * -EPIPE host end closed. -ERESTART when a signal came first. */
ssize_t console_write(u32 port, const void *data, size_t n);
/* At least one byte when any is there, else sleeps (or -EAGAIN when nonblock). 0: the host end is closed and
 * drained. -ERESTART. */
ssize_t console_read(u32 port, void *buf, size_t n, bool nonblock);
/* Bytes that can be read without sleeping; ~0 counts as end of file. */
size_t console_readable(u32 port);
struct waitq *
console_waitq(u32 port); /* woken when input arrives, the host end closes, or room for output appears */
/*
 * Sleeps until the host has taken what was written to stdout and stderr before the call (or has closed them):
 * before shutdown(), which itself waits at most five seconds.
 */
void console_drain(void);
/* A line of the control port arrived (without the newline); called in a driver thread. Registered once. */
void console_on_control(void (*line)(const char *text));

/* ---- entropy ---- */
/* Fills buf from the device; may sleep; false when there is no device. */
bool rng_read(void *buf, size_t n);

/* ---- 9P transport (5.? is not in the specification: QEMU docs/specs, Linux net/9p trans_virtio header
 * layout) ---- */
struct p9_channel;
struct p9_channel *p9_channel_open(const char *tag); /* NULL: no device with that mount tag */
/*
 * Sends the request out[0..out_len) followed by the pages/buffers in `out_data`, receives the reply in
 * in[..], with payload going straight to in_data. Kernel memory. Several callers at once (the 9P tag tells
 * them apart). May sleep. Returns the length of the reply, or -EIO.
 */
ssize_t p9_transact(struct p9_channel *ch, const void *out, size_t out_len, void *in, size_t in_room);
u32 p9_max_message(struct p9_channel *ch);

#endif
