/*
 * The program in the VM of the network tests that look at the kernel alone: small, so that memory figures are
 * the kernel's. `netd PORT` runs on the host, as a twin, and listens on 127.0.0.1. On TCP port 7777 a
 * connection begins with a line:
 *
 *     E            echoes everything
 *     G N          sends N bytes of the pattern that netlib.py knows, then closes
 *     S N          takes N bytes, answers "CRC32\n"
 *     P WAY        sends "a", passes a while in a way (pieces()), sends "b", then closes
 *     C N PIECE    sends N bytes of the pattern, PIECE at a time, with TCP_CORK; closes a second later
 *     T N          N times: sends "header ", then "body\n", then takes a byte
 *     F WAY N AT   sends N bytes of a file in memory by sendfile(), from AT on (the pattern, too) in a way
 *                  (send_file()), then "\nSENT EAGAINS UNACKNOWLEDGED\n"
 *     R PATH       sends a file the same way
 *     U N          N times: takes "ab", "cU" with MSG_OOB, "de", and answers as urgent() says
 *     X            sends "!", reads once the peer has reset the connection, and keeps what each read said:
 *     Y            sends that
 *     W            SO_RCVLOWAT and TCP_NOTSENT_LOWAT: as low_water() says; what it found is kept for Y, too
 *     D N          the listener defers connections for N seconds from now on (TCP_DEFER_ACCEPT), 0: no more
 *     K IP PORT    connects there and sends "hello"
 *     B N          the listener's backlog is N from now on
 *     J ON         the UDP port joins datagrams from now on (UDP_GRO), or not
 *     A            sends how many connections it has accepted
 *     V PATH       sends the file, read from beginning to end, then closes
 *     M            sends /proc/meminfo and /proc/net/moka, then closes
 *     L            sends "!", then prints "up" or "down" to standard output whenever the link has changed
 *     O            sends datagrams to groups of its own link; answers with what did not come back
 *     Q            ends the program with status 0
 *
 * UDP port 7777 echoes datagrams. IPv4 and IPv6.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 7777, PATTERN = 65521, BUFFER = 65536, STACK = 131072 };

static unsigned char pattern[PATTERN];
static uint32_t crc_table[256];

static void tables(void)
{
    uint32_t x = 12345;
    for (int i = 0; i < PATTERN; i++) {
        x = x * 1103515245 + 12345;
        pattern[i] = x >> 16;
    }
    for (uint32_t i = 0; i < 256; i++) {
        crc_table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            crc_table[i] = crc_table[i] >> 1 ^ (crc_table[i] & 1 ? 0xedb88320 : 0);
    }
}

static int send_all(int fd, const void *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const char *)bytes + at, len - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        at += n;
    }
    return 0;
}

static void echo(int fd)
{
    char *bytes = malloc(BUFFER);
    for (ssize_t n; bytes && (n = recv(fd, bytes, BUFFER, 0)) > 0;)
        if (send_all(fd, bytes, n))
            break;
    free(bytes);
}

static void give(int fd, long n)
{
    for (; n > 0; n -= PATTERN)
        if (send_all(fd, pattern, n < PATTERN ? n : PATTERN))
            return;
}

static void take(int fd, long left)
{
    unsigned char *bytes = malloc(BUFFER);
    uint32_t crc = ~0u;
    char text[32];
    while (bytes && left > 0) {
        ssize_t n = recv(fd, bytes, left < BUFFER ? left : BUFFER, 0);
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            crc = crc >> 8 ^ crc_table[(crc ^ bytes[i]) & 255];
        left -= n;
    }
    free(bytes);
    send_all(fd, text, snprintf(text, sizeof(text), left ? "short\n" : "%u\n", ~crc));
}

static void copy_file(int fd, const char *path)
{
    char bytes[4096];
    int from = open(path, O_RDONLY);
    for (ssize_t n; from >= 0 && (n = read(from, bytes, sizeof(bytes))) > 0;)
        send_all(fd, bytes, n);
    if (from >= 0)
        close(from);
}

static void compute(int ms)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin); /* the vDSO's: no system call */
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < ms);
}

