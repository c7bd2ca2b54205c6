/*
 * What ICMP and ICMPv6 say about packets of ours that did not arrive becomes the error of the socket that
 * sent them (ip(7), "Error handling"). lwIP only counts such messages; a raw control block sees them before
 * it does.
 *
 * Nothing in a message is believed but that it quotes addresses and ports of a socket: a connected UDP
 * socket, one that wants to know of its datagrams' errors (error_queue.h), or a TCP socket that waits for the
 * answer to its SYN and whose sequence number is the quoted one (RFC 5927). An established connection hears
 * only what a retransmission cannot mend, which is nothing: TCP finds out by itself.
 */
#include "kernel/base/panic.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip6.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/raw.h"
#include "net/error_queue.h"

#define ICMP_UNREACHABLE  3
#define ICMP_EXCEEDED     11
#define ICMP6_UNREACHABLE 1
#define ICMP6_EXCEEDED    3
#define ICMP_HEADER       8u
#define QUOTED_PORTS      8u /* of the protocol's header: ports and, for TCP, the sequence number */

/* What a message says. */
struct verdict {
    int error;  /* 0: nothing that programs hear of */
    bool final; /* not mended by trying again: told to connected UDP sockets, too */
};

/* The packet that did not arrive. */
struct quoted {
    ip_addr_t from, to;
    u8 protocol;
    u16 from_port, to_port;
    u32 seq;
    u32 data; /* where what follows UDP's header begins */
};

/* Linux's icmp_err_convert, the codes of RFC 792 and RFC 1122. */
static struct verdict verdict_v4(u8 code)
{
    static const struct verdict table[] = {{ENETUNREACH, false},
                                           {EHOSTUNREACH, false},
                                           {ENOPROTOOPT, true},
                                           {ECONNREFUSED, true},
                                           {0, false},
                                           {EOPNOTSUPP, false},
                                           {ENETUNREACH, true},
                                           {EHOSTDOWN, true},
                                           {ENONET, true},
                                           {ENETUNREACH, true},
                                           {EHOSTUNREACH, true},
                                           {ENETUNREACH, false},
                                           {EHOSTUNREACH, false},
                                           {EHOSTUNREACH, true}};
    return code < ARRAY_LEN(table) ? table[code] : (struct verdict){0, false};
}

/* RFC 4443, 3.1. */
static struct verdict verdict_v6(u8 code)
{
    static const struct verdict table[] = {{ENETUNREACH, false},  {EACCES, true},       {EHOSTUNREACH, false},
                                           {EHOSTUNREACH, false}, {ECONNREFUSED, true}, {EACCES, true},
                                           {EACCES, true}};
    return code < ARRAY_LEN(table) ? table[code] : (struct verdict){0, false};
}

/* A packet knows no zones; there is one link. */
static bool quotes(const struct quoted *q, const ip_addr_t *local, u16 local_port, const ip_addr_t *remote,
                   u16 remote_port)
{
    return q->from_port == local_port && q->to_port == remote_port && ip_addr_cmp_zoneless(&q->to, remote) &&
           (ip_addr_isany(local) || ip_addr_cmp_zoneless(&q->from, local));
}

/* The socket that a quoted datagram is of: one that is connected to where it went, else one that may send
 * there. */
static struct udp_pcb *sender_of(const struct quoted *q)
{
    struct udp_pcb *found = NULL;
    for (struct udp_pcb *pcb = udp_pcbs; pcb; pcb = pcb->next) {
        bool connected = pcb->flags & UDP_FLAGS_CONNECTED;
        if (!pcb->recv_arg || pcb->local_port != q->from_port ||
            (IP_IS_V6_VAL(pcb->local_ip) != IP_IS_V6(&q->from) && !IP_IS_ANY_TYPE_VAL(pcb->local_ip)))
            continue;
        if (connected && quotes(q, &pcb->local_ip, pcb->local_port, &pcb->remote_ip, pcb->remote_port))
            return pcb;
        if (!connected && quotes(q, &pcb->local_ip, pcb->local_port, &q->to, q->to_port))
            found = pcb;
    }
    return found;
}

static void tell_udp(const struct quoted *q, struct verdict v, const u8 start[2], const struct pbuf *p)
{
    struct udp_pcb *pcb = sender_of(q);
    struct inet_socket *s = pcb ? pcb->recv_arg : NULL;
    bool wanted = s && error_queue_wanted(s, IP_IS_V6(&q->to));
    if (!s || (!wanted && !(v.final && pcb->flags & UDP_FLAGS_CONNECTED)))
        return;
    if (wanted) {
        struct icmp_error e = {.error = v.error, .type = start[0], .code = start[1], .to = q->to};
        e.to_port = q->to_port;
        e.offender = *ip_current_src_addr();
        error_queue_add(s, &e, p, q->data);
    }
    __atomic_store_n(&s->error, v.error, __ATOMIC_RELAXED);
    inet_wake(s, POLL_IN | POLL_OUT | POLL_ERR);
}

