/* Files in memory: shared and private mappings, holes, truncation, memfd_create. */
#include "abi.h"

#include <sys/sendfile.h>

static int file_of(const char *name, size_t len, char fill)
{
    char page[PAGE];
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
    memset(page, fill, sizeof(page));
    for (size_t at = 0; at < len; at += sizeof(page))
        if (pwrite(fd, page, len - at < sizeof(page) ? len - at : sizeof(page), at) < 0)
            say("cannot fill %s: %s", name, errname(errno));
    return fd;
}

static char *share(int fd, size_t len, off_t at)
{
    return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
}

CASE(shared_file)
{
    char c = 0;
    int fd = file_of("f", 3 * PAGE, 'a');
    char *p = share(fd, 3 * PAGE, 0), *q = share(fd, PAGE, 2 * PAGE);
    NEED(p != MAP_FAILED && q != MAP_FAILED);
    p[2 * PAGE + 5] = 'x';
    CHECK(q[5] == 'x');
    VALUE(pread(fd, &c, 1, 2 * PAGE + 5));
    CHECK(c == 'x');
    VALUE(pwrite(fd, "y", 1, 7));
    CHECK(p[7] == 'y');
    OK(msync(p, 3 * PAGE, MS_SYNC));
    OK(close(fd)); /* the mapping keeps the file */
    OK(unlink("f"));
    p[0] = 'z';
    CHECK(p[0] == 'z' && p[1] == 'a');
    OK(munmap(p, 3 * PAGE));
    OK(munmap(q, PAGE));
}

CASE(private_file)
{
    char c = 0;
    int fd = file_of("f", 2 * PAGE, 'a');
    char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *s = share(fd, 2 * PAGE, 0);
    CHECK(p[0] == 'a');
    p[0] = 'b';
    CHECK(s[0] == 'a');
    pread(fd, &c, 1, 0);
    CHECK(c == 'a');
    s[PAGE] = 'c'; /* not written yet in the private one: it still shows the file */
    CHECK(p[PAGE] == 'c');
    OK(madvise(p, PAGE, MADV_DONTNEED)); /* throws the private copy away: the file again */
    CHECK(p[0] == 'a');
    munmap(p, 2 * PAGE);
    munmap(s, 2 * PAGE);
}

CASE(private_file_read_only_protect)
{
    int fd = file_of("f", PAGE, 'a');
    char *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    show_fault("write", fault_write(p), p);
    OK(mprotect(p, PAGE, PROT_READ | PROT_WRITE)); /* allowed: the copy is ours */
    show_fault("write", fault_write(p), p);
    munmap(p, PAGE);
}

CASE(file_end_in_page)
{
    int fd = file_of("f", PAGE + 100, 'a');
    char *p = share(fd, 4 * PAGE, 0);
    CHECK(p[PAGE + 99] == 'a' && p[PAGE + 100] == 0 && p[2 * PAGE - 1] == 0);
    show_fault("read past the last page", fault_read(p + 2 * PAGE), p);
    show_fault("write past the last page", fault_write(p + 3 * PAGE + 17), p);
    OK(ftruncate(fd, 4 * PAGE));
    show_fault("read after growing", fault_read(p + 2 * PAGE), p);
    CHECK(p[3 * PAGE] == 0);
    munmap(p, 4 * PAGE);
}

CASE(truncated_mapping)
{
    int fd = file_of("f", 4 * PAGE, 'a');
    char *p = share(fd, 4 * PAGE, 0);
    char *q = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(p[3 * PAGE] == 'a' && q[3 * PAGE] == 'a');
    q[2 * PAGE] = 'q';
    OK(ftruncate(fd, PAGE + 10));
    show_fault("shared, first page", fault_read(p), p);
    show_fault("shared, last part page", fault_read(p + PAGE + 11), p);
    CHECK(p[PAGE + 11] == 0); /* the rest of the last page is cleared */
    show_fault("shared, cut off", fault_read(p + 3 * PAGE), p);
    show_fault("private, cut off", fault_read(q + 3 * PAGE + 1), q);
    show_fault("private, copied, cut off", fault_read(q + 2 * PAGE), q);
    OK(ftruncate(fd, 4 * PAGE));
    CHECK(p[3 * PAGE] == 0);
    munmap(p, 4 * PAGE);
    munmap(q, 4 * PAGE);
}

