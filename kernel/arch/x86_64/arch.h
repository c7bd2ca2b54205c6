/* What the architecture offers to boot, the scheduler and the Linux layer. */
#ifndef MOKA_ARCH_H
#define MOKA_ARCH_H

#include "kernel/base/types.h"

struct cpu;
struct thread;
struct trap_frame;

/* ---- boot ---- */

/* A range of physical memory as the hypervisor reports it. */
struct mem_range {
    u64 start, len;
    bool usable;
};
/* What boot hands over (PVH start info, parsed and checked; the strings live in memory that is never freed).
 */
struct boot_info {
    const char *cmdline;
    struct mem_range mem[64]; /* sorted; usable ranges exclude nothing yet */
    u32 mem_count;
    u64 rsdp;                     /* physical address of ACPI's root pointer, 0 when none */
    u64 kernel_start, kernel_end; /* physical */
    u64 words, words_len;         /* physical: the first module, in usable memory; no module: length 0 */
};
extern struct boot_info boot_info;

/* Copies and checks the PVH start info; sets up GDT, IDT, TSS, GS of the boot CPU; serial console. Interrupts
 * off. */
void arch_early_init(void);
/*
 * Everything that needs memory: direct map complete (done by phys_init through arch_map_*), ACPI tables
 * (MADT, FADT), local APIC, I/O APICs, clock calibration. Interrupts on afterwards.
 */
void arch_init(void);
/* Starts the other CPUs; each runs sched_cpu_main() on its idle thread. Returns when all are online. */
void smp_start(void);

/* May a CPU execute part of an instruction's old bytes and part of its new ones, while another CPU replaces
 * it by one store? As QEMU's TCG does, which reads instructions in pieces. */
bool arch_fetches_torn(void);

/* The boot CPU's first stack: sched_init() makes the context that runs on it a thread. Never freed. */
extern u8 boot_stack_bottom[], boot_stack_top[];
/* The time-stamp counter at the kernel's first instructions. */
extern u64 boot_entry_tsc;

/*
 * What this layer needs from those above it; defined in kernel/init. No pointer is NULL.
 */
struct arch_hooks {
    /* The physical address of a zeroed frame for a page table, 0 when memory ran out. Threads, may sleep. */
    u64 (*alloc_frame)(void);
    /* Zeroed memory, for ever; NULL when memory ran out. Threads, may sleep. */
    void *(*alloc)(size_t size);
    /* The top of a new kernel stack, its lowest address in *bottom; 0 when memory ran out. May sleep. */
    u64 (*alloc_stack)(u64 *bottom);
    /* Gives a CPU, before it starts, what it needs to allocate memory; false when memory ran out. May sleep.
     */
    bool (*prepare_cpu)(struct cpu *c);
    /* The rest of a CPU's life, on the stack that alloc_stack gave, interrupts off; does not return. */
    void (*cpu_main)(void);
    /* On the way out of an interrupt or a system call: need_resched is set, preempt_count 0, interrupts off.
     */
    void (*preempt)(void);
    /* In a new thread, right after its first switch-in. prev: what arch_switch returned. Interrupts off. */
    void (*switch_finish)(struct thread *prev);
};
extern const struct arch_hooks arch_hooks;

/* ---- physical memory: used by mm/phys before its allocator runs ---- */

/* The direct map holds this much when arch_early_init() returns; phys_init adds the rest. */
#define DIRECT_MAP_BOOT_END 0x100000000UL

/* Maps device memory uncached; page-aligned internally; lives for ever. May sleep. NULL when out of room or
 * memory. Several callers at once. */
volatile void *mmio_map(u64 paddr, u64 len);

