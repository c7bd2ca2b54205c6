/*
 * Small things every file of the command uses: messages, strings, files, child processes.
 *
 * Memory: the command is short-lived, so strings it makes stay allocated until it ends unless a comment says
 * otherwise. Running out of memory ends the process. Nothing here is thread-safe; the command has one thread.
 */
#ifndef JAVA_LAUNCHER_HOST_UTIL_H
#define JAVA_LAUNCHER_HOST_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Exit status of the command's own failures, as Docker's command uses it; a program's own status passes
 * unchanged. */
enum { EXIT_MOKA = 125 };

#define PRINTF_LIKE(a, b) __attribute__((format(printf, a, b)))

/* One line "moka: ..." on standard error, then exit(EXIT_MOKA). Files registered by cleanup_add are removed
 * first. */
void die(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));

extern bool verbose;
/* "moka: ..." on standard error, if --verbose. */
void note(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Says what a long step does, on a terminal (one line that the next replaces) or with --verbose; NULL wipes
 * the line. */
void progress(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* A path to remove (with all below it) when the process ends through die() or cleanup_run(). */
void cleanup_add(char *path);
void cleanup_run(void);

/* ---- strings ---- */

void *xmalloc(size_t n);
char *xstrdup(const char *s);
char *fmt(const char *f, ...) PRINTF_LIKE(1, 2); /* a new string */
bool starts_with(const char *s, const char *prefix);
bool is_one_of(const char *const *list, const char *word);          /* LIST ends with NULL */
bool begins_with_one_of(const char *const *list, const char *word); /* the same */
bool ends_with(const char *s, const char *suffix);

/* A growing, NULL-terminated array of strings it does not own. Zero-initialise. */
struct strvec {
    char **v;
    size_t n, cap;
};
void vec_add(struct strvec *a, const char *s);
bool vec_has(const struct strvec *a, const char *s);
/* Appends the non-empty parts of S between separator characters. */
void vec_split(struct strvec *a, const char *s, char separator);
char *vec_join(const struct strvec *a, const char *separator);

/* Growing bytes, always followed by a zero byte once anything was added. Zero-initialise; free p. */
struct buf {
    char *p;
    size_t n, cap;
};
void buf_add(struct buf *b, const void *data, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *f, ...) PRINTF_LIKE(2, 3);

/* "512M" -> bytes; suffix b, k, m, g, t of either case, plain numbers are bytes. False if it is no size. */
bool parse_size(const char *s, uint64_t *bytes);

/* ---- files: those that return int give 0 or -errno; those that return nothing die on errors ---- */

char *path_absolute(const char *path); /* lexical: current directory added, ".", ".." and "//" resolved */
/* A path of this machine made absolute, and its ".." resolved where links lead, as the system would. Other
 * links in it are kept; what is not there is resolved as path_absolute does. */
char *path_host(const char *path);
char *path_real(const char *path);       /* all links resolved; dies where there is none */
char *path_dir(const char *path);        /* a new string */
const char *path_base(const char *path); /* points into PATH */
bool is_dir(const char *path);
bool is_file(const char *path);                    /* a regular file, or a symbolic link to one */
void make_dirs(const char *path);                  /* like mkdir -p */
int read_whole(const char *path, struct buf *out); /* appends */
void write_whole(const char *path, const void *data, size_t n, mode_t mode);
int copy_file(const char *from, const char *to, mode_t mode); /* follows links; makes TO's directory */
int remove_tree(const char *path);
/* Copies the directory FROM to TO: files linked if SHARE, else copied; links kept, but for those to files
 * outside, which become files; sockets and such left out. */
int copy_tree(const char *from, const char *to, bool share);
/* Sets the time of everything under PATH, itself included, to STAMP seconds. */
void stamp_tree(const char *path, time_t stamp);

/* ---- child processes ---- */

/* From now on SIGINT, SIGTERM and SIGHUP take effect only at check_interrupt(), which cleans up before the
 * process dies of them. progress() and run_command() call it. */
void watch_interrupts(void);
void check_interrupt(void);

/* Runs ARGV (looked up in PATH), standard input from /dev/null; standard output goes to OUT and standard
 * error to ERR (either may be NULL: thrown away; both may be the same). It does not see the variables
 * that hold options for JVMs. Returns the exit status, 128 + signal, or -errno when it could not start. */
int run_command(char *const *argv, struct buf *out, struct buf *err);
/* The full path of PROGRAM found in PATH, or NULL. */
char *find_program(const char *program);

#endif
