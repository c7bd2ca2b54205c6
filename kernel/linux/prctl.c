/* prctl(2). */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/user.h"

#define PR_SET_PDEATHSIG       1
#define PR_GET_PDEATHSIG       2
#define PR_GET_DUMPABLE        3
#define PR_SET_DUMPABLE        4
#define PR_GET_KEEPCAPS        7
#define PR_SET_KEEPCAPS        8
#define PR_GET_TIMING          13
#define PR_SET_TIMING          14
#define PR_SET_NAME            15
#define PR_GET_NAME            16
#define PR_GET_SECCOMP         21
#define PR_CAPBSET_READ        23
#define PR_CAPBSET_DROP        24
#define PR_GET_TSC             25
#define PR_SET_TSC             26
#define PR_SET_TIMERSLACK      29
#define PR_GET_TIMERSLACK      30
#define PR_SET_CHILD_SUBREAPER 36
#define PR_GET_CHILD_SUBREAPER 37
#define PR_SET_NO_NEW_PRIVS    38
#define PR_GET_NO_NEW_PRIVS    39
#define PR_GET_TID_ADDRESS     40
#define PR_SET_THP_DISABLE     41
#define PR_GET_THP_DISABLE     42
#define PR_SET_PTRACER         0x59616d61
#define PR_SET_VMA             0x53564d41

/* Settings that are remembered and read back, and change nothing in a single process. Atomic. */
static u32 dumpable = 1, keep_caps, subreaper, no_new_privs, thp_disable;

static s64 set_name(const char *uname)
{
    char name[THREAD_NAME_LEN] = {0};
    ssize_t len = (u64)uname < PROGRAM_END ? strnlen_safe(uname, sizeof(name) - 1) : -1;
    if (len < 0 || copy_from_user(name, uname, len))
        return -EFAULT;
    memcpy(current_thread()->name, name, sizeof(name));
    return 0;
}

static s64 set_flag(u32 *flag, u64 value, u64 max)
{
    if (value > max)
        return -EINVAL;
    __atomic_store_n(flag, value, __ATOMIC_RELAXED);
    return 0;
}

static s64 own_thread(s32 option, u64 a2)
{
    struct task *t = current_task();
    switch (option) {
    case PR_SET_NAME:
        return set_name((const char *)a2);
    case PR_GET_NAME:
        return copy_to_user((void *)a2, current_thread()->name, THREAD_NAME_LEN);
    case PR_SET_PDEATHSIG:
        if (a2 > NSIG)
            return -EINVAL;
        t->pdeath_signal = a2;
        return 0;
    case PR_GET_PDEATHSIG:
        return put_user32((void *)a2, t->pdeath_signal);
    case PR_SET_TIMERSLACK:
        t->timer_slack = (s64)a2 > 0 ? a2 : 50000;
        return 0;
    case PR_GET_TIMERSLACK:
        return t->timer_slack;
    default: /* PR_GET_TID_ADDRESS */
        return put_user64((void *)a2, t->clear_child_tid);
    }
}

s64 sys_prctl(s32 option, u64 a2, u64 a3, u64 a4, u64 a5)
{
    switch (option) {
    case PR_SET_NAME:
    case PR_GET_NAME:
    case PR_SET_PDEATHSIG:
    case PR_GET_PDEATHSIG:
    case PR_SET_TIMERSLACK:
    case PR_GET_TIMERSLACK:
    case PR_GET_TID_ADDRESS:
        return own_thread(option, a2);
    case PR_GET_DUMPABLE:
        return dumpable;
    case PR_SET_DUMPABLE:
        return set_flag(&dumpable, a2, 1);
    case PR_GET_KEEPCAPS:
        return keep_caps;
    case PR_SET_KEEPCAPS:
        return set_flag(&keep_caps, a2, 1);
    case PR_SET_CHILD_SUBREAPER:
        return set_flag(&subreaper, !!a2, 1);
    case PR_GET_CHILD_SUBREAPER:
        return put_user32((void *)a2, subreaper);
    case PR_SET_NO_NEW_PRIVS:
        return a2 != 1 || a3 || a4 || a5 ? -EINVAL : set_flag(&no_new_privs, 1, 1);
    case PR_GET_NO_NEW_PRIVS:
        return a2 || a3 || a4 || a5 ? -EINVAL : no_new_privs;
    case PR_SET_THP_DISABLE:
        return a3 || a4 || a5 ? -EINVAL : set_flag(&thp_disable, !!a2, 1);
    case PR_GET_THP_DISABLE:
        return a2 || a3 || a4 || a5 ? -EINVAL : thp_disable;
    case PR_GET_TIMING:
        return 0;
    case PR_SET_TIMING:
        return a2 ? -EINVAL : 0;
    case PR_GET_TSC:
        return put_user32((void *)a2, 1); /* PR_TSC_ENABLE */
    case PR_SET_TSC:
        return a2 == 1 ? 0 : -EINVAL;
    case PR_GET_SECCOMP:
        return 0;
    case PR_CAPBSET_READ:
        return a2 > 40 ? -EINVAL : 1;
    case PR_CAPBSET_DROP:
        return a2 > 40 ? -EINVAL : 0;
    default: /* PR_SET_VMA, PR_SET_PTRACER and whatever Linux added: as a kernel built without them */
        return -EINVAL;
    }
}
