/*
 * Host test of kernel/fs: paths, names, files in memory, an EROFS image against the directory it was made of,
 * damaged images, several threads at once. Arguments: IMAGE DIRECTORY [IMAGE2 for fuzzing only ...].
 */
#include "kernel/fs/memfs.h"
#include "virtio/virtio.h"

int printf(const char *fmt, ...);
void *malloc(size_t n);
void free(void *p);
void exit(int);
void arena_init(void);
void disk_set(void *data, u64 size);
void *read_whole(const char *path, u64 *size);
void run_threads(unsigned count, void *(*fn)(void *));
u64 frames_used(void);
extern char last_error[];
extern unsigned error_count;

static u32 failures;
#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            printf("not ok fs: %s:%d: %s\n", __func__, __LINE__, #cond);                                     \
            failures++;                                                                                      \
        }                                                                                                    \
    } while (0)
#define CHECK_IS(call, want)                                                                                 \
    do {                                                                                                     \
        s64 got_ = (call);                                                                                   \
        if (got_ != (s64)(want)) {                                                                           \
            printf("not ok fs: %s:%d: %s is %ld, not %ld\n", __func__, __LINE__, #call, got_, (s64)(want));  \
            failures++;                                                                                      \
        }                                                                                                    \
    } while (0)

static struct vfs_path root(void)
{
    return (struct vfs_path){root_mount->root};
}

static int open_close(const char *path, u32 flags)
{
    struct file *f;
    int err = vfs_open(root(), path, flags, 0644, &f);
    if (!err)
        file_put(f);
    return err;
}

static int lookup(const char *path, u32 flags)
{
    struct vfs_path p;
    int err = vfs_lookup(root(), path, flags, &p);
    if (!err)
        vfs_path_put(p);
    return err;
}

static int stat(const char *path, struct vfs_stat *st)
{
    struct vfs_path p;
    int err = vfs_lookup(root(), path, VFS_NOFOLLOW, &p);
    if (!err) {
        err = vfs_stat(p.dentry->inode, st);
        vfs_path_put(p);
    }
    return err;
}

static void test_paths(void)
{
    char buf[256], longname[NAME_MAX + 8];
    CHECK_IS(vfs_mkdir(root(), "/p", 0755), 0);
    CHECK_IS(vfs_mkdir(root(), "/p", 0755), -EEXIST);
    CHECK_IS(vfs_mkdir(root(), "/p/a/", 0755), 0);
    CHECK_IS(vfs_mkdir(root(), "/none/a", 0755), -ENOENT);
    CHECK_IS(vfs_mkdir(root(), "/", 0755), -EEXIST);
    CHECK_IS(open_close("/p/a/f", O_WRONLY | O_CREAT | O_EXCL), 0);
    CHECK_IS(open_close("/p/a/f", O_WRONLY | O_CREAT | O_EXCL), -EEXIST);
    CHECK_IS(open_close("/p/a/f/", O_RDONLY), -ENOTDIR);
    CHECK_IS(open_close("/p/a/f/x", O_RDONLY), -ENOTDIR);
    CHECK_IS(open_close("/p/a/new/", O_RDWR | O_CREAT), -EISDIR);
    CHECK_IS(open_close("/p/a", O_RDWR), -EISDIR);
    CHECK_IS(open_close("/p/a", O_RDONLY | O_CREAT), -EISDIR);
    CHECK_IS(open_close("/p/a/f", O_RDONLY | O_DIRECTORY), -ENOTDIR);
    CHECK_IS(open_close("/p/../p/./a/../a/f", O_RDONLY), 0);
    CHECK_IS(lookup("/../../..", 0), 0);
    CHECK_IS(lookup("", 0), -ENOENT);
    CHECK_IS(lookup("p//a///f", 0), 0);
    CHECK_IS(lookup("/p/a/f/..", 0), -ENOTDIR);
    memset(longname, 'x', sizeof(longname));
    longname[0] = '/';
    longname[NAME_MAX + 1] = 0;
    CHECK_IS(open_close(longname, O_RDWR | O_CREAT), 0);
    CHECK_IS(vfs_unlink(root(), longname), 0);
    longname[NAME_MAX + 1] = 'x';
    longname[NAME_MAX + 2] = 0;
    CHECK_IS(open_close(longname, O_RDWR | O_CREAT), -ENAMETOOLONG);
    CHECK_IS(vfs_symlink("a/f", root(), "/p/l"), 0);
    CHECK_IS(open_close("/p/l", O_RDONLY), 0);
    CHECK_IS(open_close("/p/l", O_RDONLY | O_NOFOLLOW), -ELOOP);
    CHECK_IS(open_close("/p/l", O_PATH | O_NOFOLLOW), 0);
    CHECK_IS(open_close("/p/l", O_RDWR | O_CREAT | O_EXCL), -EEXIST);
    CHECK_IS(lookup("/p/l/", 0), -ENOTDIR);
    CHECK_IS(vfs_symlink("loop", root(), "/p/loop"), 0);
    CHECK_IS(lookup("/p/loop", 0), -ELOOP);
    CHECK_IS(lookup("/p/loop", VFS_NOFOLLOW), 0);
    CHECK_IS(lookup("/p/loop/x", VFS_NOFOLLOW), -ELOOP);
    CHECK_IS(vfs_symlink("dangling", root(), "/p/d"), 0);
    CHECK_IS(open_close("/p/d", O_RDWR | O_CREAT), 0);
    CHECK_IS(lookup("/p/dangling", 0), 0);
    CHECK_IS(vfs_symlink("/p/a", root(), "/p/abs"), 0);
    CHECK_IS(lookup("/p/abs/f", 0), 0);
    CHECK_IS(vfs_readlink(root(), "/p/abs", buf, sizeof(buf)), 4);
    CHECK_IS(vfs_readlink(root(), "/p/abs", buf, 2), 2);
    CHECK_IS(vfs_readlink(root(), "/p/a", buf, 2), -EINVAL);
    CHECK_IS(vfs_rmdir(root(), "/p"), -ENOTEMPTY);
    CHECK_IS(vfs_rmdir(root(), "/p/a/."), -EINVAL);
    CHECK_IS(vfs_rmdir(root(), "/p/a/.."), -ENOTEMPTY);
    CHECK_IS(vfs_rmdir(root(), "/p/a/f"), -ENOTDIR);
    CHECK_IS(vfs_unlink(root(), "/p/a"), -EISDIR);
    CHECK_IS(vfs_unlink(root(), "/p/none"), -ENOENT);
}

static void test_names(void)
{
    char buf[256];
    struct vfs_path p;
    struct vfs_stat st, st2;
    CHECK_IS(vfs_lookup(root(), "/p/a/f", 0, &p), 0);
    CHECK_IS(vfs_path_name(p, buf, sizeof(buf)), 7);
    CHECK(!strcmp(buf, "/p/a/f"));
    CHECK_IS(vfs_path_name(p, buf, 3), -ERANGE);
    CHECK_IS(vfs_rename(root(), "/p/a", root(), "/p/b", 0), 0);
    CHECK_IS(vfs_path_name(p, buf, sizeof(buf)), 7);
    CHECK(!strcmp(buf, "/p/b/f"));
    CHECK_IS(vfs_rename(root(), "/p/b", root(), "/p/b/c", 0), -EINVAL);
    CHECK_IS(vfs_rename(root(), "/p/b/f", root(), "/p/b", 0), -ENOTEMPTY);
    CHECK_IS(vfs_mkdir(root(), "/p/e", 0700), 0);
    CHECK_IS(vfs_rename(root(), "/p/b/f", root(), "/p/e", 0), -EISDIR);
    CHECK_IS(vfs_rename(root(), "/p/e", root(), "/p/b/f", 0), -ENOTDIR);
    CHECK_IS(vfs_rename(root(), "/p/e", root(), "/p/b", VFS_RENAME_NOREPLACE), -EEXIST);
    CHECK_IS(vfs_rename(root(), "/p/e", root(), "/p/b", VFS_RENAME_EXCHANGE), 0);
    CHECK_IS(lookup("/p/e/f", 0), 0);
    CHECK_IS(vfs_rename(root(), "/p/e", root(), "/p/b", 0), 0);
    CHECK_IS(vfs_link(root(), "/p/b/f", root(), "/p/f2", 0), 0);
    CHECK_IS(stat("/p/f2", &st), 0);
    CHECK_IS(stat("/p/b/f", &st2), 0);
    CHECK(st.nlink == 2 && st.ino == st2.ino && st.dev == st2.dev);
    CHECK_IS(vfs_rename(root(), "/p/f2", root(), "/p/b/f", 0), 0);
    CHECK_IS(lookup("/p/f2", 0), 0); /* two names of one file: nothing happens */
    CHECK_IS(vfs_unlink(root(), "/p/b/f"), 0);
    CHECK_IS(vfs_path_name(p, buf, sizeof(buf)), -ENOENT);
    CHECK(!strcmp(buf, "/p/b/f (deleted)"));
    CHECK_IS(stat("/p/f2", &st), 0);
    CHECK_IS(st.nlink, 1);
    vfs_path_put(p);
    CHECK_IS(stat("/p", &st), 0);
    CHECK_IS(st.nlink, 3);
    CHECK_IS(vfs_link(root(), "/p/b", root(), "/p/hard", 0), -EPERM);
    CHECK_IS(vfs_rename(root(), "/p/b", root(), "/proc/b", 0), -EXDEV);
    CHECK_IS(vfs_rename(root(), "/p/b/..", root(), "/p/x", 0), -EBUSY);
    CHECK_IS(open_close("/proc/x", O_RDWR | O_CREAT), -EACCES);
    CHECK_IS(vfs_rmdir(root(), "/proc"), -EBUSY);
}

static void test_files(void)
{
    struct file *f, *g;
    struct vfs_stat st;
    char buf[64];
    CHECK_IS(vfs_open(root(), "/p/data", O_RDWR | O_CREAT, 0600, &f), 0);
    CHECK_IS(file_write_kernel(f, "hello", 5, 0), 5);
    CHECK_IS(file_write_kernel(f, "world", 5, 3 * PAGE_SIZE - 2), 5);
    CHECK_IS(vfs_stat(f->inode, &st), 0);
    CHECK_IS(st.size, 3 * PAGE_SIZE + 3);
    CHECK_IS(st.blocks, 3 * 8);
    CHECK_IS(file_seek(f, 0, 3), 0);
    CHECK_IS(file_seek(f, 0, 4), PAGE_SIZE);
    CHECK_IS(file_seek(f, PAGE_SIZE, 3), 2 * PAGE_SIZE);
    CHECK_IS(file_seek(f, 3 * PAGE_SIZE + 3, 3), -ENXIO);
    CHECK_IS(file_seek(f, -1, 0), -EINVAL);
    CHECK_IS(file_read_kernel(f, buf, 64, PAGE_SIZE + 10), 64);
    CHECK(!memchr(buf, 'h', 64));
    CHECK_IS(file_read_kernel(f, buf, 64, 3 * PAGE_SIZE), 3);
    CHECK(!memcmp(buf, "rld", 3));
    CHECK_IS(vfs_truncate_file(f, 3), 0);
    CHECK_IS(vfs_truncate_file(f, 10), 0);
    CHECK_IS(file_read_kernel(f, buf, 64, 0), 10);
    CHECK(!memcmp(buf, "hel\0\0\0\0\0\0\0", 10));
    CHECK_IS(vfs_unlink(root(), "/p/data"), 0);
    CHECK_IS(file_read_kernel(f, buf, 64, 0), 10);
    CHECK_IS(vfs_stat(f->inode, &st), 0);
    CHECK_IS(st.nlink, 0);
    file_put(f);
    CHECK_IS(vfs_open(root(), "/p", O_TMPFILE | O_RDWR, 0600, &f), 0);
    CHECK_IS(file_write_kernel(f, "x", 1, 0), 1);
    file_put(f);
    CHECK_IS(vfs_open(root(), "/p", O_TMPFILE, 0600, &f), -EINVAL);
    CHECK_IS(vfs_open(root(), "/p/app", O_WRONLY | O_APPEND | O_CREAT, 0600, &f), 0);
    CHECK_IS(file_write_kernel(f, "12", 2, 0), 2);
    CHECK_IS(file_write_kernel(f, "34", 2, 0), 2);
    CHECK_IS(file_read_kernel(f, buf, 4, 0), -EBADF);
    CHECK_IS(vfs_open(root(), "/p/app", O_RDONLY, 0, &g), 0);
    CHECK_IS(file_read_kernel(g, buf, 64, 0), 4);
    CHECK(!memcmp(buf, "1234", 4));
    CHECK_IS(file_write_kernel(g, buf, 4, 0), -EBADF);
    file_put(f);
    CHECK_IS(vfs_open(root(), "/p/app", O_RDWR | O_TRUNC, 0, &f), 0);
    CHECK_IS(file_read_kernel(g, buf, 64, 0), 0);
    file_put(f);
    file_put(g);
    CHECK_IS(vfs_memfd("m", 0, false, &f), 0);
    CHECK_IS(f->ops->allocate(f, 0, 0, 5 * PAGE_SIZE), 0);
    CHECK_IS(f->inode->object.page_count, 5);
    CHECK_IS(f->ops->allocate(f, 3, 100, 3 * PAGE_SIZE), 0);
    CHECK_IS(f->inode->object.page_count, 3);
    CHECK_IS(f->inode->object.size, 5 * PAGE_SIZE);
    CHECK_IS(f->ops->allocate(f, 2, 0, 1), -EOPNOTSUPP);
    file_put(f);
}

/* What was replaced, removed, refused, or is left at the end of the inode, is freed: a sanitizer looks. */
static void test_xattrs(void)
{
    struct vfs_path none = {NULL};
    struct file *f;
    char buf[64];
    CHECK_IS(vfs_memfd("x", 0, false, &f), 0);
    CHECK_IS(xattr_set(f->inode, none, "user.a", "12", 2, XATTR_CREATE), 0);
    CHECK_IS(xattr_set(f->inode, none, "user.a", "345", 3, XATTR_CREATE), -EEXIST);
    CHECK_IS(xattr_set(f->inode, none, "user.b", "345", 3, XATTR_REPLACE), -ENODATA);
    CHECK_IS(xattr_set(f->inode, none, "user.a", "345", 3, 0), 0);
    CHECK_IS(xattr_set(f->inode, none, "user.b", "", 0, 0), 0);
    CHECK_IS(xattr_set(f->inode, none, "trusted.c", "6", 1, 0), 0);
    CHECK_IS(xattr_set(f->inode, none, "system.c", "6", 1, 0), -EOPNOTSUPP);
    CHECK_IS(xattr_get(f->inode, "user.a", buf, 3), 3);
    CHECK(!memcmp(buf, "345", 3));
    CHECK_IS(xattr_get(f->inode, "user.a", buf, 2), -ERANGE);
    CHECK_IS(xattr_remove(f->inode, none, "user.a"), 0);
    CHECK_IS(xattr_remove(f->inode, none, "user.a"), -ENODATA);
    CHECK_IS(xattr_list(f->inode, buf, sizeof(buf)), 17);
    CHECK_IS(xattr_list(f->inode, buf, 16), -ERANGE);
    CHECK_IS(xattr_list(f->inode, NULL, 0), 17);
    file_put(f);
    CHECK_IS(vfs_open(root(), "/proc", O_RDONLY, 0, &f), 0);
    CHECK_IS(xattr_set(f->inode, none, "user.a", "12", 2, 0), -EOPNOTSUPP);
    CHECK_IS(xattr_get(f->inode, "user.a", buf, 2), -EOPNOTSUPP);
    file_put(f);
}

/* What does not fit is written as far as it does. */
static void check_fills_up(struct file *f, u64 at)
{
    static char much[5 * PAGE_SIZE];
    ssize_t n = file_write_kernel(f, much, 100, at);
    for (u32 i = 0; i < 50 && n > 0; i++) {
        at += n;
        n = file_write_kernel(f, much, sizeof(much), at);
        if (n < (ssize_t)sizeof(much))
            break;
    }
    CHECK(n > 0 && n < (ssize_t)sizeof(much) && IS_ALIGNED(at + n, PAGE_SIZE));
    CHECK_IS(file_write_kernel(f, much, 1, at + n), -ENOSPC);
    CHECK_IS(file_write_kernel(f, much, 200, at + n - 100), 100);
    CHECK_IS(file_write_kernel(f, much, sizeof(much), 0), sizeof(much));
}

/* What statfs says is left is what files can have, and no more. */
static void test_space(void)
{
    struct vfs_statfs before, after;
    struct file *f;
    CHECK_IS(vfs_open(root(), "/p/space", O_RDWR | O_CREAT, 0600, &f), 0);
    CHECK_IS(vfs_statfs(f->inode, &before), 0);
    CHECK(before.bavail && before.bavail <= before.blocks);
    CHECK_IS(f->ops->allocate(f, 0, 0, (before.bavail + 1) * PAGE_SIZE), -ENOSPC);
    CHECK_IS(f->ops->allocate(f, 0, 0, 100 * PAGE_SIZE), 0);
    CHECK_IS(vfs_statfs(f->inode, &after), 0);
    CHECK_IS(after.blocks, before.blocks);
    CHECK(after.bavail <= before.bavail - 100);
    u64 at = (before.bavail - 200) * PAGE_SIZE;
    CHECK_IS(f->ops->allocate(f, 0, 0, at), 0);
    check_fills_up(f, at);
    CHECK_IS(vfs_unlink(root(), "/p/space"), 0);
    file_put(f);
    CHECK_IS(vfs_open(root(), "/p", O_RDONLY, 0, &f), 0);
    CHECK_IS(vfs_statfs(f->inode, &after), 0);
    CHECK_IS(after.bavail, before.bavail);
    file_put(f);
}

static void test_locks(void)
{
    struct file *f;
    struct vfs_lock found;
    int a, b;
    CHECK_IS(vfs_memfd("l", 0, false, &f), 0);
    CHECK_IS(vfs_lock(f, &(struct vfs_lock){0, 100, true, &a, 0}, false), 0);
    CHECK_IS(vfs_lock(f, &(struct vfs_lock){50, 60, false, &b, 0}, false), -EAGAIN);
    CHECK_IS(vfs_lock(f, &(struct vfs_lock){50, 60, true, &b, 1}, false), 0);
    vfs_unlock(f, &(struct vfs_lock){40, 70, false, &a, 0});
    CHECK_IS(vfs_lock(f, &(struct vfs_lock){50, 60, true, &b, 0}, false), 0);
    CHECK(vfs_lock_test(f, &(struct vfs_lock){65, 200, true, &b, 0}, &found));
    CHECK(found.start == 70 && found.end == 100 && found.owner == &a);
    CHECK(!vfs_lock_test(f, &(struct vfs_lock){60, 70, true, &b, 0}, &found));
    CHECK_IS(vfs_lock(f, &(struct vfs_lock){0, 40, true, &b, 0}, true), -ERESTART);
    CHECK_IS(vfs_lock(f, &(struct vfs_lock){0, 50, false, &a, 0}, false), 0);
    CHECK_IS(vfs_lock(f, &(struct vfs_lock){0, 10, false, &b, 0}, false), 0);
    vfs_unlock(f, &(struct vfs_lock){0, ~0UL, false, &a, 0});
    vfs_unlock(f, &(struct vfs_lock){0, ~0UL, false, &b, 0});
    vfs_unlock(f, &(struct vfs_lock){0, ~0UL, false, &b, 1});
    CHECK(list_empty(&f->inode->locks));
    file_put(f);
}

/* ---- directories under change ---- */

static int count_entry(void *arg, const char *name, u32 len, u64 ino, u32 type, u64 next)
{
    (*(u32 *)arg)++;
    return 0;
}

static int one_entry(void *arg, const char *name, u32 len, u64 ino, u32 type, u64 next)
{
    char *out = arg;
    if (*out)
        return 1;
    memcpy(out, name, len);
    out[len] = 0;
    return 0;
}

static void test_readdir(void)
{
    enum { N = 3000 };
    struct file *dir;
    char path[NAME_MAX + 16], name[NAME_MAX + 1];
    u32 count = 0;
    vfs_mkdir(root(), "/lots", 0755);
    for (u32 i = 0; i < N; i++) {
        snprintf(path, sizeof(path), "/lots/file%u", i);
        CHECK_IS(open_close(path, O_RDWR | O_CREAT), 0);
    }
    CHECK_IS(vfs_open(root(), "/lots", O_RDONLY | O_DIRECTORY, 0, &dir), 0);
    CHECK_IS(file_readdir(dir, count_entry, &count), 0);
    CHECK_IS(count, N + 2);
    CHECK_IS(file_seek(dir, 0, 0), 0);
    for (count = 0;; count++) {
        name[0] = 0;
        file_readdir(dir, one_entry, name);
        if (!name[0])
            break;
        snprintf(path, sizeof(path), "/lots/%s", name);
        if (name[0] != '.')
            CHECK_IS(vfs_unlink(root(), path), 0);
    }
    CHECK_IS(count, N + 2);
    CHECK_IS(vfs_rmdir(root(), "/lots"), 0);
    CHECK_IS(file_readdir(dir, count_entry, &count), -ENOENT);
    file_put(dir);
}

/* ---- an image against what it was made of ---- */

struct compare {
    const char *host;
    u32 files, dirs, links;
};
struct name_list {
    struct name_list *next;
    u32 type;
    char name[];
};

static int collect(void *arg, const char *name, u32 len, u64 ino, u32 type, u64 next)
{
    struct name_list **list = arg, *item = kmalloc(sizeof(*item) + len + 1);
    if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'))) {
        kfree(item);
        return 0;
    }
    memcpy(item->name, name, len);
    item->type = type;
    item->next = *list;
    *list = item;
    return 0;
}

