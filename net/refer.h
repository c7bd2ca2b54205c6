/*
 * Bytes that TCP sends where they lie (sendfile); private to net/.
 *
 * A segment's pbufs then refer to pages, mostly of the page cache, each with a reference of its own: such a
 * page is neither reclaimed nor reused before the peer has acknowledged its bytes and the device has read the
 * last frame with them, or the connection is gone. It is not frozen: who writes to it meanwhile changes what
 * is sent, as with Linux. A truncated file's page lives on.
 */
#ifndef MOKA_NET_REFER_H
#define MOKA_NET_REFER_H

#include "net/inet.h"

#define REFER_MIN 1024u /* bytes at a time; fewer are cheaper to copy */

/* Queues the next len bytes of it, whose buffers are pages (iov_iter.pages), for pcb to send, and advances.
 * flags: 0 or TCP_WRITE_FLAG_MORE. As tcp_write(): on errors nothing happened. core held. */
err_t refer_write(struct tcp_pcb *pcb, struct iov_iter *it, u16 len, u8 flags);
/* Is p such a piece of a page? */
bool refer_is(const struct pbuf *p);
void refer_show(struct seq *s); /* for /proc/net/moka */

#endif
