/*
 * Building images: what goes into the root file system, and when it can be taken from the cache instead.
 */
#include "java-launcher/host/app.h"
#include "java-launcher/host/cache.h"
#include "java-launcher/host/cds.h"
#include "java-launcher/host/cmdline.h"
#include "java-launcher/host/fonts.h"
#include "java-launcher/host/image.h"
#include "java-launcher/host/install.h"
#include "java-launcher/host/jdk.h"
#include "java-launcher/host/rewrite.h"
#include "java-launcher/host/sha256.h"
#include "java-launcher/host/stage.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char launcher_path[] = "/moka/launcher";
static const char locale_dir[] = "/usr/lib/locale/C.utf8";
static const char system_cache[] = "/etc/ld.so.cache";

static void make_erofs(const struct stage *s, const char *uuid_key, const char *to)
{
    struct buf text = {0};
    char *uuid =
        fmt("%.8s-%.4s-4%.3s-8%.3s-%.12s", uuid_key, uuid_key + 8, uuid_key + 12, uuid_key + 4, uuid_key + 8);
    char *argv[] = {"mkfs.erofs", "-x-1",  "--all-root", fmt("-T%d", STAGE_TIME), "-U", uuid,
                    (char *)to,   s->root, NULL};
    progress("making the image");
    if (!find_program(argv[0]))
        die("mkfs.erofs is not installed (Debian: apt-get install erofs-utils)");
    int status = run_command(argv, &text, &text);
    if (status != 0)
        die("mkfs.erofs failed (status %d): %s", status, text.n ? text.p : "");
}

static struct libs *walk_libs;

static int add_if_elf(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)ftw;
    if (type == FTW_F && !ends_with(path, "/libjvm.so"))
        libs_add(walk_libs, path); /* and pass by what is no ELF file */
    return 0;
}

/* Adds every ELF file below DIR (or DIR itself, if it is one) with what it needs. */
static void add_libraries_below(struct libs *l, const char *dir)
{
    walk_libs = l;
    nftw(dir, add_if_elf, 16, FTW_PHYS);
}

/* What the user adds, and the shared libraries that executables and libraries in it need. */
static void stage_additions(struct stage *s, const struct options *o)
{
    for (size_t i = 0; i < o->n_additions; i++) {
        struct libs l = {0};
        stage_copy(s, o->additions[i].host, o->additions[i].guest);
        add_libraries_below(&l, o->additions[i].host);
        stage_libs(s, &l, o->additions[i].host, true);
    }
}

/* ---- Java ---- */

/*
 * Libraries that are opened at run time without anything in the image naming them. glibc opens libgcc_s for
 * pthread_exit; native code inside JARs may still name the parts that glibc 2.34 merged into one, and C++.
 */
static const char *const opened_later[] = {"libgcc_s.so.1", "libdl.so.2",    "libpthread.so.0",
                                           "librt.so.1",    "libutil.so.1",  "libresolv.so.2",
                                           "libm.so.6",     "libstdc++.so.6"};

/* The libraries that those of the runtime need from this machine. libjvm comes first: the others name it
 * without saying where it is, as it is always loaded before them. */
static void stage_runtime(struct stage *s, const char *runtime)
{
    struct libs l = {0};
    int err = copy_tree(runtime, stage_path(s, "/jvm"), true);
    if (err)
        die("cannot copy the Java runtime to %s: %s", s->root, strerror(-err));
    libs_add(&l, fmt("%s/lib/server/libjvm.so", runtime));
    add_libraries_below(&l, fmt("%s/lib", runtime));
    for (size_t i = 0; i < sizeof opened_later / sizeof *opened_later; i++)
        libs_add_optional(&l, opened_later[i]);
    stage_libs(s, &l, runtime, true);
}

/* Where Debian's packages keep JNI libraries, and its JVM finds them: what works with java works in the VM.
 */
static const char *const jni_dirs[] = {"/usr/lib/jni", "/usr/lib/x86_64-linux-gnu/jni"};
enum { JNI_DIRS = sizeof jni_dirs / sizeof *jni_dirs };

static void stage_jni(struct stage *s)
{
    for (int i = 0; i < JNI_DIRS; i++) {
        struct libs l = {0};
        if (!is_dir(jni_dirs[i]))
            continue;
        add_libraries_below(&l, jni_dirs[i]);
        stage_libs(s, &l, NULL, true);
    }
}

static void conf_line(struct buf *b, const char *key, const char *value)
{
    struct buf word = {0};
    cmdline_add(&word, value);
    buf_printf(b, "%s %s\n", key, word.p);
}

