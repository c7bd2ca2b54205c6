/* Encoding, sending and checking 9P2000.L messages. Layouts: see the comment at each function. */
#include "kernel/fs/internal.h"
#include "kernel/fs/p9.h"

enum {
    RLERROR = 7,
    TSTATFS = 8,
    TLOPEN = 12,
    TLCREATE = 14,
    TSYMLINK = 16,
    TMKNOD = 18,
    TREADLINK = 22,
    TGETATTR = 24,
    TSETATTR = 26,
    TREADDIR = 40,
    TFSYNC = 50,
    TLINK = 70,
    TMKDIR = 72,
    TRENAMEAT = 74,
    TUNLINKAT = 76,
    TVERSION = 100,
    TATTACH = 104,
    TWALK = 110,
    TREAD = 116,
    TWRITE = 118,
    TCLUNK = 120,
};

#define NO_TAG       0xffffu
#define NO_FID       0xffffffffu
#define HEADER       7u
#define SMALL_ROOM   512u                      /* requests and replies of fixed shape with a name or two */
#define LONG_ROOM    (PATH_MAX + 2 * NAME_MAX) /* with a link's target */
#define READ_HEAD    (HEADER + 4)              /* Rread before the data */
#define WRITE_HEAD   (HEADER + 16)             /* Twrite before the data */
#define MSIZE_WANT   (128u * 1024 + WRITE_HEAD)
#define MSIZE_LEAST  4096u
#define AT_REMOVEDIR 0x200u

/* A request and its reply. `bad` sticks when something did not fit, on either way. */
struct call {
    struct p9 *p9;
    u8 *out, *in; /* one allocation, in the direct map: the device reads and writes it */
    u32 out_room, in_room;
    u32 out_len, in_len, at; /* at: the next byte of the reply to be taken */
    bool bad;
};

static void put(struct call *c, const void *data, u32 n)
{
    if (n > c->out_room - c->out_len) {
        c->bad = true;
        return;
    }
    memcpy(c->out + c->out_len, data, n);
    c->out_len += n;
}

static void put8(struct call *c, u8 v)
{
    put(c, &v, 1);
}
static void put16(struct call *c, u16 v)
{
    put(c, &v, 2);
}
static void put32(struct call *c, u32 v)
{
    put(c, &v, 4);
}
static void put64(struct call *c, u64 v)
{
    put(c, &v, 8);
}
static void put_text(struct call *c, const char *s, u32 len)
{
    put16(c, len);
    put(c, s, len);
}

/* n bytes of the reply, or NULL when it ends before. */
static const void *take(struct call *c, u32 n)
{
    if (n > c->in_len - c->at) {
        c->bad = true;
        return NULL;
    }
    c->at += n;
    return c->in + c->at - n;
}

static u64 take_number(struct call *c, u32 n)
{
    u64 v = 0;
    const void *p = take(c, n);
    if (p)
        memcpy(&v, p, n);
    return v;
}
static u8 take8(struct call *c)
{
    return take_number(c, 1);
}
static u16 take16(struct call *c)
{
    return take_number(c, 2);
}
static u32 take32(struct call *c)
{
    return take_number(c, 4);
}
static u64 take64(struct call *c)
{
    return take_number(c, 8);
}
static struct p9_qid take_qid(struct call *c)
{
    struct p9_qid qid;
    qid.type = take8(c);
    qid.version = take32(c);
    qid.path = take64(c);
    return qid;
}

static int begin(struct call *c, struct p9 *p9, u8 type, u32 out_room, u32 in_room)
{
    *c = (struct call){.p9 = p9, .out_room = out_room, .in_room = in_room};
    c->out = kmalloc(out_room + in_room);
    if (!c->out)
        return -ENOMEM;
    c->in = c->out + out_room;
    put32(c, 0); /* the size, known later */
    put8(c, type);
    u16 tag = __atomic_add_fetch(&p9->next_tag, 1, __ATOMIC_RELAXED);
    put16(c, type == TVERSION || tag == NO_TAG ? (u16)(type == TVERSION ? NO_TAG : 0) : tag);
    return 0;
}

/* size[4] type[1] tag[2]; Rlerror: ecode[4], a Linux error number. */
static int check_reply(struct call *c, ssize_t got)
{
    u8 type = c->out[4];
    if (got < (ssize_t)HEADER || got > c->in_room)
        return got < 0 ? (int)got : -EIO;
    c->in_len = got;
    u32 size = take32(c);
    u8 reply = take8(c);
    u16 tag = take16(c);
    if (size < HEADER || size > got || memcmp(&tag, c->out + 5, 2))
        return -EIO;
    c->in_len = size;
    if (reply == RLERROR) {
        u32 code = take32(c);
        return c->bad || !code || code > 4095 ? -EIO : -(int)code;
    }
    return reply == type + 1 ? 0 : -EIO;
}

