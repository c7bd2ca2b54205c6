/* Sleeping, waking and switching. The algorithm and the sleep/wake proof are in thread.h. */
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "sched/runqueue.h"
#include "sched/wake.h"

/* ---- where a thread enters a run queue ---- */

static __attribute__((noinline)) void place_moved(struct runqueue *rq, struct thread *t)
{
    s64 ahead = t->vruntime - rq->vtime;
    switch (t->placement) {
    case PLACE_RELATIVE:
        ahead = (s64)t->vruntime;
        break;
    case PLACE_NEW:
        ahead = 0;
        break;
    case PLACE_MOVED:
        ahead = MAX(MIN(ahead, (s64)SCHED_LEAD_MAX), -(s64)SCHED_LEAD_MAX);
        break;
    }
    t->vruntime = rq->vtime + ahead;
    t->arrived_ns = rq->now;
    t->placement = PLACE_SAME;
}

static inline void enter_queue(struct runqueue *rq, struct thread *t)
{
    if (likely(t->placement == PLACE_SAME)) {
        u64 least = rq->vtime - SCHED_CREDIT;
        if ((s64)(t->vruntime - least) < 0)
            t->vruntime = least;
    } else {
        place_moved(rq, t);
    }
    rq_count(rq, t);
    ready_insert(rq, t);
}

static void drain_wake_queue(struct runqueue *rq)
{
    struct thread *oldest = wakeq_take(&rq->wake_queue);
    while (oldest) {
        struct thread *t = oldest;
        oldest = t->wake_next;
        if (t->timer_armed)
            rq_timer_remove(rq, t);
        enter_queue(rq, t);
    }
}

static void expire_timers(struct runqueue *rq)
{
    while (rq->first_deadline <= rq->now) {
        struct thread *t = container_of(tree_first(&rq->timers), struct thread, timer_node);
        /* First the wait word, while timer_armed keeps a waker from taking it to another CPU: there it might
         * sleep anew before we look. */
        bool expired = wait_expire(t);
        rq_timer_remove(rq, t);
        if (expired) {
            t->timed_out = true;
            enter_queue(rq, t);
        } /* else a waker owns it: it is in the wake queue, or about to be in one */
    }
}

/* ---- switching ---- */

static inline void account(struct runqueue *rq, struct thread *t)
{
    u64 ran = rq->now - t->last_in_ns;
    t->last_in_ns = rq->now;
    t->last_ran_ns = ran;
    PUBLISH(t->run_ns, t->run_ns + ran);
    if (t == rq->idle) {
        rq_update_vtime(rq, NULL);
        return;
    }
    t->vruntime += virtual_ns(ran, PEEK(t->inverse));
    rq_update_vtime(rq, t);
}

/* t may run on rq's CPU. */
static inline bool allowed_here(struct runqueue *rq, struct thread *t)
{
    return likely(PEEK(t->affinity) & cpu_bit(rq->cpu)) || allowed_cpus(t) & cpu_bit(rq->cpu);
}

/* The first waiting thread that may run here; others are sent where they may. */
static inline struct thread *first_allowed(struct runqueue *rq)
{
    struct thread *t;
    while ((t = rq->first) && unlikely(!allowed_here(rq, t))) {
        if (PEEK(t->on_cpu))
            return t; /* still on its stack; it leaves at its next turn */
        ready_remove(rq, t);
        rq_uncount(rq, t);
        t->placement = PLACE_MOVED;
        sched_push(t, balance_select_new(t));
    }
    return t;
}

/* The running thread, which wants to go on, keeps the CPU (true) unless a waiting one has earned it. */
static bool keeps_cpu(struct runqueue *rq, struct thread *prev, struct thread *first, bool yielding)
{
    if (unlikely(!allowed_here(rq, prev))) {
        PUBLISH(prev->state, THREAD_QUEUED);
        rq_uncount(rq, prev);
        prev->migrate_to = balance_select_new(prev);
        return false;
    }
    s64 lead = first ? (s64)(prev->vruntime - first->vruntime) : 0;
    if (!first || (lead < (s64)SCHED_GRANULARITY && !yielding))
        return true;
    if (yielding && lead <= 0)
        prev->vruntime = first->vruntime + 1;
    ready_insert(rq, prev);
    return false;
}

