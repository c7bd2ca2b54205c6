/* The process and the machine: identity, limits, information, /proc and /sys. Facts about values, not values.
 */
#include "abi.h"

#include <ctype.h>
#include <dirent.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

extern char **environ;

CASE(uname_call)
{
    struct utsname u;
    OK(uname(&u));
    say("%s %s", u.sysname, u.machine);
    CHECK(u.nodename[0] != 0 && isdigit(u.release[0]) && u.version[0] != 0);
    CHECK(atoi(u.release) >= 4); /* programs look here for what the kernel can do */
}

CASE(identity)
{
    CHECK(getpid() > 0 && getppid() >= 0);
    CHECK(getuid() == geteuid() && getgid() == getegid());
    uid_t r, e, s;
    OK(getresuid(&r, &e, &s));
    CHECK(r == getuid() && e == r && s == r);
    CHECK(getgroups(0, NULL) >= 0);
    CHECK(getpgrp() >= 0 && getsid(0) >= 0);
    VALUE(getpgid(999999));
    OK(setuid(getuid()));
    OK(setgid(getgid()));
}

CASE(memory_facts)
{
    struct sysinfo s;
    OK(sysinfo(&s));
    CHECK(s.totalram * s.mem_unit > 16 * MB && s.freeram <= s.totalram && s.procs > 0);
    VALUE(syscall(SYS_sysinfo, 8));
    CHECK(sysconf(_SC_PHYS_PAGES) > 4096 && sysconf(_SC_AVPHYS_PAGES) > 100);
    CHECK(sysconf(_SC_NPROCESSORS_CONF) >= sysconf(_SC_NPROCESSORS_ONLN) &&
          sysconf(_SC_NPROCESSORS_ONLN) >= 1);
    VALUE(sysconf(_SC_PAGESIZE));
    VALUE(sysconf(_SC_CLK_TCK));
}

CASE(limits)
{
    static const int all[] = {RLIMIT_CPU,     RLIMIT_FSIZE, RLIMIT_DATA,      RLIMIT_STACK,
                              RLIMIT_CORE,    RLIMIT_RSS,   RLIMIT_NPROC,     RLIMIT_NOFILE,
                              RLIMIT_MEMLOCK, RLIMIT_AS,    RLIMIT_SIGPENDING};
    struct rlimit l, old;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (getrlimit(all[i], &l) != 0 || l.rlim_cur > l.rlim_max)
            say("limit %d is wrong", all[i]);
    VALUE(syscall(SYS_getrlimit, 99, &l));
    getrlimit(RLIMIT_NOFILE, &old);
    l = (struct rlimit){.rlim_cur = 100, .rlim_max = old.rlim_max};
    OK(setrlimit(RLIMIT_NOFILE, &l));
    OK(getrlimit(RLIMIT_NOFILE, &l));
    VALUE(l.rlim_cur);
    l.rlim_cur = l.rlim_max + 1;
    if (old.rlim_max != RLIM_INFINITY)
        VALUE(setrlimit(RLIMIT_NOFILE, &l));
    OK(setrlimit(RLIMIT_NOFILE, &old));
    VALUE(syscall(SYS_prlimit64, 999999, RLIMIT_NOFILE, NULL, &l));
    VALUE(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 8, NULL));
    getrlimit(RLIMIT_STACK, &l);
    CHECK(l.rlim_cur >= MB);
}

CASE(random_bytes)
{
    char a[64] = "", b[64] = "";
    VALUE(syscall(SYS_getrandom, a, 64, 0));
    VALUE(syscall(SYS_getrandom, b, 64, 1 /* GRND_NONBLOCK */));
    CHECK(memcmp(a, b, 64) != 0);
    VALUE(syscall(SYS_getrandom, a, 0, 0));
    VALUE(syscall(SYS_getrandom, a, 64, 0x80));
    VALUE(syscall(SYS_getrandom, 8, 64, 0));
    char *big = malloc(100000);
    VALUE(syscall(SYS_getrandom, big, 100000, 0));
    free(big);
}

