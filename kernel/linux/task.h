/*
 * Linux's view of the one process and its threads.
 *
 * A struct task belongs to each thread that runs the program: thread->task points to it. Tasks are counted;
 * task_find() takes a reference. Locks: process.lock (a mutex) guards the thread table and all signal state
 * unless a field says otherwise. Order: process.lock before any file or vm lock is never needed: nothing is
 * called while it is held but kmalloc, wake-ups and wait-queue wake-ups.
 */
#ifndef MOKA_LINUX_TASK_H
#define MOKA_LINUX_TASK_H

#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/list.h"
#include "kernel/fs/vfs.h"
#include "kernel/linux/uabi.h"
#include "sched/mutex.h"
#include "sched/thread.h"

#define PID     1     /* of the process, and the tid of its first thread */
#define TID_MAX 32768 /* as Linux's default pid_max */

/* Signals that wait, of a thread or of the process. Guarded by process.lock. */
struct sigpending {
    u64 set;           /* bit n - 1: signal n is queued; read without the lock too */
    struct list queue; /* struct sigentry, oldest first */
};

struct task {
    struct thread *thread;
    s32 tid;
    u32 refs;         /* atomic */
    struct list link; /* process.tasks */

    /* Signals. blocked is written by its own thread only, under process.lock; its own thread reads it freely.
     */
    u64 blocked;
    u64 saved_blocked; /* what sigsuspend, ppoll ... replaced; valid when restore_blocked */
    bool restore_blocked;
    u64 waiting; /* signals that rt_sigtimedwait waits for */
    struct sigpending pending;

    /* Own thread only. */
    u64 trapno, error, cr2; /* of the latest exception: signal frames show them */
    struct uabi_stack altstack;
    u64 clear_child_tid;
    u64 robust_list;
    s64 (*restart)(void *arg); /* continues an interrupted call, see ERESTART_BLOCK */
    u64 restart_args[6];
    void *fpu_scratch; /* kmalloc'ed when first needed: signal return */
    u64 timer_slack;
    s32 pdeath_signal;
    u32 ioprio; /* as ioprio_set(2) was given it; set by any thread, relaxed */
    u64 start_ns;
};

struct process {
    struct mutex lock;
    struct list tasks;
    u32 task_count;
    u32 exiting;     /* atomic: exit_group was called; every thread ends on its way back to the program */
    u32 exit_status; /* 0..255, as the host sees it */
    struct sigpending pending;
    struct waitq signal_waitq; /* woken when any signal is queued (signalfd) */

    struct mutex fs_lock; /* guards cwd */
    struct vfs_path cwd;
    u32 umask;                                /* atomic */
    struct uabi_rlimit rlimits[RLIM_NLIMITS]; /* guarded by lock */
    u64 exited_run_ns;                        /* CPU time of threads that ended; guarded by lock */

    /* Set by the loader before the first thread runs. */
    char *exe; /* absolute path of the program */
    u64 arg_start, arg_end, env_start, env_end, stack_start;
    u64 auxv[64]; /* pairs, AT_NULL last */
    u32 auxv_len; /* in u64 */
    u64 start_ns, entry, code_start, code_end, data_start, data_end, vdso;
};
extern struct process process;

/* The calling thread's; never NULL in a system call. */
static inline struct task *current_task(void)
{
    return current_thread()->task;
}

/* The thread behind a task, or NULL when it has ended. It may end at any time: struct thread is type-stable,
 * so what is read or set late is harmless. */
static inline struct thread *task_thread(const struct task *t)
{
    return __atomic_load_n(&t->thread, __ATOMIC_ACQUIRE);
}

/* A task for a thread that is not started yet, with a tid, linked and counted. NULL: out of memory or of
 * tids. */
struct task *task_create(struct thread *t);
/* The thread with that id and a reference, or NULL. */
struct task *task_find(s32 tid);
void task_put(struct task *t);
/* Calls fn for every task with process.lock held; stops when it returns non-zero, and returns that. */
int task_for_each(int (*fn)(struct task *t, void *arg), void *arg);
/* The lowest tid >= tid, or 0: for listing /proc/self/task. */
s32 task_next_tid(s32 tid);
/* Starts the first thread with those registers. 0, -ENOMEM. */
int task_start_first(const char *name, const struct trap_frame *frame);

/* Ends the calling thread (exit(2)). status counts only for the last one. */
_Noreturn void task_exit(int status);
/* Ends the process: stops the others, flushes volumes, powers off. status: 0..255 as the host sees it. Also
 * callable from kernel threads. */
_Noreturn void process_exit(int status);

/* A reference to the working directory. */
struct vfs_path process_cwd(void);
/* Soft limit. */
u64 process_rlimit(u32 which);

#endif
