/* TCP sockets that connect(AF_UNSPEC) makes new again (connect(2)). */
#include "net.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>

static void show_names(int fd, const struct sockaddr_in *was)
{
    struct sockaddr_in a = {0};
    socklen_t len = sizeof(a);
    OK(getsockname(fd, (void *)&a, &len));
    if (was != NULL) /* else Linux tells the last one, though it is anybody's again */
        say("address %s, port %s", inet_ntoa(a.sin_addr),
            a.sin_port == was->sin_port ? "the same" : "another");
    else
        say("address %s", inet_ntoa(a.sin_addr));
    len = sizeof(a);
    OK(getpeername(fd, (void *)&a, &len));
}

static int disconnect(int fd)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    return connect(fd, &none, sizeof(none));
}

static int listener_at(struct sockaddr_in *a)
{
    int l;
    if (!tcp_listen(&l, a))
        say("no listener: %s", errname(errno));
    return l;
}

CASE(again_fresh)
{
    int s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    OK(connect(s, &none, 1));
    OK(connect(s, &none, 2));
    OK(disconnect(s));
    show_poll("fresh", s);
    show_so_error("fresh", s);
    show_names(s, NULL);
    struct sockaddr_in a;
    int l = listener_at(&a);
    OK(connect(s, (void *)&a, sizeof(a)));
    close(l);
    close(s);
}

/* Twice, to the same and to another listener; the second connection works as any. */
CASE(again_connected)
{
    struct sockaddr_in a, b;
    int l = listener_at(&a), m = listener_at(&b), s = socket(AF_INET, SOCK_STREAM, 0), p;
    char text[64] = "";
    set(s, IPPROTO_TCP, TCP_NODELAY, 1);
    for (int i = 0; i < 3; i++) {
        say("-- %d", i);
        OK(connect(s, i == 1 ? (void *)&b : (void *)&a, sizeof(a)));
        CHECK((p = accept(i == 1 ? m : l, NULL, NULL)) >= 0);
        show_so_error("connected", s);
        VALUE(send(s, "there", 5, 0));
        VALUE(recv(p, text, 64, 0));
        VALUE(send(p, "back", 4, 0));
        VALUE(recv(s, text, 2, 0));
        CHECK(!memcmp(text, "ba", 2));
        settle_ms(5);
        if (i == 2) {
            VALUE(send(s, "unread", 6, 0));
            settle_ms(5);
        }
        OK(disconnect(s));
        settle_ms(5);
        show_poll("new again", s);
        show_names(s, NULL);
        show_poll("peer", p);
        if (i == 2)
            VALUE(recv(p, text, 64, 0));
        VALUE(recv(p, text, 64, 0));
        VALUE(recv(p, text, 64, 0));
        VALUE(send(p, "x", 1, MSG_NOSIGNAL));
        if (i == 1) {
            VALUE(recv(s, text, 64, MSG_DONTWAIT));
            VALUE(send(s, "x", 1, MSG_NOSIGNAL));
        }
        show_so_error("new again", s);
        VALUE(recv(s, text, 64, MSG_DONTWAIT));
        VALUE(send(s, "x", 1, MSG_NOSIGNAL));
        close(p);
    }
    int value = 0;
    socklen_t len = sizeof(value);
    getsockopt(s, IPPROTO_TCP, TCP_NODELAY, &value, &len);
    VALUE(value);
    /* Much, through the last one. */
    OK(connect(s, (void *)&a, sizeof(a)));
    CHECK((p = accept(l, NULL, NULL)) >= 0);
    static char bytes[100000];
    VALUE(send(s, bytes, sizeof(bytes), 0));
    VALUE(recv(p, bytes, sizeof(bytes), MSG_WAITALL));
    OK(shutdown(s, SHUT_WR));
    VALUE(recv(p, bytes, 1, 0));
    VALUE(send(p, "end", 3, 0));
    VALUE(recv(s, bytes, 3, MSG_WAITALL));
    close(p);
    VALUE(recv(s, bytes, 3, MSG_WAITALL));
    OK(disconnect(s));
    show_so_error("after both ends", s);
    OK(connect(s, (void *)&a, sizeof(a)));
    close(s);
    close(l);
    close(m);
}

