#include "java-launcher/host/backlog.h"
#include "java-launcher/host/util.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { QUEUE_LEN = 4096 }; /* Linux's net.core.somaxconn limits it */

static bool forwarded(const struct options *o, in_port_t port)
{
    for (size_t i = 0; i < o->n_forwards; i++)
        if (!o->forwards[i].udp && o->forwards[i].host_port == ntohs(port))
            return true;
    return false;
}

static size_t tcp_forwards(const struct options *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n_forwards; i++)
        n += !o->forwards[i].udp;
    return n;
}

/* True when fd listens on a forwarded port; then it has room. */
static bool widen_one(int fd, const struct options *o)
{
    struct sockaddr_in a = {0};
    socklen_t len = sizeof a, int_len = sizeof(int);
    int listens = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &int_len) < 0 || !listens)
        return false;
    if (getsockname(fd, (struct sockaddr *)&a, &len) < 0 || a.sin_family != AF_INET)
        return false;
    return forwarded(o, a.sin_port) && listen(fd, QUEUE_LEN) == 0;
}

static size_t widen_all(int pidfd, DIR *fds, const struct options *o, bool *refused)
{
    struct dirent *e;
    size_t done = 0;
    while ((e = readdir(fds))) {
        if (e->d_name[0] == '.')
            continue;
        int fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(e->d_name), 0);
        if (fd < 0) {
            *refused |= errno == EPERM || errno == ENOSYS;
            continue;
        }
        done += widen_one(fd, o);
        close(fd);
    }
    return done;
}

bool backlog_widen(pid_t qemu, const struct options *o)
{
    size_t wanted = tcp_forwards(o), done = 0;
    bool refused = false;
    if (!wanted)
        return true;
    int pidfd = (int)syscall(SYS_pidfd_open, qemu, 0);
    char *path = fmt("/proc/%d/fd", (int)qemu);
    DIR *fds = pidfd < 0 ? NULL : opendir(path);
    if (fds)
        done = widen_all(pidfd, fds, o, &refused);
    else
        refused = true;
    if (fds)
        closedir(fds);
    if (pidfd >= 0)
        close(pidfd);
    free(path);
    return refused || done >= wanted;
}
