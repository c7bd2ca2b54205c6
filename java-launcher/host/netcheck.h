/*
 * What can be known of the network before QEMU starts, which would say it in its own words: each failure is
 * one line that says what to do, and ends the command.
 */
#ifndef JAVA_LAUNCHER_HOST_NETCHECK_H
#define JAVA_LAUNCHER_HOST_NETCHECK_H

#include "java-launcher/host/options.h"

/* Ends the command when text is not ADDRESS/PREFIX[,GATEWAY[,NAMESERVER]] with IPv4 addresses. */
void netcheck_ip(const char *text);
/* The ports to be published are free, the tap device is there. */
void netcheck_host(const struct options *o);

#endif
