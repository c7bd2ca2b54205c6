#include "java-launcher/host/rewrite.h"
#include "java-launcher/host/code.h"
#include "java-launcher/host/routine.h"
#include "java-launcher/host/util.h"
#include "kernel/arch/x86_64/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS = 512, CALL_SIZE = 7, SYSCALL_SIZE = 2, TABLE_MAX = 8192 };

/* One file at work. Per byte of the code's addresses, from code.start on: */
enum mark {
    MARK_NONE,
    MARK_INSIDE, /* inside a site: nobody may come here */
    MARK_NAMED,  /* but something may name this address */
};

struct work {
    struct code code;
    uint8_t *marks;
    uint8_t *decoded; /* whether the byte belongs to an instruction that was decoded */
    struct site *sites;
    size_t n_sites, cap_sites;
    struct addresses named, tables;
};

/* ---- sites of one function ---- */

/*
 * Calls that never return here, that continue on another stack, or in another thread, or whose code unwinders
 * know by its bytes: rt_sigreturn, clone, fork, vfork, execve, exit, exit_group, execveat, clone3.
 */
static bool stays(uint32_t number)
{
    static const uint32_t left_alone[] = {15, 56, 57, 58, 59, 60, 231, 322, 435};
    for (size_t i = 0; i < sizeof left_alone / sizeof *left_alone; i++)
        if (number == left_alone[i])
            return true;
    return number >= SLOTS;
}

static void add_site(struct work *w, const struct site *s)
{
    if (w->n_sites == w->cap_sites) {
        w->cap_sites = w->cap_sites ? 2 * w->cap_sites : 64;
        w->sites = realloc(w->sites, w->cap_sites * sizeof *s);
        if (!w->sites)
            die("out of memory");
    }
    w->sites[w->n_sites++] = *s;
    memset(w->marks + (s->start - w->code.start) + 1, MARK_INSIDE, s->end - s->start - 1);
}

/* How many bytes from START to END look like SYSCALL. */
static size_t lookalikes(const uint8_t *p, uint64_t n)
{
    size_t count = 0;
    for (uint64_t i = 0; i + 1 < n; i++)
        count += p[i] == 0x0f && p[i + 1] == 0x05;
    return count;
}

/* Decodes one function: what it names, and which sites it has. Returns how many SYSCALL instructions. */
static size_t visit_function(struct work *w, const struct function *f)
{
    struct routine r;
    struct site s;
    size_t count = 0;
    if (!routine_read(&r, &w->code, f)) {
        routine_free(&r);
        return lookalikes(code_at(&w->code, f->start, f->end - f->start), f->end - f->start);
    }
    memset(w->decoded + (f->start - w->code.start), 1, f->end - f->start);
    routine_references(&r, &w->code, &w->named, &w->tables);
    for (size_t i = 0; i < r.n; i++) {
        if (!(r.v[i].kind & INSN_SYSCALL))
            continue;
        count++;
        if (r.safe && routine_site(&r, i, &s) && !stays(s.number))
            add_site(w, &s);
    }
    routine_free(&r);
    return count;
}

/* Visits every function that has bytes which look like SYSCALL. Returns how many there are. */
static size_t visit_part(struct work *w, const struct code_part *part)
{
    const uint8_t *p = w->code.bytes + part->offset;
    size_t count = 0;
    for (uint64_t at = 0, n = part->end - part->start; at + 1 < n; at++) {
        if (p[at] != 0x0f || p[at + 1] != 0x05)
            continue;
        const struct function *f = code_function(&w->code, part->start + at);
        if (!f) {
            count++;
            continue;
        }
        count += visit_function(w, f);
        at = f->end - part->start - 1;
    }
    return count;
}

/* ---- who may jump into a site ---- */

/* The functions without sites: what is decoded names fewer addresses than bytes that may mean anything. */
static void visit_others(struct work *w)
{
    for (size_t i = 0; i < w->code.n_functions; i++)
        if (!w->decoded[w->code.functions[i].start - w->code.start])
            visit_function(w, &w->code.functions[i]);
}