CASE(truncated_mapping_system_call)
{
    int fd = file_of("f", 2 * PAGE, 'a'), out = open("g", O_RDWR | O_CREAT, 0644);
    char *p = share(fd, 2 * PAGE, 0);
    OK(ftruncate(fd, 0));
    VALUE(write(out, p, 100));
    VALUE(syscall(SYS_uname, p));
    munmap(p, 2 * PAGE);
}

CASE(memfd)
{
    int fd = OK(memfd_create("heap", MFD_CLOEXEC));
    OK(ftruncate(fd, 8 * MB));
    char *a = share(fd, 8 * MB, 0), *b = share(fd, 8 * MB, 0), *c = share(fd, 2 * MB, 4 * MB);
    NEED(a != MAP_FAILED && b != MAP_FAILED && c != MAP_FAILED);
    a[4 * MB + 1] = 'x';
    CHECK(b[4 * MB + 1] == 'x' && c[1] == 'x');
    c[2] = 'y';
    CHECK(a[4 * MB + 2] == 'y');
    OK(munmap(a, 8 * MB));
    CHECK(b[4 * MB + 2] == 'y');
    struct stat s;
    OK(fstat(fd, &s));
    CHECK(S_ISREG(s.st_mode) && s.st_size == 8 * MB && s.st_nlink == 0);
    munmap(b, 8 * MB);
    munmap(c, 2 * MB);
    VALUE(memfd_create("x", 0x8000));
    VALUE(syscall(SYS_memfd_create, NULL, 0));
}

/* ZGC of JDK 17: one memfd, three mappings of the heap, PROT_NONE reservations replaced by MAP_FIXED views.
 */
static long shared_memory_kb(void)
{
    static char text[4096];
    slurp("/proc/meminfo", text, sizeof(text));
    const char *line = strstr(text, "\nShmem:");
    return line ? atol(line + 7) : -1;
}

/* A copy that asks for more than the file has leaves nothing of it behind. */
CASE(memfd_sent_and_closed)
{
    enum { FILES = 10000, LEFT_KB = 20000 };
    int out = OK(memfd_create("out", MFD_CLOEXEC)), wrong = 0;
    long before = shared_memory_kb();
    for (int k = 0; k < FILES; k++) {
        off_t at = 0;
        int fd = memfd_create("in", MFD_CLOEXEC);
        wrong += write(fd, "abcdefgh", 8) != 8 || sendfile(out, fd, &at, 1000) != 8 || close(fd);
        lseek(out, 0, SEEK_SET);
    }
    VALUE(wrong);
    CHECK(before >= 0 && shared_memory_kb() - before < LEFT_KB);
    close(out);
}

CASE(memfd_three_views)
{
    int fd = memfd_create("java_heap", MFD_CLOEXEC);
    NEED(ftruncate(fd, 16 * MB) == 0);
    char *base[3];
    bool right = true;
    for (int i = 0; i < 3; i++) {
        base[i] = mmap(NULL, 64 * GB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        NEED(base[i] != MAP_FAILED);
        right = right && mmap(base[i] + GB, 2 * MB, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, fd,
                              6 * MB) == base[i] + GB;
    }
    CHECK(right);
    strcpy(base[0] + GB + 100, "object");
    CHECK(strcmp(base[1] + GB + 100, "object") == 0 && strcmp(base[2] + GB + 100, "object") == 0);
    OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 6 * MB, 2 * MB));
    CHECK(base[1][GB + 100] == 0 && base[2][GB + 100] == 0);
    OK(fallocate(fd, 0, 6 * MB, 2 * MB));
    CHECK(mmap(base[0] + GB, 2 * MB, PROT_NONE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
               0) == base[0] + GB);
    show_fault("view taken away", fault_read(base[0] + GB), base[0] + GB);
    for (int i = 0; i < 3; i++)
        munmap(base[i], 64 * GB);
}

