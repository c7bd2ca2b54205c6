/*
 * Changes to areas: map, unmap, protect, move, discard, the break. Each prepares what memory it needs, takes
 * vm_lock alone, and releases it only after the TLBs are flushed, so that an address handed out again is
 * clean everywhere. Files and objects of removed areas are let go after that, because it may run their
 * owners' code.
 */
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "mm/vm/internal.h"
#include "sched/thread.h"

struct vm_file_ops vm_file_ops;

/* What one change leaves behind. */
struct change {
    struct tlb_batch batch;
    struct list removed; /* areas to dispose of after unlocking, through order */
};

static void change_begin(struct change *c)
{
    list_init(&c->removed);
    tlb_begin(&c->batch);
    write_lock(&vm_lock);
}

/* Lets go of what an area holds, and of the area. vm_lock not held. */
static void area_dispose(struct vm_area *a)
{
    if (a->object)
        vm_object_put(a->object);
    if (a->file && vm_file_ops.put)
        vm_file_ops.put(a->file);
    kfree(a);
}

static void change_end(struct change *c)
{
    tlb_finish(&c->batch);
    write_unlock(&vm_lock);
    for (struct list *l; (l = list_pop_front(&c->removed));)
        area_dispose(list_entry(l, struct vm_area, order));
}

/* ---- areas, under vm_lock alone ---- */

static void object_link(struct vm_area *a)
{
    list_init(&a->object_link);
    if (!a->object)
        return;
    mutex_lock(&a->object->lock);
    list_push_back(&a->object->areas, &a->object_link);
    mutex_unlock(&a->object->lock);
}

static void object_unlink(struct vm_area *a)
{
    if (!a->object)
        return;
    mutex_lock(&a->object->lock);
    list_del(&a->object_link);
    mutex_unlock(&a->object->lock);
}

static void drop(struct vm_area *a, struct change *c)
{
    area_remove(a);
    object_unlink(a);
    list_push_back(&c->removed, &a->order);
}

static u64 offset_at(const struct vm_area *a, u64 addr)
{
    return a->object ? a->offset + (addr - a->start) : 0;
}

/* Resizes under the object's lock, which guards the borders for those who look from the object's side. */
static void resize(struct vm_area *a, u64 start, u64 end)
{
    if (a->object)
        mutex_lock(&a->object->lock);
    if (a->object)
        a->offset += start - a->start; /* start may move down: the sum wraps to the right value */
    area_resize(a, start, end);
    if (a->object)
        mutex_unlock(&a->object->lock);
}

/* Makes upper the part of a from addr on, with references of its own; a keeps what is below. */
static void split_into(struct vm_area *a, u64 addr, struct vm_area *upper)
{
    ASSERT(addr > a->start && addr < a->end);
    upper->start = addr;
    upper->end = a->end;
    upper->flags = a->flags;
    upper->object = a->object;
    upper->offset = offset_at(a, addr);
    upper->file = a->file;
    if (a->object)
        vm_object_get(a->object);
    if (a->file && vm_file_ops.get)
        vm_file_ops.get(a->file);
    resize(a, a->start, addr);
    area_insert(upper);
    object_link(upper);
}

/* Cuts the area around addr there, if there is one. -ENOMEM. */
static int split_at(u64 addr)
{
    struct vm_area *a = area_at(addr);
    if (!a || a->start == addr)
        return 0;
    struct vm_area *upper = kmalloc(sizeof(*upper));
    if (!upper)
        return -ENOMEM;
    split_into(a, addr, upper);
    return 0;
}

static bool mergeable(const struct vm_area *low, const struct vm_area *high)
{
    return low->end == high->start && low->flags == high->flags && !(low->flags & VM_STACK) &&
           low->object == high->object && low->file == high->file &&
           (!low->object || offset_at(low, low->end) == high->offset);
}

