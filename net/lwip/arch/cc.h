/* What lwIP asks of a compiler and a platform (its src/include/lwip/arch.h). */
#ifndef MOKA_NET_LWIP_CC_H
#define MOKA_NET_LWIP_CC_H

#include "kernel/base/panic.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"
#include "kernel/base/types.h"

#define LWIP_NO_STDDEF_H   0
#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_LIMITS_H   0
#define LWIP_NO_CTYPE_H    1
#define LWIP_NO_UNISTD_H   1
#define LWIP_ERRNO_INCLUDE "kernel/base/errno.h"
#define SSIZE_MAX          0x7fffffffffffffffL

#define X8_F  "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "zu"

#define BYTE_ORDER LITTLE_ENDIAN
/* One instruction each, where lwIP would call a function. */
#define lwip_htons(x) __builtin_bswap16(x)
#define lwip_htonl(x) __builtin_bswap32(x)

#define LWIP_PLATFORM_DIAG(args)   log_debug args
#define LWIP_PLATFORM_ASSERT(text) panic("lwIP: %s", text)

/* A third of the work of receiving where the device does not check: lwIP's own adds two bytes at a time. */
#include "net/checksum.h"
#define LWIP_CHKSUM net_checksum

/* mem.c's allocator: the kernel heap. */
#include "mm/phys/phys.h"
#define mem_clib_malloc          kmalloc_raw
#define mem_clib_free            kfree
#define mem_clib_calloc(n, size) kmalloc((n) * (size))

#endif