static void name(struct work *w, uint64_t address)
{
    if (address >= w->code.start && address < w->code.end && w->marks[address - w->code.start] == MARK_INSIDE)
        w->marks[address - w->code.start] = MARK_NAMED;
}

static int32_t word_at(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Entries of a table of jump offsets, for as long as they lead to code: a longer table than the real one
 * names only more. */
static void name_table(struct work *w, uint64_t table)
{
    for (uint64_t at = table; at < table + 4 * TABLE_MAX; at += 4) {
        const uint8_t *p = code_at(&w->code, at, 4);
        uint64_t to = p ? table + (uint64_t)(int64_t)word_at(p) : 0;
        if (!p || !code_executable(&w->code, to))
            break;
        name(w, to);
    }
}

/* Code that was not decoded: any four bytes that follow what may be a jump, a call or a rip-relative operand,
 * and any byte that follows what may be a short jump. */
static void name_relatives(struct work *w, const struct code_part *part)
{
    const uint8_t *p = w->code.bytes + part->offset;
    for (uint64_t i = 1, n = part->end - part->start; i < n; i++) {
        uint64_t address = part->start + i;
        uint8_t before = p[i - 1];
        if (w->decoded[address - w->code.start])
            continue;
        if ((before & 0xf0) == 0x70 || before == 0xeb || (before & 0xfc) == 0xe0)
            name(w, address + 1 + (uint64_t)(int8_t)p[i]);
        if (n - i < 4)
            continue;
        uint64_t target = address + 4 + (uint64_t)(int64_t)word_at(p + i);
        bool operand = (before & 0xc7) == 0x05;
        if (operand || (before & 0xfe) == 0xe8 || (i > 1 && p[i - 2] == 0x0f && (before & 0xf0) == 0x80) ||
            (i > 1 && p[i - 2] == 0xc7 && before == 0xf8))
            name(w, target);
        if (operand && i > 1 && p[i - 2] == 0x8d)
            addresses_add(&w->tables, target);
    }
}

/* Addresses that the file holds as they are: pointers, relocations, symbols, absolute operands. What is
 * loaded anywhere has none in its instructions, and all of 64 bits. */
static void name_absolutes(struct work *w, const struct code_part *part)
{
    const uint8_t *p = w->code.bytes + part->offset;
    uint64_t n = part->end - part->start, address;
    if (!w->code.fixed) {
        for (uint64_t i = part->start & 1; i + sizeof address <= n && !part->executable; i += 2) {
            memcpy(&address, p + i, sizeof address);
            name(w, address);
        }
        return;
    }
    for (uint64_t i = 0; i + 4 <= n; i++)
        if (!part->executable || !w->decoded[part->start + i - w->code.start])
            name(w, (uint32_t)word_at(p + i));
}

static void name_all(struct work *w)
{
    const struct code *c = &w->code;
    visit_others(w);
    for (unsigned i = 0; i < c->n_parts; i++) {
        if (c->parts[i].executable)
            name_relatives(w, &c->parts[i]);
        name_absolutes(w, &c->parts[i]);
    }
    for (size_t i = 0; i < w->named.n; i++)
        name(w, w->named.v[i]);
    for (size_t i = 0; i < w->tables.n; i++)
        name_table(w, w->tables.v[i]);
    for (size_t i = 0; i < c->landing_pads.n; i++)
        name(w, c->landing_pads.v[i]);
}

/* ---- changing ---- */

/* call *slot: ff 14 25 and the slot's address, which is sign-extended. */
static void put_call(uint8_t *p, uint32_t number)
{
    uint32_t slot = (uint32_t)SYSCALL_TABLE + 8 * number;
    static const uint8_t opcode[] = {0xff, 0x14, 0x25};
    memcpy(p, opcode, sizeof opcode);
    memcpy(p + sizeof opcode, &slot, sizeof slot);
}

/* ja to js: 77 to 78, or 0f 87 to 0f 88. */
static void change_zero(uint8_t *p, const struct site *s)
{
    static const uint8_t test_rax[] = {0x48, 0x85, 0xc0};
    uint8_t *ja = p + CALL_SIZE + sizeof test_rax;
    put_call(p, s->number);
    memcpy(p + CALL_SIZE, test_rax, sizeof test_rax);
    ja[*ja == 0x0f]++;
}

/* The call ends where SYSCALL ended. A longer mov leaves two bytes: a no-operation. */
static bool change(struct work *w, const struct site *s)
{
    static const uint8_t nop[] = {0x66, 0x90};
    uint8_t *p = code_at(&w->code, s->start, s->end - s->start);
    const uint8_t *marks = w->marks + (s->start - w->code.start);
    for (uint64_t i = 1; i < s->end - s->start; i++)
        if (marks[i] != MARK_INSIDE)
            return false;
    if (s->short_zero) {
        change_zero(p, s);
        return true;
    }
    uint64_t moved = s->end - SYSCALL_SIZE - s->mov_end, size = s->end - s->start;
    memmove(p, p + (s->mov_end - s->start), moved);
    if (size - moved > CALL_SIZE)
        memcpy(p + moved, nop, sizeof nop);
    put_call(p + size - CALL_SIZE, s->number);
    return true;
}

void rewrite_bytes(uint8_t *bytes, size_t size, struct rewrite_count *count)
{
    struct work w = {0};
    struct code *c = &w.code;
    bool ok = code_read(c, bytes, size) == 0;
    if (ok) {
        w.marks = calloc(1, c->end - c->start);
        w.decoded = calloc(1, c->end - c->start);
        if (!w.marks || !w.decoded)
            die("out of memory");
    }
    for (unsigned i = 0; ok && i < c->n_parts; i++)
        if (c->parts[i].executable)
            count->sites += visit_part(&w, &c->parts[i]);
    if (w.n_sites)
        name_all(&w);
    for (size_t i = 0; i < w.n_sites; i++)
        count->rewritten += change(&w, &w.sites[i]);
    free(w.marks);
    free(w.decoded);
    free(w.sites);
    free(w.named.v);
    free(w.tables.v);
    code_free(c);
}

/* ---- files ---- */

static struct rewrite_count *walk_total;
static size_t walk_root;

/* Under a new name first: the file may be a link to one that others use. */
static void replace(const char *path, const struct stat *st, const uint8_t *bytes)
{
    char *temp = fmt("%s.moka-new", path);
    write_whole(temp, bytes, (size_t)st->st_size, 0600);
    if (chmod(temp, st->st_mode & 07777) < 0 || rename(temp, path) < 0)
        die("cannot write %s: %s", path, strerror(errno));
    free(temp);
}

static int rewrite_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    struct rewrite_count count = {0};
    (void)ftw;
    if (type != FTW_F || !S_ISREG(st->st_mode) || !st->st_size)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char magic[4] = "";
    bool elf = fd >= 0 && pread(fd, magic, sizeof magic, 0) == sizeof magic && !memcmp(magic, "\177ELF", 4);
    void *p = elf ? mmap(NULL, (size_t)st->st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    if (p == MAP_FAILED)
        return 0;
    check_interrupt();
    rewrite_bytes(p, (size_t)st->st_size, &count);
    if (count.rewritten)
        replace(path, st, p);
    if (count.sites)
        note("%s: %zu of %zu system calls made calls", path + walk_root, count.rewritten, count.sites);
    munmap(p, (size_t)st->st_size);
    walk_total->sites += count.sites;
    walk_total->rewritten += count.rewritten;
    return 0;
}

void rewrite_tree(const char *root, struct rewrite_count *total)
{
    walk_total = total;
    walk_root = strlen(root);
    nftw(root, rewrite_file, 32, FTW_PHYS);
}