CASE(controls_of_the_process)
{
    int value = -1;
    VALUE(prctl(PR_GET_DUMPABLE));
    OK(prctl(PR_SET_DUMPABLE, 1));
    OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    VALUE(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    OK(prctl(PR_SET_PDEATHSIG, 0));
    OK(prctl(PR_GET_PDEATHSIG, &value));
    VALUE(value);
    OK(prctl(PR_SET_TIMERSLACK, 50000));
    CHECK(prctl(PR_GET_TIMERSLACK) > 0);
    OK(syscall(SYS_personality, 0xffffffff));
    CHECK((syscall(SYS_personality, 0xffffffff) & 0xff) == 0);
    unsigned long fs = 0;
    OK(syscall(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, &fs));
    CHECK(fs == *(unsigned long *)fs); /* the thread pointer points to itself */
    VALUE(syscall(SYS_arch_prctl, 0x7777, &fs));
    VALUE(syscall(SYS_arch_prctl, 0x1002 /* ARCH_SET_FS */, 0xffffffff80000000UL));
}

CASE(unknown_calls)
{
    static const int numbers[] = {500, 999, 1023, 4095, 100000, 400};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        errno = 0;
        long r = syscall(numbers[i], 1, 2, 3, 4, 5, 6);
        say("%d: %ld %s", numbers[i], r, errname(errno));
    }
    VALUE(syscall(SYS_uselib, 0));
    VALUE(syscall(SYS_create_module, 0));
    VALUE(syscall(SYS_getpmsg, 0));
    VALUE(syscall(SYS_tuxcall, 0));
    VALUE(syscall(SYS_vserver, 0));
}

CASE(registers_across_calls)
{
    uint64_t rbx = 0x1111, r12 = 0x2222, rdi = 0, r10 = 0, r8 = 0, rdx = 0, result;
    __asm__ volatile(
        "mov $0x1111, %%ebx\n\tmov $0x2222, %%r12d\n\tmov $0x33, %%edi\n\tmov $0x44, %%edx\n\t"
        "mov $0x55, %%r10d\n\tmov $0x66, %%r8d\n\tmov $39, %%eax\n\tstd\n\tcld\n\tsyscall\n\t"
        "mov %%rbx, %1\n\tmov %%r12, %2\n\tmov %%rdi, %3\n\tmov %%rdx, %4\n\tmov %%r10, %5\n\tmov %%r8, %6"
        : "=a"(result), "=m"(rbx), "=m"(r12), "=m"(rdi), "=m"(rdx), "=m"(r10), "=m"(r8)
        :
        : "rbx", "rcx", "r8", "r10", "r11", "r12", "rdx", "rdi", "memory");
    CHECK(result == getpid());
    say("%lx %lx %lx %lx %lx %lx", rbx, r12, rdi, rdx, r10, r8);
}

static bool reads_fs_base(void)
{
    uintptr_t base, self;
    __asm__ volatile("rdfsbase %0\n\tmov %%fs:0, %1" : "=r"(base), "=r"(self));
    return base == self;
}

CASE(auxiliary_vector)
{
    CHECK(getauxval(AT_PAGESZ) == 4096);
    CHECK(getauxval(AT_PHDR) != 0 && getauxval(AT_PHNUM) > 0 && getauxval(AT_ENTRY) != 0);
    CHECK(getauxval(AT_CLKTCK) == 100 && getauxval(AT_SECURE) == 0);
    CHECK(getauxval(AT_RANDOM) != 0 && getauxval(AT_EXECFN) != 0 && getauxval(AT_HWCAP) != 0);
    CHECK(strcmp((char *)getauxval(AT_PLATFORM), "x86_64") == 0);
    CHECK(!(getauxval(AT_HWCAP2) & 2) || reads_fs_base());
    unsigned char *random = (unsigned char *)getauxval(AT_RANDOM);
    int zero = 0;
    for (int i = 0; i < 16; i++)
        zero += random[i] == 0;
    CHECK(zero < 8);
    CHECK(getauxval(AT_UID) == getuid());
    CHECK(memcmp((void *)getauxval(AT_SYSINFO_EHDR), "\177ELF", 4) == 0);
}

