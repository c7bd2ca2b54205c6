#include "net/table.h"

#include "net/hash.h"

#include "lwip/priv/tcp_priv.h"

#define BUCKET_BITS 12
#define BUCKETS     (1u << BUCKET_BITS)
#define PORT_FIRST  TCP_LOCAL_PORT_RANGE_START

static struct tcp_pcb *buckets[BUCKETS];
static unsigned ports[0x10000 - PORT_FIRST]; /* control blocks with that local port */

static struct tcp_pcb **bucket_of(u16_t local_port, const ip_addr_t *remote, u16_t remote_port)
{
    u64 ports_both = (u64)remote_port << 16 | local_port;
    return &buckets[hash_place(hash_address(ports_both, remote), BUCKET_BITS)];
}

static void hash(struct tcp_pcb *p)
{
    struct tcp_pcb **b = bucket_of(p->local_port, &p->remote_ip, p->remote_port);
    p->listed.next = *b;
    if (*b)
        (*b)->listed.hashed = &p->listed.next;
    p->listed.hashed = b;
    *b = p;
}

static void unhash(struct tcp_pcb *p)
{
    if (!p->listed.hashed)
        return;
    *p->listed.hashed = p->listed.next;
    if (p->listed.next)
        p->listed.next->listed.hashed = p->listed.hashed;
    p->listed.hashed = NULL;
}

void net_tcp_list(struct tcp_pcb **list, struct tcp_pcb *p)
{
    p->next = *list;
    if (*list)
        (*list)->listed.at = &p->next;
    p->listed.at = list;
    *list = p;
    p->listed.hashed = NULL;
    if (list == &tcp_active_pcbs || list == &tcp_tw_pcbs)
        hash(p);
    if (p->local_port >= PORT_FIRST)
        ports[p->local_port - PORT_FIRST]++;
}

void net_tcp_unlist(struct tcp_pcb *p)
{
    *p->listed.at = p->next;
    if (p->next)
        p->next->listed.at = p->listed.at;
    unhash(p);
    if (p->local_port >= PORT_FIRST)
        ports[p->local_port - PORT_FIRST]--;
}

int net_tcp_port_used(unsigned port)
{
    return ports[port - PORT_FIRST] != 0;
}

struct tcp_pcb *table_find(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
                           u16_t remote_port)
{
    struct tcp_pcb *p = *bucket_of(local_port, remote, remote_port);
    while (p && !(p->remote_port == remote_port && p->local_port == local_port &&
                  ip_addr_cmp(&p->remote_ip, remote) && ip_addr_cmp(&p->local_ip, local)))
        p = p->listed.next;
    return p;
}
