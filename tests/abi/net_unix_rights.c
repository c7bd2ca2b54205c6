/* What lies in UNIX sockets' queues: descriptors, of other such sockets above all, which go when nobody can
 * receive them any more; and when a message was sent. */
#include "net.h"

#include <sys/un.h>

static ssize_t give(int to, const int *fds, int count)
{
    union {
        struct cmsghdr h;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } c = {0};
    struct iovec iov = {"x", 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &c,
                       .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    c.h.cmsg_level = SOL_SOCKET;
    c.h.cmsg_type = SCM_RIGHTS;
    c.h.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&c.h), fds, count * sizeof(int));
    return sendmsg(to, &m, MSG_NOSIGNAL);
}

/* The descriptors of the next message: how many, or -1. */
static int take(int from, int *fds, int flags)
{
    union {
        struct cmsghdr h;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } c;
    char byte;
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};
    if (recvmsg(from, &m, MSG_DONTWAIT | flags) != 1)
        return -1;
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    int count = h == NULL ? 0 : (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(&c.h), count * sizeof(int));
    return count;
}

/* A pipe tells whether its writing end, which was sent along, is gone. */
static int witness(int *write_end)
{
    int p[2];
    if (pipe(p))
        say("pipe: %s", errname(errno));
    *write_end = p[1];
    return p[0];
}

static bool gone(int pipe_end, int ms)
{
    struct pollfd p = {.fd = pipe_end, .events = POLLIN};
    return poll(&p, 1, ms) == 1 && p.revents & POLLHUP;
}

/* Linux collects when a UNIX socket is closed, and takes its time. */
static void show_gone(const char *what, int pipe_end)
{
    bool is = false;
    for (int i = 0; i < 100 && !is; i++) {
        close(socket(AF_UNIX, SOCK_STREAM, 0));
        is = gone(pipe_end, 100);
    }
    say("%s: %s", what, is ? "gone" : "still there");
}

static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

/* Closing a socket drops what it has not received, though its peer stays. */
CASE(unix_unreceived)
{
    for (int k = 0; k < 3; k++) {
        int p[2], w, r = witness(&w);
        NEED(!socketpair(AF_UNIX, types[k], 0, p));
        VALUE(give(p[0], &w, 1));
        close(w);
        CHECK(!gone(r, 0));
        close(p[1]);
        CHECK(gone(r, 1000));
        close(p[0]);
        close(r);
    }
}

/* Descriptors in several control messages of one message come in one; so many are too many together, too. */
CASE(unix_rights_parts)
{
    static const int parts[][3] = {{1, 1, 0},   {2, 0, 3},      {200, 53, 0}, {200, 54, 0},
                                   {253, 0, 1}, {100, 100, 53}, {254, 0, 0}};
    static char bytes[4 * CMSG_SPACE(254 * sizeof(int))];
    for (int k = 0; k < 3; k++)
        for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            int p[2], w, r = witness(&w), at = 0;
            NEED(!socketpair(AF_UNIX, types[k], 0, p));
            struct iovec iov = {"x", 1};
            struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = bytes};
            for (int j = 0; j < 3; j++) {
                struct cmsghdr *h = (void *)(bytes + at);
                *h = (struct cmsghdr){CMSG_LEN(parts[i][j] * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
                for (int n = 0; n < parts[i][j]; n++)
                    memcpy(CMSG_DATA(h) + n * sizeof(int), n & 1 ? &w : &p[0], sizeof(int));
                at += CMSG_SPACE(parts[i][j] * sizeof(int));
            }
            m.msg_controllen = at;
            say("%d+%d+%d", parts[i][0], parts[i][1], parts[i][2]);
            VALUE(sendmsg(p[0], &m, MSG_NOSIGNAL));
            m.msg_controllen = sizeof(bytes);
            char byte;
            iov.iov_base = &byte;
            if (VALUE(recvmsg(p[1], &m, MSG_DONTWAIT)) == 1) {
                struct cmsghdr *h = CMSG_FIRSTHDR(&m);
                int count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int), fd;
                say("%d in %zu", count, (size_t)m.msg_controllen);
                for (int n = 0; n < count; n++) {
                    memcpy(&fd, CMSG_DATA(h) + n * sizeof(int), sizeof(int));
                    close(fd);
                }
            }
            /* A bad one in the second message: the first one's are given back. */
            struct cmsghdr *h = (void *)(bytes + CMSG_SPACE(sizeof(int)));
            *(struct cmsghdr *)bytes = *h = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
            memcpy(CMSG_DATA((struct cmsghdr *)bytes), &w, sizeof(int));
            memcpy(CMSG_DATA(h), (int[]){-1}, sizeof(int));
            m.msg_controllen = 2 * CMSG_SPACE(sizeof(int));
            VALUE(sendmsg(p[0], &m, MSG_NOSIGNAL));
            close(w);
            CHECK(gone(r, 1000));
            close(p[0]);
            close(p[1]);
            close(r);
        }
}

