#include "java-launcher/host/libs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Debian's order; other distributions keep theirs in one of these too. */
static const char *const glibc_dirs[] = {
    "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"};
static const char musl_path_file[] = "/etc/ld-musl-x86_64.path";
static const char musl_default_path[] = "/lib:/usr/local/lib:/usr/lib";

char *libs_expand(const char *element, const char *path)
{
    static const struct {
        const char *name, *value;
    } tokens[] = {{"${ORIGIN}", NULL},
                  {"$ORIGIN", NULL},
                  {"${LIB}", "lib/x86_64-linux-gnu"},
                  {"$LIB", "lib/x86_64-linux-gnu"},
                  {"${PLATFORM}", "x86_64"},
                  {"$PLATFORM", "x86_64"}};
    struct buf out = {0};
    buf_puts(&out, "");
    while (*element) {
        size_t i, n = sizeof tokens / sizeof *tokens;
        for (i = 0; i < n && !starts_with(element, tokens[i].name); i++)
            ;
        if (i < n) {
            buf_puts(&out, tokens[i].value ? tokens[i].value : path_dir(path));
            element += strlen(tokens[i].name);
        } else {
            buf_add(&out, element++, 1);
        }
    }
    return out.p;
}

/* A library the linker would take: it skips files that are not for this machine. */
static char *usable(const char *dir, const char *name)
{
    struct elf_info info;
    char *path = fmt("%s/%s", dir, name);
    if (elf_read(path, &info) == 0)
        return path;
    free(path);
    return NULL;
}

static char *search_list(const char *list, const char *owner, const char *name)
{
    struct strvec dirs = {0};
    char *found = NULL;
    if (list)
        vec_split(&dirs, list, ':');
    for (size_t i = 0; i < dirs.n && !found; i++)
        found = usable(owner ? libs_expand(dirs.v[i], owner) : dirs.v[i], name);
    return found ? path_host(found) : NULL;
}

static bool is_musl(const struct lib *lib)
{
    while (lib->loader)
        lib = lib->loader;
    return lib->elf.interpreter && strstr(lib->elf.interpreter, "/ld-musl-");
}

static char *search_musl(const char *name)
{
    struct buf path = {0};
    if (read_whole(musl_path_file, &path) < 0 || !path.n)
        return search_list(musl_default_path, NULL, name);
    for (char *p = path.p; *p; p++)
        if (*p == '\n')
            *p = ':';
    return search_list(path.p, NULL, name);
}

static char *search_glibc(struct libs *l, const char *name)
{
    if (!l->cache_read)
        ldcache_read(&l->cache, l->cache_path ? l->cache_path : "/etc/ld.so.cache");
    l->cache_read = true;
    const char *cached = ldcache_find(&l->cache, name);
    if (cached && is_file(cached))
        return xstrdup(cached);
    for (size_t i = 0; i < sizeof glibc_dirs / sizeof *glibc_dirs; i++) {
        char *found = usable(glibc_dirs[i], name);
        if (found)
            return found;
    }
    return NULL;
}

static char *search(struct libs *l, const struct lib *by, const char *name, bool *by_name)
{
    char *found = NULL;
    *by_name = false;
    if (strchr(name, '/'))
        return is_file(name) ? path_host(name) : NULL;
    if (by && !by->elf.runpath)
        for (const struct lib *o = by; o && !found; o = o->loader)
            found = search_list(o->elf.rpath, o->path, name);
    if (found)
        return found;
    if ((found = search_list(getenv("LD_LIBRARY_PATH"), NULL, name))) {
        *by_name = true;
        return found;
    }
    if (by && (found = search_list(by->elf.runpath, by->path, name)))
        return found;
    *by_name = true;
    return by && is_musl(by) ? search_musl(name) : search_glibc(l, name);
}

/* An object already there under this name: by the name it was asked for, or by what it calls itself. */
static bool present(const struct libs *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct lib *o = l->v[i];
        if ((o->name && !strcmp(o->name, name)) || (o->elf.soname && !strcmp(o->elf.soname, name)) ||
            !strcmp(path_base(o->path), name))
            return true;
    }
    return false;
}

static struct lib *append(struct libs *l, char *path, const char *name, struct lib *loader, bool by_name)
{
    struct lib *o = xmalloc(sizeof *o);
    *o =
        (struct lib){.path = path, .name = name ? xstrdup(name) : NULL, .loader = loader, .by_name = by_name};
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 32;
        l->v = realloc(l->v, l->cap * sizeof(struct lib *));
        if (!l->v)
            die("out of memory");
    }
    l->v[l->n++] = o;
    return o;
}

/* musl's C library is its dynamic linker; programs name it libc.so. */
static bool provided_by_musl(const struct lib *o, const char *name)
{
    return is_musl(o) && (!strcmp(name, "libc.so") || !strcmp(name, "libc.musl-x86_64.so.1"));
}

/* Breadth first, as the linker loads: what the program needs itself is found before what its libraries need.
 */
static void close_over(struct libs *l, size_t first)
{
    for (size_t i = first; i < l->n; i++) {
        struct lib *o = l->v[i];
        for (size_t k = 0; k < o->elf.needed.n; k++) {
            const char *name = o->elf.needed.v[k];
            bool by_name;
            if (present(l, name) || provided_by_musl(o, name))
                continue;
            char *path = search(l, o, name, &by_name);
            if (!path || elf_read(path, &append(l, path, name, o, by_name)->elf) < 0)
                vec_add(&l->missing, fmt("%s, needed by %s", name, o->path));
        }
    }
}

int libs_add(struct libs *l, const char *path)
{
    struct elf_info info;
    size_t first = l->n;
    int err = elf_read(path, &info);
    if (err < 0)
        return err;
    append(l, xstrdup(path), NULL, NULL, false)->elf = info;
    close_over(l, first);
    return 0;
}

void libs_add_optional(struct libs *l, const char *name)
{
    bool by_name;
    size_t first = l->n;
    char *path = present(l, name) ? NULL : search(l, NULL, name, &by_name);
    struct elf_info info;
    if (!path || elf_read(path, &info) < 0)
        return;
    append(l, path, name, NULL, true)->elf = info;
    close_over(l, first);
}
