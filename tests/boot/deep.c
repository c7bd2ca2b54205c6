/* Crashes below a hundred frames. Their unwind tables remember states, as those of functions with early
 * returns do; with an argument, more of them than anything could want. */

static __attribute__((noinline)) int fall(int n)
{
    __asm__ volatile(".cfi_remember_state\n.cfi_remember_state");
    int below = n ? fall(n - 1) : *(volatile int *)16;
    __asm__ volatile(".cfi_restore_state\n.cfi_restore_state");
    return below + n;
}

static __attribute__((noinline)) int remember(void)
{
    __asm__ volatile(".rept 1000\n.cfi_remember_state\n.endr");
    int below = fall(3);
    __asm__ volatile(".rept 1000\n.cfi_restore_state\n.endr");
    return below + 1;
}

int main(int argc, char **argv)
{
    return argc > 1 ? remember() : fall(100);
}
