/* One CPU's queue of waiting threads, its sleepers' deadlines, and its timer. */
#include "sched/runqueue.h"

#include "kernel/base/panic.h"

struct runqueue runqueues[CPU_MAX];

static struct thread *ready_entry(const struct tree_node *n)
{
    return container_of(n, struct thread, run_node);
}

static int compare_vruntime(const struct tree_node *a, const struct tree_node *b)
{
    s64 d = ready_entry(a)->vruntime - ready_entry(b)->vruntime;
    return d < 0 ? -1 : d > 0;
}

void ready_insert_among(struct runqueue *rq, struct thread *t)
{
    if ((s64)(t->vruntime - rq->first->vruntime) < 0) {
        struct thread *behind = rq->first;
        rq->first = t;
        t = behind;
    }
    tree_insert(&rq->ready, &t->run_node, compare_vruntime);
}

void ready_remove_among(struct runqueue *rq, struct thread *t)
{
    if (rq->first == t)
        rq->first = t = ready_entry(tree_first(&rq->ready));
    tree_remove(&rq->ready, &t->run_node);
}

struct thread *ready_next(struct runqueue *rq, struct thread *t)
{
    struct tree_node *n = t == rq->first ? tree_first(&rq->ready) : tree_next(&t->run_node);
    return n ? ready_entry(n) : NULL;
}

/* ---- deadlines ---- */

static int compare_deadline(const struct tree_node *a, const struct tree_node *b)
{
    u64 x = container_of(a, struct thread, timer_node)->timer_ns;
    u64 y = container_of(b, struct thread, timer_node)->timer_ns;
    return x < y ? -1 : x > y;
}

void rq_timer_add(struct runqueue *rq, struct thread *t, u64 deadline_ns)
{
    t->timer_ns = deadline_ns;
    t->timer_armed = true;
    tree_insert(&rq->timers, &t->timer_node, compare_deadline);
    rq->first_deadline = MIN(rq->first_deadline, deadline_ns);
}

void rq_timer_remove(struct runqueue *rq, struct thread *t)
{
    tree_remove(&rq->timers, &t->timer_node);
    if (t->timer_ns == rq->first_deadline) {
        struct tree_node *first = tree_first(&rq->timers);
        rq->first_deadline = first ? container_of(first, struct thread, timer_node)->timer_ns : ~0UL;
    }
    /* From here on a waker that owns it may take it to another CPU. */
    __atomic_store_n(&t->timer_armed, false, __ATOMIC_RELEASE);
}

/* When the running thread's turn ends, in real time. */
static u64 turn_end(struct runqueue *rq, struct thread *running, u64 now)
{
    s64 lead = rq->first->vruntime + SCHED_GRANULARITY - running->vruntime;
    if (lead <= 0)
        return now + SCHED_TURN_MIN;
    u64 turn = ((u64)lead * PEEK(running->weight)) >> 10;
    return now + MAX(turn, SCHED_TURN_MIN);
}

/*
 * An earlier setting than needed is left alone: the interrupt costs less than setting the timer at each
 * switch, and at each request that a CPU waits for, too. An idle CPU is woken once for nothing at most: the
 * setting is exact then.
 */
void rq_rearm(struct runqueue *rq, struct thread *running, u64 now)
{
    u64 want = rq->first_deadline;
    /* Due soon enough for any turn: it will be looked at again then. */
    if (running && rq->armed_ns <= MIN(want, now + SCHED_GRANULARITY))
        return;
    if (running && rq->ready_count) {
        u64 end = turn_end(rq, running, now);
        want = MIN(want, end);
    }
    if (want < rq->armed_ns) {
        rq->armed_ns = want;
        timer_arm(want);
    }
}
