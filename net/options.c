/* Options of TCP and UDP sockets: ip(7), ipv6(7), tcp(7), udp(7). */
#include "lwip/netif.h"
#include "net/error_queue.h"
#include "net/member.h"
#include "net/template.h"

#define SO_RCVLOWAT        18
#define SO_BINDTODEVICE    25
#define SO_BINDTOIFINDEX   62
#define INTERFACE_NAME     16 /* bytes at most, the terminator included */
#define IPV6_V6ONLY_OPTION 26
#define TCP_MAXSEG         2
#define TCP_CONGESTION     13
#define SEGMENT_DEFAULT    536
#define FIN_TIMEOUT        60  /* seconds: ip-sysctl, tcp_fin_timeout */
#define FIN_TIMEOUT_MAX    120 /* seconds */
#define IPV6_MTU_MIN       1280
#define IPV4_MTU_MAX       0xffffu
#define WINDOW_CLAMP_MIN   1152 /* half of the least receive buffer */

/* What setsockopt() makes of a number. */
enum kind {
    FLAG,   /* on or off */
    BIT,    /* 0 or 1 */
    RANGE,  /* least to most */
    USUAL,  /* the same; -1: the initial value */
    CLASS,  /* of a packet; a stream's lowest two bits are TCP's own (RFC 3168) */
    LINGER, /* TCP_LINGER2 */
    DEFER,  /* TCP_DEFER_ACCEPT: seconds, as resends of the answer to a SYN */
    CLAMP,  /* TCP_WINDOW_CLAMP */
    UNSENT, /* TCP_NOTSENT_LOWAT: any */
    FIXED,  /* not to be set */
};

enum { STREAM = 1, DATAGRAM = 2, BOTH = 3 };

/* Integers: kept, returned, and where there is something to do applied by who asks inet_option(). for_whom:
 * who may set it; IPv6's only on its sockets. */
