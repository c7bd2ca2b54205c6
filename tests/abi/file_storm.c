/* Files under several threads at once: no call may fail with an error it cannot have, nothing may hang, and
 * what one thread alone writes it reads back. */
#include "abi.h"

#include <dirent.h>
#include <sys/mman.h>

enum { STORM_THREADS = 4, ROUNDS = 1500, NAMES = 6, DIRS = 3 };

static int unexpected;

static bool allowed(int error)
{
    static const int errors[] = {ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL, EBUSY, EPERM, ELOOP};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (error == errors[i])
            return true;
    return false;
}

static void note(long result)
{
    if (result < 0 && !allowed(errno))
        __atomic_store_n(&unexpected, errno, __ATOMIC_RELAXED);
}

static void name(char *out, unsigned r)
{
    sprintf(out, "d%u/n%u", r % DIRS, r / DIRS % NAMES);
}

static void use_file(const char *path, unsigned r)
{
    char data[3000];
    int fd = open(path, O_RDWR | O_CREAT | (r & 256 ? O_TRUNC : 0), 0644);
    note(fd);
    if (fd < 0)
        return;
    memset(data, r, sizeof(data));
    note(pwrite(fd, data, r % sizeof(data), r % 9000));
    note(pread(fd, data, sizeof(data), r % 7000));
    note(ftruncate(fd, r % 10000));
    close(fd);
}

static void list(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return;
    while (readdir(d))
        ;
    closedir(d);
}

static void one_call(unsigned r)
{
    char a[32], b[32];
    struct stat s;
    name(a, r >> 4);
    name(b, r >> 12);
    switch (r % 11) {
    case 0:
        note(unlink(a));
        break;
    case 1:
        note(rename(a, b));
        break;
    case 2:
        note(mkdir(a, 0755));
        break;
    case 3:
        note(rmdir(a));
        break;
    case 4:
        note(link(a, b));
        break;
    case 5:
        note(symlink(b + 3, a));
        break;
    case 6:
        strcat(b, "/below");
        note(rename(a, b));
        break;
    case 7:
        note(stat(a, &s));
        break;
    case 8:
        list(r & 4096 ? "d1" : a);
        break;
    default:
        use_file(a, r >> 8);
    }
}

/* A file that only this thread uses, written, read back and mapped. */
static bool own_file(int self, unsigned round)
{
    char path[32];
    sprintf(path, "own%d", self);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    unsigned value = round * 2654435761u;
    off_t at = value % 20000;
    bool good = fd >= 0 && pwrite(fd, &value, sizeof(value), at) == sizeof(value);
    unsigned back = 0;
    good = good && pread(fd, &back, sizeof(back), at) == sizeof(back) && back == value;
    char *p = good ? mmap(NULL, 24000, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    good = good && p != MAP_FAILED && memcmp(p + at, &value, sizeof(value)) == 0;
    if (p != MAP_FAILED)
        munmap(p, 24000);
    close(fd);
    return good;
}

static bool lost;

static void *storm(void *arg)
{
    int self = (int)(long)arg;
    uint64_t state = self * 7919 + 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        state = state * 6364136223846793005UL + 1442695040888963407UL;
        one_call(state >> 32);
        if (i % 16 == 0 && !own_file(self, i))
            lost = true;
    }
    return NULL;
}

CASE(file_storm)
{
    pthread_t t[STORM_THREADS];
    for (int i = 0; i < DIRS; i++) {
        char path[16];
        sprintf(path, "d%d", i);
        OK(mkdir(path, 0755));
    }
    for (long i = 0; i < STORM_THREADS; i++)
        t[i] = start(storm, (void *)i);
    for (int i = 0; i < STORM_THREADS; i++)
        pthread_join(t[i], NULL);
    CHECK(unexpected == 0);
    if (unexpected)
        say("unexpected %s", errname(unexpected));
    CHECK(!lost);
}
