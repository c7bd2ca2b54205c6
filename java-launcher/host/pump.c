#include "java-launcher/host/pump.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void pump_init(struct pump *p, int from, int to)
{
    struct stat st;
    p->from = from;
    p->to = to;
    p->own_from = p->own_to = p->waiting = p->ended = false;
    p->pos = p->end = 0;
    p->small_steps = fstat(to, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISSOCK(st.st_mode);
}

bool pump_done(const struct pump *p)
{
    return p->ended && p->pos == p->end;
}

struct pollfd pump_wants(const struct pump *p)
{
    if (p->pos < p->end)
        return (struct pollfd){.fd = p->to, .events = POLLOUT};
    if (p->ended || p->waiting)
        return (struct pollfd){.fd = -1};
    return (struct pollfd){.fd = p->from, .events = POLLIN};
}

static void finish(struct pump *p)
{
    p->ended = true;
    if (p->own_from && p->from >= 0)
        close(p->from);
    p->from = -1;
    if (p->pos == p->end && p->own_to)
        shutdown(p->to, SHUT_WR);
}

static void fill(struct pump *p)
{
    ssize_t n = read(p->from, p->buf, sizeof p->buf);
    if (n > 0) {
        p->pos = 0;
        p->end = (size_t)n;
    } else if (n < 0 && errno == EIO && isatty(p->from)) {
        p->waiting = true;
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        finish(p);
    }
}

static void empty(struct pump *p)
{
    size_t n = p->end - p->pos;
    if (p->small_steps && n > PIPE_BUF)
        n = PIPE_BUF;
    ssize_t done = send(p->to, p->buf + p->pos, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done < 0 && errno == ENOTSOCK)
        done = write(p->to, p->buf + p->pos, n);
    if (done >= 0) {
        p->pos += (size_t)done;
    } else if (errno != EINTR &&
               errno != EAGAIN) { /* the reader is gone: so are the rest and what would follow */
        p->pos = p->end;
        finish(p);
    }
    if (pump_done(p) && p->own_to)
        shutdown(p->to, SHUT_WR);
}

void pump_step(struct pump *p)
{
    if (p->pos < p->end)
        empty(p);
    else if (!p->ended)
        fill(p);
}
