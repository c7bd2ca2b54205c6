/*
 * CPUs side by side (each a host thread): faults on the same pages, changes to neighbouring ranges, a file
 * that is truncated, synced and reclaimed meanwhile. Built with ThreadSanitizer too.
 */
#include <pthread.h>
#include <stdlib.h>

#include "host.h"

#define CPUS         4
#define COMMON       0x40000000UL /* all write here, each its own byte of every page */
#define COMMON_PAGES 300
#define OWN          0x50000000UL /* + id * 16 MiB */
#define OWN_SIZE     (16UL << 20)
#define FILE_PAGES   200
#define CODE         0x7f0000000UL /* written and executed by all */
#define CODE_PAGES   4
#define TABLE        0x60000000UL /* alone in its 2 MiB, and in its page table */

#define TOGETHER 0x100000000UL /* touched by all at the same time: pages of 4 KiB, then of 2 MiB */

static struct vm_object memory, file;
static pthread_barrier_t all_started;
static u32 running = CPUS, ended, rounds;

static int fill(struct vm_object *obj, u64 index, struct page *page)
{
    memset(page_to_virt(page), 1 + index % 200, PAGE_SIZE);
    return 0;
}

static int writeback(struct vm_object *obj, u64 index, struct page *page, u32 len)
{
    return 0;
}

static const struct vm_object_ops file_ops = {.fill = fill, .writeback = writeback};
static const struct vm_object_ops memory_ops = {0};

/* The program's own races are its business: copying a page for one CPU while another writes to it is as it
 * should be. */
__attribute__((no_sanitize_thread)) static u8 get(u64 addr)
{
    int err;
    u8 *p = host_access(addr, false, &err);
    CHECK(p);
    return *(volatile u8 *)p;
}

__attribute__((no_sanitize_thread)) static void set(u64 addr, u8 value)
{
    int err;
    u8 *p = host_access(addr, true, &err);
    CHECK(p);
    *(volatile u8 *)p = value;
}

/* No write is lost when all CPUs first touch the same page. */
static void use_common(u32 id, u8 *mine)
{
    for (u32 i = 0; i < 50; i++) {
        u32 page = host_random(COMMON_PAGES);
        u64 addr = COMMON + page * PAGE_SIZE + id;
        CHECK(get(addr) == mine[page]);
        if (host_random(2)) {
            mine[page] = host_random(256);
            set(addr, mine[page]);
            CHECK(get(addr) == mine[page]);
        }
    }
}

static void use_own(u64 base)
{
    u64 len = (1 + host_random(1200)) * PAGE_SIZE,
        at = base + host_random((OWN_SIZE - len) / PAGE_SIZE) * PAGE_SIZE;
    CHECK(vm_map(at, len, VM_READ | VM_WRITE, VM_FIXED, NULL, 0, NULL) == (s64)at);
    for (u32 i = 0; i < 20; i++) {
        u64 addr = at + host_random(len / PAGE_SIZE) * PAGE_SIZE;
        CHECK(get(addr) == 0);
    }
    u64 addr = at + host_random(len / PAGE_SIZE) * PAGE_SIZE;
    set(addr, 7);
    CHECK(!vm_protect(addr, PAGE_SIZE, VM_READ));
    CHECK(get(addr) == 7);
    if (host_random(2)) {
        CHECK(!vm_discard(at, len));
        CHECK(get(addr) == 0);
    }
    if (host_random(2))
        CHECK(!vm_unmap(base, OWN_SIZE));
}

/* A page of code is never written by one CPU while another fetches from it: no access here is interrupted. */
static void use_code(void)
{
    static u32 writers[CODE_PAGES], readers[CODE_PAGES];
    for (u32 i = 0; i < 20; i++) {
        int err;
        u64 page = host_random(CODE_PAGES), addr = CODE + page * PAGE_SIZE;
        bool write = host_random(2);
        u32 *mine = write ? &writers[page] : &readers[page],
            *others = write ? &readers[page] : &writers[page];
        CHECK(write ? host_access(addr, true, &err) : host_fetch(addr, &err));
        __atomic_add_fetch(mine, 1, __ATOMIC_SEQ_CST);
        for (u32 look = 0; look < 50; look++)
            CHECK(!__atomic_load_n(others, __ATOMIC_SEQ_CST));
        __atomic_sub_fetch(mine, 1, __ATOMIC_SEQ_CST);
    }
    if (!host_random(20))
        CHECK(!vm_discard(CODE, CODE_PAGES * PAGE_SIZE));
}

static void use_file(u32 id)
{
    u64 at = 0x70000000UL + id * OWN_SIZE;
    u32 shared = host_random(2) ? VM_SHARED | VM_MAYWRITE : 0;
    CHECK(vm_map(at, FILE_PAGES * PAGE_SIZE, VM_READ | VM_WRITE | shared, VM_FIXED, &file, 0, NULL) ==
          (s64)at);
    for (u32 i = 0; i < 30; i++) {
        u32 index = host_random(FILE_PAGES);
        u8 v = get(at + index * PAGE_SIZE + 100);
        CHECK(v == 1 + index % 200);
        if (!host_random(4))
            set(at + index * PAGE_SIZE + id, 1 + index % 200);
    }
    if (!host_random(4))
        vm_object_sync(&file, 0, FILE_PAGES * PAGE_SIZE);
    if (!host_random(4))
        phys_reclaim(host_random(100));
    if (!host_random(8))
        vm_object_punch(&memory, 0, ~0UL << PAGE_SHIFT);
}

