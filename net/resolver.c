#include "net/resolver.h"

#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/printf.h"
#include "kernel/fs/vfs.h"
#include "lwip/pbuf.h"
#include "lwip/prot/ip6.h"
#include "net/core.h"

#define LINE (sizeof("nameserver \n") + IPADDR_STRLEN_MAX)
#define TEXT (sizeof("search \n") + RESOLVER_DOMAIN + RESOLVER_ORIGINS * RESOLVER_SERVERS * LINE)

/* Guarded by the core. */
static struct resolver_source sources[RESOLVER_ORIGINS];
static u64 router_until_ns[RESOLVER_SERVERS]; /* of the routers' servers */
static bool stale;                            /* looked at without the core, too */

/* Names, and blanks between them: nothing that could begin another line. */
static bool is_domain(const char *text)
{
    for (; *text; text++) {
        char c = *text | 0x20;
        if (!(c >= 'a' && c <= 'z') && !(*text >= '0' && *text <= '9') && !strchr(".-_ ", *text))
            return false;
    }
    return true;
}

void resolver_set(enum resolver_origin origin, const struct resolver_source *source)
{
    struct resolver_source *s = &sources[origin], clean = {.count = source->count};
    for (u32 i = 0; i < source->count; i++)
        ip_addr_copy(clean.servers[i], source->servers[i]);
    if (is_domain(source->domain))
        strlcpy(clean.domain, source->domain, sizeof(clean.domain));
    if (!memcmp(s, &clean, sizeof(clean)))
        return;
    *s = clean;
    stale = true;
    core_kick();
}

/* ---- router advertisements ---- */

static void remove_server(struct resolver_source *s, u32 i)
{
    s->count--;
    for (; i < s->count; i++) {
        s->servers[i] = s->servers[i + 1];
        router_until_ns[i] = router_until_ns[i + 1];
    }
}

/* Known ones stay where they are; of too many, the last ones are not taken (RFC 8106, 6.1). */
static void add_server(struct resolver_source *s, const ip_addr_t *server, u64 until_ns)
{
    u32 i = 0;
    while (i < s->count && !ip_addr_cmp(&s->servers[i], server))
        i++;
    if (i < s->count && !until_ns)
        remove_server(s, i);
    else if (i < RESOLVER_SERVERS && until_ns) {
        s->count = MAX(s->count, i + 1);
        s->servers[i] = *server;
        router_until_ns[i] = until_ns;
    }
}

/* RFC 8106, 5.1: type, length, two octets of nothing, lifetime in seconds, addresses. */
void net_router_option(struct netif *n, struct pbuf *p, unsigned offset, unsigned len)
{
    struct {
        u8 type, length;
        u16 reserved;
        u32 lifetime;
    } head;
    u64 now = clock_monotonic_ns();
    struct resolver_source s = sources[RESOLVER_ROUTER];
    if (pbuf_copy_partial(p, &head, sizeof(head), offset) != sizeof(head) || head.type != ND6_RDNSS)
        return;
    for (u32 i = s.count; i--;)
        if (router_until_ns[i] <= now)
            remove_server(&s, i);
    u64 lifetime = lwip_ntohl(head.lifetime);
    for (u32 at = sizeof(head); at + sizeof(ip6_addr_p_t) <= len; at += sizeof(ip6_addr_p_t)) {
        ip_addr_t server = {.type = IPADDR_TYPE_V6};
        if (pbuf_copy_partial(p, ip_2_ip6(&server)->addr, sizeof(ip6_addr_p_t), offset + at) !=
            sizeof(ip6_addr_p_t))
            return;
        add_server(&s, &server, lifetime ? now + lifetime * NSEC_PER_SEC : 0);
    }
    resolver_set(RESOLVER_ROUTER, &s);
}

/* ---- the file ---- */

static void compose(char *text)
{
    for (u32 i = 0; i < RESOLVER_ORIGINS; i++)
        if (*sources[i].domain && !*text)
            snprintf(text, TEXT, "search %s\n", sources[i].domain);
    for (u32 i = 0; i < RESOLVER_ORIGINS; i++) {
        for (u32 k = 0; k < sources[i].count; k++) {
            const ip_addr_t *server = &sources[i].servers[k];
            bool scoped = IP_IS_V6(server) && ip6_addr_islinklocal(ip_2_ip6(server));
            char line[LINE];
            snprintf(line, sizeof(line), "nameserver %s%s\n", ipaddr_ntoa(server), scoped ? "%eth0" : "");
            for (char *c = line; *c; c++)
                *c |= *c >= 'A' && *c <= 'F' ? 0x20 : 0; /* RFC 5952, 4.3 */
            strlcat(text, line, TEXT);
        }
    }
}

/* Files take their time: the core is left before. */
void resolver_work(void)
{
    char text[TEXT] = "";
    struct vfs_path root;
    struct file *f;
    if (!__atomic_load_n(&stale, __ATOMIC_RELAXED))
        return;
    core_enter();
    stale = false;
    compose(text);
    core_leave();
    root = vfs_root();
    vfs_mkdir(root, "etc", 0755);
    if (!vfs_open(root, "etc/resolv.conf", O_WRONLY | O_CREAT | O_TRUNC, 0644, &f)) {
        file_write_kernel(f, text, strlen(text), 0);
        file_put(f);
    }
    vfs_path_put(root);
}
