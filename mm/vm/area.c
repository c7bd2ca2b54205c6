/*
 * The areas: a balanced tree by address (AVL: Adelson-Velsky and Landis, 1962), each node carrying the
 * largest free gap below any area of its subtree, so that the highest fitting gap is found in one descent.
 * For every node n:  n.gap = n.start - (end of the area before n, or PROGRAM_START)
 *                    n.max_gap = max(n.gap, n.left.max_gap, n.right.max_gap)
 *
 * Not every area is a node. Cutting an area and joining it again, as mprotect(2) does all the time, must not
 * rebalance a tree: so an area that touches the one before it may be a follower, which only the list in_order
 * knows, of the last node before it, its leader. A node has at most TAIL_MAX followers, and they are the
 * areas that come right after it; everything between the start of a node and the end of its last follower is
 * mapped.
 */
#include "kernel/base/panic.h"
#include "mm/vm/internal.h"

#define TAIL_MAX 8
#define FOLLOWS  (~0u) /* vm_area.tail of a follower; its parent is its leader */

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
    struct vm_area *low = NULL; /* the last node that starts at or below addr */
    for (struct vm_area *n = root; n;) {
        if (n->start > addr) {
            n = n->left;
        } else {
            low = n;
            n = n->end > addr ? NULL : n->right;
        }
    }
    struct list *l = low ? &low->order : in_order.next;
    for (; l != &in_order; l = l->next) {
        struct vm_area *a = list_entry(l, struct vm_area, order);
        if (a->end > addr)
            return a;
    }
    return NULL;
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

