/*
 * Does with UDP sockets what it is told, so that a test can compare Moka's with Linux's: the program runs on
 * both. Control: a connection to TCP port 7777 (one at a time); each line is a command, and gets one line as
 * its answer: "ok", a value, or "error NUMBER". N: one of the test's own numbers for sockets, 0 to 63.
 *
 *     socket N 4|6            bind N ADDRESS PORT     connect N ADDRESS PORT     disconnect N
 *     set N OPTION VALUE      close N                 shut N HOW                 error N
 *     recv N SIZE FLAGS MS    one datagram: "LENGTH CRC32-OF-WHAT-CAME FLAGS ADDRESS PORT"; FLAGS: letters,
 *                             p MSG_PEEK, t MSG_TRUNC, d MSG_DONTWAIT, else it waits for MS milliseconds
 *     many N COUNT            recvmmsg() without waiting: how many, and their lengths
 *     poll N MS               events, of POLLIN and POLLERR
 *     wait N MS               the same by epoll, edge-triggered, from one `wait` to the next
 *     bytes N                 FIONREAD
 *     send N ADDRESS PORT LENGTH   bytes of 'u'; ADDRESS "-": where N is connected to
 *     drain N                 reads all there is: "COUNT FIRST LAST ORDERED"; datagrams begin with a number
 *                             of 4 bytes, big-endian; ORDERED: each number is the one before it and 1
 *     sleep MS
 *     moka                    the length of /proc/net/moka and, behind the line, it; 0 on Linux
 *     memory                  MemFree in KiB
 *     quit                    ends the program
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { PORT = 7777, SOCKETS = 64, BUFFER = 65536, MANY = 16 };

static int sockets[SOCKETS], epolls[SOCKETS];
static char bytes[BUFFER];

static uint32_t crc32_of(const char *p, size_t len)
{
    uint32_t crc = ~0u;
    for (; len--; p++) {
        crc ^= (unsigned char)*p;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

/* The first interface that is not the loopback's. */
static unsigned outward(void)
{
    char name[IFNAMSIZ];
    for (unsigned i = 1; i < 99; i++)
        if (if_indextoname(i, name) && strcmp(name, "lo"))
            return i;
    return 0;
}

/* A link-local IPv6 address is one outside; an IPv6 socket takes IPv4 ones, too. */
static socklen_t address_of(int fd, const char *text, int port, struct sockaddr_storage *a)
{
    struct sockaddr_in6 *six = (void *)a;
    struct sockaddr_in *four = (void *)a;
    int family = 0;
    socklen_t len = sizeof(family);
    char plain[64];
    memset(a, 0, sizeof(*a));
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len);
    if (family == AF_INET) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        inet_pton(AF_INET, text, &four->sin_addr);
        return sizeof(*four);
    }
    snprintf(plain, sizeof(plain), strchr(text, ':') ? "%s" : "::ffff:%s", text);
    six->sin6_scope_id = strncmp(plain, "fe80", 4) ? 0 : outward();
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    inet_pton(AF_INET6, plain, &six->sin6_addr);
    return sizeof(*six);
}

static void name_of(const struct sockaddr_storage *a, char *out, size_t room)
{
    const struct sockaddr_in6 *six = (const void *)a;
    const struct sockaddr_in *four = (const void *)a;
    char text[64] = "-";
    if (a->ss_family == AF_INET)
        inet_ntop(AF_INET, &four->sin_addr, text, sizeof(text));
    else if (a->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof(text));
    snprintf(out, room, "%s%s %d", text, a->ss_family == AF_INET6 && six->sin6_scope_id ? "%" : "",
             ntohs(four->sin_port));
}

static void say(char *out, size_t room, long value)
{
    if (value < 0)
        snprintf(out, room, "error %d", errno);
    else
        snprintf(out, room, "%ld", value);
}

