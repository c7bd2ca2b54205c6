/* Files: opening, reading, writing, seeking, sizes, descriptors. */
#include "abi.h"

#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static long size_of(int fd)
{
    struct stat s;
    return fstat(fd, &s) == 0 ? s.st_size : -1;
}

CASE(open_flags)
{
    VALUE(open("f", O_RDONLY));
    int fd = OK(open("f", O_WRONLY | O_CREAT, 0640));
    char c;
    VALUE(read(fd, &c, 1));
    VALUE(write(fd, "abc", 3));
    OK(close(fd));
    VALUE(close(fd));
    VALUE(open("f", O_WRONLY | O_CREAT | O_EXCL, 0640));
    fd = OK(open("f", O_RDONLY));
    VALUE(write(fd, "x", 1));
    VALUE(read(fd, &c, 1));
    CHECK(c == 'a');
    OK(close(fd));
    fd = OK(open("f", O_RDWR | O_TRUNC));
    VALUE(size_of(fd));
    OK(close(fd));
    VALUE(open("f/g", O_RDONLY));
    VALUE(open("missing/g", O_RDWR | O_CREAT, 0644));
    VALUE(open(".", O_RDWR));
    VALUE(open(".", O_WRONLY | O_CREAT, 0644));
    OK(open(".", O_RDONLY | O_DIRECTORY));
    VALUE(open("f", O_RDONLY | O_DIRECTORY));
    VALUE(open("", O_RDONLY));
    char name[300];
    memset(name, 'n', sizeof(name));
    name[299] = 0;
    VALUE(open(name, O_RDWR | O_CREAT, 0644));
    name[255] = 0;
    OK(open(name, O_RDWR | O_CREAT, 0644));
    char *path = malloc(5000);
    memset(path, '/', 4999);
    path[4999] = 0;
    VALUE(open(path, O_RDONLY));
    free(path);
    VALUE(open("f/", O_RDONLY));
    VALUE(openat(9999, "f", O_RDONLY));
    fd = open("f", O_RDONLY);
    VALUE(openat(fd, "g", O_RDONLY));
    VALUE(openat(AT_FDCWD, "f", O_RDONLY) > 0);
    int dir = open(".", O_RDONLY);
    OK(openat(dir, "f", O_RDONLY));
    fd = OK(open("f", O_PATH));
    VALUE(read(fd, &c, 1));
    VALUE(size_of(fd));
}

CASE(open_lowest_descriptor)
{
    int a = open("/dev/null", O_RDONLY), b = open("/dev/null", O_RDONLY), c = open("/dev/null", O_RDONLY);
    CHECK(b == a + 1 && c == a + 2);
    close(b);
    CHECK(open("/dev/null", O_RDONLY) == b);
}

