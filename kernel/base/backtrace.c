/* Backtraces: for now, code addresses found on the stack. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/base/panic.h"
#include "kernel/base/printf.h"

extern u8 kernel_image_start[], kernel_text_end[];

void backtrace_print(const struct trap_frame *frame)
{
    const u64 *sp = frame ? (const u64 *)frame->rsp : __builtin_frame_address(0);
    u64 bottom = this_cpu()->kstack_bottom, top = this_cpu()->kstack_top;
    u32 shown = 0;
    if (frame)
        log_error("  at %016lx\n", frame->rip);
    for (; (u64)sp >= bottom && (u64)sp < top && shown < 32; sp++) {
        if (*sp >= (u64)kernel_image_start && *sp < (u64)kernel_text_end) {
            log_error("  stack %016lx\n", *sp);
            shown++;
        }
    }
}
