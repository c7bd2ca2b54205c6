/* ACPI's tables as firmware should leave them, and such as end where memory does, or say that they go on
 * beyond it: kernel/arch/x86_64/acpi.c, under the address sanitizer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/pte.h"

/* The last bytes that the kernel can see so early. */
#define SIZE 4096u
#define BASE (DIRECT_MAP_BOOT_END - SIZE)
static u8 *memory;

static const void *seen(u64 paddr)
{
    if (paddr < BASE || paddr >= DIRECT_MAP_BOOT_END) {
        printf("not ok arch/acpi: %#lx was looked at\n", paddr);
        exit(1);
    }
    return memory + (paddr - BASE);
}
#define direct_ptr(paddr) seen(paddr)
#include "kernel/arch/x86_64/acpi.c"

struct boot_info boot_info;
static u32 apic_ids[8], cpu_number, ioapics;

void platform_add_cpu(struct platform *p, u32 apic_id)
{
    apic_ids[cpu_number++ % 8] = apic_id;
}
void platform_add_ioapic(struct platform *p, u64 paddr, u32 gsi_base)
{
    ioapics++;
}

static void put(u32 offset, u64 value, u32 bytes)
{
    memcpy(memory + offset, &value, bytes);
}

static u32 table(u32 offset, const char *signature, u32 len)
{
    memcpy(memory + offset, signature, 4);
    put(offset + 4, len, 4);
    return offset;
}

enum {
    RSDP = 16,
    XSDT = 64,
    MADT = 256,
    FADT = 512,
    DSDT = 1024,
    XSDT_LEN = HEADER + 16,
    MADT_LEN = 80,
    DSDT_LEN = 80
};

static void write_tables(void)
{
    static const u8 entries[] = {MADT_LAPIC, 8, 0,    3,    1, 0, 0, 0, MADT_IOAPIC, 12, 0, 0,
                                 0,          0, 0xc0, 0xfe, 0, 0, 0, 0, MADT_X2APIC, 16, 0, 0,
                                 9,          0, 0,    0,    1, 0, 0, 0, 0,           0,  0, 0};
    memset(memory, 0, SIZE);
    memcpy(memory + RSDP, "RSD PTR ", 8);
    memory[RSDP + offsetof(struct rsdp, revision)] = 2;
    put(RSDP + offsetof(struct rsdp, xsdt), BASE + XSDT, 8);
    table(XSDT, "XSDT", XSDT_LEN);
    put(XSDT + HEADER, BASE + FADT, 8);
    put(XSDT + HEADER + 8, BASE + MADT, 8);
    table(MADT, "APIC", MADT_LEN);
    memcpy(memory + MADT + MADT_ENTRIES, entries, sizeof(entries));
    table(FADT, "FACP", 276);
    put(FADT + FADT_PM1A, 0x604, 4);
    put(FADT + FADT_X_DSDT, BASE + DSDT, 8);
    table(DSDT, "DSDT", DSDT_LEN);
    memcpy(memory + DSDT + 40, "_S5_\x12\x06\x04\x0a\x05", 9);
    boot_info.rsdp = BASE + RSDP;
    cpu_number = ioapics = 0;
}

static int result(const char *name, bool good)
{
    printf("%s arch/acpi-%s%s\n", good ? "ok" : "not ok", name, good ? "" : ": see the test");
    return !good;
}

/* Copies a table to the last bytes there are. */
static u64 to_the_end(u32 offset, u32 bytes)
{
    memmove(memory + SIZE - bytes, memory + offset, bytes);
    return BASE + SIZE - bytes;
}

int main(void)
{
    struct platform p = {0};
    int failed = 0;
    memory = malloc(SIZE);

    write_tables();
    bool found = acpi_parse(&p);
    failed |= result("good", found && cpu_number == 2 && apic_ids[0] == 3 && apic_ids[1] == 9 &&
                                 ioapics == 1 && p.pm1a_control == 0x604 && p.s5_type == 5);

    static const u32 lengths[] = {XSDT, MADT, FADT, DSDT};
    for (u32 i = 0; i < ARRAY_LEN(lengths); i++) {
        write_tables();
        put(lengths[i] + 4, ~0u, 4);
        acpi_parse(&p);
    }
    failed |= result("length-beyond-memory", true);

    write_tables();
    put(XSDT + HEADER + 8, to_the_end(MADT, MADT_ENTRIES + 4), 8);
    put(SIZE - MADT_ENTRIES, MADT_ENTRIES + 4, 4); /* the length: an entry of a CPU is cut short */
    acpi_parse(&p);
    failed |= result("entry-beyond-the-table", cpu_number == 0);

    write_tables();
    put(XSDT + HEADER, to_the_end(FADT, HEADER + 8), 8);
    put(SIZE - HEADER - 4, HEADER + 8, 4);
    acpi_parse(&p);
    failed |= result("short-fadt", true);

    write_tables();
    boot_info.rsdp = to_the_end(RSDP, 12);
    failed |= result("rsdp-at-the-end", !acpi_parse(&p));
    return failed;
}
