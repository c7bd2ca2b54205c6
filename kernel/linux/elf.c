/*
 * The program loader: ELF-64 executables for x86-64, static, static-PIE or dynamic, and their interpreter.
 * Sources: System V gABI, chapters 4 and 5; System V ABI AMD64, 3.4.1 (initial stack); getauxval(3).
 */
#include "kernel/linux/elf.h"
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/linux/modules.h"
#include "kernel/linux/uabi.h"
#include "kernel/linux/user.h"

#define PT_LOAD      1
#define PT_INTERP    3
#define PT_PHDR      6
#define PT_GNU_STACK 0x6474e551u
#define PF_X         1
#define PF_W         2
#define PF_R         4
#define ET_EXEC      2
#define ET_DYN       3
#define EM_X86_64    62
#define PHDR_MAX     512
#define PIE_BASE     0x555555554000UL

struct ehdr {
    u8 ident[16];
    u16 type, machine;
    u32 version;
    u64 entry, phoff, shoff;
    u32 flags;
    u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct phdr {
    u32 type, flags;
    u64 offset, vaddr, paddr, filesz, memsz, align;
};
UABI_SIZE(struct ehdr, 64);
UABI_SIZE(struct phdr, 56);

/* A file while it is being loaded. */
struct image {
    const char *path;
    struct file *file;
    struct ehdr h;
    struct phdr *ph;
    u64 low, high; /* page-aligned span of the loadable segments, before relocation */
};

static int complain(const struct image *im, const char *what, int err)
{
    log_error("moka: %s: %s\n", im->path, what);
    return err;
}

static int check_header(const struct image *im)
{
    const struct ehdr *h = &im->h;
    if (memcmp(h->ident, "\177ELF", 4)) {
        if (!memcmp(h->ident, "#!", 2))
            return complain(im, "is a script; only ELF programs can be started", -ENOEXEC);
        return complain(im, "is not an ELF file", -ENOEXEC);
    }
    if (h->ident[4] != 2 || h->ident[5] != 1 || h->machine != EM_X86_64)
        return complain(im, "is not for x86-64", -ENOEXEC);
    if (h->type != ET_EXEC && h->type != ET_DYN)
        return complain(im, "is an ELF file but not a program", -ENOEXEC);
    if (h->phentsize != sizeof(struct phdr) || !h->phnum || h->phnum > PHDR_MAX)
        return complain(im, "has no usable program headers", -ENOEXEC);
    return 0;
}

static int check_segment(const struct image *im, const struct phdr *p, u64 *end)
{
    if (p->memsz < p->filesz || p->vaddr + p->memsz < p->vaddr || p->vaddr + p->memsz >= PROGRAM_END ||
        p->offset + p->filesz < p->offset || (p->vaddr - p->offset) % PAGE_SIZE)
        return complain(im, "has a segment with bad addresses", -ENOEXEC);
    if (p->vaddr < *end)
        return complain(im, "has segments out of order", -ENOEXEC);
    *end = p->vaddr + p->memsz;
    return 0;
}

/* Checks every segment before anything is mapped; finds the span. */
static int check_segments(struct image *im)
{
    u64 end = 0;
    bool first = true;
    for (u32 i = 0; i < im->h.phnum; i++) {
        const struct phdr *p = &im->ph[i];
        if (p->type != PT_LOAD || !p->memsz)
            continue;
        int err = check_segment(im, p, &end);
        if (err)
            return err;
        if (first)
            im->low = ALIGN_DOWN(p->vaddr, PAGE_SIZE);
        first = false;
    }
    im->high = ALIGN_UP(end, PAGE_SIZE);
    if (im->h.entry >= PROGRAM_END)
        return complain(im, "has a bad entry address", -ENOEXEC);
    if (first)
        return complain(im, "has nothing to load", -ENOEXEC);
    if (im->h.type == ET_EXEC && im->low < PROGRAM_START)
        return complain(im, "wants to lie at address 0", -ENOEXEC);
    return 0;
}

static void image_close(struct image *im)
{
    kfree(im->ph);
    if (im->file)
        file_put(im->file);
    im->ph = NULL;
    im->file = NULL;
}

static int open_file(struct image *im)
{
    struct vfs_path root = vfs_root();
    int err = vfs_open(root, im->path, O_RDONLY, 0, &im->file);
    vfs_path_put(root);
    if (err == -ENOENT || err == -ENOTDIR)
        return complain(im, "no such file in the image", err);
    if (err)
        return complain(im, "cannot be opened", err);
    if (!im->file->inode || (im->file->inode->mode & S_IFMT) != S_IFREG)
        return complain(im, "is not a regular file", -EACCES);
    if (!(im->file->inode->mode & 0111))
        return complain(im, "is not executable (no x permission)", -EACCES);
    return 0;
}

static int read_headers(struct image *im)
{
    if (file_read_kernel(im->file, &im->h, sizeof(im->h), 0) != sizeof(im->h))
        return complain(im, "is too short for a program", -ENOEXEC);
    int err = check_header(im);
    if (err)
        return err;
    size_t size = im->h.phnum * sizeof(struct phdr);
    im->ph = kmalloc(size);
    if (!im->ph)
        return -ENOMEM;
    if (file_read_kernel(im->file, im->ph, size, im->h.phoff) != (ssize_t)size)
        return complain(im, "is cut short: no program headers", -ENOEXEC);
    return check_segments(im);
}

static int image_open(struct image *im, const char *path)
{
    *im = (struct image){.path = path};
    int err = open_file(im);
    if (!err)
        err = read_headers(im);
    if (err)
        image_close(im);
    return err;
}

/* The path in PT_INTERP, kmalloc'ed; NULL in *out when there is none. */
static int find_interpreter(struct image *im, char **out)
{
    *out = NULL;
    for (u32 i = 0; i < im->h.phnum; i++) {
        const struct phdr *p = &im->ph[i];
        if (p->type != PT_INTERP)
            continue;
        if (p->filesz < 2 || p->filesz > PATH_MAX)
            return complain(im, "names its interpreter badly", -ENOEXEC);
        char *path = kmalloc(p->filesz + 1);
        if (!path)
            return -ENOMEM;
        if (file_read_kernel(im->file, path, p->filesz, p->offset) != (ssize_t)p->filesz) {
            kfree(path);
            return complain(im, "is cut short: no interpreter name", -ENOEXEC);
        }
        *out = path;
        return 0;
    }
    return 0;
}

static u32 area_flags(const struct phdr *p)
{
    return (p->flags & PF_R ? VM_READ : 0) | (p->flags & PF_W ? VM_WRITE : 0) |
           (p->flags & PF_X ? VM_EXEC : 0) | VM_MAYWRITE;
}

/* The part of a segment that comes from the file, [start, start + len) page-aligned. */
static int map_file(struct image *im, const struct phdr *p, u64 start, u64 len)
{
    struct file *f = im->file;
    struct vm_object *obj;
    u64 offset = ALIGN_DOWN(p->offset, PAGE_SIZE);
    if (!f->ops->mmap || f->ops->mmap(f, offset, len, area_flags(p), &obj))
        return complain(im, "lies on a file system that cannot map files", -ENODEV);
    s64 at = vm_map(start, len, area_flags(p), VM_FIXED, obj, offset, f);
    if (at > 0 && p->flags & PF_X)
        modules_note(f, start, start + len, offset);
    return at < 0 ? (int)at : 0;
}

static int map_segment(struct image *im, const struct phdr *p, u64 base)
{
    u64 start = ALIGN_DOWN(base + p->vaddr, PAGE_SIZE);
    u64 file_end = base + p->vaddr + p->filesz;
    u64 file_end_page = p->filesz ? ALIGN_UP(file_end, PAGE_SIZE) : start;
    u64 end = ALIGN_UP(base + p->vaddr + p->memsz, PAGE_SIZE);
    int err = p->filesz ? map_file(im, p, start, file_end_page - start) : 0;
    if (!err && end > file_end_page) {
        s64 at = vm_map(file_end_page, end - file_end_page, area_flags(p), VM_FIXED, NULL, 0, NULL);
        err = at < 0 ? (int)at : 0;
    }
    /* The rest of the last file page belongs to .bss. */
    if (!err && p->memsz > p->filesz && p->flags & PF_W && file_end < file_end_page &&
        clear_user((void *)file_end, file_end_page - file_end))
        err = -EIO;
    return err;
}

static int choose_base(struct image *im, u64 hint, u64 *base)
{
    u64 len = im->high - im->low;
    bool fixed = im->h.type == ET_EXEC;
    s64 at = vm_map(fixed ? im->low : hint, len, VM_MAYWRITE | VM_NORESERVE, fixed ? VM_FIXED_NEW : 0, NULL,
                    0, NULL);
    if (at < 0)
        return at;
    *base = fixed ? 0 : (u64)at - im->low;
    return 0;
}

static int map_image(struct image *im, u64 hint, u64 *base)
{
    int err = choose_base(im, hint, base);
    for (u32 i = 0; i < im->h.phnum && !err; i++)
        if (im->ph[i].type == PT_LOAD && im->ph[i].memsz)
            err = map_segment(im, &im->ph[i], *base);
    if (err)
        log_error("moka: %s: cannot be mapped: error %d\n", im->path, -err);
    return err;
}

/* Address of the program headers in memory: inside the segment that holds them in the file. */
static u64 headers_address(const struct image *im, u64 base)
{
    for (u32 i = 0; i < im->h.phnum; i++) {
        const struct phdr *p = &im->ph[i];
        if (p->type == PT_PHDR)
            return base + p->vaddr;
        if (p->type == PT_LOAD && im->h.phoff >= p->offset && im->h.phoff < p->offset + p->filesz)
            return base + p->vaddr + im->h.phoff - p->offset;
    }
    return 0;
}

static void note_ranges(const struct image *im, u64 base, struct elf_program *out)
{
    for (u32 i = 0; i < im->h.phnum; i++) {
        const struct phdr *p = &im->ph[i];
        u64 start = base + p->vaddr;
        if (p->type == PT_GNU_STACK)
            out->exec_stack = p->flags & PF_X;
        if (p->type != PT_LOAD)
            continue;
        if (p->flags & PF_X && !out->code_start) {
            out->code_start = start;
            out->code_end = start + p->filesz;
        }
        if (p->flags & PF_W) {
            out->data_start = start;
            out->data_end = start + p->filesz;
        }
    }
}

static int load_interpreter(const char *path, struct elf_program *out)
{
    struct image im;
    int err = image_open(&im, path);
    if (err)
        return err;
    u64 base;
    err = map_image(&im, 0, &base);
    if (!err) {
        out->interp_base = base + im.low;
        out->start = base + im.h.entry;
    }
    image_close(&im);
    return err;
}

static int load_program(struct image *im, struct elf_program *out)
{
    u64 base;
    char *interp;
    int err = find_interpreter(im, &interp);
    if (err)
        return err;
    err = map_image(im, PIE_BASE, &base);
    if (!err) {
        out->entry = out->start = base + im->h.entry;
        out->phdr = headers_address(im, base);
        out->phnum = im->h.phnum;
        out->end = base + im->high;
        note_ranges(im, base, out);
        if (interp)
            err = load_interpreter(interp, out);
    }
    kfree(interp);
    return err;
}

int elf_load(const char *path, struct elf_program *out)
{
    struct image im;
    memset(out, 0, sizeof(*out));
    int err = image_open(&im, path);
    if (err)
        return err;
    err = load_program(&im, out);
    image_close(&im);
    return err;
}
