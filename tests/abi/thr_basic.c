/* Threads: creating, joining, thread-local storage, clean-up by the kernel, scheduling calls. */
#include "abi.h"

#include <sys/prctl.h>
#include <sys/resource.h>

static pid_t own_tid(void)
{
    return syscall(SYS_gettid);
}

static __thread int local = 7;
static __thread char local_zero[100];

static void *use_local(void *n)
{
    bool right = local == 7 && local_zero[99] == 0;
    local = (int)(intptr_t)n;
    local_zero[99] = 1;
    sched_yield();
    return (void *)(intptr_t)(right && local == (int)(intptr_t)n);
}

CASE(thread_local_storage)
{
    pthread_t t[16];
    bool right = true;
    local = 1000;
    for (int i = 0; i < 16; i++)
        t[i] = start(use_local, (void *)(intptr_t)(i + 20));
    for (int i = 0; i < 16; i++) {
        void *ok;
        pthread_join(t[i], &ok);
        right = right && ok != NULL;
    }
    CHECK(right && local == 1000);
}

static volatile int started;
static volatile int go;

static void *wait_and_end(void *n)
{
    __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
    while (!go)
        sleep_ms(10);
    return n;
}

CASE(many_threads)
{
    enum { N = 500 };
    static pthread_t t[N];
    pthread_attr_t small;
    int failed = 0;
    long sum = 0;
    started = go = 0;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * KB);
    for (long i = 0; i < N; i++)
        failed += pthread_create(&t[i], &small, wait_and_end, (void *)i) != 0;
    VALUE(failed);
    CHECK(wait_for(&started, N)); /* all alive at the same time */
    go = 1;
    for (int i = 0; i < N; i++) {
        void *n = NULL;
        pthread_join(t[i], &n);
        sum += (long)n;
    }
    VALUE(sum);
}

static void *nothing(void *unused)
{
    return unused;
}

CASE(threads_come_and_go)
{
    int failed = 0;
    for (int i = 0; i < 2000; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, nothing, NULL) != 0 || pthread_join(t, NULL) != 0)
            failed++;
    }
    VALUE(failed);
}

static void *detached(void *unused)
{
    __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
    return unused;
}

CASE(detached_threads)
{
    pthread_attr_t a;
    started = 0;
    pthread_attr_init(&a);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 100; i++) {
        pthread_t t;
        if (pthread_create(&t, &a, detached, NULL) != 0)
            say("no thread");
    }
    CHECK(wait_for(&started, 100));
}

static void *note_tid(void *unused)
{
    return (void *)(intptr_t)own_tid();
}

CASE(thread_ids)
{
    void *a, *b;
    pthread_t t = start(note_tid, NULL);
    pthread_join(t, &a);
    t = start(note_tid, NULL);
    pthread_join(t, &b);
    CHECK((pid_t)(intptr_t)a > 0 && (pid_t)(intptr_t)a != own_tid() && a != b);
    CHECK(own_tid() != getpid()); /* a case runs in a thread of its own */
}

/* The kernel clears the word that set_tid_address names and wakes one waiter of it, when the thread ends. */
static volatile int clear_word = 1;

static void *set_clear_word(void *unused)
{
    clear_word = own_tid();
    CHECK(syscall(SYS_set_tid_address, &clear_word) == own_tid());
    syscall(SYS_exit, 0); /* past the C library, whose own word is set no more */
    return unused;
}

CASE_ENDS(clear_child_tid)
{
    pthread_attr_t a;
    pthread_t t;
    pthread_attr_init(&a);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    pthread_create(&t, &a, set_clear_word, NULL);
    for (int tid = 1; (tid = __atomic_load_n(&clear_word, __ATOMIC_SEQ_CST)) != 0;)
        if (tid != 1)
            syscall(SYS_futex, &clear_word, 0 /* FUTEX_WAIT, shared */, tid, NULL, NULL, 0);
    VALUE(clear_word);
}

static pthread_key_t key;
static volatile int destroyed;

static void destroy(void *p)
{
    destroyed++;
}

static void *use_key(void *p)
{
    pthread_setspecific(key, p);
    pthread_exit(NULL);
}

CASE(thread_keys)
{
    destroyed = 0;
    ERROR(pthread_key_create(&key, destroy));
    pthread_join(start(use_key, &key), NULL);
    VALUE(destroyed);
    pthread_key_delete(key);
}

static volatile int cleaned;

static void clean(void *unused)
{
    cleaned++;
}

static void *cancelled(void *unused)
{
    pthread_cleanup_push(clean, NULL);
    started = 1;
    for (;;)
        sleep(10);
    pthread_cleanup_pop(0);
    return unused;
}

CASE(thread_cancel)
{
    void *result;
    started = cleaned = 0;
    pthread_t t = start(cancelled, NULL);
    CHECK(wait_for(&started, 1));
    ERROR(pthread_cancel(t));
    ERROR(pthread_join(t, &result));
    CHECK(result == PTHREAD_CANCELED && cleaned == 1);
}

CASE(thread_name)
{
    char name[32] = "", path[64];
    OK(prctl(PR_SET_NAME, "a name that is too long"));
    OK(prctl(PR_GET_NAME, name));
    say("%s", name);
    snprintf(path, sizeof(path), "/proc/self/task/%d/comm", own_tid());
    VALUE(slurp(path, name, sizeof(name)));
    say("%s", name);
    VALUE(prctl(PR_SET_NAME, 8));
    VALUE(prctl(9999, 0));
}

/* ---- scheduling ---- */

