/* The scheduler on simulated CPUs: fairness, nice, affinity, deadlines, idleness, locks, thread ends. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/errno.h"
#include "sched/mutex.h"
#include "sched/runqueue.h"
#include "sched/timer.h"
#include "sched/waitq.h"
#include "tests/unit/sched/simulator.h"

#define CHECK(cond, ...)                                                                                     \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            printf("not ok %s: line %d: %s: ", test_name, __LINE__, #cond);                                  \
            printf(__VA_ARGS__);                                                                             \
            printf("\n");                                                                                    \
            fflush(stdout);                                                                                  \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static const char *test_name;
static u32 test_cpus;

static struct thread *hog(int nice, cpu_mask affinity)
{
    struct thread *t = thread_create("hog", sim_work_forever, NULL, false);
    sched_set_nice(t, nice);
    sched_set_affinity(t, affinity);
    thread_start(t);
    return t;
}

static u64 sleep_for(u64 ns)
{
    u64 deadline = clock_monotonic_ns() + ns;
    while (sched_sleep(deadline, 0) != -ETIMEDOUT)
        ;
    CHECK(clock_monotonic_ns() >= deadline, "woke early");
    return clock_monotonic_ns() - deadline;
}

/* ---- fairness ---- */

static void check_shares(struct thread **t, const double *share, u32 n, u64 ns, double tolerance)
{
    u64 before[64];
    for (u32 i = 0; i < n; i++)
        before[i] = sched_run_ns(t[i]);
    sleep_for(ns);
    for (u32 i = 0; i < n; i++) {
        double got = (double)(sched_run_ns(t[i]) - before[i]) / ns;
        CHECK(got > share[i] * (1 - tolerance) && got < share[i] * (1 + tolerance),
              "thread %u of %u on %u CPUs got %.4f, its share is %.4f", i, n, test_cpus, got, share[i]);
    }
}

static void equal_shares(u32 n)
{
    struct thread *t[64];
    double share[64];
    for (u32 i = 0; i < n; i++) {
        t[i] = hog(0, ~0UL);
        share[i] = n > test_cpus ? (double)test_cpus / n : 1;
    }
    check_shares(t, share, n, 5 * NSEC_PER_SEC, 0.02);
    sim_stop();
}
static void fair_2(void)
{
    equal_shares(2);
}
static void fair_3(void)
{
    equal_shares(3);
}
static void fair_5(void)
{
    equal_shares(5);
}
static void fair_7(void)
{
    equal_shares(7);
}
static void fair_9(void)
{
    equal_shares(9);
}
static void fair_33(void)
{
    equal_shares(33);
}

/* Time that the host steals counts as run time, in bursts: the bursts must even out. */
static void fair_stalled(void)
{
    struct thread *t[64];
    double share[64];
    sim_stalls = true;
    for (u32 i = 0; i < 2 * test_cpus + 1; i++) {
        t[i] = hog(0, ~0UL);
        share[i] = (double)test_cpus / (2 * test_cpus + 1);
    }
    check_shares(t, share, 2 * test_cpus + 1, 5 * NSEC_PER_SEC, 0.15);
    sim_stop();
}

/* Each thread gets its share of the work done, not only of time, when one CPU does less than the others. */
static void fair_work(u32 n, const int *nice, double tolerance)
{
    u64 steps[64] = {0}, sum = 0;
    double weights = 0, weight[64];
    sim_slow_cpu = true;
    for (u32 i = 0; i < n; i++) {
        struct thread *t = thread_create("worker", sim_count_work, &steps[i], false);
        sched_set_nice(t, nice[i % 2]);
        thread_start(t);
        weights += weight[i] = nice[i % 2] ? 335.54 : 1024;
    }
    sleep_for(5 * NSEC_PER_SEC);
    for (u32 i = 0; i < n; i++)
        sum += steps[i];
    for (u32 i = 0; i < n; i++) {
        double off = steps[i] * weights / weight[i] / sum - 1;
        CHECK(off < tolerance && off > -tolerance, "thread %u of %u on %u CPUs: %+.2f %% of its share", i, n,
              test_cpus, off * 100);
    }
    sim_stop();
}
static void fair_work_3(void)
{
    fair_work(3, (int[]){0, 0}, 0.02);
}
static void fair_work_5(void)
{
    fair_work(5, (int[]){0, 0}, 0.02);
}
static void fair_work_8(void)
{
    fair_work(8, (int[]){0, 0}, 0.02);
}
static void fair_work_16(void)
{
    fair_work(16, (int[]){0, 0}, 0.02);
}
static void fair_work_nice(void)
{
    fair_work(8, (int[]){0, 5}, 0.05);
}

