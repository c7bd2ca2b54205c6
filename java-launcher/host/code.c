#include "java-launcher/host/code.h"
#include "java-launcher/host/util.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

static void *grown(void *array, size_t n, size_t *cap, size_t element)
{
    if (n < *cap)
        return array;
    *cap = *cap ? 2 * *cap : 64;
    array = realloc(array, *cap * element);
    if (!array)
        die("out of memory");
    return array;
}

void addresses_add(struct addresses *a, uint64_t address)
{
    a->v = grown(a->v, a->n, &a->cap, sizeof *a->v);
    a->v[a->n++] = address;
}

void code_free(struct code *c)
{
    free(c->functions);
    free(c->landing_pads.v);
}

/* ---- places ---- */

uint8_t *code_at(const struct code *c, uint64_t address, uint64_t n)
{
    for (unsigned i = 0; i < c->n_parts; i++) {
        const struct code_part *p = &c->parts[i];
        if (address >= p->start && address <= p->end && n <= p->end - address)
            return c->bytes + p->offset + (address - p->start);
    }
    return NULL;
}

bool code_executable(const struct code *c, uint64_t address)
{
    for (unsigned i = 0; i < c->n_parts; i++)
        if (c->parts[i].executable && address >= c->parts[i].start && address < c->parts[i].end)
            return true;
    return false;
}

