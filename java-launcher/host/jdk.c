#include "java-launcher/host/jdk.h"
#include "java-launcher/host/cache.h"
#include "java-launcher/host/elf.h"
#include "java-launcher/host/stage.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char jvm_dir[] = "/usr/lib/jvm";

/* KEY="value" of a release file. */
static char *release_value(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *p = text; p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (!strncmp(p, key, n) && p[n] == '=' && p[n + 1] == '"')
            return fmt("%.*s", (int)strcspn(p + n + 2, "\"\n"), p + n + 2);
    }
    return NULL;
}

/* What is wrong with its JVM, or NULL. */
static const char *jvm_flaw(const char *libjvm)
{
    struct elf_info elf = {0};
    if (!is_file(libjvm))
        return "it has no lib/server/libjvm.so";
    if (elf_read(libjvm, &elf) < 0)
        return "its JVM is not for x86-64 Linux";
    if (vec_has(&elf.needed, "libc.musl-x86_64.so.1"))
        return "its JVM is for musl, not for glibc";
    return NULL;
}

/* Why DIR is not a whole JDK, with the JVM and jlink to make smaller runtimes; or NULL, with J filled in. */
static const char *load_flaw(struct jdk *j, const char *dir)
{
    struct buf text = {0};
    const char *flaw = jvm_flaw(fmt("%s/lib/server/libjvm.so", dir));
    if (!is_dir(dir))
        return "it is not there";
    if (flaw)
        return flaw;
    if (access(fmt("%s/bin/jlink", dir), X_OK) < 0)
        return "it has no bin/jlink, so it is but a Java runtime";
    if (read_whole(fmt("%s/release", dir), &text) < 0)
        return "it has no file named release";
    char *modules = release_value(text.p, "MODULES");
    j->home = realpath(dir, NULL);
    j->version = release_value(text.p, "JAVA_VERSION");
    if (!j->home || !j->version)
        return "its file named release does not tell the version";
    j->release = atoi(starts_with(j->version, "1.") ? j->version + 2 : j->version);
    if (modules)
        vec_split(&j->modules, modules, ' ');
    return j->release >= 9 ? NULL : "it is older than Java 9";
}

static bool load(struct jdk *j, const char *dir)
{
    return !load_flaw(j, dir);
}

/* Among the JDKs installed: a 17, else the newest. */
static bool find_installed(struct jdk *best)
{
    glob_t g;
    bool found = false;
    if (glob(fmt("%s/*", jvm_dir), 0, NULL, &g))
        return false;
    for (size_t i = 0; i < g.gl_pathc; i++) {
        struct jdk j = {0};
        if (!load(&j, g.gl_pathv[i]) || (found && best->release == 17))
            continue;
        if (!found || j.release == 17 || j.release > best->release)
            *best = j;
        found = true;
    }
    globfree(&g);
    return found;
}

void jdk_find(struct jdk *j, const char *dir)
{
    const char *java_home = getenv("JAVA_HOME");
    const char *at = dir ? dir : java_home && *java_home ? java_home : NULL;
    char *passed_over = "";
    memset(j, 0, sizeof *j);
    const char *flaw = at ? load_flaw(j, at) : NULL;
    if (flaw && dir)
        die("%s is not a JDK that can be used: %s", dir, flaw);
    if (flaw)
        passed_over = fmt(" (JAVA_HOME is %s: %s)", java_home, flaw);
    if ((flaw || !at) && !find_installed(j))
        die("no JDK found%s: install one (Debian: apt-get install openjdk-17-jdk-headless), or name it with "
            "--jdk DIR",
            passed_over);
    j->passed_over = passed_over;
    note("JDK %s at %s%s", j->version, j->home, passed_over);
}

void jdk_key(const struct jdk *j, struct sha256 *key)
{
    key_str(key, j->home);
    key_file(key, fmt("%s/release", j->home));
    key_file(key, fmt("%s/lib/modules", j->home));
    key_file(key, fmt("%s/lib/server/libjvm.so", j->home));
    key_file(key, fmt("%s/lib/security/cacerts", j->home));
}