CASE(again_v6)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}, b;
    struct sockaddr_in four;
    socklen_t len = sizeof(a);
    int l = socket(AF_INET6, SOCK_STREAM, 0), m = listener_at(&four), p, s = -1;
    char text[8], address[INET6_ADDRSTRLEN];
    NEED(!bind(l, (void *)&a, len) && !listen(l, 5) && !getsockname(l, (void *)&a, &len));
    for (int i = 0; i < 4; i++) {
        b = a;
        if (!(i & 1)) { /* one socket twice; then one that speaks IPv4 */
            close(s);
            s = socket(AF_INET6, SOCK_STREAM, 0);
        }
        if (i & 2) {
            inet_pton(AF_INET6, "::ffff:127.0.0.1", &b.sin6_addr);
            b.sin6_port = four.sin_port;
        }
        OK(connect(s, (void *)&b, sizeof(b)));
        CHECK((p = accept(i & 2 ? m : l, NULL, NULL)) >= 0);
        VALUE(send(p, "abc", 3, 0));
        VALUE(recv(s, text, 8, 0));
        OK(disconnect(s));
        len = sizeof(b);
        OK(getsockname(s, (void *)&b, &len));
        say("%s", inet_ntop(AF_INET6, &b.sin6_addr, address, sizeof(address)));
        VALUE(recv(p, text, 8, 0));
        show_so_error("new again", s);
        close(p);
    }
    close(l);
    close(m);
    close(s);
}

/* What bind() has given stays. */
CASE(again_bound)
{
    struct sockaddr_in a, mine = loopback(0);
    socklen_t len = sizeof(mine);
    int l = listener_at(&a), s = socket(AF_INET, SOCK_STREAM, 0), t = socket(AF_INET, SOCK_STREAM, 0);
    OK(bind(t, (void *)&mine, len)); /* to find a port */
    getsockname(t, (void *)&mine, &len);
    close(t);
    OK(bind(s, (void *)&mine, len));
    for (int i = 0; i < 2; i++) {
        OK(connect(s, (void *)&a, sizeof(a)));
        close(accept(l, NULL, NULL));
        settle_ms(5);
        OK(disconnect(s));
        show_names(s, &mine);
        t = socket(AF_INET, SOCK_STREAM, 0);
        OK(bind(t, (void *)&mine, len));
        close(t);
    }
    OK(listen(s, 5));
    t = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect(t, (void *)&mine, len));
    CHECK(accept(s, NULL, NULL) >= 0);
    close(s);
    close(t);
    close(l);
}

/* Where the next connection of s, which it accepts at l, comes from. */
static void show_source(int s, int l, const struct sockaddr_in *to, const struct sockaddr_in *mine)
{
    struct sockaddr_in from = {0};
    socklen_t len = sizeof(from);
    OK(connect(s, (void *)to, sizeof(*to)));
    int p = accept(l, (void *)&from, &len);
    say("from %s, port %s", inet_ntoa(from.sin_addr),
        from.sin_port == mine->sin_port ? "the same" : "another");
    close(p);
    settle_ms(5);
}

/* An address without a port stays, too; and both do when nobody listened. */
CASE(again_address)
{
    struct sockaddr_in a, mine = loopback(0), closed;
    socklen_t len = sizeof(mine);
    int l = listener_at(&a), s = socket(AF_INET, SOCK_STREAM, 0);
    close(listener_at(&closed));
    mine.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 5);
    OK(bind(s, (void *)&mine, len));
    OK(getsockname(s, (void *)&mine, &len));
    show_source(s, l, &a, &mine);
    OK(disconnect(s));
    mine.sin_port = 0;
    show_source(s, l, &a, &mine);
    OK(disconnect(s));
    show_source(s, l, &a, &mine);
    close(s);
    /* Refused. */
    s = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect(s, (void *)&closed, sizeof(closed)));
    OK(connect(s, (void *)&closed, sizeof(closed)));
    show_source(s, l, &a, &mine);
    OK(disconnect(s));
    OK(connect(s, (void *)&closed, sizeof(closed)));
    show_so_error("refused", s);
    close(s);
    for (int port = 0; port < 2; port++) {
        say("-- bound to %s", port ? "an address and a port" : "an address");
        s = socket(AF_INET, SOCK_STREAM, 0);
        mine = loopback(0);
        mine.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 5);
        if (port) {
            int t = socket(AF_INET, SOCK_STREAM, 0);
            OK(bind(t, (void *)&mine, len));
            getsockname(t, (void *)&mine, &len);
            close(t);
        }
        OK(bind(s, (void *)&mine, len));
        for (int i = 0; i < 2; i++)
            OK(connect(s, (void *)&closed, sizeof(closed)));
        if (port)
            show_names(s, &mine);
        show_source(s, l, &a, &mine);
        close(s);
    }
    close(l);
}

