#include "net/hold.h"

#include "lwip/priv/tcp_priv.h"
#include "net/channel.h"
#include "sched/thread.h"

static struct list held = {&held, &held}; /* by hold_link; core */
static u32 count;                         /* of them; atomic, written with the core held */
static u32 urgent;                        /* atomic: a holder sleeps */
static u64 held_back, released;           /* core: writes held back, segments that left late */

static bool worth_holding(const struct tcp_pcb *pcb)
{
    return !(pcb->flags & TF_NODELAY) && pcb->state == ESTABLISHED && !pcb->unacked && pcb->unsent &&
           !pcb->unsent->next && pcb->unsent->len < pcb->mss;
}

void hold_forget(struct inet_socket *s)
{
    if (!s->holder)
        return;
    s->holder = NULL;
    list_del(&s->hold_link);
    __atomic_store_n(&count, count - 1, __ATOMIC_RELAXED);
}

static void hold(struct inet_socket *s)
{
    struct thread *me = current_thread();
    if (!s->holder) {
        list_push_back(&held, &s->hold_link);
        __atomic_store_n(&count, count + 1, __ATOMIC_RELAXED);
    }
    s->holder = me;
    me->holds = true;
    held_back++;
    channel_watch();
}

void hold_or_send(struct inet_socket *s)
{
    if (worth_holding(s->tcp)) {
        hold(s);
    } else {
        hold_forget(s);
        tcp_output(s->tcp);
    }
}

/* holder NULL: anybody. */
static void release(const struct thread *holder)
{
    struct inet_socket *s, *next;
    list_for_each_safe(s, next, &held, hold_link)
    {
        if (holder && s->holder != holder)
            continue;
        hold_forget(s);
        tcp_output(s->tcp);
        released++;
    }
}

void hold_release_mine(void)
{
    struct thread *me = current_thread();
    if (likely(!me->holds))
        return;
    me->holds = false;
    release(me);
}

void hold_release_all(void)
{
    __atomic_store_n(&urgent, 0, __ATOMIC_RELAXED);
    release(NULL);
}

bool hold_any(void)
{
    return __atomic_load_n(&count, __ATOMIC_RELAXED);
}

/* sched_holds_hook */
static void let_go(void)
{
    __atomic_store_n(&urgent, 1, __ATOMIC_RELEASE);
    core_kick();
}

void hold_work(void)
{
    if (!__atomic_load_n(&urgent, __ATOMIC_ACQUIRE))
        return;
    core_enter();
    hold_release_all();
    core_leave();
}

void socket_settle_slowly(void)
{
    core_enter();
    hold_release_mine();
    core_leave();
}

void hold_init(void)
{
    sched_holds_hook = let_go;
}

void hold_show(struct seq *s)
{
    seq_printf(s, "held_back %lu\nreleased %lu\n", held_back, released);
}
