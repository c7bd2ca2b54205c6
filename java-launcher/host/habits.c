#include "java-launcher/host/habits.h"
#include "java-launcher/host/util.h"

#include <string.h>

/* Those of java(1) that need no second word. */
static const char *const jvm_words[] = {"-ea",
                                        "-esa",
                                        "-da",
                                        "-dsa",
                                        "-verbose",
                                        "-showversion",
                                        "-version",
                                        "-server",
                                        "--version",
                                        "-client",
                                        "-fullversion",
                                        "-enableassertions",
                                        "-disableassertions",
                                        "--enable-preview",
                                        NULL};
static const char *const jvm_beginnings[] = {"-X",
                                             "-D",
                                             "-javaagent:",
                                             "-agentlib:",
                                             "-agentpath:",
                                             "-ea:",
                                             "-da:",
                                             "-splash:",
                                             "-verbose:",
                                             "--add-opens=",
                                             "--add-exports=",
                                             "--add-modules=",
                                             "--add-reads=",
                                             "--module-path=",
                                             "--patch-module=",
                                             "--limit-modules=",
                                             "--illegal-access=",
                                             "--enable-native-access=",
                                             "-enableassertions:",
                                             "-disableassertions:",
                                             NULL};
/* Those that take the word behind them. */
static const char *const jvm_pairs[] = {"--add-opens",     "--add-exports",          "--add-modules",
                                        "--add-reads",     "--module-path",          "--patch-module",
                                        "--limit-modules", "--enable-native-access", NULL};
static const char *const class_path_words[] = {"-cp", "-classpath", NULL};
static const char *const docker_terminal[] = {"-it", "-ti", "-i", "-t", "--interactive", "--tty", NULL};

char *habit_hint(const char *word, const char *next)
{
    if (is_one_of(jvm_words, word) || begins_with_one_of(jvm_beginnings, word))
        return fmt("%s is an option for the JVM: write -J%s", word, word);
    if (is_one_of(jvm_pairs, word))
        return fmt("%s is an option for the JVM: write -J%s=%s", word, word, next ? next : "VALUE");
    if (!strcmp(word, "-jar"))
        return fmt("a JAR needs no -jar: write moka run %s", next ? next : "app.jar");
    if (is_one_of(class_path_words, word))
        return fmt("%s: write --classpath %s --main CLASS -- ARGUMENTS", word, next ? next : "PATH");
    if (is_one_of(docker_terminal, word))
        return fmt("%s is not needed: the program's streams are the command's own", word);
    if (!strcmp(word, "--rm"))
        return fmt("%s is not needed: nothing stays of a VM that has ended", word);
    if (!strcmp(word, "-d") || !strcmp(word, "--detach"))
        return fmt("%s: a VM runs in the foreground; put the command into the background with &, or into a "
                   "systemd unit",
                   word);
    return NULL;
}

static bool there(const char *app, const char *suffix)
{
    return is_file(fmt("%s%s", app, suffix));
}

char *habit_no_jar(const char *app)
{
    if (*app == '@')
        return fmt(" (options for the JVM from a file: -J%s)", app);
    if (!strcmp(app, "-"))
        return xstrdup(" (a JAR must be a file, not standard input)");
    if (ends_with(app, ".java"))
        return xstrdup(" (source: javac and jar make one of it)");
    if (ends_with(app, ".class"))
        return xstrdup(" (classes in a directory: --classpath DIR --main CLASS)");
    if (there(app, ".jar"))
        return fmt(" (%s.jar is there)", app);
    if (there(app, ".class"))
        return fmt(" (the class here: --classpath . --main %s)", app);
    return xstrdup("");
}
