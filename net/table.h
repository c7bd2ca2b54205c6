/*
 * lwIP's TCP control blocks, found without a walk over all of them: those of connections, TIME_WAIT included,
 * by addresses and ports; which ports are in use; and each knows its place on lwIP's list, so that it leaves
 * that at once. lwip.patch calls this where lwIP would search. All with the core held.
 */
#ifndef MOKA_NET_TABLE_H
#define MOKA_NET_TABLE_H

#include "lwip/ip_addr.h"
#include "lwip/tcp.h"

/* The connection with these ends, the newest if one in TIME_WAIT has them, too; NULL: none. */
struct tcp_pcb *table_find(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
                           u16_t remote_port);

#endif
