/* The Internet checksum (RFC 1071): what the device does not compute for us. */
#ifndef MOKA_NET_CHECKSUM_H
#define MOKA_NET_CHECKSUM_H

#include "kernel/base/types.h"

/* Ones' complement sum, not inverted, of len bytes at any address, as 16-bit words in memory's own order. Any
 * context. */
u16 net_checksum(const void *data, int len);

#endif
