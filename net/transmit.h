/*
 * Frames on their way to the device; private to net/.
 *
 * While the core is held frames are handed to the driver without telling the device; transmit_flush(), when
 * the core is left, tells it once. Bytes are not copied again: a frame refers to lwIP's own buffers until the
 * device has read them (small frames are copied, that is cheaper). Where the device can, it completes
 * checksums, and segments of one connection that follow one another leave as one large frame, which it cuts
 * again (TSO).
 *
 * A buffer that the device still has is busy for lwIP: it will not send the segment again before
 * transmit_reclaim() has found it read. So that runs before whatever may send again: timers and received
 * frames.
 *
 * All with the core held.
 */
#ifndef MOKA_NET_TRANSMIT_H
#define MOKA_NET_TRANSMIT_H

#include "lwip/netif.h"
#include "virtio/net.h"

/* Sends through dev's first queue; tells lwIP which checksums are left to it. Once. */
void transmit_init(struct net_device *dev, struct netif *netif);
/* netif->linkoutput: p is a frame with its Ethernet header. ERR_MEM: no room. */
err_t transmit_frame(struct netif *netif, struct pbuf *p);
void transmit_flush(void);
void transmit_reclaim(void);
/* netif's checksum flags but for `received`, what received frames need not be checked for. */
void transmit_checksums(struct netif *netif, bool received_checked);
struct seq;
void transmit_show(struct seq *s); /* for /proc/net/moka */

#endif
