/* The vm lock; the scheme and its proof are in lock.h. */
#include "mm/vm/lock.h"
#include "kernel/base/panic.h"
#include "sched/thread.h"

struct vm_lock vm_lock;
struct vm_lock_slot vm_lock_slots[CPU_MAX];

/* Takes back the reader that was added to a slot although a writer is there. */
static void back_out(struct vm_lock_slot *slot)
{
    __atomic_sub_fetch(&slot->readers, 1, __ATOMIC_SEQ_CST);
    struct thread *waiter = __atomic_load_n(&vm_lock.waiter, __ATOMIC_SEQ_CST);
    if (waiter)
        sched_wake(waiter);
}

void vm_read_lock_slow(struct vm_lock_slot *slot)
{
    back_out(slot);
    mutex_lock(&vm_lock.gate);
    __atomic_add_fetch(&vm_lock_slots[cpu_id()].readers, 1, __ATOMIC_SEQ_CST);
    mutex_unlock(&vm_lock.gate);
}

bool vm_read_trylock(void)
{
    struct vm_lock_slot *slot = &vm_lock_slots[cpu_id()];
    __atomic_add_fetch(&slot->readers, 1, __ATOMIC_SEQ_CST);
    if (likely(!__atomic_load_n(&vm_lock.writing, __ATOMIC_SEQ_CST)))
        return true;
    back_out(slot);
    return false;
}

void vm_read_unlock_slow(struct thread *waiter)
{
    sched_wake(waiter);
}

static inline bool any_reader(void)
{
    s64 sum = 0;
    const struct vm_lock_slot *slot = vm_lock_slots,
                              *end = slot + __atomic_load_n(&cpu_count, __ATOMIC_RELAXED);
    for (; slot < end; slot++)
        sum += __atomic_load_n(&slot->readers, __ATOMIC_SEQ_CST);
    return sum;
}

static void __attribute__((noinline)) wait_for_readers(void)
{
    struct thread *self = current_thread();
    __atomic_store_n(&vm_lock.waiter, self, __ATOMIC_SEQ_CST);
    while (any_reader())
        sched_sleep(SLEEP_FOREVER, 0);
    __atomic_store_n(&vm_lock.waiter, NULL, __ATOMIC_RELAXED);
    sched_wake(self); /* gives the permit back: it may have been somebody else's */
}

void vm_write_lock(void)
{
    mutex_lock(&vm_lock.gate);
    __atomic_store_n(&vm_lock.writing, 1, __ATOMIC_SEQ_CST);
    if (unlikely(any_reader()))
        wait_for_readers();
    vm_lock.generation++;
}

void vm_write_unlock(void)
{
    __atomic_store_n(&vm_lock.writing, 0, __ATOMIC_RELEASE);
    mutex_unlock(&vm_lock.gate);
}