/* What other CPUs see of this one. */
static inline void publish(struct runqueue *rq, struct thread *running)
{
    bool idle = running == rq->idle;
    PUBLISH(rq->current_inverse, idle ? 0 : PEEK(running->inverse));
    PUBLISH(rq->current_vruntime, running->vruntime);
    PUBLISH(rq->current_since_ns, rq->now);
    cpu_mask idle_cpus = PEEK(sched_idle_cpus);
    if (unlikely(idle_cpus) && !idle && idle_cpus & cpu_bit(rq->cpu))
        __atomic_fetch_and(&sched_idle_cpus, ~cpu_bit(rq->cpu), __ATOMIC_RELAXED);
}

void (*sched_idle_hook)(bool idle);

/* next takes the CPU. prev_idle: prev is the idle thread. */
static inline void switch_to(struct runqueue *rq, struct thread *prev, struct thread *next, bool prev_idle)
{
    PUBLISH(rq->switches, rq->switches + 1);
    /* Pairs with sched_kick: we say that it runs, then look at its return_work on the way to the program. */
    __atomic_store_n(&next->on_cpu, 1, __ATOMIC_SEQ_CST);
    next->last_in_ns = rq->now;
    if (unlikely(prev_idle || next == rq->idle)) {
        if (prev_idle)
            rq->idle_end_ns = rq->now;
        if (sched_idle_hook)
            sched_idle_hook(next == rq->idle);
    }
    sched_switch_finish(arch_switch(prev, next));
}

/* Time passes for prev, which may want to leave; sleepers that were woken or are due become ready. */
static inline void update(struct runqueue *rq, struct thread *prev, bool leaves)
{
    rq->now = clock_monotonic_ns();
    account(rq, prev);
    if (leaves)
        rq_uncount(rq, prev);
    if (unlikely(PEEK(rq->wake_queue)))
        drain_wake_queue(rq);
    if (unlikely(rq->first_deadline <= rq->now))
        expire_timers(rq);
}

/* Chooses next: the timer and what others see are set for it. */
static inline void prepare(struct runqueue *rq, struct thread *next)
{
    PUBLISH(next->state, THREAD_RUNNING);
    if (rq->armed_ns > MIN(rq->first_deadline, rq->now + SCHED_GRANULARITY))
        rq_rearm(rq, next == rq->idle ? NULL : next, rq->now);
    publish(rq, next);
}

/* Lets the right thread run. preempt_count 1, interrupts off. The calling thread's state says whether it
 * wants to go on. */
static void schedule(bool yielding)
{
    struct cpu *cpu = this_cpu();
    struct runqueue *rq = cpu->sched;
    struct thread *prev = cpu->current;
    bool prev_idle = prev == rq->idle, wants = !prev_idle && prev->state == THREAD_RUNNING;
    cpu->need_resched = false;
    update(rq, prev, !wants && !prev_idle);
    if (unlikely(PEEK(rq->lift_to)))
        balance_lift(rq, wants ? prev : NULL);
    struct thread *next = first_allowed(rq);
    if (wants && keeps_cpu(rq, prev, next, yielding))
        next = prev;
    else if (next)
        ready_remove(rq, next);
    else
        next = rq->idle;
    prepare(rq, next);
    if (next != prev) {
        if (PEEK(prev->state) == THREAD_QUEUED)
            prev->switches_forced++;
        else
            prev->switches_voluntary++;
        switch_to(rq, prev, next, prev_idle);
    } else if (balance_due(rq)) {
        balance_push(rq);
    }
}

/* The same for a thread that goes to sleep: its state says so. Part of sched_sleep(), which is taken often.
 */
static inline void schedule_asleep(struct thread *prev)
{
    struct cpu *cpu = this_cpu();
    struct runqueue *rq = cpu->sched;
    cpu->need_resched = false;
    update(rq, prev, true);
    if (unlikely(PEEK(rq->lift_to)))
        balance_lift(rq, NULL);
    struct thread *next = first_allowed(rq);
    if (likely(next))
        ready_remove(rq, next);
    else
        next = rq->idle;
    prepare(rq, next);
    prev->switches_voluntary++;
    if (likely(next != prev)) /* a waker may have been faster than the switch */
        switch_to(rq, prev, next, false);
}

