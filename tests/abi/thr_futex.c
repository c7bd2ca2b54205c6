/* futex, all operations; robust lists; the pthread objects built on them. */
#include "abi.h"
#include "futex.h"

#include <semaphore.h>

static int word, other;

static long futex(int *at, int op, int value, void *timeout, int *at2, int value3)
{
    return syscall(SYS_futex, at, op, value, timeout, at2, value3);
}

static pid_t own_tid(void)
{
    return syscall(SYS_gettid);
}

static struct timespec in_ms(clockid_t clock, long ms)
{
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += ms * 1000000L;
    t.tv_sec += t.tv_nsec / 1000000000L;
    t.tv_nsec %= 1000000000L;
    return t;
}

CASE(futex_errors)
{
    struct timespec none = {0}, wrong = {.tv_nsec = 1000000000}, negative = {.tv_sec = -1};
    word = 5;
    VALUE(futex(&word, FUTEX_WAIT, 4, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_WAIT_PRIVATE, 4, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_WAIT_PRIVATE, 5, &none, NULL, 0));
    VALUE(futex(&word, FUTEX_WAIT_PRIVATE, 5, &wrong, NULL, 0));
    VALUE(futex(&word, FUTEX_WAIT_PRIVATE, 5, &negative, NULL, 0));
    VALUE(futex(&word, FUTEX_WAIT_PRIVATE, 5, (void *)8, NULL, 0));
    VALUE(futex((int *)((char *)&word + 1), FUTEX_WAIT_PRIVATE, 5, NULL, NULL, 0));
    VALUE(futex((int *)8, FUTEX_WAIT_PRIVATE, 5, NULL, NULL, 0));
    VALUE(futex((int *)((char *)&word + 1), FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 5, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &other, 4));
    VALUE(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &other, 5));
    VALUE(futex(&word, FUTEX_REQUEUE_PRIVATE, -1, (void *)1, &other, 5));
    VALUE(futex(&word, 99, 1, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
}

CASE(futex_timeouts)
{
    struct timespec t = {.tv_nsec = 30000000};
    uint64_t begin = now_ns(CLOCK_MONOTONIC);
    word = 1;
    VALUE(futex(&word, FUTEX_WAIT_PRIVATE, 1, &t, NULL, 0));
    CHECK(now_ns(CLOCK_MONOTONIC) - begin >= 30000000);
    t = in_ms(CLOCK_MONOTONIC, 30);
    begin = now_ns(CLOCK_MONOTONIC);
    VALUE(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, &t, NULL, ~0));
    CHECK(now_ns(CLOCK_MONOTONIC) - begin >= 25000000);
    t = in_ms(CLOCK_REALTIME, 30);
    begin = now_ns(CLOCK_MONOTONIC);
    VALUE(futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 1, &t, NULL, ~0));
    CHECK(now_ns(CLOCK_MONOTONIC) - begin >= 25000000);
    t = (struct timespec){.tv_sec = 1}; /* long past */
    VALUE(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, &t, NULL, ~0));
}

/* Waiters that say how they came out. */
struct waiter {
    int op, bits;
    volatile int result; /* -100: still waiting */
    pthread_t thread;
};

static volatile int waiting;

static void *wait_here(void *arg)
{
    struct waiter *w = arg;
    __atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
    long r = futex(&word, w->op, 1, NULL, NULL, w->bits);
    w->result = r == 0 ? 0 : -errno;
    return NULL;
}

static void begin_waiters(struct waiter *w, int n, int op, int first_bits)
{
    word = 1;
    waiting = 0;
    for (int i = 0; i < n; i++) {
        w[i] = (struct waiter){.op = op, .bits = first_bits << i, .result = -100};
        w[i].thread = start(wait_here, &w[i]);
    }
    if (!wait_for(&waiting, n))
        say("the waiters did not start");
    settle_ms(100); /* they are about to sleep in the kernel; a late one makes a wake-up count too small */
}

