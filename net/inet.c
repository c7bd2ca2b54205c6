/* What TCP and UDP sockets share. */
#include "net/channel.h"
#include "net/direct.h"
#include "net/template.h"

#include "lwip/netif.h"

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
    s->base.send_buffer = s->base.receive_buffer = s->base.unsent_most = SOCKET_BUFFER;
    s->connect_told = true;
    options_begin(s);
    list_init(&s->inbox);
    list_init(&s->errors);
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
    if (s->direct)
        direct_free(s);
    else
        kfree(s);
}

struct packet *inet_first(struct inet_socket *s)
{
    return list_first(&s->inbox, struct packet, link);
}

/* NULL: out of memory. What only datagrams have is not filled. */
static struct packet *enter_inbox(struct inet_socket *s, struct pbuf *p)
{
    struct packet *packet = kmalloc_raw(sizeof(*packet));
    if (!packet)
        return NULL;
    packet->p = p;
    packet->taken = 0;
    list_push_back(&s->inbox, &packet->link);
    s->inbox_bytes += p->tot_len;
    return packet;
}

err_t inet_append(struct inet_socket *s, struct pbuf *p, const ip_addr_t *from, u16 port,
                  const struct arrival *arrival)
{
    struct packet *packet = enter_inbox(s, p);
    if (!packet)
        return ERR_MEM;
    packet->from_port = port;
    packet->from = *from;
    packet->arrival = *arrival;
    return ERR_OK;
}

err_t inet_arrived(struct inet_socket *s, struct pbuf *p)
{
    if (!enter_inbox(s, p))
        return ERR_MEM;
    if (!channel_draining(s))
        inet_wake(s, POLL_IN);
    return ERR_OK;
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

#define NO_ZONE 0xffu /* an interface's number that none has */

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
    if (sa.scope && ip6_addr_has_scope(ip_2_ip6(ip), IP6_UNKNOWN))
        ip6_addr_set_zone(ip_2_ip6(ip), MIN(sa.scope, NO_ZONE));
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
        if (ip6_addr_has_scope(ip_2_ip6(ip), IP6_UNKNOWN))
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

bool inet_ours(const ip_addr_t *ip)
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
        return inet_ours(ip) || (s->base.type == SOCK_DGRAM && ip_addr_ismulticast(ip)) ||
               inet_option(s, LEVEL_IP, 15) ||
               inet_option(s, LEVEL_IPV6, 78); /* IP_FREEBIND, IPV6_FREEBIND */
    if (IP_IS_V6(ip) && !s->v6only)
        *ip = (ip_addr_t)IPADDR_ANY_TYPE_INIT;
    return true;
}

int inet_bind(struct inet_socket *s, const struct socket_address *a,
              int (*bind_locked)(struct inet_socket *s, ip_addr_t *ip, u16 port))
{
    ip_addr_t ip;
    u16 port;
    int err = inet_address(s, a, &ip, &port);
    if (err)
        return err == -ENETUNREACH ? -EINVAL : err;
    core_enter();
    bool anywhere = ip_addr_isany(&ip);
    err = bind_locked(s, &ip, port);
    if (!err) {
        s->bound_port = port;
        s->bound_address = !anywhere;
    }
    core_leave();
    return err;
}

u32 inet_mtu(const ip_addr_t *to)
{
    struct netif *device = netif_device();
    struct netif *way = ip_addr_isloopback(to) || inet_ours(to)
                            ? NULL
                            : ip_route(IP_IS_V6(to) ? IP6_ADDR_ANY : IP4_ADDR_ANY, to);
    return way && way == device ? way->mtu : LOOPBACK_MTU;
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
#define UNSENT_CMD   0x894bu /* SIOCOUTQNSD */

s64 inet_ioctl(struct socket *base, u32 cmd, u64 arg)
{
    struct inet_socket *s = inet_of(base);
    s32 bytes = 0;
    bool mark = cmd == ATMARK_CMD && base->type == SOCK_STREAM;
    bool unsent = cmd == UNSENT_CMD && base->type == SOCK_STREAM;
    if (cmd != FIONREAD_CMD && cmd != OUTQ_CMD && !mark && !unsent)
        return -ENOTTY; /* the socket layer asks ifconf_ioctl */
    if (direct_is(s)) {
        bytes = mark ? direct_at_mark(s) : direct_pending(s, unsent || cmd == OUTQ_CMD);
        return inet_put(arg, &bytes, sizeof(bytes));
    }
    core_enter();
    channel_drain(s);
    datagram_settle(s);
    int err = s->state == S_LISTENING && !mark ? -EINVAL : 0;
    if (mark)
        bytes = urgent_at_mark(&s->urgent);
    else if (unsent && s->tcp && !err)
        bytes = s->tcp->snd_lbb - s->tcp->snd_nxt;
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
    options_init();
    socket_register(&families[0]);
    socket_register(&families[1]);
    inet_icmp_init();
}
