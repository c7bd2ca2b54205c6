/* SOCK_DGRAM: UDP (udp(7)), over lwIP's udp_pcb. */
#include "lwip/netif.h"
#include "net/ancillary.h"
#include "net/error_queue.h"
#include "net/loopback.h"
#include "net/member.h"
#include "net/share.h"
#include "net/template.h"

#define DATAGRAM_MAX 65507u

/* Is what lwIP gives to all sockets of a port for s? */
static bool wanted(const struct inet_socket *s, const struct udp_pcb *pcb, const ip_addr_t *from, u16 port)
{
    const ip_addr_t *to = ip_current_dest_addr();
    if (pcb->flags & UDP_FLAGS_CONNECTED && (pcb->remote_port != port || !ip_addr_cmp(&pcb->remote_ip, from)))
        return false;
    return !ip_addr_ismulticast(to) || member_takes(s, to);
}

static void on_datagram(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
    struct inet_socket *s = arg;
    if (wanted(s, pcb, from, port) && datagram_arrived(s, p, from, port))
        loopback_arrived(s, p, from, port);
    else
        pbuf_free(p);
    datagram_learn(s);
}

void udp_apply_options(struct inet_socket *s)
{
    struct udp_pcb *pcb = s->udp;
    s->applied = __atomic_load_n(&s->base.flags, __ATOMIC_RELAXED);
    pcb->netif_idx = s->interface;
    if (socket_flag(&s->base, LINUX_SO_BROADCAST))
        ip_set_option(pcb, SOF_BROADCAST);
}

/* How far, with which class, and for groups by which interface and whether to ourselves, too: for what is
 * sent next. core held. */
static void apply_hops(struct inet_socket *s, const ip_addr_t *ip)
{
    struct udp_pcb *pcb = s->udp;
    bool v6 = IP_IS_V6(ip);
    pcb->ttl = v6 ? inet_option(s, LEVEL_IPV6, 16) : inet_option(s, LEVEL_IP, 2);
    pcb->tos = v6 ? inet_option(s, LEVEL_IPV6, 67) : inet_option(s, LEVEL_IP, 1);
    udp_set_multicast_ttl(pcb, v6 ? inet_option(s, LEVEL_IPV6, 18) : inet_option(s, LEVEL_IP, 33));
    u8 index = s->multicast_interface;
    if (v6) /* choose_zone() has been there */
        index =
            ip6_addr_has_zone(ip_2_ip6(ip)) ? ip6_addr_zone(ip_2_ip6(ip)) : inet_option(s, LEVEL_IPV6, 17);
    struct netif *way = netif_get_by_index(index);
    pcb->mcast_ifindex = way ? netif_get_index(way) : NETIF_NO_INDEX;
    bool comes_back = way && !(way->flags & NETIF_FLAG_BROADCAST); /* the loopback interface, by itself */
    if (!comes_back && (v6 ? inet_option(s, LEVEL_IPV6, 19) : inet_option(s, LEVEL_IP, 34)))
        udp_set_flags(pcb, UDP_FLAGS_MULTICAST_LOOP);
    else
        udp_clear_flags(pcb, UDP_FLAGS_MULTICAST_LOOP);
}

/* Must it not be cut (ip(7), IP_MTU_DISCOVER: IP_PMTUDISC_DO, _PROBE; ipv6(7)), and is it too large for that?
 * core held. */
static bool too_large(const struct inet_socket *s, u32 len, const ip_addr_t *ip)
{
    bool v6 = IP_IS_V6(ip);
    s32 discover = v6 ? inet_option(s, LEVEL_IPV6, 23) : inet_option(s, LEVEL_IP, 10);
    bool whole = discover == 2 || discover == 3 || (v6 && inet_option(s, LEVEL_IPV6, 62));
    return whole && len + UDP_HLEN + (v6 ? IP6_HLEN : IP_HLEN) > inet_mtu(ip);
}

/* A control block, bound if bind says so. core held. */
static int make_pcb(struct inet_socket *s)
{
    if (s->udp)
        return 0;
    s->udp = udp_new_ip_type(inet_pcb_type(s));
    if (!s->udp)
        return -ENOMEM;
    udp_recv(s->udp, on_datagram, s);
    ip_set_option(s->udp, SOF_REUSEADDR); /* who may share a port taken() says; multicast is for all who do */
    return 0;
}

