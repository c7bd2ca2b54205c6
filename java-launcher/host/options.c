#include "java-launcher/host/options.h"
#include "java-launcher/host/habits.h"
#include "java-launcher/host/netcheck.h"
#include "java-launcher/host/wordfile.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_JDK = 256,
    OPT_MAIN,
    OPT_CLASSPATH,
    OPT_ADD,
    OPT_NAME,
    OPT_ACCEL,
    OPT_STRACE,
    OPT_GDB,
    OPT_DRY_RUN,
    OPT_EXEC,
    OPT_MACHINE,
    OPT_KERNEL,
    OPT_MODULES,
    OPT_VERBOSE,
    OPT_NET,
    OPT_IP,
    OPT_NO_REWRITE,
    OPT_IDLE_POLL,
    OPT_ENV_FILE,
};

enum { MAX_IDLE_POLL = 1000000 };

static const struct option long_options[] = {
    {"memory", required_argument, NULL, 'm'},
    {"cpus", required_argument, NULL, 'c'},
    {"volume", required_argument, NULL, 'v'},
    {"publish", required_argument, NULL, 'p'},
    {"net", required_argument, NULL, OPT_NET},
    {"ip", required_argument, NULL, OPT_IP},
    {"env", required_argument, NULL, 'e'},
    {"env-file", required_argument, NULL, OPT_ENV_FILE},
    {"jvm", required_argument, NULL, 'J'},
    {"workdir", required_argument, NULL, 'w'},
    {"output", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, 'h'},
    {"jdk", required_argument, NULL, OPT_JDK},
    {"main", required_argument, NULL, OPT_MAIN},
    {"classpath", required_argument, NULL, OPT_CLASSPATH},
    {"class-path", required_argument, NULL, OPT_CLASSPATH},
    {"add", required_argument, NULL, OPT_ADD},
    {"name", required_argument, NULL, OPT_NAME},
    {"accel", required_argument, NULL, OPT_ACCEL},
    {"strace", no_argument, NULL, OPT_STRACE},
    {"gdb", no_argument, NULL, OPT_GDB},
    {"dry-run", no_argument, NULL, OPT_DRY_RUN},
    {"exec", required_argument, NULL, OPT_EXEC},
    {"idle-poll", required_argument, NULL, OPT_IDLE_POLL},
    {"machine", required_argument, NULL, OPT_MACHINE},
    {"kernel", required_argument, NULL, OPT_KERNEL},
    {"modules", required_argument, NULL, OPT_MODULES},
    {"no-rewrite", no_argument, NULL, OPT_NO_REWRITE},
    {"verbose", no_argument, NULL, OPT_VERBOSE},
    {NULL, 0, NULL, 0},
};

