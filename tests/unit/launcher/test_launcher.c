/* The parts of the moka command and of the launcher that need no VM. Prints `ok NAME`; an assertion says
 * where it failed. */
#include "java-launcher/guest/options.h"
#include "java-launcher/host/cache.h"
#include "java-launcher/host/cmdline.h"
#include "java-launcher/host/elf.h"
#include "java-launcher/host/jar.h"
#include "java-launcher/host/ldcache.h"
#include "java-launcher/host/libs.h"
#include "java-launcher/host/pump.h"
#include "java-launcher/host/sha256.h"
#include "java-launcher/host/util.h"
#include "java-launcher/host/zip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

static const char *now;
static int failures;

#define CHECK(c)                                                                                             \
    do {                                                                                                     \
        if (!(c)) {                                                                                          \
            printf("not ok launcher/%s: line %d: %s\n", now, __LINE__, #c);                                  \
            failures++;                                                                                      \
            return;                                                                                          \
        }                                                                                                    \
    } while (0)

static bool same(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

static void test_sha256(void)
{
    /* FIPS 180-4's examples. */
    static const struct {
        const char *text, *digest;
    } known[] = {
        {"", "\xe3\xb0\xc4\x42\x98\xfc\x1c\x14"},
        {"abc", "\xba\x78\x16\xbf\x8f\x01\xcf\xea"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "\x24\x8d\x6a\x61\xd2\x06\x38\xb8"}};
    uint8_t digest[32];
    struct sha256 s;
    for (int i = 0; i < 3; i++) {
        sha256_init(&s);
        sha256_add(&s, known[i].text, strlen(known[i].text));
        sha256_end(&s, digest);
        CHECK(!memcmp(digest, known[i].digest, 8));
    }
    sha256_init(&s);
    for (int i = 0; i < 1000000; i += 10)
        sha256_add(&s, "aaaaaaaaaa", 10);
    sha256_end(&s, digest);
    CHECK(!memcmp(digest, "\xcd\xc7\x6e\x5c\x99\x14\xfb\x92", 8));
}

static void test_keys(void)
{
    struct sha256 a, b;
    sha256_init(&a);
    key_str(&a, "ab");
    key_str(&a, "c");
    sha256_init(&b);
    key_str(&b, "a");
    key_str(&b, "bc");
    char *x = key_name(&a), *y = key_name(&b);
    CHECK(strlen(x) == 20 && !same(x, y));
}

static void test_strings(void)
{
    uint64_t n;
    struct strvec v = {0};
    CHECK(parse_size("512M", &n) && n == 512u << 20);
    CHECK(parse_size("2g", &n) && n == 2ull << 30);
    CHECK(parse_size("100", &n) && n == 100);
    CHECK(!parse_size("", &n) && !parse_size("M", &n) && !parse_size("1X", &n) && !parse_size("-1M", &n));
    CHECK(!parse_size("1MB", &n) && !parse_size("99999999999999999999", &n) &&
          !parse_size("99999999999T", &n));
    vec_split(&v, ":a::b:", ':');
    CHECK(v.n == 2 && same(v.v[0], "a") && same(v.v[1], "b") && same(vec_join(&v, "-"), "a-b"));
    CHECK(same(path_absolute("/a/./b//../c/"), "/a/c") && same(path_absolute("/.."), "/") &&
          same(path_absolute("/"), "/"));
    CHECK(same(path_dir("/a/b"), "/a") && same(path_dir("/a"), "/") && same(path_dir("a"), "."));
    CHECK(same(path_base("/a/b"), "b") && same(path_base("b"), "b"));
}

static void test_cmdline(void)
{
    struct buf line = {0};
    cmdline_add(&line, "a");
    cmdline_add(&line, "b c%\n\xc3\xbc");
    cmdline_add(&line, "");
    cmdline_add(&line, "virtio_mmio.device=1@2:3");
    CHECK(same(line.p, "a b%20c%25%0a%c3%bc % %76irtio_mmio.device=1@2:3"));
    for (int c = 1; c < 256; c++) {
        struct buf one = {0};
        char in[] = {'x', (char)c, (char)c, 0};
        cmdline_add(&one, in);
        CHECK(!strpbrk(one.p, " \n\t"));
        cmdline_decode(one.p);
        CHECK(same(one.p, in));
    }
    char empty[] = "%";
    cmdline_decode(empty);
    CHECK(!*empty);
    CHECK(same(shell_quote("a-b_c.d/e:f=1"), "a-b_c.d/e:f=1") && same(shell_quote(""), "''"));
    CHECK(same(shell_quote("it's $x"), "'it'\\''s $x'"));
}

static void test_manifest(void)
{
    const char *text = "Manifest-Version: 1.0\r\nMAIN-class: a.b.Ma\r\n in\r\nClass-Path: x.jar\r\n  y.jar "
                       "\r\nEmpty:\r\n\r\n"
                       "Name: x\r\nHidden: yes\r\n";
    CHECK(same(manifest_get(text, "Main-Class"), "a.b.Main"));
    CHECK(same(manifest_get(text, "Class-Path"), "x.jar y.jar"));
    CHECK(same(manifest_get(text, "Empty"), ""));
    CHECK(!manifest_get(text, "Hidden") && !manifest_get(text, "Main") && !manifest_get("", "Main-Class"));
    CHECK(same(manifest_get("Main-Class: X", "Main-Class"), "X"));
    CHECK(same(manifest_get("A: 1\nA: 2\n 3\n\nA: 4\n", "A"), "23"));
    CHECK(same(manifest_get("A: 1\rMain-Class: X\r", "Main-Class"), "X"));
    CHECK(same(manifest_get("A: 1\nMain-Class: X\n Y\n", "Main-Class"), "XY"));
    char url[] = "file:///a%20b/c.jar", plain[] = "lib/x%2ejar", web[] = "http://x/y.jar";
    CHECK(class_path_entry_decode(url) && same(url, "/a b/c.jar"));
    CHECK(class_path_entry_decode(plain) && same(plain, "lib/x.jar"));
    CHECK(!class_path_entry_decode(web));
}

static void put(struct buf *b, uint64_t v, int bytes)
{
    for (; bytes--; v >>= 8)
        buf_add(b, &(char){(char)v}, 1);
}

/* One local entry at the end of B and its directory record at the end of DIR. */
static void zip_add(struct buf *b, struct buf *dir, const char *name, const char *data, size_t n,
                    bool deflated)
{
    struct buf packed = {0};
    size_t at = b->n;
    if (deflated) {
        z_stream s = {0};
        buf_add(&packed, NULL, 0);
        packed.p = realloc(packed.p, n + 100);
        deflateInit2(&s, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
        s.next_in = (Bytef *)data;
        s.avail_in = (uInt)n;
        s.next_out = (Bytef *)packed.p;
        s.avail_out = (uInt)n + 100;
        deflate(&s, Z_FINISH);
        packed.n = s.total_out;
        deflateEnd(&s);
    } else {
        buf_add(&packed, data, n);
    }
    struct buf common = {0};
    put(&common, 20, 2), put(&common, 0, 2), put(&common, deflated ? 8 : 0, 2), put(&common, 0, 4),
        put(&common, 0, 4);
    put(&common, packed.n, 4), put(&common, n, 4), put(&common, strlen(name), 2), put(&common, 0, 2);
    put(b, 0x04034b50, 4);
    buf_add(b, common.p, common.n);
    buf_puts(b, name);
    buf_add(b, packed.p, packed.n);
    put(dir, 0x02014b50, 4), put(dir, 20, 2);
    buf_add(dir, common.p, common.n);
    put(dir, 0, 2), put(dir, 0, 2), put(dir, 0, 2), put(dir, 0, 4), put(dir, at, 4);
    buf_puts(dir, name);
}

static void zip_end(struct buf *b, const struct buf *dir, int entries)
{
    size_t at = b->n;
    buf_add(b, dir->p, dir->n);
    put(b, 0x06054b50, 4), put(b, 0, 4), put(b, entries, 2), put(b, entries, 2), put(b, dir->n, 4),
        put(b, at, 4);
    put(b, 0, 2);
}

static char *temp_file(const void *data, size_t n)
{
    char *path = xstrdup("/tmp/moka-test.XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n)
        abort();
    close(fd);
    return path;
}

static void make_jar(struct buf *b)
{
    struct buf dir = {0};
    char big[50000];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * i >> 7);
    const char manifest[] = "Manifest-Version: 1.0\nMain-Class: p.Main\n";
    zip_add(b, &dir, "META-INF/MANIFEST.MF", manifest, sizeof manifest - 1, true);
    zip_add(b, &dir, "p/Main.class", "\xca\xfe\xba\xbe\0\0\0\x3d....", 12, false);
    zip_add(b, &dir, "p/Main$1.class", "\xca\xfe\xba\xbe\0\0\0\x41....", 12, true);
    zip_add(b, &dir, "module-info.class", "", 0, false);
    zip_add(b, &dir, "META-INF/versions/21/p/Main.class", "", 0, false);
    zip_add(b, &dir, "big", big, sizeof big, true);
    zip_add(b, &dir, "lib/inner.jar", "", 0, false);
    zip_end(b, &dir, 7);
}

static void test_zip(void)
{
    struct buf jar = {0}, data = {0}, classes = {0};
    struct zip z;
    struct zip_entry e;
    make_jar(&jar);
    char *path = temp_file(jar.p, jar.n);
    CHECK(zip_open(&z, path) == 0);
    CHECK(same(manifest_get(jar_manifest(&z), "Main-Class"), "p.Main"));
    CHECK(jar_class_release(&z, "p.Main") == 17 && jar_class_release(&z, "p/Main$1") == 21);
    CHECK(jar_class_release(&z, "p.None") == 0 && jar_class_release(&z, "module-info") == 0);
    CHECK(zip_find(&z, "big", &e) && zip_read(&z, &e, SIZE_MAX, &data) == 0 && data.n == 50000);
    for (size_t i = 0; i < data.n; i++)
        CHECK(data.p[i] == (char)(i * i >> 7));
    data.n = 0;
    CHECK(zip_read(&z, &e, 100, &data) == 0 && data.n == 100);
    CHECK(jar_classes(&z, 10, &classes) == 2 && same(classes.p, "p/Main\np/Main$1\n") && jar_has_nested(&z));
    zip_close(&z);
    unlink(path);
    struct buf shifted = {0}; /* a script in front, as self-executing JARs have */
    buf_puts(&shifted, "#!/bin/sh\nexec java -jar $0\n");
    buf_add(&shifted, jar.p, jar.n);
    path = temp_file(shifted.p, shifted.n);
    CHECK(zip_open(&z, path) == 0 && jar_class_release(&z, "p.Main") == 17);
    zip_close(&z);
    unlink(path);
    CHECK(zip_open(&z, "/nonexistent") == -ENOENT && zip_open(&z, "/tmp") == -EISDIR &&
          zip_open(&z, "/dev/null") < 0);
}

static void read_everything(const char *path)
{
    struct zip z;
    struct zip_entry e;
    size_t cursor = 0;
    if (zip_open(&z, path) < 0)
        return;
    while (zip_next(&z, &cursor, &e)) {
        struct buf data = {0};
        zip_read(&z, &e, 1 << 20, &data);
        free(data.p);
    }
    free(jar_manifest(&z));
    zip_close(&z);
}

/* Damaged archives: cut at every length, and with bytes changed at random. The sanitizers judge. */
static void test_damaged_zip(void)
{
    struct buf jar = {0};
    make_jar(&jar);
    srandom(1);
    for (size_t n = 0; n < 3000; n++) {
        size_t size = n < 300 ? jar.n - n : jar.n;
        char *bytes = memcpy(xmalloc(jar.n), jar.p, jar.n);
        for (int k = 0; n >= 300 && k < 8; k++)
            bytes[n % 2 ? (size_t)random() % size : size - 1 - (size_t)random() % 700] = (char)random();
        char *path = temp_file(bytes, size);
        read_everything(path);
        unlink(path);
        free(bytes);
        free(path);
    }
}

static void test_elf(void)
{
    struct elf_info info;
    struct buf self = {0};
    CHECK(elf_read("/proc/self/exe", &info) == 0 && info.executable && info.interpreter);
    CHECK(same(info.interpreter, "/lib64/ld-linux-x86-64.so.2") && vec_has(&info.needed, "libc.so.6"));
    CHECK(elf_read("/lib/x86_64-linux-gnu/libc.so.6", &info) == 0 && same(info.soname, "libc.so.6"));
    CHECK(elf_read("/nonexistent", &info) == -ENOENT && elf_read("/etc/passwd", &info) == -ENOEXEC);
    CHECK(elf_read("/tmp", &info) == -EISDIR);
    CHECK(read_whole("/lib/x86_64-linux-gnu/libz.so.1", &self) == 0);
    srandom(2);
    for (int i = 0; i < 500; i++) {
        char *bytes = memcpy(xmalloc(self.n), self.p, self.n);
        size_t size = i < 100 ? (size_t)i * 40 : self.n;
        for (int k = 0; i >= 100 && k < 20; k++)
            bytes[(size_t)random() % 1200] = (char)random();
        char *path = temp_file(bytes, size);
        elf_read(path, &info);
        unlink(path);
        free(bytes);
    }
}

static void test_ldcache(void)
{
    char *names[] = {"libb.so.2", "liba.so.1", "libb.so.10", "libz.so", "libb.so.2.1"};
    char *paths[] = {"/b2", "/a1", "/b10", "/z", "/b21"};
    struct buf made = {0};
    struct ldcache c;
    CHECK(ldcache_compare("libb.so.10", "libb.so.2") > 0 && ldcache_compare("a", "a") == 0);
    CHECK(ldcache_compare("a1", "ab") > 0 && ldcache_compare("ab", "a1") < 0 &&
          ldcache_compare("a", "ab") < 0);
    ldcache_make(5, names, paths, &made);
    char *file = temp_file(made.p, made.n);
    ldcache_read(&c, file);
    for (int i = 0; i < 5; i++)
        CHECK(same(ldcache_find(&c, names[i]), paths[i]));
    CHECK(!ldcache_find(&c, "libc.so"));
    unlink(file);
    for (size_t n = 0; n < made.n; n++) {
        file = temp_file(made.p, n);
        ldcache_read(&c, file);
        ldcache_find(&c, "libz.so");
        unlink(file);
    }
    ldcache_read(&c, "/etc/ld.so.cache");
    CHECK(ldcache_find(&c, "libc.so.6"));
}

/* The dynamic linker itself is asked to list what it would load; we must have found the same files. */
static void test_libs(void)
{
    static const char *const programs[] = {"/usr/bin/python3", "/usr/bin/gdb", "/bin/ls",
                                           "/usr/bin/qemu-system-x86_64"};
    CHECK(same(libs_expand("$ORIGIN/../lib:${ORIGIN}", "/a/b/c"), "/a/b/../lib:/a/b"));
    CHECK(same(libs_expand("/x/$LIB", "/a"), "/x/lib/x86_64-linux-gnu"));
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        struct libs l = {0};
        struct buf text = {0};
        char *argv[] = {"/lib64/ld-linux-x86-64.so.2", "--list", (char *)programs[i], NULL};
        if (!is_file(programs[i]) || run_command(argv, &text, NULL) != 0)
            continue;
        CHECK(libs_add(&l, programs[i]) == 0 && l.missing.n == 0);
        size_t listed = 0;
        struct strvec lines = {0};
        vec_split(&lines, text.p, '\n');
        for (size_t k = 0; k < lines.n; k++) {
            char *arrow = strstr(lines.v[k], "=> ");
            if (!arrow)
                continue;
            listed++;
            char *path = fmt("%.*s", (int)strcspn(arrow + 3, " "), arrow + 3);
            bool found = false;
            for (size_t m = 0; m < l.n; m++)
                found |= same(realpath(l.v[m]->path, NULL), realpath(path, NULL));
            if (!found)
                printf("# %s: the linker loads %s\n", programs[i], path);
            CHECK(found);
        }
        CHECK(listed > 0);
    }
}

static void test_pump(void)
{
    int in[2], out[2];
    char text[100];
    struct pump p;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, in) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, out) == 0);
    pump_init(&p, in[0], out[0]);
    p.own_from = p.own_to = true;
    CHECK(pump_wants(&p).fd == in[0] && pump_wants(&p).events == POLLIN);
    CHECK(write(in[1], "hello", 5) == 5);
    pump_step(&p);
    CHECK(pump_wants(&p).fd == out[0] && pump_wants(&p).events == POLLOUT);
    pump_step(&p);
    CHECK(read(out[1], text, sizeof text) == 5 && !memcmp(text, "hello", 5) && !pump_done(&p));
    close(in[1]);
    pump_step(&p);
    CHECK(pump_done(&p) && pump_wants(&p).fd == -1 && read(out[1], text, sizeof text) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, in) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, out) == 0);
    pump_init(&p, in[0], out[0]);
    close(out[1]); /* the reader has gone: the pump ends, without a signal */
    CHECK(write(in[1], "hello", 5) == 5);
    pump_step(&p);
    pump_step(&p);
    CHECK(pump_done(&p));
}

