/* Memory that is written while it is executed, as a just-in-time compiler does (Intel SDM 3A, 9.1.3). */
#include "abi.h"

enum { ROOM = 4096, CALLERS = 3, ROUNDS = 10000 };

/* mov $value, %eax; ret; two bytes that are not reached: eight bytes, stored at once. */
static uint64_t returns(uint32_t value)
{
    return 0x9090c300000000b8u | (uint64_t)value << 8;
}
/* mov %eax, -0x4000(%rsp), as a JVM's methods begin, and the first byte of ret; the same with jmp 1f put over
 * it, where 1 is 32 bytes farther on. */
#define TOUCH 0xc3ffffc000248489u
#define JUMP  0xc3ffff0000001be9u

typedef uint32_t (*function)(void);

static char *code_room(size_t len)
{
    char *p = mmap(NULL, len, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static struct {
    char *code; /* functions of 64 bytes, one after the other */
    int next;   /* the one in use, in all that there are; ROUNDS: the end */
} shared;

static uint64_t *entry(int i)
{
    return (uint64_t *)(shared.code + i % (ROOM / 64) * 64);
}

/* Puts a jump over the beginning of each function while others call it, in the three stores of a JVM: a jump
 * to itself (two of them) holds everybody until its fifth byte is there, too. */
static void *replace(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t *at = entry(i);
        __atomic_store_n(&at[0], TOUCH, __ATOMIC_SEQ_CST);
        __atomic_store_n(&at[4], TOUCH, __ATOMIC_SEQ_CST);
        __atomic_store_n(&shared.next, i, __ATOMIC_SEQ_CST);
        for (volatile int pause = 0; pause < 3000; pause++)
            ;
        __atomic_store_n((uint32_t *)at, 0xfeebfeebu, __ATOMIC_SEQ_CST);
        __atomic_store_n((char *)at + 4, (char)(JUMP >> 32), __ATOMIC_SEQ_CST);
        __atomic_store_n((uint32_t *)at, (uint32_t)JUMP, __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&shared.next, ROUNDS, __ATOMIC_SEQ_CST);
    return unused;
}

static void *execute(void *unused)
{
    for (int i; (i = __atomic_load_n(&shared.next, __ATOMIC_SEQ_CST)) < ROUNDS;)
        for (int n = 0; n < 20; n++)
            ((void (*)(void))(void *)entry(i))();
    return unused;
}

CASE(code_replaced)
{
    char *p = code_room(ROOM);
    pthread_t thread[1 + CALLERS];
    NEED(p);
    shared.code = p;
    shared.next = 0;
    for (int i = 0; i < ROOM / 64; i++)
        entry(i)[0] = entry(i)[4] = TOUCH;
    for (int i = 0; i < 1 + CALLERS; i++)
        ERROR(pthread_create(&thread[i], NULL, i ? execute : replace, NULL));
    for (int i = 0; i < 1 + CALLERS; i++)
        ERROR(pthread_join(thread[i], NULL));
    OK(munmap(p, ROOM));
}

/* mov %edi, 0x10(%rip) writes to the page it lies in; then mov 0xa(%rip), %eax reads it back. */
CASE(code_writes_own_page)
{
    static const unsigned char code[] = {0x89, 0x3d, 0x10, 0, 0, 0, 0x8b, 0x05, 0x0a, 0, 0, 0, 0xc3};
    char *p = code_room(ROOM);
    NEED(p);
    memcpy(p, code, sizeof(code));
    uint32_t (*f)(uint32_t) = (uint32_t(*)(uint32_t))(void *)p;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 1000; i++)
        sum += f(i);
    VALUE(sum);
    /* The same code where it crosses into a page of its own that it writes to. */
    char *q = code_room(2 * ROOM);
    NEED(q);
    memcpy(q + ROOM - 3, code, sizeof(code));
    f = (uint32_t(*)(uint32_t))(void *)(q + ROOM - 3);
    for (uint32_t i = sum = 0; i < 1000; i++)
        sum += f(i);
    VALUE(sum);
    OK(munmap(q, 2 * ROOM));
    OK(munmap(p, ROOM));
}

/* Written, executed, written anew: one thread sees what it wrote. Rights that are taken away are gone. */
CASE(code_rewritten)
{
    char *p = code_room(ROOM);
    NEED(p);
    function f = (function)(void *)p;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 100; i++) {
        *(volatile uint64_t *)p = returns(i);
        sum += f();
    }
    VALUE(sum);
    OK(mprotect(p, ROOM, PROT_READ | PROT_EXEC));
    VALUE(f());
    OK(mprotect(p, ROOM, PROT_READ | PROT_WRITE | PROT_EXEC));
    *(volatile uint64_t *)p = returns(7);
    VALUE(f());
    OK(madvise(p, ROOM, MADV_DONTNEED));
    CHECK(*(volatile uint64_t *)p == 0);
    *(volatile uint64_t *)p = returns(8);
    VALUE(f());
    OK(munmap(p, ROOM));
}