void sched_switch_finish(struct thread *prev)
{
    struct runqueue *rq = this_runqueue();
    if (unlikely(PEEK(prev->state) == THREAD_DEAD)) {
        thread_recycle(rq, prev);
    } else if (unlikely(prev->migrate_to != ~0u)) {
        u32 cpu = prev->migrate_to;
        prev->migrate_to = ~0u;
        prev->placement = PLACE_MOVED;
        PUBLISH(prev->on_cpu, 0);
        sched_push(prev, cpu);
    } else {
        __atomic_store_n(&prev->on_cpu, 0, __ATOMIC_RELEASE);
    }
    if (balance_due(rq))
        balance_push(rq);
}

void sched_preempt(void)
{
    if (unlikely(!this_cpu()->sched))
        return;
    do {
        preempt_disable();
        schedule(false);
        preempt_enable_quiet();
    } while (this_cpu()->need_resched);
}

void preempt_resched(void)
{
    /* With interrupts off we are in a handler, or in code that must not be left: the way out looks again. */
    if (irq_enabled()) {
        irq_off();
        sched_preempt();
        irq_on();
    }
}

void sched_yield(void)
{
    preempt_disable();
    irq_off();
    schedule(true);
    irq_on();
    preempt_enable();
}

/* ---- sleeping and waking ---- */

/* Goes to sleep unless a permit is there. Preemption off. */
static inline void fall_asleep(struct thread *t, u64 deadline_ns)
{
    if (deadline_ns != SLEEP_FOREVER)
        rq_timer_add(this_runqueue(), t, deadline_ns);
    if (likely(wait_begin(t))) {
        PUBLISH(t->state, THREAD_SLEEPING);
        irq_off();
        schedule_asleep(t);
        irq_on();
    } else if (t->timer_armed) {
        rq_timer_remove(this_runqueue(), t);
    }
}

/* Whether an interruptible sleep ends: then the thread is to go by its return work, whatever became of the
 * reason. */
static bool interrupted(struct thread *t, u32 flags)
{
    if (!(flags & SLEEP_INTERRUPTIBLE) || !PEEK(t->interrupt))
        return false;
    PUBLISH(t->return_work, 1);
    return true;
}

void (*sched_holds_hook)(void);

static __attribute__((noinline)) void let_go(struct thread *t)
{
    t->holds = false;
    sched_holds_hook();
}

int sched_sleep(u64 deadline_ns, u32 flags)
{
    struct thread *t = current_thread();
    bool woken = true;
    if (unlikely(t->holds))
        let_go(t);
    if (interrupted(t, flags))
        return -EINTR;
    if (PEEK(t->wait) == WAIT_PERMIT) {
        wait_end(t);
    } else {
        ASSERT(preempt_count() == 0);
        preempt_disable();
        t->timed_out = false;
        fall_asleep(t, deadline_ns);
        woken = wait_end(t) || !t->timed_out;
        preempt_enable();
    }
    if (interrupted(t, flags))
        return -EINTR;
    return woken ? 0 : -ETIMEDOUT;
}

void sched_push(struct thread *t, u32 cpu)
{
    struct runqueue *rq = &runqueues[cpu];
    bool was_empty = wakeq_push(&rq->wake_queue, t);
    if (cpu == cpu_id())
        this_cpu()->need_resched = true;
    else if (was_empty && !PEEK(rq->polling)) /* else that CPU was told already, or is about to look */
        ipi_send(cpu, VECTOR_RESCHED);
}

/* For a thread that changes CPUs while it sleeps: vruntime becomes its lag behind its old CPU's time. */
static void make_relative(struct thread *t)
{
    s64 ahead = t->vruntime - PEEK(runqueues[t->cpu].vtime);
    t->vruntime = (u64)MAX(MIN(ahead, (s64)SCHED_LEAD_MAX), -(s64)SCHED_CREDIT);
    t->placement = PLACE_RELATIVE;
}

