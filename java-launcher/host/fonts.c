#include "java-launcher/host/fonts.h"

#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

enum { ALL_FONTS_LIMIT = 64 << 20 };

static const char config_dir[] = "/etc/fonts";
/* The directories of Debian's fonts.conf, but for those in a home directory. */
static const char *const font_dirs[] = {"/usr/share/fonts", "/usr/local/share/fonts"};
enum { FONT_DIRS = sizeof font_dirs / sizeof *font_dirs };

void fonts_key(struct sha256 *key)
{
    key_tree(key, config_dir);
    for (int i = 0; i < FONT_DIRS; i++)
        key_tree(key, font_dirs[i]);
}

static uint64_t tree_bytes;

static int add_size(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path, (void)ftw;
    if (type == FTW_F)
        tree_bytes += (uint64_t)st->st_size;
    return 0;
}

static uint64_t bytes_of_fonts(void)
{
    tree_bytes = 0;
    for (int i = 0; i < FONT_DIRS; i++)
        nftw(font_dirs[i], add_size, 16, FTW_PHYS);
    return tree_bytes;
}

/* The font file that fontconfig would take for PATTERN. */
static void stage_match(struct stage *s, const char *pattern)
{
    struct buf file = {0};
    char *argv[] = {"fc-match", "-f%{file}", (char *)pattern, NULL};
    if (run_command(argv, &file, NULL) == 0 && file.n && file.p[0] == '/' && is_file(file.p))
        stage_copy(s, file.p, file.p);
    else
        note("no font file for %s", pattern);
}

static void stage_logical_fonts(struct stage *s)
{
    static const char *const families[] = {"sans-serif", "serif", "monospace"};
    static const char *const styles[] = {"", ":bold", ":italic", ":bold:italic"};
    note("more than 64 MiB of fonts: taking those that stand for Java's logical ones");
    for (int f = 0; f < 3; f++)
        for (int i = 0; i < 4; i++)
            stage_match(s, fmt("%s%s", families[f], styles[i]));
}

void fonts_stage(struct stage *s)
{
    struct libs l = {0};
    if (!is_file(stage_path(s, "/jvm/lib/libfontmanager.so")))
        return;
    libs_add_optional(&l, "libfontconfig.so.1");
    stage_libs(s, &l, NULL, true);
    if (is_dir(config_dir))
        stage_copy(s, config_dir, config_dir);
    if (bytes_of_fonts() > ALL_FONTS_LIMIT) {
        stage_logical_fonts(s);
        return;
    }
    for (int i = 0; i < FONT_DIRS; i++)
        if (is_dir(font_dirs[i]))
            stage_copy(s, font_dirs[i], font_dirs[i]);
}
