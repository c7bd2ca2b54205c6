/* Datagrams to oneself: who gets which, in which order, and what happens when that changes under way. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "abi.h"

#define WARM 3 /* datagrams after which whatever is learned has been learned */

static struct sockaddr_in v4(const char *address, int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(address), .sin_port = htons(port)};
}

static int port_of(int s)
{
    struct sockaddr_in6 a;
    socklen_t len = sizeof(a);
    return getsockname(s, (void *)&a, &len) ? -1 : ntohs(a.sin6_port);
}

/* Bound; port 0: any. share: the port may be another's, too. */
static int bound(const char *address, int port, bool share)
{
    struct sockaddr_in a = v4(address, port);
    int on = 1, s = socket(AF_INET, SOCK_DGRAM, 0);
    if (share)
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    OK(bind(s, (void *)&a, sizeof(a)));
    return s;
}

static bool put(int s, const char *address, int port, const char *text)
{
    struct sockaddr_in a = v4(address, port);
    return sendto(s, text, strlen(text), 0, (void *)&a, sizeof(a)) == (ssize_t)strlen(text);
}

/* What waits at s, all of it, and from which ports: "a/1 b/1" says that a and b came from ports[1]. */
static const char *waiting_at(int s, const int *ports, int count)
{
    static char said[256];
    struct sockaddr_in from;
    char text[16];
    size_t at = 0;
    said[0] = 0;
    for (;;) {
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(s, text, sizeof(text), MSG_DONTWAIT, (void *)&from, &len);
        int who = 0;
        if (n < 0)
            return said[0] ? said : errname(errno);
        while (who < count && ports[who] != ntohs(from.sin_port))
            who++;
        at += snprintf(said + at, sizeof(said) - at, " %.*s/%d", (int)n, text, who);
    }
}

/* ---- the choice ---- */

struct chosen {
    int senders[2], ports[2], port;
};

/* Several from each sender, and who has got them. */
static void offer(const char *what, const struct chosen *c, const int *receivers, int count)
{
    for (int i = 0; i < WARM; i++)
        for (int k = 0; k < 2; k++)
            put(c->senders[k], "127.0.0.1", c->port, k ? "b" : "a");
    for (int i = 0; i < count; i++)
        say("%s: at %d: %s", what, i, waiting_at(receivers[i], c->ports, 2));
}

CASE(sock_udp_choice)
{
    struct chosen c;
    int r[4];
    for (int k = 0; k < 2; k++) {
        c.senders[k] = bound("127.0.0.1", 0, false);
        c.ports[k] = port_of(c.senders[k]);
    }
    r[0] = bound("0.0.0.0", 0, true);
    c.port = port_of(r[0]);
    offer("wildcard", &c, r, 1);
    r[1] = bound("127.0.0.1", c.port, true);
    offer("and an address", &c, r, 2);
    r[2] = bound("127.0.0.1", c.port, true);
    struct sockaddr_in a = v4("127.0.0.1", c.ports[0]), none = {.sin_family = AF_UNSPEC};
    OK(connect(r[2], (void *)&a, sizeof(a)));
    offer("and a connected one", &c, r, 3);
    a.sin_port = htons(c.ports[1]);
    OK(connect(r[2], (void *)&a, sizeof(a)));
    offer("to the other", &c, r, 3);
    OK(close(r[2]));
    offer("which is gone", &c, r, 2);
    OK(connect(r[1], (void *)&a, sizeof(a)));
    offer("the address is connected", &c, r, 2);
    OK(connect(r[1], (void *)&none, sizeof(none)));
    OK(close(r[1]));
    offer("the wildcard alone", &c, r, 1);
    OK(close(r[0]));
    offer("nobody", &c, r, 0);
    r[0] = bound("127.0.0.1", c.port, false);
    offer("somebody again", &c, r, 1);
    close(r[0]);
    close(c.senders[0]);
    close(c.senders[1]);
}