/* What the kernel says comes a few bytes at a time, and the program writes between them to the same place. */
static void test_pump_whole_lines(void)
{
    int in[2], out[2];
    char text[100];
    struct pump p;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, in) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, out) == 0);
    pump_init(&p, in[0], out[0]);
    p.own_from = p.own_to = p.whole_lines = true;
    CHECK(write(in[1], "mo", 2) == 2);
    pump_step(&p);
    CHECK(pump_wants(&p).fd == in[0] && pump_wants(&p).events == POLLIN);
    CHECK(write(in[1], "ka\nand", 6) == 6);
    pump_step(&p);
    CHECK(pump_wants(&p).fd == out[0]);
    pump_step(&p);
    CHECK(read(out[1], text, sizeof text) == 5 && !memcmp(text, "moka\n", 5) && pump_wants(&p).fd == in[0]);
    CHECK(write(in[1], " so", 3) == 3);
    close(in[1]);
    pump_step(&p);
    CHECK(!pump_done(&p) && pump_wants(&p).fd == in[0]);
    pump_step(&p); /* the end: what there is of the last line is written */
    CHECK(!pump_done(&p) && pump_wants(&p).fd == out[0]);
    pump_step(&p);
    CHECK(pump_done(&p) && read(out[1], text, sizeof text) == 6 && !memcmp(text, "and so", 6));
}

