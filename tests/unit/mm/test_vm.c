/*
 * Virtual memory against a model of one byte a page: random maps, unmaps, protections, discards, moves,
 * truncations, and after each some accesses through a TLB that only forgets what it is told to forget.
 */
#include "host.h"

#include "kernel/base/unwind.h"

#include <stdlib.h>

#define BASE      0x40000000UL /* 2 MiB-aligned */
#define PAGES     3072u        /* 12 MiB */
#define OBJECTS   2
#define OBJ_PAGES 1200u

enum state { NONE, ANON, SHARED, PRIVATE };

struct model {
    enum state state;
    u32 prot, obj, index;
    bool own; /* PRIVATE: has its copy */
    u8 value;
};
static struct model model[PAGES];
static struct vm_object objects[OBJECTS];
static u8 contents[OBJECTS][OBJ_PAGES];
static u8 store[OBJ_PAGES]; /* what is behind object 1 */
static u64 limit[OBJECTS];  /* pages */

static int fill(struct vm_object *obj, u64 index, struct page *page)
{
    memset(page_to_virt(page), store[index], PAGE_SIZE);
    return 0;
}

static int writeback(struct vm_object *obj, u64 index, struct page *page, u32 len)
{
    CHECK(len == PAGE_SIZE);
    store[index] = *(u8 *)page_to_virt(page);
    return 0;
}

static const struct vm_object_ops file_ops = {.fill = fill, .writeback = writeback};
static const struct vm_object_ops memory_ops = {0};

static u64 addr_of(u32 page)
{
    return BASE + page * PAGE_SIZE;
}

static void expect(u32 i, bool write)
{
    struct model *m = &model[i];
    int err, want = 0;
    u32 need = write ? VM_WRITE : VM_PROT;
    if (m->state == NONE)
        want = -EFAULT;
    else if (!(m->prot & need))
        want = -EACCES;
    else if (m->state >= SHARED && m->index >= limit[m->obj])
        want = -EIO;
    u8 *p = host_access(addr_of(i), write, &err);
    if (err != want) {
        printf("not ok seed %u: page %u state %d prot %u write %d: got %d, want %d\n", host_seed, i, m->state,
               m->prot, write, err, want);
        abort();
    }
    if (err)
        return;
    bool shares = m->state == SHARED || (m->state == PRIVATE && !m->own);
    u8 value = shares ? contents[m->obj][m->index] : m->value;
    if (*p != value) {
        printf("not ok seed %u: page %u state %d own %d holds %u, not %u\n", host_seed, i, m->state, m->own,
               *p, value);
        abort();
    }
    if (!write)
        return;
    *p = host_random(255) + 1;
    if (m->state == SHARED) {
        contents[m->obj][m->index] = *p;
    } else {
        m->value = *p;
        m->own = true;
    }
}

static void look(u32 count)
{
    while (count--)
        expect(host_random(PAGES), host_random(2));
}

static void pick(u32 *first, u32 *count)
{
    u32 sizes[] = {1, 4, 100, 600, 1500};
    *count = 1 + host_random(sizes[host_random(5)]);
    *first = host_random(PAGES - *count);
    if (!host_random(4)) { /* whole 2 MiB pieces are worth more than chance gives them */
        *first = ALIGN_DOWN(*first, 512u);
        *count = 512 * (1 + host_random(2));
        *count = MIN(*count, PAGES - *first);
    }
}

static u32 random_prot(void)
{
    u32 r = host_random(8);
    return r == 0 ? 0 : r < 3 ? VM_READ : VM_READ | VM_WRITE;
}

static void op_map(void)
{
    u32 first, count, prot = random_prot();
    pick(&first, &count);
    enum state state = host_random(2) ? ANON : 1 + host_random(3);
    u32 obj = host_random(OBJECTS), index = host_random(OBJ_PAGES);
    if (host_random(2)) /* 2 MiB pages need addresses and offsets to agree */
        index = first % 512 + 512 * host_random(2);
    if (state != ANON)
        count = MIN(count, OBJ_PAGES - index);
    u32 flags = prot | (state == SHARED ? VM_SHARED | VM_MAYWRITE : 0);
    s64 at = vm_map(addr_of(first), count * PAGE_SIZE, flags, VM_FIXED, state == ANON ? NULL : &objects[obj],
                    state == ANON ? 0 : index * PAGE_SIZE, NULL);
    CHECK(at == (s64)addr_of(first));
    for (u32 i = 0; i < count; i++)
        model[first + i] = (struct model){state, prot, obj, index + i, false, 0};
}

