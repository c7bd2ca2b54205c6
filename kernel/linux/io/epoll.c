/*
 * epoll(7). An item watches one open file through one descriptor number. The file's wait queue calls
 * on_event(), which marks the item and wakes a waiter; epoll_wait() asks each marked item's file what holds
 * now.
 *
 * An item is marked (`marked` is 1) while it is on the ready list, which epoll.lock guards, or on its way
 * there: whoever turns the mark from 0 to 1 pushes the item to `arrived`, a stack pushed by
 * compare-and-exchange and taken as a whole by the holder of epoll.lock, so there is no ABA and no lock for
 * those who report events. A level-triggered item stays on the list as long as its file is ready. An item is
 * unmarked before its file is asked for the last time; both are sequentially consistent. So an event either
 * comes before that, and the answer has it, or after, and marks the item again: none is lost.
 *
 * An event wakes one thread, which may be one that is about to go with something else, or with nothing, its
 * time being over. So whoever has left the wait queue looks whether there is anything for those who stay, and
 * wakes one of them. Model, with the order of the stores: tests/model/epoll.pml.
 *
 * Locks, in order: epoll.lock (the outer one's first, where they nest) < the watched file's own locks < its
 * wait queue < epoll.waitq. Events are written to the program's memory under epoll.lock, so what page faults
 * take comes after it. watch_lock (which items watch a file) is innermost of all.
 *
 * An item holds no reference of its file: the last file_put() comes here first (unwatch) and needs epoll.lock
 * to take the item away, so whoever holds epoll.lock may use item->file.
 */
#include "kernel/arch/x86_64/access.h"
#include "kernel/base/string.h"
#include "kernel/base/tree.h"
#include "kernel/linux/io/io.h"
#include "net/socket.h"
#include "sched/mutex_inline.h"

#define EPOLLEXCLUSIVE (1u << 28)
#define EPOLLWAKEUP    (1u << 29)
#define EPOLLONESHOT   (1u << 30)
#define EPOLLET        (1u << 31)
#define EPOLL_FLAGS    (EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET)
#define EPOLL_ALWAYS   (POLL_ERR | POLL_HUP)

#define EVENTS_MAX (INT32_MAX / (u32)sizeof(struct uabi_epoll_event)) /* that one call may ask for */

#define EPOLL_CTL_ADD 1
#define EPOLL_CTL_DEL 2
#define EPOLL_CTL_MOD 3

#define NEST_MAX 5 /* epoll(7): epoll descriptors watching each other */

struct uabi_epoll_event {
    u32 events;
    u64 data;
} __attribute__((packed));
UABI_SIZE(struct uabi_epoll_event, 12);

struct epoll {
    struct mutex lock; /* guards down to ready_count, and what the items watch */
    struct tree items; /* by file and descriptor */
    struct list ready;
    u32 ready_count;

    u32 refs; /* atomic: the file, and unwatchers on their way */
    struct waitq waitq;
    struct epitem *arrived; /* atomic: marked items on their way to the ready list, newest first */
};

struct epitem {
    struct list ready_link;
    struct tree_node node;
    struct epoll *ep;
    struct file *file;
    int fd;
    u32 asked;  /* by the program, with EPOLL_ALWAYS and flags */
    u32 events; /* atomic; the same, or the flags only: disabled by EPOLLONESHOT */
    u64 data;
    struct waiter waiter;
    struct waitq *queue; /* NULL: the file never changes */
    u32 marked;          /* atomic */
    struct epitem *arrived_next;
    struct epitem *next_watcher; /* of the same file; guarded by watch_lock */
};

static struct mutex watch_lock;
static struct mutex nest_lock; /* serialises ADD of epoll files: no loop can arise behind a check's back */
static const struct file_ops epoll_ops;

/* ---- items by file and descriptor ---- */

struct item_key {
    struct file *file;
    int fd;
};

static struct epitem *item_of(const struct tree_node *n)
{
    return n ? container_of(n, struct epitem, node) : NULL;
}