CASE(restartable_sequences)
{
    /* glibc 2.35 and later registers each thread; a second registration of the same thread fails. */
    static char area[32] __attribute__((aligned(32)));
    errno = 0;
    long r = syscall(SYS_rseq, area, 32, 0, 0x53053053);
    CHECK(r == 0 || errno == EINVAL || errno == EBUSY || errno == ENOSYS);
    if (r == 0)
        syscall(SYS_rseq, area, 32, 1, 0x53053053);
}

/* ---- /proc ---- */

static char text[1 << 20];

static bool has_line(const char *start)
{
    size_t n = strlen(start);
    for (const char *p = text; p != NULL; p = strchr(p, '\n'), p = p != NULL ? p + 1 : NULL)
        if (strncmp(p, start, n) == 0)
            return true;
    return false;
}

static void show_lines(const char *path, const char *const *lines)
{
    long n = slurp(path, text, sizeof(text));
    say("%s: %s", path, n > 0 ? "there" : n == 0 ? "empty" : errname(errno));
    for (; *lines != NULL; lines++)
        say("%s %s: %s", path, *lines, has_line(*lines) ? "yes" : "no");
}

CASE(proc_self_maps)
{
    unsigned long low, high, last = 0;
    char prot[8], *p;
    int wrong = 0, found = 0;
    char *mine = mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(mine + PAGE, PAGE, PROT_READ | PROT_WRITE);
    VALUE(slurp("/proc/self/maps", text, sizeof(text)) > 100);
    for (p = text; p != NULL && *p != 0; p = strchr(p, '\n'), p = p != NULL ? p + 1 : NULL) {
        if (sscanf(p, "%lx-%lx %7s", &low, &high, prot) != 3 || low >= high || low < last ||
            strlen(prot) != 4)
            wrong++;
        last = high;
        if (low == (unsigned long)mine + PAGE && high == low + PAGE && strcmp(prot, "rw-p") == 0)
            found++;
    }
    VALUE(wrong);
    VALUE(found);
    CHECK(strstr(text, "abi") != NULL);     /* the program's own file */
    CHECK(strstr(text, "[stack]") != NULL); /* HotSpot finds the primordial stack by this */
    CHECK(strstr(text, "r-xp") != NULL);
    munmap(mine, 3 * PAGE);
    VALUE(slurp("/proc/self/smaps", text, sizeof(text)) > 100);
}

/* A field of /proc/self/status, in KiB. */
static long status_kib(const char *name)
{
    slurp("/proc/self/status", text, sizeof(text));
    const char *line = strstr(text, name);
    return line != NULL ? atol(line + strlen(name)) : -1;
}

/* What was resident counts after it is gone. */
CASE(most_memory)
{
    enum { MANY = 48 << 20 };
    struct rusage u;
    char *p = mmap(NULL, MANY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 1, MANY);
    CHECK(status_kib("VmRSS:") >= MANY >> 10);
    OK(munmap(p, MANY));
    CHECK(status_kib("VmHWM:") >= status_kib("VmRSS:") + (MANY >> 10) - 4096);
    OK(getrusage(RUSAGE_SELF, &u));
    CHECK(u.ru_maxrss >= MANY >> 10);
}

