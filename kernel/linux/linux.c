/* Start of the Linux layer: hooks, limits, the control port. */
#include "kernel/linux/linux.h"
#include "kernel/base/cmdline.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/linux/exception.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/io/io.h"
#include "kernel/linux/modules.h"
#include "kernel/linux/procfs.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/table.h"
#include "virtio/virtio.h"

static void set_limits(void)
{
    for (u32 i = 0; i < RLIM_NLIMITS; i++)
        process.rlimits[i] = (struct uabi_rlimit){RLIM_INFINITY, RLIM_INFINITY};
    process.rlimits[RLIMIT_STACK].cur = 8UL << 20;
    process.rlimits[RLIMIT_CORE].cur = 0;
    process.rlimits[RLIMIT_NOFILE] = (struct uabi_rlimit){FD_LIMIT_SOFT, FD_LIMIT_HARD};
    process.rlimits[RLIMIT_NPROC] = (struct uabi_rlimit){TID_MAX - 1, TID_MAX - 1};
    process.rlimits[RLIMIT_SIGPENDING] = (struct uabi_rlimit){30000, 30000};
    process.rlimits[RLIMIT_MSGQUEUE] = (struct uabi_rlimit){819200, 819200};
    process.rlimits[RLIMIT_NICE] = (struct uabi_rlimit){0, 0};
    process.rlimits[RLIMIT_RTPRIO] = (struct uabi_rlimit){0, 0};
}

/* As kill(2) from outside does. */
static void send(int signal)
{
    struct uabi_siginfo info = {.signo = signal, .code = SI_USER};
    signal_send_process(signal, &info);
}

/* Lines of the control port. In a driver's thread. */
static void control_line(const char *text)
{
    if (!strcmp(text, "term"))
        send(SIGTERM);
    else if (!strcmp(text, "quit"))
        send(SIGQUIT);
    else if (!strcmp(text, "kill"))
        shutdown(137);
    else
        log_warn("moka: unknown control line: %s\n", text);
}

void linux_init(void)
{
    list_init(&process.tasks);
    list_init(&process.pending.queue);
    process.umask = cmdline.umask;
    set_limits();
    sigframe_init();
    strace_on = cmdline.strace;
    trap_hooks.page_fault = exception_page_fault;
    trap_hooks.exception = exception_signal;
    table_init();
    trap_hooks.return_work = signal_return_work;
    procfs_init();
    modules_init();
    io_init();
    console_on_control(control_line);
}
