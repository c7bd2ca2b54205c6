/*
 * What can be known of the network before QEMU starts, which would say it in its own words: each failure is
 * one line that says what to do, and ends the command.
 */
#ifndef JAVA_LAUNCHER_HOST_NETCHECK_H
#define JAVA_LAUNCHER_HOST_NETCHECK_H

#include "java-launcher/host/options.h"

#include <netinet/in.h>

/* Of --ip; in network order, 0: not given. */
struct fixed_address {
    in_addr_t address, mask, gateway, resolver;
    unsigned prefix; /* bits, 1 to 32 */
};
/* Ends the command when text is not ADDRESS/PREFIX[,GATEWAY[,NAMESERVER]] with IPv4 addresses, the first one
 * a machine's, the gateway another one in the same network. */
struct fixed_address netcheck_ip(const char *text);
/* The ports to be published are free, the tap device is there. */
void netcheck_host(const struct options *o);

#endif
