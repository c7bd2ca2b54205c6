/*
 * Backtraces; see unwind.h. libunwind does the DWARF work; this file feeds it registers, memory and unwind
 * tables:
 *
 *   address -> module (kernel, or an ELF file of the program) -> .eh_frame_hdr (LSB Core 5.0, 10.6.2) ->
 * search table
 *
 * All state is static: a backtrace runs with the machine stopped (panic) or in the one thread that ends the
 * program.
 */
#include "kernel/base/unwind.h"

#include <elf.h>
#include <libunwind-x86_64.h>

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/pte.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"

#define FRAMES_MAX 64

/* libunwind's search of a binary table that it reads through the accessors; exported, but declared in no
 * public header. */
extern int _Ux86_64_dwarf_search_unwind_table(unw_addr_space_t as, unw_word_t ip, unw_dyn_info_t *di,
                                              unw_proc_info_t *pi, int need_unwind_info, void *arg);

/* The kernel's symbol table: sorted addresses relative to KERNEL_BASE, and offsets of names
 * (tools/make-ksyms). */
struct ksym {
    u32 address, name;
};
extern const struct ksym ksyms[] __attribute__((weak));
extern const u32 ksyms_count __attribute__((weak));
extern const char ksyms_names[] __attribute__((weak));

extern const char kernel_image_start[], kernel_text_end[], kernel_eh_frame_hdr[];

u64 (*unwind_find_cached)(u64 addr);
bool (*unwind_find_module)(u64 ip, struct unwind_module *out, bool may_sleep);

/* What one walk knows; passed to the accessors as their argument. */
struct walk {
    struct trap_frame regs;
    bool may_sleep;
    struct unwind_module module; /* the latest looked up */
};

/* ---- memory ---- */

static const void *translate(u64 addr)
{
    pte_t *table = page_table_root;
    for (int level = 3;; level--) {
        pte_t e = pte_load(&table[pte_index(addr, level)]);
        if (!pte_present(e))
            return NULL;
        u64 mask = (1UL << (PAGE_SHIFT + 9 * level)) - 1;
        if (level == 0 || pte_huge(e))
            return (const void *)(DIRECT_MAP + ((pte_paddr(e) & ~mask) | (addr & mask)));
        table = (pte_t *)(DIRECT_MAP + pte_paddr(e));
    }
}

/* Where the bytes from addr to the end of its page can be read, or NULL. */
static const void *find_page(u64 addr)
{
    if (addr >= PROGRAM_END && addr < DIRECT_MAP)
        return NULL;
    const void *found = translate(addr);
    if (found || addr >= PROGRAM_END || !unwind_find_cached)
        return found;
    u64 page = unwind_find_cached(addr);
    return page ? translate(page + (addr & (PAGE_SIZE - 1))) : NULL;
}

bool unwind_peek(u64 addr, void *out, size_t n)
{
    char *to = out;
    while (n) {
        const void *from = find_page(addr);
        size_t chunk = MIN(n, PAGE_SIZE - (addr & (PAGE_SIZE - 1)));
        if (!from)
            return false;
        memcpy(to, from, chunk);
        to += chunk;
        addr += chunk;
        n -= chunk;
    }
    return true;
}

static bool read_memory(const struct walk *w, u64 addr, void *out, size_t n)
{
    if (unwind_peek(addr, out, n))
        return true;
    return w->may_sleep && addr < PROGRAM_END - n && copy_safe(out, (const void *)addr, n) == 0;
}

/* ---- modules and their tables ---- */

static bool in_kernel_text(u64 ip)
{
    return ip >= (u64)kernel_image_start && ip < (u64)kernel_text_end;
}

static bool find_module(struct walk *w, u64 ip)
{
    if (ip >= w->module.start && ip < w->module.end)
        return true;
    return ip < PROGRAM_END && unwind_find_module && unwind_find_module(ip, &w->module, w->may_sleep);
}

/* Finds a program header of the given type. bias: what to add to its addresses. */
static bool find_segment(const struct walk *w, u64 base, u32 type, Elf64_Phdr *out, u64 *bias)
{
    Elf64_Ehdr header;
    bool found = false, loaded = false;
    if (!read_memory(w, base, &header, sizeof(header)) || memcmp(header.e_ident, ELFMAG, SELFMAG) ||
        header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > 64)
        return false;
    for (u32 i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr p;
        if (!read_memory(w, base + header.e_phoff + i * sizeof(p), &p, sizeof(p)))
            return false;
        if (p.p_type == PT_LOAD && !loaded) {
            *bias = base - ALIGN_DOWN(p.p_vaddr, PAGE_SIZE) + ALIGN_DOWN(p.p_offset, PAGE_SIZE);
            loaded = true;
        }
        if (p.p_type == type) {
            *out = p;
            found = true;
        }
    }
    return found && loaded;
}

