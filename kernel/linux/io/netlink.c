/*
 * AF_NETLINK (netlink(7), rtnetlink(7)): as much of NETLINK_ROUTE as getifaddrs, getaddrinfo, if_nameindex
 * and those who ask for one link need: the lists of links, addresses, routes and neighbours, and the way to
 * an address. Everything that would change something is refused with EPERM, other questions with EOPNOTSUPP.
 * Multicast groups may be joined, but bring no news.
 *
 * A request is answered while it is sent: the answer's datagrams wait in the socket until they are received.
 */
#include "kernel/linux/io/netlink.h"
#include "kernel/base/errno.h"
#include "kernel/base/list.h"
#include "kernel/base/string.h"
#include "kernel/linux/io/io.h"
#include "kernel/linux/task.h"
#include "net/interface.h"
#include "net/socket.h"

#define AF_UNSPEC              0
#define AF_INET                2
#define AF_INET6               10
#define AF_NETLINK             16
#define SOCK_DGRAM             2
#define SOCK_RAW               3
#define SOL_NETLINK            270
#define NETLINK_ROUTE          0
#define NETLINK_GET_STRICT_CHK 12

#define NLMSG_ERROR 2
#define NLMSG_DONE  3
#define NLMSG_MIN   16 /* below are control messages */

#define RTM_NEWLINK  16
#define RTM_GETLINK  18
#define RTM_NEWADDR  20
#define RTM_GETADDR  22
#define RTM_GETROUTE 26
#define RTM_GETNEIGH 30
#define RTM_GET      2 /* type & 3 of every question */

#define IFLA_ADDRESS   1
#define IFLA_BROADCAST 2
#define IFLA_IFNAME    3
#define IFLA_MTU       4
#define IFLA_QDISC     6
#define IFLA_TXQLEN    13
#define IFLA_OPERSTATE 16
#define IFLA_LINKMODE  17
#define IFA_ADDRESS    1
#define IFA_LOCAL      2
#define IFA_LABEL      3
#define IFA_BROADCAST  4
#define IFA_CACHEINFO  6
#define IFA_FLAGS      8

#define IFA_F_PERMANENT 0x80u
#define IFF_LOOPBACK    0x8u
#define OPERSTATE_UP    6
#define TX_QUEUE_LEN    1000u

#define REQUEST_MAX 65536u /* bytes of one send */
#define ANSWERS_MAX 64u    /* datagrams that wait; more requests are refused with ENOBUFS */

struct ifinfomsg {
    u8 family, pad;
    u16 type;
    s32 index;
    u32 flags, change;
};
UABI_SIZE(struct ifinfomsg, 16);
struct ifaddrmsg {
    u8 family, prefix, flags, scope;
    u32 index;
};
UABI_SIZE(struct ifaddrmsg, 8);
struct sockaddr_nl {
    u16 family, pad;
    u32 pid, groups;
};
UABI_SIZE(struct sockaddr_nl, 12);

struct netlink {
    struct socket base;
    struct waitq changed;
    struct mutex lock; /* guards the rest */
    u32 pid, groups;   /* port number: 0 until bound */
    struct list answers;
    u32 count;
    int error; /* SO_ERROR */
};

static u32 next_pid = 0x80000000u; /* atomic: port numbers when the process's own is taken */
static u32 own_pid_taken;          /* atomic: 1: a socket has the process's number */

static struct netlink *netlink_of(struct socket *s)
{
    return container_of(s, struct netlink, base);
}

/* ---- building answers ---- */

void netlink_put(struct answer *a, const void *data, u32 n)
{
    u32 padded = ALIGN_UP(n, 4u);
    if (a->len + padded > NETLINK_ANSWER_ROOM)
        return;
    u8 *at = a->bytes + a->len;
    memset(at, 0, padded);
    memcpy(at, data, n);
    a->len += padded;
}

void netlink_begin(struct answer *a, const struct nlmsghdr *to, u32 pid, u16 type, u16 flags)
{
    struct nlmsghdr h = {0, type, flags, to->seq, pid};
    a->message = a->len;
    netlink_put(a, &h, sizeof(h));
}

void netlink_end(struct answer *a)
{
    u32 len = a->len - a->message;
    memcpy(a->bytes + a->message, &len, sizeof(len));
}

void netlink_attribute(struct answer *a, u16 type, const void *data, u32 n)
{
    u16 header[2] = {sizeof(header) + n, type};
    netlink_put(a, header, sizeof(header));
    netlink_put(a, data, n);
}

