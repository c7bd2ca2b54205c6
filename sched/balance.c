/* Which CPU a thread runs on: at wake-up, at start, and while CPUs are unevenly busy. See thread.h. */
#include "kernel/arch/x86_64/trap.h"
#include "sched/runqueue.h"

cpu_mask sched_idle_cpus, sched_online_cpus;

/* Takes one of the idle CPUs in mask for the caller to send a thread to; ~0 when there is none. */
static u32 claim_idle(cpu_mask mask)
{
    cpu_mask idle;
    while ((idle = PEEK(sched_idle_cpus) & mask)) {
        u32 cpu = __builtin_ctzl(idle);
        if (__atomic_fetch_and(&sched_idle_cpus, ~cpu_bit(cpu), __ATOMIC_SEQ_CST) & cpu_bit(cpu))
            return cpu;
    }
    return ~0u;
}

/* The thread that wakes t, which last ran on another CPU, will most likely sleep at once, and then this CPU
 * has no more to do than that one: see thread.h. */
static bool better_here(const struct thread *t, u32 last)
{
    const struct cpu *here = this_cpu();
    const struct runqueue *rq = here->sched;
    const struct thread *waker = here->current;
    return here->id != last && !here->irq_depth && waker != rq->idle && waker->last_ran_ns < SCHED_BRIEF &&
           PEEK(t->affinity) & cpu_bit(here->id) &&
           PEEK(rq->load) - waker->queued_weight <= PEEK(runqueues[last].load) &&
           clock_monotonic_ns() - waker->last_in_ns < SCHED_BRIEF;
}

u32 balance_select(struct thread *t)
{
    u32 last = t->cpu;
    cpu_mask idle = PEEK(sched_idle_cpus);
    if (!idle && (PEEK(t->affinity) & cpu_bit(last)))
        return better_here(t, last) ? cpu_id() : last;
    cpu_mask mask = allowed_cpus(t);
    idle &= mask;
    if (!(mask & cpu_bit(last)))
        last = __builtin_ctzl(mask);
    u32 cpu = claim_idle(idle & cpu_bit(last));
    if (cpu == ~0u)
        cpu = claim_idle(idle);
    return cpu == ~0u ? last : cpu;
}

u32 balance_select_new(struct thread *t)
{
    cpu_mask mask = allowed_cpus(t);
    u32 best = claim_idle(mask);
    if (best != ~0u)
        return best;
    for (cpu_mask m = mask; m; m &= m - 1) {
        u32 cpu = __builtin_ctzl(m);
        if (best == ~0u || PEEK(runqueues[cpu].nr_runnable) < PEEK(runqueues[best].nr_runnable))
            best = cpu;
    }
    return best;
}

/* The first waiting thread that may run on one of the CPUs in mask. Those still switching away cannot move.
 */
static struct thread *first_movable(struct runqueue *rq, cpu_mask mask)
{
    struct thread *t = rq->first;
    for (u32 i = 0; t && i < SCHED_SCAN_MAX; i++, t = ready_next(rq, t)) {
        if ((allowed_cpus(t) & mask) && !__atomic_load_n(&t->on_cpu, __ATOMIC_ACQUIRE))
            return t;
    }
    return NULL;
}

/* t's virtual time means something on other's CPU: it is not changed by moving there. */
static bool comparable(const struct thread *t, const struct runqueue *other)
{
    s64 ahead = t->vruntime - PEEK(other->vtime);
    return ahead <= (s64)SCHED_LEAD_MAX && -ahead <= (s64)SCHED_LEAD_MAX;
}

/* The waiting thread that has been here for longest, of those that may run on other's CPU, but for `first`
 * only such that weigh as much and lose nothing by moving. */
static struct thread *longest_here(struct runqueue *rq, struct thread *first, const struct runqueue *other)
{
    struct thread *longest = first, *t = first;
    for (u32 i = 0; t && i < SCHED_SCAN_MAX; i++, t = ready_next(rq, t)) {
        bool fit = (allowed_cpus(t) & cpu_bit(other->cpu)) &&
                   !__atomic_load_n(&t->on_cpu, __ATOMIC_ACQUIRE) &&
                   t->queued_weight == first->queued_weight && comparable(t, other);
        if (fit && t->arrived_ns < longest->arrived_ns)
            longest = t;
    }
    return longest;
}

static void move(struct runqueue *rq, struct thread *t, u32 cpu)
{
    ready_remove(rq, t);
    rq_uncount(rq, t);
    t->placement = PLACE_MOVED;
    sched_push(t, cpu);
}

static void push_to_idle(struct runqueue *rq)
{
    cpu_mask idle;
    while (rq->ready_count && (idle = PEEK(sched_idle_cpus) & ~cpu_bit(rq->cpu))) {
        struct thread *t = first_movable(rq, idle);
        if (!t)
            return;
        u32 cpu = claim_idle(idle & allowed_cpus(t));
        if (cpu == ~0u)
            return;
        move(rq, t, cpu);
    }
}