/* Waits until all CPUs have come; they answer shoot-downs meanwhile. */
static void meet(void)
{
    static u32 arrived;
    u32 all = (__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST) / CPUS + 1) * CPUS;
    while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < all)
        host_interrupts();
}

/*
 * An idle CPU is left alone when pages go. It may still walk through page tables that go, and has to be told
 * before they are something else; but not of each one.
 */
static void disturb_idle_for_tables(u32 id)
{
    u64 at = TABLE, size = 4 * PAGE_SIZE, tables = 200;
    if (!id)
        CHECK(vm_map(at, size, VM_READ | VM_WRITE, VM_FIXED, NULL, 0, NULL) == (s64)at);
    meet();
    for (u64 page = 0; page < 4; page++)
        set(at + page * PAGE_SIZE + id, 1);
    meet();
    u32 before = host_interrupts();
    if (id)
        host_be_idle(true);
    meet();
    if (!id)
        CHECK(!vm_discard(at + PAGE_SIZE, PAGE_SIZE) && !vm_unmap(at, size));
    meet();
    CHECK(host_interrupts() == before);
    meet();
    for (u64 i = 0; !id && i < tables; i++) {
        CHECK(vm_map(at, size, VM_READ | VM_WRITE, VM_FIXED, NULL, 0, NULL) == (s64)at);
        set(at, 1);
        CHECK(!vm_unmap(at, size));
    }
    meet();
    u32 told = host_interrupts() - before;
    CHECK(id ? told > 0 && told < tables / 10 : !told);
    if (id)
        host_be_idle(false);
    meet();
}

/*
 * Faults overlap, whatever locks they take: each CPU waits in the middle of its own until all are in theirs.
 * The tables are there already, by CPU 0.
 */
static void fault_together(u32 id, u64 start, u64 step)
{
    if (!id)
        set(start, 1);
    pthread_barrier_wait(&all_started);
    for (u32 i = 1; i <= 3; i++) {
        if (!id)
            host_meet_in_zeroing(CPUS);
        pthread_barrier_wait(&all_started);
        set(start + (i * CPUS + id) * step, id + 1);
        pthread_barrier_wait(&all_started);
    }
    if (!id)
        host_meet_in_zeroing(0);
    pthread_barrier_wait(&all_started);
    for (u32 i = CPUS; i < 4 * CPUS; i++)
        CHECK(get(start + i * step) == 1 + i % CPUS && get(start + i * step + 1) == 0);
}

static void *run(void *arg)
{
    u32 id = (u64)arg;
    u8 *mine = calloc(1, COMMON_PAGES);
    if (id)
        host_cpu_start(id);
    pthread_barrier_wait(&all_started);
    if (!id)
        vm_cpus_started();
    pthread_barrier_wait(&all_started);
    fault_together(id, TOGETHER, PAGE_SIZE);
    fault_together(id, TOGETHER + HUGE_SIZE, HUGE_SIZE);
    disturb_idle_for_tables(id);
    for (u32 i = 0; i < rounds; i++) {
        use_common(id, mine);
        use_own(OWN + id * OWN_SIZE);
        use_file(id);
        use_code();
        if (!host_random(3))
            host_idle();
    }
    free(mine);
    __atomic_sub_fetch(&running, 1, __ATOMIC_RELEASE);
    /* CPUs do not vanish: they answer shoot-downs until the end. */
    while (id ? !__atomic_load_n(&ended, __ATOMIC_ACQUIRE) : __atomic_load_n(&running, __ATOMIC_ACQUIRE))
        host_idle();
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[CPUS];
    rounds = argc > 1 ? atoi(argv[1]) : 300;
    pthread_barrier_init(&all_started, NULL, CPUS);
    host_boot(192UL << 20, 0);
    for (u32 id = 1; id < CPUS; id++)
        host_cpu_prepare(id);
    vm_object_init(&memory, &memory_ops, FILE_PAGES * PAGE_SIZE, NULL);
    vm_object_init(&file, &file_ops, FILE_PAGES * PAGE_SIZE, NULL);
    CHECK(vm_map(COMMON, COMMON_PAGES * PAGE_SIZE, VM_READ | VM_WRITE, VM_FIXED, NULL, 0, NULL) > 0);
    CHECK(vm_map(CODE, CODE_PAGES * PAGE_SIZE, VM_PROT, VM_FIXED, NULL, 0, NULL) > 0);
    CHECK(vm_map(TOGETHER, HUGE_SIZE, VM_READ | VM_WRITE | VM_NOHUGE, VM_FIXED, NULL, 0, NULL) > 0);
    CHECK(vm_map(TOGETHER + HUGE_SIZE, 16 * HUGE_SIZE, VM_READ | VM_WRITE | VM_HUGE, VM_FIXED, NULL, 0,
                 NULL) > 0);
    for (u64 i = 1; i < CPUS; i++)
        pthread_create(&threads[i], NULL, run, (void *)i);
    run(NULL);
    CHECK(!vm_unmap(PROGRAM_START, PROGRAM_END - PROGRAM_START));
    struct phys_stats p;
    phys_stats(&p);
    CHECK(p.anon_pages == 0);
    struct vm_stats s;
    vm_stats(&s);
    CHECK(s.resident_pages == 0 && s.mapped_bytes == 0);
    __atomic_store_n(&ended, 1, __ATOMIC_RELEASE);
    for (u64 i = 1; i < CPUS; i++)
        pthread_join(threads[i], NULL);
    printf("ok smp\n");
    return 0;
}
