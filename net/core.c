#include "net/core.h"

#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/errno.h"
#include "kernel/base/panic.h"
#include "kernel/base/random.h"
#include "lwip/etharp.h"
#include "lwip/igmp.h"
#include "lwip/init.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/mld6.h"
#include "lwip/nd6.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "net/channel.h"
#include "net/defer.h"
#include "net/delack.h"
#include "net/flow.h"
#include "net/hold.h"
#include "net/lease.h"
#include "net/loopback.h"
#include "net/member.h"
#include "net/net.h"
#include "net/recovery.h"
#include "net/resolver.h"
#include "net/transmit.h"

#define TCP_TICK_NS   (TCP_TMR_INTERVAL * NSEC_PER_MSEC)
#define SECOND        NSEC_PER_SEC
#define TRAFFIC_TAIL  (20 * SECOND) /* how long the slow timers run after the last frame */
#define TIME_WAIT_MAX 1024u
#define CATCH_UP      (30 * 60u) /* seconds */
#define TENTHS        10         /* IGMP's and MLD's ticks in a second */

static struct mutex core;
static struct event work;

/* Guarded by core. */
static u64 tcp_tick_ns = SLEEP_FOREVER; /* next; SLEEP_FOREVER: TCP needs no timer */
static u64 slow_tick_ns = SLEEP_FOREVER, slow_ticked_ns;
static u64 last_traffic_ns;

/* ---- what lwIP asks for ---- */

u32_t sys_now(void)
{
    return clock_monotonic_ns() / NSEC_PER_MSEC;
}

unsigned net_random(void)
{
    return random_u64();
}

u64 hash_multiplier;

/* ---- the lock ---- */

void core_enter(void)
{
    mutex_lock(&core);
}

/* The first packet that waits to come back, as netif_poll() has it: which delivers all, and counts none. */
static void deliver_looped(struct netif *netif)
{
    struct pbuf *packet = netif->loop_first, *last = packet;
    while (last->len != last->tot_len)
        last = last->next;
    netif->loop_first = last->next;
    if (last == netif->loop_last)
        netif->loop_first = netif->loop_last = NULL;
    last->next = NULL;
    loopback_count(1, packet->tot_len);
    packet->if_idx = netif_get_index(netif);
    if (ip_input(packet, netif) != ERR_OK)
        pbuf_free(packet);
}

void core_loop(void)
{
    struct netif *netif;
    NETIF_FOREACH(netif)
    {
        while (netif->loop_first)
            deliver_looped(netif);
    }
}

/* What must happen before others may have the core. */
static void settle(void)
{
    core_loop();
    transmit_flush();
    if (tcp_tick_ns == SLEEP_FOREVER && (tcp_active_pcbs || tcp_tw_pcbs)) {
        tcp_tick_ns = clock_monotonic_ns() + TCP_TICK_NS;
        event_set(&work);
    }
}

void core_leave(void)
{
    settle();
    mutex_unlock(&core);
}

int core_sleep(u64 deadline_ns)
{
    hold_release_mine();
    core_leave();
    int err = sched_sleep(deadline_ns, SLEEP_INTERRUPTIBLE);
    core_enter();
    return err == -EINTR ? -ERESTART : err == -ETIMEDOUT ? -EAGAIN : err;
}

int core_wait(struct waitq *q, u64 deadline_ns)
{
    struct waiter w;
    waitq_enter(q, &w);
    int err = core_sleep(deadline_ns);
    waitq_leave(q, &w);
    return err;
}

u64 core_traffic(void)
{
    last_traffic_ns = clock_monotonic_ns();
    if (slow_tick_ns == SLEEP_FOREVER) {
        slow_tick_ns = last_traffic_ns + SECOND;
        event_set(&work);
    }
    return last_traffic_ns;
}

void core_kick(void)
{
    event_set(&work);
}

/* ---- the worker ---- */

/*
 * No tick comes while nothing is said, but what neighbours, routers and addresses were told to be good for
 * passes all the same: that time is made up for. After CATCH_UP seconds, all neighbours are forgotten anyway,
 * and routers advertise more often.
 */
static void slow_tick(u64 now)
{
    u64 seconds = MAX((now - slow_ticked_ns) / SECOND, 1u);
    slow_ticked_ns = now;
    for (u64 i = MIN(seconds, CATCH_UP); i--;) {
        etharp_tmr();
        nd6_tmr();
    }
    ip_reass_tmr();
    ip6_reass_tmr();
    for (u32 i = 0; i < TENTHS; i++) {
        igmp_tmr();
        mld6_tmr();
    }
}

/* The oldest connections in TIME_WAIT end early when there are many, as with Linux's tcp_max_tw_buckets: lwIP
 * searches its lists from end to end. The list begins with the newest. */
static void limit_time_wait(void)
{
    struct tcp_pcb *p = tcp_tw_pcbs;
    for (u32 i = 1; p && i < TIME_WAIT_MAX; i++)
        p = p->next;
    while (p && p->next) {
        struct tcp_pcb *oldest = p->next;
        net_tcp_unlist(oldest);
        tcp_pcb_purge(oldest);
        tcp_free(oldest);
    }
}

/* Runs what is due; when to come back. */
static u64 run_timers(void)
{
    u64 now = clock_monotonic_ns();
    transmit_reclaim();
    if (now >= tcp_tick_ns) {
        tcp_tmr();
        limit_time_wait();
        tcp_tick_ns = tcp_active_pcbs || tcp_tw_pcbs ? MAX(tcp_tick_ns + TCP_TICK_NS, now) : SLEEP_FOREVER;
    }
    if (now >= slow_tick_ns) {
        slow_tick(now);
        slow_tick_ns = now - last_traffic_ns < TRAFFIC_TAIL ? now + SECOND : SLEEP_FOREVER;
    }
    u64 device = lease_tick(now), tcp = MIN(MIN(delack_tick(now), recovery_tick(now)), defer_tick(now));
    return MIN(MIN(device, tcp), MIN(tcp_tick_ns, slow_tick_ns));
}

static void worker_main(void *arg)
{
    for (;;) {
        core_enter();
        u64 next = run_timers();
        core_leave();
        resolver_work();
        hold_work();
        next = MIN(next, channel_work(clock_monotonic_ns()));
        event_wait(&work, next, 0);
    }
}

void core_init(void)
{
    hash_multiplier = random_u64() | 1;
    core_enter();
    lwip_init();
    member_init();
    core_leave();
}

void core_start(void)
{
    struct thread *t = thread_create("net", worker_main, NULL, false);
    if (!t)
        panic("out of memory at boot");
    thread_start(t);
}

void net_init(void)
{
    core_init();
    inet_init();
    hold_init();
    netproc_init();
    netif_start();
    core_start();
}
