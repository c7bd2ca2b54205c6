/*
 * lwIP's configuration (its documentation: src/include/lwip/opt.h). Raw API only: the sockets, channels and
 * threads are ours. All calls into lwIP run under the network core's mutex (net/core.h), so it needs no
 * protection of its own.
 */
#ifndef MOKA_NET_LWIPOPTS_H
#define MOKA_NET_LWIPOPTS_H

#include "recovery_state.h"
#include "table_state.h"

#define NO_SYS               1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN         0
#define LWIP_SOCKET          0
#define LWIP_TIMERS          0 /* the core's worker calls the protocols' timers: net/core.c */

/* Memory comes from the kernel heap: no pools, so no limit on connections but memory. */
#define MEM_LIBC_MALLOC              1
#define MEMP_MEM_MALLOC              1
#define MEM_ALIGNMENT                8
#define MEMP_NUM_SYS_TIMEOUT         16
#define LWIP_SUPPORT_CUSTOM_PBUF     1
#define PBUF_LINK_HLEN               14
#define PBUF_LINK_ENCAPSULATION_HLEN 0

/* Protocols. */
#define LWIP_IPV4                     1
#define LWIP_IPV6                     1
#define LWIP_ICMP                     1
#define LWIP_ICMP6                    1
#define LWIP_RAW                      1
#define LWIP_UDP                      1
#define LWIP_TCP                      1
#define LWIP_DHCP                     1
#define LWIP_DHCP_DOES_ACD_CHECK      0
#define DHCP_DOES_ARP_CHECK           0
#define LWIP_DHCP_GET_NTP_SRV         0
#define LWIP_DNS                      0 /* the program resolves names itself; /etc/resolv.conf follows DHCP */
#define LWIP_HAVE_LOOPIF              1
#define LWIP_NETIF_LOOPBACK           1
#define LWIP_LOOPBACK_MAX_PBUFS       0
#define LWIP_NETIF_STATUS_CALLBACK    1
#define LWIP_NETIF_LINK_CALLBACK      1
#define LWIP_NETIF_HOSTNAME           1
#define LWIP_SINGLE_NETIF             0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_AUTOCONFIG          1
#define IP_REASSEMBLY                 1
#define IP_REASS_MAX_PBUFS            512 /* frames that wait for the rest of their datagrams; the oldest go first */
#define IP_FRAG                       1
#define IPV6_FRAG_COPYHEADER          1 /* pointers do not fit into the header it overwrites */
#define ARP_QUEUEING                  1
/* A link may have many machines that talk to us: as many as these are known at once. A control block
 * remembers where its peer was found last, so that few look-ups walk over all. */
#define ARP_TABLE_SIZE                256
#define LWIP_ND6_NUM_NEIGHBORS        120 /* lwIP counts them in seven bits */
#define LWIP_ND6_NUM_DESTINATIONS     120
#define LWIP_NETIF_HWADDRHINT         1
#define ETHARP_SUPPORT_STATIC_ENTRIES 0
#define LWIP_BROADCAST_PING           0
#define LWIP_MULTICAST_PING           0
#define LWIP_MULTICAST_TX_OPTIONS     1
#define LWIP_IGMP                     1

/* TCP: windows of 1 MiB with scaling (RFC 7323), selective acknowledgements sent (RFC 2018; used:
 * recovery.c). */
#define TCP_MSS                    1460
#define LWIP_WND_SCALE             1
#define TCP_RCV_SCALE              5
#define TCP_WND                    (1024 * 1024)
#define TCP_SND_BUF                (1024 * 1024)
#define TCP_SND_QUEUELEN           16384
#define TCP_SNDLOWAT               32768
#define TCP_SNDQUEUELOWAT          (TCP_SND_QUEUELEN / 4)
#define TCP_MSL                    30000 /* TIME_WAIT lasts a minute, as Linux's */
#define TCP_QUEUE_OOSEQ            1
#define TCP_OOSEQ_MAX_BYTES        TCP_WND
#define LWIP_TCP_SACK_OUT          1
#define LWIP_TCP_MAX_SACK_NUM      4
#define LWIP_TCP_TIMESTAMPS        0
#define LWIP_TCP_KEEPALIVE         1
#define TCP_LISTEN_BACKLOG         1
#define TCP_DEFAULT_LISTEN_BACKLOG 128
#define TCP_OVERSIZE               TCP_MSS
#define SO_REUSE                   1
#define SO_REUSE_RXTOALL           1 /* broadcasts, and what comes to groups, are for all who share the port */
/* Ports for those who ask for any: from where Linux's begin. */
#define TCP_LOCAL_PORT_RANGE_START        0x8000
#define TCP_LOCAL_PORT_RANGE_END          0xffff
#define TCP_ENSURE_LOCAL_PORT_RANGE(port) ((port) | 0x8000)
/*
 * A window that opens is told by itself when the peer may send at least twice as much then, as with Linux:
 * otherwise the next acknowledgement tells it. For tcp_recved(), of whose control block this is.
 */
#define TCP_WND_UPDATE_THRESHOLD                                                                             \
    LWIP_MAX(4u * TCP_MSS,                                                                                   \
             TCP_SEQ_GT(pcb->rcv_nxt, pcb->rcv_ann_right_edge) ? 0 : pcb->rcv_ann_right_edge - pcb->rcv_nxt)
#define IP_SOF_BROADCAST      1
#define IP_SOF_BROADCAST_RECV 0
#define LWIP_SO_RCVBUF        0

/* Checksums are per interface: what the device does is left to it. */
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1
#define LWIP_CHECKSUM_ON_COPY        0
#define LWIP_INLINE_IP_CHKSUM        1

