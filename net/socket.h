/*
 * Sockets as the Linux layer sees them: one table of operations a protocol family implements and registers.
 * kernel/linux/io/socket.c turns the system calls into these; families never see program pointers but through
 * an iov_iter, and never descriptors.
 *
 * Addresses are Linux's sockaddr bytes (family first, 2 bytes, host order). Errors as the manual pages of the
 * calls say. Blocking operations look at SOCKET_DONTWAIT and end with -EAGAIN (also when the timeout option
 * ran out), or -ERESTART when interrupted.
 */
#ifndef MOKA_NET_SOCKET_H
#define MOKA_NET_SOCKET_H

#include "kernel/fs/vfs.h"
#include "sched/thread.h"

struct socket;

#define SOCKET_ADDRESS_MAX 128
struct socket_address {
    u32 len; /* 0: none */
    union {
        u16 family;
        u8 bytes[SOCKET_ADDRESS_MAX];
    };
};

/* Message flags: Linux's MSG_*. */
#define SOCKET_OOB          0x1u
#define SOCKET_PEEK         0x2u
#define SOCKET_DONTROUTE    0x4u
#define SOCKET_CTRUNC       0x8u
#define SOCKET_TRUNC        0x20u
#define SOCKET_DONTWAIT     0x40u
#define SOCKET_EOR          0x80u
#define SOCKET_WAITALL      0x100u
#define SOCKET_ERRQUEUE     0x2000u
#define SOCKET_NOSIGNAL     0x4000u
#define SOCKET_MORE         0x8000u
#define SOCKET_WAITFORONE   0x10000u
#define SOCKET_FASTOPEN     0x20000000u
#define SOCKET_CMSG_CLOEXEC 0x40000000u

/* Control messages on their way to the program: kernel memory, Linux's cmsghdr layout. */
struct socket_control {
    u8 *bytes;
    size_t room, len;
    bool truncated;
};
/* Appends one; what does not fit sets truncated. */
void socket_control_put(struct socket_control *c, s32 level, s32 type, const void *data, size_t len);

/* SO_TIMESTAMP or SO_TIMESTAMPNS, whichever s has on, of a message that came at ns since 1970; 0: now. */
struct socket;
void socket_put_time(const struct socket *s, struct socket_control *c, u64 ns);

/* One message, sent or received. */
struct socket_message {
    struct iov_iter *it;
    u32 flags;                      /* SOCKET_*; O_NONBLOCK has become SOCKET_DONTWAIT */
    struct socket_address *address; /* send: where to, or NULL; receive: filled in, or NULL */
    const u8 *control;              /* send: control messages, checked for their lengths */
    size_t control_len;
    struct socket_control *reply; /* receive: or NULL */
    u32 out_flags;                /* receive: SOCKET_TRUNC, _CTRUNC, _EOR */
};

/*
 * A family's operations. NULL: -EOPNOTSUPP, where nothing else is said. All may sleep, none is called with a
 * lock held.
 */
struct socket_ops {
    int (*bind)(struct socket *s, const struct socket_address *a);
    int (*connect)(struct socket *s, const struct socket_address *a, u32 flags);
    int (*listen)(struct socket *s, int backlog);
    int (*accept)(struct socket *s, u32 flags, struct socket **out); /* *out: the caller's */
    int (*name)(struct socket *s, bool of_peer, struct socket_address *out);
    int (*shutdown)(struct socket *s, bool receive, bool send);
    ssize_t (*send)(struct socket *s, struct socket_message *m);
    ssize_t (*receive)(struct socket *s, struct socket_message *m);
    u32 (*poll)(struct socket *s);            /* never NULL */
    struct waitq *(*pollq)(struct socket *s); /* never NULL */
    /* value: kernel memory of *len bytes. -ENOPROTOOPT: the common options (socket.c) apply. NULL: the same.
     */
    int (*get_option)(struct socket *s, int level, int option, void *value, u32 *len);
    int (*set_option)(struct socket *s, int level, int option, const void *value, u32 len);
    /* arg: program value. NULL: -ENOTTY. */
    s64 (*ioctl)(struct socket *s, u32 cmd, u64 arg);
    void (*release)(struct socket *s); /* frees s; never NULL */
};

