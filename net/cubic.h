/*
 * CUBIC, the congestion control (RFC 9438): how far the window opens. Pure arithmetic: no clock, no lwIP; its
 * caller (recovery.c) says when a window was full and when a loss was seen. Numbers are bytes, times
 * nanoseconds of one monotonic clock.
 */
#ifndef MOKA_NET_CUBIC_H
#define MOKA_NET_CUBIC_H

#include "kernel/base/types.h"

struct cubic {
    u32 w_max;    /* window at the last reduction, or a little less; 0: none yet */
    u32 prior;    /* window before the last reduction */
    u32 origin;   /* plateau of the present curve */
    u64 w_est;    /* window of a Reno flow in our place, in 1/256 bytes */
    u64 epoch_ns; /* when the present curve began; 0: it begins with the next growth */
    u64 k_ms;     /* when it reaches its plateau, after epoch_ns */
};

/* A loss, with the window cwnd: the new one, 0.7 of it but two segments at least (section 4.6). */
u32 cubic_reduce(struct cubic *c, u32 cwnd, u32 mss);
/* acked bytes of a full window cwnd > 0 in congestion avoidance were acknowledged: the new window (4.2-4.5).
 */
u32 cubic_grow(struct cubic *c, u32 cwnd, u32 mss, u32 acked, u64 now_ns, u64 srtt_ns);
/* The window has not been full: the curve begins anew when it is. */
void cubic_idle(struct cubic *c);

#endif
