/*
 * AF_UNIX: descriptors in queues, and the sockets among them that nobody can receive any more (unix(7),
 * SCM_RIGHTS): one that was sent to itself, or two through one another, and then closed, would keep each
 * other for ever.
 *
 * Found as by Linux, by marking from the descriptors outside of queues. `flying` are the sockets that are in
 * queues, `carriers` those whose queues hold descriptors. Only a flying one can be lost: a *candidate*, all
 * of whose file's references are those of queues.
 *
 *   1. From how often each candidate is in queues, what candidates' own queues hold is taken off. What is
 *      left is in the queue of somebody who lives.
 *   2. Those lives, and every candidate that can be received from one that lives.
 *   3. The others' queues are emptied, which closes them.
 *
 * A connection that a listener has not accepted yet is the listener's: its `keeper`.
 *
 * Why the answer holds: descriptors enter and leave queues with collect_lock held. A candidate's references
 * are all of queues, so nobody can use it, or make another reference, but by receiving it, which the lock
 * prevents. Whoever receives (or peeks) has a reference of the queue's socket, which thus is none, and what
 * its queue holds lives.
 *
 * A cycle needs a *knot*: a socket that flies and whose queue, or backlog's queues, hold a UNIX socket. While
 * there is none nothing is searched. Collected is when a socket is closed, and when many fly.
 */
#include "kernel/linux/io/unix.h"

static struct mutex
    collect_lock; /* guards down to collect_at, rights, and sockets' fields that unix.h names */
static struct list flying = LIST_INIT(flying);     /* by flying_link */
static struct list carriers = LIST_INIT(carriers); /* by carrier_link */
static u32 flying_count;
static u32 knots;           /* atomic */
static u32 collect_at = 64; /* so many flying are many */

/* ---- who flies, and who carries ---- */

static struct unix_socket *unix_of_file(const struct file *f)
{
    struct socket *s = file_socket(f);
    return s && s->family == AF_UNIX ? unix_of(s) : NULL;
}

static struct unix_socket *keeper_of(struct unix_socket *s)
{
    return s->keeper ? s->keeper : s;
}

/* collect_lock held. */
static void change(struct unix_socket *s, s32 in_flight, s32 kept)
{
    bool was = s->in_flight && s->kept;
    s->in_flight += in_flight;
    s->kept += kept;
    bool is = s->in_flight && s->kept;
    __atomic_store_n(&knots, knots + is - was, __ATOMIC_RELAXED);
}

static void fly(struct file *f, struct unix_socket *to)
{
    struct unix_socket *s = unix_of_file(f);
    if (!s)
        return;
    if (!s->in_flight) {
        s->file = f;
        list_push_back(&flying, &s->flying_link);
        flying_count++;
    }
    change(s, 1, 0);
    to->load++;
    change(keeper_of(to), 0, 1);
}

static void land(struct file *f, struct unix_socket *from)
{
    struct unix_socket *s = unix_of_file(f);
    if (!s)
        return;
    change(s, -1, 0);
    if (!s->in_flight) {
        list_del(&s->flying_link);
        flying_count--;
    }
    from->load--;
    change(keeper_of(from), 0, -1);
}

void rights_enter(struct unix_socket *to, struct rights *r)
{
    mutex_lock(&collect_lock);
    if (list_empty(&to->carrying))
        list_push_back(&carriers, &to->carrier_link);
    list_push_back(&to->carrying, &r->link);
    r->in = to;
    for (u32 i = 0; i < r->count; i++)
        fly(r->files[i], to);
    mutex_unlock(&collect_lock);
}

/* collect_lock held. */
static void leave(struct rights *r)
{
    struct unix_socket *from = r->in;
    for (u32 i = 0; i < r->count; i++)
        land(r->files[i], from);
    list_del(&r->link);
    if (list_empty(&from->carrying))
        list_del(&from->carrier_link);
    r->in = NULL;
}

void rights_leave(struct rights *r)
{
    mutex_lock(&collect_lock);
    leave(r);
    mutex_unlock(&collect_lock);
}

void unix_leave_keeper(struct unix_socket *s)
{
    if (!s->keeper) /* set before s was anybody's */
        return;
    mutex_lock(&collect_lock);
    change(s->keeper, 0, -(s32)s->load);
    change(s, 0, s->load);
    s->keeper = NULL;
    mutex_unlock(&collect_lock);
}

/* ---- the end of descriptors ---- */

/*
 * The last reference of a socket empties its queue, where others may be, and so on: what a thread frees while
 * it frees is put behind the rest, so that its stack suffices.
 */
