/*
 * moka: boots a JAR as a virtual machine. See `moka help` and docs/moka.md.
 */
#include "java-launcher/host/image.h"
#include "java-launcher/host/netcheck.h"
#include "java-launcher/host/options.h"
#include "java-launcher/host/qemu.h"
#include "java-launcher/host/runner.h"
#include "java-launcher/host/util.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* An image is what it is: options that change its contents come too late. */
static void refuse_for_image(const struct options *o)
{
    if (o->main || o->classpath || o->jdk || o->n_additions || o->no_rewrite)
        die("%s is built already: --main, --classpath, --jdk, --add and --no-rewrite are for moka build",
            o->app);
}

static int run(const struct options *o)
{
    struct image im;
    struct vm vm = {.o = o, .im = &im};
    if (!o->dry_run) {
        vm_require_qemu();
        netcheck_host(o);
    }
    if (o->app && image_looks_like(o->app)) {
        refuse_for_image(o);
        image_open(&im, o->app);
        if (!im.java && o->jvm.n)
            die("%s holds no Java program: -J means nothing to it", o->app);
    } else {
        image_for(&im, o);
    }
    if (!o->dry_run)
        return vm_run(&vm);
    vm_print(&vm);
    return 0;
}

static int build(const struct options *o)
{
    struct image im;
    if (o->app && image_looks_like(o->app))
        die("%s is an image already", o->app);
    image_for(&im, o);
    image_write(&im, o, o->output);
    return 0;
}

static bool is(const char *word, const char *a, const char *b)
{
    return !strcmp(word, a) || !strcmp(word, b);
}

int main(int argc, char **argv)
{
    struct options o;
    const char *word = argc > 1 ? argv[1] : "";
    mode_t mask = umask(022);
    signal(SIGXFSZ, SIG_IGN); /* `ulimit -f`: the error of the write has its line */
    if (!strcmp(word, "run")) {
        options_parse(&o, CMD_RUN, argc, argv);
        o.umask = mask;
        return run(&o);
    }
    if (!strcmp(word, "build")) {
        options_parse(&o, CMD_BUILD, argc, argv);
        o.umask = mask;
        return build(&o);
    }
    if (is(word, "help", "--help") || is(word, "-h", "-h")) {
        usage(argc > 2 ? argv[2] : NULL);
        return 0;
    }
    if (is(word, "version", "--version")) {
        puts("moka " MOKA_VERSION);
        return 0;
    }
    if (!*word)
        die("what is to be done? (try: moka help)");
    if (is_file(word))
        die("unknown command '%s' (try: moka run %s)", word, word);
    die("unknown command '%s' (try: moka help)", word);
}