static int compare_key(const void *key, const struct tree_node *node)
{
    const struct item_key *k = key;
    const struct epitem *i = item_of(node);
    if (k->file != i->file)
        return k->file < i->file ? -1 : 1;
    return k->fd < i->fd ? -1 : k->fd > i->fd;
}

static int compare_items(const struct tree_node *a, const struct tree_node *b)
{
    struct item_key k = {item_of(a)->file, item_of(a)->fd};
    return compare_key(&k, b);
}

static struct epitem *find_item(struct epoll *ep, struct file *file, int fd)
{
    struct item_key k = {file, fd};
    return item_of(tree_find(&ep->items, &k, compare_key));
}

/* ---- readiness ---- */

static inline bool mark(struct epitem *i)
{
    return !__atomic_exchange_n(&i->marked, 1, __ATOMIC_SEQ_CST);
}

/* epoll.lock held. */
static void list_ready(struct epoll *ep, struct epitem *i)
{
    list_push_back(&ep->ready, &i->ready_link);
    ep->ready_count++;
}

static __attribute__((noinline)) void take_arrived(struct epoll *ep)
{
    struct epitem *newest = __atomic_exchange_n(&ep->arrived, NULL, __ATOMIC_SEQ_CST), *oldest = NULL;
    while (newest) {
        struct epitem *older = newest->arrived_next;
        newest->arrived_next = oldest;
        oldest = newest;
        newest = older;
    }
    for (struct epitem *i = oldest; i; i = oldest) {
        oldest = i->arrived_next; /* once it is listed another may mark it again, but not before */
        list_ready(ep, i);
    }
}

/* Brings the ready list up to date. epoll.lock held. */
static inline void update_ready(struct epoll *ep)
{
    if (unlikely(__atomic_load_n(&ep->arrived, __ATOMIC_SEQ_CST)))
        take_arrived(ep);
}

static void mark_ready(struct epitem *i)
{
    struct epoll *ep = i->ep;
    if (mark(i)) {
        i->arrived_next = __atomic_load_n(&ep->arrived, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&ep->arrived, &i->arrived_next, i, true, __ATOMIC_SEQ_CST,
                                            __ATOMIC_RELAXED))
            ;
    }
    if (waitq_busy(&ep->waitq)) /* who waits looks under epoll.lock after he was counted, at arrived too */
        waitq_wake_one(&ep->waitq, POLL_IN);
}

/* Takes i off the ready list: from now on an event marks it again. epoll.lock held. */
static void unmark(struct epoll *ep, struct epitem *i)
{
    list_del(&i->ready_link);
    ep->ready_count--;
    __atomic_store_n(&i->marked, 0, __ATOMIC_SEQ_CST);
}

/* In whoever changed the file, its wait queue's mutex held. */
static void on_event(struct waiter *w, u32 events)
{
    struct epitem *i = container_of(w, struct epitem, waiter);
    u32 wanted = __atomic_load_n(&i->events, __ATOMIC_RELAXED) & ~EPOLL_FLAGS;
    if (events ? events & wanted : wanted)
        mark_ready(i);
}

/* What of the item's events holds. epoll.lock held. */
static inline u32 item_poll(struct epitem *i)
{
    return i->file->ops->poll(i->file) & i->events;
}

/* What holds of a level-triggered item of the ready list; it stays there unless that is nothing. Lock held.
 */
static inline u32 poll_listed(struct epoll *ep, struct epitem *i)
{
    u32 events = item_poll(i);
    if (likely(events))
        return events;
    unmark(ep, i);
    events = item_poll(i);
    if (events && mark(i)) /* else on_event() did, and lists it */
        list_ready(ep, i);
    return events;
}

