/*
 * One function, disassembled, and what is proved about it: that its system calls may become calls.
 *
 * A call differs from SYSCALL in these ways, and each is a rule here:
 *   - it takes seven bytes, where `mov $nr,%eax; syscall` was: no jump may lead into them
 * (routine_references: the caller looks for those from outside too), and the function must be decoded from
 * its beginning to its end;
 *   - it writes its return address to -8(%rsp): nothing may live below the stack pointer. By the psABI only
 * leaf functions keep anything there, and compilers treat a function that makes any call as none. So a
 * function that calls must only never name memory below rsp; a leaf must not let the stack pointer escape
 * from rsp either;
 *   - flags are lost, which SYSCALL keeps: they must be overwritten before they are read.
 */
#ifndef JAVA_LAUNCHER_HOST_ROUTINE_H
#define JAVA_LAUNCHER_HOST_ROUTINE_H

#include "java-launcher/host/code.h"

/* What an instruction does, as far as the rules ask. */
enum insn_kind {
    INSN_SYSCALL = 1 << 0,
    INSN_NUMBER = 1 << 1,   /* mov $constant,%eax or %rax */
    INSN_CALL = 1 << 2,     /* of any kind */
    INSN_JUMP = 1 << 3,     /* to a fixed target */
    INSN_BRANCH = 1 << 4,   /* to a fixed target or the next instruction */
    INSN_INDIRECT = 1 << 5, /* jmp *register */
    INSN_RETURN = 1 << 6,
    INSN_LEA_CODE = 1 << 7,   /* lea label(%rip),register */
    INSN_BELOW_SP = 1 << 8,   /* names memory below rsp */
    INSN_SP_ESCAPES = 1 << 9, /* copies rsp, or addresses memory by rsp and another register */
    INSN_UNFIT = 1 << 10,     /* nothing is proved about functions that have it: std, popf, ... */
    INSN_MOVABLE = 1 << 11,   /* may as well run before a `mov $nr,%eax` that precedes it */
    INSN_OFFSET = 1 << 12,    /* movslq (base,index,4),register: an entry of a jump table */
    INSN_LOAD = 1 << 13,      /* mov memory,register of 64 bits */
    INSN_COPY = 1 << 14,      /* mov register,register of 64 bits */
    INSN_ADD = 1 << 15,       /* add register,register of 64 bits */
    INSN_POINTER = 1 << 16,   /* jmp *memory */
    INSN_ZERO = 1 << 17,      /* xor %eax,%eax, of two bytes */
    INSN_IS_ERROR = 1 << 18,  /* cmp $-4096,%rax, of six bytes */
    INSN_ABOVE = 1 << 19,     /* ja, of two or six bytes */
};

enum { NO_REGISTER = 16 };

struct insn {
    uint64_t address;
    uint64_t
        target; /* of jumps, branches, calls; for the rest what a rip-relative operand names; 0: nothing */
    uint32_t kind;
    uint32_t value;         /* INSN_NUMBER */
    uint32_t tested, wrote; /* arithmetic flags */
    uint16_t writes;        /* general registers, a bit each */
    uint8_t length, to, from, base;
};

struct routine {
    const struct function *function;
    struct insn *v;
    size_t n;
    uint8_t *jumped_to; /* of each instruction: something in this function jumps there */
    bool safe;          /* its system calls may become calls, as far as this function alone tells */
};

/* A place to change: instructions that move to its beginning, then the number's mov, then SYSCALL. */
struct site {
    uint64_t start, end; /* of all it takes */
    uint64_t mov_end;    /* behind the mov of the number, which is first */
    uint32_t number;
    bool short_zero; /* instead xor, SYSCALL, cmp, ja: see rewrite.h */
};

/* Disassembles f. False when it cannot be decoded from its beginning to its end, or a jump in it does not
 * lead to the beginning of an instruction. routine_free in any case. */
bool routine_read(struct routine *r, const struct code *c, const struct function *f);
void routine_free(struct routine *r);

/* Whether the SYSCALL that is instruction I belongs to a site. */
bool routine_site(const struct routine *r, size_t i, struct site *s);

/* Adds every address that an instruction of r names; those of tables of jump offsets go to `tables` as well.
 */
void routine_references(const struct routine *r, const struct code *c, struct addresses *all,
                        struct addresses *tables);

#endif
