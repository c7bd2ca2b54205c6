#include "net/urgent.h"

#include "lwip/priv/tcp_priv.h"
#include "net/inet.h"

bool urgent_mark(struct urgent *u, u32 ahead, u32 bytes, bool in_line)
{
    bool drop = bytes && urgent_hole(u, in_line);
    *u = (struct urgent){.state = U_COMING, .ahead = ahead - drop};
    return drop;
}

int urgent_take(struct urgent *u, u32 flags, bool in_line, bool ended, u8 *byte)
{
    if (in_line || u->state == U_NONE || u->state == U_TAKEN)
        return -EINVAL;
    if (u->state == U_COMING)
        return ended ? 0 : -EAGAIN;
    *byte = u->byte;
    if (!(flags & SOCKET_PEEK))
        u->state = U_TAKEN;
    return 1;
}

ssize_t urgent_give(struct socket_message *m, u8 byte)
{
    m->out_flags |= SOCKET_OOB;
    if (!m->it->left) {
        m->out_flags |= SOCKET_TRUNC;
        return 0;
    }
    if (m->flags & SOCKET_TRUNC)
        return 1;
    return iov_to(m->it, &byte, 1) == 1 ? 1 : -EFAULT;
}

/* ---- segments that leave ---- */

void urgent_sent(struct tcp_pcb *pcb, struct tcp_seg *seg)
{
    struct tcp_urgent *u = &pcb->urgent;
    u32 distance = u->end - lwip_ntohl(seg->tcphdr->seqno);
    bool near = distance - 1 < 0xffff;
    if (TCP_SEQ_GEQ(pcb->lastack, u->end))
        u->sending = near = false;
    seg->tcphdr->urgp = lwip_htons(near ? distance : 0);
    if (near)
        TCPH_SET_FLAG(seg->tcphdr, TCP_URG);
    else
        TCPH_UNSET_FLAG(seg->tcphdr, TCP_URG);
}

/* ---- what came in segments: core held ---- */

/* The byte with sequence number `at` is urgent; `here`: this is it. */
static void marked(struct inet_socket *s, u32 at, bool here, u8 byte)
{
    struct tcp_pcb *pcb = s->tcp;
    struct urgent *u = &s->urgent;
    u32 refused = pcb->refused_data ? pcb->refused_data->tot_len : 0;
    u32 next = pcb->rcv_nxt - refused - inet_waiting(s); /* which the program reads next */
    if (TCP_SEQ_LT(at, pcb->rcv_nxt) || s->receive_shut)
        return;
    if (!u->state || at - next > u->ahead) {
        s->left_out += urgent_mark(u, at - next, inet_waiting(s), inet_in_line(s));
        socket_tell_urgent(&s->base);
    } else if (u->state != U_COMING || at - next < u->ahead) {
        return;
    }
    if (here) {
        urgent_here(u, byte);
        inet_wake(s, POLL_IN | POLL_PRI);
    }
}

void urgent_input(struct tcp_pcb *pcb, const struct tcp_hdr *header, const struct pbuf *p)
{
    u16 pointer = lwip_ntohs(header->urgp);
    u32 at = header->seqno + pointer - !!pointer;
    bool here = at - header->seqno < p->tot_len;
    u8 byte = here ? pbuf_get_at(p, at - header->seqno) : 0, flags = TCPH_FLAGS(header);
    bool fits = TCP_SEQ_GEQ(header->seqno + p->tot_len, pcb->rcv_nxt) &&
                TCP_SEQ_LEQ(header->seqno, pcb->rcv_nxt + pcb->rcv_wnd);
    if (flags & (TCP_SYN | TCP_RST) || !(flags & TCP_ACK) || !fits || TCP_SEQ_GT(header->ackno, pcb->snd_nxt))
        return;
    struct inet_socket *s = tcp_socket(pcb);
    if (pcb->state == SYN_RCVD)
        pcb->urgent =
            (struct tcp_urgent){.early = true, .early_at = at, .early_here = here, .early_byte = byte};
    else if (s && pcb->state >= ESTABLISHED && pcb->state <= FIN_WAIT_2)
        marked(s, at, here, byte);
}

void urgent_early(struct inet_socket *s)
{
    struct tcp_urgent *u = &s->tcp->urgent;
    if (u->early)
        marked(s, u->early_at, u->early_here, u->early_byte);
    u->early = false;
}
