/*
 * Changes to areas: map, unmap, protect, move, discard. Each prepares what memory it needs, takes
 * vm_lock alone, and releases it only after the TLBs are flushed, so that an address handed out again is
 * clean everywhere. Files and objects of removed areas are let go after that, because it may run their
 * owners' code.
 */
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "mm/vm/internal.h"
#include "sched/thread.h"

struct vm_file_ops vm_file_ops;

#define SPARE_MIN                                                                                            \
    2 /* areas at hand for a change: cutting something out of the middle of an area needs two                \
       */
#define SPARE_MAX 16

/* What one change leaves behind. */
struct change {
    struct tlb_batch batch;
    struct list removed; /* areas to dispose of after unlocking, through order */
};

/* Unused areas, linked through right. Written under vm_lock alone; the count is a hint for others. */
static struct vm_area *spare;
static u32 spare_count;

static void spare_push(struct vm_area *a)
{
    a->singles = false;
    a->right = spare;
    spare = a;
    __atomic_store_n(&spare_count, spare_count + 1, __ATOMIC_RELAXED);
}

/* An area with unset fields, but neither seam nor singles, or NULL. vm_lock alone. */
static struct vm_area *area_new(void)
{
    struct vm_area *a = spare;
    if (unlikely(!a))
        return kmalloc(sizeof(*a));
    spare = a->right;
    __atomic_store_n(&spare_count, spare_count - 1, __ATOMIC_RELAXED);
    return a;
}

/* Makes sure that area_new() works SPARE_MIN times. False: no memory. vm_lock alone. */
static bool spare_ready(void)
{
    while (unlikely(spare_count < SPARE_MIN)) {
        struct vm_area *a = kmalloc(sizeof(*a));
        if (!a)
            return false;
        spare_push(a);
    }
    return true;
}

/* Before vm_lock is taken, when more can be reclaimed. */
static void __attribute__((noinline)) change_begin_short(void)
{
    struct vm_area *more[SPARE_MIN];
    for (u32 i = 0; i < SPARE_MIN; i++)
        more[i] = kmalloc(sizeof(*more[i]));
    vm_write_lock();
    for (u32 i = 0; i < SPARE_MIN; i++)
        if (more[i])
            spare_push(more[i]);
}

