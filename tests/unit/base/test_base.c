/* Host test of kernel/base: the tree against a sorted array, formatting against the C library's, the command
 * line. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/base/tree.h"

struct cmdline_view; /* the kernel's headers redeclare libc names, so the kernel side is reached through these
                      */
int moka_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
int moka_cmdline_parse(const char *text);
int moka_cmdline_parse_module(const char *line, const char *module, size_t len);
extern char moka_last_error[];
const char *moka_cmdline_arg(unsigned i);
const char *moka_cmdline_env(unsigned i);
const char *moka_cmdline_mmio(unsigned i);
unsigned moka_cmdline_idle_poll(void);
unsigned moka_cmdline_umask(void);

struct item {
    struct tree_node node;
    int key;
};

static int cmp(const struct tree_node *a, const struct tree_node *b)
{
    return container_of(a, struct item, node)->key - container_of(b, struct item, node)->key;
}

static int key_cmp(const void *key, const struct tree_node *n)
{
    return *(const int *)key - container_of(n, struct item, node)->key;
}

static int check(const struct tree_node *n)
{
    if (!n)
        return 0;
    int l = check(n->left), r = check(n->right);
    assert(abs(l - r) <= 1 && n->height == 1 + (l > r ? l : r));
    assert(!n->left || (n->left->parent == n && cmp(n->left, n) <= 0));
    assert(!n->right || (n->right->parent == n && cmp(n, n->right) <= 0));
    return n->height;
}

static void test_tree(void)
{
    enum { N = 500 };
    static struct item items[N];
    static bool in[N];
    struct tree t = {0};
    srand(1);
    for (int i = 0; i < N; i++)
        items[i].key = i;
    for (int round = 0; round < 20000; round++) {
        int i = rand() % N;
        if (in[i])
            tree_remove(&t, &items[i].node);
        else
            tree_insert(&t, &items[i].node, cmp);
        in[i] = !in[i];
        if (round % 64 == 0)
            check(t.root);
        int key = rand() % N, lower = key;
        assert(!!tree_find(&t, &key, key_cmp) == in[key]);
        while (lower < N && !in[lower])
            lower++;
        struct tree_node *n = tree_lower_bound(&t, &key, key_cmp);
        assert(n == (lower < N ? &items[lower].node : NULL));
    }
    int count = 0, last = -1;
    for (struct tree_node *n = tree_first(&t); n; n = tree_next(n), count++) {
        int key = container_of(n, struct item, node)->key;
        assert(key > last && in[key]);
        last = key;
    }
    for (int i = 0; i < N; i++)
        count -= in[i];
    assert(count == 0);
    puts("ok base/tree");
}

__attribute__((format(printf, 1, 2))) static void same(const char *fmt, ...)
{
    char ours[200], theirs[200];
    for (size_t size = 0; size < 60; size += 7) {
        va_list ap;
        memset(ours, 'x', sizeof(ours));
        memset(theirs, 'x', sizeof(theirs));
        va_start(ap, fmt);
        int a = moka_vsnprintf(ours, size, fmt, ap);
        va_end(ap);
        va_start(ap, fmt);
        int b = vsnprintf(theirs, size, fmt, ap);
        va_end(ap);
        if (a != b || memcmp(ours, theirs, size ? (size_t)(a < (int)size ? a + 1 : (int)size) : 0)) {
            printf("not ok base/printf: '%s' gives '%s', C gives '%s'\n", fmt, ours, theirs);
            exit(1);
        }
    }
}

static void test_printf(void)
{
    same("plain %% text %c|%5c|%-5c|", 'a', 'b', 'c');
    same("%d %5d %-5d| %05d %+d % d %.3d %8.3d", 1, -2, 3, -4, 5, 6, 7, -8);
    same("%u %x %X %o %#x %#o %08x %#010x", 1u, 0xabcu, 0xabcu, 8u, 0x1fu, 8u, 0x12u, 0x34u);
    same("%ld %lx %llu %zu %hhd %hd %hhx", -5L, 0xffffffffffffffffUL, 18446744073709551615ULL, (size_t)9, 300,
         70000, 0x1ff);
    same("%s|%10s|%-10s|%.2s|%*s|%.*s|", "abc", "def", "ghi", "jkl", 6, "mno", 1, "pqr");
    same("%ld %lld", (long)-9223372036854775807 - 1, -9223372036854775807LL);
    same("%p", (void *)0x1234);
    puts("ok base/printf");
}

