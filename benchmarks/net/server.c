/*
 * The guest's side of the network benchmarks in C: one blocking thread a service. Every service takes one
 * connection after another. TCP 5001 echoes, UDP 5001 echoes, TCP 5002 swallows, TCP 5003 sends until the
 * peer closes, TCP 5004 does so from a file in memory.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCK = 64 << 10, FILE_SIZE = 4 << 20 };

static int bound(int type, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int s = socket(AF_INET, type, 0), one = 1;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s, (void *)&a, sizeof a) < 0 || (type == SOCK_STREAM && listen(s, 16) < 0)) {
        perror("server");
        exit(1);
    }
    return s;
}

static void echo(int s)
{
    char data[2048];
    ssize_t n;
    while ((n = read(s, data, sizeof data)) > 0 && write(s, data, n) == n)
        ;
}

static void swallow(int s)
{
    static char data[BLOCK];
    while (read(s, data, sizeof data) > 0)
        ;
}

static void send_on(int s)
{
    static char data[BLOCK];
    while (write(s, data, sizeof data) > 0)
        ;
}

static void send_file_on(int s)
{
    static char data[BLOCK];
    int file = memfd_create("file", 0);
    off_t at;
    for (int i = 0; i < FILE_SIZE / BLOCK; i++)
        if (write(file, data, BLOCK) != BLOCK)
            perror("server: the file");
    do
        at = 0;
    while (sendfile(s, file, &at, FILE_SIZE) == FILE_SIZE);
    close(file);
}

struct service {
    int port;
    void (*serve)(int s);
};
static const struct service services[] = {
    {5001, echo}, {5002, swallow}, {5003, send_on}, {5004, send_file_on}};

static void *serve_tcp(void *arg)
{
    const struct service *service = arg;
    int listener = bound(SOCK_STREAM, service->port), one = 1;
    for (;;) {
        int s = accept(listener, NULL, NULL);
        setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        service->serve(s);
        close(s);
    }
    return NULL;
}

static void *serve_udp(void *arg)
{
    int s = bound(SOCK_DGRAM, 5001);
    char data[2048];
    for (;;) {
        struct sockaddr_in from;
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(s, data, sizeof data, 0, (void *)&from, &len);
        if (n >= 0)
            sendto(s, data, n, 0, (void *)&from, len);
    }
    return arg;
}

int main(void)
{
    pthread_t thread;
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        pthread_create(&thread, NULL, serve_tcp, (void *)&services[i]);
    pthread_create(&thread, NULL, serve_udp, NULL);
    usleep(100000);
    printf("listening\n");
    fflush(stdout);
    pthread_join(thread, NULL);
}
