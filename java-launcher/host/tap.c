#include "java-launcher/host/tap.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
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

/* QEMU gives every VM the same address. As others do (libvirt), the last bytes are the tap device's. */
bool tap_link(const char *name, struct tap_link *out)
{
    struct ifreq hw = {0}, mtu = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || strlen(name) >= sizeof hw.ifr_name)
        return close(fd), false;
    strcpy(hw.ifr_name, name);
    strcpy(mtu.ifr_name, name);
    bool there = !ioctl(fd, SIOCGIFHWADDR, &hw) && !ioctl(fd, SIOCGIFMTU, &mtu);
    close(fd);
    memcpy(out->mac, "\x52\x54\0", 3);
    memcpy(out->mac + 3, hw.ifr_hwaddr.sa_data + 3, 3);
    if (!memcmp(out->mac, hw.ifr_hwaddr.sa_data, sizeof out->mac))
        out->mac[0] = 0x56;
    out->mtu = there ? (unsigned)mtu.ifr_mtu : 0;
    return there;
}
