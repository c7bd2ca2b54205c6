#include "java-launcher/host/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void interrupt(int signo)
{
    interrupted = signo;
}

void watch_interrupts(void)
{
    struct sigaction action = {.sa_handler = interrupt};
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 3; i++) {
        struct sigaction old;
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
}

void check_interrupt(void)
{
    int signo = interrupted;
    if (!signo)
        return;
    interrupted = 0;
    progress(NULL);
    cleanup_run();
    signal(signo, SIG_DFL);
    raise(signo);
}

char *find_program(const char *program)
{
    struct strvec dirs = {0};
    if (strchr(program, '/'))
        return access(program, X_OK) == 0 && is_file(program) ? xstrdup(program) : NULL;
    vec_split(&dirs, getenv("PATH") ? getenv("PATH") : "/usr/local/bin:/usr/bin:/bin", ':');
    vec_add(&dirs, "/usr/sbin"); /* where some of the tools are that an ordinary user's PATH leaves out */
    for (size_t i = 0; i < dirs.n; i++) {
        char *path = fmt("%s/%s", dirs.v[i], program);
        if (access(path, X_OK) == 0 && is_file(path))
            return path;
        free(path);
    }
    return NULL;
}

/* What users set for their own programs must not reach the JDK's tools: a debugger to wait for, a heap. */
static void forget_java_options(void)
{
    static const char *const names[] = {"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

static void child(char *const *argv, const char *program, int out, int err, int report)
{
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(out < 0 ? null : out, STDOUT_FILENO);
    dup2(err < 0 ? null : err, STDERR_FILENO);
    forget_java_options();
    execv(program, argv);
    int e = errno;
    ssize_t ignored = write(report, &e, sizeof e);
    (void)ignored;
    _exit(127);
}

/* Reads one of the pipes once; closes it at its end. */
static void drain(int *fd, struct buf *b)
{
    char chunk[16384];
    ssize_t n = read(*fd, chunk, sizeof chunk);
    if (n > 0)
        buf_add(b, chunk, (size_t)n);
    if (n == 0 || (n < 0 && errno != EINTR)) {
        close(*fd);
        *fd = -1;
    }
}

static void collect(int out, struct buf *out_buf, int err, struct buf *err_buf)
{
    while (out >= 0 || err >= 0) {
        struct pollfd p[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[0].revents)
            drain(&out, out_buf);
        if (p[1].revents)
            drain(&err, err_buf);
    }
}

static void make_pipe(int fd[2])
{
    if (pipe2(fd, O_CLOEXEC) < 0)
        die("cannot make a pipe: %s", strerror(errno));
}

int run_command(char *const *argv, struct buf *out, struct buf *err)
{
    int out_pipe[2] = {-1, -1}, err_pipe[2] = {-1, -1}, report[2], exec_error = 0, status;
    char *program = find_program(argv[0]);
    if (!program)
        return -ENOENT;
    make_pipe(report);
    if (out)
        make_pipe(out_pipe);
    if (err && err != out)
        make_pipe(err_pipe);
    pid_t pid = fork();
    if (pid < 0)
        die("cannot start %s: %s", argv[0], strerror(errno));
    if (pid == 0)
        child(argv, program, out_pipe[1], err && err == out ? out_pipe[1] : err_pipe[1], report[1]);
    close(report[1]);
    if (out_pipe[1] >= 0)
        close(out_pipe[1]);
    if (err_pipe[1] >= 0)
        close(err_pipe[1]);
    collect(out_pipe[0], out, err_pipe[0], err);
    ssize_t got = read(report[0], &exec_error, sizeof exec_error);
    close(report[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    free(program);
    check_interrupt();
    if (got == sizeof exec_error)
        return -exec_error;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
