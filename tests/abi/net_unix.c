/* UNIX sockets: credentials, descriptors, names, packets. */
#include "net.h"

#include <sys/un.h>

static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

static socklen_t name(struct sockaddr_un *a, const char *text, bool abstract)
{
    memset(a, 0, sizeof(*a));
    a->sun_family = AF_UNIX;
    strcpy(a->sun_path + abstract, text);
    return offsetof(struct sockaddr_un, sun_path) + abstract + strlen(text) + !abstract;
}

static void show_name(const char *what, int fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_un a;
    socklen_t len = sizeof(a);
    memset(&a, 'x', sizeof(a));
    if (get(fd, (void *)&a, &len)) {
        say("%s: %s", what, errname(errno));
        return;
    }
    int n = (int)len - 2;
    say("%s: family %d, %u bytes, \"%.*s\"", what, a.sun_family, len,
        n > 0 && !a.sun_path[0] ? n - 1
        : n > 0                 ? n
                                : 0,
        n > 0 && !a.sun_path[0] ? a.sun_path + 1 : a.sun_path);
}

static void show_creds(const char *what, int fd)
{
    struct ucred c = {-7, -7, -7};
    socklen_t len = sizeof(c);
    errno = 0;
    int result = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len);
    say("%s: %s, %u bytes, pid %s, uid %d, gid %d", what, errname(result ? errno : 0), len,
        c.pid == getpid() ? "ours"
        : c.pid == 0      ? "none"
                          : "other",
        (int)c.uid, (int)c.gid);
}

CASE(unix_names)
{
    for (int abstract = 0; abstract < 2; abstract++)
        for (int k = 0; k < 3; k++) {
            struct sockaddr_un a;
            socklen_t len = name(&a, "moka-test-name", abstract);
            int l = socket(AF_UNIX, types[k], 0), c = socket(AF_UNIX, types[k], 0), s = -1;
            say("-- type %d abstract %d", types[k], abstract);
            show_name("unbound", l, getsockname);
            show_name("unbound's peer", l, getpeername);
            OK(connect(c, (void *)&a, len));
            OK(bind(l, (void *)&a, len));
            OK(bind(l, (void *)&a, len));
            OK(bind(c, (void *)&a, len));
            show_name("bound", l, getsockname);
            OK(connect(c, (void *)&a, len));
            OK(listen(l, 5));
            show_creds("listener", l);
            show_poll("listener", l);
            OK(connect(c, (void *)&a, len));
            show_name("client", c, getsockname);
            show_name("client's peer", c, getpeername);
            show_creds("client", c);
            show_poll("client", c);
            if (types[k] != SOCK_DGRAM) {
                OK(s = accept(l, NULL, NULL));
                show_name("server", s, getsockname);
                show_name("server's peer", s, getpeername);
                show_creds("server", s);
                VALUE(send(c, "abc", 3, 0));
                show_poll("server", s);
            } else {
                VALUE(send(c, "abc", 3, 0));
                show_poll("server", l);
            }
            /* AF_UNSPEC */
            struct sockaddr none = {.sa_family = AF_UNSPEC};
            OK(connect(c, &none, sizeof(none)));
            show_name("client's peer", c, getpeername);
            VALUE(send(c, "abc", 3, MSG_NOSIGNAL));
            close(l);
            OK(connect(c, (void *)&a, len));
            close(c);
            if (s >= 0) {
                show_poll("server", s);
                char text[8];
                VALUE(recv(s, text, 8, 0));
                VALUE(recv(s, text, 8, MSG_DONTWAIT));
                close(s);
            }
            unlink("moka-test-name");
        }
}

/* Names given by the kernel; odd lengths. */
CASE(unix_odd_names)
{
    struct sockaddr_un a, b;
    socklen_t len;
    int s = socket(AF_UNIX, SOCK_STREAM, 0), t = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(&a, 0, sizeof(a));
    a.sun_family = AF_UNIX;
    OK(bind(s, (void *)&a, 1));
    OK(bind(s, (void *)&a, 2)); /* autobind */
    len = sizeof(b);
    OK(getsockname(s, (void *)&b, &len));
    VALUE(len);
    OK(bind(t, (void *)&a, sizeof(a) + 1));
    OK(bind(t, (void *)&a, sizeof(a))); /* abstract, all zeros */
    len = sizeof(b);
    OK(getsockname(t, (void *)&b, &len));
    VALUE(len);
    close(s);
    close(t);
    s = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(a.sun_path, 'p', sizeof(a.sun_path));
    OK(bind(s, (void *)&a, sizeof(a)));
    len = sizeof(b);
    OK(getsockname(s, (void *)&b, &len));
    VALUE(len);
    struct stat st;
    char path[sizeof(a.sun_path) + 1] = {0};
    memcpy(path, a.sun_path, sizeof(a.sun_path));
    OK(stat(path, &st));
    CHECK(S_ISSOCK(st.st_mode));
    OK(open(path, O_RDWR));
    unlink(path);
    close(s);
    a.sun_family = AF_INET6;
    s = socket(AF_UNIX, SOCK_STREAM, 0);
    OK(bind(s, (void *)&a, 20));
    OK(connect(s, (void *)&a, 20));
    close(s);
    OK(socket(AF_UNIX, SOCK_RAW, 0));
    OK(socket(AF_UNIX, SOCK_STREAM, 1));
    OK(socket(AF_UNIX, SOCK_STREAM, 2));
}