static bool has_module(const struct jdk *j, const char *name)
{
    return !j->modules.n || vec_has(&j->modules, name);
}

static void add_module(const struct jdk *j, struct strvec *out, const char *name)
{
    if (has_module(j, name) && !vec_has(out, name))
        vec_add(out, name);
}

/* Options for the JDK's tools, which run for a second or two: the quick compiler and the simple collector
 * pay. */
static char *const quick[] = {"-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"};

/* Asks jdeps; false when it fails, as it does for a JAR whose parts are missing in a way it will not ignore.
 */
static bool ask_jdeps(const struct jdk *j, char *const *jars, struct strvec *out)
{
    struct strvec argv = {0};
    struct buf text = {0}, err = {0};
    vec_add(&argv, fmt("%s/bin/jdeps", j->home));
    for (int i = 0; i < 2; i++)
        vec_add(&argv, quick[i]);
    vec_add(&argv, "--print-module-deps");
    vec_add(&argv, "--ignore-missing-deps");
    vec_add(&argv, "--no-recursive"); /* what the JDK's own classes need, its modules say: jlink adds it */
    vec_add(&argv, "--multi-release");
    vec_add(&argv, fmt("%d", j->release));
    for (; *jars; jars++)
        vec_add(&argv, *jars);
    int status = run_command(argv.v, &text, &err);
    if (status != 0 || !text.n || strpbrk(text.p, " :")) {
        note("jdeps cannot tell the modules (status %d): %s%s", status, text.n ? text.p : "",
             err.n ? err.p : "");
        return false;
    }
    text.p[strcspn(text.p, "\n")] = 0;
    vec_split(out, text.p, ',');
    return true;
}

/*
 * What jdeps does not tell. First what it leaves out because another module of the list implies it (its
 * `requires transitive`): the rows below it ask for names. Then what it does not see, because it is reached
 * through java.util.ServiceLoader or by name: remote management, elliptic curves for TLS, the ZIP file
 * system, charsets and locales; the implementation that goes with an interface module; and management, which
 * libraries ask for by reflection because small runtimes lack it (Netty and Log4j do).
 */
static const struct {
    const char *when; /* NULL: always */
    const char *add;
} companions[] = {
    {"java.management.rmi", "java.management"},
    {"java.management.rmi", "java.rmi"},
    {"java.sql.rowset", "java.naming"},
    {"jdk.management", "java.management"},
    {"jdk.security.auth", "java.naming"},
    {"java.compiler", "jdk.compiler"},
    {"java.management", "java.management.rmi"},
    {"java.management", "jdk.naming.rmi"}, /* service:jmx:rmi:///jndi/rmi://HOST:PORT/jmxrmi */
    {"java.naming", "jdk.naming.dns"},
    {"java.rmi", "jdk.naming.rmi"},
    {"java.desktop", "jdk.unsupported.desktop"},
    {"java.security.jgss", "jdk.security.jgss"},
    {"java.smartcardio", "jdk.crypto.cryptoki"},
    {"jdk.management.agent", "jdk.management.jfr"},
    {"java.se", "jdk.attach"},
    {"java.se", "jdk.compiler"},
    {"java.se", "jdk.jfr"},
    {"java.se", "jdk.httpserver"},
    {"java.se", "jdk.management.agent"},
    {"java.se", "jdk.naming.dns"},
    {"java.se", "jdk.naming.rmi"},
    {"java.se", "jdk.net"},
    {"java.se", "jdk.nio.mapmode"},
    {"java.se", "jdk.security.auth"},
    {"java.se", "jdk.security.jgss"},
    {"java.se", "jdk.xml.dom"},
    {"java.se", "jdk.jdwp.agent"},
    {NULL, "java.management"},
    {NULL, "jdk.management"},
    {NULL, "jdk.crypto.ec"},
    {NULL, "jdk.zipfs"},
    {NULL, "jdk.charsets"},
    {NULL, "jdk.localedata"},
    {NULL, "jdk.unsupported"},
};

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void jdk_modules(const struct jdk *j, char *const *jars, bool whole, char *const *extra, struct strvec *out)
{
    if (whole || !*jars || !ask_jdeps(j, jars, out))
        add_module(j, out, "java.se");
    for (; *extra; extra++) {
        if (!strcmp(*extra, "ALL-SYSTEM") || !strcmp(*extra, "ALL-MODULE-PATH") ||
            !strcmp(*extra, "ALL-DEFAULT"))
            add_module(j, out, "java.se");
        else if (!has_module(j, *extra))
            die("this JDK (%s) has no module %s", j->home, *extra);
        else
            add_module(j, out, *extra);
    }
    for (size_t i = 0; i < sizeof companions / sizeof *companions; i++)
        if (!companions[i].when || vec_has(out, companions[i].when))
            add_module(j, out, companions[i].add);
    if (!vec_has(out, "java.base"))
        vec_add(out, "java.base");
    qsort(out->v, out->n, sizeof *out->v, compare_strings);
}

