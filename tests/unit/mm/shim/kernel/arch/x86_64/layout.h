/* The address space of the host tests: HOST_BASE is where fake physical memory is mapped, above the program.
 */
#ifndef MOKA_ARCH_LAYOUT_H
#define MOKA_ARCH_LAYOUT_H

#define PROGRAM_START  0x0000000000010000UL
#define PROGRAM_END    HOST_PROGRAM_END
#define DIRECT_MAP     HOST_BASE
#define DIRECT_MAP_END (HOST_BASE + 0x1000000000UL)
#define KSTACK_START   (HOST_BASE + 0x1000000000UL)
#define KSTACK_END     (HOST_BASE + 0x1100000000UL)
#define FRAME_TABLE    (HOST_BASE + 0x1100000000UL)
#define KERNEL_BASE    0UL

#endif