/* Joins a with its neighbours where they are alike; returns the area that then holds a's range. */
static struct vm_area *merge(struct vm_area *a, struct change *c)
{
    struct vm_area *prev = area_prev(a), *next = area_next(a);
    if (next && mergeable(a, next)) {
        u64 end = next->end;
        drop(next, c);
        resize(a, a->start, end);
    }
    if (prev && mergeable(prev, a)) {
        u64 end = a->end;
        drop(a, c);
        resize(prev, prev->start, end);
        a = prev;
    }
    return a;
}

/* Lets the area below a new one grow over it, if they are alike; the new one is disposed of. */
static bool extend(struct vm_area *new, struct change *c)
{
    struct vm_area *next = area_after(new->start), *prev = next ? area_prev(next) : area_last();
    if (!prev || !mergeable(prev, new))
        return false;
    resize(prev, prev->start, new->end);
    merge(prev, c);
    list_push_back(&c->removed, &new->order);
    return true;
}

/* Splits areas and 2 MiB pages at both borders of [start, end). -ENOMEM with nothing changed that shows. */
static int cut(u64 start, u64 end, struct change *c)
{
    if (pt_split_at(start, &c->batch) || pt_split_at(end, &c->batch) || split_at(start) || split_at(end))
        return -ENOMEM;
    return 0;
}

static int unmap_range(u64 start, u64 end, struct change *c)
{
    struct vm_area *a = area_after(start);
    if (!a || a->start >= end)
        return 0;
    int err = cut(start, end, c);
    if (err)
        return err;
    while ((a = area_after(start)) && a->start < end)
        drop(a, c);
    struct vm_area *prev = a ? area_prev(a) : area_last();
    pt_zap(start, end, prev ? prev->end : 0, a ? a->start : PROGRAM_END + PAGE_SIZE, &c->batch);
    return 0;
}

/* ---- mapping ---- */

/* Whether 2 MiB pages may serve a mapping, which is then aligned to them. */
static bool huge_possible(u64 len, const struct vm_object *object, u64 offset)
{
    bool memory = !object || !object->ops || (!object->ops->fill && !object->ops->writeback);
    return len >= HUGE_SIZE && memory && IS_ALIGNED(offset, HUGE_SIZE);
}

/* Where a mapping goes that need not be at addr exactly; 0: no room. */
static u64 choose(u64 addr, u64 len, u32 map_flags, bool huge)
{
    u64 high = map_flags & VM_HINT_32BIT ? 0x80000000UL : PROGRAM_END;
    addr = ALIGN_DOWN(addr, PAGE_SIZE);
    if (addr >= PROGRAM_START && addr < high && high - addr >= len) {
        struct vm_area *a = area_after(addr);
        if (!a || a->start >= addr + len)
            return addr;
    }
    u64 at = 0;
    if (huge)
        at = area_find_gap(len, HUGE_SIZE, PROGRAM_START, high);
    return at ? at : area_find_gap(len, PAGE_SIZE, PROGRAM_START, high);
}

static int place(u64 *addr, u64 len, u32 map_flags, bool huge, struct change *c)
{
    if (!(map_flags & (VM_FIXED | VM_FIXED_NEW))) {
        *addr = choose(*addr, len, map_flags, huge);
        return *addr ? 0 : -ENOMEM;
    }
    if (map_flags & VM_FIXED_NEW) {
        struct vm_area *a = area_after(*addr);
        return a && a->start < *addr + len ? -EEXIST : 0;
    }
    return unmap_range(*addr, *addr + len, c);
}

/* More than all memory, asked for at once and for real, is a mistake that is better reported now. */
static bool overcommitted(u64 len, u32 area_flags, const struct vm_object *object)
{
    if (object || (area_flags & (VM_NORESERVE | VM_SHARED)) || !(area_flags & VM_WRITE))
        return false;
    return len >> PAGE_SHIFT > phys_total_pages();
}

static int check_range(u64 addr, u64 len)
{
    if (!IS_ALIGNED(addr, PAGE_SIZE))
        return -EINVAL;
    if (addr < PROGRAM_START)
        return -EPERM;
    return len > PROGRAM_END || addr > PROGRAM_END - len ? -ENOMEM : 0;
}

