/* Random system calls with hostile arguments: the kernel must neither panic nor hang, and go on working.
 *
 * Environment: RANDOM_SEED (printed at the start, so that a run can be repeated), RANDOM_CALLS. Moka only: on
 * a real Linux as root this program would do harm.
 */
#include "abi.h"

#include <sys/ioctl.h>
#include <sys/prctl.h>

enum { THREADS = 4, ARENA = 1 << 20 };

/* Calls that end or stop the program by design, or that say nothing about robustness when they do. */
static const int kept_out[] = {
    SYS_exit,
    SYS_exit_group,
    SYS_reboot,
    SYS_kill,
    SYS_tkill,
    SYS_tgkill,
    SYS_pause,
    SYS_rt_sigsuspend,
    SYS_rt_sigreturn,
    SYS_rt_sigtimedwait,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_execve,
    SYS_execveat,
    SYS_clone,
    SYS_clone3,
    SYS_fork,
    SYS_vfork,
    SYS_arch_prctl,
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_wait4,
    SYS_waitid,
    SYS_alarm,
    SYS_setitimer,
    SYS_timer_settime,
    SYS_timer_create,
    SYS_sigaltstack,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rseq,
    SYS_sched_setaffinity,
    SYS_setrlimit,
    SYS_prlimit64,
    SYS_close_range,
    SYS_pidfd_send_signal,
    SYS_mlockall,
    SYS_setpriority,
    SYS_chroot,
    SYS_brk,
    SYS_sched_setscheduler,
    SYS_sched_setattr,
    SYS_sched_setparam,
};

/* Calls that sleep when told to: given only small or bad times (see time_argument). */
static bool is_kept_out(int nr)
{
    for (size_t i = 0; i < sizeof(kept_out) / sizeof(kept_out[0]); i++)
        if (kept_out[i] == nr)
            return true;
    return false;
}

struct source {
    uint64_t state;
    char *arena; /* memory that the calls may write to, and unmap */
    long calls;
    volatile long done;
    volatile int last; /* the call being made */
    volatile pid_t tid;
};

static uint64_t
next(struct source *s) /* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift" */
{
    s->state ^= s->state >> 12;
    s->state ^= s->state << 25;
    s->state ^= s->state >> 27;
    return s->state * 0x2545f4914f6cdd1dUL;
}

static long hostile_pointer(struct source *s)
{
    static const uint64_t bad[] = {0,
                                   1,
                                   8,
                                   0xfff,
                                   0x1000,
                                   0x7ffffffff000,
                                   0x7fffffffffff,
                                   0x800000000000,
                                   0x8000000000000000,
                                   0xffff800000000000,
                                   0xffff888000000000,
                                   0xffffffff80000000,
                                   0xffffffffff600000,
                                   0xfffffffffffff000,
                                   0xffffffffffffffff};
    return bad[next(s) % (sizeof(bad) / sizeof(bad[0]))];
}

static long argument(struct source *s)
{
    uint64_t r = next(s);
    switch (r % 10) {
    case 0:
    case 1:
    case 2: /* the arena, aligned or not, near its end too */
        return (long)(s->arena + (r >> 8) % ARENA);
    case 3:
        return (long)(s->arena + ARENA - (r >> 8) % 16);
    case 4:
        return hostile_pointer(s);
    case 5: /* small: a descriptor, a flag, a length; the standard ones are not for it */
        return 3 + (r >> 8) % 60;
    case 6:
        return 1L << (r >> 8) % 64;
    case 7: /* negative: a small positive one may be an address of this program */
        return (int32_t)(r >> 8) | INT32_MIN;
    case 8:
        return 0;
    default:
        return (long)next(s);
    }
}

/* A pointer to a time that is short, or wrong, but never long. */
static long time_argument(struct source *s)
{
    static const struct timespec times[] = {{0, 0}, {0, 1}, {0, 1000}, {0, 1000000000}, {-1, 0}, {0, -1}};
    uint64_t r = next(s);
    if (r % 8 == 0)
        return hostile_pointer(s) == 0 ? 8 : hostile_pointer(s) | 0x8000000000000000;
    return (long)&times[(r >> 8) % 6];
}

static bool standard(long fd)
{
    return (unsigned)(int)fd < 3;
}

/* Makes the call harmless to the test itself: sleeps short, standard descriptors and the own code left alone.
 */
