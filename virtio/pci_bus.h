/*
 * PCI bus 0: what is on it, and its configuration space by ports 0xcf8 and 0xcfc (PCI Local
 * Bus 3.0, 3.2.2.3.2). Other buses are not searched: QEMU puts -device on bus 0 unless told otherwise.
 */
#ifndef MOKA_VIRTIO_PCI_BUS_H
#define MOKA_VIRTIO_PCI_BUS_H

#include "kernel/base/types.h"

/* Type 0 header (PCI Local Bus 3.0, 6.1). */
#define PCI_ID        0x00
#define PCI_COMMAND   0x04
#define PCI_HEADER    0x0c
#define PCI_BAR0      0x10
#define PCI_SUBSYSTEM 0x2c
#define PCI_CAPS      0x34
#define PCI_BARS      6u

#define PCI_STATUS_CAPS (1u << 20) /* in the dword at PCI_COMMAND */

/* A memory BAR; base 0: there is none, or it has no place. */
struct pci_bar {
    u64 base, size;
    bool wide; /* takes the next BAR, too */
};

struct pci_function {
    u32 address; /* for pci_read: slot and function */
    u32 id;      /* vendor, device << 16 */
    struct pci_bar bars[PCI_BARS];
};

/*
 * Finds the virtio functions, places and sizes their BARs, enables memory decoding and bus mastering, turns
 * INTx off. Once, by the boot CPU, before other CPUs run: all of this changes the machine's memory map, and
 * QEMU 7.2's TCG may crash when the map changes while another CPU accesses a device (its APIC is enough).
 */
void pci_init(void);
/* The n-th function by slot; NULL after the last. */
const struct pci_function *pci_get(u32 n);

/* off: 0..255, for pci_read of any alignment (the value is shifted), for pci_write a multiple of 4. Threads;
 * not at the same time as another (during discovery only). */
u32 pci_read(u32 address, u32 off);
void pci_write(u32 address, u32 off, u32 value);

#endif
