/* System calls as calls: functions assembled by hand in ELF files made here. Prints `ok NAME` or `not ok
 * NAME: why`. */
#include "java-launcher/host/rewrite.h"
#include "java-launcher/host/util.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *now;
static int failures;

#define CHECK(c)                                                                                             \
    do {                                                                                                     \
        if (!(c)) {                                                                                          \
            printf("not ok rewrite/%s: line %d: %s\n", now, __LINE__, #c);                                   \
            failures++;                                                                                      \
            return;                                                                                          \
        }                                                                                                    \
    } while (0)

/* ---- a file ---- */

enum {
    CODE = 0x1000, /* addresses are file offsets */
    DATA = 0x2000,
    EH_FRAME = 0x2010,
    TABLE = 0x2800, /* whatever a test puts there */
    LSDA = 0x2a00,
    DATA_END = 0x2c00,
    SYMBOLS = 0x3000,
    SIZE = 0x4000,
};

struct file {
    uint8_t bytes[SIZE];
    size_t length; /* of the code */
    struct {
        unsigned start, end, lsda; /* from CODE on */
    } functions[4];
    unsigned n;
    bool by_symbols; /* no unwind tables */
    bool fixed, writable_code, textrel;
};

static void put32(uint8_t **p, uint32_t v)
{
    memcpy(*p, &v, 4);
    *p += 4;
}

static void put_string(uint8_t **p, const void *s, size_t n)
{
    memcpy(*p, s, n);
    *p += n;
}

/* A record of .eh_frame begins; its length is set when it ends. */
static uint8_t *record(uint8_t **p)
{
    uint8_t *start = *p;
    put32(p, 0);
    return start;
}

static void record_end(uint8_t **p, uint8_t *start)
{
    while ((*p - start) % 4)
        *(*p)++ = 0;
    put32(&start, (uint32_t)(*p - start - 4));
}

static void make_unwind(struct file *f)
{
    uint8_t *p = f->bytes + DATA, *cie, *fde;
    put_string(&p, "\x01\x1b\xff\xff", 4); /* version, pointer relative to itself, no table */
    put32(&p, EH_FRAME - (DATA + 4));
    p = f->bytes + EH_FRAME;
    cie = record(&p);
    put32(&p, 0);
    put_string(&p, "\1zLR\0\1\x78\x10\2\x1b\x1b", 11); /* LSDA and addresses: relative, 4 bytes */
    record_end(&p, cie);
    for (unsigned i = 0; i < f->n; i++) {
        fde = record(&p);
        put32(&p, (uint32_t)(p - cie));
        put32(&p, CODE + f->functions[i].start - (uint32_t)(p - f->bytes));
        put32(&p, f->functions[i].end - f->functions[i].start);
        *p++ = 4;
        put32(&p, f->functions[i].lsda ? f->functions[i].lsda - (uint32_t)(p - f->bytes) : 0);
        record_end(&p, fde);
    }
    put32(&p, 0);
}

static void make_symbols(struct file *f)
{
    Elf64_Sym *sym = (Elf64_Sym *)(f->bytes + SYMBOLS);
    for (unsigned i = 0; i < f->n; i++)
        sym[i + 1] = (Elf64_Sym){.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                                 .st_shndx = 1,
                                 .st_value = CODE + f->functions[i].start,
                                 .st_size = f->functions[i].end - f->functions[i].start};
}

static void make(struct file *f)
{
    Elf64_Ehdr *h = (Elf64_Ehdr *)f->bytes;
    Elf64_Phdr *p = (Elf64_Phdr *)(h + 1);
    Elf64_Shdr *s = (Elf64_Shdr *)(f->bytes + 0x200);
    *h = (Elf64_Ehdr){.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                      .e_type = f->fixed ? ET_EXEC : ET_DYN,
                      .e_machine = EM_X86_64,
                      .e_phoff = sizeof *h,
                      .e_phentsize = sizeof *p,
                      .e_phnum = 4,
                      .e_shoff = 0x200,
                      .e_shentsize = sizeof *s,
                      .e_shnum = 2};
    p[0] = (Elf64_Phdr){.p_type = PT_LOAD,
                        .p_flags = PF_R | PF_X | (f->writable_code ? PF_W : 0),
                        .p_offset = CODE,
                        .p_vaddr = CODE,
                        .p_filesz = f->length,
                        .p_memsz = f->length};
    p[1] = (Elf64_Phdr){.p_type = PT_LOAD,
                        .p_flags = PF_R,
                        .p_offset = DATA,
                        .p_vaddr = DATA,
                        .p_filesz = DATA_END - DATA,
                        .p_memsz = DATA_END - DATA};
    p[2] =
        (Elf64_Phdr){.p_type = f->by_symbols ? PT_NULL : PT_GNU_EH_FRAME, .p_vaddr = DATA, .p_offset = DATA};
    p[3] = (Elf64_Phdr){.p_type = PT_DYNAMIC, .p_offset = 0x400, .p_filesz = 2 * sizeof(Elf64_Dyn)};
    ((Elf64_Dyn *)(f->bytes + 0x400))->d_tag = f->textrel ? DT_TEXTREL : DT_NULL;
    s[1] = (Elf64_Shdr){.sh_type = SHT_SYMTAB,
                        .sh_offset = SYMBOLS,
                        .sh_size = (f->n + 1) * sizeof(Elf64_Sym),
                        .sh_entsize = sizeof(Elf64_Sym)};
    if (f->by_symbols)
        make_symbols(f);
    else
        make_unwind(f);
}

static void add_code(struct file *f, const void *code, size_t n)
{
    memcpy(f->bytes + CODE + f->length, code, n);
    f->length += n;
}

static void add_function(struct file *f, const void *code, size_t n)
{
    f->functions[f->n].start = (unsigned)f->length;
    add_code(f, code, n);
    f->functions[f->n++].end = (unsigned)f->length;
}

/* String literals as code, without their final zero. */
#define CODE_OF(text)      text, sizeof(text) - 1
#define ONE_FUNCTION(text) one_function(CODE_OF(text))
#define SITE               "\xb8\x6e\0\0\0\x0f\x05"     /* mov $110,%eax; syscall */
#define CALL               "\xff\x14\x25\x70\x03\0\xf0" /* call *0xfffffffff0000370 */
#define RET                "\xc3"
#define CALL_NEXT          "\xe8\0\0\0\0" /* call to the next instruction */
#define LEFT(f)            (rewritten(f) == 0)

static struct file one_function(const void *code, size_t n)
{
    struct file f = {0};
    add_function(&f, code, n);
    return f;
}

/* Makes the file and rewrites it. How many sites changed; -1: something else did. */
static int rewritten(struct file *f)
{
    struct rewrite_count count = {0};
    make(f);
    struct file before = *f;
    rewrite_bytes(f->bytes, SIZE, &count);
    if (memcmp(before.bytes, f->bytes, CODE) || memcmp(before.bytes + DATA, f->bytes + DATA, SIZE - DATA))
        return -1;
    if (!count.rewritten != !memcmp(before.bytes, f->bytes, SIZE))
        return -1;
    return (int)count.rewritten;
}

static bool code_is(const struct file *f, const void *code, size_t n)
{
    return f->length == n && !memcmp(f->bytes + CODE, code, n);
}

/* ---- what is rewritten ---- */

static void test_plain_site(void)
{
    struct file f = ONE_FUNCTION(SITE "\x48\x3d\x01\xf0\xff\xff\x73\x01" RET RET);
    CHECK(rewritten(&f) == 1 && code_is(&f, CODE_OF(CALL "\x48\x3d\x01\xf0\xff\xff\x73\x01" RET RET)));
    f = ONE_FUNCTION(SITE RET);
    f.by_symbols = true;
    CHECK(rewritten(&f) == 1 && code_is(&f, CODE_OF(CALL RET)));
    f = ONE_FUNCTION(SITE RET);
    f.fixed = true;
    CHECK(rewritten(&f) == 1);
    f = ONE_FUNCTION(SITE SITE "\xeb\xf0"); /* a jump to the beginning of a site */
    CHECK(rewritten(&f) == 0);              /* but no flag is ever written behind these */
    f = ONE_FUNCTION(SITE SITE "\x31\xc0\xeb\xee");
    CHECK(rewritten(&f) == 2 && code_is(&f, CODE_OF(CALL CALL "\x31\xc0\xeb\xee")));
    CHECK(rewritten(&f) == 0); /* once is enough */
}

static void test_instructions_between(void)
{
    struct file f = ONE_FUNCTION("\xb8\x6e\0\0\0\x40\x80\xf6\x80\x0f\x05" RET); /* xor $0x80,%sil */
    CHECK(rewritten(&f) == 1 && code_is(&f, CODE_OF("\x40\x80\xf6\x80" CALL RET)));
    f = ONE_FUNCTION("\x48\xc7\xc0\x6e\0\0\0\x0f\x05" RET); /* mov $110,%rax */
    CHECK(rewritten(&f) == 1 && code_is(&f, CODE_OF("\x66\x90" CALL RET)));
    f = ONE_FUNCTION("\xb8\x6e\0\0\0\x89\xc7\x0f\x05" RET); /* mov %eax,%edi needs the number */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\xb8\x6e\0\0\0\x5f\x0f\x05" RET); /* pop %rdi: the unwind tables know where */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\xb8\x6e\0\0\0\x48\x8d\x3d\0\0\0\0\x0f\x05" RET); /* lea 0(%rip),%rdi */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x75\x05\xb8\x6e\0\0\0\x31\xff\x0f\x05" RET); /* jne to the instruction between */
    CHECK(LEFT(&f));
}

