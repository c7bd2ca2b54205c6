/* The network as the rest of the kernel sees it: one call at boot. Sockets: net/socket.h. */
#ifndef MOKA_NET_NET_H
#define MOKA_NET_NET_H

/*
 * Starts the stack: loopback, the first network device if there is one (DHCP runs on in the background, or
 * the address of the `ip=` option), the AF_INET and AF_INET6 families, the files under /proc/net. After
 * virtio_init and vfs_mount_root; threads; once.
 */
void net_init(void);

#endif
