/*
 * Kernel messages: whole lines on the serial port, from any context, without a lock.
 *
 * A message goes into a slot of a ring; whoever finds nobody draining drains, for the others too:
 *
 *     claim: head++          fill the slot           ready = its turn        draining: 0 -> 1, write all
 * ready slots
 *
 * A slot's turn number is 2 * round when free and 2 * round + 1 when ready, round being position / SLOTS, so
 * no producer ever waits. A producer that meets a full ring (an interrupt storm while the drainer is stopped)
 * writes its message directly: it may then mix with another, but is not lost.
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/printf.h"
#include "kernel/base/string.h"

#define SLOTS     64
#define SLOT_TEXT 508

struct slot {
    u64 turn; /* atomic */
    u32 len;
    char text[SLOT_TEXT];
};

static struct slot slots[SLOTS];
static u64 head, tail; /* tail: owned by the drainer */
static u32 draining;   /* atomic */
bool log_verbose;

static bool slot_ready(u64 position)
{
    u64 turn = __atomic_load_n(&slots[position % SLOTS].turn, __ATOMIC_ACQUIRE);
    return turn == 2 * (position / SLOTS) + 1;
}

static void drain(void)
{
    /* The check after letting go catches a message that became ready while its producer found us draining. */
    while (slot_ready(__atomic_load_n(&tail, __ATOMIC_RELAXED))) {
        if (__atomic_exchange_n(&draining, 1, __ATOMIC_SEQ_CST))
            return;
        while (slot_ready(tail)) {
            struct slot *s = &slots[tail % SLOTS];
            serial_write(s->text, s->len);
            __atomic_store_n(&s->turn, 2 * (tail / SLOTS + 1), __ATOMIC_RELEASE);
            __atomic_store_n(&tail, tail + 1, __ATOMIC_RELAXED);
        }
        __atomic_store_n(&draining, 0, __ATOMIC_SEQ_CST);
    }
}

static bool push(const char *text, size_t len)
{
    u64 position = __atomic_load_n(&head, __ATOMIC_RELAXED);
    struct slot *s;
    do {
        s = &slots[position % SLOTS];
        if (__atomic_load_n(&s->turn, __ATOMIC_ACQUIRE) != 2 * (position / SLOTS))
            return false;
    } while (!__atomic_compare_exchange_n(&head, &position, position + 1, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    memcpy(s->text, text, len);
    s->len = len;
    __atomic_store_n(&s->turn, 2 * (position / SLOTS) + 1, __ATOMIC_SEQ_CST);
    return true;
}

void log_write(const char *text, size_t len)
{
    while (len) {
        size_t n = MIN(len, (size_t)SLOT_TEXT);
        if (!push(text, n))
            serial_write(text, n);
        text += n;
        len -= n;
    }
    drain();
}

static void log_format(const char *fmt, va_list ap)
{
    char text[SLOT_TEXT];
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    log_write(text, MIN((size_t)n, sizeof(text) - 1));
}

void log_debug(const char *fmt, ...)
{
    if (!log_verbose)
        return;
    va_list ap;
    va_start(ap, fmt);
    log_format(fmt, ap);
    va_end(ap);
}

void log_info(const char *fmt, ...)
{
    if (!log_verbose)
        return;
    va_list ap;
    va_start(ap, fmt);
    log_format(fmt, ap);
    va_end(ap);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_format(fmt, ap);
    va_end(ap);
}

void log_error(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_format(fmt, ap);
    va_end(ap);
}