struct later {
    int fd, ms;
};

static void *send_later(void *arg)
{
    struct later later = *(struct later *)arg;
    free(arg);
    usleep(later.ms * 1000);
    send_all(later.fd, "b", 1);
    close(later.fd);
    return NULL;
}

static void wait_in_vain(int ms)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ms % 1000 * 1000000L;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&lock);
    pthread_cond_timedwait(&never, &lock, &until);
    pthread_mutex_unlock(&lock);
}

/* Small pieces that Nagle's algorithm would send at once: whatever the program does next, "a" does not wait
 * for "b". */
static void pieces(int fd, const char *words)
{
    char way[16] = "";
    int on = 1, off = 0, ms = 0;
    pthread_t t;
    sscanf(words, "%15s %d", way, &ms);
    if (!strcmp(way, "uncork"))
        setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
    send_all(fd, "a", 1);
    if (!strcmp(way, "compute")) {
        compute(ms);
    } else if (!strcmp(way, "sleep")) {
        usleep(ms * 1000);
    } else if (!strcmp(way, "poll")) {
        poll(NULL, 0, ms);
    } else if (!strcmp(way, "futex")) {
        wait_in_vain(ms);
    } else if (!strcmp(way, "nodelay")) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        compute(ms);
    } else if (!strcmp(way, "uncork")) {
        setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
        compute(ms);
    } else if (!strcmp(way, "exit")) {
        struct later *later = malloc(sizeof(*later));
        *later = (struct later){dup(fd), ms};
        if (!pthread_create(&t, NULL, send_later, later))
            pthread_detach(t);
        return;
    }
    send_all(fd, "b", 1);
}

static void corked(int fd, const char *words)
{
    int on = 1;
    char *end;
    long n = strtol(words, &end, 10), piece = strtol(end, &end, 10), ms = strtol(end, NULL, 10), at = 0;
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
    while (at < n && piece > 0) {
        long k = PATTERN - at % PATTERN;
        k = k < piece ? k : piece;
        k = k < n - at ? k : n - at;
        if (send_all(fd, pattern + at % PATTERN, k))
            return;
        at += k;
    }
    usleep(ms * 1000);
}

static void twice(int fd, long n)
{
    char byte;
    while (n-- > 0 && !send_all(fd, "header ", 7) && !send_all(fd, "body\n", 5) && recv(fd, &byte, 1, 0) == 1)
        ;
}

/* ---- sendfile ---- */

static int file_of_pattern(long size)
{
    int file = memfd_create("netd", 0);
    for (long at = 0; file >= 0 && at < size;) {
        ssize_t n = write(file, pattern, size - at < PATTERN ? size - at : PATTERN);
        if (n <= 0)
            break;
        at += n;
    }
    return file;
}

/* As much as the socket takes, of n bytes; counts how often it took nothing more, and goes on then if
 * `patient`. */
static long send_part(int fd, int file, off_t *at, long n, int patient, long *eagains)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    long done = 0;
    while (done < n) {
        ssize_t sent = sendfile(fd, file, at, n - done);
        if (sent > 0)
            done += sent;
        else if (!sent || errno != EAGAIN)
            break;
        else if (++*eagains && !patient)
            break;
        else
            poll(&writable, 1, -1);
    }
    return done;
}

static long splice_all(int fd, int file, off_t *at, long n)
{
    int p[2];
    long done = 0;
    ssize_t in, out = 1;
    if (pipe(p))
        return 0;
    while (out > 0 && done < n && (in = splice(file, at, p[1], NULL, n - done, SPLICE_F_MORE)) > 0)
        for (; in > 0 && (out = splice(p[0], NULL, fd, NULL, in, SPLICE_F_MORE)) > 0; in -= out)
            done += out;
    close(p[0]);
    close(p[1]);
    return done;
}

/* Bytes that the peer has not acknowledged; 0 before long, if it reads: on a bad wire that takes a while. */
static int waiting(int fd)
{
    int bytes = 0;
    for (int i = 0; i < 60000 && !ioctl(fd, TIOCOUTQ, &bytes) && bytes; i++)
        usleep(1000);
    return bytes;
}

