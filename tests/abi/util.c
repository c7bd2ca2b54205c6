/* Printing, fault probes, and small conveniences of the ABI suite. */
#include "abi.h"

#include <stdarg.h>

const char *abi_running(void);

void say(const char *format, ...)
{
    char line[1024];
    int saved = errno;
    int n = snprintf(line, sizeof(line), "%s: ", abi_running());
    va_list args;
    va_start(args, format);
    n += vsnprintf(line + n, sizeof(line) - n - 1, format, args);
    va_end(args);
    if (n > (int)sizeof(line) - 2)
        n = sizeof(line) - 2;
    line[n++] = '\n';
    for (int done = 0; done < n;) {
        ssize_t written = write(1, line + done, n - done);
        if (written < 0 && errno != EINTR)
            break;
        done += written > 0 ? written : 0;
    }
    errno = saved;
}

#define NAME_OF(e)                                                                                           \
    case e:                                                                                                  \
        return #e

const char *errname(int error)
{
    static __thread char number[16];
    switch (error) {
        NAME_OF(EPERM);
        NAME_OF(ENOENT);
        NAME_OF(ESRCH);
        NAME_OF(EINTR);
        NAME_OF(EIO);
        NAME_OF(ENXIO);
        NAME_OF(E2BIG);
        NAME_OF(ENOEXEC);
        NAME_OF(EBADF);
        NAME_OF(ECHILD);
        NAME_OF(EAGAIN);
        NAME_OF(ENOMEM);
        NAME_OF(EACCES);
        NAME_OF(EFAULT);
        NAME_OF(EBUSY);
        NAME_OF(EEXIST);
        NAME_OF(EXDEV);
        NAME_OF(ENODEV);
        NAME_OF(ENOTDIR);
        NAME_OF(EISDIR);
        NAME_OF(EINVAL);
        NAME_OF(ENFILE);
        NAME_OF(EMFILE);
        NAME_OF(ENOTTY);
        NAME_OF(ETXTBSY);
        NAME_OF(EFBIG);
        NAME_OF(ENOSPC);
        NAME_OF(ESPIPE);
        NAME_OF(EROFS);
        NAME_OF(EMLINK);
        NAME_OF(EPIPE);
        NAME_OF(EDOM);
        NAME_OF(ERANGE);
        NAME_OF(EDEADLK);
        NAME_OF(ENAMETOOLONG);
        NAME_OF(ENOSYS);
        NAME_OF(ENOTEMPTY);
        NAME_OF(ELOOP);
        NAME_OF(ENODATA);
        NAME_OF(EOVERFLOW);
        NAME_OF(ENOTSOCK);
        NAME_OF(EDESTADDRREQ);
        NAME_OF(EMSGSIZE);
        NAME_OF(EPROTOTYPE);
        NAME_OF(ENOPROTOOPT);
        NAME_OF(EPROTONOSUPPORT);
        NAME_OF(ESOCKTNOSUPPORT);
        NAME_OF(EOPNOTSUPP);
        NAME_OF(EAFNOSUPPORT);
        NAME_OF(EADDRINUSE);
        NAME_OF(EADDRNOTAVAIL);
        NAME_OF(ECONNRESET);
        NAME_OF(EISCONN);
        NAME_OF(ENOTCONN);
        NAME_OF(ETIMEDOUT);
        NAME_OF(ECONNREFUSED);
        NAME_OF(EALREADY);
        NAME_OF(EINPROGRESS);
        NAME_OF(ECANCELED);
        NAME_OF(EOWNERDEAD);
        NAME_OF(ENOTRECOVERABLE);
    case 0:
        return "0";
    }
    snprintf(number, sizeof(number), "errno %d", error);
    return number;
}

const char *signame(int signal)
{
    static __thread char number[16];
    switch (signal) {
        NAME_OF(SIGHUP);
        NAME_OF(SIGINT);
        NAME_OF(SIGQUIT);
        NAME_OF(SIGILL);
        NAME_OF(SIGTRAP);
        NAME_OF(SIGABRT);
        NAME_OF(SIGBUS);
        NAME_OF(SIGFPE);
        NAME_OF(SIGKILL);
        NAME_OF(SIGUSR1);
        NAME_OF(SIGSEGV);
        NAME_OF(SIGUSR2);
        NAME_OF(SIGPIPE);
        NAME_OF(SIGALRM);
        NAME_OF(SIGTERM);
        NAME_OF(SIGCHLD);
        NAME_OF(SIGSYS);
    case 0:
        return "none";
    }
    snprintf(number, sizeof(number), "signal %d", signal);
    return number;
}