static void op_unmap(void)
{
    u32 first, count;
    pick(&first, &count);
    CHECK(!vm_unmap(addr_of(first), count * PAGE_SIZE));
    for (u32 i = 0; i < count; i++)
        model[first + i].state = NONE;
}

static void op_protect(void)
{
    u32 first, count, prot = random_prot();
    pick(&first, &count);
    bool hole = false;
    for (u32 i = 0; i < count; i++)
        hole |= model[first + i].state == NONE;
    int err = vm_protect(addr_of(first), count * PAGE_SIZE, prot);
    CHECK(err == (hole ? -ENOMEM : 0));
    for (u32 i = 0; i < count; i++) /* what comes after a hole is done too, or not: make it known */
        if (hole && model[first + i].state != NONE)
            CHECK(!vm_protect(addr_of(first + i), PAGE_SIZE, prot));
    for (u32 i = 0; i < count; i++)
        model[first + i].prot = prot;
}

/* Pages here and there, which stay in their areas until somebody looks at those. */
static void op_protect_pages(void)
{
    for (u32 i = 0; i < 30; i++) {
        u32 page = host_random(PAGES), prot = random_prot();
        int err = vm_protect(addr_of(page), PAGE_SIZE, prot);
        CHECK(err == (model[page].state == NONE ? -ENOMEM : 0));
        model[page].prot = prot;
        look(2);
    }
}

static void op_discard(void)
{
    u32 first, count;
    pick(&first, &count);
    vm_discard(addr_of(first), count * PAGE_SIZE);
    for (u32 i = 0; i < count; i++) {
        model[first + i].own = false;
        model[first + i].value = 0;
    }
}

static bool same_area(u32 first, u32 count)
{
    struct model *a = &model[first];
    for (u32 i = 0; i < count; i++) {
        struct model *m = &model[first + i];
        if (m->state != a->state || m->prot != a->prot || m->state == NONE)
            return false;
        if (m->state >= SHARED && (m->obj != a->obj || m->index != a->index + i))
            return false;
    }
    return true;
}

static void op_remap(void)
{
    u32 from, to, count;
    pick(&from, &count);
    count = MIN(count, 700u);
    to = host_random(PAGES - count);
    if (from < to + count && to < from + count)
        return;
    s64 at = vm_remap(addr_of(from), count * PAGE_SIZE, count * PAGE_SIZE, VM_REMAP_MAYMOVE | VM_REMAP_FIXED,
                      addr_of(to));
    if (!same_area(from, count)) {
        CHECK(at == -EFAULT);
        return;
    }
    CHECK(at == (s64)addr_of(to));
    for (u32 i = 0; i < count; i++) {
        model[to + i] = model[from + i];
        model[from + i].state = NONE;
    }
}

static void forget(u32 obj, u32 from, u32 to, bool copies)
{
    for (u32 i = from; i < to; i++)
        contents[obj][i] = 0;
    for (u32 i = 0; copies && i < PAGES; i++)
        if (model[i].state == PRIVATE && model[i].obj == obj && model[i].index >= from && model[i].index < to)
            model[i].own = false;
}

static void op_truncate(void)
{
    u32 to = OBJ_PAGES / 2 + host_random(OBJ_PAGES / 2 + 1);
    CHECK(!vm_object_truncate(&objects[0], to * PAGE_SIZE));
    if (to < limit[0])
        forget(0, to, OBJ_PAGES, true);
    limit[0] = to;
}

static void op_punch(void)
{
    u32 from = host_random(OBJ_PAGES), to = from + host_random(OBJ_PAGES - from);
    CHECK(!vm_object_punch(&objects[0], from * PAGE_SIZE, to * PAGE_SIZE));
    forget(0, from, to, false);
}