/* Has somebody the port who does not share it with s? core held. */
static bool taken(const struct inet_socket *s, const ip_addr_t *ip, u16 port)
{
    for (const struct udp_pcb *p = udp_pcbs; port && p; p = p->next)
        if (p->recv_arg && p->recv_arg != s && p->local_port == port && share_meets(&p->local_ip, ip) &&
            !share_allowed(s, p->recv_arg, false))
            return true;
    return false;
}

static int bind_locked(struct inet_socket *s, ip_addr_t *ip, u16 port)
{
    if (s->udp && s->udp->local_port)
        return -EINVAL;
    if (!inet_bindable(s, ip))
        return -EADDRNOTAVAIL;
    if (taken(s, ip, port))
        return -EADDRINUSE;
    int err = make_pcb(s);
    if (err)
        return err;
    udp_apply_options(s);
    err_t bound = udp_bind(s->udp, ip, port);
    if (bound != ERR_OK) { /* the next try may be for another version of IP */
        udp_remove(s->udp);
        s->udp = NULL;
        return inet_errno(bound);
    }
    template_renew(s);
    datagram_forget_port(s->udp->local_port);
    return 0;
}

/* An ephemeral port for a socket that has none. core held. */
static int bind_any(struct inet_socket *s)
{
    ip_addr_t ip = {0};
    if (s->udp && s->udp->local_port)
        return 0;
    if (s->bound_address)
        ip = s->local;
    else if (s->base.family == AF_INET6)
        IP_SET_TYPE_VAL(ip, IPADDR_TYPE_V6);
    return bind_locked(s, &ip, 0);
}

static int udp_bind_op(struct socket *base, const struct socket_address *a)
{
    return inet_bind(inet_of(base), a, bind_locked);
}

static void prepare_target(ip_addr_t *ip)
{
    if (ip_addr_isany(ip))
        ip_addr_set_loopback(IP_IS_V6(ip), ip);
    if (!ip_addr_isloopback(ip))
        netif_wait_address();
}

/* A group of one link (ff01::, ff02::) without a zone is one of the link that s is bound to, or that
 * IPV6_MULTICAST_IF says, else of `otherwise`. Does the address have all that it needs? core held. */
static bool choose_zone(const struct inet_socket *s, ip_addr_t *ip, struct netif *otherwise)
{
    if (!IP_IS_V6(ip) || !ip_addr_ismulticast(ip) || !ip6_addr_lacks_zone(ip_2_ip6(ip), IP6_MULTICAST))
        return true;
    struct netif *chosen = netif_get_by_index(s->interface ? s->interface : inet_option(s, LEVEL_IPV6, 17));
    if (!chosen)
        chosen = otherwise;
    if (chosen)
        ip6_addr_assign_zone(ip_2_ip6(ip), IP6_MULTICAST, chosen);
    return chosen;
}

/* The wildcard address that s has when it is bound to none. */
static ip_addr_t anywhere(const struct inet_socket *s)
{
    ip_addr_t any = {0};
    if (s->base.family == AF_INET6 && s->v6only)
        IP_SET_TYPE_VAL(any, IPADDR_TYPE_V6);
    else if (s->base.family == AF_INET6)
        any = (ip_addr_t)IPADDR_ANY_TYPE_INIT;
    return any;
}

/* Only what bind() said stays: a port that was given out is free again. core held. */
static void disconnect_locked(struct inet_socket *s)
{
    udp_disconnect(s->udp);
    template_renew(s);
    datagram_forget_port(s->udp->local_port);
    if (!s->bound_address)
        s->udp->local_ip = anywhere(s);
    if (s->bound_port)
        return;
    s->local = s->udp->local_ip;
    s->local_port = 0;
    datagram_forget(s);
    udp_remove(s->udp);
    s->udp = NULL;
}

static int disconnect(struct inet_socket *s)
{
    core_enter();
    if (s->udp && s->state == S_ESTABLISHED)
        disconnect_locked(s);
    s->state = S_FRESH;
    s->remote_port = 0;
    core_leave();
    return 0;
}

