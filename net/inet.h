/*
 * AF_INET and AF_INET6 sockets over lwIP's protocol control blocks; private to net/. inet.c has what TCP
 * (tcp.c) and UDP (udp.c) share: addresses, names, options.
 *
 * A control block is made when the socket is bound, connects or listens, with the IP version it then needs.
 */
#ifndef MOKA_NET_INET_H
#define MOKA_NET_INET_H

#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "lwip/ip_addr.h"
#include "lwip/tcp.h"
#include "lwip/udp.h"
#include "mm/phys/phys.h"
#include "net/core.h"
#include "net/datagram.h"
#include "net/socket.h"
#include "net/urgent.h"

#define AF_UNSPEC   0
#define AF_INET     2
#define AF_INET6    10
#define SOCK_STREAM 1
#define SOCK_DGRAM  2

/* Linux's numbers of options (socket(7), ip(7), ipv6(7), tcp(7)). */
#define LINUX_SOL_SOCKET     1
#define LINUX_SO_REUSEADDR   2
#define LINUX_SO_ERROR       4
#define LINUX_SO_BROADCAST   6
#define LINUX_SO_KEEPALIVE   9
#define LINUX_SO_OOBINLINE   10
#define LINUX_SO_REUSEPORT   15
#define LINUX_SO_TIMESTAMP   29
#define LINUX_SO_ACCEPTCON   30
#define LINUX_SO_TIMESTAMPNS 35

/* Levels of options. */
#define LEVEL_IP   0
#define LEVEL_TCP  6
#define LEVEL_UDP  17
#define UDP_GRO    104 /* at LEVEL_UDP: an option, and what a control message says */
#define LEVEL_IPV6 41

#define LOOPBACK_MTU 65536u

#define INET_OPTIONS 70
#define SND_LOW      (TCP_SND_BUF / 3) /* bytes of room that make a stream writable: a third, as with Linux */

/*
 *   S_FRESH --listen--> S_LISTENING
 *     '---connect---> S_CONNECTING ---> S_ESTABLISHED ---> S_CLOSED (both directions ended, or reset)
 *                         '------------------------------^ refused, timed out
 */
enum inet_state { S_FRESH, S_LISTENING, S_CONNECTING, S_ESTABLISHED, S_CLOSED };

/* What arrived: a pbuf chain of a stream, or a datagram. */
struct packet {
    struct list link;
    struct pbuf *p;
    u32 taken; /* bytes of it received already (streams) */
    /* Datagrams only. */
    ip_addr_t from;
    u16 from_port;
    struct arrival arrival;
};

struct inet_socket {
    struct socket base;
    struct waitq changed;
    struct mutex reader;   /* held while a stream's bytes are copied out; not while waiting */
    struct direct *direct; /* the connection to ourselves that s is or was an end of (direct.h); set once */
    bool by_direct;        /* atomic: it is; then `direct` may be looked at */
    u32 direct_side;
    bool path_known; /* written by senders: one has had the core since it was established, so `direct` is
                        settled */
    struct channel *channel;    /* where its frames wait (channel.h); the core's */
    struct datagrams datagrams; /* where its datagrams wait (datagram.h) */

    /* Guarded by the core. */
    enum inet_state state;
    u32 renewed;         /* how often it was disconnected */
    bool connect_told;   /* connect() has returned the outcome, or nobody asked */
    struct tcp_pcb *tcp; /* or */
    struct udp_pcb *udp;
    bool receive_shut, send_shut, peer_end; /* by the program, by the program, by the peer (FIN or RST) */
    int error;                              /* SO_ERROR; atomic: taken without the core, too */
    struct list errors;                     /* error_queue.h */
    u32 error_count;                        /* atomic: of them */
    struct list inbox;
    u32 inbox_bytes;
    struct urgent urgent; /* of the inbox (urgent.h) */
    u32 left_out;         /* bytes at the beginning of the inbox that nobody gets: an urgent one */
    struct list backlog;  /* of a listener: sockets not accepted yet, by waiting_link */
    struct list waiting_link;
    struct deferral *brought; /* of a listener; atomic: connections that may go to its backlog (defer.h) */
    struct thread *holder;    /* who wrote what is held back (hold.h); NULL: nothing is */
    struct list hold_link;
    u64 delack_due_ns; /* 0: not on delack.c's list */
    struct list delack_link;
    ip_addr_t local, remote;
    u16 local_port, remote_port;
    u64 identity; /* changes with whatever its datagrams' headers depend on (template.h) */
    u64 applied;  /* base.flags as the control block has them (udp.c) */
    bool v6only;
    u8 interface;                   /* SO_BINDTODEVICE: the only one it is for, by index; 0: all */
    bool bound_port, bound_address; /* by bind(): they outlive a connection */
    u32 multicast_address;          /* IP_MULTICAST_IF: what getsockopt() tells */
    u8 multicast_interface;         /* the index that it means; 0: the usual one */
    struct membership *memberships; /* member.h */
    bool joins;                     /* UDP_GRO. atomic */
    u32 segment_max;                /* TCP_MAXSEG; 0: nobody said */
    s32 options[INET_OPTIONS];      /* as option_table of options.c says */
};