static void stage_launcher(struct stage *s, const struct app *a, const struct jdk *j)
{
    struct libs l = {0};
    struct buf conf = {0};
    char *launcher = install_file("moka-launcher");
    if (libs_add(&l, launcher) < 0)
        die("%s is not an executable", launcher);
    stage_libs(s, &l, path_dir(launcher), false);
    stage_copy(s, launcher, launcher_path);
    if (is_dir(locale_dir))
        stage_copy(s, locale_dir, locale_dir);
    conf_line(&conf, "libjvm", "/jvm/lib/server/libjvm.so");
    conf_line(&conf, "mode", a->start_jar ? "jar" : "class");
    conf_line(&conf, "main", a->start_jar ? a->command : a->main_class);
    conf_line(&conf, "command", a->command);
    conf_line(&conf, "option", fmt("-Djava.class.path=%s", app_class_path(a)));
    conf_line(&conf, "option", "-XX:SharedArchiveFile=" CDS_ARCHIVE);
    stage_link(s, CDS_ARCHIVE,
               "/jvm/lib/server/classes.jsa"); /* the base that a user's own archive adds to */
    /* Collectors that read another layout of objects leave the archive unused, of which newer JVMs complain.
     */
    conf_line(&conf, "option", "-Xlog:cds=off");
    if (j->release >= 24)
        conf_line(&conf, "option", "-Xlog:aot=off");
    conf_line(&conf, "option", "-XX:-UsePerfData"); /* statistics for other processes: there are none */
    /* By default the JVM moves the archive to a random address, which touches, reads and copies all of it.
     * The VM holds nothing else that could be guarded by that. */
    if (j->release >= 17) {
        conf_line(&conf, "option", "-XX:+UnlockDiagnosticVMOptions");
        conf_line(&conf, "option", "-XX:ArchiveRelocationMode=0");
    }
    stage_text(s, "/moka/launch.conf", conf.p);
}

/* Of the runtime's libraries, those every start opens. */
static const char *const start_libs[] = {"libjava.so", "libjimage.so", "libnio.so", "libnet.so"};

/* What the kernel reads before it is asked for (docs/BOOT.md): the largest first, as they keep the disk busy
 * while the linker works. */
static void stage_prefetch(struct stage *s)
{
    struct libs l = {0};
    struct buf list = {0};
    buf_puts(&list, "/jvm/lib/server/libjvm.so\n" CDS_ARCHIVE "\n");
    libs_add(&l, install_file("moka-launcher"));
    libs_add(&l, stage_path(s, "/jvm/lib/server/libjvm.so"));
    for (size_t i = 0; i < l.n; i++)
        if (l.v[i]->name)
            buf_printf(&list, "%s\n", l.v[i]->path);
    for (size_t i = 0; i < sizeof start_libs / sizeof *start_libs; i++)
        buf_printf(&list, "/jvm/lib/%s\n", start_libs[i]);
    stage_text(s, "/moka/prefetch", list.p);
}

static void build_java(const struct options *o, const struct app *a, const struct jdk *j, const char *cache,
                       struct stage *s)
{
    struct strvec files = {0}, modules = {0};
    app_files(a, &files);
    progress("looking up the modules it uses");
    jdk_modules(j, files.v, a->has_nested, o->modules.n ? o->modules.v : (char *[]){NULL}, &modules);
    note("modules: %s", vec_join(&modules, ","));
    char *runtime = jdk_runtime(j, &modules, cache);
    progress("copying files");
    stage_runtime(s, runtime);
    stage_launcher(s, a, j);
    stage_prefetch(s);
    stage_jni(s);
    fonts_stage(s);
    app_stage(a, s);
    stage_additions(s, o);
    stage_finish(s);
    progress("making the class data archive");
    if (cds_dump(s, a))
        chmod(stage_path(s, CDS_ARCHIVE), 0644);
}

/* ---- any program ---- */

static char *exec_path(const struct options *o)
{
    char *found = find_program(o->exec);
    if (found)
        return path_host(found);
    if (is_file(o->exec))
        die("%s is not executable", o->exec);
    if (is_dir(o->exec))
        die("%s is a directory", o->exec);
    die("no such program: %s", o->exec);
}

static void read_exec(struct libs *l, const char *path)
{
    int err = libs_add(l, path);
    if (err == -ENOEXEC)
        die("%s is not an x86-64 Linux executable", path);
    if (err)
        die("cannot read %s: %s", path, strerror(-err));
    if (!l->v[0]->elf.executable)
        die("%s is a shared library, not a program", path);
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i]->name && !strcmp(l->v[i]->name, "libc.so.6")) {
            libs_add_optional(l, "libgcc_s.so.1"); /* glibc opens it for pthread_exit and pthread_cancel */
            break;
        }
}