/* The timer is not set to look at the running thread's turn soon: it must be, now that another waits. */
static __attribute__((noinline)) void begin_turn(struct runqueue *rq, struct thread *t,
                                                 struct thread *running)
{
    rq->now = clock_monotonic_ns();
    account(rq, running);
    enter_queue(rq, t);
    u64 flags = irq_save();
    rq_rearm(rq, running, rq->now);
    irq_restore(flags);
}

/*
 * The short way for a thread that last ran on this CPU and shall again: straight into the ready queue, and a
 * switch only when it has earned one. From threads only. When the timer will look at the running thread's
 * turn within SCHED_GRANULARITY of the latest schedule() anyway, that one's figures are good enough, and the
 * clock is not read.
 */
static inline void wake_here(struct runqueue *rq, struct thread *t, struct thread *running)
{
    if (likely(rq->armed_ns <= rq->now + SCHED_GRANULARITY))
        enter_queue(rq, t);
    else
        begin_turn(rq, t, running);
    if (unlikely((s64)(running->vruntime - t->vruntime) >= (s64)SCHED_GRANULARITY))
        this_cpu()->need_resched = true;
}

/* Where t goes; its vruntime is fit for that CPU afterwards. */
static __attribute__((noinline)) u32 choose_cpu(struct thread *t)
{
    u32 cpu = balance_select(t);
    if (cpu != t->cpu)
        make_relative(t);
    return cpu;
}

void sched_wake(struct thread *t)
{
    if (!wait_permit(t))
        return;
    preempt_disable();
    struct cpu *here = this_cpu();
    struct runqueue *rq = here->sched;
    u32 cpu = t->cpu;
    if (cpu == here->id && !here->irq_depth && here->current != rq->idle) {
        if (unlikely(t->timer_armed))
            rq_timer_remove(rq, t);
        if (unlikely(PEEK(sched_idle_cpus) || !(PEEK(t->affinity) & cpu_bit(cpu))))
            cpu = choose_cpu(t);
        if (likely(cpu == here->id))
            wake_here(rq, t, here->current);
        else
            sched_push(t, cpu);
    } else {
        /* Its CPU must first finish switching away from it, and take it out of its timer tree. */
        if (!__atomic_load_n(&t->on_cpu, __ATOMIC_ACQUIRE) &&
            !__atomic_load_n(&t->timer_armed, __ATOMIC_ACQUIRE))
            cpu = choose_cpu(t);
        sched_push(t, cpu);
    }
    preempt_enable();
}

void sched_interrupt(struct thread *t)
{
    __atomic_store_n(&t->interrupt, 1, __ATOMIC_RELEASE);
    sched_wake(t);
}

void sched_kick(struct thread *t)
{
    preempt_disable();
    u32 cpu = PEEK(t->cpu);
    if (__atomic_load_n(&t->on_cpu, __ATOMIC_ACQUIRE) && cpu != cpu_id())
        ipi_send(cpu, VECTOR_RESCHED);
    preempt_enable();
}

void thread_start(struct thread *t)
{
    preempt_disable();
    t->placement = PLACE_NEW;
    PUBLISH(t->state, THREAD_QUEUED);
    sched_push(t, balance_select_new(t));
    preempt_enable();
}

void sched_exit_switch(struct thread *t)
{
    preempt_disable();
    PUBLISH(t->state, THREAD_DEAD);
    irq_off();
    schedule(false);
}

/* ---- nice, affinity ---- */

void sched_set_nice(struct thread *t, int nice)
{
    nice = MAX(-20, MIN(19, nice));
    u64 weight = 1024UL << 16;
    for (int i = nice; i < 0; i++)
        weight = weight * 5 / 4;
    for (int i = nice; i > 0; i--)
        weight = weight * 4 / 5;
    weight >>= 16;
    PUBLISH(t->nice, nice);
    PUBLISH(t->weight, (u32)weight);
    PUBLISH(t->inverse, (1024UL << 32) / weight);
}

void sched_set_affinity(struct thread *t, cpu_mask mask)
{
    __atomic_store_n(&t->affinity, mask, __ATOMIC_SEQ_CST);
    preempt_disable();
    cpu_mask here = cpu_bit(cpu_id()), forbidden = PEEK(sched_online_cpus) & ~allowed_cpus(t);
    if (forbidden & here)
        this_cpu()->need_resched = true;
    /* Not only t->cpu: another CPU may just be taking it, with a look at the old mask. */
    cpu_mask others = t == current_thread() ? 0 : forbidden & ~here;
    for (; others; others &= others - 1)
        ipi_send(__builtin_ctzl(others), VECTOR_RESCHED);
    preempt_enable(); /* the current thread moves here */
}

