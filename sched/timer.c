/* The timer thread: sleeps until the first deadline, calls what is due. */
#include "sched/timer.h"

#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/panic.h"
#include "sched/waitq.h"

static struct mutex lock;        /* guards armed timers and `running` */
static struct tree armed_timers; /* by deadline */
static struct timer *running;    /* whose fire is being called; NULL none */
static struct waitq idle;        /* woken when running becomes NULL */
static struct event changed;     /* an earlier deadline than the thread sleeps for */
static struct thread *worker;

static struct timer *timer_entry(const struct tree_node *n)
{
    return container_of(n, struct timer, node);
}

static int compare(const struct tree_node *a, const struct tree_node *b)
{
    u64 x = timer_entry(a)->deadline_ns, y = timer_entry(b)->deadline_ns;
    return x < y ? -1 : x > y;
}

static void disarm(struct timer *t)
{
    tree_remove(&armed_timers, &t->node);
    t->armed = false;
}

void timer_set(struct timer *t, u64 deadline_ns)
{
    mutex_lock(&lock);
    if (t->armed)
        disarm(t);
    t->deadline_ns = deadline_ns;
    t->armed = true;
    tree_insert(&armed_timers, &t->node, compare);
    bool first = tree_first(&armed_timers) == &t->node;
    mutex_unlock(&lock);
    if (first && current_thread() != worker)
        event_set(&changed);
}

bool timer_cancel(struct timer *t)
{
    mutex_lock(&lock);
    bool was_armed = t->armed;
    if (was_armed)
        disarm(t);
    if (running == t && current_thread() != worker) {
        struct waiter w;
        waitq_enter(&idle, &w);
        while (running == t) {
            mutex_unlock(&lock);
            sched_sleep(SLEEP_FOREVER, 0);
            mutex_lock(&lock);
        }
        waitq_leave(&idle, &w);
        if (t->armed) { /* fire armed it again */
            disarm(t);
            was_armed = true;
        }
    }
    mutex_unlock(&lock);
    return was_armed;
}

/* Calls what is due. The next deadline, ~0 none. */
static u64 fire_due(void)
{
    mutex_lock(&lock);
    for (;;) {
        struct tree_node *n = tree_first(&armed_timers);
        struct timer *t = n ? timer_entry(n) : NULL;
        if (!t || t->deadline_ns > clock_monotonic_ns()) {
            u64 next = t ? t->deadline_ns : SLEEP_FOREVER;
            mutex_unlock(&lock);
            return next;
        }
        disarm(t);
        running = t;
        mutex_unlock(&lock);
        t->fire(t);
        mutex_lock(&lock);
        running = NULL;
        waitq_wake_all(&idle, 0);
    }
}

static void work(void *arg)
{
    for (;;)
        event_wait(&changed, fire_due(), 0);
}

void timer_init_workers(void)
{
    worker = thread_create("timers", work, NULL, false);
    ASSERT(worker);
    thread_start(worker);
}
