/* Pipes, eventfd, epoll, poll, select, UNIX sockets. */
#include "abi.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

static int poll_of(int fd, int events)
{
    struct pollfd p = {.fd = fd, .events = events};
    int n = poll(&p, 1, 0);
    return n < 0 ? n : p.revents;
}

/* ---- pipes ---- */

CASE(pipes)
{
    int p[2], waiting = -1;
    char text[16] = "";
    OK(pipe2(p, O_CLOEXEC | O_NONBLOCK));
    VALUE(fcntl(p[0], F_GETFD));
    VALUE(fcntl(p[1], F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    VALUE(read(p[0], text, 1));
    VALUE(poll_of(p[0], POLLIN | POLLOUT));
    VALUE(poll_of(p[1], POLLIN | POLLOUT));
    VALUE(write(p[1], "hello", 5));
    OK(ioctl(p[0], FIONREAD, &waiting));
    VALUE(waiting);
    VALUE(poll_of(p[0], POLLIN));
    VALUE(read(p[0], text, 3));
    VALUE(read(p[0], text, 16));
    VALUE(read(p[1], text, 1));
    VALUE(write(p[0], text, 1));
    VALUE(write(p[1], text, 0));
    OK(close(p[1]));
    VALUE(poll_of(p[0], POLLIN));
    VALUE(read(p[0], text, 1));
    VALUE(pipe2(p, 0x7));
}

CASE(pipe_fills)
{
    int p[2];
    long n, total = 0;
    char *block = calloc(1, 4096);
    OK(pipe2(p, O_NONBLOCK));
    while ((n = write(p[1], block, 4096)) > 0)
        total += n;
    say("%s", errname(errno));
    VALUE(total);
    VALUE(fcntl(p[1], F_GETPIPE_SZ));
    VALUE(poll_of(p[1], POLLOUT));
    VALUE(read(p[0], block, 4096));
    VALUE(poll_of(p[1], POLLOUT));
    VALUE(write(p[1], block, 4096));
    free(block);
}

CASE(pipe_broken)
{
    int p[2];
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    OK(pipe(p));
    OK(close(p[0]));
    VALUE(poll_of(p[1], POLLOUT));
    VALUE(write(p[1], "x", 1));
}

static volatile int broken;

static void on_pipe(int sig)
{
    broken++;
}

CASE(pipe_signal)
{
    int p[2];
    struct sigaction action = {.sa_handler = on_pipe};
    sigaction(SIGPIPE, &action, NULL);
    broken = 0;
    OK(pipe(p));
    OK(close(p[0]));
    VALUE(write(p[1], "x", 1));
    VALUE(broken);
}

static int big_pipe[2];

static void *pump(void *unused)
{
    char block[1000];
    for (int i = 0; i < 1000; i++) {
        memset(block, i, sizeof(block));
        for (ssize_t done = 0, n; done < 1000; done += n)
            if ((n = write(big_pipe[1], block + done, 1000 - done)) <= 0)
                return unused;
    }
    close(big_pipe[1]);
    return unused;
}

CASE(pipe_stream)
{
    char block[777];
    long total = 0;
    bool right = true;
    OK(pipe(big_pipe));
    pthread_t t = start(pump, NULL);
    for (ssize_t n; (n = read(big_pipe[0], block, sizeof(block))) > 0;)
        for (ssize_t i = 0; i < n; i++, total++)
            right = right && block[i] == (char)(total / 1000);
    pthread_join(t, NULL);
    VALUE(total);
    CHECK(right);
}

/* ---- poll and select ---- */

static void *write_soon(void *fd)
{
    sleep_ms(60);
    return (void *)write((int)(long)fd, "12345678", 8);
}

CASE(polling)
{
    int p[2], q[2];
    char text[8];
    OK(pipe(p));
    OK(pipe(q));
    struct pollfd set[4] = {{p[0], POLLIN, 0}, {q[0], POLLIN, 0}, {-1, POLLIN, 77}, {9999, POLLIN, 0}};
    VALUE(poll(set, 3, 0));
    VALUE(set[2].revents);
    VALUE(poll(set, 4, 0));
    VALUE(set[3].revents);
    uint64_t begin = now_ns(CLOCK_MONOTONIC);
    VALUE(poll(set, 2, 20));
    CHECK(now_ns(CLOCK_MONOTONIC) - begin >= 20000000);
    pthread_t t = start(write_soon, (void *)(long)q[1]);
    VALUE(poll(set, 2, -1));
    say("%d %d", set[0].revents, set[1].revents);
    pthread_join(t, NULL);
    VALUE(read(q[0], text, 8));
    VALUE(poll(NULL, 0, 5));
    VALUE(poll((void *)8, 1, 0));
    int file = open("f", O_RDWR | O_CREAT, 0644);
    VALUE(poll_of(file, POLLIN | POLLOUT));
    struct timespec bad = {.tv_nsec = -1};
    VALUE(ppoll(set, 1, &bad, NULL));
}

CASE(selecting)
{
    int p[2];
    fd_set in, out;
    struct timeval none = {0};
    OK(pipe(p));
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(p[0], &in);
    FD_SET(p[1], &out);
    VALUE(select(p[1] + 1, &in, &out, NULL, &none));
    CHECK(!FD_ISSET(p[0], &in) && FD_ISSET(p[1], &out));
    FD_SET(p[0], &in);
    pthread_t t = start(write_soon, (void *)(long)p[1]);
    VALUE(select(p[0] + 1, &in, NULL, NULL, NULL));
    CHECK(FD_ISSET(p[0], &in));
    pthread_join(t, NULL);
    close(p[0]);
    VALUE(select(p[0] + 1, &in, NULL, NULL, &none));
    VALUE(select(-1, NULL, NULL, NULL, &none));
    none.tv_usec = -1;
    VALUE(select(0, NULL, NULL, NULL, &none));
    struct timespec brief = {.tv_nsec = 10000000};
    VALUE(pselect(0, NULL, NULL, NULL, &brief, NULL));
}

/* ---- eventfd ---- */

CASE(events)
{
    uint64_t n = 0;
    int fd = OK(eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC));
    VALUE(read(fd, &n, 8));
    VALUE(n);
    VALUE(read(fd, &n, 8));
    VALUE(read(fd, &n, 4));
    n = 5;
    VALUE(write(fd, &n, 8));
    VALUE(write(fd, &n, 8));
    VALUE(read(fd, &n, 8));
    VALUE(n);
    n = ~0UL;
    VALUE(write(fd, &n, 8));
    n = ~0UL - 1;
    VALUE(write(fd, &n, 8));
    n = 1;
    VALUE(write(fd, &n, 8)); /* would overflow */
    VALUE(poll_of(fd, POLLIN | POLLOUT));
    fd = OK(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
    VALUE(read(fd, &n, 8));
    VALUE(n);
    VALUE(read(fd, &n, 8));
    VALUE(read(fd, &n, 8));
    VALUE(eventfd(0, 0x7));
    fd = OK(eventfd(0, 0));
    pthread_t t = start(write_soon, (void *)(long)fd);
    VALUE(read(fd, &n, 8)); /* blocks */
    CHECK(n == 0x3837363534333231);
    pthread_join(t, NULL);
}

/* ---- epoll ---- */

static int wait_epoll(int ep, int ms)
{
    struct epoll_event e[8];
    int n = epoll_wait(ep, e, 8, ms);
    if (n > 0)
        say("events %#x data %llu", e[0].events, (unsigned long long)e[0].data.u64);
    return n;
}

static int p[2], ep;

static void prepare(int events)
{
    struct epoll_event e = {.events = events, .data.u64 = 42};
    OK(pipe2(p, O_NONBLOCK));
    ep = OK(epoll_create1(EPOLL_CLOEXEC));
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
}

static void drain(void)
{
    char text[64];
    while (read(p[0], text, sizeof(text)) > 0)
        ;
}

CASE(epoll_level)
{
    prepare(EPOLLIN);
    VALUE(wait_epoll(ep, 0));
    VALUE(write(p[1], "xy", 2));
    VALUE(wait_epoll(ep, 0));
    VALUE(wait_epoll(ep, 0)); /* still there */
    drain();
    VALUE(wait_epoll(ep, 0));
    close(p[1]);
    VALUE(wait_epoll(ep, 0)); /* hang-up needs no asking */
}

CASE(epoll_edge)
{
    char c;
    prepare(EPOLLIN | EPOLLET);
    VALUE(write(p[1], "x", 1));
    VALUE(wait_epoll(ep, 0));
    VALUE(wait_epoll(ep, 0)); /* told once */
    VALUE(write(p[1], "y", 1));
    VALUE(wait_epoll(ep, 0)); /* something new came */
    VALUE(read(p[0], &c, 1));
    VALUE(wait_epoll(ep, 0)); /* taking some away is no event */
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = 43};
    OK(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
    VALUE(wait_epoll(ep, 0)); /* a change looks again */
}

CASE(epoll_one_shot)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 44};
    prepare(EPOLLIN | EPOLLONESHOT);
    VALUE(write(p[1], "x", 1));
    VALUE(wait_epoll(ep, 0));
    VALUE(write(p[1], "x", 1));
    VALUE(wait_epoll(ep, 0));
    OK(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
    VALUE(wait_epoll(ep, 0));
}

CASE(epoll_errors)
{
    struct epoll_event e = {.events = EPOLLIN};
    prepare(EPOLLIN);
    VALUE(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    VALUE(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &e));
    VALUE(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], &e));
    VALUE(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e));
    VALUE(epoll_ctl(ep, 77, p[0], &e));
    VALUE(epoll_ctl(ep, EPOLL_CTL_ADD, 9999, &e));
    VALUE(epoll_ctl(9999, EPOLL_CTL_ADD, p[0], &e));
    VALUE(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
    VALUE(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], (void *)8));
    int file = open("f", O_RDWR | O_CREAT, 0644);
    VALUE(epoll_ctl(ep, EPOLL_CTL_ADD, file, &e));
    VALUE(epoll_wait(ep, &e, 0, 0));
    VALUE(epoll_wait(ep, &e, -1, 0));
    VALUE(epoll_wait(p[0], &e, 1, 0));
    VALUE(epoll_wait(9999, &e, 1, 0));
    VALUE(epoll_create1(0x7));
    VALUE(syscall(SYS_epoll_create, 0));
    OK(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
    uint64_t begin = now_ns(CLOCK_MONOTONIC);
    VALUE(wait_epoll(ep, 20));
    CHECK(now_ns(CLOCK_MONOTONIC) - begin >= 19000000);
}