static bool tame(struct source *s, int nr, long *a)
{
    switch (nr) {
    case SYS_nanosleep:
        a[0] = time_argument(s);
        a[1] = 0;
        return true;
    case SYS_clock_nanosleep:
        a[1] = 0;
        a[2] = time_argument(s);
        a[3] = 0;
        return true;
    case SYS_futex:
        a[3] = time_argument(s);
        return (a[1] & 127) != 6 && (a[1] & 127) != 13; /* LOCK_PI: its time is absolute */
    case SYS_poll:
        a[1] &= 0xff;
        a[2] = (int)a[2] % 3 < 0 ? 0 : (int)a[2] % 3;
        return true;
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
        a[3] = next(s) % 3;
        return true;
    case SYS_ppoll:
        a[1] &= 0xff;
        a[2] = time_argument(s);
        return true;
    case SYS_epoll_pwait2:
        a[3] = time_argument(s);
        return true;
    case SYS_select: { /* a million microseconds and more count as seconds there */
        static const struct timeval times[] = {{0, 0}, {0, 1}, {0, 1000}, {-1, 0}, {0, -1}};
        a[4] = (long)&times[next(s) % 5];
        return true;
    }
    case SYS_pselect6:
        a[4] = time_argument(s);
        return true;
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mremap:
    case SYS_madvise:
    case SYS_mmap:
    case SYS_remap_file_pages:
    case SYS_pkey_mprotect:
    case SYS_process_madvise:
        /* Within the arena, or where nothing of the program lies; never the program itself. */
        if (next(s) % 4 != 0) {
            a[0] = (long)(s->arena + next(s) % ARENA / PAGE * PAGE);
            a[1] = next(s) % (s->arena + ARENA - (char *)a[0]);
            if (nr == SYS_mremap)
                a[2] = next(s) % (4 * PAGE), a[3] = next(s) % 2;
            return true;
        }
        a[0] = hostile_pointer(s) | (1L << 63);
        if (nr == SYS_mmap) {
            a[0] = 0;
            a[1] &= 0xffffff;
            a[3] &= ~(MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_POPULATE | MAP_LOCKED | MAP_32BIT);
        }
        if (nr == SYS_mremap)
            a[3] &= ~MREMAP_FIXED;
        return true;
    case SYS_close:
    case SYS_dup2:
    case SYS_dup3:
    case SYS_shutdown:
    case SYS_ftruncate:
        return !standard(a[0]) && !standard(a[1]);
    case SYS_read:
    case SYS_readv:
    case SYS_pread64:
    case SYS_write:
    case SYS_writev:
    case SYS_sendfile:
    case SYS_splice:
    case SYS_tee:
    case SYS_vmsplice:
    case SYS_ioctl:
    case SYS_pwritev:
    case SYS_pwritev2:
    case SYS_preadv2:
    case SYS_copy_file_range:
        return !standard(a[0]) && !standard(a[1]) && !standard(a[2]);
    case SYS_fcntl:
        return !standard(a[0]) && a[1] != F_SETOWN && a[1] != F_SETSIG;
    case SYS_flock: /* waits for others by design */
        a[1] |= 4;
        return true;
    case SYS_prctl:
        return a[0] != PR_SET_SECCOMP;
    }
    return true;
}

/* The arena is what the calls damage: mend it now and then. */
static void mend(struct source *s)
{
    void *p = mmap(s->arena, ARENA, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; p == s->arena && i < ARENA; i += 512)
        *(uint64_t *)(s->arena + i) = next(s) >> next(s) % 64;
}

/* Between guard zones wider than any one call copies (2 GiB), so that a length that is too long harms
 * nothing. */
static char *guarded_arena(void)
{
    char *p = mmap(NULL, 8 * GB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p + 4 * GB;
}

static void wake_up(int sig)
{
}

static void *caller(void *arg)
{
    struct source *s = arg;
    s->tid = syscall(SYS_gettid);
    static const char *const names[] = {"f", "/proc/self/maps", "/dev/zero", ".", "/dev/null", "d/e", "l"};
    for (long i = 0; i < s->calls; i++) {
        long a[6];
        int nr = next(s) % 16 == 0 ? (int)(next(s) % 600) : (int)(next(s) % 340);
        if (next(s) % 64 == 0)
            nr = (int)next(s);
        if (i % 256 == 0)
            mend(s);
        if (i % 64 == 0) { /* something open to be cruel to */
            int fd = open(names[next(s) % 7], O_RDWR | O_CREAT | O_NONBLOCK, 0644);
            if (fd > 60)
                for (int old = 3; old <= fd; old++)
                    close(old);
        }
        for (int j = 0; j < 6; j++)
            a[j] = argument(s);
        if (is_kept_out(nr) || !tame(s, nr, a)) {
            s->done++;
            continue;
        }
        s->last = nr;
        syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
        s->done++;
    }
    return NULL;
}

static long number_from(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtol(text, NULL, 0) : otherwise;
}

/* A call may well wait for ever (an empty pipe). A signal must end that; a thread that does not go on then
 * hangs. */
static void watch(struct source *sources)
{
    long before[THREADS] = {0};
    int still[THREADS] = {0};
    for (int unfinished = THREADS; unfinished > 0;) {
        syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = 50000000}, NULL);
        unfinished = 0;
        for (int i = 0; i < THREADS; i++) {
            struct source *s = &sources[i];
            if (s->done >= s->calls)
                continue;
            unfinished++;
            still[i] = s->done == before[i] ? still[i] + 1 : 0;
            before[i] = s->done;
            if (still[i] > 2)
                syscall(SYS_tgkill, getpid(), s->tid, SIGUSR1);
            if (still[i] > 400) {
                say("hang: thread %d in call %d after %ld", i, s->last, s->done);
                _exit(1);
            }
        }
    }
}

CASE_MOKA(random_calls)
{
    static struct source sources[THREADS];
    pthread_t t[THREADS];
    uint64_t seed = number_from("RANDOM_SEED", 0);
    long calls = number_from("RANDOM_CALLS", 20000);
    while (seed == 0)
        syscall(SYS_getrandom, &seed, 6, 0);
    struct sigaction action = {.sa_handler = wake_up};
    sigaction(SIGUSR1, &action, NULL);
    /* Pipes and sockets whose other end is closed are among what the calls make: a write to one ends a
     * program that does not ignore this signal, by design (pipe(7)). */
    signal(SIGPIPE, SIG_IGN);
    say("seed %#lx calls %ld", seed, calls);
    for (int i = 0; i < THREADS; i++) {
        sources[i] = (struct source){.state = seed + i * 0x9e3779b97f4a7c15UL, .calls = calls / THREADS};
        sources[i].arena = guarded_arena();
        t[i] = start(caller, &sources[i]);
    }
    watch(sources);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    CHECK(getpid() > 0);
    say("ok");
}

/* Not random at all, but on Linux as harmful. */
CASE_MOKA(touches_all_memory)
{
    for (;;) {
        char *p = anonymous(MB);
        for (size_t i = 0; p != NULL && i < MB; i += PAGE)
            p[i] = 1;
    }
}
