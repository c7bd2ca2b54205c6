/*
 * The places of flows (net/hash.h, net/flow.h) spread evenly whatever the secret multiplier is: flows that
 * differ in one thing that counts upwards (a port, an address's last byte) fill the buckets as if thrown at
 * random, for thousands of multipliers; and peers that let one thing undo another gain nothing by it.
 */
#include <stdio.h>
#include <string.h>

#include "net/flow.h"

#define MULTIPLIERS 5000
#define FLOWS       FLOW_BUCKETS
/* Of 512 flows thrown at random into 512 buckets one gets 14 once in 2^27 times. */
#define FULLEST 14

u64 hash_multiplier;

static u64 random_state = 1;
static u64 draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1dUL;
}

static u32 network_order(u32 v)
{
    return __builtin_bswap32(v);
}

static union flow_key v4_flow(u32 from, u16 from_port, u16 port)
{
    return (union flow_key){.local = {network_order(0x0a000002)},
                            .remote = {network_order(from)},
                            .local_port = port,
                            .remote_port = from_port};
}
static union flow_key v4_remote_port(u32 i)
{
    return v4_flow(0x0a000001, 32768 + i, 80);
}
static union flow_key v4_every_other_port(u32 i)
{
    return v4_flow(0x0a000001, 32768 + 2 * i, 80);
}
static union flow_key v4_local_port(u32 i)
{
    return v4_flow(0x0a000001, 80, 32768 + i);
}
static union flow_key v4_address(u32 i)
{
    return v4_flow(0x0a000001 + i, 40000, 80);
}
static union flow_key v4_network(u32 i)
{
    return v4_flow(0x0a000001 + (i << 8), 40000, 80);
}
/* The address's first bytes undo what the port changes, where both lie in a word. */
static union flow_key v4_undone(u32 i)
{
    union flow_key f = v4_flow(0, 32768 + i, 80);
    f.remote[0] = 0x0100000a ^ (32768 + i) << 16;
    return f;
}

static union flow_key v6_flow(u32 last, u16 from_port)
{
    return (union flow_key){.local = {0x80fe, 0, 0, network_order(2)},
                            .remote = {0x80fe, 0, 0, network_order(last)},
                            .local_port = 80,
                            .remote_port = from_port,
                            .v6 = 1};
}
static union flow_key v6_remote_port(u32 i)
{
    return v6_flow(1, 32768 + i);
}
static union flow_key v6_address(u32 i)
{
    return v6_flow(1 + i, 40000);
}

/* Connections as net/table.c places them, by the same functions. */
static u32 table_place(const union flow_key *f)
{
    ip_addr_t remote = {0};
    if (f->v6)
        IP_SET_TYPE_VAL(remote, IPADDR_TYPE_V6);
    memcpy(ip_2_ip6(&remote)->addr, f->remote, f->v6 ? 16 : 4);
    return hash_place(hash_address((u64)f->remote_port << 16 | f->local_port, &remote), FLOW_BUCKET_BITS);
}

static const struct {
    const char *name;
    union flow_key (*flow)(u32 i);
} series[] = {
    {"v4-remote-port", v4_remote_port}, {"v4-every-other-port", v4_every_other_port},
    {"v4-local-port", v4_local_port},   {"v4-address", v4_address},
    {"v4-network", v4_network},         {"v4-port-undone-by-address", v4_undone},
    {"v6-remote-port", v6_remote_port}, {"v6-address", v6_address},
};

/* The fullest bucket's flows. */
static u32 fullest(union flow_key (*flow)(u32 i), u32 (*place)(const union flow_key *))
{
    u32 filled[FLOW_BUCKETS] = {0}, most = 0;
    for (u32 i = 0; i < FLOWS; i++) {
        union flow_key f = flow(i);
        u32 n = ++filled[place(&f)];
        most = n > most ? n : most;
    }
    return most;
}

static int spreads(u32 n, const char *what, u32 (*place)(const union flow_key *))
{
    u32 most = 0;
    u64 worst = 0;
    random_state = 1;
    for (u32 i = 0; i < MULTIPLIERS; i++) {
        hash_multiplier = draw() | 1;
        u32 m = fullest(series[n].flow, place);
        if (m > most) {
            most = m;
            worst = hash_multiplier;
        }
    }
    if (most < FULLEST) {
        printf("ok net/hash-%s-%s\n", what, series[n].name);
        return 0;
    }
    printf("not ok net/hash-%s-%s: with %#lx, %u of %u in one bucket\n", what, series[n].name, worst, most,
           FLOWS);
    return 1;
}

int main(void)
{
    int failed = 0;
    for (u32 n = 0; n < sizeof(series) / sizeof(series[0]); n++) {
        failed |= spreads(n, "flow", flow_hash);
        failed |= spreads(n, "table", table_place);
    }
    return failed;
}
