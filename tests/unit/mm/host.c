#include "host.h"

#include "kernel/base/unwind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "sched/thread.h"
#include "sched/waitq.h"

#define TLB_SLOTS 64

struct tlb_slot {
    u64 page;
    pte_t entry; /* as it was when cached, 4 KiB granules */
};

struct cpu *cpus[CPU_MAX];
u32 cpu_count = 1;
__thread struct cpu *host_cpu;
static __thread struct tlb_slot tlb[TLB_SLOTS];
static irq_handler tlb_handler;
static u32 tlb_pending[CPU_MAX];
struct boot_info boot_info;
pte_t *page_table_root;
bool log_verbose;
u32 host_seed = 1;

u64 host_random(u64 below)
{
    static __thread u64 state;
    if (!state)
        state = host_seed * 0x9e3779b97f4a7c15UL + cpu_id() * 77 + 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return below ? (state >> 11) % below : 0;
}

/* ---- memory ---- */

static void *map_at(u64 addr, u64 len)
{
    void *p = mmap((void *)addr, len, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (void *)addr) {
        perror("mmap");
        exit(1);
    }
    return p;
}

static void garbage(u64 addr, u64 len)
{
    for (u64 i = 0; i < len; i += 8)
        *(u64 *)(addr + i) = 0xa5a5000100020303UL + i;
}

static struct cpu *prepared[CPU_MAX];

static struct cpu *cpu_new(u32 id)
{
    struct cpu *c = calloc(1, sizeof(*c));
    c->self = c;
    c->id = id;
    c->current = calloc(1, sizeof(struct thread));
    return c;
}

struct cpu *host_cpu_prepare(u32 id)
{
    prepared[id] = cpu_new(id);
    CHECK(phys_prepare_cpu(prepared[id]));
    return prepared[id];
}

void host_cpu_start(u32 id)
{
    host_cpu = prepared[id] ? prepared[id] : cpu_new(id);
    memset(tlb, 0xff, sizeof(tlb));
    __atomic_store_n(&cpus[id], host_cpu, __ATOMIC_RELEASE);
    for (u32 n = __atomic_load_n(&cpu_count, __ATOMIC_RELAXED);
         n <= id &&
         !__atomic_compare_exchange_n(&cpu_count, &n, id + 1, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);)
        ;
    __atomic_store_n(&host_cpu->online, true, __ATOMIC_RELEASE);
}

void host_boot(u64 bytes, u64 high)
{
    setbuf(stdout, NULL);
    host_cpu_start(0);
    map_at(DIRECT_MAP, bytes);
    garbage(DIRECT_MAP, bytes);
    if (high)
        map_at(DIRECT_MAP + (4UL << 30), high);
    map_at(FRAME_TABLE, 4UL << 30);
    garbage(FRAME_TABLE, bytes / PAGE_SIZE * sizeof(struct page));
    map_at(KSTACK_START, 1UL << 30);
    page_table_root = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
    memset(page_table_root, 0, PAGE_SIZE);
    boot_info.mem[0] = (struct mem_range){0, 0x9fc00, true};
    boot_info.mem[1] = (struct mem_range){0x100000, bytes - 0x100000 - 0x20000, true};
    boot_info.mem[2] = (struct mem_range){bytes - 0x20000, 0x20000, false};
    boot_info.mem[3] = (struct mem_range){4UL << 30, high, true};
    boot_info.mem_count = high ? 4 : 3;
    boot_info.kernel_start = 0x100000;
    boot_info.kernel_end = 0x2f1234;
    phys_init();
    vm_init();
}

/* ---- the MMU ---- */

/* access: PF_WRITE, PF_FETCH, or 0 for a read. */
static bool allowed(pte_t e, u32 access)
{
    return pte_present(e) && (!(access & PF_WRITE) || (e.bits & PTE_WRITE)) &&
           (!(access & PF_FETCH) || !(e.bits & PTE_NX));
}

/* Walks the tables as the hardware does, setting accessed and dirty; the result is for one 4 KiB page. */
static pte_t walk(u64 addr, u32 access)
{
    pte_t *table = page_table_root;
    for (int level = 3;; level--) {
        pte_t *slot = &table[pte_index(addr, level)], e = pte_load(slot);
        if (!pte_present(e))
            return (pte_t){0};
        if (level && !pte_huge(e)) {
            table = phys_to_virt(pte_paddr(e));
            continue;
        }
        if (!allowed(e, access))
            return e;
        pte_t set = {e.bits | PTE_ACCESSED | (access & PF_WRITE ? PTE_DIRTY : 0)};
        if (!pte_cmpxchg(slot, e, set))
            return walk(addr, access);
        u64 span = PAGE_SIZE << (9 * level);
        return pte_make(pte_paddr(set) + (ALIGN_DOWN(addr, PAGE_SIZE) & (span - 1)), set.bits & ~PTE_ADDR);
    }
}

void tlb_flush_page_local(u64 addr)
{
    /* Within a 2 MiB page any address drops the whole translation. */
    for (u32 i = 0; i < TLB_SLOTS; i++)
        if (tlb[i].page == addr >> PAGE_SHIFT ||
            ((tlb[i].entry.bits & PTE_HUGE) && tlb[i].page >> 9 == addr >> HUGE_SHIFT))
            tlb[i].page = ~0UL;
}

/* Not sched_yield: the kernel has a function of that name. */
static void host_yield(void)
{
    usleep(1);
}

static u32 expected, arrived; /* atomic */

void host_meet_in_zeroing(u32 cpus)
{
    __atomic_store_n(&arrived, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&expected, cpus, __ATOMIC_SEQ_CST);
}

