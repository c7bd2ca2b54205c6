/* Frames, heap, pools, stacks: random use against a model, with memory that starts as garbage. */
#include "host.h"

#include "mm/phys/internal.h"

#define BLOCKS 2000

struct block {
    struct page *page;
    u32 order;
    u64 mark;
};

static u64 free_now(void)
{
    struct phys_stats s;
    phys_stats(&s);
    return s.free_pages;
}

static void fill(struct block *b)
{
    u64 *p = page_to_virt(b->page);
    b->mark = host_random(~0UL);
    for (u32 i = 0; i < 1u << b->order; i++)
        p[i * 512] = p[i * 512 + 511] = b->mark + i;
}

static void check_block(struct block *b)
{
    u64 *p = page_to_virt(b->page);
    for (u32 i = 0; i < 1u << b->order; i++)
        CHECK(p[i * 512] == b->mark + i && p[i * 512 + 511] == b->mark + i);
}

/* Blocks never overlap, are aligned, and all memory comes back as large blocks. */
static void test_frames(void)
{
    static struct block blocks[BLOCKS];
    u64 before = free_now();
    for (u32 i = 0; i < 40000; i++) {
        struct block *b = &blocks[host_random(BLOCKS)];
        if (b->page) {
            check_block(b);
            page_free(b->page);
            b->page = NULL;
            continue;
        }
        b->order = host_random(4) ? 0 : host_random(ORDER_MAX + 1);
        b->page = page_alloc(b->order, PAGE_KERNEL, 0);
        if (!b->page)
            continue;
        CHECK(IS_ALIGNED(page_to_paddr(b->page), PAGE_SIZE << b->order));
        CHECK(b->page->refs == 1 && b->page->kind == PAGE_KERNEL && b->page->order == b->order);
        fill(b);
    }
    for (u32 i = 0; i < BLOCKS; i++)
        if (blocks[i].page) {
            page_free(blocks[i].page);
            blocks[i].page = NULL;
        }
    CHECK(free_now() == before);
    printf("ok frames\n");
}

static void test_exhaustion(void)
{
    struct list all;
    list_init(&all);
    u64 count = 0, before = free_now();
    struct page *page;
    while ((page = page_alloc(0, PAGE_KERNEL, 0))) {
        list_push_back(&all, &page->link);
        count++;
    }
    CHECK(count + 64 > before && free_now() < 8);
    CHECK(!page_alloc(0, PAGE_ANON, PHYS_TRY) && !page_alloc(3, PAGE_KERNEL, PHYS_ATOMIC));
    for (struct list *l; (l = list_pop_front(&all));)
        page_free(list_entry(l, struct page, link));
    CHECK(free_now() == before);
    page = page_alloc(ORDER_MAX, PAGE_KERNEL, 0); /* everything merged again */
    CHECK(page);
    page_free(page);
    printf("ok exhaustion\n");
}

static void test_split(void)
{
    u64 before = free_now();
    struct page *page = page_alloc(ORDER_HUGE, PAGE_ANON, PHYS_ZERO);
    page_split(page, 1);
    for (u32 i = 0; i < 512; i++) {
        CHECK(page[i].refs == 1 && page[i].order == 0 && page[i].kind == PAGE_ANON);
        page_put(&page[i]);
    }
    CHECK(free_now() == before);
    printf("ok split\n");
}

static void test_heap(void)
{
    static struct {
        u8 *p;
        size_t size;
        u8 mark;
    } piece[BLOCKS];
    for (u32 i = 0; i < 200000; i++) {
        u32 n = host_random(BLOCKS);
        if (piece[n].p && host_random(2)) {
            size_t size = host_random(3000) + 1;
            u8 *q = krealloc(piece[n].p, size);
            CHECK(q);
            for (size_t k = 0; k < MIN(size, piece[n].size); k++)
                CHECK(q[k] == piece[n].mark);
            memset(q, piece[n].mark, size);
            piece[n].p = q;
            piece[n].size = size;
        } else if (piece[n].p) {
            for (size_t k = 0; k < piece[n].size; k++)
                CHECK(piece[n].p[k] == piece[n].mark);
            kfree(piece[n].p);
            piece[n].p = NULL;
        } else {
            size_t size = host_random(10) ? host_random(600) : host_random(20000);
            u8 *p = piece[n].p = kmalloc(size);
            CHECK(p && IS_ALIGNED((u64)p, 16));
            if (size >= 64 && !(size & (size - 1)))
                CHECK(IS_ALIGNED((u64)p, MIN(size, PAGE_SIZE)));
            for (size_t k = 0; k < size; k++)
                CHECK(p[k] == 0);
            piece[n].size = size;
            piece[n].mark = host_random(256);
            memset(p, piece[n].mark, size);
        }
    }
    u64 held = free_now();
    for (u32 i = 0; i < BLOCKS; i++)
        kfree(piece[i].p);
    CHECK(free_now() > held + BLOCKS * 200 / PAGE_SIZE); /* empty slabs went back */
    printf("ok heap\n");
}