/* Sends c; afterwards the reply's body can be taken. */
static int send(struct call *c)
{
    if (c->bad)
        return -ENAMETOOLONG;
    memcpy(c->out, &c->out_len, 4);
    int err = check_reply(c, p9_transact(c->p9->channel, c->out, c->out_len, c->in, c->in_room));
    return err;
}

static int finish(struct call *c, int err)
{
    if (!err && c->bad)
        err = -EIO;
    kfree(c->out);
    return err;
}

static int send_only(struct call *c)
{
    return finish(c, send(c));
}

static struct p9_fid *fid_new(struct p9 *p9)
{
    struct p9_fid *fid = kmalloc(sizeof(*fid));
    if (!fid)
        return NULL;
    fid->p9 = p9;
    fid->refs = 1;
    fid->id = __atomic_add_fetch(&p9->next_fid, 1, __ATOMIC_RELAXED);
    return fid;
}

/* Tclunk fid[4]. The server forgets the fid whatever it answers. */
void p9_fid_put(struct p9_fid *fid)
{
    struct call c;
    if (!fid || __atomic_sub_fetch(&fid->refs, 1, __ATOMIC_ACQ_REL))
        return;
    if (!begin(&c, fid->p9, TCLUNK, SMALL_ROOM, SMALL_ROOM)) {
        put32(&c, fid->id);
        send_only(&c);
    }
    kfree(fid);
}

/* Tversion msize[4] version[s], Rversion the same. */
static int negotiate(struct p9 *p9)
{
    static const char version[] = "9P2000.L";
    struct call c;
    int err = begin(&c, p9, TVERSION, SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, p9->msize);
    put_text(&c, version, sizeof(version) - 1);
    err = send(&c);
    u32 msize = err ? 0 : take32(&c);
    u16 len = err ? 0 : take16(&c);
    const char *text = err ? NULL : take(&c, len);
    if (!err && (!text || len != sizeof(version) - 1 || memcmp(text, version, len) || msize < MSIZE_LEAST))
        err = -EPROTO;
    if (!err)
        p9->msize = MIN(p9->msize, msize);
    return finish(&c, err);
}

/* Tattach fid[4] afid[4] uname[s] aname[s] n_uname[4]; Rattach qid[13]. */
static int attach(struct p9 *p9, struct p9_fid **root)
{
    struct call c;
    struct p9_fid *fid = fid_new(p9);
    int err = fid ? begin(&c, p9, TATTACH, SMALL_ROOM, SMALL_ROOM) : -ENOMEM;
    if (err) {
        kfree(fid);
        return err;
    }
    put32(&c, fid->id);
    put32(&c, NO_FID);
    put_text(&c, "root", 4);
    put_text(&c, "", 0);
    put32(&c, 0);
    err = send_only(&c);
    if (err)
        kfree(fid);
    else
        *root = fid;
    return err;
}

int p9_connect(struct p9 *p9, struct p9_channel *channel, struct p9_fid **root)
{
    *p9 = (struct p9){.channel = channel, .msize = MIN(MSIZE_WANT, p9_max_message(channel))};
    int err = negotiate(p9);
    return err ? err : attach(p9, root);
}

/* Twalk fid[4] newfid[4] nwname[2] wname[s]...; Rwalk nwqid[2] wqid[13]... */
int p9_walk(struct p9_fid *from, const char *name, u32 len, struct p9_fid **out, struct p9_qid *qid)
{
    struct call c;
    struct p9_fid *fid = fid_new(from->p9);
    int err = fid ? begin(&c, from->p9, TWALK, SMALL_ROOM, SMALL_ROOM) : -ENOMEM;
    if (err) {
        kfree(fid);
        return err;
    }
    put32(&c, from->id);
    put32(&c, fid->id);
    put16(&c, name != NULL);
    if (name)
        put_text(&c, name, len);
    err = send(&c);
    u16 count = err ? 0 : take16(&c);
    if (!err && name && count == 1)
        *qid = take_qid(&c);
    else if (!err && count != (name != NULL))
        err = name && !count ? -ENOENT : -EIO;
    err = finish(&c, err);
    if (err)
        kfree(fid);
    else
        *out = fid;
    return err;
}

