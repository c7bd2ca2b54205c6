/*
 * AF_UNIX (unix(7)), private to kernel/linux/io: unix.c has names, connections and options, unix_message.c
 * what is sent and received, unix_collect.c the descriptors among it.
 *
 * A message is a packet in the receiver's inbox. A stream's packets are pieces of the stream. The sender
 * waits on the receiver's wait queue while its inbox is full; who takes something out wakes that queue, its
 * peer's, and those who asked poll() in vain whether it has room (`wanting`).
 *
 * Locks, in order: names_lock < a listener's lock < a socket's lock < the collector's (unix_collect.c). Two
 * sockets' locks are never held together otherwise: each side changes its own state, and marks the other's
 * under the other's lock. References keep structures alive: the file's, the peer's, the backlog's, those of
 * `wanting`, and transient ones.
 */
#ifndef MOKA_LINUX_IO_UNIX_H
#define MOKA_LINUX_IO_UNIX_H

#include "kernel/base/string.h"
#include "kernel/linux/io/io.h"
#include "net/socket.h"

#define AF_UNSPEC      0
#define AF_UNIX        1
#define SOCK_STREAM    1
#define SOCK_DGRAM     2
#define SOCK_RAW       3 /* the same as a datagram socket here */
#define SOCK_SEQPACKET 5
#define SOL_SOCKET     1
#define SO_PASSCRED    16

/* How senders that wait on a receiver's queue are woken: no event that poll knows, for s itself has not
 * changed. */
#define SENDER_ROOM 0x80000000u

struct credentials { /* Linux's struct ucred */
    s32 pid;
    u32 uid, gid;
};

/* Descriptors that come with a message. */
struct rights {
    struct list link;       /* in->carrying; or its holder's */
    struct unix_socket *in; /* in whose queue it is; NULL: in none. The collector's */
    struct packet *packet;  /* whose it is */
    u32 count;
    struct file *files[]; /* a reference each */
};

struct packet {
    struct list link;
    u32 len, taken; /* bytes of data; of them received already (streams) */
    struct socket_address from;
    struct rights *rights; /* or NULL */
    u64 sent_ns;           /* since 1970; 0: nobody asked for it then */
    u8 data[];
};

enum state { FRESH, LISTENING, CONNECTED };

struct unix_socket {
    struct socket base;
    u32 refs; /* atomic */
    struct waitq changed;

    struct mutex lock; /* guards down to `waiting` */
    enum state state;
    struct unix_socket *peer; /* one reference. Datagram sockets: where send() goes */
    bool receive_shut, send_shut, closed;
    bool has_credentials; /* SO_PEERCRED: of whom connected, listened, or made the pair */
    int error;            /* SO_ERROR */
    struct list inbox;
    u32 inbox_bytes, inbox_count; /* read without the lock, too */
    struct socket_address name;
    struct list backlog; /* of sockets not accepted yet, by waiting_link; one reference each */
    u32 backlog_count, backlog_max;
    struct list waiting_link; /* guarded by the listener's lock */

    /* unix_message.c: its room_lock guards them. */
    struct list wanting; /* datagram sockets that want room here, by wanting_link */
    u32 wanting_count;   /* of them; atomic */
    struct list wanting_link;
    struct unix_socket *wanted; /* atomic: on whose list s is; NULL: on none */

    /* unix_collect.c: its collect_lock guards them. */
    struct file *file;          /* s's, while in_flight */
    u32 in_flight;              /* how often s is in queues */
    u32 load;                   /* how many UNIX sockets are in s's queue, */
    u32 kept;                   /* and in those of all whose keeper s is */
    struct unix_socket *keeper; /* the listener in whose backlog s is; NULL: s itself, for ever */
    struct list flying_link;    /* while in_flight */
    struct list carrying;       /* struct rights in s's queue */
    struct list carrier_link;   /* while there are any */
    bool candidate, lives;      /* these are of one collection */
    u32 elsewhere;
    struct unix_socket *first_carrier, *next_carrier, *next_living;

    struct list bound_link; /* in bound; guarded by names_lock */
    struct inode *inode;    /* of a path name, one reference; guarded by names_lock */
};

static inline struct unix_socket *unix_of(struct socket *s)
{
    return container_of(s, struct unix_socket, base);
}
static inline bool is_datagram(const struct unix_socket *s)
{
    return s->base.type == SOCK_DGRAM;
}
static inline bool is_stream(const struct unix_socket *s)
{
    return s->base.type == SOCK_STREAM;
}
static inline void unix_get(struct unix_socket *s)
{
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
}
void unix_put(struct unix_socket *s);

/* The socket bound to an address, with a reference. 0 or why not. No lock held. */
int unix_find(const struct socket_address *a, u32 type, struct unix_socket **out);
/* Waits on s, whose lock is held, for a change: 0, -EAGAIN, -ERESTART. */
int unix_wait(struct unix_socket *s, u32 flags, u64 deadline_ns);

/* ---- unix_collect.c: no lock held, where nothing is said ---- */

/* r comes into to's queue, or leaves the one it is in. That socket's lock held. */
void rights_enter(struct unix_socket *to, struct rights *r);
void rights_leave(struct rights *r);
/* Puts the files of one that is in no queue, and frees it. */
void rights_free(struct rights *r);
/* s was accepted, or goes: it is not kept by its listener any more. */
void unix_leave_keeper(struct unix_socket *s);
/* Ends sockets that nobody can receive any more; the second, if so many are in queues that it may pay. */
void unix_collect(void);
void unix_collect_crowd(void);

/* ---- unix_message.c ---- */

/* Frees what is in s's inbox, which nobody adds to any more. No lock held. */
void unix_drop_inbox(struct unix_socket *s);
ssize_t unix_send(struct socket *base, struct socket_message *m);
ssize_t unix_receive(struct socket *base, struct socket_message *m);
/* Is there room for what s may send? lock held. */
bool unix_can_send(const struct unix_socket *s);
/* For a datagram socket, for which there was none: is there now? Else it is woken when there is. No lock
 * held.
 */
bool unix_want_room(struct unix_socket *s);
/* Not any more: s has another peer, or none. No lock held. */
void unix_want_no_room(struct unix_socket *s);
/* There may be room at s, or it is closed: who wanted some is told. No lock held. */
void unix_tell_wanting_slowly(struct unix_socket *s);
static inline void unix_tell_wanting(struct unix_socket *s)
{
    if (unlikely(__atomic_load_n(&s->wanting_count, __ATOMIC_SEQ_CST)))
        unix_tell_wanting_slowly(s);
}

#endif
