/*
 * The command line of `moka`.
 */
#ifndef JAVA_LAUNCHER_HOST_OPTIONS_H
#define JAVA_LAUNCHER_HOST_OPTIONS_H

#include "java-launcher/host/util.h"

#define MOKA_VERSION "0.1"

/* What -c and -m take; bytes. */
enum { MAX_CPUS = 32, LEAST_MEMORY = 16 << 20 };

enum command { CMD_RUN, CMD_BUILD };
enum accel { ACCEL_AUTO, ACCEL_KVM, ACCEL_TCG };

struct volume {
    char *host;  /* absolute path of a directory */
    char *guest; /* absolute */
    bool read_only;
};

/* -p: a port of the host that leads to one of the guest. */
struct forward {
    char *host_ip;
    unsigned host_port, guest_port;
    bool udp;
};

struct addition {
    char *host, *guest; /* both absolute */
};

struct options {
    enum command command;
    char *app;          /* JAR or image as the user wrote it; NULL with --exec or a class path alone */
    char *exec;         /* --exec PROGRAM */
    struct strvec args; /* the program's arguments */
    uint64_t memory;    /* bytes; 0: not said */
    unsigned cpus;      /* 0: not said */
    struct volume *volumes;
    size_t n_volumes;
    struct addition *additions;
    size_t n_additions;
    struct forward *forwards;
    size_t n_forwards;
    char *net;       /* --net: user, none, tap:NAME; NULL: user when there are forwards or --ip, else none */
    char *ip;        /* --ip ADDRESS/PREFIX[,GATEWAY[,NAMESERVER]] */
    char *idle_poll; /* --idle-poll: microseconds, 0 to 1000000; NULL: the kernel's default */
    struct strvec env; /* NAME=VALUE */
    struct strvec jvm; /* options for the JVM */
    struct strvec modules;
    char *jdk, *main, *classpath, *name, *workdir, *kernel, *output, *machine;
    mode_t umask; /* of whoever gave the command: the program's, and for the image's file. Ours is 022 */
    enum accel accel;
    bool no_rewrite; /* --no-rewrite: leave all system calls in the image as they are */
    bool strace, gdb, dry_run;
};

/* Reads the words after the command's name (argv[1] is "run" or "build"). Dies on what it cannot make sense
 * of; prints help and exits for -h. Sets `verbose`. */
void options_parse(struct options *o, enum command command, int argc, char **argv);

void usage(const char *topic); /* standard output; topic NULL, "run" or "build" */

#endif
