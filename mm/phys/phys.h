/*
 * Physical memory: frames (buddy allocator with per-CPU caches), and the kernel heap (size classes over
 * frames).
 *
 * Every frame has a struct page in the frame table. Frames of 4 KiB have order 0, of 2 MiB order 9.
 * Contexts: threads, also with preemption off when a call is marked so; never interrupt handlers.
 */
#ifndef MOKA_MM_PHYS_H
#define MOKA_MM_PHYS_H

#include "kernel/arch/x86_64/layout.h"
#include "kernel/base/list.h"
#include "kernel/base/types.h"

#define ORDER_MAX  10 /* 4 MiB */
#define ORDER_HUGE 9

struct cpu;
struct vm_object;

enum page_kind {
    PAGE_RESERVED, /* not ours: firmware, kernel image, frame table */
    PAGE_FREE,
    PAGE_KERNEL, /* heap, stacks, page tables, driver memory */
    PAGE_ANON,   /* the program's anonymous memory */
    PAGE_CACHE,  /* belongs to a vm_object */
    PAGE_POOLED, /* free, in one CPU's cache */
    PAGE_KINDS
};

/* One frame, or the head of a compound of 2^order frames. Small: there is one for every 4 KiB. */
struct page {
    u32 refs;         /* atomic. ANON: mappings. CACHE: 1 for the object + mappings + transient users */
    u8 kind;          /* enum page_kind */
    u8 order;         /* of the block this frame heads */
    u16 flags;        /* atomic; PAGE_DIRTY ... */
    struct list link; /* free list; the object's or the reclaimer's list */
    union {
        struct {
            struct vm_object *object; /* CACHE only */
            u64 index;                /* CACHE only: page offset in the object */
        };
        struct {
            void *slab_free; /* kernel heap: the slab's free pieces */
            u32 slab_class;  /* 1 + size class; 0: a block of its own */
            u32 slab_used;   /* pieces not in slab_free */
        };
    };
    u64 private; /* owner's use */
};

#define PAGE_DIRTY    1u /* CACHE: newer than the backing store */
#define PAGE_UPTODATE 2u /* CACHE: contents valid */
#define PAGE_BUSY     4u /* CACHE: being filled or written back */
#define PAGE_ACTIVE   8u /* used since the reclaimer last looked */

#define PHYS_ZERO   1u /* zeroed */
#define PHYS_ATOMIC 2u /* do not sleep nor reclaim: fail instead. Allowed with preemption off */
#define PHYS_TRY    4u /* do not reclaim: fail instead */

/*
 * Builds the frame table and the free lists from boot_info, and completes the direct map: all memory that
 * boot_info.mem lists, but reserved ranges above 64 MiB (device space). Boot CPU, before anything else; the
 * page tables of boot must map the kernel image and at least the first GiB of the direct map.
 */
void phys_init(void);
/* Gives a CPU its caches, before it starts: a thread that sleeps inside an allocation may wake on any CPU.
 * False when memory ran out. May sleep. */
bool phys_prepare_cpu(struct cpu *c);

/* 2^order frames, physically contiguous, aligned to their size; refs 1. NULL when memory ran out even after
 * reclaim. May sleep. */
struct page *page_alloc(u32 order, enum page_kind kind, u32 flags);
/* Gives the block back at once, whatever refs says. May sleep. */
void page_free(struct page *page);
/* Gives back count neighbours of order 0 and of one kind, like page_free() of each, at once. May sleep. */
void page_free_run(struct page *first, u32 count);
static inline void page_get(struct page *page)
{
    __atomic_add_fetch(&page->refs, 1, __ATOMIC_RELAXED);
}
/* Drops one reference; frees with the last. May sleep. */
void page_put(struct page *page);
/* Splits a block of ORDER_HUGE into 512 pages of order 0, each with the kind of the head and refs refs_each.
 */
void page_split(struct page *page, u32 refs_each);

