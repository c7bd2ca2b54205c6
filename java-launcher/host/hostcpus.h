/*
 * How many of this machine's CPUs the command may use.
 */
#ifndef JAVA_LAUNCHER_HOST_HOSTCPUS_H
#define JAVA_LAUNCHER_HOST_HOSTCPUS_H

/* At least 1: those that sched_setaffinity(2), as by taskset and cpusets, leaves to this process, but no more
 * than the quota of its control group or of one above it (cgroup v2, cpu.max), rounded up, as a JVM counts
 * them too. */
unsigned host_cpus(void);

#endif
