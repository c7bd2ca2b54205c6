/* What TCP and UDP sockets share. */
#include "net/channel.h"
#include "net/direct.h"
#include "net/template.h"

#include "lwip/netif.h"

#define LEVEL_IP   0
#define LEVEL_TCP  6
#define LEVEL_UDP  17
#define LEVEL_IPV6 41

#define IPV6_V6ONLY_OPTION 26

/* Options that are integers: kept, returned, and where lwIP knows them applied. */
static const struct option {
    u8 level, number;
    s32 initial, least, most;
} option_table[] = {
    {LEVEL_IP, 1, 0, 0, 255},           /* IP_TOS */
    {LEVEL_IP, 2, 64, -1, 255},         /* IP_TTL */
    {LEVEL_IP, 8, 0, 0, 1},             /* IP_PKTINFO */
    {LEVEL_IP, 10, 1, 0, 5},            /* IP_MTU_DISCOVER */
    {LEVEL_IP, 11, 0, 0, 1},            /* IP_RECVERR */
    {LEVEL_IP, 12, 0, 0, 1},            /* IP_RECVTTL */
    {LEVEL_IP, 13, 0, 0, 1},            /* IP_RECVTOS */
    {LEVEL_IP, 24, 0, 0, 1},            /* IP_BIND_ADDRESS_NO_PORT */
    {LEVEL_IP, 33, 1, -1, 255},         /* IP_MULTICAST_TTL */
    {LEVEL_IP, 34, 1, 0, 1},            /* IP_MULTICAST_LOOP */
    {LEVEL_IP, 49, 1, 0, 1},            /* IP_MULTICAST_ALL */
    {LEVEL_IPV6, 16, 64, -1, 255},      /* IPV6_UNICAST_HOPS */
    {LEVEL_IPV6, 17, 0, 0, 0x7fffffff}, /* IPV6_MULTICAST_IF */
    {LEVEL_IPV6, 18, 1, -1, 255},       /* IPV6_MULTICAST_HOPS */
    {LEVEL_IPV6, 19, 1, 0, 1},          /* IPV6_MULTICAST_LOOP */
    {LEVEL_IPV6, 23, 1, 0, 5},          /* IPV6_MTU_DISCOVER */
    {LEVEL_IPV6, 25, 0, 0, 1},          /* IPV6_RECVERR */
    {LEVEL_IPV6, 29, 1, 0, 1},          /* IPV6_MULTICAST_ALL */
    {LEVEL_IPV6, 33, 0, 0, 1},          /* IPV6_FLOWINFO_SEND */
    {LEVEL_IPV6, 49, 0, 0, 1},          /* IPV6_RECVPKTINFO */
    {LEVEL_IPV6, 51, 0, 0, 1},          /* IPV6_RECVHOPLIMIT */
    {LEVEL_IPV6, 66, 0, 0, 1},          /* IPV6_RECVTCLASS */
    {LEVEL_IPV6, 67, 0, -1, 255},       /* IPV6_TCLASS */
    {LEVEL_IPV6, 70, 1, 0, 1},          /* IPV6_AUTOFLOWLABEL */
    {LEVEL_TCP, 1, 0, 0, 1},            /* TCP_NODELAY */
    {LEVEL_TCP, 3, 0, 0, 1},            /* TCP_CORK */
    {LEVEL_TCP, 4, 7200, 1, 32767},     /* TCP_KEEPIDLE */
    {LEVEL_TCP, 5, 75, 1, 32767},       /* TCP_KEEPINTVL */
    {LEVEL_TCP, 6, 9, 1, 127},          /* TCP_KEEPCNT */
    {LEVEL_TCP, 7, 6, 1, 127},          /* TCP_SYNCNT */
    {LEVEL_TCP, 8, 60, -1, 0x7fffffff}, /* TCP_LINGER2 */
    {LEVEL_TCP, 9, 0, 0, 0x7fffffff},   /* TCP_DEFER_ACCEPT */
    {LEVEL_TCP, 10, 0, 0, 0x7fffffff},  /* TCP_WINDOW_CLAMP */
    {LEVEL_TCP, 12, 1, 0, 1},           /* TCP_QUICKACK */
    {LEVEL_TCP, 18, 0, 0, 0x7fffffff},  /* TCP_USER_TIMEOUT */
    {LEVEL_TCP, 23, 0, 0, 0x7fffffff},  /* TCP_FASTOPEN */
};
_Static_assert(ARRAY_LEN(option_table) <= INET_OPTIONS, "room for the options");

