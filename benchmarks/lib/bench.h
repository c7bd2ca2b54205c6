/* What the benchmark programs in C share: a clock, and the end when something fails. */
#ifndef BENCHMARKS_LIB_BENCH_H
#define BENCHMARKS_LIB_BENCH_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static inline void need(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
        exit(1);
    }
}

#endif
