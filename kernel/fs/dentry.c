/*
 * The name cache: dentries by (parent, name) in hash buckets with a mutex each. A listed dentry has one
 * reference of the cache's, so "refs == 1 under the bucket's lock" means that nobody else can reach it, and
 * it can be dropped. The cache holds no negative entries: file systems in memory answer fast, others must be
 * asked.
 */
#include "kernel/fs/internal.h"

#define BUCKETS     1024
#define CACHE_LIMIT 8192 /* dentries beyond which unused ones are dropped */
#define SWEEP_STEP  16   /* buckets looked at for each dentry added beyond the limit */

static struct bucket {
    struct mutex lock;
    struct dentry *first;
} buckets[BUCKETS];
static u32 cached_count; /* atomic */
static u32 sweep_hand;   /* atomic; the next bucket to sweep */

struct mutex rename_lock;

u64 name_hash(const char *name, u32 len)
{
    u64 h = len * 0x9e3779b97f4a7c15UL;
    for (; len >= 8; len -= 8, name += 8) {
        u64 word;
        memcpy(&word, name, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdUL;
        h ^= h >> 32;
    }
    u64 tail = 0;
    for (u32 i = 0; i < len; i++)
        tail = tail << 8 | (u8)name[i];
    h = (h ^ tail) * 0xc4ceb9fe1a85ec53UL;
    return h ^ h >> 29;
}

static u64 dentry_hash(const struct dentry *parent, const char *name, u32 len)
{
    return name_hash(name, len) + ((u64)parent >> 6) * 0x9e3779b97f4a7c15UL;
}

static struct bucket *bucket_of(u64 hash)
{
    return &buckets[(hash >> 20) % BUCKETS];
}

static void dentry_free(struct dentry *d)
{
    if (d->name != d->short_name)
        kfree(d->name);
    inode_put(d->inode);
    kfree(d);
}

void dentry_put(struct dentry *d)
{
    while (d && !__atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL)) {
        struct dentry *parent = d->parent;
        dentry_free(d);
        d = parent;
    }
}

static int dentry_set_name(struct dentry *d, const char *name, u32 len)
{
    char *text = len < sizeof(d->short_name) ? d->short_name : kmalloc(len + 1);
    if (!text)
        return -ENOMEM;
    memcpy(text, name, len);
    text[len] = 0;
    d->name = text;
    d->len = len;
    return 0;
}

struct dentry *dentry_create(struct dentry *parent, const char *name, u32 len, struct inode *inode)
{
    struct dentry *d = kmalloc(sizeof(*d));
    if (!d)
        return NULL;
    if (dentry_set_name(d, name, len)) {
        kfree(d);
        return NULL;
    }
    d->refs = 1;
    d->parent = parent;
    if (parent)
        dentry_get(parent);
    d->inode = inode;
    inode_get(inode);
    d->hash = dentry_hash(parent, name, len);
    return d;
}

/* Unlists the dentries of a bucket that nobody uses, giving those used lately a second chance. */
static void sweep_bucket(struct bucket *b)
{
    struct dentry *dropped = NULL;
    mutex_lock(&b->lock);
    for (struct dentry **at = &b->first; *at;) {
        struct dentry *d = *at;
        if (__atomic_load_n(&d->refs, __ATOMIC_ACQUIRE) > 1 || d->used) {
            d->used = false;
            at = &d->next;
            continue;
        }
        *at = d->next;
        d->cached = false;
        d->next = dropped;
        dropped = d;
        __atomic_sub_fetch(&cached_count, 1, __ATOMIC_RELAXED);
    }
    mutex_unlock(&b->lock);
    while (dropped) {
        struct dentry *next = dropped->next;
        dentry_put(dropped);
        dropped = next;
    }
}

static void sweep(void)
{
    for (u32 i = 0; i < SWEEP_STEP; i++)
        sweep_bucket(&buckets[__atomic_fetch_add(&sweep_hand, 1, __ATOMIC_RELAXED) % BUCKETS]);
}

/* The bucket's lock is held. */
static void list_locked(struct bucket *b, struct dentry *d)
{
    d->next = b->first;
    b->first = d;
    d->cached = true;
    d->used = true;
    dentry_get(d);
    __atomic_add_fetch(&cached_count, 1, __ATOMIC_RELAXED);
}

/* Unlists d; false when it was not listed. The caller drops the cache's reference. */
static bool unlist_locked(struct bucket *b, struct dentry *d)
{
    if (!d->cached)
        return false;
    struct dentry **at = &b->first;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    d->cached = false;
    __atomic_sub_fetch(&cached_count, 1, __ATOMIC_RELAXED);
    return true;
}

static struct dentry *find_locked(struct bucket *b, u64 hash, const struct dentry *parent, const char *name,
                                  u32 len)
{
    for (struct dentry *d = b->first; d; d = d->next)
        if (d->hash == hash && d->parent == parent && d->len == len && !memcmp(d->name, name, len))
            return d;
    return NULL;
}

