/*
 * Words that users of `java` and of Docker's command write out of habit, and what they mean here.
 */
#ifndef JAVA_LAUNCHER_HOST_HABITS_H
#define JAVA_LAUNCHER_HOST_HABITS_H

/*
 * WORD is the next one where an option of moka may stand, NEXT the one behind it or NULL. If it is an option
 * of `java` or of `docker run` that moka has not: what to write instead, to follow "moka: " (a new string).
 * NULL for all others. To be asked before getopt: that takes -ea for -e with the value "a".
 */
char *habit_hint(const char *word, const char *next);

/* Why there is no file APP where a JAR should be, or no JAR in the file: " (...)" or "". */
char *habit_no_jar(const char *app);

#endif
