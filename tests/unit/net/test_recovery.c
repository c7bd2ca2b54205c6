/*
 * Loss recovery and congestion control of TCP (net/recovery.c, net/cubic.c) in lwIP itself, over a simulated
 * wire in simulated time: everything a test says is the same each time. Both ends are connections of the one
 * lwIP; the wire changes the addresses, so that each lies on an interface of its own.
 *
 *   near: 10.1.0.1 -- 10.1.0.2 | 10.2.0.2 -- 10.2.0.1 :far
 */
#include <stdio.h>
#include <stdlib.h>

#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/string.h"
#include "kernel/fs/vfs.h"
#include "lwip/init.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "net/core.h"
#include "net/recovery.h"
#include "net/table.h"

#define MS      NSEC_PER_MSEC
#define PORT    80
#define MSS     1460u
#define NEAR_IP 0x0a010001u
#define NEAR_GW 0x0a010002u
#define FAR_IP  0x0a020001u
#define FAR_GW  0x0a020002u

/* ---- the kernel, as far as recovery.c and lwIP need it ---- */

static u64 now_ns;
static u64 seed;

static u64 draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* In p of 1000 cases. */
static bool happens(u32 p)
{
    return draw() % 1000 < p;
}

u64 clock_monotonic_ns(void)
{
    return now_ns;
}
u32_t sys_now(void)
{
    return now_ns / MS;
}
u64 hash_multiplier = 0x9e3779b97f4a7c15UL;

unsigned net_random(void)
{
    return draw();
}
void core_kick(void)
{
}
void *kmalloc(size_t size)
{
    return calloc(1, size);
}
void *kmalloc_raw(size_t size)
{
    return malloc(size);
}
void kfree(void *p)
{
    free(p);
}
void log_debug(const char *fmt, ...)
{
}
void panic(const char *fmt, ...)
{
    printf("not ok net/recovery: panic: %s\n", fmt);
    exit(1);
}
int net_tcp_output(struct tcp_pcb *pcb, struct pbuf *p)
{
    return 0;
}
void net_tcp_output_end(void)
{
}
struct pbuf *refer_next(const void *source, unsigned len)
{
    return NULL;
}
u32 net_tcp_isn(void)
{
    return net_random();
}
u32 net_dhcp_tick(void)
{
    return 60;
}
void net_dhcp_option(unsigned option, unsigned len, struct pbuf *p, unsigned offset)
{
}
void net_dhcp_state(struct dhcp *dhcp)
{
}
void net_router_option(struct netif *n, struct pbuf *p, unsigned offset, unsigned len)
{
}
struct udp_pcb *net_udp_share(struct udp_pcb *pcb, u16 from_port)
{
    return pcb;
}

struct tcp_pcb_listen *net_tcp_share(struct tcp_pcb_listen *pcb, u16 from_port)
{
    return pcb;
}

struct tcp_pcb *net_tcp_find(u16 remote_port, u16 local_port)
{
    return table_find(ip_current_dest_addr(), local_port, ip_current_src_addr(), remote_port);
}
void urgent_input(struct tcp_pcb *pcb, const struct tcp_hdr *header, const struct pbuf *p)
{
}
void urgent_sent(struct tcp_pcb *pcb, struct tcp_seg *seg)
{
}
static char shown[1024];
void seq_printf(struct seq *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t len = strlen(shown);
    vsnprintf(shown + len, sizeof(shown) - len, fmt, ap);
    va_end(ap);
}

static u64 counter(const char *name)
{
    shown[0] = 0;
    recovery_show(NULL);
    const char *at = strstr(shown, name);
    return at ? strtoull(at + strlen(name), NULL, 10) : ~0UL;
}

/* ---- the wire ---- */

/* Probabilities in thousandths. */
struct wire {
    u64 delay_ns, byte_ns; /* each way; how long a byte takes */
    u32 loss, ack_loss, duplicate, overtaken;
    u64 overtaken_ns;       /* how much later what is overtaken comes */
    u64 dark_from, dark_to; /* nothing passes, ns since the beginning */
    u32 queue;              /* frames that wait for the wire at most; 0: any number */
    bool no_sack;           /* SACK is not agreed on */
    bool bad_sack;          /* every SACK block lies */
    u32 drop[4], drops;     /* the numbers of segments with data from near that are lost, from 1 */
    u32 drop_syn;           /* that many SYNs are lost */
    bool drop_synack;       /* all answers to them are */
};

