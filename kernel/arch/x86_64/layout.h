/*
 * The one address space.
 *
 *   0000000000000000 - 000000000000ffff  never mapped: implicit null checks
 *   0000000000010000 - 00007fffffffefff  the program
 *   ffff800000000000 - ffffbfffffffffff  direct map of physical memory
 *   ffffc00000000000 - ffffc0ffffffffff  kernel stacks, each between guard pages (kstack_alloc)
 *   ffffc10000000000 - ffffc1ffffffffff  device memory (mmio_map)
 *   ffffd00000000000 - ffffd0ffffffffff  the frame table: struct page of every frame
 *   ffffffff80000000 - ffffffff9fffffff  kernel image, linked at + its physical address
 *   ffffffffe0000000 - ffffffffe07fffff  the descriptor table (kernel/linux/fd.h)
 *   fffffffff0000000 - fffffffff0000fff  table of system-call entries for rewritten programs
 */
#ifndef MOKA_ARCH_LAYOUT_H
#define MOKA_ARCH_LAYOUT_H

#define PROGRAM_START  0x0000000000010000UL
#define PROGRAM_END    0x00007ffffffff000UL
#define DIRECT_MAP     0xffff800000000000UL
#define DIRECT_MAP_END 0xffffc00000000000UL
#define KSTACK_START   0xffffc00000000000UL
#define KSTACK_END     0xffffc10000000000UL
#define MMIO_START     0xffffc10000000000UL
#define MMIO_END       0xffffc20000000000UL
#define FRAME_TABLE    0xffffd00000000000UL
#define KERNEL_BASE    0xffffffff80000000UL
#define FD_TABLE       0xffffffffe0000000UL /* in the reach of a sign-extended displacement, as is all here */
#define SYSCALL_TABLE  0xfffffffff0000000UL

#endif
