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
    make_dirs(dir);
    if (access(dir, W_OK) < 0)
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
        while (flock(fd, LOCK_EX) < 0)
            if (errno != EINTR)
                die("cannot lock %s: %s", name, strerror(errno));
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

static void tidy_dir(const char *dir, const char *prefix, const char *suffix, time_t older_than)
{
    struct dirent *e;
    DIR *d = opendir(dir);
    while (d && (e = readdir(d))) {
        struct stat st;
        char *path = fmt("%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.' && starts_with(e->d_name, prefix) && ends_with(e->d_name, suffix) &&
            lstat(path, &st) == 0 && st.st_mtime < older_than && st.st_ctime < older_than &&
            st.st_atime < older_than)
            remove_tree(path);
        free(path);
    }
    if (d)
        closedir(d);
}

void cache_tidy(const char *cache)
{
    time_t now = time(NULL);
    tidy_dir(cache, "tmp.", "", now - DAY);
    tidy_dir(fmt("%s/image", cache), "", "", now - KEEP_DAYS * DAY);
    tidy_dir(fmt("%s/runtime", cache), "", "", now - KEEP_DAYS * DAY);
}
