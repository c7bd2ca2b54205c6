/* Names: directories, links, renaming, attributes, times, watching. */
#include "abi.h"

#include <dirent.h>
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static void show_mode(const char *path)
{
    struct stat s;
    if (lstat(path, &s) != 0)
        say("%s: %s", path, errname(errno));
    else
        say("%s: mode %06o links %d size %ld", path, s.st_mode, S_ISDIR(s.st_mode) ? 0 : (int)s.st_nlink,
            S_ISDIR(s.st_mode) ? 0L : (long)s.st_size);
}

CASE(directories)
{
    OK(mkdir("d", 0755));
    VALUE(mkdir("d", 0755));
    VALUE(mkdir("x/y", 0755));
    OK(mkdir("d/e", 0700));
    show_mode("d");
    show_mode("d/e");
    VALUE(rmdir("d"));
    OK(rmdir("d/e"));
    OK(rmdir("d/"));
    VALUE(rmdir("d"));
    spit("f", "x");
    VALUE(rmdir("f"));
    VALUE(mkdir("f/d", 0755));
    VALUE(rmdir("."));
    VALUE(unlink("."));
    OK(mkdirat(AT_FDCWD, "d", 0711));
    VALUE(unlink("d"));
    VALUE(unlinkat(AT_FDCWD, "d", 0));
    OK(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR));
    VALUE(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR));
    VALUE(unlinkat(AT_FDCWD, "f", 0x1));
    VALUE(unlink("missing"));
    VALUE(unlink("f/x"));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

CASE(list_directory)
{
    char *names[16];
    int n = 0;
    mkdir("d", 0755);
    mkdir("d/sub", 0755);
    spit("d/file", "");
    OK(symlink("file", "d/link"));
    OK(mkfifo("d/fifo", 0600));
    DIR *d = opendir("d");
    NEED(d != NULL);
    for (struct dirent *e; (e = readdir(d)) != NULL && n < 16;) {
        char text[300];
        snprintf(text, sizeof(text), "%s type %d", e->d_name, e->d_type);
        if (e->d_ino == 0)
            say("no inode number: %s", e->d_name);
        names[n++] = strdup(text);
    }
    qsort(names, n, sizeof(names[0]), by_name);
    for (int i = 0; i < n; i++)
        say("%s", names[i]);
    rewinddir(d);
    CHECK(readdir(d) != NULL);
    closedir(d);
    char buffer[512];
    int fd = open("d", O_RDONLY), file = open("d/file", O_RDONLY);
    VALUE(syscall(SYS_getdents64, fd, buffer, 8)); /* too small for any entry */
    VALUE(syscall(SYS_getdents64, file, buffer, 512));
    VALUE(syscall(SYS_getdents64, 9999, buffer, 512));
    VALUE(syscall(SYS_getdents64, fd, 8, 512));
}

CASE(list_big_directory)
{
    enum { N = 1000 };
    char path[32];
    int n = 0;
    mkdir("d", 0755);
    for (int i = 0; i < N; i++) {
        snprintf(path, sizeof(path), "d/%d", i);
        close(open(path, O_WRONLY | O_CREAT, 0644));
    }
    DIR *d = opendir("d");
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        n++;
        snprintf(path, sizeof(path), "d/%.20s", e->d_name);
        if (unlink(path) != 0) /* while it is read: each entry still shows once */
            say("%s: %s", path, errname(errno));
    }
    closedir(d);
    VALUE(n);
    OK(rmdir("d"));
}

CASE(hard_links)
{
    struct stat a, b;
    spit("f", "text");
    OK(link("f", "g"));
    VALUE(link("f", "g"));
    VALUE(link("missing", "h"));
    VALUE(link(".", "h"));
    stat("f", &a);
    stat("g", &b);
    CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    VALUE(a.st_nlink);
    OK(unlink("f"));
    stat("g", &b);
    VALUE(b.st_nlink);
}