/* A write through the file interface. */
static void op_file_write(void)
{
    u32 obj = host_random(OBJECTS), index = host_random(OBJ_PAGES);
    if (index >= limit[obj])
        return;
    struct page *page;
    CHECK(!vm_object_page(&objects[obj], index, true, &page));
    CHECK(*(u8 *)page_to_virt(page) == contents[obj][index]);
    contents[obj][index] = host_random(256);
    memset(page_to_virt(page), contents[obj][index], PAGE_SIZE);
    vm_object_dirty(&objects[obj], page);
    page_put(page);
}

static void op_add_huge(void)
{
    vm_object_add_huge(&objects[0], host_random(2) * 512);
}

static void op_sync(void)
{
    CHECK(!vm_object_sync(&objects[1], 0, OBJ_PAGES * PAGE_SIZE));
    CHECK(!memcmp(store, contents[1], OBJ_PAGES));
    CHECK(objects[1].dirty_count == 0);
}

static void op_reclaim(void)
{
    phys_reclaim(host_random(500));
}

static u32 height(const struct vm_area *a)
{
    return a ? a->height : 0;
}

static u64 max_gap(const struct vm_area *a)
{
    return a ? a->max_gap : 0;
}

/* What the areas before the one that is looked at leave behind. */
struct looked {
    u64 end;
    const struct vm_area *leader; /* the last node of the tree */
    u32 followers;                /* that are still to come */
};

static int check_area(const struct vm_area *a, void *arg)
{
    struct looked *l = arg;
    u64 *end = &l->end;
    CHECK(a->start >= *end && a->end > a->start);
    if (l->followers) { /* touches the one before, and is no node */
        CHECK(a->tail == ~0u && a->parent == l->leader && a->start == *end);
        l->followers--;
        *end = a->end;
        return 0;
    }
    CHECK(a->tail <= 8);
    l->leader = a;
    l->followers = a->tail;
    CHECK(a->gap == a->start - MAX(*end, PROGRAM_START));
    CHECK(a->max_gap == MAX(a->gap, MAX(max_gap(a->left), max_gap(a->right))));
    s32 lean = height(a->left) - height(a->right);
    CHECK(a->height == 1 + MAX(height(a->left), height(a->right)) && lean >= -1 && lean <= 1);
    *end = a->end;
    return 0;
}

static int check_rights(const struct vm_area *a, void *unused)
{
    for (u64 at = a->start; at < a->end; at += PAGE_SIZE)
        CHECK(model[(at - BASE) / PAGE_SIZE].prot == (a->flags & VM_PROT) && !a->singles);
    return 0;
}

static void check_areas(void)
{
    struct looked looked = {0};
    u64 mapped = 0;
    vm_for_each(check_area, &looked);
    vm_for_each(check_rights, NULL);
    CHECK(!looked.followers);
    for (u32 i = 0; i < PAGES; i++)
        mapped += model[i].state != NONE;
    struct vm_stats s;
    vm_stats(&s);
    CHECK(s.mapped_bytes == mapped * PAGE_SIZE);
}

static void test_random(u32 rounds)
{
    static void (*const ops[])(void) = {op_map,           op_map,        op_unmap,   op_protect,  op_protect,
                                        op_protect_pages, op_discard,    op_remap,   op_truncate, op_punch,
                                        op_sync,          op_file_write, op_reclaim, op_add_huge, op_map};
    for (u32 i = 0; i < rounds; i++) {
        ops[host_random(ARRAY_LEN(ops))]();
        look(60);
        if (i % 10 == 0)
            check_areas();
    }
    CHECK(!vm_unmap(BASE, PAGES * PAGE_SIZE));
    for (u32 i = 0; i < PAGES; i++)
        model[i].state = NONE;
    check_areas();
    struct vm_stats s;
    vm_stats(&s);
    CHECK(s.resident_pages == 0);
    struct phys_stats p;
    phys_stats(&p);
    CHECK(p.anon_pages == 0);
    for (u32 i = 0; i < OBJECTS; i++) {
        vm_object_truncate(&objects[i], 0);
        CHECK(objects[i].page_count == 0 && objects[i].dirty_count == 0 && !objects[i].pages);
        vm_object_truncate(&objects[i], OBJ_PAGES * PAGE_SIZE);
        limit[i] = OBJ_PAGES;
    }
    memset(contents, 0, sizeof(contents));
    memset(store, 0, sizeof(store));
    printf("ok random %u\n", host_seed);
}

