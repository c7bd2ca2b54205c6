/* Process 1: its address space, initial stack and first thread. The stack's layout: System V ABI AMD64 3.4.1.
 */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/cmdline.h"
#include "kernel/base/errno.h"
#include "kernel/base/printf.h"
#include "kernel/base/random.h"
#include "kernel/base/string.h"
#include "kernel/linux/elf.h"
#include "kernel/linux/fd.h"
#include "kernel/linux/linux.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/stdio.h"
#include "kernel/linux/user.h"
#include "kernel/linux/vdso/vdso.h"

#define STACK_SIZE (8UL << 20)
#define STACK_GAP  (1UL << 20)
#define STACK_TOP  (PROGRAM_END - PAGE_SIZE)

/* A stack that is written downwards. */
struct stack {
    u64 sp;
    int err;
};

static u64 push_bytes(struct stack *s, const void *data, size_t len)
{
    s->sp -= len;
    if (s->sp < STACK_TOP - STACK_SIZE / 4 * 3)
        s->err = -E2BIG;
    else if (copy_to_user((void *)s->sp, data, len))
        s->err = -ENOMEM;
    return s->sp;
}

static u64 push_string(struct stack *s, const char *text)
{
    return s->err ? 0 : push_bytes(s, text, strlen(text) + 1);
}

/* Pushes strings so that the first lies lowest; their addresses go to where[]. */
static void push_strings(struct stack *s, char *const *texts, u32 count, u64 *where)
{
    for (u32 i = count; i-- > 0;)
        where[i] = push_string(s, texts[i]);
}

static u32 auxv_add(u32 n, u64 type, u64 value)
{
    process.auxv[n] = type;
    process.auxv[n + 1] = value;
    return n + 2;
}

static void fill_auxv(const struct elf_program *p, u64 execfn, u64 platform, u64 random)
{
    u32 n = 0;
    if (process.vdso)
        n = auxv_add(n, AT_SYSINFO_EHDR, process.vdso);
    n = auxv_add(n, AT_MINSIGSTKSZ, sigframe_min_stack());
    n = auxv_add(n, AT_HWCAP, arch_cpu_hwcap());
    n = auxv_add(n, AT_PAGESZ, PAGE_SIZE);
    n = auxv_add(n, AT_CLKTCK, CLK_TCK);
    n = auxv_add(n, AT_PHDR, p->phdr);
    n = auxv_add(n, AT_PHENT, 56);
    n = auxv_add(n, AT_PHNUM, p->phnum);
    n = auxv_add(n, AT_BASE, p->interp_base);
    n = auxv_add(n, AT_FLAGS, 0);
    n = auxv_add(n, AT_ENTRY, p->entry);
    n = auxv_add(n, AT_UID, 0);
    n = auxv_add(n, AT_EUID, 0);
    n = auxv_add(n, AT_GID, 0);
    n = auxv_add(n, AT_EGID, 0);
    n = auxv_add(n, AT_SECURE, 0);
    n = auxv_add(n, AT_RANDOM, random);
    n = auxv_add(n, AT_HWCAP2, arch_cpu_hwcap2());
    n = auxv_add(n, AT_EXECFN, execfn);
    n = auxv_add(n, AT_PLATFORM, platform);
    process.auxv_len = auxv_add(n, AT_NULL, 0);
}

/* argc, argv[], NULL, envp[], NULL, auxv below the strings. where: addresses of argv, then of env. */
static void push_vectors(struct stack *s, const u64 *where)
{
    u32 argc = cmdline.argc, envc = cmdline.envc;
    u64 zero = 0, argc64 = argc;
    s->sp = ALIGN_DOWN(s->sp, 16);
    if ((argc + envc + 3 + process.auxv_len) % 2)
        s->sp -= 8;
    push_bytes(s, process.auxv, process.auxv_len * 8);
    push_bytes(s, &zero, 8);
    push_bytes(s, where + argc, envc * 8);
    push_bytes(s, &zero, 8);
    push_bytes(s, where, argc * 8);
    push_bytes(s, &argc64, 8);
}