struct frame {
    struct frame *next;
    u64 at;
    struct netif *to;
    u32 len;
    u8 data[1600];
};

static struct wire wire;
static struct frame *flying; /* by arrival */
static struct netif near_if, far_if;
static u64 began, idle_at[2];
static u32 data_segments, doubled, dsacks, synacks;

static void fly(struct frame *f, u64 at)
{
    struct frame **to = &flying;
    f->at = at;
    while (*to && (*to)->at <= at)
        to = &(*to)->next;
    f->next = *to;
    *to = f;
}

static u32 waiting_for(const struct netif *to)
{
    u32 n = 0;
    for (const struct frame *f = flying; f; f = f->next)
        n += f->to == to && f->at > now_ns + wire.delay_ns;
    return n;
}

static u32 word_at(const u8 *p)
{
    return (u32)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

/* Does a SACK option whose blocks lie at `from` to `to` say that something came twice (RFC 2883)? */
static bool told_twice(const u8 *tcp, u32 from, u32 to)
{
    u32 left = word_at(tcp + from), right = word_at(tcp + from + 4);
    bool second = from + 16 <= to;
    return TCP_SEQ_LT(left, right) &&
           (TCP_SEQ_LEQ(right, word_at(tcp + 8)) || (second && TCP_SEQ_GEQ(left, word_at(tcp + from + 8)) &&
                                                     TCP_SEQ_LEQ(right, word_at(tcp + from + 12))));
}

/* SACK's permission becomes padding; its blocks become lies. */
static void change_options(u8 *tcp, u32 header)
{
    for (u32 i = 20; i < header && tcp[i];) {
        u32 len = tcp[i] == 1 ? 1 : tcp[i + 1];
        if (tcp[i] == 5 && told_twice(tcp, i + 2, i + len))
            dsacks++;
        if (wire.no_sack && tcp[i] == 4)
            tcp[i] = tcp[i + 1] = 1;
        for (u32 at = i + 2; wire.bad_sack && tcp[i] == 5 && at < i + len; at++)
            if (happens(300))
                tcp[at] += happens(500) ? 1 : draw();
        i += len;
    }
}

static bool lost(const struct frame *f, bool from_near)
{
    const u8 *tcp = f->data + 20;
    bool data = f->len > 20u + (tcp[12] >> 4) * 4;
    if (!from_near && tcp[13] & TCP_SYN && tcp[13] & TCP_ACK)
        synacks++;
    if (wire.drop_synack && !from_near && tcp[13] & TCP_SYN)
        return true;
    if (tcp[13] & TCP_SYN && wire.drop_syn)
        return wire.drop_syn--;
    if (data && from_near) {
        data_segments++;
        for (u32 i = 0; i < wire.drops; i++)
            if (wire.drop[i] == data_segments)
                return true;
    }
    return (now_ns - began >= wire.dark_from && now_ns - began < wire.dark_to) ||
           happens(data ? wire.loss : wire.ack_loss) || (wire.queue && waiting_for(f->to) >= wire.queue);
}

static err_t output(struct netif *from, struct pbuf *p, const ip4_addr_t *next_hop)
{
    struct frame *f = malloc(sizeof(*f));
    bool is_near = from == &near_if;
    f->to = is_near ? &far_if : &near_if;
    f->len = pbuf_copy_partial(p, f->data, sizeof(f->data), 0);
    struct ip_hdr *ip = (struct ip_hdr *)f->data;
    ip->src.addr = lwip_htonl(is_near ? FAR_GW : NEAR_GW);
    ip->dest.addr = lwip_htonl(is_near ? FAR_IP : NEAR_IP);
    change_options(f->data + 20, (f->data[32] >> 4) * 4);
    if (lost(f, is_near)) {
        free(f);
        return ERR_OK;
    }
    u64 leaves = MAX(idle_at[is_near], now_ns) + f->len * wire.byte_ns;
    idle_at[is_near] = leaves;
    if (happens(wire.duplicate)) {
        struct frame *twin = malloc(sizeof(*twin));
        memcpy(twin, f, sizeof(*f));
        fly(twin, leaves + wire.delay_ns);
        doubled += is_near && f->len > 20u + (f->data[32] >> 4) * 4;
    }
    fly(f, leaves + wire.delay_ns + (happens(wire.overtaken) ? wire.overtaken_ns : 0));
    return ERR_OK;
}

static err_t start_interface(struct netif *n)
{
    n->output = output;
    n->mtu = 1500;
    n->flags = NETIF_FLAG_UP | NETIF_FLAG_LINK_UP;
    return ERR_OK;
}

static void add_interface(struct netif *n, u32 address)
{
    ip4_addr_t ip = {lwip_htonl(address)}, mask = {lwip_htonl(0xffffff00)}, none = {0};
    netif_add(n, &ip, &mask, &none, NULL, start_interface, ip4_input);
    NETIF_SET_CHECKSUM_CTRL(n, NETIF_CHECKSUM_DISABLE_ALL);
    netif_set_up(n);
    netif_set_link_up(n);
}

static void arrive(struct frame *f)
{
    struct pbuf *p = pbuf_alloc(PBUF_RAW, f->len, PBUF_RAM);
    pbuf_take(p, f->data, f->len);
    f->to->input(p, f->to);
    free(f);
}

/* ---- the two ends ---- */

static struct tcp_pcb *sender, *receiver;
static u32 to_send, sent, received;
static bool failed, connected;
static bool keeps_all;  /* the receiver's window is never opened again */
static u64 complete_ns; /* when the last byte arrived */

static u8 byte_of(u32 at)
{
    return at * 2654435761u >> 24;
}

static void write_more(void)
{
    u8 data[4096];
    while (connected && sent < to_send) {
        u32 n = MIN(MIN(to_send - sent, sizeof(data)), sender->snd_buf);
        for (u32 i = 0; i < n; i++)
            data[i] = byte_of(sent + i);
        if (!n || tcp_write(sender, data, n, TCP_WRITE_FLAG_COPY) != ERR_OK)
            break;
        sent += n;
    }
    tcp_output(sender);
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    connected = true;
    return ERR_OK;
}

static err_t on_receive(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    if (!p)
        return ERR_OK;
    for (struct pbuf *q = p; q; q = q->next)
        for (u32 i = 0; i < q->len; i++)
            failed |= ((u8 *)q->payload)[i] != byte_of(received++);
    complete_ns = now_ns;
    if (!keeps_all)
        tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
}

static void on_error(void *arg, err_t err)
{
    failed = true;
    sender = NULL;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    receiver = pcb;
    tcp_recv(pcb, on_receive);
    return ERR_OK;
}

/* What recovery.c counts must add up to what lies there. */
static void check_sums(void)
{
    const struct tcp_recovery *r = &sender->recovery;
    u32 under = sender->snd_nxt - sender->lastack;
    if (r->sacked + r->lost > under || r->resent > r->lost) {
        printf("# %u sacked, %u lost, %u resent, of %u\n", r->sacked, r->lost, r->resent, under);
        failed = true;
    }
}

/* Until everything has arrived and is acknowledged, or for limit_ns. Returns the time until the last byte
 * came. */
static u64 run(u64 limit_ns)
{
    u64 tick = now_ns + 250 * MS, begin = now_ns;
    while (!failed && now_ns - begin < limit_ns &&
           !(connected && received >= to_send && (!sender || (!sender->unacked && !sender->unsent)))) {
        if (connected && sender)
            write_more();
        u64 timer = recovery_tick(now_ns);
        u64 next = MIN(MIN(flying ? flying->at : SLEEP_FOREVER, timer), tick);
        now_ns = MAX(now_ns, next);
        while (flying && flying->at <= now_ns) {
            struct frame *f = flying;
            flying = f->next;
            arrive(f);
        }
        if (now_ns >= tick) {
            tcp_tmr();
            tick += 250 * MS;
        }
        if (sender)
            check_sums();
    }
    return (received >= to_send ? complete_ns : now_ns) - begin;
}

static u32 user_timeout_ms, syn_retries; /* of the next connection */
static bool orphan;                      /* it is */

static void let_go(void)
{
    if (sender)
        tcp_abort(sender);
    while (flying) {
        struct frame *f = flying;
        flying = f->next;
        free(f);
    }
    if (receiver)
        tcp_abort(receiver);
    sender = receiver = NULL;
}

/* One transfer of len bytes over w. */
static u64 transfer(const struct wire *w, u32 len, u64 limit_ns)
{
    ip_addr_t to = IPADDR4_INIT(lwip_htonl(NEAR_GW));
    wire = *w;
    seed = 88172645463325252UL;
    began = now_ns;
    to_send = len;
    sent = received = data_segments = doubled = dsacks = 0;
    failed = connected = false;
    sender = tcp_new();
    tcp_err(sender, on_error);
    tcp_nagle_disable(sender);
    sender->recovery.user_timeout_ms = user_timeout_ms;
    sender->recovery.syn_retries = syn_retries;
    sender->recovery.orphan = orphan;
    tcp_connect(sender, &to, PORT, on_connected);
    return run(limit_ns);
}

/* ---- tests ---- */

static int failures;

static void verdict(const char *name, bool good, const char *why)
{
    printf(good ? "ok net/recovery-%s\n" : "not ok net/recovery-%s: %s\n", name, why);
    failures += !good;
}

struct expectation {
    const char *name;
    struct wire wire;
    u32 len;
    u64 at_most_ns;
    u64 resent_most, timeouts_most;
};

static void expect(const struct expectation *e)
{
    char why[200];
    u64 resent = counter("segments_resent"), timeouts = counter("retransmission_timeouts");
    u64 probes = counter("loss_probes"), undone = counter("needless_recoveries");
    u64 took = transfer(&e->wire, e->len, 300 * NSEC_PER_SEC);
    resent = counter("segments_resent") - resent;
    timeouts = counter("retransmission_timeouts") - timeouts;
    snprintf(why, sizeof(why), "%u of %u bytes, %lu ms, %lu resent, %lu probes, %lu timeouts, %lu needless",
             received, e->len, took / MS, resent, counter("loss_probes") - probes, timeouts,
             counter("needless_recoveries") - undone);
    if (getenv("SHOW"))
        printf("# %s: %s\n", e->name, why);
    verdict(e->name,
            !failed && received == e->len && took <= e->at_most_ns && resent <= e->resent_most &&
                timeouts <= e->timeouts_most,
            why);
    let_go();
}

#define WIDE 80 /* ns a byte: 100 Mbit/s */

static const struct expectation expectations[] = {
    {"clean", {.delay_ns = 25 * MS, .byte_ns = WIDE}, 10000000, 2000 * MS, 0, 0},
    {"loss-1",
     {.delay_ns = 25 * MS, .byte_ns = WIDE, .loss = 10, .ack_loss = 10},
     2000000,
     20000 * MS,
     60,
     2},
    {"loss-5",
     {.delay_ns = 25 * MS, .byte_ns = WIDE, .loss = 50, .ack_loss = 50},
     1000000,
     30000 * MS,
     100,
     9},
    {"loss-5-near",
     {.delay_ns = MS / 10, .byte_ns = WIDE, .loss = 50, .ack_loss = 50},
     1000000,
     4000 * MS,
     100,
     9},
    {"loss-20",
     {.delay_ns = 5 * MS, .byte_ns = WIDE, .loss = 200, .ack_loss = 200},
     300000,
     60000 * MS,
     200,
     60},
    {"one-in-the-middle",
     {.delay_ns = 25 * MS, .byte_ns = WIDE, .drop = {20}, .drops = 1},
     100000,
     400 * MS,
     1,
     0},
    {"one-twice",
     {.delay_ns = 25 * MS, .byte_ns = WIDE, .drop = {20, 40}, .drops = 2},
     400000,
     800 * MS,
     2,
     0},
    {"last", {.delay_ns = 25 * MS, .byte_ns = WIDE, .drop = {10}, .drops = 1}, 14600, 260 * MS, 1, 0},
    {"last-three",
     {.delay_ns = 25 * MS, .byte_ns = WIDE, .drop = {8, 9, 10}, .drops = 3},
     14600,
     300 * MS,
     3,
     0},
    {"only", {.delay_ns = 25 * MS, .byte_ns = WIDE, .drop = {1}, .drops = 1}, 100, 450 * MS, 1, 1},
    {"overtaken",
     {.delay_ns = 25 * MS, .byte_ns = WIDE, .overtaken = 50, .overtaken_ns = 5 * MS},
     4000000,
     2500 * MS,
     40,
     0},
    {"duplicates", {.delay_ns = 25 * MS, .byte_ns = WIDE, .duplicate = 100}, 4000000, 1500 * MS, 0, 0},
    {"full-queue", {.delay_ns = 25 * MS, .byte_ns = 800, .queue = 50}, 4000000, 5000 * MS, 200, 1},
    {"acks-lost", {.delay_ns = 25 * MS, .byte_ns = WIDE, .ack_loss = 300}, 2000000, 1500 * MS, 5, 0},
    {"dark",
     {.delay_ns = 5 * MS, .byte_ns = WIDE, .dark_from = 40 * MS, .dark_to = 2000 * MS},
     2000000,
     4000 * MS,
     700,
     5},
    {"first-syn", {.delay_ns = 5 * MS, .byte_ns = WIDE, .drop_syn = 1}, 1000, 1100 * MS, 1, 1},
    {"three-syns", {.delay_ns = 5 * MS, .byte_ns = WIDE, .drop_syn = 3}, 1000, 3200 * MS, 3, 3},
    {"six-syns", {.delay_ns = 5 * MS, .byte_ns = WIDE, .drop_syn = 6}, 1000, 7200 * MS, 6, 6},
    {"no-sack",
     {.delay_ns = 25 * MS, .byte_ns = WIDE, .no_sack = true, .loss = 10},
     1000000,
     20000 * MS,
     60,
     20},
    {"no-sack-one",
     {.delay_ns = 25 * MS, .byte_ns = WIDE, .no_sack = true, .drop = {20}, .drops = 1},
     100000,
     400 * MS,
     1,
     0},
    {"no-sack-two",
     {.delay_ns = 25 * MS, .byte_ns = WIDE, .no_sack = true, .drop = {20, 22}, .drops = 2},
     100000,
     500 * MS,
     2,
     0},
    {"lies",
     {.delay_ns = 5 * MS, .byte_ns = WIDE, .loss = 50, .bad_sack = true},
     300000,
     100000 * MS,
     500,
     100},
};

/* A path that goes dark for good, or always was: resent less and less often for as long as Linux does, then
 * an error. What takes how long: ip-sysctl, tcp(7). */
struct end {
    const char *name;
    u32 user_timeout_ms, syn_retries;
    bool from_the_beginning, orphan;
    u64 least_ms, most_ms, timeouts_least, timeouts_most;
};

static const struct end ends[] = {
    {"gives-up", 0, 0, false, false, 924600, 924600 + 240 * 1000, 13, 17},
    {"gives-up-soon", 5000, 0, false, false, 5200, 5800, 4, 6},
    {"gives-up-orphan", 0, 0, false, true, 102200, 102200 + 103 * 1000, 8, 10},
    {"gives-up-orphan-soon", 5000, 0, false, true, 5200, 5800, 4, 6},
    {"gives-up-late", 2000000, 0, false, false, 2000200, 2001000, 20, 30},
    {"gives-up-syn", 0, 0, true, false, 131000, 131250, 10, 10},
    {"gives-up-syn-1", 0, 1, true, false, 3000, 3250, 2, 2},
    {"gives-up-syn-soon", 1500, 0, true, false, 1500, 1750, 1, 1},
};

static void gives_up(const struct end *e)
{
    struct wire w = {.delay_ns = 5 * MS,
                     .byte_ns = WIDE,
                     .dark_from = e->from_the_beginning ? 0 : 40 * MS,
                     .dark_to = SLEEP_FOREVER};
    u64 before = counter("retransmission_timeouts");
    user_timeout_ms = e->user_timeout_ms;
    syn_retries = e->syn_retries;
    orphan = e->orphan;
    u64 took = transfer(&w, 2000000, 3000 * NSEC_PER_SEC) / MS;
    user_timeout_ms = syn_retries = orphan = 0;
    u64 timeouts = counter("retransmission_timeouts") - before;
    char why[100];
    snprintf(why, sizeof(why), "after %lu ms and %lu timeouts", took, timeouts);
    if (getenv("SHOW"))
        printf("# %s: %s\n", e->name, why);
    verdict(e->name,
            failed && !sender && took >= e->least_ms && took <= e->most_ms && timeouts >= e->timeouts_least &&
                timeouts <= e->timeouts_most,
            why);
    let_go();
}

/* A window that stays closed: for ever, as long as the peer says so, or for TCP_USER_TIMEOUT. */
static void closed_window(const char *name, u32 limit_ms, u64 least_ms, u64 most_ms)
{
    struct wire w = {.delay_ns = 5 * MS, .byte_ns = WIDE};
    char why[100];
    user_timeout_ms = limit_ms;
    keeps_all = true;
    u64 took = transfer(&w, 2 * TCP_WND, 1000 * NSEC_PER_SEC) / MS;
    keeps_all = false;
    user_timeout_ms = 0;
    snprintf(why, sizeof(why), "%s after %lu ms, %u bytes", failed ? "failed" : "alive", took, received);
    if (getenv("SHOW"))
        printf("# %s: %s\n", name, why);
    verdict(name, failed == !!limit_ms && took >= least_ms && took <= most_ms, why);
    let_go();
}

/* A peer that went dark while its window was closed: asked as often as Linux asks. */
static void asks_in_vain(const char *name, bool closed, u64 least_ms, u64 most_ms, u32 probes)
{
    struct wire w = {.delay_ns = 5 * MS, .byte_ns = WIDE};
    char why[100];
    orphan = closed;
    keeps_all = true;
    transfer(&w, 2 * TCP_WND, 10 * NSEC_PER_SEC);
    wire.dark_to = SLEEP_FOREVER;
    wire.dark_from = now_ns - began;
    u32 asked = 0, before = 0;
    u64 begin = now_ns;
    while (!failed && now_ns - begin < 4000 * NSEC_PER_SEC) {
        run(100 * MS);
        if (sender && sender->persist_probe != before)
            asked = before = sender->persist_probe;
    }
    keeps_all = orphan = false;
    u64 took = (now_ns - begin) / MS;
    snprintf(why, sizeof(why), "%s after %lu ms, %u probes", failed ? "failed" : "alive", took, asked);
    if (getenv("SHOW"))
        printf("# %s: %s\n", name, why);
    verdict(name, failed && took >= least_ms && took <= most_ms && asked == probes, why);
    let_go();
}

/* An answer to a SYN that never arrives. */
static void answers_in_vain(void)
{
    struct wire w = {.delay_ns = 5 * MS, .byte_ns = WIDE, .drop_synack = true};
    char why[100];
    u32 half_open = 0;
    synacks = 0;
    syn_retries = 1; /* resends of ours would be answered, too */
    transfer(&w, 1000, 500 * MS);
    tcp_abandon(sender, 0);
    sender = NULL;
    failed = false;
    wire.dark_to = 0;
    u64 begin = now_ns, gone = 0;
    for (; !gone && now_ns - begin < 300 * NSEC_PER_SEC; run(100 * MS)) {
        half_open = 0;
        for (struct tcp_pcb *p = tcp_active_pcbs; p; p = p->next)
            half_open += p->state == SYN_RCVD;
        gone = half_open ? 0 : now_ns - begin;
    }
    syn_retries = 0;
    snprintf(why, sizeof(why), "%u answers, gone after %lu ms", synacks, gone / MS);
    if (getenv("SHOW"))
        printf("# answers-in-vain: %s\n", why);
    verdict("answers-in-vain", synacks == 6 && gone >= 62000 * MS && gone <= 64000 * MS, why);
    let_go();
}

/* The peer, which has ended its direction, takes what is left slowly: it gets everything. */
static void slow_end(void)
{
    struct wire w = {.delay_ns = 5 * MS, .byte_ns = 80000, .queue = 40}; /* 100 kbit/s */
    char why[100];
    transfer(&w, 1000000, NSEC_PER_SEC);
    tcp_shutdown(receiver, 0, 1);
    run(NSEC_PER_SEC);
    if (sender) {
        tcp_recv(sender, NULL);
        tcp_err(sender, NULL);
        sender->recovery.orphan = true;
        to_send = sent;
        tcp_close(sender); /* it ends by itself */
        sender = NULL;
    }
    u64 took = run(300 * NSEC_PER_SEC);
    snprintf(why, sizeof(why), "%u bytes of %u in %lu ms", received, to_send, took / MS);
    verdict("slow-end", received == to_send && took > 70 * NSEC_PER_SEC, why);
    receiver = NULL;
    while (tcp_active_pcbs)
        tcp_abort(tcp_active_pcbs);
    let_go();
}

/* The receiver tells of all that came twice, in order and out of order, and of nothing else. */
static void tells_twice(const char *name, u32 duplicate, u32 loss)
{
    struct wire w = {.delay_ns = 25 * MS, .byte_ns = WIDE, .duplicate = duplicate, .loss = loss};
    char why[100];
    u64 resent = counter("segments_resent");
    transfer(&w, 2000000, 100 * NSEC_PER_SEC);
    resent = counter("segments_resent") - resent;
    snprintf(why, sizeof(why), "%u told of %u doubled, %lu resent", dsacks, doubled, resent);
    if (getenv("SHOW"))
        printf("# %s: %s\n", name, why);
    verdict(name, !failed && received == to_send && dsacks >= doubled * 9 / 10 && dsacks <= doubled + resent,
            why);
    let_go();
}

/* A window that was not used for long does not leave at once. */
static void rests(void)
{
    struct wire w = {.delay_ns = 25 * MS, .byte_ns = WIDE};
    char why[100];
    transfer(&w, 4000000, 10 * NSEC_PER_SEC);
    u32 before = sender->cwnd, burst = 0;
    now_ns += 10 * NSEC_PER_SEC;
    to_send += 1000000;
    write_more();
    for (const struct frame *f = flying; f; f = f->next)
        burst++;
    snprintf(why, sizeof(why), "%u segments at once, of a window of %u", burst, before / MSS);
    run(10 * NSEC_PER_SEC);
    verdict("rests", !failed && received == to_send && before > 50 * MSS && burst == 10, why);
    let_go();
}

/* No timer is left when nothing is under way. */
static void idle(void)
{
    struct wire w = {.delay_ns = 5 * MS, .byte_ns = WIDE};
    transfer(&w, 100000, NSEC_PER_SEC);
    u64 next = recovery_tick(now_ns);
    for (u32 i = 0; i < 3 && next != SLEEP_FOREVER; i++) {
        now_ns = next;
        next = recovery_tick(now_ns);
    }
    verdict("idle", !failed && next == SLEEP_FOREVER, "a timer is left");
    let_go();
}

int main(void)
{
    seed = 1;
    now_ns = NSEC_PER_SEC;
    lwip_init();
    add_interface(&near_if, NEAR_IP);
    add_interface(&far_if, FAR_IP);
    struct tcp_pcb *listener = tcp_new();
    tcp_bind(listener, IP4_ADDR_ANY, PORT);
    listener = tcp_listen(listener);
    tcp_accept(listener, on_accept);
    for (u32 i = 0; i < ARRAY_LEN(expectations); i++)
        expect(&expectations[i]);
    for (u32 i = 0; i < ARRAY_LEN(ends); i++)
        gives_up(&ends[i]);
    tells_twice("tells-twice", 200, 0);
    tells_twice("tells-twice-lossy", 200, 20);
    tells_twice("tells-nothing", 0, 20);
    closed_window("closed-window", 0, 1000000, 1001000);
    closed_window("closed-window-limited", 10000, 10000, 12000);
    asks_in_vain("asks-in-vain", false, 700000, 1000000, 15);
    asks_in_vain("asks-in-vain-orphan", true, 200000, 500000, 8);
    answers_in_vain();
    slow_end();
    rests();
    idle();
    return failures != 0;
}
