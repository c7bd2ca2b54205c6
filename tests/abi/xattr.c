/* Extended attributes of files, and the older names of file calls. */
#include "abi.h"

#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <utime.h>

CASE(attributes_none)
{
    char value[16];
    spit("plain", "x");
    OK(symlink("plain", "link"));
    int fd = open("plain", O_RDONLY);
    VALUE(getxattr("plain", "user.none", value, sizeof(value)));
    VALUE(lgetxattr("plain", "user.none", value, sizeof(value)));
    VALUE(fgetxattr(fd, "user.none", value, sizeof(value)));
    VALUE(getxattr("missing", "user.none", value, sizeof(value)));
    VALUE(lgetxattr("missing", "user.none", value, sizeof(value)));
    VALUE(fgetxattr(-1, "user.none", value, sizeof(value)));
    VALUE(syscall(SYS_getxattr, "plain", 8, value, sizeof(value)));
    VALUE(syscall(SYS_getxattr, 8, "user.none", value, sizeof(value)));
    VALUE(getxattr("plain", "", value, sizeof(value)));
    CHECK(listxattr("plain", NULL, 0) >= 0 && llistxattr("link", NULL, 0) >= 0 &&
          flistxattr(fd, NULL, 0) >= 0);
    VALUE(listxattr("missing", NULL, 0));
    VALUE(llistxattr("missing", NULL, 0));
    VALUE(flistxattr(-1, NULL, 0));
    VALUE(removexattr("missing", "user.none"));
    VALUE(lremovexattr("missing", "user.none"));
    VALUE(fremovexattr(-1, "user.none"));
    VALUE(setxattr("missing", "user.none", "v", 1, 0));
    VALUE(lsetxattr("missing", "user.none", "v", 1, 0));
    VALUE(fsetxattr(-1, "user.none", "v", 1, 0));
    VALUE(setxattr("plain", "user.none", "v", 1, 99));
    VALUE(setxattr("plain", "nonsense", "v", 1, 0));
    VALUE(lsetxattr("plain", "nonsense", "v", 1, 0));
    VALUE(fsetxattr(fd, "nonsense", "v", 1, 0));
    VALUE(removexattr("plain", "nonsense"));
    VALUE(lremovexattr("plain", "nonsense"));
    VALUE(fremovexattr(fd, "nonsense"));
    close(fd);
    unlink("link");
    unlink("plain");
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Says the names of a file's attributes in the order of the alphabet: listxattr(2) promises none. */
static void say_names(const char *path)
{
    char list[4096], *names[32];
    ssize_t n = llistxattr(path, list, sizeof(list)), count = 0;
    NEED(n >= 0 && n < (ssize_t)sizeof(list));
    CHECK(llistxattr(path, NULL, 0) == n);
    for (char *at = list; at < list + n; at += strlen(at) + 1)
        names[count++] = at;
    qsort(names, count, sizeof(*names), by_text);
    say("%zd attributes:", count);
    for (ssize_t i = 0; i < count; i++)
        say("  %s", names[i]);
}

CASE(attributes_kept)
{
    char value[16] = "";
    struct stat before, after;
    spit("kept", "x");
    OK(setxattr("kept", "user.color", "green", 5, 0));
    VALUE(getxattr("kept", "user.color", value, sizeof(value)));
    say("is %s", value);
    VALUE(getxattr("kept", "user.color", NULL, 0));
    VALUE(getxattr("kept", "user.color", value, 4));
    VALUE(getxattr("kept", "user.color", (void *)8, 5));
    VALUE(setxattr("kept", "user.color", "red", 3, XATTR_CREATE));
    VALUE(setxattr("kept", "user.colour", "red", 3, XATTR_REPLACE));
    OK(setxattr("kept", "user.color", "red", 3, XATTR_REPLACE));
    VALUE(getxattr("kept", "user.color", value, sizeof(value)));
    say("is %.3s", value);
    OK(setxattr("kept", "user.empty", NULL, 0, XATTR_CREATE));
    VALUE(getxattr("kept", "user.empty", value, sizeof(value)));
    OK(link("kept", "too"));
    OK(rename("kept", "moved"));
    OK(setxattr("too", "trusted.t", "1", 1, 0));
    OK(setxattr("too", "security.s", "1", 1, 0));
    say_names("moved");
    VALUE(listxattr("moved", value, sizeof(value)));
    OK(stat("moved", &before));
    usleep(20000);
    OK(removexattr("moved", "user.empty"));
    OK(stat("moved", &after));
    CHECK(after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
    CHECK(after.st_ctim.tv_sec > before.st_ctim.tv_sec || after.st_ctim.tv_nsec > before.st_ctim.tv_nsec);
    VALUE(removexattr("moved", "user.empty"));
    say_names("too");
    unlink("moved");
    unlink("too");
}

/* By descriptor, also without write access; what has no name; and inotify hears of it. */
CASE(attributes_by_descriptor)
{
    char value[16] = "", events[512];
    spit("kept", "x");
    OK(mkdir("dir", 0700));
    int fd = open("kept", O_RDONLY), dir = open("dir", O_RDONLY), path = open("kept", O_PATH);
    int ends[2], watch = inotify_init1(IN_NONBLOCK);
    NEED(pipe(ends) == 0);
    CHECK(inotify_add_watch(watch, "kept", IN_ATTRIB) > 0);
    OK(fsetxattr(fd, "user.a", "1", 1, 0));
    VALUE(fgetxattr(fd, "user.a", value, sizeof(value)));
    VALUE(flistxattr(fd, value, sizeof(value)));
    OK(fremovexattr(fd, "user.a"));
    VALUE(read(watch, events, sizeof(events)));
    OK(fsetxattr(dir, "user.a", "1", 1, 0));
    say_names("dir");
    VALUE(fsetxattr(path, "user.a", "1", 1, 0));
    VALUE(fgetxattr(path, "user.a", value, sizeof(value)));
    VALUE(flistxattr(path, value, sizeof(value)));
    VALUE(fsetxattr(ends[0], "user.a", "1", 1, 0));
    VALUE(fgetxattr(ends[0], "user.a", value, sizeof(value)));
    VALUE(flistxattr(ends[0], value, sizeof(value)));
    VALUE(fremovexattr(ends[0], "user.a"));
    close(fd);
    fd = memfd_create("unnamed", 0);
    OK(fsetxattr(fd, "user.a", "1", 1, 0));
    VALUE(flistxattr(fd, NULL, 0));
    close(fd);
    close(dir);
    close(path);
    close(ends[0]);
    close(ends[1]);
    close(watch);
    unlink("kept");
    rmdir("dir");
}

CASE(attributes_refused)
{
    static char big[65537], name[300], list[65536];
    spit("kept", "x");
    OK(symlink("kept", "link"));
    OK(mkfifo("fifo", 0600));
    memset(name, 'n', 299);
    memcpy(name, "user.", 5);
    VALUE(setxattr("kept", name, "1", 1, 0));
    name[256] = 0;
    VALUE(setxattr("kept", name, "1", 1, 0));
    name[255] = 0;
    OK(setxattr("kept", name, "1", 1, 0));
    OK(removexattr("kept", name));
    VALUE(setxattr("kept", "user.", "1", 1, 0));
    VALUE(getxattr("kept", "user.", big, 1));
    VALUE(setxattr("kept", "user", "1", 1, 0));
    VALUE(setxattr("kept", "", "1", 1, 0));
    VALUE(setxattr("kept", NULL, "1", 1, 0));
    VALUE(setxattr("kept", "system.other", "1", 1, 0));
    VALUE(setxattr("kept", "user.a", big, sizeof(big), 0));
    VALUE(setxattr("kept", "user.a", (void *)8, 1, 0));
    VALUE(setxattr("kept", "user.a", "1", 1, XATTR_CREATE | XATTR_REPLACE));
    OK(setxattr("kept", "user.a", big, sizeof(big) - 1, 0));
    VALUE(getxattr("kept", "user.a", big, sizeof(big)));
    VALUE(lsetxattr("link", "user.a", "1", 1, 0));
    VALUE(lgetxattr("link", "user.a", big, 1));
    VALUE(lremovexattr("link", "user.a"));
    OK(lsetxattr("link", "trusted.a", "1", 1, 0));
    say_names("link");
    OK(lremovexattr("link", "trusted.a"));
    VALUE(setxattr("fifo", "user.a", "1", 1, 0));
    VALUE(getxattr("fifo", "user.a", big, 1));
    VALUE(setxattr("/proc/self/status", "user.a", "1", 1, 0));
    VALUE(getxattr("/proc/self/status", "user.a", big, 1));
    VALUE(listxattr("/proc/self/status", list, sizeof(list)));
    for (int i = 0; i < 400; i++) {
        memset(name, 'n', 240);
        sprintf(name, "user.%03d", i);
        name[8] = 'n';
        name[240] = 0;
        NEED(setxattr("kept", name, NULL, 0, 0) == 0);
    }
    VALUE(listxattr("kept", list, sizeof(list)));
    VALUE(listxattr("kept", list, 100));
    unlink("kept");
    unlink("link");
    unlink("fifo");
}

CASE(times_of_old)
{
    struct stat s;
    struct utimbuf u = {1000, 2000};
    struct timeval tv[2] = {{3000, 500000}, {4000, 250000}};
    spit("old", "x");
    OK(syscall(SYS_utime, "old", &u));
    OK(stat("old", &s));
    CHECK(s.st_atime == 1000 && s.st_mtime == 2000);
    OK(syscall(SYS_utimes, "old", tv));
    OK(stat("old", &s));
    CHECK(s.st_atime == 3000 && s.st_mtim.tv_nsec == 250000000);
    tv[0].tv_sec = 77;
    OK(syscall(SYS_futimesat, AT_FDCWD, "old", tv));
    OK(stat("old", &s));
    CHECK(s.st_atime == 77);
    OK(syscall(SYS_utime, "old", NULL));
    OK(stat("old", &s));
    CHECK(s.st_atime > 1600000000);
    VALUE(syscall(SYS_utime, "missing", &u));
    VALUE(syscall(SYS_utime, "old", 8));
    VALUE(syscall(SYS_utimes, "old", 8));
    tv[1].tv_usec = 1000000;
    VALUE(syscall(SYS_utimes, "old", tv));
    VALUE(syscall(SYS_futimesat, -1, "old", tv));
    unlink("old");
}

CASE(creating_the_old_way)
{
    struct stat s;
    int fd = syscall(SYS_creat, "made", 0640);
    CHECK(fd >= 0);
    VALUE(write(fd, "abc", 3));
    char c;
    VALUE(read(fd, &c, 1));
    close(fd);
    OK(stat("made", &s));
    CHECK(S_ISREG(s.st_mode) && s.st_size == 3 && (s.st_mode & 0777) == 0640);
    VALUE(syscall(SYS_creat, "missing/made", 0600));
    OK(mknod("made", S_IFREG | 0600, 0));
    unlink("made");
    OK(mknod("fifo", S_IFIFO | 0600, 0));
    OK(stat("fifo", &s));
    CHECK(S_ISFIFO(s.st_mode));
    unlink("fifo");
    OK(syscall(SYS_mknodat, AT_FDCWD, "file", S_IFREG | 0600, 0));
    OK(syscall(SYS_mknodat, -1, "file2", S_IFREG | 0600, 0));
    VALUE(mknod("bad", S_IFDIR | 0600, 0));
    VALUE(mknod("bad", 0170000, 0));
    VALUE(mknod("missing/x", S_IFIFO | 0600, 0));
    unlink("file");
}

CASE(entries_the_old_way)
{
    char buffer[2048];
    OK(mkdir("entries", 0700));
    spit("entries/a", "1");
    int fd = open("entries", O_RDONLY | O_DIRECTORY), names = 0;
    long n;
    while ((n = syscall(SYS_getdents, fd, buffer, sizeof(buffer))) > 0)
        for (long at = 0; at < n; at += *(uint16_t *)(buffer + at + 16)) {
            const char *name = buffer + at + 18;
            names += !strcmp(name, "a") || !strcmp(name, ".") || !strcmp(name, "..");
        }
    VALUE(n);
    say("%d names", names);
    lseek(fd, 0, SEEK_SET);
    VALUE(syscall(SYS_getdents, fd, buffer, 4));
    VALUE(syscall(SYS_getdents, -1, buffer, sizeof(buffer)));
    VALUE(syscall(SYS_getdents, fd, 8, sizeof(buffer)));
    close(fd);
    fd = open("entries/a", O_RDONLY);
    VALUE(syscall(SYS_getdents, fd, buffer, sizeof(buffer)));
    close(fd);
    unlink("entries/a");
    rmdir("entries");
}

struct open_how_words {
    uint64_t flags, mode, resolve;
};

CASE(open_with_rules)
{
    struct open_how_words how = {O_RDWR | O_CREAT, 0600, 0}, big[2] = {{O_RDONLY, 0, 0}, {0, 0, 0}};
    int fd = syscall(SYS_openat2, AT_FDCWD, "how", &how, sizeof(how));
    CHECK(fd >= 0);
    close(fd);
    OK(syscall(SYS_openat2, AT_FDCWD, "how", big, sizeof(big)));
    big[1].flags = 1;
    VALUE(syscall(SYS_openat2, AT_FDCWD, "how", big, sizeof(big)));
    VALUE(syscall(SYS_openat2, AT_FDCWD, "how", &how, 8));
    VALUE(syscall(SYS_openat2, AT_FDCWD, "how", &how, 8192));
    VALUE(syscall(SYS_openat2, AT_FDCWD, "how", 8, sizeof(how)));
    how = (struct open_how_words){1UL << 40, 0, 0};
    VALUE(syscall(SYS_openat2, AT_FDCWD, "how", &how, sizeof(how)));
    how = (struct open_how_words){O_RDONLY, 0600, 0};
    VALUE(syscall(SYS_openat2, AT_FDCWD, "how", &how, sizeof(how)));
    how = (struct open_how_words){O_RDONLY, 0, 1UL << 20};
    VALUE(syscall(SYS_openat2, AT_FDCWD, "how", &how, sizeof(how)));
    how = (struct open_how_words){O_RDONLY, 0, 0};
    VALUE(syscall(SYS_openat2, AT_FDCWD, "missing", &how, sizeof(how)));
    VALUE(syscall(SYS_openat2, -1, "how", &how, sizeof(how)));
    unlink("how");
}

CASE(file_hints_and_sync)
{
    spit("hints", "some text");
    int fd = open("hints", O_RDWR), ends[2];
    OK(syscall(SYS_fadvise64, fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    OK(syscall(SYS_fadvise64, fd, 0, 100, POSIX_FADV_DONTNEED));
    VALUE(syscall(SYS_fadvise64, fd, 0, 0, 77));
    VALUE(syscall(SYS_fadvise64, -1, 0, 0, 0));
    VALUE(syscall(SYS_fadvise64, fd, 0, -1, 0));
    NEED(pipe(ends) == 0);
    VALUE(syscall(SYS_fadvise64, ends[0], 0, 0, 0));
    OK(syncfs(fd));
    VALUE(syncfs(-1));
    close(fd);
    close(ends[0]);
    close(ends[1]);
    unlink("hints");
}

CASE(links_by_directory)
{
    char text[32] = "";
    OK(mkdir("links", 0700));
    int dir = open("links", O_RDONLY | O_DIRECTORY);
    OK(syscall(SYS_symlinkat, "target", dir, "l"));
    VALUE(syscall(SYS_readlinkat, dir, "l", text, sizeof(text)));
    say("to %s", text);
    VALUE(syscall(SYS_readlinkat, dir, "l", text, 3));
    VALUE(syscall(SYS_readlinkat, dir, "l", text, 0));
    VALUE(syscall(SYS_readlinkat, dir, "missing", text, sizeof(text)));
    VALUE(syscall(SYS_readlinkat, -1, "l", text, sizeof(text)));
    VALUE(syscall(SYS_readlinkat, dir, "l", 8, sizeof(text)));
    VALUE(syscall(SYS_symlinkat, "target", dir, "l"));
    VALUE(syscall(SYS_symlinkat, "", dir, "m"));
    VALUE(syscall(SYS_symlinkat, 8, dir, "m"));
    VALUE(syscall(SYS_symlinkat, "target", -1, "m"));
    unlinkat(dir, "l", 0);
    close(dir);
    rmdir("links");
}

CASE(descriptors_the_old_way)
{
    char c = 'x';
    spit("f", "abc");
    int fd = open("f", O_RDWR);
    VALUE(syscall(SYS_pwrite64, fd, &c, 1, 1));
    VALUE(syscall(SYS_pwrite64, fd, &c, 1, -1));
    VALUE(syscall(SYS_pwrite64, fd, 8, 1, 0));
    VALUE(syscall(SYS_pwrite64, -1, &c, 1, 0));
    close(fd);
    unlink("f");
    fd = syscall(SYS_inotify_init);
    CHECK(fd >= 0 && fcntl(fd, F_GETFD) == 0);
    close(fd);
    fd = syscall(SYS_eventfd2, 3, O_NONBLOCK);
    uint64_t value;
    VALUE(read(fd, &value, 8));
    VALUE(read(fd, &value, 8));
    close(fd);
    VALUE(syscall(SYS_eventfd2, 0, 64));
}
