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

#include "lwip/ip_addr.h"
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

void core_init(void);  /* lwIP and loopback */
void core_start(void); /* the worker */
/* Frames came or went: ARP, ND and reassembly want their timers for a while. Returns the time. core held. */
u64 core_traffic(void);
/* The worker runs soon. Any context. */
void core_kick(void);

/* A frame off the device, which it takes over, to lwIP. core held. */
struct net_buf;
struct netif;
struct pbuf;
void netif_input_frame(struct net_buf *frame);
/* The same of one that channel.c found to be a whole TCP segment between these addresses, the second of them
 * ours, and no SYN: lwIP's layers below TCP have nothing more to look at than IP's checksum. core held. */
void netif_input_segment(struct net_buf *frame, const ip_addr_t *from, const ip_addr_t *to);
/* What is behind these two, when nothing of TCP's beginnings is left to look at: any frame to lwIP; a TCP
 * segment between these addresses, the second of them ours, whose checksum is good (transmit_checksums) or
 * still to be looked at. ip6: its header if it is of IPv6; lwIP asks whether there is one, and believes that
 * an IPv6 neighbour whose segments come is alive. core held. */
void netif_give(struct net_buf *frame);
void netif_give_tcp(struct pbuf *p, const ip_addr_t *from, const ip_addr_t *to, const u8 *ip6);
/* Does an IPv4 frame off the device say that it comes from this machine? Any context. */
bool netif_martian(const struct net_buf *frame);
/* A pbuf of `len` of the frame's bytes, from the first piece's `skip`th on; takes the frame over. NULL: out
 * of memory; the frame is gone. core held. */
struct pbuf *netif_frame_pbuf(struct net_buf *frame, u32 skip, u32 len);
/* The device's interface, or NULL. */
struct netif *netif_device(void);
struct seq;
struct net_stats;
/* Frames and bytes of all the device's queues; the other fields are 0. Any context. */
void netif_stats(struct net_stats *sum);
void netif_show(struct seq *s); /* for /proc/net/moka */
void netif_start(void);
/* Waits (a few seconds at most, once after boot) for the device's address. core held; left meanwhile. */
void netif_wait_address(void);

void inet_init(void);
void netproc_init(void);

#endif
