/*
 * The C library functions that libunwind refers to. The remote interface uses few of them:
 * a little memory for its one address-space object, strings, and locks that are no locks because one thread
 * unwinds at a time. The rest belongs to its local interface, which is linked in but never called.
 */
#include "kernel/base/panic.h"
#include "kernel/base/string.h"
#include "kernel/base/types.h"
#include "kernel/base/unwind.h"

#define ARENA_SIZE                                                                                           \
    (64 * 1024) /* 26 KiB for the address space, the rest for what the frames' tables ask for */
static char arena[ARENA_SIZE] __attribute__((aligned(16)));
static size_t arena_used;
static int last_error;

void *calloc(size_t count, size_t size);
void *malloc(size_t size);
void free(void *p);
_Noreturn void abort(void);
int *__errno_location(void);

void *malloc(size_t size)
{
    size = ALIGN_UP(size, 16);
    if (size > ARENA_SIZE - arena_used)
        return NULL;
    arena_used += size;
    return arena + arena_used - size;
}

void *calloc(size_t count, size_t size)
{
    void *p = size && count > ARENA_SIZE / size ? NULL : malloc(count * size);
    return p ? memset(p, 0, count * size) : NULL;
}

void free(void *p)
{
}

/*
 * libunwind's memory pools (its include/mempool.h), in place of its mempool.c, which writes beyond its
 * reserve when that is used up: how much is needed depends on tables that are the program's. Here NULL tells,
 * and the walk ends.
 */
struct mempool {
    size_t object_size;
    void **free; /* each object holds the address of the next */
};

void _UIx86_64__mempool_init(struct mempool *pool, size_t object_size, size_t reserve);
void *_UIx86_64__mempool_alloc(struct mempool *pool);
void _UIx86_64__mempool_free(struct mempool *pool, void *object);

void _UIx86_64__mempool_init(struct mempool *pool, size_t object_size, size_t reserve)
{
    *pool = (struct mempool){.object_size = MAX(object_size, sizeof(void *))};
}

void *_UIx86_64__mempool_alloc(struct mempool *pool)
{
    void **object = pool->free;
    if (!object)
        return malloc(pool->object_size);
    pool->free = *object;
    return object;
}

void _UIx86_64__mempool_free(struct mempool *pool, void *object)
{
    *(void **)object = pool->free;
    pool->free = object;
}

/* libunwind's own mark that its pools are ready. */
extern bool _Ux86_64_init_done;

void unwind_memory_reset(void)
{
    arena_used = 0;
    _Ux86_64_init_done = false;
}

_Noreturn void abort(void)
{
    panic("libunwind gave up");
}

int *__errno_location(void)
{
    return &last_error;
}

/* Never reached: each would be a call of the local interface into an operating system around it. */
#define NOT_REACHED(name)                                                                                    \
    long name(void);                                                                                         \
    long name(void)                                                                                          \
    {                                                                                                        \
        return -1;                                                                                           \
    }
NOT_REACHED(_Uelf64_find_section)
NOT_REACHED(_Uelf64_get_proc_name)
NOT_REACHED(_Ux86_64_Iput_dynamic_unwind_info)
NOT_REACHED(_Ux86_64_get_exe_image_path)
NOT_REACHED(_Ux86_64_local_resume)
NOT_REACHED(close)
NOT_REACHED(dl_iterate_phdr)
NOT_REACHED(fcntl)
NOT_REACHED(fstat)
NOT_REACHED(getpagesize)
NOT_REACHED(getpid)
NOT_REACHED(labs)
NOT_REACHED(mincore)
NOT_REACHED(mmap)
NOT_REACHED(msync)
NOT_REACHED(munmap)
NOT_REACHED(open)
NOT_REACHED(pipe)
NOT_REACHED(read)
NOT_REACHED(sigfillset)
NOT_REACHED(sigprocmask)
NOT_REACHED(strerror)
NOT_REACHED(syscall)
NOT_REACHED(sysconf)
NOT_REACHED(write)
