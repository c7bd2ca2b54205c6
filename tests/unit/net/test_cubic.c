/* CUBIC (net/cubic.c) beside RFC 9438's formulas in floating point. */
#include <math.h>
#include <stdio.h>

#include "net/cubic.h"

#define MSS 1460u
#define RTT (50 * NSEC_PER_MSEC)

static int failures;

static void verdict(const char *name, int good, double got, double want)
{
    if (good)
        printf("ok net/cubic-%s\n", name);
    else
        printf("not ok net/cubic-%s: %.1f, not %.1f\n", name, got, want);
    failures += !good;
}

/* A round trip in which the whole window is acknowledged, two segments at a time. */
static u32 round_trip(struct cubic *c, u32 cwnd, u64 *now)
{
    u32 acks = cwnd / (2 * MSS) + 1;
    for (u32 i = 0; i < acks; i++) {
        *now += RTT / acks;
        cwnd = cubic_grow(c, cwnd, MSS, 2 * MSS, *now, RTT);
    }
    return cwnd;
}

/* What a Reno flow has after so many round trips: as much as before the loss at last, and then one more each.
 */
static double reno(double w, double round_trips)
{
    double back = 0.3 * w / (9 / 17.0);
    return round_trips < back ? 0.7 * w + round_trips * 9 / 17 : w + round_trips - back;
}

/* After a loss with a window of w segments it is back after K, and follows the curve on the way. */
static void curve(const char *name, u32 w)
{
    struct cubic c = {0};
    u32 cwnd = cubic_reduce(&c, w * MSS, MSS);
    double k = cbrt(w * 0.3 / 0.4), worst = 0, got = 0, want = 0;
    u64 now = NSEC_PER_SEC, begin = now;
    verdict(name, fabs(cwnd - 0.7 * w * MSS) < 10, cwnd, 0.7 * w * MSS);
    while (now - begin < (k + 2) * NSEC_PER_SEC) {
        cwnd = round_trip(&c, cwnd, &now);
        double t = (now - begin) / 1e9, cubic = 0.4 * pow(t - k, 3) + w;
        double plan = fmax(cubic, reno(w, t / (RTT / 1e9)));
        double off = fabs(cwnd / (double)MSS - plan) / plan;
        if (off > worst) {
            worst = off;
            got = cwnd / (double)MSS;
            want = plan;
        }
    }
    char on_the_way[40];
    snprintf(on_the_way, sizeof(on_the_way), "%s-curve", name);
    verdict(on_the_way, worst < 0.06, got, want);
}

static void extremes(void)
{
    struct cubic c = {0};
    u32 cwnd = cubic_reduce(&c, 1, MSS);
    verdict("least", cwnd == 2 * MSS, cwnd, 2 * MSS);
    cwnd = cubic_reduce(&c, 1u << 30, 1);
    cwnd = cubic_grow(&c, cwnd, 1, 1u << 30, 1, ~0UL >> 2);
    cwnd = cubic_grow(&c, cwnd, 1, 1u << 29, ~0UL >> 1, 1);
    verdict("greatest", cwnd > 1u << 29, cwnd, 1u << 30);
    cwnd = cubic_grow(&c, 1, 65535, 1, 5, 0);
    verdict("tiny", cwnd >= 1 && cwnd <= 2, cwnd, 1);
}

/* Losses again and again make way for others: the plateau sinks below the window. */
static void converges(void)
{
    struct cubic c = {0};
    cubic_reduce(&c, 100 * MSS, MSS);
    cubic_reduce(&c, 80 * MSS, MSS);
    verdict("converges", c.w_max == 80 * MSS * 17 / 20, c.w_max, 80 * MSS * 0.85);
}

int main(void)
{
    curve("large", 1000);
    curve("middle", 200);
    curve("small", 10);
    extremes();
    converges();
    return failures != 0;
}