static const char run_usage[] =
    "usage: moka run [OPTION]... app.jar [ARGUMENT]...      boot a JAR as a virtual machine\n"
    "       moka run [OPTION]... app.img [ARGUMENT]...      boot an image made by moka build\n"
    "       moka run [OPTION]... --exec PROGRAM [ARGUMENT]...   boot any Linux x86-64 executable\n"
    "       moka run [OPTION]... --classpath PATH --main CLASS -- [ARGUMENT]...\n"
    "\n"
    "  -m, --memory SIZE        memory of the VM: 64M, 2G (1G)\n"
    "  -c, --cpus N             virtual CPUs, 1 to 32 (as many as the host has, at most 4)\n"
    "  -v, --volume HOST:GUEST[:ro]   a directory of the host in the VM; may repeat\n"
    "  -p, --publish [IP:]HOST:GUEST[/udp]   a port of the host that leads to one of the VM; may repeat\n"
    "      --net user|tap:NAME|none   network of the VM (user with -p or --ip, else none); a tap device made "
    "with\n"
    "                           `ip tuntap add dev NAME mode tap multi_queue` has queues for each CPU\n"
    "      --ip ADDRESS/PREFIX[,GATEWAY[,NAMESERVER]]   fixed address instead of DHCP\n"
    "  -e, --env NAME[=VALUE]   environment variable; without =, the value it has here; may repeat\n"
    "      --env-file FILE      variables from the lines of a file, as Docker reads them; may repeat\n"
    "  -J, --jvm OPTION         option for the JVM, such as -J-Xmx75% or -J-ea; -J@FILE: options in a file; "
    "may repeat\n"
    "  -w, --workdir DIR        working directory in the VM (/)\n"
    "      --jdk DIR            JDK to take the Java runtime from ($JAVA_HOME, else the 17 under "
    "/usr/lib/jvm)\n"
    "      --main CLASS         main class, instead of the manifest's Main-Class\n"
    "      --classpath A:B:...  further JARs and directories (DIR/* for all JARs in it)\n"
    "      --modules M,...      further modules for the Java runtime; java.se is nearly all of them\n"
    "      --add HOST:GUEST     a file or directory of the host to copy into the image; may repeat\n"
    "      --name NAME          name of the VM, and its host name\n"
    "      --accel auto|kvm|tcg hardware virtualization or emulation (auto)\n"
    "      --machine microvm|q35   QEMU's machine (microvm)\n"
    "      --idle-poll US       microseconds that an idle CPU looks for work before it halts (200)\n"
    "      --kernel FILE        another Moka kernel\n"
    "      --no-rewrite         leave the system calls of programs as they are: slower (see docs/moka.md)\n"
    "      --strace             print every system call on standard error\n"
    "      --gdb                wait for gdb on port 1234 before the kernel starts\n"
    "      --dry-run            build the image, print the QEMU command line, run nothing\n"
    "      --verbose            say what is done; print the kernel's messages on standard error\n";

static const char build_usage[] = "usage: moka build [OPTION]... app.jar -o app.img\n"
                                  "       moka build [OPTION]... --classpath PATH --main CLASS -o app.img\n"
                                  "       moka build [OPTION]... -o app.img --exec PROGRAM [ARGUMENT]...\n"
                                  "\n"
                                  "Makes one file that `moka run app.img` boots, on a machine without a JDK "
                                  "too. Options are those of moka run;\n"
                                  "-m, -c, -e, --env-file, -J, -w and --name become the image's defaults.\n";

static const char general_usage[] =
    "usage: moka run [OPTION]... app.jar [ARGUMENT]...    boot a JAR as a virtual machine\n"
    "       moka build [OPTION]... app.jar -o app.img     make an image to boot later\n"
    "       moka help [run|build]                         the options\n"
    "       moka --version\n";

void usage(const char *topic)
{
    const char *text = !topic                    ? general_usage
                       : !strcmp(topic, "run")   ? run_usage
                       : !strcmp(topic, "build") ? build_usage
                                                 : NULL;
    if (!text)
        die("there is no command '%s' (try: moka help)", topic);
    fputs(text, stdout);
}

static void *grow(void *array, size_t n, size_t size)
{
    void *p = realloc(array, (n + 1) * size);
    if (!p)
        die("out of memory");
    return p;
}

/* "HOST:GUEST[:ro]"; the guest's path is what follows the first ":/", so that host names may hold colons. */
static void add_volume(struct options *o, const char *arg)
{
    const char *colon = strstr(arg, ":/");
    if (!colon || colon == arg)
        die("-v %s: write HOSTDIR:/GUESTDIR or HOSTDIR:/GUESTDIR:ro", arg);
    struct volume v = {.host = path_host(fmt("%.*s", (int)(colon - arg), arg))};
    char *guest = xstrdup(colon + 1), *mode = strrchr(guest, ':');
    if (mode && (!strcmp(mode, ":ro") || !strcmp(mode, ":rw"))) {
        v.read_only = mode[2] == 'o';
        *mode = 0;
    }
    if (strchr(guest, ':'))
        die("-v %s: after the guest's directory only :ro or :rw may follow", arg);
    v.guest = path_absolute(guest);
    if (is_file(v.host))
        die("-v %s: %s is a file: a volume is a directory (--add copies a file into the image)", arg, v.host);
    if (!is_dir(v.host))
        die("-v %s: no such directory: %s", arg, v.host);
    o->volumes = grow(o->volumes, o->n_volumes, sizeof v);
    o->volumes[o->n_volumes++] = v;
}

