/* The driver: lists cases, runs them, keeps one from spoiling the next. */
#include "abi.h"

#include <dirent.h>
#include <fnmatch.h>
#include <sys/resource.h>

enum { HANG_SECONDS = 180, FIRST_FREE_FD = 3, LAST_FD = 256, STATUS_HANG = 99 };

static struct abi_case *cases;
static struct abi_case *volatile running;
static volatile int progress; /* counts the cases begun, and more: what the watchdog looks at */
static char home[256];

void abi_register(struct abi_case *c)
{
    struct abi_case **at = &cases;
    while (*at != NULL && strcmp((*at)->name, c->name) < 0)
        at = &(*at)->next;
    c->next = *at;
    *at = c;
}

const char *abi_running(void)
{
    return running != NULL ? running->name : "abi";
}

void abi_alive(void)
{
    __atomic_add_fetch(&progress, 1, __ATOMIC_SEQ_CST);
}

static void *watchdog(void *unused)
{
    int seen = progress;
    for (int seconds = 0;; seconds++) {
        sleep_ms(1000);
        if (seen != progress) {
            seen = progress;
            seconds = 0;
        }
        if (seconds >= HANG_SECONDS) {
            say("hang");
            _exit(STATUS_HANG);
        }
    }
    return unused;
}

/* ---- what a case may change and the driver puts back ---- */

static struct sigaction actions[NSIG];
static struct rlimit file_limit;

static void save_process(void)
{
    for (int s = 1; s < NSIG; s++)
        sigaction(s, NULL, &actions[s]);
    getrlimit(RLIMIT_NOFILE, &file_limit);
}

/* The driver's own threads take no signals, so that those sent to the process go to the case. */
static void set_mask(bool blocked)
{
    sigset_t set;
    if (blocked)
        sigfillset(&set);
    else
        sigemptyset(&set);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static void restore_process(void)
{
    struct itimerval off = {0};
    setitimer(ITIMER_REAL, &off, NULL);
    alarm(0);
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &actions[s], NULL);
    setrlimit(RLIMIT_NOFILE, &file_limit);
    for (int fd = FIRST_FREE_FD; fd < LAST_FD; fd++)
        close(fd);
    umask(022);
    if (chdir(home) != 0)
        say("cannot return to %s", home);
}

static void remove_tree(const char *dir)
{
    char path[512];
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        if (unlink(path) != 0)
            remove_tree(path);
    }
    closedir(d);
    rmdir(dir);
}

/* ---- one case ---- */

static sigjmp_buf after_crash;
static pthread_t case_thread;

static void on_crash(int sig, siginfo_t *info, void *context)
{
    say("crash: %s code %d%s", signame(sig), info->si_code,
        pthread_equal(pthread_self(), case_thread) ? "" : " in another thread");
    if (!pthread_equal(pthread_self(), case_thread))
        _exit(STATUS_HANG);
    siglongjmp(after_crash, 1);
}

static void catch_crashes(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_NODEFER};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &action, NULL);
}

/* In a thread of its own: a case that changes its thread (name, mask, affinity, stack) takes that along when
 * it ends. */
static void *run_in_thread(void *arg)
{
    struct abi_case *c = arg;
    case_thread = pthread_self();
    set_mask(false);
    if (sigsetjmp(after_crash, 1) == 0)
        c->run();
    return NULL;
}

static void run(struct abi_case *c)
{
    char dir[300];
    running = c;
    __atomic_add_fetch(&progress, 1, __ATOMIC_SEQ_CST);
    snprintf(dir, sizeof(dir), "%s/%s", home, c->name);
    remove_tree(dir);
    if (mkdir(dir, 0755) != 0 || chdir(dir) != 0)
        say("no directory to work in: %s", errname(errno));
    if (c->kind == ABI_ENDS) { /* on the main thread, with the process as it was given */
        set_mask(false);
        c->run();
    } else {
        catch_crashes();
        pthread_join(start(run_in_thread, c), NULL);
        restore_process();
    }
    remove_tree(dir);
    say("end");
    running = NULL;
}

static bool wanted(const struct abi_case *c, char **patterns)
{
    if (*patterns == NULL)
        return c->kind == ABI_SHARED;
    for (; *patterns != NULL; patterns++)
        if (fnmatch(*patterns, c->name, 0) == 0)
            return true;
    return false;
}

/* abi list            prints every case with its kind
 * abi PATTERN...      runs the cases whose names match; without a pattern, all that share a process
 * abi --after NAME    as without a pattern, but only those that sort after NAME */
int main(int argc, char **argv)
{
    static const char *const kinds[] = {"shared", "ends", "moka"};
    const char *after = argc == 3 && strcmp(argv[1], "--after") == 0 ? argv[2] : NULL;
    char **patterns = after != NULL ? argv + 3 : argv + 1;

    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (struct abi_case *c = cases; c != NULL; c = c->next)
            printf("%s %s\n", c->name, kinds[c->kind]);
        return 0;
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    snprintf(home, sizeof(home), "%s", getenv("ABI_DIR") != NULL ? getenv("ABI_DIR") : "/tmp");
    save_process();
    umask(022);
    set_mask(true);
    start(watchdog, NULL);
    for (struct abi_case *c = cases; c != NULL; c = c->next)
        if (wanted(c, patterns) && (after == NULL || strcmp(c->name, after) > 0))
            run(c);
    return 0;
}