static void build_exec(const struct options *o, const char *path, const struct libs *l, struct stage *s)
{
    stage_libs(s, l, NULL, false);
    struct stat st;
    if (lstat(stage_path(s, path), &st) <
        0) /* under a path with links in it, it was staged where they lead */
        stage_copy(s, path, path);
    if (l->v[0]->elf.interpreter && is_dir(locale_dir))
        stage_copy(s, locale_dir, locale_dir);
    stage_additions(s, o);
    stage_finish(s);
}

/* ---- the cache ---- */

static void key_common(const struct options *o, struct sha256 *key)
{
    sha256_init(key);
    key_str(key, "image 1 " MOKA_VERSION);
    key_str(key, o->no_rewrite ? "syscall" : "call");
    key_file(key, "/proc/self/exe");
    key_file(key, system_cache);
    key_str(key, getenv("LD_LIBRARY_PATH"));
    for (size_t i = 0; i < o->n_additions; i++) {
        key_str(key, o->additions[i].guest);
        key_tree(key, o->additions[i].host);
    }
}

static char *java_key(const struct options *o, const struct app *a, const struct jdk *j)
{
    struct sha256 key;
    key_common(o, &key);
    key_str(&key, "java");
    key_file(&key, install_file("moka-launcher"));
    key_file(&key, "/lib/x86_64-linux-gnu/libc.so.6");
    for (int i = 0; i < JNI_DIRS; i++)
        key_tree(&key, jni_dirs[i]);
    fonts_key(&key);
    jdk_key(j, &key);
    app_key(a, &key);
    for (size_t i = 0; i < o->modules.n; i++)
        key_str(&key, o->modules.v[i]);
    return key_name(&key);
}

static char *exec_key(const struct options *o, const struct libs *l)
{
    struct sha256 key;
    key_common(o, &key);
    key_str(&key, "exec");
    for (size_t i = 0; i < l->n; i++)
        key_file(&key, l->v[i]->path);
    return key_name(&key);
}

/* Begins a stage in a directory of its own; *TEMP is what to remove afterwards. */
static void begin(struct stage *s, const char *cache, char **temp)
{
    *temp = cache_temp(cache);
    stage_init(s, fmt("%s/root", *temp));
}

/* The last step before the image is made: what was rewritten no longer runs on this machine. Sizes and times
 * stay. */
static void rewrite_calls(const struct stage *s)
{
    struct rewrite_count count = {0};
    progress("making system calls calls");
    rewrite_tree(s->root, &count);
    stamp_tree(s->root, STAGE_TIME);
    progress("%zu of %zu system calls made calls", count.rewritten, count.sites);
}

static void finish(const struct stage *s, const struct image *im, const struct options *o, const char *key,
                   char *temp)
{
    if (!o->no_rewrite)
        rewrite_calls(s);
    char *file = fmt("%s/image", temp);
    make_erofs(s, key, file);
    image_seal(im, file, file);
    cache_publish(file, im->path);
    remove_tree(temp);
    progress(NULL);
}

static void image_for_java(struct image *im, const struct options *o, const char *cache)
{
    struct app a;
    struct jdk j;
    app_open(&a, o);
    jdk_find(&j, o->jdk);
    app_check(&a, o, &j);
    char *key = java_key(o, &a, &j), *temp;
    im->path = fmt("%s/image/%s.img", cache, key);
    im->program = xstrdup(launcher_path);
    im->java = true;
    int lock = cache_lock(im->path);
    if (!is_file(im->path)) {
        struct stage s;
        begin(&s, cache, &temp);
        build_java(o, &a, &j, cache, &s);
        finish(&s, im, o, key, temp);
        cache_tidy(cache);
    }
    cache_used(im->path);
    cache_unlock(lock);
}

static void image_for_exec(struct image *im, const struct options *o, const char *cache)
{
    struct libs l = {0};
    char *path = exec_path(o);
    read_exec(&l, path);
    char *key = exec_key(o, &l), *temp;
    im->path = fmt("%s/image/%s.img", cache, key);
    im->program = path;
    int lock = cache_lock(im->path);
    if (!is_file(im->path)) {
        struct stage s;
        begin(&s, cache, &temp);
        build_exec(o, path, &l, &s);
        finish(&s, im, o, key, temp);
        cache_tidy(cache);
    }
    cache_used(im->path);
    cache_unlock(lock);
}

void image_for(struct image *im, const struct options *o)
{
    char *cache = cache_dir();
    memset(im, 0, sizeof *im);
    watch_interrupts();
    if (o->exec)
        image_for_exec(im, o, cache);
    else
        image_for_java(im, o, cache);
    note("image %s", im->path);
}
