#include "java-launcher/guest/show.h"

#include <string.h>

static bool take(struct show *s, char *option)
{
    if (!strcmp(option, "-version") || !strcmp(option, "-showversion"))
        s->version = true;
    else if (!strcmp(option, "--version") || !strcmp(option, "--show-version"))
        s->version = s->to_stdout = true;
    else if (!strncmp(option, "-XshowSettings", 14))
        s->settings = option;
    else
        return false;
    s->then_exit |= strstr(option, "-version") && !strstr(option, "show");
    return true;
}

void show_take(struct show *s, struct words *options)
{
    size_t out = 0;
    for (size_t i = 0; i < options->n; i++)
        if (!take(s, options->v[i]))
            options->v[out++] = options->v[i];
    words_cut(options, out);
}

/* java.lang.VersionProps has print(boolean err) for the old options and println(boolean err) for the new. */
static void print_version(const struct show *s, JNIEnv *env)
{
    jclass props = (*env)->FindClass(env, "java/lang/VersionProps");
    if (!props)
        return;
    jmethodID print = (*env)->GetStaticMethodID(env, props, s->to_stdout ? "println" : "print", "(Z)V");
    if (print)
        (*env)->CallStaticVoidMethod(env, props, print, s->to_stdout ? JNI_FALSE : JNI_TRUE);
}

static void print_settings(const struct show *s, JNIEnv *env, jclass helper)
{
    jmethodID show = (*env)->GetStaticMethodID(env, helper, "showSettings", "(ZLjava/lang/String;JJJ)V");
    jstring option = show ? (*env)->NewStringUTF(env, s->settings) : NULL;
    if (option)
        (*env)->CallStaticVoidMethod(env, helper, show, JNI_TRUE, option, (jlong)0, (jlong)0, (jlong)0);
}

bool show_print(const struct show *s, JNIEnv *env, jclass helper)
{
    if (s->settings)
        print_settings(s, env, helper);
    if (s->version && !(*env)->ExceptionCheck(env))
        print_version(s, env);
    return s->then_exit;
}