/* The same for one that is edge-triggered or wanted once: it leaves the list. */
static __attribute__((noinline)) u32 poll_once(struct epoll *ep, struct epitem *i)
{
    unmark(ep, i);
    u32 events = item_poll(i);
    if (events && i->events & EPOLLONESHOT)
        __atomic_store_n(&i->events, i->events & EPOLL_FLAGS, __ATOMIC_RELAXED);
    return events;
}

/* The first of the ready list: what holds of it. Level-triggered ones go behind the others, for the next call
 * to ask again. Lock held. */
static inline u32 poll_first(struct epoll *ep, struct epitem *i)
{
    if (unlikely(i->events & (EPOLLET | EPOLLONESHOT)))
        return poll_once(ep, i);
    if (ep->ready_count > 1) {
        list_del(&i->ready_link);
        list_push_back(&ep->ready, &i->ready_link);
    }
    return poll_listed(ep, i);
}

/* This thread may have been woken for an event that another should see. */
static __attribute__((noinline)) void unlock_and_wake(struct epoll *ep)
{
    mutex_unlock(&ep->lock);
    waitq_wake_one(&ep->waitq, POLL_IN);
}

/* The program's memory was not there for i's events: another call shall report them. Unlocks. */
static __attribute__((noinline)) int report_later(struct epoll *ep, struct epitem *i)
{
    __atomic_store_n(&i->events, i->asked, __ATOMIC_RELAXED);
    if (mark(i))
        list_ready(ep, i);
    mutex_unlock(&ep->lock);
    return -EFAULT;
}

/* Moves at most *room events to *out, both of which follow, in one round through the ready list. 0 or
 * -EFAULT. Who does not wait passes on what it leaves there; see wait_events(). */
static inline __attribute__((always_inline)) int collect(struct epoll *ep, struct uabi_epoll_event **out,
                                                         s64 *room, bool waits)
{
    mutex_lock_inline(&ep->lock);
    update_ready(ep);
    u32 left = ep->ready_count;
    if (likely(left)) {
        do {
            struct epitem *i = container_of(ep->ready.next, struct epitem, ready_link);
            u32 events = poll_first(ep, i);
            if (unlikely(!events))
                continue;
            if (unlikely(!store32_safe(&(*out)->events, events) || !store64_safe(&(*out)->data, i->data)))
                return report_later(ep, i);
            ++*out;
            if (--*room == 0)
                break;
        } while (unlikely(--left));
    }
    if (!waits && unlikely(waitq_busy(&ep->waitq) && ep->ready_count))
        unlock_and_wake(ep);
    else
        mutex_unlock_inline(&ep->lock);
    return 0;
}

/* ---- an epoll descriptor as a file ---- */

static u32 epoll_poll(struct file *f)
{
    struct epoll *ep = f->private;
    bool found = false;
    mutex_lock(&ep->lock);
    update_ready(ep);
    for (u32 left = ep->ready_count; left && !found; left--)
        found = poll_listed(ep, container_of(ep->ready.next, struct epitem, ready_link));
    mutex_unlock(&ep->lock);
    return found ? POLL_IN : 0;
}

static struct waitq *epoll_pollq(struct file *f)
{
    return &((struct epoll *)f->private)->waitq;
}

static void epoll_put(struct epoll *ep)
{
    if (!__atomic_sub_fetch(&ep->refs, 1, __ATOMIC_ACQ_REL))
        kfree(ep);
}

/* ---- which items watch a file ---- */

static void watch(struct epitem *i)
{
    mutex_lock(&watch_lock);
    i->next_watcher = i->file->watchers;
    __atomic_store_n(&i->file->watchers, i, __ATOMIC_RELEASE);
    mutex_unlock(&watch_lock);
}

static void unwatch_one(struct epitem *i)
{
    mutex_lock(&watch_lock);
    if (i->file->watchers == i) {
        i->file->watchers = i->next_watcher;
    } else {
        struct epitem *before = i->file->watchers;
        while (before->next_watcher != i)
            before = before->next_watcher;
        before->next_watcher = i->next_watcher;
    }
    mutex_unlock(&watch_lock);
}

