/* The vm lock; the scheme and its proof are in lock.h. */
#include "mm/vm/internal.h"
#include "sched/thread.h"

#define SPINS    1000 /* looks before sleeping */
#define PATIENCE 4    /* times that the next one lets others go before */

struct vm_lock vm_lock;
struct vm_lock_slot vm_lock_slots[CPU_MAX];

static u32 state(void)
{
    return __atomic_load_n(&vm_lock.state, __ATOMIC_SEQ_CST);
}

/* Takes back the reader that was added to a slot although a writer is there. */
static void back_out(struct vm_lock_slot *slot)
{
    __atomic_sub_fetch(&slot->readers, 1, __ATOMIC_SEQ_CST);
    struct thread *waiter = __atomic_load_n(&vm_lock.waiter, __ATOMIC_SEQ_CST);
    if (waiter)
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

static bool written(void)
{
    return state() & VM_LOCK_WRITTEN;
}

/*
 * Waits until busy() is false, sleeping in *sleeper (who is to be woken) when that takes long. While it
 * looks, the CPU runs nothing but the kernel: whoever unmaps need not interrupt it.
 */
static void wait_while(bool (*busy)(void), struct thread **sleeper)
{
    struct thread *self = current_thread();
    preempt_disable();
    tlb_quiet(true);
    for (u32 i = 1; i < SPINS && busy(); i++)
        cpu_relax_now_and_then(i);
    tlb_quiet(false);
    preempt_enable();
    if (!busy())
        return;
    __atomic_store_n(sleeper, self, __ATOMIC_SEQ_CST);
    while (busy())
        sched_sleep(SLEEP_FOREVER, 0);
    __atomic_store_n(sleeper, NULL, __ATOMIC_RELAXED);
    sched_wake(self); /* gives the permit back: it may have been somebody else's */
}

/* Becomes a reader unless one of these bits of state is set. */
static bool read_unless(u32 bits)
{
    struct vm_lock_slot *slot = &vm_lock_slots[cpu_id()];
    __atomic_add_fetch(&slot->readers, 1, __ATOMIC_SEQ_CST);
    if (likely(!(state() & bits)))
        return true;
    back_out(slot);
    return false;
}

static bool try_read(void)
{
    return read_unless(VM_LOCK_WRITTEN);
}

static bool try_write(void)
{
    u32 old = state();
    return !(old & VM_LOCK_WRITTEN) &&
           __atomic_compare_exchange_n(&vm_lock.state, &old, old | VM_LOCK_WRITTEN, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

/* In turn with all others that could not have the lock at once. */
static void __attribute__((noinline)) wait_for_turn(bool (*try)(void))
{
    mutex_lock(&vm_lock.gate);
    for (u32 tries = 1; !try(); tries++) {
        if (tries == PATIENCE)
            __atomic_fetch_or(&vm_lock.state, VM_LOCK_RESERVED, __ATOMIC_SEQ_CST);
        wait_while(written, &vm_lock.next);
    }
    if (state() & VM_LOCK_RESERVED)
        __atomic_fetch_and(&vm_lock.state, ~VM_LOCK_RESERVED, __ATOMIC_SEQ_CST);
    mutex_unlock(&vm_lock.gate);
}

void vm_read_lock_slow(struct vm_lock_slot *slot)
{
    back_out(slot);
    wait_for_turn(try_read);
}

bool vm_read_trylock(void)
{
    return read_unless(VM_LOCK_WRITTEN | VM_LOCK_RESERVED);
}

void vm_read_unlock_slow(struct thread *waiter)
{
    sched_wake(waiter);
}

void vm_write_lock(void)
{
    u32 free = 0;
    if (unlikely(!__atomic_compare_exchange_n(&vm_lock.state, &free, VM_LOCK_WRITTEN, false, __ATOMIC_SEQ_CST,
                                              __ATOMIC_RELAXED)))
        wait_for_turn(try_write);
    if (unlikely(any_reader()))
        wait_while(any_reader, &vm_lock.waiter);
    vm_lock.generation++;
}

void vm_write_unlock(void)
{
    __atomic_fetch_and(&vm_lock.state, ~VM_LOCK_WRITTEN, __ATOMIC_SEQ_CST);
    struct thread *next = __atomic_load_n(&vm_lock.next, __ATOMIC_SEQ_CST);
    if (unlikely(next))
        sched_wake(next);
}