static void test_too_short(void)
{
    struct file f = ONE_FUNCTION("\x31\xc0\x0f\x05" RET); /* xor %eax,%eax; syscall */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x89\xf8\x0f\x05" RET); /* the number is a variable */
    CHECK(LEFT(&f));
}

#define ZERO      "\x31\xc0\x0f\x05"           /* xor %eax,%eax; syscall */
#define IS_ERROR  "\x48\x3d\x00\xf0\xff\xff"   /* cmp $-4096,%rax */
#define CALL_ZERO "\xff\x14\x25\x00\x00\0\xf0" /* call *0xfffffffff0000000 */
#define TEST_RAX  "\x48\x85\xc0"               /* test %rax,%rax */
#define FAR_ABOVE "\x0f\x87\x00\0\0\0"

static void test_zero(void)
{
    struct file f = ONE_FUNCTION(ZERO IS_ERROR "\x77\x01" RET RET);
    CHECK(rewritten(&f) == 1 && code_is(&f, CODE_OF(CALL_ZERO TEST_RAX "\x78\x01" RET RET)));
    f = ONE_FUNCTION(ZERO IS_ERROR FAR_ABOVE RET);
    CHECK(rewritten(&f) == 1 && code_is(&f, CODE_OF(CALL_ZERO TEST_RAX "\x0f\x88\x00\0\0\0" RET)));
    f = ONE_FUNCTION("\x74\x00" ZERO IS_ERROR "\x77\x01" RET RET); /* a jump to its beginning */
    CHECK(rewritten(&f) == 1);
    f = ONE_FUNCTION("\x33\xc0\x0f\x05" IS_ERROR "\x77\x01" RET RET); /* the other encoding */
    CHECK(rewritten(&f) == 1);
}

