/* The boot order, and nothing else. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/cmdline.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/fs/vfs.h"
#include "kernel/linux/linux.h"
#include "mm/phys/phys.h"
#include "mm/vm/vm.h"
#include "net/net.h"
#include "sched/thread.h"
#include "sched/timer.h"
#include "virtio/pci_bus.h"
#include "virtio/virtio.h"

/* A program that writes to a volume must not write to memory instead. */
static void mount_volumes(void)
{
    for (u32 i = 0; i < cmdline.volume_count; i++)
        if (vfs_mount_volume(cmdline.volumes[i]))
            shutdown(70);
}

/* Called by arch on the boot CPU's first stack, interrupts off. */
_Noreturn void kernel_main(void)
{
    arch_early_init(); /* CPU tables, serial port, boot_info */
    phys_init();       /* frames, direct map, kernel heap */
    cmdline.idle_poll_us = SCHED_IDLE_POLL_NS / NSEC_PER_USEC;
    if (cmdline_parse(boot_info.cmdline, phys_to_virt(boot_info.words), boot_info.words_len, kmalloc))
        shutdown(70);
    log_verbose = cmdline.verbose;
    sched_idle_poll_ns = cmdline.idle_poll_us * NSEC_PER_USEC;
    sched_init(); /* this context becomes the first thread */
    vm_init();
    arch_init(); /* interrupt controllers, clocks; interrupts on */
    pci_init();  /* before other CPUs run: see there */
    smp_start();
    vm_cpus_started();
    timer_init_workers();
    virtio_init();
    vfs_init();
    if (vfs_mount_root())
        shutdown(70);
    vfs_prefetch(); /* in the background: the files a start needs */
    linux_init();
    net_init(); /* loopback, the network device; DHCP goes on in the background */
    mount_volumes();
    if (linux_start())
        shutdown(127);
    thread_exit();
}