static const struct option {
    u8 level, number, kind, for_whom;
    s32 initial, least, most;
} option_table[] = {
    {LEVEL_IP, 1, CLASS, BOTH, 0, 0, 0},             /* IP_TOS */
    {LEVEL_IP, 2, USUAL, BOTH, 64, 1, 255},          /* IP_TTL */
    {LEVEL_IP, 3, FIXED, BOTH, 0, 0, 0},             /* IP_HDRINCL */
    {LEVEL_IP, 6, FLAG, BOTH, 0, 0, 1},              /* IP_RECVOPTS */
    {LEVEL_IP, 7, FLAG, BOTH, 0, 0, 1},              /* IP_RETOPTS */
    {LEVEL_IP, 8, FLAG, BOTH, 0, 0, 1},              /* IP_PKTINFO */
    {LEVEL_IP, 10, RANGE, BOTH, 1, 0, 5},            /* IP_MTU_DISCOVER */
    {LEVEL_IP, 11, FLAG, BOTH, 0, 0, 1},             /* IP_RECVERR */
    {LEVEL_IP, 12, FLAG, BOTH, 0, 0, 1},             /* IP_RECVTTL */
    {LEVEL_IP, 13, FLAG, BOTH, 0, 0, 1},             /* IP_RECVTOS */
    {LEVEL_IP, 15, FLAG, BOTH, 0, 0, 1},             /* IP_FREEBIND */
    {LEVEL_IP, 20, FLAG, BOTH, 0, 0, 1},             /* IP_RECVORIGDSTADDR */
    {LEVEL_IP, 24, FLAG, BOTH, 0, 0, 1},             /* IP_BIND_ADDRESS_NO_PORT */
    {LEVEL_IP, 33, USUAL, DATAGRAM, 1, 0, 255},      /* IP_MULTICAST_TTL */
    {LEVEL_IP, 34, FLAG, BOTH, 1, 0, 1},             /* IP_MULTICAST_LOOP */
    {LEVEL_IP, 49, BIT, BOTH, 1, 0, 1},              /* IP_MULTICAST_ALL */
    {LEVEL_IPV6, 16, USUAL, BOTH, 64, 0, 255},       /* IPV6_UNICAST_HOPS */
    {LEVEL_IPV6, 17, RANGE, DATAGRAM, 0, 0, 255},    /* IPV6_MULTICAST_IF */
    {LEVEL_IPV6, 18, USUAL, DATAGRAM, 1, 0, 255},    /* IPV6_MULTICAST_HOPS */
    {LEVEL_IPV6, 19, BIT, BOTH, 1, 0, 1},            /* IPV6_MULTICAST_LOOP */
    {LEVEL_IPV6, 23, RANGE, BOTH, 1, 0, 5},          /* IPV6_MTU_DISCOVER */
    {LEVEL_IPV6, 25, FLAG, BOTH, 0, 0, 1},           /* IPV6_RECVERR */
    {LEVEL_IPV6, 29, FLAG, BOTH, 1, 0, 1},           /* IPV6_MULTICAST_ALL */
    {LEVEL_IPV6, 33, FLAG, BOTH, 0, 0, 1},           /* IPV6_FLOWINFO_SEND */
    {LEVEL_IPV6, 49, FLAG, BOTH, 0, 0, 1},           /* IPV6_RECVPKTINFO */
    {LEVEL_IPV6, 51, FLAG, BOTH, 0, 0, 1},           /* IPV6_RECVHOPLIMIT */
    {LEVEL_IPV6, 62, FLAG, BOTH, 0, 0, 1},           /* IPV6_DONTFRAG */
    {LEVEL_IPV6, 66, FLAG, BOTH, 0, 0, 1},           /* IPV6_RECVTCLASS */
    {LEVEL_IPV6, 67, CLASS, BOTH, 0, -1, 255},       /* IPV6_TCLASS */
    {LEVEL_IPV6, 70, FLAG, BOTH, 1, 0, 1},           /* IPV6_AUTOFLOWLABEL */
    {LEVEL_IPV6, 74, FLAG, BOTH, 0, 0, 1},           /* IPV6_RECVORIGDSTADDR */
    {LEVEL_IPV6, 78, FLAG, BOTH, 0, 0, 1},           /* IPV6_FREEBIND */
    {LEVEL_TCP, 1, FLAG, BOTH, 0, 0, 1},             /* TCP_NODELAY */
    {LEVEL_TCP, 3, FLAG, BOTH, 0, 0, 1},             /* TCP_CORK */
    {LEVEL_TCP, 4, RANGE, BOTH, 7200, 1, 32767},     /* TCP_KEEPIDLE */
    {LEVEL_TCP, 5, RANGE, BOTH, 75, 1, 32767},       /* TCP_KEEPINTVL */
    {LEVEL_TCP, 6, RANGE, BOTH, 9, 1, 127},          /* TCP_KEEPCNT */
    {LEVEL_TCP, 7, RANGE, BOTH, 6, 1, 127},          /* TCP_SYNCNT */
    {LEVEL_TCP, 8, LINGER, BOTH, FIN_TIMEOUT, 0, 0}, /* TCP_LINGER2 */
    {LEVEL_TCP, 9, DEFER, BOTH, 0, 0, 0},            /* TCP_DEFER_ACCEPT */
    {LEVEL_TCP, 10, CLAMP, BOTH, 0, 0, 0},           /* TCP_WINDOW_CLAMP */
    {LEVEL_TCP, 12, FLAG, BOTH, 1, 0, 1},            /* TCP_QUICKACK */
    {LEVEL_TCP, 16, BIT, BOTH, 0, 0, 1},             /* TCP_THIN_LINEAR_TIMEOUTS */
    {LEVEL_TCP, 18, RANGE, BOTH, 0, 0, 0x7fffffff},  /* TCP_USER_TIMEOUT */
    {LEVEL_TCP, 23, RANGE, BOTH, 0, 0, 0x7fffffff},  /* TCP_FASTOPEN */
    {LEVEL_TCP, 25, UNSENT, BOTH, 0, 0, 0},          /* TCP_NOTSENT_LOWAT */
    {LEVEL_TCP, 30, BIT, BOTH, 0, 0, 1},             /* TCP_FASTOPEN_CONNECT */
    {LEVEL_TCP, 34, BIT, BOTH, 0, 0, 1},             /* TCP_FASTOPEN_NO_COOKIE */
    {LEVEL_UDP, 103, RANGE, BOTH, 0, 0, 0xffff},     /* UDP_SEGMENT */
    {LEVEL_UDP, UDP_GRO, FLAG, BOTH, 0, 0, 1},
};
_Static_assert(ARRAY_LEN(option_table) <= INET_OPTIONS, "room for the options");

