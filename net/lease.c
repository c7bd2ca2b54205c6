#include "net/lease.h"

#include "kernel/arch/x86_64/arch.h"
#include "lwip/dhcp.h"
#include "lwip/prot/dhcp.h"
#include "net/core.h"
#include "net/resolver.h"
#include "net/template.h"

#define FAST        (DHCP_FINE_TIMER_MSECS * NSEC_PER_MSEC)
#define FOR_EVER    0xffffffffu /* RFC 2131, 3.3 */
#define TICKS       60u         /* of a lease, a tick each */
#define TICK_MAX    60u         /* seconds */
#define OPTION_NAME 15u         /* RFC 2132, 3.17 */
#define OPTION_MTU  26u         /* RFC 2132, 5.1 */
#define MTU_MIN     576u        /* RFC 791: everybody takes as much; lwIP's client wants it */

/* Guarded by the core. */
static struct netif *interface;
static u16 device_mtu;
static u64 fast_ns = SLEEP_FOREVER, slow_ns = SLEEP_FOREVER;
/* What the message that is being read says. It counts once lwIP has taken the address that goes with it. */
static struct {
    struct resolver_source resolver;
    u16 mtu;
} said;

u32 net_dhcp_tick(void)
{
    const struct dhcp *dhcp = interface ? netif_dhcp_data(interface) : NULL;
    u32 seconds = dhcp ? dhcp->offered_t0_lease / TICKS : 0;
    return MIN(MAX(seconds, 1u), TICK_MAX);
}

void net_dhcp_option(unsigned option, unsigned len, struct pbuf *p, unsigned offset)
{
    struct resolver_source *r = &said.resolver;
    u16 mtu;
    if (option == DHCP_OPTION_DNS_SERVER) {
        ip4_addr_t servers[RESOLVER_SERVERS];
        u32 wanted = MIN(len / 4, RESOLVER_SERVERS + 0u) * 4;
        r->count = pbuf_copy_partial(p, servers, wanted, offset) / 4;
        for (u32 i = 0; i < r->count; i++)
            ip_addr_copy_from_ip4(r->servers[i], servers[i]);
    } else if (option == OPTION_NAME) {
        u32 n = pbuf_copy_partial(p, r->domain, MIN(len, sizeof(r->domain) - 1), offset);
        r->domain[n] = 0;
    } else if (option == OPTION_MTU && len == sizeof(mtu) && pbuf_copy_partial(p, &mtu, len, offset) == len) {
        said.mtu = lwip_ntohs(mtu);
    }
}

static void set_mtu(u16 mtu)
{
    if (mtu < MTU_MIN || mtu > device_mtu)
        mtu = device_mtu;
    if (mtu == interface->mtu)
        return;
    interface->mtu = mtu;
    interface->mtu6 = MAX(mtu, IP6_MIN_MTU_LENGTH);
    template_forget_all();
}

/* lwIP has begun to count the lease; one without end must not keep the end of the last one. */
static void bound(struct dhcp *dhcp)
{
    if (dhcp->offered_t0_lease == FOR_EVER)
        dhcp->t0_timeout = dhcp->t1_renew_time = dhcp->t2_rebind_time = 0;
    resolver_set(RESOLVER_DHCP, &said.resolver);
    set_mtu(said.mtu);
}

/*
 * lwIP's client has come to another state. It waits for answers in some, for the lease's times in others; no
 * state before the first lease has any. A refused address has no times any more, either.
 */
void net_dhcp_state(struct dhcp *dhcp)
{
    u64 now = clock_monotonic_ns();
    if (dhcp->state == DHCP_STATE_BOUND)
        bound(dhcp);
    else if (dhcp->state == DHCP_STATE_BACKING_OFF)
        dhcp->t0_timeout = dhcp->t1_renew_time = dhcp->t2_rebind_time = 0;
    bool waits = dhcp->state == DHCP_STATE_SELECTING || dhcp->state == DHCP_STATE_REQUESTING ||
                 dhcp->state == DHCP_STATE_REBOOTING || dhcp->state == DHCP_STATE_BACKING_OFF;
    if (!waits)
        fast_ns = SLEEP_FOREVER;
    else if (fast_ns == SLEEP_FOREVER)
        fast_ns = now + FAST;
    if (!dhcp->t0_timeout)
        slow_ns = SLEEP_FOREVER;
    else if (dhcp->state == DHCP_STATE_BOUND || slow_ns == SLEEP_FOREVER)
        slow_ns = now + net_dhcp_tick() * NSEC_PER_SEC;
    memset(&said, 0, sizeof(said));
    core_kick();
}

/* The lease may end while lwIP looks for another one, after the cable was out: it forgets the address then.
 */
static void count_lease(struct dhcp *dhcp)
{
    bool ends = dhcp->t0_timeout && dhcp->lease_used + 1 == dhcp->t0_timeout;
    dhcp_coarse_tmr();
    if (ends)
        netif_set_addr(interface, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4);
}

u64 lease_tick(u64 now)
{
    if (now >= fast_ns) {
        fast_ns = now + FAST; /* before, as a state may come that wants none */
        dhcp_fine_tmr();
    }
    if (now >= slow_ns) {
        slow_ns = now + net_dhcp_tick() * NSEC_PER_SEC;
        count_lease(netif_dhcp_data(interface));
    }
    return MIN(fast_ns, slow_ns);
}

bool lease_begin(struct netif *n)
{
    interface = n;
    device_mtu = n->mtu;
    return dhcp_start(n) == ERR_OK;
}