/* ---- life ---- */

struct inet_socket *inet_new(u32 family, u32 type)
{
    struct inet_socket *s = kmalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->base.ops = type == SOCK_STREAM ? &tcp_ops : &udp_ops;
    s->base.family = family;
    s->base.type = type;
    s->base.protocol = type == SOCK_STREAM ? LEVEL_TCP : LEVEL_UDP;
    s->base.send_buffer = s->base.receive_buffer = SOCKET_BUFFER;
    s->connect_told = true;
    for (u32 i = 0; i < ARRAY_LEN(option_table); i++)
        s->options[i] = option_table[i].initial;
    list_init(&s->inbox);
    list_init(&s->backlog);
    list_init(&s->waiting_link);
    if (family == AF_INET6) {
        ip_addr_set_any(true, &s->local);
        ip_addr_set_any(true, &s->remote);
    }
    return s;
}

void inet_drop_inbox(struct inet_socket *s)
{
    struct packet *p;
    while ((p = inet_first(s))) {
        list_del(&p->link);
        pbuf_free(p->p);
        kfree(p);
    }
    s->inbox_bytes = s->left_out = 0;
    s->urgent = (struct urgent){0};
}

void inet_free(struct inet_socket *s)
{
    core_enter();
    inet_drop_inbox(s);
    core_leave();
    if (direct_is(s))
        direct_free(s);
    else
        kfree(s);
}

struct packet *inet_first(struct inet_socket *s)
{
    return list_first(&s->inbox, struct packet, link);
}

err_t inet_append(struct inet_socket *s, struct pbuf *p, const ip_addr_t *from, u16 port,
                  const struct arrival *arrival)
{
    struct packet *packet = kmalloc(sizeof(*packet));
    if (!packet)
        return ERR_MEM;
    packet->p = p;
    packet->from_port = port;
    if (from)
        packet->from = *from;
    if (arrival)
        packet->arrival = *arrival;
    list_push_back(&s->inbox, &packet->link);
    s->inbox_bytes += p->tot_len;
    return ERR_OK;
}

err_t inet_arrived(struct inet_socket *s, struct pbuf *p)
{
    err_t err = inet_append(s, p, NULL, 0, NULL);
    if (err == ERR_OK && !channel_draining(s))
        inet_wake(s, POLL_IN);
    return err;
}

void inet_wake(struct inet_socket *s, u32 events)
{
    waitq_wake_all(&s->changed, events);
}

/* ---- addresses ---- */

struct sockaddr_v4 {
    u16 family, port;
    u32 addr;
    u8 pad[8];
};
struct sockaddr_v6 {
    u16 family, port;
    u32 flow;
    u8 addr[16];
    u32 scope;
};
_Static_assert(sizeof(struct sockaddr_v6) == 28, "struct sockaddr_in6");

static const u8 mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static int address_v6(const struct inet_socket *s, const struct socket_address *a, ip_addr_t *ip, u16 *port)
{
    struct sockaddr_v6 sa = {0};
    if (a->len < 24)
        return -EINVAL;
    if (a->family != AF_INET6)
        return -EAFNOSUPPORT;
    memcpy(&sa, a->bytes, MIN(a->len, (u32)sizeof(sa)));
    *port = lwip_ntohs(sa.port);
    *ip = (ip_addr_t){0};
    if (!memcmp(sa.addr, mapped_prefix, sizeof(mapped_prefix))) {
        u32 v4;
        memcpy(&v4, sa.addr + 12, 4);
        ip_addr_set_ip4_u32_val(*ip, v4);
        return s->v6only ? -ENETUNREACH : 0;
    }
    IP_SET_TYPE_VAL(*ip, IPADDR_TYPE_V6);
    memcpy(ip_2_ip6(ip)->addr, sa.addr, 16);
    if (sa.scope && ip6_addr_islinklocal(ip_2_ip6(ip)))
        ip6_addr_set_zone(ip_2_ip6(ip), sa.scope);
    return 0;
}