/*
 * plain: the socket blocks. nonblock: it does not. splice: through a pipe. header: behind bytes that were
 * written. cut, change: when the socket takes no more, the file is truncated, or overwritten with zeros, and
 * that ends it.
 */
static void send_file(int fd, int file, const char *way, long n, off_t at)
{
    char text[64];
    long sent, eagains = 0;
    bool wait = !strcmp(way, "plain") || !strcmp(way, "header");
    fcntl(fd, F_SETFL, wait || !strcmp(way, "splice") ? 0 : O_NONBLOCK);
    if (!strcmp(way, "header"))
        send(fd, "header ", 7, MSG_MORE);
    if (!strcmp(way, "splice"))
        sent = splice_all(fd, file, &at, n);
    else
        sent = send_part(fd, file, &at, n, wait || !strcmp(way, "nonblock"), &eagains);
    if (!strcmp(way, "cut")) {
        ftruncate(file, 0);
        sent += send_part(fd, file, &at, n, 0, &eagains);
    } else if (!strcmp(way, "change")) {
        char zeros[4096] = "";
        for (off_t i = 0; i < at; i += sizeof(zeros))
            pwrite(file, zeros, sizeof(zeros), i);
    }
    fcntl(fd, F_SETFL, 0);
    send_all(fd, text, snprintf(text, sizeof(text), "\n%ld %ld %d\n", sent, eagains, waiting(fd)));
}

static void send_memory_file(int fd, const char *words)
{
    char way[16];
    long n, at;
    if (sscanf(words, "%15s %ld %ld", way, &n, &at) != 3)
        return;
    int file = file_of_pattern(at + n);
    send_file(fd, file, way, n, at);
    close(file);
}

static void send_file_at(int fd, const char *path)
{
    struct stat st;
    int file = open(path, O_RDONLY);
    if (file >= 0 && !fstat(file, &st))
        send_file(fd, file, "plain", st.st_size, 0);
    close(file);
}

/* ---- the link ---- */

static int link_is_up(int fd, const char *name)
{
    struct ifreq r = {0};
    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
    return !ioctl(fd, SIOCGIFFLAGS, &r) && (r.ifr_flags & IFF_RUNNING);
}

/* The first interface that is not the loopback's. */
static unsigned first_link(char name[IFNAMSIZ])
{
    unsigned i = 1;
    while (i < 9 && (!if_indextoname(i, name) || !strcmp(name, "lo")))
        i++;
    return i;
}

/* For ever, of the first interface. */
static void watch_link(int fd)
{
    char name[IFNAMSIZ] = "";
    first_link(name);
    send_all(fd, "!", 1);
    for (int was = 1;; usleep(1000)) {
        int now = link_is_up(fd, name);
        if (now != was) {
            printf("%s\n", now ? "up" : "down");
            fflush(stdout);
        }
        was = now;
    }
}

/* A datagram to a group on this link, which goes by a scope, by IPV6_MULTICAST_IF, or by neither. */
static void to_group(int fd, const char *group, const char *way)
{
    char name[IFNAMSIZ], text[100];
    unsigned link = first_link(name);
    int from = socket(AF_INET6, SOCK_DGRAM, 0), to = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    socklen_t len = sizeof(a);
    struct ipv6_mreq m = {.ipv6mr_interface = link};
    inet_pton(AF_INET6, group, &m.ipv6mr_multiaddr);
    bind(to, (struct sockaddr *)&a, len);
    getsockname(to, (struct sockaddr *)&a, &len);
    a.sin6_addr = m.ipv6mr_multiaddr;
    bool by_connect = !strcmp(way, "connect");
    if (!strcmp(way, "option"))
        setsockopt(from, IPPROTO_IPV6, IPV6_MULTICAST_IF, &link, sizeof(link));
    else if (by_connect || !strcmp(way, "scope"))
        a.sin6_scope_id = link;
    if (setsockopt(to, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof(m)) ||
        (by_connect && connect(from, (struct sockaddr *)&a, len)) ||
        sendto(from, "x", 1, 0, by_connect ? NULL : (struct sockaddr *)&a, by_connect ? 0 : len) != 1) {
        send_all(fd, text, snprintf(text, sizeof(text), "%s %s: %s\n", group, way, strerror(errno)));
    } else {
        struct pollfd p = {to, POLLIN, 0};
        if (poll(&p, 1, 5000) != 1)
            send_all(fd, text, snprintf(text, sizeof(text), "%s %s: nothing came\n", group, way));
    }
    close(from);
    close(to);
}

