/* Signals: actions, masks, delivery, waiting, interrupted calls. */
#include "abi.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>

static volatile int count, last_signal, last_code, last_value, depth, deepest;
static volatile pid_t last_pid;

static void counting(int sig)
{
    last_signal = sig;
    count++;
}

static void with_info(int sig, siginfo_t *info, void *context)
{
    last_signal = sig;
    last_code = info->si_code;
    last_pid = info->si_pid;
    last_value = info->si_value.sival_int;
    count++;
}

static void handle(int sig, void (*f)(int), int flags)
{
    struct sigaction action = {.sa_handler = f, .sa_flags = flags};
    if (sigaction(sig, &action, NULL) != 0)
        say("sigaction %s: %s", signame(sig), errname(errno));
}

static void handle_info(int sig, void (*f)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = f, .sa_flags = flags | SA_SIGINFO};
    if (sigaction(sig, &action, NULL) != 0)
        say("sigaction %s: %s", signame(sig), errname(errno));
}

static pid_t own_tid(void)
{
    return syscall(SYS_gettid);
}

static int send_thread(int sig)
{
    return syscall(SYS_tgkill, getpid(), own_tid(), sig);
}

CASE(action_get_and_set)
{
    struct sigaction old, action = {.sa_handler = counting, .sa_flags = SA_RESTART | SA_NODEFER};
    sigaddset(&action.sa_mask, SIGUSR2);
    OK(sigaction(SIGUSR1, &action, NULL));
    OK(sigaction(SIGUSR1, NULL, &old));
    CHECK(old.sa_handler == counting);
    CHECK((old.sa_flags & (SA_RESTART | SA_NODEFER)) == (SA_RESTART | SA_NODEFER));
    CHECK(sigismember(&old.sa_mask, SIGUSR2) == 1 && sigismember(&old.sa_mask, SIGUSR1) == 0);
    VALUE(sigaction(SIGKILL, &action, NULL));
    VALUE(sigaction(SIGSTOP, &action, NULL));
    VALUE(sigaction(0, &action, NULL));
    VALUE(sigaction(65, &action, NULL));
    VALUE(syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 4));
    VALUE(syscall(SYS_rt_sigaction, SIGUSR1, 16, NULL, 8));
}

CASE(raise_and_kill)
{
    count = 0;
    handle_info(SIGUSR1, with_info, 0);
    OK(send_thread(SIGUSR1));
    VALUE(count);
    CHECK(last_code == SI_TKILL && last_pid == getpid());
    OK(kill(getpid(), SIGUSR1));
    CHECK(wait_for(&count, 2));
    CHECK(last_code == SI_USER && last_pid == getpid());
    union sigval value = {.sival_int = 42};
    OK(sigqueue(getpid(), SIGUSR1, value));
    CHECK(wait_for(&count, 3));
    CHECK(last_code == SI_QUEUE && last_value == 42);
    OK(kill(getpid(), 0));
    VALUE(kill(getpid(), 65));
    VALUE(kill(999999, 0));
    VALUE(syscall(SYS_tgkill, getpid(), 999999, SIGUSR1));
    VALUE(syscall(SYS_tgkill, getpid(), -1, SIGUSR1));
    VALUE(syscall(SYS_tkill, own_tid(), SIGUSR1));
    VALUE(count);
}

CASE(mask_and_pending)
{
    sigset_t set, old, pending;
    count = 0;
    handle(SIGUSR1, counting, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    OK(pthread_sigmask(SIG_BLOCK, &set, &old));
    CHECK(sigismember(&old, SIGUSR1) == 0);
    OK(send_thread(SIGUSR1));
    OK(send_thread(SIGUSR1)); /* an ordinary signal does not queue */
    VALUE(count);
    OK(sigpending(&pending));
    CHECK(sigismember(&pending, SIGUSR1) == 1 && sigismember(&pending, SIGUSR2) == 0);
    OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
    VALUE(count);
    OK(sigpending(&pending));
    CHECK(sigismember(&pending, SIGUSR1) == 0);
    sigfillset(&set);
    OK(pthread_sigmask(SIG_SETMASK, &set, NULL));
    OK(pthread_sigmask(SIG_SETMASK, NULL, &old));
    CHECK(sigismember(&old, SIGKILL) == 0 && sigismember(&old, SIGSTOP) == 0 &&
          sigismember(&old, SIGTERM) == 1);
    VALUE(syscall(SYS_rt_sigprocmask, 77, &set, NULL, 8));
    VALUE(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 16, NULL, 8));
    VALUE(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 16));
}