/* epoll.lock held. */
static void remove_item(struct epoll *ep, struct epitem *i)
{
    if (i->queue)
        waitq_leave(i->queue, &i->waiter); /* on_event() does not run any more */
    update_ready(ep);
    if (i->marked)
        unmark(ep, i);
    tree_remove(&ep->items, &i->node);
    unwatch_one(i);
    kfree(i);
}

static void epoll_release(struct file *f)
{
    struct epoll *ep = f->private;
    struct tree_node *n;
    mutex_lock(&ep->lock);
    while ((n = tree_first(&ep->items)))
        remove_item(ep, item_of(n));
    mutex_unlock(&ep->lock);
    epoll_put(ep);
}

/* An epoll that watches f, with a reference; NULL: none. */
static struct epoll *first_watcher(struct file *f)
{
    mutex_lock(&watch_lock);
    struct epitem *i = f->watchers;
    struct epoll *ep = i ? i->ep : NULL;
    if (ep)
        __atomic_add_fetch(&ep->refs, 1, __ATOMIC_RELAXED);
    mutex_unlock(&watch_lock);
    return ep;
}

/* vfs_unwatch_hook: the file is about to go. */
static void unwatch(struct file *f)
{
    struct epoll *ep;
    while ((ep = first_watcher(f))) {
        struct item_key first = {f, -1};
        mutex_lock(&ep->lock);
        struct epitem *i = item_of(tree_lower_bound(&ep->items, &first, compare_key));
        if (i && i->file == f)
            remove_item(ep, i);
        mutex_unlock(&ep->lock);
        epoll_put(ep);
    }
}

static const struct file_ops epoll_ops = {
    .poll = epoll_poll,
    .pollq = epoll_pollq,
    .release = epoll_release,
    .stream = true,
};

void epoll_init(void)
{
    vfs_unwatch_hook = unwatch;
}

s64 sys_epoll_create1(u32 flags)
{
    if (flags & ~O_CLOEXEC)
        return -EINVAL;
    struct epoll *ep = kmalloc(sizeof(*ep));
    if (ep) {
        ep->refs = 1;
        list_init(&ep->ready);
    }
    return anon_open(&epoll_ops, O_RDWR | flags, "anon_inode:[eventpoll]", ep, kfree);
}

s64 sys_epoll_create(s32 size)
{
    return size <= 0 ? -EINVAL : sys_epoll_create1(0);
}

/* ---- epoll_ctl ---- */

/* True when `from` reaches `ep` through epoll files, or the chain is too long. nest_lock held. */
static bool reaches(struct epoll *from, struct epoll *ep, u32 depth)
{
    bool found = from == ep || depth > NEST_MAX;
    if (found)
        return true;
    mutex_lock(&from->lock);
    for (struct tree_node *n = tree_first(&from->items); n && !found; n = tree_next(n))
        if (item_of(n)->file->ops == &epoll_ops)
            found = reaches(item_of(n)->file->private, ep, depth + 1);
    mutex_unlock(&from->lock);
    return found;
}

/* epoll.lock held. */
static int add_item(struct epoll *ep, struct file *f, int fd, const struct uabi_epoll_event *event)
{
    if (find_item(ep, f, fd))
        return -EEXIST;
    struct epitem *i = kmalloc(sizeof(*i));
    if (!i)
        return -ENOMEM;
    i->ep = ep;
    i->file = f;
    i->fd = fd;
    i->asked = i->events = event->events | EPOLL_ALWAYS;
    i->data = event->data;
    i->waiter.func = on_event;
    list_init(&i->ready_link);
    tree_insert(&ep->items, &i->node, compare_items);
    watch(i);
    i->queue = f->ops->pollq ? f->ops->pollq(f) : NULL;
    if (i->queue)
        waitq_add(i->queue, &i->waiter);
    if (item_poll(i))
        mark_ready(i);
    return 0;
}

