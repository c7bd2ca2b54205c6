/* Memory that is written while it is executed, as a just-in-time compiler does (Intel SDM 3A, 9.1.3). */
#include "abi.h"

enum { ROOM = 4096, WRITERS = 1, CALLERS = 3, ROUNDS = 4000 };

/* mov $value, %eax; ret; two bytes that are not reached: eight bytes, stored at once. */
static uint64_t returns(uint32_t value)
{
    return 0x9090c300000000b8u | (uint64_t)value << 8;
}
/* jmp to 32 bytes farther on, and what is left of the above. */
#define JUMP 0x9090c30000001be9u

typedef uint32_t (*function)(void);

static char *code_room(void)
{
    char *p = mmap(NULL, ROOM, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static struct {
    uint64_t *code; /* the entry; 32 bytes above it: what the jump leads to */
    int done;
    unsigned wrong;
} shared;

/* Changes the instruction at the entry, each time to one that differs in every byte but two. */
static void *replace(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        __atomic_store_n(shared.code, returns(0x11111111), __ATOMIC_SEQ_CST);
        __atomic_store_n(shared.code, JUMP, __ATOMIC_SEQ_CST);
        __atomic_store_n(shared.code, returns(0x22222222), __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&shared.done, 1, __ATOMIC_SEQ_CST);
    return unused;
}

static void *execute(void *unused)
{
    function f = (function)(void *)shared.code;
    while (!__atomic_load_n(&shared.done, __ATOMIC_SEQ_CST)) {
        uint32_t got = f();
        if (got != 0x11111111 && got != 0x22222222 && got != 0x33333333)
            __atomic_add_fetch(&shared.wrong, 1, __ATOMIC_SEQ_CST);
    }
    return unused;
}

CASE(code_replaced)
{
    char *p = code_room();
    pthread_t thread[WRITERS + CALLERS];
    NEED(p);
    shared.code = (uint64_t *)p;
    shared.code[4] = returns(0x33333333);
    shared.code[0] = returns(0x11111111);
    shared.done = shared.wrong = 0;
    for (int i = 0; i < WRITERS + CALLERS; i++)
        ERROR(pthread_create(&thread[i], NULL, i < WRITERS ? replace : execute, NULL));
    for (int i = 0; i < WRITERS + CALLERS; i++)
        ERROR(pthread_join(thread[i], NULL));
    say("instructions that were never there: %u", shared.wrong);
    OK(munmap(p, ROOM));
}

/* mov %edi, 0x10(%rip) writes to the page it lies in; then mov 0xa(%rip), %eax reads it back. */
CASE(code_writes_own_page)
{
    static const unsigned char code[] = {0x89, 0x3d, 0x10, 0, 0, 0, 0x8b, 0x05, 0x0a, 0, 0, 0, 0xc3};
    char *p = code_room();
    NEED(p);
    memcpy(p, code, sizeof(code));
    uint32_t (*f)(uint32_t) = (uint32_t(*)(uint32_t))(void *)p;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 1000; i++)
        sum += f(i);
    VALUE(sum);
    /* The same code where it crosses into a page of its own that it writes to. */
    char *q = mmap(NULL, 2 * ROOM, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(q != MAP_FAILED);
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
    char *p = code_room();
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