/* Where an option is in option_table, plus 1; 0: nowhere. Filled at boot. */
#define NUMBERS 128
static u8 option_index[LEVEL_IPV6 + 1][NUMBERS];

void options_init(void)
{
    for (u32 i = 0; i < ARRAY_LEN(option_table); i++)
        option_index[option_table[i].level][option_table[i].number] = i + 1;
}

static int find_option(const struct inet_socket *s, int level, int option)
{
    bool stream = s->base.type == SOCK_STREAM;
    if ((u32)level > LEVEL_IPV6 || (u32)option >= NUMBERS || (level == LEVEL_TCP && !stream) ||
        (level == LEVEL_UDP && stream) || (level == LEVEL_IPV6 && s->base.family != AF_INET6))
        return -1;
    return option_index[level][option] - 1;
}

void options_begin(struct inet_socket *s)
{
    for (u32 i = 0; i < ARRAY_LEN(option_table); i++)
        s->options[i] = option_table[i].initial;
    if (s->base.family == AF_INET6)
        s->options[find_option(s, LEVEL_IP, 49)] = 0; /* IP_MULTICAST_ALL */
}

void options_inherit(struct inet_socket *s, const struct inet_socket *listener)
{
    memcpy(s->options, listener->options, sizeof(s->options));
    s->options[find_option(s, LEVEL_TCP, 9)] = 0; /* TCP_DEFER_ACCEPT is the listener's */
    s->base.send_buffer = listener->base.send_buffer;
    s->base.receive_buffer = listener->base.receive_buffer;
    s->base.receive_low = listener->base.receive_low;
    s->base.unsent_low = listener->base.unsent_low;
    socket_limit_unsent(&s->base);
}

s32 inet_option(const struct inet_socket *s, int level, int option)
{
    int i = find_option(s, level, option);
    return i < 0 ? 0 : s->options[i];
}

static int give(const void *from, u32 size, void *value, u32 *len)
{
    *len = MIN(*len, size);
    memcpy(value, from, *len);
    return 0;
}

static int give_number(s32 number, void *value, u32 *len)
{
    return give(&number, sizeof(number), value, len);
}

/* getsockopt() of what there is not; setsockopt() says ENOPROTOOPT always. */
static int no_option(const struct inet_socket *s, int level)
{
    bool known = level == LINUX_SOL_SOCKET || level == LEVEL_IP || s->base.family == AF_INET6 ||
                 level == s->base.protocol;
    return known ? -ENOPROTOOPT : -EOPNOTSUPP;
}

/* ---- what is no integer, or not kept ---- */

static int give_mtu(struct inet_socket *s, bool v6, void *value, u32 *len)
{
    bool there = s->state == S_ESTABLISHED && IP_IS_V6(&s->remote) == v6;
    u32 mtu = there ? inet_mtu(&s->remote) : 0;
    return there ? give_number(v6 ? mtu : MIN(mtu, IPV4_MTU_MAX), value, len) : -ENOTCONN;
}

static int give_segment_max(struct inet_socket *s, void *value, u32 *len)
{
    if (s->tcp && s->state == S_ESTABLISHED)
        return give_number(tcp_mss(s->tcp), value, len);
    return give_number(s->segment_max ? s->segment_max : SEGMENT_DEFAULT, value, len);
}