static void test_zero_left_alone(void)
{
    struct file f = ONE_FUNCTION("\x74\x04" ZERO IS_ERROR "\x77\x01" RET RET); /* a jump to the cmp */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x74\x0a" ZERO IS_ERROR "\x77\x01" RET RET); /* to the ja */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(ZERO IS_ERROR "\x77\x01" RET RET);
    add_function(&f, CODE_OF("\xe9\xf1\xff\xff\xff")); /* from another function to the cmp */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(ZERO IS_ERROR "\x77\x03\x0f\x94\xc0" RET); /* sete behind it */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(ZERO IS_ERROR "\x77\x01" RET "\x0f\x92\xc0" RET); /* setb where it leads */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(ZERO IS_ERROR "\x73\x01" RET RET); /* jae */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(ZERO "\x48\x3d\x00\xe0\xff\xff\x77\x01" RET RET); /* other errors */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(ZERO "\x48\x81\xfb\x00\xf0\xff\xff\x77\x01" RET RET); /* of rbx */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x48\x31\xc0\x0f\x05" IS_ERROR "\x77\x01" RET RET); /* longer: nobody writes that */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x48\x89\x7c\x24\xf8" ZERO IS_ERROR "\x77\x01" RET RET); /* the red zone */
    CHECK(LEFT(&f));
}

static void test_numbers_left_alone(void)
{
    static const unsigned numbers[] = {15, 56, 57, 58, 59, 60, 231, 322, 435, 512, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct file f = ONE_FUNCTION(SITE RET);
        memcpy(f.bytes + CODE + 1, &numbers[i], 4);
        CHECK(LEFT(&f));
    }
}