/* [::] takes both versions, beside a socket of one version that takes its own. */
CASE(sock_udp_versions)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6}, from;
    int on = 1, dual = socket(AF_INET6, SOCK_DGRAM, 0), sender = bound("127.0.0.1", 0, false), port;
    int sender6 = socket(AF_INET6, SOCK_DGRAM, 0);
    char text[8];
    OK(bind(dual, (void *)&any, sizeof(any)));
    port = port_of(dual);
    for (int i = 0; i < WARM; i++) {
        socklen_t len = sizeof(from);
        CHECK(put(sender, "127.0.0.1", port, "four"));
        VALUE(recvfrom(dual, text, sizeof(text), 0, (void *)&from, &len));
        CHECK(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr) && ntohs(from.sin6_port) == port_of(sender));
        struct sockaddr_in6 to = {
            .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback, .sin6_port = htons(port)};
        VALUE(sendto(sender6, "sixes", 5, 0, (void *)&to, sizeof(to)));
        VALUE(recvfrom(dual, text, sizeof(text), 0, (void *)&from, &len));
        CHECK(IN6_IS_ADDR_LOOPBACK(&from.sin6_addr) && ntohs(from.sin6_port) == port_of(sender6));
        VALUE(len);
        inet_pton(AF_INET6, "::ffff:127.0.0.1", &to.sin6_addr);
        VALUE(sendto(sender6, "mapped", 6, 0, (void *)&to, sizeof(to)));
        VALUE(recvfrom(dual, text, sizeof(text), 0, (void *)&from, &len));
        CHECK(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
    }
    close(dual);
    dual = socket(AF_INET6, SOCK_DGRAM, 0);
    OK(setsockopt(dual, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)));
    any.sin6_port = htons(port);
    OK(bind(dual, (void *)&any, sizeof(any)));
    CHECK(put(sender, "127.0.0.1", port, "nobody's"));
    int four = bound("0.0.0.0", port, false);
    CHECK(put(sender, "127.0.0.1", port, "four"));
    VALUE(recv(four, text, sizeof(text), 0));
    VALUE(recv(dual, text, sizeof(text), MSG_DONTWAIT));
    close(dual);
    close(four);
    close(sender);
    close(sender6);
}

/* ---- connections ---- */

CASE(sock_udp_receiver_goes)
{
    int r = bound("127.0.0.1", 0, false), s = socket(AF_INET, SOCK_DGRAM, 0), port = port_of(r);
    struct sockaddr_in a = v4("127.0.0.1", port);
    char text[8];
    OK(connect(s, (void *)&a, sizeof(a)));
    for (int i = 0; i < WARM; i++) {
        VALUE(send(s, "warm", 4, 0));
        VALUE(recv(r, text, sizeof(text), 0));
    }
    VALUE(send(s, "lost", 4, 0));
    OK(close(r));
    VALUE(send(s, "x", 1, 0));
    usleep(30000);
    VALUE(send(s, "x", 1, 0));
    r = bound("127.0.0.1", port, false);
    for (int i = 0; i < WARM; i++)
        VALUE(send(s, "again", 5, 0));
    VALUE(recv(r, text, sizeof(text), 0));
    VALUE(recv(s, text, sizeof(text), MSG_DONTWAIT));
    close(r);
    close(s);
}

/* A socket that connects elsewhere, to itself, and not at all. */
CASE(sock_udp_sender_turns)
{
    int r[2] = {bound("127.0.0.1", 0, false), bound("127.0.0.1", 0, false)};
    int s = bound("127.0.0.1", 0, false), ports[] = {port_of(s)};
    struct sockaddr_in none = {.sin_family = AF_UNSPEC};
    for (int turn = 0; turn < 4; turn++) {
        struct sockaddr_in a = v4("127.0.0.1", port_of(r[turn & 1]));
        OK(connect(s, (void *)&a, sizeof(a)));
        for (int i = 0; i < WARM; i++)
            VALUE(send(s, turn & 1 ? "b" : "a", 1, 0));
        CHECK(put(s, "127.0.0.1", port_of(r[!(turn & 1)]), "other"));
        say("turn %d: %s", turn, waiting_at(r[0], ports, 1));
        say("turn %d: %s", turn, waiting_at(r[1], ports, 1));
    }
    struct sockaddr_in self = v4("127.0.0.1", ports[0]);
    OK(connect(s, (void *)&self, sizeof(self)));
    for (int i = 0; i < WARM; i++)
        VALUE(send(s, "self", 4, 0));
    say("itself: %s", waiting_at(s, ports, 1));
    OK(connect(s, (void *)&none, sizeof(none)));
    VALUE(send(s, "nowhere", 7, 0));
    close(r[0]);
    close(r[1]);
    close(s);
}