static int give_interface(const struct inet_socket *s, void *value, u32 *len)
{
    struct netif *netif = s->interface ? netif_get_by_index(s->interface) : NULL;
    if (!netif) {
        *len = 0;
        return 0;
    }
    const char *name = inet_interface_name(netif);
    return *len < INTERFACE_NAME ? -EINVAL : give(name, strlen(name) + 1, value, len);
}

static int get_special(struct inet_socket *s, int level, int option, void *value, u32 *len)
{
    if (level == LINUX_SOL_SOCKET && option == LINUX_SO_ERROR)
        return give_number(-inet_take_error(s), value, len);
    if (level == LINUX_SOL_SOCKET && option == LINUX_SO_ACCEPTCON)
        return give_number(s->state == S_LISTENING, value, len);
    if (level == LINUX_SOL_SOCKET && option == SO_BINDTODEVICE)
        return give_interface(s, value, len);
    if (level == LINUX_SOL_SOCKET && option == SO_BINDTOIFINDEX)
        return give_number(s->interface, value, len);
    if (level == LEVEL_IPV6 && option == IPV6_V6ONLY_OPTION && s->base.family == AF_INET6)
        return give_number(s->v6only, value, len);
    if (level == LEVEL_IP && option == 14) /* IP_MTU */
        return give_mtu(s, false, value, len);
    if (level == LEVEL_IPV6 && option == 24 && s->base.family == AF_INET6) /* IPV6_MTU */
        return give_mtu(s, true, value, len);
    if (level == LEVEL_IP && option == 32) /* IP_MULTICAST_IF */
        return give(&s->multicast_address, sizeof(u32), value, len);
    if (level == LEVEL_TCP && s->base.type == SOCK_STREAM) {
        if (option == TCP_MAXSEG)
            return give_segment_max(s, value, len);
        if (option == TCP_CONGESTION)
            return give("cubic\0\0\0\0\0\0\0\0\0\0", 16, value, len);
        if (option == 11)
            return tcp_info(s, value, len);
    }
    return no_option(s, level);
}

int inet_get_option(struct socket *base, int level, int option, void *value, u32 *len)
{
    struct inet_socket *s = inet_of(base);
    int i = find_option(s, level, option);
    core_enter();
    int err = i >= 0 ? give_number(s->options[i], value, len) : get_special(s, level, option, value, len);
    core_leave();
    return err;
}

/* ---- setting ---- */

static void apply(struct inet_socket *s)
{
    if (s->tcp && s->state != S_LISTENING)
        tcp_apply_options(s);
    if (s->udp)
        udp_apply_options(s);
    template_renew(s);
}

static int set_v6only(struct inet_socket *s, s32 number)
{
    if (s->base.family != AF_INET6)
        return -ENOPROTOOPT;
    if (s->tcp || s->udp)
        return -EINVAL;
    s->v6only = !!number;
    return 0;
}

/* Seconds as Linux keeps them: so many resends of the answer to a SYN, whose timeouts double from a second
 * on. */
static s32 whole_resends(s32 seconds)
{
    s32 all = seconds > 0 ? 1 : 0;
    for (s32 next = 2; all && all < seconds && all < 0x10000; next = MIN(2 * next, 120))
        all += next;
    return all;
}

/* In the table's terms; -EINVAL. */
static int convert(const struct inet_socket *s, const struct option *o, s32 old, s32 *number)
{
    bool stream = s->base.type == SOCK_STREAM;
    switch (o->kind) {
    case FLAG:
        *number = !!*number;
        return 0;
    case USUAL:
        if (*number == -1) {
            *number = o->initial;
            return 0;
        }
        break;
    case CLASS:
        if (o->level == LEVEL_IPV6 && (*number < o->least || *number > o->most))
            return -EINVAL;
        *number = o->level == LEVEL_IPV6 && *number == -1 ? 0 : *number & 0xff;
        if (stream)
            *number = (*number & ~3) | (old & 3);
        return 0;
    case LINGER:
        *number = *number < 0 ? -1 : !*number ? FIN_TIMEOUT : MIN(*number, FIN_TIMEOUT_MAX);
        return 0;
    case DEFER:
        *number = whole_resends(*number);
        return 0;
    case CLAMP:
        *number = *number > 0 ? MAX(*number, WINDOW_CLAMP_MIN) : 0;
        return 0;
    case UNSENT:
        return 0;
    case FIXED:
        return -ENOPROTOOPT;
    }
    return *number < o->least || *number > o->most ? -EINVAL : 0;
}