s64 vm_map(u64 addr, u64 len, u32 area_flags, u32 map_flags, struct vm_object *object, u64 offset, void *file)
{
    if (!len || !IS_ALIGNED(offset, PAGE_SIZE))
        return -EINVAL;
    if (len > PROGRAM_END)
        return -ENOMEM;
    len = ALIGN_UP(len, PAGE_SIZE);
    int err = map_flags & (VM_FIXED | VM_FIXED_NEW) ? check_range(addr, len) : 0;
    if (err)
        return err;
    if (overcommitted(len, area_flags, object))
        return -ENOMEM;
    struct vm_area *a = kmalloc(sizeof(*a));
    struct change c;
    if (!a)
        return -ENOMEM;
    change_begin(&c);
    err = place(&addr, len, map_flags, huge_possible(len, object, object ? offset : 0), &c);
    if (err) {
        change_end(&c);
        kfree(a);
        return err;
    }
    a->start = addr;
    a->end = addr + len;
    a->flags = area_flags | (area_flags & VM_SHARED ? 0 : VM_MAYWRITE);
    a->object = object;
    a->offset = object ? offset : 0;
    a->file = file;
    if (object)
        vm_object_get(object);
    if (file && vm_file_ops.get)
        vm_file_ops.get(file);
    if (!extend(a, &c)) {
        area_insert(a);
        object_link(a);
        merge(a, &c);
    }
    change_end(&c);
    if (map_flags & VM_POPULATE)
        vm_populate(addr, len, (area_flags & VM_WRITE) && !(area_flags & VM_SHARED));
    return addr;
}

int vm_unmap(u64 addr, u64 len)
{
    if (!len || !IS_ALIGNED(addr, PAGE_SIZE) || len > PROGRAM_END || addr > PROGRAM_END - len)
        return -EINVAL;
    struct change c;
    change_begin(&c);
    int err = unmap_range(addr, addr + ALIGN_UP(len, PAGE_SIZE), &c);
    change_end(&c);
    return err;
}

/* ---- changing areas in place ---- */

/*
 * Calls fn for each area of [start, end), cut to the range; fn may change flags. Alike neighbours are merged
 * afterwards. -ENOMEM when there was a hole (after doing what is not), or check's first error, which stops.
 */
static int for_range(u64 start, u64 end, int (*check)(struct vm_area *a, u32 arg),
                     void (*fn)(struct vm_area *a, u32 arg, struct change *c), u32 arg)
{
    struct change c;
    change_begin(&c);
    int err = cut(start, end, &c);
    u64 at = start;
    bool hole = false;
    while (!err && at < end) {
        struct vm_area *a = area_after(at);
        if (!a || a->start >= end) {
            hole = true;
            break;
        }
        hole = hole || a->start > at;
        err = check(a, arg);
        if (err)
            break;
        at = a->end;
        fn(a, arg, &c);
        merge(a, &c);
    }
    change_end(&c);
    return err ? err : hole ? -ENOMEM : 0;
}

static int range_of(u64 addr, u64 len, u64 *end)
{
    if (!IS_ALIGNED(addr, PAGE_SIZE))
        return -EINVAL;
    if (len > PROGRAM_END || addr > PROGRAM_END - ALIGN_UP(len, PAGE_SIZE))
        return -ENOMEM;
    *end = addr + ALIGN_UP(len, PAGE_SIZE);
    return 0;
}

static int protect_check(struct vm_area *a, u32 prot)
{
    return (prot & VM_WRITE) && !(a->flags & (VM_MAYWRITE | VM_WRITE)) ? -EACCES : 0;
}

static void protect_area(struct vm_area *a, u32 prot, struct change *c)
{
    u32 old = a->flags;
    a->flags = (a->flags & ~VM_PROT) | prot;
    if (a->flags != old)
        pt_protect(a->start, a->end, a->flags, a->object, &c->batch);
}

int vm_protect(u64 addr, u64 len, u32 prot)
{
    u64 end;
    int err = range_of(addr, len, &end);
    return err || end == addr ? err : for_range(addr, end, protect_check, protect_area, prot);
}

static int advise_check(struct vm_area *a, u32 huge)
{
    return 0;
}