CASE(symbolic_links)
{
    char text[64];
    OK(symlink("target", "l"));
    VALUE(symlink("target", "l"));
    VALUE(symlink("", "e"));
    VALUE(open("l", O_RDONLY));
    spit("target", "text");
    VALUE(slurp("l", text, sizeof(text)));
    memset(text, 0, sizeof(text));
    VALUE(readlink("l", text, sizeof(text)));
    say("%s", text);
    VALUE(readlink("l", text, 3));
    VALUE(readlink("target", text, 3));
    VALUE(readlink("missing", text, 3));
    VALUE(readlink("l", text, 0));
    show_mode("l");
    VALUE(open("l", O_RDONLY | O_NOFOLLOW));
    VALUE(open("l", O_RDWR | O_CREAT | O_EXCL, 0644));
    OK(symlink("loop2", "loop1"));
    OK(symlink("loop1", "loop2"));
    VALUE(open("loop1", O_RDONLY));
    OK(mkdir("d", 0755));
    OK(symlink("../target", "d/up"));
    VALUE(slurp("d/up", text, sizeof(text)));
    OK(symlink("d", "ld"));
    VALUE(slurp("ld/up", text, sizeof(text)));
    VALUE(unlink("ld/"));
    VALUE(rmdir("ld"));
    OK(unlink("ld"));
    OK(symlink("new", "dangling"));
    OK(close(open("dangling", O_WRONLY | O_CREAT, 0644)));
    show_mode("new");
    char *real = realpath("d/up", NULL);
    CHECK(real != NULL && strstr(real, "/symbolic_links/target") != NULL);
    free(real);
}

CASE(renaming)
{
    spit("f", "f");
    spit("g", "g");
    mkdir("d", 0755);
    mkdir("e", 0755);
    spit("e/x", "");
    OK(rename("f", "h"));
    VALUE(access("f", F_OK));
    OK(rename("h", "g")); /* replaces */
    char text[8];
    slurp("g", text, sizeof(text));
    say("%s", text);
    VALUE(rename("missing", "x"));
    VALUE(rename("g", "d"));
    VALUE(rename("d", "g"));
    VALUE(rename("d", "e"));
    OK(rename("e", "d"));
    VALUE(access("d/x", F_OK));
    VALUE(rename("d", "d/inside"));
    OK(rename("g", "d/g"));
    OK(rename("d/g", "d/g"));
    OK(renameat(AT_FDCWD, "d/g", AT_FDCWD, "g"));
    spit("k", "k");
    VALUE(syscall(SYS_renameat2, AT_FDCWD, "g", AT_FDCWD, "k", 1 /* RENAME_NOREPLACE */));
    OK(syscall(SYS_renameat2, AT_FDCWD, "g", AT_FDCWD, "k", 2 /* RENAME_EXCHANGE */));
    slurp("g", text, sizeof(text));
    say("%s", text);
    VALUE(syscall(SYS_renameat2, AT_FDCWD, "g", AT_FDCWD, "k", 3));
    VALUE(syscall(SYS_renameat2, AT_FDCWD, "g", AT_FDCWD, "k", 64));
    VALUE(rename("k", "missing/k"));
    VALUE(rename("k/", "m"));
}

CASE(unlink_open_file)
{
    struct stat s;
    char text[8] = "";
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    OK(unlink("f"));
    VALUE(write(fd, "still", 5));
    VALUE(pread(fd, text, 5, 0));
    say("%s", text);
    OK(fstat(fd, &s));
    VALUE(s.st_nlink);
    VALUE(access("f", F_OK));
    OK(mkdir("d", 0755));
    int dir = open("d", O_RDONLY);
    OK(rmdir("d"));
    VALUE(openat(dir, "x", O_RDWR | O_CREAT, 0644));
}

CASE(stat_fields)
{
    struct stat s, t;
    umask(0);
    int fd = open("f", O_RDWR | O_CREAT, 0664);
    VALUE(write(fd, "12345", 5));
    OK(stat("f", &s));
    OK(fstat(fd, &t));
    CHECK(s.st_ino == t.st_ino && s.st_dev == t.st_dev && s.st_ino != 0);
    say("mode %o size %ld links %ld uid %d gid %d rdev %ld", s.st_mode, (long)s.st_size, (long)s.st_nlink,
        s.st_uid, s.st_gid, (long)s.st_rdev);
    CHECK(s.st_blksize >= 512 && s.st_blocks >= 1 && s.st_blocks <= 16);
    CHECK(labs(s.st_mtim.tv_sec - time(NULL)) <= 2 && labs(s.st_ctim.tv_sec - time(NULL)) <= 2);
    OK(stat("/dev/null", &s));
    say("null %d:%d", major(s.st_rdev), minor(s.st_rdev));
    VALUE(stat("missing", &s));
    VALUE(fstat(9999, &s));
    VALUE(fstatat(AT_FDCWD, "", &s, 0));
    OK(fstatat(fd, "", &s, AT_EMPTY_PATH));
    VALUE(s.st_size);
    VALUE(fstatat(AT_FDCWD, "f", &s, 0x40000000));
    OK(fstat(0, &s));
    int pipes[2];
    OK(pipe(pipes));
    OK(fstat(pipes[0], &s));
    CHECK(S_ISFIFO(s.st_mode));
}

