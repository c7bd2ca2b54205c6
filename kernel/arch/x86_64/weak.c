/*
 * Stand-ins for layers that are not linked in yet, so that the kernel links and boots without them. Each real
 * definition takes precedence; this file goes when all have landed.
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/cmdline.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/fs/vfs.h"
#include "kernel/linux/linux.h"
#include "mm/phys/phys.h"
#include "mm/vm/vm.h"
#include "sched/thread.h"
#include "sched/timer.h"
#include "sched/waitq.h"
#include "virtio/virtio.h"

#define WEAK    __attribute__((weak))
#define MISSING panic("%s is not linked in yet", __func__)

WEAK void mutex_lock(struct mutex *m)
{
}
WEAK void mutex_unlock(struct mutex *m)
{
}
WEAK void sched_init(void)
{
}
WEAK void sched_cpu_main(void)
{
    MISSING;
}
WEAK void sched_preempt(void)
{
    MISSING;
}
WEAK void preempt_resched(void)
{
    MISSING;
}
WEAK void sched_switch_finish(struct thread *prev)
{
    MISSING;
}
WEAK _Noreturn void thread_exit(void)
{
    MISSING;
}
WEAK void vm_init(void)
{
}
WEAK void timer_init_workers(void)
{
}
WEAK void virtio_init(void)
{
}
WEAK void vfs_init(void)
{
}
WEAK int vfs_mount_root(void)
{
    return 0;
}
WEAK int vfs_mount_9p(const char *tag, const char *dir, bool read_only)
{
    return -ENODEV;
}
WEAK void linux_init(void)
{
}
WEAK int linux_start(void)
{
    MISSING;
}
WEAK bool mutex_trylock(struct mutex *m)
{
    return true;
}
WEAK u64 clock_monotonic_ns(void)
{
    MISSING;
}
WEAK int ioapic_route(u32 gsi, u32 vector, u32 cpu, bool level)
{
    MISSING;
}
WEAK struct thread *thread_create(const char *name, void (*entry)(void *), void *arg, bool with_fpu)
{
    MISSING;
}
WEAK void thread_start(struct thread *t)
{
    MISSING;
}
WEAK void sched_wake(struct thread *t)
{
    MISSING;
}
WEAK int sched_sleep(u64 deadline_ns, u32 flags)
{
    MISSING;
}
WEAK void waitq_enter(struct waitq *q, struct waiter *w)
{
    MISSING;
}
WEAK void waitq_leave(struct waitq *q, struct waiter *w)
{
    MISSING;
}
WEAK void waitq_wake_all(struct waitq *q, u32 events)
{
    MISSING;
}
WEAK void event_set(struct event *e)
{
    MISSING;
}
WEAK int event_wait(struct event *e, u64 deadline_ns, u32 sleep_flags)
{
    MISSING;
}
WEAK void timer_arm(u64 deadline_ns)
{
    MISSING;
}