static u64 eh_frame_hdr_of(struct walk *w, u64 ip)
{
    Elf64_Phdr p;
    u64 bias;
    if (in_kernel_text(ip))
        return (u64)kernel_eh_frame_hdr;
    if (!find_module(w, ip) || !find_segment(w, w->module.base, PT_GNU_EH_FRAME, &p, &bias))
        return 0;
    return bias + p.p_vaddr;
}

/*
 * The header: version 1, then the encodings of eh_frame_ptr, the count and the table. Linkers write one form:
 * pcrel sdata4, udata4, datarel sdata4.
 */
static bool table_of(struct walk *w, u64 hdr, unw_dyn_info_t *di)
{
    struct {
        u8 version, ptr_encoding, count_encoding, table_encoding;
        s32 eh_frame_ptr;
        u32 count;
    } h;
    if (!read_memory(w, hdr, &h, sizeof(h)) || h.version != 1 || h.count_encoding != 0x03 ||
        h.table_encoding != 0x3b)
        return false;
    *di = (unw_dyn_info_t){.start_ip = 0, .end_ip = ~0UL, .format = UNW_INFO_FORMAT_REMOTE_TABLE};
    di->u.rti.segbase = hdr;
    di->u.rti.table_data = hdr + sizeof(h);
    di->u.rti.table_len = (u64)h.count * 8 / sizeof(unw_word_t);
    return true;
}

/* ---- libunwind's accessors (libunwind-dynamic(3), unw_create_addr_space(3)) ---- */

static int find_proc_info(unw_addr_space_t as, unw_word_t ip, unw_proc_info_t *pi, int need, void *arg)
{
    unw_dyn_info_t di;
    u64 hdr = eh_frame_hdr_of(arg, ip);
    if (!hdr || !table_of(arg, hdr, &di))
        return -UNW_ENOINFO;
    return _Ux86_64_dwarf_search_unwind_table(as, ip, &di, pi, need, arg);
}

static void put_unwind_info(unw_addr_space_t as, unw_proc_info_t *pi, void *arg)
{
}

static int get_dyn_info_list(unw_addr_space_t as, unw_word_t *out, void *arg)
{
    return -UNW_ENOINFO;
}

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *value, int write, void *arg)
{
    return !write && read_memory(arg, addr, value, sizeof(*value)) ? 0 : -UNW_EINVAL;
}

static int access_reg(unw_addr_space_t as, unw_regnum_t reg, unw_word_t *value, int write, void *arg)
{
    const struct trap_frame *f = &((struct walk *)arg)->regs;
    const u64 by_number[] = {f->rax, f->rdx, f->rcx, f->rbx, f->rsi, f->rdi, f->rbp, f->rsp, f->r8,
                             f->r9,  f->r10, f->r11, f->r12, f->r13, f->r14, f->r15, f->rip};
    if (write || (u32)reg >= ARRAY_LEN(by_number))
        return -UNW_EBADREG;
    *value = by_number[reg];
    return 0;
}

static int access_fpreg(unw_addr_space_t as, unw_regnum_t reg, unw_fpreg_t *value, int write, void *arg)
{
    return -UNW_EBADREG;
}

static int resume(unw_addr_space_t as, unw_cursor_t *cursor, void *arg)
{
    return -UNW_EINVAL;
}

static int get_proc_name(unw_addr_space_t as, unw_word_t addr, char *buf, size_t size, unw_word_t *offset,
                         void *arg)
{
    return -UNW_EUNSPEC;
}

static unw_accessors_t accessors = {
    .find_proc_info = find_proc_info,
    .put_unwind_info = put_unwind_info,
    .get_dyn_info_list_addr = get_dyn_info_list,
    .access_mem = access_mem,
    .access_reg = access_reg,
    .access_fpreg = access_fpreg,
    .resume = resume,
    .get_proc_name = get_proc_name,
};

/* ---- names ---- */

static void print_kernel_frame(u32 number, u64 ip)
{
    u32 low = 0, high = &ksyms_count ? ksyms_count : 0;
    u32 address = ip - KERNEL_BASE;
    while (low + 1 < high) { /* the last symbol at or below the address */
        u32 middle = (low + high) / 2;
        if (ksyms[middle].address <= address)
            low = middle;
        else
            high = middle;
    }
    if (high)
        log_error("  #%-2u %016lx %s+0x%x (kernel)\n", number, ip, ksyms_names + ksyms[low].name,
                  address - ksyms[low].address);
    else
        log_error("  #%-2u %016lx (kernel)\n", number, ip);
}

/* Number of symbols, which the dynamic section does not say: from DT_HASH, or the longest chain of
 * DT_GNU_HASH. */
