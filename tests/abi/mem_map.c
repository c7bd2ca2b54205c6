/* mmap, munmap, mprotect, mremap, madvise, mincore, msync, brk: where areas go and what they hold. */
#include "abi.h"

#include <sys/resource.h>
#include <sys/statfs.h>

static char *map(void *at, size_t len, int prot, int flags)
{
    return mmap(at, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static bool all_bytes(const char *p, size_t len, char value)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != value)
            return false;
    return true;
}

CASE(map_anonymous)
{
    char *p = map(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, 0);
    NEED(p != MAP_FAILED);
    CHECK((uintptr_t)p % PAGE == 0);
    CHECK(all_bytes(p, 3 * PAGE, 0));
    memset(p, 7, 3 * PAGE);
    CHECK(all_bytes(p, 3 * PAGE, 7));
    OK(munmap(p, 3 * PAGE));
    show_fault("read after munmap", fault_read(p), p);
    OK(munmap(p, 3 * PAGE)); /* nothing there: no error */
}

CASE(map_bad_arguments)
{
    char *p = anonymous(PAGE);
    VALUE(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    VALUE(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
    VALUE(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0));
    VALUE(syscall(SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, 9999, 0));
    VALUE(syscall(SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 1));
    VALUE(syscall(SYS_mmap, p + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    VALUE(syscall(SYS_mmap, NULL, ~0UL - PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    VALUE(syscall(SYS_mmap, 0x7ffffffff000UL, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                  -1, 0));
    VALUE(syscall(SYS_mmap, 0xffff800000000000UL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                  -1, 0));
    VALUE(syscall(SYS_munmap, p + 1, PAGE));
    VALUE(syscall(SYS_munmap, p, 0));
    VALUE(syscall(SYS_munmap, p, ~0UL));
    VALUE(syscall(SYS_munmap, 0xffff800000000000UL, PAGE));
    VALUE(syscall(SYS_mprotect, p + 1, PAGE, PROT_READ));
    VALUE(syscall(SYS_mprotect, p, PAGE, 0x40));
    VALUE(syscall(SYS_mprotect, p, 0, PROT_READ));
    VALUE(syscall(SYS_mprotect, 0xffff800000000000UL, PAGE, PROT_READ));
    VALUE(syscall(SYS_madvise, p + 1, PAGE, MADV_DONTNEED));
    VALUE(syscall(SYS_madvise, p, PAGE, 9999));
    VALUE(syscall(SYS_madvise, p, 0, MADV_DONTNEED));
    munmap(p, PAGE);
}

CASE(map_file_bad_access)
{
    spit("f", "text");
    int rd = open("f", O_RDONLY), wr = open("f", O_WRONLY), dir = open(".", O_RDONLY);
    VALUE(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, rd, 0));
    OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, rd, 0));
    VALUE(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, wr, 0));
    VALUE(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wr, 0));
    VALUE(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, dir, 0));
    int pipes[2];
    OK(pipe(pipes));
    VALUE(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0));
    char *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, rd, 0);
    VALUE(mprotect(p, PAGE, PROT_READ | PROT_WRITE)); /* the file was opened for reading only */
}

CASE(map_partial_unmap)
{
    char *p = anonymous(8 * PAGE);
    memset(p, 1, 8 * PAGE);
    OK(munmap(p + 3 * PAGE, 2 * PAGE));
    show_fault("before the hole", fault_read(p + 3 * PAGE - 1), p);
    show_fault("first of the hole", fault_read(p + 3 * PAGE), p);
    show_fault("last of the hole", fault_read(p + 5 * PAGE - 1), p);
    show_fault("after the hole", fault_read(p + 5 * PAGE), p);
    CHECK(all_bytes(p, 3 * PAGE, 1) && all_bytes(p + 5 * PAGE, 3 * PAGE, 1));
    OK(munmap(p, 8 * PAGE)); /* across a hole */
    show_fault("all gone", fault_read(p), p);
}