void netlink_attribute32(struct answer *a, u16 type, u32 value)
{
    netlink_attribute(a, type, &value, sizeof(value));
}

static void put_link(struct answer *a, const struct nlmsghdr *to, u32 pid, u16 flags,
                     const struct net_interface *n)
{
    static const u8 broadcast[6] = {255, 255, 255, 255, 255, 255}, none[6];
    bool loopback = n->flags & IFF_LOOPBACK;
    struct ifinfomsg m = {AF_UNSPEC, 0, n->hw_type, n->index, n->flags, 0};
    u8 state = loopback ? 0 : OPERSTATE_UP, mode = 0;
    netlink_begin(a, to, pid, RTM_NEWLINK, flags);
    netlink_put(a, &m, sizeof(m));
    netlink_attribute(a, IFLA_IFNAME, n->name, strlen(n->name) + 1);
    netlink_attribute32(a, IFLA_TXQLEN, TX_QUEUE_LEN);
    netlink_attribute(a, IFLA_OPERSTATE, &state, 1);
    netlink_attribute(a, IFLA_LINKMODE, &mode, 1);
    netlink_attribute32(a, IFLA_MTU, n->mtu);
    netlink_attribute(a, IFLA_ADDRESS, n->hw_address, 6);
    netlink_attribute(a, IFLA_BROADCAST, loopback ? none : broadcast, 6);
    netlink_attribute(a, IFLA_QDISC, "noqueue", 8);
    netlink_end(a);
}

static void put_address(struct answer *a, const struct nlmsghdr *to, u32 pid, const struct net_interface *n,
                        const struct net_address *address)
{
    static const u32 forever[4] = {~0u, ~0u}; /* preferred, valid; created, changed */
    struct ifaddrmsg m = {address->family, address->prefix, IFA_F_PERMANENT, address->scope, n->index};
    u32 bytes = address->family == AF_INET ? 4 : 16;
    netlink_begin(a, to, pid, RTM_NEWADDR, NLM_F_MULTI);
    netlink_put(a, &m, sizeof(m));
    netlink_attribute(a, IFA_ADDRESS, address->bytes, bytes);
    if (address->family == AF_INET) {
        u32 ip, host = address->prefix < 32 ? __builtin_bswap32(~0u >> address->prefix) : 0;
        memcpy(&ip, address->bytes, 4);
        netlink_attribute(a, IFA_LOCAL, address->bytes, bytes);
        if (!(n->flags & IFF_LOOPBACK))
            netlink_attribute32(a, IFA_BROADCAST, ip | host);
        netlink_attribute(a, IFA_LABEL, n->name, strlen(n->name) + 1);
    }
    netlink_attribute32(a, IFA_FLAGS, IFA_F_PERMANENT);
    netlink_attribute(a, IFA_CACHEINFO, forever, sizeof(forever));
    netlink_end(a);
}

/* ---- questions ---- */

static struct answer *new_answer(struct netlink *s)
{
    struct answer *a = s->count < ANSWERS_MAX ? kmalloc(sizeof(*a)) : NULL;
    if (!a)
        return NULL;
    a->len = 0;
    list_push_back(&s->answers, &a->link);
    s->count++;
    return a;
}

static int answer_done(struct netlink *s, const struct nlmsghdr *to)
{
    struct answer *a = new_answer(s);
    u32 zero = 0;
    if (!a)
        return -ENOBUFS;
    netlink_begin(a, to, s->pid, NLMSG_DONE, NLM_F_MULTI);
    netlink_put(a, &zero, sizeof(zero));
    netlink_end(a);
    return 0;
}

/* An error, or with error 0 the acknowledgement that was asked for; the request's header is quoted. */
static int answer_error(struct netlink *s, const struct nlmsghdr *to, int error)
{
    struct answer *a = new_answer(s);
    s32 number = error;
    if (!a)
        return -ENOBUFS;
    netlink_begin(a, to, s->pid, NLMSG_ERROR, 0);
    netlink_put(a, &number, sizeof(number));
    netlink_put(a, to, sizeof(*to));
    netlink_end(a);
    return 0;
}

static int answer_links(struct netlink *s, const struct nlmsghdr *to, const struct net_interface *all,
                        u32 count)
{
    struct answer *a = new_answer(s);
    if (!a)
        return -ENOBUFS;
    for (u32 i = 0; i < count; i++)
        put_link(a, to, s->pid, NLM_F_MULTI, &all[i]);
    return answer_done(s, to);
}

