/* mprotect of single pages inside a mapping: what they allow, what /proc/self/maps shows, and what other
 * calls make of them. */
#include "abi.h"

#define PAGES 64

/* The areas of [p, p + pages), by page, as /proc/self/maps has them. Maps no memory itself. */
static void show_areas(const char *p, unsigned pages)
{
    static char text[1 << 18];
    char rights[5];
    unsigned long from, to, start = (uintptr_t)p, end = start + pages * PAGE;
    NEED(slurp("/proc/self/maps", text, sizeof(text)) > 0);
    for (char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) != 3 || to <= start || from >= end)
            continue;
        from = from < start ? start : from; /* what is beside it may be alike */
        to = to > end ? end : to;
        say("pages %lu to %lu: %s", (from - start) / PAGE, (to - start) / PAGE, rights);
    }
}

static char *room(void)
{
    char *p = anonymous(PAGES * PAGE);
    if (p)
        madvise(p, PAGES * PAGE, MADV_NOHUGEPAGE);
    return p;
}

CASE(protect_pages_here_and_there)
{
    static const int rights[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE};
    char *p = room();
    NEED(p != NULL);
    memset(p, 5, PAGES / 2 * PAGE);
    for (int i = 0; i < PAGES; i += 3)
        NEED(!mprotect(p + i * PAGE, PAGE, rights[i / 3 % 4]));
    for (int i = 0; i < PAGES; i += 3) { /* touched pages, and from the middle on others */
        show_fault("read", fault_read(p + i * PAGE), p);
        show_fault("write", fault_write(p + i * PAGE), p);
        show_fault("write to the next page", fault_write(p + (i + 1) % PAGES * PAGE), p);
    }
    show_areas(p, PAGES);
    for (int i = 0; i < PAGES; i += 6)
        NEED(!mprotect(p + i * PAGE, PAGE, PROT_READ | PROT_WRITE));
    show_areas(p, PAGES);
    OK(mprotect(p, PAGES * PAGE, PROT_READ | PROT_WRITE));
    show_areas(p, PAGES);
    for (int i = 0; i < PAGES; i++)
        NEED(fault_write(p + i * PAGE).signal == 0);
    OK(munmap(p, PAGES * PAGE));
}

CASE(protect_page_then_discard)
{
    char *p = room();
    NEED(p != NULL);
    memset(p, 5, PAGES * PAGE);
    OK(mprotect(p + 7 * PAGE, PAGE, PROT_READ));
    OK(mprotect(p + 9 * PAGE, PAGE, PROT_NONE));
    OK(madvise(p + 4 * PAGE, 8 * PAGE, MADV_DONTNEED));
    CHECK(p[7 * PAGE] == 0 && p[6 * PAGE] == 0 && p[12 * PAGE] == 5);
    show_fault("write to a read-only page", fault_write(p + 7 * PAGE), p);
    show_fault("read of a page of no rights", fault_read(p + 9 * PAGE), p);
    show_areas(p, PAGES);
    OK(mprotect(p + 20 * PAGE, PAGE, PROT_READ));
    OK(madvise(p + 18 * PAGE, 8 * PAGE, MADV_NOHUGEPAGE));
    OK(munmap(p + 16 * PAGE, 3 * PAGE));
    show_fault("write to a read-only page", fault_write(p + 20 * PAGE), p);
    show_fault("write beside it", fault_write(p + 21 * PAGE), p);
    show_areas(p, PAGES);
    OK(munmap(p, PAGES * PAGE));
}