CASE(proc_self)
{
    char path[512], link[512] = "";
    show_lines("/proc/self/status",
               (const char *const[]){"Name:", "Pid:", "PPid:", "Threads:", "VmSize:", "VmRSS:", "VmPeak:",
                                     "VmHWM:", "Cpus_allowed:", "SigBlk:", "SigCgt:", NULL});
    show_lines("/proc/self/limits", (const char *const[]){"Limit", "Max open files", "Max stack size", NULL});
    int n = slurp("/proc/self/stat", text, sizeof(text));
    int fields = 0;
    char *after = strrchr(text, ')');
    for (char *p = after; p != NULL && *p != 0; p++)
        fields += *p == ' ';
    CHECK(n > 0 && atoi(text) == getpid() && after != NULL);
    CHECK(fields >= 40);
    CHECK(after != NULL && strchr("RSD", after[2]) != NULL); /* the state of the first thread */
    VALUE(slurp("/proc/self/statm", text, sizeof(text)) > 5);
    VALUE(slurp("/proc/self/cgroup", text, sizeof(text)) > 0);
    VALUE(slurp("/proc/self/mountinfo", text, sizeof(text)) > 0);
    CHECK(strstr(text, " / / ") != NULL || strstr(text, " / ") != NULL);
    VALUE(slurp("/proc/self/cmdline", text, sizeof(text)) > 1);
    VALUE(slurp("/proc/self/comm", text, sizeof(text)) > 1);
    VALUE(slurp("/proc/self/environ", text, sizeof(text)) >= 0);
    VALUE(slurp("/proc/self/oom_score_adj", text, sizeof(text)) > 0);
    VALUE(readlink("/proc/self/exe", link, sizeof(link)) > 1);
    CHECK(link[0] == '/' && access(link, R_OK) == 0);
    snprintf(path, sizeof(path), "/proc/%d/exe", getpid());
    CHECK(access(path, F_OK) == 0);
    int n2 = readlink("/proc/self/cwd", link, sizeof(link) - 1);
    link[n2 > 0 ? n2 : 0] = 0;
    CHECK(getcwd(path, sizeof(path)) != NULL && strcmp(path, link) == 0);
    n2 = readlink("/proc/mounts", link, sizeof(link) - 1);
    link[n2 > 0 ? n2 : 0] = 0;
    CHECK(strcmp(link, "self/mounts") == 0);
    VALUE(access("/proc/self/nothing", F_OK));
    VALUE(access("/proc/999999", F_OK));
    VALUE(open("/proc/self/maps", O_RDWR | O_CREAT | O_EXCL, 0644));
    CHECK(mkdir("/proc/dir", 0755) == -1);
}

CASE(proc_self_fd)
{
    char path[64], link[300] = "", cwd[256];
    int fd = open("f", O_RDWR | O_CREAT, 0644), copies = 0, seen = 0, dots = 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int n = readlink(path, link, sizeof(link) - 1);
    link[n > 0 ? n : 0] = 0;
    getcwd(cwd, sizeof(cwd));
    CHECK(strncmp(link, cwd, strlen(cwd)) == 0 && strcmp(link + strlen(cwd), "/f") == 0);
    int again = OK(open(path, O_RDONLY));
    close(again);
    DIR *d = opendir("/proc/self/fd");
    NEED(d != NULL);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        copies += isdigit(e->d_name[0]) != 0;
        seen += atoi(e->d_name) == fd;
        dots += e->d_name[0] == '.';
    }
    closedir(d);
    CHECK(dots == 2);
    CHECK(copies >= 5 && seen == 1);
    int pipes[2];
    OK(pipe(pipes));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", pipes[0]);
    n = readlink(path, link, sizeof(link));
    CHECK(n > 6 && strncmp(link, "pipe:[", 6) == 0);
    unlink("f");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, link, sizeof(link) - 1);
    link[n > 0 ? n : 0] = 0;
    CHECK(strstr(link, "/f (deleted)") != NULL);
    VALUE(readlink("/proc/self/fd/9999", link, sizeof(link)));
}

static volatile int leave;

static void *lives(void *unused)
{
    while (!leave)
        sleep_ms(5);
    return unused;
}

static int count_tasks(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    if (d == NULL)
        return -1;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += isdigit(e->d_name[0]) != 0;
    closedir(d);
    return n;
}

