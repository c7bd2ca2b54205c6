/*
 * Files of words for the command line: variables for --env-file, options for -J@FILE.
 */
#ifndef JAVA_LAUNCHER_HOST_WORDFILE_H
#define JAVA_LAUNCHER_HOST_WORDFILE_H

#include "java-launcher/host/util.h"

/* Appends the lines of an environment file as Docker's command reads them: NAME=VALUE to the line's end, with
 * quotes and blanks as they are, or NAME alone; blanks in front, empty lines and lines that begin with # are
 * left out. Dies with the file's name and the line's number where a line has no name. */
void wordfile_env(const char *path, struct strvec *out);

/* Appends the words of an argument file of java(1): separated by white space; "" and '' quote as far as the
 * line's end, a backslash inside quotes escapes (\n, \r, \t, \f, a line's end), and # begins a comment
 * between words. */
void wordfile_arguments(const char *path, struct strvec *out);

#endif