/* A connected socket hears its peer alone, also when that one is not the only sender it knows. */
CASE(sock_udp_stranger)
{
    int r = bound("127.0.0.1", 0, false), friend = bound("127.0.0.1", 0, false),
        stranger = bound("127.0.0.1", 0, false), ports[] = {port_of(friend), port_of(stranger)};
    for (int i = 0; i < WARM; i++) {
        CHECK(put(friend, "127.0.0.1", port_of(r), "friend"));
        CHECK(put(stranger, "127.0.0.1", port_of(r), "stranger"));
    }
    struct sockaddr_in a = v4("127.0.0.1", ports[0]);
    OK(connect(r, (void *)&a, sizeof(a)));
    for (int i = 0; i < WARM; i++) {
        CHECK(put(friend, "127.0.0.1", port_of(r), "f2"));
        CHECK(put(stranger, "127.0.0.1", port_of(r), "s2"));
    }
    say("%s", waiting_at(r, ports, 2));
    close(r);
    close(friend);
    close(stranger);
}

/* ---- addresses ---- */

CASE(sock_udp_all_of_127)
{
    int r = bound("0.0.0.0", 0, false), s = bound("127.0.0.2", 0, false), only = bound("127.0.0.3", 0, false);
    struct sockaddr_in from;
    char text[8];
    for (int i = 0; i < WARM; i++) {
        socklen_t len = sizeof(from);
        CHECK(put(s, "127.0.0.1", port_of(r), "two"));
        VALUE(recvfrom(r, text, sizeof(text), MSG_DONTWAIT, (void *)&from, &len));
        say("from %s", inet_ntoa(from.sin_addr));
        CHECK(put(s, "0.0.0.0", port_of(r), "zero"));
        VALUE(recv(r, text, sizeof(text), MSG_DONTWAIT));
        CHECK(put(s, "127.0.0.3", port_of(only), "three"));
        VALUE(recv(only, text, sizeof(text), MSG_DONTWAIT));
        CHECK(put(s, "127.0.0.1", port_of(only), "nobody"));
        VALUE(recv(only, text, sizeof(text), MSG_DONTWAIT));
        CHECK(put(r, "127.0.0.3", port_of(only), "any"));
        VALUE(recvfrom(only, text, sizeof(text), MSG_DONTWAIT, (void *)&from, &len));
        say("from %s", inet_ntoa(from.sin_addr));
    }
    close(r);
    close(s);
    close(only);
}

/* ---- queues ---- */