static int came_out(struct waiter *w, int n)
{
    int out = 0;
    settle_ms(100);
    for (int i = 0; i < n; i++)
        out += w[i].result != -100;
    return out;
}

static void end_waiters(struct waiter *w, int n)
{
    word = 2;
    futex(&word, FUTEX_WAKE_PRIVATE, 1000, NULL, NULL, 0);
    futex(&other, FUTEX_WAKE_PRIVATE, 1000, NULL, NULL, 0);
    futex(&word, FUTEX_WAKE, 1000, NULL, NULL, 0);
    for (int i = 0; i < n; i++)
        pthread_join(w[i].thread, NULL);
}

CASE(futex_wake)
{
    struct waiter w[5];
    begin_waiters(w, 5, FUTEX_WAIT_PRIVATE, 0);
    VALUE(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    VALUE(came_out(w, 5));
    VALUE(futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0));
    VALUE(came_out(w, 5));
    VALUE(futex(&word, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0));
    VALUE(came_out(w, 5));
    end_waiters(w, 5);
}

CASE(futex_wake_shared)
{
    struct waiter w[3];
    begin_waiters(w, 3, FUTEX_WAIT, 0);
    VALUE(futex(&word, FUTEX_WAKE, 3, NULL, NULL, 0));
    VALUE(came_out(w, 3));
    end_waiters(w, 3);
}

CASE(futex_bits)
{
    struct waiter w[4]; /* bits 1, 2, 4, 8 */
    begin_waiters(w, 4, FUTEX_WAIT_BITSET_PRIVATE, 1);
    VALUE(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, 0x20));
    VALUE(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, 5));
    VALUE(came_out(w, 4));
    CHECK(w[0].result == 0 && w[2].result == 0 && w[1].result == -100);
    VALUE(futex(&word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0)); /* any bits */
    end_waiters(w, 4);
}

CASE(futex_requeue)
{
    struct waiter w[5];
    begin_waiters(w, 5, FUTEX_WAIT_PRIVATE, 0);
    VALUE(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &other, 99));
    VALUE(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &other, 1)); /* wakes 1, moves 2: 3 in all */
    VALUE(came_out(w, 5));
    VALUE(futex(&other, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0));
    VALUE(came_out(w, 5));
    VALUE(futex(&word, FUTEX_REQUEUE_PRIVATE, 0, (void *)100, &other, 0));
    VALUE(futex(&word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0));
    VALUE(futex(&other, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0));
    end_waiters(w, 5);
}

CASE(futex_wake_op)
{
    struct waiter w[2];
    begin_waiters(w, 2, FUTEX_WAIT_PRIVATE, 0);
    other = 10;
    VALUE(futex(
        &other, FUTEX_WAKE_OP_PRIVATE, 1, (void *)5, &word,
        FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 1))); /* word += 3; its old value is 1: wakes there */
    VALUE(word);
    VALUE(came_out(w, 2));
    VALUE(futex(&other, FUTEX_WAKE_OP_PRIVATE, 1, (void *)5, &word,
                FUTEX_OP(FUTEX_OP_SET, 9, FUTEX_OP_CMP_GT, 100)));
    VALUE(word);
    futex(&other, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word, FUTEX_OP(FUTEX_OP_OR, 6, FUTEX_OP_CMP_NE, 0));
    VALUE(word);
    futex(&other, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word, FUTEX_OP(FUTEX_OP_ANDN, 3, FUTEX_OP_CMP_NE, 0));
    VALUE(word);
    futex(&other, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word, FUTEX_OP(FUTEX_OP_XOR, 5, FUTEX_OP_CMP_NE, 0));
    VALUE(word);
    VALUE(futex(&other, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, (int *)8, 0));
    end_waiters(w, 2);
}

/* ---- priority-inheriting locks ---- */

static volatile int stage;

