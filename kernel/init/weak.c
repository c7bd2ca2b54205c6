/*
 * Stand-ins for layers that are not linked in yet, so that the kernel links and boots without them. Each real
 * definition takes precedence; this file goes when all have landed.
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/cmdline.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/fs/vfs.h"
#include "kernel/linux/linux.h"
#include "mm/phys/phys.h"
#include "mm/vm/vm.h"
#include "sched/thread.h"
#include "sched/timer.h"
#include "sched/waitq.h"
#include "virtio/virtio.h"

#define WEAK    __attribute__((weak))
#define MISSING panic("%s is not linked in yet", __func__)

WEAK void vm_init(void)
{
}
WEAK void vm_init_cpu(void)
{
}
WEAK void vfs_init(void)
{
}
WEAK int vfs_mount_root(void)
{
    return 0;
}
WEAK int vfs_mount_9p(const char *tag, const char *dir, bool read_only)
{
    return -ENODEV;
}
WEAK void linux_init(void)
{
}
WEAK int linux_start(void)
{
    MISSING;
}

/* mm/vm, for kernel/fs */
WEAK struct vm_file_ops vm_file_ops;
WEAK struct vm_object *vm_object_create_anon(u64 size)
{
    MISSING;
}
WEAK void vm_object_init(struct vm_object *obj, const struct vm_object_ops *ops, u64 size, void *owner)
{
    MISSING;
}
WEAK int vm_object_page(struct vm_object *obj, u64 index, bool for_write, struct page **out)
{
    MISSING;
}
WEAK struct page *vm_object_peek(struct vm_object *obj, u64 index)
{
    MISSING;
}
WEAK int vm_object_punch(struct vm_object *obj, u64 start, u64 end)
{
    MISSING;
}
WEAK void vm_object_put(struct vm_object *obj)
{
    MISSING;
}
WEAK u64 vm_object_seek(struct vm_object *obj, u64 pos, bool data)
{
    MISSING;
}
WEAK int vm_object_truncate(struct vm_object *obj, u64 size)
{
    MISSING;
}
WEAK void vm_stats(struct vm_stats *out)
{
    MISSING;
}
