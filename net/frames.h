/*
 * A stack of frames that any receive thread pushes onto, by compare-and-exchange, and that one thread at a
 * time takes as a whole and turns round: lock-free for the producers, and frames are taken in the order they
 * came. A zeroed one is empty. Private to net/.
 *
 * Pushing and frames_any() are sequentially consistent: who pushes, then looks for waiters, and who queues
 * itself, then looks here, do not miss one another (waitq.h).
 */
#ifndef MOKA_NET_FRAMES_H
#define MOKA_NET_FRAMES_H

#include "virtio/net.h"

struct frame_stack {
    struct net_buf *newest; /* atomic; the others by `free` */
};

static inline void frames_push(struct frame_stack *s, struct net_buf *frame)
{
    frame->free = __atomic_load_n(&s->newest, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&s->newest, &frame->free, frame, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED))
        ;
}

static inline bool frames_any(const struct frame_stack *s)
{
    return __atomic_load_n(&s->newest, __ATOMIC_SEQ_CST);
}

/* All there are, oldest first, linked by `free`; *n: how many. (In line: most callers do not ask.) */
static inline __attribute__((always_inline)) struct net_buf *frames_take(struct frame_stack *s, u32 *n)
{
    struct net_buf *frame = __atomic_exchange_n(&s->newest, NULL, __ATOMIC_ACQUIRE), *turned = NULL;
    for (*n = 0; frame; ++*n) {
        struct net_buf *older = frame->free;
        frame->free = turned;
        turned = frame;
        frame = older;
    }
    return turned;
}

#endif
