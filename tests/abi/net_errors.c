/* Errors of datagrams: what ICMP says, as SO_ERROR and in the error queue (ip(7), IP_RECVERR). */
#include "net.h"

#include <arpa/inet.h>
#include <linux/errqueue.h>

static void show_queue(int fd)
{
    char text[64];
    struct sockaddr_storage from = {0};
    union {
        struct cmsghdr h;
        char bytes[512];
    } control;
    struct iovec iov = {text, sizeof(text)};
    struct msghdr m = {.msg_name = &from,
                       .msg_namelen = sizeof(from),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    errno = 0;
    ssize_t n = recvmsg(fd, &m, MSG_ERRQUEUE);
    say("error queue: %zd %s flags %x", n, errname(n < 0 ? errno : 0), n < 0 ? 0 : m.msg_flags);
    if (n < 0)
        return;
    say("  \"%.*s\" to family %d port %s", (int)n, text, from.ss_family,
        ((struct sockaddr_in *)&from)->sin_port ? "some" : "none");
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
        const struct sock_extended_err *e = (void *)CMSG_DATA(h);
        say("  level %d type %d, %zu bytes: errno %s origin %d type %d code %d info %u data %u",
            h->cmsg_level, h->cmsg_type, (size_t)h->cmsg_len - CMSG_LEN(0), errname(e->ee_errno),
            e->ee_origin, e->ee_type, e->ee_code, e->ee_info, e->ee_data);
        const struct sockaddr *offender = SO_EE_OFFENDER(e);
        say("  offender family %d", offender->sa_family);
    }
}

static void unreachable(int family, bool connects, bool asks)
{
    struct sockaddr_storage a = {.ss_family = family};
    socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int s = socket(family, SOCK_DGRAM, 0), nobody = socket(family, SOCK_DGRAM, 0);
    char text[8];
    say("-- family %d %s %s", family, connects ? "connected" : "free", asks ? "asks" : "");
    if (family == AF_INET)
        ((struct sockaddr_in *)&a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        ((struct sockaddr_in6 *)&a)->sin6_addr = in6addr_loopback;
    OK(bind(nobody, (void *)&a, len));
    getsockname(nobody, (void *)&a, &len);
    close(nobody);
    if (connects)
        OK(connect(s, (void *)&a, len));
    if (asks)
        set(s, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, family == AF_INET ? IP_RECVERR : IPV6_RECVERR,
            1);
    for (int i = 0; i < 2; i++) {
        VALUE(sendto(s, "hello", 5, 0, connects ? NULL : (void *)&a, connects ? 0 : len));
        settle_ms(2);
        show_poll("sent", s);
        if (i == 0)
            VALUE(recv(s, text, 8, MSG_DONTWAIT));
        else
            show_so_error("sent", s);
        show_poll("told", s);
        VALUE(recv(s, text, 8, MSG_DONTWAIT));
    }
    show_queue(s);
    show_queue(s);
    show_queue(s);
    show_poll("read", s);
    VALUE(sendto(s, "hello", 5, 0, connects ? NULL : (void *)&a, connects ? 0 : len));
    settle_ms(2);
    VALUE(sendto(s, "again", 5, 0, connects ? NULL : (void *)&a, connects ? 0 : len));
    VALUE(recv(s, text, 8, MSG_DONTWAIT));
    close(s);
}

CASE(state_unreachable)
{
    for (int asks = 0; asks < 2; asks++)
        for (int connects = 0; connects < 2; connects++) {
            unreachable(AF_INET, connects, asks);
            unreachable(AF_INET6, connects, asks);
        }
}