static void receive(int fd, char **w, char *out, size_t room)
{
    struct sockaddr_storage from = {0};
    struct iovec iov = {bytes, atoi(w[2])};
    struct msghdr m = {
        .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1, .msg_flags = 0};
    int ms = atoi(w[4]), flags = (strchr(w[3], 'p') ? MSG_PEEK : 0) | (strchr(w[3], 't') ? MSG_TRUNC : 0) |
                                 (strchr(w[3], 'd') ? MSG_DONTWAIT : 0);
    struct timeval patience = {ms / 1000, ms % 1000 * 1000};
    char name[80];
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ssize_t n = recvmsg(fd, &m, flags);
    if (n < 0) {
        say(out, room, -1);
        return;
    }
    size_t came = (size_t)n < iov.iov_len ? (size_t)n : iov.iov_len;
    name_of(&from, name, sizeof(name));
    snprintf(out, room, "%zd %08x %x %s", n, crc32_of(bytes, came), m.msg_flags, name);
}

static void receive_many(int fd, unsigned count, char *out, size_t room)
{
    struct mmsghdr all[MANY] = {0};
    struct iovec iov[MANY];
    for (int i = 0; i < MANY; i++) {
        iov[i] = (struct iovec){bytes + i * 2048, 2048};
        all[i].msg_hdr.msg_iov = &iov[i];
        all[i].msg_hdr.msg_iovlen = 1;
    }
    int n = recvmmsg(fd, all, count < MANY ? count : MANY, MSG_DONTWAIT, NULL);
    say(out, room, n);
    for (int i = 0; i < n; i++)
        snprintf(out + strlen(out), room - strlen(out), " %u", all[i].msg_len);
}

static void drain(int fd, char *out, size_t room)
{
    uint32_t count = 0, first = 0, last = 0, number;
    int ordered = 1;
    while (recv(fd, bytes, BUFFER, MSG_DONTWAIT) >= 4) {
        memcpy(&number, bytes, 4);
        number = ntohl(number);
        if (!count++)
            first = number;
        else
            ordered &= number == last + 1;
        last = number;
    }
    snprintf(out, room, "%u %u %u %d", count, first, last, ordered);
}

static int poll_one(int fd, int ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, ms) < 0 ? -1 : p.revents & (POLLIN | POLLERR);
}

static int wait_edge(int n, int ms)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLET};
    if (epolls[n] < 0) {
        epolls[n] = epoll_create1(0);
        epoll_ctl(epolls[n], EPOLL_CTL_ADD, sockets[n], &e);
    }
    int got = epoll_wait(epolls[n], &e, 1, ms);
    return got < 1 ? got : (int)(e.events & (EPOLLIN | EPOLLERR));
}

static int set(int fd, const char *option, int value)
{
    static const struct {
        const char *name;
        int level, number;
    } all[] = {{"rcvbuf", SOL_SOCKET, SO_RCVBUF},
               {"reuseaddr", SOL_SOCKET, SO_REUSEADDR},
               {"reuseport", SOL_SOCKET, SO_REUSEPORT},
               {"v6only", IPPROTO_IPV6, IPV6_V6ONLY},
               {"ttl", IPPROTO_IP, IP_TTL},
               {"tos", IPPROTO_IP, IP_TOS}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (!strcmp(option, all[i].name))
            return setsockopt(fd, all[i].level, all[i].number, &value, sizeof(value));
    return -1;
}

static size_t read_file(const char *path, char *out, size_t room)
{
    size_t len = 0;
    int fd = open(path, O_RDONLY);
    for (ssize_t n; fd >= 0 && (n = read(fd, out + len, room - 1 - len)) > 0;)
        len += n;
    close(fd);
    out[len] = 0;
    return len;
}

static void end(int n)
{
    if (epolls[n] >= 0)
        close(epolls[n]);
    epolls[n] = -1;
}

static long number_of(int fd, const char *what)
{
    int value = 0;
    socklen_t len = sizeof(value);
    if (!strcmp(what, "bytes"))
        return ioctl(fd, FIONREAD, &value) ? -1 : value;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len) ? -1 : value;
}