static int connect_locked(struct inet_socket *s, ip_addr_t *ip, u16 port)
{
    prepare_target(ip);
    if (!choose_zone(s, ip, NULL))
        return -EINVAL;
    struct netif *way = ip_route(IP_IS_V6(ip) ? IP6_ADDR_ANY : IP4_ADDR_ANY, ip);
    const ip_addr_t *from = way ? ip_netif_get_local_ip(way, ip) : NULL;
    int err = from ? bind_any(s) : -ENETUNREACH;
    if (err)
        return err;
    err = inet_errno(udp_connect(s->udp, ip, port));
    if (err)
        return err;
    if (ip_addr_isany(&s->udp->local_ip))
        ip_addr_copy(s->udp->local_ip, *from); /* connect(2) fixes the source address, too */
    datagram_forget_port(s->udp->local_port);
    template_renew(s);
    s->remote = *ip;
    s->remote_port = port;
    s->state = S_ESTABLISHED;
    return 0;
}

static int udp_connect_op(struct socket *base, const struct socket_address *a, u32 flags)
{
    struct inet_socket *s = inet_of(base);
    ip_addr_t ip;
    u16 port;
    if (a->len >= 2 && a->family == AF_UNSPEC)
        return disconnect(s);
    int err = inet_address(s, a, &ip, &port);
    if (err)
        return err;
    core_enter();
    err = connect_locked(s, &ip, port);
    core_leave();
    return err;
}

/* ---- sending ---- */

#define SEGMENTS_MAX 128u /* of one call (udp(7), UDP_SEGMENT) */

/* Within this machine any address of ours may speak to any other; lwIP wants the interface's own. */
static err_t output(struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *ip, u16 port)
{
    const ip_addr_t *from = &pcb->local_ip;
    struct netif *way = IP_IS_V4(ip) ? ip_route(from, ip) : NULL;
    bool ours = way && (ip_addr_isloopback(ip) || ip4_addr_cmp(ip_2_ip4(ip), netif_ip4_addr(way)));
    if (!ours || !IP_IS_V4(from) || ip_addr_isany(from) || ip_addr_ismulticast(from))
        return udp_sendto(pcb, p, ip, port);
    return udp_sendto_if_src(pcb, p, ip, port, way, from);
}

/* As a datagram's control messages say. */
static err_t output_specially(struct inet_socket *s, struct pbuf *p, const ip_addr_t *ip, u16 port,
                              const struct ancillary *how)
{
    struct udp_pcb *pcb = s->udp;
    bool free_choice = ip_addr_ismulticast(ip) || (IP_IS_V6(ip) && ip6_addr_islinklocal(ip_2_ip6(ip)));
    struct netif *way = how->interface && free_choice
                            ? netif_get_by_index(how->interface)
                            : ip_route(IP_IS_V6(ip) ? IP6_ADDR_ANY : IP4_ADDR_ANY, ip);
    const ip_addr_t *from = !ip_addr_isany(&how->from) ? &how->from : &pcb->local_ip;
    if (way &&
        (how->unbound || ip_addr_isany(from) || ip_addr_ismulticast(from) || IP_IS_V6(from) != IP_IS_V6(ip)))
        from = ip_netif_get_local_ip(way, ip);
    if (!way || !from)
        return ERR_RTE;
    if (how->hops >= 0) {
        pcb->ttl = how->hops;
        udp_set_multicast_ttl(pcb, how->hops);
    }
    if (how->class >= 0)
        pcb->tos = how->class;
    return udp_sendto_if_src(pcb, p, ip, port, way, from);
}

static int send_specially(struct inet_socket *s, struct pbuf *p, const ip_addr_t *ip, u16 port,
                          struct ancillary *how)
{
    int err = ancillary_check(how, IP_IS_V6(ip));
    if (err)
        return err;
    err_t sent = output_specially(s, p, ip, port, how);
    core_loop();
    return sent == ERR_VAL ? -EACCES : sent == ERR_MEM ? -ENOBUFS : inet_errno(sent);
}