CASE(open_access_mode)
{
    int fd = open("f", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    VALUE(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    VALUE(fcntl(fd, F_GETFD));
    OK(fcntl(fd, F_SETFL, O_NONBLOCK));
    VALUE(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    OK(fcntl(fd, F_SETFD, 0));
    VALUE(fcntl(fd, F_GETFD));
    VALUE(fcntl(fd, 9999));
    VALUE(fcntl(9999, F_GETFL));
}

CASE(temporary_file)
{
    struct stat s;
    char path[64];
    int fd = OK(open(".", O_TMPFILE | O_RDWR, 0600));
    VALUE(write(fd, "text", 4));
    OK(fstat(fd, &s));
    VALUE(s.st_nlink);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    OK(linkat(AT_FDCWD, path, AT_FDCWD, "kept", AT_SYMLINK_FOLLOW));
    VALUE(access("kept", R_OK));
    VALUE(open(".", O_TMPFILE | O_RDONLY, 0600));
}

CASE(append)
{
    char text[32] = "";
    int a = open("f", O_WRONLY | O_CREAT | O_APPEND, 0644), b = open("f", O_WRONLY | O_APPEND);
    VALUE(write(a, "one ", 4));
    VALUE(write(b, "two ", 4));
    lseek(a, 0, SEEK_SET);
    VALUE(write(a, "three", 5));
    VALUE(lseek(a, 0, SEEK_CUR));
    VALUE(slurp("f", text, sizeof(text)));
    say("%s", text);
    VALUE(pwrite(b, "!", 1, 0)); /* Linux appends all the same */
    slurp("f", text, sizeof(text));
    say("%s", text);
}

CASE(positioned_io)
{
    char text[16] = "";
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    VALUE(pwrite(fd, "hello", 5, 10));
    VALUE(size_of(fd));
    VALUE(pread(fd, text, 16, 8));
    CHECK(memcmp(text, "\0\0hello", 7) == 0);
    VALUE(lseek(fd, 0, SEEK_CUR));
    VALUE(pread(fd, text, 4, 100));
    VALUE(pread(fd, text, 4, -1));
    VALUE(pwrite(fd, text, 4, -1));
    VALUE(read(fd, text, 0));
    VALUE(read(9999, text, 1));
    VALUE(write(9999, text, 1));
    int pipes[2];
    OK(pipe(pipes));
    VALUE(pread(pipes[0], text, 1, 0));
    VALUE(lseek(pipes[0], 0, SEEK_SET));
    int dir = open(".", O_RDONLY);
    VALUE(read(dir, text, 1));
}

CASE(vectors)
{
    char a[3] = "", b[4] = "", c[9] = "";
    struct iovec out[3] = {{"one", 3}, {"", 0}, {"three", 5}}, in[3] = {{a, 2}, {b, 3}, {c, 8}};
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    VALUE(writev(fd, out, 3));
    lseek(fd, 0, SEEK_SET);
    VALUE(readv(fd, in, 3));
    say("%s %s %s", a, b, c);
    VALUE(preadv(fd, in, 2, 3));
    say("%s %s", a, b);
    VALUE(pwritev(fd, out, 1, 20));
    VALUE(size_of(fd));
    VALUE(writev(fd, out, -1));
    VALUE(writev(fd, out, 1025));
    VALUE(writev(fd, out, 0));
    out[1].iov_len = (size_t)-1;
    VALUE(writev(fd, out, 3));
    out[1] = (struct iovec){(void *)8, 3};
    lseek(fd, 0, SEEK_SET);
    VALUE(writev(fd, out + 1, 1));
}

CASE(seeking)
{
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    VALUE(write(fd, "0123456789", 10));
    VALUE(lseek(fd, 3, SEEK_SET));
    VALUE(lseek(fd, 3, SEEK_CUR));
    VALUE(lseek(fd, -3, SEEK_END));
    VALUE(lseek(fd, 100, SEEK_END));
    VALUE(lseek(fd, -1, SEEK_SET));
    VALUE(lseek(fd, -200, SEEK_CUR));
    VALUE(lseek(fd, 0, 77));
    VALUE(lseek(9999, 0, SEEK_SET));
    VALUE(write(fd, "x", 1)); /* past the end: a hole */
    VALUE(size_of(fd));
}

CASE(seek_data_and_holes)
{
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    OK(ftruncate(fd, 16 * MB));
    VALUE(pwrite(fd, "data", 4, 4 * MB));
    VALUE(lseek(fd, 0, SEEK_DATA));
    VALUE(lseek(fd, 0, SEEK_HOLE));
    long hole = lseek(fd, 4 * MB, SEEK_HOLE);
    CHECK(hole > 4 * MB && hole <= 6 * MB);
    VALUE(lseek(fd, 8 * MB, SEEK_DATA));
    VALUE(lseek(fd, 32 * MB, SEEK_HOLE));
    VALUE(lseek(fd, 8 * MB, SEEK_HOLE));
}

CASE(truncation)
{
    char text[8];
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    VALUE(write(fd, "abcdefgh", 8));
    OK(ftruncate(fd, 3));
    VALUE(size_of(fd));
    OK(ftruncate(fd, 6));
    VALUE(pread(fd, text, 8, 0));
    CHECK(memcmp(text, "abc\0\0\0", 6) == 0);
    OK(truncate("f", 1));
    VALUE(size_of(fd));
    OK(ftruncate(fd, 1UL << 40)); /* sparse: costs nothing */
    VALUE(size_of(fd));
    VALUE(pread(fd, text, 4, (1UL << 40) - 4));
    VALUE(ftruncate(fd, -1));
    VALUE(truncate("missing", 0));
    VALUE(truncate(".", 0));
    int rd = open("f", O_RDONLY);
    VALUE(ftruncate(rd, 0));
    VALUE(ftruncate(9999, 0));
}

CASE(descriptor_copies)
{
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    int copy = OK(dup(fd));
    VALUE(write(fd, "abc", 3));
    VALUE(lseek(copy, 0, SEEK_CUR)); /* one offset for both */
    OK(close(fd));
    VALUE(write(copy, "d", 1));
    CHECK(dup2(copy, 100) == 100);
    CHECK(dup2(copy, copy) == copy);
    CHECK(dup3(copy, 101, O_CLOEXEC) == 101);
    VALUE(fcntl(101, F_GETFD));
    VALUE(fcntl(100, F_GETFD));
    VALUE(dup3(copy, copy, 0));
    VALUE(dup3(copy, 102, 0x7));
    VALUE(dup(9999));
    VALUE(dup2(9999, 5));
    VALUE(dup2(copy, -1));
    CHECK(fcntl(copy, F_DUPFD, 120) == 120);
    CHECK(fcntl(copy, F_DUPFD_CLOEXEC, 120) == 121);
    VALUE(fcntl(121, F_GETFD));
    VALUE(fcntl(copy, F_DUPFD, -1));
    VALUE(syscall(SYS_close_range, 100, 121, 0));
    VALUE(fcntl(121, F_GETFD));
    VALUE(syscall(SYS_close_range, 121, 100, 0));
}

CASE(record_locks)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10}, probe = lock;
    int a = open("f", O_RDWR | O_CREAT, 0644), b = open("f", O_RDWR);
    OK(fcntl(a, F_SETLK, &lock));
    OK(fcntl(b, F_SETLK, &lock)); /* the same process: no conflict */
    OK(fcntl(b, F_GETLK, &probe));
    CHECK(probe.l_type == F_UNLCK);
    lock.l_type = F_UNLCK;
    OK(fcntl(a, F_SETLK, &lock));
    lock.l_type = 77;
    VALUE(fcntl(a, F_SETLK, &lock));
    lock.l_type = F_WRLCK;
    lock.l_len = -20;
    VALUE(fcntl(a, F_SETLK, &lock)); /* before the start of the file */
    int rd = open("f", O_RDONLY);
    lock.l_len = 1;
    VALUE(fcntl(rd, F_SETLK, &lock));
    VALUE(fcntl(9999, F_SETLK, &lock));
}

CASE(open_file_locks)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10}, probe = lock;
    int a = open("f", O_RDWR | O_CREAT, 0644), b = open("f", O_RDWR);
    OK(fcntl(a, F_OFD_SETLK, &lock));
    VALUE(fcntl(b, F_OFD_SETLK, &lock)); /* two open files: conflict */
    OK(fcntl(b, F_OFD_GETLK, &probe));
    CHECK(probe.l_type == F_WRLCK && probe.l_start == 10 && probe.l_len == 10 && probe.l_pid == -1);
    lock.l_start = 20;
    OK(fcntl(b, F_OFD_SETLK, &lock)); /* beside it */
    lock.l_start = 15;
    lock.l_len = 1;
    lock.l_type = F_UNLCK;
    OK(fcntl(a, F_OFD_SETLK, &lock)); /* split in two */
    lock.l_type = F_RDLCK;
    OK(fcntl(b, F_OFD_SETLK, &lock));
    OK(close(a)); /* gives its locks back */
    lock.l_start = 10;
    lock.l_len = 5;
    OK(fcntl(b, F_OFD_SETLK, &lock));
}