static void meet(void)
{
    u32 cpus = __atomic_load_n(&expected, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
    for (u32 i = 0; __atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < cpus; i++) {
        if (i == 20000) {
            printf("not ok zeroing: %u of %u CPUs came\n", arrived, cpus);
            abort();
        }
        host_yield();
    }
}

void zero_frames(void *at, u64 len)
{
    CHECK(IS_ALIGNED((u64)at | len, PAGE_SIZE));
    memset(at, 0, len);
    if (__atomic_load_n(&expected, __ATOMIC_SEQ_CST))
        meet();
}

void tlb_flush_all_local(void)
{
    memset(tlb, 0xff, sizeof(tlb));
}

void tlb_flush_program_local(void)
{
    tlb_flush_all_local();
}

static __thread u32 interrupts;

static void take_interrupts(void)
{
    if (!__atomic_exchange_n(&tlb_pending[cpu_id()], 0, __ATOMIC_ACQUIRE))
        return;
    interrupts++;
    tlb_handler(NULL);
}

u32 host_interrupts(void)
{
    take_interrupts();
    return interrupts;
}

void host_be_idle(bool idle)
{
    sched_idle_hook(idle);
}

void host_idle(void)
{
    sched_idle_hook(true);
    for (u32 i = 0; i < 20 && sched_idle_work(); i++)
        ;
    host_yield();
    sched_idle_hook(false);
    take_interrupts();
}

static u8 *access_memory(u64 addr, u32 access, int *err)
{
    for (u32 tries = 0; tries < 1000; tries++) {
        take_interrupts();
        struct tlb_slot *slot = &tlb[(addr >> PAGE_SHIFT) % TLB_SLOTS];
        pte_t e = slot->page == addr >> PAGE_SHIFT ? slot->entry : (pte_t){0};
        if (!allowed(e, access)) {
            e = walk(addr, access);
            if (allowed(e, access)) {
                slot->page = addr >> PAGE_SHIFT;
                slot->entry = e;
            }
        }
        if (allowed(e, access)) {
            *err = 0;
            return (u8 *)phys_to_virt(pte_paddr(e)) + addr % PAGE_SIZE;
        }
        *err = vm_fault(addr, access | (pte_present(e) ? PF_PRESENT : 0));
        if (*err)
            return NULL;
    }
    printf("not ok access: endless fault at %lx\n", addr);
    exit(1);
}

u8 *host_access(u64 addr, bool write, int *err)
{
    return access_memory(addr, write ? PF_WRITE : 0, err);
}

u8 *host_fetch(u64 addr, int *err)
{
    return access_memory(addr, PF_FETCH, err);
}

/* ---- what mm needs of the layers beside it ---- */

void irq_set_fixed(u32 vector, irq_handler handler, void *arg)
{
    tlb_handler = handler;
}

bool arch_fetches_torn(void)
{
    return true;
}

void ipi_send(u32 cpu, u32 vector)
{
    __atomic_store_n(&tlb_pending[cpu], 1, __ATOMIC_RELEASE);
}

int sched_sleep(u64 deadline_ns, u32 flags)
{
    take_interrupts();
    host_yield();
    return 0;
}

void (*sched_idle_hook)(bool idle);
bool (*sched_idle_work)(void);

u64 clock_monotonic_ns(void)
{
    return 0;
}

void sched_wake(struct thread *t)
{
}

static struct cpu *elsewhere; /* where a thread that takes a mutex goes on, or NULL */

void host_move_in_locks(u32 id, bool move)
{
    elsewhere = move ? host_cpu_prepare(id) : NULL;
    host_cpu = cpus[0];
}

void mutex_lock(struct mutex *m)
{
    if (elsewhere) {
        struct cpu *from = host_cpu;
        host_cpu = elsewhere;
        elsewhere = from;
    }
    while (__atomic_exchange_n(&m->count, 1, __ATOMIC_ACQUIRE)) {
        take_interrupts();
        host_yield();
    }
    m->owner = current_thread();
}

bool mutex_trylock(struct mutex *m)
{
    if (__atomic_exchange_n(&m->count, 1, __ATOMIC_ACQUIRE))
        return false;
    m->owner = current_thread();
    return true;
}

void mutex_unlock(struct mutex *m)
{
    m->owner = NULL;
    __atomic_store_n(&m->count, 0, __ATOMIC_RELEASE);
}

void waitq_enter(struct waitq *q, struct waiter *w)
{
}
void waitq_leave(struct waitq *q, struct waiter *w)
{
}
void waitq_wake_all(struct waitq *q, u32 events)
{
}

u64 (*unwind_find_cached)(u64 addr);

bool unwind_peek(u64 addr, void *out, size_t n)
{
    memcpy(out, (const void *)addr, n);
    return true;
}

/* ---- worker threads: run by the test, until they would wait ---- */

static struct {
    void (*entry)(void *);
    void *arg;
} workers[8];
static u32 worker_count;
static jmp_buf worker_waits;

struct thread *thread_create(const char *name, void (*entry)(void *), void *arg, bool with_fpu)
{
    workers[worker_count].entry = entry;
    workers[worker_count++].arg = arg;
    return NULL;
}

void thread_start(struct thread *t)
{
}

int waitq_wait(struct waitq *q, struct mutex *lock, u64 deadline_ns, u32 sleep_flags)
{
    mutex_unlock(lock);
    longjmp(worker_waits, 1);
}

void host_run_workers(void)
{
    for (volatile u32 i = 0; i < worker_count; i++)
        if (!setjmp(worker_waits))
            workers[i].entry(workers[i].arg);
}

void panic(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    printf("not ok panic: ");
    vprintf(fmt, ap);
    printf("\n");
    abort();
}

void log_error(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
}

void shutdown(int status)
{
    printf("not ok shutdown: %d\n", status);
    exit(1);
}