static void test_placement(void)
{
    s64 a = vm_map(0, 10 * PAGE_SIZE, VM_READ, 0, NULL, 0, NULL);
    s64 b = vm_map(0, 10 * PAGE_SIZE, VM_READ | VM_WRITE, 0, NULL, 0, NULL);
    CHECK(a == (s64)(PROGRAM_END - 10 * PAGE_SIZE) && b == a - (s64)(10 * PAGE_SIZE));
    CHECK(vm_map(0x800000000, 1 << 24, VM_READ, 0, NULL, 0, NULL) == 0x800000000);
    CHECK(vm_map(0x80000000000, 1UL << 42, 0, 0, NULL, 0, NULL) == 0x80000000000);
    CHECK(vm_map(0x800000000, 4096, 0, VM_FIXED_NEW, NULL, 0, NULL) == -EEXIST);
    CHECK(vm_map(0x1000, 4096, 0, VM_FIXED, NULL, 0, NULL) == -EPERM);
    CHECK(vm_map(0x1000000, 0, 0, 0, NULL, 0, NULL) == -EINVAL);
    s64 low = vm_map(0, 4096, 0, VM_HINT_32BIT, NULL, 0, NULL);
    CHECK(low == 0x80000000 - 4096);
    s64 big = vm_map(0, 5 << 20, VM_READ, 0, NULL, 0, NULL);
    CHECK(big > 0 && IS_ALIGNED(big, HUGE_SIZE));
    /* Freed gaps are found again, also among thousands. */
    s64 piece[2000];
    for (u32 i = 0; i < 2000; i++)
        CHECK((piece[i] = vm_map(0, 3 * PAGE_SIZE, i % 2 ? VM_READ : 0, 0, NULL, 0, NULL)) > 0);
    for (u32 i = 0; i < 2000; i += 7)
        CHECK(!vm_unmap(piece[i], 3 * PAGE_SIZE));
    for (u32 i = 0; i < 2000; i += 7)
        CHECK(vm_map(0, 3 * PAGE_SIZE, i % 2 ? VM_READ : 0, 0, NULL, 0, NULL) == piece[i]);
    CHECK(!vm_unmap(PROGRAM_START, PROGRAM_END - PROGRAM_START));
    u64 end = 0;
    vm_for_each(check_area, &end);
    CHECK(end == 0);
    printf("ok placement\n");
}

static int count_area(const struct vm_area *a, void *arg)
{
    ++*(u32 *)arg;
    return 0;
}

static u32 areas(void)
{
    u32 n = 0;
    vm_for_each(count_area, &n);
    return n;
}

static void protect_pages(u32 from, u32 to, u32 prot)
{
    CHECK(!vm_protect(addr_of(from), (to - from) * PAGE_SIZE, prot));
}

/* Committing a reserve piece by piece leaves two areas, not thousands. */
static void test_merge(void)
{
    CHECK(vm_map(BASE, 1 << 24, 0, VM_FIXED, NULL, 0, NULL) > 0);
    for (u64 at = 0; at < 1 << 20; at += 1 << 14)
        CHECK(vm_map(BASE + at, 1 << 14, VM_READ | VM_WRITE, VM_FIXED, NULL, 0, NULL) > 0);
    CHECK(areas() == 2);
    for (u64 at = 0; at < 1 << 20; at += 1 << 14)
        CHECK(!vm_protect(BASE + at, 1 << 14, 0));
    CHECK(areas() == 1);
    /* A piece that is kept apart for a while is cut, or absorbed, before it is joined with both neighbours.
     */
    protect_pages(4, 8, VM_READ), protect_pages(4, 8, 0);
    protect_pages(5, 7, VM_READ);
    CHECK(areas() == 3);
    protect_pages(5, 7, 0);
    protect_pages(4, 8, VM_READ), protect_pages(4, 8, 0);
    protect_pages(2, 4, VM_READ), protect_pages(2, 4, 0);
    CHECK(!vm_unmap(BASE + 5 * PAGE_SIZE, 2 * PAGE_SIZE) && areas() == 2);
    CHECK(!vm_unmap(BASE, 1 << 24));
    printf("ok merge\n");
}

