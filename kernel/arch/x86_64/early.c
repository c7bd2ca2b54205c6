/* The boot CPU's first steps: what the hypervisor says, and the CPU's own tables. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/arch_cpu.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/pte.h"
#include "kernel/arch/x86_64/zero.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"

/* Source: Xen, public/arch-x86/hvm/start_info.h. */
#define START_MAGIC 0x336ec578u
struct hvm_start_info {
    u32 magic, version, flags, nr_modules;
    u64 modlist, cmdline, rsdp;
    u64 memmap; /* version 1 and later */
    u32 memmap_entries, reserved;
};
struct hvm_memmap_entry {
    u64 addr, size;
    u32 type, reserved;
};
#define MEMMAP_RAM 1u
struct hvm_modlist_entry {
    u64 paddr, size, cmdline, reserved;
};

struct boot_info boot_info;
extern u64 pvh_start_info;
extern u8 kernel_image_start[], kernel_image_end[];

struct cpu *cpus[CPU_MAX];
u32 cpu_count;
static struct cpu boot_cpu;
static struct arch_cpu boot_arch_cpu;

static void mem_insert(struct mem_range r)
{
    u32 i = boot_info.mem_count;
    ASSERT(i < ARRAY_LEN(boot_info.mem));
    for (; i > 0 && boot_info.mem[i - 1].start > r.start; i--)
        boot_info.mem[i] = boot_info.mem[i - 1];
    boot_info.mem[i] = r;
    boot_info.mem_count++;
}

static bool in_usable_memory(u64 start, u64 len)
{
    for (u32 i = 0; i < boot_info.mem_count; i++) {
        const struct mem_range *m = &boot_info.mem[i];
        if (m->usable && start >= m->start && start - m->start < m->len && len <= m->len - (start - m->start))
            return true;
    }
    return false;
}

static void module_parse(const struct hvm_modlist_entry *module)
{
    if (!module->size)
        return;
    if (!in_usable_memory(module->paddr, module->size))
        panic("the loader's module lies outside memory");
    boot_info.words = module->paddr;
    boot_info.words_len = module->size;
}

static void start_info_parse(void)
{
    const struct hvm_start_info *si = direct_ptr(pvh_start_info);
    if (si->magic != START_MAGIC || si->version < 1 || !si->memmap_entries)
        panic("not started by a PVH loader that passes a memory map");
    boot_info.cmdline = si->cmdline ? direct_ptr(si->cmdline) : "";
    boot_info.rsdp = si->rsdp;
    boot_info.kernel_start = (u64)kernel_image_start - KERNEL_BASE;
    boot_info.kernel_end = (u64)kernel_image_end - KERNEL_BASE;
    const struct hvm_memmap_entry *e = direct_ptr(si->memmap);
    for (u32 i = 0; i < si->memmap_entries; i++)
        mem_insert((struct mem_range){e[i].addr, e[i].size, e[i].type == MEMMAP_RAM});
    if (si->nr_modules && si->modlist)
        module_parse(direct_ptr(si->modlist));
}

void arch_early_init(void)
{
    boot_cpu.self = &boot_cpu;
    boot_cpu.arch = &boot_arch_cpu;
    cpu_set_kstack(&boot_cpu, (u64)boot_stack_bottom, (u64)boot_stack_top);
    boot_cpu.online = true;
    cpus[0] = &boot_cpu;
    cpu_count = 1;
    serial_init();
    idt_init();
    syscall_handlers_init();
    cpu_tables_load(&boot_cpu);
    fpu_init_cpu();
    zero_init();
    start_info_parse();
    paging_init();
}