static u32 count_symbols(const struct walk *w, u64 hash, u64 gnu_hash)
{
    u32 h[4], last = 0;
    if (hash && read_memory(w, hash, h, 8))
        return h[1];
    if (!gnu_hash || !read_memory(w, gnu_hash, h, sizeof(h)))
        return 0;
    u64 buckets = gnu_hash + 16 + 8UL * h[2], chains = buckets + 4UL * h[0];
    for (u32 i = 0; i < h[0]; i++) {
        u32 first;
        if (!read_memory(w, buckets + 4UL * i, &first, 4))
            return 0;
        last = MAX(last, first);
    }
    for (u32 link = 0; last >= h[1] && !(link & 1); last++)
        if (!read_memory(w, chains + 4UL * (last - h[1]), &link, 4))
            return 0;
    return last;
}

/* The dynamic symbol of the module that covers ip, into name. */
static bool program_symbol(const struct walk *w, u64 ip, char *name, size_t size, u64 *offset)
{
    Elf64_Phdr p;
    Elf64_Dyn d;
    u64 bias, symtab = 0, strtab = 0, hash = 0, gnu_hash = 0;
    if (!find_segment(w, w->module.base, PT_DYNAMIC, &p, &bias))
        return false;
    for (u64 at = bias + p.p_vaddr; read_memory(w, at, &d, sizeof(d)) && d.d_tag != DT_NULL;
         at += sizeof(d)) {
        /* glibc's loader has made these absolute; others leave them relative. */
        u64 v = d.d_un.d_ptr < bias ? d.d_un.d_ptr + bias : d.d_un.d_ptr;
        if (d.d_tag == DT_SYMTAB)
            symtab = v;
        else if (d.d_tag == DT_STRTAB)
            strtab = v;
        else if (d.d_tag == DT_HASH)
            hash = v;
        else if (d.d_tag == DT_GNU_HASH)
            gnu_hash = v;
    }
    u32 count = symtab && strtab ? count_symbols(w, hash, gnu_hash) : 0;
    for (u32 i = 1; i < count; i++) {
        Elf64_Sym s;
        if (!read_memory(w, symtab + i * sizeof(s), &s, sizeof(s)))
            return false;
        u64 start = bias + s.st_value;
        if (ELF64_ST_TYPE(s.st_info) != STT_FUNC || !s.st_shndx || ip < start || ip >= start + s.st_size)
            continue;
        memset(name, 0, size);
        for (size_t n = 0; n + 1 < size; n++)
            if (!read_memory(w, strtab + s.st_name + n, &name[n], 1) || !name[n])
                break;
        *offset = ip - start;
        return true;
    }
    return false;
}

static void print_program_frame(struct walk *w, u32 number, u64 ip)
{
    char name[128];
    u64 offset;
    if (!find_module(w, ip))
        log_error("  #%-2u %016lx (no file: compiled Java code or data)\n", number, ip);
    else if (program_symbol(w, ip, name, sizeof(name), &offset))
        log_error("  #%-2u %016lx %s+0x%lx (%s)\n", number, ip, name, offset, w->module.name);
    else
        log_error("  #%-2u %016lx %s+0x%lx\n", number, ip, w->module.name, ip - w->module.base);
}

/* ---- the walk ---- */

/* The registers of the caller of backtrace_print. */
static void capture(struct trap_frame *f)
{
    __asm__ volatile("movq %%rsp, %0; movq %%rbp, %1; movq %%rbx, %2; leaq 0(%%rip), %3"
                     : "=m"(f->rsp), "=m"(f->rbp), "=m"(f->rbx), "=r"(f->rip));
    __asm__ volatile("movq %%r12, %0; movq %%r13, %1; movq %%r14, %2; movq %%r15, %3"
                     : "=m"(f->r12), "=m"(f->r13), "=m"(f->r14), "=m"(f->r15));
}

static void walk_frames(struct walk *w)
{
    unw_cursor_t cursor;
    u64 last_sp = 0;
    unwind_memory_reset();
    unw_addr_space_t space = unw_create_addr_space(&accessors, 0);
    if (!space)
        return;
    unw_set_caching_policy(space, UNW_CACHE_NONE);
    if (unw_init_remote(&cursor, space, w))
        return;
    for (u32 number = 0; number < FRAMES_MAX; number++) {
        unw_word_t ip = 0, sp = 0;
        unw_get_reg(&cursor, UNW_REG_IP, &ip);
        unw_get_reg(&cursor, UNW_REG_SP, &sp);
        if (!ip || (number && sp == last_sp))
            return;
        last_sp = sp;
        if (in_kernel_text(ip))
            print_kernel_frame(number, ip);
        else
            print_program_frame(w, number, ip);
        if (unw_step(&cursor) <= 0)
            return;
    }
}

void backtrace_print(const struct trap_frame *frame)
{
    static struct walk w;
    memset(&w, 0, sizeof(w));
    if (frame)
        w.regs = *frame;
    else
        capture(&w.regs);
    w.may_sleep = irq_enabled() && preempt_count() == 0 && frame && trap_from_program(frame);
    walk_frames(&w);
}
