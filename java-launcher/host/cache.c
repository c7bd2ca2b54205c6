#include "java-launcher/host/cache.h"
#include "java-launcher/host/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DAY = 24 * 60 * 60, KEEP_DAYS = 30 };
static const uint64_t keep_image_bytes = 2ul << 30; /* some twenty Java applications */

/* Makes the directory with those above it, for their owner only: images hold what is in their JARs. */
static bool make_all(const char *dir)
{
    if (is_dir(dir))
        return true;
    if (!strcmp(dir, "/") || !make_all(path_dir(dir)))
        return false;
    return mkdir(dir, 0700) == 0 || errno == EEXIST;
}

char *cache_dir(void)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *dir;
    if (xdg && *xdg == '/')
        dir = fmt("%s/moka", xdg);
    else if (home && *home == '/')
        dir = fmt("%s/.cache/moka", home);
    else
        die("no place for the cache: set HOME or XDG_CACHE_HOME");
    if (!make_all(dir) || access(dir, W_OK) < 0)
        die("cannot write to the cache %s: %s (XDG_CACHE_HOME moves it)", dir, strerror(errno));
    return dir;
}

char *cache_temp(const char *cache)
{
    char *dir = fmt("%s/tmp.XXXXXX", cache);
    if (!mkdtemp(dir))
        die("cannot make a directory in %s: %s", cache, strerror(errno));
    chmod(dir, 0755);
    cleanup_add(dir);
    return dir;
}

int cache_lock(const char *path)
{
    char *name = fmt("%s.lock", path);
    make_dirs(path_dir(path));
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        die("cannot open %s: %s", name, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        progress("waiting for another moka that builds the same");
        while (flock(fd, LOCK_EX) < 0) {
            check_interrupt();
            if (errno != EINTR)
                die("cannot lock %s: %s", name, strerror(errno));
        }
    }
    return fd;
}

void cache_unlock(int lock)
{
    close(lock);
}

void cache_publish(const char *from, const char *to)
{
    if (rename(from, to) == 0)
        return;
    if (errno != EEXIST && errno != ENOTEMPTY)
        die("cannot rename %s to %s: %s", from, to, strerror(errno));
    remove_tree(from);
}

void cache_used(const char *path)
{
    struct timespec t[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
    utimensat(AT_FDCWD, path, t, 0);
}

struct cached {
    char *path;
    time_t used;
    uint64_t bytes; /* of a file */
};

static int last_used_first(const void *a, const void *b)
{
    time_t x = ((const struct cached *)a)->used, y = ((const struct cached *)b)->used;
    return (x < y) - (x > y);
}

/* The entries of DIR whose names begin and end so, the last used first. */
static size_t list(const char *dir, const char *prefix, const char *suffix, struct cached **found)
{
    struct dirent *e;
    size_t n = 0;
    DIR *d = opendir(dir);
    *found = NULL;
    while (d && (e = readdir(d))) {
        struct stat st;
        char *path = fmt("%s/%s", dir, e->d_name);
        if (e->d_name[0] == '.' || !starts_with(e->d_name, prefix) || !ends_with(e->d_name, suffix) ||
            lstat(path, &st) < 0)
            continue;
        *found = realloc(*found, (n + 1) * sizeof **found);
        if (!*found)
            die("out of memory");
        (*found)[n++] = (struct cached){path, st.st_atime > st.st_ctime ? st.st_atime : st.st_ctime,
                                        (uint64_t)st.st_size};
    }
    if (d)
        closedir(d);
    if (n)
        qsort(*found, n, sizeof **found, last_used_first);
    return n;
}

/* Removes what is older, and those beyond so many bytes; not the last used, however large. */
static void tidy_dir(const char *dir, const char *prefix, const char *suffix, uint64_t keep_bytes,
                     time_t older_than)
{
    struct cached *found;
    uint64_t bytes = 0;
    size_t n = list(dir, prefix, suffix, &found);
    for (size_t i = 0; i < n; i++) {
        bytes += found[i].bytes;
        if ((i == 0 || bytes <= keep_bytes) && found[i].used >= older_than)
            continue;
        remove_tree(found[i].path);
    }
    free(found);
}

void cache_tidy(const char *cache)
{
    time_t now = time(NULL);
    tidy_dir(cache, "tmp.", "", UINT64_MAX, now - DAY);
    tidy_dir(fmt("%s/image", cache), "", ".img", keep_image_bytes, now - KEEP_DAYS * DAY);
    tidy_dir(fmt("%s/runtime", cache), "", "", UINT64_MAX, now - KEEP_DAYS * DAY);
    tidy_dir(fmt("%s/image", cache), "", ".lock", UINT64_MAX, now - KEEP_DAYS * DAY);
}
