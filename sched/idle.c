/*
 * What a CPU does that has nothing to run: it does the kernel's idle work (zeroing frames), looks for new
 * work for a short while, and halts.
 *
 * Looking first is what makes the hand-over of threads between CPUs fast: a halted CPU is a sleeping thread
 * of the host, and to wake that takes longer than most waits of a busy service last. It looks where work can
 * come from: at its wake queue while another CPU of the machine runs something, and at the sources that
 * devices bring (struct idle_source), which need no interrupt meanwhile. Without either it halts.
 *
 * And only while waits are short and the host has a CPU to spare: the CPU learns from what became of it. It
 * looked in vain when nothing came within sched_idle_poll_ns, or when the host took the CPU away meanwhile,
 * which it sees as a gap between two looks. Then it does not look again before a number of waits were so
 * short that looking would have caught their end, twice the number of the last time; each success halves that
 * number. So a machine that is squeezed on too few CPUs of the host, where short waits and vain looks
 * alternate, looks once in POLL_BACKOFF_MAX waits.
 *
 * Linux knows the same as "guest halt polling" (Documentation/virt/guest-halt-polling.rst), with another rule
 * for when to look.
 *
 * While rq->polling is set others push to the wake queue and send no interrupt. The CPU clears it, then looks
 * at the queue once more before it halts; who pushes does so before it reads the flag. Model:
 * tests/model/poll.pml.
 */
#include "sched/runqueue.h"

#define POLL_GAP_NS      (100 * NSEC_PER_USEC) /* longer than interrupts take, shorter than the host's turns */
#define POLL_ALONE_NS    (20 * NSEC_PER_USEC)  /* who has just been woken shows as running by then */
#define POLL_BACKOFF_MAX 256

u64 sched_idle_poll_ns = SCHED_IDLE_POLL_NS;
bool (*sched_idle_work)(void);

static bool has_work(struct runqueue *rq)
{
    return this_cpu()->need_resched || __atomic_load_n(&rq->wake_queue, __ATOMIC_SEQ_CST);
}

/* Do other CPUs run something? A hint. */
static bool others_run(const struct runqueue *rq)
{
    return PEEK(sched_online_cpus) & ~PEEK(sched_idle_cpus) & ~cpu_bit(rq->cpu);
}

static void looked(struct idle_poll *p, bool in_vain)
{
    if (in_vain)
        p->skip = p->backoff = MIN(MAX(2 * p->backoff, 2), POLL_BACKOFF_MAX);
    else
        p->backoff /= 2;
}

void sched_idle_watch(u32 cpu, struct idle_source *s)
{
    struct runqueue *rq = &runqueues[cpu];
    for (u32 i = 0; i < IDLE_SOURCES_MAX; i++) {
        if (!rq->sources[i]) {
            PUBLISH(rq->sources[i], s);
            return;
        }
    }
}

/* Those of the CPU's sources that it looks at now. */
struct watched {
    struct idle_source *sources[IDLE_SOURCES_MAX];
    u32 count;
};

static void watch_begin(const struct runqueue *rq, struct watched *w)
{
    struct idle_source *s;
    w->count = 0;
    for (u32 i = 0; i < IDLE_SOURCES_MAX && (s = PEEK(rq->sources[i])); i++) {
        if (s->begin(s))
            w->sources[w->count++] = s;
    }
}

static void watch_look(const struct watched *w)
{
    for (u32 i = 0; i < w->count; i++)
        w->sources[i]->look(w->sources[i]);
}

static void watch_end(const struct watched *w)
{
    for (u32 i = 0; i < w->count; i++)
        w->sources[i]->end(w->sources[i]);
}

/* Interrupts off, and on meanwhile: their handlers run, but switch to no thread, which would let rq->polling
 * stand. */
static void look_for_work(struct runqueue *rq, u64 start)
{
    u64 last, now = start;
    bool came, alone, taken;
    struct watched watched;
    preempt_disable();
    PUBLISH(rq->polling, true);
    irq_on();
    watch_begin(rq, &watched);
    for (u32 i = 1;; i++) {
        watch_look(&watched);
        came = has_work(rq);
        last = now;
        now = clock_monotonic_ns();
        taken = now - last >= POLL_GAP_NS;
        alone = !watched.count && now - start >= POLL_ALONE_NS && !others_run(rq);
        if (came || alone || taken || now - start >= sched_idle_poll_ns)
            break;
        cpu_relax_now_and_then(i);
    }
    watch_end(&watched);
    irq_off();
    __atomic_store_n(&rq->polling, false, __ATOMIC_SEQ_CST);
    preempt_enable_quiet();
    if (came || taken || !alone)
        looked(&rq->poll, taken || !came);
}

/* Waits until there may be work. Interrupts off; on when it returns. */
static void wait_for_work(struct runqueue *rq)
{
    u64 start = clock_monotonic_ns(), switches = rq->switches;
    bool single = PEEK(sched_online_cpus) == cpu_bit(rq->cpu);
    if (!rq->poll.skip && sched_idle_poll_ns && (!single || PEEK(rq->sources[0]))) {
        look_for_work(rq, start);
        if (has_work(rq)) {
            irq_on();
            return;
        }
    }
    cpu_wait_for_interrupt();
    if (!rq->poll.skip)
        return;
    u64 end = rq->switches == switches ? clock_monotonic_ns() : rq->idle_end_ns;
    if (end - start < sched_idle_poll_ns)
        rq->poll.skip--;
}

_Noreturn void sched_idle_loop(struct runqueue *rq)
{
    cpu_mask me = cpu_bit(rq->cpu);
    bool work = true;
    for (;;) {
        irq_off();
        if (!(PEEK(sched_idle_cpus) & me)) {
            /* Pairs with sched_push: we say that we are idle, then look at the queue. */
            __atomic_fetch_or(&sched_idle_cpus, me, __ATOMIC_SEQ_CST);
            balance_pull(rq);
        }
        if (has_work(rq)) {
            sched_preempt();
            irq_on();
        } else if (work && sched_idle_work) {
            irq_on();
            work = sched_idle_work();
        } else {
            wait_for_work(rq);
            work = true;
        }
    }
}