static void add_addition(struct options *o, const char *arg)
{
    const char *colon = strstr(arg, ":/");
    if (!colon || colon == arg)
        die("--add %s: write HOSTPATH:/GUESTPATH", arg);
    struct addition a = {.host = path_host(fmt("%.*s", (int)(colon - arg), arg)),
                         .guest = path_absolute(colon + 1)};
    if (!is_dir(a.host) && !is_file(a.host))
        die("--add %s: no such file or directory: %s", arg, a.host);
    o->additions = grow(o->additions, o->n_additions, sizeof a);
    o->additions[o->n_additions++] = a;
}

static bool parse_port(const char *text, size_t len, unsigned *out)
{
    char copy[8] = "", *end;
    if (!len || len > 5 || strspn(text, "0123456789") < len)
        return false;
    memcpy(copy, text, len);
    *out = (unsigned)strtoul(copy, &end, 10);
    return *out >= 1 && *out <= 65535;
}

/* "[IP:]HOST:GUEST[/udp]"; without an address the host's port is open to the host alone. */
static void add_forward(struct options *o, const char *arg)
{
    struct forward f = {.host_ip = "127.0.0.1"};
    const char *slash = strchr(arg, '/'), *end = slash ? slash : arg + strlen(arg);
    const char *guest = memrchr(arg, ':', (size_t)(end - arg));
    const char *first = guest ? memrchr(arg, ':', (size_t)(guest - arg)) : NULL;
    const char *host = first ? first + 1 : arg;
    if (first) {
        f.host_ip = fmt("%.*s", (int)(first - arg), arg);
        if (!*f.host_ip || strspn(f.host_ip, "0123456789.") != strlen(f.host_ip))
            die("-p %s: the address before the ports is not an IPv4 address", arg);
    }
    f.udp = slash && !strcmp(slash, "/udp");
    if (!guest || !parse_port(host, (size_t)(guest - host), &f.host_port) ||
        !parse_port(guest + 1, (size_t)(end - guest - 1), &f.guest_port) ||
        (slash && !f.udp && strcmp(slash, "/tcp")))
        die("-p %s: write HOSTPORT:GUESTPORT or IP:HOSTPORT:GUESTPORT, with /udp behind it for UDP", arg);
    o->forwards = grow(o->forwards, o->n_forwards, sizeof f);
    o->forwards[o->n_forwards++] = f;
}

static void set_net(struct options *o, char *arg)
{
    bool tap = starts_with(arg, "tap:") && arg[4];
    if (strcmp(arg, "user") && strcmp(arg, "none") && !tap)
        die("--net %s: write user, none or tap:NAME", arg);
    o->net = arg;
}

static void set_ip(struct options *o, char *arg)
{
    netcheck_ip(arg);
    o->ip = arg;
}

static void add_env(struct options *o, const char *arg)
{
    const char *value;
    if (!*arg || *arg == '=')
        die("-e %s: write NAME=VALUE, or NAME to pass on the value it has here", arg);
    if (strchr(arg, '='))
        vec_add(&o->env, arg);
    else if ((value = getenv(arg)))
        vec_add(&o->env, fmt("%s=%s", arg, value));
}

static void add_env_file(struct options *o, const char *path)
{
    struct strvec lines = {0};
    wordfile_env(path, &lines);
    for (size_t i = 0; i < lines.n; i++)
        add_env(o, lines.v[i]);
}

static void set_memory(struct options *o, const char *arg)
{
    if (!parse_size(arg, &o->memory))
        die("-m %s: a size is a number with K, M or G, such as 512M", arg);
    if (o->memory < LEAST_MEMORY)
        die("-m %s is not enough memory to boot: at least %dM%s", arg, LEAST_MEMORY >> 20,
            isdigit((unsigned char)arg[strlen(arg) - 1]) ? " (a number alone is bytes)" : "");
}

static void set_cpus(struct options *o, const char *arg)
{
    char *end;
    long n = strtol(arg, &end, 10);
    if (*end || end == arg || n < 1 || n > MAX_CPUS)
        die("-c %s: a VM has 1 to %d CPUs", arg, MAX_CPUS);
    o->cpus = (unsigned)n;
}

