/* What the host's kernel says of a tap device (rtnetlink(7): also where /sys shows another network
 * namespace). */
#ifndef JAVA_LAUNCHER_HOST_TAP_H
#define JAVA_LAUNCHER_HOST_TAP_H

#include <stdbool.h>

/* Made with `multi_queue`: whoever opens it must say so, and may open it several times, once a queue. False
 * also for what is no tap device, or not there. */
bool tap_multi_queue(const char *name);

struct tap_link {
    unsigned char mac[6]; /* the VM's, on the other side of the device: its own for each device, and lasting
                             as long as that */
    unsigned mtu;         /* bytes */
};
/* False: there is no such device. */
bool tap_link(const char *name, struct tap_link *out);

#endif