/* ---- jumps into a site ---- */

static void test_jump_in_function(void)
{
    struct file f = ONE_FUNCTION("\x74\x05" SITE RET); /* je to the syscall */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x74\x00" SITE RET); /* to the mov */
    CHECK(rewritten(&f) == 1);
    f = ONE_FUNCTION("\x74\x02" SITE RET); /* into the mov: then it is other code, too */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x48\x8d\x05\x05\0\0\0" SITE RET); /* lea of the syscall */
    CHECK(LEFT(&f));
}

static void test_jump_from_elsewhere(void)
{
    struct file f = ONE_FUNCTION(SITE RET);
    add_function(&f, CODE_OF("\xe9\xf8\xff\xff\xff")); /* jmp from another function to the syscall */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(SITE RET);
    add_code(&f, CODE_OF("\x90\x0f\x84\xf6\xff\xff\xff")); /* je from code of no function */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(SITE RET);
    add_code(&f, CODE_OF("\xeb\xfb")); /* a short one */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(SITE RET);
    add_function(&f, CODE_OF("\x06\xeb\xfa")); /* from a function that cannot be decoded */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(SITE RET);
    add_function(&f, CODE_OF("\xe9\xf3\xff\xff\xff")); /* to the beginning: allowed */
    CHECK(rewritten(&f) == 1);
}

static void test_pointers(void)
{
    uint64_t inside = CODE + 5, start = CODE;
    struct file f = ONE_FUNCTION(SITE RET);
    memcpy(f.bytes + TABLE, &inside, 8);
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(SITE RET);
    f.fixed = true;
    memcpy(f.bytes + TABLE + 3, &inside, 4);
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(SITE RET "\x68\x05\x10\0\0" RET); /* push $CODE + 5 */
    f.fixed = true;
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(SITE RET);
    memcpy(f.bytes + TABLE, &start, 8);
    CHECK(rewritten(&f) == 1);
}

/* lea TABLE(%rip),%rdx; movslq (%rdx,%rax,4),%rax; add %rdx,%rax; jmp *%rax */
#define TABLE_JUMP "\x48\x8d\x15\xf9\x17\0\0\x48\x63\x04\x82\x48\x01\xd0\xff\xe0"

static struct file with_table(int32_t first, int32_t second)
{
    struct file f = ONE_FUNCTION(TABLE_JUMP SITE RET);
    int32_t entries[] = {first - TABLE, second - TABLE, 1 << 30};
    memcpy(f.bytes + TABLE, entries, sizeof entries);
    return f;
}

static void test_jump_tables(void)
{
    struct file f = with_table(CODE + 16, CODE + 23);
    CHECK(rewritten(&f) == 1);
    f = with_table(CODE + 16, CODE + 21); /* the second leads to the syscall */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\xff\xe7" SITE RET); /* jmp *%rdi: anywhere */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x48\x8b\x07\xff\xe0" SITE RET); /* a stored pointer: those are searched for */
    CHECK(rewritten(&f) == 1);
    f = ONE_FUNCTION("\x48\x01\xd0\xff\xe0" SITE RET); /* computed, from what nobody knows */
    CHECK(LEFT(&f));
    f = with_table(CODE + 16, CODE + 23);
    memcpy(f.bytes + CODE + 7, "\x48\x63\x04\x86",
           4); /* offsets from one table, added to another's address */
    CHECK(LEFT(&f));
}

static struct file with_landing_pad(uint8_t pad)
{
    struct file f = ONE_FUNCTION(CALL_NEXT SITE RET);
    uint8_t lsda[] = {0xff, 0xff, 1, 4, 0, 5, pad, 0}; /* one call site: 0..5, lands at pad */
    f.functions[0].lsda = LSDA;
    memcpy(f.bytes + LSDA, lsda, sizeof lsda);
    return f;
}

static void test_landing_pads(void)
{
    struct file f = with_landing_pad(5);
    CHECK(rewritten(&f) == 1);
    f = with_landing_pad(10);
    CHECK(LEFT(&f));
    f = with_landing_pad(5);
    f.bytes[LSDA + 3] = 0x7f; /* the table is longer than the rest: nothing in it is believed */
    f.bytes[LSDA + 2] = 9;
    CHECK(LEFT(&f));
}