CASE(memfd_seals)
{
    int fd = memfd_create("sealed", MFD_ALLOW_SEALING);
    OK(ftruncate(fd, PAGE));
    VALUE(fcntl(fd, F_GET_SEALS));
    OK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    VALUE(ftruncate(fd, 0));
    OK(ftruncate(fd, 2 * PAGE));
    VALUE(fcntl(fd, F_GET_SEALS));
}

CASE(fallocate_modes)
{
    struct stat s;
    int fd = file_of("f", 3 * PAGE, 'a');
    char *p = share(fd, 3 * PAGE, 0);
    OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE));
    CHECK(p[PAGE - 1] == 'a' && p[PAGE] == 0 && p[2 * PAGE - 1] == 0 && p[2 * PAGE] == 'a');
    OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 20));
    CHECK(p[9] == 'a' && p[10] == 0 && p[29] == 0 && p[30] == 'a');
    OK(fallocate(fd, 0, 0, 8 * PAGE));
    OK(fstat(fd, &s));
    VALUE(s.st_size);
    OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 8 * PAGE, 8 * PAGE));
    OK(fstat(fd, &s));
    VALUE(s.st_size);
    VALUE(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, PAGE));
    VALUE(fallocate(fd, 0, -1, PAGE));
    VALUE(fallocate(fd, 0, 0, 0));
    VALUE(fallocate(9999, 0, 0, PAGE));
    int rd = open("f", O_RDONLY);
    VALUE(fallocate(rd, 0, 0, PAGE));
    int pipes[2];
    OK(pipe(pipes));
    VALUE(fallocate(pipes[1], 0, 0, PAGE));
    munmap(p, 3 * PAGE);
}

CASE(shared_anonymous)
{
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(p != MAP_FAILED);
    p[PAGE] = 1;
    OK(madvise(p, 4 * PAGE, MADV_DONTNEED)); /* shared: what was written stays */
    CHECK(p[PAGE] == 1);
    char *q = mremap(p, 0, 4 * PAGE, MREMAP_MAYMOVE); /* old size 0: a second view of a shared mapping */
    NEED(q != MAP_FAILED);
    q[2 * PAGE] = 2;
    CHECK(q[PAGE] == 1 && p[2 * PAGE] == 2);
    munmap(p, 4 * PAGE);
    CHECK(q[2 * PAGE] == 2);
    munmap(q, 4 * PAGE);
}

CASE(map_dev_zero)
{
    int fd = OK(open("/dev/zero", O_RDWR));
    char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(p != MAP_FAILED && p[0] == 0);
    p[PAGE] = 1;
    CHECK(p[PAGE] == 1);
    munmap(p, 2 * PAGE);
}

CASE(write_from_unmapped)
{
    /* Programs probe doubtful memory so, rather than touch it. */
    int pipes[2];
    char *p = anonymous(2 * PAGE);
    munmap(p + PAGE, PAGE);
    OK(pipe(pipes));
    VALUE(write(pipes[1], p, 16));
    VALUE(write(pipes[1], p + PAGE, 16));
    munmap(p, PAGE);
}

CASE(mapped_file_many_writers)
{
    int fd = file_of("f", 64 * PAGE, 0);
    char *p = share(fd, 64 * PAGE, 0);
    for (size_t i = 0; i < 64; i++)
        memset(p + i * PAGE, (int)i, PAGE);
    bool right = true;
    for (size_t i = 0; i < 64; i++) {
        char page[PAGE];
        right = right && pread(fd, page, PAGE, i * PAGE) == (ssize_t)PAGE && page[0] == (char)i &&
                page[PAGE - 1] == (char)i;
    }
    CHECK(right);
    munmap(p, 64 * PAGE);
}