/* One in another in another: no stack is deep enough for all of them. */
CASE(unix_nested)
{
    int w, r = witness(&w), last = w;
    for (int i = 0; i < 3000; i++) {
        int p[2];
        NEED(!socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
        if (give(p[0], &last, 1) != 1) {
            say("%d: %s", i, errname(errno));
            break;
        }
        close(last);
        close(p[0]);
        last = p[1];
    }
    CHECK(!gone(r, 0));
    close(last);
    CHECK(gone(r, 10000));
    close(r);
}

CASE(unix_cycles)
{
    for (int k = 0; k < 3; k++) {
        int p[2], q[2], w, r;
        say("-- type %d", types[k]);
        /* Itself. */
        r = witness(&w);
        NEED(!socketpair(AF_UNIX, types[k], 0, p));
        VALUE(give(p[0], (int[]){p[1], w}, 2));
        close(w);
        close(p[1]);
        close(p[0]);
        show_gone("in itself", r);
        close(r);
        /* Each in the other. */
        r = witness(&w);
        NEED(!socketpair(AF_UNIX, types[k], 0, p) && !socketpair(AF_UNIX, types[k], 0, q));
        VALUE(give(p[0], (int[]){q[1], w}, 2));
        VALUE(give(q[0], (int[]){p[1], p[1]}, 2));
        close(w);
        close(p[1]);
        close(q[1]);
        close(p[0]);
        close(q[0]);
        show_gone("in one another", r);
        close(r);
        /* Both ends in one another. */
        r = witness(&w);
        NEED(!socketpair(AF_UNIX, types[k], 0, p));
        VALUE(give(p[0], (int[]){p[0], w}, 2));
        VALUE(give(p[1], (int[]){p[1]}, 1));
        close(w);
        close(p[1]);
        close(p[0]);
        show_gone("both ends", r);
        close(r);
    }
}

CASE(unix_cycle_long)
{
    enum { N = 100 };
    int p[N][2], w, r = witness(&w);
    for (int i = 0; i < N; i++)
        NEED(!socketpair(AF_UNIX, i & 1 ? SOCK_STREAM : SOCK_DGRAM, 0, p[i]));
    for (int i = 0; i < N; i++)
        NEED(give(p[i][0], (int[]){p[(i + 1) % N][1], w}, 2) == 1);
    close(w);
    for (int i = 0; i < N; i++)
        close(p[i][1]);
    for (int i = 0; i < N - 1; i++)
        close(p[i][0]);
    close(p[N - 1][0]);
    show_gone("a hundred", r);
    close(r);
}

/* What can still be received is not touched, however tangled. */
CASE(unix_cycle_alive)
{
    int p[2], q[2], keep[2], fds[8], w, r = witness(&w);
    NEED(!socketpair(AF_UNIX, SOCK_STREAM, 0, p) && !socketpair(AF_UNIX, SOCK_STREAM, 0, q) &&
         !socketpair(AF_UNIX, SOCK_STREAM, 0, keep));
    VALUE(give(p[0], (int[]){p[1], q[1]}, 2));
    VALUE(give(q[0], (int[]){q[1], p[1], w}, 3));
    VALUE(give(keep[0], (int[]){p[1]}, 1));
    close(w);
    close(p[0]);
    close(p[1]);
    close(q[0]);
    close(q[1]);
    close(socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK(!gone(r, 100));
    /* From the one that was kept all others are got back. */
    VALUE(take(keep[1], fds, MSG_PEEK));
    close(fds[0]);
    close(socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK(!gone(r, 50));
    VALUE(take(keep[1], fds, 0));
    close(socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK(!gone(r, 50));
    int a = fds[0];
    VALUE(take(a, fds, 0));
    int b = fds[1];
    close(fds[0]);
    VALUE(take(b, fds, 0));
    VALUE(write(fds[2], "alive", 5));
    char text[8];
    VALUE(read(r, text, 8));
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    CHECK(gone(r, 1000));
    close(a);
    close(b);
    close(keep[0]);
    close(keep[1]);
    close(r);
}

/* In connections that a listener has not accepted, which are the listener's. */
CASE(unix_cycle_listener)
{
    for (int accepted = 0; accepted < 2; accepted++) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        socklen_t len = 3 + sprintf(a.sun_path + 1, "moka-test-cycle-%d", getpid());
        int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), s, w, r = witness(&w),
            fds[8];
        len = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a.sun_path + 1);
        OK(bind(l, (void *)&a, len));
        OK(listen(l, 5));
        OK(connect(c, (void *)&a, len));
        VALUE(give(c, (int[]){l, w}, 2));
        close(w);
        close(socket(AF_UNIX, SOCK_STREAM, 0));
        CHECK(!gone(r, 50));
        if (accepted) {
            CHECK((s = accept(l, NULL, NULL)) >= 0);
            close(l);
            close(socket(AF_UNIX, SOCK_STREAM, 0));
            CHECK(!gone(r, 50));
            VALUE(take(s, fds, 0));
            struct sockaddr_un b;
            len = sizeof(b);
            OK(getsockname(fds[0], (void *)&b, &len));
            close(fds[0]);
            close(fds[1]);
            close(s);
            CHECK(gone(r, 1000));
        } else {
            close(l);
            close(c);
            show_gone("a listener in its backlog", r);
        }
        close(c);
        close(r);
    }
}

/* Memory returns: each round holds 60 KiB. */
CASE(unix_cycle_many)
{
    static char bytes[60000];
    int w, r = witness(&w), sent = 0;
    for (int i = 0; i < 12000; i++) {
        int p[2];
        NEED(!socketpair(AF_UNIX, SOCK_STREAM, 0, p));
        sent += give(p[0], (int[]){p[1], w}, 2) == 1 && send(p[0], bytes, sizeof(bytes), 0) == sizeof(bytes);
        close(p[1]);
        close(p[0]);
        if (i % 1000 == 0)
            abi_alive();
    }
    close(w);
    VALUE(sent);
    show_gone("all", r);
    close(r);
}

/* A named one that was sent to itself and closed: its closing alone tells nobody. */
CASE(unix_cycle_named)
{
    int w, r = witness(&w), sent = 0;
    for (int i = 0; i < 2000; i++) {
        struct sockaddr_un a;
        socklen_t len = sizeof(a);
        int s = socket(AF_UNIX, SOCK_DGRAM, 0);
        NEED(!bind(s, (void *)&(struct sockaddr_un){.sun_family = AF_UNIX}, 2) &&
             !getsockname(s, (void *)&a, &len) && !connect(s, (void *)&a, len));
        sent += give(s, (int[]){s, w}, 2) == 1;
        close(s);
    }
    close(w);
    VALUE(sent);
    show_gone("all", r);
    close(r);
}

/* Threads that make cycles, and others that send and receive what must not be lost. */
static volatile int stop, lost;
static void *run_cycles(void *arg)
{
    while (!stop) {
        int p[2], q[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, p) || socketpair(AF_UNIX, SOCK_DGRAM, 0, q))
            break;
        give(p[0], (int[]){q[1]}, 1);
        give(q[0], (int[]){p[1]}, 1);
        close(p[1]);
        close(q[1]);
        close(p[0]);
        close(q[0]);
    }
    return NULL;
}

