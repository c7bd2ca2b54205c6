#include "java-launcher/host/install.h"
#include "java-launcher/host/util.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

char *install_file(const char *name)
{
    char self[PATH_MAX];
    if (!realpath("/proc/self/exe", self))
        die("cannot tell where this command is: %s", strerror(errno));
    char *beside = fmt("%s/%s", path_dir(self), name);
    if (is_file(beside))
        return beside;
    char *installed = path_absolute(fmt("%s/../lib/moka/%s", path_dir(self), name));
    if (is_file(installed))
        return installed;
    die("%s is missing: neither %s nor %s is there", name, beside, installed);
}
