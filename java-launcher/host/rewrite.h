/*
 * System calls as calls: `mov $nr,%eax; syscall` in programs and libraries of the image becomes `call
 * *slot(nr)` through the table that the kernel maps at SYSCALL_TABLE, wherever it is proved that nothing can
 * tell the difference (routine.h has the rules). Everything else stays as it is: SYSCALL always works.
 *
 * Between the mov and SYSCALL other instructions may stand that neither touch rax nor move the stack pointer;
 * they go before the call.
 *
 * `xor %eax,%eax; syscall` (read) is four bytes, too few for a call, but C libraries go on with `cmp
 * $-4096,%rax; ja`: the ten bytes before the ja become `call *slot(0); test %rax,%rax`, and the ja a js. That
 * is the same because read returns no negative value but errors, and where no flag is read on either way from
 * there.
 *
 * Files keep their size; code that was rewritten runs on Moka only.
 */
#ifndef JAVA_LAUNCHER_HOST_REWRITE_H
#define JAVA_LAUNCHER_HOST_REWRITE_H

#include <stddef.h>
#include <stdint.h>

struct rewrite_count {
    size_t sites;     /* SYSCALL instructions; in code that cannot be decoded, bytes that look like one */
    size_t rewritten; /* of these */
};

/* Rewrites a whole ELF file in memory and adds to *COUNT. Anything else, or damaged, is left alone. */
void rewrite_bytes(uint8_t *bytes, size_t size, struct rewrite_count *count);

/* Every file of the tree at ROOT; a file that changes is replaced (it may have other names elsewhere) and
 * keeps its mode. Says with --verbose what became of each. Dies when a file cannot be written. */
void rewrite_tree(const char *root, struct rewrite_count *total);

#endif
