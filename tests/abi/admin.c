/* Credentials and administration: what one process of the superuser may ask about itself, and the errors of
 * calls that change a whole machine. Nothing here changes the host: each call asks for what is so already, or
 * is refused. */
#include "abi.h"

#include <sys/fsuid.h>
#include <sys/timex.h>

CASE(credentials_kept)
{
    OK(setreuid(-1, -1));
    OK(setregid(-1, -1));
    OK(setresuid(-1, -1, -1));
    OK(setresgid(-1, -1, -1));
    OK(setreuid(getuid(), geteuid()));
    OK(setregid(getgid(), getegid()));
    OK(setresuid(getuid(), -1, geteuid()));
    OK(setresgid(getgid(), -1, getegid()));
    gid_t r, e, s;
    OK(getresgid(&r, &e, &s));
    CHECK(r == getgid() && e == getegid() && s == getegid());
    OK(syscall(SYS_getresgid, 8, &e, &s));
    OK(syscall(SYS_getresuid, &r, 8, &s));
    CHECK(setfsuid(-1) == (int)geteuid() && setfsgid(-1) == (int)getegid());
    CHECK(setfsuid(geteuid()) == (int)geteuid() && setfsgid(getegid()) == (int)getegid());
}

CASE(supplementary_groups)
{
    gid_t groups[64];
    int n = getgroups(64, groups);
    CHECK(n >= 0 && n == getgroups(0, NULL));
    VALUE(getgroups(-1, groups));
}

CASE(groups_of_processes)
{
    VALUE(setpgid(0, -1));
    VALUE(setpgid(999999, 0));
    VALUE(getpgid(999999));
    VALUE(getsid(999999));
}

struct cap_header {
    uint32_t version;
    int pid;
};
struct cap_words {
    uint32_t effective, permitted, inheritable;
};

CASE(capabilities)
{
    struct cap_header h = {0x20080522, 0};
    struct cap_words got[2] = {{0}}, more[2];
    OK(syscall(SYS_capget, &h, got));
    CHECK((got[0].effective & ~got[0].permitted) == 0);
    OK(syscall(SYS_capset, &h, got)); /* the same again */
    memcpy(more, got, sizeof(more));
    more[1].permitted |= 1u << 31; /* no such capability, or not ours */
    more[1].effective |= 1u << 30;
    h.version = 1;
    OK(syscall(SYS_capget, &h, NULL)); /* asks for the version */
    CHECK(h.version == 0x20080522);
    h.version = 1;
    OK(syscall(SYS_capget, &h, got));
    h.version = 1;
    OK(syscall(SYS_capset, &h, got));
    h = (struct cap_header){0x20080522, 999999};
    OK(syscall(SYS_capget, &h, got));
    h.pid = -1;
    OK(syscall(SYS_capget, &h, got));
    h.pid = 0;
    OK(syscall(SYS_capget, 8, got));
    OK(syscall(SYS_capget, &h, 8));
    OK(syscall(SYS_capset, &h, 8));
    h = (struct cap_header){0x19980330, 0};
    OK(syscall(SYS_capget, &h, got));
}

CASE(clock_settings_refused)
{
    struct timeval tv = {0, 2000000};
    struct timespec ts = {0, 2000000000};
    OK(syscall(SYS_settimeofday, NULL, NULL));
    OK(syscall(SYS_settimeofday, &tv, NULL));
    OK(syscall(SYS_settimeofday, 8, NULL));
    OK(syscall(SYS_clock_settime, CLOCK_REALTIME, &ts));
    OK(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &ts));
    OK(syscall(SYS_clock_settime, 77, &ts));
    OK(syscall(SYS_clock_settime, CLOCK_REALTIME, 8));
}

CASE(clock_discipline_read)
{
    struct timex t = {.modes = 0};
    CHECK(adjtimex(&t) >= 0 && t.tick > 0);
    VALUE(syscall(SYS_adjtimex, 8));
    memset(&t, 0, sizeof(t));
    CHECK(clock_adjtime(CLOCK_REALTIME, &t) >= 0 && t.tick > 0);
    VALUE(syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, &t));
    VALUE(syscall(SYS_clock_adjtime, 77, &t));
    VALUE(syscall(SYS_clock_adjtime, CLOCK_REALTIME, 8));
}

CASE(whole_machine)
{
    char name[100] = "x";
    OK(syscall(SYS_sethostname, name, 65));
    OK(syscall(SYS_setdomainname, name, 65));
    OK(syscall(SYS_swapoff, 8));
    OK(syscall(SYS_swapon, 8, 0));
    OK(syscall(SYS_acct, 8));
    OK(syscall(SYS_unshare, 1));
    OK(syscall(SYS_setns, -1, 0));
    OK(syscall(SYS_chroot, 8));
    OK(syscall(SYS_umount2, 8, 0));
    OK(syscall(SYS_pivot_root, 8, 8));
    OK(syscall(SYS_reboot, 1, 2, 3, NULL));
    OK(syscall(SYS_setgroups, 70000, NULL));
    OK(syscall(SYS_syslog, 99, NULL, 0));
    OK(syscall(SYS_unshare, 0));
}

CASE(pending_and_restart)
{
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR2);
    OK(syscall(SYS_rt_sigpending, &pending, 8));
    CHECK(sigismember(&pending, SIGUSR2) == 1 && sigismember(&pending, SIGUSR1) == 0);
    VALUE(syscall(SYS_rt_sigpending, &pending, 16));
    VALUE(syscall(SYS_rt_sigpending, 8, 8));
    signal(SIGUSR2, SIG_IGN);
    OK(syscall(SYS_rt_sigpending, &pending, 8));
    CHECK(sigismember(&pending, SIGUSR2) == 0);
    VALUE(syscall(SYS_restart_syscall));
}

CASE(timer_asked)
{
    timer_t t;
    struct itimerspec its = {{0, 0}, {100, 0}}, left;
    struct sigevent none = {.sigev_notify = SIGEV_NONE};
    OK(timer_create(CLOCK_MONOTONIC, &none, &t));
    OK(timer_gettime(t, &left));
    CHECK(left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
    OK(timer_settime(t, 0, &its, NULL));
    OK(timer_gettime(t, &left));
    CHECK(left.it_value.tv_sec == 99 || left.it_value.tv_sec == 100);
    VALUE(syscall(SYS_timer_gettime, 99, &left));
    OK(timer_delete(t));
}
