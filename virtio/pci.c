/* virtio over PCI: not yet. */
#include "virtio/transport.h"

void virtio_pci_discover(void)
{
}
