/*
 * What kernel/fs stands on, for the host: locks are pthread mutexes, frames come from an arena, memory
 * objects keep their pages in a table, the block device is a buffer, copies to "program" memory cannot fault.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#undef MIN
#undef MAX
#undef NSEC_PER_SEC
#include "kernel/base/errno.h"
#include "mm/vm/vm.h"
#include "sched/mutex.h"
#include "virtio/virtio.h"

#define ARENA_PAGES (256 * 1024UL)

char last_error[512];
unsigned error_count;

void log_error(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(last_error, sizeof(last_error), fmt, ap);
    va_end(ap);
    error_count++;
}

void log_write(const char *text, size_t len)
{
}

void panic(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    printf("\nnot ok fs: panic\n");
    fflush(stdout);
    abort();
}

/* ---- locks ---- */

_Static_assert(sizeof(struct mutex) >= sizeof(pthread_mutex_t), "a mutex holds a pthread mutex");

void mutex_lock(struct mutex *m)
{
    pthread_mutex_lock((pthread_mutex_t *)m);
}

bool mutex_trylock(struct mutex *m)
{
    return !pthread_mutex_trylock((pthread_mutex_t *)m);
}

void mutex_unlock(struct mutex *m)
{
    pthread_mutex_unlock((pthread_mutex_t *)m);
}

/* ---- memory ---- */

void *kmalloc(size_t size)
{
    return calloc(1, size ? size : 1);
}

void *kmalloc_raw(size_t size)
{
    return kmalloc(size);
}

void *krealloc(void *p, size_t size)
{
    return realloc(p, size);
}

void kfree(void *p)
{
    free(p);
}

char *kstrdup(const char *s)
{
    return strdup(s);
}

size_t strlcpy(char *dst, const char *src, size_t size)
{
    size_t len = strlen(src);
    if (size) {
        size_t n = len < size ? len : size - 1;
        memcpy(dst, src, n);
        dst[n] = 0;
    }
    return len;
}

static pthread_mutex_t frames_lock = PTHREAD_MUTEX_INITIALIZER;
static u64 next_frame, free_count;
static struct page *free_frames;

void arena_init(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, prot = PROT_READ | PROT_WRITE;
    mmap((void *)DIRECT_MAP, ARENA_PAGES * PAGE_SIZE, prot, flags, -1, 0);
    mmap((void *)FRAME_TABLE, ARENA_PAGES * sizeof(struct page), prot, flags, -1, 0);
}

static struct page *frame_alloc(void)
{
    pthread_mutex_lock(&frames_lock);
    struct page *page = free_frames;
    if (page) {
        free_frames = page->object ? (struct page *)page->object : NULL;
        free_count--;
    } else if (next_frame < ARENA_PAGES) {
        page = (struct page *)FRAME_TABLE + next_frame++;
    }
    pthread_mutex_unlock(&frames_lock);
    if (page) {
        memset(page, 0, sizeof(*page));
        memset(page_to_virt(page), 0, PAGE_SIZE);
        page->refs = 1;
    }
    return page;
}

struct page *page_alloc(u32 order, enum page_kind kind, u32 flags)
{
    return frame_alloc();
}

void page_put(struct page *page)
{
    if (__atomic_sub_fetch(&page->refs, 1, __ATOMIC_ACQ_REL))
        return;
    pthread_mutex_lock(&frames_lock);
    page->object = (struct vm_object *)free_frames;
    free_frames = page;
    free_count++;
    pthread_mutex_unlock(&frames_lock);
}

u64 frames_used(void)
{
    return next_frame - free_count;
}

void phys_stats(struct phys_stats *out)
{
    *out = (struct phys_stats){
        .total_pages = ARENA_PAGES, .free_pages = ARENA_PAGES - frames_used(), .cache_pages = frames_used()};
}

u64 vm_reclaimable_pages(void)
{
    return 0;
}

/* ---- memory objects: pages in a list per hash of the index ---- */

struct vm_file_ops vm_file_ops;

#define CHAINS 64
struct table {
    struct page *first[CHAINS];
};
/* link.next is unused by kernel/fs: it chains the pages here */
static struct page **slot(struct vm_object *obj, u64 index)
{
    struct table *t = obj->pages;
    if (!t)
        t = obj->pages = calloc(1, sizeof(*t));
    struct page **at = &t->first[index % CHAINS];
    while (*at && (*at)->index != index)
        at = (struct page **)&(*at)->private;
    return at;
}

void vm_object_init(struct vm_object *obj, const struct vm_object_ops *ops, u64 size, void *owner)
{
    memset(obj, 0, sizeof(*obj));
    obj->ops = ops;
    obj->refs = 1;
    obj->size = size;
    obj->owner = owner;
}

static void drop_pages(struct vm_object *obj, u64 from, u64 to)
{
    struct table *t = obj->pages;
    for (unsigned i = 0; t && i < CHAINS; i++)
        for (struct page **at = &t->first[i]; *at;) {
            struct page *page = *at;
            if (page->index < from || page->index >= to) {
                at = (struct page **)&page->private;
                continue;
            }
            *at = (struct page *)page->private;
            obj->page_count--;
            page_put(page);
        }
}

void vm_object_put(struct vm_object *obj)
{
    if (__atomic_sub_fetch(&obj->refs, 1, __ATOMIC_ACQ_REL))
        return;
    drop_pages(obj, 0, ~0UL);
    free(obj->pages);
    if (obj->ops && obj->ops->destroy)
        obj->ops->destroy(obj);
}