static int locked;

static void *unlock_later(void *unused)
{
    sleep_ms(80);
    flock(locked, LOCK_UN);
    return unused;
}

CASE(whole_file_locks)
{
    int a = locked = open("f", O_RDWR | O_CREAT, 0644), b = open("f", O_RDWR);
    OK(flock(a, LOCK_EX));
    VALUE(flock(b, LOCK_EX | LOCK_NB));
    VALUE(flock(b, LOCK_SH | LOCK_NB));
    pthread_t t = start(unlock_later, NULL);
    OK(flock(b, LOCK_SH)); /* waits */
    pthread_join(t, NULL);
    OK(flock(a, LOCK_SH | LOCK_NB));
    VALUE(flock(a, LOCK_EX | LOCK_NB));
    VALUE(flock(a, 77));
    VALUE(flock(9999, LOCK_EX));
}

CASE(copying)
{
    char text[32] = "";
    off_t at = 2;
    int in = open("f", O_RDWR | O_CREAT, 0644), out = open("g", O_RDWR | O_CREAT, 0644), pipes[2];
    VALUE(write(in, "0123456789", 10));
    lseek(in, 0, SEEK_SET);
    VALUE(sendfile(out, in, NULL, 4));
    VALUE(lseek(in, 0, SEEK_CUR));
    VALUE(sendfile(out, in, &at, 100));
    VALUE(at);
    VALUE(slurp("g", text, sizeof(text)));
    say("%s", text);
    OK(pipe(pipes));
    at = 0;
    VALUE(sendfile(pipes[1], in, &at, 5));
    VALUE(read(pipes[0], text, 32));
    VALUE(sendfile(out, pipes[0], NULL, 5)); /* the source must be a file */
    VALUE(sendfile(out, 9999, NULL, 5));
    at = -1;
    VALUE(sendfile(out, in, &at, 5));
    off_t from = 0, to = 100;
    VALUE(copy_file_range(in, &from, out, &to, 10, 0));
    VALUE(size_of(out));
    VALUE(copy_file_range(in, &from, out, &to, 10, 0));
    from = 0;
    VALUE(copy_file_range(in, &from, out, &to, 10, 1));
    from = 0, to = 3;
    VALUE(copy_file_range(in, &from, in, &to, 5, 0)); /* overlapping */
}

