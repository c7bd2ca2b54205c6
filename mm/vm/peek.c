/*
 * What a program address would read if it were touched, found without touching it: for backtraces, when a
 * page of a file is cached but not mapped here. The machine is stopped, maybe in the middle of a change, so
 * no lock is taken, every structure is copied before it is believed (unwind_peek fails where a pointer leads
 * nowhere), and every walk has an end.
 */
#include "kernel/base/unwind.h"
#include "mm/vm/internal.h"

#define STEPS_MAX 64 /* deeper than any balanced tree of areas */

/* The last node of the tree that starts at or below addr, copied. */
static bool peek_node(u64 addr, struct vm_area *low)
{
    struct vm_area a;
    bool found = false;
    const struct vm_area *node = area_root();
    for (u32 step = 0; node && step < STEPS_MAX; step++) {
        if (!unwind_peek((u64)node, &a, sizeof(a)))
            return false;
        found |= a.start <= addr;
        if (a.start <= addr)
            *low = a;
        node = addr < a.start ? a.left : a.right;
    }
    return found;
}

/* The area that contains addr, copied: a node, or one of those that follow it in the list of areas. */
static bool peek_area(u64 addr, struct vm_area *a)
{
    if (!peek_node(addr, a))
        return false;
    for (u32 step = 0; a->end <= addr && step < STEPS_MAX; step++)
        if (!unwind_peek((u64)list_entry(a->order.next, struct vm_area, order), a, sizeof(*a)))
            return false;
    return addr >= a->start && addr < a->end;
}

static bool peek_page(const struct vm_object *object, u64 index, struct page **page)
{
    struct vm_object obj;
    return unwind_peek((u64)object, &obj, sizeof(obj)) && radix_peek(&obj, index, page) && *page;
}

/* The kernel's address of the cached page that would be mapped at addr, or 0. */
static u64 peek_cached(u64 addr)
{
    struct vm_area a;
    struct page *page, copy;
    if (!peek_area(addr, &a) || !a.object ||
        !peek_page(a.object, (a.offset + (addr - a.start)) >> PAGE_SHIFT, &page) ||
        !unwind_peek((u64)page, &copy, sizeof(copy)))
        return 0;
    bool good = copy.kind == PAGE_CACHE && copy.object == a.object && (copy.flags & PAGE_UPTODATE);
    return good ? (u64)page_to_virt(page) : 0;
}

void peek_init(void)
{
    unwind_find_cached = peek_cached;
}
