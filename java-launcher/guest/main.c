/*
 * The launcher: the program the kernel starts when the image holds a JAR.
 *
 *   /moka/launcher [-JOPTION]... [--] [ARGUMENT]...
 *
 * It creates the Java virtual machine through the JNI invocation API (JNI specification, chapter 5) and runs
 * `main`, as the JDK's own java command does: JVM options from the image and from -J, the main class found
 * and checked by the class library's sun.launcher.LauncherHelper (so Launcher-Agent, Add-Opens, JavaFX and
 * every error message are the JDK's own), `main` on a thread of its own with a stack of the size Java threads
 * have. Status: 0 when main returns and the last non-daemon thread has ended, 1 after an uncaught exception
 * or when the JVM cannot be created, and System.exit's own otherwise.
 *
 * Environment: MOKA_LAUNCH_CONF names another configuration than /moka/launch.conf (for tests on the host),
 * JDK_JAVA_OPTIONS holds further JVM options as for the java command; JAVA_TOOL_OPTIONS is the JVM's own
 * business.
 */
#include "java-launcher/guest/conf.h"
#include "java-launcher/guest/missing.h"
#include "java-launcher/guest/options.h"
#include "java-launcher/guest/show.h"

#include <dlfcn.h>
#include <errno.h>
#include <jni.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

typedef jint create_vm_fn(JavaVM **, void **, void *);

struct launch {
    struct launch_conf conf;
    char **args; /* the program's own, NULL-terminated */
    create_vm_fn *create_vm;
    struct show show;
    int status;
};

/* Moves the leading -J words of ARGV to the options; what is left are the program's arguments. */
static char **take_arguments(char **argv, struct words *options)
{
    char **a = argv + 1;
    for (; *a && !strncmp(*a, "-J", 2); a++)
        words_add(options, *a + 2);
    return *a && !strcmp(*a, "--") ? a + 1 : a;
}

static char *xprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *xprintf(const char *fmt, ...)
{
    char *s;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        fail("out of memory");
    va_end(ap);
    return s;
}

/* What the java command tells the JVM about the command line; jcmd, JMX and crash reports show it. */
static char *java_command(const char *main, char **args)
{
    size_t len = strlen(main) + sizeof "-Dsun.java.command=";
    for (char **a = args; *a; a++)
        len += strlen(*a) + 1;
    char *s = malloc(len), *end = s;
    if (!s)
        fail("out of memory");
    end = stpcpy(stpcpy(end, "-Dsun.java.command="), main);
    for (char **a = args; *a; a++) {
        *end++ = ' ';
        end = stpcpy(end, *a);
    }
    return s;
}

/* The heap limit goes first and as a percentage: any -Xmx or -XX:MaxRAMPercentage of the user's, on the
 * command line or in JAVA_TOOL_OPTIONS, then has the last word. Two options, because the JVM takes
 * MinRAMPercentage on small machines. */
static void add_defaults(struct words *options, uint64_t total)
{
    double percent = heap_percent(total);
    words_add(options, xprintf("-XX:MaxRAMPercentage=%.2f", percent));
    words_add(options, xprintf("-XX:MinRAMPercentage=%.2f", percent));
}

static void note_memory_tracking(const struct words *options)
{
    static const char flag[] = "-XX:NativeMemoryTracking=";
    for (size_t i = 0; i < options->n;
         i++) /* before JDK 18 the JVM learns this early enough only from the environment */
        if (!strncmp(options->v[i], flag, sizeof flag - 1))
            setenv(xprintf("NMT_LEVEL_%d", getpid()), options->v[i] + sizeof flag - 1, 1);
}

static void collect_options(struct launch *l, char **argv)
{
    struct words image = l->conf.options, all = {0}, user = {0};
    uint64_t total = memory_total();
    const char *env = getenv("JDK_JAVA_OPTIONS");

    if (env) {
        fprintf(stderr, "NOTE: Picked up JDK_JAVA_OPTIONS: %s\n", env);
        if (split_words(env, &user) < 0)
            fail("JDK_JAVA_OPTIONS: a quote is not closed");
    }
    l->args = take_arguments(argv, &user);
    options_drop_archive(&image, &user);
    add_defaults(&all, total);
    for (size_t i = 0; i < image.n; i++)
        words_add(&all, image.v[i]);
    for (size_t i = 0; i < user.n; i++)
        words_add(&all, user.v[i]);
    words_add(&all, java_command(l->conf.command ? l->conf.command : l->conf.main, l->args));
    options_finish(&all, total);
    options_check_heap(&all, total);
    show_take(&l->show, &all);
    note_memory_tracking(&all);
    l->conf.options = all;
}