CASE(epoll_close_removes)
{
    struct epoll_event e = {.events = EPOLLIN};
    prepare(EPOLLIN);
    VALUE(write(p[1], "x", 1));
    int copy = dup(p[0]);
    OK(close(p[0]));
    VALUE(epoll_wait(ep, &e, 1, 0)); /* the open file lives on in the copy */
    OK(close(copy));
    VALUE(epoll_wait(ep, &e, 1, 0));
}

static volatile int woken;

static void *waits_epoll(void *unused)
{
    struct epoll_event e;
    if (epoll_wait(ep, &e, 1, 10000) == 1)
        __atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
    return unused;
}

CASE(epoll_wakes_waiter)
{
    prepare(EPOLLIN);
    woken = 0;
    pthread_t t = start(waits_epoll, NULL);
    settle_ms(50);
    VALUE(write(p[1], "x", 1));
    pthread_join(t, NULL);
    VALUE(woken);
    drain();
    t = start(waits_epoll, NULL);
    settle_ms(50);
    int e = eventfd(0, 0);
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 9};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, e, &ev)); /* while another waits */
    uint64_t one = 1;
    VALUE(write(e, &one, 8));
    pthread_join(t, NULL);
    VALUE(woken);
}

CASE(epoll_nested)
{
    prepare(EPOLLIN);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 50};
    int outer = epoll_create1(0);
    OK(epoll_ctl(outer, EPOLL_CTL_ADD, ep, &e));
    VALUE(wait_epoll(outer, 0));
    VALUE(write(p[1], "x", 1));
    VALUE(wait_epoll(outer, 0));
    VALUE(poll_of(ep, POLLIN));
    e.events = EPOLLIN;
    VALUE(epoll_ctl(ep, EPOLL_CTL_ADD, outer, &e)); /* a ring */
}

