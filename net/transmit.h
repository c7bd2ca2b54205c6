/*
 * Frames on their way to the device; private to net/.
 *
 * While the core is held frames are handed to the driver without telling the device; transmit_flush(), when
 * the core is left, tells it once. Bytes are not copied again: a frame refers to lwIP's own buffers until the
 * device has read them (small frames are copied, that is cheaper). Where the device can, it completes
 * checksums, and segments of one connection that follow one another leave as one large frame, which it cuts
 * again (TSO).
 *
 * Where the device has several queues a flow keeps one while it is busy, so its frames stay in order: a TCP
 * connection, or all other packets between two addresses. After a pause it goes to the queue of the CPU that
 * sends then, and the host, which sends a flow where it last came from (Linux: tun), follows: frames are
 * received on the CPU whose thread answers them.
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

#define TRANSMIT_SHORT 256u /* bytes of a frame that are cheaper to copy than to refer to */

/* Sends through dev; tells lwIP which checksums are left to it. Once. */
void transmit_init(struct net_device *dev, struct netif *netif);
/* netif->linkoutput: p is a frame with its Ethernet header. ERR_MEM: too many are under way. */
err_t transmit_frame(struct netif *netif, struct pbuf *p);
/* Frames that transmit_frame() takes are not sent from now on, or are again. */
void transmit_mute(bool on);
/* Sends a packet, now: in one piece, unless it is TRANSMIT_SHORT. Its checksum is `checksum` bytes
 * behind the beginning of UDP's or TCP's header, which is at `transport`; the pseudo-header's sum stands
 * there: the rest is added here, or by the device. */
err_t transmit_packet(struct pbuf *p, u32 transport, u32 checksum, u64 now_ns);
/* A queue that was full has room: what waited for it goes. */
void transmit_room(u32 queue);
/* Tells the device of all that was handed to it; seldom anything: this is called whenever the core is left.
 */
extern u32 transmit_untold; /* transmit.c's: not 0 when there is something to tell */
void transmit_tell(void);
static inline void transmit_flush(void)
{
    if (transmit_untold)
        transmit_tell();
}
void transmit_reclaim(void);
/* netif's checksum flags but for `received`, what received frames need not be checked for. */
void transmit_checksums(struct netif *netif, bool received_checked);
struct seq;
void transmit_show(struct seq *s); /* for /proc/net/moka */

#endif
