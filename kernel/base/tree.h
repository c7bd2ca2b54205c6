/*
 * Intrusive balanced binary tree (AVL: heights of siblings differ by at most one).
 * The owner searches by following left and right itself, or through tree_find(); insertion and removal
 * rebalance. Every operation is O(log n). No locking: the owner's lock guards the tree. Source:
 * Adelson-Velsky and Landis, 1962; Knuth, TAOCP 3, 6.2.3.
 */
#ifndef MOKA_BASE_TREE_H
#define MOKA_BASE_TREE_H

#include "kernel/base/types.h"

struct tree_node {
    struct tree_node *left, *right, *parent;
    int height; /* of the subtree that starts here; a leaf has 1 */
};

struct tree {
    struct tree_node *root;
};

/* Orders two nodes: below 0, 0 or above 0 as a sorts before, with or after b. */
typedef int (*tree_cmp)(const struct tree_node *a, const struct tree_node *b);
/* Orders a key against a node: below 0 when the key sorts before the node. */
typedef int (*tree_key_cmp)(const void *key, const struct tree_node *node);

/* Inserts node; equal nodes go after those already there. node must not be in a tree. */
void tree_insert(struct tree *t, struct tree_node *node, tree_cmp cmp);
/* Removes node, which must be in t. */
void tree_remove(struct tree *t, struct tree_node *node);
/* The node that compares equal to key, or NULL. */
struct tree_node *tree_find(const struct tree *t, const void *key, tree_key_cmp cmp);
/* The first node that does not sort before key (the lower bound), or NULL. */
struct tree_node *tree_lower_bound(const struct tree *t, const void *key, tree_key_cmp cmp);
struct tree_node *tree_first(const struct tree *t);
struct tree_node *tree_next(const struct tree_node *node);

#endif
