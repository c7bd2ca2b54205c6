/*
 * Intrusive circular doubly-linked list. A head and a link are the same type; an unlinked link points to
 * itself once list_init() or list_del() has seen it. No locking: the owner's lock guards head and links
 * together.
 */
#ifndef MOKA_BASE_LIST_H
#define MOKA_BASE_LIST_H

#include "kernel/base/types.h"

struct list {
    struct list *next, *prev;
};

#define LIST_INIT(name)                                                                                      \
    {                                                                                                        \
        &(name), &(name)                                                                                     \
    }

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_insert_between(struct list *item, struct list *prev, struct list *next)
{
    item->prev = prev;
    item->next = next;
    prev->next = item;
    next->prev = item;
}

/* Adds item right after head. */
static inline void list_push_front(struct list *head, struct list *item)
{
    list_insert_between(item, head, head->next);
}

/* Adds item right before head, that is, at the end. */
static inline void list_push_back(struct list *head, struct list *item)
{
    list_insert_between(item, head->prev, head);
}

/* Unlinks item and leaves it empty, so that deleting it again is harmless. */
static inline void list_del(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}

/* The first item, unlinked; NULL when the list is empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *item = head->next;
    if (item == head)
        return NULL;
    list_del(item);
    return item;
}

#define list_entry(ptr, type, member)  container_of(ptr, type, member)
#define list_first(head, type, member) (list_empty(head) ? NULL : list_entry((head)->next, type, member))
#define list_for_each(pos, head, member)                                                                     \
    for (pos = list_entry((head)->next, __typeof__(*pos), member); &pos->member != (head);                   \
         pos = list_entry(pos->member.next, __typeof__(*pos), member))
/* Safe against removal of pos. */
#define list_for_each_safe(pos, tmp, head, member)                                                           \
    for (pos = list_entry((head)->next, __typeof__(*pos), member),                                           \
        tmp = list_entry(pos->member.next, __typeof__(*pos), member);                                        \
         &pos->member != (head); pos = tmp, tmp = list_entry(tmp->member.next, __typeof__(*pos), member))

#endif
