/*
 * Reading ahead: what a program that missed a page of a file is likely to miss next is read by worker threads
 * in large requests, while the program goes on with the pages it has.
 *
 * How much: as much again as is cached already, from 512 KiB to 1/64 of memory (8 MiB at most), if the reader
 * goes through the file in order or has an eighth of it already; else 512 KiB around the miss. So a program
 * or library is there after a few misses, and one that picks single pages out of a large file reads little
 * that it does not need. Nothing is reclaimed for this: the workers stop when a quarter of memory is left.
 */
#include "mm/vm/internal.h"
#include "sched/thread.h"
#include "sched/waitq.h"

#define WORKERS     2u /* as many requests in flight */
#define PIECE_ORDER 7u
#define PIECE       (1u << PIECE_ORDER) /* pages of one request */
#define JOBS        32u
#define WINDOW_MIN  128UL
#define WINDOW_MAX  2048UL
#define SMALL_MEMORY                                                                                         \
    (96UL << 20 >> PAGE_SHIFT) /* pages; machines below read ahead no further than one miss */

/* Pages [first, end) of an object, of which it holds a reference. */
struct job {
    struct vm_object *obj;
    u64 first, end;
};

static struct mutex jobs_lock;
static struct job jobs[JOBS]; /* a ring, guarded by jobs_lock, as the next two */
static u32 jobs_first, jobs_count;
static bool started;
static struct waitq jobs_queue; /* workers without work */

static bool plenty(void)
{
    return phys_total_pages() >= SMALL_MEMORY && phys_free_pages() > phys_total_pages() / 4;
}

/* The next piece of the oldest job, with a reference to its object; waits for one. */
static struct job take_piece(void)
{
    mutex_lock(&jobs_lock);
    while (!jobs_count)
        waitq_wait(&jobs_queue, &jobs_lock, SLEEP_FOREVER, 0);
    struct job *oldest = &jobs[jobs_first], piece = *oldest;
    piece.end = MIN(piece.end, ALIGN_DOWN(piece.first, PIECE) + PIECE);
    oldest->first = piece.end;
    if (piece.end < oldest->end) {
        vm_object_get(piece.obj);
    } else {
        jobs_first = (jobs_first + 1) % JOBS;
        jobs_count--;
    }
    mutex_unlock(&jobs_lock);
    return piece;
}

/* The first absent page of the piece becomes its begin, the next present one its end. */
static void absent_run(struct job *piece)
{
    u64 i = piece->first;
    mutex_lock(&piece->obj->lock);
    while (i < piece->end && radix_get(piece->obj, i))
        i++;
    piece->first = i;
    while (i < piece->end && !radix_get(piece->obj, i))
        i++;
    piece->end = i;
    mutex_unlock(&piece->obj->lock);
}

/* Up to count pages; in one block where that is to be had, which makes one stretch for the device. */
static u32 alloc_pages(struct page **pages, u32 count)
{
    u32 n = 0;
    struct page *block = count == PIECE ? page_alloc(PIECE_ORDER, PAGE_CACHE, PHYS_TRY) : NULL;
    if (block)
        page_split(block, 1);
    for (; block && n < count; n++)
        pages[n] = block + n;
    while (n < count && (pages[n] = page_alloc(0, PAGE_CACHE, PHYS_TRY)))
        n++;
    return n;
}

static void read_piece(struct job piece)
{
    struct page *pages[PIECE];
    u64 end = piece.end;
    for (; piece.first < end && plenty(); piece.first = piece.end, piece.end = end) {
        absent_run(&piece);
        u32 count = alloc_pages(pages, piece.end - piece.first);
        if (!count || object_read_run(piece.obj, piece.first, pages, count) <= 0)
            break;
    }
}

static void worker(void *arg)
{
    for (;;) {
        struct job piece = take_piece();
        read_piece(piece);
        vm_object_put(piece.obj);
    }
}

/* Under jobs_lock. */
static void start_workers(void)
{
    started = true;
    for (u32 i = 0; i < WORKERS; i++) {
        struct thread *t = thread_create("readahead", worker, NULL, false);
        if (t)
            thread_start(t);
    }
}

void vm_object_read_ahead(struct vm_object *obj, u64 first, u64 end)
{
    end = MIN(end, (obj->size + PAGE_SIZE - 1) >> PAGE_SHIFT);
    if (first >= end || !obj->ops || !obj->ops->ahead || !plenty())
        return;
    mutex_lock(&jobs_lock);
    if (!started)
        start_workers();
    bool room = jobs_count < JOBS;
    if (room) {
        vm_object_get(obj);
        jobs[(jobs_first + jobs_count++) % JOBS] = (struct job){obj, first, end};
    }
    mutex_unlock(&jobs_lock);
    if (room)
        waitq_wake_all(&jobs_queue, 0);
}

void object_missed(struct vm_object *obj, u64 first, u64 end, bool in_order)
{
    if (!obj->ops->ahead)
        return;
    mutex_lock(&obj->lock);
    u64 window = WINDOW_MIN, cached = obj->page_count;
    if (in_order || cached >= (obj->size >> PAGE_SHIFT) / 8)
        window = MAX(MIN(cached, MIN(phys_total_pages() / 64, WINDOW_MAX)), WINDOW_MIN);
    mutex_unlock(&obj->lock);
    /* What lies before a miss out of order is as likely to be wanted as what follows. */
    u64 start = in_order ? end : ALIGN_DOWN(first, window);
    vm_object_read_ahead(obj, start, start + window);
}
