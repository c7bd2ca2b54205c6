/*
 * Virtual memory of the program: areas, faults, memory objects (page cache). One address space, so no `mm`
 * argument.
 *
 * Locks, in order: vm lock (sleeping reader-writer: faults share it, changes to areas take it alone) < object
 * mutex < the reclaimer's list mutex. Page-table entries are installed by compare-and-exchange under the
 * shared vm lock; page tables are freed only under the exclusive one. All functions may sleep; none may be
 * called from interrupt handlers or with preemption off.
 *
 * A fault takes the vm lock and object locks, so nobody may touch program memory (copy_safe ...) while
 * holding either: not in vm_for_each() callbacks, not in vm_object_ops.
 */
#ifndef MOKA_MM_VM_H
#define MOKA_MM_VM_H

#include "kernel/base/list.h"
#include "kernel/base/types.h"
#include "mm/phys/phys.h"
#include "sched/mutex.h"

struct vm_object;

/* ---- memory objects: the contents of a file, of a memfd, or of shared anonymous memory ---- */

/* What backs an object. Any pointer may be NULL. */
struct vm_object_ops {
    /*
     * Reads page `index` into `page` (PAGE_SIZE bytes, beyond the end of the data zeros). The page is
     * PAGE_BUSY and owned by the caller; no lock held; may sleep. 0 or -errno (the reader sees EIO or
     * SIGBUS). NULL: pages start as zeros.
     */
    int (*fill)(struct vm_object *obj, u64 index, struct page *page);
    /*
     * Reads `count` consecutive pages at once (read-ahead), like fill. NULL: fill is called for each.
     */
    int (*fill_many)(struct vm_object *obj, u64 index, struct page **pages, u32 count);
    /* Worker threads may read ahead of the program, up to 128 pages at once; fill_many is not NULL. */
    bool ahead;
    /* Writes a dirty page back. len: bytes that lie within the object's size. 0 or -errno. NULL: pages have
     * no backing store and are never reclaimed while dirty. */
    int (*writeback)(struct vm_object *obj, u64 index, struct page *page, u32 len);
    /* The last reference is gone; pages are freed already. */
    void (*destroy)(struct vm_object *obj);
};

struct vm_object {
    struct mutex lock; /* guards pages, size, areas */
    const struct vm_object_ops *ops;
    u32 refs;    /* atomic */
    u64 size;    /* bytes */
    void *pages; /* radix tree of struct page * by index: radix.c */
    u32 height;  /* of the tree */
    bool huge;   /* its owner would like 2 MiB pages (MFD_HUGETLB); they are used anyway where they fit */
    u64 page_count, dirty_count;
    u64 next_read;     /* where a sequential reader would miss next: read-ahead */
    struct list areas; /* vm_area.object_link of every mapping */
    void *owner;       /* the file system's inode */
};

void vm_object_init(struct vm_object *obj, const struct vm_object_ops *ops, u64 size,
                    void *owner); /* refs 1 */
struct vm_object *
vm_object_create_anon(u64 size); /* zero-filled; freed with its last reference; NULL: no memory */
static inline void vm_object_get(struct vm_object *obj)
{
    __atomic_add_fetch(&obj->refs, 1, __ATOMIC_RELAXED);
}
void vm_object_put(struct vm_object *obj);
/*
 * The page at index, filled, with a reference of the caller's (page_put). for_write marks it dirty. *out NULL
 * and 0 never happens. -ENOMEM, -EIO, or what fill returned. Does not look at obj->size.
 */
int vm_object_page(struct vm_object *obj, u64 index, bool for_write, struct page **out);
/*
 * Adds 512 zeroed pages in one physical block at index (a multiple of 512) if all are absent, the object has
 * neither fill nor writeback, and memory is plentiful; shared mappings of the block then use 2 MiB entries.
 * False: nothing happened.
 */
bool vm_object_add_huge(struct vm_object *obj, u64 index);
/*
 * For writers: after the bytes were copied into a page got for_write, so that a write-back that ran meanwhile
 * does not lose them.
 */
void vm_object_dirty(struct vm_object *obj, struct page *page);
/*
 * Has pages [first, end) read in the background, as far as they are absent, ops->ahead allows it and memory
 * is plentiful. A hint: nothing tells whether it was done.
 */
void vm_object_read_ahead(struct vm_object *obj, u64 first, u64 end);
/* Like vm_object_page but only when the page is there already; else NULL. */
struct page *vm_object_peek(struct vm_object *obj, u64 index);
/* Sets the size; shrinking frees pages beyond, zeroes the rest of the last one and unmaps them everywhere
 * (later access: SIGBUS). */
int vm_object_truncate(struct vm_object *obj, u64 size);
/* Frees whole pages in [start, end) bytes and zeroes partial ones, unmapping them (fallocate PUNCH_HOLE). */
int vm_object_punch(struct vm_object *obj, u64 start, u64 end);
/* Writes dirty pages in [start, end) back. First error, or 0. */
int vm_object_sync(struct vm_object *obj, u64 start, u64 end);
/* Drops clean cached pages in the range (after somebody else changed the file). */
void vm_object_invalidate(struct vm_object *obj, u64 start, u64 end);
/* First byte at or after pos that is in a present page (data) or absent one (hole), at most size; for
 * SEEK_DATA and SEEK_HOLE on objects without fill. */
u64 vm_object_seek(struct vm_object *obj, u64 pos, bool data);

/* ---- areas ---- */