/* Whether memory is what a JVM lacks that could not be created. It has said why, in words that suit a big
 * machine. */
static bool memory_is_small(unsigned long long *mib)
{
    enum { SMALL_MIB = 64 };
    *mib = memory_total() >> 20;
    return *mib < SMALL_MIB;
}

#define TOO_SMALL                                                                                            \
    "not enough memory: the Java virtual machine could not be created in %llu MiB (-m gives more)"

static void no_jvm(jint error)
{
    unsigned long long mib;
    if (error == JNI_EINVAL)
        fail("the Java virtual machine could not be created: it does not take these options");
    if (memory_is_small(&mib))
        fail(TOO_SMALL, mib);
    fail("the Java virtual machine could not be created");
}

static bool creating;

/*
 * Some ways to fail end the process from within JNI_CreateJavaVM: by exit(3), or by _exit(2) after the hook
 * for that (option "abort" of the invocation API).
 */
static void ended_while_creating(int status, void *arg)
{
    unsigned long long mib;
    (void)arg;
    if (creating && status && memory_is_small(&mib))
        fprintf(stderr, "moka: " TOO_SMALL "\n", mib);
    creating = false;
}

static void aborted(void)
{
    ended_while_creating(1, NULL);
}

static JNIEnv *create_jvm(struct launch *l, JavaVM **vm)
{
    struct words *o = &l->conf.options;
    JavaVMOption *options = calloc(o->n + 1, sizeof *options);
    JNIEnv *env;
    if (!options)
        fail("out of memory");
    for (size_t i = 0; i < o->n; i++)
        options[i].optionString = o->v[i];
    options[o->n] = (JavaVMOption){"abort", (void *)(uintptr_t)aborted};
    JavaVMInitArgs args = {JNI_VERSION_1_8, (jint)o->n + 1, options, JNI_FALSE};
    on_exit(ended_while_creating, NULL);
    creating = true;
    jint error = l->create_vm(vm, (void **)&env, &args);
    creating = false;
    if (error != JNI_OK)
        no_jvm(error);
    free(options);
    return env;
}

/* A Java exception is pending, or a method of the class library is not there: nothing sensible can follow. */
static void check(JNIEnv *env, const void *result, const char *what)
{
    bool thrown = (*env)->ExceptionCheck(env); /* asked in any case: -Xcheck:jni wants that after each call */
    if (result && !thrown)
        return;
    if (thrown)
        (*env)->ExceptionDescribe(env);
    fail("this JDK's class library has no usable %s", what);
}

static int is_ascii(const char *s)
{
    for (; *s; s++)
        if (*s & 0x80)
            return 0;
    return 1;
}

/* Arguments are bytes in the platform's encoding; LauncherHelper decodes those that are not plain ASCII. */
static jstring platform_string(JNIEnv *env, jclass helper, const char *s)
{
    if (is_ascii(s))
        return (*env)->NewStringUTF(env, s);
    jmethodID make = (*env)->GetStaticMethodID(env, helper, "makePlatformString", "(Z[B)Ljava/lang/String;");
    check(env, make, "LauncherHelper.makePlatformString");
    jsize len = (jsize)strlen(s);
    jbyteArray bytes = (*env)->NewByteArray(env, len);
    check(env, bytes, "byte array");
    (*env)->SetByteArrayRegion(env, bytes, 0, len, (const jbyte *)s);
    jstring string = (*env)->CallStaticObjectMethod(env, helper, make, JNI_TRUE, bytes);
    check(env, string, "argument");
    (*env)->DeleteLocalRef(env, bytes);
    return string;
}

