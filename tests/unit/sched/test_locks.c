/*
 * The lock-free code of sched/ on real threads, under ThreadSanitizer: mutex, reader-writer lock, wait
 * queues, futex core, and the wake queue with the sleep protocol. Sleeping and waking are the host's futex
 * with relaxed atomics only, so that every happens-before that the locks need must come from the locks
 * themselves.
 */
#define sched_yield host_sched_yield /* ours has the same name */
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#undef sched_yield

#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "sched/mutex.h"
#include "sched/waitq.h"
#include "sched/wake.h"

#include "sched/futex.h"

#define THREADS 4
#define ROUNDS  20000

/* ---- what the locks need from the scheduler ---- */

static __thread struct cpu own_cpu; /* each host thread is a CPU that runs one thread */

struct cpu *this_cpu(void)
{
    return &own_cpu;
}
struct thread *current_thread(void)
{
    return own_cpu.current;
}
u32 preempt_count(void)
{
    return 0;
}

void cpu_relax_now_and_then(u32 look)
{
}

static void sched_yield_host(void)
{
    syscall(SYS_sched_yield);
}

static u64 now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

int sched_sleep(u64 deadline_ns, u32 flags)
{
    struct thread *t = current_thread();
    u32 none = WAIT_NONE;
    bool timed_out = false;
    if (__atomic_compare_exchange_n(&t->wait, &none, WAIT_ASLEEP, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
        while (__atomic_load_n(&t->wait, __ATOMIC_RELAXED) == WAIT_ASLEEP && !timed_out) {
            u64 now = now_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
            struct timespec ts = {left / NSEC_PER_SEC, left % NSEC_PER_SEC};
            syscall(SYS_futex, &t->wait, FUTEX_WAIT_PRIVATE, WAIT_ASLEEP,
                    deadline_ns == SLEEP_FOREVER ? NULL : &ts, NULL, 0);
            timed_out = deadline_ns != SLEEP_FOREVER && !left;
        }
    }
    return __atomic_exchange_n(&t->wait, WAIT_NONE, __ATOMIC_RELAXED) == WAIT_PERMIT || !timed_out
               ? 0
               : -ETIMEDOUT;
}

void sched_wake(struct thread *t)
{
    if (__atomic_exchange_n(&t->wait, WAIT_PERMIT, __ATOMIC_RELAXED) == WAIT_ASLEEP)
        syscall(SYS_futex, &t->wait, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

int load32_safe(const u32 *p, u32 *value)
{
    *value = __atomic_load_n(p, __ATOMIC_SEQ_CST);
    return 0;
}
int cmpxchg32_safe(u32 *p, u32 expected, u32 desired, u32 *old)
{
    *old = expected;
    __atomic_compare_exchange_n(p, old, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return 0;
}

void panic(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    printf("not ok sched/tsan: ");
    vprintf(fmt, ap);
    printf("\n");
    fflush(stdout);
    _exit(1);
}

/* ---- running threads ---- */

struct start {
    void (*fn)(u32 index);
    u32 index;
    struct thread *thread;
};

static void *begin(void *arg)
{
    struct start *s = arg;
    own_cpu.current = s->thread;
    s->fn(s->index);
    return NULL;
}

static void in_parallel(const char *name, void (*fn)(u32 index))
{
    pthread_t threads[THREADS];
    struct start starts[THREADS];
    /* All are there before any runs, and none is freed: who finds a thread as a lock's owner may look at it.
     */
    for (u32 i = 0; i < THREADS; i++)
        starts[i] = (struct start){fn, i, calloc(1, sizeof(struct thread))};
    for (u32 i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, begin, &starts[i]);
    for (u32 i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("ok sched/tsan-%s\n", name);
    fflush(stdout);
}

/* ---- mutex ---- */

static struct mutex lock;
static u64 counter; /* guarded by lock: a lost order is a data race here */

static void lock_and_count(u32 index)
{
    u32 tried = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 5 == 0 && mutex_trylock(&lock))
            tried++;
        else
            mutex_lock(&lock);
        counter++;
        if (i % 64 == 0)
            sched_yield_host();
        mutex_unlock(&lock);
    }
}

static void check_mutex(void)
{
    in_parallel("mutex", lock_and_count);
    ASSERT(counter == THREADS * ROUNDS);
    ASSERT(!lock.count && !lock.push && !lock.pop && !lock.handoff);
}

/* ---- wait queue: a bounded buffer of one ---- */

static struct waitq changed;
static struct mutex box_lock;
static u64 box, sent, received; /* guarded by box_lock; 0: empty */
static bool ask_first;          /* whether anybody waits, by waitq_busy() */

static void wait_for_box(bool full)
{
    struct waiter w;
    waitq_enter(&changed, &w);
    for (;;) {
        mutex_lock(&box_lock);
        if ((box != 0) == full)
            break;
        mutex_unlock(&box_lock);
        sched_sleep(SLEEP_FOREVER, 0);
    }
    /* box_lock stays held */
    waitq_leave(&changed, &w);
}

static void send_and_receive(u32 index)
{
    for (int i = 1; i <= ROUNDS / 10; i++) {
        wait_for_box(index & 1);
        if (index & 1) {
            received += box;
            box = 0;
        } else {
            box = i;
            sent += i;
        }
        bool wake = !ask_first || waitq_busy(&changed);
        mutex_unlock(&box_lock);
        if (wake)
            waitq_wake_all(&changed, 0);
    }
}

/* ---- waitq_busy(): a lost wake-up hangs ---- */

/* A count that is changed and looked at without a mutex. */
static struct waitq token_added;
static u64 tokens;

static bool take_token(void)
{
    u64 old = __atomic_load_n(&tokens, __ATOMIC_SEQ_CST);
    while (old)
        if (__atomic_compare_exchange_n(&tokens, &old, old - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return true;
    return false;
}

static void wait_for_token(void)
{
    struct waiter w;
    waitq_enter(&token_added, &w);
    while (!take_token())
        sched_sleep(SLEEP_FOREVER, 0);
    waitq_leave(&token_added, &w);
}

static void pass_tokens(u32 index)
{
    for (int i = 0; i < ROUNDS / 2; i++) {
        if (index & 1) {
            __atomic_fetch_add(&tokens, 1, __ATOMIC_SEQ_CST);
            if (waitq_busy(&token_added))
                waitq_wake_all(&token_added, 0);
        } else if (!take_token()) {
            wait_for_token();
        }
    }
}

/* ---- futex: a mutex as programs write it, and condition-like requeueing ---- */

static u32 word;
static u64 guarded_by_word;
static const struct futex_key word_key = {.a = 0x1000};

static void futex_lock_and_count(u32 index)
{
    for (int i = 0; i < ROUNDS / 2; i++) {
        u32 v = 0;
        if (!__atomic_compare_exchange_n(&word, &v, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            while (__atomic_exchange_n(&word, 2, __ATOMIC_ACQUIRE))
                futex_wait(&word, word_key, 2, FUTEX_ANY, i % 3 ? SLEEP_FOREVER : now_ns() + 20000);
        }
        guarded_by_word++;
        if (__atomic_exchange_n(&word, 0, __ATOMIC_RELEASE) == 2)
            futex_wake(word_key, 1, FUTEX_ANY);
    }
}

/* ---- wake queue: thread 0 is a CPU that runs one sleeper for each of the others, who wake them ---- */

static struct thread sleepers[THREADS];
static struct thread *queue;
static u64 message[THREADS]; /* written before the wake-up, read after it: ordered by the permit alone */
static u64 answer[THREADS];  /* atomic */
static u32 done;

/* What the sleeper does with the CPU until it sleeps again. */
static void run_sleeper(u32 i)
{
    do {
        ASSERT(wait_end(&sleepers[i])); /* only a permit brings it here */
        ASSERT(message[i] == answer[i] + 1);
        __atomic_store_n(&answer[i], message[i], __ATOMIC_RELEASE);
    } while (!wait_begin(&sleepers[i]));
}

static void run_cpu(void)
{
    while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) < THREADS - 1) {
        struct thread *t = wakeq_take(&queue);
        if (!t)
            sched_yield_host();
        while (t) {
            struct thread *next = t->wake_next; /* once it ran it may be in the queue again */
            run_sleeper(t - sleepers);
            t = next;
        }
    }
}

static void wake_sleeper(u32 i)
{
    for (u64 n = 1; n <= ROUNDS; n++) {
        message[i] = n;
        if (wait_permit(&sleepers[i]))
            wakeq_push(&queue, &sleepers[i]);
        while (__atomic_load_n(&answer[i], __ATOMIC_ACQUIRE) != n) /* a lost wake-up hangs here */
            sched_yield_host();
    }
    __atomic_fetch_add(&done, 1, __ATOMIC_RELEASE);
}

static void wake_queue(u32 index)
{
    if (index)
        wake_sleeper(index);
    else
        run_cpu();
}

int main(void)
{
    alarm(120);
    check_mutex();
    in_parallel("waitq", send_and_receive);
    ask_first = true;
    in_parallel("waitq-busy-mutex", send_and_receive);
    in_parallel("waitq-busy-atomic", pass_tokens);
    ASSERT(!tokens);
    ASSERT(sent == received);
    in_parallel("futex", futex_lock_and_count);
    ASSERT(guarded_by_word == THREADS * (ROUNDS / 2));
    for (u32 i = 1; i < THREADS; i++)
        ASSERT(wait_begin(&sleepers[i]));
    in_parallel("wake-queue", wake_queue);
    return 0;
}