static void compare_file(struct compare *c, const char *path)
{
    char host[1024];
    u64 size;
    struct file *f;
    snprintf(host, sizeof(host), "%s%s", c->host, path);
    char *want = read_whole(host, &size);
    CHECK(want != NULL);
    CHECK_IS(vfs_open(root(), path, O_RDONLY, 0, &f), 0);
    CHECK_IS(f->inode->object.size, size);
    char *got = malloc(size + PAGE_SIZE);
    CHECK_IS(file_read_kernel(f, got, size + PAGE_SIZE, 0), size);
    CHECK(!memcmp(got, want, size));
    file_put(f);
    free(got);
    free(want);
    c->files++;
}

static void compare_dir(struct compare *c, const char *path)
{
    struct file *dir;
    struct name_list *list = NULL, *next;
    CHECK_IS(vfs_open(root(), *path ? path : "/", O_RDONLY | O_DIRECTORY, 0, &dir), 0);
    CHECK_IS(file_readdir(dir, collect, &list), 0);
    file_put(dir);
    c->dirs++;
    for (; list; list = next) {
        char child[1024];
        struct vfs_stat st;
        next = list->next;
        snprintf(child, sizeof(child), "%s/%s", path, list->name);
        CHECK_IS(stat(child, &st), 0);
        CHECK_IS(st.mode & S_IFMT, list->type);
        if (list->type == S_IFREG)
            compare_file(c, child);
        else if (list->type == S_IFDIR && st.dev == root_mount->dev)
            compare_dir(c, child);
        else if (list->type == S_IFLNK)
            c->links++;
        kfree(list);
    }
}

