/* How much makes a stream readable (SO_RCVLOWAT) or writable (TCP_NOTSENT_LOWAT), and a connection worth
 * accepting (TCP_DEFER_ACCEPT). */
#include "net.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#define SIOCOUTQNSD 0x894b /* linux/sockios.h */

static int get(int fd, int level, int option)
{
    int value = -77;
    socklen_t len = sizeof(value);
    if (getsockopt(fd, level, option, &value, &len))
        say("option %d %d: %s", level, option, errname(errno));
    return value;
}

static int low(int fd)
{
    return get(fd, SOL_SOCKET, SO_RCVLOWAT);
}

static void set_low(int fd, int bytes)
{
    set(fd, SOL_SOCKET, SO_RCVLOWAT, bytes);
}

static void set_receive_timeout(int fd, int ms)
{
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

/* Whether it becomes so within ms: the events that hold. */
static int poll_for(int fd, int events, int ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    poll(&p, 1, ms);
    return p.revents;
}

/* A call in a thread of its own. */
struct reader {
    int fd, flags;
    size_t len;
    pthread_t thread;
    volatile int returned;
    ssize_t result;
    int error;
};

static void *run_reader(void *arg)
{
    struct reader *r = arg;
    char text[256];
    r->result = recv(r->fd, text, r->len, r->flags);
    r->error = r->result < 0 ? errno : 0;
    r->returned = 1;
    return NULL;
}

static void begin(struct reader *r, int fd, size_t len, int flags)
{
    *r = (struct reader){.fd = fd, .len = len, .flags = flags};
    r->thread = start(run_reader, r);
    settle_ms(20);
    say("at first: %s", r->returned ? "returned" : "waits");
}

static void end(struct reader *r)
{
    pthread_join(r->thread, NULL);
    say("got %zd %s", r->result, errname(r->error));
}

CASE(lowat_values)
{
    static const int kinds[][2] = {{AF_INET, SOCK_STREAM}, {AF_INET6, SOCK_STREAM},
                                   {AF_INET, SOCK_DGRAM},  {AF_UNIX, SOCK_STREAM},
                                   {AF_UNIX, SOCK_DGRAM},  {AF_UNIX, SOCK_SEQPACKET}};
    for (int i = 0; i < 6; i++) {
        int fd = socket(kinds[i][0], kinds[i][1], 0);
        say("-- family %d type %d", kinds[i][0], kinds[i][1]);
        VALUE(low(fd));
        set_low(fd, 5);
        VALUE(low(fd));
        set_low(fd, 0);
        VALUE(low(fd));
        set_low(fd, -1);
        CHECK(low(fd) > 100000);
        set(fd, SOL_SOCKET, SO_RCVBUF, 10000);
        set_low(fd, 50000);
        VALUE(low(fd));
        OK(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, "", 1));
        close(fd);
    }
}

CASE(lowat_inherited)
{
    int p[2], l;
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    NEED(tcp_pair_and_listener(p, &l));
    set_low(l, 10);
    set(l, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 20000);
    getsockname(l, (void *)&a, &len);
    int c = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect(c, (void *)&a, len));
    int s = accept(l, NULL, NULL);
    VALUE(low(s));
    VALUE(low(c));
    VALUE(get(s, IPPROTO_TCP, TCP_NOTSENT_LOWAT));
    VALUE(send(c, "123456789", 9, 0));
    settle_ms(5);
    show_poll("nine of ten", s);
    VALUE(send(c, "0", 1, 0));
    settle_ms(5);
    show_poll("ten of ten", s);
}