/* Errors and hang-ups need no asking, but a shot that was fired is silent. */
CASE(epoll_asks_nothing)
{
    int kinds[] = {0, EPOLLET, EPOLLONESHOT};
    for (int i = 0; i < 3; i++) {
        prepare(kinds[i]);
        VALUE(write(p[1], "x", 1));
        VALUE(wait_epoll(ep, 0));
        close(p[1]);
        VALUE(wait_epoll(ep, 0));
        VALUE(wait_epoll(ep, 0));
    }
    prepare(EPOLLIN | EPOLLONESHOT);
    VALUE(write(p[1], "x", 1));
    VALUE(wait_epoll(ep, 0));
    close(p[1]);
    VALUE(wait_epoll(ep, 0));
}

/* Calls that take a few of many go round. */
CASE(epoll_many)
{
    enum { FILES = 40 };
    struct epoll_event e[FILES];
    int fds[FILES], seen[FILES] = {0}, distinct = 0, round = epoll_create1(0);
    for (int i = 0; i < FILES; i++) {
        struct epoll_event ev = {.events = EPOLLIN | (i % 10 ? 0 : EPOLLET), .data.u64 = i};
        OK(epoll_ctl(round, EPOLL_CTL_ADD, fds[i] = OK(eventfd(1, 0)), &ev));
    }
    VALUE(epoll_wait(round, e, 7, 0));
    VALUE(epoll_wait(round, e, FILES, 0));
    for (int call = 0; call < 4; call++) {
        int n = epoll_wait(round, e, 9, 0);
        for (int i = 0; i < n; i++)
            distinct += !seen[e[i].data.u64]++;
    }
    VALUE(distinct);
    for (int i = 0; i < FILES; i++)
        close(fds[i]);
    close(round);
}