static struct vfs_time take_time(struct call *c)
{
    struct vfs_time t;
    t.sec = take64(c);
    t.nsec = take64(c) % NSEC_PER_SEC;
    return t;
}

#define GETATTR_BASIC 0x7ffUL

/* Tgetattr fid[4] request_mask[8]; Rgetattr valid[8] qid[13] mode[4] uid[4] gid[4] nlink[8] rdev[8] size[8]
 * blksize[8] blocks[8] atime mtime ctime btime (sec[8] nsec[8] each) gen[8] data_version[8]. */
int p9_getattr(struct p9_fid *fid, struct p9_attr *attr)
{
    struct call c;
    int err = begin(&c, fid->p9, TGETATTR, SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, fid->id);
    put64(&c, GETATTR_BASIC);
    err = send(&c);
    if (!err) {
        struct vfs_stat *st = &attr->st;
        memset(attr, 0, sizeof(*attr));
        take64(&c);
        attr->qid = take_qid(&c);
        st->ino = attr->qid.path;
        st->mode = take32(&c);
        st->uid = take32(&c);
        st->gid = take32(&c);
        st->nlink = take64(&c);
        st->rdev = take64(&c);
        st->size = take64(&c);
        st->blksize = take64(&c);
        st->blocks = take64(&c);
        st->atime = take_time(&c);
        st->mtime = take_time(&c);
        st->ctime = take_time(&c);
        st->btime = st->ctime;
        if ((s64)st->size < 0)
            err = -EIO;
    }
    return finish(&c, err);
}

#define SETATTR_CTIME     0x40u
#define SETATTR_ATIME_SET 0x80u
#define SETATTR_MTIME_SET 0x100u

/* The first six bits are VFS_SET_*'s. */
static u32 setattr_mask(u32 which)
{
    u32 mask = (which & 63) | SETATTR_CTIME;
    if (which & VFS_SET_ATIME)
        mask |= SETATTR_ATIME_SET;
    if (which & VFS_SET_MTIME)
        mask |= SETATTR_MTIME_SET;
    if (which & VFS_SET_ATIME_NOW)
        mask |= VFS_SET_ATIME;
    if (which & VFS_SET_MTIME_NOW)
        mask |= VFS_SET_MTIME;
    return mask;
}

/* Tsetattr fid[4] valid[4] mode[4] uid[4] gid[4] size[8] atime mtime (sec[8] nsec[8] each). */
int p9_setattr(struct p9_fid *fid, const struct vfs_stat *st, u32 which)
{
    struct call c;
    int err = begin(&c, fid->p9, TSETATTR, SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, fid->id);
    put32(&c, setattr_mask(which));
    put32(&c, st->mode & 07777);
    put32(&c, st->uid);
    put32(&c, st->gid);
    put64(&c, st->size);
    put64(&c, st->atime.sec);
    put64(&c, st->atime.nsec);
    put64(&c, st->mtime.sec);
    put64(&c, st->mtime.nsec);
    return send_only(&c);
}

/* Tlopen fid[4] flags[4]; Rlopen qid[13] iounit[4]. */
int p9_open(struct p9_fid *fid, u32 flags)
{
    struct call c;
    int err = begin(&c, fid->p9, TLOPEN, SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, fid->id);
    put32(&c, flags);
    err = send_only(&c);
    if (!err)
        fid->flags = flags & O_ACCMODE;
    return err;
}

/* Tlcreate fid[4] name[s] flags[4] mode[4] gid[4]; Rlcreate qid[13] iounit[4]. */
int p9_create(struct p9_fid *fid, const char *name, u32 len, u32 flags, u32 mode)
{
    struct call c;
    int err = begin(&c, fid->p9, TLCREATE, SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, fid->id);
    put_text(&c, name, len);
    put32(&c, flags);
    put32(&c, mode);
    put32(&c, 0);
    err = send_only(&c);
    if (!err)
        fid->flags = flags & O_ACCMODE;
    return err;
}

/* Tmkdir dfid[4] name[s] mode[4] gid[4]. */
int p9_mkdir(struct p9_fid *dir, const char *name, u32 len, u32 mode)
{
    struct call c;
    int err = begin(&c, dir->p9, TMKDIR, SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, dir->id);
    put_text(&c, name, len);
    put32(&c, mode);
    put32(&c, 0);
    return send_only(&c);
}

