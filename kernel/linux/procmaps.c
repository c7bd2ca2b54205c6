/* /proc/self/maps and smaps: one line an area (proc(5)). */
#include "kernel/linux/procmaps.h"
#include "kernel/base/string.h"
#include "kernel/linux/task.h"
#include "mm/vm/vm.h"

static const char *area_name(const struct vm_area *a)
{
    const struct file *f = a->file;
    if (f)
        return f->path ? f->path : "";
    if (a->start <= process.stack_start && process.stack_start < a->end)
        return "[stack]";
    if (a->start == process.vdso)
        return "[vdso]";
    if (a->start == vm_brk_start() && a->end > a->start)
        return "[heap]";
    return a->flags & VM_SHARED ? "/dev/zero (deleted)" : "";
}

static int add_area(const struct vm_area *a, void *arg)
{
    const struct file *f = a->file;
    struct inode *inode = f ? f->inode : NULL;
    const char *name = area_name(a);
    struct seq *s = arg;
    size_t before = s->len;
    seq_printf(s, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu", a->start, a->end,
               a->flags & VM_READ ? 'r' : '-', a->flags & VM_WRITE ? 'w' : '-',
               a->flags & VM_EXEC ? 'x' : '-', a->flags & VM_SHARED ? 's' : 'p', a->object ? a->offset : 0UL,
               0, f ? 1 : 0, inode ? inode->ino : 0UL);
    if (*name) /* names start in column 73 */
        seq_printf(s, "%*s%s", (int)(s->len - before < 73 ? 73 - (s->len - before) : 1), "", name);
    seq_printf(s, "\n");
    return s->failed;
}

int procmaps_show(struct seq *s, void *arg)
{
    vm_for_each(add_area, s);
    return 0;
}

static int add_smaps(const struct vm_area *a, void *arg)
{
    struct seq *s = arg;
    u64 size = (a->end - a->start) / 1024;
    struct vm_usage u;
    vm_usage(a, &u);
    add_area(a, s);
    seq_printf(s, "Size:           %8lu kB\nKernelPageSize: %8u kB\nMMUPageSize:    %8u kB\n", size, 4, 4);
    seq_printf(s, "Rss:            %8lu kB\nPss:            %8lu kB\nAnonHugePages:  %8lu kB\n",
               u.resident_bytes / 1024, u.resident_bytes / 1024, u.huge_bytes / 1024);
    seq_printf(s, "VmFlags: %s%s%s%s\n", a->flags & VM_READ ? "rd " : "", a->flags & VM_WRITE ? "wr " : "",
               a->flags & VM_EXEC ? "ex " : "", a->flags & VM_SHARED ? "sh " : "");
    return s->failed;
}

int procmaps_show_smaps(struct seq *s, void *arg)
{
    vm_for_each(add_smaps, s);
    return 0;
}
