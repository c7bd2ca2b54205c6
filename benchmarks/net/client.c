/*
 * The host's side of the network benchmarks. client MODE PORT SECONDS, where MODE is
 *   tcp      one-byte requests over TCP, one at a time     prints `COUNT SECONDS MEDIAN_NS`
 *   udp      the same over UDP; a lost one is sent again
 *   send     as many bytes as the server takes             prints `BYTES SECONDS 0`
 *   receive  as many bytes as the server sends
 *   sendfile the same
 */
#define _GNU_SOURCE
#include "benchmarks/lib/bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES_MAX = 1 << 20, BLOCK = 64 << 10, AT_ONCE = 4 << 20 };

static uint32_t samples_ns[SAMPLES_MAX];

static int connected(int type, int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = type == SOCK_DGRAM ? 1 : 20};
    int s = socket(AF_INET, type, 0), one = 1;
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (type == SOCK_STREAM)
        setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(s, (void *)&a, sizeof a) < 0) {
        perror("client");
        exit(1);
    }
    return s;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void ask(int type, int port, uint64_t duration_ns)
{
    int s = connected(type, port);
    uint64_t begin = now_ns(), last = begin;
    size_t n = 0, lost = 0;
    char byte = 'x';
    while (last - begin < duration_ns && n < SAMPLES_MAX && lost < 10) {
        if (send(s, &byte, 1, 0) != 1 || recv(s, &byte, 1, 0) != 1) {
            if (type == SOCK_STREAM)
                break;
            lost++;
            last = now_ns();
            continue;
        }
        uint64_t now = now_ns();
        samples_ns[n++] = now - last;
        last = now;
    }
    qsort(samples_ns, n, sizeof *samples_ns, compare);
    printf("%zu %.6f %u\n", n, (last - begin) / 1e9, n ? samples_ns[n / 2] : 0);
}

static void pump(int port, uint64_t duration_ns, ssize_t (*move)(int s, char *data, size_t len))
{
    static char data[BLOCK];
    int s = connected(SOCK_STREAM, port);
    uint64_t begin = now_ns(), bytes = 0;
    ssize_t n;
    while (now_ns() - begin < duration_ns && (n = move(s, data, sizeof data)) > 0)
        bytes += n;
    printf("%lu %.6f 0\n", bytes, (now_ns() - begin) / 1e9);
}

static ssize_t push(int s, char *data, size_t len)
{
    return send(s, data, len, 0);
}

static ssize_t pull(int s, char *data, size_t len)
{
    return recv(s, data, len, 0);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    int port = atoi(argv[2]);
    uint64_t duration_ns = atof(argv[3]) * 1e9;
    if (!strcmp(argv[1], "tcp"))
        ask(SOCK_STREAM, port, duration_ns);
    else if (!strcmp(argv[1], "udp"))
        ask(SOCK_DGRAM, port, duration_ns);
    else if (!strcmp(argv[1], "send"))
        pump(port, duration_ns, push);
    else
        pump(port, duration_ns, pull);
}
