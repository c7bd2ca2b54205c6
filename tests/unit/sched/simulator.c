/* See simulator.h. Threads are ucontexts; the scheduler is initialised afresh by a new process per test. */
#include "tests/unit/sched/simulator.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/panic.h"
#include "mm/phys/phys.h"

#define HOST_STACK 65536

struct sim_cpu {
    struct cpu cpu;
    ucontext_t context; /* of what it executes, while others execute */
    bool interrupts, timer_pending, resched_pending;
    u64 timer_ns;
};

static struct sim_cpu sim_cpus[CPU_MAX];
static u32 count, executing;
static u64 now_ns = 1000;
static ucontext_t main_context;
static bool stopped;
static irq_handler handlers[256];
static struct thread *switched_from;
static u64 live_objects;
static void (*boot_fn)(void);
u64 sim_ipis, sim_halts, sim_looks;
bool sim_stalls, sim_slow_cpu;

u8 boot_stack_bottom[16], boot_stack_top[16];
u32 fpu_area_size = 512;

/* ---- the CPU ---- */

static struct sim_cpu *me(void)
{
    return &sim_cpus[executing];
}

struct cpu *this_cpu(void)
{
    return &me()->cpu;
}
struct thread *current_thread(void)
{
    return this_cpu()->current;
}
u32 cpu_id(void)
{
    return executing;
}
void preempt_disable(void)
{
    this_cpu()->preempt_count++;
}
void preempt_enable_quiet(void)
{
    this_cpu()->preempt_count--;
}
void preempt_enable(void)
{
    preempt_enable_quiet();
    if (!this_cpu()->preempt_count && this_cpu()->need_resched)
        preempt_resched();
}
u32 preempt_count(void)
{
    return this_cpu()->preempt_count;
}

/* Takes pending interrupts, as far as they are on. */
static void deliver(void)
{
    while (me()->interrupts && (me()->timer_pending || me()->resched_pending)) {
        struct sim_cpu *c = me();
        bool *pending = c->timer_pending ? &c->timer_pending : &c->resched_pending;
        u32 vector = c->timer_pending ? VECTOR_TIMER : VECTOR_RESCHED;
        *pending = false;
        c->interrupts = false;
        preempt_disable();
        handlers[vector](NULL);
        preempt_enable_quiet();
        if (c->cpu.need_resched && !c->cpu.preempt_count)
            sched_preempt();
        me()->interrupts = true;
    }
}

u64 irq_save(void)
{
    bool on = me()->interrupts;
    me()->interrupts = false;
    return on;
}
void irq_restore(u64 flags)
{
    me()->interrupts = flags;
    deliver();
}
bool irq_enabled(void)
{
    return me()->interrupts;
}
void irq_on(void)
{
    irq_restore(1);
}
void irq_off(void)
{
    me()->interrupts = false;
}

/* Lets the other CPUs execute for a step. */
static void step(void)
{
    swapcontext(&me()->context, &main_context);
}

void cpu_relax_now_and_then(u32 look)
{
    sim_looks++;
    step();
    deliver();
}

void cpu_wait_for_interrupt(void)
{
    struct sim_cpu *c = me();
    sim_halts++;
    while (!c->timer_pending && !c->resched_pending)
        step();
    irq_on();
}

void sim_work(u64 ns)
{
    struct thread *t = current_thread();
    for (u64 done = 0; done < ns; done += SIM_STEP) {
        step();
        deliver();
        if (current_thread() != t)
            panic("a thread runs in another's place");
    }
}

void sim_work_forever(void *unused)
{
    for (;;)
        sim_work(NSEC_PER_SEC);
}

void sim_count_work(void *steps)
{
    for (;; ++*(u64 *)steps)
        sim_work(SIM_STEP);
}

/* ---- what arch and mm/phys offer ---- */

u64 clock_monotonic_ns(void)
{
    return now_ns;
}
bool tlb_refits;
void tlb_refit_now(u64 now)
{
    panic("there is no TLB");
}
void timer_arm(u64 deadline_ns)
{
    me()->timer_ns = deadline_ns;
}
void ipi_send(u32 cpu, u32 vector)
{
    if (cpu >= count)
        panic("no such CPU: %u", cpu);
    sim_cpus[cpu].resched_pending = true;
    sim_ipis++;
}
void irq_set_fixed(u32 vector, irq_handler handler, void *arg)
{
    handlers[vector] = handler;
}

