/* The walk along a path, as path_resolution(7) describes it, and the names of places. */
#include "kernel/fs/internal.h"

struct vfs_path vfs_root(void)
{
    dentry_get(root_mount->root);
    return (struct vfs_path){root_mount->root};
}

void vfs_path_put(struct vfs_path p)
{
    dentry_put(p.dentry);
}

void vfs_path_get(struct vfs_path p)
{
    dentry_get(p.dentry);
}

struct inode *vfs_path_inode(struct vfs_path p)
{
    return p.dentry->inode;
}

/* Moves the walk to d, whose reference it takes over. */
static void walk_to(struct walk *w, struct dentry *d)
{
    dentry_put(w->dir);
    w->dir = d;
}

int walk_start(struct walk *w, struct vfs_path at, const char *path)
{
    *w = (struct walk){.rest = path};
    size_t len = strnlen(path, PATH_MAX);
    if (!len)
        return -ENOENT;
    if (len == PATH_MAX)
        return -ENAMETOOLONG;
    w->dir = *path == '/' || !at.dentry ? root_mount->root : at.dentry;
    dentry_get(w->dir);
    return 0;
}

void walk_end(struct walk *w)
{
    dentry_put(w->dir);
    kfree(w->buf);
    w->dir = NULL;
    w->buf = NULL;
}

static enum last_kind component_kind(const char *name, u32 len)
{
    if (len == 1 && name[0] == '.')
        return LAST_DOT;
    if (len == 2 && name[0] == '.' && name[1] == '.')
        return LAST_DOTDOT;
    return LAST_NAME;
}

/* Takes the next component off the rest into name, len, last, slash. False when there is none. */
static bool next_component(struct walk *w)
{
    const char *s = w->rest;
    while (*s == '/')
        s++;
    const char *end = s;
    while (*end && *end != '/')
        end++;
    w->name = s;
    w->len = end - s;
    w->slash = *end == '/';
    while (*end == '/')
        end++;
    w->rest = end;
    w->last = w->len ? component_kind(s, w->len) : LAST_ROOT;
    return w->len != 0;
}

int walk_last(struct walk *w, struct dentry **out)
{
    if (!is_dir(w->dir->inode))
        return -ENOTDIR;
    if (w->last == LAST_NAME)
        return dentry_lookup(w->dir, w->name, w->len, *w->rest != 0, out);
    if (w->last == LAST_DOTDOT) {
        *out = dentry_dotdot(w->dir);
        return 0;
    }
    dentry_get(w->dir);
    *out = w->dir;
    return 0;
}

/* A place for an open file that may have none in the tree. */
static int file_dentry(struct file *f, struct dentry **out)
{
    if (f->dentry) {
        dentry_get(f->dentry);
        *out = f->dentry;
        return 0;
    }
    if (!f->inode)
        return -ENXIO;
    const char *name = f->path ? f->path : "";
    *out = dentry_create(NULL, name, strlen(name), f->inode);
    if (!*out)
        return -ENOMEM;
    (*out)->unlinked = true;
    return 0;
}

/* Goes through a link that leads straight to a file: the walk stands on it, and rest must follow. */
static int walk_jump(struct walk *w, struct inode *link)
{
    struct file *f;
    struct dentry *d;
    int err = link->ops->jump(link, &f);
    if (err)
        return err;
    err = file_dentry(f, &d);
    file_put(f);
    if (err)
        return err;
    walk_to(w, d);
    return 0;
}

/* Puts the target of a link before the rest. */
static int substitute(struct walk *w, struct inode *link)
{
    size_t rest = strlen(w->rest), room = PATH_MAX;
    char *buf = kmalloc(room + rest + 3);
    if (!buf)
        return -ENOMEM;
    ssize_t len = link->ops->readlink(link, buf, room);
    if (len <= 0 || len >= (ssize_t)room) {
        kfree(buf);
        return len < 0 ? (int)len : len ? -ENAMETOOLONG : -ENOENT;
    }
    if (w->slash)
        buf[len++] = '/';
    memcpy(buf + len, w->rest, rest + 1);
    kfree(w->buf);
    w->rest = w->buf = buf;
    return 0;
}

