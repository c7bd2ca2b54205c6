/*
 * Formatted output: into memory, and as kernel messages on the serial port.
 * Conversions: d i u x X o c s p %, flags 0 - + # and space, width and precision (also *), lengths hh h l ll
 * z t j. There is no floating point.
 */
#ifndef MOKA_BASE_PRINTF_H
#define MOKA_BASE_PRINTF_H

#include <stdarg.h>

#include "kernel/base/types.h"

/* As C's snprintf: always terminates when size > 0, returns the length the whole text would have. */
int snprintf(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

/*
 * Kernel messages. Any context, any lock, interrupts on or off; never sleeps; a message is at most 512 bytes
 * and is written whole. log_info and log_debug print only under the `verbose` option.
 */
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Writes len bytes as they are (strace lines, output without a console device). */
void log_write(const char *text, size_t len);

extern bool log_verbose;

#endif
