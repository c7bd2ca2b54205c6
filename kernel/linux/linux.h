/*
 * The Linux system-call layer: what init calls. Everything else of kernel/linux is its own business: only it
 * sees Linux structures, numbers and guest pointers.
 */
#ifndef MOKA_LINUX_H
#define MOKA_LINUX_H

/* Hooks traps, registers /proc files. Once, after vfs_init(). */
void linux_init(void);
/*
 * Loads the program of the command line and starts its first thread. 0, or -errno after one log_error line
 * that says what is wrong (no such file, not an ELF executable, no interpreter ...).
 */
int linux_start(void);

#endif
