/* Discovery, in the order that numbers the devices: MMIO, then PCI. */
#include "virtio/transport.h"
#include "virtio/virtio.h"

void virtio_init(void)
{
    virtio_mmio_discover();
    virtio_pci_discover();
}
