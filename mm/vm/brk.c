/* The break: one area that grows and shrinks at its end. */
#include "mm/vm/internal.h"

static struct mutex brk_lock;
static u64 brk_start, brk_now; /* guarded by brk_lock; brk_now need not be aligned */

void vm_brk_init(u64 start)
{
    brk_start = brk_now = ALIGN_UP(start, PAGE_SIZE);
}

u64 vm_brk_start(void)
{
    return brk_start;
}

u64 vm_brk(u64 addr)
{
    mutex_lock(&brk_lock);
    u64 old_end = ALIGN_UP(brk_now, PAGE_SIZE), new_end = ALIGN_UP(addr, PAGE_SIZE);
    bool done = addr >= brk_start && addr < PROGRAM_END;
    if (done && new_end > old_end)
        done = vm_map(old_end, new_end - old_end, VM_READ | VM_WRITE, VM_FIXED_NEW, NULL, 0, NULL) > 0;
    else if (done && new_end < old_end)
        done = !vm_unmap(new_end, old_end - new_end);
    if (done)
        brk_now = addr;
    u64 now = brk_now;
    mutex_unlock(&brk_lock);
    return now;
}