static int answer_addresses(struct netlink *s, const struct nlmsghdr *to, u8 family,
                            const struct net_interface *all, u32 count)
{
    static const u16 families[] = {AF_INET, AF_INET6};
    struct answer *a = new_answer(s);
    if (!a)
        return -ENOBUFS;
    for (u32 f = 0; f < ARRAY_LEN(families); f++)
        for (u32 i = 0; i < count && (family == AF_UNSPEC || family == families[f]); i++)
            for (u32 k = 0; k < all[i].count; k++)
                if (all[i].addresses[k].family == families[f])
                    put_address(a, to, s->pid, &all[i], &all[i].addresses[k]);
    return answer_done(s, to);
}

static int answer_more(struct netlink *s, const struct nlmsghdr *to, u8 family,
                       void (*put_all)(struct answer *, const struct nlmsghdr *, u32, u8))
{
    struct answer *a = new_answer(s);
    if (!a)
        return -ENOBUFS;
    put_all(a, to, s->pid, family);
    if (!a->len) { /* a datagram without a message would end the list for some */
        list_del(&a->link);
        s->count--;
        kfree(a);
    }
    return answer_done(s, to);
}

static int answer_way(struct netlink *s, const struct nlmsghdr *to, const u8 *body, u32 len)
{
    struct answer *a = new_answer(s);
    if (!a)
        return -ENOBUFS;
    int err = netlink_put_way(a, to, s->pid, body, len);
    if (!err)
        return 0;
    list_del(&a->link);
    s->count--;
    kfree(a);
    return answer_error(s, to, err);
}

/* One link, by index or (IFLA_IFNAME) by name. */
static int answer_one_link(struct netlink *s, const struct nlmsghdr *to, const u8 *body, u32 len,
                           const struct net_interface *all, u32 count)
{
    struct ifinfomsg m;
    const char *name = NULL;
    u32 name_len = 0;
    if (len < sizeof(m))
        return answer_error(s, to, -EINVAL);
    memcpy(&m, body, sizeof(m));
    for (u32 at = sizeof(m); at + 4 <= len;) {
        u16 header[2];
        memcpy(header, body + at, sizeof(header));
        if (header[0] < 4 || header[0] > len - at)
            break;
        if (header[1] == IFLA_IFNAME) {
            name = (const char *)body + at + 4;
            name_len = header[0] - 4;
        }
        at += ALIGN_UP(header[0] + 0u, 4u);
    }
    if (m.index <= 0 && !name)
        return answer_error(s, to, -EINVAL);
    for (u32 i = 0; i < count; i++) {
        u32 n = strlen(all[i].name);
        bool named = name && name_len >= n && !memcmp(name, all[i].name, n) && (name_len == n || !name[n]);
        if (m.index > 0 ? m.index != all[i].index : !named)
            continue;
        struct answer *a = new_answer(s);
        if (!a)
            return -ENOBUFS;
        put_link(a, to, s->pid, 0, &all[i]);
        return 0;
    }
    return answer_error(s, to, -ENODEV);
}

/* Lock held. body: what follows the header. */
static int answer(struct netlink *s, const struct nlmsghdr *h, const u8 *body, u32 len,
                  const struct net_interface *all, u32 count)
{
    bool dump = (h->flags & NLM_F_DUMP) == NLM_F_DUMP;
    u8 family = len ? body[0] : AF_UNSPEC;
    if (h->type < NLMSG_MIN || !(h->flags & NLM_F_REQUEST))
        return h->flags & NLM_F_ACK ? answer_error(s, h, 0) : 0;
    if (!len)
        return answer_error(s, h, -EINVAL);
    if (h->type == RTM_GETLINK && dump)
        return answer_links(s, h, all, count);
    if (h->type == RTM_GETADDR && dump)
        return answer_addresses(s, h, family, all, count);
    if (h->type == RTM_GETROUTE)
        return dump ? answer_more(s, h, family, netlink_put_routes) : answer_way(s, h, body, len);
    if (h->type == RTM_GETNEIGH && dump)
        return answer_more(s, h, family, netlink_put_neighbours);
    if (h->type == RTM_GETLINK)
        return answer_one_link(s, h, body, len, all, count);
    return answer_error(s, h, (h->type & 3) == RTM_GET ? -EOPNOTSUPP : -EPERM);
}

