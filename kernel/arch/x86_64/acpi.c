/* ACPI 6.4, chapter 5: as much as interrupts, CPUs and power-off need. Tables are read through the direct
 * map; one that does not lie whole in what of that is there at boot does not count. */
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

/* n bytes, or NULL. */
static const u8 *at_paddr(u64 paddr, u64 n)
{
    bool there = paddr && paddr < DIRECT_MAP_BOOT_END && n <= DIRECT_MAP_BOOT_END - paddr;
    return there ? direct_ptr(paddr) : NULL;
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

/* A whole table, of at least so many bytes, or NULL. */
static const u8 *table_at(u64 paddr, u32 least)
{
    const u8 *t = at_paddr(paddr, HEADER);
    return t && table_length(t) >= least && at_paddr(paddr, table_length(t)) ? t : NULL;
}

static const u8 *find_table(const struct rsdp *r, const char *signature, u32 least)
{
    u32 width = r->revision >= 2 && r->xsdt ? 8 : 4;
    const u8 *root = table_at(width == 8 ? r->xsdt : r->rsdt, HEADER);
    if (!root)
        return NULL;
    for (u32 i = HEADER; i + width <= table_length(root); i += width) {
        const u8 *t = table_at(width == 8 ? get64(root, i) : get32(root, i), least);
        if (t && !memcmp(t, signature, 4))
            return t;
    }
    return NULL;
}

/* An entry: type, length, what the type says. */
static void parse_entry(struct platform *p, const u8 *e)
{
    u8 type = e[0], length = e[1];
    if (type == MADT_LAPIC && length >= 8 && (get32(e, 4) & MADT_CPU_ENABLED))
        platform_add_cpu(p, e[3]);
    else if (type == MADT_X2APIC && length >= 16 && (get32(e, 8) & MADT_CPU_ENABLED))
        platform_add_cpu(p, get32(e, 4));
    else if (type == MADT_IOAPIC && length >= 12)
        platform_add_ioapic(p, get32(e, 4), get32(e, 8));
}

static void parse_madt(struct platform *p, const u8 *madt)
{
    u32 end = table_length(madt);
    for (u32 i = MADT_ENTRIES; i + 2 <= end && madt[i + 1] >= 2 && madt[i + 1] <= end - i; i += madt[i + 1])
        parse_entry(p, madt + i);
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
    const u8 *dsdt = length >= FADT_X_DSDT + 8 ? table_at(get64(fadt, FADT_X_DSDT), HEADER) : NULL;
    p->s5_type = find_s5(dsdt ? dsdt : table_at(get32(fadt, FADT_DSDT), HEADER));
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
    const struct rsdp *r = (const void *)at_paddr(boot_info.rsdp, sizeof(*r));
    if (!r || memcmp(r->signature, "RSD PTR ", 8))
        return false;
    const u8 *fadt = find_table(r, "FACP", FADT_PM1B + 4), *madt = find_table(r, "APIC", MADT_ENTRIES);
    if (fadt)
        parse_fadt(p, fadt);
    if (madt)
        parse_madt(p, madt);
    return madt;
}