static void change_begin(struct change *c)
{
    list_init(&c->removed);
    tlb_begin(&c->batch);
    if (likely(__atomic_load_n(&spare_count, __ATOMIC_RELAXED) >= SPARE_MIN))
        vm_write_lock();
    else
        change_begin_short();
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
    tlb_flush(&c->batch);
    vm_write_unlock();
    tlb_free(&c->batch);
    if (likely(list_empty(&c->removed)))
        return;
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

/*
 * Seams: what was protected once is likely to be protected again (guard pages, polling pages, write
 * barriers). So the last few areas that became like a neighbour by vm_protect() stay cut off for a while;
 * vm_area.seam is 1 + the index here. Whoever wants to see whole areas calls settle(). vm_lock alone; the
 * count is a hint for others.
 */
#define SEAMS 16
static struct vm_area *seams[SEAMS];
static u32 seam_next, seam_count;
static bool
    seam_torn; /* one was cut: the seam stays with its lower part, but knew of its upper border, too */

static void seam_forget(struct vm_area *a)
{
    seams[a->seam - 1] = NULL;
    a->seam = 0;
    __atomic_store_n(&seam_count, seam_count - 1, __ATOMIC_RELAXED);
}

/* Removed from the tree already: goes when vm_lock is free, or stays at hand if nothing hangs on it. */
static void let_go(struct vm_area *a, struct change *c)
{
    if (unlikely(a->seam))
        seam_forget(a);
    if (!a->object && !a->file && spare_count < SPARE_MAX)
        spare_push(a);
    else
        list_push_back(&c->removed, &a->order);
}

static void drop(struct vm_area *a, struct change *c)
{
    area_remove(a);
    object_unlink(a);
    let_go(a, c);
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

static void lock_object(const struct vm_area *a)
{
    if (a->object)
        mutex_lock(&a->object->lock);
}

static void unlock_object(const struct vm_area *a)
{
    if (a->object)
        mutex_unlock(&a->object->lock);
}

/* Makes upper an area like a, with references of its own, not among the object's areas yet. */
static void copy_like(struct vm_area *upper, const struct vm_area *a, u64 offset)
{
    upper->flags = a->flags;
    upper->singles = a->singles;
    upper->object = a->object;
    upper->file = a->file;
    upper->offset = offset;
    if (a->object)
        vm_object_get(a->object);
    if (a->file && vm_file_ops.get)
        vm_file_ops.get(a->file);
}

/* Cuts a at addr, inside it; returns the upper part, NULL: no memory. */
static struct vm_area *split(struct vm_area *a, u64 addr)
{
    struct vm_area *upper = area_new();
    if (unlikely(!upper))
        return NULL;
    if (unlikely(a->seam))
        seam_torn = true;
    copy_like(upper, a, offset_at(a, addr));
    if (likely(!a->object)) {
        area_split(a, addr, upper);
        return upper;
    }
    mutex_lock(&a->object->lock);
    area_split(a, addr, upper);
    list_push_back(&a->object->areas, &upper->object_link);
    mutex_unlock(&a->object->lock);
    return upper;
}

/* Cuts the area around addr there, if there is one. -ENOMEM. */
static int split_at(u64 addr)
{
    struct vm_area *a = area_at(addr);
    return !a || a->start == addr || split(a, addr) ? 0 : -ENOMEM;
}

/* Whether low and high, which has other flags, are one area but for the border between them. */
static bool alike(const struct vm_area *low, const struct vm_area *high)
{
    return low->end == high->start && low->object == high->object && low->file == high->file &&
           (!low->object || offset_at(low, low->end) == high->offset);
}

static bool mergeable(const struct vm_area *low, const struct vm_area *high)
{
    return low->flags == high->flags && !(low->flags & VM_STACK) && alike(low, high);
}

static bool has_alike(const struct vm_area *a)
{
    struct vm_area *prev = area_prev(a), *next = area_next(a);
    return (prev && mergeable(prev, a)) || (next && mergeable(a, next));
}

/* a takes over the area after it. */
static void join(struct vm_area *a, struct vm_area *next, struct change *c)
{
    lock_object(a);
    area_join(a, next);
    a->singles |= next->singles;
    if (next->object)
        list_del(&next->object_link);
    unlock_object(a);
    let_go(next, c);
}

/* Joins a with its neighbours where they are alike, with theirs too, because the seam that knew of those may
 * be gone now; returns the area that then holds a's range. */
static struct vm_area *merge(struct vm_area *a, struct change *c)
{
    struct vm_area *prev, *next;
    while ((next = area_next(a)) && mergeable(a, next))
        join(a, next, c);
    while ((prev = area_prev(a)) && mergeable(prev, a)) {
        join(prev, a, c);
        a = prev;
    }
    return a;
}

/* After a cut: upper is what is left of the area's upper part, or NULL. */
static void __attribute__((noinline)) mend(struct vm_area *upper, struct change *c)
{
    seam_torn = false;
    if (upper)
        merge(upper, c);
}

/* Keeps a, which its neighbours could be joined with, apart for now, and joins the oldest of its kind. */
static void seam_keep(struct vm_area *a, struct change *c)
{
    struct vm_area *oldest = seams[seam_next];
    if (oldest)
        seam_forget(oldest);
    seams[seam_next] = a;
    a->seam = ++seam_next;
    seam_next %= SEAMS;
    __atomic_store_n(&seam_count, seam_count + 1, __ATOMIC_RELAXED);
    if (oldest)
        merge(oldest, c);
}

/* Joins what was kept apart. */
static void settle(struct change *c)
{
    for (u32 i = 0; seam_count && i < SEAMS; i++) {
        struct vm_area *a = seams[i];
        if (!a)
            continue;
        seam_forget(a);
        merge(a, c);
    }
}

/* Lets an area beside a new one, which has no references yet, grow over it, if they are alike. next: the area
 * after it. */
static bool extend(const struct vm_area *new, struct vm_area *next, struct change *c)
{
    struct vm_area *prev = next ? area_prev(next) : area_last();
    if (next && mergeable(new, next)) {
        resize(next, new->start, next->end);
        if (prev && mergeable(prev, next))
            merge(prev, c);
        return true;
    }
    if (!prev || !mergeable(prev, new))
        return false;
    resize(prev, prev->start, new->end);
    return true;
}

static void move_border(struct vm_area *low, struct vm_area *high, u64 addr)
{
    struct vm_area *grows = addr > low->end ? low : high;
    lock_object(low);
    if (low->object)
        high->offset += addr - high->start;
    area_move_border(low, high, addr);
    unlock_object(low);
    grows->singles = low->singles | high->singles;
}

/* The neighbour that has these flags and could have [start, end), an end of a, by moving the border between
 * them; NULL: there is none. */
static inline struct vm_area *taker(const struct vm_area *a, u64 start, u64 end, u32 flags)
{
    bool low = start == a->start, high = end == a->end;
    if (likely(low == high))
        return NULL;
    struct vm_area *beside = low ? area_prev(a) : area_next(a);
    if (!beside || beside->flags != flags || (flags & VM_STACK))
        return NULL;
    return alike(low ? beside : a, low ? a : beside) ? beside : NULL;
}

/*
 * Gives [start, end), a part of a, other flags: by moving the border to a neighbour that has them, else by
 * cutting. spare_ready() was true.
 */
static void set_flags(struct vm_area *a, u64 start, u64 end, u32 flags, struct change *c)
{
    bool low = start == a->start, high = end == a->end;
    struct vm_area *beside = taker(a, start, end, flags);
    if (beside) {
        move_border(low ? beside : a, low ? a : beside, low ? end : start);
        return;
    }
    struct vm_area *upper = high ? NULL : split(a, end);
    if (!low)
        a = split(a, start);
    a->flags = flags;
    if (unlikely(seam_torn))
        mend(upper, c);
    if (low && high) {
        if (!a->seam && has_alike(a))
            seam_keep(a, c);
    } else if (low || high) {
        merge(a, c);
    }
}

/* ---- singles (pt.c) ---- */

static bool any_singles; /* an area has them; written under vm_lock alone, a hint for others */

/* May [start, end), a part of a, become a single? Not what an area beside it would rather have: memory that
 * grows page by page. */
static bool single_allowed(const struct vm_area *a, u64 start, u64 end, u32 flags)
{
    return end - start == PAGE_SIZE && a->end - a->start > PAGE_SIZE && !a->object && !(flags & VM_STACK) &&
           !code_turns_over(flags | a->flags) && !taker(a, start, end, flags);
}

/* False: no memory. */
static bool protect_single(struct vm_area *a, u64 addr, u32 flags, struct change *c)
{
    if (!pt_protect_single(addr, flags, flags != a->flags, &c->batch))
        return false;
    a->singles = true;
    __atomic_store_n(&any_singles, true, __ATOMIC_RELAXED);
    return true;
}

/* Makes areas of the singles in [start, end), a part of a. -ENOMEM. */
static int singles_settle(const struct vm_area *a, u64 start, u64 end, struct change *c)
{
    u32 flags = a->flags & ~VM_PROT, prot;
    while (spare_ready()) {
        u64 next = pt_take_singles(&start, end, &prot, &c->batch);
        if (!next)
            return 0;
        set_flags(area_at(start), start, next, flags | prot, c);
        start = next;
    }
    return -ENOMEM;
}

static void __attribute__((noinline)) settle_all_singles(struct change *c)
{
    int err = 0;
    struct vm_area *a;
    for (u64 at = 0, next; (a = area_after(at)); at = next) {
        next = a->end;
        if (a->singles)
            err = singles_settle(a, MAX(a->start, at), next, c) ?: err;
    }
    if (err)
        return;
    for (a = area_after(0); a; a = area_next(a))
        a->singles = false;
    __atomic_store_n(&any_singles, false, __ATOMIC_RELAXED);
}

/* Leaves the areas as a program would see them. */
static void settle_all(struct change *c)
{
    if (any_singles)
        settle_all_singles(c);
    settle(c);
}

/* Splits areas and 2 MiB pages at both borders of [start, end). -ENOMEM with nothing changed that shows. */
static int cut(u64 start, u64 end, struct change *c)
{
    if (pt_split_around(start, end, &c->batch) || split_at(start) || split_at(end))
        return -ENOMEM;
    return 0;
}

static int unmap_range(u64 start, u64 end, struct change *c)
{
    struct vm_area *a = area_after(start);
    if (!a || a->start >= end)
        return 0;
    if (!spare_ready() || pt_split_around(start, end, &c->batch))
        return -ENOMEM;
    if (a->start < start)
        a = split(a, start);
    while (a && a->start < end) {
        if (a->end > end)
            split(a, end);
        struct vm_area *next = area_next(a);
        drop(a, c);
        a = next;
    }
    if (unlikely(seam_torn))
        mend(a, c);
    struct vm_area *prev = a ? area_prev(a) : area_last();
    pt_zap(start, end, prev ? prev->end : 0, a ? a->start : PROGRAM_END + PAGE_SIZE, &c->batch);
    return 0;
}

/* Puts an area that is complete but for its references among the others. next: the area after it. */
static void insert(struct vm_area *a, struct vm_area *next)
{
    if (a->object)
        vm_object_get(a->object);
    if (a->file && vm_file_ops.get)
        vm_file_ops.get(a->file);
    area_insert(a, next);
    object_link(a);
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
    struct change c;
    change_begin(&c);
    struct vm_area *a = area_new();
    err = a ? place(&addr, len, map_flags, huge_possible(len, object, object ? offset : 0), &c) : -ENOMEM;
    if (!err) {
        a->start = addr;
        a->end = addr + len;
        a->flags = area_flags | (area_flags & VM_SHARED ? 0 : VM_MAYWRITE);
        a->object = object;
        a->offset = object ? offset : 0;
        a->file = file;
    }
    struct vm_area *next = err ? NULL : area_after(addr);
    if (!err && !extend(a, next, &c))
        insert(a, next);
    else if (a)
        spare_push(a);
    change_end(&c);
    if (err)
        return err;
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

/* What of [start, end) the areas hold, one after the other; in a step, the part of its area. */
struct step {
    struct vm_area *area;
    u64 start, end;
};

/* The part of [at, end) in the next area; false: none is left. *hole is set when something lies between. */
static bool next_part(u64 at, u64 end, struct step *s, bool *hole)
{
    s->area = area_after(at);
    if (!s->area || s->area->start >= end) {
        *hole = true;
        return false;
    }
    *hole |= s->area->start > at;
    s->start = MAX(s->area->start, at);
    s->end = MIN(s->area->end, end);
    return true;
}

/*
 * Calls fn for what each area has of [addr, addr + len), in one change, until it fails. -ENOMEM when
 * something is not mapped, after the rest was done.
 */
static inline __attribute__((always_inline)) int
change_parts(u64 addr, u64 len, int (*fn)(const struct step *s, u32 arg, struct change *c), u32 arg)
{
    u64 end;
    int err = range_of(addr, len, &end);
    if (err || end == addr)
        return err;
    struct change c;
    struct step s = {.start = addr, .end = end};
    bool hole = false;
    change_begin(&c);
    s.area = area_after(addr);
    if (likely(s.area && s.area->start <= addr && s.area->end >= end)) {
        err = fn(&s, arg, &c);
    } else {
        s.end = addr;
        while (!err && s.end < end && next_part(s.end, end, &s, &hole))
            err = fn(&s, arg, &c);
    }
    change_end(&c);
    return err ? err : hole ? -ENOMEM : 0;
}

static int protect_part(const struct step *s, u32 prot, struct change *c)
{
    struct vm_area *a = s->area;
    u32 flags = (a->flags & ~VM_PROT) | prot;
    if ((prot & VM_WRITE) && !(a->flags & (VM_MAYWRITE | VM_WRITE)))
        return -EACCES;
    if (flags == a->flags && !a->singles)
        return 0;
    if (single_allowed(a, s->start, s->end, flags) && protect_single(a, s->start, flags, c))
        return 0;
    if (!spare_ready() || pt_protect(s->start, s->end, flags, a->object, &c->batch))
        return -ENOMEM;
    if (flags != a->flags)
        set_flags(a, s->start, s->end, flags, c);
    return 0;
}

int vm_protect(u64 addr, u64 len, u32 prot)
{
    return change_parts(addr, len, protect_part, prot);
}

static int advise_part(const struct step *s, u32 advice, struct change *c)
{
    u32 flags = (s->area->flags & ~(VM_HUGE | VM_NOHUGE)) | advice;
    if (!spare_ready())
        return -ENOMEM;
    if (flags != s->area->flags)
        set_flags(s->area, s->start, s->end, flags, c);
    return 0;
}

int vm_advise_huge(u64 addr, u64 len, bool huge)
{
    return change_parts(addr, len, advise_part, huge ? VM_HUGE : VM_NOHUGE);
}

static int discard_part(const struct step *s, u32 unused, struct change *c)
{
    (void)unused;
    if (s->area->flags & VM_LOCKED)
        return -EINVAL;
    if (pt_split_around(s->start, s->end, &c->batch))
        return -ENOMEM;
    if (s->area->singles && singles_settle(s->area, s->start, s->end, c))
        return -ENOMEM;
    pt_zap(s->start, s->end, s->start, s->end, &c->batch);
    return 0;
}

int vm_discard(u64 addr, u64 len)
{
    return change_parts(addr, len, discard_part, 0);
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
    copy_like(into, a, offset_at(a, old_addr));
    into->start = start;
    into->end = start + len;
    area_insert(into, area_after(start));
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

/* *into: for a new area; NULL afterwards when it was used. */
static s64 remap_locked(u64 addr, u64 old_len, u64 new_len, u32 flags, u64 new_addr, struct vm_area **into,
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
    int err = move_area(addr, old_len, new_len, keep_old, new_addr, *into, c);
    if (!err)
        *into = NULL;
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
    struct change c;
    change_begin(&c);
    settle_all(&c);
    struct vm_area *into = area_new();
    s64 result = into ? remap_locked(addr, old_len, new_len, flags, new_addr, &into, &c) : -ENOMEM;
    if (into)
        spare_push(into);
    change_end(&c);
    return result;
}

/* ---- for those who look ---- */

void areas_settle(void)
{
    if (!__atomic_load_n(&seam_count, __ATOMIC_RELAXED) && !__atomic_load_n(&any_singles, __ATOMIC_RELAXED))
        return;
    struct change c;
    change_begin(&c);
    settle_all(&c);
    change_end(&c);
}

/* ---- boot ---- */

void vm_init(void)
{
    pt_init();
    tlb_init();
    reclaim_init();
    peek_init();
    sched_idle_work = phys_idle_work;
}

void vm_init_cpu(void)
{
    /* The shoot-down handler is common and per-CPU state starts as zeros. */
}