static void fair_nice(void)
{
    struct thread *t[3] = {hog(0, ~0UL), hog(5, ~0UL), hog(-5, ~0UL)};
    double w = 1024 + 335.5 + 3125;
    check_shares(t, (double[]){1024 / w, 335.5 / w, 3125 / w}, 3, 5 * NSEC_PER_SEC, 0.02);
    sim_stop();
}

/* On two CPUs the heavy one can use but one of them; the others share the second. */
static void fair_too_heavy(void)
{
    struct thread *t[4] = {hog(-20, ~0UL), hog(0, ~0UL), hog(0, ~0UL), hog(0, ~0UL)};
    sleep_for(NSEC_PER_SEC / 5);
    check_shares(t, (double[]){1, 1 / 3., 1 / 3., 1 / 3.}, 4, 5 * NSEC_PER_SEC, 0.03);
    sim_stop();
}

static void fair_pinned(void)
{
    struct thread *t[3] = {hog(0, 1), hog(0, 1), hog(0, 2)};
    check_shares(t, (double[]){.5, .5, 1}, 3, 5 * NSEC_PER_SEC, 0.02);
    /* One that may run anywhere now: with it both CPUs carry two. */
    struct thread *u[4] = {t[0], t[1], t[2], hog(0, ~0UL)};
    sleep_for(NSEC_PER_SEC / 2);
    check_shares(u, (double[]){.5, .5, .5, .5}, 4, 5 * NSEC_PER_SEC, 0.03);
    sim_stop();
}

/* What was not contended before must not count against anyone afterwards. */
static void fair_after_quiet(void)
{
    struct thread *t[3] = {hog(0, ~0UL)};
    sleep_for(3 * NSEC_PER_SEC);
    t[1] = hog(0, ~0UL);
    sleep_for(2 * NSEC_PER_SEC);
    t[2] = hog(0, ~0UL);
    check_shares(t, (double[]){2 / 3., 2 / 3., 2 / 3.}, 3, 5 * NSEC_PER_SEC, 0.02);
    sim_stop();
}

static void no_hoarding(void)
{
    struct thread *h = hog(0, ~0UL);
    sleep_for(3 * NSEC_PER_SEC);
    u64 before = sched_run_ns(h), start = clock_monotonic_ns();
    sim_work(50 * NSEC_PER_MSEC);
    u64 took = clock_monotonic_ns() - start;
    CHECK(took > 85 * NSEC_PER_MSEC, "slept 3 s, then got 50 ms within %lu us", took / 1000);
    CHECK(sched_run_ns(h) - before > 35 * NSEC_PER_MSEC, "the other was starved");
    sim_stop();
}

static void sleeper_is_prompt(void)
{
    u64 worst = 0;
    for (u32 i = 0; i < test_cpus; i++)
        hog(0, ~0UL);
    for (int i = 0; i < 100; i++) {
        u64 late = sleep_for(7 * NSEC_PER_MSEC);
        worst = MAX(worst, late);
        sim_work(NSEC_PER_MSEC / 10);
    }
    CHECK(worst <= 2 * NSEC_PER_MSEC, "late by %lu us", worst / 1000);
    sim_stop();
}

/* ---- timers and idleness ---- */

static void idle_is_silent(void)
{
    sleep_for(NSEC_PER_SEC / 10);
    struct thread *h = hog(0, ~0UL);
    sleep_for(NSEC_PER_SEC / 10);
    u64 before = 0, after = 0;
    for (u32 i = 0; i < test_cpus; i++)
        before += sched_timer_interrupts(i);
    sleep_for(10 * NSEC_PER_SEC);
    for (u32 i = 0; i < test_cpus; i++)
        after += sched_timer_interrupts(i);
    CHECK(after - before <= 1, "%lu timer interrupts in 10 s", after - before);
    CHECK(sched_run_ns(h) > 10 * NSEC_PER_SEC, "it did not run");
    sim_stop();
}