int inet_address(const struct inet_socket *s, const struct socket_address *a, ip_addr_t *ip, u16 *port)
{
    struct sockaddr_v4 sa;
    if (s->base.family == AF_INET6)
        return address_v6(s, a, ip, port);
    if (a->len < sizeof(sa))
        return -EINVAL;
    memcpy(&sa, a->bytes, sizeof(sa));
    if (sa.family != AF_INET && (sa.family != AF_UNSPEC || sa.addr))
        return -EAFNOSUPPORT;
    *ip = (ip_addr_t){0};
    ip_addr_set_ip4_u32_val(*ip, sa.addr);
    *port = lwip_ntohs(sa.port);
    return 0;
}

void inet_to_linux(const struct inet_socket *s, const ip_addr_t *ip, u16 port, struct socket_address *out)
{
    bool v4 = IP_IS_V4(ip) && !IP_IS_ANY_TYPE_VAL(*ip);
    if (s->base.family == AF_INET) {
        struct sockaddr_v4 sa = {AF_INET, lwip_htons(port), v4 ? ip4_addr_get_u32(ip_2_ip4(ip)) : 0, {0}};
        out->len = sizeof(sa);
        memcpy(out->bytes, &sa, sizeof(sa));
        return;
    }
    struct sockaddr_v6 sa = {.family = AF_INET6, .port = lwip_htons(port)};
    if (v4) {
        memcpy(sa.addr, mapped_prefix, sizeof(mapped_prefix));
        memcpy(sa.addr + 12, &ip_2_ip4(ip)->addr, 4);
    } else if (IP_IS_V6(ip)) {
        memcpy(sa.addr, ip_2_ip6(ip)->addr, 16);
        if (ip6_addr_islinklocal(ip_2_ip6(ip)))
            sa.scope = ip6_addr_zone(ip_2_ip6(ip));
    }
    out->len = sizeof(sa);
    memcpy(out->bytes, &sa, sizeof(sa));
}

u8 inet_pcb_type(const struct inet_socket *s)
{
    if (s->base.family == AF_INET)
        return IPADDR_TYPE_V4;
    return s->v6only ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY;
}

static bool is_ours(const ip_addr_t *ip)
{
    struct netif *netif;
    if (IP_IS_V4(ip) && ip_addr_isloopback(ip))
        return true;
    NETIF_FOREACH(netif)
    {
        if (IP_IS_V4(ip) && ip4_addr_cmp(ip_2_ip4(ip), netif_ip4_addr(netif)))
            return true;
        if (IP_IS_V6(ip) && netif_get_ip6_addr_match(netif, ip_2_ip6(ip)) >= 0)
            return true;
    }
    return false;
}

bool inet_bindable(const struct inet_socket *s, ip_addr_t *ip)
{
    if (!ip_addr_isany(ip))
        return is_ours(ip) || (s->base.type == SOCK_DGRAM && ip_addr_ismulticast(ip));
    if (IP_IS_V6(ip) && !s->v6only)
        *ip = (ip_addr_t)IPADDR_ANY_TYPE_INIT;
    return true;
}

int inet_errno(err_t err)
{
    switch (err) {
    case ERR_OK:
        return 0;
    case ERR_MEM:
        return -ENOBUFS;
    case ERR_BUF:
        return -EADDRNOTAVAIL;
    case ERR_RTE:
        return -ENETUNREACH;
    case ERR_USE:
        return -EADDRINUSE;
    case ERR_ISCONN:
        return -EISCONN;
    case ERR_CONN:
        return -ENOTCONN;
    case ERR_IF:
        return -ENETDOWN;
    }
    return -EINVAL;
}

/* ---- waiting ---- */

int inet_wait(struct inet_socket *s, u32 flags, u64 deadline_ns)
{
    struct waiter w;
    int err = 0;
    if (flags & SOCKET_DONTWAIT)
        return -EAGAIN;
    waitq_enter(&s->changed, &w);
    if (!channel_pending(s))
        err = core_sleep(deadline_ns);
    waitq_leave(&s->changed, &w);
    return err;
}

int inet_take_error(struct inet_socket *s)
{
    return -__atomic_exchange_n(&s->error, 0, __ATOMIC_RELAXED);
}

struct waitq *inet_pollq(struct socket *base)
{
    return &inet_of(base)->changed;
}

int inet_name(struct socket *base, bool of_peer, struct socket_address *out)
{
    struct inet_socket *s = inet_of(base);
    int err = 0;
    core_enter();
    if (s->udp && !of_peer) {
        s->local = s->udp->local_ip;
        s->local_port = s->udp->local_port;
    }
    if (!of_peer)
        inet_to_linux(s, &s->local, s->local_port, out);
    else if (s->state != S_ESTABLISHED)
        err = -ENOTCONN;
    else
        inet_to_linux(s, &s->remote, s->remote_port, out);
    core_leave();
    return err;
}

