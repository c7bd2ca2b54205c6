/* The MC146818 real-time clock. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/base/string.h"

#define PORT_INDEX 0x70
#define PORT_DATA  0x71
#define REG_A      10
#define REG_B      11
#define A_UPDATING 0x80
#define B_24_HOURS 0x02
#define B_BINARY   0x04
#define PM         0x80

struct rtc_time {
    u8 sec, min, hour, day, month, year, century;
};

static u8 reg(u8 index)
{
    outb(PORT_INDEX, index);
    return inb(PORT_DATA);
}

static struct rtc_time read_once(void)
{
    for (u32 i = 0; i < 10000 && (reg(REG_A) & A_UPDATING); i++)
        ;
    return (struct rtc_time){reg(0), reg(2), reg(4), reg(7), reg(8), reg(9), reg(0x32)};
}

/* Twice the same, so that no update came in between. */
static struct rtc_time read_stable(void)
{
    struct rtc_time t = read_once();
    for (int i = 0; i < 5; i++) {
        struct rtc_time again = read_once();
        if (!memcmp(&t, &again, sizeof(t)))
            break;
        t = again;
    }
    return t;
}

static u8 binary(u8 v, u8 b)
{
    return b & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

/* Days from 1970-01-01 to a date of the Gregorian calendar; March starts the counting year. */
static u64 days_since_1970(u32 year, u32 month, u32 day)
{
    if (month < 3)
        year--, month += 12;
    return 365UL * year + year / 4 - year / 100 + year / 400 + (153 * (month - 3) + 2) / 5 + day - 1 - 719468;
}

u64 rtc_seconds(void)
{
    if (reg(REG_A) == 0xff && reg(REG_B) == 0xff) /* nobody answers: QEMU's microvm on KVM has none */
        return 0;
    struct rtc_time t = read_stable();
    u8 b = reg(REG_B);
    if (t.day == 0xff || t.month == 0)
        return 0;
    u32 hour = binary(t.hour & ~PM, b);
    if (!(b & B_24_HOURS))
        hour = hour % 12 + (t.hour & PM ? 12 : 0);
    u32 century = binary(t.century, b);
    u32 year = binary(t.year, b) + 100 * (century >= 19 && century <= 99 ? century : 20);
    u64 days = days_since_1970(year, binary(t.month, b), binary(t.day, b));
    return (days * 24 + hour) * 3600 + binary(t.min, b) * 60UL + binary(t.sec, b);
}