/* to: where, or NULL, where s is connected to. */
static int send_by_lwip(struct inet_socket *s, struct pbuf *p, const ip_addr_t *to, u16 port,
                        struct ancillary *how)
{
    ip_addr_t ip = to ? *to : s->remote;
    prepare_target(&ip);
    choose_zone(s, &ip, netif_device());
    int err = bind_any(s);
    if (err)
        return err;
    if (s->applied != __atomic_load_n(&s->base.flags, __ATOMIC_RELAXED))
        udp_apply_options(s);
    if (too_large(s, p->tot_len, &ip))
        return -EMSGSIZE;
    apply_hops(s, &ip);
    if (how->special)
        return send_specially(s, p, &ip, to ? port : s->remote_port, how);
    template_begin(s, &ip);
    loopback_begin(s, to, port, &ip);
    err_t sent = output(s->udp, p, &ip, to ? port : s->remote_port);
    core_loop();
    loopback_end();
    template_end();
    return sent == ERR_VAL ? -EACCES : sent == ERR_MEM ? -ENOBUFS : inet_errno(sent);
}

/* p: the datagram's bytes; to: where, or NULL, where s is connected to. core held. */
static int send_locked(struct inet_socket *s, struct pbuf *p, const ip_addr_t *to, u16 port,
                       struct ancillary *how)
{
    if (s->error)
        return inet_take_error(s);
    if (!to && s->state != S_ESTABLISHED)
        return -EDESTADDRREQ;
    int err = how->special ? 1 : template_send(s, p, to ? to : &s->remote, to ? port : s->remote_port);
    return err <= 0 ? err : send_by_lwip(s, p, to, port, how);
}

/* The message's next bytes. */
static int read_message(struct socket_message *m, size_t len, struct outgoing **out)
{
    struct outgoing *o = outgoing_new(len);
    if (!o)
        return -ENOBUFS;
    *out = o;
    if (!len || iov_from(m->it, o->bytes, len) == (ssize_t)len)
        return 0;
    outgoing_free(o);
    return -EFAULT;
}

/* By lwIP, or as it did. */
static int send_packet(struct inet_socket *s, struct outgoing *o, const ip_addr_t *to, u16 port,
                       struct ancillary *how)
{
    struct pbuf *p = outgoing_pbuf(o);
    core_enter();
    int err = send_locked(s, p, to, port, how);
    pbuf_free(p);
    core_leave();
    return err;
}

/* One datagram, which it takes over. port 0: to where s is connected. */
static int send_one(struct inet_socket *s, struct outgoing *o, const ip_addr_t *ip, u16 port,
                    struct ancillary *how)
{
    if (!how->special && !__atomic_load_n(&s->error, __ATOMIC_RELAXED) && loopback_send(s, o, ip, port))
        return 0;
    return send_packet(s, o, port ? ip : NULL, port, how);
}

/* The message as datagrams of how->segment bytes: all is read before any is sent. */
static int send_segments(struct inet_socket *s, struct socket_message *m, const ip_addr_t *ip, u16 port,
                         struct ancillary *how)
{
    struct outgoing *all[SEGMENTS_MAX];
    u32 count = (m->it->left + how->segment - 1) / how->segment, read = 0, sent = 0;
    int err = count > SEGMENTS_MAX ? -EINVAL : 0;
    for (; !err && read < count; read += !err)
        err = read_message(m, MIN(m->it->left, (size_t)how->segment), &all[read]);
    for (; !err && sent < count; sent++)
        err = send_one(s, all[sent], ip, port, how);
    while (sent < read)
        outgoing_free(all[sent++]);
    return err;
}

/* May it be sent, and where to? *port 0: where s is connected to. */
static int check_message(struct inet_socket *s, const struct socket_message *m, ip_addr_t *ip, u16 *port)
{
    *port = 0;
    if (m->it->left > DATAGRAM_MAX)
        return -EMSGSIZE;
    if (m->flags & SOCKET_OOB)
        return -EOPNOTSUPP;
    if (m->address && m->address->len) {
        int err = inet_address(s, m->address, ip, port);
        if (err || !*port)
            return err ? err : -EINVAL;
    } else if (__atomic_load_n(&s->state, __ATOMIC_RELAXED) != S_ESTABLISHED) {
        return -EDESTADDRREQ;
    }
    return __atomic_load_n(&s->send_shut, __ATOMIC_RELAXED) ? -EPIPE : 0;
}

