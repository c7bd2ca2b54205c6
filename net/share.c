#include "net/share.h"

#include "lwip/priv/tcp_priv.h"

bool share_meets(const ip_addr_t *a, const ip_addr_t *b)
{
    if (IP_IS_ANY_TYPE_VAL(*a) || IP_IS_ANY_TYPE_VAL(*b))
        return true;
    return IP_IS_V6(a) == IP_IS_V6(b) && (ip_addr_isany(a) || ip_addr_isany(b) || ip_addr_cmp(a, b));
}

static bool both(const struct inet_socket *a, const struct inet_socket *b, u32 option)
{
    return socket_flag(&a->base, option) && socket_flag(&b->base, option);
}

bool share_allowed(const struct inet_socket *s, const struct inet_socket *other, bool listens)
{
    return both(s, other, LINUX_SO_REUSEPORT) || (!listens && both(s, other, LINUX_SO_REUSEADDR));
}

static bool same_address(const ip_addr_t *a, const ip_addr_t *b)
{
    return IP_GET_TYPE(a) == IP_GET_TYPE(b) && ip_addr_cmp(a, b);
}

bool share_together(const struct udp_pcb *a, const struct udp_pcb *b)
{
    return a->recv_arg && b->recv_arg && a->local_port == b->local_port &&
           !((a->flags | b->flags) & UDP_FLAGS_CONNECTED) && same_address(&a->local_ip, &b->local_ip) &&
           both(a->recv_arg, b->recv_arg, LINUX_SO_REUSEPORT);
}

static u64 weight(u64 flow, const struct inet_socket *s)
{
    return hash_end(hash_word(flow, (u64)s));
}

bool share_prefers(const union flow_key *flow, const struct inet_socket *a, const struct inet_socket *b)
{
    u64 h = hash_end(flow_mix(flow));
    return weight(h, a) > weight(h, b);
}

/* Of what lwIP is receiving. */
static union flow_key current_flow(u16 from_port, u16 to_port)
{
    union flow_key f = {.local_port = to_port, .remote_port = from_port, .v6 = ip_current_is_v6()};
    flow_set_address(f.local, ip_current_dest_addr());
    flow_set_address(f.remote, ip_current_src_addr());
    return f;
}

struct udp_pcb *net_udp_share(struct udp_pcb *pcb, u16 from_port)
{
    if (!pcb->recv_arg || !socket_flag(&((struct inet_socket *)pcb->recv_arg)->base, LINUX_SO_REUSEPORT) ||
        ip_addr_ismulticast(ip_current_dest_addr()))
        return pcb;
    union flow_key flow = current_flow(from_port, pcb->local_port);
    for (struct udp_pcb *p = udp_pcbs; p; p = p->next)
        if (share_together(p, pcb) && share_prefers(&flow, p->recv_arg, pcb->recv_arg))
            pcb = p;
    return pcb;
}

struct tcp_pcb_listen *net_tcp_share(struct tcp_pcb_listen *pcb, u16 from_port)
{
    const struct inet_socket *s = pcb->callback_arg;
    if (!s || !socket_flag(&s->base, LINUX_SO_REUSEPORT))
        return pcb;
    union flow_key flow = current_flow(from_port, pcb->local_port);
    for (struct tcp_pcb_listen *p = tcp_listen_pcbs.listen_pcbs; p; p = p->next) {
        const struct inet_socket *other = p->callback_arg;
        if (other && p->local_port == pcb->local_port && same_address(&p->local_ip, &pcb->local_ip) &&
            socket_flag(&other->base, LINUX_SO_REUSEPORT) && share_prefers(&flow, other, s)) {
            pcb = p;
            s = other;
        }
    }
    return pcb;
}
