/*
 * TLB shoot-downs. An operation collects what it unmapped in a batch; tlb_finish() tells the other CPUs,
 * waits until all have answered, and only then frees the frames.
 *
 * A request and one node a CPU live on the initiator's stack. The node is pushed on the target's inbox, a
 * lock-free stack (Treiber) that the target empties at once with an exchange, so there is no ABA; the IPI is
 * sent when the inbox was empty before. The target counts request.pending down as its last access to the
 * request; whoever counts to 0 wakes the initiator, whose struct thread is type-stable, so a late wake-up is
 * harmless. Orders: the page-table change (atomic exchange) happens before the push (release), which happens
 * before the target's exchange (acquire) and flush.
 *
 * A CPU that is idle, or looks whether vm_lock becomes free (tlb_quiet), is not disturbed: it runs nothing
 * but the kernel, whose translations never change, and flushes before it runs the program again. Its state
 * goes
 *
 *     ACTIVE --becomes quiet--> IDLE --initiators, by compare-and-exchange--> RANGE or STALE
 *     any of these three --becomes active, by exchange: flushes the range, or all--> ACTIVE
 *
 * That is not enough for page tables. Whatever a CPU runs, it may speculatively walk the program's addresses
 * by upper levels that it has cached (Intel SDM 3A, 4.10.2.3, 4.10.3), through a table that has become
 * something else by then: it would keep what it finds there as a translation, or set an accessed bit. So
 * tables that go are retired first, empty, where such a walk finds nothing; now and then all CPUs are told,
 * and they are free.
 *
 * Both sides are sequentially consistent: an initiator that finds it quiet changed the page table before the
 * CPU's exchange to ACTIVE, so either that exchange sees what the initiator wrote, or the initiator saw
 * ACTIVE.
 */
#include "kernel/arch/x86_64/trap.h"
#include "mm/vm/internal.h"
#include "sched/thread.h"

#define FLUSH_EACH_MAX 32   /* more pages than this: flush everything */
#define SPINS          2000 /* looks at the answer before sleeping */
#define LOOKS          1000 /* looks at whether CPUs become idle or quiet before interrupting them */

struct tlb_request {
    u64 start, end;
    bool kernel; /* the kernel's translations, all of them */
    u32 pending; /* atomic: CPUs that have not answered */
    struct thread *waiter;
};
struct tlb_node {
    struct tlb_node *next;
    struct tlb_request *request;
};

static struct tlb_node *inbox[CPU_MAX]; /* atomic */

/* The low bits of a CPU's state. RANGE: first page << 16 | pages << 2. */
enum { ACTIVE, IDLE, STALE, RANGE };
static struct {
    u64 state; /* atomic; written by its CPU, and by initiators while it is not ACTIVE */
} __attribute__((aligned(64))) cpu_tlb[CPU_MAX];

static void flush_local(u64 start, u64 end)
{
    if ((end - start) >> PAGE_SHIFT > FLUSH_EACH_MAX) {
        tlb_flush_program_local();
        return;
    }
    for (; start < end; start += PAGE_SIZE)
        tlb_flush_page_local(start);
}

void tlb_quiet(bool quiet)
{
    u64 old = __atomic_exchange_n(&cpu_tlb[cpu_id()].state, quiet ? IDLE : ACTIVE, __ATOMIC_SEQ_CST);
    u64 start = old >> 16 << PAGE_SHIFT;
    if (old == STALE)
        tlb_flush_program_local();
    else if ((old & 3) == RANGE)
        flush_local(start, start + ((old & 0xffff) >> 2 << PAGE_SHIFT));
}

/* The state of a CPU, IDLE or RANGE before, that is to forget [start, end) as well. */
static u64 also_forget(u64 state, u64 start, u64 end)
{
    if (state != IDLE) {
        u64 first = state >> 16 << PAGE_SHIFT;
        start = MIN(start, first);
        end = MAX(end, first + ((state & 0xffff) >> 2 << PAGE_SHIFT));
    }
    u64 pages = (end - start) >> PAGE_SHIFT;
    return pages > FLUSH_EACH_MAX ? STALE : start >> PAGE_SHIFT << 16 | pages << 2 | RANGE;
}

