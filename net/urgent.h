/*
 * TCP's urgent data as Linux has it (tcp(7), "Sockets API"; RFC 9293, 3.8.5; RFC 6093): the last byte of what
 * was sent with MSG_OOB is *the* urgent byte, and the pointer on the wire points one behind it. A stream
 * has one mark. Reads stop at it; the byte itself is kept aside and left out of the stream, or with
 * SO_OOBINLINE stays in it. When a newer mark comes, the old byte, unless it is the very next, becomes an
 * ordinary one.
 *
 *   U_NONE --pointer arrives--> U_COMING --byte arrives--> U_HERE --recv(MSG_OOB)--> U_TAKEN
 *      ^                           |                          |                        |
 *      '---------------------------+------ read past it ------+------------------------'
 *
 * A struct urgent belongs to the bytes that wait for a reader, and is guarded by their lock: the core's for
 * segments (tcp.c), the pair's for connections to ourselves (direct.c).
 */
#ifndef MOKA_NET_URGENT_H
#define MOKA_NET_URGENT_H

#include "kernel/base/types.h"
#include "net/socket.h"

enum urgent_state { U_NONE, U_COMING, U_HERE, U_TAKEN };

struct urgent {
    enum urgent_state state;
    u8 byte;   /* U_HERE */
    u32 ahead; /* ordinary bytes that come before it, from where the program reads */
};

/* Is it the next byte? (SIOCATMARK; a read that has something stops.) */
static inline bool urgent_at_mark(const struct urgent *u)
{
    return unlikely(u->state) && !u->ahead;
}

/* Bytes that a read leaves out before anything else: 0 or 1. in_line: SO_OOBINLINE. */
static inline u32 urgent_hole(const struct urgent *u, bool in_line)
{
    return urgent_at_mark(u) && !in_line;
}

/* How many of the next n bytes a read may take; the hole is behind it. */
static inline size_t urgent_limit(const struct urgent *u, size_t n)
{
    return unlikely(u->state) && u->ahead && u->ahead < n ? u->ahead : n;
}

/* n bytes were read or left out. */
static inline void urgent_passed(struct urgent *u, u32 n)
{
    if (likely(!u->state))
        return;
    if (n > u->ahead)
        *u = (struct urgent){0};
    else
        u->ahead -= n;
}

/* POLL_PRI, POLL_IN, of what waits: bytes, of which so many are too few. */
static inline u32 urgent_events(const struct urgent *u, bool in_line, u32 bytes, u32 too_few)
{
    return (u->state == U_HERE ? POLL_PRI : 0) | (bytes > urgent_hole(u, in_line) + too_few ? POLL_IN : 0);
}

/* FIONREAD: those before the mark, if that is out of line. */
static inline u32 urgent_pending(const struct urgent *u, bool in_line, u32 bytes)
{
    return unlikely(u->state) && !in_line && u->ahead < bytes ? u->ahead : bytes;
}

/*
 * A mark, newer than any before, at the byte that `ahead` others precede. True: the old one was at hand and
 * out of line, and its byte, the first that waits, is to be left out; u then counts without it. bytes: that
 * wait.
 */
bool urgent_mark(struct urgent *u, u32 ahead, u32 bytes, bool in_line);

/* The byte has come. */
static inline void urgent_here(struct urgent *u, u8 byte)
{
    u->state = U_HERE;
    u->byte = byte;
}

/*
 * recv(MSG_OOB), which never waits: 1, when it was put into *byte (kept with SOCKET_PEEK), -EINVAL (there is
 * none, or it is in line), -EAGAIN (still on its way), 0 (it will not come: ended).
 */
int urgent_take(struct urgent *u, u32 flags, bool in_line, bool ended, u8 *byte);
/* What recv(MSG_OOB) returns for it. No lock held. */
ssize_t urgent_give(struct socket_message *m, u8 byte);

struct inet_socket;
/* s is new: the segment that ended its handshake may have had a mark. core held. */
void urgent_early(struct inet_socket *s);

#endif
