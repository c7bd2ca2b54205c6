/* System calls about memory. */
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/modules.h"
#include "kernel/linux/task.h"
#include "kernel/linux/user.h"
#include "mm/vm/vm.h"

#define MAP_LEGACY                                                                                           \
    (MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE |                 \
     MAP_UNINITIALIZED | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK |          \
     MAP_STACK | MAP_HUGETLB | MAP_32BIT | MAP_FIXED_NOREPLACE)

static u32 area_prot(u32 prot)
{
    /* x86 has no page that is writable or executable but not readable. */
    u32 flags = (prot & PROT_READ ? VM_READ : 0) | (prot & PROT_WRITE ? VM_WRITE : 0) |
                (prot & PROT_EXEC ? VM_EXEC : 0);
    return flags & (VM_WRITE | VM_EXEC) ? flags | VM_READ : flags;
}

static u32 map_flags(u32 flags)
{
    return (flags & MAP_FIXED ? VM_FIXED : 0) | (flags & MAP_FIXED_NOREPLACE ? VM_FIXED_NEW : 0) |
           (flags & MAP_POPULATE && !(flags & MAP_NONBLOCK) ? VM_POPULATE : 0) |
           (flags & MAP_LOCKED ? VM_POPULATE : 0) | (flags & MAP_32BIT ? VM_HINT_32BIT : 0);
}

static s64 map_anonymous(u64 addr, u64 len, u32 area, u32 flags)
{
    struct vm_object *obj = NULL;
    if (area & VM_SHARED) {
        obj = vm_object_create_anon(len);
        if (!obj)
            return -ENOMEM;
        area |= VM_MAYWRITE;
    }
    s64 at = vm_map(addr, len, area | VM_MAYWRITE, map_flags(flags), obj, 0, NULL);
    if (obj)
        vm_object_put(obj);
    return at;
}

/*
 * Linux takes huge pages from a pool that somebody has filled before; here the pool is all memory that could
 * be freed, at any time. As there, a mapping is refused when it is larger than what is left; the pages
 * themselves come with the faults, in 4 KiB pieces where memory has no 2 MiB in a row.
 */
static bool huge_pool_has(u64 len)
{
    return len >> PAGE_SHIFT <= phys_free_pages() + vm_reclaimable_pages();
}

/* Whether the page size that flags ask for in bits 26 to 31, as a logarithm, is that of the pool. */
static bool huge_size_known(u32 flags)
{
    u32 log = flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
    return !log || 1UL << log == HUGE_SIZE;
}

static s64 map_huge(u64 addr, u64 len, u32 area, u32 flags)
{
    if (!(flags & MAP_ANONYMOUS) || !huge_size_known(flags))
        return -EINVAL;
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) && addr % HUGE_SIZE)
        return -EINVAL;
    len = ALIGN_UP(len, HUGE_SIZE);
    return huge_pool_has(len) ? map_anonymous(ALIGN_UP(addr, HUGE_SIZE), len, area | VM_HUGE, flags)
                              : -ENOMEM;
}

static s64 map_opened(struct file *f, u64 addr, u64 len, u32 area, u32 flags, u64 offset)
{
    struct vm_object *obj;
    u32 access = f->flags & O_ACCMODE;
    if (access == O_WRONLY || (area & VM_SHARED && area & VM_WRITE && access != O_RDWR))
        return -EACCES;
    if (!(area & VM_SHARED) || access == O_RDWR)
        area |= VM_MAYWRITE;
    if (!f->ops->mmap)
        return -ENODEV;
    int err = f->ops->mmap(f, offset, len, area, &obj);
    if (err)
        return err;
    s64 at = vm_map(addr, len, area, map_flags(flags), obj, offset, f);
    if (at > 0 && area & VM_EXEC)
        modules_note(f, at, at + len, offset);
    return at;
}

static s64 map_file(s32 fd, u64 addr, u64 len, u32 area, u32 flags, u64 offset)
{
    struct file *f = fd_get_io(fd);
    if (!f)
        return -EBADF;
    s64 at = map_opened(f, addr, len, area, flags, offset);
    file_put(f);
    return at;
}

static s64 check_type(u32 flags)
{
    switch (flags & MAP_TYPE) {
    case MAP_SHARED:
    case MAP_PRIVATE:
        return 0;
    case MAP_SHARED_VALIDATE:
        return flags & ~MAP_LEGACY ? -EOPNOTSUPP : 0;
    default:
        return -EINVAL;
    }
}

