#include "java-launcher/host/image.h"
#include "java-launcher/host/cmdline.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TRAILER_SIZE = 512,
    SUPERBLOCK_AT = 1024, /* EROFS on-disk format: the superblock's place and magic number */
    DESCRIPTION_MAX = 16 << 20,
};
static const unsigned char erofs_magic[4] = {0xe2, 0xe1, 0xf5, 0xe0};

static bool has_file_system(int fd)
{
    unsigned char m[4];
    return pread(fd, m, sizeof m, SUPERBLOCK_AT) == sizeof m && !memcmp(m, erofs_magic, sizeof m);
}

bool image_looks_like(const char *path)
{
    int fd = is_file(path) ? open(path, O_RDONLY | O_CLOEXEC) : -1; /* a pipe would wait for its writer */
    bool yes = fd >= 0 && (has_file_system(fd) || ends_with(path, ".img"));
    if (fd >= 0)
        close(fd);
    return yes;
}

/* As the option would have taken it. */
static uint64_t number(const struct image *im, const char *value, uint64_t least, uint64_t most)
{
    char *end;
    uint64_t n = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end || n < least || n > most)
        die("%s is damaged: build it again", im->path);
    return n;
}

static void take(struct image *im, const char *key, char *value)
{
    cmdline_decode(value);
    if (!strcmp(key, "program"))
        im->program = value;
    else if (!strcmp(key, "java"))
        im->java = atoi(value);
    else if (!strcmp(key, "argument"))
        vec_add(&im->args, value);
    else if (!strcmp(key, "jvm"))
        vec_add(&im->jvm, value);
    else if (!strcmp(key, "env"))
        vec_add(&im->env, value);
    else if (!strcmp(key, "memory"))
        im->memory = number(im, value, LEAST_MEMORY, INT64_MAX);
    else if (!strcmp(key, "cpus"))
        im->cpus = (unsigned)number(im, value, 1, MAX_CPUS);
    else if (!strcmp(key, "name"))
        im->name = value;
    else if (!strcmp(key, "workdir"))
        im->workdir = value;
}

static void parse(struct image *im, char *text)
{
    for (char *line = text, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        char *space = strchr(line, ' ');
        if (space) {
            *space = 0;
            take(im, line, space + 1);
        }
    }
}

/* Offset and length of the description; false if the trailer does not fit the file. */
static bool read_trailer(int fd, uint64_t size, uint64_t *at, uint64_t *length)
{
    char t[TRAILER_SIZE + 1] = "";
    uint64_t total;
    if (size < 2 * TRAILER_SIZE || pread(fd, t, TRAILER_SIZE, (off_t)(size - TRAILER_SIZE)) != TRAILER_SIZE ||
        sscanf(t, "moka-image 1 %" SCNu64 " %" SCNu64 " %" SCNu64, &total, at, length) != 3)
        return false;
    return total == size && *length <= DESCRIPTION_MAX && *at <= size - TRAILER_SIZE &&
           *length <= size - TRAILER_SIZE - *at;
}

void image_open(struct image *im, const char *path)
{
    struct stat st;
    uint64_t at, length;
    memset(im, 0, sizeof *im);
    im->path = path_host(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        die("cannot read %s: %s", path, strerror(errno));
    bool erofs = has_file_system(fd);
    if (!read_trailer(fd, (uint64_t)st.st_size, &at, &length))
        die(erofs ? "%s was cut short or is damaged: copy or build it again"
                  : "%s is not an image made by moka build",
            path);
    char *text = xmalloc(length + 1);
    if (pread(fd, text, length, (off_t)at) != (ssize_t)length)
        die("cannot read %s: %s", path, strerror(errno));
    text[length] = 0;
    close(fd);
    parse(im, text);
    if (!im->program || !erofs)
        die("%s is damaged: build it again", path);
}

static void add_line(struct buf *b, const char *key, const char *value)
{
    struct buf word = {0};
    if (!value)
        return;
    cmdline_add(&word, value);
    buf_printf(b, "%s %s\n", key, word.p);
    free(word.p);
}

static void add_lines(struct buf *b, const char *key, const struct strvec *values)
{
    for (size_t i = 0; i < values->n; i++)
        add_line(b, key, values->v[i]);
}

static void describe(const struct image *im, struct buf *b)
{
    add_line(b, "version", MOKA_VERSION);
    add_line(b, "program", im->program);
    add_line(b, "java", im->java ? "1" : "0");
    add_lines(b, "argument", &im->args);
    add_lines(b, "jvm", &im->jvm);
    add_lines(b, "env", &im->env);
    if (im->memory)
        add_line(b, "memory", fmt("%" PRIu64, im->memory));
    if (im->cpus)
        add_line(b, "cpus", fmt("%u", im->cpus));
    add_line(b, "name", im->name);
    add_line(b, "workdir", im->workdir);
}

static void pad(struct buf *b, size_t multiple)
{
    static const char zeros[TRAILER_SIZE];
    while (b->n % multiple)
        buf_add(b, zeros, multiple - b->n % multiple);
}

/* Where the file system ends in a file that may have a description already. */
static uint64_t file_system_size(const char *path)
{
    struct stat st;
    uint64_t at, length;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        die("cannot read %s: %s", path, strerror(errno));
    uint64_t size = (uint64_t)st.st_size;
    if (read_trailer(fd, size, &at, &length))
        size = at;
    close(fd);
    return size;
}

void image_seal(const struct image *im, const char *from, const char *to)
{
    struct buf tail = {0};
    char trailer[TRAILER_SIZE] = "";
    uint64_t at = (file_system_size(from) + TRAILER_SIZE - 1) / TRAILER_SIZE * TRAILER_SIZE;
    describe(im, &tail);
    size_t length = tail.n;
    pad(&tail, TRAILER_SIZE);
    snprintf(trailer, sizeof trailer, "moka-image 1 %" PRIu64 " %" PRIu64 " %zu\n",
             at + tail.n + TRAILER_SIZE, at, length);
    buf_add(&tail, trailer, sizeof trailer);
    int err = strcmp(from, to) ? copy_file(from, to, 0644) : 0;
    if (err)
        die("cannot write %s: %s", to, strerror(-err));
    int fd = open(to, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)at) < 0 || pwrite(fd, tail.p, tail.n, (off_t)at) != (ssize_t)tail.n ||
        close(fd) < 0)
        die("cannot write %s: %s", to, strerror(errno));
    free(tail.p);
}

void image_write(const struct image *im, const struct options *o, const char *output)
{
    struct image out = *im;
    char *temp = fmt("%s.%d.tmp", output, (int)getpid());
    out.jvm = o->jvm;
    out.env = o->env;
    out.args = o->exec ? o->args : out.args;
    out.memory = o->memory;
    out.cpus = o->cpus;
    out.name = o->name;
    out.workdir = o->workdir;
    if (!is_dir(path_dir(output)))
        die("-o %s: no such directory", output);
    if (is_dir(output))
        die("-o %s: is a directory", output);
    cleanup_add(temp);
    image_seal(&out, im->path, temp);
    chmod(temp, 0666 & ~o->umask);
    if (rename(temp, output) < 0)
        die("cannot write %s: %s", output, strerror(errno));
}