static int modify_item(struct epoll *ep, struct file *f, int fd, const struct uabi_epoll_event *event)
{
    struct epitem *i = find_item(ep, f, fd);
    if (!i)
        return -ENOENT;
    if ((i->events | event->events) & EPOLLEXCLUSIVE)
        return -EINVAL;
    i->data = event->data;
    i->asked = event->events | EPOLL_ALWAYS;
    __atomic_store_n(&i->events, i->asked, __ATOMIC_SEQ_CST);
    if (item_poll(i))
        mark_ready(i);
    return 0;
}

static int delete_item(struct epoll *ep, struct file *f, int fd)
{
    struct epitem *i = find_item(ep, f, fd);
    if (!i)
        return -ENOENT;
    remove_item(ep, i);
    return 0;
}

static int change(struct epoll *ep, int op, struct file *f, int fd, const struct uabi_epoll_event *event)
{
    int err = -EINVAL;
    mutex_lock(&ep->lock);
    if (op == EPOLL_CTL_ADD)
        err = add_item(ep, f, fd, event);
    else if (op == EPOLL_CTL_MOD)
        err = modify_item(ep, f, fd, event);
    else if (op == EPOLL_CTL_DEL)
        err = delete_item(ep, f, fd);
    mutex_unlock(&ep->lock);
    return err;
}

#define EXCLUSIVE_ALLOWS (POLL_IN | POLL_OUT | EPOLL_ALWAYS | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)

static s64 control(struct file *epfile, int op, struct file *f, int fd, const struct uabi_epoll_event *event)
{
    if (!f->ops->poll)
        return -EPERM;
    if (epfile->ops != &epoll_ops || f == epfile)
        return -EINVAL;
    bool nests = f->ops == &epoll_ops;
    if (op != EPOLL_CTL_DEL && (event->events & EPOLLEXCLUSIVE) &&
        (op == EPOLL_CTL_MOD || nests || (event->events & ~EXCLUSIVE_ALLOWS)))
        return -EINVAL;
    if (op != EPOLL_CTL_ADD || !nests)
        return change(epfile->private, op, f, fd, event);
    mutex_lock(&nest_lock);
    s64 err = reaches(f->private, epfile->private, 1) ? -ELOOP : change(epfile->private, op, f, fd, event);
    mutex_unlock(&nest_lock);
    return err;
}

s64 sys_epoll_ctl(int epfd, int op, int fd, const struct uabi_epoll_event *uevent)
{
    struct uabi_epoll_event event = {0};
    if (op != EPOLL_CTL_DEL && copy_from_user(&event, uevent, sizeof(event)))
        return -EFAULT;
    struct file *epfile = fd_get_io(epfd);
    if (!epfile)
        return -EBADF;
    struct file *f = fd_get_io(fd);
    s64 err = f ? control(epfile, op, f, fd, &event) : -EBADF;
    if (f)
        file_put(f);
    file_put(epfile);
    return err;
}

/* ---- epoll_wait ---- */

/* Others wait, too: wakes one if there is anything to look at. */
static __attribute__((noinline)) void pass_on(struct epoll *ep)
{
    mutex_lock(&ep->lock);
    update_ready(ep);
    bool any = ep->ready_count;
    mutex_unlock(&ep->lock);
    if (any)
        waitq_wake_one(&ep->waitq, POLL_IN);
}

/* Waits for at least one event; timeout_ns 0: does not. The number moved, 0 at the end of the timeout,
 * -EINTR, -EFAULT. */
static s64 wait_events(struct epoll *ep, struct uabi_epoll_event *out, s64 max, u64 timeout_ns)
{
    u64 deadline_ns = timeout_ns == SLEEP_FOREVER ? SLEEP_FOREVER : deadline_after(timeout_ns);
    s64 room = max;
    struct waiter w;
    int err = timeout_ns ? 0 : -ETIMEDOUT, fault;
    waitq_enter(&ep->waitq, &w);
    while (!(fault = collect(ep, &out, &room, true)) && room == max && !err)
        err = sched_sleep(deadline_ns, SLEEP_INTERRUPTIBLE);
    waitq_leave(&ep->waitq, &w);
    /* Only now: before, the one woken could be this thread. And it may have been, for an event that came
     * after its last look: whoever chose it had the queue's mutex before we left, so we see the event. */
    if (unlikely(waitq_busy(&ep->waitq)))
        pass_on(ep);
    return room < max ? max - room : fault ? fault : err == -EINTR ? -EINTR : 0;
}