/* Two threads on two CPUs wake each other; what a turn computes is short against SCHED_IDLE_POLL_NS. */
static struct thread *pair[2];
static u64 turns;
static void take_turns(void *arg)
{
    for (u64 me = (u64)arg; turns < 2000;) {
        while (turns % 2 != me)
            sched_sleep(SLEEP_FOREVER, 0);
        sim_work(SIM_STEP);
        turns++;
        sched_wake(pair[!me]);
    }
}

static void start_pair(void)
{
    for (u64 i = 0; i < 2; i++) {
        pair[i] = thread_create("pair", take_turns, (void *)i, false);
        sched_set_affinity(pair[i], 1UL << i);
    }
    for (u32 i = 0; i < 2; i++)
        thread_start(pair[i]);
}

/* An idle CPU that is woken soon looks for work: it need not be interrupted. */
static void idle_looks(void)
{
    sleep_for(NSEC_PER_SEC / 10);
    u64 ipis = sim_ipis, halts = sim_halts;
    start_pair();
    while (turns < 2000)
        sleep_for(NSEC_PER_MSEC);
    CHECK(sim_ipis - ipis < 100 && sim_halts - halts < 1000, "%lu interrupts, %lu halts", sim_ipis - ipis,
          sim_halts - halts);
    sim_stop();
}

static void idle_does_not_look_when_told(void)
{
    sched_idle_poll_ns = 0;
    start_pair();
    while (turns < 2000)
        sleep_for(NSEC_PER_MSEC);
    CHECK(sim_ipis >= 1500 && !sim_looks, "%lu interrupts, %lu looks", sim_ipis, sim_looks);
    sim_stop();
}

/* Threads that hand on to each other, each working but briefly. */
static struct thread *ring[4];
static u64 hops;
static void hand_on(void *arg)
{
    for (u64 me = (u64)arg;;) {
        while (hops % ARRAY_LEN(ring) != me)
            sched_sleep(SLEEP_FOREVER, 0);
        sim_work(SIM_STEP);
        hops++;
        sched_wake(ring[(me + 1) % ARRAY_LEN(ring)]);
    }
}

static void start_ring(void)
{
    for (u64 i = 0; i < ARRAY_LEN(ring); i++)
        ring[i] = thread_create("ring", hand_on, (void *)i, false);
    for (u32 i = 0; i < ARRAY_LEN(ring); i++)
        thread_start(ring[i]);
}

/* Beside a busy thread they gather on the other CPU: no hand-over has to wait for a CPU that is busy. */
static void ring_gathers(void)
{
    struct thread *busy = hog(0, ~0UL);
    sleep_for(10 * NSEC_PER_MSEC);
    start_ring();
    sleep_for(20 * NSEC_PER_MSEC);
    u64 ipis = sim_ipis, ran = sched_run_ns(busy), handed = hops;
    sleep_for(NSEC_PER_SEC);
    ipis = sim_ipis - ipis;
    handed = hops - handed;
    ran = sched_run_ns(busy) - ran;
    CHECK(ipis < handed / 50, "%lu interrupts for %lu hand-overs", ipis, handed);
    CHECK(ran > NSEC_PER_SEC * 97 / 100, "the busy thread got %lu ns of a second", ran);
    sim_stop();
}

/* So they do where no CPU is free of busy threads, and all get their share. */
static void ring_gathers_among_busy(void)
{
    struct thread *busy[2] = {hog(0, ~0UL), hog(0, ~0UL)};
    sleep_for(10 * NSEC_PER_MSEC);
    start_ring();
    sleep_for(NSEC_PER_SEC);
    u64 ipis = sim_ipis, ran[2] = {sched_run_ns(busy[0]), sched_run_ns(busy[1])}, handed = hops;
    sleep_for(5 * NSEC_PER_SEC);
    ipis = sim_ipis - ipis;
    handed = hops - handed;
    for (u32 i = 0; i < 2; i++)
        ran[i] = sched_run_ns(busy[i]) - ran[i];
    CHECK(ipis < handed / 50, "%lu interrupts for %lu hand-overs", ipis, handed);
    double ratio = (double)ran[0] / ran[1];
    CHECK(ratio > 0.97 && ratio < 1.03, "the busy threads got %lu and %lu ns", ran[0], ran[1]);
    sim_stop();
}