s64 sys_mmap(u64 addr, u64 len, u32 prot, u32 flags, s32 fd, u64 offset)
{
    s64 err = check_type(flags);
    if (offset % PAGE_SIZE)
        return -EINVAL;
    if (!(flags & MAP_ANONYMOUS)) {
        struct file *f = fd_get_io(fd);
        if (!f)
            return -EBADF;
        file_put(f);
    }
    if (err || !len)
        return -EINVAL;
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) && addr % PAGE_SIZE)
        return -EINVAL;
    if (len > PROGRAM_END)
        return -ENOMEM;
    len = ALIGN_UP(len, PAGE_SIZE);
    if (offset + len < offset)
        return -EOVERFLOW;
    u32 area =
        area_prot(prot) | (flags & MAP_NORESERVE ? VM_NORESERVE : 0) | (flags & MAP_LOCKED ? VM_LOCKED : 0);
    if ((flags & MAP_TYPE) != MAP_PRIVATE)
        area |= VM_SHARED;
    if (flags & MAP_HUGETLB)
        return map_huge(addr, len, area, flags);
    if (flags & MAP_GROWSDOWN && flags & MAP_ANONYMOUS && !(area & VM_SHARED))
        area |= VM_STACK;
    if (flags & MAP_ANONYMOUS)
        return map_anonymous(addr, len, area, flags);
    return map_file(fd, addr, len, area, flags, offset);
}

/* Rounds a range to pages; false when it leaves the program's half. */
static bool page_range(u64 addr, u64 *len)
{
    if (*len > PROGRAM_END)
        return false;
    *len = ALIGN_UP(*len, PAGE_SIZE);
    return user_range(addr, *len);
}

s64 sys_munmap(u64 addr, u64 len)
{
    if (addr % PAGE_SIZE || !len || !page_range(addr, &len))
        return -EINVAL;
    return vm_unmap(addr, len);
}

s64 sys_mprotect(u64 addr, u64 len, u32 prot)
{
    u32 grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || addr % PAGE_SIZE)
        return -EINVAL;
    if (!len)
        return 0;
    if (!page_range(addr, &len))
        return -ENOMEM;
    if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM | grows))
        return -EINVAL;
    return vm_protect(addr, len, area_prot(prot));
}

/* mremap(2) with an old size of 0: a second mapping of the same shared memory. */
struct twin {
    u64 addr;
    u32 flags;
    struct vm_object *object;
    u64 offset;
    struct file *file;
};
static int find_twin(const struct vm_area *a, void *arg)
{
    struct twin *t = arg;
    if (a->end <= t->addr)
        return 0;
    if (a->start <= t->addr && a->object && a->flags & VM_SHARED) {
        t->flags = a->flags;
        t->object = a->object;
        t->offset = a->offset + t->addr - a->start;
        t->file = a->file;
        vm_object_get(t->object);
        if (t->file)
            file_get(t->file);
    }
    return a->start <= t->addr ? 1 : 2;
}
static s64 map_twin(u64 addr, u64 len, u64 flags, u64 new_addr)
{
    struct twin t = {.addr = addr};
    if (!(flags & MREMAP_MAYMOVE))
        return -EINVAL;
    int found = vm_for_each_from(addr, find_twin, &t);
    if (!t.object)
        return found == 1 ? -EINVAL : -EFAULT;
    bool fixed = flags & MREMAP_FIXED;
    s64 at = vm_map(fixed ? new_addr : 0, len, t.flags, fixed ? VM_FIXED : 0, t.object, t.offset, t.file);
    vm_object_put(t.object);
    if (t.file)
        file_put(t.file);
    return at;
}

s64 sys_mremap(u64 addr, u64 old_len, u64 new_len, u64 flags, u64 new_addr)
{
    if (flags & ~(u64)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) || addr % PAGE_SIZE)
        return -EINVAL;
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(flags & MREMAP_MAYMOVE))
        return -EINVAL;
    if (flags & MREMAP_DONTUNMAP && ALIGN_UP(old_len, PAGE_SIZE) != ALIGN_UP(new_len, PAGE_SIZE))
        return -EINVAL;
    if (!new_len || (flags & MREMAP_FIXED && new_addr % PAGE_SIZE))
        return -EINVAL;
    if (!page_range(addr, &old_len))
        return -EFAULT;
    if (!page_range(flags & MREMAP_FIXED ? new_addr : 0, &new_len))
        return flags & MREMAP_FIXED ? -EINVAL : -ENOMEM;
    if (flags & MREMAP_FIXED && addr < new_addr + new_len && new_addr < addr + old_len)
        return -EINVAL;
    if (!old_len)
        return map_twin(addr, new_len, flags, new_addr);
    return vm_remap(addr, old_len, new_len, flags, new_addr); /* VM_REMAP_* are MREMAP_* */
}
_Static_assert(VM_REMAP_MAYMOVE == MREMAP_MAYMOVE && VM_REMAP_FIXED == MREMAP_FIXED &&
                   VM_REMAP_DONTUNMAP == MREMAP_DONTUNMAP,
               "vm_remap takes Linux's flags");

