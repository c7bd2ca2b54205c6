/*
 * Moving bytes from one descriptor to another without ever blocking on either: one pump a direction.
 */
#ifndef JAVA_LAUNCHER_HOST_PUMP_H
#define JAVA_LAUNCHER_HOST_PUMP_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

enum { PUMP_BUFFER = 65536 };

/*
 * At any time: bytes pos..end of buf are read and not yet written; ended is set when no more will be read.
 * Those from ready on are kept: the beginning of a line, when whole_lines asks for that.
 */
struct pump {
    int from, to;     /* -1: closed */
    bool own_from;    /* close `from` at its end */
    bool own_to;      /* shut `to` (a socket) down for writing when all is through */
    bool small_steps; /* `to` may block although poll says it is ready, unless at most PIPE_BUF bytes are
                         written */
    bool waiting;     /* a background process may not read its terminal now: try again later */
    bool whole_lines; /* writes no part of a line that is still to be completed: others write there, too */
    bool ended;
    int error; /* why bytes were lost, an errno: not because the reader is gone. 0: none were */
    size_t pos, ready, end;
    char buf[PUMP_BUFFER];
};

void pump_init(struct pump *p, int from, int to);
/* What the pump waits for now; fd -1 when it has nothing to wait for. */
struct pollfd pump_wants(const struct pump *p);
/* Call when poll reported that: reads or writes once. */
void pump_step(struct pump *p);
/* Nothing more will come out of it. */
bool pump_done(const struct pump *p);

#endif