static void to_groups(int fd)
{
    static const char *const groups[] = {"ff01::1",   "ff11::1:2", "ff02::fb",
                                         "ff12::1:2", "ff05::1:3", "ff1e::1:2"};
    static const char *const ways[] = {"option", "scope", "connect", "neither"};
    for (unsigned i = 0; i < sizeof(groups) / sizeof(*groups); i++)
        for (unsigned j = 0; j < sizeof(ways) / sizeof(*ways); j++)
            to_group(fd, groups[i], ways[j]);
}

/* What came until a read stopped, from `at` on. */
static char *stretch(int fd, char *at, size_t most)
{
    ssize_t n = recv(fd, at, most, MSG_WAITALL);
    at[n > 0 ? n : 0] = ' ';
    return at + (n > 0 ? n : 0) + 1;
}

/* Urgent data: answers the byte, what comes before the mark, whether the mark is there then, what comes
 * behind, and "x", urgently. In every other round the byte stays in line. */
static void urgent(int fd, long rounds)
{
    struct pollfd p = {.fd = fd, .events = POLLPRI};
    for (int i = 0; i < rounds && poll(&p, 1, 60000) == 1; i++) {
        char line[64], *at = line;
        int mark = -1, in_line = i & 1;
        setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &in_line, sizeof(in_line));
        if (recv(fd, at, 1, MSG_OOB) != 1)
            *at = '-';
        at[1] = ' ';
        at = stretch(fd, at + 2, 10);
        ioctl(fd, SIOCATMARK, &mark);
        at += sprintf(at, "%d ", mark);
        at = stretch(fd, at, 2 + in_line);
        send(fd, line, at - line, 0);
        send(fd, "x", 1, MSG_OOB);
    }
}

static char found[64]; /* for Y */

static void read_reset(int fd)
{
    struct pollfd p = {.fd = fd}; /* POLLERR and POLLHUP need not be asked for */
    char bytes[100], *at = found;
    send(fd, "!", 1, 0);
    poll(&p, 1, 60000);
    for (int i = 0; i < 3; i++) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        at += sprintf(at, "%zd %d\n", n, n < 0 ? errno : 0);
    }
}

enum { LOW = 10, LOW_UNSENT = 20000, SIOCOUTQNSD = 0x894b, JOINS = 104 /* UDP_GRO (linux/udp.h) */ };

/* Sends as much as the socket takes without waiting, until the peer, who reads nothing, acknowledges no more;
 * how many bytes that leaves unsent. */
static int fill(int fd)
{
    int unsent = -1, before;
    do {
        before = unsent;
        while (send(fd, pattern, 4096, MSG_DONTWAIT) > 0)
            ;
        usleep(100000);
        ioctl(fd, SIOCOUTQNSD, &unsent);
    } while (!unsent || unsent != before);
    return unsent;
}

/* Sends "!"; answers how many bytes waited when it was readable, twice; what a read got that had to wait;
 * then sends what fits, keeps what it found then, and sends "end" when it is writable. */
static void low_water(int fd)
{
    struct pollfd in = {.fd = fd, .events = POLLIN}, out = {.fd = fd, .events = POLLOUT};
    int low = LOW, low_unsent = LOW_UNSENT, waiting = 0;
    char bytes[100];
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low_unsent, sizeof(low_unsent));
    send_all(fd, "!", 1);
    poll(&in, 1, 60000);
    ioctl(fd, FIONREAD, &waiting);
    recv(fd, bytes, sizeof(bytes), 0);
    send_all(fd, bytes, sprintf(bytes, "%d\n", waiting));
    send_all(fd, bytes, sprintf(bytes, "%d\n", (int)recv(fd, bytes, sizeof(bytes), 0)));
    int unsent = fill(fd);
    sprintf(found, "%d %d", poll(&out, 1, 0), unsent);
    poll(&out, 1, 60000);
    send_all(fd, "end", 3);
}