static void *pi_rival(void *unused)
{
    VALUE(futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    stage = 1;
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0) + !wait_for(&stage, 2));
    CHECK((word & FUTEX_TID_MASK) == own_tid());
    VALUE(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    return unused;
}

CASE(futex_pi)
{
    word = stage = 0;
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    CHECK(word == own_tid());
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0)); /* by its holder */
    pthread_t t = start(pi_rival, NULL);
    CHECK(wait_for(&stage, 1));
    settle_ms(100);
    CHECK((word & FUTEX_WAITERS) != 0);
    VALUE(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    stage = 2;
    pthread_join(t, NULL);
    VALUE(word);
    VALUE(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0)); /* by one who has it not */
}

static pthread_mutex_t pi_mutex;
static long pi_counter;

static void *pi_adder(void *unused)
{
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&pi_mutex);
        pi_counter++;
        pthread_mutex_unlock(&pi_mutex);
    }
    return unused;
}

CASE(pi_mutex_contended)
{
    pthread_mutexattr_t a;
    pthread_t t[4];
    pi_counter = 0;
    pthread_mutexattr_init(&a);
    ERROR(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
    ERROR(pthread_mutex_init(&pi_mutex, &a));
    for (int i = 0; i < 4; i++)
        t[i] = start(pi_adder, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    VALUE(pi_counter);
    pthread_mutex_destroy(&pi_mutex);
}

/* ---- robust mutexes ---- */

static pthread_mutex_t robust;

static void *dies_with_it(void *unused)
{
    pthread_mutex_lock(&robust);
    return unused;
}

CASE(robust_mutex)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &a);
    pthread_join(start(dies_with_it, NULL), NULL);
    ERROR(pthread_mutex_trylock(&robust));
    ERROR(pthread_mutex_consistent(&robust));
    ERROR(pthread_mutex_unlock(&robust));
    ERROR(pthread_mutex_lock(&robust));
    ERROR(pthread_mutex_unlock(&robust));
}

static void *waits_for_robust(void *unused)
{
    stage = 1;
    ERROR(pthread_mutex_lock(&robust));
    return unused;
}

static void *dies_later(void *unused)
{
    pthread_mutex_lock(&robust);
    stage = 0;
    pthread_t t = start(waits_for_robust, NULL);
    wait_for(&stage, 1);
    settle_ms(100);
    return (void *)t; /* with a waiter: the kernel wakes it */
}

CASE(robust_mutex_waiter)
{
    pthread_mutexattr_t a;
    void *waiter;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &a);
    pthread_join(start(dies_later, NULL), &waiter);
    pthread_join((pthread_t)waiter, NULL);
    VALUE(syscall(SYS_set_robust_list, NULL, 1));
    void *head;
    size_t len;
    OK(syscall(SYS_get_robust_list, 0, &head, &len));
    VALUE(len);
}

