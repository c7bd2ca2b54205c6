/*
 * Memory that is written and executed at the same time, where the CPUs read instructions in pieces.
 *
 * HotSpot replaces the first instruction of a method by a jump, with one store, while other threads may be
 * about to execute it. Processors that fetch the bytes of an instruction together see the old one or the new
 * one (Intel SDM 3A, 9.1.3, on cross-modifying code). QEMU's TCG reads them one after the other when it
 * translates: with several vCPUs the program then executes an instruction that was never there, and the JVM
 * dies or, worse, does not.
 *
 * So on such a machine a page of an area that may be both written and executed is, at any time, one of
 *
 *     written   PTE_WRITE and PTE_NX
 *     executed  neither
 *     turning   PTE_NX alone, under turn_lock only
 *
 * and a fault turns it over: the right that ends is taken from all CPUs, which have answered, before the
 * other one is given. A CPU that translates answers when its instruction is read whole. Entries begin as
 * written (pt_flags()).
 *
 * An instruction that writes to the page it lies in would turn it for ever: such a page gets both rights.
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/trap.h"
#include "mm/vm/internal.h"
#include "sched/thread.h"

bool code_takes_turns;
static struct mutex turn_lock = MUTEX_INIT;

void vm_cpus_started(void)
{
    code_takes_turns = cpu_count > 1 && arch_fetches_torn();
}

/* Changes the rights of RIGHTS, which nobody else does now; the CPUs may set other bits meanwhile. */
static void set_rights(pte_t *entry, u64 rights)
{
    pte_t e = pte_load(entry);
    while (!pte_cmpxchg_load(entry, &e, (pte_t){(e.bits & ~(PTE_WRITE | PTE_NX)) | rights}))
        ;
}

static bool suits(pte_t e, u32 error)
{
    return error & PF_FETCH ? !(e.bits & PTE_NX) : !(error & PF_WRITE) || (e.bits & PTE_WRITE);
}

void code_turn(pte_t *entry, u64 addr, u32 error)
{
    mutex_lock(&turn_lock);
    pte_t e = pte_load(entry);
    if (!suits(e, error)) {
        struct tlb_batch batch;
        tlb_begin(&batch);
        set_rights(entry, PTE_NX);
        tlb_note(&batch, addr, e.bits & PTE_HUGE ? HUGE_SIZE : PAGE_SIZE);
        tlb_finish(&batch);
        if (error & PF_FETCH)
            set_rights(entry, 0);
        else
            set_rights(entry, PTE_WRITE | PTE_DIRTY | PTE_ACCESSED | (error & PF_OWN_CODE ? 0 : PTE_NX));
    }
    mutex_unlock(&turn_lock);
    tlb_flush_page_local(addr);
}
