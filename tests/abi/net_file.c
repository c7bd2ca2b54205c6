/* sendfile and splice from files: every byte to a TCP peer in this VM; what pipes take. */
#include "net.h"

#include <sys/sendfile.h>

#define PATTERN 65521

static unsigned char byte_at(size_t at)
{
    size_t i = at % PATTERN;
    return i * 31 + (i >> 8);
}

static int make_file(size_t size)
{
    static unsigned char block[PATTERN];
    int fd = memfd_create("net_file", 0);
    for (size_t i = 0; i < PATTERN; i++)
        block[i] = byte_at(i);
    for (size_t at = 0; at < size; at += PATTERN)
        if (write(fd, block, size - at < PATTERN ? size - at : PATTERN) < 0)
            say("write: %s", errname(errno));
    return fd;
}

/* Takes bytes until the other end closes, and looks at each. */
struct reader {
    int fd;
    size_t at, got;
    bool same;
};

static void *read_all(void *arg)
{
    static unsigned char bytes[65536];
    struct reader *r = arg;
    ssize_t n;
    r->same = true;
    while ((n = read(r->fd, bytes, sizeof(bytes))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            r->same &= bytes[i] == byte_at(r->at + r->got + i);
        r->got += n;
    }
    return NULL;
}

static void send_size(size_t size, off_t at)
{
    int p[2], file = make_file(at + size);
    pthread_t t;
    size_t sent = 0;
    ssize_t n = 1;
    NEED(tcp_pair(p));
    struct reader r = {.fd = p[1], .at = at};
    pthread_create(&t, NULL, read_all, &r);
    while (sent < size && n > 0)
        if ((n = sendfile(p[0], file, &at, size - sent)) > 0)
            sent += n;
    close(p[0]);
    pthread_join(t, NULL);
    say("%zu bytes: %zu sent, %zu arrived, %s", size, sent, r.got, r.same ? "the same" : "changed");
    VALUE(at == r.at + size);
    close(p[1]);
    close(file);
}

CASE(sendfile_sizes)
{
    static const size_t sizes[] = {1,    2,    511,   1023,  1024,   1460,    4095,
                                   4096, 4097, 65535, 65536, 131073, 24 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        send_size(sizes[i], 0);
        send_size(sizes[i], 4095);
        send_size(sizes[i], 12345);
    }
}

/* All that the socket takes at once. */
static size_t fill(int fd, int file, off_t *at, size_t size)
{
    size_t sent = 0;
    ssize_t n;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while ((n = sendfile(fd, file, at, size)) > 0)
        sent += n;
    say("then %zd, %s", n, errname(n < 0 ? errno : 0));
    CHECK(sent < size);
    return sent;
}

CASE(sendfile_full)
{
    int p[2], file = make_file(32 << 20);
    off_t at = 7;
    NEED(tcp_pair(p));
    size_t sent = fill(p[0], file, &at, 31 << 20);
    CHECK(at == 7 + (off_t)sent);
    pthread_t t;
    struct reader r = {.fd = p[1], .at = 7};
    pthread_create(&t, NULL, read_all, &r);
    struct pollfd writable = {.fd = p[0], .events = POLLOUT};
    VALUE(poll(&writable, 1, 5000));
    CHECK(sendfile(p[0], file, &at, 1000) > 0);
    close(p[0]);
    pthread_join(t, NULL);
    CHECK(r.got == at - 7);
    CHECK(r.same);
    close(p[1]);
    close(file);
}

CASE(sendfile_cut)
{
    int p[2], file = make_file(32 << 20);
    off_t at = 4097;
    pthread_t t;
    NEED(tcp_pair(p));
    size_t sent = fill(p[0], file, &at, 31 << 20);
    OK(ftruncate(file, 0));
    struct reader r = {.fd = p[1], .at = 4097};
    pthread_create(&t, NULL, read_all, &r);
    VALUE(sendfile(p[0], file, &at, 1000));
    at = 0;
    VALUE(sendfile(p[0], file, &at, 1000));
    close(p[0]);
    pthread_join(t, NULL);
    CHECK(r.got == sent);
    CHECK(r.same);
    close(p[1]);
    close(file);
}

CASE(sendfile_reset)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct linger hard = {1, 0};
    int p[2], file = make_file(32 << 20);
    off_t at = 0;
    sigaction(SIGPIPE, &ignore, NULL);
    NEED(tcp_pair(p));
    fill(p[0], file, &at, 31 << 20);
    OK(setsockopt(p[1], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
    close(p[1]);
    settle_ms(50);
    OK(sendfile(p[0], file, &at, 1000));
    OK(sendfile(p[0], file, &at, 1000));
    at = 1 << 30; /* beyond its end: nothing to send, so nothing fails */
    VALUE(sendfile(p[0], file, &at, 1000));
    close(p[0]);
    close(file);
}

CASE(sendfile_hole)
{
    static char bytes[200000];
    int p[2], file = make_file(5000);
    off_t at = 4000;
    NEED(tcp_pair(p));
    OK(ftruncate(file, 105000));
    VALUE(sendfile(p[0], file, &at, 200000));
    VALUE(recv(p[1], bytes, 101000, MSG_WAITALL));
    bool same = true;
    for (size_t i = 0; i < 101000; i++)
        same &= bytes[i] == (i < 1000 ? (char)byte_at(4000 + i) : 0);
    CHECK(same);
    close(p[0]);
    close(p[1]);
    close(file);
}

/* A pipe takes what it has room for, and whoever fills it may be its reader. */
CASE(splice_file_to_pipe)
{
    static char bytes[1 << 17];
    int p[2], file = make_file(1 << 20);
    off_t at = 0;
    NEED(!pipe(p));
    VALUE(splice(file, &at, p[1], NULL, 1 << 20, 0));
    VALUE(at);
    VALUE(splice(file, &at, p[1], NULL, 1 << 20, SPLICE_F_NONBLOCK));
    VALUE(read(p[0], bytes, 65536));
    VALUE(sendfile(p[1], file, &at, 1 << 20));
    VALUE(at);
    VALUE(read(p[0], bytes, 65536));
    CHECK(bytes[0] == (char)byte_at(65536) && bytes[65535] == (char)byte_at(131071));
    VALUE(splice(file, &at, p[1], NULL, 3000, 0));
    VALUE(lseek(file, 4096, SEEK_SET));
    VALUE(splice(file, NULL, p[1], NULL, 4096, 0));
    VALUE(lseek(file, 0, SEEK_CUR));
    VALUE(read(p[0], bytes, sizeof(bytes)));
    CHECK(bytes[3000] == (char)byte_at(4096));
    close(p[0]);
    close(p[1]);
    close(file);
}