/* What the image brings may be changed and never comes back. */
static void test_overwrite(void)
{
    struct file *f;
    char buf[64];
    struct vfs_stat st;
    CHECK_IS(vfs_open(root(), "/big", O_RDWR, 0, &f), 0);
    CHECK_IS(vfs_stat(f->inode, &st), 0);
    u64 size = st.size;
    CHECK_IS(file_write_kernel(f, "changed", 7, 10000), 7);
    CHECK_IS(file_read_kernel(f, buf, 8, 10000), 8);
    CHECK(!memcmp(buf, "changed", 7) && buf[7]);
    CHECK_IS(f->ops->allocate(f, 3, 20000, 10000), 0);
    CHECK_IS(file_read_kernel(f, buf, 4, 25000), 4);
    CHECK(!memcmp(buf, "\0\0\0\0", 4));
    CHECK_IS(file_seek(f, 0, 3), 0);
    CHECK_IS(file_seek(f, 0, 4), size);
    CHECK_IS(vfs_truncate_file(f, 100), 0);
    CHECK_IS(vfs_truncate_file(f, size), 0);
    CHECK_IS(file_read_kernel(f, buf, 64, 60), 64);
    CHECK(buf[39] && !buf[40] && !buf[63]);
    CHECK_IS(file_read_kernel(f, buf, 64, 8192), 64);
    CHECK(!buf[0] && !buf[63]);
    file_put(f);
    CHECK_IS(stat("/hard1", &st), 0);
    CHECK_IS(st.nlink, 2);
    CHECK_IS(vfs_unlink(root(), "/hard1"), 0);
    CHECK_IS(stat("/sub/hard2", &st), 0);
    CHECK_IS(st.nlink, 1);
    CHECK_IS(vfs_unlink(root(), "/small"), 0);
    CHECK_IS(lookup("/small", 0), -ENOENT);
    CHECK_IS(vfs_rename(root(), "/sub", root(), "/sub2", 0), 0);
    CHECK_IS(lookup("/sub2/hard2", 0), 0);
    CHECK_IS(lookup("/sub/hard2", 0), -ENOENT);
}