CASE(real_time_signals_queue)
{
    sigset_t set;
    siginfo_t info;
    struct timespec none = {0};
    int low = SIGRTMIN + 1, high = SIGRTMIN + 2;
    sigemptyset(&set);
    sigaddset(&set, low);
    sigaddset(&set, high);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 3; i++) {
        OK(sigqueue(getpid(), high, (union sigval){.sival_int = 10 + i}));
        OK(sigqueue(getpid(), low, (union sigval){.sival_int = 20 + i}));
    }
    for (int i = 0; i < 6; i++) { /* lowest number first, then in order sent */
        int got = sigtimedwait(&set, &info, &none);
        say("got %s with %d", got == low ? "low" : got == high ? "high" : "none", info.si_value.sival_int);
    }
    VALUE(sigtimedwait(&set, &info, &none));
}

static void nested(int sig)
{
    depth++;
    deepest = depth > deepest ? depth : deepest;
    if (count++ < 3)
        send_thread(sig);
    depth--;
}

CASE(handler_masks_itself)
{
    count = depth = deepest = 0;
    handle(SIGUSR1, nested, 0);
    send_thread(SIGUSR1);
    VALUE(count);
    VALUE(deepest);
}

CASE(handler_no_defer)
{
    count = depth = deepest = 0;
    handle(SIGUSR1, nested, SA_NODEFER);
    send_thread(SIGUSR1);
    VALUE(count);
    VALUE(deepest);
}

static sigset_t in_handler;

static void note_mask(int sig)
{
    pthread_sigmask(SIG_SETMASK, NULL, &in_handler);
}