static void test_run_command(void)
{
    struct buf out = {0}, err = {0};
    CHECK(run_command((char *[]){"sh", "-c", "echo out; echo err >&2; exit 3", NULL}, &out, &err) == 3);
    CHECK(same(out.p, "out\n") && same(err.p, "err\n"));
    CHECK(run_command((char *[]){"sh", "-c", "kill -9 $$", NULL}, NULL, NULL) == 137);
    CHECK(run_command((char *[]){"no-such-program-here", NULL}, NULL, NULL) == -ENOENT);
}

static void test_jvm_options(void)
{
    struct words w = {0};
    CHECK(split_words(" -Xmx1g  '-Da=b c' \"-Dq=\\\"x\\\"\" -D'x'=y ", &w) == 0 && w.n == 4);
    CHECK(same(w.v[1], "-Da=b c") && same(w.v[2], "-Dq=\"x\"") && same(w.v[3], "-Dx=y"));
    CHECK(split_words("'open", &w) == -1);
    struct words o = {0};
    static char *const given[] = {"-server",     "-Xmx75%",
                                  "-Xms10%",     "-XX:MaxDirectMemorySize=12.5%",
                                  "--add-opens", "java.base/java.lang=ALL-UNNAMED",
                                  "-Dx=50%",     "-Xss2m",
                                  "-verbose"};
    static const char *const wanted[] = {"-Xmx786432k",
                                         "-Xms104857k",
                                         "-XX:MaxDirectMemorySize=131072k",
                                         "--add-opens=java.base/java.lang=ALL-UNNAMED",
                                         "-Dx=50%",
                                         "-Xss2m",
                                         "-verbose:class"};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        words_add(&o, given[i]);
    options_finish(&o, 1 << 30);
    CHECK(o.n == sizeof wanted / sizeof *wanted);
    for (size_t i = 0; i < o.n; i++)
        CHECK(same(o.v[i], wanted[i]));
    CHECK(options_stack_size(&o) == 2 << 20);
    words_add(&o, "-XX:ThreadStackSize=512");
    CHECK(options_stack_size(&o) == 512 << 10);
    CHECK(heap_percent(64 << 20) == 50 && heap_percent(1ull << 30) == 75 && heap_percent(192 << 20) == 62.5);
}

