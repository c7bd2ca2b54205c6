/* ACPI 6.4, chapter 5: as much as interrupts, CPUs and power-off need. Tables are read through the direct
 * map. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/platform.h"
#include "kernel/arch/x86_64/pte.h"
#include "kernel/base/string.h"

struct rsdp {
    char signature[8];
    u8 checksum;
    char oem[6];
    u8 revision;
    u32 rsdt;
    u32 length; /* from here on: revision 2 */
    u64 xsdt;
} __attribute__((packed));

struct address {
    u8 space, width, offset, access;
    u64 at;
} __attribute__((packed));

#define HEADER           36
#define FADT_DSDT        40
#define FADT_PM1A        64
#define FADT_PM1B        68
#define FADT_X_DSDT      140
#define FADT_SLEEP       244
#define MADT_ENTRIES     44
#define MADT_LAPIC       0
#define MADT_IOAPIC      1
#define MADT_X2APIC      9
#define MADT_CPU_ENABLED 1u
#define SPACE_MEMORY     0
#define SPACE_IO         1

static const u8 *at_paddr(u64 paddr)
{
    return paddr && paddr < DIRECT_MAP_BOOT_END ? direct_ptr(paddr) : NULL;
}

static u32 get32(const u8 *t, u32 offset)
{
    u32 v;
    memcpy(&v, t + offset, 4);
    return v;
}

static u64 get64(const u8 *t, u32 offset)
{
    u64 v;
    memcpy(&v, t + offset, 8);
    return v;
}

static u32 table_length(const u8 *t)
{
    return get32(t, 4);
}

static const u8 *find_table(const struct rsdp *r, const char *signature)
{
    u32 width = r->revision >= 2 && r->xsdt ? 8 : 4;
    const u8 *root = at_paddr(width == 8 ? r->xsdt : r->rsdt);
    if (!root)
        return NULL;
    for (u32 i = HEADER; i + width <= table_length(root); i += width) {
        const u8 *t = at_paddr(width == 8 ? get64(root, i) : get32(root, i));
        if (t && !memcmp(t, signature, 4))
            return t;
    }
    return NULL;
}

static void parse_madt(struct platform *p, const u8 *madt)
{
    u32 end = table_length(madt);
    for (u32 i = MADT_ENTRIES; i + 2 <= end && madt[i + 1] >= 2; i += madt[i + 1]) {
        const u8 *e = madt + i;
        if (e[0] == MADT_LAPIC && (get32(e, 4) & MADT_CPU_ENABLED))
            platform_add_cpu(p, e[3]);
        else if (e[0] == MADT_X2APIC && (get32(e, 8) & MADT_CPU_ENABLED))
            platform_add_cpu(p, get32(e, 4));
        else if (e[0] == MADT_IOAPIC)
            platform_add_ioapic(p, get32(e, 4), get32(e, 8));
    }
}

/* \_S5 is a package of integers: NameOp path, PackageOp 0x12, PkgLength, NumElements, then the sleep type, as
 * a byte constant (0x0a n), Zero or One (ACPI 6.4, 20.2). */
static u8 find_s5(const u8 *dsdt)
{
    if (!dsdt)
        return 0;
    u32 end = table_length(dsdt);
    for (u32 i = HEADER; i + 12 < end; i++) {
        if (memcmp(dsdt + i, "_S5_\x12", 5))
            continue;
        const u8 *e = dsdt + i + 5;
        e += 1 + (*e >> 6); /* PkgLength takes 1 to 4 bytes */
        e++;
        return *e == 0x0a ? e[1] : *e;
    }
    return 0;
}

static void parse_fadt(struct platform *p, const u8 *fadt)
{
    u32 length = table_length(fadt);
    const u8 *dsdt = length >= FADT_X_DSDT + 8 ? at_paddr(get64(fadt, FADT_X_DSDT)) : NULL;
    p->s5_type = find_s5(dsdt ? dsdt : at_paddr(get32(fadt, FADT_DSDT)));
    p->pm1a_control = get32(fadt, FADT_PM1A);
    p->pm1b_control = get32(fadt, FADT_PM1B);
    if (length < FADT_SLEEP + sizeof(struct address))
        return;
    struct address sleep;
    memcpy(&sleep, fadt + FADT_SLEEP, sizeof(sleep));
    if (sleep.space == SPACE_MEMORY)
        p->sleep_control = sleep.at;
    else if (sleep.space == SPACE_IO)
        p->sleep_control_port = sleep.at;
}

bool acpi_parse(struct platform *p)
{
    const struct rsdp *r = (const void *)at_paddr(boot_info.rsdp);
    if (!r || memcmp(r->signature, "RSD PTR ", 8))
        return false;
    const u8 *fadt = find_table(r, "FACP"), *madt = find_table(r, "APIC");
    if (fadt)
        parse_fadt(p, fadt);
    if (madt)
        parse_madt(p, madt);
    return madt;
}
