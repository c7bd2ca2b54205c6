#include "java-launcher/host/qemu.h"
#include "java-launcher/host/cmdline.h"
#include "java-launcher/host/hostcpus.h"
#include "java-launcher/host/install.h"
#include "java-launcher/host/netcheck.h"
#include "java-launcher/host/tap.h"
#include "java-launcher/host/zone.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char qemu_program[] = "qemu-system-x86_64";

enum {
    DEFAULT_MEMORY_MIB = 1024,
    DEFAULT_CPUS_MAX = 4,
    DEFAULT_UMASK = 022, /* the kernel's */
    MICROVM_SLOTS = 8,   /* virtio-mmio transports of a microvm without ACPI */
    FIXED_DEVICES = 3,   /* blk, serial, rng */
    NET_QUEUES_MAX = 16, /* pairs that the kernel's driver uses */
    DEFAULT_MTU = 1500,
    USER_PREFIX_MAX = 28, /* QEMU's network needs some addresses */
};

void vm_require_qemu(void)
{
    if (!find_program(qemu_program))
        die("%s is not installed (Debian: apt-get install qemu-system-x86)", qemu_program);
}

/* ---- the kernel's command line ---- */

/* Sets NAME=VALUE where NAME was already, else at the end. */
static void env_set(struct strvec *env, const char *assignment)
{
    size_t name = strcspn(assignment, "=") + 1;
    for (size_t i = 0; i < env->n; i++) {
        if (!strncmp(env->v[i], assignment, name)) {
            env->v[i] = (char *)assignment;
            return;
        }
    }
    vec_add(env, assignment);
}

