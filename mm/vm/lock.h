/*
 * The vm lock: readers (faults) share it, a writer (a change to areas) has it alone. Sleeps; preemption on;
 * not recursive. Faults on different CPUs must not meet in one cache line, so each CPU counts its readers in
 * a slot of its own, and the rare writer looks at all of them (Dice and Kogan, BRAVO, USENIX ATC 2019, with
 * counters in place of their table of readers).
 *
 *   slot.readers  readers that came on this CPU minus those that left on it: only the sum means something
 * (atomic) state         WRITTEN: a writer has it, or waits for readers to leave. RESERVED: it is the next
 * one's turn (atomic) waiter        the writer while it sleeps until the readers there are have left (atomic)
 *   gate          held by the next one: a reader or writer that could not have the lock at once; others queue
 * there next          the holder of gate while it sleeps until there is no writer (atomic) generation    how
 * many writers there were; changes under the lock alone
 *
 * reader: adds 1 to its CPU's slot, then looks at state: 0: it has the lock. Else it takes the 1 back out of
 * the same slot, and becomes the next one: tries again whenever there is no writer. leaving: subtracts 1 from
 * the slot of the CPU it is on now, then wakes waiter if there is one. writer: changes state from 0 to
 * WRITTEN, or becomes the next one and sets WRITTEN when it is not set. Then it waits until the sum over all
 * slots, read one after the other, is 0. Leaving: clears WRITTEN, wakes next.
 *
 * Nobody is handed the lock: who comes while the next one wakes up may go before it, because that takes
 * longer than most writers need; and the next one looks for a while before it sleeps. After a few times it
 * reserves the lock: then state is not 0, and whoever else comes queues behind it. The gate's order is the
 * queue's, so nobody starves.
 *
 * Why a sum of 0 means no reader. A reader that has the lock has added before it saw WRITTEN clear, so (all
 * sequentially consistent) before it was set and before the slots are read: its addition is in the sum. Those
 * who back out subtract where they added, so that a slot shows 0 or 1 of them, never less than 0. Hence the
 * sum is at least the number of readers whose subtraction was not read yet. Nobody misses the last one: the
 * reader subtracts, then reads waiter; the writer sets waiter, then reads the slots; and likewise with
 * WRITTEN and next. A migration between reading the CPU's number and adding is harmless: the addition is
 * atomic. tests/model/vmlock.pml checks this for two writers and two readers.
 *
 * CPUs that are not counted in cpu_count yet run no reader: the program starts after all are up.
 */
#ifndef MOKA_MM_VM_LOCK_H
#define MOKA_MM_VM_LOCK_H

#include "kernel/arch/x86_64/cpu.h"
#include "sched/mutex.h"

#define VM_LOCK_WRITTEN  1u
#define VM_LOCK_RESERVED 2u
struct vm_lock {
    u32 state;             /* atomic; read by every reader, like waiter */
    struct thread *waiter; /* atomic */
    struct thread *next;   /* atomic */
    u64 generation;
    struct mutex gate __attribute__((aligned(64)));
} __attribute__((aligned(64)));

struct vm_lock_slot {
    s64 readers; /* atomic */
} __attribute__((aligned(64)));

extern struct vm_lock vm_lock;
extern struct vm_lock_slot vm_lock_slots[CPU_MAX];

void vm_read_lock_slow(struct vm_lock_slot *slot);
void vm_read_unlock_slow(struct thread *waiter);

static inline void vm_read_lock(void)
{
    struct vm_lock_slot *slot = &vm_lock_slots[cpu_id()];
    __atomic_add_fetch(&slot->readers, 1, __ATOMIC_SEQ_CST);
    if (unlikely(__atomic_load_n(&vm_lock.state, __ATOMIC_SEQ_CST)))
        vm_read_lock_slow(slot);
}
/* Never waits. */
bool vm_read_trylock(void);
static inline void vm_read_unlock(void)
{
    __atomic_sub_fetch(&vm_lock_slots[cpu_id()].readers, 1, __ATOMIC_SEQ_CST);
    struct thread *waiter = __atomic_load_n(&vm_lock.waiter, __ATOMIC_SEQ_CST);
    if (unlikely(waiter))
        vm_read_unlock_slow(waiter);
}
void vm_write_lock(void);
void vm_write_unlock(void);

#endif