static long give(int fd, size_t length, const struct sockaddr *to, socklen_t len)
{
    memset(bytes, 'u', BUFFER);
    return length > BUFFER ? -1 : sendto(fd, bytes, length, 0, to, to ? len : 0);
}

static void command(char **w, char *out, size_t room)
{
    struct sockaddr_storage a;
    int n = w[1] ? atoi(w[1]) & (SOCKETS - 1) : 0, fd = sockets[n];
    socklen_t len = w[3] ? address_of(fd, w[2], atoi(w[3]), &a) : 0;
    long value = 0;
    if (!strcmp(w[0], "socket"))
        sockets[n] = value = socket(*w[2] == '6' ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
    else if (!strcmp(w[0], "bind"))
        value = bind(fd, (void *)&a, len);
    else if (!strcmp(w[0], "connect"))
        value = connect(fd, (void *)&a, len);
    else if (!strcmp(w[0], "disconnect"))
        value = connect(fd, (void *)&(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr));
    else if (!strcmp(w[0], "set"))
        value = set(fd, w[2], atoi(w[3]));
    else if (!strcmp(w[0], "close"))
        end(n), value = close(fd);
    else if (!strcmp(w[0], "shut"))
        value = shutdown(fd, atoi(w[2]));
    else if (!strcmp(w[0], "send"))
        value = give(fd, atoi(w[4]), *w[2] == '-' ? NULL : (void *)&a, len);
    else if (!strcmp(w[0], "sleep"))
        value = usleep(n * 1000);
    if (!strcmp(w[0], "recv"))
        receive(fd, w, out, room);
    else if (!strcmp(w[0], "many"))
        receive_many(fd, atoi(w[2]), out, room);
    else if (!strcmp(w[0], "drain"))
        drain(fd, out, room);
    else if (!strcmp(w[0], "poll"))
        say(out, room, poll_one(fd, atoi(w[2])));
    else if (!strcmp(w[0], "wait"))
        say(out, room, wait_edge(n, atoi(w[2])));
    else if (!strcmp(w[0], "bytes") || !strcmp(w[0], "error"))
        say(out, room, number_of(fd, w[0]));
    else if (!strcmp(w[0], "moka"))
        snprintf(out, room, "%zu", read_file("/proc/net/moka", bytes, BUFFER));
    else if (!strcmp(w[0], "memory"))
        read_file("/proc/meminfo", bytes, BUFFER),
            snprintf(out, room, "%ld", atol(strstr(bytes, "MemFree:") + 8));
    else if (value < 0)
        say(out, room, value);
    else
        snprintf(out, room, "ok");
}

static void serve(FILE *in, FILE *out)
{
    char line[256], answer[512], *words[8];
    while (fgets(line, sizeof(line), in)) {
        int count = 0;
        for (char *p = strtok(line, " \n"); p && count < 7; p = strtok(NULL, " \n"))
            words[count++] = p;
        memset(words + count, 0, (8 - count) * sizeof(words[0]));
        if (!count)
            continue;
        if (!strcmp(words[0], "quit"))
            exit(0);
        command(words, answer, sizeof(answer));
        fprintf(out, "%s\n", answer);
        if (!strcmp(words[0], "moka"))
            fputs(bytes, out);
        fflush(out);
    }
}

int main(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int l = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(l, (void *)&a, sizeof(a)) || listen(l, 5)) {
        perror("udpd");
        return 1;
    }
    memset(sockets, 255, sizeof(sockets));
    memset(epolls, 255, sizeof(epolls));
    printf("listening\n");
    fflush(stdout);
    for (int fd; (fd = accept(l, NULL, NULL)) >= 0;) {
        FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
        serve(in, out);
        fclose(in);
        fclose(out);
    }
}