static void set_idle_poll(struct options *o, const char *arg)
{
    size_t digits = strspn(arg, "0123456789");
    if (!digits || arg[digits] || digits > 7 || strtol(arg, NULL, 10) > MAX_IDLE_POLL)
        die("--idle-poll %s: a number of microseconds from 0 to %d", arg, MAX_IDLE_POLL);
    o->idle_poll = xstrdup(arg);
}

static void set_accel(struct options *o, const char *arg)
{
    if (!strcmp(arg, "auto"))
        o->accel = ACCEL_AUTO;
    else if (!strcmp(arg, "kvm"))
        o->accel = ACCEL_KVM;
    else if (!strcmp(arg, "tcg"))
        o->accel = ACCEL_TCG;
    else
        die("--accel %s: write auto, kvm or tcg", arg);
}

static void set_machine(struct options *o, char *arg)
{
    if (strcmp(arg, "microvm") && strcmp(arg, "q35"))
        die("--machine %s: write microvm or q35", arg);
    o->machine = arg;
}

static void set_name(struct options *o, char *arg)
{
    size_t n = strlen(arg);
    if (n < 1 || n > 63 ||
        strspn(arg, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") != n)
        die("--name %s: a name is 1 to 63 letters, digits, '-', '_' and '.'", arg);
    o->name = arg;
}

static void set_workdir(struct options *o, char *arg)
{
    if (*arg != '/')
        die("-w %s: a directory in the VM begins with /", arg);
    o->workdir = path_absolute(arg);
}

/* -J--add-modules=..., in one word or two, also says which modules the runtime must have. */
static void add_jvm_word(struct options *o, char *arg)
{
    static const char flag[] = "--add-modules=";
    if (!*arg)
        die("-J: the JVM option is empty");
    if (o->jvm.n && !strcmp(o->jvm.v[o->jvm.n - 1], "--add-modules"))
        vec_split(&o->modules, arg, ',');
    vec_add(&o->jvm, arg);
    if (starts_with(arg, flag))
        vec_split(&o->modules, arg + sizeof flag - 1, ',');
    if (starts_with(arg, "-javaagent:"))
        vec_add(&o->modules, "java.instrument");
    if (starts_with(arg, "-XX:StartFlightRecording"))
        vec_add(&o->modules, "jdk.jfr");
    if (starts_with(arg, "-Dcom.sun.management."))
        vec_add(&o->modules, "jdk.management.agent");
    if (starts_with(arg, "-agentlib:jdwp"))
        vec_add(&o->modules, "jdk.jdwp.agent");
}

static void add_jvm(struct options *o, char *arg)
{
    struct strvec words = {0};
    if (*arg == '@')
        wordfile_arguments(arg + 1, &words);
    else
        vec_add(&words, arg);
    for (size_t i = 0; i < words.n; i++)
        add_jvm_word(o, words.v[i]);
}

static void take_text(struct options *o, int c, char *arg)
{
    switch (c) {
    case 'o':
        o->output = arg;
        break;
    case 'w':
        set_workdir(o, arg);
        break;
    case OPT_JDK:
        o->jdk = arg;
        break;
    case OPT_MAIN:
        o->main = arg;
        break;
    case OPT_CLASSPATH:
        o->classpath = arg;
        break;
    case OPT_NAME:
        set_name(o, arg);
        break;
    case OPT_MACHINE:
        set_machine(o, arg);
        break;
    case OPT_KERNEL:
        o->kernel = arg;
        break;
    case OPT_MODULES:
        vec_split(&o->modules, arg, ',');
        break;
    case OPT_EXEC:
        o->exec = arg;
        break;
    }
}

static void take(struct options *o, int c, char *arg)
{
    switch (c) {
    case 'm':
        set_memory(o, arg);
        break;
    case 'c':
        set_cpus(o, arg);
        break;
    case 'v':
        add_volume(o, arg);
        break;
    case 'p':
        add_forward(o, arg);
        break;
    case 'e':
        add_env(o, arg);
        break;
    case OPT_ENV_FILE:
        add_env_file(o, arg);
        break;
    case OPT_NET:
        set_net(o, arg);
        break;
    case OPT_IP:
        set_ip(o, arg);
        break;
    case 'J':
        add_jvm(o, arg);
        break;
    case OPT_ADD:
        add_addition(o, arg);
        break;
    case OPT_ACCEL:
        set_accel(o, arg);
        break;
    case OPT_IDLE_POLL:
        set_idle_poll(o, arg);
        break;
    case OPT_STRACE:
        o->strace = true;
        break;
    case OPT_GDB:
        o->gdb = true;
        break;
    case OPT_DRY_RUN:
        o->dry_run = true;
        break;
    case OPT_VERBOSE:
        verbose = true;
        break;
    case OPT_NO_REWRITE:
        o->no_rewrite = true;
        break;
    default:
        take_text(o, c, arg);
    }
}

static const char *command_name(const struct options *o)
{
    return o->command == CMD_RUN ? "run" : "build";
}

/* Dies if the next word is an option of another command, and says what it is here. */
static void check_habit(char **argv)
{
    char *word = argv[optind], *hint = word ? habit_hint(word, argv[optind + 1]) : NULL;
    if (hint)
        die("%s", hint);
}

/* Takes options up to the first other word. */
static void take_options(struct options *o, int argc, char **argv)
{
    int c;
    opterr = 0;
    while (!o->exec) {
        check_habit(argv);
        if ((c = getopt_long(argc, argv, "+:m:c:v:p:e:J:w:o:h", long_options, NULL)) == -1)
            return;
        const char *word = argv[optind - 1];
        if (c == 'h') {
            usage(command_name(o));
            exit(0);
        }
        if (c == ':')
            die("%s needs a value (try: moka help %s)", word, command_name(o));
        if (c == '?' && optopt && optopt < 256)
            die("unknown option -%c (try: moka help %s)", optopt, command_name(o));
        if (c == '?')
            die("unknown or ambiguous option %s (try: moka help %s)", word, command_name(o));
        take(o, c, optarg);
    }
}

static void require(bool ok, const struct options *o, const char *what)
{
    if (!ok)
        die("%s (try: moka help %s)", what, command_name(o));
}

static void check(const struct options *o)
{
    bool class_path_alone = o->main && o->classpath;
    require(o->app || o->exec || class_path_alone, o,
            o->command == CMD_RUN ? "which JAR?" : "which JAR is to be built?");
    require(!o->exec || !(o->main || o->classpath || o->jdk || o->jvm.n), o,
            "--exec starts a program without Java: --main, --classpath, --jdk and -J do not go with it");
    require(!o->n_forwards || !o->net || !strcmp(o->net, "user"), o, "-p goes with --net user only");
    require(!o->ip || !o->net || strcmp(o->net, "none"), o, "--ip needs a network");
    if (o->command == CMD_BUILD) {
        require(!o->n_forwards && !o->net && !o->ip, o,
                "the network is given when the image is run, not when it is built");
        require(o->output, o, "where does the image go? Add -o FILE");
        require(!o->n_volumes, o, "volumes are given when the image is run, not when it is built");
        require(!o->dry_run && !o->gdb && !o->strace && !o->idle_poll, o,
                "--dry-run, --gdb, --strace and --idle-poll are for moka run");
    } else {
        require(!o->output, o, "-o is for moka build");
    }
}

/* A "--" ends the options. Where main class and class path are both given it means that no JAR follows. */
static bool ended_by_dashes(char **argv, int start)
{
    return optind > start && !strcmp(argv[optind - 1], "--");
}

void options_parse(struct options *o, enum command command, int argc, char **argv)
{
    memset(o, 0, sizeof *o);
    o->command = command;
    optind = 2;
    take_options(o, argc, argv);
    bool no_jar = o->main && o->classpath && ended_by_dashes(argv, 2);
    if (!o->exec && !no_jar && optind < argc) {
        o->app = argv[optind++];
        if (command == CMD_BUILD) {
            take_options(o, argc, argv); /* moka build app.jar -o app.img */
            require(!o->exec, o, "either a JAR or --exec, not both");
            if (optind < argc)
                die("unexpected '%s': arguments are given when the image is run", argv[optind]);
        }
    }
    for (; optind < argc; optind++)
        vec_add(&o->args, argv[optind]);
    check(o);
}