static inline struct inet_socket *inet_of(struct socket *s)
{
    return container_of(s, struct inet_socket, base);
}
/* NULL: out of memory. */
struct inet_socket *inet_new(u32 family, u32 type);
/* Frees what the inbox holds, and s. The core not held. */
void inet_free(struct inet_socket *s);
void inet_drop_inbox(struct inet_socket *s); /* core held */
/* Adds a datagram. ERR_MEM: p is still the caller's. core held. */
err_t inet_append(struct inet_socket *s, struct pbuf *p, const ip_addr_t *from, u16 port,
                  const struct arrival *arrival);
/* Adds a stream's bytes, and tells who waits; likewise. */
err_t inet_arrived(struct inet_socket *s, struct pbuf *p);
struct packet *inet_first(struct inet_socket *s);
void inet_wake(struct inet_socket *s, u32 events);

/* The program's address as lwIP's. AF_UNSPEC with the wildcard address means AF_INET. 0, -EINVAL,
 * -EAFNOSUPPORT, -ENETUNREACH. */
int inet_address(const struct inet_socket *s, const struct socket_address *a, ip_addr_t *ip, u16 *port);
void inet_to_linux(const struct inet_socket *s, const ip_addr_t *ip, u16 port, struct socket_address *out);
/* The type of control block s needs for an address. */
u8 inet_pcb_type(const struct inet_socket *s);
/* The address to bind to for ip: the wildcard of s's kind, or a copy; false when it is not ours. core held.
 */
bool inet_bindable(const struct inet_socket *s, ip_addr_t *ip);

/* bind(2): reads the address and notes what s is bound to; bind_locked, called with the core held, takes the
 * port (0: any). Enters the core itself, may sleep. 0 or bind_locked's error; -EINVAL, -EAFNOSUPPORT for the
 * address. */
int inet_bind(struct inet_socket *s, const struct socket_address *a,
              int (*bind_locked)(struct inet_socket *s, ip_addr_t *ip, u16 port));
/* Is it an address of this machine? core held. */
bool inet_ours(const ip_addr_t *ip);
/* An interface by name (at most 16 bytes count), or NULL; the name of one. core held. */
struct netif;
struct netif *inet_interface(const char *name);
const char *inet_interface_name(const struct netif *n);
bool inet_is_loopback(const struct netif *n);
/* Bytes that a packet to an address may have without being cut. core held. */
u32 inet_mtu(const ip_addr_t *to);
int inet_errno(err_t err);
/* Waits for s to change: -EAGAIN at once with SOCKET_DONTWAIT. core held, left meanwhile. */
int inet_wait(struct inet_socket *s, u32 flags, u64 deadline_ns);
/* The error there is, once; 0: none. core held. */
int inet_take_error(struct inet_socket *s);
/* options.c: once at boot; of a new socket; the value of an option of option_table. */
void options_init(void);
void options_begin(struct inet_socket *s);
void options_inherit(struct inet_socket *s, const struct inet_socket *listener);
s32 inet_option(const struct inet_socket *s, int level, int option);

/* Common operations. */
int inet_name(struct socket *base, bool of_peer, struct socket_address *out);
struct waitq *inet_pollq(struct socket *base);
int inet_get_option(struct socket *base, int level, int option, void *value, u32 *len);
int inet_set_option(struct socket *base, int level, int option, const void *value, u32 len);
s64 inet_ioctl(struct socket *base, u32 cmd, u64 arg);

/* Program memory, for ioctl. 0 or -EFAULT. */
int inet_put(u64 address, const void *src, size_t n);
int inet_get(u64 address, void *dst, size_t n);

void inet_icmp_init(void); /* icmp.c: after lwIP's start */

extern const struct socket_ops tcp_ops, udp_ops;
/* The stream's bytes that are left: recv(MSG_OOB) apart. core held. */
static inline u32 inet_waiting(const struct inet_socket *s)
{
    return s->inbox_bytes - s->left_out;
}
/* May the peer send nothing more before something is read? core held. */
static inline bool inet_closed_window(const struct inet_socket *s)
{
    return !s->tcp || s->tcp->rcv_wnd <= s->tcp->mss;
}
/* SO_TIMESTAMP, SO_TIMESTAMPNS */
static inline bool inet_stamps(const struct inet_socket *s)
{
    return socket_stamps(&s->base);
}
static inline bool inet_in_line(const struct inet_socket *s)
{
    return socket_flag(&s->base, LINUX_SO_OOBINLINE);
}
/* recv(2) of a stream (tcp_receive.c): .receive of tcp_ops. */
ssize_t tcp_receive_op(struct socket *base, struct socket_message *m);
/* Ends a connection that nobody has accepted, and frees s. core held. */
void tcp_drop(struct inet_socket *s);
/* The socket of a connection; NULL: it has none (any more). core held. */
struct inet_socket *tcp_socket(const struct tcp_pcb *pcb);
int tcp_info(const struct inet_socket *s, void *value, u32 *len); /* TCP_INFO. core held */
u32 tcp_state_number(u32 state);                                  /* Linux's (tcp_states.h), by lwIP's */
/* Bring the options that lwIP knows to s's control block. core held. */
void tcp_apply_options(struct inet_socket *s);
void udp_apply_options(struct inet_socket *s);

#endif