/* ---- damaged images ---- */

struct fuzz {
    struct erofs fs;
    u32 left, depth;
};

static int fuzz_entry(void *arg, const char *name, u32 len, u64 nid, u32 type)
{
    struct fuzz *z = arg;
    struct erofs_inode inode;
    if (!z->left || erofs_inode(&z->fs, nid, &inode))
        return 0;
    z->left--;
    if ((inode.mode & S_IFMT) == S_IFDIR && z->depth < 8) {
        z->depth++;
        erofs_readdir(&z->fs, &inode, fuzz_entry, z);
        z->depth--;
        return 0;
    }
    struct page *page;
    struct vm_object tmp;
    static const struct vm_object_ops none;
    vm_object_init(&tmp, &none, 0, NULL);
    u64 last = inode.size ? (inode.size - 1) >> PAGE_SHIFT : 0;
    for (u64 i = 0; i <= last && i < 4; i++) {
        vm_object_page(&tmp, i, true, &page);
        erofs_fill(&z->fs, &inode, inode.size, last - i, &page, 1);
        page_put(page);
    }
    vm_object_put(&tmp);
    return 0;
}

static u64 rng = 88172645463325252UL;

static u64 next_random(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}

static void fuzz_once(char *image, u64 size)
{
    struct fuzz *z = kmalloc(sizeof(*z));
    struct erofs_inode inode;
    z->left = 300;
    disk_set(image, size);
    if (!erofs_open(&z->fs, blk_get(0)) && !erofs_inode(&z->fs, z->fs.root, &inode))
        erofs_readdir(&z->fs, &inode, fuzz_entry, z);
    vm_object_put(&z->fs.image);
    kfree(z);
}