const struct function *code_function(const struct code *c, uint64_t address)
{
    size_t low = 0, high = c->n_functions;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct function *f = &c->functions[middle];
        if (address >= f->start && address < f->end)
            return f;
        if (address < f->start)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* Copies N bytes at a file offset. */
static bool take(const struct code *c, uint64_t offset, void *to, size_t n)
{
    if (offset > c->size || n > c->size - offset)
        return false;
    memcpy(to, c->bytes + offset, n);
    return true;
}

/* ---- a cursor over bytes of unwind information ---- */

struct cursor {
    const uint8_t *p, *end;
    uint64_t address; /* of p */
    bool bad;         /* read past the end, or something unknown */
};

static uint64_t fixed(struct cursor *c, size_t n)
{
    uint64_t v = 0;
    if ((size_t)(c->end - c->p) < n) {
        c->bad = true;
        c->p = c->end;
        return 0;
    }
    memcpy(&v, c->p, n);
    c->p += n;
    c->address += n;
    return v;
}

static uint64_t leb128(struct cursor *c)
{
    uint64_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint64_t byte = fixed(c, 1);
        if (shift < 64)
            v |= (byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
        if (c->bad)
            return 0;
    }
}

enum { ENC_OMIT = 0xff, ENC_FORMAT = 0x0f, ENC_PC_RELATIVE = 0x10, ENC_BASE = 0x70, ENC_INDIRECT = 0x80 };

/* The plain value of an encoded pointer (LSB core, "DWARF exception header encoding"). */
static uint64_t encoded_value(struct cursor *c, unsigned encoding)
{
    switch (encoding & ENC_FORMAT) {
    case 0x00: /* absptr */
    case 0x04:
    case 0x0c:
        return fixed(c, 8);
    case 0x01:
        return leb128(c);
    case 0x02:
        return fixed(c, 2);
    case 0x03:
        return fixed(c, 4);
    case 0x0a:
        return (uint64_t)(int16_t)fixed(c, 2);
    case 0x0b:
        return (uint64_t)(int32_t)fixed(c, 4);
    default:
        c->bad = true;
        return 0;
    }
}

static uint64_t encoded(struct cursor *c, unsigned encoding)
{
    uint64_t here = c->address, v = encoded_value(c, encoding);
    unsigned base = encoding & ENC_BASE;
    if ((base && base != ENC_PC_RELATIVE) || encoding & ENC_INDIRECT)
        c->bad = true;
    return v && base == ENC_PC_RELATIVE ? here + v : v;
}

static struct cursor cursor_at(const struct code *c, uint64_t address)
{
    struct cursor at = {.address = address};
    for (unsigned i = 0; i < c->n_parts; i++) {
        const struct code_part *p = &c->parts[i];
        if (address >= p->start && address < p->end) {
            at.p = c->bytes + p->offset + (address - p->start);
            at.end = c->bytes + p->offset + (p->end - p->start);
            return at;
        }
    }
    at.bad = true;
    return at;
}

/* ---- functions, from .eh_frame ---- */

struct cie {
    unsigned pointers, lsda; /* encodings */
    bool augmented, signal;
};

/* The common part that FDEs refer to; AT stands behind its id. */
static bool read_cie(struct cursor at, struct cie *cie)
{
    char letters[8] = "";
    size_t n = 0;
    *cie = (struct cie){.lsda = ENC_OMIT};
    uint64_t version = fixed(&at, 1);
    for (uint64_t letter; (letter = fixed(&at, 1)) && n < sizeof letters - 1;)
        letters[n++] = (char)letter;
    if (version != 1 && version != 3)
        return false;
    leb128(&at); /* code and data alignment, the return address's column */
    leb128(&at);
    version == 1 ? fixed(&at, 1) : leb128(&at);
    if (!n)
        return !at.bad;
    cie->augmented = letters[0] == 'z';
    leb128(&at);
    for (size_t i = 1; i < n; i++) {
        if (letters[i] == 'R')
            cie->pointers = (unsigned)fixed(&at, 1);
        else if (letters[i] == 'L')
            cie->lsda = (unsigned)fixed(&at, 1);
        else if (letters[i] == 'P') /* the routine that handles exceptions: of no interest */
            encoded_value(&at, (unsigned)fixed(&at, 1));
        else if (letters[i] == 'S')
            cie->signal = true;
        else
            return false;
    }
    return cie->augmented && !at.bad;
}

/* Where exceptions of one function continue. False: not understood. */
static bool read_landing_pads(struct code *c, const struct function *f, uint64_t lsda)
{
    struct cursor at = cursor_at(c, lsda);
    unsigned encoding = (unsigned)fixed(&at, 1);
    uint64_t base = encoding == ENC_OMIT ? f->start : encoded(&at, encoding);
    if (fixed(&at, 1) != ENC_OMIT)
        leb128(&at);
    encoding = (unsigned)fixed(&at, 1);
    uint64_t length = leb128(&at);
    if (at.bad || length > (uint64_t)(at.end - at.p))
        return false;
    at.end = at.p + length;
    while (at.p < at.end) {
        encoded_value(&at, encoding);
        encoded_value(&at, encoding);
        uint64_t pad = encoded_value(&at, encoding);
        leb128(&at);
        if (pad)
            addresses_add(&c->landing_pads, base + pad);
    }
    return !at.bad;
}

static void add_function(struct code *c, size_t *cap, struct function f)
{
    c->functions = grown(c->functions, c->n_functions, cap, sizeof *c->functions);
    c->functions[c->n_functions++] = f;
}

/* One record that describes a function; AT stands behind the reference to its CIE. */
static bool read_fde(struct code *c, size_t *cap, struct cursor at, const struct cie *cie)
{
    struct function f = {.unclear = cie->signal};
    uint64_t lsda = 0;
    f.start = encoded(&at, cie->pointers);
    f.end = f.start + encoded_value(&at, cie->pointers & ENC_FORMAT);
    if (cie->augmented) {
        uint64_t length = leb128(&at);
        if (length && cie->lsda != ENC_OMIT)
            lsda = encoded(&at, cie->lsda);
    }
    if (at.bad || f.end < f.start)
        return false;
    if (f.end == f.start || !code_executable(c, f.start) || !code_at(c, f.start, f.end - f.start))
        return true; /* such as a function that the linker threw away */
    add_function(c, cap, f);
    return !lsda || read_landing_pads(c, &f, lsda);
}

static bool read_eh_frame(struct code *c, size_t *cap, struct cursor at, uint64_t length)
{
    if (at.bad || length > (uint64_t)(at.end - at.p))
        return false;
    at.end = at.p + length;
    const uint8_t *first = at.p;
    while (at.p < at.end) {
        uint64_t n = fixed(&at, 4);
        if (!n)
            return !at.bad; /* the end mark */
        if (n == UINT32_MAX || n < 4 || n > (uint64_t)(at.end - at.p))
            return false;
        struct cursor record = {.p = at.p, .end = at.p + n, .address = at.address}, common = at;
        fixed(&at, n > 8 ? 8 : n); /* then on to the next record */
        at.p = record.end;
        at.address = record.address + n;
        uint64_t back = fixed(&record, 4);
        struct cie cie;
        if (!back)
            continue; /* a CIE */
        if (back > (uint64_t)(common.p - first))
            return false;
        common.p -= back;
        common.address -= back;
        fixed(&common, 8); /* length and id */
        if (!read_cie(common, &cie) || !read_fde(c, cap, record, &cie))
            return false;
    }
    return !at.bad;
}

/* ---- sections ---- */

static bool section(const struct code *c, const Elf64_Ehdr *h, unsigned i, Elf64_Shdr *s)
{
    return h->e_shentsize == sizeof *s && i < h->e_shnum && h->e_shoff <= c->size &&
           take(c, h->e_shoff + i * sizeof *s, s, sizeof *s);
}

static bool is_named(const struct code *c, const Elf64_Ehdr *h, const Elf64_Shdr *s, const char *name)
{
    Elf64_Shdr names;
    char have[16] = "";
    size_t n = strlen(name) + 1;
    return section(c, h, h->e_shstrndx, &names) && s->sh_name < names.sh_size && names.sh_offset <= c->size &&
           n <= sizeof have && take(c, names.sh_offset + s->sh_name, have, n) && !memcmp(have, name, n);
}

/* The unwind tables: through the program header of their index, or by the name of their section. */
static bool read_unwind_tables(struct code *c, size_t *cap, const Elf64_Ehdr *h, uint64_t index)
{
    if (index) {
        struct cursor at = cursor_at(c, index);
        unsigned version = (unsigned)fixed(&at, 1), encoding = (unsigned)fixed(&at, 1);
        fixed(&at, 2);
        struct cursor tables = cursor_at(c, encoded(&at, encoding));
        return version == 1 && !at.bad && !tables.bad &&
               read_eh_frame(c, cap, tables, (uint64_t)(tables.end - tables.p));
    }
    Elf64_Shdr s;
    for (unsigned i = 0; section(c, h, i, &s); i++)
        if (is_named(c, h, &s, ".eh_frame") && s.sh_flags & SHF_ALLOC &&
            !read_eh_frame(c, cap, cursor_at(c, s.sh_addr), s.sh_size))
            return false;
    return true;
}

static int by_start(const void *a, const void *b)
{
    const struct function *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Sorts, and makes one of those that overlap. */
static void merge_overlaps(struct function *v, size_t *n, bool unclear)
{
    size_t kept = 0;
    if (*n)
        qsort(v, *n, sizeof *v, by_start);
    for (size_t i = 0; i < *n; i++) {
        struct function *last = kept ? &v[kept - 1] : NULL;
        if (!last || v[i].start >= last->end) {
            v[kept++] = v[i];
            continue;
        }
        last->unclear |= v[i].unclear || (unclear && (v[i].start != last->start || v[i].end != last->end));
        last->end = v[i].end > last->end ? v[i].end : last->end;
    }
    *n = kept;
}

static bool touches_function(const struct code *c, size_t n, const struct function *range)
{
    for (size_t low = 0, high = n; low < high;) {
        size_t middle = (low + high) / 2;
        const struct function *f = &c->functions[middle];
        if (range->start < f->end && f->start < range->end)
            return true;
        if (range->start < f->start)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

static void read_symbols_of(struct code *c, const Elf64_Shdr *s, struct code *found, size_t *cap)
{
    Elf64_Sym sym;
    for (uint64_t at = 0; at + sizeof sym <= s->sh_size && s->sh_offset <= c->size; at += sizeof sym) {
        if (!take(c, s->sh_offset + at, &sym, sizeof sym))
            return;
        unsigned type = ELF64_ST_TYPE(sym.st_info);
        if ((type == STT_FUNC || type == STT_GNU_IFUNC) && sym.st_shndx != SHN_UNDEF && sym.st_size &&
            code_executable(c, sym.st_value) && code_at(c, sym.st_value, sym.st_size))
            add_function(found, cap, (struct function){sym.st_value, sym.st_value + sym.st_size, false});
    }
}

/* Functions that only symbols tell of. Several symbols may name one; where they overlap, they are taken
 * together. */
static void read_symbols(struct code *c, size_t *cap, const Elf64_Ehdr *h)
{
    struct code found = {0};
    size_t found_cap = 0, unwound = c->n_functions;
    Elf64_Shdr s;
    for (unsigned i = 0; section(c, h, i, &s); i++)
        if ((s.sh_type == SHT_SYMTAB || s.sh_type == SHT_DYNSYM) && s.sh_entsize == sizeof(Elf64_Sym))
            read_symbols_of(c, &s, &found, &found_cap);
    merge_overlaps(found.functions, &found.n_functions, false);
    for (size_t i = 0; i < found.n_functions; i++) {
        const struct function *f = &found.functions[i];
        if (!touches_function(c, unwound, f) && code_at(c, f->start, f->end - f->start))
            add_function(c, cap, *f);
    }
    free(found.functions);
    if (c->n_functions)
        qsort(c->functions, c->n_functions, sizeof *c->functions, by_start);
}

/* ---- segments ---- */

static bool add_part(struct code *c, const Elf64_Phdr *p)
{
    if (!p->p_filesz)
        return true;
    if (c->n_parts == CODE_PARTS || p->p_offset > c->size || p->p_filesz > c->size - p->p_offset ||
        p->p_vaddr + p->p_filesz < p->p_vaddr || (p->p_flags & PF_X && p->p_flags & PF_W))
        return false;
    struct code_part part = {p->p_vaddr, p->p_vaddr + p->p_filesz, p->p_offset, p->p_flags & PF_X};
    for (unsigned i = 0; i < c->n_parts; i++) {
        const struct code_part *o = &c->parts[i];
        uint64_t o_end = o->offset + (o->end - o->start), part_end = part.offset + (part.end - part.start);
        if (part.start < o->end && o->start < part.end)
            return false;
        /* Code that is also loaded elsewhere has two addresses. */
        if ((part.executable || o->executable) && part.offset < o_end && o->offset < part_end)
            return false;
    }
    c->parts[c->n_parts++] = part;
    if (part.executable) {
        c->start = c->start && c->start < part.start ? c->start : part.start;
        c->end = c->end > part.end ? c->end : part.end;
    }
    return true;
}

/* Code that the dynamic linker will change is not what the file says. */
static bool is_relocated(const struct code *c, const Elf64_Phdr *p)
{
    Elf64_Dyn d;
    for (uint64_t at = 0; at + sizeof d <= p->p_filesz && p->p_offset <= c->size; at += sizeof d)
        if (!take(c, p->p_offset + at, &d, sizeof d) || d.d_tag == DT_NULL)
            break;
        else if (d.d_tag == DT_TEXTREL || (d.d_tag == DT_FLAGS && d.d_un.d_val & DF_TEXTREL))
            return true;
    return false;
}

static bool read_segments(struct code *c, const Elf64_Ehdr *h, uint64_t *unwind_index)
{
    Elf64_Phdr p;
    if (h->e_phentsize != sizeof p || h->e_phoff > c->size)
        return false;
    for (unsigned i = 0; i < h->e_phnum; i++) {
        if (!take(c, h->e_phoff + i * sizeof p, &p, sizeof p))
            return false;
        if ((p.p_type == PT_LOAD && !add_part(c, &p)) || (p.p_type == PT_DYNAMIC && is_relocated(c, &p)))
            return false;
        if (p.p_type == PT_GNU_EH_FRAME)
            *unwind_index = p.p_vaddr;
    }
    /* Tables as long as the code are made of it. */
    return c->end > c->start && c->end - c->start <= 4 * (uint64_t)c->size + (1 << 20);
}

int code_read(struct code *c, uint8_t *bytes, size_t size)
{
    Elf64_Ehdr h;
    uint64_t unwind_index = 0;
    size_t cap = 0;
    *c = (struct code){.bytes = bytes, .size = size};
    if (!take(c, 0, &h, sizeof h) || memcmp(h.e_ident, ELFMAG, SELFMAG) ||
        h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != EM_X86_64 ||
        (h.e_type != ET_EXEC && h.e_type != ET_DYN))
        return -ENOEXEC;
    c->fixed = h.e_type == ET_EXEC;
    if (!read_segments(c, &h, &unwind_index) || !read_unwind_tables(c, &cap, &h, unwind_index))
        return -EINVAL;
    merge_overlaps(c->functions, &c->n_functions, true);
    read_symbols(c, &cap, &h);
    return 0;
}