static void test_cmdline(void)
{
    assert(moka_cmdline_parse("verbose env=A=b%20c env=D= -- /bin/x -a %2d%25 two%20words "
                              "%76irtio_mmio.device=mine % virtio_mmio.device=512@0xfeb00e00:12") == 0);
    assert(!strcmp(moka_cmdline_env(0), "A=b c") && !strcmp(moka_cmdline_env(1), "D=") &&
           !moka_cmdline_env(2));
    assert(!strcmp(moka_cmdline_arg(0), "/bin/x") && !strcmp(moka_cmdline_arg(2), "-%"));
    assert(!strcmp(moka_cmdline_arg(3), "two words") &&
           !strcmp(moka_cmdline_arg(4), "virtio_mmio.device=mine"));
    assert(!strcmp(moka_cmdline_arg(5), "") && !moka_cmdline_arg(6) &&
           !strcmp(moka_cmdline_mmio(0), "512@0xfeb00e00:12"));
    assert(moka_cmdline_parse("bad%2") == -EINVAL && strstr(moka_last_error, "bad%2"));
    assert(moka_cmdline_parse("bad%00") == -EINVAL);
    assert(moka_cmdline_umask() == 022);
    assert(!moka_cmdline_parse("umask=077") && moka_cmdline_umask() == 077);
    assert(!moka_cmdline_parse("umask=1000") && moka_cmdline_umask() == 077 &&
           strstr(moka_last_error, "umask=1000"));
    assert(!moka_cmdline_parse("umask=8") && moka_cmdline_umask() == 077);
    const char *wrong[] = {"", "x", "-1", "5x", "1000001", "18446744073709551617"};
    assert(!moka_cmdline_parse("idle-poll=1000000") && moka_cmdline_idle_poll() == 1000000 &&
           !moka_cmdline_parse("idle-poll=0") && !moka_cmdline_idle_poll());
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        char line[64];
        snprintf(line, sizeof(line), "idle-poll=%s", wrong[i]);
        assert(!moka_cmdline_parse(line) && !moka_cmdline_idle_poll() && strstr(moka_last_error, line));
    }
    puts("ok base/cmdline");
}

/* Of exactly its size, so that AddressSanitizer sees a byte too many. */
static int parse_module(const char *line, const char *text, size_t len)
{
    char *module = malloc(len);
    memcpy(module, text, len);
    int err = moka_cmdline_parse_module(line, module, len);
    free(module);
    return err;
}

static void test_module(void)
{
    assert(!parse_module("env=A=1 virtio_mmio.device=512@0xfeb00c00:11", "env=B=%20 -- /bin/x virtio", 26));
    assert(!strcmp(moka_cmdline_env(0), "A=1") && !strcmp(moka_cmdline_env(1), "B= ") &&
           !moka_cmdline_env(2));
    assert(!strcmp(moka_cmdline_arg(0), "/bin/x") && !strcmp(moka_cmdline_arg(1), "virtio") &&
           !moka_cmdline_arg(2) && !strcmp(moka_cmdline_mmio(1), "512@0xfeb00c00:11"));
    assert(!parse_module("-- /bin/x", "y", 1) && !strcmp(moka_cmdline_arg(1), "y"));
    assert(parse_module("", "x\0", 2) == -EINVAL && strstr(moka_last_error, "NUL"));
    assert(parse_module("", "x %4", 4) == -EINVAL && strstr(moka_last_error, "%4"));
    static char much[(1 << 20) + 1];
    memset(much, 'a', sizeof(much));
    assert(parse_module("--", much, sizeof(much)) == -EINVAL && strstr(moka_last_error, "1 MiB"));
    assert(!parse_module("--", much, sizeof(much) - 1) && strlen(moka_cmdline_arg(0)) == sizeof(much) - 1);
    puts("ok base/cmdline-module");
}

int main(void)
{
    test_tree();
    test_printf();
    test_cmdline();
    test_module();
    return 0;
}
