/* Connections over loopback without number: the kernel's memory returns to where it was. */
#include "abi.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { IN_TURN = 50000, AT_ONCE = 2000, SLACK_KIB = 2048, PATIENCE_S = 130 /* TIME_WAIT ends */ };

static long free_kib(void)
{
    char text[4096];
    return slurp("/proc/meminfo", text, sizeof(text)) > 0 && strstr(text, "MemFree:")
               ? atol(strstr(text, "MemFree:") + 8)
               : -1;
}

static bool returns(long before, const char *what)
{
    long now = 0;
    for (int i = 0; i < PATIENCE_S && (now = free_kib()) < before - SLACK_KIB; i++)
        sleep_ms(1000), abi_alive();
    if (now < before - SLACK_KIB)
        say("%s: %ld KiB less than before", what, before - now);
    return now >= before - SLACK_KIB;
}

static int open_listener(struct sockaddr_in *a)
{
    socklen_t len = sizeof(*a);
    int l = socket(AF_INET, SOCK_STREAM, 0);
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return bind(l, (void *)a, sizeof(*a)) || listen(l, AT_ONCE) || getsockname(l, (void *)a, &len) ? -1 : l;
}

/* One connection, a byte each way; who closes first, and how, changes from one to the next. */
static bool one(int l, const struct sockaddr_in *a, int number)
{
    struct linger at_once = {1, 0};
    char x = number, y = ~x, z = ~x;
    int c = socket(AF_INET, SOCK_STREAM, 0);
    if (c < 0 || connect(c, (void *)a, sizeof(*a)))
        return false;
    int s = accept(l, NULL, NULL);
    bool good =
        write(c, &x, 1) == 1 && read(s, &y, 1) == 1 && write(s, &y, 1) == 1 && read(c, &z, 1) == 1 && z == x;
    if (number % 3 == 0)
        setsockopt(c, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(number & 1 ? c : s);
    close(number & 1 ? s : c);
    return good;
}

static bool in_turn(int l, const struct sockaddr_in *a, int count)
{
    for (int i = 0; i < count; i++) {
        if (!one(l, a, i)) {
            say("connection %d failed: %s", i, errname(errno));
            return false;
        }
        if (i % 1000 == 0)
            abi_alive();
    }
    return true;
}

static bool at_once(int l, const struct sockaddr_in *a)
{
    static int c[AT_ONCE], s[AT_ONCE];
    int bad = 0;
    for (int i = 0; i < AT_ONCE; i++) {
        c[i] = socket(AF_INET, SOCK_STREAM, 0);
        bad += connect(c[i], (void *)a, sizeof(*a)) != 0;
        bad += (s[i] = accept(l, NULL, NULL)) < 0;
    }
    for (int i = 0; i < AT_ONCE; i++)
        bad += write(c[i], &i, sizeof(i)) != sizeof(i);
    for (int i = 0; i < AT_ONCE; i++) {
        int got = -1;
        bad += read(s[i], &got, sizeof(got)) != sizeof(got) || got != i;
    }
    for (int i = 0; i < AT_ONCE; i++) {
        close(i & 1 ? c[i] : s[i]);
        close(i & 1 ? s[i] : c[i]);
    }
    if (bad)
        say("%d of %d connections at once failed: %s", bad, AT_ONCE, errname(errno));
    return !bad;
}

CASE_MOKA(net_many)
{
    struct rlimit files = {3 * AT_ONCE, 3 * AT_ONCE};
    struct sockaddr_in a;
    setrlimit(RLIMIT_NOFILE, &files);
    int l = open_listener(&a);
    NEED(l >= 0);
    NEED(in_turn(l, &a, 1000) && at_once(l, &a)); /* what is kept for the next time is kept from now on */
    long before = free_kib();
    uint64_t begin = now_ns(CLOCK_MONOTONIC);
    NEED(in_turn(l, &a, IN_TURN));
    fprintf(stderr, "%d connections in turn: %lu ms\n", IN_TURN, (now_ns(CLOCK_MONOTONIC) - begin) / 1000000);
    begin = now_ns(CLOCK_MONOTONIC);
    NEED(at_once(l, &a));
    fprintf(stderr, "%d at once: %lu ms\n", AT_ONCE, (now_ns(CLOCK_MONOTONIC) - begin) / 1000000);
    bool good = returns(before, "memory");
    fprintf(stderr, "free: %ld KiB before, %ld after\n", before, free_kib());
    close(l);
    if (good)
        say("ok");
}