static void advise_area(struct vm_area *a, u32 huge, struct change *c)
{
    a->flags = (a->flags & ~(VM_HUGE | VM_NOHUGE)) | (huge ? VM_HUGE : VM_NOHUGE);
}

int vm_advise_huge(u64 addr, u64 len, bool huge)
{
    u64 end;
    int err = range_of(addr, len, &end);
    return err || end == addr ? err : for_range(addr, end, advise_check, advise_area, huge);
}

int vm_discard(u64 addr, u64 len)
{
    u64 end;
    int err = range_of(addr, len, &end);
    if (err || end == addr)
        return err;
    struct tlb_batch batch;
    tlb_begin(&batch);
    write_lock(&vm_lock);
    err = pt_split_at(addr, &batch) || pt_split_at(end, &batch) ? -ENOMEM : 0;
    u64 at = addr;
    bool hole = false;
    while (!err && at < end) {
        struct vm_area *a = area_after(at);
        if (!a || a->start >= end) {
            hole = true;
            break;
        }
        hole = hole || a->start > at;
        u64 from = MAX(a->start, at), to = MIN(a->end, end);
        if (a->flags & VM_LOCKED)
            err = -EINVAL;
        else
            pt_zap(from, to, from, to, &batch);
        at = to;
    }
    tlb_finish(&batch);
    write_unlock(&vm_lock);
    return err ? err : hole ? -ENOMEM : 0;
}

/* ---- moving ---- */

/* The one area that holds all of [addr, addr + len), or NULL. */
static struct vm_area *area_holding(u64 addr, u64 len)
{
    struct vm_area *a = area_at(addr);
    return a && a->end - addr >= len ? a : NULL;
}

static struct vm_area *area_like(const struct vm_area *a, u64 old_addr, u64 start, u64 len,
                                 struct vm_area *into)
{
    *into = *a;
    into->offset = offset_at(a, old_addr);
    into->start = start;
    into->end = start + len;
    if (into->object)
        vm_object_get(into->object);
    if (into->file && vm_file_ops.get)
        vm_file_ops.get(into->file);
    area_insert(into);
    object_link(into);
    return into;
}

static bool grow_in_place(struct vm_area *a, u64 addr, u64 old_len, u64 new_len, struct change *c)
{
    struct vm_area *next = area_next(a);
    if (addr + old_len != a->end || addr + new_len > (next ? next->start : PROGRAM_END))
        return false;
    resize(a, a->start, addr + new_len);
    merge(a, c);
    return true;
}

/* Moves what can be moved of [addr, addr + old_len), one area, to new_addr, where nothing is. */
static int move_area(u64 addr, u64 old_len, u64 new_len, bool keep_old, u64 new_addr, struct vm_area *into,
                     struct change *c)
{
    u64 moved = MIN(old_len, new_len);
    if (cut(addr, addr + old_len, c) || pt_split_at(addr + moved, &c->batch) ||
        pt_move(addr, new_addr, moved, &c->batch))
        return -ENOMEM;
    area_like(area_at(addr), addr, new_addr, new_len, into);
    merge(into, c);
    if (keep_old)
        merge(area_at(addr), c);
    else if (unmap_range(addr, addr + old_len, c))
        panic("mremap: the old range cannot be cut"); /* its borders are cut already */
    return 0;
}

/* *spare: for a new area; NULL afterwards when it was used. */
static s64 remap_locked(u64 addr, u64 old_len, u64 new_len, u32 flags, u64 new_addr, struct vm_area **spare,
                        struct change *c)
{
    struct vm_area *a = area_holding(addr, old_len);
    if (!a)
        return -EFAULT;
    bool keep_old = flags & VM_REMAP_DONTUNMAP;
    if (!(flags & VM_REMAP_FIXED) && !keep_old) {
        if (new_len <= old_len) {
            int err = new_len < old_len ? unmap_range(addr + new_len, addr + old_len, c) : 0;
            return err ? err : (s64)addr;
        }
        if (grow_in_place(a, addr, old_len, new_len, c))
            return addr;
        if (!(flags & VM_REMAP_MAYMOVE))
            return -ENOMEM;
    }
    if (flags & VM_REMAP_FIXED) {
        int err = unmap_range(new_addr, new_addr + new_len, c);
        if (err)
            return err;
    } else if (!(new_addr =
                     choose(new_addr, new_len, 0, huge_possible(new_len, a->object, offset_at(a, addr))))) {
        return -ENOMEM;
    }
    int err = move_area(addr, old_len, new_len, keep_old, new_addr, *spare, c);
    if (!err)
        *spare = NULL;
    return err ? err : (s64)new_addr;
}