/* ---- the red zone ---- */

static void test_red_zone(void)
{
    struct file f = ONE_FUNCTION("\x48\x89\x7c\x24\xf8" SITE "\x48\x8b\x7c\x24\xf8" RET); /* -8(%rsp) */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x48\x89\x7c\x24\x80" SITE RET CALL_NEXT); /* -128(%rsp), although it calls */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x48\x8d\x74\x24\xe8" SITE RET); /* lea -24(%rsp),%rsi */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x55\x48\x89\xe5" SITE "\x5d" RET); /* push %rbp; mov %rsp,%rbp in a leaf */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x48\x8d\x74\x24\x08" SITE RET); /* lea 8(%rsp),%rsi in a leaf */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x54\x5e" SITE RET); /* push %rsp; pop %rsi */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x48\x89\x3c\xc4" SITE RET); /* mov %rdi,(%rsp,%rax,8) */
    CHECK(LEFT(&f));
}

static void test_frames(void)
{
    /* sub $24,%rsp; lea 8(%rsp),%rdi; site; call; add $24,%rsp */
    struct file f =
        ONE_FUNCTION("\x48\x83\xec\x18\x48\x8d\x7c\x24\x08" SITE CALL_NEXT "\x48\x83\xc4\x18" RET);
    CHECK(rewritten(&f) == 1);
    /* push %rbp; mov %rsp,%rbp; sub $16,%rsp; mov %edi,-4(%rbp); site; call; leave */
    f = ONE_FUNCTION("\x55\x48\x89\xe5\x48\x83\xec\x10\x89\x7d\xfc" SITE CALL_NEXT "\xc9" RET);
    CHECK(rewritten(&f) == 1);
    /* push %rbx; sub $8,%rsp; mov 4(%rsp),%edi; site; a leaf with a frame */
    f = ONE_FUNCTION("\x53\x48\x83\xec\x08\x8b\x7c\x24\x04" SITE "\x48\x83\xc4\x08\x5b" RET);
    CHECK(rewritten(&f) == 1);
}

/* ---- flags ---- */

static void test_flags(void)
{
    struct file f = ONE_FUNCTION("\x85\xff" SITE "\x74\x00" RET); /* test; site; je */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x85\xff" SITE "\xeb\x00\x0f\x94\xc0" RET); /* jmp; sete */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x85\xff" SITE "\x48\xff\xc0\x72\x00" RET); /* inc leaves the carry; jc */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x85\xff" SITE "\xeb\x00\x85\xc0\x74\x00" RET); /* jmp; test; je */
    CHECK(rewritten(&f) == 1);
    f = ONE_FUNCTION("\xfd" SITE "\xfc" RET); /* std */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x57\x9d" SITE RET); /* push %rdi; popfq */
    CHECK(LEFT(&f));
}

/* ---- functions ---- */

static void test_bounds(void)
{
    struct file f = {0};
    add_code(&f, CODE_OF(SITE RET)); /* of no function */
    CHECK(LEFT(&f));
    f = (struct file){0};
    add_function(&f, CODE_OF("\xb8\x6e\0\0\0")); /* ends between the two */
    add_function(&f, CODE_OF("\x0f\x05" RET));
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(SITE RET);
    f.functions[f.n].start = 5, f.functions[f.n++].end = 8; /* they overlap */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION("\x06" SITE RET); /* no instruction */
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(SITE RET "\x48\xb8\1\2"); /* ends within one */
    CHECK(LEFT(&f));
}

static void test_files(void)
{
    struct file f = ONE_FUNCTION(SITE RET);
    f.writable_code = true;
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(SITE RET);
    f.textrel = true;
    CHECK(LEFT(&f));
    f = ONE_FUNCTION(SITE RET);
    make(&f);
    for (size_t size = 0; size < SIZE; size++) {
        struct file cut = f;
        struct rewrite_count count = {0};
        uint8_t *bytes = memcpy(xmalloc(size + !size), cut.bytes, size); /* the sanitizer sees its end */
        rewrite_bytes(bytes, size, &count);
        CHECK(size >= DATA_END || count.rewritten == 0);
        free(bytes);
    }
}

/* ---- damage ---- */

static uint32_t seed = 12345;

static uint32_t any(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)seed * below >> 32);
}