/* Pages protected one at a time are no areas until somebody looks, and then those that there should be. */
static void test_singles(void)
{
    int err;
    u8 vec[32];
    struct vm_stats s;
    CHECK(vm_map(BASE, 32 * PAGE_SIZE, VM_READ | VM_WRITE, VM_FIXED, NULL, 0, NULL) > 0);
    CHECK(*host_access(BASE + 8 * PAGE_SIZE, true, &err) == 0);
    for (u32 i = 0; i < 32; i += 4)
        CHECK(!vm_protect(BASE + i * PAGE_SIZE, PAGE_SIZE, i % 8 ? VM_READ : 0));
    CHECK(!vm_resident(BASE, 32 * PAGE_SIZE, vec) && vec[8] && !vec[0] && !vec[4]);
    CHECK(!host_access(BASE + 8 * PAGE_SIZE, false, &err) && err == -EACCES);
    CHECK(!host_access(BASE + 12 * PAGE_SIZE, true, &err) && err == -EACCES);
    CHECK(host_access(BASE + 12 * PAGE_SIZE, false, &err) && host_access(BASE + 13 * PAGE_SIZE, true, &err));
    vm_stats(&s);
    CHECK(s.resident_pages == 2); /* zeros are nobody's page */
    CHECK(areas() == 16);
    for (u32 i = 0; i < 32; i += 4)
        CHECK(!vm_protect(BASE + i * PAGE_SIZE, PAGE_SIZE, VM_READ | VM_WRITE));
    CHECK(areas() == 1);
    /* They keep their rights when their contents go, and do not move with their neighbours. */
    CHECK(!vm_protect(BASE + 8 * PAGE_SIZE, PAGE_SIZE, VM_READ));
    CHECK(!vm_discard(BASE + 7 * PAGE_SIZE, 3 * PAGE_SIZE));
    CHECK(!host_access(BASE + 8 * PAGE_SIZE, true, &err) && err == -EACCES && areas() == 3);
    CHECK(!vm_protect(BASE + 20 * PAGE_SIZE, PAGE_SIZE, 0));
    CHECK(vm_remap(BASE + 16 * PAGE_SIZE, 8 * PAGE_SIZE, 9 * PAGE_SIZE, VM_REMAP_MAYMOVE, 0) == -EFAULT);
    /* What grows page by page moves the border to its neighbour. */
    CHECK(!vm_unmap(BASE, 32 * PAGE_SIZE) && vm_map(BASE, 32 * PAGE_SIZE, 0, VM_FIXED, NULL, 0, NULL) > 0);
    CHECK(!vm_protect(BASE, 4 * PAGE_SIZE, VM_READ));
    CHECK(!vm_protect(BASE + 4 * PAGE_SIZE, PAGE_SIZE, VM_READ) && areas() == 2);
    CHECK(!vm_unmap(BASE, 32 * PAGE_SIZE));
    vm_stats(&s);
    CHECK(s.resident_pages == 0 && areas() == 0);
    printf("ok singles\n");
}

static void test_brk(void)
{
    int err;
    vm_brk_init(0x10000100);
    CHECK(vm_brk(0) == 0x10001000 && vm_brk(0x10005678) == 0x10005678);
    CHECK(*host_access(0x10005000, true, &err) == 0 && !err);
    CHECK(vm_brk(0x10001001) == 0x10001001 && !host_access(0x10005000, false, &err) && err == -EFAULT);
    CHECK(vm_brk(0x10001000) == 0x10001000 && areas() == 0);
    printf("ok brk\n");
}

