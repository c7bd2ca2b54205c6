/*
 * The cache directory: ${XDG_CACHE_HOME:-~/.cache}/moka.
 *
 *   runtime/KEY    linked Java runtimes, directories
 *   image/KEY.img  bootable images
 *   *.lock         locks, one beside each of the above, held while it is made
 *   tmp.*          work in progress
 *
 * Nothing is visible under its name before it is whole: it is made under tmp.* and renamed. Two commands that
 * want the same thing wait for one another; what a killed command left behind is removed a day later.
 */
#ifndef JAVA_LAUNCHER_HOST_CACHE_H
#define JAVA_LAUNCHER_HOST_CACHE_H

/* Its path, made if it does not exist. Dies when there is no home directory or it cannot be written. */
char *cache_dir(void);
/* A new directory of its own in CACHE, removed when this process ends early. */
char *cache_temp(const char *cache);
/* Waits for the lock of PATH (a path in the cache); the result goes to cache_unlock. */
int cache_lock(const char *path);
void cache_unlock(int lock);
/* Gives FROM (a file or directory under the cache) its final name TO. If TO has appeared meanwhile, FROM is
 * dropped. */
void cache_publish(const char *from, const char *to);
/* Notes that PATH was used now. */
void cache_used(const char *path);
/* Removes what was not used for 30 days, images beyond 2 GiB of those used last, and old work in progress. */
void cache_tidy(const char *cache);

#endif
