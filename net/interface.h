/* The network interfaces and their addresses, for those above who describe them to programs. */
#ifndef MOKA_NET_INTERFACE_H
#define MOKA_NET_INTERFACE_H

#include "kernel/base/types.h"

#define NET_INTERFACES   4u /* at most */
#define NET_ADDRESSES    8u /* of an interface, at most */
#define NET_SCOPE_GLOBAL 0u
#define NET_SCOPE_LINK   253u
#define NET_SCOPE_HOST   254u

struct net_address {
    u16 family; /* Linux's AF_INET, AF_INET6 */
    u8 prefix;  /* bits */
    u8 scope;   /* NET_SCOPE_*, Linux's numbers */
    u8 bytes[16];
};

struct net_interface {
    char name[16];
    s32 index;
    u32 flags;   /* Linux's IFF_* (netdevice(7)) */
    u32 mtu;     /* bytes */
    u16 hw_type; /* Linux's ARPHRD_* */
    u8 hw_address[6];
    u32 count; /* of addresses; IPv4 first */
    struct net_address addresses[NET_ADDRESSES];
};

/* Fills in all interfaces, loopback first; their number. Threads; takes the core. */
u32 net_interfaces(struct net_interface out[NET_INTERFACES]);

/* A route; addresses of `family` in the first bytes. */
#define NET_ROUTES 48u /* at most */
struct net_route {
    u16 family;
    u8 prefix, scope; /* bits of `to`; NET_SCOPE_* */
    u8 type;          /* Linux's RTN_UNICAST, _LOCAL, _BROADCAST */
    bool local;       /* to this machine, or a broadcast */
    bool has_gateway, has_source;
    u8 to[16], gateway[16], source[16];
    s32 interface;
    u32 metric; /* IPv6 */
};
/* All routes; their number. Threads; takes the core. */
u32 net_routes(struct net_route out[NET_ROUTES]);

/* A machine on the link whose hardware address is known. */
struct net_neighbour {
    u16 family;
    u16 state; /* Linux's NUD_REACHABLE, _STALE */
    u8 address[16], hw_address[6];
    s32 interface;
};
/* As many as there is room for; their number. Threads; takes the core. */
u32 net_neighbours(struct net_neighbour *out, u32 room);

/* SIOCGIF* (netdevice(7)), on a socket of any family; arg: program value. Other numbers: -ENOTTY. May sleep.
 */
s64 ifconf_ioctl(u32 cmd, u64 arg);

#endif