/* From the cache, with a reference; NULL when it is not there. */
static struct dentry *dentry_find(struct dentry *parent, const char *name, u32 len)
{
    u64 hash = dentry_hash(parent, name, len);
    struct bucket *b = bucket_of(hash);
    if (!b->first)
        return NULL;
    mutex_lock(&b->lock);
    struct dentry *d = find_locked(b, hash, parent, name, len);
    if (d) {
        dentry_get(d);
        d->used = true;
    }
    mutex_unlock(&b->lock);
    return d;
}

/* The reference made belongs to the caller. */
int dentry_instantiate(struct dentry *dir, const char *name, u32 len, struct inode *inode,
                       struct dentry **out)
{
    struct dentry *d = dentry_create(dir, name, len, inode);
    if (!d)
        return -ENOMEM;
    if (!inode->mount || !inode->mount->uncached) {
        struct bucket *b = bucket_of(d->hash);
        mutex_lock(&b->lock);
        list_locked(b, d);
        mutex_unlock(&b->lock);
    }
    *out = d;
    return 0;
}

/* From the cache, if the file system still has it so. */
static struct dentry *find_valid(struct dentry *dir, const char *name, u32 len, bool on_way)
{
    struct dentry *d = dentry_find(dir, name, len);
    if (!d)
        return NULL;
    const struct mount *m = d->inode->mount;
    if (likely(!m || !m->revalidate) || d->mounted || m->revalidate(d->inode, on_way))
        return d;
    dentry_unlink(d);
    dentry_put(d);
    return NULL;
}

int dentry_lookup_locked(struct dentry *dir, const char *name, u32 len, struct dentry **out)
{
    if (len > NAME_MAX)
        return -ENAMETOOLONG;
    struct dentry *d = find_valid(dir, name, len, false);
    if (d) {
        *out = d;
        return 0;
    }
    struct inode *inode;
    int err = dir->inode->ops->lookup(dir->inode, name, len, &inode);
    if (err)
        return err;
    err = dentry_instantiate(dir, name, len, inode, out);
    inode_put(inode);
    return err;
}

static struct dentry *cross_mounts(struct dentry *d)
{
    while (unlikely(__atomic_load_n(&d->mounted, __ATOMIC_ACQUIRE) != NULL)) {
        struct dentry *root = d->mounted->root;
        dentry_get(root);
        dentry_put(d);
        d = root;
    }
    return d;
}

bool dentry_find_through(struct dentry *dir, const char *name, u32 len, struct dentry **out)
{
    struct dentry *d = len <= NAME_MAX ? find_valid(dir, name, len, false) : NULL;
    if (d)
        *out = cross_mounts(d);
    return d != NULL;
}

int dentry_lookup(struct dentry *dir, const char *name, u32 len, bool on_way, struct dentry **out)
{
    if (len > NAME_MAX)
        return -ENAMETOOLONG;
    struct dentry *d = find_valid(dir, name, len, on_way);
    if (!d) {
        mutex_lock(&dir->inode->lock);
        int err = dentry_lookup_locked(dir, name, len, &d);
        mutex_unlock(&dir->inode->lock);
        if (err)
            return err;
        if (unlikely(cached_count > CACHE_LIMIT))
            sweep();
    }
    *out = cross_mounts(d);
    return 0;
}

void dentry_unlink(struct dentry *d)
{
    struct bucket *b = bucket_of(d->hash);
    mutex_lock(&b->lock);
    bool listed = unlist_locked(b, d);
    d->unlinked = true;
    mutex_unlock(&b->lock);
    if (listed)
        dentry_put(d);
}

int dentry_move(struct dentry *d, struct dentry *parent, const char *name, u32 len)
{
    char *text = NULL;
    if (len >= sizeof(d->short_name) && !(text = kmalloc(len + 1)))
        return -ENOMEM;
    struct bucket *b = bucket_of(d->hash);
    mutex_lock(&b->lock);
    bool listed = unlist_locked(b, d);
    mutex_unlock(&b->lock);
    char *old_name = d->name;
    struct dentry *old_parent = d->parent;
    dentry_get(parent);
    d->parent = parent;
    d->name = text ? text : d->short_name;
    memmove(d->name, name, len);
    d->name[len] = 0;
    d->len = len;
    d->hash = dentry_hash(parent, d->name, len);
    b = bucket_of(d->hash);
    if (listed) {
        mutex_lock(&b->lock);
        list_locked(b, d);
        mutex_unlock(&b->lock);
        dentry_put(d); /* the reference of its former listing */
    }
    if (old_name != d->short_name)
        kfree(old_name);
    dentry_put(old_parent);
    return 0;
}

/* The dentry that stands for d in the directory above: d, or what its mount covers. */
static struct dentry *mount_top(struct dentry *d)
{
    while (!d->parent && d->root_of && d->root_of->covers)
        d = d->root_of->covers;
    return d;
}

struct dentry *dentry_dotdot(struct dentry *d)
{
    mutex_lock(&rename_lock);
    d = mount_top(d);
    if (d->parent)
        d = d->parent;
    dentry_get(d);
    mutex_unlock(&rename_lock);
    return cross_mounts(d);
}

bool dentry_above(struct dentry *a, struct dentry *d)
{
    for (;;) {
        if (d->inode == a->inode)
            return true;
        d = mount_top(d);
        if (d->inode == a->inode)
            return true;
        if (!d->parent)
            return false;
        d = d->parent;
    }
}