s64 sys_brk(u64 addr)
{
    return vm_brk(addr);
}

/* ---- questions about a range, page by page ---- */

/* 0 when every page of the range is mapped, else -ENOMEM. */
struct hole {
    u64 at, end;
};
static int find_hole(const struct vm_area *a, void *arg)
{
    struct hole *h = arg;
    if (a->end <= h->at)
        return 0;
    if (a->start > h->at)
        return 1;
    h->at = a->end;
    return h->at >= h->end;
}
static s64 check_mapped(u64 addr, u64 len)
{
    struct hole h = {addr, addr + len};
    if (len)
        vm_for_each_from(addr, find_hole, &h);
    return h.at >= h.end ? 0 : -ENOMEM;
}

static s64 punch(u64 addr, u64 len);

s64 sys_madvise(u64 addr, u64 len, s32 advice)
{
    s64 err;
    if (addr % PAGE_SIZE || !page_range(addr, &len))
        return -EINVAL;
    switch (advice) {
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
    case MADV_FREE: /* freeing at once is one of the two allowed outcomes */
        err = check_mapped(addr, len);
        if (advice == MADV_FREE && err)
            return err;
        return len ? vm_discard(addr, len) ?: err : 0;
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
        err = check_mapped(addr, len);
        return len ? vm_advise_huge(addr, len, advice == MADV_HUGEPAGE) ?: err : 0;
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
        return len ? check_mapped(addr, len) ?: vm_populate(addr, len, advice == MADV_POPULATE_WRITE) : 0;
    case MADV_REMOVE:
        return check_mapped(addr, len) ?: punch(addr, len);
    case MADV_WILLNEED:
        err = check_mapped(addr, len);
        if (len && !err)
            vm_populate(addr, len, false);
        return err;
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_COLLAPSE:
        return check_mapped(addr, len);
    default: /* merging (KSM), poisoning: as a kernel without them */
        return -EINVAL;
    }
}

/* MADV_REMOVE: frees pages of shared objects. One area at a time: the object is kept by a reference. */
struct punch {
    u64 addr, end;
    struct vm_object *obj;
    u64 from, to, next;
};
static int punch_find(const struct vm_area *a, void *arg)
{
    struct punch *p = arg;
    if (a->end <= p->addr)
        return 0;
    if (a->start > p->addr) /* unmapped since it was checked */
        return -ENOMEM;
    if (!a->object || !(a->flags & VM_SHARED))
        return -EINVAL;
    p->obj = a->object;
    vm_object_get(p->obj);
    p->from = a->offset + p->addr - a->start;
    p->next = MIN(a->end, p->end);
    p->to = a->offset + p->next - a->start;
    return 1;
}
static s64 punch(u64 addr, u64 len)
{
    struct punch p = {.addr = addr, .end = addr + len};
    while (p.addr < p.end) {
        int found = vm_for_each_from(p.addr, punch_find, &p);
        if (found <= 0)
            return found ?: -ENOMEM;
        int err = vm_object_punch(p.obj, p.from, p.to);
        vm_object_put(p.obj);
        if (err)
            return err;
        p.addr = p.next;
    }
    return 0;
}

s64 sys_mincore(u64 addr, u64 len, u8 *uvec)
{
    if (addr % PAGE_SIZE)
        return -EINVAL;
    if (!page_range(addr, &len))
        return -ENOMEM;
    u8 *vec = kmalloc(PAGE_SIZE);
    if (!vec)
        return -EAGAIN;
    s64 err = check_mapped(addr, len);
    for (u64 done = 0; done < len && !err; done += PAGE_SIZE * PAGE_SIZE) {
        u64 part = MIN(len - done, PAGE_SIZE * PAGE_SIZE);
        err = vm_resident(addr + done, part, vec);
        if (!err)
            err = copy_to_user(uvec + done / PAGE_SIZE, vec, part / PAGE_SIZE);
    }
    kfree(vec);
    return err;
}

s64 sys_msync(u64 addr, u64 len, u32 flags)
{
    if (flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) || addr % PAGE_SIZE ||
        (flags & MS_ASYNC && flags & MS_SYNC))
        return -EINVAL;
    if (!page_range(addr, &len))
        return -ENOMEM;
    if (!len)
        return 0;
    return flags & MS_SYNC ? vm_sync(addr, len) : check_mapped(addr, len);
}

