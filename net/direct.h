/*
 * TCP to ourselves without segments. lwIP makes and ends the connection as any other, so ports, states,
 * refusals, FIN, RST, keep-alive and /proc/net/tcp are those of TCP; but once both ends are established and
 * turn out to be sockets of this VM, their bytes go from the sender's call into a buffer and out of it in the
 * receiver's call: no segments, checksums, acknowledgements or core mutex. Back-pressure: at most the
 * sender's SO_SNDBUF plus the receiver's SO_RCVBUF wait in a direction.
 *
 *   lwIP only --- direct_join, in the handshake's last step ---> bytes direct, FIN and RST by lwIP
 *   direct_leave, when the program disconnects an end ---> lwIP only, for ever
 *   sender's peer has closed ---> its bytes go by lwIP again, which answers them as TCP does (RST)
 *
 * Why no byte is lost or reordered: nothing was sent when the ends are joined (direct_join checks). A FIN
 * leaves after `send_shut` was set with the pair's mutex held, so behind all bytes; a receiver that finds the
 * buffer empty and then peer_end set, holding the mutex, has seen them all.
 *
 * Lock order: the core or nothing < a pair's mutex < a wait queue. The mutex is held while program memory is
 * copied (as a pipe's), so nobody takes it with the core held, except where nothing is copied yet:
 * direct_join. The sockets' flags that lwIP's callbacks set under the core (state, error, peer_end, *_shut)
 * are read here without it; a waiter looks at them after it has queued itself, and whoever sets them wakes
 * the queue afterwards.
 */
#ifndef MOKA_NET_DIRECT_H
#define MOKA_NET_DIRECT_H

#include "net/inet.h"

/* Joins two established ends that nothing was sent between. Out of memory: they go on by lwIP. core held. */
void direct_join(struct inet_socket *a, struct inet_socket *b);

static inline bool direct_is(const struct inet_socket *s)
{
    return __atomic_load_n(&s->by_direct, __ATOMIC_ACQUIRE);
}

/* Bytes moved or why none, as the operations of net/socket.h. send: what m->it still holds when the peer has
 * closed goes by lwIP: *rest. */
ssize_t direct_send(struct inet_socket *s, struct socket_message *m, bool *rest);
ssize_t direct_receive(struct inet_socket *s, struct socket_message *m);
/* recv(MSG_OOB) (urgent.h). */
ssize_t direct_receive_urgent(struct inet_socket *s, struct socket_message *m);
bool direct_at_mark(struct inet_socket *s);
/* Of POLL_IN, POLL_PRI and POLL_OUT, as far as the buffers decide. */
u32 direct_poll(struct inet_socket *s);
/* Does anything wait to be received by s? A hint, without a lock. */
bool direct_any(const struct inet_socket *s);
/* Bytes that wait to be received by s (before the urgent one), or (out) that s has sent and the peer has no
 * room for. */
u32 direct_pending(struct inet_socket *s, bool out);

/* No further bytes from s: before its FIN. */
void direct_end_send(struct inet_socket *s);
/* The program has closed or disconnected s. True: it left bytes unread, so TCP resets. */
bool direct_close(struct inet_socket *s);
/* s is disconnected, and goes by lwIP alone from now on: its `direct` stays for those who are using it. core
 * held. */
static inline void direct_leave(struct inet_socket *s)
{
    __atomic_store_n(&s->by_direct, false, __ATOMIC_RELAXED);
}
/* Instead of kfree, where s has a `direct`: the peer may still wake s. */
void direct_free(struct inet_socket *s);

#endif