static jobjectArray string_array(JNIEnv *env, jclass helper, char **args)
{
    jsize n = 0;
    while (args[n])
        n++;
    jclass string_class = (*env)->FindClass(env, "java/lang/String");
    check(env, string_class, "java.lang.String");
    jobjectArray array = (*env)->NewObjectArray(env, n, string_class, NULL);
    check(env, array, "string array");
    for (jsize i = 0; i < n; i++) {
        jstring s = platform_string(env, helper, args[i]);
        check(env, s, "argument");
        (*env)->SetObjectArrayElement(env, array, i, s);
        (*env)->DeleteLocalRef(env, s);
    }
    return array;
}

/* Values of LauncherHelper's `mode` parameter. */
enum { LM_CLASS = 1, LM_JAR = 2, LM_MODULE = 3 };

static jclass load_main(JNIEnv *env, jclass helper, const struct launch_conf *conf)
{
    int mode = conf->mode_jar ? LM_JAR : strchr(conf->main, '/') ? LM_MODULE : LM_CLASS;
    jmethodID load =
        (*env)->GetStaticMethodID(env, helper, "checkAndLoadMain", "(ZILjava/lang/String;)Ljava/lang/Class;");
    check(env, load, "LauncherHelper.checkAndLoadMain");
    jstring what = platform_string(env, helper, conf->main);
    check(env, what, "main class name");
    return (*env)->CallStaticObjectMethod(env, helper, load, JNI_TRUE, mode, what);
}

/* A boolean field that only newer class libraries have; DEFAULT where it is missing. */
static int helper_flag(JNIEnv *env, jclass helper, const char *name, int otherwise)
{
    jfieldID field = (*env)->GetStaticFieldID(env, helper, name, "Z");
    if (field)
        return (*env)->GetStaticBooleanField(env, helper, field);
    (*env)->ExceptionClear(env);
    return otherwise;
}

/* Clears the pending exception if it says that a method is not there; any other stays: false. */
static bool cleared_no_such_method(JNIEnv *env)
{
    jthrowable thrown = (*env)->ExceptionOccurred(env);
    (*env)->ExceptionClear(env);
    jclass missing = (*env)->FindClass(env, "java/lang/NoSuchMethodError");
    if (missing && (*env)->IsInstanceOf(env, thrown, missing))
        return true;
    (*env)->ExceptionClear(env);
    (*env)->Throw(env, thrown);
    return false;
}

/*
 * `main` may be static or not, with or without arguments, since JEP 512; LauncherHelper has found out which.
 * Looking it up initialises the class, so what its initialiser throws may be pending at the return, too.
 */
static void call_main(JNIEnv *env, jclass helper, jclass main_class, jobjectArray args)
{
    int is_static = 1;
    jmethodID m = (*env)->GetStaticMethodID(env, main_class, "main", "([Ljava/lang/String;)V");
    if (!m && cleared_no_such_method(env)) {
        is_static = helper_flag(env, helper, "isStaticMain", 1);
        const char *sig = helper_flag(env, helper, "noArgMain", 0) ? "()V" : "([Ljava/lang/String;)V";
        m = is_static ? (*env)->GetStaticMethodID(env, main_class, "main", sig)
                      : (*env)->GetMethodID(env, main_class, "main", sig);
    }
    if (!m)
        return;
    if (is_static) {
        (*env)->CallStaticVoidMethod(env, main_class, m, args);
        return;
    }
    jmethodID init = (*env)->GetMethodID(env, main_class, "<init>", "()V");
    jobject object = init ? (*env)->NewObject(env, main_class, init) : NULL;
    if (object)
        (*env)->CallVoidMethod(env, object, m, args);
}

/* Before some release the JVM ends the process when it has dumped its classes; from then on it returns, and
 * the program must not run: `moka` has it dumped on the user's own machine. */
static bool only_dumps(const struct words *options)
{
    bool dump = false;
    for (size_t i = 0; i < options->n; i++)
        if (!strncmp(options->v[i], "-Xshare:", 8))
            dump = !strcmp(options->v[i] + 8, "dump");
    return dump;
}