static ssize_t udp_send_op(struct socket *base, struct socket_message *m)
{
    struct inet_socket *s = inet_of(base);
    size_t len = m->it->left;
    struct outgoing *o;
    struct ancillary how;
    ip_addr_t ip;
    u16 port;
    int err = check_message(s, m, &ip, &port);
    if (!err)
        err = ancillary_read(s, m, IP_IS_V6(port ? &ip : &s->remote), &how);
    if (!err && how.segment && len > how.segment) {
        err = send_segments(s, m, &ip, port, &how);
        return err ? err : (ssize_t)len;
    }
    if (!err)
        err = read_message(m, len, &o);
    if (!err)
        err = send_one(s, o, &ip, port, &how);
    return err ? err : (ssize_t)len;
}

/* ---- receiving ---- */

/* The inbox's first, or with SOCKET_PEEK a reference to it. */
static bool take_inbox(struct inet_socket *s, bool peek, struct packet *out)
{
    core_enter();
    if (peek)
        datagram_settle(s);
    struct packet *p = inet_first(s);
    if (p) {
        *out = *p;
        if (peek) {
            pbuf_ref(p->p);
        } else {
            list_del(&p->link);
            datagram_taken(s, p->p->tot_len);
            kfree(p);
        }
    }
    core_leave();
    return p;
}

/* Sleeps once, unless there is something to tell. */
static int wait(struct inet_socket *s, u64 deadline)
{
    struct waiter w;
    int err = 0;
    socket_settle();
    waitq_enter(&s->changed, &w);
    if (!datagram_waiting(s) && !__atomic_load_n(&s->error, __ATOMIC_RELAXED) &&
        !__atomic_load_n(&s->receive_shut, __ATOMIC_RELAXED))
        err = sched_sleep(deadline, SLEEP_INTERRUPTIBLE);
    waitq_leave(&s->changed, &w);
    return err == -EINTR ? -ERESTART : err == -ETIMEDOUT ? -EAGAIN : err;
}

static ssize_t finish(struct inet_socket *s, struct socket_message *m, size_t len, size_t room, bool fault)
{
    if (room < len)
        m->out_flags |= SOCKET_TRUNC;
    return fault ? -EFAULT : (ssize_t)(m->flags & SOCKET_TRUNC ? len : MIN(len, room));
}

/* ip(7), IP_PKTINFO, IP_RECVTTL, IP_RECVTOS. */
static void tell_v4(const struct inet_socket *s, struct socket_control *c, const struct arrival *a)
{
    u32 to = ip4_addr_get_u32(ip_2_ip4(&a->to)), at = to;
    struct netif *device = netif_device();
    s32 hops = a->hops;
    if (device && (ip_addr_ismulticast(&a->to) || ip_addr_isbroadcast(&a->to, device)))
        at = ip4_addr_get_u32(netif_ip4_addr(device));
    u32 info[3] = {a->interface, at, to};
    if (inet_option(s, 0, 8))
        socket_control_put(c, 0, 8, info, sizeof(info));
    if (inet_option(s, 0, 12))
        socket_control_put(c, 0, 2, &hops, sizeof(hops));
    if (inet_option(s, 0, 13))
        socket_control_put(c, 0, 1, &a->tos, sizeof(a->tos));
    if (inet_option(s, LEVEL_IP, 20)) { /* IP_ORIGDSTADDR: a struct sockaddr_in */
        u32 name[4] = {AF_INET | (u32)lwip_htons(s->udp ? s->udp->local_port : 0) << 16, to};
        socket_control_put(c, LEVEL_IP, 20, name, sizeof(name));
    }
}

