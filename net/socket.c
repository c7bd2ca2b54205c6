/* The table of protocol families, and what they share. */
#include "net/socket.h"

#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/string.h"

static struct socket_family *families; /* changes at boot only */
void (*socket_urgent_hook)(void);

void socket_register(struct socket_family *f)
{
    f->next = families;
    families = f;
}

struct socket_family *socket_find_family(u32 family)
{
    struct socket_family *f = families;
    while (f && f->family != family)
        f = f->next;
    return f;
}

u64 socket_deadline(u64 timeout_ns)
{
    return timeout_ns ? clock_monotonic_ns() + timeout_ns : SLEEP_FOREVER;
}

#define SOL_SOCKET 1

/* cmsg(3): a header of 16 bytes, then the data, each message padded to 8. */
struct header {
    u64 len;
    s32 level, type;
};

void socket_control_put(struct socket_control *c, s32 level, s32 type, const void *data, size_t len)
{
    struct header h = {sizeof(h) + len, level, type};
    if (c->len + sizeof(h) > c->room) {
        c->truncated = true;
        return;
    }
    size_t fits = MIN(len, c->room - c->len - sizeof(h));
    c->truncated |= fits < len;
    h.len = sizeof(h) + fits;
    memcpy(c->bytes + c->len, &h, sizeof(h));
    memcpy(c->bytes + c->len + sizeof(h), data, fits);
    c->len = MIN(c->room, c->len + ALIGN_UP(h.len, 8UL));
}

void socket_put_time(const struct socket *s, struct socket_control *c, u64 ns)
{
    bool fine = socket_flag(s, SOCKET_TIMESTAMPNS);
    if (!ns)
        ns = clock_realtime_ns();
    s64 time[2] = {ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / (fine ? 1 : 1000)};
    socket_control_put(c, SOL_SOCKET, fine ? SOCKET_TIMESTAMPNS : SOCKET_TIMESTAMP, time, sizeof(time));
}