static size_t kept_beside(const char *user_option)
{
    struct words image = {0}, user = {0};
    words_add(&image, "-XX:SharedArchiveFile=/moka/classes.jsa");
    words_add(&image, "-Xlog:cds=off");
    words_add(&image, "-Xlog:aot=off");
    words_add(&image, "-XX:-UsePerfData");
    words_add(&user, (char *)user_option);
    options_drop_archive(&image, &user);
    return same(image.v[image.n - 1], "-XX:-UsePerfData") && !image.v[image.n] ? image.n : 0;
}

static void test_archives_of_the_user(void)
{
    CHECK(kept_beside("-Xshare:auto") == 4 && kept_beside("-Dx=-XX:AOTCache=y") == 4);
    CHECK(kept_beside("-XX:SharedArchiveFile=/v/a.jsa") == 2 && kept_beside("-Xshare:on") == 2);
    CHECK(kept_beside("-XX:AOTCache=/v/a.aot") == 1 && kept_beside("-XX:AOTMode=record") == 1);
}

static char *an_image(const char *cache, unsigned nr, off_t bytes, time_t used)
{
    char *path = fmt("%s/image/%u.img", cache, nr);
    struct timespec t[2] = {{.tv_sec = used}, {.tv_sec = used}};
    write_whole(path, "", 0, 0644);
    if (truncate(path, bytes) || utimensat(AT_FDCWD, path, t, 0))
        die("%s: %s", path, strerror(errno));
    return path;
}

