/* Sleeps ten seconds and prints how many local timer interrupts all CPUs took meanwhile (/proc/interrupts,
 * LOC). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long timer_interrupts(void)
{
    char line[4096];
    long sum = -1;
    FILE *f = fopen("/proc/interrupts", "r");
    if (!f)
        return -1;
    while (fgets(line, sizeof(line), f)) {
        char *p = strstr(line, "LOC:");
        if (!p)
            continue;
        sum = 0;
        for (p += 4;;) {
            char *end;
            long n = strtol(p, &end, 10);
            if (end == p)
                break;
            sum += n;
            p = end;
        }
    }
    fclose(f);
    return sum;
}

int main(void)
{
    long before = timer_interrupts();
    sleep(10);
    long after = timer_interrupts();
    if (before < 0) {
        fprintf(stderr, "idle: /proc/interrupts has no LOC line\n");
        return 1;
    }
    /* The one that ends the sleep is due; every other one is the kernel's own. */
    printf("idle_timer_interrupts %ld interrupts in 10 s (1 ends the sleep)\n", after - before);
    return 0;
}
