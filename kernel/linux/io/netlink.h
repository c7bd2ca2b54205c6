/* What the parts of AF_NETLINK share: answers being built. Private to kernel/linux/io. */
#ifndef MOKA_LINUX_IO_NETLINK_H
#define MOKA_LINUX_IO_NETLINK_H

#include "kernel/base/list.h"
#include "kernel/linux/uabi.h"

#define NETLINK_ANSWER_ROOM 8192u /* bytes of one datagram: more than all interfaces and addresses need */

#define NLM_F_REQUEST 1u
#define NLM_F_MULTI   2u
#define NLM_F_ACK     4u
#define NLM_F_DUMP    0x300u

struct nlmsghdr {
    u32 len;
    u16 type, flags;
    u32 seq, pid;
};
UABI_SIZE(struct nlmsghdr, 16);

/* One datagram to the program: messages one behind the other, each padded to 4 bytes. */
struct answer {
    struct list link;
    u32 len;
    u32 message; /* where the message that is being built begins */
    u8 bytes[NETLINK_ANSWER_ROOM];
};

/* A message: begin, the fixed part, attributes, end. What does not fit is left out: what an answer holds is
 * bounded, so that is a bug. */
void netlink_begin(struct answer *a, const struct nlmsghdr *to, u32 pid, u16 type, u16 flags);
void netlink_put(struct answer *a, const void *data, u32 n);
void netlink_attribute(struct answer *a, u16 type, const void *data, u32 n);
void netlink_attribute32(struct answer *a, u16 type, u32 value);
void netlink_end(struct answer *a);

/* netlink_route.c. Adds all routes, all neighbours of a family (0: any). */
void netlink_put_routes(struct answer *a, const struct nlmsghdr *to, u32 pid, u8 family);
void netlink_put_neighbours(struct answer *a, const struct nlmsghdr *to, u32 pid, u8 family);
/* Adds the way to the address that the question's body asks for: 0, -EINVAL, -ENETUNREACH. */
int netlink_put_way(struct answer *a, const struct nlmsghdr *to, u32 pid, const u8 *body, u32 len);

#endif
