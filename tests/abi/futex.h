/* futex operations, by Linux's names (uapi linux/futex.h; the musl wrapper compiler sees no kernel headers).
 */
#ifndef MOKA_TESTS_ABI_FUTEX_H
#define MOKA_TESTS_ABI_FUTEX_H

#define FUTEX_WAIT           0
#define FUTEX_WAKE           1
#define FUTEX_REQUEUE        3
#define FUTEX_CMP_REQUEUE    4
#define FUTEX_WAKE_OP        5
#define FUTEX_LOCK_PI        6
#define FUTEX_UNLOCK_PI      7
#define FUTEX_TRYLOCK_PI     8
#define FUTEX_WAIT_BITSET    9
#define FUTEX_WAKE_BITSET    10
#define FUTEX_PRIVATE        128
#define FUTEX_CLOCK_REALTIME 256

#define FUTEX_WAIT_PRIVATE        (FUTEX_WAIT | FUTEX_PRIVATE)
#define FUTEX_WAKE_PRIVATE        (FUTEX_WAKE | FUTEX_PRIVATE)
#define FUTEX_REQUEUE_PRIVATE     (FUTEX_REQUEUE | FUTEX_PRIVATE)
#define FUTEX_CMP_REQUEUE_PRIVATE (FUTEX_CMP_REQUEUE | FUTEX_PRIVATE)
#define FUTEX_WAKE_OP_PRIVATE     (FUTEX_WAKE_OP | FUTEX_PRIVATE)
#define FUTEX_LOCK_PI_PRIVATE     (FUTEX_LOCK_PI | FUTEX_PRIVATE)
#define FUTEX_UNLOCK_PI_PRIVATE   (FUTEX_UNLOCK_PI | FUTEX_PRIVATE)
#define FUTEX_TRYLOCK_PI_PRIVATE  (FUTEX_TRYLOCK_PI | FUTEX_PRIVATE)
#define FUTEX_WAIT_BITSET_PRIVATE (FUTEX_WAIT_BITSET | FUTEX_PRIVATE)
#define FUTEX_WAKE_BITSET_PRIVATE (FUTEX_WAKE_BITSET | FUTEX_PRIVATE)

#define FUTEX_WAITERS  0x80000000
#define FUTEX_TID_MASK 0x3fffffff

/* FUTEX_WAKE_OP's third argument: *at2 = *at2 OP value; wake there when the old one CMP compare. */
#define FUTEX_OP_SET                      0
#define FUTEX_OP_ADD                      1
#define FUTEX_OP_OR                       2
#define FUTEX_OP_ANDN                     3
#define FUTEX_OP_XOR                      4
#define FUTEX_OP_CMP_EQ                   0
#define FUTEX_OP_CMP_NE                   1
#define FUTEX_OP_CMP_GT                   4
#define FUTEX_OP(op, value, cmp, compare) (((op) << 28) | ((cmp) << 24) | ((value) << 12) | (compare))

#endif