static void environment(const struct vm *vm, struct strvec *env)
{
    char *zone = zone_name();
    env_set(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    env_set(env, "HOME=/root");
    if (zone)
        env_set(env, fmt("TZ=%s", zone));
    for (size_t i = 0; i < vm->im->env.n; i++)
        env_set(env, vm->im->env.v[i]);
    for (size_t i = 0; i < vm->o->env.n; i++)
        env_set(env, vm->o->env.v[i]);
}

static void add_options(const struct vm *vm, struct buf *line)
{
    const char *workdir = vm->o->workdir ? vm->o->workdir : vm->im->workdir;
    const char *name = vm->o->name ? vm->o->name : vm->im->name;
    if (verbose)
        cmdline_add(line, "verbose");
    if (vm->o->strace)
        cmdline_add(line, "strace");
    if (vm->o->idle_poll)
        cmdline_add(line, fmt("idle-poll=%s", vm->o->idle_poll));
    for (size_t i = 0; i < vm->o->n_volumes; i++)
        cmdline_add(line, fmt("volume=v%zu:%s%s", i, vm->o->volumes[i].guest,
                              vm->o->volumes[i].read_only ? ":ro" : ""));
    if (workdir)
        cmdline_add(line, fmt("cwd=%s", workdir));
    if (vm->o->umask != DEFAULT_UMASK)
        cmdline_add(line, fmt("umask=%03o", vm->o->umask));
    if (name)
        cmdline_add(line, fmt("hostname=%s", name));
    if (vm->o->ip)
        cmdline_add(line, fmt("ip=%s", vm->o->ip));
    if (vm->no_stdin)
        cmdline_add(line, "stdin=null");
}

static void add_program(const struct vm *vm, struct buf *line)
{
    struct strvec env = {0};
    const struct strvec *jvm[] = {&vm->im->jvm, &vm->o->jvm};
    const struct strvec *args = vm->o->args.n || vm->o->exec ? &vm->o->args : &vm->im->args;
    environment(vm, &env);
    for (size_t i = 0; i < env.n; i++)
        cmdline_add(line, fmt("env=%s", env.v[i]));
    cmdline_add(line, "--");
    cmdline_add(line, vm->im->program);
    for (int k = 0; k < 2 && vm->im->java; k++)
        for (size_t i = 0; i < jvm[k]->n; i++)
            cmdline_add(line, fmt("-J%s", jvm[k]->v[i]));
    if (vm->im->java)
        cmdline_add(line, "--");
    for (size_t i = 0; i < args->n; i++)
        cmdline_add(line, args->v[i]);
}

struct buf vm_words(const struct vm *vm)
{
    struct buf words = {0};
    add_program(vm, &words);
    if (words.n > MODULE_MAX)
        die("arguments and environment are too long: %zu bytes, at most %d", words.n, MODULE_MAX);
    return words;
}

/* With the program behind the options, or without. */
static char *kernel_line(const struct vm *vm, bool microvm, bool with_program)
{
    struct buf line = {0};
    size_t most = microvm ? CMDLINE_MAX : CMDLINE_MAX_PC;
    buf_puts(&line, "");
    add_options(vm, &line);
    if (with_program)
        add_program(vm, &line);
    if (line.n > most)
        die("the kernel's command line is too long for a %s: %zu bytes, at most %zu%s",
            microvm ? "microvm" : "q35 machine", line.n, most,
            with_program ? " with --dry-run, which puts arguments and environment there" : "");
    return line.p;
}

/* ---- QEMU's ---- */

static bool opens(const char *device)
{
    int fd = open(device, O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* KVM is chosen by the CPU's flag: a /dev/kvm may exist and only emulate, far slower than QEMU itself. */
static bool kvm_usable(void)
{
    struct buf text = {0};
    if (read_whole("/proc/cpuinfo", &text) < 0 || !text.n)
        return false;
    bool flag = strstr(text.p, " vmx") || strstr(text.p, " svm");
    free(text.p);
    return flag && opens("/dev/kvm");
}

static bool use_kvm(const struct options *o)
{
    bool usable = o->accel != ACCEL_TCG && kvm_usable();
    if (o->accel == ACCEL_KVM && !usable)
        die("--accel kvm: this machine has no usable KVM (CPU flag vmx or svm, and access to /dev/kvm)");
    return usable;
}

/* QEMU's options separate values by commas; a comma inside one is written twice. */
static char *comma_quoted(const char *s)
{
    struct buf b = {0};
    buf_puts(&b, "");
    for (; *s; s++)
        buf_puts(&b, *s == ',' ? ",," : (char[]){*s, 0});
    return b.p;
}

static void add_pair(struct strvec *argv, const char *option, const char *value)
{
    vec_add(argv, option);
    vec_add(argv, value);
}

static unsigned default_cpus(void)
{
    unsigned n = host_cpus();
    return n > DEFAULT_CPUS_MAX ? DEFAULT_CPUS_MAX : n;
}

static unsigned cpus_of(const struct vm *vm)
{
    unsigned cpus = vm->o->cpus ? vm->o->cpus : vm->im->cpus;
    return cpus ? cpus : default_cpus();
}

static void add_machine(const struct vm *vm, bool microvm, const struct vm_fds *fds, struct strvec *argv)
{
    const struct options *o = vm->o;
    const char *kernel = o->kernel ? o->kernel : install_file("moka-kernel"),
               *name = o->name ? o->name : vm->im->name;
    uint64_t memory = o->memory ? o->memory : vm->im->memory;
    bool kvm = use_kvm(o);
    if (!is_file(kernel))
        die("no such kernel: %s", kernel);
    /* Without ACPI QEMU puts the devices on the kernel's command line; option ROMs would only cost time. */
    add_pair(argv, "-M", microvm ? "microvm,acpi=off,x-option-roms=off,isa-serial=on" : "q35");
    add_pair(argv, "-accel", kvm ? "kvm" : "tcg,thread=multi");
    add_pair(argv, "-cpu", kvm ? "host" : "max");
    add_pair(argv, "-m", memory ? fmt("%" PRIu64 "k", memory >> 10) : fmt("%dM", DEFAULT_MEMORY_MIB));
    add_pair(argv, "-smp", fmt("%u", cpus_of(vm)));
    vec_add(argv, "-nodefaults");
    vec_add(argv, "-no-user-config");
    vec_add(argv, "-no-reboot");
    add_pair(argv, "-display", "none");
    if (microvm)
        add_pair(argv, "-global", "virtio-mmio.force-legacy=false");
    if (name)
        add_pair(argv, "-name", comma_quoted(name));
    if (o->gdb) {
        add_pair(argv, "-gdb", "tcp:127.0.0.1:1234");
        vec_add(argv, "-S");
    }
    add_pair(argv, "-kernel", kernel);
    add_pair(argv, "-append", kernel_line(vm, microvm, !fds));
    if (fds)
        add_pair(argv, "-initrd", fmt("/proc/self/fd/%d", fds->words));
}

/* The network the VM is on, or NULL for none. */
static const char *network(const struct options *o)
{
    const char *net = o->net ? o->net : o->n_forwards || o->ip ? "user" : "none";
    return strcmp(net, "none") ? net : NULL;
}

/*
 * A tap device with several queues: one for each CPU, and for a single CPU two all the same, because QEMU
 * opens such a device only as one with several (the VM then uses one). 0: it has but one.
 */
static unsigned tap_queues(const struct vm *vm, const char *net)
{
    unsigned cpus = cpus_of(vm);
    if (!starts_with(net, "tap:") || !tap_multi_queue(net + 4))
        return 0;
    return cpus < 2 ? 2 : cpus > NET_QUEUES_MAX ? NET_QUEUES_MAX : cpus;
}

static void add_net_device(const char *net, const char *bus, unsigned queues, struct strvec *argv)
{
    struct buf b = {0};
    struct tap_link link;
    buf_printf(&b, "virtio-net-%s,netdev=net", bus);
    if (starts_with(net, "tap:") && tap_link(net + 4, &link)) {
        const unsigned char *m = link.mac;
        buf_printf(&b, ",mac=%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
        if (link.mtu != DEFAULT_MTU)
            buf_printf(&b, ",host_mtu=%u", link.mtu);
    }
    if (queues)
        buf_puts(&b, ",mq=on");
    if (queues && !strcmp(bus, "pci"))
        buf_printf(&b, ",vectors=%u",
                   2 * queues + 2); /* each queue's, the control queue's, the device's own */
    add_pair(argv, "-device", b.p);
}

static const char *dotted(in_addr_t address, char text[INET_ADDRSTRLEN])
{
    return inet_ntop(AF_INET, &(struct in_addr){address}, text, INET_ADDRSTRLEN);
}

/* The first address of the network, from number `from` on, that is neither of these. */
static in_addr_t another(const struct fixed_address *ip, unsigned from, in_addr_t taken)
{
    in_addr_t a = 0;
    do
        a = (ip->address & ip->mask) | htonl(from++);
    while (a == ip->address || a == taken);
    return a;
}

/* QEMU's own network, for a VM whose address is given: there, the host is the gateway (or .2), and a name
 * server that is neither is QEMU's (or .3). */
static void add_user_network(const struct fixed_address *ip, struct buf *b)
{
    char text[INET_ADDRSTRLEN];
    in_addr_t host = ip->gateway ? ip->gateway : another(ip, 2, 0), server = ip->resolver;
    if (!server || (server ^ ip->address) & ip->mask || server == host || server == ip->address)
        server = another(ip, 3, host);
    buf_printf(b, ",net=%s/%u", dotted(ip->address & ip->mask, text), ip->prefix);
    buf_printf(b, ",host=%s", dotted(host, text));
    buf_printf(b, ",dns=%s", dotted(server, text));
}

static void add_user(const struct options *o, struct buf *b)
{
    char guest[INET_ADDRSTRLEN] = "";
    buf_puts(b, "user,id=net");
    if (o->ip) {
        struct fixed_address ip = netcheck_ip(o->ip);
        if (ip.prefix > USER_PREFIX_MAX)
            die("--ip %s: with --net user, a network of at least 16 addresses: /%d or less", o->ip,
                USER_PREFIX_MAX);
        dotted(ip.address, guest);
        add_user_network(&ip, b);
    }
    for (size_t i = 0; i < o->n_forwards; i++) {
        const struct forward *f = &o->forwards[i];
        buf_printf(b, ",hostfwd=%s:%s:%u-%s:%u", f->udp ? "udp" : "tcp", f->host_ip, f->host_port, guest,
                   f->guest_port);
    }
}

static void add_network(const struct vm *vm, const char *bus, struct strvec *argv)
{
    const struct options *o = vm->o;
    struct buf b = {0};
    const char *net = network(o);
    if (!net)
        return;
    unsigned queues = tap_queues(vm, net);
    if (starts_with(net, "tap:")) {
        buf_printf(&b, "tap,id=net,ifname=%s,script=no,downscript=no", comma_quoted(net + 4));
        if (queues)
            buf_printf(&b, ",queues=%u", queues);
        /* Frames go from one kernel to the other, without QEMU between them; which KVM alone makes quick. */
        if (use_kvm(o) && opens("/dev/vhost-net"))
            buf_puts(&b, ",vhost=on");
    } else {
        add_user(o, &b);
    }
    add_pair(argv, "-netdev", b.p);
    add_net_device(net, bus, queues, argv);
}

static const char *const stream_names[STREAMS] = {"stdin", "stdout", "stderr", "control", "serial"};

static void add_streams(const int *fds, const char *bus, struct strvec *argv)
{
    /* `file` chardevs truncate what they open unless told to append. */
    static const char *const own[STREAMS] = {"stdio,id=stdin,signal=on",
                                             "file,id=stdout,path=/dev/stdout,append=on",
                                             "file,id=stderr,path=/dev/stderr,append=on", "null,id=control",
                                             "file,id=serial,path=/dev/stderr,append=on"};
    add_pair(argv, "-device", fmt("virtio-serial-%s", bus));
    for (int i = 0; i < STREAMS; i++) {
        add_pair(argv, "-chardev", fds ? fmt("socket,id=%s,fd=%d", stream_names[i], fds[i]) : own[i]);
        if (i != STREAM_SERIAL)
            add_pair(
                argv, "-device",
                fmt("virtserialport,chardev=%s,nr=%d,name=moka.%s", stream_names[i], i + 1, stream_names[i]));
    }
    add_pair(argv, "-serial", "chardev:serial");
}

static void add_volumes(const struct options *o, const char *bus, struct strvec *argv)
{
    for (size_t i = 0; i < o->n_volumes; i++) {
        const struct volume *v = &o->volumes[i];
        add_pair(argv, "-fsdev",
                 fmt("local,id=v%zu,path=%s,security_model=none,multidevs=remap%s", i, comma_quoted(v->host),
                     v->read_only ? ",readonly=on" : ""));
        add_pair(argv, "-device", fmt("virtio-9p-%s,fsdev=v%zu,mount_tag=v%zu", bus, i, i));
    }
}

void vm_qemu(const struct vm *vm, const struct vm_fds *fds, struct strvec *argv)
{
    const struct options *o = vm->o;
    size_t devices = o->n_volumes + FIXED_DEVICES + (network(o) != NULL);
    bool fits = devices <= MICROVM_SLOTS;
    bool microvm = o->machine ? !strcmp(o->machine, "microvm") : fits;
    const char *bus = microvm ? "device" : "pci";
    if (microvm && !fits)
        die("a microvm has room for %d volumes: use --machine q35",
            MICROVM_SLOTS - FIXED_DEVICES - (network(o) != NULL));
    vec_add(argv, qemu_program);
    add_machine(vm, microvm, fds, argv);
    add_pair(argv, "-drive",
             fmt("id=root,if=none,format=raw,readonly=on,file=%s", comma_quoted(vm->im->path)));
    add_pair(argv, "-device", fmt("virtio-blk-%s,drive=root", bus));
    add_streams(fds ? fds->streams : NULL, bus, argv);
    add_pair(argv, "-device", fmt("virtio-rng-%s", bus));
    add_network(vm, bus, argv);
    add_volumes(o, bus, argv);
}
