#include "java-launcher/host/pump.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void pump_init(struct pump *p, int from, int to)
{
    struct stat st;
    p->from = from;
    p->to = to;
    p->own_from = p->own_to = p->waiting = p->whole_lines = p->ended = false;
    p->pos = p->ready = p->end = 0;
    p->error = 0;
    p->small_steps = fstat(to, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISSOCK(st.st_mode);
}

bool pump_done(const struct pump *p)
{
    return p->ended && p->pos == p->end;
}

struct pollfd pump_wants(const struct pump *p)
{
    if (p->pos < p->ready)
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
    p->ready = p->end;
    if (p->pos == p->end && p->own_to)
        shutdown(p->to, SHUT_WR);
}

/* Bytes of the buffer that may be written now. A line that fills the buffer is not waited for any longer. */
static size_t ready_bytes(const struct pump *p)
{
    const char *newline = memrchr(p->buf, '\n', p->end);
    if (!p->whole_lines || p->end == sizeof p->buf)
        return p->end;
    return newline ? (size_t)(newline - p->buf) + 1 : 0;
}

static void fill(struct pump *p)
{
    size_t kept = p->end - p->pos;
    memmove(p->buf, p->buf + p->pos, kept);
    p->pos = p->ready = 0;
    p->end = kept;
    ssize_t n = read(p->from, p->buf + kept, sizeof p->buf - kept);
    if (n > 0) {
        p->end += (size_t)n;
        p->ready = ready_bytes(p);
    } else if (n < 0 && errno == EIO && isatty(p->from)) {
        p->waiting = true;
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        finish(p);
    }
}

/* After an error of a write: nobody wants more, or the terminal was hung up. All else is a loss. */
static bool reader_is_gone(const struct pump *p)
{
    return errno == EPIPE || errno == ECONNRESET || (errno == EIO && p->small_steps);
}

static void empty(struct pump *p)
{
    size_t n = p->ready - p->pos;
    if (p->small_steps && n > PIPE_BUF)
        n = PIPE_BUF;
    ssize_t done = send(p->to, p->buf + p->pos, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done < 0 && errno == ENOTSOCK)
        done = write(p->to, p->buf + p->pos, n);
    if (done >= 0) {
        p->pos += (size_t)done;
    } else if (errno != EINTR && errno != EAGAIN) { /* what would follow is lost with the rest */
        p->error = reader_is_gone(p) ? 0 : errno;
        p->pos = p->end;
        finish(p);
    }
    if (pump_done(p) && p->own_to)
        shutdown(p->to, SHUT_WR);
}

void pump_step(struct pump *p)
{
    if (p->pos < p->ready)
        empty(p);
    else if (!p->ended)
        fill(p);
}
