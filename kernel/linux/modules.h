/* Which file of the program lies where, for backtraces: they may run when no lock can be taken. */
#ifndef MOKA_LINUX_MODULES_H
#define MOKA_LINUX_MODULES_H

#include "kernel/base/types.h"

struct file;

/* Registers the answer to unwind_find_module. */
void modules_init(void);
/* Notes an executable mapping of a file: [start, end) shows the file from offset on. */
void modules_note(const struct file *f, u64 start, u64 end, u64 offset);

#endif
