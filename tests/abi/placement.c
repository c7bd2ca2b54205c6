/* Where and how threads and memory are placed: scheduling attributes, I/O priorities, memory policies and
 * keys. */
#include "abi.h"

#include <sys/mman.h>

struct sched_attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
};

CASE(sched_attributes)
{
    struct sched_attributes a = {0};
    OK(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0));
    CHECK(a.policy == 0 && a.nice == 0 && a.priority == 0);
    OK(syscall(SYS_sched_setattr, 0, &a, 0));
    OK(syscall(SYS_sched_getattr, 0, &a, 48, 0));
    CHECK(a.size == 48);
    VALUE(syscall(SYS_sched_getattr, 0, &a, 47, 0));
    VALUE(syscall(SYS_sched_getattr, 0, &a, 8192, 0));
    VALUE(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 1));
    VALUE(syscall(SYS_sched_getattr, -1, &a, sizeof(a), 0));
    VALUE(syscall(SYS_sched_getattr, 999999, &a, sizeof(a), 0));
    VALUE(syscall(SYS_sched_getattr, 0, NULL, sizeof(a), 0));
    VALUE(syscall(SYS_sched_getattr, 0, 8, sizeof(a), 0));
    VALUE(syscall(SYS_sched_setattr, 0, NULL, 0));
    VALUE(syscall(SYS_sched_setattr, 0, &a, 1));
    VALUE(syscall(SYS_sched_setattr, -1, &a, 0));
    VALUE(syscall(SYS_sched_setattr, 999999, &a, 0));
    VALUE(syscall(SYS_sched_setattr, 0, 8, 0));
    a.policy = 77;
    VALUE(syscall(SYS_sched_setattr, 0, &a, 0));
}

CASE(round_robin_interval)
{
    struct timespec ts;
    OK(syscall(SYS_sched_rr_get_interval, 0, &ts));
    CHECK(ts.tv_sec == 0 && ts.tv_nsec >= 0);
    VALUE(syscall(SYS_sched_rr_get_interval, -1, &ts));
    VALUE(syscall(SYS_sched_rr_get_interval, 999999, &ts));
    VALUE(syscall(SYS_sched_rr_get_interval, 0, 8));
}

CASE(io_priorities)
{
    CHECK(syscall(SYS_ioprio_get, 1, 0) >= 0);
    VALUE(syscall(SYS_ioprio_get, 7, 0));
    VALUE(syscall(SYS_ioprio_get, 1, 999999));
    OK(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 4)); /* best effort, as ever */
    VALUE(syscall(SYS_ioprio_get, 1, 0));
    VALUE(syscall(SYS_ioprio_set, 7, 0, 0));
    VALUE(syscall(SYS_ioprio_set, 1, 999999, 2 << 13 | 4));
    VALUE(syscall(SYS_ioprio_set, 1, 0, 7 << 13));
    VALUE(syscall(SYS_ioprio_set, 1, 0, 0));
}

CASE(locking_memory)
{
    char *p = anonymous(4 * PAGE);
    NEED(p);
    OK(syscall(SYS_mlock2, p, 4 * PAGE, 0));
    OK(munlock(p, 4 * PAGE));
    OK(syscall(SYS_mlock2, p, 4 * PAGE, 1)); /* MLOCK_ONFAULT */
    OK(munlock(p + 1, PAGE));
    VALUE(syscall(SYS_mlock2, p, PAGE, 2));
    OK(munmap(p + 2 * PAGE, PAGE));
    VALUE(mlock(p, 4 * PAGE));
    VALUE(munlock(p, 4 * PAGE));
    VALUE(syscall(SYS_mlock2, p, 4 * PAGE, 0));
    VALUE(mlockall(0));
    VALUE(mlockall(8));
    OK(mlockall(MCL_CURRENT));
    OK(munlockall());
    OK(munmap(p, 4 * PAGE));
}

CASE(protection_keys_bad)
{
    char *p = anonymous(PAGE);
    NEED(p);
    OK(syscall(SYS_pkey_mprotect, p, PAGE, PROT_READ, -1));
    OK(munmap(p, PAGE));
}

CASE(not_configured)
{
    char *p = anonymous(PAGE), c = 0;
    NEED(p);
    int mode, status;
    unsigned long mask = 1;
    struct iovec {
        void *base;
        size_t len;
    } here = {&c, 1}, there = {p, 1};
    OK(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0));
    OK(syscall(SYS_set_mempolicy, 0, NULL, 0));
    OK(syscall(SYS_mbind, p, PAGE, 0, NULL, 0, 0));
    OK(syscall(SYS_migrate_pages, 0, 8, &mask, &mask));
    OK(syscall(SYS_move_pages, 0, 1, &p, NULL, &status, 0));
    OK(syscall(SYS_pkey_alloc, 0, 0));
    OK(syscall(SYS_pkey_free, 1));
    OK(syscall(SYS_pidfd_open, getpid(), 0));
    OK(syscall(SYS_process_vm_readv, getpid(), &here, 1, &there, 1, 0));
    OK(syscall(SYS_process_vm_writev, getpid(), &here, 1, &there, 1, 0));
    OK(syscall(SYS_ioperm, 0, 0, 1));
    OK(syscall(SYS_iopl, 4));
    OK(munmap(p, PAGE));
}
