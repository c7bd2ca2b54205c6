/*
 * TCP_DEFER_ACCEPT (tcp(7)): a connection is for accept() when its peer has sent something, or has ended; or
 * after so many seconds without. One that is reset before was never there.
 *
 * lwIP's handshake is over by then, so the connection is a socket already, but not yet in its listener's
 * backlog: a deferral waits at its wait queue, puts itself onto the listener's stack `brought` when anything
 * happens there, and tells who waits for the listener. accept() and poll() ask defer_collect().
 *
 * Deferrals are the core's, and so is their list. In a wake-up, which needs no core, `told` and `brought`
 * change, both atomic. Lock order: the core < a deferred socket's wait queue < its listener's.
 */
#ifndef MOKA_NET_DEFER_H
#define MOKA_NET_DEFER_H

#include "net/inet.h"

/* s is connected: does it wait outside of the backlog? False: no, or there is no memory. core held, in lwIP's
 * callback. */
bool defer_begin(struct inet_socket *listener, struct inet_socket *s);
/* What has brought something goes to the backlog, a reset one away. core held. */
void defer_collect_slowly(struct inet_socket *listener);
static inline void defer_collect(struct inet_socket *listener)
{
    if (unlikely(__atomic_load_n(&listener->brought, __ATOMIC_ACQUIRE)))
        defer_collect_slowly(listener);
}
/* Nobody listens any more: all go to the backlog. core held. */
void defer_end(struct inet_socket *listener);
/* The worker: ends those whose time is up. When to come back, or SLEEP_FOREVER. core held. */
u64 defer_tick(u64 now_ns);

#endif