/* Made by a family, embedded in its own structure. The options are changed by any thread, atomically. */
struct socket {
    const struct socket_ops *ops;
    u16 family, type; /* Linux's numbers, without SOCK_NONBLOCK and SOCK_CLOEXEC */
    u32 protocol;
    u64 receive_timeout_ns, send_timeout_ns; /* SO_RCVTIMEO, SO_SNDTIMEO; 0: none */
    u32 receive_buffer, send_buffer;         /* bytes: what the program asked for, doubled, as Linux does */
    u32 unsent_low;                          /* TCP_NOTSENT_LOWAT; 0: nobody said. atomic */
    u32 unsent_most;                         /* the lesser of it and send_buffer. atomic */
    u64 flags;                               /* bit n: the boolean option n of SOL_SOCKET is on */
    u64 linger;                              /* struct linger */
    u32 priority, mark;                      /* SO_PRIORITY, SO_MARK: kept, without effect */
    u32 receive_low;                         /* SO_RCVLOWAT less one: of streams. atomic */
    u32 busy_poll_us;                        /* SO_BUSY_POLL: the same; CPUs look before they halt anyway */
    bool prefer_busy_poll;                   /* SO_PREFER_BUSY_POLL: the same */
    u64 cookie;                              /* SO_COOKIE; 0: nobody asked. atomic */
    s32 owner; /* who gets SIGURG (fcntl(2), F_SETOWN): the process, as PID or -PID; 0: nobody. atomic */
};
#define SOCKET_BUFFER 212992u /* Linux's default */

static inline bool socket_flag(const struct socket *s, u32 option)
{
    return __atomic_load_n(&s->flags, __ATOMIC_RELAXED) >> option & 1;
}
/* One of the two has changed. */
static inline void socket_limit_unsent(struct socket *s)
{
    u32 low = __atomic_load_n(&s->unsent_low, __ATOMIC_RELAXED);
    u32 most = __atomic_load_n(&s->send_buffer, __ATOMIC_RELAXED);
    __atomic_store_n(&s->unsent_most, low ? MIN(low, most) : most, __ATOMIC_RELAXED);
}
/* A call that receives on a stream returns with more bytes than so many, if nothing ends it before:
 * MSG_WAITALL, SO_RCVLOWAT (socket(7)). */
static inline size_t socket_too_few(const struct socket *s, u32 flags)
{
    return unlikely(flags & SOCKET_WAITALL) ? ~0UL : __atomic_load_n(&s->receive_low, __ATOMIC_RELAXED);
}
#define SOCKET_TIMESTAMP   29 /* Linux's SO_TIMESTAMP, SO_TIMESTAMPNS */
#define SOCKET_TIMESTAMPNS 35
/* Does s want to know when its messages came? */
static inline bool socket_stamps(const struct socket *s)
{
    return __atomic_load_n(&s->flags, __ATOMIC_RELAXED) &
           (1UL << SOCKET_TIMESTAMP | 1UL << SOCKET_TIMESTAMPNS);
}
/* Urgent data came: s's owner gets SIGURG. Any lock may be held but the signals' own. */
extern void (*socket_urgent_hook)(void);
static inline void socket_tell_urgent(const struct socket *s)
{
    if (__atomic_load_n(&s->owner, __ATOMIC_RELAXED) && socket_urgent_hook)
        socket_urgent_hook();
}
/* The deadline of a blocking call that begins now. */
u64 socket_deadline(u64 timeout_ns);

/* The running thread is about to wait for events, of whatever: what it wrote and may be held back
 * (net/hold.h) leaves. No lock held. */
void socket_settle_slowly(void);
static inline void socket_settle(void)
{
    if (unlikely(current_thread()->holds))
        socket_settle_slowly();
}

/* A protocol family; registered once, at boot, and lives for ever. */
struct socket_family {
    u16 family;
    /* type: as socket.type. -ESOCKTNOSUPPORT, -EPROTONOSUPPORT, -ENOMEM. */
    int (*create)(u32 type, u32 protocol, struct socket **out);
    /* Two connected to one another; NULL: -EOPNOTSUPP. */
    int (*create_pair)(u32 type, u32 protocol, struct socket *out[2]);
    struct socket_family *next;
};
void socket_register(struct socket_family *f);
/* NULL: -EAFNOSUPPORT. */
struct socket_family *socket_find_family(u32 family);

#endif