/* Runs on the thread that Java calls "main". */
static void *run_java(void *arg)
{
    struct launch *l = arg;
    JavaVM *vm;
    JNIEnv *env = create_jvm(l, &vm);
    if (only_dumps(&l->conf.options)) {
        (*vm)->DestroyJavaVM(vm);
        return NULL;
    }
    jclass helper = (*env)->FindClass(env, "sun/launcher/LauncherHelper");
    check(env, helper, "sun.launcher.LauncherHelper");
    if (!show_print(&l->show, env, helper) && !(*env)->ExceptionCheck(env)) {
        jclass main_class = load_main(env, helper, &l->conf);
        if (!(*env)->ExceptionCheck(env) && main_class)
            call_main(env, helper, main_class, string_array(env, helper, l->args));
        l->status = !main_class;
    }
    l->status |= (*env)->ExceptionCheck(env);
    const char *missing = missing_module(env, l->conf.libjvm);
    /* Detaching hands a pending exception to the thread's uncaught exception handler, which prints the trace.
     */
    if ((*vm)->DetachCurrentThread(vm) != JNI_OK)
        l->status = 1;
    if (missing)
        fprintf(
            stderr,
            "moka: the image's Java runtime lacks the module %s, which nothing names; --modules %s adds it\n",
            missing, missing);
    (*vm)->DestroyJavaVM(
        vm); /* returns when the last non-daemon thread has ended and the shutdown hooks have run */
    return NULL;
}

static void load_jvm(struct launch *l)
{
    void *jvm = dlopen(l->conf.libjvm, RTLD_NOW | RTLD_GLOBAL);
    if (!jvm)
        fail("%s", dlerror());
    l->create_vm = (create_vm_fn *)(uintptr_t)dlsym(jvm, "JNI_CreateJavaVM");
    if (!l->create_vm)
        fail("%s is not a Java virtual machine", l->conf.libjvm);
}

/* The stack of the main thread: what -Xss says, else what HotSpot gives every Java thread on x86-64
 * (ThreadStackSize), as the java command does. */
static size_t main_stack_size(const struct words *options)
{
    enum { STANDARD = 1 << 20, LEAST = 256 << 10, PAGE = 4096 };
    uint64_t size = options_stack_size(options);
    if (!size)
        size = STANDARD;
    if (size < LEAST)
        size = LEAST;
    return (size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

/*
 * Without a locale the JDK would take file names and arguments for ASCII: none named means C.UTF-8. The image
 * holds no other locale's data; but the JDK only wants to hear from the C library that the one named exists,
 * takes language and country from its name and brings all else along. So any UTF-8 locale becomes another
 * name of C.UTF-8.
 */
static void ensure_locale(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *name = NULL;
    for (int i = 0; i < 3 && (!name || !*name); i++)
        name = getenv(variables[i]);
    if (!name || !*name) {
        setenv("LC_CTYPE", "C.UTF-8", 1);
        return;
    }
    size_t n = strlen(name);
    bool utf8 = n > 6 && (!strcasecmp(name + n - 6, ".UTF-8") || !strcasecmp(name + n - 5, ".UTF8"));
    if (utf8 && !strchr(name, '/') && strncmp(name, "C.", 2) &&
        symlink("C.utf8", xprintf("/usr/lib/locale/%s", name)) < 0 && errno != EEXIST)
        fprintf(stderr, "moka: cannot set up the locale %s: %m\n", name);
}

/* The image's /etc/hosts knows a machine called moka; under another name it must find itself too. */
static void ensure_host_name(void)
{
    struct utsname u;
    if (uname(&u) < 0 || !strcmp(u.nodename, "moka"))
        return;
    FILE *hosts = fopen("/etc/hosts", "a");
    if (hosts) {
        fprintf(hosts, "127.0.1.1\t%s\n", u.nodename);
        fclose(hosts);
    }
}

int main(int argc, char **argv)
{
    static struct launch l;
    pthread_attr_t attr;
    pthread_t thread;
    const char *conf = getenv("MOKA_LAUNCH_CONF");
    (void)argc;

    conf_read(conf ? conf : "/moka/launch.conf", &l.conf);
    collect_options(&l, argv);
    if (!conf) { /* else this is no VM, and these are somebody's files */
        ensure_locale();
        ensure_host_name();
    }
    load_jvm(&l);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, main_stack_size(&l.conf.options));
    if (pthread_create(&thread, &attr, run_java, &l))
        fail("cannot create the main thread: %m");
    pthread_join(thread, NULL);
    return l.status;
}
