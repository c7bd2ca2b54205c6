#include "java-launcher/host/hostcpus.h"
#include "java-launcher/host/util.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CPUS_MAX = 8192 };

static unsigned by_affinity(void)
{
    unsigned n = 0;
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
    if (set && sched_getaffinity(0, size, set) == 0)
        n = (unsigned)CPU_COUNT_S(size, set);
    CPU_FREE(set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return n ? n : online > 0 ? (unsigned)online : 1;
}

/* The quota of the group in DIR, rounded up, or LIMIT if that is less or there is none. */
static unsigned by_quota(const char *dir, unsigned limit)
{
    struct buf text = {0};
    unsigned long quota, period;
    if (read_whole(fmt("%s/cpu.max", dir), &text) == 0 && sscanf(text.p, "%lu %lu", &quota, &period) == 2 &&
        quota && period) {
        unsigned long n = (quota + period - 1) / period;
        limit = n < limit ? (unsigned)n : limit;
    }
    free(text.p);
    return limit;
}

/* This process's path in the hierarchy of version 2, the line "0::PATH". */
static char *group_path(void)
{
    struct buf text = {0};
    char *line = read_whole("/proc/self/cgroup", &text) == 0 ? text.p : NULL;
    while (line && !starts_with(line, "0::/"))
        line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
    return line ? fmt("%.*s", (int)strcspn(line + 3, "\n"), line + 3) : xstrdup("/");
}

unsigned host_cpus(void)
{
    static const char top[] = "/sys/fs/cgroup";
    unsigned n = by_affinity();
    for (char *path = group_path();; path = path_dir(path)) {
        n = by_quota(fmt("%s%s", top, path), n);
        if (!strcmp(path, "/"))
            return n;
    }
}
