#include "java-launcher/host/cds.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLASSES_MAX = 20000, SECONDS_MAX = 180 };

static const char class_list[] = "/tmp/classlist";

static bool put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* chroot(2) is for root; anybody may be root in a user namespace of his own, where the system allows these.
 */
static bool enter_root(const char *root)
{
    if (chroot(root) == 0)
        return chdir("/") == 0;
    uid_t uid = getuid();
    gid_t gid = getgid();
    if (unshare(CLONE_NEWUSER) < 0)
        return false;
    put("/proc/self/setgroups", "deny");
    return put("/proc/self/uid_map", fmt("0 %u 1", uid)) && put("/proc/self/gid_map", fmt("0 %u 1", gid)) &&
           chroot(root) == 0 && chdir("/") == 0;
}

static void dump_child(const struct stage *s, const char *archive_path, int log)
{
    char *argv[] = {"/moka/launcher",
                    "-J-Xshare:dump",
                    fmt("-J-XX:SharedClassListFile=%s", class_list),
                    "-J-XX:+UseG1GC",
                    "-J-Xmx256m",
                    "-J-Xlog:cds=warning:stdout",
                    fmt("-J-Djava.class.path=%s", archive_path),
                    NULL};
    char *env[] = {"LC_ALL=C.UTF-8", NULL};
    int null = open("/dev/null", O_RDONLY);
    if (!enter_root(s->root))
        _exit(126);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    alarm(SECONDS_MAX); /* survives execve: a dump that hangs is given up */
    execve(argv[0], argv, env);
    _exit(127);
}

/* The runtime's own list of classes that programs use at start, then the application's. */
static void write_class_list(const struct stage *s, const struct app *a)
{
    struct buf list = {0};
    read_whole(stage_path(s, "/jvm/lib/classlist"), &list);
    app_classes(a, CLASSES_MAX, &list);
    write_whole(stage_path(s, class_list), list.p ? list.p : "", list.n, 0644);
}

bool cds_dump(const struct stage *s, const struct app *a)
{
    char *log_path = stage_path(s, "/tmp/dump.log");
    struct buf log = {0};
    int status = 0;
    write_class_list(s, a);
    int fd = open(log_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    pid_t pid = fork();
    if (pid == 0)
        dump_child(s, app_archive_path(a), fd);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(fd);
    check_interrupt();
    read_whole(log_path, &log);
    unlink(log_path);
    unlink(stage_path(s, class_list));
    bool ok = pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 && is_file(stage_path(s, CDS_ARCHIVE));
    if (!ok)
        unlink(stage_path(s, CDS_ARCHIVE));
    if (!ok && WIFEXITED(status) && WEXITSTATUS(status) == 126)
        note("no class data archive: cannot change the root directory here (not root, and no user "
             "namespaces)");
    else if (!ok)
        note("no class data archive: %s", log.n ? log.p : "the JVM did not write it");
    return ok;
}
