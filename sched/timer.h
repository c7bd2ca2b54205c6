/*
 * Timers that call a function in a worker thread (timerfd, interval timers). Sleeping with a deadline
 * needs none of this: see sched_sleep().
 */
#ifndef MOKA_SCHED_TIMER_H
#define MOKA_SCHED_TIMER_H

#include "kernel/base/tree.h"
#include "kernel/base/types.h"

/* Guarded by the timer thread's mutex, but for fire. Zeroed, with fire set, is a disarmed one. */
struct timer {
    struct tree_node node;
    u64 deadline_ns; /* absolute, monotonic */
    /* In the timer thread, no lock held; may sleep briefly; may re-arm t; may free t when nobody else cancels
     * it. */
    void (*fire)(struct timer *t);
    bool armed;
};

void timer_init_workers(void);                    /* starts the thread; once */
void timer_set(struct timer *t, u64 deadline_ns); /* arms, or moves, t. May sleep */
/* Disarms; when this returns fire is not running (unless called from fire itself). True when it was armed. */
bool timer_cancel(struct timer *t);

#endif
