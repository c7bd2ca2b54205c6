/*
 * A bad wire between two network interfaces of this (network) namespace: what the queueing discipline netem
 * does, for machines whose kernel has none.
 *
 *     wire INTERFACE TAP [loss P] [duplicate P] [reorder P] [delay MS] [corrupt P] [seed N]
 *
 * Frames that arrive on INTERFACE leave through TAP, which the program makes, and the other way round. P:
 * percent of the frames, each way: lost; sent twice; not delayed, so that they overtake others; with one bit
 * changed. It prints "ready", and at the end of its input how many frames took which fate.
 *
 * Linux is told to compute checksums and cut segments before frames come here: each is one of the real wire.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_MAX = 2048, QUEUE_MAX = 65536 };

struct frame {
    uint64_t due_ns, number; /* of equal times, the one that came first */
    int to;
    uint32_t len;
    uint8_t bytes[];
};

static struct {
    double loss, duplicate, reorder, delay, corrupt, seed;
} wanted;
static uint64_t seen, lost, doubled, overtook, corrupted, dropped;

/* A heap by due time. */
static struct frame *queue[QUEUE_MAX];
static uint32_t count;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int chance(double percent)
{
    static uint64_t x;
    if (!x)
        x = wanted.seed ? (uint64_t)wanted.seed * 0x9e3779b97f4a7c15u : 88172645463325252u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (x >> 11) * (100.0 / (1ull << 53)) < percent;
}

static int before(const struct frame *a, const struct frame *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static void push(struct frame *f)
{
    if (count == QUEUE_MAX) {
        dropped++;
        free(f);
        return;
    }
    uint32_t i = count++;
    for (; i && before(f, queue[(i - 1) / 2]); i = (i - 1) / 2)
        queue[i] = queue[(i - 1) / 2];
    queue[i] = f;
}

static struct frame *pop(void)
{
    struct frame *first = queue[0], *last = queue[--count];
    uint32_t i = 0;
    for (uint32_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && before(queue[child + 1], queue[child]))
            child++;
        if (!before(queue[child], last))
            break;
        queue[i] = queue[child];
    }
    if (count)
        queue[i] = last;
    return first;
}

static void plan(int to, const uint8_t *bytes, uint32_t len, uint64_t due_ns)
{
    struct frame *f = malloc(sizeof(*f) + len);
    if (!f)
        fail("malloc");
    *f = (struct frame){due_ns, seen, to, len};
    memcpy(f->bytes, bytes, len);
    push(f);
}

static void arrived(int to, uint8_t *bytes, uint32_t len)
{
    uint64_t now = now_ns(), due = now + (uint64_t)(wanted.delay * 1e6);
    seen++;
    if (chance(wanted.loss)) {
        lost++;
        return;
    }
    if (chance(wanted.corrupt) && len > 34) {
        corrupted++;
        bytes[14 + seen % (len - 14)] ^= 1 << seen % 8;
    }
    if (chance(wanted.reorder)) {
        overtook++;
        due = now;
    }
    plan(to, bytes, len, due);
    if (chance(wanted.duplicate)) {
        doubled++;
        plan(to, bytes, len, due);
    }
}

static void deliver(void)
{
    for (uint64_t now = now_ns(); count && queue[0]->due_ns <= now;) {
        struct frame *f = pop();
        if (write(f->to, f->bytes, f->len) < 0)
            dropped++;
        free(f);
    }
}

static void receive(int from, int to)
{
    uint8_t bytes[FRAME_MAX];
    for (ssize_t n; (n = read(from, bytes, sizeof(bytes))) > 0;)
        arrived(to, bytes, n);
}

/* Whole frames of the real wire only: no checksums left out, no segments to be cut. */
static void no_offloads(int s, const char *name)
{
    static const uint32_t commands[] = {ETHTOOL_STXCSUM, ETHTOOL_SSG, ETHTOOL_STSO, ETHTOOL_SGSO,
                                        ETHTOOL_SGRO};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        struct ethtool_value value = {commands[i], 0};
        struct ifreq r = {.ifr_data = (void *)&value};
        snprintf(r.ifr_name, IFNAMSIZ, "%s", name);
        ioctl(s, SIOCETHTOOL, &r); /* not every kind of interface has every one */
    }
}

static int open_interface(const char *name)
{
    int s = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL)), on = 1;
    struct sockaddr_ll a = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = if_nametoindex(name)};
    struct packet_mreq all = {.mr_ifindex = a.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (s < 0 || !a.sll_ifindex || bind(s, (void *)&a, sizeof(a)))
        fail(name);
    setsockopt(s, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all));
    setsockopt(s, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)); /* what we send does not come back */
    int room = 8 << 20;
    setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
    no_offloads(s, name);
    return s;
}

static int open_tap(const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    snprintf(r.ifr_name, IFNAMSIZ, "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &r))
        fail(name);
    return fd;
}

static void read_wanted(char **words)
{
    struct {
        const char *name;
        double *value;
    } all[] = {{"loss", &wanted.loss},   {"duplicate", &wanted.duplicate}, {"reorder", &wanted.reorder},
               {"delay", &wanted.delay}, {"corrupt", &wanted.corrupt},     {"seed", &wanted.seed}};
    for (; words[0] && words[1]; words += 2)
        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
            if (!strcmp(words[0], all[i].name))
                *all[i].value = atof(words[1]);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: wire INTERFACE TAP [loss|duplicate|reorder|delay|corrupt|seed NUMBER]...\n");
        return 2;
    }
    read_wanted(argv + 3);
    int a = open_interface(argv[1]), b = open_tap(argv[2]);
    struct pollfd p[3] = {{a, POLLIN, 0}, {b, POLLIN, 0}, {0, POLLIN, 0}};
    printf("ready\n");
    fflush(stdout);
    while (!(p[2].revents & (POLLIN | POLLHUP))) {
        uint64_t now = now_ns();
        int64_t wait = count ? (int64_t)(queue[0]->due_ns - now) : 1000000000;
        struct timespec t = {0, wait < 0 ? 0 : wait > 999999999 ? 999999999 : wait};
        if (ppoll(p, 3, &t, NULL) < 0 && errno != EINTR)
            fail("poll");
        receive(a, b);
        receive(b, a);
        deliver();
    }
    printf("%lu frames: %lu lost, %lu sent twice, %lu overtook, %lu corrupted, %lu without room\n", seen,
           lost, doubled, overtook, corrupted, dropped);
    return 0;
}