/* Events that could not be written are there for the next call. */
CASE(epoll_bad_memory)
{
    int kinds[] = {EPOLLIN, EPOLLIN | EPOLLET, EPOLLIN | EPOLLONESHOT};
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct epoll_event *bad = (void *)(pages + 4096);
    OK(mprotect(bad, 4096, PROT_NONE));
    for (int i = 0; i < 3; i++) {
        prepare(kinds[i]);
        VALUE(write(p[1], "x", 1));
        VALUE(epoll_wait(ep, bad, 4, 0));
        VALUE(epoll_wait(ep, (void *)0x7ffffffffff8, 4, 0));
        VALUE(wait_epoll(ep, 0));
        VALUE(wait_epoll(ep, 0));
    }
    prepare(EPOLLIN | EPOLLET);
    struct epoll_event second = {.events = EPOLLIN | EPOLLET, .data.u64 = 42};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, OK(eventfd(1, 0)), &second));
    VALUE(write(p[1], "x", 1));
    VALUE(epoll_wait(ep, bad - 1, 4, 0)); /* room for one */
    VALUE(wait_epoll(ep, 0));
    VALUE(wait_epoll(ep, 0));
}

/* ---- UNIX sockets ---- */

CASE(socket_pair)
{
    int s[2], value = -1;
    socklen_t len = sizeof(value);
    char text[32] = "";
    OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
    VALUE(read(s[0], text, 1));
    VALUE(poll_of(s[0], POLLIN | POLLOUT));
    VALUE(write(s[0], "hello", 5));
    VALUE(send(s[0], " you", 4, 0));
    VALUE(recv(s[1], text, 32, MSG_PEEK));
    VALUE(read(s[1], text, 32));
    say("%s", text);
    VALUE(write(s[1], "back", 4));
    VALUE(read(s[0], text, 32));
    OK(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &value, &len));
    VALUE(value);
    OK(shutdown(s[0], SHUT_WR));
    VALUE(read(s[1], text, 32));
    VALUE(poll_of(s[1], POLLIN | POLLOUT | POLLRDHUP));
    VALUE(send(s[0], "x", 1, MSG_NOSIGNAL));
    OK(close(s[1]));
    VALUE(poll_of(s[0], POLLIN | POLLOUT));
    VALUE(lseek(s[0], 0, SEEK_SET));
    VALUE(socketpair(AF_UNIX, 77, 0, s));
    VALUE(socket(77, SOCK_STREAM, 0));
}

