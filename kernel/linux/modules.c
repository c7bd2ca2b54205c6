/* See modules.h. The table only grows; an entry is complete before the count shows it. */
#include "kernel/linux/modules.h"
#include "kernel/base/string.h"
#include "kernel/base/unwind.h"
#include "kernel/fs/vfs.h"
#include "kernel/linux/task.h"
#include "sched/mutex.h"

#define MODULES_MAX 192

static struct unwind_module modules[MODULES_MAX];
static u32 count; /* atomic */
static struct mutex lock;

static void fill(struct unwind_module *m, const char *name, u64 start, u64 end, u64 offset)
{
    m->start = start;
    m->end = end;
    m->base = start - offset;
    strlcpy(m->name, name, sizeof(m->name));
}

void modules_note(const struct file *f, u64 start, u64 end, u64 offset)
{
    mutex_lock(&lock);
    if (count < MODULES_MAX) {
        fill(&modules[count], f->path ? f->path : "?", start, end, offset);
        __atomic_store_n(&count, count + 1, __ATOMIC_RELEASE);
    }
    mutex_unlock(&lock);
}

static bool find(u64 ip, struct unwind_module *out, bool may_sleep)
{
    if (process.vdso && ip >= process.vdso && ip < process.vdso + 2 * PAGE_SIZE) {
        fill(out, "[vdso]", process.vdso, process.vdso + 2 * PAGE_SIZE, 0);
        return true;
    }
    /* The latest first: a file mapped where another one was hides it. */
    for (u32 i = __atomic_load_n(&count, __ATOMIC_ACQUIRE); i-- > 0;) {
        if (ip >= modules[i].start && ip < modules[i].end) {
            *out = modules[i];
            return true;
        }
    }
    return false;
}

void modules_init(void)
{
    unwind_find_module = find;
}
