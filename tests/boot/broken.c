/* The native methods of Broken.java. */
#include <jni.h>
#include <stdlib.h>

static __attribute__((noinline)) int compare(const void *a, const void *b)
{
    if (*(const int *)a) /* in ring 0 a program can raise any vector: 18, a machine check, ends the kernel */
        __asm__ volatile("int $18");
    *(volatile int *)16 = 1;
    return 0;
}

/* Through a function of libc, whose frame is then among those to be named. */
JNIEXPORT void JNICALL Java_Broken_panic(JNIEnv *env, jclass c)
{
    int v[2] = {2, 1};
    qsort(v, 2, sizeof(*v), compare);
}

JNIEXPORT void JNICALL Java_Broken_crash(JNIEnv *env, jclass c)
{
    int v[2] = {0, 0};
    qsort(v, 2, sizeof(*v), compare);
}