int walk_follow(struct walk *w, struct dentry *d)
{
    struct inode *link = d->inode;
    if (++w->links > LINKS_MAX)
        return -ELOOP;
    if (link->ops->jump)
        return walk_jump(w, link);
    int err = substitute(w, link);
    if (err)
        return err;
    inode_accessed(link);
    if (*w->rest == '/') {
        dentry_get(root_mount->root);
        walk_to(w, root_mount->root);
    }
    return 0;
}

int walk_parent(struct walk *w)
{
    while (next_component(w) && *w->rest) {
        struct dentry *d;
        int err = walk_last(w, &d);
        if (err)
            return err;
        if (is_link(d->inode)) {
            err = walk_follow(w, d);
            dentry_put(d);
            if (err)
                return err;
            continue;
        }
        walk_to(w, d);
        if (!is_dir(d->inode))
            return -ENOTDIR;
    }
    return 0;
}

int vfs_lookup(struct vfs_path at, const char *path, u32 flags, struct vfs_path *out)
{
    struct walk w;
    struct dentry *d = NULL;
    int err = walk_start(&w, at, path);
    while (!err) {
        err = walk_parent(&w);
        if (err)
            break;
        /* A jump link at the end leaves nothing to walk: the place itself is the result, whatever its type.
         */
        if (w.last == LAST_ROOT) {
            d = w.dir;
            dentry_get(d);
        } else {
            err = walk_last(&w, &d);
        }
        if (err || !is_link(d->inode) || ((flags & VFS_NOFOLLOW) && !w.slash))
            break;
        err = walk_follow(&w, d);
        dentry_put(d);
        d = NULL;
    }
    if (!err && ((flags & VFS_DIRECTORY) || w.slash) && !is_dir(d->inode))
        err = -ENOTDIR;
    walk_end(&w);
    if (err) {
        dentry_put(d);
        return err;
    }
    out->dentry = d;
    return 0;
}

/* Prepends text to the name being built backwards in buf[0..*at). False: no room. */
static bool prepend(char *buf, size_t *at, const char *text, size_t len)
{
    if (*at < len)
        return false;
    *at -= len;
    memcpy(buf + *at, text, len);
    return true;
}

static struct dentry *above(struct dentry *d)
{
    while (!d->parent && d->root_of && d->root_of->covers)
        d = d->root_of->covers;
    return d;
}

static bool build_name(struct dentry *d, char *buf, size_t *at)
{
    bool any = false;
    for (;;) {
        d = above(d);
        if (!d->parent)
            break;
        if (!prepend(buf, at, d->name, d->len) || !prepend(buf, at, "/", 1))
            return false;
        any = true;
        d = d->parent;
    }
    if (!d->root_of) /* detached: a pipe's name and the like */
        return prepend(buf, at, d->name, d->len);
    return any || prepend(buf, at, "/", 1);
}

ssize_t vfs_path_name(struct vfs_path p, char *buf, size_t size)
{
    static const char deleted[] = " (deleted)";
    size_t at = size;
    mutex_lock(&rename_lock);
    /* A directory of a volume may have been removed by another dentry of the same name. */
    bool gone =
        p.dentry->parent && (p.dentry->unlinked || (is_dir(p.dentry->inode) && !p.dentry->inode->nlink));
    bool fits =
        prepend(buf, &at, gone ? deleted : "", gone ? sizeof(deleted) : 1) && build_name(p.dentry, buf, &at);
    mutex_unlock(&rename_lock);
    if (!fits)
        return -ERANGE;
    memmove(buf, buf + at, size - at);
    return gone ? -ENOENT : (ssize_t)(size - at);
}