/* Certificates come from where the JDK on this machine takes them: an administrator may have added some. */
static void take_certificates(const struct jdk *j, const char *runtime)
{
    char *from = fmt("%s/lib/security/cacerts", j->home);
    if (is_file(from))
        copy_file(from, fmt("%s/lib/security/cacerts", runtime), 0644);
}

static bool link_runtime(const struct jdk *j, const struct strvec *modules, const char *to)
{
    struct buf text = {0};
    char *argv[] = {
        fmt("%s/bin/jlink", j->home), quick[0],         quick[1],   "--add-modules", vec_join(modules, ","),
        "--no-header-files",          "--no-man-pages", "--output", (char *)to,      NULL};
    int status = run_command(argv, &text, &text);
    const char *said = text.n ? text.p : "";
    if (status == 0 && is_file(fmt("%s/lib/server/libjvm.so", to)))
        return true;
    /* What failed for a passing reason must not be replaced for good by a runtime three times as large. */
    if (is_file(fmt("%s/jmods/java.base.jmod", j->home)))
        die("cannot make a Java runtime in %s: %s/bin/jlink failed (status %d: %.*s); "
            "XDG_CACHE_HOME moves the cache, --jdk names another JDK",
            to, j->home, status, (int)strcspn(said, "\n"), said);
    note("jlink failed (status %d): %s", status, said);
    return false;
}

/* A JDK without jmods whose jlink cannot link from itself either: take all of it but what only developers
 * use. */
static void copy_runtime(const struct jdk *j, const char *to)
{
    static const char *const parts[] = {"lib", "conf", "legal", "release", "bin/java"};
    remove_tree(to);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *from = fmt("%s/%s", j->home, parts[i]), *dest = fmt("%s/%s", to, parts[i]);
        int err = is_dir(from)    ? copy_tree(from, dest, false)
                  : is_file(from) ? copy_file(from, dest, 0755)
                                  : 0;
        if (err)
            die("cannot copy %s to %s: %s", from, to, strerror(-err));
    }
    remove_tree(fmt("%s/lib/src.zip", to));
    remove_tree(fmt("%s/lib/ct.sym", to));
}

char *jdk_runtime(const struct jdk *j, const struct strvec *modules, const char *cache)
{
    struct sha256 key;
    sha256_init(&key);
    key_str(&key, "runtime 1");
    jdk_key(j, &key);
    for (size_t i = 0; i < modules->n; i++)
        key_str(&key, modules->v[i]);
    char *dir = fmt("%s/runtime/%s", cache, key_name(&key));
    int lock = cache_lock(dir);
    if (!is_dir(dir)) {
        char *temp = cache_temp(cache);
        char *runtime = fmt("%s/jvm", temp);
        progress("linking a Java runtime of %zu modules", modules->n);
        if (!link_runtime(j, modules, runtime))
            copy_runtime(j, runtime);
        take_certificates(j, runtime);
        stamp_tree(runtime, STAGE_TIME);
        cache_publish(runtime, dir);
        remove_tree(temp);
    }
    cache_used(dir);
    cache_unlock(lock);
    return dir;
}
