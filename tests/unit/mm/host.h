/* The machine that the host tests run mm on: fake memory, an MMU with a TLB, CPUs that are host threads. */
#ifndef MOKA_TEST_HOST_H
#define MOKA_TEST_HOST_H

#include <stdio.h>

#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/pte.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/arch/x86_64/zero.h"
#include "kernel/base/errno.h"
#include "kernel/base/string.h"
#include "mm/phys/phys.h"
#include "mm/vm/vm.h"

/* Memory full of garbage, phys_init, vm_init. Memory above 4 GiB too when high is not 0. */
void host_boot(u64 bytes, u64 high);
/* What the boot CPU does for CPU id, not 0, before it starts. */
struct cpu *host_cpu_prepare(u32 id);
/* Makes the calling host thread CPU id, 0 or prepared. */
void host_cpu_start(u32 id);
/* CPU 0's host thread goes on as CPU id, which has run nothing before, when it takes a mutex, and as CPU 0
 * when it takes the next: as a thread may that slept for the mutex. False: no longer. */
void host_move_in_locks(u32 id, bool move);

/*
 * One access of the program on this CPU: through the TLB, the page tables and vm_fault. Returns where the
 * byte lies, or NULL with the error in *err.
 */
u8 *host_access(u64 addr, bool write, int *err);

/* The same for an instruction's byte. */
u8 *host_fetch(u64 addr, int *err);

/* Takes interrupts while doing nothing. */
void host_idle(void);
/* From true to false this CPU is idle: it touches nothing of the program. */
void host_be_idle(bool idle);
/* Takes those that are there; how many this CPU has taken so far. */
u32 host_interrupts(void);
/* Lets the layer's worker threads do what they have to do. Single-threaded tests only. */
void host_run_workers(void);

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            printf("not ok %s: %s:%d: %s\n", __func__, __FILE__, __LINE__, #cond);                           \
            __builtin_trap();                                                                                \
        }                                                                                                    \
    } while (0)

extern u32 host_seed;
u64 host_random(u64 below);

/* From now on whoever has zeroed memory waits there until so many CPUs have. 0: nobody waits. The test fails
 * when they do not come, because a lock keeps them from it. */
void host_meet_in_zeroing(u32 cpus);

#endif