/* All requests of one send. */
static int answer_all(struct netlink *s, const u8 *bytes, u32 len)
{
    struct net_interface *all = kmalloc(NET_INTERFACES * sizeof(*all));
    struct nlmsghdr h;
    int err = 0;
    if (!all)
        return -ENOMEM;
    u32 count = net_interfaces(all);
    mutex_lock(&s->lock);
    for (u32 at = 0; at + sizeof(h) <= len && !err;) {
        memcpy(&h, bytes + at, sizeof(h));
        if (h.len < sizeof(h) || h.len > len - at)
            break; /* as Linux: what is no message ends the list */
        err = answer(s, &h, bytes + at + sizeof(h), h.len - sizeof(h), all, count);
        at += MIN(ALIGN_UP((u64)h.len, 4UL), (u64)len - at);
    }
    mutex_unlock(&s->lock);
    waitq_wake_all(&s->changed, POLL_IN);
    kfree(all);
    return err;
}

/* ---- names ---- */

/* The process's own number for the first socket, as Linux gives it. Lock held. */
static void autobind(struct netlink *s)
{
    if (s->pid)
        return;
    bool taken = __atomic_exchange_n(&own_pid_taken, 1, __ATOMIC_RELAXED);
    s->pid = taken ? __atomic_add_fetch(&next_pid, 1, __ATOMIC_RELAXED) : 1u;
}

static int read_name(const struct socket_address *a, struct sockaddr_nl *out)
{
    if (a->len < sizeof(*out))
        return -EINVAL;
    memcpy(out, a->bytes, sizeof(*out));
    return out->family == AF_NETLINK ? 0 : -EINVAL;
}

static int netlink_bind(struct socket *base, const struct socket_address *a)
{
    struct netlink *s = netlink_of(base);
    struct sockaddr_nl name;
    int err = read_name(a, &name);
    if (err)
        return err;
    mutex_lock(&s->lock);
    if (s->pid && name.pid && name.pid != s->pid)
        err = -EINVAL;
    else if (!s->pid && name.pid == 1 && __atomic_exchange_n(&own_pid_taken, 1, __ATOMIC_RELAXED))
        err = -EADDRINUSE;
    else if (!s->pid && name.pid)
        s->pid = name.pid;
    else
        autobind(s);
    if (!err)
        s->groups = name.groups;
    mutex_unlock(&s->lock);
    return err;
}

/* Only the kernel (number 0) is there to talk to. */
static int netlink_connect(struct socket *base, const struct socket_address *a, u32 flags)
{
    struct netlink *s = netlink_of(base);
    struct sockaddr_nl name;
    if (a->len >= 2 && a->family == AF_UNSPEC)
        return 0;
    int err = read_name(a, &name);
    if (err)
        return err;
    mutex_lock(&s->lock);
    autobind(s);
    mutex_unlock(&s->lock);
    return name.pid ? -ECONNREFUSED : 0;
}

static int netlink_name(struct socket *base, bool of_peer, struct socket_address *out)
{
    struct netlink *s = netlink_of(base);
    mutex_lock(&s->lock);
    struct sockaddr_nl name = {AF_NETLINK, 0, of_peer ? 0 : s->pid, of_peer ? 0 : s->groups};
    mutex_unlock(&s->lock);
    memcpy(out->bytes, &name, sizeof(name));
    out->len = sizeof(name);
    return 0;
}

/* ---- messages ---- */

static ssize_t netlink_send(struct socket *base, struct socket_message *m)
{
    struct netlink *s = netlink_of(base);
    size_t len = m->it->left;
    struct sockaddr_nl to = {AF_NETLINK, 0, 0, 0};
    int err = m->address && m->address->len ? read_name(m->address, &to) : 0;
    if (err)
        return err;
    if (m->flags & SOCKET_OOB)
        return -EOPNOTSUPP;
    if (len > REQUEST_MAX)
        return -EMSGSIZE;
    if (!len)
        return -ENODATA;
    if (to.pid)
        return -ECONNREFUSED;
    mutex_lock(&s->lock);
    autobind(s);
    mutex_unlock(&s->lock);
    u8 *bytes = kmalloc(len);
    if (!bytes)
        return -ENOMEM;
    if (iov_from(m->it, bytes, len) != (ssize_t)len)
        err = -EFAULT;
    else
        err = answer_all(s, bytes, len);
    kfree(bytes);
    return err ? err : (ssize_t)len;
}