#define VM_READ      1u
#define VM_WRITE     2u
#define VM_EXEC      4u
#define VM_SHARED    8u  /* writes go to the object */
#define VM_STACK     16u /* grows down (the main thread's stack) */
#define VM_NOHUGE    32u /* madvise(MADV_NOHUGEPAGE) */
#define VM_HUGE      64u /* madvise(MADV_HUGEPAGE) */
#define VM_LOCKED    128u
#define VM_MAYWRITE  256u /* mprotect may add VM_WRITE: private, or the file is open for writing */
#define VM_NORESERVE 512u
#define VM_PROT      (VM_READ | VM_WRITE | VM_EXEC)

/* One mapping. Guarded by the vm lock. [start, end), page-aligned. */
struct vm_area {
    u64 start, end;
    u32 flags;
    u32 height; /* with left .. tail: the tree of areas, see area.c */
    struct vm_area *left, *right, *parent;
    u64 gap, max_gap; /* bytes free right below start; the largest gap in this subtree */
    u32 tail;
    u16 seam;                 /* see map.c */
    bool singles;             /* pages may have rights of their own: see pt.c */
    struct list order;        /* all areas by address */
    struct vm_object *object; /* NULL: anonymous private. One reference */
    u64 offset;               /* bytes, page-aligned: object offset of start */
    struct list object_link;  /* in object->areas; guarded by the object's lock too */
    void *file;               /* struct file of kernel/fs, one reference through vm_file_ops; or NULL */
};

/* How this layer keeps files alive and names them without knowing them. Registered by kernel/fs. */
struct vm_file_ops {
    void (*get)(void *file);
    void (*put)(void *file);
};
extern struct vm_file_ops vm_file_ops;

void vm_init(void);
/* The page of zeros, which nobody may write to: mapped for memory that was only read. With a reference for
 * the caller. Mappings have none. After vm_init(). */
struct page *vm_zero_page(void);
void vm_init_cpu(void);

/* After all CPUs are online, before the program starts. */
void vm_cpus_started(void);
/* Pages of areas that may be written and executed are one or the other at a time (code.c): vm_fault() wants
 * PF_OWN_CODE where it applies. Fixed by vm_cpus_started(). */
extern bool code_takes_turns;

/* Handles a fault at addr; error: PF_* bits. 0: repeat the access. -EFAULT: nothing mapped (SEGV_MAPERR);
 * -EACCES: not allowed (SEGV_ACCERR); -EIO: beyond the object (SIGBUS, BUS_ADRERR); -ENOMEM. */
int vm_fault(u64 addr, u32 error);

#define VM_FIXED      1u /* exactly here, replacing what is there */
#define VM_FIXED_NEW  2u /* exactly here; -EEXIST when something is there */
#define VM_POPULATE   4u
#define VM_HINT_32BIT 8u /* below 2 GiB (MAP_32BIT) */

/*
 * Maps len bytes (rounded up to pages): anonymous when object is NULL. addr is a hint unless VM_FIXED*.
 * Takes a reference of object and file on success. Returns the address, or -EINVAL, -ENOMEM, -EEXIST, -EPERM
 * (below PROGRAM_START).
 */
s64 vm_map(u64 addr, u64 len, u32 area_flags, u32 map_flags, struct vm_object *object, u64 offset,
           void *file);
int vm_unmap(u64 addr, u64 len);             /* holes are fine. -EINVAL, -ENOMEM */
int vm_protect(u64 addr, u64 len, u32 prot); /* -ENOMEM on a hole (after doing the part before), -EACCES */
#define VM_REMAP_MAYMOVE   1u
#define VM_REMAP_FIXED     2u
#define VM_REMAP_DONTUNMAP 4u
s64 vm_remap(u64 addr, u64 old_len, u64 new_len, u32 flags,
             u64 new_addr);        /* moves page-table entries, copies nothing */
int vm_discard(u64 addr, u64 len); /* MADV_DONTNEED: next access reads zeros or the file */
int vm_advise_huge(u64 addr, u64 len, bool huge);
int vm_populate(
    u64 addr, u64 len,
    bool write); /* fault in everything; errors as mmap(2) MAP_POPULATE ignores, madvise reports */
int vm_sync(u64 addr, u64 len);              /* msync(MS_SYNC). -ENOMEM on a hole */
int vm_resident(u64 addr, u64 len, u8 *vec); /* mincore; vec is kernel memory, one byte a page */
u64 vm_brk_start(void);
u64 vm_brk(u64 addr); /* as brk(2)'s system call: returns the break */
void vm_brk_init(u64 start);

/* Calls fn for every area in address order with the vm lock shared; stops when fn returns non-zero. */
int vm_for_each(int (*fn)(const struct vm_area *area, void *arg), void *arg);
/* The same, but areas may come in pieces, from the area that holds addr, or the next one above it, on. */
int vm_for_each_from(u64 addr, int (*fn)(const struct vm_area *area, void *arg), void *arg);

/* What of an area is there. Only in callbacks of vm_for_each(). Costs by what is mapped. */
struct vm_usage {
    u64 resident_bytes, huge_bytes; /* huge_bytes: anonymous, by 2 MiB entries */
};
void vm_usage(const struct vm_area *area, struct vm_usage *out);

struct vm_stats {
    u64 mapped_bytes;   /* sum of areas */
    u64 resident_pages; /* present entries */
    u64 resident_peak;  /* the most of them there were, within 1 MiB for each CPU */
    u64 huge_pages;     /* anonymous 2 MiB pages mapped by one entry */
    u64 faults_minor, faults_major;
};
void vm_stats(struct vm_stats *out);

/* Cached pages of files that can be read again when needed: what the reclaimer could free at most. Any
 * context. */
u64 vm_reclaimable_pages(void);

#endif
