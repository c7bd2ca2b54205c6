#include "java-launcher/host/stage.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *stage_path(const struct stage *s, const char *guest)
{
    return fmt("%s%s", s->root, path_absolute(guest));
}

void stage_text(struct stage *s, const char *guest, const char *text)
{
    write_whole(stage_path(s, guest), text, strlen(text), 0644);
}

void stage_link(struct stage *s, const char *target, const char *guest)
{
    char *path = stage_path(s, guest);
    make_dirs(path_dir(path));
    if (symlink(target, path) < 0 && errno != EEXIST)
        die("cannot make the link %s: %s", path, strerror(errno));
}

/* The files of /etc that the C library and the class library read. */
static void stage_etc(struct stage *s)
{
    stage_text(s, "/etc/passwd",
               "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n");
    stage_text(s, "/etc/group", "root:x:0:\nnogroup:x:65534:\n");
    stage_text(s, "/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\tmoka\n::1\tlocalhost\n");
    stage_text(s, "/etc/nsswitch.conf",
               "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n");
    stage_text(s, "/etc/resolv.conf", "");
    stage_text(s, "/etc/os-release", "NAME=\"Moka\"\nID=moka\nPRETTY_NAME=\"Moka\"\n");
    if (is_file("/usr/share/zoneinfo/UTC"))
        stage_copy(s, "/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/UTC");
    stage_link(s, "/usr/share/zoneinfo/UTC", "/etc/localtime");
    stage_link(s, "/proc/sys/kernel/hostname", "/etc/hostname");
    stage_link(s, "/proc/self/mounts", "/etc/mtab");
}

void stage_init(struct stage *s, const char *root)
{
    static const char *const merged[] = {"bin", "sbin", "lib", "lib64"};
    memset(s, 0, sizeof *s);
    s->root = xstrdup(root);
    make_dirs(stage_path(s, "/tmp"));
    chmod(stage_path(s, "/tmp"), 01777);
    make_dirs(stage_path(s, "/root"));
    make_dirs(stage_path(s, "/var/tmp"));
    make_dirs(stage_path(s, "/run"));
    stage_link(s, "../run", "/var/run");
    make_dirs(stage_path(s, "/var/log"));
    for (int i = 0; i < 4; i++) {
        struct stat st;
        char *host = fmt("/%s", merged[i]);
        if (lstat(host, &st) == 0 &&
            S_ISLNK(st.st_mode)) { /* the host has /lib -> usr/lib: so has the guest */
            make_dirs(stage_path(s, fmt("/usr/%s", merged[i])));
            stage_link(s, fmt("usr/%s", merged[i]), host);
        }
    }
    stage_etc(s);
}

/* Dies if a link that was copied before would lead a copy to DIR, or to what is to be made there, out of the
 * stage into this machine's files. */
static void check_inside(const struct stage *s, const char *dir, const char *guest)
{
    char top[PATH_MAX], real[PATH_MAX];
    char *p = xstrdup(dir);
    while (!realpath(p, real))
        p = path_dir(p);
    if (!realpath(s->root, top) || !starts_with(fmt("%s/", real), fmt("%s/", top)))
        die("cannot put %s into the image: a link on its way leads out of the image", guest);
}

void stage_copy(struct stage *s, const char *host, const char *guest)
{
    struct stat st;
    char *to = stage_path(s, guest);
    int err = stat(host, &st) < 0 ? -errno : 0;
    if (!err) {
        check_inside(s, path_dir(to), guest);
        make_dirs(path_dir(to));
        err = S_ISDIR(st.st_mode) ? copy_tree(host, to, false) : copy_file(host, to, st.st_mode & 0777);
    }
    if (err)
        die("cannot copy %s into the image, below %s: %s", host, s->root, strerror(-err));
}

/* PATH with its directories' links resolved, but the name itself kept: the same file whichever way it was
 * reached. */
static char *settled(const char *path)
{
    char dir[PATH_MAX];
    if (!realpath(path_dir(path), dir))
        return path_absolute(path);
    return fmt("%s/%s", strcmp(dir, "/") ? dir : "", path_base(path));
}

static void stage_object(struct stage *s, const char *host)
{
    char *guest = settled(host);
    if (vec_has(&s->staged, guest))
        return;
    vec_add(&s->staged, guest);
    stage_copy(s, host, guest);
    chmod(stage_path(s, guest), 0755); /* as a rule it is so already; a library need not be */
}

static void report_missing(const struct libs *l, bool optional)
{
    for (size_t i = 0; i < l->missing.n; i++) {
        if (!optional)
            die("shared library not found: %s", l->missing.v[i]);
        note("shared library not found: %s", l->missing.v[i]);
    }
}

/* Interpreters first: a library of the same name ("libc.so.6 needs ld-linux-x86-64.so.2") is then there
 * already. */
static void stage_interpreters(struct stage *s, const struct libs *l, struct strvec *names)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct lib *o = l->v[i];
        const char *interpreter = o->elf.interpreter;
        if (!interpreter || vec_has(names, path_base(interpreter)))
            continue;
        if (!is_file(interpreter))
            die("%s needs the dynamic linker %s, which is not here", o->path, interpreter);
        stage_object(s, interpreter);
        vec_add(names, path_base(interpreter));
    }
}

void stage_libs(struct stage *s, const struct libs *l, const char *except, bool optional)
{
    struct strvec interpreters = {0};
    char *below = except ? fmt("%s/", except) : NULL;
    report_missing(l, optional);
    stage_interpreters(s, l, &interpreters);
    for (size_t i = 0; i < l->n; i++) {
        const struct lib *o = l->v[i];
        if ((except && (!strcmp(o->path, except) || starts_with(o->path, below))) ||
            (o->name && vec_has(&interpreters, o->name)))
            continue;
        stage_object(s, o->path);
        if (o->by_name && o->name && !vec_has(&s->cache_names, o->name)) {
            vec_add(&s->cache_names, o->name);
            vec_add(&s->cache_paths, settled(o->path));
        }
    }
}

void stage_finish(struct stage *s)
{
    struct buf cache = {0};
    ldcache_make(s->cache_names.n, s->cache_names.v, s->cache_paths.v, &cache);
    write_whole(stage_path(s, "/etc/ld.so.cache"), cache.p, cache.n, 0644);
    stamp_tree(s->root, STAGE_TIME);
}