/* What is copied counts, not what was asked for: ranges that overlap beyond the end do not. */
CASE(copying_near_the_end)
{
    int f = open("f", O_RDWR | O_CREAT, 0644);
    off_t from = 0, to = 100;
    VALUE(write(f, "0123456789", 10));
    VALUE(copy_file_range(f, &from, f, &to, 1000, 0));
    VALUE(from);
    VALUE(to);
    VALUE(size_of(f));
    from = 0, to = 50;
    VALUE(copy_file_range(f, &from, f, &to, 51, 0)); /* overlapping */
    from = 200, to = 220;
    VALUE(copy_file_range(f, &from, f, &to, 1000, 0)); /* nothing is there */
    from = 0, to = 1;
    VALUE(copy_file_range(f, &from, f, &to, SIZE_MAX, 0));
    from = 1, to = 0;
    VALUE(copy_file_range(f, &from, f, &to, SIZE_MAX, 0));
    from = 0, to = INT64_MAX;
    VALUE(copy_file_range(f, &from, f, &to, 2, 0));
    VALUE(size_of(f));
}

CASE(record_locks_near_the_end)
{
    int f = open("f", O_RDWR | O_CREAT, 0644), g = open("f", O_RDWR);
    static const struct {
        off_t start, len;
    } ranges[] = {{1, INT64_MAX},         {2, INT64_MAX},  {INT64_MAX, 1}, {INT64_MAX, 0},
                  {INT64_MAX, INT64_MAX}, {5, INT64_MIN},  {5, -5},        {5, -6},
                  {0, INT64_MAX},         {INT64_MIN, -1}, {-1, 0}};
    for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        struct flock l = {.l_type = F_WRLCK, .l_start = ranges[i].start, .l_len = ranges[i].len};
        say("range %u", i);
        VALUE(fcntl(f, F_OFD_SETLK, &l));
        l = (struct flock){.l_type = F_WRLCK};
        VALUE(fcntl(g, F_OFD_GETLK, &l));
        VALUE(l.l_type == F_UNLCK ? -1 : l.l_start);
        VALUE(l.l_type == F_UNLCK ? -1 : l.l_len);
        l = (struct flock){.l_type = F_UNLCK};
        VALUE(fcntl(f, F_OFD_SETLK, &l));
    }
}