CASE(handler_mask)
{
    struct sigaction action = {.sa_handler = note_mask};
    sigset_t after;
    sigaddset(&action.sa_mask, SIGUSR2);
    sigaction(SIGUSR1, &action, NULL);
    send_thread(SIGUSR1);
    CHECK(sigismember(&in_handler, SIGUSR1) == 1 && sigismember(&in_handler, SIGUSR2) == 1);
    CHECK(sigismember(&in_handler, SIGTERM) == 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    CHECK(sigismember(&after, SIGUSR1) == 0 && sigismember(&after, SIGUSR2) == 0);
}

CASE(handler_reset)
{
    struct sigaction old;
    count = 0;
    handle(SIGUSR1, counting, SA_RESETHAND);
    send_thread(SIGUSR1);
    VALUE(count);
    sigaction(SIGUSR1, NULL, &old);
    CHECK(old.sa_handler == SIG_DFL);
}

CASE(ignored_signals)
{
    handle(SIGUSR1, SIG_IGN, 0);
    OK(send_thread(SIGUSR1));
    OK(kill(getpid(), SIGUSR1));
    OK(kill(getpid(), SIGCHLD)); /* ignored by default */
    OK(kill(getpid(), SIGURG));
    OK(kill(getpid(), SIGWINCH));
    sigset_t set;
    struct timespec none = {0};
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    VALUE(sigtimedwait(&set, NULL, &none)); /* an ignored signal leaves nothing behind */
}

/* ---- waiting for signals ---- */

static void *kill_after(void *tid)
{
    settle_ms(60);
    syscall(SYS_tgkill, getpid(), (pid_t)(intptr_t)tid, SIGUSR1);
    return NULL;
}

static pthread_t signal_soon(void)
{
    return start(kill_after, (void *)(intptr_t)own_tid());
}

CASE(wait_for_signal)
{
    sigset_t set;
    siginfo_t info;
    struct timespec soon = {.tv_nsec = 20000000}, later = {.tv_sec = 5};
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    uint64_t begin = now_ns(CLOCK_MONOTONIC);
    VALUE(sigtimedwait(&set, &info, &soon));
    CHECK(now_ns(CLOCK_MONOTONIC) - begin >= 20000000);
    pthread_t t = signal_soon();
    CHECK(sigtimedwait(&set, &info, &later) == SIGUSR1 && info.si_pid == getpid());
    pthread_join(t, NULL);
    t = signal_soon();
    CHECK(sigwaitinfo(&set, &info) == SIGUSR1);
    pthread_join(t, NULL);
    VALUE(syscall(SYS_rt_sigtimedwait, &set, NULL, &(struct timespec){.tv_nsec = 2000000000}, 8));
    VALUE(syscall(SYS_rt_sigtimedwait, 16, NULL, &soon, 8));
}

CASE(suspend)
{
    sigset_t set, empty, after;
    count = 0;
    handle(SIGUSR1, counting, 0);
    sigemptyset(&empty);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_t t = signal_soon();
    VALUE(sigsuspend(&empty));
    VALUE(count);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    CHECK(sigismember(&after, SIGUSR1) == 1);
    pthread_join(t, NULL);
}

CASE(pause_call)
{
    count = 0;
    handle(SIGUSR1, counting, SA_RESTART);
    pthread_t t = signal_soon();
    VALUE(pause());
    VALUE(count);
    pthread_join(t, NULL);
}

/* ---- calls that a signal interrupts, with and without SA_RESTART ---- */

static int fds[2];

static void *write_after(void *unused)
{
    wait_for(&count, 1); /* the signal came first */
    settle_ms(60);
    return (void *)write(fds[1], "x", 1);
}

static void interrupted_read(int flags)
{
    char c = 0;
    count = 0;
    handle(SIGUSR1, counting, flags);
    if (pipe(fds) != 0)
        say("no pipe");
    pthread_t t = signal_soon(), w = start(write_after, NULL);
    VALUE(read(fds[0], &c, 1));
    pthread_join(t, NULL);
    pthread_join(w, NULL);
    VALUE(count);
}

CASE(read_interrupted)
{
    interrupted_read(0);
}

CASE(read_restarted)
{
    interrupted_read(SA_RESTART);
}

/* What the signal ends would take this long otherwise. */
enum { LONG_S = 20 };

static void interrupted(const char *name, long (*call)(void))
{
    for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
        count = 0;
        handle(SIGUSR1, counting, flags);
        pthread_t t = signal_soon();
        errno = 0;
        long result = call();
        say("%s%s: %ld %s, %d", name, flags != 0 ? " (SA_RESTART)" : "", result, errname(errno), count);
        pthread_join(t, NULL);
    }
}

static long do_nanosleep(void)
{
    struct timespec t = {.tv_sec = LONG_S}, left = {0};
    long r = nanosleep(&t, &left);
    if (r != 0 && (left.tv_nsec <= 0 || left.tv_sec >= LONG_S))
        say("wrong time left");
    return r;
}

static long do_poll(void)
{
    struct pollfd p = {.fd = fds[0], .events = POLLIN};
    return poll(&p, 1, LONG_S * 1000);
}

static long do_ppoll(void)
{
    struct pollfd p = {.fd = fds[0], .events = POLLIN};
    struct timespec t = {.tv_sec = LONG_S};
    return ppoll(&p, 1, &t, NULL);
}

static long do_select(void)
{
    struct timeval t = {.tv_sec = LONG_S};
    return select(0, NULL, NULL, NULL, &t);
}

static long do_epoll(void)
{
    struct epoll_event e;
    int ep = epoll_create1(0);
    long r = epoll_wait(ep, &e, 1, LONG_S * 1000);
    close(ep);
    return r;
}

static long do_futex(void)
{
    static int word;
    struct timespec t = {.tv_sec = LONG_S};
    return syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 0, &t, NULL, 0);
}

static long do_futex_until(void)
{
    static int word;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LONG_S;
    return syscall(SYS_futex, &word, 9 /* FUTEX_WAIT_BITSET */, 0, &until, NULL, ~0);
}

static long do_sigtimedwait(void)
{
    sigset_t set;
    struct timespec t = {.tv_nsec = 900000000}; /* all of it with musl, which does not tell of EINTR */
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigtimedwait(&set, NULL, &t);
}

