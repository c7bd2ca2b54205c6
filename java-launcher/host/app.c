#include "java-launcher/host/app.h"
#include "java-launcher/host/habits.h"
#include "java-launcher/host/jar.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

static const char guest_dir[] = "/app";

static struct app_item *find(struct app *a, const char *host)
{
    for (size_t i = 0; i < a->n; i++)
        if (!strcmp(a->items[i].host, host))
            return &a->items[i];
    return NULL;
}

static void add_class_path(struct app *a, const char *jar, const char *class_path);

/* Adds a JAR (and what its Class-Path names) or a directory. A file that is no JAR is left out, as the JVM
 * does. HOST is where a link leads if the user named it, for there the JVM looks for what its Class-Path
 * names; what a Class-Path names is taken as it says. */
static void add(struct app *a, char *host, bool on_path, bool fixed)
{
    struct zip z;
    struct app_item *old = find(a, host);
    if (old) {
        old->on_path |= on_path;
        return;
    }
    bool dir = is_dir(host);
    int err = dir ? 0 : zip_open(&z, host);
    if (err && on_path)
        die("%s: %s", host, err == -ENOEXEC ? "not a JAR" : strerror(-err));
    if (err) {
        note("%s, on a Class-Path, cannot be used: %s", host, err == -ENOEXEC ? "not a JAR" : strerror(-err));
        return;
    }
    a->items = realloc(a->items, (a->n + 1) * sizeof *a->items);
    if (!a->items)
        die("out of memory");
    a->items[a->n++] = (struct app_item){.host = host, .is_dir = dir, .on_path = on_path, .fixed = fixed};
    if (dir)
        return;
    char *class_path = manifest_get(jar_manifest(&z), "Class-Path");
    a->has_nested |= jar_has_nested(&z);
    zip_close(&z);
    if (class_path)
        add_class_path(a, host, class_path);
}

static void add_class_path(struct app *a, const char *jar, const char *class_path)
{
    struct strvec entries = {0};
    vec_split(&entries, class_path, ' ');
    for (size_t i = 0; i < entries.n; i++) {
        char *e = entries.v[i];
        if (!class_path_entry_decode(e) || !*e)
            continue;
        bool absolute = *e == '/';
        char *host = path_absolute(absolute ? e : fmt("%s/%s", path_dir(jar), e));
        if (is_file(host) || is_dir(host))
            add(a, host, false, absolute);
        else
            note("%s names %s in its Class-Path, which is not there", jar, e);
    }
}

static void add_wildcard(struct app *a, const char *dir)
{
    static const char *const patterns[] = {"*.jar", "*.JAR"};
    for (int k = 0; k < 2; k++) {
        glob_t g;
        if (glob(fmt("%s/%s", dir, patterns[k]), 0, NULL, &g))
            continue;
        for (size_t i = 0; i < g.gl_pathc; i++)
            add(a, path_real(g.gl_pathv[i]), true, false);
        globfree(&g);
    }
}

static void add_option(struct app *a, const char *class_path)
{
    struct strvec entries = {0};
    vec_split(&entries, class_path, ':');
    for (size_t i = 0; i < entries.n; i++) {
        char *e = entries.v[i];
        if (!strcmp(path_base(e), "*")) {
            add_wildcard(a, path_dir(e));
            continue;
        }
        if (!is_file(e) && !is_dir(e))
            die("--classpath: no such file or directory: %s", e);
        add(a, path_real(e), true, false);
    }
}

static size_t common_prefix(const char *a, const char *b)
{
    size_t n = 0, last = 0;
    while (a[n] && a[n] == b[n]) {
        n++;
        if (a[n - 1] == '/')
            last = n;
    }
    return last;
}

/* Gives every item its place: what is below the directory all have in common goes below /app. */
static void place(struct app *a)
{
    char *common = NULL;
    for (size_t i = 0; i < a->n; i++) {
        char *dir = fmt("%s/", strcmp(path_dir(a->items[i].host), "/") ? path_dir(a->items[i].host) : "");
        if (a->items[i].fixed)
            continue;
        if (!common)
            common = dir;
        else
            common[common_prefix(common, dir)] = 0;
    }
    for (size_t i = 0; i < a->n; i++) {
        struct app_item *it = &a->items[i];
        it->guest = it->fixed ? it->host : fmt("%s/%s", guest_dir, it->host + strlen(common));
    }
}