static void greet(const char *words)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    char ip[INET_ADDRSTRLEN];
    unsigned port;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (sscanf(words, "%15s %u", ip, &port) == 2 && inet_pton(AF_INET, ip, &a.sin_addr) == 1) {
        a.sin_port = htons(port);
        if (!connect(fd, (void *)&a, sizeof(a)))
            send_all(fd, "hello", 5);
    }
    close(fd);
}

static int listener, accepted, udp;

static void defer(int seconds)
{
    setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
}

static void *serve(void *arg)
{
    int fd = (int)(long)arg;
    char line[64];
    size_t len = 0;
    while (len < sizeof(line) - 1 && recv(fd, line + len, 1, 0) == 1 && line[len] != '\n')
        len++;
    line[len] = 0;
    if (line[0] == 'E')
        echo(fd);
    else if (line[0] == 'G')
        give(fd, atol(line + 1));
    else if (line[0] == 'S')
        take(fd, atol(line + 1));
    else if (line[0] == 'P')
        pieces(fd, line + 2);
    else if (line[0] == 'C')
        corked(fd, line + 1);
    else if (line[0] == 'T')
        twice(fd, atol(line + 1));
    else if (line[0] == 'F')
        send_memory_file(fd, line + 1);
    else if (line[0] == 'R')
        send_file_at(fd, line + 2);
    else if (line[0] == 'U')
        urgent(fd, atol(line + 1));
    else if (line[0] == 'X')
        read_reset(fd);
    else if (line[0] == 'Y')
        send(fd, found, strlen(found), 0);
    else if (line[0] == 'W')
        low_water(fd);
    else if (line[0] == 'D')
        defer(atoi(line + 1));
    else if (line[0] == 'K')
        greet(line + 1);
    else if (line[0] == 'B')
        listen(listener, atoi(line + 1));
    else if (line[0] == 'J')
        setsockopt(udp, IPPROTO_UDP, JOINS, &(int){atoi(line + 1)}, sizeof(int));
    else if (line[0] == 'A')
        send(fd, line, sprintf(line, "%d", accepted), 0);
    else if (line[0] == 'V')
        copy_file(fd, line + 2);
    else if (line[0] == 'M')
        copy_file(fd, "/proc/meminfo"), copy_file(fd, "/proc/net/moka");
    else if (line[0] == 'L')
        watch_link(fd);
    else if (line[0] == 'O')
        to_groups(fd);
    else if (line[0] == 'Q')
        exit(0);
    close(fd);
    return NULL;
}

static void *datagrams(void *arg)
{
    int fd = (int)(long)arg;
    char *bytes = malloc(BUFFER);
    for (;;) {
        struct sockaddr_storage from;
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(fd, bytes, BUFFER, 0, (void *)&from, &len);
        if (n >= 0)
            sendto(fd, bytes, n, 0, (void *)&from, len);
    }
    return NULL;
}

/* port 0: PORT, on all addresses. */
static int open_port(int type, int port)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port ? port : PORT)};
    static const unsigned char loopback[16] = {[10] = 255, 255, 127, 0, 0, 1};
    if (port)
        memcpy(&a.sin6_addr, loopback, sizeof(loopback));
    int fd = socket(AF_INET6, type, 0);
    if (fd < 0 || bind(fd, (void *)&a, sizeof(a)) || (type == SOCK_STREAM && listen(fd, 4096))) {
        perror("netd");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    pthread_attr_t attributes;
    pthread_t t;
    signal(SIGPIPE, SIG_IGN);
    tables();
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int port = argc > 1 ? atoi(argv[1]) : 0;
    listener = open_port(SOCK_STREAM, port);
    udp = open_port(SOCK_DGRAM, port);
    pthread_create(&t, &attributes, datagrams, (void *)(long)udp);
    printf("listening\n");
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        accepted++;
        if (fd >= 0 && pthread_create(&t, &attributes, serve, (void *)(long)fd))
            close(fd);
    }
}