long show_ok(const char *text, long result)
{
    say("%s: %s", text, result == -1 ? errname(errno) : "ok");
    return result;
}

long show_value(const char *text, long result)
{
    if (result == -1 && errno != 0)
        say("%s: %s", text, errname(errno));
    else
        say("%s: %ld", text, result);
    return result;
}

long show_error(const char *text, int error)
{
    say("%s: %s", text, error == 0 ? "ok" : errname(error));
    return error;
}

bool show_fact(const char *text, bool fact)
{
    say("%s: %s", text, fact ? "yes" : "no");
    return fact;
}

/* ---- faults ---- */

static __thread sigjmp_buf after_fault;
static __thread struct fault caught;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    caught = (struct fault){.signal = sig, .code = info->si_code, .addr = info->si_addr};
    siglongjmp(after_fault, 1);
}

struct fault fault_of(void (*f)(void *), void *arg)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    enum { N = sizeof(signals) / sizeof(signals[0]) };
    struct sigaction old[N];
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    for (int i = 0; i < N; i++)
        sigaction(signals[i], &action, &old[i]);
    caught = (struct fault){0};
    if (sigsetjmp(after_fault, 1) == 0)
        f(arg);
    for (int i = 0; i < N; i++)
        sigaction(signals[i], &old[i], NULL);
    return caught;
}

static void do_read(void *p)
{
    (void)*(const volatile char *)p;
}

static void do_write(void *p)
{
    *(volatile char *)p = 1;
}

static void do_exec(void *p)
{
    ((void (*)(void))p)();
}

struct fault fault_read(const volatile void *p)
{
    return fault_of(do_read, (void *)p);
}

struct fault fault_write(volatile void *p)
{
    return fault_of(do_write, (void *)p);
}

struct fault fault_exec(void *p)
{
    return fault_of(do_exec, p);
}

static const char *code_name(int sig, int code)
{
    static __thread char number[16];
    if (sig == SIGSEGV && code == SEGV_MAPERR)
        return "SEGV_MAPERR";
    if (sig == SIGSEGV && code == SEGV_ACCERR)
        return "SEGV_ACCERR";
    if (sig == SIGBUS && code == BUS_ADRERR)
        return "BUS_ADRERR";
    if (sig == SIGBUS && code == BUS_ADRALN)
        return "BUS_ADRALN";
    if (sig == SIGFPE && code == FPE_INTDIV)
        return "FPE_INTDIV";
    if (sig == SIGFPE && code == FPE_FLTDIV)
        return "FPE_FLTDIV";
    if (sig == SIGFPE && code == FPE_FLTINV)
        return "FPE_FLTINV";
    if (sig == SIGILL && code == ILL_ILLOPN)
        return "ILL_ILLOPN";
    snprintf(number, sizeof(number), "code %d", code);
    return number;
}

void show_fault(const char *text, struct fault f, const volatile void *base)
{
    if (f.signal == 0)
        say("%s: none", text);
    else
        say("%s: %s %s at %+ld", text, signame(f.signal), code_name(f.signal, f.code),
            (long)((char *)f.addr - (char *)base));
}

/* ---- small conveniences ---- */

uint64_t now_ns(clockid_t clock)
{
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

void sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

void settle_ms(unsigned ms)
{
    for (unsigned good = 0, all = 0; good < ms && all < 50 * ms; all += 10) {
        uint64_t begin = now_ns(CLOCK_MONOTONIC);
        sleep_ms(10);
        if (now_ns(CLOCK_MONOTONIC) - begin < 15000000)
            good += 10;
    }
}

bool wait_for(const volatile int *word, int value)
{
    uint64_t end = now_ns(CLOCK_MONOTONIC) + 10000000000u;
    while (__atomic_load_n(word, __ATOMIC_SEQ_CST) != value) {
        if (now_ns(CLOCK_MONOTONIC) > end)
            return false;
        sleep_ms(1);
    }
    return true;
}

char *anonymous(size_t len)
{
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

long slurp(const char *path, char *text, size_t len)
{
    size_t have = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    text[0] = 0;
    if (fd < 0)
        return -1;
    for (ssize_t n; have < len - 1 && (n = read(fd, text + have, len - 1 - have)) > 0;)
        have += n;
    close(fd);
    text[have] = 0;
    return have;
}

void spit(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        say("cannot write %s: %s", path, errname(errno));
    close(fd);
}

pthread_t start(void *(*f)(void *), void *arg)
{
    pthread_t t;
    int error = pthread_create(&t, NULL, f, arg);
    if (error != 0) {
        say("no thread: %s", errname(error));
        _exit(98);
    }
    return t;
}
