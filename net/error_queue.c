#include "net/error_queue.h"

#define ERRORS_MAX   64u /* that wait at a socket */
#define IP_RECVERR   11
#define IPV6_RECVERR 25
#define ORIGIN_ICMP  2
#define ORIGIN_ICMP6 3
#define EXTENDED_LEN 16u /* struct sock_extended_err */
#define NAME_V4_LEN  16u
#define NAME_V6_LEN  28u

struct waiting {
    struct list link;
    struct icmp_error what;
    u32 len;
    u8 bytes[];
};

bool error_queue_wanted(const struct inet_socket *s, bool v6)
{
    return v6 ? inet_option(s, LEVEL_IPV6, IPV6_RECVERR) : inet_option(s, LEVEL_IP, IP_RECVERR);
}

void error_queue_add(struct inet_socket *s, const struct icmp_error *e, const struct pbuf *p, u32 at)
{
    u32 len = p->tot_len > at ? p->tot_len - at : 0;
    struct waiting *w = s->error_count < ERRORS_MAX ? kmalloc(sizeof(*w) + len) : NULL;
    if (!w)
        return;
    w->what = *e;
    w->len = len;
    pbuf_copy_partial(p, w->bytes, len, at);
    list_push_back(&s->errors, &w->link);
    __atomic_store_n(&s->error_count, s->error_count + 1, __ATOMIC_RELAXED);
}

/* The oldest, taken out; SO_ERROR is the next one's then. core held. */
static struct waiting *take(struct inet_socket *s)
{
    struct waiting *w = list_first(&s->errors, struct waiting, link);
    if (!w)
        return NULL;
    list_del(&w->link);
    __atomic_store_n(&s->error_count, s->error_count - 1, __ATOMIC_RELAXED);
    struct waiting *next = list_first(&s->errors, struct waiting, link);
    __atomic_store_n(&s->error, next ? next->what.error : 0, __ATOMIC_RELAXED);
    return w;
}

/* struct sock_extended_err and, behind it, the offender's address. */
static void tell(const struct inet_socket *s, struct socket_control *c, const struct icmp_error *e)
{
    u8 data[EXTENDED_LEN + NAME_V6_LEN] = {0};
    u32 error = e->error, name = s->base.family == AF_INET ? NAME_V4_LEN : NAME_V6_LEN;
    struct socket_address offender = {0};
    inet_to_linux(s, &e->offender, 0, &offender);
    memcpy(data, &error, sizeof(error));
    data[4] = IP_IS_V6(&e->to) ? ORIGIN_ICMP6 : ORIGIN_ICMP;
    data[5] = e->type;
    data[6] = e->code;
    memcpy(data + EXTENDED_LEN, offender.bytes, name);
    if (s->base.family == AF_INET)
        socket_control_put(c, LEVEL_IP, IP_RECVERR, data, EXTENDED_LEN + name);
    else
        socket_control_put(c, LEVEL_IPV6, IPV6_RECVERR, data, EXTENDED_LEN + name);
}

ssize_t error_queue_receive(struct inet_socket *s, struct socket_message *m)
{
    core_enter();
    struct waiting *w = take(s);
    core_leave();
    if (!w)
        return -EAGAIN;
    size_t n = MIN((size_t)w->len, m->it->left);
    bool fault = n && iov_to(m->it, w->bytes, n) != (ssize_t)n;
    if (m->address)
        inet_to_linux(s, &w->what.to, w->what.to_port, m->address);
    if (m->reply)
        tell(s, m->reply, &w->what);
    m->out_flags |= SOCKET_ERRQUEUE | (n < w->len ? SOCKET_TRUNC : 0);
    kfree(w);
    return fault ? -EFAULT : (ssize_t)n;
}

void error_queue_drop(struct inet_socket *s)
{
    struct waiting *w;
    while ((w = list_first(&s->errors, struct waiting, link))) {
        list_del(&w->link);
        kfree(w);
    }
    __atomic_store_n(&s->error_count, 0, __ATOMIC_RELAXED);
}