/* There is no swap: what is populated stays. */
static s64 lock_range(u64 addr, u64 len, bool populate)
{
    len += addr % PAGE_SIZE;
    addr = ALIGN_DOWN(addr, PAGE_SIZE);
    if (!page_range(addr, &len))
        return -EINVAL;
    s64 err = check_mapped(addr, len);
    if (!err && populate && len)
        err = vm_populate(addr, len, false);
    return err == -EFAULT ? -ENOMEM : err;
}

s64 sys_mlock(u64 addr, u64 len)
{
    return lock_range(addr, len, true);
}
s64 sys_mlock2(u64 addr, u64 len, u32 flags)
{
    return flags & ~1u ? -EINVAL : lock_range(addr, len, !(flags & 1));
}
s64 sys_munlock(u64 addr, u64 len)
{
    return lock_range(addr, len, false);
}
s64 sys_mlockall(u32 flags)
{
    return !flags || flags & ~7u || flags == 4 ? -EINVAL : 0;
}
s64 sys_munlockall(void)
{
    return 0;
}

s64 sys_memfd_create(const char *uname, u32 flags)
{
    char *name;
    struct file *f;
    u32 known = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB;
    if (flags & MFD_HUGETLB)
        known |= MAP_HUGE_MASK << MAP_HUGE_SHIFT;
    if (flags & ~known || !huge_size_known(flags))
        return -EINVAL;
    int err = user_string(uname, 250, -EINVAL, &name);
    if (err)
        return err;
    err = vfs_memfd(name, flags & MFD_ALLOW_SEALING, flags & MFD_HUGETLB, &f);
    kfree(name);
    return err ? err : fd_install(f, 0, flags & MFD_CLOEXEC ? O_CLOEXEC : 0);
}

/* membarrier(2): every thread that runs the program passes a barrier before this returns. */
#define MEMBARRIER_QUERY                      0
#define MEMBARRIER_GLOBAL                     1
#define MEMBARRIER_GLOBAL_EXPEDITED           2
#define MEMBARRIER_REGISTER_GLOBAL_EXPEDITED  4
#define MEMBARRIER_PRIVATE_EXPEDITED          8
#define MEMBARRIER_REGISTER_PRIVATE_EXPEDITED 16
#define MEMBARRIER_PRIVATE_SYNC_CORE          32
#define MEMBARRIER_REGISTER_PRIVATE_SYNC_CORE 64

/* Visiting every CPU is a barrier on each: this thread moves to them one after the other. */
static void barrier_everywhere(void)
{
    struct thread *self = current_thread();
    cpu_mask home = self->affinity;
    for (u32 cpu = 0; cpu < cpu_count; cpu++)
        sched_set_affinity(self, 1UL << cpu);
    sched_set_affinity(self, home);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

s64 sys_membarrier(s32 command, u32 flags, s32 cpu)
{
    static u32 registered;
    if (flags)
        return -EINVAL;
    switch (command) {
    case MEMBARRIER_QUERY:
        return 127;
    case MEMBARRIER_REGISTER_GLOBAL_EXPEDITED:
    case MEMBARRIER_REGISTER_PRIVATE_EXPEDITED:
    case MEMBARRIER_REGISTER_PRIVATE_SYNC_CORE:
        __atomic_fetch_or(&registered, command, __ATOMIC_RELAXED);
        return 0;
    case MEMBARRIER_PRIVATE_EXPEDITED:
    case MEMBARRIER_PRIVATE_SYNC_CORE:
        if (!(registered & (command << 1)))
            return -EPERM;
        /* fall through */
    case MEMBARRIER_GLOBAL:
    case MEMBARRIER_GLOBAL_EXPEDITED:
        barrier_everywhere();
        return 0;
    default:
        return -EINVAL;
    }
}

/* As a kernel built without NUMA and without protection keys. */
s64 sys_get_mempolicy(void)
{
    return -ENOSYS;
}
s64 sys_set_mempolicy(void)
{
    return -ENOSYS;
}
s64 sys_mbind(void)
{
    return -ENOSYS;
}
s64 sys_migrate_pages(void)
{
    return -ENOSYS;
}
s64 sys_move_pages(void)
{
    return -ENOSYS;
}
s64 sys_pkey_alloc(void)
{
    return -ENOSYS;
}
s64 sys_pkey_free(void)
{
    return -ENOSYS;
}
s64 sys_pkey_mprotect(u64 addr, u64 len, u32 prot, s32 key)
{
    return key == -1 ? sys_mprotect(addr, len, prot) : -ENOSYS;
}