static int build_stack(const struct elf_program *p, u64 *sp)
{
    struct stack s = {.sp = STACK_TOP - 8};
    u8 random[16];
    u64 *where = kmalloc((cmdline.argc + cmdline.envc + 1) * sizeof(u64));
    if (!where)
        return -ENOMEM;
    u64 execfn = push_string(&s, cmdline.argv[0]);
    process.env_end = s.sp;
    push_strings(&s, cmdline.env, cmdline.envc, where + cmdline.argc);
    process.env_start = process.arg_end = s.sp;
    push_strings(&s, cmdline.argv, cmdline.argc, where);
    process.arg_start = s.sp;
    u64 platform = push_string(&s, "x86_64");
    random_bytes(random, sizeof(random));
    s.sp = ALIGN_DOWN(s.sp, 16);
    u64 random_at = push_bytes(&s, random, sizeof(random));
    fill_auxv(p, execfn, platform, random_at);
    push_vectors(&s, where);
    kfree(where);
    process.stack_start = s.sp;
    *sp = s.sp;
    if (s.err == -E2BIG)
        log_error("moka: arguments and environment are too long\n");
    return s.err;
}

/* Before anything else is mapped, since mappings without a wish go to the top. A gap below is never mapped.
 */
static int map_stack(void)
{
    u32 flags = VM_READ | VM_WRITE | VM_MAYWRITE | VM_STACK | VM_NOHUGE;
    s64 at = vm_map(STACK_TOP - STACK_SIZE, STACK_SIZE, flags, VM_FIXED_NEW, NULL, 0, NULL);
    if (at > 0)
        at = vm_map(STACK_TOP - STACK_SIZE - STACK_GAP, STACK_GAP, VM_NORESERVE, VM_FIXED_NEW, NULL, 0, NULL);
    return at < 0 ? (int)at : 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int set_cwd(void)
{
    struct vfs_path root = vfs_root();
    const char *dir = cmdline.cwd ? cmdline.cwd : "/";
    int err = vfs_lookup(root, dir, VFS_DIRECTORY, &process.cwd);
    if (err) {
        log_error("moka: working directory %s: %s\n", dir,
                  err == -ENOENT ? "no such directory" : "cannot be used");
        process.cwd = root;
        return err;
    }
    vfs_path_put(root);
    return 0;
}

static int load(struct elf_program *p, u64 *sp)
{
    int err = map_stack();
    if (!err)
        err = elf_load(cmdline.argv[0], p);
    if (!err && p->exec_stack)
        err = vm_protect(STACK_TOP - STACK_SIZE, STACK_SIZE, VM_READ | VM_WRITE | VM_EXEC);
    if (err)
        return err;
    vm_brk_init(p->end);
    process.vdso = vdso_map();
    process.entry = p->entry;
    process.code_start = p->code_start;
    process.code_end = p->code_end;
    process.data_start = p->data_start;
    process.data_end = p->data_end;
    process.exe = kstrdup(cmdline.argv[0]);
    return build_stack(p, sp);
}

int linux_start(void)
{
    struct elf_program program;
    struct trap_frame frame = {0};
    if (!cmdline.argv || !cmdline.argv[0]) {
        log_error("moka: the command line names no program\n");
        return -ENOENT;
    }
    int err = set_cwd();
    if (!err)
        err = stdio_open();
    if (!err)
        err = load(&program, &frame.rsp);
    if (err) {
        log_info("moka: %s cannot be started: error %d\n", cmdline.argv[0], -err);
        return err;
    }
    frame.rip = program.start;
    frame.rflags = 0x202;
    process.start_ns = clock_monotonic_ns();
    return task_start_first(base_name(cmdline.argv[0]), &frame);
}