/* The first datagram, which stays; the lock is held on success. */
static int wait_answer(struct netlink *s, u32 flags, u64 deadline, struct answer **out)
{
    int err = 0;
    mutex_lock(&s->lock);
    while (!(*out = list_first(&s->answers, struct answer, link)) && !err) {
        if (flags & SOCKET_DONTWAIT)
            err = -EAGAIN;
        else
            err = waitq_wait(&s->changed, &s->lock, deadline, SLEEP_INTERRUPTIBLE);
    }
    if (!*out) {
        mutex_unlock(&s->lock);
        return err == -EINTR ? -ERESTART : err == -ETIMEDOUT ? -EAGAIN : err;
    }
    return 0;
}

static ssize_t netlink_receive(struct socket *base, struct socket_message *m)
{
    struct netlink *s = netlink_of(base);
    struct answer *a;
    if (m->flags & (SOCKET_OOB | SOCKET_ERRQUEUE))
        return m->flags & SOCKET_OOB ? -EOPNOTSUPP : -EAGAIN;
    int err = wait_answer(s, m->flags, socket_deadline(base->receive_timeout_ns), &a);
    if (err)
        return err;
    bool peek = m->flags & SOCKET_PEEK;
    struct answer *copy = peek ? kmalloc(sizeof(*copy)) : a;
    if (peek && copy)
        memcpy(copy, a, sizeof(*copy));
    if (!peek) {
        list_del(&a->link);
        s->count--;
    }
    mutex_unlock(&s->lock);
    if (!copy)
        return -ENOMEM;
    size_t len = copy->len, n = MIN(len, m->it->left);
    bool good = !n || iov_to(m->it, copy->bytes, n) == (ssize_t)n;
    kfree(copy);
    if (m->address) {
        struct sockaddr_nl kernel = {AF_NETLINK, 0, 0, 0};
        memcpy(m->address->bytes, &kernel, sizeof(kernel));
        m->address->len = sizeof(kernel);
    }
    if (n < len)
        m->out_flags |= SOCKET_TRUNC;
    return !good ? -EFAULT : m->flags & SOCKET_TRUNC ? (ssize_t)len : (ssize_t)n;
}

/* ---- the rest ---- */

static u32 netlink_poll(struct socket *base)
{
    struct netlink *s = netlink_of(base);
    mutex_lock(&s->lock);
    bool any = !list_empty(&s->answers);
    mutex_unlock(&s->lock);
    return POLL_OUT | (any ? POLL_IN : 0);
}

static struct waitq *netlink_pollq(struct socket *base)
{
    return &netlink_of(base)->changed;
}

/* Those that change how much is said or checked are accepted: less is said here anyway. */
static int netlink_set_option(struct socket *base, int level, int option, const void *value, u32 len)
{
    if (level != SOL_NETLINK)
        return -ENOPROTOOPT;
    if (len < sizeof(s32))
        return -EINVAL;
    return option >= 1 && option <= NETLINK_GET_STRICT_CHK ? 0 : -ENOPROTOOPT;
}

static void netlink_release(struct socket *base)
{
    struct netlink *s = netlink_of(base);
    for (struct answer *a; (a = list_first(&s->answers, struct answer, link));) {
        list_del(&a->link);
        kfree(a);
    }
    if (s->pid == 1)
        __atomic_store_n(&own_pid_taken, 0, __ATOMIC_RELAXED);
    kfree(s);
}

static const struct socket_ops netlink_ops = {
    .bind = netlink_bind,
    .connect = netlink_connect,
    .name = netlink_name,
    .send = netlink_send,
    .receive = netlink_receive,
    .poll = netlink_poll,
    .pollq = netlink_pollq,
    .set_option = netlink_set_option,
    .release = netlink_release,
};

static int netlink_create(u32 type, u32 protocol, struct socket **out)
{
    if (type != SOCK_RAW && type != SOCK_DGRAM)
        return -ESOCKTNOSUPPORT;
    if (protocol != NETLINK_ROUTE)
        return -EPROTONOSUPPORT;
    struct netlink *s = kmalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    memset(s, 0, sizeof(*s));
    s->base = (struct socket){.ops = &netlink_ops,
                              .family = AF_NETLINK,
                              .type = type,
                              .protocol = protocol,
                              .receive_buffer = SOCKET_BUFFER,
                              .send_buffer = SOCKET_BUFFER};
    list_init(&s->answers);
    *out = &s->base;
    return 0;
}

static struct socket_family netlink_family = {AF_NETLINK, netlink_create, NULL, NULL};

void netlink_init(void)
{
    socket_register(&netlink_family);
}
