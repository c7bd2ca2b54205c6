/* Intel MultiProcessor Specification 1.4, chapter 4: what machines without ACPI have. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/platform.h"
#include "kernel/arch/x86_64/pte.h"
#include "kernel/base/string.h"

struct mp_floating {
    char signature[4]; /* _MP_ */
    u32 config;
    u8 length, revision, checksum, features[5];
} __attribute__((packed));

struct mp_config {
    char signature[4]; /* PCMP */
    u16 length;
    u8 revision, checksum;
    char oem[20];
    u32 oem_table;
    u16 oem_size, entries;
    u32 lapic;
    u16 extended_length;
    u8 extended_checksum, reserved;
} __attribute__((packed));

#define ENTRY_CPU    0 /* 20 bytes: type, apic id, version, flags ... */
#define ENTRY_IOAPIC 2 /* 8 bytes: type, id, version, flags, address */
#define FLAG_ENABLED 1
#define CONFIG_MAX   0x10000UL /* bytes: its length has 16 bits */

static const struct mp_floating *find_in(u64 start, u64 end)
{
    for (u64 p = start; p < end; p += 16) {
        const struct mp_floating *f = direct_ptr(p);
        u8 sum = 0;
        if (memcmp(f->signature, "_MP_", 4))
            continue;
        for (u32 i = 0; i < sizeof(*f); i++)
            sum += ((const u8 *)f)[i];
        if (!sum)
            return f;
    }
    return NULL;
}

/* The first KiB of the extended BIOS data area, the last KiB of base memory, the BIOS ROM. */
static const struct mp_floating *find(void)
{
    u64 ebda = (u64) * (const u16 *)direct_ptr(0x40e) << 4;
    const struct mp_floating *f = NULL;
    if (ebda >= 0x80000 && ebda < 0xa0000)
        f = find_in(ebda, ebda + 1024);
    if (!f)
        f = find_in(0x9fc00, 0xa0000);
    return f ? f : find_in(0xf0000, 0x100000);
}

bool mptable_parse(struct platform *p)
{
    const struct mp_floating *f = find();
    if (!f || !f->config || f->config > DIRECT_MAP_BOOT_END - CONFIG_MAX)
        return false;
    const struct mp_config *c = direct_ptr(f->config);
    if (memcmp(c->signature, "PCMP", 4))
        return false;
    const u8 *e = (const u8 *)(c + 1), *end = (const u8 *)c + c->length;
    while (e + 8 <= end) { /* by length: qboot leaves the count of entries 0 */
        u32 address;
        memcpy(&address, e + 4, 4);
        if (e[0] == ENTRY_CPU && (e[3] & FLAG_ENABLED))
            platform_add_cpu(p, e[1]);
        else if (e[0] == ENTRY_IOAPIC && (e[3] & FLAG_ENABLED))
            platform_add_ioapic(p, address, 24 * p->ioapic_count);
        e += e[0] == ENTRY_CPU ? 20 : 8;
    }
    return true;
}