/* struct statx (uapi linux/stat.h): the fields used here, at their offsets. */
struct statx_head {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, spare;
    uint64_t ino, size, blocks, attributes_mask;
    struct {
        int64_t sec;
        uint32_t nsec;
        int32_t reserved;
    } atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t rest[14];
};

CASE(statx_fields)
{
    struct statx_head x;
    struct stat s;
    spit("f", "12345");
    OK(syscall(SYS_statx, AT_FDCWD, "f", 0, 0xfff, &x));
    CHECK((x.mask & 0x7ff) == 0x7ff);
    say("mode %o size %lu links %u uid %u", x.mode, x.size, x.nlink, x.uid);
    stat("f", &s);
    CHECK(x.ino == s.st_ino && x.mtime.sec == s.st_mtim.tv_sec && x.mtime.nsec == s.st_mtim.tv_nsec);
    CHECK(makedev(x.dev_major, x.dev_minor) == s.st_dev);
    int fd = open("f", O_RDONLY);
    OK(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0xfff, &x));
    VALUE(x.size);
    VALUE(syscall(SYS_statx, AT_FDCWD, "missing", 0, 0xfff, &x));
    VALUE(syscall(SYS_statx, AT_FDCWD, "f", 0x40000000, 0xfff, &x));
    VALUE(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x80000000, &x));
    VALUE(syscall(SYS_statx, AT_FDCWD, "f", 0, 0xfff, 8));
}

CASE(accessing)
{
    spit("f", "");
    chmod("f", 0400);
    VALUE(access("f", F_OK));
    VALUE(access("f", R_OK));
    VALUE(access("f", W_OK)); /* root may */
    VALUE(access("f", X_OK)); /* but does not execute what no one may */
    chmod("f", 0100);
    VALUE(access("f", X_OK));
    VALUE(access("missing", F_OK));
    VALUE(access("f", 77));
    VALUE(faccessat(AT_FDCWD, "f", R_OK, 0));
    VALUE(syscall(439 /* faccessat2 */, AT_FDCWD, "f", R_OK, AT_EACCESS));
    VALUE(syscall(439 /* faccessat2 */, AT_FDCWD, "f", R_OK, 0x1));
    VALUE(access("f/g", F_OK));
}

CASE(changing_modes)
{
    umask(022);
    spit("f", "");
    int fd = open("f", O_RDWR);
    OK(chmod("f", 0751));
    show_mode("f");
    OK(fchmod(fd, 04640));
    show_mode("f");
    OK(fchmodat(AT_FDCWD, "f", 0600, 0));
    show_mode("f");
    VALUE(chmod("missing", 0600));
    VALUE(fchmod(9999, 0600));
    struct stat s;
    OK(chown("f", 1000, 1001));
    stat("f", &s);
    say("owner %d group %d", s.st_uid, s.st_gid);
    OK(fchown(fd, -1, 5));
    stat("f", &s);
    say("owner %d group %d", s.st_uid, s.st_gid);
    OK(symlink("f", "l"));
    OK(lchown("l", 7, 7));
    stat("f", &s);
    say("owner %d", s.st_uid);
    OK(fchownat(AT_FDCWD, "f", 0, 0, 0));
    OK(umask(077) == 022 ? 0 : -1);
    close(open("g", O_WRONLY | O_CREAT, 0666));
    show_mode("g");
    mkdir("d", 0777);
    show_mode("d");
}