/* Seen through /proc: what was touched is resident, reads of untouched memory cost nothing. */
static void test_resident(void)
{
    int err;
    u8 vec[8];
    struct vm_stats s;
    CHECK(vm_map(BASE, 8 * PAGE_SIZE, VM_READ | VM_WRITE, VM_FIXED, NULL, 0, NULL) > 0);
    CHECK(*host_access(BASE + 3 * PAGE_SIZE, true, &err) == 0);
    CHECK(!vm_protect(BASE, 8 * PAGE_SIZE, VM_READ));
    for (u32 i = 0; i < 8; i++)
        CHECK(*host_access(BASE + i * PAGE_SIZE, false, &err) == 0);
    vm_stats(&s);
    CHECK(s.resident_pages == 1);
    CHECK(!vm_protect(BASE, 8 * PAGE_SIZE, VM_READ | VM_WRITE));
    CHECK(!vm_resident(BASE, 8 * PAGE_SIZE, vec) && vec[3] == 1);
    CHECK(vm_resident(BASE, 9 * PAGE_SIZE, (u8[9]){0}) == -ENOMEM);
    CHECK(!vm_populate(BASE, 8 * PAGE_SIZE, true));
    vm_stats(&s);
    CHECK(s.resident_pages == 8);
    CHECK(!vm_unmap(BASE, 8 * PAGE_SIZE));
    printf("ok resident\n");
}

static void test_seek(void)
{
    struct page *page;
    CHECK(!vm_object_page(&objects[0], 3, true, &page));
    page_put(page);
    CHECK(vm_object_seek(&objects[0], 0, true) == 3 * PAGE_SIZE);
    CHECK(vm_object_seek(&objects[0], 3 * PAGE_SIZE + 5, true) == 3 * PAGE_SIZE + 5);
    CHECK(vm_object_seek(&objects[0], 3 * PAGE_SIZE + 5, false) == 4 * PAGE_SIZE);
    CHECK(vm_object_seek(&objects[0], 5 * PAGE_SIZE, true) == OBJ_PAGES * PAGE_SIZE);
    CHECK(!vm_object_punch(&objects[0], 0, OBJ_PAGES * PAGE_SIZE));
    printf("ok seek\n");
}

/* A file that does not fit beside the program's memory is read again and again: its own pages make room. */
static void test_pressure(void)
{
    int err;
    u64 anon = 0x100000000UL, used = 0;
    CHECK(vm_map(anon, 1UL << 30, VM_READ | VM_WRITE | VM_NOHUGE | VM_NORESERVE, VM_FIXED, NULL, 0, NULL) >
          0);
    while (phys_free_pages() > OBJ_PAGES / 2) {
        CHECK(host_access(anon + used, true, &err));
        used += PAGE_SIZE;
    }
    CHECK(vm_map(BASE, OBJ_PAGES * PAGE_SIZE, VM_READ, VM_FIXED, &objects[1], 0, NULL) > 0);
    for (u32 i = 0; i < 4 * OBJ_PAGES; i++)
        CHECK(*host_access(BASE + i % OBJ_PAGES * PAGE_SIZE, false, &err) == 0);
    CHECK(!vm_unmap(BASE, OBJ_PAGES * PAGE_SIZE));
    /* The same for what is written through a shared mapping: it goes to the store first. */
    CHECK(vm_map(BASE, OBJ_PAGES * PAGE_SIZE, VM_READ | VM_WRITE | VM_SHARED | VM_MAYWRITE, VM_FIXED,
                 &objects[1], 0, NULL) > 0);
    for (u32 i = 0; i < 3 * OBJ_PAGES; i++) {
        u8 *p = host_access(BASE + i % OBJ_PAGES * PAGE_SIZE, true, &err);
        CHECK(*p == i / OBJ_PAGES);
        *p = i / OBJ_PAGES + 1;
    }
    CHECK(!vm_unmap(BASE, OBJ_PAGES * PAGE_SIZE) && !vm_unmap(anon, 1UL << 30));
    CHECK(!vm_object_sync(&objects[1], 0, OBJ_PAGES * PAGE_SIZE));
    for (u32 i = 0; i < OBJ_PAGES; i++)
        CHECK(store[i] == 3);
    memset(store, 0, sizeof(store));
    vm_object_invalidate(&objects[1], 0, OBJ_PAGES * PAGE_SIZE);
    CHECK(objects[1].page_count == 0);
    printf("ok pressure\n");
}

/* ---- reading ahead ---- */

#define LONG_PAGES 20000u

static u32 requests, largest;

static int long_fill_many(struct vm_object *obj, u64 index, struct page **pages, u32 count)
{
    requests++;
    largest = MAX(largest, count);
    for (u32 i = 0; i < count; i++)
        memset(page_to_virt(pages[i]), (u8)(index + i), PAGE_SIZE);
    return 0;
}