CASE(socket_pair_datagrams)
{
    int s[2];
    char text[32] = "";
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    VALUE(write(s[0], "one", 3));
    VALUE(write(s[0], "two", 3));
    VALUE(read(s[1], text, 2)); /* the rest of a datagram is lost */
    VALUE(read(s[1], text, 32));
    say("%s", text);
}

static void unix_address(struct sockaddr_un *a, const char *path)
{
    memset(a, 0, sizeof(*a));
    a->sun_family = AF_UNIX;
    strcpy(a->sun_path, path);
}

static void *connects(void *path)
{
    struct sockaddr_un a;
    unix_address(&a, path);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(s, (struct sockaddr *)&a, sizeof(a)) != 0)
        say("connect: %s", errname(errno));
    if (write(s, "request", 7) != 7)
        say("write: %s", errname(errno));
    char text[16] = "";
    bool right = read(s, text, 15) > 0 && strcmp(text, "reply") == 0;
    close(s);
    return right ? path : NULL;
}

CASE(unix_server)
{
    struct sockaddr_un a;
    char text[16] = "";
    unix_address(&a, "socket");
    int s = OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    VALUE(listen(s, 5));
    OK(bind(s, (struct sockaddr *)&a, sizeof(a)));
    OK(listen(s, 5));
    int again = socket(AF_UNIX, SOCK_STREAM, 0);
    VALUE(bind(again, (struct sockaddr *)&a, sizeof(a)));
    pthread_t t = start(connects, "socket");
    int c = OK(accept4(s, NULL, NULL, SOCK_CLOEXEC));
    VALUE(read(c, text, 16));
    VALUE(write(c, "reply", 5));
    void *answered = NULL;
    pthread_join(t, &answered);
    CHECK(answered != NULL);
    VALUE(read(c, text, 16));
    OK(close(c));
    OK(close(s));
    VALUE(connect(again, (struct sockaddr *)&a, sizeof(a))); /* nobody listens on the file any more */
    OK(unlink("socket"));
    VALUE(connect(again, (struct sockaddr *)&a, sizeof(a)));
    VALUE(accept(again, NULL, NULL));
    VALUE(getsockname(0, (struct sockaddr *)&a, &(socklen_t){sizeof(a)}));
    VALUE(connect(9999, (struct sockaddr *)&a, sizeof(a)));
}

CASE(pass_descriptor)
{
    int s[2], got = -1;
    char c = 0, control[CMSG_SPACE(sizeof(int))] = "";
    struct iovec io = {"x", 1};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &fd, sizeof(int));
    VALUE(sendmsg(s[0], &m, 0));
    close(fd);
    io.iov_base = &c;
    memset(control, 0, sizeof(control));
    VALUE(recvmsg(s[1], &m, 0));
    h = CMSG_FIRSTHDR(&m);
    CHECK(h != NULL && h->cmsg_type == SCM_RIGHTS);
    if (h != NULL)
        memcpy(&got, CMSG_DATA(h), sizeof(int));
    VALUE(write(got, "passed", 6));
    char text[16];
    VALUE(slurp("f", text, sizeof(text)));
}

/* ---- ioctl on what is not a terminal ---- */

CASE(controls)
{
    int value = -1, fds[2];
    char termios[64], size[8];
    int file = open("f", O_RDWR | O_CREAT, 0644);
    VALUE(write(file, "12345", 5));
    lseek(file, 2, SEEK_SET);
    OK(ioctl(file, FIONREAD, &value));
    VALUE(value);
    VALUE(ioctl(file, TCGETS, termios));
    VALUE(ioctl(file, TIOCGWINSZ, size));
    VALUE(ioctl(file, 0xdead));
    VALUE(ioctl(9999, FIONREAD, &value));
    OK(pipe(fds));
    VALUE(ioctl(fds[0], TCGETS, termios));
    value = 1;
    OK(ioctl(fds[0], FIONBIO, &value));
    VALUE(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
    OK(ioctl(fds[0], FIOCLEX));
    VALUE(fcntl(fds[0], F_GETFD));
    OK(ioctl(fds[0], FIONCLEX));
    VALUE(fcntl(fds[0], F_GETFD));
}