CASE(lowat_poll)
{
    int p[2], n = 0;
    char text[64];
    NEED(tcp_pair(p));
    set_low(p[1], 10);
    show_poll("nothing", p[1]);
    VALUE(send(p[0], "123456789", 9, 0));
    settle_ms(5);
    show_poll("nine", p[1]);
    OK(ioctl(p[1], FIONREAD, &n));
    VALUE(n);
    VALUE(send(p[0], "0", 1, 0));
    settle_ms(5);
    show_poll("ten", p[1]);
    VALUE(recv(p[1], text, 4, MSG_DONTWAIT));
    show_poll("six", p[1]);
    VALUE(recv(p[1], text, 4, 0));
    VALUE(recv(p[1], text, 64, MSG_DONTWAIT | MSG_PEEK));
    VALUE(recv(p[1], text, 64, MSG_DONTWAIT));
    VALUE(recv(p[1], text, 64, MSG_DONTWAIT));
    VALUE(send(p[0], "abc", 3, 0));
    settle_ms(5);
    show_poll("three", p[1]);
    set_low(p[1], 3);
    show_poll("three of three", p[1]);
    set_low(p[1], 4);
    show_poll("three of four", p[1]);
    OK(shutdown(p[0], SHUT_WR));
    settle_ms(5);
    show_poll("ended", p[1]);
    VALUE(recv(p[1], text, 64, 0));
    VALUE(recv(p[1], text, 64, 0));
}

/* Who polls is woken by the last byte, and by a lower mark. */
static int polled;
static void *run_poll(void *arg)
{
    int fd = *(int *)arg;
    polled = poll_for(fd, POLLIN, 10000);
    return NULL;
}

CASE(lowat_woken)
{
    int p[2];
    NEED(tcp_pair(p));
    for (int lower = 0; lower < 2; lower++) {
        set_low(p[1], 10);
        polled = -1;
        pthread_t t = start(run_poll, &p[1]);
        settle_ms(10);
        VALUE(send(p[0], "12345", 5, 0));
        settle_ms(20);
        VALUE(polled);
        if (lower)
            set_low(p[1], 5);
        else
            VALUE(send(p[0], "67890", 5, 0));
        pthread_join(t, NULL);
        VALUE(polled);
        char text[16];
        VALUE(recv(p[1], text, 16, MSG_DONTWAIT));
    }
}

CASE(lowat_epoll)
{
    for (int edge = 0; edge < 2; edge++) {
        int p[2], e = epoll_create1(0);
        char text[64];
        NEED(tcp_pair(p));
        struct epoll_event v = {.events = EPOLLIN | (edge ? EPOLLET : 0)};
        set_low(p[1], 10);
        OK(epoll_ctl(e, EPOLL_CTL_ADD, p[1], &v));
        VALUE(send(p[0], "123456789", 9, 0));
        VALUE(epoll_wait(e, &v, 1, 30));
        VALUE(send(p[0], "0", 1, 0));
        VALUE(epoll_wait(e, &v, 1, 5000));
        VALUE(epoll_wait(e, &v, 1, 0));
        VALUE(send(p[0], "more", 4, 0));
        VALUE(epoll_wait(e, &v, 1, edge ? 5000 : 0));
        VALUE(recv(p[1], text, 8, 0));
        VALUE(epoll_wait(e, &v, 1, 0));
        VALUE(send(p[0], "1234", 4, 0));
        VALUE(epoll_wait(e, &v, 1, 5000));
        VALUE(recv(p[1], text, 64, MSG_DONTWAIT));
        set_low(p[1], 3);
        VALUE(send(p[0], "ab", 2, 0));
        VALUE(epoll_wait(e, &v, 1, 20));
        set_low(p[1], 2);
        VALUE(epoll_wait(e, &v, 1, 5000));
        close(e);
    }
}