/* Where nothing comes soon it halts at once. */
static void idle_gives_up(void)
{
    hog(0, 2);
    sched_set_affinity(current_thread(), 1);
    for (u32 i = 0; i < 1000; i++)
        sleep_for(5 * NSEC_PER_MSEC);
    CHECK(sim_looks < 50, "%lu looks in 1,000 long waits", sim_looks);
    sim_stop();
}

/* Nor does it look for long while no other CPU could bring it work. */
static void idle_looks_not_alone(void)
{
    for (u32 i = 0; i < 1000; i++)
        sleep_for(100 * NSEC_PER_USEC);
    CHECK(sim_looks <= 1000 * (test_cpus - 1), "%lu looks in 1,000 waits", sim_looks);
    sim_stop();
}

/* A device: it has something at `due`, and would interrupt if it were not looked at, which the simulator
 * cannot. */
static struct {
    u64 due, begun, ended, found;
    bool claimed; /* by somebody else */
    struct thread *waiter;
} device;

static bool device_begin(struct idle_source *s)
{
    CHECK(irq_enabled(), "interrupts are off");
    device.begun += !device.claimed;
    return !device.claimed;
}

static void device_look(struct idle_source *s)
{
    CHECK(device.begun == device.ended + 1, "looked at beside its time");
    if (clock_monotonic_ns() >= device.due) {
        device.due = SLEEP_FOREVER;
        device.found++;
        sched_wake(device.waiter);
    }
}

static void device_end(struct idle_source *s)
{
    device.ended++;
}

static void watch_device(void)
{
    static struct idle_source source = {device_begin, device_look, device_end};
    sched_set_affinity(current_thread(), 1);
    sched_idle_watch(0, &source);
    device.waiter = current_thread();
    device.due = SLEEP_FOREVER;
}

/* An idle CPU looks at what devices bring, alone or not, and need not be interrupted; the deadline is for the
 * worst. */
static void idle_looks_at_devices(void)
{
    watch_device();
    for (u32 i = 0; i < 1000; i++) {
        device.due = clock_monotonic_ns() + 100 * NSEC_PER_USEC;
        sched_sleep(clock_monotonic_ns() + 10 * NSEC_PER_MSEC, 0);
    }
    CHECK(device.found > 990, "%lu of 1,000 found by looking", device.found);
    CHECK(device.begun == device.ended, "%lu begun, %lu ended", device.begun, device.ended);
    sim_stop();
}

/* What nothing comes from, or what others look at, it leaves alone. */
static void idle_leaves_devices(void)
{
    watch_device();
    for (u32 i = 0; i < 1000; i++)
        sleep_for(5 * NSEC_PER_MSEC);
    CHECK(device.begun < 20, "%lu looks at a device that is silent", device.begun);
    device.claimed = true;
    u64 begun = device.begun;
    for (u32 i = 0; i < 1000; i++)
        sleep_for(100 * NSEC_PER_USEC);
    CHECK(device.begun == begun, "looked at what others look at");
    sim_stop();
}

/* Where short waits and vain looks alternate, as on a crowded host, it looks seldom. */
static void idle_backs_off(void)
{
    u64 waits = 4000;
    hog(0, 2);
    sched_set_affinity(current_thread(), 1);
    for (u32 i = 0; i < waits; i++) /* the idle thread counts this wait when it comes back, for the next */
        sleep_for(runqueues[0].poll.skip > 1 ? 100 * NSEC_PER_USEC : NSEC_PER_MSEC);
    CHECK(sim_looks < waits / 4, "%lu looks in %lu waits", sim_looks, waits);
    sim_stop();
}

static u32 ended;
static void timed_sleeper(void *arg)
{
    for (u64 i = 1; i < 5; i++) {
        u64 late = sleep_for(i * ((u64)arg % 97 + 1) * 100 * NSEC_PER_USEC);
        CHECK(late < 20 * NSEC_PER_MSEC, "late by %lu us", late / 1000);
    }
    __atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
}

static void many_sleepers(void)
{
    for (u64 i = 0; i < 2000; i++)
        thread_start(thread_create("sleeper", timed_sleeper, (void *)i, false));
    while (ended < 2000)
        sleep_for(NSEC_PER_MSEC);
    sim_stop();
}

