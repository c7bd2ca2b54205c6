#include "java-launcher/host/runner.h"
#include "java-launcher/host/backlog.h"
#include "java-launcher/host/cmdline.h"
#include "java-launcher/host/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    POWER_OFF_MS = 10000, /* a VM that has reported its exit status must end within this */
    WIDEN_MS = 20,        /* how often to look whether QEMU listens on its ports already, */
    WIDEN_TRIES = 500,    /* and how many times */
    RETRY_MS = 500,       /* a background process looks this often whether it may read its terminal */
    STATUS_INTERRUPTED = 128 + SIGINT,
};

/* Everything about one run; the descriptors are ours. */
struct run {
    pid_t qemu;
    int signals;              /* signalfd */
    int control, qemu_stderr; /* -1 after their end */
    struct pump in, out, err, serial;
    struct buf control_text; /* an unfinished line */
    struct buf qemu_text;    /* what QEMU itself had to say */
    int status;              /* the program's, or -1 while it runs */
    bool ended;              /* QEMU is gone */
    int wait_status;
    unsigned interrupts;
    const struct options *o;
    unsigned widen_tries; /* left, to give forwarded ports room for connections */
    int64_t deadline_ms;  /* when to end QEMU by force; 0: never */
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- starting ---- */

static bool is_ignored(int signo)
{
    struct sigaction old;
    return sigaction(signo, NULL, &old) == 0 && old.sa_handler == SIG_IGN;
}

/* What is ignored when we start, by nohup or a shell that puts us into the background, stays so, but for
 * SIGQUIT: as with a JVM. */
static void watched_signals(sigset_t *set)
{
    static const int unless_ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP};
    sigemptyset(set);
    for (size_t i = 0; i < sizeof unless_ignored / sizeof *unless_ignored; i++)
        if (!is_ignored(unless_ignored[i]))
            sigaddset(set, unless_ignored[i]);
    sigaddset(set, SIGQUIT);
    sigaddset(set, SIGCHLD);
}