/* No huge pages on this machine: the caller then goes on page by page. */
bool vm_object_add_huge(struct vm_object *obj, u64 index)
{
    return false;
}

int vm_object_page(struct vm_object *obj, u64 index, bool for_write, struct page **out)
{
    int err = 0;
    mutex_lock(&obj->lock);
    struct page **at = slot(obj, index), *page = *at;
    if (!page) {
        page = frame_alloc();
        if (!page)
            err = -ENOMEM;
        else if (obj->ops && obj->ops->fill)
            err = obj->ops->fill(obj, index, page);
        if (err && page)
            page_put(page);
        if (!err) {
            page->index = index;
            *at = page;
            obj->page_count++;
        }
    }
    if (!err) {
        page_get(page);
        *out = page;
    }
    mutex_unlock(&obj->lock);
    return err;
}

struct page *vm_object_peek(struct vm_object *obj, u64 index)
{
    mutex_lock(&obj->lock);
    struct page *page = *slot(obj, index);
    if (page)
        page_get(page);
    mutex_unlock(&obj->lock);
    return page;
}

struct page *vm_zero_page(void)
{
    static struct page *zeros;
    if (!zeros)
        memset(page_to_virt(zeros = frame_alloc()), 0, PAGE_SIZE);
    page_get(zeros);
    return zeros;
}

static void zero_part(struct vm_object *obj, u64 start, u64 end)
{
    struct page *page = start < end ? *slot(obj, start >> PAGE_SHIFT) : NULL;
    if (page)
        memset((char *)page_to_virt(page) + (start & (PAGE_SIZE - 1)), 0, end - start);
}

int vm_object_truncate(struct vm_object *obj, u64 size)
{
    mutex_lock(&obj->lock);
    if (size < obj->size) {
        drop_pages(obj, ALIGN_UP(size, PAGE_SIZE) >> PAGE_SHIFT, ~0UL);
        zero_part(obj, size, ALIGN_UP(size, PAGE_SIZE));
    }
    obj->size = size;
    mutex_unlock(&obj->lock);
    return 0;
}

int vm_object_punch(struct vm_object *obj, u64 start, u64 end)
{
    u64 first = ALIGN_UP(start, PAGE_SIZE), last = ALIGN_DOWN(end, PAGE_SIZE);
    mutex_lock(&obj->lock);
    if (first > last) {
        zero_part(obj, start, end);
    } else {
        zero_part(obj, start, first);
        zero_part(obj, last, end);
        drop_pages(obj, first >> PAGE_SHIFT, last >> PAGE_SHIFT);
    }
    mutex_unlock(&obj->lock);
    return 0;
}

u64 vm_object_seek(struct vm_object *obj, u64 pos, bool data)
{
    for (; pos < obj->size; pos = ALIGN_DOWN(pos, PAGE_SIZE) + PAGE_SIZE) {
        struct page *page = vm_object_peek(obj, pos >> PAGE_SHIFT);
        if (page)
            page_put(page);
        if (!page == !data)
            return pos;
    }
    return obj->size;
}

/* ---- devices, time, copies ---- */

static struct blk_device disk;
static char *disk_data;

void disk_set(void *data, u64 size)
{
    disk_data = data;
    disk = (struct blk_device){.size_bytes = size, .max_segments = 16};
}

struct blk_device *blk_get(u32 n)
{
    return !n && disk_data ? &disk : NULL;
}

int blk_read_pages(struct blk_device *dev, u64 offset, struct page **pages, u32 count)
{
    if (offset % 512)
        abort();
    for (u32 i = 0; i < count; i++, offset += PAGE_SIZE) {
        u64 n = offset < dev->size_bytes ? dev->size_bytes - offset : 0;
        n = n < PAGE_SIZE ? n : PAGE_SIZE;
        memset(page_to_virt(pages[i]), 0, PAGE_SIZE);
        if (n)
            memcpy(page_to_virt(pages[i]), disk_data + offset, n);
    }
    return 0;
}

u64 clock_realtime_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

size_t copy_safe(void *dst, const void *src, size_t n)
{
    memcpy(dst, src, n);
    return 0;
}

size_t zero_safe(void *dst, size_t n)
{
    memset(dst, 0, n);
    return 0;
}

/* Nobody waits in these tests. */
struct waitq;
struct waiter;
void waitq_enter(struct waitq *q, struct waiter *w)
{
}
void waitq_leave(struct waitq *q, struct waiter *w)
{
}
void waitq_wake_all(struct waitq *q, u32 events)
{
}
int sched_sleep(u64 deadline_ns, u32 flags)
{
    return -EINTR;
}

/* ---- the files of kernel/fs that are not under test ---- */

void dev_init(void)
{
}
void proc_init(void)
{
}
void sys_init(void)
{
}
int fifo_open(void *inode, void *f)
{
    return -ENXIO;
}
const void *device_ops(u64 rdev, void **private)
{
    return NULL;
}

/* ---- for the test ---- */

void *read_whole(const char *path, u64 *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *size = ftell(f);
    rewind(f);
    void *data = malloc(*size + 1);
    if (fread(data, 1, *size, f) != *size)
        abort();
    fclose(f);
    return data;
}

void run_threads(unsigned count, void *(*fn)(void *))
{
    pthread_t t[16];
    for (unsigned long i = 0; i < count; i++)
        pthread_create(&t[i], NULL, fn, (void *)i);
    for (unsigned i = 0; i < count; i++)
        pthread_join(t[i], NULL);
}
