/*
 * Pages of an object by index: a radix tree whose leaves hold 8 pages and whose inner nodes hold 64, so that
 * a small file costs 64 bytes. obj->height: 0 empty; 1 the root is a leaf; each level more, times 64. Guarded
 * by the object's lock.
 */
#include "kernel/base/unwind.h"
#include "mm/vm/internal.h"

#define LEAF_BITS 3
#define NODE_BITS 6

static u32 slots(u32 height)
{
    return 1u << (height == 1 ? LEAF_BITS : NODE_BITS);
}

/* Index bits below the slots of a node of this height. */
static u32 shift(u32 height)
{
    return height == 1 ? 0 : LEAF_BITS + NODE_BITS * (height - 2);
}

static u32 slot_of(u64 index, u32 height)
{
    return (index >> shift(height)) & (slots(height) - 1);
}

static bool within(u64 index, u32 height)
{
    return height && (height > 10 || !(index >> shift(height + 1)));
}

struct page *radix_get(struct vm_object *obj, u64 index)
{
    if (!within(index, obj->height))
        return NULL;
    void **node = obj->pages;
    for (u32 h = obj->height; h > 1 && node; h--)
        node = node[slot_of(index, h)];
    return node ? node[slot_of(index, 1)] : NULL;
}

bool radix_peek(const struct vm_object *obj, u64 index, struct page **page)
{
    *page = NULL;
    if (!within(index, obj->height))
        return true;
    void *node = obj->pages;
    for (u32 h = obj->height; h && node; h--)
        if (!unwind_peek((u64)node + slot_of(index, h) * sizeof(node), &node, sizeof(node)))
            return false;
    *page = node;
    return true;
}

static void **node_create(u32 height)
{
    return kmalloc(slots(height) * sizeof(void *));
}

static int grow(struct vm_object *obj, u64 index)
{
    while (!within(index, obj->height)) {
        u32 height = obj->height + 1;
        while (!obj->pages && !within(index, height))
            height++;
        void **node = node_create(height);
        if (!node)
            return -ENOMEM;
        if (obj->pages)
            node[0] = obj->pages;
        obj->pages = node;
        obj->height = height;
    }
    return 0;
}

int radix_set(struct vm_object *obj, u64 index, struct page *page)
{
    if (grow(obj, index))
        return -ENOMEM;
    void **node = obj->pages;
    for (u32 h = obj->height; h > 1; h--) {
        void **slot = &node[slot_of(index, h)];
        if (!*slot && !(*slot = node_create(h - 1)))
            return -ENOMEM;
        node = *slot;
    }
    node[slot_of(index, 1)] = page;
    obj->page_count++;
    return 0;
}

static bool node_empty(void **node, u32 height)
{
    for (u32 i = 0; i < slots(height); i++)
        if (node[i])
            return false;
    return true;
}

/* Removes from a subtree; *slot becomes NULL when its node is empty then. */
static struct page *remove_below(void **slot, u32 height, u64 index)
{
    void **node = *slot;
    if (!node)
        return NULL;
    void **child = &node[slot_of(index, height)];
    struct page *page;
    if (height == 1) {
        page = *child;
        *child = NULL;
    } else {
        page = remove_below(child, height - 1, index);
    }
    if (!*child && page && node_empty(node, height)) {
        kfree(node);
        *slot = NULL;
    }
    return page;
}

struct page *radix_remove(struct vm_object *obj, u64 index)
{
    if (!within(index, obj->height))
        return NULL;
    struct page *page = remove_below(&obj->pages, obj->height, index);
    if (page)
        obj->page_count--;
    if (!obj->pages)
        obj->height = 0;
    return page;
}

static struct page *next_below(void **node, u32 height, u64 *index)
{
    for (u32 i = slot_of(*index, height); i < slots(height); i++) {
        u64 slot_end = ((*index >> shift(height)) + 1) << shift(height);
        struct page *page = NULL;
        if (node[i])
            page = height == 1 ? node[i] : next_below(node[i], height - 1, index);
        if (page)
            return page;
        *index = slot_end;
    }
    return NULL;
}

struct page *radix_next(struct vm_object *obj, u64 *index)
{
    return within(*index, obj->height) ? next_below(obj->pages, obj->height, index) : NULL;
}

static void free_below(void **node, u32 height)
{
    for (u32 i = 0; height > 1 && i < slots(height); i++)
        if (node[i])
            free_below(node[i], height - 1);
    kfree(node);
}

void radix_free(struct vm_object *obj)
{
    if (obj->pages)
        free_below(obj->pages, obj->height);
    obj->pages = NULL;
    obj->height = 0;
}