struct freeing {
    struct list link; /* in freeing_now */
    struct thread *thread;
    struct list rights;
};
static struct mutex freeing_lock; /* guards freeing_now, and their lists */
static struct list freeing_now = LIST_INIT(freeing_now);

static struct freeing *my_freeing(void)
{
    struct freeing *f;
    list_for_each(f, &freeing_now, link)
    {
        if (f->thread == current_thread())
            return f;
    }
    return NULL;
}

static void free_one(struct rights *r)
{
    for (u32 i = 0; i < r->count; i++)
        file_put(r->files[i]);
    kfree(r);
}

void rights_free(struct rights *r)
{
    struct freeing here = {.thread = current_thread()}, *already;
    mutex_lock(&freeing_lock);
    already = my_freeing();
    if (already) {
        list_push_back(&already->rights, &r->link);
        mutex_unlock(&freeing_lock);
        return;
    }
    list_init(&here.rights);
    list_push_back(&freeing_now, &here.link);
    for (; r; r = list_first(&here.rights, struct rights, link)) {
        list_del(&r->link);
        mutex_unlock(&freeing_lock);
        free_one(r);
        mutex_lock(&freeing_lock);
    }
    list_del(&here.link);
    mutex_unlock(&freeing_lock);
}

/* ---- collecting: collect_lock held ---- */

/* f's socket, if it is a candidate. */
static struct unix_socket *candidate_of(const struct file *f)
{
    struct unix_socket *s = unix_of_file(f);
    return s && s->candidate ? s : NULL;
}

/* Finds the candidates; who carries for them is listed with them, and taken off (1). */
static void find_candidates(void)
{
    struct unix_socket *s;
    struct rights *r;
    list_for_each(s, &flying, flying_link)
    {
        s->candidate = __atomic_load_n(&s->file->refs, __ATOMIC_ACQUIRE) == s->in_flight;
        s->elsewhere = s->in_flight;
        s->lives = false;
        s->first_carrier = NULL;
    }
    list_for_each(s, &carriers, carrier_link)
    {
        struct unix_socket *keeper = keeper_of(s), *t;
        if (!keeper->in_flight || !keeper->candidate)
            continue;
        s->next_carrier = keeper->first_carrier;
        keeper->first_carrier = s;
        list_for_each(r, &s->carrying, link)
        {
            for (u32 i = 0; i < r->count; i++)
                if ((t = candidate_of(r->files[i])))
                    t->elsewhere--;
        }
    }
}

static void push_living(struct unix_socket **stack, struct unix_socket *s)
{
    s->lives = true;
    s->next_living = *stack;
    *stack = s;
}

/* (2) */
static void mark(void)
{
    struct unix_socket *s, *t, *stack = NULL;
    struct rights *r;
    list_for_each(s, &flying, flying_link)
    {
        if (s->candidate && s->elsewhere)
            push_living(&stack, s);
    }
    while ((s = stack)) {
        stack = s->next_living;
        for (struct unix_socket *c = s->first_carrier; c; c = c->next_carrier)
            list_for_each(r, &c->carrying, link)
            {
                for (u32 i = 0; i < r->count; i++)
                    if ((t = candidate_of(r->files[i])) && !t->lives)
                        push_living(&stack, t);
            }
    }
}

/* (3): what lost sockets' queues hold goes to *lost. */
static void empty_lost(struct list *lost)
{
    struct unix_socket *s, *all = NULL;
    struct rights *r;
    list_for_each(s, &flying, flying_link)
    {
        if (s->candidate && !s->lives) {
            s->next_living = all;
            all = s;
        }
    }
    for (s = all; s; s = s->next_living)
        for (struct unix_socket *c = s->first_carrier, *next; c; c = next) {
            next = c->next_carrier;
            while ((r = list_first(&c->carrying, struct rights, link))) {
                r->packet->rights = NULL; /* nobody receives it */
                leave(r);
                list_push_back(lost, &r->link);
            }
        }
}

void unix_collect(void)
{
    struct list lost = LIST_INIT(lost);
    struct rights *r;
    if (likely(!__atomic_load_n(&knots, __ATOMIC_RELAXED)))
        return;
    mutex_lock(&collect_lock);
    find_candidates();
    mark();
    empty_lost(&lost);
    collect_at = MAX(64u, 2 * flying_count);
    mutex_unlock(&collect_lock);
    while ((r = list_first(&lost, struct rights, link))) {
        list_del(&r->link);
        rights_free(r);
    }
}

void unix_collect_crowd(void)
{
    if (__atomic_load_n(&flying_count, __ATOMIC_RELAXED) >= __atomic_load_n(&collect_at, __ATOMIC_RELAXED))
        unix_collect();
}