/* Nothing was moved at once, nothing being there, or memory missing, or f is something else. Drops f. */
static __attribute__((noinline)) s64 wait_slowly(struct file *f, struct uabi_epoll_event *uevents, s64 max,
                                                 u64 timeout_ns)
{
    struct epoll *ep = f->private;
    s64 result = f->flags & O_PATH ? -EBADF : -EINVAL;
    if (f->ops == &epoll_ops)
        result = timeout_ns || __atomic_load_n(&ep->ready_count, __ATOMIC_RELAXED)
                     ? wait_events(ep, uevents, max, timeout_ns)
                     : 0;
    file_put(f);
    return result;
}

/* timeout_ns 0: do not wait. SLEEP_FOREVER: no timeout. */
static __attribute__((noinline)) s64 wait_for_events(int epfd, struct uabi_epoll_event *uevents, s64 max,
                                                     u64 timeout_ns)
{
    s64 room = max;
    if (unlikely((u64)max - 1 >= EVENTS_MAX))
        return -EINVAL;
    if (unlikely(!user_range((u64)uevents, max * sizeof(*uevents))))
        return -EFAULT;
    socket_settle();
    struct file *f = fd_get_inline(epfd);
    if (unlikely(!f))
        return -EBADF;
    if (unlikely(f->ops != &epoll_ops))
        return wait_slowly(f, uevents, room, timeout_ns);
    (void)collect(f->private, &uevents, &room,
                  false); /* memory that is missing will be so the slow way, too */
    s64 count = max - room;
    if (unlikely(!count)) /* and uevents is as it was */
        return wait_slowly(f, uevents, room, timeout_ns);
    file_put(f);
    return count;
}

static inline u64 timeout_of_ms(s32 ms)
{
    return ms < 0 ? SLEEP_FOREVER : ms * NSEC_PER_MSEC;
}

s64 sys_epoll_wait(int epfd, struct uabi_epoll_event *events, s32 max, s32 timeout_ms)
{
    return wait_for_events(epfd, events, max, timeout_of_ms(timeout_ms));
}

static __attribute__((noinline)) s64 masked_wait(int epfd, struct uabi_epoll_event *events, s32 max,
                                                 u64 timeout_ns, const u64 *set, u64 size)
{
    s64 result = signal_temp_mask(set, size);
    if (result)
        return result;
    result = wait_for_events(epfd, events, max, timeout_ns);
    signal_restore_mask(result);
    return result;
}

s64 sys_epoll_pwait(int epfd, struct uabi_epoll_event *events, s32 max, s32 timeout_ms, const u64 *set,
                    u64 size)
{
    u64 timeout_ns = timeout_of_ms(timeout_ms);
    return set ? masked_wait(epfd, events, max, timeout_ns, set, size)
               : wait_for_events(epfd, events, max, timeout_ns);
}

s64 sys_epoll_pwait2(int epfd, struct uabi_epoll_event *events, s32 max, const struct uabi_timespec *utimeout,
                     const u64 *set, u64 size)
{
    struct uabi_timespec ts;
    u64 timeout_ns = SLEEP_FOREVER;
    if (utimeout) {
        if (copy_from_user(&ts, utimeout, sizeof(ts)))
            return -EFAULT;
        if (!timespec_valid(&ts))
            return -EINVAL;
        timeout_ns = timespec_ns(&ts);
    }
    return masked_wait(epfd, events, max, timeout_ns, set, size);
}