/* ipv6(7), IPV6_RECVPKTINFO, of IPv4 packets, too; RFC 3542. */
static void tell_v6(const struct inet_socket *s, struct socket_control *c, const struct arrival *a)
{
    struct socket_address to;
    u32 info[5] = {[4] = a->interface};
    s32 hops = a->hops, tclass = a->tos;
    inet_to_linux(s, &a->to, 0, &to);
    memcpy(info, to.bytes + 8, 16);
    if (inet_option(s, 41, 49))
        socket_control_put(c, 41, 50, info, sizeof(info));
    if (IP_IS_V6(&a->to) && inet_option(s, 41, 51))
        socket_control_put(c, 41, 52, &hops, sizeof(hops));
    if (IP_IS_V6(&a->to) && inet_option(s, 41, 66))
        socket_control_put(c, 41, 67, &tclass, sizeof(tclass));
    if (inet_option(s, 41, 74)) { /* IPV6_ORIGDSTADDR */
        inet_to_linux(s, &a->to, s->udp ? s->udp->local_port : 0, &to);
        socket_control_put(c, 41, 74, to.bytes, to.len);
    }
}

/* What the program wants to know of how a datagram came. joined: bytes of each, if it is several; else 0. */
static void tell(const struct inet_socket *s, struct socket_message *m, const struct arrival *a, s32 joined)
{
    if (inet_stamps(s))
        socket_put_time(&s->base, m->reply, a->when_ns);
    if (joined)
        socket_control_put(m->reply, LEVEL_UDP, UDP_GRO, &joined, sizeof(joined));
    if (s->base.family == AF_INET6)
        tell_v6(s, m->reply, a);
    if (IP_IS_V4(&a->to))
        tell_v4(s, m->reply, a);
}

/* Straight out of the frame. */
static ssize_t give_frame(struct inet_socket *s, struct socket_message *m, const struct datagram *d)
{
    size_t room = m->it->left, n = MIN((size_t)d->len, room);
    bool fault = n && iov_to(m->it, d->bytes, n) != (ssize_t)n;
    if (m->address)
        inet_to_linux(s, &d->from, d->from_port, m->address);
    if (m->reply) {
        struct arrival arrival;
        datagram_arrival(d->frame, &arrival);
        tell(s, m, &arrival, 0);
    }
    datagram_put(d->frame);
    return finish(s, m, d->len, room, fault);
}

/* Copies out what fits of p: false when the program's memory is not there. */
static bool copy_packet(struct socket_message *m, const struct pbuf *first)
{
    bool there = true;
    for (const struct pbuf *p = first; p && m->it->left && there; p = p->next) {
        size_t n = MIN((size_t)p->len, m->it->left);
        there = !n || iov_to(m->it, p->payload, n) == (ssize_t)n;
    }
    return there;
}

static ssize_t give_packet(struct inet_socket *s, struct socket_message *m, const struct packet *packet)
{
    size_t len = packet->p->tot_len, room = m->it->left;
    bool fault = !copy_packet(m, packet->p);
    if (m->address)
        inet_to_linux(s, &packet->from, packet->from_port, m->address);
    if (m->reply)
        tell(s, m, &packet->arrival, 0);
    core_enter();
    pbuf_free(packet->p);
    core_leave();
    return finish(s, m, len, room, fault);
}

/* ---- several at once: UDP_GRO (udp(7)) ---- */

#define JOINED_MAX 64u /* in one call, as with Linux */

/* Takes the first, and what follows it that is from the same sender and as large, the last may be smaller; as
 * long as the bytes find room. How many. */
static u32 take_run(struct inet_socket *s, size_t room, struct list *run)
{
    struct packet *first = NULL, *p;
    size_t size = 0, last = 0;
    u32 n = 0;
    core_enter();
    datagram_settle(s);
    for (; n < JOINED_MAX && (p = inet_first(s)); n++) {
        size_t len = p->p->tot_len;
        if (first &&
            (len > last || last < size || !len || len > room || p->from_port != first->from_port ||
             !ip_addr_cmp(&p->from, &first->from) || !ip_addr_cmp(&p->arrival.to, &first->arrival.to)))
            break;
        if (!first) {
            first = p;
            size = len;
        }
        last = len;
        room -= MIN(room, len);
        list_del(&p->link);
        datagram_taken(s, len);
        list_push_back(run, &p->link);
    }
    core_leave();
    return n;
}

static void free_run(struct list *run)
{
    struct packet *p;
    core_enter();
    while ((p = list_first(run, struct packet, link))) {
        list_del(&p->link);
        pbuf_free(p->p);
        kfree(p);
    }
    core_leave();
}

