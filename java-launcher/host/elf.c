#include "java-launcher/host/elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct image {
    const uint8_t *base;
    size_t size;
    const Elf64_Ehdr *header;
};

/* N bytes at file offset AT; NULL when they are not all there. */
static const void *bytes(const struct image *m, uint64_t offset, uint64_t n)
{
    return offset <= m->size && n <= m->size - offset ? m->base + offset : NULL;
}

/* A string at file offset AT that ends inside the file. */
static char *string(const struct image *m, uint64_t offset)
{
    if (offset >= m->size || !memchr(m->base + offset, 0, m->size - offset))
        return NULL;
    return xstrdup((const char *)m->base + offset);
}

static const Elf64_Phdr *segment(const struct image *m, int i)
{
    uint64_t offset = m->header->e_phoff + (uint64_t)i * m->header->e_phentsize;
    return offset % _Alignof(Elf64_Phdr) ? NULL : bytes(m, offset, sizeof(Elf64_Phdr));
}

/* File offset of a virtual address, through the loadable segments; UINT64_MAX if it is in none. */
static uint64_t file_offset(const struct image *m, uint64_t address)
{
    for (int i = 0; i < m->header->e_phnum; i++) {
        const Elf64_Phdr *p = segment(m, i);
        if (p && p->p_type == PT_LOAD && address >= p->p_vaddr && address - p->p_vaddr < p->p_filesz)
            return p->p_offset + (address - p->p_vaddr);
    }
    return UINT64_MAX;
}

static void read_dynamic(const struct image *m, const Elf64_Phdr *p, struct elf_info *info)
{
    size_t n = p->p_filesz / sizeof(Elf64_Dyn);
    const Elf64_Dyn *d = bytes(m, p->p_offset, p->p_filesz);
    uint64_t strings = UINT64_MAX;
    if (!d || p->p_offset % _Alignof(Elf64_Dyn))
        return;
    for (size_t i = 0; i < n && d[i].d_tag != DT_NULL; i++)
        if (d[i].d_tag == DT_STRTAB)
            strings = file_offset(m, d[i].d_un.d_ptr);
    if (strings >= m->size)
        return;
    for (size_t i = 0; i < n && d[i].d_tag != DT_NULL; i++) {
        uint64_t at = d[i].d_un.d_val > m->size ? UINT64_MAX : strings + d[i].d_un.d_val;
        if (d[i].d_tag == DT_NEEDED && string(m, at))
            vec_add(&info->needed, string(m, at));
        else if (d[i].d_tag == DT_SONAME)
            info->soname = string(m, at);
        else if (d[i].d_tag == DT_RPATH)
            info->rpath = string(m, at);
        else if (d[i].d_tag == DT_RUNPATH)
            info->runpath = string(m, at);
    }
}

static int parse(struct image *m, struct elf_info *info)
{
    const Elf64_Ehdr *h = m->header = bytes(m, 0, sizeof *h);
    if (!h || memcmp(h->e_ident, ELFMAG, SELFMAG) || h->e_ident[EI_CLASS] != ELFCLASS64 ||
        h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != EM_X86_64 ||
        (h->e_type != ET_EXEC && h->e_type != ET_DYN))
        return -ENOEXEC;
    if (!bytes(m, h->e_phoff, (uint64_t)h->e_phnum * h->e_phentsize))
        return -ENOEXEC;
    for (int i = 0; i < h->e_phnum; i++) {
        const Elf64_Phdr *p = segment(m, i);
        if (!p)
            return -ENOEXEC;
        if (p->p_type == PT_INTERP)
            info->interpreter = string(m, p->p_offset);
        else if (p->p_type == PT_DYNAMIC)
            read_dynamic(m, p, info);
    }
    info->executable = h->e_type == ET_EXEC || h->e_entry || info->interpreter;
    return 0;
}

int elf_read(const char *path, struct elf_info *info)
{
    struct image m = {0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
    memset(info, 0, sizeof *info);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        err = -errno;
    else if (!S_ISREG(st.st_mode) || st.st_size == 0)
        err = S_ISDIR(st.st_mode) ? -EISDIR : -ENOEXEC;
    if (!err) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        err = p == MAP_FAILED ? -errno : 0;
        m.base = p;
        m.size = (size_t)st.st_size;
    }
    close(fd);
    if (!err) {
        err = parse(&m, info);
        munmap((void *)m.base, m.size);
    }
    return err;
}