/* Flips bytes, mostly where metadata is (what is not 0 in the first blocks), and cuts the image short. */
static void test_fuzz(const char *path, u32 rounds)
{
    u64 size;
    char *good = read_whole(path, &size), *image = malloc(size);
    for (u32 i = 0; i < rounds; i++) {
        memcpy(image, good, size);
        u64 cut = i % 8 ? size : next_random() % (size + 1);
        for (u32 flips = 1 + next_random() % 8; flips; flips--) {
            u64 area = next_random() % 4 ? MIN(size, 16384UL) : size;
            u64 at = next_random() % area;
            if (at > 1024 + 4 || next_random() % 16 == 0)
                image[at] = next_random();
        }
        fuzz_once(image, cut);
    }
    free(image);
    free(good);
}

/* ---- several threads ---- */

static void *stress(void *arg)
{
    u64 seed = (u64)arg * 7919 + 13;
    for (u32 i = 0; i < 20000; i++) {
        char a[64], b[64];
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        u32 r = seed >> 33;
        snprintf(a, sizeof(a), "/s/d%u/x%u", r % 3, r / 3 % 5);
        snprintf(b, sizeof(b), "/s/d%u/x%u", r / 16 % 3, r / 64 % 5);
        switch (r / 1024 % 8) {
        case 0:
            open_close(a, O_RDWR | O_CREAT);
            break;
        case 1:
            vfs_unlink(root(), a);
            break;
        case 2:
            vfs_rename(root(), a, root(), b, r & 0x100000 ? VFS_RENAME_EXCHANGE : 0);
            break;
        case 3:
            vfs_mkdir(root(), a, 0755);
            break;
        case 4:
            vfs_rmdir(root(), a);
            break;
        case 5:
            snprintf(b, sizeof(b), "/s/d%u/x%u/y", r / 16 % 3, r / 64 % 5);
            vfs_rename(root(), a, root(), b, 0);
            break;
        case 6: {
            struct vfs_path p;
            if (!vfs_lookup(root(), a, 0, &p)) {
                vfs_path_name(p, a, sizeof(a));
                lookup("../..", 0);
                vfs_path_put(p);
            }
            break;
        }
        case 7:
            vfs_link(root(), a, root(), b, 0);
        }
    }
    return NULL;
}

