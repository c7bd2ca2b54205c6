/* PCI bus 0; see pci_bus.h. */
#include "virtio/pci_bus.h"

#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/printf.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_ENABLE  0x80000000u

#define COMMAND_MEMORY  (1u << 1)
#define COMMAND_MASTER  (1u << 2)
#define COMMAND_NO_INTX (1u << 10)
#define HEADER_MULTI    (1u << 23)
#define VIRTIO_VENDOR   0x1af4u
#define FUNCTIONS_MAX   64u

static struct pci_function functions[FUNCTIONS_MAX];
static u32 function_count;

u32 pci_read(u32 address, u32 off)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | address | (off & 0xfc));
    return inl(CONFIG_DATA) >> (off % 4 * 8);
}

void pci_write(u32 address, u32 off, u32 value)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | address | (off & 0xfc));
    outl(CONFIG_DATA, value);
}

static bool pci_present(void)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE);
    return inl(CONFIG_ADDRESS) == CONFIG_ENABLE;
}

/* ---- BARs ---- */

/* Size and place of a memory BAR; size 0 when it is not one. Memory decoding must be off. */
static struct pci_bar bar_probe(u32 address, u32 n)
{
    u32 reg = PCI_BAR0 + 4 * n, low = pci_read(address, reg);
    if (low & 1)
        return (struct pci_bar){0}; /* I/O ports */
    struct pci_bar bar = {.base = low & ~15u, .wide = (low & 6) == 4 && n + 1 < PCI_BARS};
    pci_write(address, reg, ~0u);
    u64 mask = pci_read(address, reg) & ~15u;
    pci_write(address, reg, low);
    if (bar.wide) {
        u32 high = pci_read(address, reg + 4);
        pci_write(address, reg + 4, ~0u);
        mask |= (u64)pci_read(address, reg + 4) << 32;
        pci_write(address, reg + 4, high);
        bar.base |= (u64)high << 32;
    } else if (mask) {
        mask |= ~0UL << 32;
    }
    bar.size = mask ? -mask : 0;
    return bar;
}

/* For BARs that no firmware has placed: below the I/O APIC, where QEMU's machines have PCI's hole. */
static u64 next_free_base = 0xfd000000;
#define FREE_END 0xfe000000UL

static bool bar_place(u32 address, u32 n, struct pci_bar *bar)
{
    u64 base = ALIGN_UP(next_free_base, MAX(bar->size, PAGE_SIZE));
    if (base + bar->size > FREE_END)
        return false;
    next_free_base = base + bar->size;
    bar->base = base;
    pci_write(address, PCI_BAR0 + 4 * n, base);
    if (bar->wide)
        pci_write(address, PCI_BAR0 + 4 * n + 4, 0);
    return true;
}

static void probe_bars(struct pci_function *fn)
{
    for (u32 n = 0; n < PCI_BARS; n++) {
        struct pci_bar *bar = &fn->bars[n];
        *bar = bar_probe(fn->address, n);
        if (bar->size && !bar->base && !bar_place(fn->address, n, bar))
            log_error("moka: pci 00:%02x: no room for BAR %u\n", fn->address >> 11, n);
        n += bar->wide;
    }
}

/* Other vendors' functions are left as they are. */
static void add_function(u32 address)
{
    u32 id = pci_read(address, PCI_ID);
    if ((id & 0xffff) != VIRTIO_VENDOR || function_count == FUNCTIONS_MAX)
        return;
    struct pci_function *fn = &functions[function_count++];
    *fn = (struct pci_function){.address = address, .id = id};
    u32 command = pci_read(address, PCI_COMMAND) & 0xffff; /* status bits are cleared by ones: write none */
    pci_write(address, PCI_COMMAND, command & ~(COMMAND_MEMORY | COMMAND_MASTER));
    probe_bars(fn);
    pci_write(address, PCI_COMMAND, command | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTX);
}

void pci_init(void)
{
    if (!pci_present())
        return;
    for (u32 slot = 0; slot < 32; slot++) {
        u32 address = slot << 11;
        if ((pci_read(address, PCI_ID) & 0xffff) == 0xffff)
            continue;
        u32 count = pci_read(address, PCI_HEADER) & HEADER_MULTI ? 8 : 1;
        for (u32 function = 0; function < count; function++)
            add_function(address | function << 8);
    }
}

const struct pci_function *pci_get(u32 n)
{
    return n < function_count ? &functions[n] : NULL;
}