/* ---- options ---- */

/* Where an option is in option_table, plus 1; 0: nowhere. Filled at boot. */
#define NUMBERS 80
static u8 option_index[LEVEL_IPV6 + 1][NUMBERS];

static void index_options(void)
{
    for (u32 i = 0; i < ARRAY_LEN(option_table); i++)
        option_index[option_table[i].level][option_table[i].number] = i + 1;
}

static int find_option(const struct inet_socket *s, int level, int option)
{
    if ((u32)level > LEVEL_IPV6 || (u32)option >= NUMBERS ||
        (level == LEVEL_TCP && s->base.type != SOCK_STREAM))
        return -1;
    return option_index[level][option] - 1;
}

s32 inet_option(const struct inet_socket *s, int level, int option)
{
    int i = find_option(s, level, option);
    return i < 0 ? 0 : s->options[i];
}

static int give_number(s32 number, void *value, u32 *len)
{
    *len = MIN(*len, (u32)sizeof(number));
    memcpy(value, &number, *len);
    return 0;
}

/* getsockopt() of what there is not; setsockopt() says ENOPROTOOPT always. */
static int no_option(const struct inet_socket *s, int level)
{
    bool known = level == LINUX_SOL_SOCKET || level == LEVEL_IP || s->base.family == AF_INET6 ||
                 level == s->base.protocol;
    return known ? -ENOPROTOOPT : -EOPNOTSUPP;
}

int inet_get_option(struct socket *base, int level, int option, void *value, u32 *len)
{
    struct inet_socket *s = inet_of(base);
    int err = no_option(s, level), i = find_option(s, level, option);
    core_enter();
    if (level == LINUX_SOL_SOCKET && option == LINUX_SO_ERROR)
        err = give_number(-inet_take_error(s), value, len);
    else if (level == LINUX_SOL_SOCKET && option == LINUX_SO_ACCEPTCON)
        err = give_number(s->state == S_LISTENING, value, len);
    else if (level == LEVEL_IPV6 && option == IPV6_V6ONLY_OPTION && base->family == AF_INET6)
        err = give_number(s->v6only, value, len);
    else if (level == LEVEL_TCP && option == 2 && base->type == SOCK_STREAM)
        err = give_number(s->tcp && s->state == S_ESTABLISHED ? tcp_mss(s->tcp) : 536, value, len);
    else if (level == LEVEL_IP && option == 32)
        err = give_number(0, value, len); /* IP_MULTICAST_IF: any */
    else if (i >= 0)
        err = give_number(s->options[i], value, len);
    core_leave();
    return err;
}

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

static int set_number(struct inet_socket *s, int i, s32 number)
{
    const struct option *o = &option_table[i];
    if (o->most == 1)
        number = !!number;
    if (number < o->least || number > o->most)
        return -EINVAL;
    s->options[i] = number;
    apply(s);
    return 0;
}

int inet_set_option(struct socket *base, int level, int option, const void *value, u32 len)
{
    struct inet_socket *s = inet_of(base);
    int err = -ENOPROTOOPT, i = find_option(s, level, option);
    s32 number = 0;
    bool member = (level == LEVEL_IP && (option == 35 || option == 36)) ||
                  (level == LEVEL_IPV6 && (option == 20 || option == 21));
    if (len >= sizeof(number))
        memcpy(&number, value, sizeof(number));
    else if (len && level == LEVEL_IP)
        number = *(const u8 *)value; /* ip(7) takes a byte, too */
    else if (i >= 0)
        return -EINVAL;
    core_enter();
    if (level == LINUX_SOL_SOCKET && option == LINUX_SO_KEEPALIVE) {
        if (number)
            __atomic_or_fetch(&base->flags, 1UL << option, __ATOMIC_RELAXED);
        else
            __atomic_and_fetch(&base->flags, ~(1UL << option), __ATOMIC_RELAXED);
        apply(s);
        err = 0;
    } else if (level == LINUX_SOL_SOCKET &&
               (option == LINUX_SO_TIMESTAMP || option == LINUX_SO_TIMESTAMPNS) && base->type == SOCK_DGRAM) {
        /* From now on by lwIP, which sees when they come; the socket layer sets the flag. A group's others
         * must not get what is for s. */
        datagram_forget(s);
        if (s->udp)
            datagram_forget_port(s->udp->local_port);
    } else if (level == LEVEL_IPV6 && option == IPV6_V6ONLY_OPTION) {
        err = set_v6only(s, number);
    } else if (member) {
        err = base->type == SOCK_DGRAM ? udp_membership(s, level, option, value, len) : -EPROTO;
    } else if ((level == LEVEL_IP && option == 32) || (level == LEVEL_TCP && option == 2)) {
        err = 0; /* IP_MULTICAST_IF: there is one; TCP_MAXSEG: a hint */
    } else if (i >= 0) {
        err = set_number(s, i, number);
    }
    core_leave();
    return err;
}