/* Tmknod dfid[4] name[s] mode[4] major[4] minor[4] gid[4]. */
int p9_mknod(struct p9_fid *dir, const char *name, u32 len, u32 mode, u64 rdev)
{
    struct call c;
    int err = begin(&c, dir->p9, TMKNOD, SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, dir->id);
    put_text(&c, name, len);
    put32(&c, mode);
    put32(&c, rdev >> 8 & 0xfff);
    put32(&c, (rdev & 0xff) | (rdev >> 12 & 0xfff00));
    put32(&c, 0);
    return send_only(&c);
}

/* Tsymlink fid[4] name[s] symtgt[s] gid[4]. */
int p9_symlink(struct p9_fid *dir, const char *name, u32 len, const char *target)
{
    struct call c;
    int err = begin(&c, dir->p9, TSYMLINK, LONG_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, dir->id);
    put_text(&c, name, len);
    put_text(&c, target, strlen(target));
    put32(&c, 0);
    return send_only(&c);
}

/* Tlink dfid[4] fid[4] name[s]. */
int p9_link(struct p9_fid *dir, const char *name, u32 len, struct p9_fid *file)
{
    struct call c;
    int err = begin(&c, dir->p9, TLINK, SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, dir->id);
    put32(&c, file->id);
    put_text(&c, name, len);
    return send_only(&c);
}

/* Trenameat olddirfid[4] oldname[s] newdirfid[4] newname[s]. */
int p9_rename(struct p9_fid *from, const char *name, u32 len, struct p9_fid *to, const char *to_name,
              u32 to_len)
{
    struct call c;
    int err = begin(&c, from->p9, TRENAMEAT, 2 * SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, from->id);
    put_text(&c, name, len);
    put32(&c, to->id);
    put_text(&c, to_name, to_len);
    return send_only(&c);
}

/* Tunlinkat dirfd[4] name[s] flags[4]. */
int p9_unlink(struct p9_fid *dir, const char *name, u32 len, bool directory)
{
    struct call c;
    int err = begin(&c, dir->p9, TUNLINKAT, SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, dir->id);
    put_text(&c, name, len);
    put32(&c, directory ? AT_REMOVEDIR : 0);
    return send_only(&c);
}

/* Treadlink fid[4]; Rreadlink target[s]. */
ssize_t p9_readlink(struct p9_fid *fid, char *buf, size_t size)
{
    struct call c;
    int err = begin(&c, fid->p9, TREADLINK, SMALL_ROOM, LONG_ROOM);
    if (err)
        return err;
    put32(&c, fid->id);
    err = send(&c);
    u16 len = err ? 0 : take16(&c);
    const char *text = err ? NULL : take(&c, len);
    size_t n = MIN(len, size);
    if (text)
        memcpy(buf, text, n);
    err = finish(&c, err);
    return err ? err : (ssize_t)n;
}

/* Tfsync fid[4] datasync[4]. */
int p9_fsync(struct p9_fid *fid, bool data_only)
{
    struct call c;
    int err = begin(&c, fid->p9, TFSYNC, SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, fid->id);
    put32(&c, data_only);
    return send_only(&c);
}

/* Tstatfs fid[4]; Rstatfs type[4] bsize[4] blocks[8] bfree[8] bavail[8] files[8] ffree[8] fsid[8] namelen[4].
 */
int p9_statfs(struct p9_fid *fid, struct vfs_statfs *st)
{
    struct call c;
    int err = begin(&c, fid->p9, TSTATFS, SMALL_ROOM, SMALL_ROOM);
    if (err)
        return err;
    put32(&c, fid->id);
    err = send(&c);
    if (!err) {
        st->type = take32(&c);
        st->bsize = take32(&c);
        st->blocks = take64(&c);
        st->bfree = take64(&c);
        st->bavail = take64(&c);
        st->files = take64(&c);
        st->ffree = take64(&c);
        st->fsid = take64(&c);
        st->namelen = take32(&c);
    }
    return finish(&c, err);
}

#define READDIR_ROOM 16384u

/* A record: qid[13] offset[8] type[1] name[s]; type as readdir(3)'s d_type: the type's bits shifted by 12. */
static int take_entries(struct call *c, int (*fn)(void *arg, const struct p9_entry *entry), void *arg,
                        u32 *count)
{
    u32 bytes = take32(c), end = c->at + bytes;
    if (c->bad || bytes > c->in_len - c->at)
        return -EIO;
    c->in_len = end;
    while (c->at < end) {
        struct p9_entry entry;
        struct p9_qid qid = take_qid(c);
        entry.qid_path = qid.path;
        entry.next = take64(c);
        entry.type = (u32)take8(c) << 12;
        if (qid.type & P9_QID_DIR)
            entry.type = S_IFDIR;
        else if (!entry.type)
            entry.type = qid.type & P9_QID_LINK ? S_IFLNK : S_IFREG;
        entry.len = take16(c);
        entry.name = take(c, entry.len);
        if (c->bad || !entry.len || entry.len > NAME_MAX || memchr(entry.name, '/', entry.len) ||
            memchr(entry.name, 0, entry.len))
            return -EIO;
        ++*count;
        int stop = fn(arg, &entry);
        if (stop)
            return stop;
    }
    return 0;
}

