/*
 * Small writes held back: "header, then body" leaves as one segment.
 *
 * Nagle's algorithm (RFC 896) sends the first small segment at once and keeps what follows until the first is
 * acknowledged: a program that writes an answer in two pieces pays two frames each way, and its peer waits
 * for a round trip. As long as the program runs on, it may write more; so while its socket has the algorithm
 * on (no TCP_NODELAY) and nothing is on its way, a segment that is not full is held until
 *
 *   - the thread that wrote it receives, polls, accepts or waits for events: hold_release_mine(),
 *   - it sleeps for another reason: the worker, at once,
 *   - the segment is full, or the socket is closed or told not to hold back: whoever did that,
 *   - CHANNEL_PATIENCE has passed: the worker, which wakes by then because of what was received (channel.h)
 *     or because it is told to.
 *
 * Linux does the like while a segment waits for the device (tcp(7), tcp_autocorking).
 *
 * The list of held sockets is guarded by the core. thread.holds is the thread's own: it held something back
 * since it last released or slept.
 */
#ifndef MOKA_NET_HOLD_H
#define MOKA_NET_HOLD_H

#include "net/inet.h"

void hold_init(void); /* once, at boot */
/* s's program has written: sends, or holds back. core held; s->tcp is there. */
void hold_or_send(struct inet_socket *s);
/* Sends what the running thread holds back. core held. */
void hold_release_mine(void);
/* Sends what anybody holds back; for the worker. core held. */
void hold_release_all(void);
/* A hint for the worker, without the core. */
bool hold_any(void);
/* The worker, without the core: sends what those hold back who went to sleep. */
void hold_work(void);
/* s is held back no longer: its options changed, or its control block goes. core held; also from lwIP's
 * callbacks. */
void hold_forget(struct inet_socket *s);
void hold_show(struct seq *s); /* for /proc/net/moka */

#endif
