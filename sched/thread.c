/* Making and ending threads. Ended ones are kept per CPU with their stacks for the next to be made. */
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "mm/phys/phys.h"
#include "sched/runqueue.h"

static struct kpool pool = KPOOL_INIT(struct thread);

/* A freed struct thread may have its first words overwritten by the pool; a late waker touches `wait`. */
_Static_assert(offsetof(struct thread, wait) >= 16, "thread->wait must survive kpool_free");

void thread_init(struct thread *t, const char *name, struct thread *parent)
{
    struct arch_thread arch = t->arch;
    memset(t, 0, offsetof(struct thread, wait));
    __atomic_store_n(&t->wait, WAIT_NONE, __ATOMIC_RELAXED);
    memset((char *)t + offsetof(struct thread, wait) + sizeof(t->wait), 0,
           sizeof(*t) - offsetof(struct thread, wait) - sizeof(t->wait));
    t->arch = arch;
    t->arch.fs_base = 0;
    t->arch.fpu_cpu = ~0u;
    strlcpy(t->name, name, sizeof(t->name));
    t->migrate_to = ~0u;
    t->affinity = parent ? PEEK(parent->affinity) : ~0UL;
    sched_set_nice(t, parent ? PEEK(parent->nice) : 0);
}

static void free_thread(struct thread *t)
{
    kstack_free(t->arch.kstack_top);
    kfree(t->arch.fpu);
    kpool_free(&pool, t);
}

/* Takes one from this CPU's cache when it holds more than `keep`. */
static struct thread *take_dead(u32 keep)
{
    preempt_disable();
    struct runqueue *rq = this_runqueue();
    struct thread *t = rq->dead_count > keep ? rq->dead : NULL;
    if (t) {
        rq->dead = t->dead_next;
        rq->dead_count--;
    }
    preempt_enable();
    return t;
}

void thread_recycle(struct runqueue *rq, struct thread *dead)
{
    if (dead->arch.kstack_top == (u64)boot_stack_top)
        return; /* the boot thread is static */
    dead->dead_next = rq->dead;
    rq->dead = dead;
    rq->dead_count++;
}

static struct thread *new_thread(void)
{
    struct thread *t = kpool_alloc(&pool);
    if (!t)
        return NULL;
    memset(&t->arch, 0, sizeof(t->arch));
    t->arch.kstack_top = kstack_alloc();
    if (!t->arch.kstack_top) {
        kpool_free(&pool, t);
        return NULL;
    }
    t->arch.kstack_bottom = t->arch.kstack_top - KSTACK_SIZE;
    return t;
}

/* Gives t the FPU area that it should have, or none. */
static bool prepare_fpu(struct thread *t, bool with_fpu)
{
    if (!with_fpu) {
        kfree(t->arch.fpu);
        t->arch.fpu = NULL;
        return true;
    }
    if (!t->arch.fpu) {
        size_t size = 64;
        while (size < fpu_area_size) /* a power of two: kmalloc aligns those */
            size *= 2;
        t->arch.fpu = kmalloc(size);
    }
    if (t->arch.fpu)
        fpu_init_area(t->arch.fpu);
    return t->arch.fpu;
}

/* The first function of every thread; preemption off. */
static void thread_main(void *arg)
{
    struct thread *t = arg;
    preempt_enable();
    t->entry(t->arg);
    thread_exit();
}

struct thread *thread_create(const char *name, void (*entry)(void *), void *arg, bool with_fpu)
{
    struct thread *t = take_dead(0);
    if (!t)
        t = new_thread();
    if (!t)
        return NULL;
    if (!prepare_fpu(t, with_fpu)) {
        free_thread(t);
        return NULL;
    }
    thread_init(t, name, with_fpu ? current_thread() : NULL);
    t->entry = entry;
    t->arg = arg;
    arch_thread_prepare(t, thread_main, t);
    return t;
}

void thread_discard(struct thread *t)
{
    free_thread(t);
}

_Noreturn void thread_exit(void)
{
    struct thread *t = current_thread(), *surplus;
    while ((surplus = take_dead(DEAD_CACHE_MAX)))
        free_thread(surplus);
    sched_exit_switch(t);
    panic("a dead thread ran: %s", t->name);
}