union control {
    struct cmsghdr h;
    char bytes[256];
};

static ssize_t send_with(int fd, const char *text, int type, const void *data, size_t len)
{
    union control c;
    struct iovec iov = {(void *)text, strlen(text)};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = CMSG_SPACE(len)};
    memset(&c, 0, sizeof(c));
    c.h.cmsg_level = SOL_SOCKET;
    c.h.cmsg_type = type;
    c.h.cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(&c.h), data, len);
    return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static void receive(int fd, size_t room, size_t control, int flags)
{
    union control c;
    char text[64];
    struct iovec iov = {text, room};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control ? &c : NULL, .msg_controllen = control};
    errno = 0;
    ssize_t n = recvmsg(fd, &m, flags | MSG_DONTWAIT);
    say("received %zd %s flags %x control %zu", n, errname(n < 0 ? errno : 0), n < 0 ? 0 : m.msg_flags,
        n < 0 ? 0 : (size_t)m.msg_controllen);
    if (n < 0)
        return;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
        const int *numbers = (void *)CMSG_DATA(h);
        say("  level %d type %d, %zu bytes", h->cmsg_level, h->cmsg_type, (size_t)h->cmsg_len - CMSG_LEN(0));
        if (h->cmsg_type == SCM_CREDENTIALS)
            say("  pid %s uid %d gid %d",
                numbers[0] == getpid() ? "ours"
                : numbers[0]           ? "other"
                                       : "none",
                numbers[1], numbers[2]);
        for (size_t i = 0; h->cmsg_type == SCM_RIGHTS && i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            say("  descriptor: %s, close on exec %d", fcntl(numbers[i], F_GETFD) < 0 ? "bad" : "good",
                fcntl(numbers[i], F_GETFD));
            close(numbers[i]);
        }
    }
}