/* True when the CPU runs nothing but the kernel: it will flush before it runs the program again. */
static bool left_for_later(u32 cpu, u64 start, u64 end)
{
    u64 *at = &cpu_tlb[cpu].state, state = __atomic_load_n(at, __ATOMIC_SEQ_CST);
    while (state != ACTIVE && state != STALE)
        if (__atomic_compare_exchange_n(at, &state, also_forget(state, start, end), false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            return true;
    return state == STALE;
}

/* On the target, interrupts off. */
static void tlb_interrupt(void *arg)
{
    struct tlb_node *n = __atomic_exchange_n(&inbox[cpu_id()], NULL, __ATOMIC_ACQUIRE);
    while (n) {
        struct tlb_node *next = n->next;
        struct tlb_request *r = n->request;
        struct thread *waiter = r->waiter;
        if (r->kernel)
            tlb_flush_all_local();
        else
            flush_local(r->start, r->end);
        if (__atomic_sub_fetch(&r->pending, 1, __ATOMIC_ACQ_REL) == 0)
            sched_wake(waiter);
        n = next;
    }
}

static void send(u32 cpu, struct tlb_node *n)
{
    n->next = __atomic_load_n(&inbox[cpu], __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&inbox[cpu], &n->next, n, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
    if (!n->next)
        ipi_send(cpu, VECTOR_TLB);
}

static void wait_for_answers(struct tlb_request *r)
{
    for (u32 i = 0; i < SPINS; i++) {
        if (!__atomic_load_n(&r->pending, __ATOMIC_ACQUIRE))
            return;
        cpu_relax_now_and_then(i + 1);
    }
    while (__atomic_load_n(&r->pending, __ATOMIC_ACQUIRE))
        sched_sleep(SLEEP_FOREVER, 0);
    sched_wake(r->waiter); /* the permit may have been somebody else's: give it back */
}

/* The CPUs that must be told now: to targets. Looks again for a while, because one that faults or changes
 * areas will soon wait for vm_lock, which the caller holds. all: no CPU can be left for later. Preemption
 * off.
 */
static u32 find_targets(u8 *targets, u64 start, u64 end, bool all)
{
    u32 self = cpu_id(), count = __atomic_load_n(&cpu_count, __ATOMIC_RELAXED), n = 0;
    for (u32 i = 0; i < count; i++)
        if (i != self && cpus[i] && __atomic_load_n(&cpus[i]->online, __ATOMIC_ACQUIRE))
            targets[n++] = i;
    for (s32 looks = LOOKS; !all && n && looks > 0; looks -= n + 1)
        for (u32 i = n; i > 0; i--)
            if (left_for_later(targets[i - 1], start, end))
                targets[i - 1] = targets[--n];
    return n;
}

static void __attribute__((noinline)) flush_everywhere(u64 start, u64 end, bool kernel, bool all)
{
    struct tlb_node nodes[CPU_MAX];
    struct tlb_request r = {.start = start, .end = end, .kernel = kernel, .waiter = current_thread()};
    u8 targets[CPU_MAX];
    preempt_disable();
    if (kernel)
        tlb_flush_all_local();
    else
        flush_local(start, end);
    u32 others = r.pending = find_targets(targets, start, end, kernel || all);
    for (u32 i = 0; i < others; i++) {
        nodes[i].request = &r;
        send(targets[i], &nodes[i]);
    }
    preempt_enable();
    if (others)
        wait_for_answers(&r);
}

void tlb_flush_kernel(void)
{
    flush_everywhere(0, 0, true, false);
}

void tlb_begin(struct tlb_batch *b)
{
    b->start = ~0UL;
    b->end = 0;
    b->next = NULL;
    b->run_count = 0;
    b->tables = NULL;
    list_init(&b->own);
}

void tlb_release_shared(struct tlb_batch *b, struct page *page)
{
    u32 n = b->run_count;
    if (n && b->run[n - 1].first + b->run[n - 1].count == page) {
        b->run[n - 1].count++;
        return;
    }
    if (n == TLB_RUNS)
        tlb_finish(b);
    b->run[b->run_count].first = page;
    b->run[b->run_count++].count = 1;
}

/* Drops a reference of each of 512 pages of one aligned block; frees them together when it was the last of
 * all. */
static void put_block(struct page *first)
{
    u64 dead[512 / 64] = {0};
    u32 count = 0;
    for (u32 i = 0; i < 512; i++) {
        if (__atomic_sub_fetch(&first[i].refs, 1, __ATOMIC_ACQ_REL))
            continue;
        dead[i / 64] |= 1UL << i % 64;
        count++;
    }
    if (count == 512) {
        first->order = ORDER_HUGE;
        page_free(first);
        return;
    }
    for (u32 i = 0; count && i < 512; i++)
        if (dead[i / 64] & 1UL << i % 64)
            page_free(first + i);
}

static void put_run(struct page *page, u32 count)
{
    while (count) {
        if (count >= 512 && page->order == 0 && IS_ALIGNED(page_to_paddr(page), HUGE_SIZE)) {
            put_block(page);
            page += 512;
            count -= 512;
        } else {
            page_put(page++);
            count--;
        }
    }
}

/* ---- tables that go. vm_lock alone ---- */

#define RETIRED_MAX 32

static struct page *retired; /* empty tables, linked by page.private */
static u32 retired_count;

/* True when so many have come together that they shall be freed. */
static bool __attribute__((noinline)) retire(struct tlb_batch *b)
{
    while (b->tables) {
        struct page *table = b->tables;
        b->tables = (struct page *)table->private;
        table->private = (u64)retired;
        retired = table;
        retired_count++;
    }
    return retired_count > RETIRED_MAX || __atomic_load_n(&cpu_count, __ATOMIC_RELAXED) == 1;
}

/* All CPUs have flushed since the last one was retired: any page's flush drops all upper levels. */
static void __attribute__((noinline)) free_retired(void)
{
    while (retired) {
        struct page *table = retired;
        retired = (struct page *)table->private;
        page_free(table);
    }
    retired_count = 0;
}

void tlb_flush_noted(struct tlb_batch *b)
{
    bool all = unlikely(b->tables) && retire(b);
    if (__atomic_load_n(&cpu_count, __ATOMIC_RELAXED) == 1)
        flush_local(b->start, b->end);
    else
        flush_everywhere(b->start, b->end, false, all);
    if (unlikely(all))
        free_retired();
    b->start = ~0UL;
    b->end = 0;
}

void tlb_free_collected(struct tlb_batch *b)
{
    for (struct list *l; (l = list_pop_front(&b->own));) {
        struct page *page = list_entry(l, struct page, link);
        if (page->private > 1)
            page_free_run(page, page->private);
        else
            page_free(page);
    }
    for (u32 i = 0; i < b->run_count; i++)
        put_run(b->run[i].first, b->run[i].count);
    b->next = NULL;
    b->run_count = 0;
}

void tlb_finish(struct tlb_batch *b)
{
    tlb_flush(b);
    tlb_free(b);
}

void tlb_init(void)
{
    irq_set_fixed(VECTOR_TLB, tlb_interrupt, NULL);
    sched_idle_hook = tlb_quiet;
}