CASE(synchronising)
{
    int fd = open("f", O_RDWR | O_CREAT, 0644), pipes[2];
    VALUE(write(fd, "x", 1));
    OK(fsync(fd));
    OK(fdatasync(fd));
    VALUE(fsync(9999));
    OK(pipe(pipes));
    VALUE(fsync(pipes[0]));
    sync();
    ERROR(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    ERROR(posix_fadvise(fd, 0, 0, 77));
    ERROR(posix_fadvise(pipes[0], 0, 0, POSIX_FADV_NORMAL));
    OK(readahead(fd, 0, 100));
    OK(syscall(SYS_sync_file_range, fd, 0, 1, 0));
}

CASE(devices)
{
    char text[64];
    memset(text, 1, sizeof(text));
    int null = OK(open("/dev/null", O_RDWR)), zero = OK(open("/dev/zero", O_RDWR)),
        full = OK(open("/dev/full", O_RDWR));
    VALUE(read(null, text, 10));
    VALUE(write(null, text, 10));
    VALUE(read(zero, text, 64));
    CHECK(text[0] == 0 && text[63] == 0);
    VALUE(write(zero, text, 10));
    VALUE(write(full, text, 10));
    int random = OK(open("/dev/urandom", O_RDONLY));
    VALUE(read(random, text, 64));
    CHECK(memcmp(text, text + 32, 32) != 0);
    random = OK(open("/dev/random", O_RDONLY));
    VALUE(read(random, text, 16));
    struct stat s;
    OK(fstat(null, &s));
    CHECK(S_ISCHR(s.st_mode));
    VALUE(lseek(null, 0, SEEK_SET));
    VALUE(isatty(null));
    OK(access("/dev/stdin", F_OK));
    OK(access("/dev/fd", F_OK));
    OK(access("/dev/shm", W_OK));
}

CASE(descriptor_limit)
{
    int last = -1, n = 0;
    struct {
        unsigned long now, max;
    } limit;
    OK(syscall(SYS_prlimit64, 0, 7 /* RLIMIT_NOFILE */, NULL, &limit)); /* not everyone may raise max again */
    limit.now = 64;
    OK(syscall(SYS_prlimit64, 0, 7 /* RLIMIT_NOFILE */, &limit, NULL));
    for (int fd; (fd = open("/dev/null", O_RDONLY)) >= 0; n++)
        last = fd;
    say("%s", errname(errno));
    CHECK(last == 63 && n > 10);
    VALUE(dup(0));
    int pipes[2];
    VALUE(pipe(pipes));
    VALUE(dup2(0, 64));
}

CASE(big_file)
{
    char *block = malloc(MB);
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    bool right = true;
    for (int i = 0; i < 24; i++) {
        memset(block, i, MB);
        right = right && write(fd, block, MB) == (ssize_t)MB;
    }
    for (int i = 0; i < 24; i++)
        right = right && pread(fd, block, MB, i * MB) == (ssize_t)MB && block[0] == i && block[MB - 1] == i;
    CHECK(right);
    VALUE(size_of(fd));
    free(block);
}
