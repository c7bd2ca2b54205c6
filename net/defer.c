#include "net/defer.h"

#include "net/channel.h"
#include "net/direct.h"

#define TCP_DEFER_ACCEPT 9

struct deferral {
    struct list link; /* in deferred */
    struct inet_socket *listener, *socket;
    u64 due_ns;
    struct waiter waiter;  /* at the socket */
    u32 told;              /* atomic: it is on the listener's stack */
    struct deferral *next; /* there */
};

static struct list deferred = {&deferred, &deferred}; /* by link; core */
static u64 next_due_ns = SLEEP_FOREVER;               /* core: nothing is due before */

/* In whoever wakes the socket, its wait queue's mutex held. */
static void on_change(struct waiter *w, u32 events)
{
    struct deferral *d = container_of(w, struct deferral, waiter);
    struct inet_socket *l = d->listener;
    if (events == POLL_OUT || __atomic_exchange_n(&d->told, 1, __ATOMIC_SEQ_CST))
        return;
    d->next = __atomic_load_n(&l->brought, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&l->brought, &d->next, d, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    inet_wake(l, POLL_IN);
}

bool defer_begin(struct inet_socket *listener, struct inet_socket *s)
{
    s32 seconds = inet_option(listener, LEVEL_TCP, TCP_DEFER_ACCEPT);
    struct deferral *d = seconds ? kmalloc(sizeof(*d)) : NULL;
    if (!d)
        return false;
    d->listener = listener;
    d->socket = s;
    d->due_ns = clock_monotonic_ns() + seconds * NSEC_PER_SEC;
    d->waiter.func = on_change;
    list_push_back(&deferred, &d->link);
    waitq_add(&s->changed, &d->waiter);
    if (d->due_ns < next_due_ns) {
        next_due_ns = d->due_ns;
        core_kick();
    }
    return true;
}

/* d, which is on no stack and does not get there, goes, and its socket to the backlog. */
static void admit(struct deferral *d)
{
    waitq_leave(&d->socket->changed, &d->waiter);
    list_del(&d->link);
    list_push_back(&d->listener->backlog, &d->socket->waiting_link);
    kfree(d);
}

static void drop(struct deferral *d)
{
    struct inet_socket *s = d->socket;
    waitq_leave(&s->changed, &d->waiter);
    list_del(&d->link);
    kfree(d);
    tcp_drop(s);
}

/* The listener's stack, oldest first. */
static struct deferral *take(struct inet_socket *listener)
{
    struct deferral *d = __atomic_exchange_n(&listener->brought, NULL, __ATOMIC_SEQ_CST), *turned = NULL;
    while (d) {
        struct deferral *next = d->next;
        d->next = turned;
        turned = d;
        d = next;
    }
    return turned;
}

enum brought { NOTHING, SOMETHING, RESET };

static enum brought look(struct inet_socket *s)
{
    channel_drain(s);
    if (s->inbox_bytes || (direct_is(s) && direct_any(s)))
        return SOMETHING;
    return !s->tcp ? RESET : s->peer_end ? SOMETHING : NOTHING;
}

/* d was taken off the stack. Unless it brought nothing it does not get there again. */
static enum brought settle(struct deferral *d)
{
    enum brought b = look(d->socket);
    if (b != NOTHING)
        return b;
    __atomic_store_n(&d->told, 0, __ATOMIC_SEQ_CST);
    b = look(d->socket); /* what came behind the first look, and found it told */
    return b == NOTHING || __atomic_exchange_n(&d->told, 1, __ATOMIC_SEQ_CST) ? NOTHING : b;
}

void defer_collect_slowly(struct inet_socket *listener)
{
    for (struct deferral *d = take(listener), *next; d; d = next) {
        next = d->next;
        enum brought b = settle(d);
        if (b == SOMETHING)
            admit(d);
        else if (b == RESET)
            drop(d);
    }
}

void defer_end(struct inet_socket *listener)
{
    struct deferral *d, *next;
    list_for_each_safe(d, next, &deferred, link)
    {
        if (d->listener == listener)
            waitq_leave(&d->socket->changed, &d->waiter);
    }
    __atomic_store_n(&listener->brought, NULL, __ATOMIC_RELAXED);
    list_for_each_safe(d, next, &deferred, link)
    {
        if (d->listener == listener)
            admit(d);
    }
}

u64 defer_tick(u64 now)
{
    struct deferral *d, *next;
    if (now < next_due_ns)
        return next_due_ns;
    next_due_ns = SLEEP_FOREVER;
    list_for_each_safe(d, next, &deferred, link)
    {
        struct inet_socket *l = d->listener;
        if (d->due_ns > now) {
            next_due_ns = MIN(next_due_ns, d->due_ns);
        } else if (!__atomic_exchange_n(&d->told, 1, __ATOMIC_SEQ_CST)) { /* else its listener knows */
            admit(d);
            inet_wake(l, POLL_IN);
        }
    }
    return next_due_ns;
}
