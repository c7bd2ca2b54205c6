/*
 * The areas: a balanced tree by address (AVL: Adelson-Velsky and Landis, 1962), each node carrying the
 * largest free gap below any area of its subtree, so that the highest fitting gap is found in one descent.
 * For every node n:  n.gap = n.start - (end of the area before n, or PROGRAM_START)
 *                    n.max_gap = max(n.gap, n.left.max_gap, n.right.max_gap)
 */
#include "kernel/base/panic.h"
#include "mm/vm/internal.h"

static struct vm_area *root;
static struct list in_order = LIST_INIT(in_order);

const struct vm_area *area_root(void)
{
    return __atomic_load_n(&root, __ATOMIC_RELAXED);
}

struct vm_area *area_next(const struct vm_area *a)
{
    return a->order.next == &in_order ? NULL : list_entry(a->order.next, struct vm_area, order);
}

struct vm_area *area_prev(const struct vm_area *a)
{
    return a->order.prev == &in_order ? NULL : list_entry(a->order.prev, struct vm_area, order);
}

struct vm_area *area_last(void)
{
    return list_empty(&in_order) ? NULL : list_entry(in_order.prev, struct vm_area, order);
}

struct vm_area *area_after(u64 addr)
{
    struct vm_area *found = NULL;
    for (struct vm_area *n = root; n;) {
        if (n->end > addr) {
            found = n;
            n = n->start <= addr ? NULL : n->left;
        } else {
            n = n->right;
        }
    }
    return found;
}

struct vm_area *area_at(u64 addr)
{
    struct vm_area *a = area_after(addr);
    return a && a->start <= addr ? a : NULL;
}

/* ---- the tree ---- */

static u32 height(const struct vm_area *n)
{
    return n ? n->height : 0;
}

static u64 max_gap(const struct vm_area *n)
{
    return n ? n->max_gap : 0;
}

static void update(struct vm_area *n)
{
    n->height = 1 + MAX(height(n->left), height(n->right));
    n->max_gap = MAX(n->gap, MAX(max_gap(n->left), max_gap(n->right)));
}

/* Makes child take the place of n under n's parent. */
static void replace(struct vm_area *n, struct vm_area *child)
{
    struct vm_area *p = n->parent;
    if (!p)
        root = child;
    else if (p->left == n)
        p->left = child;
    else
        p->right = child;
    if (child)
        child->parent = p;
}

static struct vm_area *rotate_left(struct vm_area *n)
{
    struct vm_area *r = n->right;
    replace(n, r);
    n->right = r->left;
    if (r->left)
        r->left->parent = n;
    r->left = n;
    n->parent = r;
    update(n);
    update(r);
    return r;
}

static struct vm_area *rotate_right(struct vm_area *n)
{
    struct vm_area *l = n->left;
    replace(n, l);
    n->left = l->right;
    if (l->right)
        l->right->parent = n;
    l->right = n;
    n->parent = l;
    update(n);
    update(l);
    return l;
}

static struct vm_area *balance(struct vm_area *n)
{
    if (height(n->left) > height(n->right) + 1) {
        if (height(n->left->right) > height(n->left->left))
            rotate_left(n->left);
        return rotate_right(n);
    }
    if (height(n->right) > height(n->left) + 1) {
        if (height(n->right->left) > height(n->right->right))
            rotate_right(n->right);
        return rotate_left(n);
    }
    return n;
}

/*
 * Restores heights, gaps and balance from n upwards, as far as nodes change. A height of 0 marks a node whose
 * figures are not to be believed.
 */
static void fix_up(struct vm_area *n)
{
    bool changed = true;
    for (struct vm_area *above; n && changed; n = above) {
        u32 old_height = n->height;
        u64 old_gap = n->max_gap;
        update(n);
        struct vm_area *top = balance(n);
        changed = top != n || n->height != old_height || n->max_gap != old_gap;
        above = top->parent;
    }
}

/* Recomputes the gap below n after its start or its neighbour's end moved. */
static void set_gap(struct vm_area *n)
{
    struct vm_area *prev = area_prev(n);
    n->gap = n->start - (prev ? prev->end : PROGRAM_START);
}

static void gap_moved(struct vm_area *n)
{
    u64 old = n->gap;
    set_gap(n);
    if (n->gap != old)
        fix_up(n);
}

void area_insert(struct vm_area *a)
{
    struct vm_area **link = &root, *parent = NULL, *prev = NULL;
    while (*link) {
        parent = *link;
        if (a->start < parent->start) {
            link = &parent->left;
        } else {
            prev = parent;
            link = &parent->right;
        }
    }
    a->left = a->right = NULL;
    a->parent = parent;
    *link = a;
    list_push_front(prev ? &prev->order : &in_order, &a->order);
    struct vm_area *next = area_next(a);
    ASSERT((!prev || prev->end <= a->start) && (!next || a->end <= next->start));
    set_gap(a);
    a->height = 0; /* so that the walk up starts */
    fix_up(a);
    if (next)
        gap_moved(next);
}

/* Exchanges n, which has two children, with its successor's place in the tree. */
static void swap_with_successor(struct vm_area *n)
{
    struct vm_area *s = area_next(n), *right = s->right, *parent = s->parent;
    replace(n, s);
    s->left = n->left;
    s->left->parent = s;
    if (parent == n) {
        s->right = n;
        n->parent = s;
    } else {
        s->right = n->right;
        s->right->parent = s;
        parent->left = n;
        n->parent = parent;
    }
    n->left = NULL;
    n->right = right;
    if (right)
        right->parent = n;
}

void area_remove(struct vm_area *a)
{
    struct vm_area *next = area_next(a), *swapped = a->left && a->right ? next : NULL;
    if (swapped)
        swap_with_successor(a);
    struct vm_area *parent = a->parent;
    replace(a, a->left ? a->left : a->right);
    list_del(&a->order);
    if (parent)
        parent->height = 0; /* it lost a child: so that the walk up starts */
    fix_up(parent);
    if (swapped && swapped != parent) {
        swapped->height = 0; /* its figures are those of its former place */
        fix_up(swapped);
    }
    if (next)
        gap_moved(next);
}

void area_resize(struct vm_area *a, u64 start, u64 end)
{
    struct vm_area *next = area_next(a);
    a->start = start;
    a->end = end;
    gap_moved(a);
    if (next)
        gap_moved(next);
}

/* The highest aligned place of len bytes in the gap [gap_start, gap_end) cut to [low, high); 0: none. */
static u64 fit(u64 gap_start, u64 gap_end, u64 len, u64 align, u64 low, u64 high)
{
    gap_start = MAX(gap_start, low);
    gap_end = MIN(gap_end, high);
    if (gap_end < gap_start || gap_end - gap_start < len)
        return 0;
    u64 at = ALIGN_DOWN(gap_end - len, align);
    return at >= gap_start ? at : 0;
}

static u64 find_below(struct vm_area *n, u64 len, u64 align, u64 low, u64 high)
{
    while (n && n->max_gap >= len) {
        u64 at = n->start < high ? find_below(n->right, len, align, low, high) : 0;
        if (!at && n->gap >= len)
            at = fit(n->start - n->gap, n->start, len, align, low, high);
        if (at || n->start - n->gap <= low)
            return at;
        n = n->left;
    }
    return 0;
}

u64 area_find_gap(u64 len, u64 align, u64 low, u64 high)
{
    struct vm_area *last = area_last();
    u64 at = fit(last ? last->end : PROGRAM_START, PROGRAM_END, len, align, low, high);
    return at ? at : find_below(root, len, align, low, high);
}
