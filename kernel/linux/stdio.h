/* Descriptors 0, 1 and 2: files on the console ports, or on the serial port when there is no console device.
 */
#ifndef MOKA_LINUX_STDIO_H
#define MOKA_LINUX_STDIO_H

/* Opens the three descriptors. 0, -ENOMEM. */
int stdio_open(void);

#endif