/* Attributes that only starting by the manifest heeds (sun.launcher.LauncherHelper). */
static bool needs_jar_start(const char *manifest)
{
    static const char *const names[] = {"Launcher-Agent-Class", "Add-Exports", "Add-Opens",
                                        "Enable-Native-Access"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (manifest_get(manifest, names[i]))
            return true;
    return false;
}

static void open_jar(struct app *a, const struct options *o)
{
    struct zip z;
    int err = zip_open(&z, o->app);
    if (err == -ENOENT)
        die("no such file: %s%s", o->app, habit_no_jar(o->app));
    if (err == -EISDIR)
        die("%s is a directory, not a JAR (--classpath %s --main CLASS runs classes from it)", o->app,
            o->app);
    if (err == -ESPIPE)
        die("%s is a pipe or a device: a JAR must be a file", o->app);
    if (err == -ENOEXEC)
        die("%s is not a JAR%s", o->app, habit_no_jar(o->app));
    if (err)
        die("cannot read %s: %s", o->app, strerror(-err));
    char *manifest = jar_manifest(&z);
    a->main_class = o->main ? o->main : manifest_get(manifest, "Main-Class");
    if (!a->main_class || !*a->main_class)
        die("%s has no Main-Class in its manifest: name the class with --main CLASS", o->app);
    a->start_jar = !o->main && !o->classpath && needs_jar_start(manifest);
    zip_close(&z);
    add(a, path_real(o->app), true, false);
}

static void find_main_release(struct app *a)
{
    for (size_t i = 0; i < a->n && !a->main_release; i++) {
        struct zip z;
        if (a->items[i].is_dir || zip_open(&z, a->items[i].host) < 0)
            continue;
        a->main_release = jar_class_release(&z, a->main_class);
        zip_close(&z);
    }
}

void app_open(struct app *a, const struct options *o)
{
    memset(a, 0, sizeof *a);
    if (o->app)
        open_jar(a, o);
    else
        a->main_class = o->main;
    if (o->classpath)
        add_option(a, o->classpath);
    if (!a->n)
        die("--classpath %s: nothing in it", o->classpath);
    place(a);
    find_main_release(a);
    a->command = o->app && !o->main && !o->classpath ? a->items[0].guest : a->main_class;
}

void app_check(const struct app *a, const struct options *o, const struct jdk *j)
{
    if (a->main_release > j->release)
        die("%s is compiled for Java %d, but the JDK at %s is %d%s: name a newer one with --jdk DIR",
            a->main_class, a->main_release, j->home, j->release, j->passed_over);
    (void)o;
}

void app_key(const struct app *a, struct sha256 *key)
{
    key_str(key, a->main_class);
    key_str(key, a->command);
    for (size_t i = 0; i < a->n; i++) {
        key_str(key, a->items[i].guest);
        key_u64(key, a->items[i].on_path);
        if (a->items[i].is_dir)
            key_tree(key, a->items[i].host);
        else
            key_file(key, a->items[i].host);
    }
}

void app_stage(const struct app *a, struct stage *s)
{
    for (size_t i = 0; i < a->n; i++)
        stage_copy(s, a->items[i].host, a->items[i].guest);
}

static char *join_path(const struct app *a, bool stop_at_dir)
{
    struct strvec v = {0};
    for (size_t i = 0; i < a->n && !(stop_at_dir && a->items[i].on_path && a->items[i].is_dir); i++)
        if (a->items[i].on_path)
            vec_add(&v, a->items[i].guest);
    return vec_join(&v, ":");
}

char *app_class_path(const struct app *a)
{
    return join_path(a, false);
}

char *app_archive_path(const struct app *a)
{
    return join_path(a, true);
}

void app_files(const struct app *a, struct strvec *out)
{
    for (size_t i = 0; i < a->n; i++)
        vec_add(out, a->items[i].host);
}

void app_classes(const struct app *a, size_t limit, struct buf *out)
{
    for (size_t i = 0; i < a->n && limit && !a->items[i].is_dir; i++) {
        struct zip z;
        if (zip_open(&z, a->items[i].host) < 0)
            continue;
        limit -= jar_classes(&z, limit, out);
        zip_close(&z);
    }
}
