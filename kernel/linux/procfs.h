/* /proc/self and the process's other files. */
#ifndef MOKA_LINUX_PROCFS_H
#define MOKA_LINUX_PROCFS_H

/* Registers the files. Once, after vfs_init(). */
void procfs_init(void);

#endif
