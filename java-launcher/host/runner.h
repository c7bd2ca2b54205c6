/*
 * Running the virtual machine: starting QEMU, moving bytes between its streams and ours, signals, the exit
 * status.
 */
#ifndef JAVA_LAUNCHER_HOST_RUNNER_H
#define JAVA_LAUNCHER_HOST_RUNNER_H

#include "java-launcher/host/qemu.h"

/*
 * Boots it and returns the program's exit status, or EXIT_MOKA (after one line on standard error) when the VM
 * ended without one. Standard input is read as fast as the VM takes it, standard output and error are written
 * byte for byte; SIGINT, SIGTERM and SIGHUP become SIGTERM (SIGQUIT stays what it is) for the program; a
 * second SIGINT ends the VM, status 130. QEMU never outlives this process.
 */
int vm_run(struct vm *vm);

/* Prints QEMU's command line for a shell. */
void vm_print(struct vm *vm);

#endif