CASE(again_listener)
{
    struct sockaddr_in a, mine;
    int l = listener_at(&mine), c = socket(AF_INET, SOCK_STREAM, 0), m = listener_at(&a);
    char text[8];
    OK(connect(c, (void *)&mine, sizeof(mine)));
    OK(disconnect(l));
    settle_ms(5);
    show_so_error("was a listener", l);
    show_poll("was a listener", l);
    OK(accept(l, NULL, NULL));
    VALUE(recv(c, text, 8, 0)); /* nobody had accepted it */
    close(c);
    c = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect(c, (void *)&mine, sizeof(mine)));
    close(c);
    OK(connect(l, (void *)&a, sizeof(a)));
    show_so_error("connected", l);
    int p = accept(m, NULL, NULL);
    VALUE(send(l, "abc", 3, 0));
    VALUE(recv(p, text, 8, 0));
    OK(disconnect(l));
    OK(listen(l, 5));
    c = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect(c, (void *)&mine, sizeof(mine)));
    close(c);
    close(p);
    close(m);
    close(l);
}

/* shutdown(2) of a listener ends that, no more. */
CASE(again_listener_shut)
{
    struct sockaddr_in mine = loopback(0);
    socklen_t len = sizeof(mine);
    int t = socket(AF_INET, SOCK_STREAM, 0), l = socket(AF_INET, SOCK_STREAM, 0), c;
    OK(bind(t, (void *)&mine, len)); /* to find a port */
    getsockname(t, (void *)&mine, &len);
    close(t);
    OK(bind(l, (void *)&mine, len));
    for (int i = 0; i < 2; i++) {
        OK(listen(l, 5));
        c = socket(AF_INET, SOCK_STREAM, 0);
        OK(connect(c, (void *)&mine, sizeof(mine)));
        close(c);
        OK(shutdown(l, i ? SHUT_RDWR : SHUT_RD));
        show_poll("shut", l);
        show_names(l, &mine);
        OK(accept(l, NULL, NULL));
        c = socket(AF_INET, SOCK_STREAM, 0);
        OK(connect(c, (void *)&mine, sizeof(mine)));
        close(c);
        t = socket(AF_INET, SOCK_STREAM, 0);
        OK(bind(t, (void *)&mine, len));
        close(t);
    }
    close(l);
}

static void *run_receive(void *arg)
{
    char text[8];
    ssize_t n = recv(*(int *)arg, text, 8, 0);
    return (void *)(n < 0 ? -(long)errno : (long)n);
}

static void *run_poll(void *arg)
{
    struct pollfd p = {.fd = *(int *)arg, .events = POLLIN};
    return (void *)(long)(poll(&p, 1, 10000) == 1 ? p.revents : -1);
}

/* Who waits is told. */
CASE(again_waiters)
{
    struct sockaddr_in a;
    int l = listener_at(&a), s = socket(AF_INET, SOCK_STREAM, 0), p;
    void *result;
    for (int i = 0; i < 2; i++) {
        OK(connect(s, (void *)&a, sizeof(a)));
        p = accept(l, NULL, NULL);
        pthread_t polls = start(run_poll, &s);
        settle_ms(20);
        OK(disconnect(s));
        pthread_join(polls, &result);
        say("poll %lx", (long)result);
        close(p);
        show_so_error("new again", s);
        OK(connect(s, (void *)&a, sizeof(a)));
        p = accept(l, NULL, NULL);
        pthread_t receives = start(run_receive, &s);
        settle_ms(20);
        OK(disconnect(s));
        pthread_join(receives, &result);
        say("recv %s", (long)result > 0 ? "something" : errname(-(long)result));
        show_so_error("new again", s);
        close(p);
    }
    close(l);
    close(s);
}

/* One thread makes and ends connections, another uses them: nothing hangs, nothing breaks. */
static volatile int stop;
static void *run_use(void *arg)
{
    int s = *(int *)arg;
    char text[100];
    while (!stop) {
        struct pollfd p = {.fd = s, .events = POLLIN};
        poll(&p, 1, 1);
        send(s, text, sizeof(text), MSG_NOSIGNAL | MSG_DONTWAIT);
        recv(s, text, sizeof(text), MSG_DONTWAIT);
        struct timeval tv = {0, 1000};
        setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
        recv(s, text, sizeof(text), 0);
    }
    return NULL;
}

CASE(again_storm)
{
    struct sockaddr_in a;
    int l = listener_at(&a), s = socket(AF_INET, SOCK_STREAM, 0), made = 0;
    stop = 0;
    pthread_t users[3];
    for (int i = 0; i < 3; i++)
        users[i] = start(run_use, &s);
    for (int i = 0; i < 300; i++) {
        made += !connect(s, (void *)&a, sizeof(a));
        int p = accept(l, NULL, NULL);
        send(p, "abcdef", 6, MSG_NOSIGNAL);
        if (i % 3)
            close(p);
        if (i % 7 == 0)
            sleep_ms(2);
        disconnect(s);
        if (i % 3 == 0)
            close(p);
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(users[i], NULL);
    CHECK(made == 300);
    close(s);
    close(l);
}