CASE(unix_credentials)
{
    for (int k = 0; k < 3; k++) {
        int p[2], one = 1;
        struct ucred c = {getpid(), getuid(), getgid()};
        say("-- type %d", types[k]);
        OK(socketpair(AF_UNIX, types[k], 0, p));
        show_creds("pair", p[0]);
        VALUE(send_with(p[0], "one", SCM_CREDENTIALS, &c, sizeof(c)));
        receive(p[1], 10, 256, 0);
        OK(setsockopt(p[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
        VALUE(send(p[0], "two", 3, 0));
        receive(p[1], 10, 256, 0);
        VALUE(send_with(p[0], "three", SCM_CREDENTIALS, &c, sizeof(c)));
        receive(p[1], 10, 256, 0);
        VALUE(send(p[0], "four", 4, 0));
        receive(p[1], 2, 256, MSG_PEEK);
        receive(p[1], 2, 20, 0);
        receive(p[1], 10, 0, 0);
        c.pid = 1 << 22;
        VALUE(send_with(p[0], "five", SCM_CREDENTIALS, &c, sizeof(c)));
        VALUE(send_with(p[0], "six", SCM_CREDENTIALS, &c, 4));
        VALUE(send_with(p[0], "seven", 99, &c, 4));
        close(p[0]);
        receive(p[1], 10, 256, 0);
        close(p[1]);
    }
}

CASE(unix_rights)
{
    for (int k = 0; k < 3; k++) {
        int p[2], fds[3] = {0, 1, 2}, bad[2] = {1, 999};
        say("-- type %d", types[k]);
        OK(socketpair(AF_UNIX, types[k], 0, p));
        VALUE(send_with(p[0], "one", SCM_RIGHTS, fds, sizeof(fds)));
        receive(p[1], 10, 256, MSG_CMSG_CLOEXEC);
        VALUE(send_with(p[0], "two", SCM_RIGHTS, fds, sizeof(fds)));
        receive(p[1], 10, CMSG_LEN(8), 0);
        VALUE(send_with(p[0], "three", SCM_RIGHTS, fds, sizeof(fds)));
        receive(p[1], 10, 0, 0);
        VALUE(send_with(p[0], "four", SCM_RIGHTS, bad, sizeof(bad)));
        VALUE(send_with(p[0], "five", SCM_RIGHTS, fds, 4));
        VALUE(send(p[0], "plain", 5, 0));
        VALUE(send_with(p[0], "six", SCM_RIGHTS, fds, 8));
        receive(p[1], 2, 256, MSG_PEEK);
        receive(p[1], 2, 256, 0);
        receive(p[1], 20, 256, 0);
        receive(p[1], 20, 256, 0);
        receive(p[1], 20, 256, 0);
        VALUE(send_with(p[0], "", SCM_RIGHTS, fds, 8));
        receive(p[1], 20, 256, 0);
        receive(p[1], 20, 256, 0);
        close(p[0]);
        close(p[1]);
    }
}

/* Packets: whole or cut, looked at, empty; ends. */
CASE(unix_packets)
{
    for (int k = 0; k < 3; k++) {
        int p[2];
        char text[16];
        say("-- type %d", types[k]);
        OK(socketpair(AF_UNIX, types[k], 0, p));
        VALUE(send(p[0], "abcdef", 6, 0));
        VALUE(send(p[0], "ghi", 3, MSG_EOR));
        VALUE(send(p[0], "", 0, 0));
        VALUE(send(p[0], "jk", 2, 0));
        receive(p[1], 3, 0, MSG_PEEK);
        receive(p[1], 3, 0, MSG_PEEK | MSG_TRUNC);
        receive(p[1], 3, 0, MSG_TRUNC);
        receive(p[1], 10, 0, MSG_WAITALL);
        receive(p[1], 10, 0, 0);
        receive(p[1], 10, 0, 0);
        receive(p[1], 10, 0, 0);
        receive(p[1], 10, 0, MSG_OOB);
        show_poll("one end", p[1]);
        VALUE(send(p[0], "last", 4, 0));
        OK(shutdown(p[0], SHUT_WR));
        VALUE(send(p[0], "x", 1, MSG_NOSIGNAL));
        show_poll("who shut", p[0]);
        show_poll("the other", p[1]);
        receive(p[1], 10, 0, 0);
        receive(p[1], 10, 0, 0);
        VALUE(send(p[1], "back", 4, 0));
        receive(p[0], 10, 0, 0);
        OK(shutdown(p[0], SHUT_RD));
        receive(p[0], 10, 0, 0);
        VALUE(send(p[1], "back", 4, MSG_NOSIGNAL));
        show_poll("who shut", p[0]);
        show_poll("the other", p[1]);
        close(p[0]);
        show_poll("the other", p[1]);
        VALUE(send(p[1], "back", 4, MSG_NOSIGNAL));
        VALUE(recv(p[1], text, 4, MSG_DONTWAIT));
        int error = -1;
        socklen_t len = sizeof(error);
        OK(getsockopt(p[1], SOL_SOCKET, SO_ERROR, &error, &len));
        VALUE(error);
        close(p[1]);
    }
}

/* A peer that closes with something unread. */
CASE(unix_unread)
{
    for (int k = 0; k < 3; k++) {
        int p[2];
        char text[8];
        say("-- type %d", types[k]);
        OK(socketpair(AF_UNIX, types[k], 0, p));
        VALUE(send(p[0], "unread", 6, 0));
        VALUE(send(p[1], "answer", 6, 0));
        close(p[1]);
        show_poll("left", p[0]);
        VALUE(recv(p[0], text, 8, MSG_DONTWAIT));
        VALUE(recv(p[0], text, 8, MSG_DONTWAIT));
        VALUE(recv(p[0], text, 8, MSG_DONTWAIT));
        show_poll("left", p[0]);
        close(p[0]);
    }
}

/* Datagrams to a name, to nobody, to a full one. */
CASE(unix_datagrams)
{
    struct sockaddr_un a, from;
    socklen_t len = name(&a, "moka-test-datagrams", true), n;
    int r = socket(AF_UNIX, SOCK_DGRAM, 0), s = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    char text[16];
    OK(bind(r, (void *)&a, len));
    VALUE(sendto(s, "hello", 5, 0, (void *)&a, len));
    n = sizeof(from);
    VALUE(recvfrom(r, text, 16, 0, (void *)&from, &n));
    VALUE(n);
    struct sockaddr_un mine;
    socklen_t mine_len = name(&mine, "moka-test-mine", true);
    OK(bind(s, (void *)&mine, mine_len));
    VALUE(sendto(s, "hello", 5, 0, (void *)&a, len));
    n = sizeof(from);
    VALUE(recvfrom(r, text, 16, 0, (void *)&from, &n));
    VALUE(n);
    CHECK(n == mine_len && !memcmp(&from, &mine, n));
    int sent = 0;
    while (sendto(s, "fill", 4, 0, (void *)&a, len) == 4)
        sent++;
    say("full: %s", errname(errno));
    CHECK(sent > 5);
    show_poll("sender", s);
    OK(connect(s, (void *)&a, len));
    VALUE(recv(r, text, 16, 0));
    show_poll("connected sender", s);
    close(r);
    show_poll("without a receiver", s);
    VALUE(send(s, "x", 1, MSG_NOSIGNAL));
    VALUE(send(s, "x", 1, MSG_NOSIGNAL));
    VALUE(sendto(s, "x", 1, MSG_NOSIGNAL, (void *)&a, len));
    close(s);
}
