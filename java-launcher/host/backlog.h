/*
 * Room for connections on their way. QEMU's user network listens on a forwarded port with a queue of one
 * (libslirp's tcpx_listen); a few clients that come at the same time overrun it, and then the host makes them
 * wait for seconds or resets them, long before the VM hears of them. listen(2) on the same socket again
 * changes the length of its queue, so we do that, through a copy of QEMU's descriptor (pidfd_getfd(2),
 * allowed to a parent).
 */
#ifndef JAVA_LAUNCHER_HOST_BACKLOG_H
#define JAVA_LAUNCHER_HOST_BACKLOG_H

#include "java-launcher/host/options.h"

#include <sys/types.h>

/* True when nothing is left to do: all of o's TCP forwards have room now, or the host does not let us. False:
 * QEMU has not opened them all yet. */
bool backlog_widen(pid_t qemu, const struct options *o);

#endif