CASE(protect_page_then_move)
{
    char *p = room();
    NEED(p != NULL);
    memset(p, 5, PAGES * PAGE);
    OK(mprotect(p + 7 * PAGE, PAGE, PROT_READ));
    CHECK(mremap(p, 16 * PAGE, 32 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
    char *q = mremap(p + 7 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
    NEED(q != MAP_FAILED);
    show_fault("write where it went", fault_write(q), q);
    CHECK(q[0] == 5);
    show_fault("read where it was", fault_read(p + 7 * PAGE), p);
    OK(munmap(q, 2 * PAGE));
    OK(munmap(p, PAGES * PAGE));
}

CASE(protect_untouched_page)
{
    unsigned char in_core[PAGES];
    char *p = room();
    NEED(p != NULL);
    OK(mprotect(p + 5 * PAGE, PAGE, PROT_READ));
    OK(mprotect(p + 7 * PAGE, PAGE, PROT_NONE));
    OK(mprotect(p + 9 * PAGE, PAGE, PROT_READ));
    OK(mprotect(p + 9 * PAGE, PAGE, PROT_READ | PROT_WRITE));
    OK(mincore(p, PAGES * PAGE, in_core));
    VALUE(in_core[5] | in_core[7] | in_core[9]);
    CHECK(p[5 * PAGE] == 0);
    p[9 * PAGE] = 1;
    OK(mincore(p, PAGES * PAGE, in_core));
    VALUE(in_core[7] | in_core[9] << 1);
    OK(mlock(p + 9 * PAGE, PAGE));
    ERROR(mlock(p + 6 * PAGE, 2 * PAGE) ? errno : 0);
    OK(munlock(p + 9 * PAGE, PAGE));
    OK(munmap(p, PAGES * PAGE));
}

/* A system call finds the same rights as the program. */
CASE(protect_page_and_system_calls)
{
    int fd[2];
    char *p = room();
    NEED(p != NULL && !pipe(fd));
    p[0] = 1;
    OK(mprotect(p + 3 * PAGE, PAGE, PROT_READ));
    OK(mprotect(p + 5 * PAGE, PAGE, PROT_NONE));
    VALUE(write(fd[1], p + 3 * PAGE, 10));
    VALUE(write(fd[1], p + 5 * PAGE, 10));
    VALUE(read(fd[0], p + 3 * PAGE, 10));
    VALUE(read(fd[0], p + 4 * PAGE, 10));
    OK(mprotect(p + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE));
    VALUE(write(fd[1], p, 10));
    VALUE(read(fd[0], p + 3 * PAGE, 10));
    CHECK(p[3 * PAGE] == 1);
    close(fd[0]);
    close(fd[1]);
    OK(munmap(p, PAGES * PAGE));
}

/* Beside a model of the rights: random pages, now and then more of them, and what maps shows in the end. */
CASE(protect_pages_at_random)
{
    static const int rights[] = {PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE};
    int now[PAGES] = {0}, wrong = 0;
    unsigned seed = 1;
    char *p = room();
    NEED(p != NULL);
    for (int i = 0; i < 6000; i++) {
        seed = seed * 1103515245 + 12345;
        int first = seed >> 8 & (PAGES - 1), right = (seed >> 16) % 3,
            count = i % 40 ? 1 : 1 + (seed >> 20) % 8;
        count = first + count > PAGES ? PAGES - first : count;
        NEED(!mprotect(p + first * PAGE, count * PAGE, rights[right]));
        for (int k = 0; k < count; k++)
            now[first + k] = right;
        int at = (seed >> 24) & (PAGES - 1);
        wrong += (fault_write(p + at * PAGE).signal != 0) != (now[at] != 0);
        wrong += (fault_read(p + at * PAGE).signal != 0) != (now[at] == 2);
    }
    VALUE(wrong);
    show_areas(p, PAGES);
    OK(munmap(p, PAGES * PAGE));
}

/* While others write to the pages beside them. */
static char *shared_room;
static volatile int over;

static void *write_beside(void *arg)
{
    uintptr_t me = (uintptr_t)arg, rounds = 0;
    while (!over)
        for (unsigned i = me; i < PAGES; i += 2, rounds++)
            if (i % 4 != 0)
                ((volatile char *)shared_room)[i * PAGE + me] = rounds;
    return NULL;
}

CASE(protect_pages_while_others_write)
{
    pthread_t thread[2];
    int wrong = 0;
    NEED((shared_room = room()) != NULL);
    over = 0;
    for (uintptr_t i = 0; i < 2; i++)
        thread[i] = start(write_beside, (void *)i);
    for (int i = 0; i < 2000; i++) {
        char *at = shared_room + i * 4 % PAGES * PAGE;
        NEED(!mprotect(at, PAGE, i & 1 ? PROT_READ : PROT_NONE));
        wrong += fault_write(at).signal != SIGSEGV;
        NEED(!mprotect(at, PAGE, PROT_READ | PROT_WRITE));
        *at = i;
        if (i % 100 == 0)
            madvise(shared_room, PAGES * PAGE, MADV_DONTNEED);
    }
    over = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    VALUE(wrong);
    OK(munmap(shared_room, PAGES * PAGE));
}
