/*
 * The code of an ELF file: where its instructions are, and where each function begins and ends.
 *
 * Functions come from the unwind tables (.eh_frame), and, where these say nothing, from the symbols with a
 * size. Everything read from the file is checked against its size; a file that says something odd is refused
 * as a whole, because what it says elsewhere cannot be relied on either. Addresses are the file's own (before
 * relocation).
 */
#ifndef JAVA_LAUNCHER_HOST_CODE_H
#define JAVA_LAUNCHER_HOST_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CODE_PARTS = 16 };

/* A loadable segment, as far as the file has bytes for it. */
struct code_part {
    uint64_t start, end; /* addresses */
    uint64_t offset;     /* of start in the file */
    bool executable;
};

struct function {
    uint64_t start, end;
    bool unclear; /* the file contradicts itself, or it is no ordinary function */
};

struct addresses {
    uint64_t *v;
    size_t n, cap;
};

struct code {
    uint8_t *bytes; /* the whole file; not owned */
    size_t size;
    bool fixed; /* linked for one address: code and data may hold absolute addresses */
    struct code_part parts[CODE_PARTS];
    unsigned n_parts;
    uint64_t start, end; /* around all executable parts */
    struct function *functions;
    size_t n_functions;            /* sorted, none overlaps another */
    struct addresses landing_pads; /* where exceptions continue (language-specific data) */
};

/* 0; -ENOEXEC: not an x86-64 program or library; -EINVAL: one that is not to be touched. code_free in any
 * case. */
int code_read(struct code *c, uint8_t *bytes, size_t size);
void code_free(struct code *c);

/* The bytes of N bytes of memory at ADDRESS; NULL when they are not all in one part. */
uint8_t *code_at(const struct code *c, uint64_t address, uint64_t n);
/* Whether ADDRESS lies in an executable part. */
bool code_executable(const struct code *c, uint64_t address);
const struct function *code_function(const struct code *c, uint64_t address);

void addresses_add(struct addresses *a, uint64_t address);

#endif
