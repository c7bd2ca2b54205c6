/*
 * The time zone of this machine.
 */
#ifndef JAVA_LAUNCHER_HOST_ZONE_H
#define JAVA_LAUNCHER_HOST_ZONE_H

/*
 * The value of TZ for the VM (a new string), or NULL for UTC and for a zone without a name: $TZ; else where
 * /etc/localtime leads; else, if that is a file, the zone of /usr/share/zoneinfo with the same bytes, the one
 * that /etc/timezone names if it is among them. A JVM looks it up in the same way (tzset(3), localtime(5)).
 */
char *zone_name(void);

#endif