CASE(proc_self_task)
{
    char path[64];
    int before = -1;
    while (before != count_tasks()) { /* threads that were joined a moment ago may still be leaving */
        before = count_tasks();
        sleep_ms(50);
    }
    leave = 0;
    pthread_t t = start(lives, NULL);
    VALUE(count_tasks() - before);
    leave = 1;
    pthread_join(t, NULL);
    snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", syscall(SYS_gettid));
    CHECK(slurp(path, text, sizeof(text)) > 0 && atoi(text) == syscall(SYS_gettid));
    snprintf(path, sizeof(path), "/proc/self/task/%ld/status", syscall(SYS_gettid));
    CHECK(slurp(path, text, sizeof(text)) > 0);
}

static volatile long other_tid;

static void *tells(void *unused)
{
    other_tid = syscall(SYS_gettid);
    return lives(unused);
}

/* Facts about what is at a path below /proc/TID or /proc/self/task/TID. */
static void show_at(const char *dir, const char *name)
{
    char path[100];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int err = stat(path, &st);
    say("%s: %s", name, err ? errname(errno) : S_ISDIR(st.st_mode) ? "directory" : "other");
    if (!err && !S_ISDIR(st.st_mode) && strcmp(name, "exe"))
        CHECK(slurp(path, text, sizeof(text)) > 0);
}

static bool lists(const char *dir, const char *name)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += !strcmp(e->d_name, name);
    if (d)
        closedir(d);
    return n == 1;
}

/* A thread has its directory in /proc, unlisted; HotSpot reads the libraries for its error files there. */
CASE(proc_thread)
{
    static const char *const names[] = {"maps", "cmdline", "exe", "fd", "limits", "comm", "task", "nothing"};
    char dir[64], name[20];
    other_tid = leave = 0;
    pthread_t t = start(tells, NULL);
    while (!other_tid)
        sleep_ms(1);
    for (int way = 0; way < 2; way++) {
        snprintf(dir, sizeof(dir), way ? "/proc/self/task/%ld" : "/proc/%ld", other_tid);
        for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            show_at(dir, names[i]);
        CHECK(lists(dir, "maps"));
        CHECK(lists(dir, "stat"));
        CHECK(lists(dir, "."));
        CHECK(lists(dir, "task"));
    }
    snprintf(dir, sizeof(dir), "/proc/%ld/stat", other_tid);
    CHECK(slurp(dir, text, sizeof(text)) > 0 && atoi(text) == other_tid);
    snprintf(dir, sizeof(dir), "/proc/%ld/status", other_tid);
    CHECK(slurp(dir, text, sizeof(text)) > 0 && strstr(text, "\nPid:\t") &&
          atoi(strstr(text, "\nPid:\t") + 6) == other_tid);
    snprintf(name, sizeof(name), "%ld", other_tid);
    CHECK(!lists("/proc", name));
    leave = 1;
    pthread_join(t, NULL);
    sleep_ms(50);
    snprintf(dir, sizeof(dir), "/proc/%ld", other_tid);
    VALUE(access(dir, F_OK));
}