/* QEMU gets a session of its own, so that the terminal's Ctrl-C comes to us alone, and dies with us. */
static void become_qemu(char *const *argv, pid_t parent, int err)
{
    sigset_t none;
    int null = open("/dev/null", O_RDWR);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGTTIN, SIG_DFL);
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    dup2(null, STDIN_FILENO);
    dup2(err, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execvp(argv[0], argv);
    dprintf(STDERR_FILENO, "cannot start %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static void make_sockets(int ours[STREAMS], int theirs[STREAMS])
{
    for (int i = 0; i < STREAMS; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
            die("cannot make sockets: %s", strerror(errno));
        ours[i] = pair[0];
        theirs[i] = pair[1];
        fcntl(theirs[i], F_SETFD, 0);
    }
}

/* A file of this process and QEMU alone, at its beginning. */
static int words_file(const struct vm *vm)
{
    struct buf words = vm_words(vm);
    int fd = memfd_create("moka words", 0);
    if (fd < 0 || write(fd, words.p, words.n) != (ssize_t)words.n)
        die("cannot hand over arguments and environment: %s", strerror(errno));
    free(words.p);
    return fd;
}

static void start(struct run *r, struct vm *vm)
{
    int ours[STREAMS], err[2];
    struct vm_fds theirs;
    struct strvec argv = {0};
    sigset_t set;
    pid_t self = getpid();

    make_sockets(ours, theirs.streams);
    theirs.words = words_file(vm);
    vm_qemu(vm, &theirs, &argv);
    if (pipe2(err, O_CLOEXEC) < 0)
        die("cannot make a pipe: %s", strerror(errno));
    watched_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTTIN, SIG_IGN);
    r->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    r->qemu = fork();
    if (r->signals < 0 || r->qemu < 0)
        die("cannot start QEMU: %s", strerror(errno));
    if (r->qemu == 0)
        become_qemu(argv.v, self, err[1]);
    close(err[1]);
    for (int i = 0; i < STREAMS; i++)
        close(theirs.streams[i]);
    close(theirs.words);
    r->qemu_stderr = err[0];
    r->control = ours[STREAM_CONTROL];
    pump_init(&r->in, STDIN_FILENO, ours[STREAM_STDIN]);
    r->in.own_to = true;
    pump_init(&r->out, ours[STREAM_STDOUT], STDOUT_FILENO);
    pump_init(&r->err, ours[STREAM_STDERR], STDERR_FILENO);
    pump_init(&r->serial, ours[STREAM_SERIAL], STDERR_FILENO);
    r->serial.whole_lines = true;
    r->out.own_from = r->err.own_from = r->serial.own_from = true;
}

/* ---- events ---- */

static void send_control(struct run *r, const char *line)
{
    if (r->control >= 0 && send(r->control, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        note("cannot tell the VM: %s", strerror(errno));
}

static void take_signal(struct run *r, uint32_t signo)
{
    if (signo == SIGCHLD) {
        if (waitpid(r->qemu, &r->wait_status, WNOHANG) == r->qemu)
            r->ended = true;
        return;
    }
    if (signo == SIGTSTP) { /* Ctrl-Z: the VM sleeps as long as we do */
        kill(r->qemu, SIGSTOP);
        raise(SIGSTOP);
        kill(r->qemu, SIGCONT);
        return;
    }
    if (signo == SIGINT && ++r->interrupts > 1) {
        r->status = STATUS_INTERRUPTED;
        kill(r->qemu, SIGKILL);
        return;
    }
    send_control(r, signo == SIGQUIT ? "quit\n" : "term\n");
}

static void take_signals(struct run *r)
{
    struct signalfd_siginfo si;
    while (read(r->signals, &si, sizeof si) == sizeof si)
        take_signal(r, si.ssi_signo);
}

static void take_control_line(struct run *r, const char *line)
{
    int status;
    if (sscanf(line, "exit %d", &status) == 1 && r->status < 0) {
        r->status = status & 0xff;
        r->deadline_ms = now_ms() + POWER_OFF_MS;
    }
}

static void take_control(struct run *r)
{
    char chunk[512], *end;
    ssize_t n = read(r->control, chunk, sizeof chunk);
    if (n > 0)
        buf_add(&r->control_text, chunk, (size_t)n);
    else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        close(r->control);
        r->control = -1;
    }
    while (r->control_text.n && (end = memchr(r->control_text.p, '\n', r->control_text.n))) {
        *end++ = 0;
        take_control_line(r, r->control_text.p);
        r->control_text.n -= (size_t)(end - r->control_text.p);
        memmove(r->control_text.p, end, r->control_text.n + 1);
    }
}

static void take_qemu_text(struct run *r)
{
    char chunk[4096];
    ssize_t n = read(r->qemu_stderr, chunk, sizeof chunk);
    if (n > 0)
        buf_add(&r->qemu_text, chunk, (size_t)n);
    else if (n == 0 || errno != EINTR) {
        close(r->qemu_stderr);
        r->qemu_stderr = -1;
    }
}

/* ---- the loop ---- */

static bool finished(const struct run *r)
{
    return r->ended && r->control < 0 && r->qemu_stderr < 0 && pump_done(&r->out) && pump_done(&r->err) &&
           pump_done(&r->serial);
}

static int timeout_ms(const struct run *r)
{
    int64_t t = r->widen_tries ? WIDEN_MS : r->in.waiting ? RETRY_MS : -1;
    if (r->deadline_ms && !r->ended) {
        int64_t left = r->deadline_ms - now_ms();
        left = left < 0 ? 0 : left;
        t = t < 0 || left < t ? left : t;
    }
    return (int)t;
}

/* Standard output that nobody reads any more: tell the VM by closing the stream. */
static void close_unread(struct pump *p)
{
    if (p->ended && p->from >= 0) {
        close(p->from);
        p->from = -1;
    }
}

static void turn(struct run *r)
{
    struct pump *pumps[] = {&r->in, &r->out, &r->err, &r->serial};
    struct pollfd p[7];
    for (int i = 0; i < 4; i++)
        p[i] = pump_wants(pumps[i]);
    if (r->ended)
        p[0].fd = -1; /* nobody takes input any more */
    p[4] = (struct pollfd){.fd = r->signals, .events = POLLIN};
    p[5] = (struct pollfd){.fd = r->control, .events = POLLIN};
    p[6] = (struct pollfd){.fd = r->qemu_stderr, .events = POLLIN};
    int n = poll(p, 7, timeout_ms(r));
    r->in.waiting = false;
    if (r->widen_tries)
        r->widen_tries = r->ended || backlog_widen(r->qemu, r->o) ? 0 : r->widen_tries - 1;
    if (n < 0)
        return;
    for (int i = 0; i < 4; i++)
        if (p[i].revents)
            pump_step(pumps[i]);
    close_unread(&r->out);
    if (p[4].revents)
        take_signals(r);
    if (p[5].revents)
        take_control(r);
    if (p[6].revents)
        take_qemu_text(r);
    if (r->deadline_ms && !r->ended && now_ms() >= r->deadline_ms)
        kill(r->qemu, SIGKILL);
}

static char *how_it_ended(int wait_status)
{
    if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL)
        return xstrdup(
            "QEMU was killed from outside, as happens when this machine, or the control group, has "
            "no memory left");
    if (WIFSIGNALED(wait_status))
        return fmt("QEMU was ended by signal %d, %s", WTERMSIG(wait_status),
                   strsignal(WTERMSIG(wait_status)));
    return fmt("QEMU's status was %d", WEXITSTATUS(wait_status));
}

/* Output that was lost, as on a full disk. */
static bool tell_losses(const struct run *r)
{
    const struct pump *pumps[] = {&r->out, &r->err};
    static const char *const names[] = {"output", "error"};
    bool lost = false;
    for (int i = 0; i < 2; i++) {
        if (!pumps[i]->error)
            continue;
        dprintf(STDERR_FILENO, "moka: cannot write the program's standard %s: %s\n", names[i],
                strerror(pumps[i]->error));
        lost = true;
    }
    return lost;
}

static int result(struct run *r)
{
    bool say = r->status < 0 || verbose;
    if (say && r->qemu_text.n) {
        if (r->qemu_text.p[r->qemu_text.n - 1] == '\n')
            r->qemu_text.p[r->qemu_text.n - 1] = 0;
        dprintf(STDERR_FILENO, "%s\n", r->qemu_text.p);
    }
    bool lost = tell_losses(r);
    if (r->status >= 0)
        return lost && r->status == 0 ? EXIT_MOKA : r->status;
    dprintf(STDERR_FILENO, "moka: the VM ended without an exit status (%s)\n", how_it_ended(r->wait_status));
    return EXIT_MOKA;
}

static bool at_end(int fd)
{
    struct stat st, null;
    if (fstat(fd, &st) < 0)
        return true;
    return S_ISCHR(st.st_mode) && stat("/dev/null", &null) == 0 && st.st_rdev == null.st_rdev;
}

/* Descriptors 0 to 2 may be closed when we start; sockets must not get these numbers. */
static void open_standard_streams(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
        ;
    if (fd >= 0)
        close(fd);
}

int vm_run(struct vm *vm)
{
    static struct run r;
    vm->no_stdin = at_end(STDIN_FILENO);
    open_standard_streams();
    r.status = -1;
    r.o = vm->o;
    r.widen_tries = WIDEN_TRIES;
    start(&r, vm);
    if (vm->no_stdin)
        r.in.ended = true;
    if (vm->o->gdb)
        dprintf(STDERR_FILENO, "moka: waiting for gdb: target remote 127.0.0.1:1234\n");
    while (!finished(&r))
        turn(&r);
    return result(&r);
}

void vm_print(struct vm *vm)
{
    struct strvec argv = {0}, quoted = {0};
    vm_qemu(vm, NULL, &argv);
    for (size_t i = 0; i < argv.n; i++)
        vec_add(&quoted, shell_quote(argv.v[i]));
    printf("%s\n", vec_join(&quoted, " "));
}
