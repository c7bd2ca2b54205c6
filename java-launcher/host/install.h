/* Files that come with the command: moka-kernel and moka-launcher, beside it or in PREFIX/lib/moka. */
#ifndef JAVA_LAUNCHER_HOST_INSTALL_H
#define JAVA_LAUNCHER_HOST_INSTALL_H

/* Path of the file NAME that came with this command. Dies when it is not there. */
char *install_file(const char *name);

#endif
