#include "net/delack.h"

#include "lwip/priv/tcp_priv.h"
#include "net/channel.h"

static struct list owed = {&owed, &owed}; /* by delack_link, in the order they are due; core */

void delack_owed(struct inet_socket *s)
{
    if (s->delack_due_ns || !s->tcp || !(s->tcp->flags & TF_ACK_DELAY))
        return;
    s->delack_due_ns = clock_monotonic_ns() + DELACK_NS;
    list_push_back(&owed, &s->delack_link);
    channel_watch();
}

void delack_forget(struct inet_socket *s)
{
    if (!s->delack_due_ns)
        return;
    s->delack_due_ns = 0;
    list_del(&s->delack_link);
}

u64 delack_tick(u64 now)
{
    struct inet_socket *s;
    while ((s = list_first(&owed, struct inet_socket, delack_link))) {
        if (s->delack_due_ns > now)
            return s->delack_due_ns;
        delack_forget(s);
        /* not tcp_output(): it sends none while Nagle's algorithm keeps data of ours back */
        if (s->tcp && s->tcp->flags & TF_ACK_DELAY)
            tcp_send_empty_ack(s->tcp);
    }
    return SLEEP_FOREVER;
}
