/*
 * A machine of several CPUs in one host thread and in simulated time: the scheduler's own code runs on it,
 * and every run is the same. Each CPU executes in turn for SIM_STEP; interrupts arrive between steps, when a
 * CPU turns interrupts on, and while it waits for one.
 */
#ifndef MOKA_TEST_SIMULATOR_H
#define MOKA_TEST_SIMULATOR_H

#include "sched/thread.h"

#define SIM_STEP (50 * NSEC_PER_USEC)

/* Boots a machine with `cpus` CPUs whose boot thread runs fn, and runs it until sim_stop(). */
void sim_run(u32 cpus, void (*fn)(void));
_Noreturn void sim_stop(void);
/* The calling thread computes for ns of its own CPU time. */
void sim_work(u64 ns);
/* The same for ever. */
_Noreturn void sim_work_forever(void *unused);
/* The same for ever; counts the steps that it really executed in *(u64 *)steps. */
_Noreturn void sim_count_work(void *steps);
u64 sim_live_objects(void);
/* So far: interrupts sent to other CPUs, halts, looks at something that was to change. */
extern u64 sim_ipis, sim_halts, sim_looks;
/* CPUs stop now and then, as vCPUs do on a loaded host. */
extern bool sim_stalls;
/* The first CPU does two thirds of what the others do. */
extern bool sim_slow_cpu;

#endif