CASE(affinity)
{
    cpu_set_t all, one, now;
    OK(sched_getaffinity(0, sizeof(all), &all));
    CHECK(CPU_COUNT(&all) == sysconf(_SC_NPROCESSORS_ONLN));
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (sched_setaffinity(0, sizeof(one), &one) != 0)
            say("cannot move to a CPU: %s", errname(errno));
        if (sched_getcpu() != cpu)
            say("asked for a CPU, runs on another");
        unsigned seen = 99;
        if (syscall(SYS_getcpu, &seen, NULL, NULL) != 0 || seen != cpu)
            say("getcpu says another");
        sched_getaffinity(0, sizeof(now), &now);
        if (!CPU_EQUAL(&now, &one))
            say("the mask reads back differently");
    }
    CPU_ZERO(&one);
    VALUE(sched_setaffinity(0, sizeof(one), &one)); /* no CPU at all */
    CPU_SET(1000, &one);
    VALUE(sched_setaffinity(0, sizeof(one), &one)); /* none that exists */
    OK(sched_setaffinity(0, sizeof(all), &all));
    VALUE(sched_setaffinity(999999, sizeof(all), &all));
    VALUE(syscall(SYS_sched_getaffinity, 0, 1, &all));
    VALUE(syscall(SYS_sched_getaffinity, 0, 7, &all));
    CHECK(syscall(SYS_sched_getaffinity, 0, sizeof(all), &all) % 8 == 0);
}

static volatile unsigned long turns[2];

static void *yielder(void *n)
{
    while (!go) {
        turns[(long)n]++;
        sched_yield();
    }
    return NULL;
}

CASE(yield)
{
    pthread_t t[2];
    cpu_set_t one, all;
    sched_getaffinity(0, sizeof(all), &all);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
    go = 0;
    for (long i = 0; i < 2; i++)
        t[i] = start(yielder, (void *)i);
    for (int i = 0; i < 100 && (i < 3 || turns[0] <= 100 || turns[1] <= 100); i++)
        sleep_ms(100);
    go = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    CHECK(turns[0] > 100 && turns[1] > 100); /* both ran, on one CPU */
    sched_setaffinity(0, sizeof(all), &all);
    OK(sched_yield());
}

static void *burner(void *n)
{
    while (!go)
        turns[(long)n]++;
    return NULL;
}

CASE(preemption_is_fair)
{
    pthread_t t[2];
    cpu_set_t one, all;
    sched_getaffinity(0, sizeof(all), &all);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
    go = 0;
    turns[0] = turns[1] = 0;
    for (long i = 0; i < 2; i++)
        t[i] = start(burner, (void *)i);
    /* This thread comes back although two others never give the CPU up; a busy host takes longer to be fair.
     */
    for (int i = 0; i < 20 && (i < 2 || turns[0] >= 2 * turns[1] || turns[1] >= 2 * turns[0]); i++)
        sleep_ms(500);
    go = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    sched_setaffinity(0, sizeof(all), &all);
    CHECK(turns[0] < 3 * turns[1] && turns[1] < 3 * turns[0]);
}

CASE(priorities)
{
    struct sched_param p = {0};
    VALUE(syscall(SYS_getpriority, PRIO_PROCESS, 0)); /* the raw call answers 20 - nice */
    OK(setpriority(PRIO_PROCESS, 0, 5));
    VALUE(syscall(SYS_getpriority, PRIO_PROCESS, 0));
    OK(setpriority(PRIO_PROCESS, own_tid(), -3));
    VALUE(syscall(SYS_getpriority, PRIO_PROCESS, own_tid()));
    OK(setpriority(PRIO_PROCESS, 0, 100));
    VALUE(syscall(SYS_getpriority, PRIO_PROCESS, 0)); /* cut to 19 */
    OK(setpriority(PRIO_PROCESS, 0, 0));
    VALUE(setpriority(77, 0, 0));
    VALUE(setpriority(PRIO_PROCESS, 999999, 0));
    VALUE(sched_get_priority_max(SCHED_FIFO));
    VALUE(sched_get_priority_min(SCHED_FIFO));
    VALUE(sched_get_priority_max(SCHED_OTHER));
    VALUE(sched_get_priority_max(77));
    VALUE(syscall(SYS_sched_getscheduler, 0));
    VALUE(syscall(SYS_sched_getparam, 0, &p));
    VALUE(p.sched_priority);
}

static volatile int barrier_at;

static void *membarriers(void *unused)
{
    while (!go)
        barrier_at++;
    return unused;
}

CASE(memory_barrier)
{
    long commands = syscall(SYS_membarrier, 0 /* QUERY */, 0, 0);
    CHECK(commands > 0 && (commands & 8) != 0 && (commands & 16) != 0);
    go = 0;
    pthread_t t = start(membarriers, NULL);
    OK(syscall(SYS_membarrier, 16 /* REGISTER_PRIVATE_EXPEDITED */, 0, 0));
    OK(syscall(SYS_membarrier, 8 /* PRIVATE_EXPEDITED */, 0, 0));
    VALUE(syscall(SYS_membarrier, 9999, 0, 0));
    VALUE(syscall(SYS_membarrier, 8, 4096, 0));
    go = 1;
    pthread_join(t, NULL);
}

static void *exits(void *unused)
{
    sleep_ms(50);
    say("leaving from another thread");
    syscall(SYS_exit_group, 17);
    return unused;
}

CASE_ENDS(exit_from_other_thread)
{
    start(exits, NULL);
    for (;;)
        pause();
}

static void *spins(void *unused)
{
    for (;;)
        turns[0]++;
    return unused;
}

CASE_ENDS(exit_while_others_run)
{
    for (int i = 0; i < 8; i++)
        start(i % 2 ? spins : wait_and_end, NULL);
    sleep_ms(100);
    say("leaving");
    exit(3);
}
