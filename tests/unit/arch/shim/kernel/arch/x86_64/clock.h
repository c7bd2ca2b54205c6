/* Host tests: the time-stamp counter is the test's, too. */
#ifndef MOKA_TEST_CLOCK_H
#define MOKA_TEST_CLOCK_H

#define read_tsc unused_read_tsc
#include "../../../../../../../kernel/arch/x86_64/clock.h"
#undef read_tsc

u64 read_tsc(void);

#endif
