/* How long TCP goes on without an answer: TCP_USER_TIMEOUT and TCP_SYNCNT. */
#include "abi.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

enum { HELD = 20 };

/* A listener that drops SYNs, because nobody accepts what it has. */
static int full_listener(struct sockaddr_in *a, int held[HELD])
{
    socklen_t len = sizeof(*a);
    int l = socket(AF_INET, SOCK_STREAM, 0);
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(l, (void *)a, sizeof(*a)) || listen(l, 1) || getsockname(l, (void *)a, &len))
        return -1;
    for (int i = 0; i < HELD; i++) {
        held[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(held[i], (void *)a, sizeof(*a));
        struct pollfd p = {.fd = held[i], .events = POLLOUT};
        if (!poll(&p, 1, 300))
            return l;
    }
    return -1;
}

static uint64_t connect_for(const struct sockaddr_in *a, int option, unsigned value)
{
    int c = socket(AF_INET, SOCK_STREAM, 0);
    uint64_t begin = now_ns(CLOCK_MONOTONIC);
    OK(setsockopt(c, IPPROTO_TCP, option, &value, sizeof(value)));
    OK(connect(c, (void *)a, sizeof(*a)));
    close(c);
    return (now_ns(CLOCK_MONOTONIC) - begin) / 1000000;
}

CASE(net_patience)
{
    struct sockaddr_in a;
    int held[HELD], l = full_listener(&a, held);
    NEED(l >= 0);
    abi_alive();
    uint64_t took = connect_for(&a, TCP_USER_TIMEOUT, 1500);
    if (!CHECK(took >= 1400 && took < 5000))
        say("%lu ms", (unsigned long)took);
    abi_alive();
    took = connect_for(&a, TCP_SYNCNT, 1); /* one second, and two */
    if (!CHECK(took >= 2800 && took < 10000))
        say("%lu ms", (unsigned long)took);
}

CASE(net_patience_values)
{
    int s = socket(AF_INET, SOCK_STREAM, 0), value = -1;
    socklen_t len = sizeof(value);
    static const int user[] = {0, 1, 5000, 0x7fffffff, -1}, count[] = {0, 1, 127, 128, 255, -1};
    for (unsigned i = 0; i < sizeof(user) / sizeof(user[0]); i++) {
        VALUE(setsockopt(s, IPPROTO_TCP, TCP_USER_TIMEOUT, &user[i], sizeof(value)));
        getsockopt(s, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &len);
        VALUE(value);
    }
    for (unsigned i = 0; i < sizeof(count) / sizeof(count[0]); i++) {
        VALUE(setsockopt(s, IPPROTO_TCP, TCP_SYNCNT, &count[i], sizeof(value)));
        getsockopt(s, IPPROTO_TCP, TCP_SYNCNT, &value, &len);
        VALUE(value);
    }
    close(s);
}
