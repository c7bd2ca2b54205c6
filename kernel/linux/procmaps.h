/* /proc/self/maps and smaps. */
#ifndef MOKA_LINUX_PROCMAPS_H
#define MOKA_LINUX_PROCMAPS_H

#include "kernel/fs/vfs.h"

int procmaps_show(struct seq *s, void *arg);
int procmaps_show_smaps(struct seq *s, void *arg);

#endif
