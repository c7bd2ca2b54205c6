/*
 * The program in the VM of the network tests that look at the kernel alone: small, so that memory figures are
 * the kernel's. On TCP port 7777 a connection begins with a line:
 *
 *     E            echoes everything
 *     G N          sends N bytes of the pattern that netlib.py knows, then closes
 *     S N          takes N bytes, answers "CRC32\n"
 *     M            sends /proc/meminfo and /proc/net/moka, then closes
 *     Q            ends the program with status 0
 *
 * UDP port 7777 echoes datagrams. IPv4 and IPv6.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

static void *serve(void *arg)
{
    int fd = (int)(long)arg;
    char line[32];
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
    else if (line[0] == 'M')
        copy_file(fd, "/proc/meminfo"), copy_file(fd, "/proc/net/moka");
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

static int open_port(int type)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
    int fd = socket(AF_INET6, type, 0);
    if (fd < 0 || bind(fd, (void *)&a, sizeof(a)) || (type == SOCK_STREAM && listen(fd, 4096))) {
        perror("netd");
        exit(1);
    }
    return fd;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_t t;
    signal(SIGPIPE, SIG_IGN);
    tables();
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int l = open_port(SOCK_STREAM);
    pthread_create(&t, &attributes, datagrams, (void *)(long)open_port(SOCK_DGRAM));
    printf("listening\n");
    fflush(stdout);
    for (;;) {
        int fd = accept(l, NULL, NULL);
        if (fd >= 0 && pthread_create(&t, &attributes, serve, (void *)(long)fd))
            close(fd);
    }
}
