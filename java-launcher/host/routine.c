#include "java-launcher/host/routine.h"
#include "java-launcher/host/util.h"

#include <Zydis/Zydis.h>
#include <stdlib.h>
#include <string.h>

enum { FUNCTION_MAX = 1 << 20, MOVED_MAX = 4, LOOK_AHEAD = 64 };

static const uint32_t arithmetic = ZYDIS_CPUFLAG_CF | ZYDIS_CPUFLAG_PF | ZYDIS_CPUFLAG_AF | ZYDIS_CPUFLAG_ZF |
                                   ZYDIS_CPUFLAG_SF | ZYDIS_CPUFLAG_OF;

/* ---- one instruction ---- */

/* 0..15 for a general register of any width, else NO_REGISTER. */
static uint8_t general(ZydisRegister reg)
{
    ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    return whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15 ? (uint8_t)(whole - ZYDIS_REGISTER_RAX)
                                                                      : NO_REGISTER;
}

enum { RAX = 0, RSP = 4 };

static bool explicit(const ZydisDecodedOperand *o)
{
    return o->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN;
}

/* add, sub or and of a constant to rsp: the stack pointer moves, and nothing else learns it. */
static bool moves_sp(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
    return (z->mnemonic == ZYDIS_MNEMONIC_ADD || z->mnemonic == ZYDIS_MNEMONIC_SUB ||
            z->mnemonic == ZYDIS_MNEMONIC_AND) &&
           o[0].type == ZYDIS_OPERAND_TYPE_REGISTER && o[0].reg.value == ZYDIS_REGISTER_RSP &&
           o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

static void look_at_memory(struct insn *i, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o,
                           const ZydisDecodedOperand *first)
{
    bool by_sp = general(o->mem.base) == RSP;
    if (by_sp && explicit(o)) {
        if (o->mem.disp.value < 0)
            i->kind |= INSN_BELOW_SP;
        if (o->mem.index != ZYDIS_REGISTER_NONE)
            i->kind |= INSN_SP_ESCAPES;
        bool into_sp = first->type == ZYDIS_OPERAND_TYPE_REGISTER && first->reg.value == ZYDIS_REGISTER_RSP;
        if (z->mnemonic == ZYDIS_MNEMONIC_LEA && into_sp)
            i->kind &= ~(uint32_t)(INSN_BELOW_SP | INSN_SP_ESCAPES);
        else if (z->mnemonic == ZYDIS_MNEMONIC_LEA)
            i->kind |= INSN_SP_ESCAPES;
    }
    if (general(o->mem.base) == RAX || general(o->mem.index) == RAX)
        i->kind &= ~(uint32_t)INSN_MOVABLE;
}

static void look_at_operands(struct insn *i, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
    for (unsigned k = 0; k < z->operand_count; k++) {
        if (o[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
            look_at_memory(i, z, &o[k], &o[0]);
        if (o[k].type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        uint8_t reg = general(o[k].reg.value);
        if (reg == NO_REGISTER)
            continue;
        if (o[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
            i->writes |= (uint16_t)(1 << reg);
        if (reg == RSP && explicit(&o[k]) && o[k].actions & ZYDIS_OPERAND_ACTION_MASK_READ && !moves_sp(z, o))
            i->kind |= INSN_SP_ESCAPES;
        if (reg == RAX || (reg == RSP && o[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            i->kind &= ~(uint32_t)INSN_MOVABLE;
    }
}

/* Moves and additions between registers, as jump tables and calls through pointers need them. */
static void look_at_moves(struct insn *i, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
    i->to = i->from = i->base = NO_REGISTER;
    if (z->operand_count < 2 || o[0].type != ZYDIS_OPERAND_TYPE_REGISTER || o[0].size != 64)
        return;
    i->to = general(o[0].reg.value);
    bool memory = o[1].type == ZYDIS_OPERAND_TYPE_MEMORY, reg = o[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    if (reg)
        i->from = general(o[1].reg.value);
    if (memory)
        i->base = general(o[1].mem.base);
    if (z->mnemonic == ZYDIS_MNEMONIC_MOV && memory)
        i->kind |= INSN_LOAD;
    else if (z->mnemonic == ZYDIS_MNEMONIC_MOV && reg)
        i->kind |= INSN_COPY;
    else if (z->mnemonic == ZYDIS_MNEMONIC_ADD && reg)
        i->kind |= INSN_ADD;
    else if (z->mnemonic == ZYDIS_MNEMONIC_MOVSXD && memory && o[1].mem.scale == 4 && !o[1].mem.disp.value)
        i->kind |= INSN_OFFSET;
    else if (z->mnemonic == ZYDIS_MNEMONIC_LEA && o[1].mem.base == ZYDIS_REGISTER_RIP)
        i->kind |= INSN_LEA_CODE;
}

static void look_at_flow(struct insn *i, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
    bool direct = o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    switch (z->meta.category) {
    case ZYDIS_CATEGORY_CALL:
        i->kind |= INSN_CALL;
        break;
    case ZYDIS_CATEGORY_RET:
        i->kind |= INSN_RETURN;
        break;
    case ZYDIS_CATEGORY_COND_BR:
        i->kind |= INSN_BRANCH;
        break;
    case ZYDIS_CATEGORY_UNCOND_BR:
        /* Pointers in memory are found where they are; only those that are computed need a look. */
        i->kind |= direct ? INSN_JUMP : o[0].type == ZYDIS_OPERAND_TYPE_MEMORY ? INSN_POINTER : INSN_INDIRECT;
        i->from = direct ? NO_REGISTER : general(o[0].reg.value);
        break;
    default:
        break;
    }
}

static bool unfit(const ZydisDecodedInstruction *z)
{
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_STD:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_XBEGIN:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_SYSRET:
        return true;
    default:
        return false;
    }
}

static bool movable(const ZydisDecodedInstruction *z)
{
    switch (z->meta.category) {
    case ZYDIS_CATEGORY_BINARY:
    case ZYDIS_CATEGORY_LOGICAL:
    case ZYDIS_CATEGORY_DATAXFER:
    case ZYDIS_CATEGORY_SHIFT:
    case ZYDIS_CATEGORY_MISC: /* lea */
        return !(z->attributes & ZYDIS_ATTRIB_IS_RELATIVE);
    default:
        return false;
    }
}

/* mov $constant to eax, or a constant that is not negative to rax. */
static bool is_number(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
    return z->mnemonic == ZYDIS_MNEMONIC_MOV && (z->length == 5 || z->length == 7) &&
           o[0].type == ZYDIS_OPERAND_TYPE_REGISTER && o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
           (o[0].reg.value == ZYDIS_REGISTER_EAX || o[0].reg.value == ZYDIS_REGISTER_RAX) &&
           o[1].imm.value.u <= INT32_MAX;
}

static bool in_rax(const ZydisDecodedOperand *o, ZydisRegister reg)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->reg.value == reg;
}

/* The parts of `xor %eax,%eax; syscall; cmp $-4096,%rax; ja`. */
static uint32_t part_of_zero_site(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
    if (z->mnemonic == ZYDIS_MNEMONIC_XOR && z->length == 2 && in_rax(&o[0], ZYDIS_REGISTER_EAX) &&
        in_rax(&o[1], ZYDIS_REGISTER_EAX))
        return INSN_ZERO;
    if (z->mnemonic == ZYDIS_MNEMONIC_CMP && z->length == 6 && in_rax(&o[0], ZYDIS_REGISTER_RAX) &&
        o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && o[1].imm.value.s == -4096)
        return INSN_IS_ERROR;
    return z->mnemonic == ZYDIS_MNEMONIC_JNBE && (z->length == 2 || z->length == 6) ? INSN_ABOVE : 0;
}

static void understand(struct insn *i, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
    if (movable(z))
        i->kind |= INSN_MOVABLE;
    if (unfit(z))
        i->kind |= INSN_UNFIT;
    if (z->mnemonic == ZYDIS_MNEMONIC_SYSCALL)
        i->kind |= INSN_SYSCALL;
    look_at_moves(i, z, o);
    look_at_flow(i, z, o);
    look_at_operands(i, z, o);
    if (is_number(z, o)) {
        i->kind |= INSN_NUMBER;
        i->value = (uint32_t)o[1].imm.value.u;
    }
    i->kind |= part_of_zero_site(z, o);
    if (z->cpu_flags) {
        i->tested = z->cpu_flags->tested & arithmetic;
        /* Shifts by zero and repetitions of nothing write none, and Linux gives back those that SYSCALL
         * takes. */
        if (z->meta.category != ZYDIS_CATEGORY_SHIFT && z->meta.category != ZYDIS_CATEGORY_ROTATE &&
            z->meta.category != ZYDIS_CATEGORY_STRINGOP && z->mnemonic != ZYDIS_MNEMONIC_SYSCALL)
            i->wrote = arithmetic & (z->cpu_flags->modified | z->cpu_flags->set_0 | z->cpu_flags->set_1 |
                                     z->cpu_flags->undefined);
    }
    for (unsigned k = 0; k < z->operand_count && z->attributes & ZYDIS_ATTRIB_IS_RELATIVE; k++) {
        ZyanU64 target;
        if ((o[k].type == ZYDIS_OPERAND_TYPE_MEMORY ? o[k].mem.base == ZYDIS_REGISTER_RIP
                                                    : o[k].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) &&
            ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(z, &o[k], i->address, &target)))
            i->target = target;
    }
}

/* ---- the whole function ---- */

static bool decode(struct routine *r, const uint8_t *bytes)
{
    const struct function *f = r->function;
    ZydisDecoder decoder;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
    uint64_t length = f->end - f->start;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (uint64_t at = 0; at < length; at += z.length) {
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes + at, length - at, &z, o)))
            return false;
        struct insn *i = &r->v[r->n++];
        *i = (struct insn){.address = f->start + at, .length = z.length};
        understand(i, &z, o);
    }
    return true;
}

/* The instruction that begins at ADDRESS; r->n: none. */
static size_t find(const struct routine *r, uint64_t address)
{
    size_t low = 0, high = r->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (r->v[middle].address == address)
            return middle;
        if (address < r->v[middle].address)
            high = middle;
        else
            low = middle + 1;
    }
    return r->n;
}

static bool inside(const struct routine *r, uint64_t address)
{
    return address >= r->function->start && address < r->function->end;
}

static bool follow_jumps(struct routine *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct insn *v = &r->v[i];
        if (!(v->kind & (INSN_JUMP | INSN_BRANCH | INSN_CALL)) || !inside(r, v->target))
            continue;
        size_t to = find(r, v->target);
        if (to == r->n)
            return false;
        r->jumped_to[to] = 1;
    }
    return true;
}

/* The last instruction before I that writes a register, when control cannot have come from elsewhere in
 * between. */
static size_t writer(const struct routine *r, size_t i, uint8_t reg)
{
    while (i > 0 && !r->jumped_to[i]) {
        const struct insn *v = &r->v[--i];
        if (v->kind & (INSN_CALL | INSN_JUMP | INSN_RETURN | INSN_INDIRECT | INSN_POINTER | INSN_SYSCALL))
            break;
        if (v->writes & 1 << reg)
            return i;
    }
    return r->n;
}

/* Whether BASE, used at I, comes from `lea table(%rip)`: the nearest write before, in the order of the text.
 */
static bool from_lea(const struct routine *r, size_t i, uint8_t base)
{
    while (i-- > 0)
        if (r->v[i].writes & 1 << base)
            return r->v[i].kind & INSN_LEA_CODE;
    return false;
}

/* offset = table[index]; target = table + offset: the add is instruction I. */
static bool is_table_jump(const struct routine *r, size_t i, uint8_t offset, uint8_t base)
{
    size_t load = writer(r, i, offset);
    return load < r->n && r->v[load].kind & INSN_OFFSET && r->v[load].base == base &&
           from_lea(r, load, base) &&
           (r->v[load].to == base || writer(r, i, base) == r->n || writer(r, i, base) < load);
}

/* Whether the targets of a jump through a register are known: entries of a table of offsets, or a pointer
 * that was stored somewhere, for both of which the whole file is searched. */
static bool is_bounded(const struct routine *r, size_t i, uint8_t reg)
{
    for (int steps = 0; steps < 8; steps++) {
        size_t w = reg == NO_REGISTER ? r->n : writer(r, i, reg);
        if (w == r->n)
            return false;
        const struct insn *v = &r->v[w];
        if (v->to != reg)
            return false;
        if (v->kind & INSN_LOAD)
            return true;
        if (v->kind & INSN_ADD)
            return is_table_jump(r, w, v->to, v->from) || is_table_jump(r, w, v->from, v->to);
        if (!(v->kind & INSN_COPY))
            return false;
        reg = v->from;
        i = w;
    }
    return false;
}

static bool judge(const struct routine *r)
{
    uint32_t all = 0;
    for (size_t i = 0; i < r->n; i++) {
        all |= r->v[i].kind;
        if (r->v[i].kind & INSN_INDIRECT && !is_bounded(r, i, r->v[i].from))
            return false;
    }
    if (all & (INSN_UNFIT | INSN_BELOW_SP))
        return false;
    return all & INSN_CALL || !(all & INSN_SP_ESCAPES);
}

bool routine_read(struct routine *r, const struct code *c, const struct function *f)
{
    uint64_t length = f->end - f->start;
    const uint8_t *bytes = code_at(c, f->start, length);
    *r = (struct routine){.function = f};
    if (f->unclear || !bytes || length > FUNCTION_MAX)
        return false;
    r->v = xmalloc((length + 1) * sizeof *r->v);
    if (!decode(r, bytes))
        return false;
    r->jumped_to = xmalloc(r->n + 1);
    memset(r->jumped_to, 0, r->n + 1);
    if (!follow_jumps(r))
        return false;
    r->safe = judge(r);
    return true;
}

void routine_free(struct routine *r)
{
    free(r->v);
    free(r->jumped_to);
}

/* ---- sites ---- */

/* Whether all arithmetic flags are written before one is read, from instruction I on. Functions neither take
 * nor return any. */
static bool flags_are_dead(const struct routine *r, size_t i)
{
    uint32_t live = arithmetic;
    for (int steps = 0; steps < LOOK_AHEAD && i < r->n; steps++) {
        const struct insn *v = &r->v[i];
        if (v->tested & live)
            return false;
        live &= ~v->wrote;
        if (!live || v->kind & (INSN_CALL | INSN_RETURN))
            return true;
        if (v->kind & (INSN_BRANCH | INSN_INDIRECT | INSN_POINTER))
            return false;
        if (v->kind & INSN_JUMP && !inside(r, v->target))
            return true;
        i = v->kind & INSN_JUMP ? find(r, v->target) : i + 1;
    }
    return false;
}

/* After the change the flags are others on both ways out of the ja. */
static bool zero_site(const struct routine *r, size_t i, struct site *s)
{
    if (i == 0 || i + 2 >= r->n)
        return false;
    const struct insn *zero = &r->v[i - 1], *call = &r->v[i], *compare = &r->v[i + 1], *ja = &r->v[i + 2];
    if (!(zero->kind & INSN_ZERO) || !(compare->kind & INSN_IS_ERROR) || !(ja->kind & INSN_ABOVE) ||
        call->length != 2 || r->jumped_to[i] || r->jumped_to[i + 1] || r->jumped_to[i + 2])
        return false;
    if (!flags_are_dead(r, i + 3) || (inside(r, ja->target) && !flags_are_dead(r, find(r, ja->target))))
        return false;
    *s = (struct site){.start = zero->address, .end = ja->address + ja->length, .short_zero = true};
    return true;
}

bool routine_site(const struct routine *r, size_t i, struct site *s)
{
    size_t first = i;
    if (zero_site(r, i, s))
        return true;
    do {
        if (first == 0 || i - first > MOVED_MAX || r->jumped_to[first])
            return false;
        first--;
    } while (!(r->v[first].kind & INSN_NUMBER) && r->v[first].kind & INSN_MOVABLE);
    const struct insn *mov = &r->v[first], *call = &r->v[i];
    if (!(mov->kind & INSN_NUMBER) || call->length != 2 || !flags_are_dead(r, i + 1))
        return false;
    *s = (struct site){mov->address, call->address + 2, mov->address + mov->length, mov->value};
    return true;
}

/* ---- references ---- */

/* Absolute addresses that an instruction of a program linked for one place may hold. */
static void add_constants(const struct insn *v, const struct code *c, struct addresses *all)
{
    const uint8_t *bytes = code_at(c, v->address, v->length);
    for (unsigned k = 1; bytes && k + 4 <= v->length; k++) {
        uint32_t word;
        memcpy(&word, bytes + k, sizeof word);
        addresses_add(all, word);
    }
}

void routine_references(const struct routine *r, const struct code *c, struct addresses *all,
                        struct addresses *tables)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct insn *v = &r->v[i];
        if (v->target)
            addresses_add(all, v->target);
        if (v->kind & INSN_LEA_CODE)
            addresses_add(tables, v->target);
        if (c->fixed)
            add_constants(v, c, all);
    }
}