static u32 fired;
static void on_fire(struct timer *t)
{
    CHECK(clock_monotonic_ns() >= t->deadline_ns, "early");
    if (++fired < 5)
        timer_set(t, t->deadline_ns + NSEC_PER_MSEC);
}

static void timers(void)
{
    static struct timer t = {.fire = on_fire}, never = {.fire = on_fire};
    timer_init_workers();
    timer_set(&t, clock_monotonic_ns() + NSEC_PER_MSEC);
    timer_set(&never, clock_monotonic_ns() + NSEC_PER_SEC);
    sleep_for(20 * NSEC_PER_MSEC);
    CHECK(fired == 5, "fired %u times", fired);
    CHECK(timer_cancel(&never), "was not armed");
    CHECK(!timer_cancel(&t), "was armed");
    sleep_for(2 * NSEC_PER_SEC);
    CHECK(fired == 5, "a cancelled timer fired");
    sim_stop();
}

/* ---- locks ---- */

static struct mutex lock;
static u64 inside, total;

static void locker(void *arg)
{
    for (int i = 0; i < 200; i++) {
        mutex_lock(&lock);
        CHECK(++inside == 1, "two inside");
        if (i % 3 == 0)
            sim_work(30 * NSEC_PER_USEC);
        if (i % 7 == 0)
            sched_yield();
        inside--;
        total++;
        mutex_unlock(&lock);
        if (i % 11 == 0)
            sleep_for(NSEC_PER_MSEC / 5);
    }
    __atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
}

static void mutexes(void)
{
    for (int i = 0; i < 10; i++)
        thread_start(thread_create("locker", locker, NULL, false));
    while (ended < 10)
        sleep_for(NSEC_PER_MSEC);
    CHECK(total == 2000, "%lu", total);
    CHECK(!lock.count && !lock.push && !lock.pop && !lock.handoff, "not free");
    sim_stop();
}

/* ---- thread ends, interruption, affinity ---- */

static void short_life(void *arg)
{
    __atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
}
static void recycling(void)
{
    u64 before = 0;
    for (u32 round = 0; round < 300; round++) {
        for (int i = 0; i < 10; i++)
            thread_start(thread_create("short", short_life, NULL, i & 1));
        while (ended < (round + 1) * 10)
            sleep_for(NSEC_PER_MSEC);
        if (round == 50)
            before = sim_live_objects();
    }
    CHECK(sim_live_objects() <= before + 3 * 17 * test_cpus, "%lu objects, %lu before", sim_live_objects(),
          before);
    sim_stop();
}

static int interrupted_result;
static void interruptible(void *arg)
{
    do
        interrupted_result = sched_sleep(SLEEP_FOREVER, SLEEP_INTERRUPTIBLE);
    while (!interrupted_result);
    __atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
}
static void interruption(void)
{
    struct thread *t = thread_create("t", interruptible, NULL, false);
    thread_start(t);
    sleep_for(NSEC_PER_MSEC);
    sched_wake(t); /* spurious */
    sleep_for(NSEC_PER_MSEC);
    CHECK(!ended, "ended by a spurious wake-up");
    sched_interrupt(t);
    sleep_for(NSEC_PER_MSEC);
    CHECK(ended && interrupted_result == -EINTR, "%d", interrupted_result);
    sched_wake(t); /* it is dead: harmless */
    sleep_for(NSEC_PER_MSEC);
    sim_stop();
}

static void migration(void)
{
    for (int i = 0; i < 100; i++) {
        u32 want = i % test_cpus;
        sched_set_affinity(current_thread(), 1UL << want);
        CHECK(cpu_id() == want, "on %u, not %u", cpu_id(), want);
        sim_work(SIM_STEP);
        CHECK(cpu_id() == want, "on %u, not %u", cpu_id(), want);
    }
    struct thread *t = hog(0, 1);
    sleep_for(NSEC_PER_MSEC);
    sched_set_affinity(t, 2);
    sleep_for(5 * NSEC_PER_MSEC);
    CHECK(t->cpu == 1, "another thread did not move");
    sim_stop();
}

