/*
 * What the tables of connections (net/table.h) keep in lwIP's control blocks: members that lwip.patch adds.
 * Set when a block comes on a list. Guarded by the core.
 */
#ifndef MOKA_NET_LWIP_TABLE_STATE_H
#define MOKA_NET_LWIP_TABLE_STATE_H

struct tcp_pcb;

struct tcp_listed {
    struct tcp_pcb **at; /* what points to it on lwIP's list */
    struct tcp_pcb *next;
    struct tcp_pcb **hashed; /* the same of its bucket; NULL: it is in none */
};

#endif