CASE(sleeps_interrupted)
{
    if (pipe(fds) != 0)
        say("no pipe");
    interrupted("nanosleep", do_nanosleep);
    interrupted("poll", do_poll);
    interrupted("ppoll", do_ppoll);
    interrupted("select", do_select);
    interrupted("epoll_wait", do_epoll);
    interrupted("futex wait, relative", do_futex);
    interrupted("futex wait, absolute", do_futex_until);
    interrupted("sigtimedwait", do_sigtimedwait);
}

CASE(ppoll_mask)
{
    sigset_t set, empty;
    struct pollfd p = {.fd = 0, .events = 0};
    struct timespec t = {.tv_sec = 5};
    count = 0;
    handle(SIGUSR1, counting, 0);
    sigemptyset(&empty);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    send_thread(SIGUSR1);
    VALUE(count);
    VALUE(ppoll(&p, 0, &t, &empty)); /* the signal waits already */
    VALUE(count);
}

/* ---- other threads ---- */

static volatile int ready, target_tid;
static volatile pthread_t handled_by;

static void note_thread(int sig)
{
    handled_by = pthread_self();
    count++;
}

static void *sleeper(void *unused)
{
    target_tid = own_tid();
    ready = 1;
    while (ready != 2)
        sleep_ms(5);
    return unused;
}

CASE(signal_to_other_thread)
{
    count = ready = 0;
    handle(SIGUSR1, note_thread, 0);
    pthread_t t = start(sleeper, NULL);
    CHECK(wait_for(&ready, 1));
    ERROR(pthread_kill(t, SIGUSR1));
    CHECK(wait_for(&count, 1));
    CHECK(pthread_equal(handled_by, t));
    ready = 2;
    pthread_join(t, NULL);
    VALUE(syscall(SYS_tgkill, getpid(), target_tid, SIGUSR1)); /* it is gone */
}

static void *spinner(void *unused)
{
    target_tid = own_tid();
    ready = 1;
    while (count == 0) /* no system call in here: the signal must interrupt the program itself */
        ;
    ready = 2;
    return unused;
}

CASE(signal_to_spinning_thread)
{
    count = ready = 0;
    handle(SIGUSR1, note_thread, 0);
    pthread_t t = start(spinner, NULL);
    CHECK(wait_for(&ready, 1));
    ERROR(pthread_kill(t, SIGUSR1));
    CHECK(wait_for(&ready, 2));
    pthread_join(t, NULL);
    CHECK(pthread_equal(handled_by, t));
}

CASE(process_signal_finds_unblocked_thread)
{
    sigset_t set;
    count = ready = 0;
    handle(SIGUSR2, note_thread, 0);
    pthread_t t = start(sleeper, NULL);
    CHECK(wait_for(&ready, 1));
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    OK(kill(getpid(), SIGUSR2));
    CHECK(wait_for(&count, 1));
    CHECK(!pthread_equal(handled_by, pthread_self()));
    ready = 2;
    pthread_join(t, NULL);
}

CASE(signal_descriptor)
{
    sigset_t set;
    struct signalfd_siginfo info;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int fd = OK(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    VALUE(read(fd, &info, sizeof(info)));
    send_thread(SIGUSR1);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    VALUE(poll(&p, 1, 1000));
    VALUE(read(fd, &info, sizeof(info)));
    CHECK(info.ssi_signo == SIGUSR1 && info.ssi_code == SI_TKILL);
}

static void *many_sender(void *t)
{
    for (int i = 0; i < 500; i++)
        pthread_kill(*(pthread_t *)t, SIGUSR1);
    return NULL;
}

CASE(signal_storm)
{
    pthread_t self = pthread_self(), t[3];
    volatile double sum = 0;
    count = 0;
    handle(SIGUSR1, counting, SA_RESTART);
    for (int i = 0; i < 3; i++)
        t[i] = start(many_sender, &self);
    for (int i = 1; i < 2000000; i++)
        sum = sum + 1.0 / i;
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    CHECK(count > 0 && count <= 1500);
    CHECK(sum > 15.08587 && sum < 15.08588); /* the handler did not disturb the sum: H(1999999) */
}