static struct event pings[2];
static void ponger(void *arg)
{
    for (;;) {
        event_wait(&pings[1], SLEEP_FOREVER, 0);
        event_set(&pings[0]);
    }
}
static void ping_pong(void)
{
    thread_start(thread_create("pong", ponger, NULL, false));
    for (int i = 0; i < 1000; i++) {
        event_set(&pings[1]);
        CHECK(event_wait(&pings[0], clock_monotonic_ns() + NSEC_PER_SEC, 0) == 0, "lost at %d", i);
    }
    CHECK(event_wait(&pings[0], clock_monotonic_ns() + NSEC_PER_MSEC, 0) == -ETIMEDOUT, "no timeout");
    sim_stop();
}

static const struct test {
    const char *name;
    u32 cpus;
    void (*run)(void);
} tests[] = {
    {"sched/fair-2-on-1", 1, fair_2},
    {"sched/fair-5-on-1", 1, fair_5},
    {"sched/fair-3-on-2", 2, fair_3},
    {"sched/fair-5-on-2", 2, fair_5},
    {"sched/fair-5-on-4", 4, fair_5},
    {"sched/fair-7-on-4", 4, fair_7},
    {"sched/fair-9-on-8", 8, fair_9},
    {"sched/fair-33-on-32", 32, fair_33},
    {"sched/fair-2-on-4", 4, fair_2},
    {"sched/fair-stalled-2", 2, fair_stalled},
    {"sched/fair-stalled-4", 4, fair_stalled},
    {"sched/fair-work-3-on-2", 2, fair_work_3},
    {"sched/fair-work-5-on-2", 2, fair_work_5},
    {"sched/fair-work-8-on-2", 2, fair_work_8},
    {"sched/fair-work-16-on-4", 4, fair_work_16},
    {"sched/fair-work-nice-on-2", 2, fair_work_nice},
    {"sched/fair-nice", 1, fair_nice},
    {"sched/fair-too-heavy", 2, fair_too_heavy},
    {"sched/fair-pinned", 2, fair_pinned},
    {"sched/fair-after-quiet", 2, fair_after_quiet},
    {"sched/no-hoarding", 1, no_hoarding},
    {"sched/sleeper-is-prompt-1", 1, sleeper_is_prompt},
    {"sched/sleeper-is-prompt-4", 4, sleeper_is_prompt},
    {"sched/idle-is-silent", 4, idle_is_silent},
    {"sched/idle-looks", 2, idle_looks},
    {"sched/idle-does-not-look-when-told", 2, idle_does_not_look_when_told},
    {"sched/idle-gives-up", 2, idle_gives_up},
    {"sched/idle-looks-not-alone", 1, idle_looks_not_alone},
    {"sched/idle-looks-not-alone", 2, idle_looks_not_alone},
    {"sched/idle-looks-at-devices", 1, idle_looks_at_devices},
    {"sched/idle-looks-at-devices", 2, idle_looks_at_devices},
    {"sched/idle-leaves-devices", 1, idle_leaves_devices},
    {"sched/idle-leaves-devices", 2, idle_leaves_devices},
    {"sched/idle-backs-off", 2, idle_backs_off},
    {"sched/ring-gathers", 2, ring_gathers},
    {"sched/ring-gathers-among-busy", 2, ring_gathers_among_busy},
    {"sched/many-sleepers-1", 1, many_sleepers},
    {"sched/many-sleepers-4", 4, many_sleepers},
    {"sched/timers", 2, timers},
    {"sched/mutex-1", 1, mutexes},
    {"sched/mutex-4", 4, mutexes},
    {"sched/recycling", 4, recycling},
    {"sched/interruption", 2, interruption},
    {"sched/migration", 4, migration},
    {"sched/ping-pong-1", 1, ping_pong},
    {"sched/ping-pong-2", 2, ping_pong},
};

/* One process a test: the scheduler's state is global. */
static bool run(const struct test *t)
{
    int status;
    test_name = t->name;
    test_cpus = t->cpus;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        sim_run(t->cpus, t->run);
        printf("ok %s\n", t->name);
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        printf("not ok %s: signal %d\n", t->name, WTERMSIG(status));
    return status == 0;
}

int main(int argc, char **argv)
{
    bool good = true;
    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        if (argc < 2 || !__builtin_strcmp(argv[1], tests[i].name))
            good &= run(&tests[i]);
    return !good;
}