/* Virtual run time of the thread that runs on rq's CPU, as far as one can tell from here; false when idle. */
static bool running_vruntime(struct runqueue *rq, u64 now, u64 *vruntime)
{
    u64 inverse = PEEK(rq->current_inverse), since = PEEK(rq->current_since_ns);
    if (!inverse)
        return false;
    *vruntime = PEEK(rq->current_vruntime) + (now > since ? virtual_ns(now - since, inverse) : 0);
    return true;
}

/* Brings the virtual times of two CPUs within SCHED_LEAD_MAX: lifts the one behind. */
static void reconcile(struct runqueue *rq, struct runqueue *other, u64 other_vruntime)
{
    s64 ahead = other_vruntime - rq->vtime;
    if (ahead > (s64)SCHED_LEAD_MAX) {
        PUBLISH(rq->lift_to, other_vruntime);
        this_cpu()->need_resched = true;
    } else if (-ahead > (s64)SCHED_LEAD_MAX && PEEK(other->lift_to) != rq->vtime) {
        PUBLISH(other->lift_to, rq->vtime);
        ipi_send(other->cpu, VECTOR_RESCHED);
    }
}

/* The running thread has been here longer than t, and will be waiting in its turn. */
static bool longer_here(struct runqueue *rq, const struct thread *t)
{
    const struct thread *running = this_cpu()->current;
    return running != rq->idle && running->arrived_ns < t->arrived_ns;
}

/* The best busy CPU to give t, the first, or one like it to: see (a) and (b) in thread.h. ~0: none. */
static u32 busy_target(struct runqueue *rq, struct thread *t, u64 now)
{
    u32 lightest = ~0u, furthest = ~0u;
    u64 least_load = rq->load;
    s64 most_lead = longer_here(rq, t) ? 2 * SCHED_BALANCE_LEAD : SCHED_BALANCE_LEAD;
    for (cpu_mask m = allowed_cpus(t) & ~cpu_bit(rq->cpu); m; m &= m - 1) {
        struct runqueue *other = &runqueues[__builtin_ctzl(m)];
        u64 vruntime, load = PEEK(other->load) + t->queued_weight;
        if (!running_vruntime(other, now, &vruntime))
            continue;
        s64 lead = vruntime - t->vruntime;
        if (lead > (s64)SCHED_LEAD_MAX || -lead > (s64)SCHED_LEAD_MAX)
            reconcile(rq, other, vruntime);
        if (load < least_load) {
            least_load = load;
            lightest = other->cpu;
        }
        if (lead > most_lead && lead <= (s64)SCHED_LEAD_MAX) {
            most_lead = lead;
            furthest = other->cpu;
        }
    }
    return lightest != ~0u ? lightest : furthest;
}

/* The next CPU in turn that is as busy as this one and could take t: see (c). ~0: none. */
static u32 equal_target(struct runqueue *rq, struct thread *t)
{
    u32 cpus = 64 - (u32)__builtin_clzl(PEEK(sched_online_cpus));
    for (u32 i = 1; i < cpus; i++) {
        u32 cpu = (rq->cpu + i) % cpus;
        if (allowed_cpus(t) & cpu_bit(cpu) && PEEK(runqueues[cpu].load) == rq->load &&
            PEEK(runqueues[cpu].nr_runnable) > 1 && comparable(t, &runqueues[cpu]))
            return cpu;
    }
    return ~0u;
}

/* Among busy CPUs. */
static void balance_busy(struct runqueue *rq, u64 now)
{
    struct thread *t = first_movable(rq, PEEK(sched_online_cpus) & ~cpu_bit(rq->cpu));
    u32 cpu = t ? busy_target(rq, t, now) : ~0u;
    if (t && cpu == ~0u && now >= rq->next_rotate_ns) {
        rq->next_rotate_ns = now + SCHED_ROTATE;
        cpu = equal_target(rq, t);
    }
    if (cpu != ~0u)
        move(rq, longest_here(rq, t, &runqueues[cpu]), cpu);
}

void balance_push(struct runqueue *rq)
{
    u64 now = rq->now;
    push_to_idle(rq);
    if (!rq->ready_count || now < rq->next_balance_ns)
        return;
    rq->next_balance_ns = now + SCHED_BALANCE;
    balance_busy(rq, now);
}

void balance_pull(struct runqueue *rq)
{
    for (cpu_mask m = PEEK(sched_online_cpus) & ~cpu_bit(rq->cpu); m; m &= m - 1) {
        u32 cpu = __builtin_ctzl(m);
        if (PEEK(runqueues[cpu].nr_runnable) > 1) {
            ipi_send(cpu, VECTOR_RESCHED);
            return;
        }
    }
}

void balance_lift(struct runqueue *rq, struct thread *running)
{
    u64 to = __atomic_exchange_n(&rq->lift_to, 0, __ATOMIC_RELAXED);
    s64 by = to - rq->vtime;
    if (by <= (s64)SCHED_LEAD_MAX)
        return;
    /* The same for all: their order does not change. */
    for (struct thread *t = rq->first; t; t = ready_next(rq, t))
        t->vruntime += by;
    if (running)
        running->vruntime += by;
    PUBLISH(rq->vtime, rq->vtime + by);
}
