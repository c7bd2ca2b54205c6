#include "net/refer.h"

/* A stretch of one page. */
struct stretch {
    struct pbuf_custom custom; /* first */
    struct page *page;         /* one reference */
};

static u64 bytes_referred; /* core */

static void let_go(struct pbuf *p)
{
    struct stretch *s = (struct stretch *)p;
    page_put(s->page);
    kfree(s);
}

static struct pbuf *stretch_of(void *bytes, u16 len)
{
    struct stretch *s = kmalloc_raw(sizeof(*s));
    if (!s)
        return NULL;
    s->custom.custom_free_function = let_go;
    s->page = paddr_to_page(virt_to_phys(bytes));
    page_get(s->page);
    return pbuf_alloced_custom(PBUF_RAW, len, PBUF_REF, &s->custom, bytes, len);
}

/* LWIP_HOOK_TCP_REFER. source: the copy of the walk in refer_write(). */
struct pbuf *refer_next(const void *source, unsigned len)
{
    struct iov_iter *it = (struct iov_iter *)source;
    struct pbuf *all = NULL;
    while (len) {
        size_t n = len;
        void *bytes = iov_take(it, &n);
        struct pbuf *p = stretch_of(bytes, n);
        if (!p) {
            if (all)
                pbuf_free(all);
            return NULL;
        }
        if (all)
            pbuf_cat(all, p);
        else
            all = p;
        len -= n;
    }
    return all;
}

err_t refer_write(struct tcp_pcb *pcb, struct iov_iter *it, u16 len, u8 flags)
{
    struct iov_iter at = *it;
    err_t err = tcp_write(pcb, &at, len, flags);
    if (err == ERR_OK) {
        *it = at;
        bytes_referred += len;
    }
    return err;
}

bool refer_is(const struct pbuf *p)
{
    return p->flags & PBUF_FLAG_IS_CUSTOM && ((const struct pbuf_custom *)p)->custom_free_function == let_go;
}

void refer_show(struct seq *s)
{
    seq_printf(s, "bytes_by_reference %lu\n", bytes_referred);
}
