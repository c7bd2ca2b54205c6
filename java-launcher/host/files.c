#include "java-launcher/host/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *path_absolute(const char *path)
{
    char cwd[PATH_MAX];
    struct strvec in = {0}, out = {0};
    if (*path != '/') {
        if (!getcwd(cwd, sizeof cwd))
            die("cannot tell the current directory: %s", strerror(errno));
        vec_split(&in, cwd, '/');
    }
    vec_split(&in, path, '/');
    for (size_t i = 0; i < in.n; i++) {
        if (!strcmp(in.v[i], ".."))
            out.n -= out.n > 0;
        else if (strcmp(in.v[i], "."))
            vec_add(&out, in.v[i]);
    }
    return fmt("/%s", vec_join(&out, "/"));
}

/* The length of PATH up to and including its last "..", or 0 if it has none. */
static size_t last_parent(const char *path)
{
    size_t found = 0;
    for (const char *p = path; *p; p += strspn(p, "/")) {
        size_t n = strcspn(p, "/");
        if (n == 2 && !strncmp(p, "..", 2))
            found = (size_t)(p - path) + n;
        p += n;
    }
    return found;
}

char *path_host(const char *path)
{
    char dir[PATH_MAX];
    size_t n = last_parent(path);
    if (!n || !realpath(fmt("%.*s", (int)n, path), dir))
        return path_absolute(path);
    return path_absolute(fmt("%s/%s", dir, path + n));
}

char *path_real(const char *path)
{
    char real[PATH_MAX];
    if (!realpath(path, real))
        die("cannot find %s: %s", path, strerror(errno));
    return xstrdup(real);
}

char *path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : fmt("%.*s", (int)(slash - path), path);
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

void make_dirs(const char *path)
{
    char *p = xstrdup(path);
    for (char *s = p + 1;; s++) {
        if (*s && *s != '/')
            continue;
        char c = *s;
        *s = 0;
        if (mkdir(p, 0755) < 0 && errno != EEXIST)
            die("cannot make the directory %s: %s", p, strerror(errno));
        *s = c;
        if (!c)
            break;
    }
    if (!is_dir(p))
        die("%s is not a directory", p);
    free(p);
}

int read_whole(const char *path, struct buf *out)
{
    char chunk[65536];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    buf_add(out, "", 0);
    while ((n = read(fd, chunk, sizeof chunk)) > 0)
        buf_add(out, chunk, (size_t)n);
    int err = n < 0 ? -errno : 0;
    close(fd);
    return err;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return 0;
}

void write_whole(const char *path, const void *data, size_t n, mode_t mode)
{
    make_dirs(path_dir(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    int err = fd < 0 ? -errno : write_all(fd, data, n);
    if (fd >= 0 && close(fd) < 0 && !err)
        err = -errno;
    if (err)
        die("cannot write %s: %s", path, strerror(-err));
}

static int copy_data(int in, int out)
{
    char chunk[65536];
    ssize_t n;
    while ((n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0)) > 0)
        ;
    if (n == 0)
        return 0;
    while ((n = read(in, chunk, sizeof chunk)) > 0) {
        int err = write_all(out, chunk, (size_t)n);
        if (err)
            return err;
    }
    return n < 0 ? -errno : 0;
}

int copy_file(const char *from, const char *to, mode_t mode)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return -errno;
    make_dirs(path_dir(to));
    unlink(to);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int err = out < 0 ? -errno : copy_data(in, out);
    if (out >= 0 && fchmod(out, mode) < 0 && !err)
        err = -errno;
    if (out >= 0 && close(out) < 0 && !err)
        err = -errno;
    close(in);
    return err;
}

/* A hard link where possible, else a copy with FROM's mode. */
static int link_or_copy(const char *from, const char *to)
{
    struct stat st;
    if (stat(from, &st) < 0)
        return -errno;
    unlink(to);
    if (link(from, to) == 0)
        return 0;
    return copy_file(from, to, st.st_mode & 0777);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? errno : 0;
}

int remove_tree(const char *path)
{
    int r = nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
    return r > 0 ? -r : r < 0 && errno != ENOENT ? -errno : 0;
}

static int keep_link(const char *from, const char *to)
{
    char target[PATH_MAX];
    ssize_t n = readlink(from, target, sizeof target - 1);
    if (n < 0)
        return -errno;
    target[n] = 0;
    unlink(to); /* as copy_file does; a directory stays, and is an error */
    return symlink(target, to) < 0 ? -errno : 0;
}

/* One copy_tree: what is copied, with its links resolved and a slash at the end. */
struct copying {
    char top[PATH_MAX + 1];
    bool share;
};

static int copy_dir(const struct copying *c, const char *from, const char *to);

/* A link to a file outside would lead nowhere in the copy: it becomes the file. */
static int copy_link(const struct copying *c, const char *from, const char *to)
{
    char target[PATH_MAX];
    if (realpath(from, target) && !starts_with(target, c->top) && is_file(target))
        return copy_file(target, to, access(target, X_OK) == 0 ? 0755 : 0644);
    return keep_link(from, to);
}

static int copy_entry(const struct copying *c, const char *from, const char *to)
{
    struct stat st;
    if (lstat(from, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return copy_dir(c, from, to);
    if (S_ISLNK(st.st_mode))
        return copy_link(c, from, to);
    if (!S_ISREG(st.st_mode))
        return 0;
    return c->share ? link_or_copy(from, to) : copy_file(from, to, st.st_mode & 0777);
}

static int copy_dir(const struct copying *c, const char *from, const char *to)
{
    struct dirent *e;
    int err = 0;
    DIR *d = opendir(from);
    if (!d)
        return -errno;
    make_dirs(to);
    while (!err && (e = readdir(d))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        char *f = fmt("%s/%s", from, e->d_name), *t = fmt("%s/%s", to, e->d_name);
        err = copy_entry(c, f, t);
        free(f);
        free(t);
    }
    closedir(d);
    return err;
}

int copy_tree(const char *from, const char *to, bool share)
{
    struct copying c = {.share = share};
    if (!realpath(from, c.top))
        return -errno;
    if (strcmp(c.top, "/"))
        strcat(c.top, "/");
    return copy_dir(&c, from, to);
}

static time_t tree_stamp;

static int stamp_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    struct timespec t[2] = {{.tv_sec = tree_stamp}, {.tv_sec = tree_stamp}};
    (void)type, (void)ftw;
    if (st->st_mtim.tv_sec == tree_stamp && st->st_mtim.tv_nsec == 0)
        return 0;
    return utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
}

void stamp_tree(const char *path, time_t stamp)
{
    tree_stamp = stamp;
    int r = nftw(path, stamp_one, 32, FTW_DEPTH | FTW_PHYS);
    if (r)
        die("cannot set the time of files under %s: %s", path, strerror(r > 0 ? r : errno));
}