/* ---- starting ---- */

static struct thread idle_threads[CPU_MAX];
static u8 boot_idle_stack[8192] __attribute__((aligned(64)));

static void timer_interrupt(void *arg)
{
    struct runqueue *rq = this_runqueue();
    rq->armed_ns = ~0UL;
    tlb_refit(rq->now);
    PUBLISH(rq->timer_interrupts, rq->timer_interrupts + 1);
    this_cpu()->need_resched = true;
}

static void resched_interrupt(void *arg)
{
    this_cpu()->need_resched = true;
}

/* Makes `running` the thread that the calling context is, on this CPU. */
static void runqueue_init(struct cpu *cpu, struct thread *running)
{
    struct runqueue *rq = &runqueues[cpu->id];
    struct thread *idle = &idle_threads[cpu->id];
    char name[] = "idle/00";
    name[5] += cpu->id / 10;
    name[6] += cpu->id % 10;
    thread_init(idle, name, NULL);
    idle->affinity = cpu_bit(cpu->id);
    idle->cpu = running->cpu = rq->cpu = cpu->id;
    rq->idle = idle;
    rq->first_deadline = rq->armed_ns = ~0UL;
    running->arch.kstack_top = cpu->kstack_top;
    running->arch.kstack_bottom = cpu->kstack_bottom;
    running->state = THREAD_RUNNING;
    running->on_cpu = 1;
    cpu->current = running;
    cpu->sched = rq;
    PUBLISH(rq->online, 1);
    __atomic_fetch_or(&sched_online_cpus, cpu_bit(cpu->id), __ATOMIC_SEQ_CST);
}

static void boot_idle(void *arg)
{
    preempt_enable_quiet();
    sched_idle_loop(arg);
}

void sched_init(void)
{
    static struct thread boot_thread;
    struct cpu *cpu = this_cpu();
    thread_init(&boot_thread, "boot", NULL);
    runqueue_init(cpu, &boot_thread);
    rq_count(cpu->sched, &boot_thread);
    struct thread *idle = &idle_threads[cpu->id];
    idle->arch.kstack_bottom = (u64)boot_idle_stack;
    idle->arch.kstack_top = (u64)boot_idle_stack + sizeof(boot_idle_stack);
    arch_thread_prepare(idle, boot_idle, cpu->sched);
    irq_set_fixed(VECTOR_TIMER, timer_interrupt, NULL);
    irq_set_fixed(VECTOR_RESCHED, resched_interrupt, NULL);
}

_Noreturn void sched_cpu_main(void)
{
    struct cpu *cpu = this_cpu();
    runqueue_init(cpu, &idle_threads[cpu->id]);
    sched_idle_loop(cpu->sched);
}

/* ---- figures ---- */

u64 sched_run_ns(const struct thread *t)
{
    u64 ran = PEEK(t->run_ns), since = PEEK(t->last_in_ns), now = clock_monotonic_ns();
    return PEEK(t->state) == THREAD_RUNNING && now > since ? ran + now - since : ran;
}

u64 sched_idle_ns(u32 cpu)
{
    return sched_run_ns(&idle_threads[cpu]);
}

bool sched_alone(void)
{
    struct runqueue *rq = this_runqueue();
    return PEEK(rq->nr_runnable) <= 1 && !PEEK(rq->wake_queue);
}

u32 sched_runnable(void)
{
    u32 sum = 0;
    for (u32 i = 0; i < CPU_MAX; i++)
        sum += PEEK(runqueues[i].nr_runnable);
    return sum;
}

u64 sched_switch_count(void)
{
    u64 sum = 0;
    for (u32 i = 0; i < CPU_MAX; i++)
        sum += PEEK(runqueues[i].switches);
    return sum;
}

u64 sched_timer_interrupts(u32 cpu)
{
    return PEEK(runqueues[cpu].timer_interrupts);
}
