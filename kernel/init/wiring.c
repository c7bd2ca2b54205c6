/* Where the architecture layer meets those above it. */
#include "kernel/arch/x86_64/arch.h"
#include "mm/phys/phys.h"
#include "mm/vm/vm.h"
#include "sched/thread.h"

_Static_assert(offsetof(struct thread, arch) == offsetof(struct thread_head, arch), "struct thread_head");
_Static_assert(offsetof(struct thread, return_work) == offsetof(struct thread_head, return_work),
               "struct thread_head");

static u64 alloc_frame(void)
{
    struct page *page = page_alloc(0, PAGE_KERNEL, PHYS_ZERO);
    return page ? page_to_paddr(page) : 0;
}

static u64 alloc_stack(u64 *bottom)
{
    u64 top = kstack_alloc();
    *bottom = top - KSTACK_SIZE;
    return top;
}

static void cpu_main(void)
{
    vm_init_cpu();
    sched_cpu_main();
}

const struct arch_hooks arch_hooks = {
    .alloc_frame = alloc_frame,
    .alloc = kmalloc,
    .alloc_stack = alloc_stack,
    .prepare_cpu = phys_prepare_cpu,
    .cpu_main = cpu_main,
    .preempt = sched_preempt,
    .switch_finish = sched_switch_finish,
};
