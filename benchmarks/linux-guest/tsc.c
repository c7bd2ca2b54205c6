/*
 * Prints the host's TSC frequency in kHz. A TCG guest sees the host's TSC, and Linux cannot calibrate it
 * against QEMU's PIT on a busy host: it would fall back to clocks that cost it thousands of instructions a
 * look.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

static uint64_t clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
    return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

/* The clock and the TSC at one moment: the closest of many pairs. */
static void both(uint64_t *ns, uint64_t *tsc)
{
    uint64_t closest = UINT64_MAX;
    for (int i = 0; i < 1000; i++) {
        uint64_t before = __rdtsc(), now = clock_ns(), after = __rdtsc();
        if (after - before < closest) {
            closest = after - before;
            *ns = now;
            *tsc = before + (after - before) / 2;
        }
    }
}

int main(void)
{
    uint64_t ns[2], tsc[2];
    both(&ns[0], &tsc[0]);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    both(&ns[1], &tsc[1]);
    printf("%lu\n", (tsc[1] - tsc[0]) * 1000000 / (ns[1] - ns[0]));
    return 0;
}
