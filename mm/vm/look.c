/* Looking at areas and what they hold, and bringing it in: nothing here changes an area. */
#include "kernel/base/string.h"
#include "mm/vm/internal.h"

int vm_for_each(int (*fn)(const struct vm_area *area, void *arg), void *arg)
{
    areas_settle();
    return vm_for_each_from(0, fn, arg);
}

int vm_for_each_from(u64 addr, int (*fn)(const struct vm_area *area, void *arg), void *arg)
{
    int result = 0;
    vm_read_lock();
    for (struct vm_area *a = area_after(addr); a && !result; a = area_next(a))
        result = fn(a, arg);
    vm_read_unlock();
    return result;
}

/* Whether an access would find the page mapped already. */
static bool mapped(u64 addr, bool write)
{
    int level;
    vm_read_lock();
    pte_t *entry = pt_lookup(addr, &level);
    pte_t e = entry ? pte_load(entry) : (pte_t){0};
    vm_read_unlock();
    return pte_present(e) && (!write || (e.bits & PTE_WRITE));
}

int vm_populate(u64 addr, u64 len, bool write)
{
    u64 end;
    int err = range_of(addr, len, &end);
    for (u64 at = addr; !err && at < end; at += PAGE_SIZE)
        if (!mapped(at, write))
            err = vm_fault_try(at, write ? 2 : 0);
    return err == -EACCES ? -EFAULT : err;
}

int vm_sync(u64 addr, u64 len)
{
    u64 end;
    int err = range_of(addr, len, &end);
    bool hole = false;
    while (!err && addr < end) {
        vm_read_lock();
        struct vm_area *a = area_after(addr);
        hole = hole || !a || a->start > addr;
        struct vm_object *obj = NULL;
        u64 from = 0, to = 0;
        if (!a || a->start >= end) {
            addr = end;
        } else {
            u64 start = MAX(a->start, addr), stop = MIN(a->end, end);
            if (a->object && (a->flags & VM_SHARED)) {
                obj = a->object;
                vm_object_get(obj);
                from = offset_at(a, start);
                to = offset_at(a, stop);
            }
            addr = stop;
        }
        vm_read_unlock();
        if (obj) {
            err = vm_object_sync(obj, from, to);
            vm_object_put(obj);
        }
    }
    return err ? err : hole ? -ENOMEM : 0;
}

struct residence {
    u64 start, end;
    u8 *vec;
};

static void mark_resident(pte_t *entry, u64 addr, int level, void *arg)
{
    struct residence *r = arg;
    pte_t e = pte_load(entry);
    if ((e.bits & PTE_OWN) && pte_paddr(e) == zero_page_paddr())
        return; /* a single that nobody touched */
    u64 end = MIN(r->end, level ? ALIGN_DOWN(addr, HUGE_SIZE) + HUGE_SIZE : addr + PAGE_SIZE);
    for (; addr < end; addr += PAGE_SIZE)
        r->vec[(addr - r->start) >> PAGE_SHIFT] = 1;
}

/* Pages that are in the cache count too, as mincore(2) reports for files. */
static void mark_cached(const struct vm_area *a, struct residence *r)
{
    u64 from = MAX(a->start, r->start), to = MIN(a->end, r->end);
    for (u64 at = from; at < to; at += PAGE_SIZE) {
        struct page *page = vm_object_peek(a->object, offset_at(a, at) >> PAGE_SHIFT);
        if (!page)
            continue;
        r->vec[(at - r->start) >> PAGE_SHIFT] = 1;
        page_put(page);
    }
}

int vm_resident(u64 addr, u64 len, u8 *vec)
{
    struct residence r = {addr, 0, vec};
    int err = range_of(addr, len, &r.end);
    if (err)
        return err;
    memset(vec, 0, (r.end - addr) >> PAGE_SHIFT);
    vm_read_lock();
    u64 at = addr;
    for (struct vm_area *a = area_after(addr); a && a->start <= at && at < r.end; a = area_next(a)) {
        if (a->object)
            mark_cached(a, &r);
        at = a->end;
    }
    pt_walk(addr, r.end, mark_resident, &r);
    vm_read_unlock();
    return at < r.end ? -ENOMEM : 0;
}

static void add_usage(pte_t *entry, u64 addr, int level, void *arg)
{
    struct vm_usage *u = arg;
    pte_t e = pte_load(entry);
    if (!pte_paddr(e) || pte_paddr(e) == zero_page_paddr())
        return;
    u->resident_bytes += level ? HUGE_SIZE : PAGE_SIZE;
    if (level && paddr_to_page(pte_paddr(e))->kind == PAGE_ANON)
        u->huge_bytes += HUGE_SIZE;
}

void vm_usage(const struct vm_area *area, struct vm_usage *out)
{
    *out = (struct vm_usage){0};
    pt_walk(area->start, area->end, add_usage, out);
}

static u64 resident_peak; /* pages; atomic, only grows */

u64 resident_note(void)
{
    s64 sum = 0;
    u32 count = __atomic_load_n(&cpu_count, __ATOMIC_RELAXED);
    for (u32 i = 0; i < count; i++)
        sum += __atomic_load_n(&vm_cpus[i].resident, __ATOMIC_RELAXED);
    u64 now = MAX(sum, 0), peak = __atomic_load_n(&resident_peak, __ATOMIC_RELAXED);
    while (now > peak &&
           !__atomic_compare_exchange_n(&resident_peak, &peak, now, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    return now;
}

void vm_stats(struct vm_stats *out)
{
    memset(out, 0, sizeof(*out));
    s64 huge = 0;
    out->resident_pages = resident_note();
    out->resident_peak = __atomic_load_n(&resident_peak, __ATOMIC_RELAXED);
    for (u32 i = 0; i < CPU_MAX; i++) {
        huge += __atomic_load_n(&vm_cpus[i].huge, __ATOMIC_RELAXED);
        out->faults_minor += vm_cpus[i].minor;
        out->faults_major += vm_cpus[i].major;
    }
    out->huge_pages = MAX(huge, 0);
    vm_read_lock();
    for (struct vm_area *a = area_after(0); a; a = area_next(a))
        out->mapped_bytes += a->end - a->start;
    vm_read_unlock();
}