CASE(lowat_read)
{
    for (int family = AF_UNIX; family <= AF_INET; family++) {
        int p[2];
        char text[64];
        struct reader r;
        say("-- family %d", family);
        NEED(family == AF_INET ? tcp_pair(p) : !socketpair(AF_UNIX, SOCK_STREAM, 0, p));
        set_low(p[1], 10);
        begin(&r, p[1], 100, 0);
        VALUE(send(p[0], "1234", 4, 0));
        settle_ms(20);
        VALUE(r.returned);
        VALUE(send(p[0], "56789", 5, 0));
        settle_ms(20);
        VALUE(r.returned);
        VALUE(send(p[0], "0abc", 4, 0));
        end(&r);
        VALUE(recv(p[1], text, 64, MSG_DONTWAIT)); /* nothing, or what came later */
        /* No more than is asked for. (TCP's readers that sleep are woken by so much only, on Linux.) */
        if (family == AF_UNIX) {
            begin(&r, p[1], 3, 0);
            VALUE(send(p[0], "12", 2, 0));
            settle_ms(20);
            VALUE(r.returned);
        } else {
            VALUE(send(p[0], "12", 2, 0));
        }
        VALUE(send(p[0], "34", 2, 0));
        if (family == AF_UNIX)
            end(&r);
        else
            VALUE(recv(p[1], text, 3, 0));
        VALUE(recv(p[1], text, 64, MSG_DONTWAIT));
        /* The time is up. */
        set_receive_timeout(p[1], 50);
        VALUE(send(p[0], "1234", 4, 0));
        VALUE(recv(p[1], text, 64, 0));
        VALUE(recv(p[1], text, 64, 0));
        VALUE(send(p[0], "1234", 4, 0));
        VALUE(recv(p[1], text, 64, MSG_WAITALL));
        set_receive_timeout(p[1], 0);
        /* The end. */
        begin(&r, p[1], 100, 0);
        VALUE(send(p[0], "1234", 4, 0));
        close(p[0]);
        end(&r);
        VALUE(recv(p[1], text, 64, 0));
        close(p[1]);
    }
}

/* Looking at what is there waits for as much. */
CASE(lowat_peek)
{
    int p[2];
    char text[64];
    struct reader r;
    NEED(tcp_pair(p));
    begin(&r, p[1], 6, MSG_PEEK | MSG_WAITALL);
    VALUE(send(p[0], "123", 3, 0));
    settle_ms(20);
    VALUE(r.returned);
    VALUE(send(p[0], "456789", 6, 0));
    end(&r);
    VALUE(recv(p[1], text, 64, MSG_DONTWAIT));
    set_low(p[1], 4);
    begin(&r, p[1], 6, MSG_PEEK);
    VALUE(send(p[0], "123", 3, 0));
    settle_ms(20);
    VALUE(r.returned);
    VALUE(send(p[0], "4", 1, 0));
    end(&r);
    set_receive_timeout(p[1], 30);
    VALUE(recv(p[1], text, 64, MSG_PEEK | MSG_WAITALL));
    set_receive_timeout(p[1], 0);
    begin(&r, p[1], 64, MSG_PEEK | MSG_WAITALL);
    VALUE(send(p[0], "56", 2, 0));
    close(p[0]);
    end(&r);
    VALUE(recv(p[1], text, 64, 0));
}

/* An urgent byte, which a read stops at. */
CASE(lowat_urgent)
{
    int p[2];
    char text[64];
    NEED(tcp_pair(p));
    set_low(p[1], 4);
    VALUE(send(p[0], "abcX", 4, MSG_OOB));
    settle_ms(5);
    show_poll("three and an urgent one", p[1]);
    VALUE(send(p[0], "de", 2, 0));
    settle_ms(5);
    show_poll("two more", p[1]);
    VALUE(recv(p[1], text, 64, 0));
    show_poll("at the mark", p[1]);
    set_low(p[1], 3);
    show_poll("at the mark, three", p[1]);
    set_low(p[1], 2);
    show_poll("at the mark, two", p[1]);
    set_receive_timeout(p[1], 30);
    VALUE(recv(p[1], text, 64, 0));
    VALUE(recv(p[1], text, 64, 0));
}

/* More than a buffer has by itself. */
struct sender {
    int fd;
    size_t len;
};
static void *run_sender(void *arg)
{
    struct sender *s = arg;
    static char bytes[65536];
    for (size_t done = 0; done < s->len;) {
        size_t left = s->len - done;
        ssize_t n = send(s->fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);
        if (n <= 0)
            break;
        done += n;
    }
    return NULL;
}

