/* What several cases about sockets begin with, or look at. */
#ifndef MOKA_TESTS_ABI_NET_H
#define MOKA_TESTS_ABI_NET_H

#include "abi.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

/* 127.0.0.1 */
static inline struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* Listens on 127.0.0.1, at a port of the system's choice: *a. False: it does not. */
static inline bool tcp_listen(int *listener, struct sockaddr_in *a)
{
    socklen_t len = sizeof(*a);
    *a = loopback(0);
    *listener = socket(AF_INET, SOCK_STREAM, 0);
    return !bind(*listener, (void *)a, len) && !listen(*listener, 5) &&
           !getsockname(*listener, (void *)a, &len);
}

/* Both ends of a connection: who connected, who accepted; and the listener. */
static inline bool tcp_pair_and_listener(int p[2], int *listener)
{
    struct sockaddr_in a;
    if (!tcp_listen(listener, &a))
        return false;
    p[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(p[0], (void *)&a, sizeof(a)))
        return false;
    p[1] = accept(*listener, NULL, NULL);
    return p[1] >= 0;
}

static inline bool tcp_pair(int p[2])
{
    int listener;
    bool ok = tcp_pair_and_listener(p, &listener);
    close(listener);
    return ok;
}

static inline void set(int fd, int level, int option, int value)
{
    if (setsockopt(fd, level, option, &value, sizeof(value)))
        say("option %d %d: %s", level, option, errname(errno));
}

static inline void show_so_error(const char *what, int fd)
{
    int error = -1;
    socklen_t len = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    say("%s: error %s", what, errname(error));
}

static inline void show_poll(const char *what, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP};
    int n = poll(&p, 1, 0);
    say("%s: poll %d %x", what, n, p.revents);
}

#endif