CASE(proc_machine)
{
    show_lines("/proc/meminfo",
               (const char *const[]){"MemTotal:", "MemFree:", "MemAvailable:", "Buffers:", "Cached:",
                                     "SwapTotal:", "SwapFree:", "HugePages_Total:", "Hugepagesize:", NULL});
    show_lines("/proc/cpuinfo",
               (const char *const[]){"processor\t: 0", "vendor_id", "model name", "flags", "cpu MHz",
                                     "cpu cores", "physical id", "siblings", NULL});
    show_lines("/proc/stat", (const char *const[]){"cpu  ", "cpu0 ", "btime ", "ctxt ", "processes ", NULL});
    double one, five, fifteen;
    slurp("/proc/loadavg", text, sizeof(text));
    VALUE(sscanf(text, "%lf %lf %lf %*d/%*d", &one, &five, &fifteen));
    slurp("/proc/version", text, sizeof(text));
    CHECK(strncmp(text, "Linux version ", 14) == 0);
    slurp("/proc/uptime", text, sizeof(text));
    VALUE(sscanf(text, "%lf %lf", &one, &five));
    VALUE(slurp("/proc/mounts", text, sizeof(text)) > 0);
    VALUE(slurp("/proc/filesystems", text, sizeof(text)) > 0);
    static const char *const numbers[] = {
        "/proc/sys/vm/overcommit_memory",        "/proc/sys/vm/max_map_count",
        "/proc/sys/kernel/threads-max",          "/proc/sys/kernel/pid_max",
        "/proc/sys/kernel/random/entropy_avail", "/proc/sys/fs/file-max",
        "/proc/sys/net/core/somaxconn",          NULL};
    for (int i = 0; numbers[i] != NULL; i++) {
        long n = -1;
        slurp(numbers[i], text, sizeof(text));
        say("%s: %s", numbers[i], sscanf(text, "%ld", &n) == 1 && n >= 0 ? "a number" : "missing");
    }
    slurp("/proc/sys/kernel/osrelease", text, sizeof(text));
    CHECK(isdigit(text[0]));
    VALUE(slurp("/proc/sys/kernel/hostname", text, sizeof(text)) > 0);
}

CASE(sys_machine)
{
    char buffer[64];
    static const char *const ranges[] = {"/sys/devices/system/cpu/online", "/sys/devices/system/cpu/possible",
                                         "/sys/devices/system/cpu/present",
                                         "/sys/devices/system/node/online"};
    for (int i = 0; i < 4; i++) {
        slurp(ranges[i], buffer, sizeof(buffer));
        say("%s: %s", ranges[i],
            buffer[0] == '0' && (buffer[1] == '-' || buffer[1] == '\n') ? "from 0" : "wrong");
    }
    CHECK(access("/sys/devices/system/cpu/cpu0", F_OK) == 0);
    slurp("/sys/kernel/mm/transparent_hugepage/enabled", buffer, sizeof(buffer));
    CHECK(strchr(buffer, '[') != NULL && strstr(buffer, "madvise") != NULL &&
          strstr(buffer, "never") != NULL);
    VALUE(slurp("/sys/kernel/mm/transparent_hugepage/shmem_enabled", buffer, sizeof(buffer)) > 0);
    slurp("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", buffer, sizeof(buffer));
    VALUE(atoi(buffer));
    CHECK(access("/sys/kernel/mm/hugepages", F_OK) == 0);
}

CASE(etc_files)
{
    static const char *const all[] = {"/etc/passwd", "/etc/hosts", "/tmp", "/dev/null", "/proc/self"};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        say("%s: %s", all[i], access(all[i], F_OK) == 0 ? "there" : errname(errno));
}

/* ---- how a process begins and ends ---- */

CASE_ENDS(arguments)
{
    CHECK(environ != NULL);
    CHECK(getauxval(AT_EXECFN) != 0);
    exit(42);
}

CASE_ENDS(exit_status_wraps)
{
    exit(256 + 7);
}

CASE_ENDS(killed_by_abort)
{
    abort();
}

CASE_ENDS(killed_by_segv)
{
    signal(SIGSEGV, SIG_DFL);
    *(volatile int *)16 = 1;
}

CASE_ENDS(killed_by_term)
{
    kill(getpid(), SIGTERM);
    pause();
}

CASE_ENDS(killed_by_ignored_fault)
{
    signal(SIGSEGV, SIG_IGN); /* a fault that is ignored kills all the same */
    *(volatile int *)16 = 1;
}

CASE_ENDS(killed_by_blocked_fault)
{
    sigset_t set;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(SIGSEGV, &action, NULL);
    sigfillset(&set);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    *(volatile int *)16 = 1;
}

static void at_exit(void)
{
    say("at exit");
}

CASE_ENDS(exit_handlers)
{
    atexit(at_exit);
    exit(5);
}
