/*
 * Host test of the 9P client's messages against a server that answers anything: replies of wrong type, length
 * and tag, counts that lie. The client must give an error or data within the reply, and leak nothing.
 */
#include "kernel/fs/internal.h"
#include "kernel/fs/p9.h"

int printf(const char *fmt, ...);
void arena_init(void);

static u64 rng = 0x9e3779b97f4a7c15UL;

static u64 next_random(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}

struct p9_channel {
    bool honest; /* answers rightly: for connecting */
};
static struct p9_channel channel;

u32 p9_max_message(struct p9_channel *ch)
{
    return 65536;
}

static void put32(u8 *p, u32 v)
{
    memcpy(p, &v, 4);
}

static ssize_t honest_reply(const u8 *out, u8 *in)
{
    u32 len = 7;
    in[4] = out[4] + 1;
    memcpy(in + 5, out + 5, 2);
    if (out[4] == 100) { /* Tversion */
        memcpy(in + 7, out + 7, 14);
        len = 21;
    } else if (out[4] == 104) { /* Tattach */
        memset(in + 7, 0, 13);
        len = 20;
    } else if (out[4] == 110) { /* Twalk */
        memcpy(in + 7, out + 15, 2);
        len = 9 + 13 * in[7];
    }
    put32(in, len);
    return len;
}

/* A reply that is right in most of its header and anything in the rest. */
ssize_t p9_transact(struct p9_channel *ch, const void *out_, size_t out_len, void *in_, size_t in_room)
{
    const u8 *out = out_;
    u8 *in = in_;
    u32 claimed;
    memcpy(&claimed, out, 4);
    if (claimed != out_len)
        printf("not ok fs: a request of %zu bytes says %u\n", out_len, claimed);
    if (ch->honest || out[4] == 120)
        return honest_reply(out, in);
    size_t len = next_random() % 4 ? 7 + next_random() % 200 : next_random() % (in_room + 1);
    len = MIN(len, in_room);
    for (size_t i = 0; i < len; i++)
        in[i] = next_random() % 2 ? 0 : next_random();
    if (len >= 7) {
        put32(in, next_random() % 8 ? (u32)len : (u32)next_random());
        if (next_random() % 16)
            in[4] = next_random() % 8 ? out[4] + 1 : 7;
        if (next_random() % 16)
            memcpy(in + 5, out + 5, 2);
        if (len >= 11 && next_random() % 2)
            put32(in + 7, next_random() % (len + 4));
    }
    u64 lie = next_random() % 32;
    return lie == 0 ? -EIO : lie == 1 ? (ssize_t)in_room + 1000 : (ssize_t)len;
}

static int see_entry(void *arg, const struct p9_entry *entry)
{
    u32 sum = 0;
    for (u32 i = 0; i < entry->len; i++)
        sum += entry->name[i];
    *(u32 *)arg += sum;
    return next_random() % 16 == 0;
}

static void see_data(void *arg, u64 offset, const void *bytes, size_t n)
{
    u32 sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((const u8 *)bytes)[i];
    *(u32 *)arg += sum;
}

static void one_round(struct p9_fid *fid)
{
    static char buf[20000];
    struct p9_fid *other = NULL;
    struct p9_qid qid;
    struct p9_attr attr;
    struct vfs_statfs fs;
    struct iov iov = {buf, sizeof(buf)};
    struct iov_iter it;
    u32 sum = 0, count;
    if (!p9_walk(fid, next_random() % 2 ? "name" : NULL, 4, &other, &qid))
        p9_fid_put(other);
    p9_getattr(fid, &attr);
    p9_setattr(fid, &attr.st, next_random() & 255);
    p9_open(fid, O_RDWR);
    p9_create(fid, "x", 1, O_RDWR, 0644);
    p9_mkdir(fid, "x", 1, 0755);
    p9_mknod(fid, "x", 1, S_IFIFO, 0);
    p9_symlink(fid, "x", 1, "target");
    p9_link(fid, "x", 1, fid);
    p9_rename(fid, "x", 1, fid, "y", 1);
    p9_unlink(fid, "x", 1, false);
    ssize_t n = p9_readlink(fid, buf, 100);
    if (n > 100)
        printf("not ok fs: readlink gave %ld of 100 bytes\n", n);
    p9_fsync(fid, true);
    p9_statfs(fid, &fs);
    p9_readdir(fid, 0, see_entry, &sum, &count);
    iov_iter_init(&it, &iov, 1, false);
    n = p9_read_iter(fid, 0, &it, 5000);
    if (n > 5000)
        printf("not ok fs: read gave %ld of 5000 bytes\n", n);
    iov_iter_init(&it, &iov, 1, false);
    n = p9_write_iter(fid, 0, &it, 3000, see_data, &sum);
    if (n > 3000)
        printf("not ok fs: write took %ld of 3000 bytes\n", n);
}

int main(void)
{
    struct p9 p9;
    struct p9_fid *root;
    arena_init();
    for (u32 i = 0; i < 2000; i++) {
        channel.honest = false;
        if (!p9_connect(&p9, &channel, &root))
            p9_fid_put(root);
    }
    channel.honest = true;
    if (p9_connect(&p9, &channel, &root)) {
        printf("not ok fs: cannot connect\n");
        return 1;
    }
    channel.honest = false;
    for (u32 i = 0; i < 20000; i++)
        one_round(root);
    p9_fid_put(root);
    printf("ok fs/p9\n");
    return 0;
}