s64 vm_remap(u64 addr, u64 old_len, u64 new_len, u32 flags, u64 new_addr)
{
    old_len = ALIGN_UP(old_len, PAGE_SIZE);
    new_len = ALIGN_UP(new_len, PAGE_SIZE);
    if (!IS_ALIGNED(addr, PAGE_SIZE) || !new_len || !old_len || new_len > PROGRAM_END ||
        old_len > PROGRAM_END)
        return -EINVAL;
    if ((flags & VM_REMAP_DONTUNMAP) && (old_len != new_len || !(flags & VM_REMAP_MAYMOVE)))
        return -EINVAL;
    if (flags & VM_REMAP_FIXED) {
        if (!(flags & VM_REMAP_MAYMOVE) || check_range(new_addr, new_len) ||
            (addr < new_addr + new_len && new_addr < addr + old_len))
            return -EINVAL;
    }
    struct vm_area *spare = kmalloc(sizeof(*spare));
    struct change c;
    if (!spare)
        return -ENOMEM;
    change_begin(&c);
    s64 result = remap_locked(addr, old_len, new_len, flags, new_addr, &spare, &c);
    change_end(&c);
    kfree(spare);
    return result;
}

/* ---- the break ---- */

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

/* ---- looking ---- */

int vm_for_each(int (*fn)(const struct vm_area *area, void *arg), void *arg)
{
    return vm_for_each_from(0, fn, arg);
}

int vm_for_each_from(u64 addr, int (*fn)(const struct vm_area *area, void *arg), void *arg)
{
    int result = 0;
    read_lock(&vm_lock);
    for (struct vm_area *a = area_after(addr); a && !result; a = area_next(a))
        result = fn(a, arg);
    read_unlock(&vm_lock);
    return result;
}

/* Whether an access would find the page mapped already. */
static bool mapped(u64 addr, bool write)
{
    int level;
    read_lock(&vm_lock);
    pte_t *entry = pt_lookup(addr, &level);
    pte_t e = entry ? pte_load(entry) : (pte_t){0};
    read_unlock(&vm_lock);
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
        read_lock(&vm_lock);
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
        read_unlock(&vm_lock);
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
    read_lock(&vm_lock);
    u64 at = addr;
    for (struct vm_area *a = area_after(addr); a && a->start <= at && at < r.end; a = area_next(a)) {
        if (a->object)
            mark_cached(a, &r);
        at = a->end;
    }
    pt_walk(addr, r.end, mark_resident, &r);
    read_unlock(&vm_lock);
    return at < r.end ? -ENOMEM : 0;
}

void vm_stats(struct vm_stats *out)
{
    memset(out, 0, sizeof(*out));
    s64 resident = 0;
    for (u32 i = 0; i < CPU_MAX; i++) {
        resident += __atomic_load_n(&vm_counters[i].resident, __ATOMIC_RELAXED);
        out->faults_minor += vm_counters[i].minor;
        out->faults_major += vm_counters[i].major;
    }
    out->resident_pages = MAX(resident, 0);
    read_lock(&vm_lock);
    for (struct vm_area *a = area_after(0); a; a = area_next(a))
        out->mapped_bytes += a->end - a->start;
    read_unlock(&vm_lock);
}

/* ---- boot ---- */

void vm_init(void)
{
    tlb_init();
    reclaim_init();
    peek_init();
}

void vm_init_cpu(void)
{
    /* The shoot-down handler is common and per-CPU state starts as zeros. */
}