CASE(lowat_large)
{
    int p[2], n = 0;
    NEED(tcp_pair(p));
    set_low(p[1], 300000);
    VALUE(low(p[1]));
    struct sender s = {p[0], 300000};
    pthread_t t = start(run_sender, &s);
    VALUE(poll_for(p[1], POLLIN, 10000));
    ioctl(p[1], FIONREAD, &n);
    VALUE(n);
    pthread_join(t, NULL);
    /* So small a buffer never holds what is asked for: readable when it is full. */
    NEED(tcp_pair(p));
    set_low(p[1], 100000);
    set(p[1], SOL_SOCKET, SO_RCVBUF, 20000);
    s = (struct sender){p[0], 2000000};
    t = start(run_sender, &s);
    VALUE(poll_for(p[1], POLLIN, 10000));
    close(p[1]);
    signal(SIGPIPE, SIG_IGN);
    pthread_join(t, NULL);
}

static int fill(int fd)
{
    char bytes[4096] = {0};
    int sent = 0, n;
    while ((n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        sent += n;
    say("full: %s", errname(errno));
    return sent;
}

static int unsent(int fd)
{
    int n = -1;
    ioctl(fd, SIOCOUTQNSD, &n);
    return n;
}

static void drain(int fd)
{
    char bytes[65536];
    while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0 || poll_for(fd, POLLIN, 100))
        ;
}

CASE(lowat_unsent)
{
    int p[2], e = epoll_create1(0);
    NEED(tcp_pair(p));
    VALUE(get(p[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT));
    set(p[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1);
    VALUE(get(p[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT));
    set(p[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384);
    show_poll("at first", p[0]);
    CHECK(fill(p[0]) > 16384);
    CHECK(unsent(p[0]) > 0);
    CHECK(unsent(p[0]) < 16384 + 66000); /* a segment in the making may be exceeded */
    show_poll("full", p[0]);
    struct epoll_event v = {.events = EPOLLOUT | EPOLLET};
    OK(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &v));
    VALUE(epoll_wait(e, &v, 1, 20));
    drain(p[1]);
    VALUE(epoll_wait(e, &v, 1, 5000));
    show_poll("drained", p[0]);
    VALUE(unsent(p[0]));
    /* A higher mark lets more in. */
    fill(p[0]);
    show_poll("full again", p[0]);
    VALUE(epoll_wait(e, &v, 1, 0));
    set(p[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1 << 24);
    VALUE(epoll_wait(e, &v, 1, 5000));
    show_poll("higher", p[0]);
    CHECK(fill(p[0]) > 0);
    show_poll("full at last", p[0]);
    close(e);
}

/* ---- connections that are accepted when they bring something ---- */

static int deferring(int seconds, struct sockaddr_in *a)
{
    socklen_t len = sizeof(*a);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    *a = loopback(0);
    set(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, seconds);
    if (bind(l, (void *)a, len) || listen(l, 5) || getsockname(l, (void *)a, &len))
        say("no listener: %s", errname(errno));
    return l;
}

static int connected(const struct sockaddr_in *a)
{
    int c = socket(AF_INET, SOCK_STREAM, 0);
    OK(connect(c, (void *)a, sizeof(*a)));
    return c;
}

CASE(lowat_accept)
{
    struct sockaddr_in a;
    int l = deferring(30, &a), c = connected(&a), s, e = epoll_create1(0);
    char text[16];
    struct epoll_event v = {.events = EPOLLIN | EPOLLET};
    OK(epoll_ctl(e, EPOLL_CTL_ADD, l, &v));
    settle_ms(20);
    show_poll("nothing sent", l);
    show_poll("client", c);
    VALUE(accept(l, NULL, NULL));
    VALUE(epoll_wait(e, &v, 1, 0));
    VALUE(send(c, "abc", 3, 0));
    VALUE(poll_for(l, POLLIN, 5000));
    VALUE(epoll_wait(e, &v, 1, 0));
    CHECK((s = accept4(l, NULL, NULL, 0)) >= 0);
    VALUE(get(s, IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
    VALUE(recv(s, text, 16, 0));
    VALUE(send(s, "answer", 6, 0));
    VALUE(recv(c, text, 16, 0));
    VALUE(accept(l, NULL, NULL));
    /* In the order in which they bring it. */
    int first = connected(&a), second = connected(&a);
    VALUE(send(second, "second", 6, 0));
    VALUE(poll_for(l, POLLIN, 5000));
    CHECK((s = accept4(l, NULL, NULL, 0)) >= 0);
    VALUE(recv(s, text, 16, 0));
    VALUE(send(first, "1st", 3, 0));
    VALUE(poll_for(l, POLLIN, 5000));
    CHECK((s = accept4(l, NULL, NULL, 0)) >= 0);
    VALUE(recv(s, text, 16, 0));
    /* The end is something, a reset is not. */
    c = connected(&a);
    close(c);
    VALUE(poll_for(l, POLLIN, 5000));
    CHECK((s = accept4(l, NULL, NULL, 0)) >= 0);
    VALUE(recv(s, text, 16, 0));
    c = connected(&a);
    struct linger now = {1, 0};
    setsockopt(c, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(c);
    VALUE(poll_for(l, POLLIN, 50));
    VALUE(accept(l, NULL, NULL));
    /* No longer. */
    set(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0);
    c = connected(&a);
    VALUE(poll_for(l, POLLIN, 5000));
    CHECK((s = accept4(l, NULL, NULL, 0)) >= 0);
    close(e);
}

/* Many at once, in four ways: those that send or end are accepted, those that are reset are not, nor those
 * that do nothing before the listener goes. */
enum { STORM_THREADS = 3, STORM_ROUNDS = 100 };
static struct sockaddr_in storm_at;
static int idle[STORM_THREADS][STORM_ROUNDS];

static void *run_connects(void *arg)
{
    struct linger now = {1, 0};
    for (int i = 0; i < STORM_ROUNDS; i++) {
        int c = socket(AF_INET, SOCK_STREAM, 0);
        idle[(long)arg][i] = -1;
        if (connect(c, (void *)&storm_at, sizeof(storm_at)))
            say("connect: %s", errname(errno));
        if (i % 4 == 0)
            send(c, "x", 1, MSG_NOSIGNAL);
        if (i % 4 == 2)
            setsockopt(c, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        if (i % 4 == 3)
            idle[(long)arg][i] = c;
        else
            close(c);
    }
    return NULL;
}

CASE(lowat_accept_storm)
{
    int l = deferring(60, &storm_at), got = 0;
    pthread_t t[STORM_THREADS];
    OK(listen(l, 1000));
    for (long i = 0; i < STORM_THREADS; i++)
        t[i] = start(run_connects, (void *)i);
    while (got < STORM_THREADS * STORM_ROUNDS / 2 && poll_for(l, POLLIN, 5000)) {
        int s = accept(l, NULL, NULL);
        if (s >= 0) {
            got++;
            close(s);
        }
    }
    for (int i = 0; i < STORM_THREADS; i++)
        pthread_join(t[i], NULL);
    VALUE(got);
    VALUE(poll_for(l, POLLIN, 50));
    close(l);
    for (int i = 0; i < STORM_THREADS; i++)
        for (int k = 3; k < STORM_ROUNDS; k += 4)
            close(idle[i][k]);
}

static void *run_accept(void *arg)
{
    struct reader *r = arg;
    r->result = accept(r->fd, NULL, NULL) >= 0;
    r->returned = 1;
    return NULL;
}

CASE(lowat_accept_waits)
{
    struct sockaddr_in a;
    int l = deferring(1, &a), c;
    fcntl(l, F_SETFL, 0);
    /* Woken by what is sent. */
    struct reader r = {.fd = l};
    r.thread = start(run_accept, &r);
    c = connected(&a);
    settle_ms(20);
    VALUE(r.returned);
    VALUE(send(c, "abc", 3, 0));
    end(&r);
    /* By the time. */
    r = (struct reader){.fd = l};
    r.thread = start(run_accept, &r);
    c = connected(&a);
    settle_ms(20);
    VALUE(r.returned);
    end(&r);
    c = connected(&a);
    VALUE(poll_for(l, POLLIN, 20));
    VALUE(poll_for(l, POLLIN, 10000));
    CHECK(accept(l, NULL, NULL) >= 0);
    /* Nobody listens any more. */
    c = connected(&a);
    close(l);
    for (int i = 0; i < 100 && send(c, "x", 1, MSG_NOSIGNAL) == 1; i++)
        sleep_ms(10);
    CHECK(send(c, "x", 1, MSG_NOSIGNAL) < 0);
}
