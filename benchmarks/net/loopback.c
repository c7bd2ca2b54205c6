/*
 * TCP and UDP to oneself, as a program sees them: two threads, blocking sockets. One static program for both
 * guests; prints `name value ns`, where a value is nanoseconds of CLOCK_MONOTONIC per operation: under QEMU's
 * `-icount shift=0` that is guest instructions.
 */
#define _GNU_SOURCE
#include "benchmarks/lib/bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE   64
#define TRIPS     2000
#define BULK      (4u << 20)
#define BULK_STEP (64u << 10)
#define CONNECTS  100
#define ROUNDS    3
#define OPEN      2000 /* connections beside; the first argument instead */

struct pair {
    int client, server;
    unsigned count;
    size_t size;
};

static void read_all(int fd, char *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = read(fd, buf + done, len - done);
        need(n > 0, "read");
        done += n;
    }
}

/* ---- connections ---- */

static socklen_t loopback_address(int family, struct sockaddr_storage *a)
{
    memset(a, 0, sizeof(*a));
    a->ss_family = family;
    if (family == AF_INET6) {
        ((struct sockaddr_in6 *)a)->sin6_addr = in6addr_loopback;
        return sizeof(struct sockaddr_in6);
    }
    ((struct sockaddr_in *)a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof(struct sockaddr_in);
}

static int listener(int family, struct sockaddr_storage *a, socklen_t *len)
{
    int s = socket(family, SOCK_STREAM, 0);
    *len = loopback_address(family, a);
    need(s >= 0 && !bind(s, (struct sockaddr *)a, *len) && !listen(s, 16), "listen");
    need(!getsockname(s, (struct sockaddr *)a, len), "getsockname");
    return s;
}

static int connect_to(const struct sockaddr_storage *a, socklen_t len)
{
    int on = 1, s = socket(a->ss_family, SOCK_STREAM, 0);
    need(s >= 0 && !connect(s, (const struct sockaddr *)a, len), "connect");
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return s;
}

static struct pair tcp_pair(int family)
{
    struct sockaddr_storage a;
    socklen_t len;
    int on = 1, l = listener(family, &a, &len);
    struct pair p = {.client = connect_to(&a, len)};
    p.server = accept(l, NULL, NULL);
    need(p.server >= 0, "accept");
    setsockopt(p.server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    close(l);
    return p;
}

static struct pair udp_pair(int family)
{
    struct sockaddr_storage a, b;
    socklen_t len = loopback_address(family, &a), blen = loopback_address(family, &b);
    struct pair p = {.client = socket(family, SOCK_DGRAM, 0), .server = socket(family, SOCK_DGRAM, 0)};
    need(!bind(p.client, (struct sockaddr *)&a, len) && !bind(p.server, (struct sockaddr *)&b, blen), "bind");
    need(!getsockname(p.client, (struct sockaddr *)&a, &len), "getsockname");
    need(!getsockname(p.server, (struct sockaddr *)&b, &blen), "getsockname");
    need(!connect(p.client, (struct sockaddr *)&b, blen) && !connect(p.server, (struct sockaddr *)&a, len),
         "connect");
    return p;
}

/* ---- what is measured ---- */

static void *echo(void *arg)
{
    struct pair *p = arg;
    char buf[MESSAGE];
    for (unsigned i = 0; i < p->count; i++) {
        read_all(p->server, buf, MESSAGE);
        need(write(p->server, buf, MESSAGE) == MESSAGE, "write");
    }
    return NULL;
}

static void *drain(void *arg)
{
    struct pair *p = arg;
    char *buf = malloc(p->size);
    read_all(p->server, buf, p->size);
    need(write(p->server, "", 1) == 1, "write");
    free(buf);
    return NULL;
}

static void trips(const struct pair *p)
{
    char buf[MESSAGE] = "ping";
    for (unsigned i = 0; i < p->count; i++) {
        need(write(p->client, buf, MESSAGE) == MESSAGE, "write");
        read_all(p->client, buf, MESSAGE);
    }
}

static void bulk(const struct pair *p)
{
    static char chunk[BULK_STEP];
    for (size_t sent = 0; sent < p->size; sent += BULK_STEP)
        need(write(p->client, chunk, BULK_STEP) == BULK_STEP, "write");
    read_all(p->client, chunk, 1);
}

static void report(const char *name, struct pair p, void *(*peer)(void *), void (*work)(const struct pair *),
                   unsigned operations)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i <= ROUNDS; i++) {
        pthread_t t;
        need(!pthread_create(&t, NULL, peer, &p), "thread");
        uint64_t begin = now_ns();
        work(&p);
        uint64_t ns = now_ns() - begin;
        pthread_join(t, NULL);
        if (i && ns < best)
            best = ns;
    }
    printf("%s %.1f ns\n", name, (double)best / operations);
    fflush(stdout);
    close(p.client);
    close(p.server);
}

static void connections(const char *name, int family)
{
    struct sockaddr_storage a;
    socklen_t len;
    int l = listener(family, &a, &len);
    uint64_t begin = now_ns();
    for (int i = 0; i < CONNECTS; i++) {
        int c = connect_to(&a, len), s = accept(l, NULL, NULL);
        need(s >= 0, "accept");
        close(c);
        close(s);
    }
    printf("%s %.1f ns\n", name, (double)(now_ns() - begin) / CONNECTS);
    close(l);
}

/* The same beside `open` others; then those are closed, too. */
static void amid(unsigned open)
{
    struct rlimit files = {2 * open + 100, 2 * open + 100};
    struct sockaddr_storage a;
    socklen_t len;
    char name[64];
    int l = listener(AF_INET, &a, &len), *ends = calloc(2 * open, sizeof(*ends));
    need(!setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
    for (unsigned i = 0; i < open; i++) {
        ends[2 * i] = connect_to(&a, len);
        ends[2 * i + 1] = accept(l, NULL, NULL);
        need(ends[2 * i + 1] >= 0, "accept");
    }
    snprintf(name, sizeof(name), "tcp_connection_amid_%u", open);
    connections(name, AF_INET);
    uint64_t begin = now_ns();
    for (unsigned i = 0; i < 2 * open; i++)
        close(ends[i]);
    printf("tcp_close_of_%u %.1f ns\n", open, (double)(now_ns() - begin) / (2 * open));
    fflush(stdout);
    close(l);
    free(ends);
}

static struct pair sized(struct pair p)
{
    p.count = TRIPS;
    p.size = BULK;
    return p;
}

int main(int argc, char **argv)
{
    report("tcp_trip_64", sized(tcp_pair(AF_INET)), echo, trips, TRIPS);
    report("tcp6_trip_64", sized(tcp_pair(AF_INET6)), echo, trips, TRIPS);
    report("udp_trip_64", sized(udp_pair(AF_INET)), echo, trips, TRIPS);
    report("tcp_bulk_mib", sized(tcp_pair(AF_INET)), drain, bulk, BULK >> 20);
    connections("tcp_connection", AF_INET);
    amid(argc > 1 ? atoi(argv[1]) : OPEN);
    return 0;
}
