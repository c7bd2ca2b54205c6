/* The table of threads, and how threads and the process end. */
#include "kernel/linux/task.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/linux/futex.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/user.h"
#include "mm/phys/phys.h"
#include "sched/waitq.h"
#include "virtio/virtio.h"

struct process process;

__attribute__((weak)) void vfs_sync(void)
{
}

static struct kpool task_pool = KPOOL_INIT(struct task);

/* tid -> task, in chunks made when first needed. Guarded by process.lock. */
#define TIDS_PER_CHUNK 512
static struct task **tid_chunks[TID_MAX / TIDS_PER_CHUNK];
static s32 last_tid;
static struct waitq ended; /* woken when a thread ends: exit_group waits for the others */

static struct task **tid_slot(s32 tid, bool make)
{
    struct task ***chunk = &tid_chunks[tid / TIDS_PER_CHUNK];
    if (!*chunk && make)
        *chunk = kmalloc(TIDS_PER_CHUNK * sizeof(struct task *));
    return *chunk ? &(*chunk)[tid % TIDS_PER_CHUNK] : NULL;
}

/* A free tid after the last one given, as Linux numbers; 0: none. */
static s32 tid_choose(void)
{
    for (s32 tries = 1; tries < TID_MAX; tries++) {
        s32 tid = last_tid + tries;
        if (tid >= TID_MAX)
            tid -= TID_MAX - PID;
        struct task **slot = tid_slot(tid, true);
        if (!slot)
            return 0;
        if (!*slot) {
            last_tid = tid;
            return tid;
        }
    }
    return 0;
}

struct task *task_create(struct thread *t)
{
    struct task *task = kpool_alloc(&task_pool);
    if (!task)
        return NULL;
    memset(task, 0, sizeof(*task));
    task->thread = t;
    task->refs = 1;
    task->altstack.flags = SS_DISABLE;
    task->timer_slack = 50000;
    task->start_ns = clock_monotonic_ns();
    list_init(&task->pending.queue);
    mutex_lock(&process.lock);
    task->tid = tid_choose();
    if (task->tid) {
        *tid_slot(task->tid, true) = task;
        list_push_back(&process.tasks, &task->link);
        process.task_count++;
    }
    mutex_unlock(&process.lock);
    if (!task->tid) {
        kpool_free(&task_pool, task);
        return NULL;
    }
    t->task = task;
    return task;
}

void task_put(struct task *t)
{
    if (!__atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
        kpool_free(&task_pool, t);
}

/* Takes t out of the table. Returns how many threads are left. */
static u32 task_unlink(struct task *t)
{
    mutex_lock(&process.lock);
    *tid_slot(t->tid, false) = NULL;
    list_del(&t->link);
    u32 left = --process.task_count;
    process.exited_run_ns += sched_run_ns(t->thread);
    signal_flush(&t->pending);
    kfree(t->fpu_scratch);
    t->fpu_scratch = NULL;
    t->thread = NULL; /* finders under the lock see none; those with a reference check */
    mutex_unlock(&process.lock);
    waitq_wake_all(&ended, 0);
    return left;
}

struct task *task_find(s32 tid)
{
    if (tid <= 0 || tid >= TID_MAX)
        return NULL;
    mutex_lock(&process.lock);
    struct task **slot = tid_slot(tid, false);
    struct task *t = slot ? *slot : NULL;
    if (t)
        __atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
    mutex_unlock(&process.lock);
    return t;
}

int task_for_each(int (*fn)(struct task *t, void *arg), void *arg)
{
    struct task *t;
    int result = 0;
    mutex_lock(&process.lock);
    list_for_each(t, &process.tasks, link)
    {
        if ((result = fn(t, arg)))
            break;
    }
    mutex_unlock(&process.lock);
    return result;
}

s32 task_next_tid(s32 tid)
{
    s32 found = 0;
    mutex_lock(&process.lock);
    for (s32 at = MAX(tid, 1); at < TID_MAX && !found; at++) {
        struct task **slot = tid_slot(at, false);
        if (!slot)
            at = ALIGN_DOWN(at, TIDS_PER_CHUNK) + TIDS_PER_CHUNK - 1;
        else if (*slot)
            found = at;
    }
    mutex_unlock(&process.lock);
    return found;
}

/* set_tid_address(2): the word is cleared and one waiter woken, so that pthread_join returns. */
static void clear_child_tid(u32 *word)
{
    if (!word || put_user32(word, 0))
        return;
    futex_wake_shared(word, 1);
}

void task_exit(int status)
{
    struct task *t = current_task();
    struct thread *self = current_thread();
    u32 *word = (u32 *)t->clear_child_tid;
    futex_exit_robust(t);
    /* Out of the table first: whoever the word wakes must not find the thread any more. */
    u32 left = task_unlink(t);
    self->task = NULL;
    task_put(t);
    clear_child_tid(word);
    if (!left && !__atomic_load_n(&process.exiting, __ATOMIC_ACQUIRE))
        process_exit(status);
    thread_exit();
}

static int stop_task(struct task *t, void *arg)
{
    if (t->thread != current_thread())
        signal_nudge(t);
    return 0;
}

/* Waits until no thread but the caller (when it is one of the program's) is left, at most a second. */
static void wait_for_threads(void)
{
    u32 self = current_thread()->task ? 1 : 0;
    u64 deadline = clock_monotonic_ns() + NSEC_PER_SEC;
    struct waiter w = {0};
    waitq_enter(&ended, &w);
    while (__atomic_load_n(&process.task_count, __ATOMIC_RELAXED) > self)
        if (sched_sleep(deadline, 0) == -ETIMEDOUT)
            break;
    waitq_leave(&ended, &w);
}

void process_exit(int status)
{
    u32 first = 0;
    if (!__atomic_compare_exchange_n(&process.exiting, &first, 1, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        if (current_thread()->task)
            task_exit(0);
        thread_exit(); /* somebody else ends the process already */
    }
    process.exit_status = status & 255;
    task_for_each(stop_task, NULL);
    wait_for_threads();
    vfs_sync();
    console_drain(); /* however slowly the host reads: shutdown waits a few seconds only */
    shutdown(process.exit_status);
}

struct vfs_path process_cwd(void)
{
    mutex_lock(&process.fs_lock);
    struct vfs_path p = process.cwd;
    vfs_path_get(p);
    mutex_unlock(&process.fs_lock);
    return p;
}

u64 process_rlimit(u32 which)
{
    return __atomic_load_n(&process.rlimits[which].cur, __ATOMIC_RELAXED);
}