static void *run_passing(void *arg)
{
    int outer[2], inner[2], fds[8];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, outer))
        return NULL;
    for (int i = 0; i < 300; i++) {
        char text[8];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, inner))
            break;
        /* inner[1] is in itself and in outer[1]'s queue, and open nowhere, when others collect. */
        give(inner[0], (int[]){inner[1]}, 1);
        give(outer[0], (int[]){inner[1]}, 1);
        send(inner[0], "lives", 5, 0);
        close(inner[1]);
        if (i % 4 == 0)
            sched_yield();
        if (take(outer[1], fds, 0) != 1) {
            lost++;
            continue;
        }
        int s = fds[0];
        if (take(s, fds, 0) != 1 || recv(fds[0], text, 8, MSG_DONTWAIT) != 5)
            lost++;
        else
            close(fds[0]);
        close(s);
        close(inner[0]);
    }
    close(outer[0]);
    close(outer[1]);
    return NULL;
}

CASE(unix_cycle_storm)
{
    pthread_t makers[2], passers[3];
    stop = lost = 0;
    for (int i = 0; i < 2; i++)
        makers[i] = start(run_cycles, NULL);
    for (int i = 0; i < 3; i++)
        passers[i] = start(run_passing, NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(passers[i], NULL);
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(makers[i], NULL);
    VALUE(lost);
}

/* ---- when a message was sent ---- */

static void show_time(int fd, const struct timespec *sent)
{
    union {
        struct cmsghdr h;
        char bytes[256];
    } c;
    char text[8];
    struct iovec iov = {text, sizeof(text)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};
    struct timespec now;
    VALUE(recvmsg(fd, &m, MSG_DONTWAIT));
    clock_gettime(CLOCK_REALTIME, &now);
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
        long t[2];
        memcpy(t, CMSG_DATA(h), sizeof(t));
        long at = t[0] * 1000000 + (h->cmsg_type == SO_TIMESTAMP ? t[1] : t[1] / 1000);
        say("level %d type %d, %zu bytes", h->cmsg_level, h->cmsg_type, (size_t)h->cmsg_len - CMSG_LEN(0));
        if (h->cmsg_type == SO_TIMESTAMP || h->cmsg_type == SO_TIMESTAMPNS)
            say("when it was sent: %s", at < sent->tv_sec * 1000000 + sent->tv_nsec / 1000 - 1 ? "before"
                                        : at > sent->tv_sec * 1000000 + sent->tv_nsec / 1000 + 40000 ? "after"
                                                                                                     : "yes");
    }
}

CASE(unix_timestamps)
{
    static const int kinds[] = {SO_TIMESTAMP, SO_TIMESTAMPNS};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 2; i++) {
            int p[2];
            struct timespec sent;
            say("-- type %d, option %d", types[k], kinds[i]);
            NEED(!socketpair(AF_UNIX, types[k], 0, p));
            VALUE(send(p[0], "before", 6, 0));
            set(p[1], SOL_SOCKET, kinds[i], 1);
            set(p[1], SOL_SOCKET, SO_PASSCRED, i);
            clock_gettime(CLOCK_REALTIME, &sent);
            show_time(p[1], &sent);
            clock_gettime(CLOCK_REALTIME, &sent);
            VALUE(send(p[0], "behind", 6, 0));
            sleep_ms(60);
            show_time(p[1], &sent);
            set(p[1], SOL_SOCKET, kinds[i], 0);
            VALUE(send(p[0], "none", 4, 0));
            show_time(p[1], &sent);
            close(p[0]);
            close(p[1]);
        }
}
