/* Reading in the background, while the program starts, the files that the image says its start will need. */
#include "kernel/fs/internal.h"
#include "sched/thread.h"

#define LIST_PATH "/moka/prefetch" /* paths, one a line, most wanted first: docs/BOOT.md */
#define LIST_MAX  4096u

/* A file that a quarter of the free memory would not hold is left to reading on demand. */
static void prefetch_file(const char *path)
{
    struct vfs_path root = vfs_root(), p;
    if (!vfs_lookup(root, path, 0, &p)) {
        struct inode *inode = vfs_path_inode(p);
        if (is_reg(inode) && inode->object.size >> PAGE_SHIFT < phys_free_pages() / 4)
            vm_object_read_ahead(&inode->object, 0, ~0UL);
        vfs_path_put(p);
    }
    vfs_path_put(root);
}

static void prefetch_listed(struct file *list)
{
    char *text = kmalloc(LIST_MAX + 1);
    ssize_t n = text ? file_read_kernel(list, text, LIST_MAX, 0) : 0;
    if (n > 0)
        text[n] = 0;
    for (char *line = text, *end; n > 0 && (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        prefetch_file(line);
    }
    kfree(text);
}

static void prefetch_thread(void *arg)
{
    struct vfs_path root = vfs_root();
    struct file *list;
    if (!vfs_open(root, LIST_PATH, O_RDONLY, 0, &list)) {
        prefetch_listed(list);
        file_put(list);
    }
    vfs_path_put(root);
    thread_exit();
}

void vfs_prefetch(void)
{
    struct thread *t = thread_create("prefetch", prefetch_thread, NULL, false);
    if (t)
        thread_start(t);
}