/* ---- ioctl ---- */

static int transfer_check(u64 address, size_t n)
{
    return address > PROGRAM_END || n > PROGRAM_END - address ? -EFAULT : 0;
}

int inet_put(u64 address, const void *src, size_t n)
{
    struct iov iov = {(void *)address, n};
    struct iov_iter it;
    if (transfer_check(address, n))
        return -EFAULT;
    iov_iter_init(&it, &iov, 1, true);
    return iov_to(&it, src, n) == (ssize_t)n ? 0 : -EFAULT;
}

int inet_get(u64 address, void *dst, size_t n)
{
    struct iov iov = {(void *)address, n};
    struct iov_iter it;
    if (transfer_check(address, n))
        return -EFAULT;
    iov_iter_init(&it, &iov, 1, true);
    return iov_from(&it, dst, n) == (ssize_t)n ? 0 : -EFAULT;
}

#define FIONREAD_CMD 0x541bu
#define OUTQ_CMD     0x5411u
#define ATMARK_CMD   0x8905u

s64 inet_ioctl(struct socket *base, u32 cmd, u64 arg)
{
    struct inet_socket *s = inet_of(base);
    s32 bytes = 0;
    bool mark = cmd == ATMARK_CMD && base->type == SOCK_STREAM;
    if (cmd != FIONREAD_CMD && cmd != OUTQ_CMD && !mark)
        return -ENOTTY; /* the socket layer asks ifconf_ioctl */
    if (direct_is(s)) {
        bytes = mark ? direct_at_mark(s) : direct_pending(s, cmd == OUTQ_CMD);
        return inet_put(arg, &bytes, sizeof(bytes));
    }
    core_enter();
    channel_drain(s);
    datagram_settle(s);
    int err = s->state == S_LISTENING && !mark ? -EINVAL : 0;
    if (mark)
        bytes = urgent_at_mark(&s->urgent);
    else if (cmd == OUTQ_CMD && s->tcp && !err)
        bytes = TCP_SND_BUF - s->tcp->snd_buf;
    else if (cmd == FIONREAD_CMD && base->type == SOCK_STREAM)
        bytes = urgent_pending(&s->urgent, inet_in_line(s), inet_waiting(s));
    else if (cmd == FIONREAD_CMD && inet_first(s))
        bytes = inet_first(s)->p->tot_len;
    core_leave();
    return err ? err : inet_put(arg, &bytes, sizeof(bytes));
}

/* ---- the families ---- */

static int create(u32 family, u32 type, u32 protocol, struct socket **out)
{
    if (type != SOCK_STREAM && type != SOCK_DGRAM)
        return type == 3 ? -EPERM : -ESOCKTNOSUPPORT; /* raw sockets: nobody has the right */
    if (protocol && protocol != (type == SOCK_STREAM ? LEVEL_TCP : LEVEL_UDP))
        return -EPROTONOSUPPORT;
    struct inet_socket *s = inet_new(family, type);
    if (!s)
        return -ENOMEM;
    *out = &s->base;
    return 0;
}

static int create_v4(u32 type, u32 protocol, struct socket **out)
{
    return create(AF_INET, type, protocol, out);
}

static int create_v6(u32 type, u32 protocol, struct socket **out)
{
    return create(AF_INET6, type, protocol, out);
}

static struct socket_family families[] = {{AF_INET, create_v4, NULL, NULL},
                                          {AF_INET6, create_v6, NULL, NULL}};

void inet_init(void)
{
    index_options();
    socket_register(&families[0]);
    socket_register(&families[1]);
    inet_icmp_init();
}