CASE(map_partial_unmap_huge)
{
    char *p = anonymous(8 * MB);
    char *huge = (char *)(((uintptr_t)p + 2 * MB - 1) & -(2 * MB));
    madvise(p, 8 * MB, MADV_HUGEPAGE);
    memset(huge, 5, 4 * MB);
    OK(munmap(huge + 5 * PAGE, PAGE));
    show_fault("hole in a huge page", fault_read(huge + 5 * PAGE), huge);
    CHECK(all_bytes(huge, 5 * PAGE, 5) && all_bytes(huge + 6 * PAGE, 4 * MB - 6 * PAGE, 5));
    OK(mprotect(huge + 2 * MB + PAGE, PAGE, PROT_READ));
    show_fault("write to the read-only page", fault_write(huge + 2 * MB + PAGE + 9), huge + 2 * MB);
    show_fault("write beside it", fault_write(huge + 2 * MB + 2 * PAGE), huge);
    OK(madvise(huge + 3 * PAGE, PAGE, MADV_DONTNEED));
    CHECK(all_bytes(huge + 3 * PAGE, PAGE, 0));
    CHECK(all_bytes(huge, 3 * PAGE, 5));
    OK(munmap(p, 8 * MB));
}

/* Huge pages that are asked for: Linux has them if somebody filled a pool. */
CASE(map_huge_pages)
{
    struct statfs fs;
    char *p = map(NULL, 3 * MB, PROT_READ | PROT_WRITE, MAP_HUGETLB);
    NEED(p != MAP_FAILED);
    CHECK((uintptr_t)p % (2 * MB) == 0 && all_bytes(p, 4 * MB, 0)); /* the length was rounded up */
    memset(p, 3, 4 * MB);
    CHECK(map(p + 2 * MB, 2 * MB, PROT_READ, MAP_HUGETLB | MAP_FIXED) == p + 2 * MB);
    CHECK(all_bytes(p, 2 * MB, 3) && all_bytes(p + 2 * MB, 2 * MB, 0));
    VALUE(mmap(p + PAGE, 2 * MB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED, -1, 0));
    VALUE(mmap(NULL, 2 * MB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 12 << 26, -1, 0));
    VALUE(mmap(NULL, 1UL << 40, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << 26, -1, 0));
    OK(munmap(p, 4 * MB));
    int fd = syscall(SYS_memfd_create, "pages", 4 /* MFD_HUGETLB */);
    NEED(fd >= 0);
    OK(fstatfs(fd, &fs));
    CHECK(fs.f_type == 0x958458f6 && fs.f_bsize == 2 * MB);
    OK(ftruncate(fd, 4 * MB));
    p = mmap(NULL, 4 * MB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(p != MAP_FAILED);
    memset(p, 9, 4 * MB);
    OK(munmap(p, 4 * MB));
    p = mmap(NULL, 4 * MB, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(p != MAP_FAILED && all_bytes(p, 4 * MB, 9));
    OK(munmap(p, 4 * MB));
    OK(close(fd));
}

CASE(map_fixed)
{
    char *p = anonymous(6 * PAGE);
    memset(p, 1, 6 * PAGE);
    CHECK(map(p + 2 * PAGE, 2 * PAGE, PROT_READ, MAP_FIXED) == p + 2 * PAGE);
    CHECK(all_bytes(p + 2 * PAGE, 2 * PAGE, 0));
    CHECK(all_bytes(p, 2 * PAGE, 1) && all_bytes(p + 4 * PAGE, 2 * PAGE, 1));
    show_fault("write to what replaced it", fault_write(p + 2 * PAGE), p);
    munmap(p, 6 * PAGE);
}

CASE(map_fixed_noreplace)
{
    char *p = anonymous(4 * PAGE);
    VALUE(mmap(p + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
    VALUE(mmap(p - PAGE, 9 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
    OK(munmap(p + PAGE, PAGE));
    CHECK(map(p + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED_NOREPLACE) == p + PAGE);
    munmap(p, 4 * PAGE);
}

CASE(map_hint)
{
    char *p = anonymous(4 * PAGE);
    OK(munmap(p, 4 * PAGE));
    CHECK(map(p, PAGE, PROT_READ, 0) == p); /* a free hint is honoured */
    char *q = map(p, PAGE, PROT_READ, 0);   /* a taken one is not */
    CHECK(q != MAP_FAILED && q != p);
    munmap(p, PAGE);
    munmap(q, PAGE);
}

CASE(map_32bit)
{
    char *p = map(NULL, MB, PROT_READ | PROT_WRITE, MAP_32BIT);
    NEED(p != MAP_FAILED);
    CHECK((uintptr_t)p + MB <= 1UL << 31);
    p[MB - 1] = 1;
    OK(munmap(p, MB));
}

CASE(map_low_address)
{
    char *p =
        map((void *)(1UL << 30), 16 * PAGE, PROT_READ | PROT_WRITE, 0); /* compressed references want this */
    CHECK(p == (void *)(1UL << 30));
    p[0] = 1;
    OK(munmap(p, 16 * PAGE));
}

CASE(map_terabytes)
{
    char *p = map(NULL, 4 * TB, PROT_NONE, MAP_NORESERVE);
    NEED(p != MAP_FAILED);
    show_fault("read of PROT_NONE", fault_read(p + 3 * TB), p);
    OK(mprotect(p + TB, 16 * PAGE, PROT_READ | PROT_WRITE));
    p[TB] = 1;
    CHECK(p[TB] == 1 && p[TB + PAGE] == 0);
    CHECK(map(p + 2 * TB, 2 * MB, PROT_READ | PROT_WRITE, MAP_FIXED) == p + 2 * TB);
    p[2 * TB + 2 * MB - 1] = 1;
    OK(munmap(p, 4 * TB));
    show_fault("read after munmap", fault_read(p + TB), p + TB);
    char *q = map(NULL, 16 * TB, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    NEED(q != MAP_FAILED);
    q[7 * TB] = 1;
    CHECK(q[7 * TB] == 1);
    OK(munmap(q, 16 * TB));
}

CASE(map_too_big)
{
    VALUE(mmap(NULL, 200 * TB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

CASE(map_many_areas)
{
    enum { N = 4000 };
    char *p = anonymous(N * 2 * PAGE);
    NEED(p != NULL);
    int failed = 0;
    for (int i = 0; i < N; i++)
        failed += mprotect(p + i * 2 * PAGE, PAGE, PROT_READ) != 0;
    CHECK(failed == 0);
    show_fault("write to an even page", fault_write(p + 2000 * PAGE), p);
    show_fault("write to an odd page", fault_write(p + 2001 * PAGE), p);
    OK(mprotect(p, N * 2 * PAGE, PROT_READ | PROT_WRITE));
    show_fault("write to an even page", fault_write(p + 2000 * PAGE), p);
    OK(munmap(p, N * 2 * PAGE));
}

CASE(map_populate)
{
    unsigned char in_core[4] = {0};
    char *p = map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_POPULATE);
    OK(mincore(p, 4 * PAGE, in_core));
    CHECK((in_core[0] & in_core[1] & in_core[2] & in_core[3] & 1) == 1);
    munmap(p, 4 * PAGE);
}

CASE(map_stack_flags)
{
    char *p = map(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_STACK | MAP_NORESERVE);
    CHECK(p != MAP_FAILED && all_bytes(p, 16 * PAGE, 0));
    munmap(p, 16 * PAGE);
    OK(mlock(p = anonymous(PAGE), PAGE));
    OK(munlock(p, PAGE));
    munmap(p, PAGE);
    VALUE(mlock(p, PAGE));
}

CASE(protect)
{
    char *p = anonymous(4 * PAGE);
    memset(p, 9, 4 * PAGE);
    OK(mprotect(p + PAGE, PAGE, PROT_NONE));
    show_fault("read of none", fault_read(p + PAGE + 1), p);
    show_fault("write of none", fault_write(p + PAGE + 1), p);
    OK(mprotect(p + PAGE, PAGE, PROT_READ));
    show_fault("read of read-only", fault_read(p + PAGE), p);
    show_fault("write of read-only", fault_write(p + PAGE), p);
    show_fault("execute of read-only", fault_exec(p + PAGE), p);
    CHECK(all_bytes(p, 4 * PAGE, 9));
    OK(mprotect(p, 4 * PAGE, PROT_READ | PROT_WRITE));
    show_fault("write again", fault_write(p + PAGE), p);
    p[0] = (char)0xc3; /* ret */
    show_fault("execute of data", fault_exec(p), p);
    OK(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
    show_fault("execute of code", fault_exec(p), p);
    OK(munmap(p + 2 * PAGE, PAGE));
    VALUE(mprotect(p, 4 * PAGE, PROT_READ)); /* a hole in the range */
    show_fault("pages before the hole changed", fault_write(p), p);
    munmap(p, 4 * PAGE);
}

CASE(protect_code_rewritten)
{
    static const unsigned char returns_1[] = {0xb8, 1, 0, 0, 0, 0xc3}; /* mov $1, %eax; ret */
    char *p = map(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);
    NEED(p != MAP_FAILED);
    memcpy(p, returns_1, sizeof(returns_1));
    VALUE(((int (*)(void))p)());
    p[1] = 2;
    VALUE(((int (*)(void))p)());
    OK(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
    VALUE(((int (*)(void))p)());
    munmap(p, PAGE);
}

CASE(remap)
{
    char *p = anonymous(8 * PAGE);
    for (int i = 0; i < 8; i++)
        p[i * PAGE] = i;
    CHECK(mremap(p, 8 * PAGE, 4 * PAGE, 0) == p);
    show_fault("cut off", fault_read(p + 4 * PAGE), p);
    CHECK(mremap(p, 4 * PAGE, 6 * PAGE, 0) == p); /* the place behind it is free */
    CHECK(p[3 * PAGE] == 3 && p[4 * PAGE] == 0);
    CHECK(map(p + 6 * PAGE, PAGE, PROT_READ, MAP_FIXED) != MAP_FAILED);
    VALUE(mremap(p, 6 * PAGE, 16 * PAGE, 0)); /* and now it is not */
    char *q = mremap(p, 6 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
    NEED(q != MAP_FAILED);
    CHECK(q != p && q[3 * PAGE] == 3 && q[15 * PAGE] == 0);
    show_fault("the old place", fault_read(p), p);
    char *r = anonymous(16 * PAGE);
    CHECK(mremap(q, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, r) == r);
    CHECK(r[2 * PAGE] == 2);
    munmap(r, 16 * PAGE);
    munmap(p + 6 * PAGE, PAGE);
    VALUE(syscall(SYS_mremap, p, PAGE, PAGE, 0x40, 0));
    VALUE(syscall(SYS_mremap, p + 1, PAGE, PAGE, 0, 0));
    VALUE(syscall(SYS_mremap, r, PAGE, 2 * PAGE, MREMAP_MAYMOVE, 0)); /* nothing mapped there */
    VALUE(syscall(SYS_mremap, r, PAGE, 0, 0, 0));
}

CASE(remap_grow_big)
{
    char *p = anonymous(4 * MB);
    memset(p, 3, 4 * MB);
    char *q = mremap(p, 4 * MB, 32 * MB, MREMAP_MAYMOVE);
    NEED(q != MAP_FAILED);
    CHECK(all_bytes(q, 4 * MB, 3) && all_bytes(q + 4 * MB, 28 * MB, 0));
    OK(munmap(q, 32 * MB));
}

CASE(advise)
{
    char *p = anonymous(4 * PAGE);
    memset(p, 1, 4 * PAGE);
    OK(madvise(p + PAGE, PAGE, MADV_DONTNEED));
    CHECK(p[0] == 1 && p[PAGE] == 0 && p[2 * PAGE] == 1);
    OK(madvise(p, 4 * PAGE, MADV_NORMAL));
    OK(madvise(p, 4 * PAGE, MADV_SEQUENTIAL));
    OK(madvise(p, 4 * PAGE, MADV_WILLNEED));
    OK(madvise(p, 4 * PAGE, MADV_HUGEPAGE));
    OK(madvise(p, 4 * PAGE, MADV_NOHUGEPAGE));
    OK(madvise(p, 4 * PAGE, MADV_FREE));
    OK(madvise(p, 4 * PAGE, MADV_DONTDUMP));
    OK(madvise(p, 4 * PAGE, MADV_DONTFORK));
    OK(munmap(p + PAGE, PAGE));
    VALUE(madvise(p, 4 * PAGE, MADV_DONTNEED)); /* a hole */
    CHECK(p[2 * PAGE] == 0);                    /* what is there is done all the same */
    munmap(p, 4 * PAGE);
}

CASE(in_core)
{
    unsigned char v[4] = {0};
    char *p = anonymous(4 * PAGE);
    madvise(p, 4 * PAGE, MADV_NOHUGEPAGE);
    OK(mincore(p, 4 * PAGE, v));
    p[0] = 1;
    OK(mincore(p, 4 * PAGE, v));
    CHECK((v[0] & 1) == 1);
    VALUE(mincore(p + 1, PAGE, v));
    VALUE(syscall(SYS_mincore, p, PAGE, 8));
    munmap(p + PAGE, PAGE);
    VALUE(mincore(p, 4 * PAGE, v)); /* HotSpot and libunwind probe memory so */
    munmap(p, 4 * PAGE);
    VALUE(mincore(p, PAGE, v));
}

CASE(sync_memory)
{
    char *p = anonymous(2 * PAGE);
    OK(msync(p, 2 * PAGE, MS_SYNC));
    OK(msync(p, 2 * PAGE, MS_ASYNC));
    VALUE(msync(p, 2 * PAGE, MS_SYNC | MS_ASYNC));
    VALUE(msync(p + 1, PAGE, MS_SYNC));
    munmap(p + PAGE, PAGE);
    VALUE(msync(p, 2 * PAGE, MS_SYNC));
    munmap(p, PAGE);
}

CASE(program_break)
{
    char *start = (char *)syscall(SYS_brk, 0);
    CHECK((char *)syscall(SYS_brk, start + 3 * PAGE) == start + 3 * PAGE);
    memset(start, 1, 3 * PAGE);
    CHECK(all_bytes(start, 3 * PAGE, 1));
    CHECK((char *)syscall(SYS_brk, start) == start);
    CHECK((char *)syscall(SYS_brk, start + PAGE) == start + PAGE);
    CHECK((char *)syscall(SYS_brk, start) == start);
    CHECK((char *)syscall(SYS_brk, 1) == start); /* below the start: refused, unchanged */
}

static void *toucher(void *p)
{
    for (size_t i = 0; i < 16 * MB; i += PAGE)
        __atomic_fetch_add((int *)((char *)p + i), 1, __ATOMIC_SEQ_CST);
    return NULL;
}

CASE(map_faults_in_parallel)
{
    pthread_t t[4];
    char *p = anonymous(16 * MB);
    bool right = true;
    for (int i = 0; i < 4; i++)
        t[i] = start(toucher, p);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    for (size_t i = 0; i < 16 * MB; i += PAGE)
        right = right && *(int *)(p + i) == 4;
    CHECK(right); /* no two threads got different zeroed pages for one address */
    munmap(p, 16 * MB);
}

static volatile int stop_changing;

static void *changer(void *unused)
{
    while (!stop_changing) {
        char *p = anonymous(3 * MB);
        for (size_t i = 0; i < 3 * MB; i += 16 * PAGE)
            p[i] = 1;
        mprotect(p + MB, MB, PROT_READ);
        madvise(p, MB, MADV_DONTNEED);
        munmap(p, 3 * MB);
    }
    return unused;
}

CASE(map_changes_in_parallel)
{
    pthread_t t[4];
    stop_changing = 0;
    for (int i = 0; i < 4; i++)
        t[i] = start(changer, NULL);
    bool right = true;
    for (int i = 0; i < 200; i++) {
        char *p = anonymous(2 * PAGE);
        p[0] = i;
        right = right && p[0] == (char)i && p[PAGE] == 0 && mprotect(p, PAGE, PROT_READ) == 0;
        right = right && fault_write(p).signal == SIGSEGV && munmap(p, 2 * PAGE) == 0;
    }
    stop_changing = 1;
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    CHECK(right);
}

/* What a change to terabytes costs depends on what is mapped in them: by length, this would take minutes. */
CASE(terabytes_of_nothing)
{
    const size_t len = 4ul << 40;
    struct timespec start, now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    for (int round = 0; round < 100; round++) {
        char *p = map(NULL, len, PROT_NONE, MAP_NORESERVE);
        NEED(p != MAP_FAILED);
        NEED(!mprotect(p, len, PROT_READ | PROT_WRITE));
        char *touched[] = {p, p + len / 2 + 12345, p + len - 1};
        for (int i = 0; i < 3; i++)
            *touched[i] = i + 1;
        NEED(!mprotect(p, len, PROT_READ));
        NEED(!mprotect(p, len, PROT_READ | PROT_WRITE));
        for (int i = 0; i < 3; i++)
            NEED(*touched[i] == i + 1);
        NEED(!madvise(p, len, MADV_DONTNEED));
        for (int i = 0; i < 3; i++)
            NEED(*touched[i] == 0);
        NEED(!munmap(p, len));
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    CHECK(now.tv_sec - start.tv_sec < 20);
}

/* In kB, of the area that holds p; -1: not found. */
static long smaps_figure(const void *p, const char *name)
{
    char line[512];
    unsigned long from, to;
    long value = -1, kb;
    bool inside = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    while (f && value < 0 && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = from <= (uintptr_t)p && (uintptr_t)p < to;
        else if (inside && !strncmp(line, name, strlen(name)) &&
                 sscanf(line + strlen(name), ": %ld kB", &kb) == 1)
            value = kb;
    }
    if (f)
        fclose(f);
    return value;
}

/* Memory that was touched is reported where it lies; aligned 2 MiB come in one piece when the program asks
 * for it. */
CASE(resident_and_huge)
{
    const size_t len = 8 << 20, huge = 2 << 20;
    char *p = map(NULL, len, PROT_READ | PROT_WRITE, 0);
    char *aligned = (char *)(((uintptr_t)p + huge - 1) & ~(huge - 1));
    NEED(p != MAP_FAILED);
    VALUE(madvise(aligned, huge, MADV_HUGEPAGE));
    VALUE(madvise(aligned + huge, huge, MADV_NOHUGEPAGE));
    aligned[5] = 1;
    aligned[huge] = aligned[huge + PAGE] = 1;
    VALUE(smaps_figure(aligned, "Rss"));
    VALUE(smaps_figure(aligned, "AnonHugePages"));
    VALUE(smaps_figure(aligned + huge, "Rss"));
    VALUE(smaps_figure(aligned + huge, "AnonHugePages"));
    OK(mprotect(aligned, PAGE, PROT_READ)); /* splits it */
    VALUE(smaps_figure(aligned, "AnonHugePages"));
    VALUE(smaps_figure(aligned + PAGE, "AnonHugePages"));
    OK(munmap(p, len));
}

/* The same piece again and again, then a look at the whole: it is one area, and moves as one. */
CASE(protect_back_and_forth)
{
    char *room = map(NULL, 64 * PAGE, PROT_NONE, 0);
    NEED(room != MAP_FAILED);
    char *p = map(room, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_FIXED);
    NEED(p == room);
    memset(p, 3, 16 * PAGE);
    for (int i = 0; i < 400; i++) {
        char *at = p + (i * 7 % 15 + 1) * PAGE;
        NEED(!mprotect(at, PAGE, i % 3 ? PROT_READ : PROT_NONE));
        NEED(fault_write(at).signal == SIGSEGV);
        NEED(!mprotect(at, PAGE, PROT_READ | PROT_WRITE));
        *at = 3;
    }
    char *q = mremap(p, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 40 * PAGE);
    NEED(q == room + 40 * PAGE);
    CHECK(all_bytes(q, 16 * PAGE, 3));
    OK(munmap(room, 64 * PAGE));
}

/* Where Moka's kernel shows itself a second time; nothing of a program is up there on Linux either. */
CASE(kernel_code_is_not_writable)
{
    char *code = (char *)0xffff800000100000ul;
    NEED(fault_write(code).signal == SIGSEGV);
    NEED(fault_write(code + 0x20000).signal == SIGSEGV);
    VALUE(getpid() > 0);
}
