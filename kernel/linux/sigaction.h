/* Inside the signal code: the table of actions. */
#ifndef MOKA_LINUX_SIGACTION_H
#define MOKA_LINUX_SIGACTION_H

#include "kernel/linux/uabi.h"

/* sig: 1..64. Writers hold process.lock; readers need nothing (they take it when a writer is at work). */
void sigaction_set(int sig, const struct uabi_sigaction *new);
struct uabi_sigaction sigaction_get(int sig);
/* Drops what is queued of a signal that is ignored from now on. process.lock held. */
void signal_forget(int sig);

#endif