/* False: nothing is there. Else *result. */
static bool give_run(struct inet_socket *s, struct socket_message *m, ssize_t *result)
{
    struct list run = LIST_INIT(run);
    struct packet *first, *p;
    size_t room = m->it->left, len = 0;
    bool fault = false;
    u32 n = take_run(s, room, &run);
    if (!n)
        return false;
    first = list_first(&run, struct packet, link);
    list_for_each(p, &run, link)
    {
        fault = fault || !copy_packet(m, p->p);
        len += p->p->tot_len;
    }
    if (m->address)
        inet_to_linux(s, &first->from, first->from_port, m->address);
    if (m->reply)
        tell(s, m, &first->arrival, n > 1 ? first->p->tot_len : 0);
    free_run(&run);
    *result = finish(s, m, len, room, fault);
    return true;
}

static ssize_t udp_receive_op(struct socket *base, struct socket_message *m)
{
    struct inet_socket *s = inet_of(base);
    struct datagram datagram;
    struct packet packet;
    bool peek = m->flags & SOCKET_PEEK;
    ssize_t result;
    if (m->flags & SOCKET_ERRQUEUE)
        return error_queue_receive(s, m);
    u64 deadline = socket_deadline(base->receive_timeout_ns);
    for (int err = 0;; err = wait(s, deadline)) {
        if (__atomic_load_n(&s->error, __ATOMIC_RELAXED) && (err = inet_take_error(s)))
            return err;
        if (unlikely(__atomic_load_n(&s->joins, __ATOMIC_RELAXED)) && !peek && datagram_waiting(s) &&
            give_run(s, m, &result))
            return result;
        if (!peek && datagram_take(s, &datagram))
            return give_frame(s, m, &datagram);
        if (__atomic_load_n(&s->datagrams.bytes, __ATOMIC_RELAXED) && take_inbox(s, peek, &packet))
            return give_packet(s, m, &packet);
        if (err || m->flags & SOCKET_DONTWAIT)
            return err ? err : -EAGAIN;
        if (__atomic_load_n(&s->receive_shut, __ATOMIC_RELAXED))
            return 0;
    }
}

/* ---- the rest ---- */

static u32 udp_poll_op(struct socket *base)
{
    struct inet_socket *s = inet_of(base);
    u32 events = POLL_OUT;
    bool receive_shut = __atomic_load_n(&s->receive_shut, __ATOMIC_ACQUIRE);
    if (receive_shut)
        events |= POLL_RDHUP;
    if (receive_shut || datagram_waiting(s))
        events |= POLL_IN;
    if (receive_shut && __atomic_load_n(&s->send_shut, __ATOMIC_RELAXED))
        events |= POLL_HUP;
    if (__atomic_load_n(&s->error, __ATOMIC_RELAXED) || __atomic_load_n(&s->error_count, __ATOMIC_RELAXED))
        events |= POLL_ERR;
    return events;
}

static int udp_shutdown_op(struct socket *base, bool receive, bool send)
{
    struct inet_socket *s = inet_of(base);
    core_enter();
    int err = s->state == S_ESTABLISHED ? 0 : -ENOTCONN;
    s->receive_shut |= receive;
    s->send_shut |= send;
    inet_wake(s, 0);
    core_leave();
    return err;
}

static void udp_release_op(struct socket *base)
{
    struct inet_socket *s = inet_of(base);
    core_enter();
    datagram_forget(s);
    member_leave_all(s);
    error_queue_drop(s);
    if (s->udp)
        udp_remove(s->udp);
    s->udp = NULL;
    core_leave();
    datagram_drop_all(s);
    inet_free(s);
}

const struct socket_ops udp_ops = {
    .bind = udp_bind_op,
    .connect = udp_connect_op,
    .name = inet_name,
    .shutdown = udp_shutdown_op,
    .send = udp_send_op,
    .receive = udp_receive_op,
    .poll = udp_poll_op,
    .pollq = inet_pollq,
    .get_option = inet_get_option,
    .set_option = inet_set_option,
    .ioctl = inet_ioctl,
    .release = udp_release_op,
};
