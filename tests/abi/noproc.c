/* What does not exist in a machine that is one process: other processes. Moka's answers are in expect/. */
#include "abi.h"

#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* On Linux each of these succeeds; what Moka answers is compared with expect/NAME, which says why. */

static void end_child(pid_t child)
{
    if (child == 0)
        _exit(0);
    if (child > 0)
        waitpid(child, NULL, 0);
}

CASE(no_fork)
{
    pid_t child = syscall(SYS_fork);
    if (child != 0)
        show_ok("child", child);
    end_child(child);
    child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child != 0)
        show_ok("child", child);
    end_child(child);
    VALUE(wait4(-1, NULL, WNOHANG, NULL));
    VALUE(waitpid(999999, NULL, 0));
}

CASE(no_exec)
{
    char *const argv[] = {"program", NULL};
    VALUE(execve("missing", argv, argv));
    spit("data", "not a program");
    VALUE(execve("data", argv, argv)); /* not executable */
    chmod("data", 0755);
    VALUE(execve("data", argv, argv));
}

CASE(no_spawn)
{
    pid_t child;
    char *const argv[] = {"true", NULL};
    int error = posix_spawn(&child, "/bin/true", NULL, NULL, argv, argv);
    ERROR(error);
    if (error == 0)
        waitpid(child, NULL, 0);
    VALUE(system(NULL) >= 0);
}

CASE(no_trace)
{
    VALUE(ptrace(PTRACE_ATTACH, 999999, NULL, NULL));
    VALUE(syscall(SYS_process_vm_readv, 999999, NULL, 0, NULL, 0, 0));
    VALUE(syscall(SYS_kill, 999999, 0));
}

CASE(no_modules)
{
    VALUE(syscall(SYS_init_module, 0, 0, ""));
    VALUE(syscall(SYS_delete_module, "none", 0));
    VALUE(syscall(SYS_swapon, "none", 0));
    VALUE(syscall(SYS_mount, "none", "none", "none", 0, NULL));
    VALUE(syscall(SYS_umount2, "missing", 0));
    VALUE(syscall(SYS_chroot, "missing"));
    VALUE(syscall(SYS_pivot_root, "missing", "missing"));
    VALUE(syscall(SYS_bpf, 0, NULL, 0) < 0);
    VALUE(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0) < 0);
    VALUE(syscall(SYS_userfaultfd, 0x7) < 0);
    VALUE(syscall(SYS_io_uring_setup, 0, NULL) < 0);
    VALUE(syscall(SYS_seccomp, 99, 0, NULL) < 0);
}