static int long_fill(struct vm_object *obj, u64 index, struct page *page)
{
    return long_fill_many(obj, index, &page, 1);
}

static u32 misses(struct vm_object *obj, u32 first, u32 count, u32 step)
{
    u32 missed = 0;
    for (u32 i = first; i < first + count; i += step) {
        struct page *page = vm_object_peek(obj, i);
        if (!page) {
            missed++;
            CHECK(!vm_object_page(obj, i, false, &page));
            host_run_workers();
        }
        CHECK(*(u8 *)page_to_virt(page) == (u8)i);
        page_put(page);
    }
    return missed;
}

/* Backtraces see what a fault would map, as far as it is cached, and nothing else. */
static void test_peek(void)
{
    struct page *page;
    int err;
    for (u32 i = 0; i < 40; i++) { /* a tree to walk down */
        store[i] = i + 1;
        CHECK(vm_map(BASE + 3 * i * PAGE_SIZE, PAGE_SIZE, VM_READ, VM_FIXED, i % 2 ? &objects[1] : NULL,
                     i * PAGE_SIZE, NULL) > 0);
    }
    for (u32 i = 0; i < 40; i++)
        CHECK(!unwind_find_cached(BASE + 3 * i * PAGE_SIZE));
    CHECK(!vm_object_page(&objects[1], 17, false, &page));
    CHECK(unwind_find_cached(BASE + 3 * 17 * PAGE_SIZE + 5) == (u64)page_to_virt(page));
    CHECK(!unwind_find_cached(BASE + (3 * 17 + 1) * PAGE_SIZE) && !unwind_find_cached(BASE - 1));
    page_put(page);
    CHECK(*host_access(BASE + 3 * 39 * PAGE_SIZE, false, &err) == 40);
    CHECK(*(u8 *)unwind_find_cached(BASE + 3 * 39 * PAGE_SIZE) == 40);
    CHECK(!vm_unmap(BASE, 120 * PAGE_SIZE));
    CHECK(!unwind_find_cached(BASE + 3 * 17 * PAGE_SIZE));
    memset(store, 0, sizeof(store));
    vm_object_invalidate(&objects[1], 0, OBJ_PAGES * PAGE_SIZE);
    printf("ok peek\n");
}

static void test_read_ahead(void)
{
    static const struct vm_object_ops ops = {.fill = long_fill, .fill_many = long_fill_many, .ahead = true};
    struct vm_object obj;
    vm_object_init(&obj, &ops, LONG_PAGES * PAGE_SIZE, NULL);
    /* In order: the window grows. */
    CHECK(misses(&obj, 0, 8192, 1) < 24);
    CHECK(requests < 120 && largest == 128);
    vm_object_invalidate(&obj, 0, LONG_PAGES * PAGE_SIZE);
    CHECK(obj.page_count == 0 && obj.refs == 1);
    /* A page here and there of a long file: little around each. */
    CHECK(misses(&obj, 0, LONG_PAGES, 1000) == 20);
    CHECK(obj.page_count <= 20 * 160);
    /* What is asked for, but nothing beyond the end. */
    vm_object_read_ahead(&obj, LONG_PAGES - 100, ~0UL);
    host_run_workers();
    CHECK(misses(&obj, LONG_PAGES - 100, 100, 1) == 0);
    CHECK(!vm_object_peek(&obj, LONG_PAGES) && obj.refs == 1);
    vm_object_put(&obj);
    printf("ok read ahead\n");
}

int main(int argc, char **argv)
{
    u32 rounds = argc > 1 ? atoi(argv[1]) : 1500;
    host_boot((argc > 2 ? atol(argv[2]) : 200UL) << 20, 0);
    vm_object_init(&objects[0], &memory_ops, OBJ_PAGES * PAGE_SIZE, NULL);
    vm_object_init(&objects[1], &file_ops, OBJ_PAGES * PAGE_SIZE, NULL);
    limit[0] = limit[1] = OBJ_PAGES;
    test_placement();
    test_merge();
    test_singles();
    test_brk();
    test_resident();
    test_seek();
    test_pressure();
    test_peek();
    test_read_ahead();
    for (host_seed = 1; host_seed <= 3; host_seed++)
        test_random(rounds);
    return 0;
}