/* ---- what the C library makes of it ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, emptied = PTHREAD_COND_INITIALIZER;
static int slots[8], have;
static long consumed;

static void *produce(void *unused)
{
    for (int i = 1; i <= 3000; i++) {
        pthread_mutex_lock(&lock);
        while (have == 8)
            pthread_cond_wait(&emptied, &lock);
        slots[have++] = i;
        pthread_cond_signal(&filled);
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

static void *consume(void *unused)
{
    for (int i = 0; i < 3000; i++) {
        pthread_mutex_lock(&lock);
        while (have == 0)
            pthread_cond_wait(&filled, &lock);
        consumed += slots[--have];
        pthread_cond_signal(&emptied);
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

CASE(condition_variables)
{
    pthread_t t[6];
    consumed = 0;
    for (int i = 0; i < 6; i++)
        t[i] = start(i % 2 ? produce : consume, NULL);
    for (int i = 0; i < 6; i++)
        pthread_join(t[i], NULL);
    VALUE(consumed);
    pthread_mutex_lock(&lock);
    struct timespec until = in_ms(CLOCK_REALTIME, 20);
    ERROR(pthread_cond_timedwait(&filled, &lock, &until));
    pthread_mutex_unlock(&lock);
}

static pthread_barrier_t barrier;
static volatile int serial;

static void *meet(void *unused)
{
    for (int i = 0; i < 200; i++)
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            __atomic_add_fetch(&serial, 1, __ATOMIC_SEQ_CST);
    return unused;
}

CASE(barriers)
{
    pthread_t t[4];
    serial = 0;
    pthread_barrier_init(&barrier, NULL, 4);
    for (int i = 0; i < 4; i++)
        t[i] = start(meet, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    VALUE(serial);
}

static sem_t ping, pong;

static void *answer(void *unused)
{
    for (int i = 0; i < 1000; i++) {
        sem_wait(&ping);
        sem_post(&pong);
    }
    return unused;
}

CASE(semaphores)
{
    sem_init(&ping, 0, 0);
    sem_init(&pong, 0, 0);
    pthread_t t = start(answer, NULL);
    for (int i = 0; i < 1000; i++) {
        sem_post(&ping);
        sem_wait(&pong);
    }
    pthread_join(t, NULL);
    struct timespec until = in_ms(CLOCK_REALTIME, 20);
    VALUE(sem_timedwait(&ping, &until));
    VALUE(sem_trywait(&ping));
}

static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static volatile long rw_a, rw_b, rw_wrong;

static void *read_write(void *n)
{
    for (int i = 0; i < 1000; i++) {
        if ((i + (long)n) % 5 == 0) {
            pthread_rwlock_wrlock(&rw);
            rw_a++;
            rw_b++;
        } else {
            pthread_rwlock_rdlock(&rw);
            if (rw_a != rw_b)
                rw_wrong++;
        }
        pthread_rwlock_unlock(&rw);
    }
    return NULL;
}

CASE(read_write_locks)
{
    pthread_t t[5];
    rw_a = rw_b = rw_wrong = 0;
    for (long i = 0; i < 5; i++)
        t[i] = start(read_write, (void *)i);
    for (int i = 0; i < 5; i++)
        pthread_join(t[i], NULL);
    VALUE(rw_a);
    VALUE(rw_wrong);
}

/* No wake-up is lost: two threads pass a token through raw futexes. */
static int token;

static void *pass(void *me)
{
    for (int i = 0; i < 3000; i++) {
        int now;
        while ((now = __atomic_load_n(&token, __ATOMIC_SEQ_CST)) != (long)me)
            futex(&token, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
        __atomic_store_n(&token, 1 - (long)me, __ATOMIC_SEQ_CST);
        futex(&token, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return NULL;
}

CASE(futex_ping_pong)
{
    pthread_t t[2];
    token = 0;
    for (long i = 0; i < 2; i++)
        t[i] = start(pass, (void *)i);
    for (int i = 0; i < 2; i++)
        ERROR(pthread_join(t[i], NULL));
}

/* ---- who is woken and waits again at once is not woken twice by one call ---- */

#define AGAINERS 40

static volatile int again_over;

static void *again(void *arg)
{
    while (!again_over)
        futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return NULL;
}

CASE(futex_wake_all_again)
{
    pthread_t threads[AGAINERS];
    bool once = true;
    word = other = again_over = 0;
    for (int i = 0; i < AGAINERS; i++)
        threads[i] = start(again, NULL);
    for (int i = 0; i < 200 && once; i++) {
        long woken = futex(&word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
        once = woken <= AGAINERS;
        woken = futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, INT32_MAX, NULL, &other, 0);
        once = once && woken <= AGAINERS;
        sched_yield();
    }
    CHECK(once);
    again_over = word = 1;
    futex(&word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
    for (int i = 0; i < AGAINERS; i++)
        pthread_join(threads[i], NULL);
}