/* By bytes, those used last first: many small images drive no large one out. */
static void test_cache_tidy(void)
{
    char dir[] = "/tmp/moka-cache.XXXXXX", *small[60];
    time_t soon = time(NULL) + 1000;
    CHECK(mkdtemp(dir));
    char *last = an_image(dir, 1, 700 << 20, soon), *second = an_image(dir, 2, 1000 << 20, soon - 1);
    for (unsigned i = 0; i < 60; i++)
        small[i] = an_image(dir, 100 + i, 1 << 20, soon - 2);
    char *third = an_image(dir, 3, 500 << 20, soon - 3), *fourth = an_image(dir, 4, 4096, soon - 4);
    cache_tidy(dir);
    bool kept = is_file(last) && is_file(second), gone = !is_file(third) && !is_file(fourth);
    for (unsigned i = 0; i < 60; i++)
        kept &= is_file(small[i]);
    char *huge = an_image(dir, 5, 3000l << 20, soon + 1);
    cache_tidy(dir);
    kept &= is_file(huge);
    gone &= !is_file(last) && !is_file(small[0]);
    remove_tree(dir);
    CHECK(kept && gone);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {{"sha256", test_sha256},
                 {"keys", test_keys},
                 {"strings", test_strings},
                 {"cmdline", test_cmdline},
                 {"manifest", test_manifest},
                 {"zip", test_zip},
                 {"damaged-zip", test_damaged_zip},
                 {"elf", test_elf},
                 {"ldcache", test_ldcache},
                 {"cache-tidy", test_cache_tidy},
                 {"libs", test_libs},
                 {"pump", test_pump},
                 {"pump-whole-lines", test_pump_whole_lines},
                 {"run-command", test_run_command},
                 {"jvm-options", test_jvm_options},
                 {"archives-of-the-user", test_archives_of_the_user}};
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        int before = failures;
        now = tests[i].name;
        tests[i].run();
        if (failures == before)
            printf("ok launcher/%s\n", now);
    }
    return failures != 0;
}