/* Exchanges n, which has two children, with s, the node after it, in the tree. */
static void swap_with_successor(struct vm_area *n, struct vm_area *s)
{
    struct vm_area *right = s->right, *parent = s->parent;
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

/* The node after n, which has a right child. */
static struct vm_area *successor(struct vm_area *n)
{
    for (n = n->right; n->left;)
        n = n->left;
    return n;
}

/* Takes a node out of the tree; it stays in the list. */
static void node_remove(struct vm_area *a)
{
    struct vm_area *swapped = a->left && a->right ? successor(a) : NULL;
    if (swapped)
        swap_with_successor(a, swapped);
    struct vm_area *parent = a->parent;
    replace(a, a->left ? a->left : a->right);
    if (parent)
        parent->height = 0; /* it lost a child: so that the walk up starts */
    fix_up(parent);
    if (swapped && swapped != parent) {
        swapped->height = 0; /* its figures are those of its former place */
        fix_up(swapped);
    }
}

/* ---- followers ---- */

/* Restores heights and balance from n upwards after the height of one of its children changed, but no gap. */
static void fix_heights(struct vm_area *n)
{
    while (n) {
        u32 l = height(n->left), r = height(n->right), old = n->height;
        if (likely(l <= r + 1 && r <= l + 1))
            n->height = 1 + MAX(l, r);
        else
            n = balance(n);
        if (n->height == old)
            return;
        n = n->parent;
    }
}

/* Makes leader that of the count areas from f on. */
static void lead(struct vm_area *leader, struct vm_area *f, u32 count)
{
    leader->tail = count;
    for (; count; count--, f = area_next(f)) {
        f->tail = FOLLOWS;
        f->parent = leader;
    }
}

/* Makes a follower a node; it takes over those that follow after it. */
static void promote(struct vm_area *f)
{
    struct vm_area *leader = f->parent;
    u32 before = 0;
    for (struct vm_area *a = area_next(leader); a != f; a = area_next(a))
        before++;
    lead(f, area_next(f), leader->tail - before - 1);
    leader->tail = before;
    struct vm_area *parent = leader->right ? successor(leader) : leader;
    f->left = f->right = NULL;
    f->parent = parent;
    *(parent == leader ? &parent->right : &parent->left) = f;
    set_gap(f);
    f->max_gap = f->gap;
    f->height = 1;
    if (f->gap) {
        f->height = 0;
        fix_up(f);
    } else {
        fix_heights(parent);
    }
}

/* Puts a into the tree in the place of node n. */
static void take_place(struct vm_area *n, struct vm_area *a)
{
    replace(n, a);
    a->left = n->left;
    a->right = n->right;
    if (a->left)
        a->left->parent = a;
    if (a->right)
        a->right->parent = a;
    a->height = n->height;
    a->gap = n->gap;
    a->max_gap = n->max_gap;
}

/* The first follower of a node takes its place and its other followers; a is neither any more. */
static void succeed(struct vm_area *a)
{
    struct vm_area *f = area_next(a);
    take_place(a, f);
    lead(f, area_next(f), a->tail - 1);
}

/* Takes a out of tree and list; what comes after it keeps its place, whatever its gap is now. */
static void unlink(struct vm_area *a)
{
    if (a->tail == FOLLOWS)
        a->parent->tail--;
    else if (a->tail)
        succeed(a);
    else
        node_remove(a);
    list_del(&a->order);
}

/* The end of the area before a moved, or a's start. */
static void touched(struct vm_area *a)
{
    if (a->tail != FOLLOWS)
        gap_moved(a);
    else if (a->start != area_prev(a)->end)
        promote(a);
}

/* Makes a new area that comes right before node next, or last, a node of its own. */
static void node_insert(struct vm_area *a, struct vm_area *next)
{
    struct vm_area *prev = area_prev(a), *parent = next;
    u64 old_gap = next ? next->gap : 0;
    bool left = next && !next->left;
    if (!left)
        parent = prev && prev->tail == FOLLOWS ? prev->parent : prev;
    a->left = a->right = NULL;
    a->parent = parent;
    a->tail = 0;
    *(!parent ? &root : left ? &parent->left : &parent->right) = a;
    set_gap(a);
    if (next)
        set_gap(next);
    a->height = 0; /* so that the walk up starts */
    fix_up(a);
    if (next && next->gap != old_gap)
        fix_up(next);
}

/* Makes a the leader of next, which it touches, in next's place. */
static void node_precede(struct vm_area *a, struct vm_area *next)
{
    take_place(next, a);
    lead(a, next, next->tail + 1);
    gap_moved(a);
}

void area_insert(struct vm_area *a, struct vm_area *next)
{
    struct vm_area *prev = next ? area_prev(next) : area_last();
    ASSERT((!prev || prev->end <= a->start) && (!next || a->end <= next->start));
    list_push_front(prev ? &prev->order : &in_order, &a->order);
    struct vm_area *leader = prev && prev->tail == FOLLOWS ? prev->parent : prev;
    if (prev && prev->end == a->start && leader->tail < TAIL_MAX) {
        leader->tail++;
        a->tail = FOLLOWS;
        a->parent = leader;
        if (next)
            gap_moved(next);
    } else if (next && a->end == next->start && next->tail < TAIL_MAX) {
        node_precede(a, next);
    } else {
        node_insert(a, next);
    }
}

void area_remove(struct vm_area *a)
{
    struct vm_area *next = area_next(a);
    unlink(a);
    if (next)
        touched(next);
}

void area_resize(struct vm_area *a, u64 start, u64 end)
{
    struct vm_area *next = area_next(a);
    a->start = start;
    a->end = end;
    touched(a);
    if (next)
        touched(next);
}

/* ---- neighbours that touch ---- */

void area_split(struct vm_area *a, u64 addr, struct vm_area *upper)
{
    ASSERT(addr > a->start && addr < a->end);
    struct vm_area *leader = a->tail == FOLLOWS ? a->parent : a;
    upper->start = addr;
    upper->end = a->end;
    a->end = addr;
    upper->parent = leader;
    upper->tail = FOLLOWS;
    list_push_front(&a->order, &upper->order);
    if (likely(++leader->tail <= TAIL_MAX))
        return;
    struct vm_area *middle = leader;
    for (u32 i = 0; i < TAIL_MAX / 2; i++)
        middle = area_next(middle);
    promote(middle);
}

void area_join(struct vm_area *a, struct vm_area *next)
{
    u64 end = next->end;
    ASSERT(a->end == next->start && area_next(a) == next);
    unlink(next); /* its gap was 0: no other changes */
    a->end = end;
}

void area_move_border(struct vm_area *a, struct vm_area *next, u64 addr)
{
    ASSERT(a->end == next->start && addr > a->start && addr < next->end);
    a->end = next->start = addr;
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
