#include "java-launcher/host/zone.h"
#include "java-launcher/host/util.h"

#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char zone_file[] = "/etc/localtime", zone_dir[] = "/usr/share/zoneinfo/";
enum { ZONE_BYTES_MAX = 1 << 20 };

/* What the walk looks for, and what it found: the path behind zone_dir. */
static struct buf wanted;
static char *found;

static bool same_as_wanted(const char *path)
{
    struct buf text = {0};
    bool same = read_whole(path, &text) == 0 && text.n == wanted.n && !memcmp(text.p, wanted.p, wanted.n);
    free(text.p);
    return same;
}

/* Directories and files that say the same once more, or are no zones. */
static bool is_no_zone(const char *name)
{
    static const char *const others[] = {"posix/", "right/", "posixrules", "localtime", "ROC", NULL};
    return begins_with_one_of(others, name);
}

static int compare(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    const char *name = path + sizeof zone_dir - 1;
    (void)ftw;
    if (type != FTW_F || (size_t)st->st_size != wanted.n || is_no_zone(name) || !same_as_wanted(path))
        return 0;
    found = xstrdup(name);
    return 1;
}

/* The name in /etc/timezone, as Debian keeps it, if the file is that zone's. */
static char *name_beside(void)
{
    struct buf text = {0};
    if (read_whole("/etc/timezone", &text) < 0)
        return NULL;
    text.p[strcspn(text.p, " \t\r\n")] = 0;
    return *text.p && !strstr(text.p, "..") && same_as_wanted(fmt("%s%s", zone_dir, text.p)) ? text.p : NULL;
}

static char *by_contents(void)
{
    struct stat st;
    if (stat(zone_file, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > ZONE_BYTES_MAX ||
        read_whole(zone_file, &wanted) < 0)
        return NULL;
    char *name = name_beside();
    if (!name && nftw(zone_dir, compare, 16, FTW_PHYS) == 1)
        name = found;
    return name;
}

static bool is_utc(const char *name)
{
    static const char *const names[] = {"UTC", "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", NULL};
    return is_one_of(names, name);
}

char *zone_name(void)
{
    char link[PATH_MAX];
    const char *tz = getenv("TZ");
    if (tz && *tz)
        return xstrdup(*tz == ':' ? tz + 1 : tz);
    ssize_t n = readlink(zone_file, link, sizeof link - 1);
    link[n < 0 ? 0 : n] = 0;
    char *name = strstr(link, "zoneinfo/");
    name = name ? xstrdup(name + strlen("zoneinfo/")) : n < 0 ? by_contents() : NULL;
    return name && *name && !is_utc(name) ? name : NULL;
}