static void begin(u32 entry_low, u32 entry_high, u32 arg_low, u32 arg_high)
{
    void (*entry)(void *) = (void (*)(void *))((u64)entry_high << 32 | entry_low);
    sched_switch_finish(switched_from);
    irq_on();
    entry((void *)((u64)arg_high << 32 | arg_low));
    abort();
}

static void make_context(ucontext_t *c, u64 bottom, u64 top, void *entry, void *arg)
{
    getcontext(c);
    c->uc_stack.ss_sp = (void *)bottom;
    c->uc_stack.ss_size = top - bottom;
    c->uc_link = NULL;
    makecontext(c, (void (*)(void))begin, 4, (u32)(u64)entry, (u32)((u64)entry >> 32), (u32)(u64)arg,
                (u32)((u64)arg >> 32));
}

void arch_thread_prepare(struct thread *t, void (*entry)(void *), void *arg)
{
    bool small = t->arch.kstack_top - t->arch.kstack_bottom < KSTACK_SIZE; /* the boot CPU's idle thread */
    u64 bottom = small ? (u64)malloc(HOST_STACK) : t->arch.kstack_top - HOST_STACK;
    ucontext_t *c = calloc(1, sizeof(*c)); /* one a thread made; the tests are short */
    make_context(c, bottom, bottom + HOST_STACK, entry, arg);
    t->arch.rsp = (u64)c;
}

struct thread *arch_switch(struct thread *prev, struct thread *next)
{
    if (!prev->arch.rsp)
        prev->arch.rsp = (u64)calloc(1, sizeof(ucontext_t));
    if (prev != current_thread() || irq_enabled() || preempt_count() != 1)
        panic("switched in the wrong state");
    this_cpu()->current = next;
    switched_from = prev;
    swapcontext((ucontext_t *)prev->arch.rsp, (ucontext_t *)next->arch.rsp);
    return switched_from;
}

void fpu_init_area(void *area)
{
}

void *kmalloc(size_t size)
{
    live_objects++;
    return calloc(1, size);
}
void kfree(void *p)
{
    live_objects -= p != NULL;
    free(p);
}
void *kpool_alloc(struct kpool *pool)
{
    return kmalloc(pool->size);
}
void kpool_free(struct kpool *pool, void *p)
{
    live_objects--; /* type-stable: never reused by others */
}
u64 kstack_alloc(void)
{
    return (u64)kmalloc(HOST_STACK) + HOST_STACK;
}
void kstack_free(u64 top)
{
    kfree((void *)(top - HOST_STACK));
}
u64 sim_live_objects(void)
{
    return live_objects;
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
size_t strlcpy(char *dst, const char *src, size_t size)
{
    return snprintf(dst, size, "%s", src);
}

void panic(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    abort();
}

/* ---- the machine ---- */

static void cpu_start(void)
{
    if (executing) {
        sched_cpu_main();
    } else {
        sched_init();
        irq_on();
        boot_fn();
        thread_exit();
    }
}

void sim_stop(void)
{
    stopped = true;
    step();
    abort();
}

/* True while the host has taken the executing CPU away: two fifths of the time for 5 to 60 ms, when
 * sim_stalls is set, or according to sim_slow_cpu. */
static bool stalled(void)
{
    static u64 random = 88172645463325252UL; /* xorshift64, Marsaglia 2003 */
    static u64 until[CPU_MAX];
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    if (sim_stalls && random % 1000 == 0)
        until[executing] = now_ns + (5 + (random >> 20) % 55) * NSEC_PER_MSEC;
    if (sim_slow_cpu && !executing && now_ns / SIM_STEP % 3 == 0)
        return true;
    return until[executing] > now_ns;
}

static void cpu_reset(u32 i)
{
    struct sim_cpu *c = &sim_cpus[i];
    c->cpu.id = i;
    c->timer_ns = ~0UL;
    c->cpu.kstack_top = (u64)boot_stack_top;
    getcontext(&c->context);
    c->context.uc_stack.ss_sp = malloc(HOST_STACK);
    c->context.uc_stack.ss_size = HOST_STACK;
    makecontext(&c->context, cpu_start, 0);
}

void sim_run(u32 cpus, void (*fn)(void))
{
    count = cpus;
    boot_fn = fn;
    for (u32 i = 0; i < cpus; i++)
        cpu_reset(i);
    for (; !stopped; now_ns += SIM_STEP) {
        for (executing = 0; executing < cpus && !stopped; executing++) {
            if (me()->timer_ns <= now_ns) {
                me()->timer_ns = ~0UL;
                me()->timer_pending = true;
            }
            if (!stalled())
                swapcontext(&main_context, &me()->context);
        }
    }
}