CASE(changing_times)
{
    struct timespec times[2] = {{.tv_sec = 1000000000, .tv_nsec = 123456789},
                                {.tv_sec = 1100000000, .tv_nsec = 5}};
    struct stat s;
    spit("f", "");
    OK(utimensat(AT_FDCWD, "f", times, 0));
    stat("f", &s);
    say("%ld.%09ld %ld.%09ld", s.st_atim.tv_sec, s.st_atim.tv_nsec, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_nsec = UTIME_NOW;
    OK(utimensat(AT_FDCWD, "f", times, 0));
    stat("f", &s);
    CHECK(s.st_atim.tv_sec == 1000000000 && labs(s.st_mtim.tv_sec - time(NULL)) <= 2);
    OK(utimensat(AT_FDCWD, "f", NULL, 0));
    stat("f", &s);
    CHECK(labs(s.st_atim.tv_sec - time(NULL)) <= 2);
    times[0] = times[1] = (struct timespec){.tv_sec = 5};
    int fd = open("f", O_RDWR);
    OK(futimens(fd, times));
    fstat(fd, &s);
    VALUE(s.st_mtim.tv_sec);
    VALUE(write(fd, "x", 1)); /* moves the modification time */
    fstat(fd, &s);
    CHECK(s.st_mtim.tv_sec > 5);
    times[0].tv_nsec = 1000000000;
    VALUE(utimensat(AT_FDCWD, "f", times, 0));
    VALUE(utimensat(AT_FDCWD, "missing", NULL, 0));
    OK(symlink("missing", "l"));
    OK(utimensat(AT_FDCWD, "l", NULL, AT_SYMLINK_NOFOLLOW));
}

CASE(file_system_facts)
{
    struct statfs f;
    OK(statfs(".", &f));
    CHECK(f.f_bsize >= 512 && f.f_blocks > 0 && f.f_bfree <= f.f_blocks && f.f_namelen >= 255);
    int fd = open(".", O_RDONLY);
    OK(fstatfs(fd, &f));
    VALUE(statfs("missing", &f));
    VALUE(fstatfs(9999, &f));
    OK(statfs("/proc", &f));
    CHECK(f.f_type == 0x9fa0);
}

CASE(working_directory)
{
    char path[512], before[512];
    CHECK(getcwd(before, sizeof(before)) != NULL);
    mkdir("d", 0755);
    OK(chdir("d"));
    CHECK(getcwd(path, sizeof(path)) != NULL);
    CHECK(strncmp(path, before, strlen(before)) == 0 && strcmp(path + strlen(before), "/d") == 0);
    spit("here", "");
    OK(chdir(".."));
    VALUE(access("d/here", F_OK));
    int dir = open("d", O_RDONLY), file = open("d/here", O_RDONLY);
    OK(fchdir(dir));
    VALUE(access("here", F_OK));
    VALUE(fchdir(file));
    VALUE(fchdir(9999));
    VALUE(chdir("here"));
    VALUE(chdir("missing"));
    CHECK(syscall(SYS_getcwd, path, sizeof(path)) == strlen(before) + 3);
    OK(unlink("here"));
    OK(rmdir("../d"));
    VALUE((long)getcwd(path, sizeof(path)));
    VALUE(open("x", O_RDWR | O_CREAT, 0644));
    OK(chdir(before));
}

CASE(extended_attributes)
{
    char value[8];
    spit("f", "");
    CHECK(getxattr("f", "user.none", value, 8) == -1 && (errno == ENODATA || errno == EOPNOTSUPP));
    VALUE(getxattr("missing", "user.none", value, 8));
}

/* ---- inotify ---- */

static void show_events(int fd)
{
    char buffer[4096] __attribute__((aligned(8)));
    static uint32_t cookie;
    for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;)
        for (char *p = buffer; p < buffer + n;) {
            struct inotify_event *e = (struct inotify_event *)p;
            bool pair = (e->mask & IN_MOVED_TO) && e->cookie == cookie && cookie != 0;
            if (e->mask & IN_MOVED_FROM)
                cookie = e->cookie;
            say("event %#x %s%s", e->mask, e->len > 0 ? e->name : "-", pair ? " (same cookie)" : "");
            p += sizeof(*e) + e->len;
        }
}

CASE(watching)
{
    char buffer[64];
    mkdir("d", 0755);
    int fd = OK(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    int watch = OK(inotify_add_watch(
        fd, "d", IN_CREATE | IN_DELETE | IN_MODIFY | IN_MOVE | IN_ATTRIB | IN_CLOSE_WRITE | IN_DELETE_SELF));
    VALUE(read(fd, buffer, sizeof(buffer)));
    spit("d/f", "text");
    show_events(fd);
    OK(rename("d/f", "d/g"));
    show_events(fd);
    OK(chmod("d/g", 0600));
    show_events(fd);
    OK(mkdir("d/sub", 0755));
    show_events(fd);
    OK(unlink("d/g"));
    show_events(fd);
    OK(rmdir("d/sub"));
    show_events(fd);
    CHECK(inotify_add_watch(fd, "d", IN_CREATE) == watch); /* the same file: the same watch */
    OK(inotify_rm_watch(fd, watch));
    show_events(fd);
    VALUE(inotify_rm_watch(fd, watch));
    VALUE(inotify_add_watch(fd, "missing", IN_CREATE));
    VALUE(inotify_add_watch(fd, "d", 0));
    VALUE(inotify_add_watch(0, "d", IN_CREATE));
    VALUE(inotify_init1(0x7));
    OK(inotify_add_watch(fd, "d", IN_DELETE_SELF));
    OK(rmdir("d"));
    show_events(fd);
}