static void test_pool(void)
{
    struct thing {
        u64 a[5];
    };
    static struct kpool pool = KPOOL_INIT(struct thing);
    struct thing *t[300];
    for (u32 round = 0; round < 3; round++) {
        for (u32 i = 0; i < 300; i++) {
            t[i] = kpool_alloc(&pool);
            for (u32 k = 0; k < 5; k++)
                t[i]->a[k] = i;
        }
        for (u32 i = 0; i < 300; i++) {
            CHECK(t[i]->a[0] == i && t[i]->a[4] == i);
            kpool_free(&pool, t[i]);
            CHECK(t[i]->a[0] == i && t[i]->a[4] == i); /* freed objects keep their bytes */
        }
    }
    CHECK(pool.live == 0);
    printf("ok pool\n");
}

static u32 flushes;

static void flush(void)
{
    flushes++;
}

static void test_stacks(void)
{
    u64 a = kstack_alloc(), b = kstack_alloc();
    CHECK(a && b && (a > b ? a - b : b - a) > KSTACK_SIZE);
    kstack_free(a);
    kstack_free(b);
    CHECK(kstack_alloc() == b && kstack_alloc() == a);
    kstack_free(a);
    kstack_free(b);
    static u64 tops[100];
    for (u32 round = 0; round < 3; round++) {
        u64 before = free_now(), again = 0;
        for (u32 i = 0; i < 100; i++) {
            tops[i] = kstack_alloc();
            CHECK(pte_present(*kernel_pte(tops[i] - 8)) && pte_present(*kernel_pte(tops[i] - KSTACK_SIZE)));
            for (u32 k = 0; k < i; k++)
                CHECK(tops[k] != tops[i]);
        }
        for (u32 i = 0; i < 100; i++)
            kstack_free(tops[i]);
        u32 flushed = flushes;
        CHECK(kstack_reclaim(10, flush) >= 10 && flushes == flushed + 1);
        while (kstack_reclaim(1000, flush))
            again++;
        CHECK(again && free_now() + 50 > before); /* a few stay, and tables */
    }
    printf("ok stacks\n");
}

static bool all_zero(struct page *page)
{
    u64 *p = page_to_virt(page);
    for (u64 i = 0; i < (PAGE_SIZE << page->order) / 8; i++)
        if (p[i])
            return false;
    return true;
}

/* What an idle CPU zeroes is bounded, is free memory, serves PHYS_ZERO first, and comes back when memory is
 * short. */
static void test_zeroed(void)
{
    struct phys_zeroed z, before;
    struct page *page;
    struct list all;
    u64 free = free_now(), steps = 0, count = 0;
    list_init(&all);
    while (phys_idle_work())
        CHECK(steps++ < 100000);
    phys_zeroed_stats(&before);
    CHECK(before.ready_pages && before.ready_blocks && before.made_pages < phys_total_pages() / 16);
    CHECK(before.made_pages == before.ready_pages + before.ready_blocks * 512);
    CHECK(free_now() == free);
    while ((page = page_alloc(host_random(50) ? 0 : ORDER_HUGE, PAGE_ANON, PHYS_ZERO | PHYS_TRY))) {
        CHECK(all_zero(page));
        memset(page_to_virt(page), 0xa5, PAGE_SIZE << page->order);
        list_push_back(&all, &page->link);
        count += 1u << page->order;
    }
    phys_zeroed_stats(&z);
    CHECK(z.used_pages > before.ready_pages / 2 && !z.ready_pages);
    CHECK(count > free - 2000);
    CHECK(!phys_idle_work()); /* nothing is taken from those who need it */
    for (struct list *l; (l = list_pop_front(&all));)
        page_free(list_entry(l, struct page, link));
    CHECK(free_now() == free);
    while (phys_idle_work())
        ;
    for (count = 0; (page = page_alloc(ORDER_MAX, PAGE_KERNEL, 0)); count++) /* large blocks want it back */
        list_push_back(&all, &page->link);
    phys_zeroed_stats(&z);
    CHECK(!z.ready_pages && !z.ready_blocks);
    for (struct list *l; (l = list_pop_front(&all));)
        page_free(list_entry(l, struct page, link));
    CHECK(free_now() == free);
    printf("ok zeroed\n");
}

/* A thread that sleeps inside an allocation may wake on a CPU on which nothing was ever allocated. */
static void test_move_in_allocation(void)
{
    static const u32 kinds[] = {PAGE_ANON, PAGE_KERNEL};
    struct page *pages[400];
    while (phys_idle_work())
        ;
    u64 free = free_now();
    for (u32 id = 1; id <= 8; id++) {
        host_move_in_locks(id, true);
        for (u32 i = 0; i < ARRAY_LEN(pages); i++) {
            pages[i] =
                page_alloc(id % 3 ? 0 : ORDER_HUGE * (i % 50 == 0), kinds[i & 1], id & 1 ? PHYS_ZERO : 0);
            CHECK(pages[i] && (!(id & 1) || all_zero(pages[i])));
            kfree(kmalloc(i));
        }
        for (u32 i = 0; i < ARRAY_LEN(pages); i++)
            page_free(pages[i]);
        host_move_in_locks(id, false);
    }
    CHECK(free_now() >= free - 8 * 16); /* CPUs keep their caches and slabs */
    printf("ok move-in-allocation\n");
}

int main(int argc, char **argv)
{
    host_boot(72UL << 20, 128UL << 20);
    test_zeroed();
    test_frames();
    test_exhaustion();
    test_split();
    test_heap();
    test_pool();
    test_stacks();
    test_frames();
    test_move_in_allocation(); /* the CPUs it goes to keep frames in their caches */
    return 0;
}
