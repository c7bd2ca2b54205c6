/*
 * Frames zeroed ahead, by CPUs that have nothing else to do. An idle CPU takes a free frame or 2 MiB block,
 * zeroes it with preemption and interrupts on, so that whatever wants the CPU gets it at once, and puts it on
 * a list; who asks for zeroed memory looks there first. The list is bounded, is free memory for all purposes
 * (phys_stats, the reserve), and goes back to the buddy allocator as soon as that cannot serve somebody.
 *
 * The lists are guarded by zone_lock, which idle CPUs only try.
 */
#include "kernel/arch/x86_64/zero.h"
#include "mm/phys/internal.h"

#define SINGLES_MAX 1024         /* frames kept ready at most; a 128th of memory if that is less */
#define BLOCKS_MAX  8            /* 2 MiB blocks; a 64th of memory if that is less */
#define STEP        (64UL << 10) /* bytes zeroed in one go */
#define MIN_TOTAL   (64UL << 20 >> PAGE_SHIFT) /* smaller machines have no such lists */

/* Frames and blocks by kind: 0 frames, 1 blocks of 2 MiB. */
static struct {
    u32 order, limit;
    struct list ready;
} lists[2];
u32 zeroed_count[2]; /* of each list */

static u64 made, used; /* frames of 4 KiB; atomic */

/* What an idle CPU is zeroing. Owned by the CPU's idle thread. */
static struct {
    struct page *page; /* NULL: nothing */
    u64 done;          /* bytes */
} __attribute__((aligned(64))) in_hand[CPU_MAX];

void zeroed_start(u64 total)
{
    for (u32 i = 0; i < 2; i++)
        list_init(&lists[i].ready);
    lists[1].order = ORDER_HUGE;
    lists[0].limit = total < MIN_TOTAL ? 0 : MIN(SINGLES_MAX, total / 128);
    lists[1].limit = total < MIN_TOTAL ? 0 : MIN(BLOCKS_MAX, total / 64 >> ORDER_HUGE);
}

static u32 count_of(u32 i)
{
    return __atomic_load_n(&zeroed_count[i], __ATOMIC_RELAXED);
}

static void set_count(u32 i, u32 count)
{
    __atomic_store_n(&zeroed_count[i], count, __ATOMIC_RELAXED);
}

u64 zeroed_pages(void)
{
    return count_of(0) + ((u64)count_of(1) << ORDER_HUGE);
}

static struct page *pop(u32 i)
{
    struct list *l = list_pop_front(&lists[i].ready);
    if (!l)
        return NULL;
    set_count(i, zeroed_count[i] - 1);
    return list_entry(l, struct page, link);
}

u32 zeroed_take(u32 order, struct page **pages, u32 max)
{
    u32 n = 0, i = order == ORDER_HUGE;
    while (n < max && (pages[n] = pop(i)))
        n++;
    __atomic_add_fetch(&used, (u64)n << order, __ATOMIC_RELAXED);
    return n;
}

bool zeroed_give_up(void)
{
    struct page *page;
    bool any = false;
    for (u32 i = 0; i < 2; i++)
        for (; (page = pop(i)); any = true)
            buddy_give(page, lists[i].order);
    return any;
}

/* A block to zero, of the list that lacks most; NULL: none is wanted, or zone_lock is not to be had. */
static struct page *take_dirty(u32 *order)
{
    u32 i = (u64)count_of(1) * lists[0].limit < (u64)count_of(0) * lists[1].limit;
    if (count_of(i) >= lists[i].limit || phys_free_pages() < phys_total_pages() / 4)
        return NULL;
    struct page *page = NULL;
    preempt_disable();
    if (mutex_trylock(&zone_lock)) {
        page = buddy_take(lists[i].order);
        mutex_unlock(&zone_lock);
    }
    preempt_enable();
    *order = lists[i].order;
    return page;
}

/* False when zone_lock is not to be had. */
static bool put_ready(struct page *page)
{
    u32 i = page->order == ORDER_HUGE;
    preempt_disable();
    bool done = mutex_trylock(&zone_lock);
    if (done) {
        list_push_back(&lists[i].ready, &page->link);
        set_count(i, zeroed_count[i] + 1);
        mutex_unlock(&zone_lock);
    }
    preempt_enable();
    return done;
}

/* A step is short, so that the CPU is seen as idle again soon after it lost itself to somebody in the middle.
 */
bool phys_idle_work(void)
{
    u32 cpu = cpu_id(), order; /* the idle thread does not change CPUs */
    struct page *page = in_hand[cpu].page;
    if (!page) {
        page = in_hand[cpu].page = take_dirty(&order);
        if (!page)
            return false;
        page->order = order;
        in_hand[cpu].done = 0;
    }
    u64 len = PAGE_SIZE << page->order, step = MIN(STEP, len - in_hand[cpu].done);
    zero_frames((u8 *)page_to_virt(page) + in_hand[cpu].done, step);
    in_hand[cpu].done += step;
    if (in_hand[cpu].done < len)
        return true;
    if (!put_ready(page)) /* afterwards it may be somebody's */
        return false;
    __atomic_add_fetch(&made, len >> PAGE_SHIFT, __ATOMIC_RELAXED);
    in_hand[cpu].page = NULL;
    return true;
}

void phys_zeroed_stats(struct phys_zeroed *out)
{
    out->ready_pages = count_of(0);
    out->ready_blocks = count_of(1);
    out->made_pages = __atomic_load_n(&made, __ATOMIC_RELAXED);
    out->used_pages = __atomic_load_n(&used, __ATOMIC_RELAXED);
}
