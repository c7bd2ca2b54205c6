/* The kernel's windows, where a host program may have them. See kernel_side.c. */
#ifndef MOKA_ARCH_LAYOUT_H
#define MOKA_ARCH_LAYOUT_H

#define PROGRAM_START  0x0000000000010000UL
#define PROGRAM_END    0x00007ffffffff000UL
#define DIRECT_MAP     0x0000200000000000UL
#define DIRECT_MAP_END 0x0000200040000000UL
#define FRAME_TABLE    0x0000300000000000UL

#endif
