/*
 * The core: one mutex around all of lwIP, and the worker thread that runs its timers.
 *
 * lwIP is called, and everything it owns is touched, between core_enter() and core_leave() only. Sockets'
 * protocol state is guarded by the same mutex. Lock order: a socket's reader mutex < the core < a wait queue.
 * Program memory is never touched inside: a page fault may sleep long.
 *
 * Timers: the worker sleeps for ever while there is neither a connection nor traffic, so an idle guest takes
 * no timer interrupt for its network.
 */
#ifndef MOKA_NET_CORE_H
#define MOKA_NET_CORE_H

#include "sched/waitq.h"

void core_enter(void);
/* Also lets packets to ourselves arrive, and starts the timers when a connection now needs them. */
void core_leave(void);
/* Packets to ourselves arrive. core held. */
void core_loop(void);
/* Sleeps until q is woken, with the core left meanwhile: 0, -EAGAIN (deadline), -ERESTART. */
int core_wait(struct waitq *q, u64 deadline_ns);
/* The same for a caller that has queued itself: leaves, sleeps once, enters. */
int core_sleep(u64 deadline_ns);
bool core_held(void);

void core_init(void);  /* lwIP and loopback */
void core_start(void); /* the worker */
/* Frames came or went: ARP, ND and reassembly want their timers for a while. Returns the time. core held. */
u64 core_traffic(void);
/* The worker runs soon. Any context. */
void core_kick(void);

/* Called by the worker about once a second while there is traffic; core held. Returns when it wants to be
 * called whatever the traffic, SLEEP_FOREVER: never. */
u64 netif_tick(u64 now_ns);
/* A frame off the device, which it takes over, to lwIP. core held. */
struct net_buf;
struct netif;
struct pbuf;
void netif_input_frame(struct net_buf *frame);
/* Does an IPv4 frame off the device say that it comes from this machine? Any context. */
bool netif_martian(const struct net_buf *frame);
/* A pbuf of the frame's bytes, which it takes over. NULL: out of memory; the frame is gone. core held. */
struct pbuf *netif_frame_pbuf(struct net_buf *frame);
/* The device's interface, or NULL. */
struct netif *netif_device(void);
struct seq;
void netif_show(struct seq *s); /* for /proc/net/moka */
void netif_start(void);
/* Called by the worker without the core after core_kick. */
void netif_work(void);
/* Waits (a few seconds at most, once after boot) for the device's address. core held; left meanwhile. */
void netif_wait_address(void);

void inet_init(void);
void netproc_init(void);

#endif