static void test_threads(void)
{
    vfs_mkdir(root(), "/s", 0755);
    vfs_mkdir(root(), "/s/d0", 0755);
    vfs_mkdir(root(), "/s/d1", 0755);
    vfs_mkdir(root(), "/s/d2", 0755);
    run_threads(4, stress);
}

static void done(const char *what)
{
    if (!failures)
        printf("ok fs/%s\n", what);
}

/* ---- volumes ---- */

static char mounted[128];
static int mount_result;

int vfs_mount_9p(const char *tag, const char *dir, bool read_only)
{
    snprintf(mounted, sizeof(mounted), "%s on %.60s%s", tag, dir, read_only ? " ro" : "");
    return mount_result;
}

static void check_volume(const char *spec, int result, const char *want, const char *error)
{
    mounted[0] = last_error[0] = 0;
    mount_result = result;
    CHECK_IS(vfs_mount_volume(spec), *error ? -EINVAL : 0);
    CHECK(!strcmp(mounted, want));
    CHECK(*error ? strstr(last_error, error) != NULL : !*last_error);
}

static void test_volumes(void)
{
    char deep[700] = "v:/";
    check_volume("v0:/data", 0, "v0 on /data", "");
    check_volume("v0:/data:ro", 0, "v0 on /data ro", "");
    memset(deep + 3, 'd', 600);
    mounted[0] = 0;
    CHECK_IS(vfs_mount_volume(deep), 0);
    CHECK(!strncmp(mounted, "v on /ddd", 9));
    check_volume("v0", 0, "", "write TAG:/GUESTDIR");
    check_volume(":/data", 0, "", "write TAG:/GUESTDIR");
    check_volume("v0:", 0, "", "write TAG:/GUESTDIR");
    check_volume("v0:data", 0, "", "write TAG:/GUESTDIR");
    check_volume("", 0, "", "write TAG:/GUESTDIR");
    check_volume("v0:/data:rw", 0, "", "only :ro may follow");
    check_volume("v0:/data:", 0, "", "only :ro may follow");
    check_volume("v0:/data:ro:ro", 0, "", "only :ro may follow");
    check_volume("v9:/data", -ENODEV, "v9 on /data", "no 9p device has this mount tag");
}

int main(int argc, char **argv)
{
    u64 size;
    arena_init();
    vfs_init();
    if (argc > 2) {
        struct compare c = {.host = argv[2]};
        static void *image; /* reachable until the end */
        image = read_whole(argv[1], &size);
        disk_set(image, size);
        CHECK_IS(vfs_mount_root(), 0);
        compare_dir(&c, "");
        printf("# %u files, %u directories, %u links\n", c.files, c.dirs, c.links);
        test_overwrite();
        done("image");
        disk_set(image, size);
    }
    test_paths();
    test_names();
    done("paths");
    test_files();
    test_xattrs();
    test_space();
    test_locks();
    done("files");
    test_volumes();
    done("volumes");
    test_readdir();
    done("directories");
    test_threads();
    done("threads");
    for (int i = 3; i < argc; i++)
        test_fuzz(argv[i], 4000);
    done("fuzz");
    return failures != 0;
}