#define LWIP_STATS             1
#define LWIP_STATS_DISPLAY     0
#define LWIP_STATS_LARGE       1
#define LWIP_RAND()            net_random()
#define LWIP_NOASSERT_ON_ERROR 1

unsigned net_random(void);
struct pbuf;
struct tcp_pcb;
struct tcp_seg;
struct tcp_hdr;

/* Initial sequence numbers nobody can guess (RFC 6528), or a cookie (syncookie.c). */
u32 net_tcp_isn(void);
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) net_tcp_isn()
/* The connection that the segment with these ports is for, TIME_WAIT included; NULL: none (channel.c). */
struct tcp_pcb *net_tcp_find(u16 remote_port, u16 local_port);
#define LWIP_HOOK_TCP_FIND(src, dest) net_tcp_find(src, dest)
/* A segment, whose checksum is missing, leaves as the last one of its connection did; 0: it did not
 * (template.c). Then the frame that leaves until the second call shows how. */
int net_tcp_output(struct tcp_pcb *pcb, struct pbuf *p);
void net_tcp_output_end(void);
#define LWIP_HOOK_TCP_OUTPUT(pcb, p) net_tcp_output(pcb, p)
#define LWIP_HOOK_TCP_OUTPUT_END()   net_tcp_output_end()
/* A control block comes to the front of a list, or leaves it; its `next` stays. Has any this local port, of
 * those that lwIP gives out? (table.c) */
void net_tcp_list(struct tcp_pcb **list, struct tcp_pcb *pcb);
void net_tcp_unlist(struct tcp_pcb *pcb);
int net_tcp_port_used(unsigned port);
#define LWIP_HOOK_TCP_LIST(list, pcb) net_tcp_list(list, pcb)
#define LWIP_HOOK_TCP_UNLIST(pcb)     net_tcp_unlist(pcb)
#define LWIP_HOOK_TCP_PORT_USED(port) net_tcp_port_used(port)
/* Of the control blocks that share pcb's address and port, the one that what lwIP is receiving goes to
 * (share.c). */
struct udp_pcb;
struct tcp_pcb_listen;
struct udp_pcb *net_udp_share(struct udp_pcb *pcb, u16 from_port);
struct tcp_pcb_listen *net_tcp_share(struct tcp_pcb_listen *pcb, u16 from_port);
#define LWIP_HOOK_UDP_SHARE(pcb, src) net_udp_share(pcb, src)
#define LWIP_HOOK_TCP_SHARE(pcb, src) net_tcp_share(pcb, src)
/* Loss recovery: recovery.c. */
/* A segment came for pcb. Its options lie behind header, the first first_len bytes of len, and at rest. */
int recovery_input(struct tcp_pcb *pcb, const struct tcp_hdr *header, u32 data_len, u32 len, u32 first_len,
                   const u8 *rest);
/* seg is acknowledged, and goes. */
void recovery_arrived(struct tcp_pcb *pcb, struct tcp_seg *seg);
/* The acknowledgement has been dealt with. */
void recovery_acknowledged(struct tcp_pcb *pcb);
/* Sends what was lost again; how far beyond what is acknowledged others may lie, in bytes. */
u32 recovery_window(struct tcp_pcb *pcb);
/* seg leaves. */
void recovery_sent(struct tcp_pcb *pcb, struct tcp_seg *seg);
/* Is the peer's window closed for longer than the program allows? Asked each half-second. */
bool recovery_closed_too_long(struct tcp_pcb *pcb);
/* The peer, whose window is closed, is about to be asked again: has it been asked often enough? */
bool recovery_probed_in_vain(struct tcp_pcb *pcb);
/* What pcb had sent is given up. */
void recovery_forget(struct tcp_pcb *pcb);
/* Urgent data: a segment that has some came for pcb, its data in p; seg leaves, and some is not acknowledged.
 */
void urgent_input(struct tcp_pcb *pcb, const struct tcp_hdr *header, const struct pbuf *p);
void urgent_sent(struct tcp_pcb *pcb, struct tcp_seg *seg);
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, hdr, len, len1, opt2, p)                                             \
    (TCPH_FLAGS(hdr) & TCP_URG ? urgent_input(pcb, hdr, p) : (void)0,                                        \
     recovery_input(pcb, hdr, (p)->tot_len, len, (opt2) ? (len1) : (len), opt2))
/* Bytes that are sent without a copy, the next len of source: refer.c. */
struct pbuf *refer_next(const void *source, unsigned len);
#define LWIP_HOOK_TCP_REFER(source, len) refer_next(source, len)
/* DHCP: lease.c. */
struct dhcp;
/* Seconds between two ticks of the lease. */
u32 net_dhcp_tick(void);
#define DHCP_COARSE_TIMER_SECS net_dhcp_tick()
/* Name servers, the domain, the MTU: asked for, and read as they come. */
#define LWIP_DHCP_REQUEST_MORE , DHCP_OPTION_DNS_SERVER, 15, DHCP_OPTION_MTU
void net_dhcp_option(unsigned option, unsigned len, struct pbuf *p, unsigned offset);
#define LWIP_HOOK_DHCP_PARSE_OPTION(netif, dhcp, state, msg, msg_type, option, len, pbuf, offset)            \
    net_dhcp_option(option, len, pbuf, offset)
void net_dhcp_state(struct dhcp *dhcp);
#define LWIP_HOOK_DHCP_STATE(dhcp) net_dhcp_state(dhcp)
/* A router advertises the option that is at p's offset, `len` bytes that are there: resolver.c. */
struct netif;
void net_router_option(struct netif *n, struct pbuf *p, unsigned offset, unsigned len);
#define ND6_RDNSS                                  25 /* RFC 8106, 5.1 */
#define LWIP_HOOK_ND6_RA_OPTION(n, p, offset, len) net_router_option(n, p, offset, len)

#endif