/* Treaddir fid[4] offset[8] count[4]; Rreaddir count[4] data[count]. */
int p9_readdir(struct p9_fid *fid, u64 offset, int (*fn)(void *arg, const struct p9_entry *entry), void *arg,
               u32 *count)
{
    struct call c;
    u32 room = MIN(READDIR_ROOM, fid->p9->msize);
    int err = begin(&c, fid->p9, TREADDIR, SMALL_ROOM, room);
    *count = 0;
    if (err)
        return err;
    put32(&c, fid->id);
    put64(&c, offset);
    put32(&c, room - READ_HEAD);
    err = send(&c);
    if (!err)
        err = take_entries(&c, fn, arg, count);
    return finish(&c, err);
}

/* ---- data ---- */

/* What one message may carry, at most n. Halved while memory is short. */
static int begin_data(struct call *c, struct p9_fid *fid, u8 type, size_t *n)
{
    *n = MIN(*n, fid->p9->msize - WRITE_HEAD);
    for (;;) {
        u32 out = type == TWRITE ? WRITE_HEAD + *n : SMALL_ROOM,
            in = type == TWRITE ? SMALL_ROOM : READ_HEAD + *n;
        int err = begin(c, fid->p9, type, out, in);
        if (!err || *n <= PAGE_SIZE)
            return err;
        *n = MAX(*n / 2, PAGE_SIZE);
    }
}

/* Tread fid[4] offset[8] count[4]; Rread count[4] data[count]. *data lies in the call's reply. */
static ssize_t read_call(struct call *c, struct p9_fid *fid, u64 offset, u32 n, const void **data)
{
    put32(c, fid->id);
    put64(c, offset);
    put32(c, n);
    int err = send(c);
    u32 got = err ? 0 : take32(c);
    *data = err || got > n ? NULL : take(c, got);
    if (err)
        return err;
    return *data || !got ? (ssize_t)got : -EIO;
}

ssize_t p9_read_iter(struct p9_fid *fid, u64 offset, struct iov_iter *it, size_t n)
{
    struct call c;
    const void *data;
    int err = begin_data(&c, fid, TREAD, &n);
    if (err)
        return err;
    ssize_t got = read_call(&c, fid, offset, n, &data);
    if (got > 0)
        got = iov_to(it, data, got);
    kfree(c.out);
    return got;
}

/* Twrite fid[4] offset[8] count[4] data[count]; Rwrite count[4]. */
ssize_t p9_write_iter(struct p9_fid *fid, u64 offset, struct iov_iter *it, size_t n,
                      void (*written)(void *arg, u64 offset, const void *bytes, size_t n), void *arg)
{
    struct call c;
    int err = begin_data(&c, fid, TWRITE, &n);
    if (err)
        return err;
    put32(&c, fid->id);
    put64(&c, offset);
    ssize_t have = iov_from(it, c.out + WRITE_HEAD, n);
    if (have > 0) {
        put32(&c, have);
        c.out_len += have;
        err = send(&c);
        u32 done = err ? 0 : take32(&c);
        have = err ? err : c.bad || done > (u32)have ? -EIO : (ssize_t)done;
    }
    if (have > 0 && written)
        written(arg, offset, c.out + WRITE_HEAD, have);
    kfree(c.out);
    return have;
}

int p9_read_all(struct p9_fid *fid, u64 offset, struct iov_iter *it)
{
    ssize_t n;
    do {
        n = p9_read_iter(fid, offset, it, it->left);
        offset += n;
    } while (n > 0 && it->left);
    return MIN(n, 0);
}

ssize_t p9_write(struct p9_fid *fid, u64 offset, const void *buf, size_t n)
{
    size_t done = 0;
    while (done < n) {
        struct iov iov = {(char *)buf + done, n - done};
        struct iov_iter it;
        iov_iter_init(&it, &iov, 1, false);
        ssize_t part = p9_write_iter(fid, offset + done, &it, n - done, NULL, NULL);
        if (part <= 0)
            return part ? part : -EIO;
        done += part;
    }
    return done;
}