/* Values that break arithmetic, in random places, most of them among the headers. */
static void damage(uint8_t *bytes, size_t size)
{
    static const uint64_t values[] = {
        0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, ~0ull, 1ull << 63};
    for (uint32_t i = 0, n = 1 + any(8); i < n; i++) {
        size_t at = any(2) ? any(0x500) : any((uint32_t)size);
        uint64_t value = any(3) ? values[any(9)] : any(0xffffffff);
        size_t width = (size_t)1 << any(4);
        if (at + width <= size)
            memcpy(bytes + at, &value, width);
    }
}

static void damaged_copies(const uint8_t *bytes, size_t size, int times)
{
    for (int i = 0; i < times; i++) {
        struct rewrite_count count = {0};
        size_t n = any(4) ? size : any((uint32_t)size) + 1;
        uint8_t *copy = memcpy(xmalloc(n), bytes, n);
        damage(copy, n);
        rewrite_bytes(copy, n, &count);
        free(copy);
    }
}

static void test_damaged(void)
{
    struct file f = with_landing_pad(5);
    add_function(&f, CODE_OF(TABLE_JUMP SITE RET));
    make(&f);
    damaged_copies(f.bytes, SIZE, 20000);
    f.by_symbols = true;
    make(&f);
    damaged_copies(f.bytes, SIZE, 10000);
    struct buf b = {0};
    CHECK(read_whole("/lib64/ld-linux-x86-64.so.2", &b) == 0);
    damaged_copies((uint8_t *)b.p, b.n, 60);
}

/* ---- real files ---- */

static void test_libc(void)
{
    struct buf b = {0};
    struct rewrite_count count = {0};
    CHECK(read_whole("/lib/x86_64-linux-gnu/libc.so.6", &b) == 0);
    rewrite_bytes((uint8_t *)b.p, b.n, &count);
    CHECK(count.sites > 400 && count.rewritten * 5 > count.sites * 4);
}

static void test_tree(void)
{
    struct file f = ONE_FUNCTION(SITE RET);
    struct rewrite_count count = {0};
    struct stat st;
    struct buf original = {0}, changed = {0};
    char dir[] = "/tmp/moka-rewrite.XXXXXX";
    CHECK(mkdtemp(dir));
    make(&f);
    write_whole(fmt("%s/kept", dir), f.bytes, SIZE, 0644);
    make_dirs(fmt("%s/root/lib", dir));
    CHECK(link(fmt("%s/kept", dir), fmt("%s/root/lib/a.so", dir)) == 0);
    CHECK(symlink("a.so", fmt("%s/root/lib/b.so", dir)) == 0);
    write_whole(fmt("%s/root/text", dir), "\177ELF?", 5, 0644);
    chmod(fmt("%s/root/lib/a.so", dir), 0555);
    rewrite_tree(fmt("%s/root", dir), &count);
    CHECK(count.sites == 1 && count.rewritten == 1);
    CHECK(read_whole(fmt("%s/kept", dir), &original) == 0 && !memcmp(original.p, f.bytes, SIZE));
    CHECK(read_whole(fmt("%s/root/lib/b.so", dir), &changed) == 0 && changed.n == SIZE);
    CHECK(!memcmp(changed.p + CODE, CALL, 7));
    CHECK(stat(fmt("%s/root/lib/a.so", dir), &st) == 0 && (st.st_mode & 0777) == 0555);
    remove_tree(dir);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {{"plain-site", test_plain_site},
                 {"instructions-between", test_instructions_between},
                 {"too-short", test_too_short},
                 {"zero", test_zero},
                 {"zero-left-alone", test_zero_left_alone},
                 {"numbers-left-alone", test_numbers_left_alone},
                 {"jump-in-function", test_jump_in_function},
                 {"jump-from-elsewhere", test_jump_from_elsewhere},
                 {"pointers", test_pointers},
                 {"jump-tables", test_jump_tables},
                 {"landing-pads", test_landing_pads},
                 {"red-zone", test_red_zone},
                 {"frames", test_frames},
                 {"flags", test_flags},
                 {"bounds", test_bounds},
                 {"files", test_files},
                 {"damaged", test_damaged},
                 {"libc", test_libc},
                 {"tree", test_tree}};
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        int before = failures;
        now = tests[i].name;
        tests[i].run();
        if (failures == before)
            printf("ok rewrite/%s\n", now);
    }
    return failures != 0;
}
