#include "net/cubic.h"

/* C = 0.4 segments/s^3, so a curve at t ms is C_NUM * mss * t^3 / C_DEN bytes over its plateau. */
#define C_NUM 4
#define C_DEN 10000000000LL
#define T_MAX 100000 /* ms from the plateau: the cube of it fits, and no curve needs more */

/* beta = 0.7; alpha = 3 (1 - beta) / (1 + beta) = 9 / 17. */
#define BETA(w)  ((w) / 10 * 7 + (w) % 10 * 7 / 10)
#define ALPHA(x) ((x)*9 / 17)

#define EST_SHIFT 8

/* The cube root of x, rounded down. */
static u64 cube_root(u64 x)
{
    u64 root = 0;
    for (int bit = 20; bit >= 0; bit--) {
        u64 try = root | 1UL << bit;
        if (try * try * try <= x)
            root = try;
    }
    return root;
}

u32 cubic_reduce(struct cubic *c, u32 cwnd, u32 mss)
{
    /* Fast convergence: who has less than before makes room for others (4.7). */
    c->w_max = cwnd < c->w_max ? (u64)cwnd * 17 / 20 : cwnd;
    c->prior = cwnd;
    c->epoch_ns = 0;
    return MAX(BETA(cwnd), 2 * mss);
}

static void begin(struct cubic *c, u32 cwnd, u32 mss, u64 now_ns)
{
    c->epoch_ns = now_ns;
    c->w_est = (u64)cwnd << EST_SHIFT;
    c->origin = MAX(c->w_max, cwnd);
    c->k_ms = cube_root((u64)(c->origin - cwnd) * (C_DEN / C_NUM) / mss);
}

/* Where the curve is a round trip from now. */
static u32 target(const struct cubic *c, u32 cwnd, u32 mss, u64 now_ns, u64 srtt_ns)
{
    s64 t = (now_ns - c->epoch_ns + srtt_ns) / NSEC_PER_MSEC - c->k_ms;
    t = MAX(MIN(t, T_MAX), -T_MAX);
    s64 w =
        c->origin + t * t * t / (C_DEN / C_NUM) * mss + t * t * t % (C_DEN / C_NUM) * mss / (C_DEN / C_NUM);
    return MAX(MIN(w, (s64)cwnd + cwnd / 2), (s64)cwnd);
}

u32 cubic_grow(struct cubic *c, u32 cwnd, u32 mss, u32 acked, u64 now_ns, u64 srtt_ns)
{
    if (!c->epoch_ns)
        begin(c, cwnd, mss, now_ns);
    u64 step = ((u64)mss * acked << EST_SHIFT) / cwnd;
    c->w_est += c->w_est >> EST_SHIFT < c->prior ? ALPHA(step) : step;
    u64 grown = cwnd + (u64)(target(c, cwnd, mss, now_ns, srtt_ns) - cwnd) * MIN(acked, cwnd) / cwnd;
    return MIN(MAX(grown, c->w_est >> EST_SHIFT), (u64)cwnd + acked);
}

void cubic_idle(struct cubic *c)
{
    c->epoch_ns = 0;
}