static int set_number(struct inet_socket *s, int i, s32 number)
{
    const struct option *o = &option_table[i];
    if (!(o->for_whom & (s->base.type == SOCK_STREAM ? STREAM : DATAGRAM)))
        return o->level == LEVEL_IP ? -EINVAL : -ENOPROTOOPT;
    if (o->level == LEVEL_IPV6 && o->number == 17 && number &&
        (number < 0 || number > 255 || !netif_get_by_index(number)))
        return -ENODEV;
    int err = convert(s, o, s->options[i], &number);
    if (err)
        return err;
    s->options[i] = number;
    if (!number && ((o->level == LEVEL_IP && o->number == 11) || (o->level == LEVEL_IPV6 && o->number == 25)))
        error_queue_drop(s); /* IP_RECVERR, IPV6_RECVERR */
    if (o->level == LEVEL_UDP && o->number == UDP_GRO)
        __atomic_store_n(&s->joins, number, __ATOMIC_RELAXED);
    if (o->kind == UNSENT) {
        __atomic_store_n(&s->base.unsent_low, number, __ATOMIC_RELAXED);
        socket_limit_unsent(&s->base);
        inet_wake(s, POLL_OUT);
    }
    apply(s);
    return 0;
}

/* An address of ours; struct ip_mreq, struct ip_mreqn: the address is the second. */
static int set_multicast_interface(struct inet_socket *s, const u8 *value, u32 len)
{
    struct netif *netif, *found = NULL;
    u32 address = 0, index = 0;
    if (s->base.type == SOCK_STREAM || len < 4)
        return -EINVAL;
    memcpy(&address, value + (len >= 8 ? 4 : 0), sizeof(address));
    if (len >= 12)
        memcpy(&index, value + 8, sizeof(index));
    NETIF_FOREACH(netif)
    {
        if (index ? netif_get_index(netif) == index : address && netif_ip4_addr(netif)->addr == address)
            found = netif;
    }
    if ((index || address) && !found)
        return -EADDRNOTAVAIL;
    s->multicast_address = address;
    s->multicast_interface = found ? netif_get_index(found) : 0;
    return 0;
}

static int set_segment_max(struct inet_socket *s, s32 number)
{
    if (number && (number < 88 || number > 32767))
        return -EINVAL;
    s->segment_max = number;
    return 0;
}

static int set_keepalive(struct inet_socket *s, bool on)
{
    if (on)
        __atomic_or_fetch(&s->base.flags, 1UL << LINUX_SO_KEEPALIVE, __ATOMIC_RELAXED);
    else
        __atomic_and_fetch(&s->base.flags, ~(1UL << LINUX_SO_KEEPALIVE), __ATOMIC_RELAXED);
    apply(s);
    return 0;
}

/* No more than a buffer that the program chose holds, half of which Linux takes to be its own; or than waits
 * on a connection to ourselves (direct.h). */
static int set_receive_low(struct inet_socket *s, s32 number)
{
    u32 buffer = __atomic_load_n(&s->base.receive_buffer, __ATOMIC_RELAXED);
    u32 most = buffer == SOCKET_BUFFER ? 2 * SOCKET_BUFFER : buffer / 2;
    u32 wanted = number < 0 ? most : MIN((u32)number, most);
    __atomic_store_n(&s->base.receive_low, wanted ? wanted - 1 : 0, __ATOMIC_RELAXED);
    inet_wake(s, POLL_IN);
    return 0;
}

