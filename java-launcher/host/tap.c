#include "java-launcher/host/tap.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct attributes {
    struct rtattr *first;
    int len; /* bytes */
};

/* The attribute's own ones, or none. */
static struct attributes inside(struct attributes in, unsigned short type)
{
    int len = in.len;
    for (struct rtattr *a = in.first; RTA_OK(a, len); a = RTA_NEXT(a, len))
        if ((a->rta_type & NLA_TYPE_MASK) == type)
            return (struct attributes){RTA_DATA(a), (int)RTA_PAYLOAD(a)};
    return (struct attributes){0};
}

/* The kernel's answer about one interface; its length, or -1. */
static ssize_t ask(unsigned index, void *answer, size_t room)
{
    struct {
        struct nlmsghdr head;
        struct ifinfomsg info;
    } question = {{sizeof question, RTM_GETLINK, NLM_F_REQUEST, 0, 0}, {.ifi_index = (int)index}};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -1;
    ssize_t n = send(fd, &question, sizeof question, 0) < 0 ? -1 : recv(fd, answer, room, 0);
    close(fd);
    return n;
}

bool tap_multi_queue(const char *name)
{
    union {
        struct nlmsghdr head;
        char bytes[32768];
    } answer;
    unsigned index = if_nametoindex(name);
    ssize_t n = index ? ask(index, &answer, sizeof answer) : -1;
    if (n < 0 || !NLMSG_OK(&answer.head, (size_t)n) || answer.head.nlmsg_type != RTM_NEWLINK)
        return false;
    struct attributes link = {IFLA_RTA(NLMSG_DATA(&answer.head)), (int)IFLA_PAYLOAD(&answer.head)};
    struct attributes tun = inside(inside(link, IFLA_LINKINFO), IFLA_INFO_DATA);
    struct attributes flag = inside(tun, IFLA_TUN_MULTI_QUEUE);
    return flag.len && *(unsigned char *)flag.first;
}