/* ---- ports ---- */
static inline void outb(u16 port, u8 v)
{
    __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
static inline void outw(u16 port, u16 v)
{
    __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}
static inline void outl(u16 port, u32 v)
{
    __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}
static inline u8 inb(u16 port)
{
    u8 v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline u32 inl(u16 port)
{
    u32 v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

/* ---- time ---- */

/* Nanoseconds since boot; never goes back, on any CPU. Any context. */
u64 clock_monotonic_ns(void);

/*
 * QEMU's TCG keeps translations in a table whose size it changes only when all of them are dropped, by how
 * many there were (7.2: accel/tcg/cputlb.c, tlb_mmu_resize_locked()). A kernel that hardly ever drops them
 * all keeps the table that was right at boot, and a program that works on tens of megabytes misses at nearly
 * each access. So there all are dropped twenty times a second, if there is a timer interrupt then. Any
 * context, on the CPU it is about.
 */
extern bool tlb_refits;
void tlb_refit_now(u64 now_ns);
static inline void tlb_refit(u64 now_ns)
{
    if (tlb_refits)
        tlb_refit_now(now_ns);
}
/* Nanoseconds since 1970-01-01 UTC. Any context. */
u64 clock_realtime_ns(void);
/* Shifts the realtime clock (clock_settime). */
void clock_set_realtime_ns(u64 ns);
/* For the vDSO and the AT_* vector: monotonic = ((rdtsc - tsc_base) * mult >> shift) + ns_base. */
struct clock_params {
    u64 tsc_base, mult, shift, ns_base, realtime_offset_ns;
};
const struct clock_params *clock_params(void);
/* The pointer itself, for the vDSO to follow at each reading: sets are replaced, never changed. */
extern const struct clock_params *clock_current;
/* TSC ticks per second, as calibrated. */
u64 clock_tsc_hz(void);
/* Arms this CPU's one-shot timer for an absolute monotonic time; ~0 disarms. Interrupts off. Fires
 * VECTOR_TIMER. */
void timer_arm(u64 deadline_ns);

/* ---- threads: the architecture's part, embedded in struct thread ---- */

/* The beginning of struct thread is all that this layer knows of it. */
struct arch_thread {
    u64 rsp;        /* saved kernel stack pointer while not running */
    u64 kstack_top; /* the program's frame lies right below */
    u64 kstack_bottom;
    u64 fs_base; /* saved while not running */
    void *fpu;   /* XSAVE area, 64-byte aligned; NULL for kernel threads */
    u32 fpu_cpu; /* the CPU that loaded fpu last; ~0 none: the area holds what no CPU has loaded */
};
struct thread_head {
    struct arch_thread arch;
    u32 return_work; /* atomic; non-zero: trap_hooks.return_work runs before the program continues */
};
static inline struct thread_head *thread_head(struct thread *t)
{
    return (struct thread_head *)t;
}

/*
 * Prepares t so that its first switch-in calls entry(arg) on its kernel stack with interrupts on and
 * preempt_count as arch_hooks.switch_finish leaves it. kstack_* must be set; entry must not return.
 */
void arch_thread_prepare(struct thread *t, void (*entry)(void *), void *arg);
/*
 * Switches from prev to next: stack, this_cpu()->current and kstack_*, FS base and FPU state (prev's saved
 * and next's loaded only where they have an FPU area; not loaded when this CPU still has it). Interrupts off,
 * prev == current_thread(). Returns in the context of prev when it next runs; the return value is the thread
 * switched away from.
 */
struct thread *arch_switch(struct thread *prev, struct thread *next);

/* ---- FPU ---- */
extern u32 fpu_area_size;                   /* bytes of the XSAVE area for the enabled features */
extern u64 fpu_features;                    /* XCR0 */
void fpu_init_area(void *area);             /* the state a new program starts with */
void fpu_save_current(void *area);          /* registers -> area (64-byte aligned), all. Preemption off. */
void fpu_restore_current(const void *area); /* area -> registers; the area must have been checked */
/* Checks an area that a program handed in (signal return): false when loading it would fault. */
bool fpu_area_valid(const void *area);

/* The program's FS base of the current thread. */
u64 arch_get_fs(void);
void arch_set_fs(u64 base);

/* CPU identification for /proc/cpuinfo. */
const char *arch_cpu_vendor(void);
const char *arch_cpu_model(void);
void arch_cpu_flags(char *buf, size_t size); /* Linux's flag names, blank-separated */
u64 arch_cpu_hwcap(void);                    /* AT_HWCAP: CPUID.1:EDX */
u64 arch_cpu_hwcap2(void);                   /* AT_HWCAP2: bit 1: programs may use RDFSBASE and the like */

/* Random bits of the CPU where it has RDRAND; false when it has none or it fails. */
bool arch_random(u64 *value);

/* Powers off by every way known, at last by a triple fault. */
_Noreturn void arch_poweroff(void);
/* Writes to the serial port, polled. Any context. */
void serial_write(const char *text, size_t len);

#endif