CASE(sock_udp_full)
{
    int r = bound("127.0.0.1", 0, false), s = socket(AF_INET, SOCK_DGRAM, 0), size = 8192, got = 0;
    struct sockaddr_in a = v4("127.0.0.1", port_of(r));
    char text[8];
    bool in_order = true;
    OK(setsockopt(r, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
    OK(connect(s, (void *)&a, sizeof(a)));
    for (int round = 0; round < 2; round++) {
        int sent = 0;
        for (int i = 0; i < 200; i++)
            sent += send(s, &i, sizeof(i), 0) == sizeof(i);
        VALUE(sent);
        for (got = 0; recv(r, text, sizeof(text), MSG_DONTWAIT) == sizeof(int); got++)
            in_order &= !memcmp(text, &got, sizeof(got));
        CHECK(got >= 4 && got < 100);
        CHECK(in_order);
    }
    VALUE(send(s, "room", 4, 0));
    VALUE(recv(r, text, sizeof(text), MSG_DONTWAIT));
    close(r);
    close(s);
}

/* Whatever looks at what waits disturbs no order. */
CASE(sock_udp_looked_at)
{
    int r = bound("127.0.0.1", 0, false), s = socket(AF_INET, SOCK_DGRAM, 0), ports[1], bytes = -1;
    struct sockaddr_in a = v4("127.0.0.1", port_of(r));
    char text[8], expected[] = "abcdef";
    CHECK(put(s, "127.0.0.1", port_of(r), "x"));
    ports[0] = port_of(s);
    VALUE(recv(r, text, sizeof(text), 0));
    for (int i = 0; i < 6; i++) {
        char one[2] = {expected[i]};
        CHECK(put(s, "127.0.0.1", port_of(r), one));
        if (i == 1)
            VALUE(recv(r, text, sizeof(text), MSG_PEEK));
        if (i == 2)
            CHECK(text[0] == 'a');
        if (i == 3)
            OK(ioctl(r, FIONREAD, &bytes));
        if (i == 4) { /* by a way that nothing is known of yet */
            int other = socket(AF_INET, SOCK_DGRAM, 0);
            CHECK(put(other, "127.0.0.1", port_of(r), "o"));
            close(other);
        }
    }
    VALUE(bytes);
    VALUE(recv(r, text, 0, MSG_PEEK | MSG_TRUNC));
    say("%s", waiting_at(r, ports, 1));
    VALUE(sendto(s, "", 0, 0, (void *)&a, sizeof(a)));
    VALUE(recv(r, text, sizeof(text), MSG_DONTWAIT));
    char *big = calloc(1, 65507);
    for (int i = 0; i < 2; i++) {
        big[65506] = 'e';
        VALUE(sendto(s, big, 65507, 0, (void *)&a, sizeof(a)));
        big[65506] = 0;
        VALUE(recv(r, big, 65507, MSG_DONTWAIT));
        CHECK(big[65506] == 'e');
    }
    VALUE(sendto(s, (void *)16, 8, 0, (void *)&a, sizeof(a)));
    VALUE(put(s, "127.0.0.1", port_of(r), "fault"));
    VALUE(recv(r, (void *)16, 8, MSG_DONTWAIT));
    VALUE(recv(r, text, 8, MSG_DONTWAIT));
    free(big);
    close(r);
    close(s);
}

CASE(sock_udp_many_at_once)
{
    int r = bound("127.0.0.1", 0, false), s = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = v4("127.0.0.1", port_of(r));
    struct mmsghdr out[8] = {0}, in[8] = {0};
    struct iovec o[8], i[8];
    char text[8][8];
    OK(connect(s, (void *)&a, sizeof(a)));
    for (int k = 0; k < 8; k++) {
        o[k] = (struct iovec){"messages", k};
        i[k] = (struct iovec){text[k], 5};
        out[k].msg_hdr = (struct msghdr){.msg_iov = &o[k], .msg_iovlen = 1};
        in[k].msg_hdr = (struct msghdr){.msg_iov = &i[k], .msg_iovlen = 1};
    }
    for (int round = 0; round < WARM; round++) {
        VALUE(sendmmsg(s, out, 8, 0));
        VALUE(recvmmsg(r, in, 8, MSG_WAITFORONE, NULL));
        for (int k = 0; k < 8; k++)
            say("%u %s", in[k].msg_len, in[k].msg_hdr.msg_flags & MSG_TRUNC ? "cut" : "whole");
    }
    close(r);
    close(s);
}

CASE(sock_udp_edges)
{
    int r = bound("127.0.0.1", 0, false), s = socket(AF_INET, SOCK_DGRAM, 0), e = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET}, got;
    char text[8];
    OK(epoll_ctl(e, EPOLL_CTL_ADD, r, &event));
    for (int i = 0; i < WARM; i++) {
        VALUE(epoll_wait(e, &got, 1, 0));
        CHECK(put(s, "127.0.0.1", port_of(r), "edge"));
        VALUE(epoll_wait(e, &got, 1, 1000));
        VALUE(epoll_wait(e, &got, 1, 0));
        VALUE(recv(r, text, sizeof(text), 0));
        VALUE(recv(r, text, sizeof(text), MSG_DONTWAIT));
    }
    close(e);
    close(r);
    close(s);
}

/* ---- threads ---- */

#define SENDERS 4
#define EACH    2000

struct line {
    int socket, echo;
    struct sockaddr_in to;
    unsigned char number;
};

/* One thread's datagrams, the next when the last one has been seen. */
static void *ask(void *arg)
{
    struct line *l = arg;
    long good = 0;
    for (int i = 0; i < EACH; i++) {
        int seen = -1;
        good += sendto(l->socket, &i, sizeof(i), 0, (void *)&l->to, sizeof(l->to)) == sizeof(i) &&
                recv(l->socket, &seen, sizeof(seen), 0) == sizeof(seen) && seen == i;
    }
    return (void *)good;
}

static void *answer(void *arg)
{
    struct line *l = arg;
    struct sockaddr_in from;
    int what;
    for (;;) {
        socklen_t len = sizeof(from);
        if (recvfrom(l->echo, &what, sizeof(what), 0, (void *)&from, &len) != sizeof(what) || what < 0)
            return NULL;
        sendto(l->echo, &what, sizeof(what), 0, (void *)&from, len);
    }
}

CASE(sock_udp_crowd)
{
    pthread_t asking[SENDERS], answering[2];
    struct line lines[SENDERS];
    int r = bound("127.0.0.1", 0, false), end = -1;
    struct sockaddr_in to = v4("127.0.0.1", port_of(r));
    for (int i = 0; i < SENDERS; i++) {
        lines[i] = (struct line){socket(AF_INET, SOCK_DGRAM, 0), r, to, i};
        pthread_create(&asking[i], NULL, ask, &lines[i]);
    }
    for (int i = 0; i < 2; i++)
        pthread_create(&answering[i], NULL, answer, &lines[0]);
    for (int i = 0; i < SENDERS; i++) {
        void *good;
        pthread_join(asking[i], &good);
        VALUE((long)good);
    }
    for (int i = 0; i < 2; i++)
        sendto(r, &end, sizeof(end), 0, (void *)&to, sizeof(to));
    for (int i = 0; i < 2; i++)
        pthread_join(answering[i], NULL);
    for (int i = 0; i < SENDERS; i++)
        close(lines[i].socket);
    close(r);
}

static void *flood(void *arg)
{
    struct line *l = arg;
    while (!__atomic_load_n(&l->number, __ATOMIC_RELAXED))
        sendto(l->socket, "flood", 5, 0, (void *)&l->to, sizeof(l->to));
    return NULL;
}

/* Receivers that come and go under a flood: each gets some. */
CASE(sock_udp_receivers_come_and_go)
{
    pthread_t floods[2];
    struct line lines[2];
    int r = bound("127.0.0.1", 0, false), s = socket(AF_INET, SOCK_DGRAM, 0), served = 0;
    struct sockaddr_in to = v4("127.0.0.1", port_of(r));
    for (int i = 0; i < 2; i++) {
        lines[i] = (struct line){s, -1, to, 0};
        pthread_create(&floods[i], NULL, flood, &lines[i]);
    }
    for (int i = 0; i < 300; i++) {
        struct timeval patience = {.tv_sec = 10};
        char text[8];
        setsockopt(r, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        served += recv(r, text, sizeof(text), 0) == 5 && recv(r, text, sizeof(text), 0) == 5;
        close(r);
        r = socket(AF_INET, SOCK_DGRAM, 0);
        if (bind(r, (void *)&to, sizeof(to)))
            say("bind: %s", errname(errno));
    }
    VALUE(served);
    for (int i = 0; i < 2; i++)
        __atomic_store_n(&lines[i].number, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(floods[i], NULL);
    close(r);
    close(s);
}
