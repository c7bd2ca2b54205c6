/* Model-specific registers by number (Intel SDM 4; AMD APM 2, appendix A). */
#ifndef MOKA_ARCH_MSR_H
#define MOKA_ARCH_MSR_H

#define MSR_APIC_BASE    0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC       0x800 /* + register offset / 16 */
#define MSR_EFER         0xc0000080
#define MSR_STAR         0xc0000081
#define MSR_LSTAR        0xc0000082
#define MSR_FMASK        0xc0000084
#define MSR_FS_BASE      0xc0000100
#define MSR_GS_BASE      0xc0000101
#define MSR_TSC_AUX      0xc0000103

#endif