static int set_congestion(const char *name, u32 len)
{
    return len >= 5 && !memcmp(name, "cubic", 5) && (len == 5 || !name[5]) ? 0 : -ENOENT;
}

/* netif: NULL: all. What there is of flows goes by the old choice. */
static int set_interface(struct inet_socket *s, const struct netif *netif)
{
    s->interface = netif ? netif_get_index(netif) : 0;
    if (s->udp)
        datagram_forget_port(s->udp->local_port);
    if (s->tcp)
        s->tcp->netif_idx = s->interface;
    apply(s);
    return 0;
}

static int set_interface_name(struct inet_socket *s, const char *value, u32 len)
{
    char name[INTERFACE_NAME] = {0};
    memcpy(name, value, MIN(len, INTERFACE_NAME - 1u));
    struct netif *netif = name[0] ? inet_interface(name) : NULL;
    return name[0] && !netif ? -ENODEV : set_interface(s, netif);
}

static int set_interface_index(struct inet_socket *s, s32 index)
{
    struct netif *netif = index > 0 && index <= 0xff ? netif_get_by_index(index) : NULL;
    if (index < 0)
        return -EINVAL;
    return index && !netif ? -ENODEV : set_interface(s, netif);
}

static int set_special(struct inet_socket *s, int level, int option, const void *value, u32 len, s32 number)
{
    bool stream = s->base.type == SOCK_STREAM, whole = len >= sizeof(number);
    if (level == LINUX_SOL_SOCKET && option == LINUX_SO_KEEPALIVE && whole)
        return set_keepalive(s, number);
    if (level == LINUX_SOL_SOCKET && option == SO_RCVLOWAT && whole && stream)
        return set_receive_low(s, number);
    if (level == LINUX_SOL_SOCKET && option == SO_BINDTODEVICE)
        return set_interface_name(s, value, len);
    if (level == LINUX_SOL_SOCKET && option == SO_BINDTOIFINDEX)
        return whole ? set_interface_index(s, number) : -EINVAL;
    if (level == LINUX_SOL_SOCKET && (option == LINUX_SO_TIMESTAMP || option == LINUX_SO_TIMESTAMPNS) &&
        s->udp) {
        /* From now on by lwIP, which sees when they come; the socket layer sets the flag. A group's others
         * must not get what is for s. */
        datagram_forget(s);
        datagram_forget_port(s->udp->local_port);
        return -ENOPROTOOPT;
    }
    if (level == LEVEL_IPV6 && option == IPV6_V6ONLY_OPTION)
        return whole ? set_v6only(s, number) : -EINVAL;
    if (level == LEVEL_IPV6 && option == 24 && s->base.family == AF_INET6) /* IPV6_MTU: ours is the path's */
        return !whole || (number && number < IPV6_MTU_MIN) ? -EINVAL : 0;
    if (member_is(level, option))
        return stream ? -EPROTO : member_change(s, level, option, value, len);
    if (level == LEVEL_IP && option == 32)
        return set_multicast_interface(s, value, len);
    if (level == LEVEL_TCP && stream && option == TCP_MAXSEG)
        return whole ? set_segment_max(s, number) : -EINVAL;
    if (level == LEVEL_TCP && stream && option == TCP_CONGESTION)
        return set_congestion(value, len);
    return -ENOPROTOOPT;
}

int inet_set_option(struct socket *base, int level, int option, const void *value, u32 len)
{
    struct inet_socket *s = inet_of(base);
    int i = find_option(s, level, option);
    s32 number = 0;
    if (len >= sizeof(number))
        memcpy(&number, value, sizeof(number));
    else if (len && level == LEVEL_IP)
        number = *(const u8 *)value; /* ip(7) takes a byte, too */
    else if (i >= 0)
        return -EINVAL;
    core_enter();
    int err = i >= 0 ? set_number(s, i, number) : set_special(s, level, option, value, len, number);
    core_leave();
    return err;
}
