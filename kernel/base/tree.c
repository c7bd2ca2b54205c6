/* AVL tree; see tree.h. */
#include "kernel/base/tree.h"

static int height(const struct tree_node *n)
{
    return n ? n->height : 0;
}

static void update_height(struct tree_node *n)
{
    int l = height(n->left), r = height(n->right);
    n->height = 1 + (l > r ? l : r);
}

/* Puts `with` where `old` hangs; with may be NULL. */
static void replace_child(struct tree *t, struct tree_node *parent, struct tree_node *old,
                          struct tree_node *with)
{
    if (!parent)
        t->root = with;
    else if (parent->left == old)
        parent->left = with;
    else
        parent->right = with;
    if (with)
        with->parent = parent;
}

/* The left child of n becomes the root of the subtree. */
static struct tree_node *rotate_right(struct tree *t, struct tree_node *n)
{
    struct tree_node *l = n->left;
    replace_child(t, n->parent, n, l);
    n->left = l->right;
    if (n->left)
        n->left->parent = n;
    l->right = n;
    n->parent = l;
    update_height(n);
    update_height(l);
    return l;
}

static struct tree_node *rotate_left(struct tree *t, struct tree_node *n)
{
    struct tree_node *r = n->right;
    replace_child(t, n->parent, n, r);
    n->right = r->left;
    if (n->right)
        n->right->parent = n;
    r->left = n;
    n->parent = r;
    update_height(n);
    update_height(r);
    return r;
}

static struct tree_node *rebalance_at(struct tree *t, struct tree_node *n)
{
    int balance = height(n->left) - height(n->right);
    if (balance > 1) {
        if (height(n->left->left) < height(n->left->right))
            rotate_left(t, n->left);
        return rotate_right(t, n);
    }
    if (balance < -1) {
        if (height(n->right->right) < height(n->right->left))
            rotate_right(t, n->right);
        return rotate_left(t, n);
    }
    update_height(n);
    return n;
}

/* Restores heights and balance from n upwards; stops where nothing changed. */
static void rebalance(struct tree *t, struct tree_node *n)
{
    while (n) {
        int before = n->height;
        n = rebalance_at(t, n);
        if (n->height == before)
            return;
        n = n->parent;
    }
}

void tree_insert(struct tree *t, struct tree_node *node, tree_cmp cmp)
{
    struct tree_node **link = &t->root, *parent = NULL;
    while (*link) {
        parent = *link;
        link = cmp(node, parent) < 0 ? &parent->left : &parent->right;
    }
    node->left = node->right = NULL;
    node->parent = parent;
    node->height = 1;
    *link = node;
    rebalance(t, parent);
}

void tree_remove(struct tree *t, struct tree_node *node)
{
    struct tree_node *start; /* the lowest node whose height may have changed */
    if (!node->left || !node->right) {
        start = node->parent;
        replace_child(t, node->parent, node, node->left ? node->left : node->right);
    } else {
        struct tree_node *next = node->right;
        while (next->left)
            next = next->left;
        start = next->parent == node ? next : next->parent;
        if (next->parent != node) {
            replace_child(t, next->parent, next, next->right);
            next->right = node->right;
            next->right->parent = next;
        }
        replace_child(t, node->parent, node, next);
        next->left = node->left;
        next->left->parent = next;
        next->height = node->height;
    }
    node->left = node->right = node->parent = NULL;
    rebalance(t, start);
}

struct tree_node *tree_find(const struct tree *t, const void *key, tree_key_cmp cmp)
{
    struct tree_node *n = t->root;
    while (n) {
        int c = cmp(key, n);
        if (!c)
            return n;
        n = c < 0 ? n->left : n->right;
    }
    return NULL;
}

struct tree_node *tree_lower_bound(const struct tree *t, const void *key, tree_key_cmp cmp)
{
    struct tree_node *n = t->root, *best = NULL;
    while (n) {
        if (cmp(key, n) <= 0) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

struct tree_node *tree_first(const struct tree *t)
{
    struct tree_node *n = t->root;
    while (n && n->left)
        n = n->left;
    return n;
}

struct tree_node *tree_next(const struct tree_node *node)
{
    if (node->right) {
        node = node->right;
        while (node->left)
            node = node->left;
        return (struct tree_node *)node;
    }
    while (node->parent && node->parent->right == node)
        node = node->parent;
    return node->parent;
}