static inline void *phys_to_virt(u64 paddr)
{
    return (void *)(DIRECT_MAP + paddr);
}
/* Only for direct-map addresses. */
static inline u64 virt_to_phys(const void *p)
{
    return (u64)p - DIRECT_MAP;
}
static inline struct page *paddr_to_page(u64 paddr)
{
    return (struct page *)FRAME_TABLE + (paddr >> PAGE_SHIFT);
}
static inline u64 page_to_paddr(const struct page *page)
{
    return (u64)(page - (struct page *)FRAME_TABLE) << PAGE_SHIFT;
}
static inline void *page_to_virt(const struct page *page)
{
    return phys_to_virt(page_to_paddr(page));
}

struct phys_stats {
    u64 total_pages; /* managed by the allocator at boot */
    u64 free_pages;
    u64 kernel_pages, anon_pages, cache_pages;
};
void phys_stats(struct phys_stats *out);
/* total_pages, and about free_pages (what CPUs have pooled does not count): cheap. Any context. */
u64 phys_total_pages(void);
u64 phys_free_pages(void);

/*
 * Zeroes a free frame or 2 MiB block ahead, for PHYS_ZERO. False: nothing is wanted now. For idle threads,
 * with preemption and interrupts on; never sleeps, and may lose the CPU at any instruction. See zeroed.c.
 */
bool phys_idle_work(void);
struct phys_zeroed {
    u64 ready_pages, ready_blocks; /* of 4 KiB and of 2 MiB, zeroed and free now */
    u64 made_pages, used_pages;    /* in frames of 4 KiB, since boot */
};
void phys_zeroed_stats(struct phys_zeroed *out);

/* Runs the registered reclaimers until about want pages came free; returns how many did. No locks held but
 * those the callers of page_alloc may hold. May sleep. */
u64 phys_reclaim(u64 want);
/*
 * Called when an allocation finds too little free memory: frees up to want pages of whatever the registrant
 * caches, returns how many it freed. Threads only; the allocator's locks are not held, but the allocating
 * thread may hold any lock of the layers above (try locks, never wait for one that is held while allocating);
 * may sleep; must not allocate more than a few frames itself. One registrant a priority (0 first), at most 4.
 */
void phys_register_reclaim(u32 priority, u64 (*reclaim)(u64 want));

/* ---- kernel heap ---- */

/* Zeroed memory, aligned to 16 bytes (sizes of a power of two and at least 64: to their size up to a page).
 * NULL when memory ran out. May sleep. */
void *kmalloc(size_t size);
/* The same, with whatever was there before: for buffers that are about to be filled. */
void *kmalloc_raw(size_t size);
/* p may be NULL. */
void kfree(void *p);
/* Keeps the first min(old, new) bytes; NULL (and p untouched) when memory ran out. */
void *krealloc(void *p, size_t size);
char *kstrdup(const char *s);
/*
 * A pool of equal objects that never return to other uses (type-stable): reading a freed one is harmless, its
 * bytes stay as they were. Objects are aligned to 16 bytes.
 */
struct kpool {
    void *free; /* with tag: lock-free stack, exchanged together (Treiber, IBM RJ 5118, 1986; the tag: ABA) */
    u64 tag;
    size_t size;
    u64 live;
} __attribute__((aligned(16)));
#define KPOOL_INIT(type)                                                                                     \
    {                                                                                                        \
        .size = sizeof(type)                                                                                 \
    }
/* Zeroed at the object's first use only: callers initialise. NULL when memory ran out. May sleep. */
void *kpool_alloc(struct kpool *pool);
/* Any context. */
void kpool_free(struct kpool *pool, void *p);

/* ---- kernel stacks ---- */
#define KSTACK_SIZE (4 * PAGE_SIZE)
/* The top of a new stack between guard pages, or 0 when memory ran out. May sleep. */
u64 kstack_alloc(void);
/* Any context, but not on that stack. It is cached for the next kstack_alloc(). */
void kstack_free(u64 top);
/*
 * Gives up to about want pages of cached stacks back, but a few that are kept; returns how many. flush is
 * called once, before the pages are freed: it drops the kernel's translations on all CPUs, idle ones too. May
 * sleep, waits for no lock that is held while allocating.
 */
u64 kstack_reclaim(u64 want, void (*flush)(void));

#endif