static void tell_tcp(const struct quoted *q, struct verdict v)
{
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
        struct inet_socket *s = pcb->callback_arg;
        if (pcb->state == SYN_SENT && pcb->lastack + 1 == pcb->snd_nxt && q->seq == pcb->lastack && s &&
            quotes(q, &pcb->local_ip, pcb->local_port, &pcb->remote_ip, pcb->remote_port)) {
            tcp_abandon(pcb, 0); /* tells s that the attempt has ended, if not why */
            s->error = v.error;
            return;
        }
    }
}

static void read_ports(struct quoted *q, const struct pbuf *p, u32 at)
{
    u16 ports[2];
    pbuf_copy_partial(p, ports, sizeof(ports), at);
    pbuf_copy_partial(p, &q->seq, sizeof(q->seq), at + sizeof(ports));
    q->from_port = lwip_ntohs(ports[0]);
    q->to_port = lwip_ntohs(ports[1]);
    q->seq = lwip_ntohl(q->seq);
    q->data = at + UDP_HLEN;
}

/* p: the quoted packet begins at `at`. False: too short, or a fragment that has no ports. */
static bool read_v4(struct quoted *q, const struct pbuf *p, u32 at)
{
    struct ip_hdr h;
    if (pbuf_copy_partial(p, &h, sizeof(h), at) != sizeof(h) || IPH_V(&h) != 4 ||
        IPH_HL_BYTES(&h) < sizeof(h) || IPH_OFFSET(&h) & PP_HTONS(IP_OFFMASK) ||
        at + IPH_HL_BYTES(&h) + QUOTED_PORTS > p->tot_len)
        return false;
    ip_addr_copy_from_ip4(q->from, h.src);
    ip_addr_copy_from_ip4(q->to, h.dest);
    q->protocol = IPH_PROTO(&h);
    read_ports(q, p, at + IPH_HL_BYTES(&h));
    return true;
}

static bool read_v6(struct quoted *q, const struct pbuf *p, u32 at)
{
    struct ip6_hdr h;
    if (pbuf_copy_partial(p, &h, sizeof(h), at) != sizeof(h) || IP6H_V(&h) != 6 ||
        at + sizeof(h) + QUOTED_PORTS > p->tot_len)
        return false;
    ip_addr_copy_from_ip6_packed(q->from, h.src);
    ip_addr_copy_from_ip6_packed(q->to, h.dest);
    q->protocol = IP6H_NEXTH(&h);
    read_ports(q, p, at + sizeof(h));
    return true;
}

/* The message's checksum; p begins with the IP header and does so again afterwards. */
static bool checksum_good(struct pbuf *p, u32 header, bool v6)
{
    u16 flag = v6 ? NETIF_CHECKSUM_CHECK_ICMP6 : NETIF_CHECKSUM_CHECK_ICMP;
    if (!(ip_current_input_netif()->chksum_flags & flag))
        return true;
    pbuf_remove_header(p, header);
    u16 sum = v6 ? ip6_chksum_pseudo(p, IP6_NEXTH_ICMP6, p->tot_len, ip6_current_src_addr(),
                                     ip6_current_dest_addr())
                 : inet_chksum_pbuf(p);
    pbuf_add_header_force(p, header);
    return !sum;
}

/* A raw control block's receiver: p begins with the IP header; 0 leaves it to lwIP. Core held. */
static u8_t on_message(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *from)
{
    bool v6 = arg != NULL;
    u32 header = ip_current_header_tot_len();
    u8 start[2]; /* type, code */
    if (p->tot_len < header + ICMP_HEADER || pbuf_copy_partial(p, start, 2, header) != 2)
        return 0;
    bool exceeded = start[0] == (v6 ? ICMP6_EXCEEDED : ICMP_EXCEEDED);
    bool unreachable = start[0] == (v6 ? ICMP6_UNREACHABLE : ICMP_UNREACHABLE);
    if (!(exceeded || unreachable) || !checksum_good(p, header, v6))
        return 0;
    struct verdict v = exceeded ? (struct verdict){EHOSTUNREACH, false}
                       : v6     ? verdict_v6(start[1])
                                : verdict_v4(start[1]);
    struct quoted q;
    if (!v.error || !(v6 ? read_v6(&q, p, header + ICMP_HEADER) : read_v4(&q, p, header + ICMP_HEADER)))
        return 0;
    if (q.protocol == IP_PROTO_UDP)
        tell_udp(&q, v, start, p);
    else if (q.protocol == IP_PROTO_TCP && unreachable)
        tell_tcp(&q, v);
    return 0;
}

void inet_icmp_init(void)
{
    core_enter();
    struct raw_pcb *v4 = raw_new_ip_type(IPADDR_TYPE_V4, IP_PROTO_ICMP);
    struct raw_pcb *v6 = raw_new_ip_type(IPADDR_TYPE_V6, IP6_NEXTH_ICMP6);
    if (!v4 || !v6)
        panic("out of memory at boot");
    raw_recv(v4, on_message, NULL);
    raw_recv(v6, on_message, v6);
    core_leave();
}
